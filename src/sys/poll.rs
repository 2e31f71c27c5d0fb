//! Waiting: poll(2), and descriptors that are made to be waited for.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::PollTimeout;

pub use nix::poll::{PollFd, PollFlags};

use super::fs::{self, own};
use super::{Result, cvt, done, interrupt};

/// Waits until something that is asked of a descriptor has happened (or its other end has hung up), at the latest until `by`, and
/// without one for ever; false when the time has come. EINTR: somebody asks us to end ([`interrupt`]).
pub fn any(fds: &mut [PollFd<'_>], by: Option<Instant>) -> Result<bool> {
    while interrupt::may_listen() {
        let piece = by.map_or(PollTimeout::MAX, until).min(rounded(interrupt::WAIT));
        match nix::poll::poll(fds, piece) {
            Ok(0) if by.is_some_and(|by| by <= Instant::now()) => return Ok(false),
            Ok(0) => interrupt::listen(),
            Err(Errno::EINTR) => {}
            result => return result.map(|ready| ready > 0),
        }
    }
    loop {
        let source = if by.is_some() { interrupt::source_of_bounded() } else { interrupt::source() };
        let Some(source) = source else { return undisturbed(fds, by) };
        let mut polled = fds.to_vec();
        polled.push(PollFd::new(source, PollFlags::POLLIN));
        let something = undisturbed(&mut polled, by)?;
        fds.clone_from_slice(&polled[..fds.len()]);
        if fds.iter().any(|fd| fd.any() == Some(true)) || !something {
            return Ok(something);
        }
        interrupt::heed(source)?;
    }
}

/// [`any`] for who reads the signals himself, or leaves them their own action.
pub fn undisturbed(fds: &mut [PollFd<'_>], by: Option<Instant>) -> Result<bool> {
    loop {
        match nix::poll::poll(fds, by.map_or(PollTimeout::NONE, until)) {
            // poll(2) waits for 24 days at most.
            Ok(0) if by.is_some_and(|by| Instant::now() < by) => {}
            Err(Errno::EINTR) => {}
            result => return result.map(|ready| ready > 0),
        }
    }
}

/// [`undisturbed`] for this long; the clock is not asked.
pub fn undisturbed_for(fds: &mut [PollFd<'_>], time: Duration) -> Result<bool> {
    loop {
        match nix::poll::poll(fds, rounded(time)) {
            Err(Errno::EINTR) => {}
            result => return result.map(|ready| ready > 0),
        }
    }
}

/// [`any`] of one descriptor. [`PollFlags::POLLIN`] also says that a process (pidfd) has ended, and `POLLPRI` that a cgroup file has
/// changed since it was last read (kernfs(5)).
pub fn one(fd: BorrowedFd<'_>, events: PollFlags, by: Option<Instant>) -> Result<bool> {
    any(&mut [PollFd::new(fd, events)], by)
}

/// The end of a wait that begins now; none where the clock does not go that far.
pub fn within(time: Duration) -> Option<Instant> {
    Instant::now().checked_add(time)
}

/// The end of a wait that looks and does not wait.
pub fn now() -> Option<Instant> {
    within(Duration::ZERO)
}

/// Gives up the processor for `timeout` where the kernel offers nothing to wait on (the v1 freezer, a v1 cgroup whose last
/// task is between exit and release). EINTR as of [`any`].
pub fn pause(timeout: Duration) -> Result<()> {
    interrupt::paused(timeout);
    let source = interrupt::source_of_bounded();
    let mut polled = source.map(|source| PollFd::new(source, PollFlags::POLLIN));
    match nix::poll::poll(polled.as_mut_slice(), rounded(timeout)) {
        Ok(0) | Err(Errno::EINTR) => Ok(()),
        result => result.and_then(|_| source.map_or(Ok(()), interrupt::heed)),
    }
}

/// poll(2) takes whole milliseconds; rounded up: one that returns just before a deadline would spin.
fn rounded(time: Duration) -> PollTimeout {
    PollTimeout::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(PollTimeout::MAX)
}

fn until(by: Instant) -> PollTimeout {
    rounded(by.saturating_duration_since(Instant::now()))
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
