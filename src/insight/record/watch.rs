//! Answers what the kernel asks while the container runs, and notes it.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, ExitStatus};
use std::time::Instant;

use brisk::error::{Context, Result, Stage};
use brisk::sys::notify::{self, CallData, WaitingCall};
use brisk::sys::poll::{self, PollFd, PollFlags};
use brisk::sys::signal::{self, Pending};
use brisk::sys::{fs, socket};
use nix::errno::Errno;

use super::calls::{CallNames, MadeCall};
use super::capabilities::{CapabilityTrace, Exercised};
use super::filter::{FilterVerdict, OwnFilter};

/// How many different numbers without a name are kept.
const MOST_NAMELESS: usize = 64;
/// How many filters with a listener a container may have at once: one, and one for each `exec`.
const MOST_LISTENERS: usize = 512;
/// How many may hand one over at once.
const MOST_HANDOVERS: usize = 64;

/// How many calls are looked at for those that were interrupted, before others have their turn.
const MOST_AT_ONCE: usize = 64;

/// What was seen.
#[derive(Debug)]
pub struct SeenCalls {
    pub names: CallNames,
    /// What programs called that was let pass, and how often.
    pub calls: BTreeMap<MadeCall, u64>,
    /// What the runtime called under the filter, before the first program.
    pub before: BTreeMap<MadeCall, u64>,
    /// What was refused.
    pub refused: BTreeMap<(MadeCall, FilterVerdict), u64>,
    /// More numbers without a name came than are kept.
    pub more_nameless: bool,
    /// How many listeners came that were not taken.
    pub lost_listeners: u64,
    /// How many calls were asked about that had been interrupted before they could be noted.
    pub interrupted: u64,
    pub capabilities: std::result::Result<Exercised, String>,
}

/// A filter that is loaded.
struct Listener {
    fd: OwnedFd,
    /// Whether a program was begun under it: until then the runtime is what calls.
    begun: bool,
}

/// Who hands over a listener: with a message that is read to its end, or who sends it would fail.
struct Handover {
    stream: UnixStream,
    listener: Option<OwnedFd>,
}

pub struct CallWatch {
    filter: OwnFilter,
    socket: UnixListener,
    signals: OwnedFd,
    handovers: Vec<Handover>,
    listeners: Vec<Listener>,
    seen: SeenCalls,
    nameless: usize,
    capabilities: Option<std::result::Result<CapabilityTrace, String>>,
}

impl CallWatch {
    pub fn new(filter: OwnFilter, socket: UnixListener, signals: OwnedFd, names: CallNames) -> CallWatch {
        let seen = SeenCalls {
            names,
            calls: BTreeMap::new(),
            before: BTreeMap::new(),
            refused: BTreeMap::new(),
            more_nameless: false,
            lost_listeners: 0,
            interrupted: 0,
            capabilities: Err(String::new()),
        };
        CallWatch {
            filter,
            socket,
            signals,
            handovers: Vec::new(),
            listeners: Vec::new(),
            seen,
            nameless: 0,
            capabilities: None,
        }
    }

