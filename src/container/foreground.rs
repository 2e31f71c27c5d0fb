//! The foreground of `run` and `exec`: signals are passed on, streams are relayed, children are reaped.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::job::ended::Ended;
use super::job::watch::{Announcement, Watch, Watched, WatchedCgroup};
use super::notify::{Heard, Notify};
use super::streams::{FLUSH, OutputPipe, Relayed, TerminalReading, end_of_input};
use crate::error::{Context, Error, Result, Stage};
use crate::launch;
use crate::sys::poll::{self, PollFd, PollFlags};
use crate::sys::process::{self, ChildUsage, Exit, ToldExit};
use crate::sys::signal::{self, Pending};
use crate::sys::{fs, tty};

/// A process that is waited for.
pub(super) struct Foreground<'a> {
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

impl<'a> Foreground<'a> {
    /// A child whose streams are its own.
    pub fn of_child(pid: i32, pidfd: OwnedFd, signals: OwnedFd, warn: &'a dyn Fn(&str)) -> Foreground<'a> {
        Foreground { pid, pidfd, signals, master: None, streams: Relayed::default(), notify: None, end: None, warn }
    }
}

/// From now on signals are read from a descriptor. Before the clone, so that none is lost.
pub(super) fn take_signals() -> Result<OwnedFd> {
    signal::take_all().at(Stage::Signal, || "take the signals")
}

/// Bytes on their way between one of the caller's streams and our end of the program's.
struct Flow {
    direction: Direction,
    caller: BorrowedFd<'static>,
    /// The caller's other stream, where that is the same.
    twin: Option<BorrowedFd<'static>>,
    /// Our end; none when one side has hung up.
    ours: Option<OwnedFd>,
    buffer: Vec<u8>,
    from: State,
    /// How many bytes have come.
    seen: u64,
    /// Why what came could not be passed on.
    lost: Option<LostOutput>,
    /// Whether the caller's stream is no longer ours.
    let_go: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LostOutput {
    /// No disk has room for ever.
    Failed(Errno),
    /// Nobody has read it for [`FLUSH`].
    Unread,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToProgram,
    ToCaller,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Ended,
}

/// How long a keeper may take to say how its program ended, which it was told when we were.
const KEEPER: Duration = Duration::from_secs(10);

/// How much is read before it has to be written: a reader that stops makes the writer wait, not us grow.
const ROOM: usize = 32 * 1024;

/// What poll(2) promises of a pipe that can be written (PIPE_BUF, pipe(7)): more could keep us from hearing signals.
const AT_ONCE: usize = 4096;

impl Flow {
    fn new(direction: Direction, caller: BorrowedFd<'static>, ours: OwnedFd) -> Flow {
        Flow {
            direction,
            caller,
            twin: None,
            ours: Some(ours),
            buffer: Vec::with_capacity(ROOM),
            from: State::Open,
            seen: 0,
            lost: None,
            let_go: false,
        }
    }

    /// Where the next bytes come from, while there is room for them.
    fn source(&self) -> Option<BorrowedFd<'_>> {
        let ours = self.ours.as_ref().filter(|_| self.from == State::Open && self.buffer.len() < ROOM)?;
        Some(if self.direction == Direction::ToProgram { self.caller } else { ours.as_fd() })
    }

    /// Where they go, while there are any.
    fn sink(&self) -> Option<BorrowedFd<'_>> {
        let ours = self.ours.as_ref().filter(|_| !self.buffer.is_empty())?;
        Some(if self.direction == Direction::ToProgram { ours.as_fd() } else { self.caller })
    }

    /// Takes what has come; `room` bytes of it are passed on.
    fn fill(&mut self, room: u64) {
        let mut chunk = [0; AT_ONCE];
        let Some(from) = self.source() else { return };
        match fs::read(from, &mut chunk) {
            Err(Errno::EAGAIN) => {}
            // EIO: the last slave of the terminal was closed.
            Ok(0) | Err(_) => self.from = State::Ended,
            Ok(len) => {
                self.seen += len as u64;
                self.buffer.extend_from_slice(&chunk[..len.min(usize::try_from(room).unwrap_or(len))]);
            }
        }
    }

