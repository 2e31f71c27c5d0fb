//! Descriptors themselves, whatever they are of: copies, flags, who inherits them, closing.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use super::fs::{CWD, open, own};
use super::{Result, cvt, done, raw};

/// Whether this number is an open descriptor that the program was started with: execve(2) has closed those that are
/// close-on-exec, as everything is that we open.
pub fn is_inherited(number: u32) -> bool {
    let Ok(number) = i32::try_from(number) else { return false };
    // SAFETY: F_GETFD takes no argument and changes nothing.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    flags != -1 && flags & libc::FD_CLOEXEC == 0
}

/// Closes the descriptors from 3 on that the program was started with: what they are is the caller's.
pub fn close_inherited() -> Result<()> {
    let list = open(CWD, c"/proc/self/fd", libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    let mut numbers = Vec::new();
    super::dir::each(list.as_fd(), &mut |name| {
        numbers.extend(name.to_str().ok().and_then(|name| name.parse::<u32>().ok()));
        Ok::<(), Errno>(())
    })?;
    numbers.into_iter().filter(|number| *number > 2 && is_inherited(*number)).try_for_each(|n| close_range(n, n))
}

/// A descriptor of our own to what the program was started with under this number.
pub fn dup_inherited(number: u32) -> Result<OwnedFd> {
    match i32::try_from(number) {
        // SAFETY: no memory is passed; what comes back is a new descriptor.
        Ok(fd) if is_inherited(number) => cvt(unsafe { raw!(SYS_fcntl, fd, libc::F_DUPFD_CLOEXEC, 3) }).map(own),
        _ => Err(Errno::EBADF),
    }
}

/// A copy of the descriptor, close-on-exec, numbered at least `min`.
pub fn dup(fd: BorrowedFd<'_>, min: RawFd) -> Result<OwnedFd> {
    // SAFETY: no memory is passed.
    cvt(unsafe { raw!(SYS_fcntl, fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, min) }).map(own)
}

/// dup3(2) onto a number, without close-on-exec; for standard streams.
pub fn dup_onto(fd: BorrowedFd<'_>, onto: RawFd) -> Result<()> {
    if fd.as_raw_fd() == onto {
        // SAFETY: no memory is passed.
        return done(unsafe { raw!(SYS_fcntl, onto, libc::F_SETFD, 0) });
    }
    // SAFETY: no memory is passed; the numbers written to are the standard streams, which nothing in this
    // process owns as an OwnedFd.
    done(unsafe { raw!(SYS_dup3, fd.as_raw_fd(), onto, 0) })
}

/// Marks every descriptor from `first` up close-on-exec: close_range(2), Linux 5.11.
pub fn cloexec_from(first: u32) -> Result<()> {
    // SAFETY: no memory is passed; descriptors stay open in this process.
    done(unsafe { raw!(SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) })
}

/// close_range(2), Linux 5.9: closes these descriptors, inclusive. For a process that has given up what owned them, or that is
/// a copy and will never use (or drop) it.
pub fn close_range(first: u32, last: u32) -> Result<()> {
    // SAFETY: no memory is passed. Nobody drops an owner of them: the callers have none, or are the child.
    done(unsafe { raw!(SYS_close_range, first, last, 0) })
}

/// Closes them with as few calls as their numbers allow: one for those that follow each other. Allocates nothing.
pub fn close_all(files: &mut [Option<OwnedFd>]) {
    files.sort_unstable_by_key(|file| file.as_ref().map_or(RawFd::MAX, AsRawFd::as_raw_fd));
    let mut numbers = files.iter_mut().filter_map(Option::take).map(OwnedFd::into_raw_fd).peekable();
    while let Some(first) = numbers.next() {
        let mut last = first;
        while let Some(next) = numbers.next_if_eq(&(last + 1)) {
            last = next;
        }
        close_run(first, last);
    }
}

/// Closes the descriptors from the first to the last, each of which is ours to close.
fn close_run(first: RawFd, last: RawFd) {
    if first == last || close_range(first as u32, last as u32).is_err() {
        for number in first..=last {
            // SAFETY: the caller has given it up and nobody else owns it.
            drop(unsafe { OwnedFd::from_raw_fd(number) });
        }
    }
}

/// Sets or clears close-on-exec.
pub fn set_cloexec(fd: RawFd, flag: libc::c_int) -> Result<()> {
    // SAFETY: no memory is passed.
    done(unsafe { raw!(SYS_fcntl, fd, libc::F_SETFD, flag) })
}

/// Whether the descriptor is open for writing.
pub fn is_writable(fd: BorrowedFd<'_>) -> Result<bool> {
    // SAFETY: no memory is passed.
    let flags = cvt(unsafe { raw!(SYS_fcntl, fd.as_raw_fd(), libc::F_GETFL) })?;
    Ok(flags as i32 & (libc::O_WRONLY | libc::O_RDWR) != 0)
}

/// fcntl(2) `F_SETFL`: reads and writes wait.
pub fn set_blocking(fd: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: no memory is passed.
    done(unsafe { raw!(SYS_fcntl, fd.as_raw_fd(), libc::F_SETFL, 0) })
}

/// fcntl(2) `F_SETFL`: reads and writes fail with EAGAIN instead of waiting. For what has no other of these flags, as a new pipe or
/// terminal.
pub fn set_nonblocking(fd: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: no memory is passed.
    done(unsafe { raw!(SYS_fcntl, fd.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) })
}

/// pipe2(2): the reading and the writing end, close-on-exec.
pub fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: `ends` has room for two descriptors.
    done(unsafe { raw!(SYS_pipe2, ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
    Ok((own(ends[0].into()), own(ends[1].into())))
}

/// ioctl FIONREAD: how many bytes can be read.
pub fn readable(fd: BorrowedFd<'_>) -> Result<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: FIONREAD fills one int.
    done(unsafe { raw!(SYS_ioctl, fd.as_raw_fd(), libc::FIONREAD, &raw mut count) })?;
    Ok(usize::try_from(count).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn all_are_closed_and_nothing_between_them() {
        let mut pipes: Vec<_> = (0..4).map(|_| std::io::pipe().unwrap()).collect();
        let (mut kept, open) = pipes.remove(1);
        let (readers, writers): (Vec<_>, Vec<_>) = pipes.into_iter().unzip();
        close_all(&mut writers.into_iter().rev().map(|writer| Some(writer.into())).chain([None]).collect::<Vec<_>>());
        for mut reader in readers {
            assert_eq!(reader.read(&mut [0]).unwrap(), 0);
        }
        drop(open);
        assert_eq!(kept.read(&mut [0]).unwrap(), 0);
    }
}
