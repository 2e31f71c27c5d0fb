//! One look after the other at everything that can happen while a program runs, until it has ended and everything it wrote is
//! written.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::attended::{Attended, LOOK_AGAIN};
use super::ended::Ended;
use super::readiness::Readiness;
use super::signals::{self, News};
use super::watch::{Watch, WatchedProgram};
use crate::container::caller::flows::{Direction, Flow, Flows};
use crate::container::caller::notify::Notify;
use crate::container::caller::terminal::CallersTerminal;
use crate::error::{Context, Result, Stage};
use crate::state::UNHEARD;
use crate::sys::poll::{self, PollFd, PollFlags};
use crate::sys::process::{ChildUsage, Exit};

/// How long what a program has written is passed on once it has ended and a signal has come: nobody is left to pass that on to, so it
/// is for us, who wait for a reader that may never read. What he takes at once he gets, however much is written by what was left behind.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A program that is stayed with, and how far that has come.
pub(super) struct Relaying<'a, 'r> {
    attended: &'a Attended<'a>,
    program: WatchedProgram<'a>,
    flows: &'a mut Flows,
    /// The caller's terminal, where it is in use.
    pub terminal: Option<&'a CallersTerminal>,
    readiness: Readiness<'r>,
    pub watch: Option<&'a mut Watch>,
    /// Until when whoever traces the program, which has ended, may take to hear of that. What is to be relayed does not wait for him.
    untold: Option<Instant>,
    /// How the program ended, once that is known.
    status: Option<(Exit, Option<ChildUsage>)>,
    /// What it wrote is passed on until then, after a signal.
    last_words: Option<Instant>,
}

/// What a look has seen.
struct Happened {
    /// Anything at all, before the time was over.
    something: bool,
    ended: bool,
    parent_gone: bool,
    signalled: bool,
    /// Of each flow.
    flows: Vec<FlowReady>,
    /// Nothing was left to write when it began.
    written: bool,
    /// What was left behind may write until then.
    flush: Option<Instant>,
}

/// What can be done with a flow without waiting.
struct FlowReady {
    fill: bool,
    drain: bool,
}

impl<'a, 'r> Relaying<'a, 'r> {
    pub fn new(
        attended: &'a Attended<'a>,
        program: WatchedProgram<'a>,
        flows: &'a mut Flows,
        readiness: Readiness<'r>,
    ) -> Relaying<'a, 'r> {
        Relaying {
            attended,
            program,
            flows,
            terminal: None,
            readiness,
            watch: None,
            untold: None,
            status: None,
            last_words: None,
        }
    }

    pub fn run(mut self) -> Result<Ended> {
        self.readiness.settle()?;
        loop {
            let seen = self.look()?;
            self.readiness.listen(self.attended.warn);
            // The watch waits for no program that has ended.
            if seen.ended {
                self.readiness.let_go()?;
            } else {
                self.readiness.settle()?;
            }
            let heard = self.hear(&seen)?;
            self.pass_on(&seen.flows);
            if seen.ended {
                self.has_ended()?;
            } else if self.status.is_none() {
                self.look_after(&seen);
            }
            self.flows.settle();
            if self.readiness.release.is_none() && self.watch.as_deref().is_some_and(Watch::in_background) {
                let done = self.flows.let_go();
                self.tell(done);
            }
            if let Some((exit, usage)) = self.status
                && self.over(&seen, &heard)
            {
                let written = self.flows.written();
                let (cause, output) = self.watch.map_or((None, None), |watch| watch.end(exit, written));
                return Ok(Ended { exit, usage, cause, output });
            }
        }
    }

