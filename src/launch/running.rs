//! A process that is being started: what is known of it, and its end where it will not become a container.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use super::hooks::HookOutput;
use super::overlay::UpperLayer;
use super::trace::Trace;
use crate::cgroup::{Cgroup, rdt::Rdt};
use crate::error::{Context, Error, Result, Stage};
use crate::plan::Plan;
use crate::sys::pidfd::{self, ProcessHandle};
use crate::sys::poll::{self, PollFd, PollFlags};
use crate::sys::process::{self, Exit};
use crate::sys::signal;
use crate::wire;

/// A process that was started.
#[derive(Debug)]
pub struct Running {
    /// Its names.
    pub process: ProcessHandle,
    /// Its cgroup, where it has one of its own.
    pub cgroup: Option<Cgroup>,
    /// Its resource control group, where one was asked for.
    pub rdt: Option<Rdt>,
    /// Its overlay, where somebody wants to know how large it becomes; not before it is ready.
    pub overlay: Option<UpperLayer>,
}

/// A template's process.
#[derive(Debug)]
pub struct Waiting {
    /// Its names.
    pub process: ProcessHandle,
    /// Its own end of the socket from which it takes the second block, until our child has it.
    pub sender: Option<OwnedFd>,
}

impl Waiting {
    /// Fetches the socket. That takes the rights of a debugger, which no process of the container has over it.
    pub fn find(process: ProcessHandle) -> Result<Waiting> {
        let what = || format!("fetch the socket of process {}, which waits to be started", process.pid);
        let sender = pidfd::getfd(process.pidfd.as_fd(), wire::waiting::SENDER).at(Stage::Sync, what)?;
        Ok(Waiting { process, sender: Some(sender) })
    }

    /// The end at which it takes what it is sent. Once it has said that it has, what it has by this number is its program's.
    pub(super) fn receiver(&self) -> Result<OwnedFd> {
        pidfd::getfd(self.process.pidfd.as_fd(), wire::waiting::RECEIVER)
            .at(Stage::Sync, || format!("fetch the socket at which process {} waits", self.process.pid))
    }
}

/// How far a process is, and what there is of it.
#[derive(Clone, Copy, Debug)]
pub enum Moment<'a> {
    /// There is none, and nothing outlives the runtime yet.
    Planned,
    /// The process exists, in its cgroup, and dies with the runtime.
    Cloned(&'a Running),
    /// The process is set up, dies with the runtime, and waits to be let go ([`crate::plan::Hold`]).
    Held(&'a Running),
    /// The process is set up, and stands on its own.
    Ready(&'a Running),
    /// The program does not run yet, and the time that was asked for has come.
    Due(&'a Running),
}

/// When whoever was told wants to be told again, at the latest.
pub type TellAgain = Option<Instant>;

/// What is launched, and with what.
pub struct Launch<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Where hooks write to.
    pub hook_output: HookOutput,
    /// Warnings of hooks and others.
    pub warn: &'a dyn Fn(&str),
    /// Told how far the process is; says when it wants to be told again at the latest.
    pub tell: &'a mut dyn FnMut(Moment<'_>) -> Result<TellAgain>,
    /// What the process gets in place of our standard streams, by number.
    pub streams: [Option<OwnedFd>; 3],
    /// The connected console socket.
    pub console: Option<OwnedFd>,
    /// The start fifo, open for reading and writing.
    pub fifo: Option<OwnedFd>,
    /// The pidfd of the container's first process, for one more that joins it.
    pub init: Option<OwnedFd>,
    /// The process that waits for its second block, for the start of a template.
    pub waiting: Option<Waiting>,
    /// The cgroup to join, for exec.
    pub cgroup: Option<Cgroup>,
    /// Where times are noted.
    pub trace: Option<&'a mut Trace>,
    /// When whoever is told wants to be told at the latest although nothing has come of it yet; until [`Moment::Held`].
    pub due: TellAgain,
}

/// Kills and reaps a child that will not become a container.
pub(super) fn destroy(child: &ProcessHandle) -> Option<Exit> {
    destroy_in(child, None)
}

/// [`destroy`] for a child that may be in this cgroup, whose freezer would keep it.
pub(super) fn destroy_in(child: &ProcessHandle, cgroup: Option<&Cgroup>) -> Option<Exit> {
    if !kill_in(child, cgroup) {
        return None;
    }
    // Whoever traces it hears of its end first, and until it is reaped its pid namespace does not end.
    let end = Instant::now() + PATIENCE;
    loop {
        match reap(child.pid) {
            None if process::is_child(child.pid).is_ok() && Instant::now() < end => {
                // It waits for nothing but the time.
                let _ = poll::undisturbed(&mut [], poll::within(LOOK_AGAIN));
            }
            exit => return exit,
        }
    }
}

/// [`destroy_in`] for one that nobody needs to know the end of: it is not waited for where its tracer keeps it.
pub(super) fn destroy_or_leave(child: &ProcessHandle, cgroup: Option<&Cgroup>) {
    if kill_in(child, cgroup) {
        reap(child.pid);
    }
}

/// Kills a child that may be in this cgroup; whether it has ended.
fn kill_in(child: &ProcessHandle, cgroup: Option<&Cgroup>) -> bool {
    // ESRCH: it is gone already, which is what is wanted.
    let _ = pidfd::kill(child.pidfd.as_fd(), libc::SIGKILL);
    if cgroup.is_some_and(|cgroup| cgroup.let_end(child.pid).is_err()) {
        // It is waited for by nobody then, and ends when it is thawed.
        return false;
    }
    // A process in a call that the kernel lets nobody leave, of a file system that does not answer, ends when that ends.
    has_ended(&child.pidfd, poll::within(PATIENCE))
}

/// How a child ended, which has; not of a template's process, which is another's, nor of one whose tracer does not let it go.
pub(super) fn reap(pid: i32) -> Option<Exit> {
    process::wait(pid, libc::__WALL | libc::WNOHANG).ok().flatten().map(|(_, exit)| exit)
}

/// Whether a process ends until then; also where that cannot be told.
pub(super) fn has_ended(pidfd: &OwnedFd, by: Option<Instant>) -> bool {
    poll::undisturbed(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], by) != Ok(false)
}

/// How soon it is looked again whether a process that has ended can be reaped.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// How long a process may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// [`destroy`] for a child of which there is no pidfd: its pid is its own until it is reaped.
pub(super) fn destroy_unnamed(pid: i32) {
    // ESRCH: it is gone already, which is what is wanted.
    let _ = signal::kill(pid, libc::SIGKILL);
    // If this fails, whoever reaps for us gets the child.
    let _ = process::wait(pid, libc::__WALL);
}

/// An error of the exchange with the child.
pub(super) fn sync_error(what: impl Into<String>) -> Error {
    Error::new(Stage::Sync, what)
}
