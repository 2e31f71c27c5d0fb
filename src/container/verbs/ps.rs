//! `ps`: the processes of a container, as numbers or as the lines of ps(1).
//!
//! Not trusted: the names of cgroups below the container's.

use std::fs;
use std::process::Command;

use nix::errno::Errno;

use crate::container::lookup::Container;
use crate::container::options::Global;
use crate::error::{Context, Error, Result, Stage};
use crate::host::programs::find_program;
use crate::plan::reach::Reach;
use crate::proc::pid_namespace;
use crate::spec::status::Status;
use crate::state::PidNamespace;
use crate::sys::process;

/// The processes of a container, by their numbers on the host, ascending. One that has ended has none, as with runc.
pub fn pids(global: &Global, id: &str) -> Result<Vec<i32>> {
    let container = Container::load(&global.root, id)?;
    if container.status()? == Status::Stopped {
        return Ok(Vec::new());
    }
    container.must_run()?;
    let mut pids = match container.cgroup()? {
        Some(cgroup) => cgroup.pids(Reach::Tree)?,
        None => without_cgroup(&container)?,
    };
    pids.sort_unstable();
    Ok(pids)
}

/// Runs ps(1) of the host; its output.
pub fn ps(options: &[String]) -> Result<String> {
    let mut command = Command::new(find_program("ps").ok_or(Errno::ENOENT).at(Stage::Process, || "run ps")?);
    match options {
        [] => command.arg("-ef"),
        options => command.args(options),
    };
    let (status, said) = process::run(command).at(Stage::Process, || "run ps")?;
    if !status.success() {
        return Err(Error::new(Stage::Process, format!("ps failed ({status}): {}", said.trim())));
    }
    Ok(said)
}

/// A container of an ordinary user may have no cgroup: its processes are those in its pid namespace.
fn without_cgroup(container: &Container) -> Result<Vec<i32>> {
    let Some(init) = container.record.init else { return Ok(Vec::new()) };
    if container.record.pid_namespace == PidNamespace::Shared {
        return Ok(vec![init.pid]);
    }
    let own = pid_namespace::of(init.pid).at(Stage::State, || "read the container's pid namespace")?;
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc").at(Stage::State, || "list /proc")? {
        let path = entry.at(Stage::State, || "list /proc")?.path();
        let pid: Option<i32> = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        // Processes of other users and those that just ended cannot be read, and are not ours.
        if let Some(pid) = pid.filter(|pid| pid_namespace::of(pid).is_ok_and(|namespace| namespace == own)) {
            pids.push(pid);
        }
    }
    Ok(pids)
}
