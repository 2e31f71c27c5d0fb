//! System calls on cgroup file systems and their events.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{Mode, mkdirat};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use nix::sys::uio::pread;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat, unlinkat, write};

use super::Result;

/// How a cgroup file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// For reading.
    Read,
    /// For writing.
    Write,
    /// For both.
    ReadWrite,
}

/// Tried again on EINTR: a signal must not turn into a container that is left half made or half removed.
fn again<T>(mut call: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// Whether `path` is on a cgroup2 file system.
pub fn is_cgroup2(path: &Path) -> Result<bool> {
    Ok(statfs(path)?.filesystem_type() == CGROUP2_SUPER_MAGIC)
}

const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC).union(OFlag::O_NOFOLLOW);

/// Opens the directory `path`.
pub fn open_dir(path: &Path) -> Result<OwnedFd> {
    again(|| openat(AT_FDCWD, path, DIRECTORY, Mode::empty()))
}

/// Opens the directory `path` below `dir`.
pub fn open_dir_at(dir: impl AsFd, path: &str) -> Result<OwnedFd> {
    again(|| openat(&dir, path, DIRECTORY, Mode::empty()))
}

/// Opens the file `path` below `dir`.
pub fn open_file(dir: impl AsFd, path: &str, how: Open) -> Result<OwnedFd> {
    let flags = match how {
        Open::Read => OFlag::O_RDONLY,
        Open::Write => OFlag::O_WRONLY,
        Open::ReadWrite => OFlag::O_RDWR,
    };
    again(|| openat(&dir, path, flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW, Mode::empty()))
}

/// Makes the directory `path` below `dir`.
pub fn make_dir(dir: impl AsFd, path: &str) -> Result<()> {
    mkdirat(dir, path, Mode::from_bits_truncate(0o755))
}

/// Removes the empty directory `path`.
pub fn remove_dir(path: &Path) -> Result<()> {
    again(|| unlinkat(AT_FDCWD, path, UnlinkatFlags::RemoveDir))
}

/// Removes the empty directory `path` below `dir`.
pub fn remove_dir_at(dir: impl AsFd, path: &str) -> Result<()> {
    again(|| unlinkat(&dir, path, UnlinkatFlags::RemoveDir))
}