    /// Serves until `run` has ended; how.
    pub fn until_the_end(&mut self, mut child: Child) -> Result<ExitStatus> {
        loop {
            let input = PollFlags::POLLIN;
            let mut fds = vec![PollFd::new(self.signals.as_fd(), input), PollFd::new(self.socket.as_fd(), input)];
            fds.extend(self.listeners.iter().map(|listener| PollFd::new(listener.fd.as_fd(), input)));
            fds.extend(self.handovers.iter().map(|handover| PollFd::new(handover.stream.as_fd(), input)));
            poll::undisturbed(&mut fds, None).at(Stage::Seccomp, || "wait for system calls")?;
            let came: Vec<PollFlags> = fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty())).collect();
            let listeners_end = 2 + self.listeners.len();
            for index in (2..listeners_end).rev() {
                if came[index].contains(PollFlags::POLLIN) {
                    self.answer(index - 2, child.id().cast_signed())?;
                } else if !came[index].is_empty() {
                    // Nobody is left who has the filter.
                    drop(self.listeners.remove(index - 2));
                }
            }
            for index in (listeners_end..came.len()).rev().filter(|index| !came[*index].is_empty()) {
                self.take(index - listeners_end);
            }
            if !came[1].is_empty() {
                self.meet()?;
            }
            if !came[0].is_empty() {
                self.pass_signals_on(&child)?;
                if let Some(status) = child.try_wait().at(Stage::Process, || "wait for brisk")? {
                    return Ok(status);
                }
            }
        }
    }

    /// Whether a program was begun.
    pub fn has_begun(&self) -> bool {
        self.capabilities.is_some()
    }

    /// What was seen; none where no program was begun.
    pub fn finish(self) -> Option<SeenCalls> {
        let traced = self.capabilities?;
        let mut seen = self.seen;
        seen.capabilities = traced.map(|mut trace| trace.read());
        Some(seen)
    }

    /// To `run`, which passes them on to the program, and takes one that it has got itself as well for the same.
    fn pass_signals_on(&self, child: &Child) -> Result<()> {
        let arrived = signal::pending(self.signals.as_fd()).at(Stage::Host, || "read signals")?;
        for pending in arrived.into_iter().flatten() {
            match (pending, pending.signal()) {
                // Of its terminal, for the whole process group. (SIGHUP may be for the leader of the session alone.)
                (Pending::OfKernel(_), libc::SIGINT | libc::SIGQUIT | libc::SIGTSTP | libc::SIGWINCH) => {}
                (Pending::OfKernel(_), libc::SIGTTIN | libc::SIGTTOU) => {}
                // Nobody announces anything to us.
                (Pending::Announcement(_), _) | (_, libc::SIGCHLD | libc::SIGPIPE | libc::SIGXFSZ) => {}
                // It may have ended.
                (_, signal) => drop(signal::forward(child.id().cast_signed(), signal)),
            }
        }
        Ok(())
    }

    fn meet(&mut self) -> Result<()> {
        let what = || "meet who hands over a listener";
        let (stream, _) = self.socket.accept().at(Stage::Seccomp, what)?;
        stream.set_nonblocking(true).at(Stage::Seccomp, what)?;
        if self.handovers.len() == MOST_HANDOVERS {
            // Whoever has something to hand over does so at once.
            self.handovers.remove(0);
            self.seen.lost_listeners += 1;
        }
        self.handovers.push(Handover { stream, listener: None });
        Ok(())
    }

    /// Takes what there is of a message, and at its end the listener that came with it.
    fn take(&mut self, index: usize) {
        let Handover { stream, listener } = &mut self.handovers[index];
        let mut fds = [None, None];
        let received = socket::receive_fds(stream.as_fd(), &mut vec![0; 16 << 10], &mut fds);
        if matches!(received, Ok(1..) | Err(Errno::EAGAIN)) {
            *listener = listener.take().or_else(|| fds.into_iter().flatten().next());
            return;
        }
        match self.handovers.remove(index).listener.filter(is_listener) {
            Some(fd) if self.listeners.len() < MOST_LISTENERS => {
                notify::wake_in_turn(fd.as_fd());
                self.listeners.push(Listener { fd, begun: false });
            }
            _ => self.seen.lost_listeners += 1,
        }
    }

    fn answer(&mut self, index: usize, run: i32) -> Result<()> {
        if let Some(Ok(trace)) = &mut self.capabilities {
            trace.read();
        }
        let what = || "answer a system call";
        match notify::receive(self.listeners[index].fd.as_fd()) {
            Err(Errno::EINTR) => Ok(()),
            Err(Errno::ENOENT) => self.miss(index),
            call => {
                let call = call.at(Stage::Seccomp, what)?;
                if self.may_follow_a_signal(&call.data) {
                    self.find_interrupted(index, run)?;
                }
                self.answer_to(index, &call, run)
            }
        }
    }

    /// Whether what makes this call may have made one before that a signal has interrupted while it waited for us: it has handled the
    /// signal, or ends.
    fn may_follow_a_signal(&self, data: &CallData) -> bool {
        let name = self.seen.names.get(MadeCall::of(data)).map_or("", |(_, name)| name);
        ["rt_sigreturn", "sigreturn", "exit", "exit_group", "execve", "execveat"].contains(&name)
    }

    /// Counts calls that wait no more: the kernel keeps no word of them, but still says that they came. What comes meanwhile is answered.
    fn find_interrupted(&mut self, index: usize, run: i32) -> Result<()> {
        for _ in 0..MOST_AT_ONCE {
            match notify::receive_soon(self.listeners[index].fd.as_fd()) {
                Err(Errno::EINTR) => break,
                Err(Errno::ENOENT) => self.miss(index)?,
                call => self.answer_to(index, &call.at(Stage::Seccomp, || "answer a system call")?, run)?,
            }
        }
        Ok(())
    }

    /// A call is not there any more. Once nobody has the filter, the kernel says that always (Linux 6.11), and nothing is missing.
    fn miss(&mut self, index: usize) -> Result<()> {
        let mut fds = [PollFd::new(self.listeners[index].fd.as_fd(), PollFlags::POLLIN)];
        poll::undisturbed(&mut fds, Some(Instant::now())).at(Stage::Seccomp, || "wait for system calls")?;
        let over = fds[0].revents().is_some_and(|came| came.contains(PollFlags::POLLHUP));
        self.seen.interrupted += u64::from(!over && self.listeners[index].begun);
        Ok(())
    }

    fn answer_to(&mut self, index: usize, call: &WaitingCall, run: i32) -> Result<()> {
        let what = || "answer a system call";
        let listener = &self.listeners[index];
        let begins = [libc::SYS_execve, libc::SYS_execveat].contains(&call.data.nr.into());
        let verdict = match self.filter.verdict(&call.data) {
            // With a listener the filter is loaded while the runtime still has to give up rights; without, it may not be.
            _ if !listener.begun && !begins => FilterVerdict::Passes,
            verdict => verdict,
        };
        let made = MadeCall::of(&call.data);
        let begun = listener.begun;
        let answered = match verdict {
            FilterVerdict::Passes => {
                let table = if begun { SeenTable::Calls } else { SeenTable::Before };
                self.note(made, table);
                if begins && !begun {
                    self.begin(index, call.tid.cast_signed());
                }
                notify::let_pass(self.listeners[index].fd.as_fd(), call)
            }
            FilterVerdict::Fails(errno) => {
                self.note(made, SeenTable::Refused(verdict));
                notify::refuse(self.listeners[index].fd.as_fd(), call, errno)
            }
            FilterVerdict::Kills => {
                self.note(made, SeenTable::Refused(verdict));
                kill(&self.listeners[index], call, run)
            }
        };
        match answered {
            // Whoever has called is gone.
            Err(Errno::ENOENT) => Ok(()),
            answered => answered.at(Stage::Seccomp, what),
        }
    }

    /// The first program under a filter is about to be begun.
    fn begin(&mut self, index: usize, tid: i32) {
        self.listeners[index].begun = true;
        match &mut self.capabilities {
            None => self.capabilities = Some(CapabilityTrace::new(tid)),
            // One that `exec` adds and that cannot be followed is one less.
            Some(Ok(trace)) => drop(trace.follow(tid)),
            Some(Err(_)) => {}
        }
    }

    /// Counts a call, unless it has no name and there are too many of those.
    fn note(&mut self, made: MadeCall, table: SeenTable) {
        let named = self.seen.names.get(made).is_some();
        let SeenCalls { calls, before, refused, more_nameless, .. } = &mut self.seen;
        let limit = if named { None } else { Some((&mut self.nameless, more_nameless)) };
        match table {
            SeenTable::Calls => count(calls, made, limit),
            SeenTable::Before => count(before, made, limit),
            SeenTable::Refused(verdict) => count(refused, (made, verdict), limit),
        }
    }
}

