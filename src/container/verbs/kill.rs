//! `kill`: a signal for the first process of a container, or of each that an expression names.

use crate::container::attend::announcement::Announcement;
use crate::container::lookup::{Container, not_running, select};
use crate::container::options::{Global, Kill};
use crate::container::signal;
use crate::error::Result;
use crate::state::{Life, PidNamespace};

/// Whom a signal goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whom {
    First,
    Everyone,
}

/// Sends a signal.
pub fn kill(global: &Global, args: &Kill) -> Result<()> {
    let Kill { which, signal, all } = args;
    let signal =
        signal::parse(signal.as_deref().unwrap_or("TERM")).map_err(|error| match signal::parse(&which.name) {
            Ok(_) => error.with_hint(format!("the signal is named after the container: brisk kill ID {}", which.name)),
            Err(_) => error,
        })?;
    let whom = if *all { Whom::Everyone } else { Whom::First };
    let ids = select::select(&global.root, which)?;
    select::each(&ids, global.warn, |id| kill_one(global, &Container::load(&global.root, id)?, signal, whom))
}

fn kill_one(global: &Global, container: &Container, signal: i32, whom: Whom) -> Result<()> {
    if signal != 0 {
        container.forewarn(global, || Announcement::Signal(signal));
    }
    let cgroup = container.cgroup()?;
    // Without a pid namespace of its own the first process does not take the others with it.
    let outlived = container.record.pid_namespace == PidNamespace::Shared && signal == libc::SIGKILL;
    if whom == Whom::Everyone || outlived {
        if let Some(cgroup) = cgroup.as_ref().filter(|cgroup| cgroup.has_processes().unwrap_or(false)) {
            return cgroup.kill(signal);
        }
        // containerd sends `kill --all` once more when the container has ended; runc calls that a success.
        if whom == Whom::Everyone && container.record.live_init()?.is_none() {
            return Ok(());
        }
    }
    let delivered = container.record.init.map_or(Ok(Life::Gone), |init| match container.record.life(init)? {
        Life::Alive => init.signal(signal),
        Life::Gone => Ok(Life::Gone),
    })?;
    if delivered == Life::Gone {
        return Err(not_running());
    }
    match cgroup.filter(|_| signal == libc::SIGKILL) {
        // The container may be frozen, or have frozen some of its processes itself.
        Some(cgroup) => cgroup.kill_thawed(),
        None => Ok(()),
    }
}
