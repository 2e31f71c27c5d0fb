//! Who stays with a program up to its end, in the foreground of `run` and `exec` or as a monitor: signals are passed on, streams
//! are relayed, children are reaped, limits are looked after.
//!
//! `watch` are the limits, and `announcement` is what other commands say of them; `signals` are those that are sent to us; `readiness`
//! is who waits until the program is ready; `ended` is how it ended.

pub(in crate::container) mod announcement;
pub(in crate::container) mod ended;
mod readiness;
pub(in crate::container) mod signals;
pub(in crate::container) mod watch;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use ended::Ended;
use readiness::Readiness;
use signals::News;
use watch::{ProgramCgroup, Watch, WatchedProgram};

use crate::cgroup::Cgroup;
use crate::container::caller::flows::{Direction, Flow, Flows};
use crate::container::caller::notify::Notify;
use crate::container::caller::streams::Relayed;
use crate::container::caller::terminal::CallersTerminal;
use crate::error::{Context, Error, Result, Stage};
use crate::launch;
use crate::sys::interrupt;
use crate::sys::poll::{self, PollFd, PollFlags};
use crate::sys::process::{self, ChildUsage, Exit, ToldExit};

/// A program that is stayed with, and what there is of it and its caller.
pub(in crate::container) struct Attended<'a> {
    pub pid: i32,
    pub pidfd: OwnedFd,
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
    pub fn of_child(pid: i32, pidfd: OwnedFd, signals: OwnedFd, warn: &'a dyn Fn(&str)) -> Attended<'a> {
        Attended { pid, pidfd, signals, master: None, streams: Relayed::default(), notify: None, end: None, warn }
    }

    fn program<'p>(&'p self, cgroup: ProgramCgroup<&'p Cgroup>) -> WatchedProgram<'p> {
        WatchedProgram { pid: self.pid, pidfd: self.pidfd.as_fd(), cgroup }
    }
}

/// How long a keeper may take to say how its program ended, which it was told when we were.
const KEEPER: Duration = Duration::from_secs(10);

/// How long what a program has written is passed on once it has ended and a signal has come: nobody is left to pass that on to, so it
/// is for us, who wait for a reader that may never read. What he takes at once he gets, however much is written by what was left behind.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Waits for the program of a command that knows no limits; how it ended.
pub(in crate::container) fn to_end(attended: Attended) -> Result<Ended> {
    to_end_within(attended, None, ProgramCgroup::Own(None), &mut || Ok(()))
}

/// Waits for the program, and looks after its limits; how it ended. `release` lets the command
/// end that was called, where we are another process: once the program is ready, if somebody wants to be told of that.
pub(in crate::container) fn to_end_within(
    mut attended: Attended,
    watch: Option<&mut Watch>,
    cgroup: ProgramCgroup<&Cgroup>,
    release: &mut dyn FnMut() -> Result<()>,
) -> Result<Ended> {
    interrupt::hand_over();
    let own = attended.master.is_some().then(CallersTerminal::take);
    let mut flows = Flows::of(attended.master.take(), std::mem::take(&mut attended.streams))?;
    let survivor = watch.as_deref().is_some_and(Watch::in_background).then_some(attended.pid);
    let mut readiness = Readiness { socket: attended.notify.take(), survivor, release: Some(release) };
    let ended = relay(&attended, cgroup, &mut flows, own.as_ref(), &mut readiness, watch);
    drop(own);
    flows.tell_lost(attended.warn);
    ended
}

