//! New processes.

use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::AtomicI32;

use super::fs::own;
use super::pidfd::ProcessHandle;
use super::{Result, allocator, cvt, interrupt, panic, raw};

/// What [`clone3`] returns, on each side.
#[derive(Debug)]
pub enum Cloned {
    /// In the parent.
    Parent(ProcessHandle),
    /// In the child.
    Child,
}

/// Flags and target of [`clone3`].
#[derive(Clone, Copy, Debug, Default)]
pub struct CloneArgs<'a> {
    /// `CLONE_NEW*`, `CLONE_PARENT`.
    pub flags: u64,
    /// Directory of the cgroup (v2) to start in: `CLONE_INTO_CGROUP`, Linux 5.7.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Where the kernel writes the child's number before it runs, and before a signal ends who has made it: `CLONE_PARENT_SETTID`.
    pub number: Option<&'a AtomicI32>,
}

/// clone3(2) like fork(2), with a pidfd and with every handled signal back to its default in the child.
///
/// The caller must be single-threaded: the child then may run anything that takes no memory. The C library takes it for its parent:
/// a child that goes on as the runtime, or as the shim, comes of [`fork`].
pub fn clone3(args: &CloneArgs<'_>) -> Result<Cloned> {
    const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let mut pidfd: libc::c_int = -1;
    // SAFETY: clone_args is plain data, for which all zeros is a valid value.
    let mut raw: libc::clone_args = unsafe { MaybeUninit::zeroed().assume_init() };
    raw.flags = args.flags | CLONE_CLEAR_SIGHAND | libc::CLONE_PIDFD as u64;
    raw.pidfd = &raw mut pidfd as u64;
    // With CLONE_PARENT the exit signal is the parent's own; setting it as well is EINVAL.
    raw.exit_signal = if args.flags & libc::CLONE_PARENT as u64 == 0 { libc::SIGCHLD as u64 } else { 0 };
    if let Some(cgroup) = args.cgroup {
        raw.flags |= CLONE_INTO_CGROUP;
        raw.cgroup = cgroup.as_raw_fd() as u64;
    }
    if let Some(number) = args.number {
        raw.flags |= libc::CLONE_PARENT_SETTID as u64;
        raw.parent_tid = number.as_ptr() as u64;
    }
    // SAFETY: `raw` is a whole clone_args of the size given; no stack is named and CLONE_VM is not set, so the
    // child continues on a copy of this one; the pidfd pointer stays valid for the call.
    match cvt(unsafe { raw!(SYS_clone3, &raw const raw, size_of::<libc::clone_args>()) })? {
        0 => {
            allocator::forbid();
            panic::end_here();
            interrupt::hand_over();
            Ok(Cloned::Child)
        }
        pid => Ok(Cloned::Parent(ProcessHandle { pid: pid as i32, pidfd: own(pidfd.into()) })),
    }
}

/// fork(2); `None` in the child, which goes on as the runtime. The caller has one thread.
pub fn fork() -> Result<Option<i32>> {
    // SAFETY: nobody else has a lock that the copy would miss: there is one thread.
    match cvt(unsafe { libc::fork() }.into())? {
        0 => Ok(None),
        pid => Ok(Some(pid as i32)),
    }
}