    /// Waits until something happens.
    fn look(&self) -> Result<Happened> {
        let untold = self.status.is_none() && self.untold.is_some();
        let runs = self.status.is_none() && !untold;
        // poll(2) reports hang-ups on descriptors without events, too: only what counts is passed.
        let mut polled = Polled(Vec::with_capacity(8));
        let signals = polled.add(Some(self.attended.signals.as_fd()), PollFlags::POLLIN);
        let pidfd = polled.add(runs.then(|| self.attended.process.pidfd.as_fd()), PollFlags::POLLIN);
        polled.add(self.readiness.socket.as_ref().map(Notify::fd), PollFlags::POLLIN);
        // Its limits are those of a program that runs.
        let watching = self.watch.as_deref().filter(|_| runs);
        let parent = polled.add(watching.and_then(Watch::parent), PollFlags::POLLIN);
        let mut ends = Vec::with_capacity(self.flows.list.len());
        for flow in &self.flows.list {
            ends.push((polled.add(flow.source(), PollFlags::POLLIN), polled.add(flow.sink(), PollFlags::POLLOUT)));
        }
        let written = self.flows.list.iter().all(|flow| flow.buffer.is_empty());
        let flush = self.status.zip(self.watch.as_deref());
        let flush = flush.and_then(|((exit, _), watch)| watch.flush_by(exit, self.flows.written()));
        let by = match watching.and_then(Watch::next).or(flush) {
            _ if untold => poll::within(LOOK_AGAIN),
            _ if !runs && (written || self.last_words.is_some()) => poll::now(),
            next => next,
        };
        let waited = match by {
            None => poll::undisturbed_for(&mut polled.0, UNHEARD),
            by => poll::undisturbed(&mut polled.0, by),
        };
        let something = waited.at(Stage::Signal, || "wait for the container")?;
        let look = runs && (!something || watching.is_some_and(Watch::was_killed));
        Ok(Happened {
            something,
            ended: untold || polled.is_ready(pidfd) || look && self.attended.has_ended(watching),
            parent_gone: polled.is_ready(parent),
            signalled: polled.is_ready(signals),
            flows: ends
                .into_iter()
                .map(|(source, sink)| FlowReady { fill: polled.is_ready(source), drain: polled.is_ready(sink) })
                .collect(),
            written,
            flush,
        })
    }

    /// Passes signals on.
    fn hear(&mut self, seen: &Happened) -> Result<News> {
        // What was said of its end came before it, if not before poll(2) looked.
        let matters = seen.signalled || seen.ended && self.watch.is_some();
        if !matters {
            return Ok(News::default());
        }
        let heard = signals::pass(self.program, self.attended.signals.as_fd(), self.watch.as_deref_mut())?;
        if let (Some(terminal), Some(master)) = (self.terminal, &self.flows.master) {
            if heard.continued {
                terminal.take_again();
            }
            if heard.resized || heard.continued {
                terminal.resize(master.as_fd());
            }
        }
        Ok(heard)
    }

    /// Moves what can be moved, as long as the program may write.
    fn pass_on(&mut self, seen: &[FlowReady]) {
        let mut room = self.watch.as_deref().map_or(u64::MAX, |watch| watch.output_left(self.flows.written()));
        for (flow, seen) in self.flows.list.iter_mut().zip(seen) {
            let before = if flow.direction == Direction::ToCaller { flow.seen } else { 0 };
            if seen.drain {
                flow.drain();
            }
            if seen.fill {
                flow.fill(room);
            }
            room = room.saturating_sub(flow.seen - before);
        }
    }

    fn has_ended(&mut self) -> Result<()> {
        let parked = self.watch.as_deref().is_some_and(|watch| watch.was_parked(self.attended.process.pid));
        if let Some(watch) = &mut self.watch {
            watch.has_ended();
        }
        let reaped = self.attended.reap(self.watch.as_deref(), &mut self.untold)?;
        let Some((exit, usage)) = reaped else { return Ok(()) };
        let exit = match self.watch.as_deref_mut() {
            Some(watch) if parked => watch.never_began(exit),
            _ => exit,
        };
        self.status = Some((exit, usage));
        self.flows.close_input();
        Ok(())
    }

    /// The program runs on: are its limits kept?
    fn look_after(&mut self, seen: &Happened) {
        let Some(watch) = &mut self.watch else { return };
        let orphaned = if seen.parent_gone { watch.orphaned(self.program) } else { Ok(()) };
        let looked = watch.look(self.program, self.flows.written());
        self.tell(orphaned);
        self.tell(looked);
    }

    /// Whether nothing more is waited for, now that the program has ended. A process that was left behind may keep the streams open:
    /// what it will write one day is not waited for.
    fn over(&mut self, seen: &Happened, heard: &News) -> bool {
        let by = |end: Instant| Instant::now() >= end;
        let spoken = self.last_words.is_some_and(|end| heard.passed || !seen.something || by(end));
        self.last_words = self.last_words.or_else(|| heard.passed.then(|| poll::within(LAST_WORDS))?);
        let too_late = spoken || seen.flush.is_some_and(by);
        if too_late {
            let done = self.flows.give_up();
            self.tell(done);
        }
        too_late || self.flows.list.iter().all(Flow::is_done) || !seen.something && seen.written
    }

    /// What goes wrong here ends no program.
    fn tell(&self, done: Result<()>) {
        done.unwrap_or_else(|error| (self.attended.warn)(&error.to_string()));
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
