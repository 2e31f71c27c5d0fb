//! The terminal that the caller has called us on.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::sys::tty::{self, Turn};
use crate::sys::{descriptor, fs};

/// The terminal that we were called on: one of our streams, else the session's. While it is held what is typed comes as it is.
pub(in crate::container) struct CallersTerminal {
    terminal: Option<OwnedFd>,
    /// How it was.
    before: Option<libc::termios>,
}

impl CallersTerminal {
    /// Takes it, if there is one. All signals are taken, so the kernel would let us pass in the background, where it is another job's: we
    /// are stopped until it is ours.
    pub fn take() -> CallersTerminal {
        // Raw only where we read what is typed: elsewhere Ctrl-C has to stay the caller's.
        let before = if tty::is_tty(fs::STDIN) { raw_in_turn() } else { None };
        CallersTerminal { terminal: own_terminal(), before }
    }

    /// We were continued: a shell sets it as it likes it while its job is stopped.
    pub fn take_again(&self) {
        // In the background again we are stopped again. A terminal that is gone is heard of by reading.
        if self.before.is_some() {
            raw_in_turn();
        }
    }

    /// Its size becomes that of the container's.
    pub fn resize(&self, master: BorrowedFd<'_>) {
        if let Some((rows, columns)) = self.terminal.as_ref().and_then(size) {
            // The container's side may be gone already.
            let _ = tty::set_size(master, rows, columns);
        }
    }
}

impl Drop for CallersTerminal {
    fn drop(&mut self) {
        // In the background it is as others want it.
        if let Some(termios) = self.before.as_ref().filter(|_| tty::is_ours(fs::STDIN)) {
            // A terminal that is gone needs no restoring.
            let _ = tty::set_attributes(fs::STDIN, termios);
        }
    }
}

/// Makes standard input raw as soon as it is ours; how it was, where it has become so.
fn raw_in_turn() -> Option<libc::termios> {
    let ours = tty::await_turn(&[fs::STDIN]) == Ok(Turn::Ours);
    if ours { tty::make_raw(fs::STDIN).ok() } else { None }
}

fn own_terminal() -> Option<OwnedFd> {
    let stream = [fs::STDIN, fs::STDOUT, fs::STDERR].into_iter().find(|stream| tty::is_tty(*stream));
    match stream {
        Some(stream) => descriptor::dup(stream, 3).ok(),
        None => fs::open(fs::CWD, c"/dev/tty", libc::O_RDWR | libc::O_NOCTTY, 0).ok(),
    }
}

/// The size of the terminal that we were called on.
pub(in crate::container) fn own_size() -> Option<(u16, u16)> {
    own_terminal().as_ref().and_then(size)
}

/// The size of a terminal that has one.
fn size(terminal: &OwnedFd) -> Option<(u16, u16)> {
    tty::size(terminal.as_fd()).ok().filter(|size| *size != (0, 0))
}
