//! Processes by a descriptor, which stays theirs when their number is another's.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use nix::errno::Errno;

use super::fs::own;
use super::process::{self, Exit};
use super::signal::{ANNOUNCEMENT, ANNOUNCEMENT_CODE, QueuedInfo};
use super::{Result, cvt, done, raw};

/// A process by both of its names.
#[derive(Debug)]
pub struct ProcessHandle {
    /// Its pid, as we see it, which may be another's once somebody has reaped it.
    pub pid: i32,
    /// Its pidfd.
    pub pidfd: OwnedFd,
}

impl ProcessHandle {
    /// Of the process that has this pid now.
    pub fn open(pid: i32) -> Result<ProcessHandle> {
        open(pid).map(|pidfd| ProcessHandle { pid, pidfd })
    }
}

/// pidfd_open(2).
pub fn open(pid: i32) -> Result<OwnedFd> {
    // SAFETY: no memory is passed.
    cvt(unsafe { raw!(SYS_pidfd_open, pid, 0) }).map(own)
}

/// pidfd_send_signal(2).
pub fn kill(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    // SAFETY: no siginfo is passed.
    done(unsafe { raw!(SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, ptr::null::<libc::siginfo_t>(), 0) })
}

/// [`kill`] for a process that may have ended (ESRCH), which is as good: false then.
pub fn signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<bool> {
    match kill(pidfd, signal) {
        Err(Errno::ESRCH) => Ok(false),
        sent => sent.map(|()| true),
    }
}

/// Announces something to a process of ours, which reads its signals ([`super::signal::pending`]): pidfd_send_signal(2) like
/// sigqueue(3). False: the process has ended.
pub fn announce(pidfd: BorrowedFd<'_>, number: u64) -> Result<bool> {
    let info = QueuedInfo::new(ANNOUNCEMENT, ANNOUNCEMENT_CODE, number);
    // SAFETY: `info` is readable for the size of a siginfo_t.
    match done(unsafe { raw!(SYS_pidfd_send_signal, pidfd.as_raw_fd(), ANNOUNCEMENT, &raw const info, 0) }) {
        Err(Errno::ESRCH) => Ok(false),
        sent => sent.map(|()| true),
    }
}

/// pidfd_getfd(2): a copy of another process's descriptor.
pub fn getfd(pidfd: BorrowedFd<'_>, fd: i32) -> Result<OwnedFd> {
    // SAFETY: no memory is passed.
    cvt(unsafe { raw!(SYS_pidfd_getfd, pidfd.as_raw_fd(), fd, 0) }).map(own)
}

/// What the kernel tells of the end of a pidfd's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToldExit {
    /// How it ended.
    Known(Exit),
    /// Nothing, for nobody has reaped it yet. (Nothing ever before Linux 6.15, if it has GET_INFO.)
    NotYet,
    /// Nothing, whatever becomes of it.
    Never,
}

/// How the process of a pidfd ended, once it was reaped (`PIDFD_GET_INFO`, Linux 6.15).
pub fn exit(pidfd: BorrowedFd<'_>) -> Result<ToldExit> {
    // struct pidfd_info of include/uapi/linux/pidfd.h, in its first size.
    const EXIT: u64 = 1 << 3;
    const GET_INFO: libc::c_ulong = 0xc040_ff0b;
    #[repr(C)]
    struct Info {
        mask: u64,
        _others: [u32; 13],
        exit_code: i32,
    }
    let mut info = Info { mask: EXIT, _others: [0; 13], exit_code: 0 };
    // SAFETY: `info` is writable memory of the size that the number of the call says.
    match done(unsafe { raw!(SYS_ioctl, pidfd.as_raw_fd(), GET_INFO, &raw mut info) }) {
        // ENOTTY, EINVAL: an older kernel. ESRCH: one that has forgotten it.
        Err(Errno::ENOTTY | Errno::EINVAL | Errno::ESRCH) => return Ok(ToldExit::Never),
        result => result?,
    }
    Ok(if info.mask & EXIT == 0 { ToldExit::NotYet } else { ToldExit::Known(process::exit_of(info.exit_code)) })
}
