//! How a program ended that somebody waited for.

use serde::{Serialize, Serializer};

use crate::sys::interrupt;
use crate::sys::process::{ChildUsage, Exit};

/// Why a program is over, in the words of a job's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The program ended by itself; `exitCode` says how.
    Exited,
    /// A signal ended it that neither we nor the kernel's limits sent.
    Signaled,
    /// The kernel killed for want of memory, and the program did not get over it.
    Oom,
    /// `--timeout`.
    Timeout,
    /// `--cpu-time`, or RLIMIT_CPU.
    CpuLimit,
    /// `--output-limit`.
    OutputLimit,
    /// By a signal that was sent to the runtime, or with the runtime's parent.
    Killed,
    /// A system call that the seccomp filter forbids.
    Seccomp,
    /// There was no program: `error` says why.
    RuntimeError,
}

impl Serialize for Ending {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Ending {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Ending::Exited => "exited",
            Ending::Signaled => "signaled",
            Ending::Oom => "oom",
            Ending::Timeout => "timeout",
            Ending::CpuLimit => "cpu-limit",
            Ending::OutputLimit => "output-limit",
            Ending::Killed => "killed",
            Ending::Seccomp => "seccomp",
            Ending::RuntimeError => "runtime-error",
        }
    }
}

/// How a foreground program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::container) struct Ended {
    /// As the kernel tells it.
    pub exit: Exit,
    /// What it has used, as the kernel tells the parent of a process; `None` of one that we have not reaped as a program.
    pub usage: Option<ChildUsage>,
    /// Why we have ended it, or somebody by a signal that was sent to us, that we passed on, or that another command has sent; what it
    /// did by itself `exit` tells.
    pub cause: Option<Ending>,
    /// How many bytes it wrote that went through us; `None` where its streams are its own.
    pub output: Option<u64>,
}

impl Ended {
    /// Of a program that was ended by this signal while it was set up.
    pub fn before_it_began(cause: Ending, signal: i32) -> Ended {
        Ended { exit: Exit::Signal(signal), usage: None, cause: Some(cause), output: None }
    }

    /// Of one whose set-up somebody has asked us to end, if that is so.
    pub fn of_interrupt() -> Option<Ended> {
        interrupt::by().map(|signal| Ended::before_it_began(Ending::Killed, signal))
    }

    /// The exit status that runc gives.
    pub fn status(&self) -> u8 {
        self.exit.status() as u8
    }
}
