//! Waiting: poll(2), and descriptors that are made to be waited for.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::PollTimeout;

use super::fs::{self, own};
use super::{Result, cvt, done};

/// poll(2) on one descriptor for `events`; returns what happened, 0 on time-out. `timeout` in ms, -1 forever.
pub fn one(fd: BorrowedFd<'_>, events: i16, timeout: i32) -> Result<i16> {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
    loop {
        // SAFETY: one pollfd is passed.
        match cvt(unsafe { libc::poll(&raw mut poll, 1, timeout) }.into()) {
            Err(Errno::EINTR) => {}
            result => return result.map(|_| poll.revents),
        }
    }
}

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollEvent {
    /// Something can be read, or a process (pidfd) has ended.
    Readable,
    /// A cgroup file has changed since it was last read (kernfs(5): POLLPRI).
    Changed,
}

/// Waits for an event, at most `timeout`; false when it did not come. A signal ends the wait like a timeout does:
/// callers look again at what they wait for.
pub fn wait(fd: BorrowedFd<'_>, event: PollEvent, timeout: Duration) -> Result<bool> {
    let events = match event {
        PollEvent::Readable => libc::POLLIN,
        PollEvent::Changed => libc::POLLPRI,
    };
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
    // SAFETY: one pollfd is passed.
    match cvt(unsafe { libc::poll(&raw mut poll, 1, within(timeout).into()) }.into()) {
        Err(Errno::EINTR) => Ok(false),
        result => result.map(|ready| ready > 0),
    }
}

/// Gives up the processor for `timeout` where the kernel offers nothing to wait on (the v1 freezer, a v1 cgroup whose last
/// task is between exit and release).
pub fn pause(timeout: Duration) -> Result<()> {
    // SAFETY: no pollfd is passed.
    match done(unsafe { libc::poll(std::ptr::null_mut(), 0, within(timeout).into()) }.into()) {
        Err(Errno::EINTR) => Ok(()),
        result => result,
    }
}

/// poll(2) takes whole milliseconds; rounded up: one that returns just before a deadline would spin.
pub fn within(time: Duration) -> PollTimeout {
    PollTimeout::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(PollTimeout::MAX)
}

/// [`within`] the time that is left.
pub fn until(next: Instant) -> PollTimeout {
    within(next.saturating_duration_since(Instant::now()))
}

/// A new eventfd(2), close-on-exec and non-blocking.
pub fn eventfd() -> Result<OwnedFd> {
    // SAFETY: no memory is passed.
    cvt(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) }.into()).map(own)
}

/// A new inotify(7) instance, close-on-exec and non-blocking.
pub fn inotify() -> Result<OwnedFd> {
    // SAFETY: no memory is passed.
    cvt(unsafe { libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK) }.into()).map(own)
}

/// Watches `path` for modification.
pub fn inotify_modified(inotify: BorrowedFd<'_>, path: &CStr) -> Result<()> {
    // SAFETY: `path` is NUL-terminated and outlives the call.
    done(unsafe { libc::inotify_add_watch(inotify.as_raw_fd(), path.as_ptr(), libc::IN_MODIFY) }.into())
}

/// Reads what there is from a non-blocking descriptor and throws it away; false when there was nothing.
pub fn drain(fd: BorrowedFd<'_>) -> Result<bool> {
    let mut buffer = [0; 4096];
    let mut any = false;
    loop {
        match fs::read(fd, &mut buffer) {
            Ok(0) | Err(Errno::EAGAIN) => return Ok(any),
            Ok(_) => any = true,
            Err(errno) => return Err(errno),
        }
    }
}
