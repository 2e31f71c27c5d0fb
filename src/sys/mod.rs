//! Safe, non-allocating wrappers of system calls: the only folder with `unsafe`.
//!
//! Knows nothing of OCI, formats no strings, prints nothing. Everything here may run in the child between
//! `clone3` and `execve`, so nothing here allocates.
#![allow(unsafe_code, reason = "system calls are made here and nowhere else")]

pub mod bpf;
pub mod cgfs;
pub mod cred;
pub mod dir;
pub mod fs;
pub mod image;
pub mod mount;
pub mod mounts;
pub mod namespace;
pub mod path;
pub mod process;
pub mod regex;
pub mod seccomp;
pub mod shared;
pub mod signal;
pub mod socket;
pub mod tail;
pub mod tty;

use nix::errno::Errno;

/// The result of a system call.
pub type Result<T> = std::result::Result<T, Errno>;

/// Turns the C library's -1 into the errno it left behind.
fn cvt(ret: libc::c_long) -> Result<libc::c_long> {
    if ret < 0 { Err(Errno::last()) } else { Ok(ret) }
}

/// The same for calls whose return value says nothing else.
fn done(ret: libc::c_long) -> Result<()> {
    cvt(ret).map(drop)
}

/// `raw!(SYS_name, args…)`: one system call through libc; an unsafe operation of the caller.
macro_rules! raw {
    ($nr:ident $(, $arg:expr)* $(,)?) => { libc::syscall(libc::$nr $(, $arg)*) };
}
use raw;
