//! The listener of a seccomp filter (seccomp_unotify(2)): system calls that wait for an answer.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use super::{Result, done, signal};

/// The requests of linux/seccomp.h for structures of these sizes, which no kernel has changed. The numbers are those of
/// every architecture but alpha, mips, powerpc and sparc.
const RECEIVE: u32 = 0xc050_2100;
const SEND: u32 = 0xc018_2101;
const IS_VALID: u32 = 0x4008_2102;
const SET_FLAGS: u32 = 0x4008_2104;

/// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP` (Linux 6.6): whoever is woken runs where the other was.
const SYNC_WAKE_UP: u64 = 1;
/// `SECCOMP_USER_NOTIF_FLAG_CONTINUE` (Linux 5.5): the call is made.
const CONTINUE: u32 = 1;

/// How long [`receive_soon`] waits.
const SOON: Duration = Duration::from_micros(50);

/// `struct seccomp_data`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallData {
    /// Its number.
    pub nr: i32,
    /// `AUDIT_ARCH_*`.
    pub arch: u32,
    /// Where it is made.
    pub instruction: u64,
    /// What it was given.
    pub args: [u64; 6],
}

/// `struct seccomp_notif`: a call that waits.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WaitingCall {
    id: u64,
    /// The thread that makes it; 0 where it has no number here.
    pub tid: u32,
    flags: u32,
    /// The call.
    pub data: CallData,
}

/// `struct seccomp_notif_resp`.
#[repr(C)]
struct CallAnswer {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

/// Has the kernel wake whom it answers on the CPU of who answers, where it can: nobody else has work meanwhile.
pub fn wake_in_turn(listener: BorrowedFd<'_>) {
    // SAFETY: the argument is a number. EINVAL before Linux 6.6, and then nothing is lost.
    let _ = done(unsafe { libc::ioctl(listener.as_raw_fd(), SET_FLAGS as _, SYNC_WAKE_UP) }.into());
}

/// The next call that waits. ENOENT: it waits no more. It does not wait where poll(2) has said that there is one.
pub fn receive(listener: BorrowedFd<'_>) -> Result<WaitingCall> {
    // The kernel wants zeros.
    let mut call = WaitingCall::default();
    // SAFETY: `call` has the kernel's layout, and is writable.
    done(unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE as _, &raw mut call) }.into())?;
    Ok(call)
}

/// [`receive`] whether or not there is one, for who has taken all signals: EINTR where there is none. ENOENT says once of each call that
/// was asked about and that nobody has received, because a signal or the end of the caller came before.
pub fn receive_soon(listener: BorrowedFd<'_>) -> Result<WaitingCall> {
    signal::interrupted_after(SOON, || receive(listener))
}

/// Lets it be made, as it was asked for. ENOENT: whoever made it is gone, or was interrupted.
pub fn let_pass(listener: BorrowedFd<'_>, call: &WaitingCall) -> Result<()> {
    answer(listener, &CallAnswer { id: call.id, value: 0, error: 0, flags: CONTINUE })
}

/// Has it fail with this errno.
pub fn refuse(listener: BorrowedFd<'_>, call: &WaitingCall, errno: i32) -> Result<()> {
    answer(listener, &CallAnswer { id: call.id, value: 0, error: -errno, flags: 0 })
}

fn answer(listener: BorrowedFd<'_>, answer: &CallAnswer) -> Result<()> {
    // SAFETY: `answer` has the kernel's layout; it is read only.
    done(unsafe { libc::ioctl(listener.as_raw_fd(), SEND as _, std::ptr::from_ref(answer)) }.into())
}

/// Whether it still waits: then its thread is the one of that number.
pub fn still_waits(listener: BorrowedFd<'_>, call: &WaitingCall) -> bool {
    // SAFETY: the number is 8 readable bytes.
    done(unsafe { libc::ioctl(listener.as_raw_fd(), IS_VALID as _, &raw const call.id) }.into()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_requests() {
        let size = |request: u32| (request >> 16 & 0x3fff) as usize;
        assert_eq!(size(RECEIVE), size_of::<WaitingCall>());
        assert_eq!(size(SEND), size_of::<CallAnswer>());
        assert_eq!((size(IS_VALID), size(SET_FLAGS)), (8, 8));
    }
}