/// Which of the tables a call belongs to.
#[derive(Clone, Copy, Debug)]
enum SeenTable {
    Calls,
    Before,
    Refused(FilterVerdict),
}

/// One more; of those that are limited, how many there are, and whether there were more.
fn count<K: Ord>(table: &mut BTreeMap<K, u64>, key: K, limit: Option<(&mut usize, &mut bool)>) {
    match (table.get_mut(&key), limit) {
        (Some(count), _) => *count += 1,
        (None, Some((kept, more))) if *kept == MOST_NAMELESS => *more = true,
        (None, limit) => {
            if let Some((kept, _)) = limit {
                *kept += 1;
            }
            table.insert(key, 1);
        }
    }
}

/// Kills whoever calls, as a whole: the filter may have meant one thread, and that would have gone on in another state than it thinks.
/// Where that cannot be, `run` is killed, and the container with it. There is no answer in any case.
fn kill(listener: &Listener, call: &WaitingCall, run: i32) -> brisk::sys::Result<()> {
    let waits = || notify::still_waits(listener.fd.as_fd(), call);
    // For kill(2) the number of a thread is as good as that of its process. While its call waits nobody else has the number; and what
    // takes it from the thread between the two lines would have to make other processes while we answer nobody.
    let killed = waits() && call.tid != 0 && signal::kill(call.tid.cast_signed(), libc::SIGKILL).is_ok();
    if killed || !waits() { Ok(()) } else { signal::kill(run, libc::SIGKILL) }
}

/// Of another kind of file nothing could be asked.
fn is_listener(fd: &OwnedFd) -> bool {
    let leads_to = std::fs::read_link(fs::by_number(fd.as_fd())).unwrap_or_default();
    leads_to.to_string_lossy() == "anon_inode:seccomp notify"
}
