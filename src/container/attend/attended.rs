//! A program that is stayed with, by its parent or by a monitor.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use super::watch::{ProgramCgroup, Watch, WatchedProgram};
use crate::cgroup::Cgroup;
use crate::container::caller::notify::Notify;
use crate::container::caller::streams::Relayed;
use crate::error::{Context, Error, Result, Stage};
use crate::launch;
use crate::proc::stat;
use crate::sys::pidfd::{self, ProcessHandle, ToldExit};
use crate::sys::poll::{self, PollFlags};
use crate::sys::process::{self, ChildUsage, Exit};

/// How long a keeper may take to say how its program ended, which it was told when we were.
const KEEPER: Duration = Duration::from_secs(10);

/// How long whoever traces a program that has ended may take to hear of it.
const TRACER: Duration = Duration::from_secs(2);

/// How often it is looked meanwhile.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A program that is stayed with, and what there is of it and its caller.
pub(in crate::container) struct Attended<'a> {
    pub process: ProcessHandle,
    pub signals: OwnedFd,
    pub master: Option<OwnedFd>,
    pub streams: Relayed,
    pub notify: Option<Notify>,
    /// Where its keeper says how it ended, where its parent is not us.
    pub end: Option<OwnedFd>,
    pub warn: &'a dyn Fn(&str),
}

impl<'a> Attended<'a> {
    /// A child whose streams are its own.
    pub fn of_child(process: ProcessHandle, signals: OwnedFd, warn: &'a dyn Fn(&str)) -> Attended<'a> {
        Attended { process, signals, master: None, streams: Relayed::default(), notify: None, end: None, warn }
    }

    pub fn program<'p>(&'p self, cgroup: ProgramCgroup<&'p Cgroup>) -> WatchedProgram<'p> {
        WatchedProgram { process: &self.process, cgroup }
    }

    /// Whether it has ended, also where its pidfd does not say so: that waits for whoever traces one of its threads. One that was killed
    /// may be stopped at its end for that (`PTRACE_O_TRACEEXIT`), and does nothing more; nor does the first of a pid namespace, which
    /// waits for the others at its end, one of whom may be stopped so, nor who is in a call that the kernel lets nobody leave.
    pub fn has_ended(&self, watch: Option<&Watch>) -> bool {
        // What cannot be looked at is heard of.
        let stat = stat::read(self.process.pid).ok().flatten();
        stat.is_some_and(|stat| {
            let was = |killed: fn(&Watch) -> bool| watch.is_some_and(killed);
            stat.dead || stat.stopped && was(Watch::was_killed) || (stat.held || stat.dying) && was(Watch::is_given_up)
        })
    }

    /// How it ended, now that it has. `None` while whoever traces it has not heard of that, for whom we wait until `untold` at the most.
    pub fn reap(
        &self,
        watch: Option<&Watch>,
        untold: &mut Option<Instant>,
    ) -> Result<Option<(Exit, Option<ChildUsage>)>> {
        let what = || "wait for the container";
        let pid = self.process.pid;
        if watch.is_some_and(Watch::is_given_up) && stat::read(pid).ok().flatten().is_some_and(|stat| !stat.dead) {
            (self.warn)(&format!(
                "process {pid} was killed, and has not ended: it is left to whoever traces it, or what it has started, or \
                 to the call that it does not leave"
            ));
            return Ok(Some((Exit::Signal(libc::SIGKILL), None)));
        }
        let Some(end) = &self.end else { return self.reap_child(untold) };
        let patience = Instant::now() + KEEPER;
        if let Some((exit, usage)) = launch::end_of(end.as_fd(), KEEPER)? {
            return Ok(Some((exit, Some(usage))));
        }
        // Killed, or stopped. Linux 6.15 tells it once somebody else has reaped the program, which makes the pidfd hang up (6.9).
        let pidfd = self.process.pidfd.as_fd();
        let mut told = pidfd::exit(pidfd).at(Stage::Signal, what)?;
        if told == ToldExit::NotYet {
            poll::one(pidfd, PollFlags::empty(), Some(patience)).at(Stage::Signal, what)?;
            told = pidfd::exit(pidfd).at(Stage::Signal, what)?;
        }
        let ToldExit::Known(exit) = told else { return Err(nobody_knows()) };
        Ok(Some((exit, None)))
    }

    /// Who traces it is told before us, and we are told when he has heard it: a program of the container that never does would keep us for
    /// ever.
    fn reap_child(&self, untold: &mut Option<Instant>) -> Result<Option<(Exit, Option<ChildUsage>)>> {
        let pid = self.process.pid;
        let what = || format!("wait for process {pid}, which has ended");
        if let Some((exit, usage)) = process::reap(pid).at(Stage::Signal, what)? {
            return Ok(Some((exit, Some(usage))));
        }
        let now = Instant::now();
        if now < *untold.get_or_insert(now + TRACER) {
            return Ok(None);
        }
        (self.warn)(&format!("process {pid} has ended, and is left to whoever traces it"));
        let status = stat::exit_status(pid).at(Stage::Signal, what)?.ok_or_else(nobody_knows)?;
        Ok(Some((process::exit_of(status), None)))
    }
}

fn nobody_knows() -> Error {
    Error::new(Stage::Signal, "the container has ended, but nobody knows how")
}
