//! Safe, non-allocating wrappers of system calls: the only folder with `unsafe`.
//!
//! Knows nothing of OCI, formats no strings, prints nothing. Everything here may run in the child between
//! `clone3` and `execve`, so nothing here allocates.
#![allow(unsafe_code, reason = "system calls are made here and nowhere else")]

pub mod seccomp;

use nix::errno::Errno;

/// The result of a system call.
pub type Result<T> = std::result::Result<T, Errno>;