/// Writes `text` in one call; a cgroup file takes each write as one command.
pub fn write_text(file: impl AsFd, text: &str) -> Result<()> {
    loop {
        match write(&file, text.as_bytes()) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Reads from `offset` on; 0 at the end of the file.
pub fn read_at(file: impl AsFd, buffer: &mut [u8], offset: usize) -> Result<usize> {
    let offset = libc::off_t::try_from(offset).map_err(|_| Errno::EOVERFLOW)?;
    loop {
        match pread(&file, buffer, offset) {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

/// Gives `path` below `dir` to a user and a group.
pub fn chown(dir: impl AsFd, path: &str, uid: u32, gid: Option<u32>) -> Result<()> {
    fchownat(dir, path, Some(Uid::from_raw(uid)), gid.map(Gid::from_raw), AtFlags::AT_SYMLINK_NOFOLLOW)
}

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Something can be read, or a process (pidfd) has ended.
    Readable,
    /// A cgroup file has changed since it was last read (kernfs(5): POLLPRI).
    Changed,
}

/// Waits for an event, at most `timeout`; false when it did not come. A signal ends the wait like a timeout does:
/// callers look again at what they wait for.
pub fn wait(fd: BorrowedFd, event: Event, timeout: Duration) -> Result<bool> {
    let flags = match event {
        Event::Readable => PollFlags::POLLIN,
        Event::Changed => PollFlags::POLLPRI,
    };
    match poll(&mut [PollFd::new(fd, flags)], timeout_of(timeout)) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Gives up the processor for `timeout` where the kernel offers nothing to wait on (the v1 freezer, a v1 cgroup whose last
/// task is between exit and release).
pub fn pause(timeout: Duration) -> Result<()> {
    match poll(&mut [], timeout_of(timeout)) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn timeout_of(timeout: Duration) -> PollTimeout {
    // Rounded up: a poll that returns just before a deadline would spin.
    PollTimeout::try_from(timeout + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX)
}

/// Opens a descriptor for a process (Linux 5.3).
pub fn pidfd_open(pid: i32) -> Result<OwnedFd> {
    // SAFETY: pidfd_open(2) takes two integers and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    owned(fd)
}

/// Sends `signal` to the process `pid`; 0 only checks that it is there.
pub fn kill(pid: i32, signal: i32) -> Result<()> {
    // SAFETY: kill(2) takes two integers and touches no memory of ours.
    let result = unsafe { libc::kill(pid, signal) };
    Errno::result(result).map(drop)
}

/// A new eventfd(2), close-on-exec and non-blocking.
pub fn eventfd() -> Result<OwnedFd> {
    // SAFETY: eventfd(2) takes two integers and touches no memory of ours.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    owned(fd.into())
}

/// A new inotify(7) instance, close-on-exec and non-blocking.
pub fn inotify() -> Result<OwnedFd> {
    // SAFETY: inotify_init1(2) takes an integer and touches no memory of ours.
    let fd = unsafe { libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK) };
    owned(fd.into())
}

/// Watches `path` for modification.
pub fn inotify_modified(inotify: BorrowedFd, path: &CStr) -> Result<()> {
    // SAFETY: `path` is a NUL-terminated string that outlives the call; the kernel only reads it.
    let watch = unsafe { libc::inotify_add_watch(inotify.as_raw_fd(), path.as_ptr(), libc::IN_MODIFY) };
    Errno::result(watch).map(drop)
}

/// Reads what there is from a non-blocking descriptor and throws it away; false when there was nothing.
pub fn drain(fd: BorrowedFd) -> Result<bool> {
    let mut buffer = [0u8; 4096];
    let mut any = false;
    loop {
        match nix::unistd::read(fd, &mut buffer) {
            Ok(0) => return Ok(any),
            Ok(_) => any = true,
            Err(Errno::EAGAIN) => return Ok(any),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

fn owned(fd: libc::c_long) -> Result<OwnedFd> {
    let fd = Errno::result(fd)?;
    let fd = i32::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just returned this descriptor to us and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Calls `each` with the name of every directory in `dir`, from its current position on.
///
/// cgroup file systems always tell the type of an entry, so no entry has to be looked at a second time.
pub fn for_each_dir(dir: BorrowedFd, mut each: impl FnMut(&CStr)) -> Result<()> {
    /// Where d_reclen, d_type and d_name are in struct linux_dirent64, see getdents64(2).
    const RECLEN: usize = 16;
    const TYPE: usize = 18;
    const NAME: usize = 19;
    let mut buffer = [0u8; 8192];
    loop {
        // SAFETY: the kernel writes at most `buffer.len()` bytes to `buffer`, which lives across the call.
        let got = unsafe { libc::syscall(libc::SYS_getdents64, dir.as_raw_fd(), buffer.as_mut_ptr(), buffer.len()) };
        let got = usize::try_from(Errno::result(got)?).map_err(|_| Errno::EIO)?;
        let mut rest = buffer.get(..got).ok_or(Errno::EIO)?;
        if rest.is_empty() {
            return Ok(());
        }
        while let Some(&[low, high]) = rest.get(RECLEN..RECLEN + 2) {
            let (entry, tail) =
                rest.split_at_checked(usize::from(u16::from_ne_bytes([low, high]))).ok_or(Errno::EIO)?;
            rest = tail;
            let name = entry.get(NAME..).and_then(|name| CStr::from_bytes_until_nul(name).ok()).ok_or(Errno::EIO)?;
            if entry.get(TYPE) == Some(&libc::DT_DIR) && name != c"." && name != c".." {
                each(name);
            }
        }
    }
}
