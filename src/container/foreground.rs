//! The foreground of `run` and `exec`: signals are passed on, the terminal is relayed, children are reaped.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::notify::{Heard, Notify};
use crate::error::{Context, Error, Result, Stage};
use crate::sys::process::{self, Exit};
use crate::sys::{fs, signal, socket, tty};

/// A process that is waited for.
pub(super) struct Foreground {
    pub pid: i32,
    pub pidfd: OwnedFd,
    pub signals: OwnedFd,
    pub master: Option<OwnedFd>,
    pub notify: Option<Notify>,
}

/// From now on signals are read from a descriptor. Before the clone, so that none is lost.
pub(super) fn take_signals() -> Result<OwnedFd> {
    signal::take_all().at(Stage::Signal, || "take the signals")
}

/// The terminal's master, sent by the child.
pub(super) fn receive_master(socket: BorrowedFd<'_>) -> Result<OwnedFd> {
    let mut name = [0; 64];
    let (_, fd) = socket::receive(socket, &mut name).at(Stage::Console, || "receive the terminal")?;
    fd.ok_or_else(|| Error::new(Stage::Console, "the child sent no terminal"))
}

/// Bytes on their way from one descriptor to another.
struct Pipe {
    buffer: Vec<u8>,
    from: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Ended,
}

/// How much is read before it has to be written: a reader that stops makes the writer wait, not us grow.
const ROOM: usize = 32 * 1024;

impl Pipe {
    fn new() -> Pipe {
        Pipe { buffer: Vec::with_capacity(ROOM), from: State::Open }
    }

    fn wants_input(&self) -> bool {
        self.from == State::Open && self.buffer.len() < ROOM
    }

    fn fill(&mut self, from: BorrowedFd<'_>) {
        let mut chunk = [0; 4096];
        match fs::read(from, &mut chunk) {
            // EIO: the last slave was closed.
            Ok(0) | Err(_) => self.from = State::Ended,
            Ok(len) => self.buffer.extend_from_slice(&chunk[..len]),
        }
    }

    /// Whoever reads may be gone (EPIPE, EIO): what was meant for it goes nowhere.
    fn drain(&mut self, to: BorrowedFd<'_>) {
        match fs::write(to, &self.buffer) {
            Ok(len) => drop(self.buffer.drain(..len)),
            Err(Errno::EAGAIN) => {}
            Err(_) => self.buffer.clear(),
        }
    }
}

/// Restores the terminal we were called on.
struct Restore(Option<libc::termios>);

impl Drop for Restore {
    fn drop(&mut self) {
        if let Some(termios) = &self.0 {
            // A terminal that is gone needs no restoring.
            let _ = tty::set_attributes(fs::STDIN, termios);
        }
    }
}

/// Waits for the process; its exit status.
pub(super) fn attend(foreground: &Foreground) -> Result<u8> {
    let Some(master) = &foreground.master else { return wait(foreground) };
    let on_tty = tty::is_tty(fs::STDIN);
    let restore = Restore(if on_tty { tty::make_raw(fs::STDIN).ok() } else { None });
    resize(master.as_fd());
    nonblocking(master.as_fd())?;
    let status = relay(foreground, master.as_fd());
    drop(restore);
    status
}

fn nonblocking(fd: BorrowedFd<'_>) -> Result<()> {
    let what = || "make the terminal non-blocking";
    let flags = nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_GETFL).at(Stage::Console, what)?;
    let flags = nix::fcntl::OFlag::from_bits_retain(flags) | nix::fcntl::OFlag::O_NONBLOCK;
    nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_SETFL(flags)).at(Stage::Console, what).map(drop)
}

/// The size of our terminal becomes the container's, where we have one.
fn resize(master: BorrowedFd<'_>) {
    if let Ok((rows, columns)) = tty::size(fs::STDIN)
        && (rows, columns) != (0, 0)
    {
        // The container's side may be gone already.
        let _ = tty::set_size(master, rows, columns);
    }
}

/// Hears what the program has to say to our supervisor, until it is ready. We are what is supervised, so our own
/// process id stands.
fn listen(notify: Option<&Notify>) -> Result<Option<&Notify>> {
    match notify {
        Some(socket) if socket.hear("")? == Heard::Ready => Ok(None),
        other => Ok(other),
    }
}

fn wait(foreground: &Foreground) -> Result<u8> {
    let mut notify = foreground.notify.as_ref();
    loop {
        let mut polled = vec![
            PollFd::new(foreground.pidfd.as_fd(), PollFlags::POLLIN),
            PollFd::new(foreground.signals.as_fd(), PollFlags::POLLIN),
        ];
        polled.extend(notify.map(|notify| PollFd::new(notify.fd(), PollFlags::POLLIN)));
        wait_for(&mut polled)?;
        let ended = polled[0].any().unwrap_or(false);
        notify = listen(notify)?;
        pass_signals(foreground)?;
        if ended {
            return reap(foreground.pid);
        }
    }
}

