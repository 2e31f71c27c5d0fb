//! System calls by name, and which of them are a runtime's own.

use std::collections::BTreeMap;

use brisk::cli::args::RecordFor;
use brisk::plan::seccomp::{ALL_ARCHS, Arch, SyscallId};
use brisk::sys::notify::CallData;

/// A call as it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MadeCall {
    /// `AUDIT_ARCH_*`, as the kernel has it.
    token: u32,
    pub number: u32,
}

impl MadeCall {
    pub fn of(data: &CallData) -> MadeCall {
        MadeCall { token: data.arch, number: data.nr.cast_unsigned() }
    }
}

/// The names of the calls of this machine.
#[derive(Debug)]
pub struct CallNames(BTreeMap<MadeCall, (Arch, &'static str)>);

impl CallNames {
    /// Of every architecture, since who knows what a machine emulates. Of two names for one call the profile has either, and it is
    /// the same.
    pub fn new() -> CallNames {
        let mut names = BTreeMap::new();
        for arch in ALL_ARCHS {
            for id in SyscallId::all() {
                if let Some(number) = arch.number(id) {
                    names.entry(MadeCall { token: arch.token(), number }).or_insert((arch, id.name()));
                }
            }
        }
        CallNames(names)
    }

    /// By which architecture it was made and what it is called; none for a number that no kernel has.
    pub fn get(&self, call: MadeCall) -> Option<(Arch, &'static str)> {
        self.0.get(&call).copied()
    }
}

/// The name of an architecture that the kernel gave, for a call that has none.
pub fn arch_of(call: MadeCall) -> &'static str {
    ALL_ARCHS.into_iter().find(|arch| arch.token() == call.token).map_or("unknown", Arch::name)
}

/// What the kernel may have a thread make, whenever: the end of a call that a signal has interrupted, the return from the
/// signal's handler, the end. Whether a run needs them is chance.
const ALWAYS: &[&str] = &["exit", "exit_group", "restart_syscall", "rt_sigreturn"];
/// And on 32-bit architectures.
pub const ALWAYS_32: &str = "sigreturn";

/// What a runtime calls between the load of the filter and the program: with no_new_privs, and what it calls more without, where the
/// filter is loaded before the runtime gives up its rights. Those of brisk are seen when it is recorded, too; the others were
/// traced (runc 1.5.1, crun 1.27.1), with what the Go runtime does of itself, whenever that is.
struct OwnCalls {
    always: &'static [&'static str],
    privileged: &'static [&'static str],
}

const BRISK: OwnCalls =
    OwnCalls { always: &["execve"], privileged: &["capset", "prctl", "read", "setgid", "setuid", "write"] };
const CRUN: OwnCalls = OwnCalls {
    always: &["close", "close_range", "execve"],
    privileged: &[
        "capset",
        "prctl",
        "pselect6",
        "read",
        "rt_sigaction",
        "rt_sigprocmask",
        "setresgid",
        "setresuid",
        "write",
    ],
};
const RUNC: OwnCalls = OwnCalls {
    always: &[
        "clone",
        "clone3",
        "close",
        "close_range",
        "epoll_ctl",
        "epoll_pwait",
        "execve",
        "fcntl",
        "fstat",
        "fstatfs",
        "futex",
        "getdents64",
        "getpid",
        "gettid",
        "madvise",
        "mmap",
        "mprotect",
        "munmap",
        "nanosleep",
        "newfstatat",
        "openat",
        "openat2",
        "prctl",
        "read",
        "rt_sigaction",
        "rt_sigprocmask",
        "sched_yield",
        "set_robust_list",
        "sigaltstack",
        "statx",
        "tgkill",
        "write",
    ],
    privileged: &[
        "capget",
        "capset",
        "chdir",
        "faccessat2",
        "fchown",
        "getcwd",
        "getppid",
        "setgid",
        "setgroups",
        "setuid",
    ],
};

/// When a runtime loads the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterLoad {
    /// Last of all: with no_new_privs.
    AtTheEnd,
    /// Before it gives up the right to do so, and others after that.
    Early,
}

/// What the runtimes that a profile is for call under it.
pub fn of_runtimes(runtime: RecordFor, load: FilterLoad) -> impl Iterator<Item = &'static str> {
    let chosen: &[OwnCalls] = match runtime {
        RecordFor::Brisk => &[BRISK],
        RecordFor::Crun => &[CRUN],
        RecordFor::Runc => &[RUNC],
        RecordFor::Any => &[BRISK, CRUN, RUNC],
    };
    let own = chosen.iter().flat_map(move |calls| {
        calls.always.iter().chain(if load == FilterLoad::AtTheEnd { &[] } else { calls.privileged })
    });
    own.chain(ALWAYS).copied()
}