    /// Whoever reads may be gone (EPIPE, EIO, ENOSPC): then the writer has to learn of it, which it does when our end is
    /// closed: by SIGPIPE, or by the hang-up of its terminal.
    fn drain(&mut self) {
        let Some(to) = self.sink() else { return };
        match fs::write(to, &self.buffer[..self.buffer.len().min(AT_ONCE)]) {
            Ok(len) => drop(self.buffer.drain(..len)),
            Err(Errno::EAGAIN) => {}
            // A reader has gone, or the program.
            Err(Errno::EPIPE) => self.hang_up(),
            Err(errno) => {
                self.lost = (self.direction == Direction::ToCaller).then_some(LostOutput::Failed(errno));
                self.hang_up();
            }
        }
    }

    fn hang_up(&mut self) {
        self.ours = None;
        self.buffer.clear();
    }

    /// Everything that will come has come, and was passed on.
    fn is_done(&self) -> bool {
        self.ours.is_none() || self.from == State::Ended && self.buffer.is_empty()
    }
}

/// All flows of one program.
struct Flows {
    list: Vec<Flow>,
    /// The master side of the program's terminal.
    master: Option<OwnedFd>,
    /// How the program reads its terminal, which the end of the caller's input was typed for.
    typed_end: Option<TerminalReading>,
    /// The reading end of the program's input, where what it leaves is given back.
    unread: Option<OwnedFd>,
}

impl Flows {
    fn of(master: Option<OwnedFd>, streams: Relayed) -> Result<Flows> {
        let mut flows = Flows { list: Vec::new(), master: None, typed_end: None, unread: None };
        if let Some(input) = streams.input {
            flows.list.push(Flow::new(Direction::ToProgram, fs::STDIN, input.writer));
            flows.unread = input.reader;
        }
        for OutputPipe { reader, to, twin } in streams.outputs {
            flows.list.push(Flow { twin, ..Flow::new(Direction::ToCaller, to, reader) });
        }
        if let Some(master) = master {
            fs::set_nonblocking(master.as_fd()).at(Stage::Console, || "make the terminal non-blocking")?;
            let copy = || fs::dup(master.as_fd(), 3).at(Stage::Console, || "copy a descriptor");
            flows.list.push(Flow::new(Direction::ToProgram, fs::STDIN, copy()?));
            flows.list.push(Flow::new(Direction::ToCaller, fs::STDOUT, copy()?));
            flows.master = Some(master);
        }
        Ok(flows)
    }

    /// How many bytes the program has written so far.
    fn written(&self) -> u64 {
        self.list.iter().filter(|flow| flow.direction == Direction::ToCaller).map(|flow| flow.seen).sum()
    }

    /// What the program wrote and the caller does not get. The program itself may never learn of it.
    fn tell_lost(&self, warn: &dyn Fn(&str)) {
        for flow in &self.list {
            let Some(lost) = flow.lost else { continue };
            let name = match flow.caller.as_raw_fd() == fs::STDERR.as_raw_fd() {
                true => "error",
                false if flow.twin.is_some() => "output and error",
                false => "output",
            };
            let what = format!("pass standard {name} on: the rest of it is lost");
            let error = match lost {
                LostOutput::Failed(errno) => Error::errno(Stage::Console, what, errno),
                LostOutput::Unread => {
                    let seconds = FLUSH.as_secs();
                    Error::new(
                        Stage::Console,
                        format!("{what}: nobody read it for {seconds} s after the program's end"),
                    )
                }
            };
            warn(&error.to_string());
        }
    }

