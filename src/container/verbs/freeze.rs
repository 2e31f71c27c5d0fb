//! `pause` and `resume`.

use crate::cgroup::Cgroup;
use crate::container::lookup::{Container, locked, not_running};
use crate::container::options::Global;
use crate::error::{Error, Result, Stage};
use crate::spec::status::Status;

/// Freezes all processes.
pub fn pause(global: &Global, id: &str) -> Result<()> {
    let (container, _lock) = locked(global, id)?;
    match container.status()? {
        Status::Running | Status::Created => freezer(&container)?.freeze(),
        Status::Paused => Err(Error::new(Stage::Cgroup, "container not running: it is paused already")),
        Status::Stopped | Status::Creating => Err(not_running()),
    }
}

/// Thaws all processes.
pub fn resume(global: &Global, id: &str) -> Result<()> {
    let (container, _lock) = locked(global, id)?;
    match container.status()? {
        Status::Paused => freezer(&container)?.thaw(),
        _ => Err(Error::new(Stage::Cgroup, "container not paused")),
    }
}

fn freezer(container: &Container) -> Result<Cgroup> {
    container.cgroup()?.ok_or_else(|| {
        Error::new(Stage::Cgroup, "the container has no cgroup of its own")
            .with_hint("only a cgroup can be frozen; an ordinary user needs a delegated one")
    })
}
