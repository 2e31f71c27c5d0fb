//! How a program ended that somebody waited for.

use crate::sys::interrupt;
use crate::sys::process::{ChildUsage, Exit};

/// Why a program was ended by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndCause {
    /// `--timeout`.
    Timeout,
    /// `--cpu-time`.
    CpuLimit,
    /// `--output-limit`.
    OutputLimit,
    /// The runtime's parent is gone (`--die-with-parent`).
    ParentGone,
    /// A signal that was sent to us, and that we passed on, or that another command has sent; it has died of it.
    Passed(i32),
}

/// How a foreground program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::container) struct Ended {
    /// As the kernel tells it.
    pub exit: Exit,
    /// What it has used, as the kernel tells the parent of a process; `None` of one that we have not reaped as a program.
    pub usage: Option<ChildUsage>,
    /// What we had to do with it.
    pub cause: Option<EndCause>,
    /// How many bytes it wrote that went through us; `None` where its streams are its own.
    pub output: Option<u64>,
}

impl Ended {
    /// Of a program that was ended while it was set up.
    pub fn before_it_began(cause: EndCause) -> Ended {
        let signal = if let EndCause::Passed(signal) = cause { signal } else { libc::SIGKILL };
        Ended { exit: Exit::Signal(signal), usage: None, cause: Some(cause), output: None }
    }

    /// Of one whose set-up somebody has asked us to end, if that is so.
    pub fn of_interrupt() -> Option<Ended> {
        interrupt::by().map(|signal| Ended::before_it_began(EndCause::Passed(signal)))
    }

    /// The exit status that runc gives.
    pub fn status(&self) -> u8 {
        self.exit.status() as u8
    }
}
