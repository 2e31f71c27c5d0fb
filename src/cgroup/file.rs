//! Files and directories of cgroup file systems, by names below a descriptor.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;

use crate::sys::{self, fs};

/// How a cgroup file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileAccess {
    Read,
    Write,
    ReadWrite,
}

/// Whether the error says that this user may not.
pub(super) fn forbidden(errno: Errno) -> bool {
    matches!(errno, Errno::EACCES | Errno::EPERM | Errno::EROFS)
}

/// A name for a system call.
pub(super) fn c_name(name: impl AsRef<OsStr>) -> sys::Result<CString> {
    CString::new(name.as_ref().as_bytes()).map_err(|_| Errno::EINVAL)
}

/// Opens the directory `path`.
pub(super) fn open_dir(path: &Path) -> sys::Result<OwnedFd> {
    open_dir_at(fs::CWD, path)
}

/// Opens the directory `path` below `dir`.
pub(super) fn open_dir_at(dir: BorrowedFd<'_>, path: impl AsRef<OsStr>) -> sys::Result<OwnedFd> {
    fs::open(dir, &c_name(path)?, libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW, 0)
}

/// Opens the file `path` below `dir`.
pub(super) fn open(dir: BorrowedFd<'_>, path: impl AsRef<OsStr>, access: FileAccess) -> sys::Result<OwnedFd> {
    let flags = match access {
        // A fifo where a cgroup is said to be is not waited for; files of cgroups are read as ever.
        FileAccess::Read => libc::O_RDONLY | libc::O_NONBLOCK,
        FileAccess::Write => libc::O_WRONLY,
        FileAccess::ReadWrite => libc::O_RDWR,
    };
    fs::open(dir, &c_name(path)?, flags | libc::O_NOFOLLOW, 0)
}

/// Makes the directory `path` below `dir`.
pub(super) fn make_dir(dir: BorrowedFd<'_>, path: impl AsRef<OsStr>) -> sys::Result<()> {
    fs::mkdir(dir, &c_name(path)?, 0o755)
}

/// Removes the empty directory `path` below `dir`.
pub(super) fn remove_dir_at(dir: BorrowedFd<'_>, path: impl AsRef<OsStr>) -> sys::Result<()> {
    fs::unlink(dir, &c_name(path)?, libc::AT_REMOVEDIR)
}

/// Removes the empty directory `path`.
pub(super) fn remove_dir(path: &Path) -> sys::Result<()> {
    remove_dir_at(fs::CWD, path)
}

/// Writes `text` in one call; a cgroup file takes each write as one command.
pub(super) fn write(file: BorrowedFd<'_>, text: &str) -> sys::Result<()> {
    fs::write(file, text.as_bytes()).map(drop)
}

/// What ends a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ReadEnd {
    /// The kernel writes it as one record: what does not fill the buffer is all.
    Short,
    /// A list, of which each read gives what fits a page.
    Empty,
}

/// Reads a whole cgroup file from its start, but for the lists of processes. Cgroup files tell no size and are mostly short.
pub(super) fn read_all(file: BorrowedFd<'_>) -> sys::Result<String> {
    read_to(file, ReadEnd::Short)
}

fn read_to(file: BorrowedFd<'_>, end: ReadEnd) -> sys::Result<String> {
    let mut buffer = vec![0u8; 1024];
    let mut used = 0;
    loop {
        let free = buffer.get_mut(used..).unwrap_or_default();
        let room = free.len();
        let got = fs::pread(file, free, used as u64)?;
        used += got;
        if got == 0 || end == ReadEnd::Short && got < room {
            break;
        }
        if used == buffer.len() {
            buffer.resize(buffer.len() * 4, 0);
        }
    }
    buffer.truncate(used);
    String::from_utf8(buffer).map_err(|_| Errno::EILSEQ)
}

/// The text of the list of processes `path` below `dir`.
pub(super) fn read_list_below(dir: BorrowedFd<'_>, path: impl AsRef<OsStr>) -> sys::Result<String> {
    read_to(open(dir, path, FileAccess::Read)?.as_fd(), ReadEnd::Empty)
}

/// The text of the file `path` below `dir`.
pub(super) fn read_below(dir: BorrowedFd<'_>, path: impl AsRef<OsStr>) -> sys::Result<String> {
    read_all(open(dir, path, FileAccess::Read)?.as_fd())
}

/// Writes to the file `path` below `dir`.
pub(super) fn write_below(dir: BorrowedFd<'_>, path: impl AsRef<OsStr>, text: &str) -> sys::Result<()> {
    write(open(dir, path, FileAccess::Write)?.as_fd(), text)
}

/// The path of `file` in the cgroup `path`, which may be empty.
pub(super) fn join(path: &str, file: &str) -> String {
    if path.is_empty() { file.to_owned() } else { format!("{path}/{file}") }
}

/// The number after `key ` in lines of keys and numbers.
pub(super) fn lookup(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}