    fn outputs(&mut self) -> impl Iterator<Item = &mut Flow> {
        self.list.iter_mut().filter(|flow| flow.direction == Direction::ToCaller)
    }

    /// Nobody reads what the program wrote, which has ended. A warning on the same stream would not be read either.
    fn give_up(&mut self) -> Result<()> {
        let what = || "let go of a stream that nobody reads";
        let mut stuck = false;
        for flow in self.outputs().filter(|flow| !flow.is_done() && !flow.buffer.is_empty()) {
            flow.lost = Some(LostOutput::Unread);
            stuck = true;
        }
        if !stuck {
            return Ok(());
        }
        let null = fs::open(fs::CWD, c"/dev/null", libc::O_WRONLY, 0).at(Stage::Console, what)?;
        for stream in [fs::STDOUT, fs::STDERR] {
            if !poll::one(stream, PollFlags::POLLOUT, poll::now()).at(Stage::Console, what)? {
                fs::dup_onto(null.as_fd(), stream.as_raw_fd()).at(Stage::Console, what)?;
            }
        }
        Ok(())
    }

    /// Of a program in the background: whoever reads what it wrote learns of the end when it closes its stream. Standard input
    /// is /dev/null there.
    fn let_go(&mut self) -> Result<()> {
        self.outputs().filter(|flow| flow.is_done() && !flow.let_go).try_for_each(|flow| {
            flow.let_go = true;
            let what = || "let go of a stream that the program has closed";
            let mut streams = [Some(flow.caller), flow.twin].into_iter().flatten();
            streams.try_for_each(|stream| fs::dup_onto(fs::STDIN, stream.as_raw_fd()).at(Stage::Console, what))
        })
    }

    /// After something was read or written: ends are passed on.
    fn settle(&mut self) {
        let gone = self.list.iter().any(|flow| flow.direction == Direction::ToCaller && flow.ours.is_none());
        for flow in self.list.iter_mut().filter(|flow| flow.direction == Direction::ToProgram) {
            match &self.master {
                // A terminal has one end for both directions.
                Some(_) if gone => flow.hang_up(),
                // The terminal stays open for the output: its end of input is a character. Whatever turns to reading it in
                // another way has it typed once more, for what was typed in the old way is lost with that.
                Some(master) if flow.from == State::Ended && flow.buffer.is_empty() => {
                    self.typed_end = end_of_input(master.as_fd(), self.typed_end);
                    flow.hang_up();
                }
                None if flow.is_done() => flow.hang_up(),
                _ => {}
            }
        }
        if gone {
            self.master = None;
        }
    }

    /// The program has ended: what it did not read of a file is there for whoever reads next, as it would be without us.
    fn close_input(&mut self) {
        for flow in self.list.iter_mut().filter(|flow| flow.direction == Direction::ToProgram) {
            if let Some(unread) = self.unread.take() {
                let left = flow.buffer.len() + fs::readable(unread.as_fd()).unwrap_or(0);
                // The file was sought in by the same call before it was read.
                let _ = fs::seek_by(flow.caller, -(left as i64));
            }
            flow.hang_up();
        }
    }
}

/// The terminal that we were called on: one of our streams, else the session's.
fn own_terminal() -> Option<OwnedFd> {
    let stream = [fs::STDIN, fs::STDOUT, fs::STDERR].into_iter().find(|stream| tty::is_tty(*stream));
    match stream {
        Some(stream) => fs::dup(stream, 3).ok(),
        None => fs::open(fs::CWD, c"/dev/tty", libc::O_RDWR | libc::O_NOCTTY, 0).ok(),
    }
}

/// The size of the terminal that we were called on.
pub(super) fn own_size() -> Option<(u16, u16)> {
    own_terminal().as_ref().and_then(size)
}

/// The size of a terminal that has one.
fn size(terminal: &OwnedFd) -> Option<(u16, u16)> {
    tty::size(terminal.as_fd()).ok().filter(|size| *size != (0, 0))
}

