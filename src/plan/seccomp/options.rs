//! What a profile does not say itself, and who gets its listener.

use super::arch::Arch;
use crate::sys::seccomp::Support;

/// What to do about a system call that no architecture has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownSyscalls {
    /// Warn and go on, as runc and crun do: profiles name calls of kernels to come.
    #[default]
    Ignore,
    /// Fail, for `run.oci.seccomp_fail_unknown_syscall`.
    Refuse,
}

/// What a profile does not say.
#[derive(Clone, Debug)]
pub struct CompileOptions {
    /// The architecture of this machine.
    pub native: Arch,
    /// What the running kernel knows.
    pub kernel: Support,
    /// What to do about unknown names.
    pub unknown_syscalls: UnknownSyscalls,
    /// The listener's socket where the profile has no `listenerPath` (`run.oci.seccomp.receiver`).
    pub receiver: Option<String>,
}

impl Default for CompileOptions {
    fn default() -> Self {
        CompileOptions {
            native: Arch::NATIVE,
            kernel: Support::ALL,
            unknown_syscalls: UnknownSyscalls::default(),
            receiver: None,
        }
    }
}

/// Who gets the listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// The path of a unix stream socket.
    pub path: String,
    /// Passed on with the container's state.
    pub metadata: Option<String>,
}
