//! The end of what was cloned: of a launcher, which may have made a process that nobody has heard of, and of whoever was killed while
//! it was set up.

use std::fmt::Display;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use super::running::{TellAgain, destroy_in};
use crate::cgroup::{Cgroup, oom_cause};
use crate::error::{Context, Error, Result, Stage};
use crate::plan::Plan;
use crate::plan::cgroup::CgroupPlan;
use crate::proc::stat;
use crate::sys::interrupt;
use crate::sys::poll::{self, PollFlags};
use crate::sys::process::{self, Exit};

/// Reaps a launcher that has said what it has made. Nothing is left for it to do but to end, and a frozen one does not do
/// that: who is to hear of something else meanwhile does not wait for it.
pub(super) fn reap(pid: i32, pidfd: &OwnedFd, due: TellAgain, cgroup: Option<&Cgroup>) -> Result<()> {
    let what = || "reap the launcher";
    if due.is_some() || interrupt::listens() {
        let ended = poll::one(pidfd.as_fd(), PollFlags::POLLIN, due).at(Stage::Sync, what);
        if !matches!(ended, Ok(true)) {
            destroy_in(pid, pidfd, cgroup);
            return ended.map(drop);
        }
    }
    process::wait(pid, 0).at(Stage::Sync, what).map(drop)
}

/// Kills and reaps a launcher that has not said what it has made, and that as well.
pub(super) fn destroy(pid: i32, pidfd: &OwnedFd, cgroup: Option<&Cgroup>, warn: &dyn Fn(&str)) -> Option<Exit> {
    // A dead one tells when it began until it is reaped.
    let launcher = stat::read(pid).ok().flatten();
    let exit = destroy_in(pid, pidfd, cgroup);
    if let Some(Err(error)) = launcher.map(|launcher| destroy_unsaid(launcher.start_time, cgroup)) {
        warn(&format!("find what the launcher has made: {error}"));
    }
    exit
}

/// The children of ours that are no older than the launcher, in another pid namespace than we are. Whoever called us by
/// execve(2) may have left us children of its own.
fn destroy_unsaid(launcher_start: u64, cgroup: Option<&Cgroup>) -> std::io::Result<()> {
    let own = process::getpid();
    let namespace = |pid: i32| Ok::<_, std::io::Error>(std::fs::metadata(format!("/proc/{pid}/ns/pid"))?.ino());
    let ours = namespace(own)?;
    for pid in stat::children(own)? {
        let is_new = stat::read(pid)?.is_some_and(|stat| !stat.dead && stat.start_time >= launcher_start);
        if is_new && namespace(pid).is_ok_and(|inode| inode != ours) {
            destroy_in(pid, &process::pidfd_open(pid)?, cgroup);
        }
    }
    Ok(())
}

/// The error of a child that was killed while it was set up; the kernel knows whether it was for want of memory.
pub(super) fn killed(error: Error, plan: &Plan, cgroup: Option<&Cgroup>) -> Error {
    let limit = plan.cgroup.as_ref().and_then(CgroupPlan::memory_limit);
    // A count that cannot be read is as good as none: the error is told all the same.
    let kills = cgroup.and_then(|cgroup| cgroup.oom_kills().ok().flatten());
    let oom = match (kills, limit) {
        (Some(0), _) | (None, None) => return error,
        (None, Some(_)) => "most likely OOM",
        (Some(_), _) => "OOM",
    };
    let cause = oom_cause(limit.as_ref().map(|(file, bytes)| (*file, bytes as &dyn Display)));
    let what = format!("the container's process was killed while it was set up, {oom}: {cause}");
    let error = Error::new(Stage::Cgroup, what);
    if limit.is_some() { error.with_hint("raise linux.resources.memory.limit") } else { error }
}
