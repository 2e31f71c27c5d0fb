//! The parent: opens what the child cannot reach, clones it, and walks the plan's steps.
//!
//! Runs in the process that was called. Looks at the plan and at descriptors, never at the specification. If
//! a step fails, the child is killed and reaped and the cgroup is removed before the error is returned.
//!
//! The modules, in the order of the work: `running` is what is launched; `fds`, `skeleton`, `idmap`, `host_objects`, `netdev`,
//! `hooks`, `listener` (with `connect`) and `last_calls` each do what one kind of step asks; `steps` walks them, `waits` is what is waited for
//! meanwhile, `launcher` the end of what comes to nothing, and `trace` notes when; `overlay` measures what the program has written, and `started` is the end of it, in `start`; `keeper`
//! is the parent of a pool's member.

mod connect;
mod fds;
mod hooks;
mod host_objects;
mod idmap;
mod keeper;
mod last_calls;
mod launcher;
mod listener;
mod netdev;
mod overlay;
mod running;
pub mod skeleton;
mod started;
mod steps;
pub mod trace;
mod waits;

use crate::cgroup::{Cgroup, Leftover};
use crate::error::{Error, Result};
use crate::sys::interrupt;

pub use connect::connect;
pub use hooks::{HookOutput, Meanwhile, WhileHooksRun, run_each_hook, run_hooks, run_hooks_while};
pub use keeper::{end_of, keep};
pub use overlay::{OverlayUse, UpperLayer};
pub use running::{Launch, Moment, Running, TellAgain, Waiting};
pub use started::await_program;
pub use steps::open_fifo;
pub use trace::Trace;

/// Launches; on failure nothing of it is left, unless its process does not end by SIGKILL.
pub fn launch(launch: Launch<'_>) -> Result<Running> {
    let made_cgroup = launch.cgroup.is_none();
    let mut parent = steps::Parent::new(launch)?;
    match parent.walk() {
        Ok(()) => parent.finish(),
        Err(error) => {
            interrupt::undo();
            let error = parent.explain(error);
            let (launch, ended) = parent.abandon();
            if let Some(cgroup) = launch.cgroup.as_ref().filter(|_| made_cgroup && ended)
                && let Some(error) = remove_cgroup(cgroup)
            {
                (launch.warn)(&error.to_string());
            }
            Err(error)
        }
    }
}

/// Removes the cgroup of a failed launch. The error that led here is the one worth reporting; what cannot be
/// removed is found again by `delete`, which says why.
fn remove_cgroup(cgroup: &Cgroup) -> Option<Error> {
    cgroup.remove(Leftover::Kill).err()
}
