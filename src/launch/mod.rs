//! The parent: opens what the child cannot reach, clones it, and walks the plan's steps.
//!
//! Runs in the process that was called. Looks at the plan and at descriptors, never at the specification. If
//! a step fails, the child is killed and reaped and the cgroup is removed before the error is returned.

mod connect;
mod fds;
mod hooks;
mod idmap;
mod last_calls;
mod listener;
mod netdev;
pub mod skeleton;
mod started;
mod steps;
pub mod trace;

use std::os::fd::{AsFd, OwnedFd};

use crate::cgroup::{Cgroup, Leftover, rdt::Rdt};
use crate::error::{Error, Result, Stage};
use crate::plan::Plan;
use crate::sys::process::{self, Exit};

pub use connect::connect;
pub use hooks::{Output as HookOutput, run as run_hooks, run_each as run_each_hook};
pub use started::await_program;
pub use steps::open_fifo;
pub use trace::Trace;

/// A process that was started.
#[derive(Debug)]
pub struct Running {
    /// Its pid, as we see it.
    pub pid: i32,
    /// Its pidfd.
    pub pidfd: OwnedFd,
    /// Its cgroup, where it has one of its own.
    pub cgroup: Option<Cgroup>,
    /// Its resource control group, where one was asked for.
    pub rdt: Option<Rdt>,
}

/// How far a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Nothing outlives the runtime yet.
    Planned,
    /// It exists, in its cgroup, and dies with the runtime.
    Cloned,
    /// It is set up, and stands on its own.
    Ready,
}

/// What is launched, and with what.
pub struct Launch<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Where hooks write to.
    pub hook_output: HookOutput,
    /// Warnings of hooks and others.
    pub warn: &'a dyn Fn(&str),
    /// Told how far the process is, and what there is of it.
    pub tell: &'a mut dyn FnMut(Moment, Option<&Running>) -> Result<()>,
    /// What the process gets in place of our standard streams, by number.
    pub streams: [Option<OwnedFd>; 3],
    /// The connected console socket.
    pub console: Option<OwnedFd>,
    /// The start fifo, open for reading and writing.
    pub fifo: Option<OwnedFd>,
    /// The pidfd of the container's init, for exec.
    pub init: Option<OwnedFd>,
    /// The cgroup to join, for exec.
    pub cgroup: Option<Cgroup>,
    /// Where times are noted.
    pub trace: Option<&'a mut Trace>,
}

/// Launches; on failure nothing of it is left.
pub fn launch(launch: Launch<'_>) -> Result<Running> {
    let made_cgroup = launch.cgroup.is_none();
    let mut parent = steps::Parent::new(launch)?;
    match parent.walk() {
        Ok(()) => parent.finish(),
        Err(error) => {
            let error = parent.explain(error);
            let launch = parent.abandon();
            if let Some(cgroup) = launch.cgroup.as_ref().filter(|_| made_cgroup)
                && let Some(error) = remove_cgroup(cgroup)
            {
                (launch.warn)(&error.to_string());
            }
            Err(error)
        }
    }
}

/// Kills and reaps a child that will not become a container.
fn destroy(pid: i32, pidfd: &OwnedFd) -> Option<Exit> {
    // ESRCH: it is gone already, which is what is wanted.
    let _ = process::pidfd_kill(pidfd.as_fd(), libc::SIGKILL);
    process::wait(pid, libc::__WALL).ok().flatten().map(|(_, exit)| exit)
}

/// The same for a child of which there is no pidfd: its pid is its own until it is reaped.
fn destroy_unnamed(pid: i32) {
    // ESRCH: it is gone already, which is what is wanted.
    let _ = crate::sys::process::kill(pid, libc::SIGKILL);
    // It goes to whoever reaps for us if this fails.
    let _ = process::wait(pid, libc::__WALL);
}

/// Removes the cgroup of a failed launch. The error that led here is the one worth reporting; what cannot be
/// removed is found again by `delete`, which says why.
fn remove_cgroup(cgroup: &Cgroup) -> Option<Error> {
    cgroup.remove(Leftover::Kill).err()
}

/// An error of the exchange with the child.
fn sync_error(what: impl Into<String>) -> Error {
    Error::new(Stage::Sync, what)
}
