//! The end of what was cloned: of a launcher, which may have made a process that nobody has heard of, and of whoever was killed while
//! it was set up.

use std::fmt::Display;
use std::os::fd::OwnedFd;

use super::running::{self, destroy_in, kill_in};
use crate::cgroup::{Cgroup, oom_cause};
use crate::error::{Error, Stage};
use crate::plan::Plan;
use crate::plan::cgroup::CgroupPlan;
use crate::proc::stat;
use crate::sys::process::{self, Exit};

/// Kills and reaps a launcher that has not said what it has made, and that as well.
pub(super) fn destroy(pid: i32, pidfd: &OwnedFd, cgroup: Option<&Cgroup>, warn: &dyn Fn(&str)) -> Option<Exit> {
    let ended = kill_in(pid, pidfd, cgroup);
    // Before it is reaped: until then it has its place among our children, and when it began can be read.
    let made = made_by(pid);
    let exit = if ended { running::reap(pid) } else { None };
    let destroyed = made.and_then(|made| {
        for pid in made {
            destroy_in(pid, &process::pidfd_open(pid)?, cgroup);
        }
        Ok(())
    });
    if let Err(error) = destroyed {
        warn(&format!("find what the launcher has made: {error}"));
    }
    exit
}

/// Our children that come after the launcher where the kernel lists them, which is in the order of their making, and are no older than it:
/// an orphan that was given to us, as to a subreaper, comes last, too. Whatever its namespaces are: it may have those of the host.
fn made_by(launcher: i32) -> std::io::Result<Vec<i32>> {
    let Some(began) = stat::read(launcher)?.map(|stat| stat.start_time) else { return Ok(Vec::new()) };
    let mut made: Vec<i32> =
        stat::children(process::getpid())?.into_iter().skip_while(|pid| *pid != launcher).skip(1).collect();
    made.retain(|pid| stat::read(*pid).ok().flatten().is_some_and(|stat| !stat.dead && stat.start_time >= began));
    Ok(made)
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
