//! The end of what was cloned: of a launcher, which may have made a process that nobody has heard of, and of whoever was killed while
//! it was set up.

use std::fmt::Display;
use std::sync::atomic::Ordering::Relaxed;

use super::running::{destroy_in, destroy_unnamed};
use crate::cgroup::{Cgroup, oom_cause};
use crate::error::{Error, Stage};
use crate::plan::Plan;
use crate::plan::cgroup::CgroupPlan;
use crate::plan::cgroup::files::field_of;
use crate::sys::pidfd::ProcessHandle;
use crate::sys::process::{self, Exit};
use crate::sys::shared::Progress;

/// Kills and reaps a launcher that has not said what it has made, and that as well.
pub(super) fn destroy(
    launcher: &ProcessHandle,
    progress: Option<&Progress>,
    cgroup: Option<&Cgroup>,
    warn: &dyn Fn(&str),
) -> Option<Exit> {
    let exit = destroy_in(launcher, cgroup);
    // It makes nothing more.
    let made = progress.map_or(0, |progress| progress.made.load(Relaxed));
    // A child of ours keeps its number until we reap it; who has the memory in the container may have written another's.
    if made > 0 && process::is_child(made).is_ok() {
        match ProcessHandle::open(made) {
            Ok(made) => drop(destroy_in(&made, cgroup)),
            Err(errno) => {
                warn(&format!("open a pidfd of process {made}, which the launcher has made: {errno}"));
                destroy_unnamed(made);
            }
        }
    }
    exit
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
    match limit {
        Some((file, _)) => error.with_hint("raise that limit").at_field(field_of(file)),
        None => error,
    }
}