/// Restores the terminal we were called on.
struct RestoreTerminal(Option<libc::termios>);

impl Drop for RestoreTerminal {
    fn drop(&mut self) {
        if let Some(termios) = &self.0 {
            // A terminal that is gone needs no restoring.
            let _ = tty::set_attributes(fs::STDIN, termios);
        }
    }
}

/// Waits for the process, and looks after its limits; how it ended. `release` lets the command
/// end that was called, where we are another process: once the program is ready, if somebody wants to be told of that.
pub(super) fn attend(
    foreground: Foreground,
    watch: Option<&mut Watch>,
    cgroup: WatchedCgroup<'_>,
    release: &mut dyn FnMut() -> Result<()>,
) -> Result<Ended> {
    let Foreground { pid, pidfd, signals, master, streams, notify, end, warn } = foreground;
    let attended = Attended { pid, pidfd, cgroup, signals, on_terminal: master.is_some(), end, warn };
    let own = if master.is_some() { own_terminal() } else { None };
    // Raw only where we read what is typed: elsewhere Ctrl-C has to stay the caller's.
    let raw = master.is_some() && tty::is_tty(fs::STDIN);
    let restore = RestoreTerminal(if raw { tty::make_raw(fs::STDIN).ok() } else { None });
    let mut flows = Flows::of(master, streams)?;
    let mut readiness = ReadyWatch { socket: notify, survivor: None, release: Some(release) };
    if watch.as_deref().is_some_and(Watch::in_background) {
        readiness.survivor = Some(pid);
    }
    let ended = relay(&attended, &mut flows, own.as_ref(), &mut readiness, watch);
    drop(restore);
    flows.tell_lost(warn);
    ended
}

/// The size of our terminal becomes the container's, where we have one.
fn resize(own: Option<&OwnedFd>, master: BorrowedFd<'_>) {
    if let Some((rows, columns)) = own.and_then(size) {
        // The container's side may be gone already.
        let _ = tty::set_size(master, rows, columns);
    }
}

/// Who listens to what the program has to say to our supervisor, until it is ready.
struct ReadyWatch<'a> {
    /// Where; none any more when there is no more to be heard.
    socket: Option<Notify>,
    /// The program, where it is what is supervised. Else that is us, and our own process id stands.
    survivor: Option<i32>,
    /// Lets the command end that was called, in the background not before the program is ready.
    release: Option<&'a mut dyn FnMut() -> Result<()>>,
}

impl ReadyWatch<'_> {
    /// A supervisor that cannot be told is no reason to end a program that runs, as with runc.
    fn listen(&mut self, warn: &dyn Fn(&str)) {
        let Some(socket) = &self.socket else { return };
        let heard = socket.hear(self.survivor, warn).unwrap_or_else(|error| {
            warn(&error.to_string());
            Heard::Ready
        });
        if heard == Heard::Ready {
            self.socket = None;
        }
    }

    /// Lets the command go if it waits for nothing more.
    fn settle(&mut self) -> Result<()> {
        if self.holds() { Ok(()) } else { self.let_go() }
    }

    /// Lets the command go, if it has not gone.
    fn let_go(&mut self) -> Result<()> {
        self.release.take().map_or(Ok(()), |release| release())
    }

    /// Whether the command waits until the program is ready.
    fn holds(&self) -> bool {
        self.socket.is_some() && self.survivor.is_some()
    }
}