/// Relays until the process has ended and everything it wrote is written.
fn relay(
    attended: &Attended<'_>,
    cgroup: ProgramCgroup<&Cgroup>,
    flows: &mut Flows,
    own: Option<&CallersTerminal>,
    readiness: &mut Readiness<'_>,
    mut watch: Option<&mut Watch>,
) -> Result<Ended> {
    let mut status = None;
    let program = attended.program(cgroup);
    readiness.settle()?;
    let mut last_words: Option<Instant> = None;
    let tell = |done: Result<()>| done.unwrap_or_else(|error| (attended.warn)(&error.to_string()));
    loop {
        // poll(2) reports hang-ups on descriptors without events, too: only what counts is passed.
        let mut polled = Polled(vec![PollFd::new(attended.signals.as_fd(), PollFlags::POLLIN)]);
        let pidfd = polled.add(status.is_none().then(|| attended.pidfd.as_fd()), PollFlags::POLLIN);
        polled.add(readiness.socket.as_ref().map(Notify::fd), PollFlags::POLLIN);
        // Its limits are those of a program that runs.
        let watching = watch.as_deref().filter(|_| status.is_none());
        let parent = polled.add(watching.and_then(Watch::parent), PollFlags::POLLIN);
        let mut indices = Vec::with_capacity(flows.list.len());
        for flow in &flows.list {
            indices.push((polled.add(flow.source(), PollFlags::POLLIN), polled.add(flow.sink(), PollFlags::POLLOUT)));
        }
        let written = flows.list.iter().all(|flow| flow.buffer.is_empty());
        let flush = status.zip(watch.as_deref()).and_then(|((exit, _), watch)| watch.flush_by(exit, flows.written()));
        let by = match watching.and_then(Watch::next).or(flush) {
            _ if status.is_some() && (written || last_words.is_some()) => poll::now(),
            next => next,
        };
        let something = poll::undisturbed(&mut polled.0, by).at(Stage::Signal, || "wait for the container")?;
        let (ended, parent_gone, signalled) =
            (polled.is_ready(pidfd), polled.is_ready(parent), polled.is_ready(Some(0)));
        let events: Vec<(bool, bool)> =
            indices.into_iter().map(|(source, sink)| (polled.is_ready(source), polled.is_ready(sink))).collect();
        readiness.listen(attended.warn);
        // The watch waits for no program that has ended.
        if ended {
            readiness.let_go()?
        } else {
            readiness.settle()?
        }
        // What was said of its end came before it, if not before poll(2) looked.
        let heard = match signalled || ended && watch.is_some() {
            true => signals::pass(program, attended.signals.as_fd(), watch.as_deref_mut())?,
            false => News::default(),
        };
        if let (true, Some(own), Some(master)) = (heard.resized, own, &flows.master) {
            own.resize(master.as_fd());
        }
        let mut room = watch.as_deref().map_or(u64::MAX, |watch| watch.output_left(flows.written()));
        for (flow, (fill, drain)) in flows.list.iter_mut().zip(events) {
            let before = if flow.direction == Direction::ToCaller { flow.seen } else { 0 };
            if drain {
                flow.drain();
            }
            if fill {
                flow.fill(room);
            }
            room = room.saturating_sub(flow.seen - before);
        }
        if ended {
            status = Some(how_it_ended(attended, watch.as_deref_mut())?);
            flows.close_input();
            if let Some(watch) = &mut watch {
                watch.has_ended();
            }
        } else if let (None, Some(watch)) = (status, &mut watch) {
            // The program runs on, and is waited for.
            if parent_gone {
                tell(watch.orphaned(program));
            }
            tell(watch.look(program, flows.written()));
        }
        flows.settle();
        if readiness.release.is_none() && watch.as_deref().is_some_and(Watch::in_background) {
            tell(flows.let_go());
        }
        let Some((exit, usage)) = status else { continue };
        // A process that was left behind may keep the streams open: what it will write one day is not waited for.
        let over = last_words.is_some_and(|by| heard.passed || !something || Instant::now() >= by);
        last_words = last_words.or_else(|| heard.passed.then(|| poll::within(LAST_WORDS))?);
        let too_late = over || flush.is_some_and(|by| Instant::now() >= by);
        if too_late {
            tell(flows.give_up());
        }
        if too_late || flows.list.iter().all(Flow::is_done) || !something && written {
            let written = flows.written();
            let (cause, output) = watch.map_or((None, None), |watch| watch.end(exit, written));
            return Ok(Ended { exit, usage: Some(usage), cause, output });
        }
    }
}

/// What poll(2) is asked about.
struct Polled<'a>(Vec<PollFd<'a>>);

impl<'a> Polled<'a> {
    /// Adds what there is; its index.
    fn add(&mut self, fd: Option<BorrowedFd<'a>>, event: PollFlags) -> Option<usize> {
        self.0.push(PollFd::new(fd?, event));
        Some(self.0.len() - 1)
    }

    fn is_ready(&self, index: Option<usize>) -> bool {
        index.is_some_and(|index| self.0[index].any().unwrap_or(false))
    }
}

fn how_it_ended(attended: &Attended<'_>, watch: Option<&mut Watch>) -> Result<(Exit, ChildUsage)> {
    let parked = watch.filter(|watch| watch.was_parked(attended.pid));
    let (exit, usage) = reap(attended)?;
    Ok((parked.map_or(exit, |watch| watch.never_began(exit)), usage))
}

fn reap(attended: &Attended<'_>) -> Result<(Exit, ChildUsage)> {
    let what = || "wait for the container";
    let Some(end) = &attended.end else {
        return process::wait_usage(attended.pid).at(Stage::Signal, what)?.ok_or_else(nobody_knows);
    };
    let patience = Instant::now() + KEEPER;
    if let Some(ended) = launch::end_of(end.as_fd(), KEEPER)? {
        return Ok(ended);
    }
    // Killed, or stopped. Linux 6.15 tells it once somebody else has reaped the program, which makes the pidfd hang up (6.9).
    let pidfd = attended.pidfd.as_fd();
    let mut told = process::pidfd_exit(pidfd).at(Stage::Signal, what)?;
    if told == ToldExit::NotYet {
        poll::one(pidfd, PollFlags::empty(), Some(patience)).at(Stage::Signal, what)?;
        told = process::pidfd_exit(pidfd).at(Stage::Signal, what)?;
    }
    let ToldExit::Known(exit) = told else { return Err(nobody_knows()) };
    Ok((exit, ChildUsage::default()))
}

fn nobody_knows() -> Error {
    Error::new(Stage::Signal, "the container has ended, but nobody knows how")
}