fn wait_for(polled: &mut [PollFd<'_>]) -> Result<()> {
    match poll(polled, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(Error::errno(Stage::Signal, "wait for the container", errno)),
    }
}

/// Relays until the process has ended and everything it wrote is written.
fn relay(foreground: &Foreground, master: BorrowedFd<'_>) -> Result<u8> {
    let (mut input, mut output) = (Pipe::new(), Pipe::new());
    let mut status = None;
    let mut notify = foreground.notify.as_ref();
    loop {
        let interest = |wanted: bool, flag| if wanted { flag } else { PollFlags::empty() };
        let master_events =
            interest(output.wants_input(), PollFlags::POLLIN) | interest(!input.buffer.is_empty(), PollFlags::POLLOUT);
        // poll(2) ignores negative descriptors, and reports hang-ups on those without events: pass what counts.
        let mut polled = vec![PollFd::new(foreground.signals.as_fd(), PollFlags::POLLIN)];
        if status.is_none() {
            polled.push(PollFd::new(foreground.pidfd.as_fd(), PollFlags::POLLIN));
        }
        polled.extend(notify.map(|notify| PollFd::new(notify.fd(), PollFlags::POLLIN)));
        let master_at = (!master_events.is_empty()).then(|| {
            polled.push(PollFd::new(master, master_events));
            polled.len() - 1
        });
        let stdin_at = (input.wants_input() && status.is_none()).then(|| {
            polled.push(PollFd::new(fs::STDIN, PollFlags::POLLIN));
            polled.len() - 1
        });
        let stdout_at = (!output.buffer.is_empty()).then(|| {
            polled.push(PollFd::new(fs::STDOUT, PollFlags::POLLOUT));
            polled.len() - 1
        });
        let timeout = if status.is_some() && output.buffer.is_empty() { PollTimeout::ZERO } else { PollTimeout::NONE };
        let ready = match poll(&mut polled, timeout) {
            Err(Errno::EINTR) => continue,
            result => result.at(Stage::Console, || "wait for the terminal")?,
        };
        let events = |at: Option<usize>| at.and_then(|at| polled[at].revents()).unwrap_or(PollFlags::empty());
        let (on_master, on_stdin, on_stdout) = (events(master_at), events(stdin_at), events(stdout_at));
        if status.is_none() && polled[1].any().unwrap_or(false) {
            status = Some(reap(foreground.pid)?);
        }
        notify = listen(notify)?;
        if pass_signals(foreground)? {
            resize(master);
        }
        if on_stdout.intersects(PollFlags::POLLOUT | PollFlags::POLLERR | PollFlags::POLLHUP) {
            output.drain(fs::STDOUT);
        }
        if on_stdin.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR) {
            input.fill(fs::STDIN);
        }
        if on_master.contains(PollFlags::POLLIN) {
            output.fill(master);
        } else if on_master.intersects(PollFlags::POLLHUP | PollFlags::POLLERR) {
            output.from = State::Ended;
        }
        if on_master.contains(PollFlags::POLLOUT) {
            input.drain(master);
        }
        let drained = output.buffer.is_empty() && (output.from == State::Ended || ready == 0);
        match status {
            Some(status) if drained => return Ok(status),
            _ => {}
        }
    }
}

/// Passes pending signals on and reaps whoever else was adopted; whether the window's size has changed.
fn pass_signals(foreground: &Foreground) -> Result<bool> {
    let mut resized = false;
    while let Some(signal) = signal::next(foreground.signals.as_fd()).at(Stage::Signal, || "read a signal")? {
        match signal {
            libc::SIGCHLD => reap_others(foreground.pid),
            libc::SIGWINCH if foreground.master.is_some() => resized = true,
            libc::SIGPIPE => {}
            signal => match process::pidfd_kill(foreground.pidfd.as_fd(), signal) {
                // It has ended: its status is about to be read.
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => return Err(Error::errno(Stage::Signal, format!("pass signal {signal} on"), errno)),
            },
        }
    }
    Ok(resized)
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

fn reap(pid: i32) -> Result<u8> {
    match process::wait(pid, 0).at(Stage::Signal, || "wait for the container")? {
        Some((_, exit @ (Exit::Code(_) | Exit::Signal(_)))) => Ok(exit.status() as u8),
        None => Err(Error::new(Stage::Signal, "the container has ended, but nobody knows how")),
    }
}