/// Relays until the process has ended and everything it wrote is written.
fn relay(
    attended: &Attended<'_>,
    flows: &mut Flows,
    own: Option<&OwnedFd>,
    readiness: &mut ReadyWatch<'_>,
    mut watch: Option<&mut Watch>,
) -> Result<Ended> {
    let mut status = None;
    readiness.settle()?;
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
            _ if status.is_some() && written => poll::now(),
            next => next,
        };
        let something = poll::any(&mut polled.0, by).at(Stage::Signal, || "wait for the container")?;
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
            true => pass_signals(attended, watch.as_deref_mut())?,
            false => Heeded::Nothing,
        };
        if let (Heeded::Resized, Some(master)) = (heard, &flows.master) {
            resize(own, master.as_fd());
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
                tell(watch.orphaned(attended.program()));
            }
            tell(watch.look(attended.program(), flows.written()));
        }
        flows.settle();
        if readiness.release.is_none() && watch.as_deref().is_some_and(Watch::in_background) {
            tell(flows.let_go());
        }
        let Some((exit, usage)) = status else { continue };
        // Nobody is left to pass a signal on to: it is for us, who wait for a reader that may never read.
        // A process that was left behind may keep the streams open: what it will write one day is not waited for.
        let too_late = flush.is_some_and(|by| Instant::now() >= by);
        if too_late {
            tell(flows.give_up());
        }
        if too_late || heard == Heeded::Told || flows.list.iter().all(Flow::is_done) || !something && written {
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

/// What of the signals concerns us.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Heeded {
    Nothing,
    /// The window has another size.
    Resized,
    /// One was passed on, or could not be since nobody is there any more.
    Told,
}

/// Whose signals and children we look after.
struct Attended<'a> {
    pid: i32,
    pidfd: OwnedFd,
    cgroup: WatchedCgroup<'a>,
    signals: OwnedFd,
    on_terminal: bool,
    end: Option<OwnedFd>,
    warn: &'a dyn Fn(&str),
}

impl Attended<'_> {
    fn program(&self) -> Watched<'_> {
        Watched { pid: self.pid, pidfd: self.pidfd.as_fd(), cgroup: self.cgroup }
    }
}

/// Passes pending signals on and reaps whoever else was adopted.
fn pass_signals(attended: &Attended<'_>, mut watch: Option<&mut Watch>) -> Result<Heeded> {
    let mut heeded = Heeded::Nothing;
    let mut more = true;
    while more {
        let arrivals = signal::pending(attended.signals.as_fd()).at(Stage::Signal, || "read the signals")?;
        more = !arrivals.contains(&None);
        for arrival in arrivals.into_iter().flatten() {
            match (arrival, &mut watch) {
                (Pending::Signal(signal), _) => {
                    heeded = heed(attended, signal, watch.as_deref_mut())?.unwrap_or(heeded);
                }
                (Pending::Announcement(number), Some(watch)) => {
                    Announcement::of(number).into_iter().for_each(|said| watch.hear(said));
                }
                // Only who has a watch is told something.
                (Pending::Announcement(_), None) => {}
            }
        }
    }
    Ok(heeded)
}

/// What one signal comes to; the last that concerns us counts.
fn heed(attended: &Attended<'_>, signal: i32, watch: Option<&mut Watch>) -> Result<Option<Heeded>> {
    match signal {
        libc::SIGCHLD => {
            reap_others(attended.pid);
            Ok(None)
        }
        libc::SIGWINCH if attended.on_terminal => Ok(Some(Heeded::Resized)),
        // The size of a terminal that is not the program's.
        libc::SIGWINCH | libc::SIGPIPE => Ok(None),
        signal => {
            // To one that has ended, too: its status is about to be read.
            let what = || format!("pass signal {signal} on");
            process::pidfd_signal(attended.pidfd.as_fd(), signal).at(Stage::Signal, what)?;
            if let Some(watch) = watch {
                watch.passed(signal);
            }
            Ok(Some(Heeded::Told))
        }
    }
}

/// Orphans of the container that came to us as their subreaper.
fn reap_others(init: i32) {
    let peek = libc::WNOHANG | libc::WEXITED | libc::WNOWAIT;
    while let Ok(Some(pid)) = process::peek_dead(peek) {
        // The one that is waited for is reaped where its status is wanted.
        if pid == init || process::wait(pid, libc::WNOHANG).is_err() {
            return;
        }
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
