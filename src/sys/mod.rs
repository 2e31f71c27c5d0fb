//! System calls as safe functions on descriptors and C strings: the only folder with `unsafe`, a file for each noun of
//! the kernel.
//!
//! Knows nothing of OCI and prints nothing. What the child calls between `clone3` and `execve` does not allocate; `regex`,
//! `self_image`, `destination`, `unnamed`, `mount::below`, `socket::connect`, `process::run` and `fs::RegularFile` are the parent's.
//!
//! The modules, by their nouns. Files: `fs`, `path`, `dir`, `descriptor`, `destination`, `unnamed`, `appended`; mounts: `mount`, `mount_attr`; processes: `clone`,
//! `process`, `pidfd`, `cred`, `affinity`, `namespace`, `inheritance`; memory: `memory`, `shared`; what is waited for: `poll`, `signal`, `interrupt`;
//! who is spoken to: `socket`, `tty`; filters: `seccomp`, `notify`, `bpf`; what the kernel tells: `errno`, `klog`, `perf`; the C library's: `regex`. Of
//! the program itself: `arguments`, `allocator`, `panic`, `self_image`, and `last_calls`, which are left of it in the end.
#![allow(unsafe_code, reason = "system calls are made here and nowhere else")]

pub mod affinity;
pub mod allocator;
pub mod appended;
pub mod arguments;
pub mod bpf;
pub mod clone;
pub mod cred;
pub mod descriptor;
pub mod destination;
pub mod dir;
pub mod errno;
pub mod fs;
pub mod inheritance;
pub mod interrupt;
pub mod klog;
pub mod last_calls;
pub mod memory;
pub mod mount;
pub mod mount_attr;
pub mod namespace;
pub mod notify;
mod panic;
pub mod path;
pub mod perf;
pub mod pidfd;
pub mod poll;
pub mod process;
pub mod regex;
pub mod seccomp;
pub mod self_image;
pub mod shared;
pub mod signal;
pub mod socket;
pub mod tty;
pub mod unnamed;

use nix::errno::Errno;

/// The result of a system call.
pub type Result<T> = std::result::Result<T, Errno>;

/// Turns the C library's -1 into the errno it left behind.
fn cvt(ret: libc::c_long) -> Result<libc::c_long> {
    if ret < 0 { Err(Errno::last()) } else { Ok(ret) }
}

/// The result of a call whose return value says nothing else.
fn done(ret: libc::c_long) -> Result<()> {
    cvt(ret).map(drop)
}

/// `raw!(SYS_name, args…)`: one system call through libc; an unsafe operation of the caller.
macro_rules! raw {
    ($nr:ident $(, $arg:expr)* $(,)?) => { libc::syscall(libc::$nr $(, $arg)*) };
}
use raw;
