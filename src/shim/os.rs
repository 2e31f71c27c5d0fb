//! The only place that names modules of brisk: system calls as safe functions. And small things around files.

use std::ffi::{CString, OsString};
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

pub use brisk::sys::clone::fork;
pub use brisk::sys::descriptor::{close_range, dup_onto, set_cloexec, set_nonblocking};
pub use brisk::sys::fs::{chdir, lock, memfd, read, rewind, write, write_all};
pub use brisk::sys::mount::{mount, umount};
pub use brisk::sys::poll::{self, drain, eventfd, inotify, inotify_modified};
pub use brisk::sys::process::{
    Exit, die_with_parent, exit, getpid, getppid, is_child, is_setuid, prepare, set_subreaper, spawn, wait,
};
pub use brisk::sys::signal;
pub use brisk::sys::signal::kill;
pub use brisk::sys::socket::receive;
pub use brisk::sys::tty;
pub use brisk::sys::{arguments, errno};

/// A moment of the wall clock, as protobuf's Timestamp has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    pub seconds: u64,
    pub nanos: u32,
}

impl Moment {
    pub fn now() -> Moment {
        // Before 1970 there were no containers; a clock that says so counts as 1970.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Moment { seconds: since.as_secs(), nanos: since.subsec_nanos() }
    }
}

/// A path or argument for the kernel.
pub fn c_string(text: impl Into<Vec<u8>>) -> io::Result<CString> {
    CString::new(text).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a NUL byte in a path"))
}

/// A path from bytes that came over the wire.
pub fn path(text: &str) -> PathBuf {
    PathBuf::from(OsString::from_vec(text.as_bytes().to_vec()))
}

/// A file of at most `limit` bytes.
pub fn read_file(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    // Were it a fifo, everything would wait for its writer.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let mut text = Vec::new();
    file.take(limit + 1).read_to_end(&mut text)?;
    if text.len() as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("{} is larger than {limit} bytes", path.display()),
        ));
    }
    Ok(text)
}

/// A file of the kernel's that lists names of others: mount points, cgroups, which need not be UTF-8. What is none is replaced.
pub fn read_names(path: &str) -> io::Result<String> {
    std::fs::read(path).map(|text| String::from_utf8_lossy(&text).into_owned())
}

/// Writes a small file that only root reads, whole or not at all: a reader after a full disk must not find half of it.
pub fn write_file(path: &Path, text: &[u8]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let part = path.with_file_name(format!(".{name}"));
    let flags = libc::O_NOFOLLOW | libc::O_CLOEXEC;
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).custom_flags(flags).open(&part)?;
    let written = file.write_all(text).and_then(|()| std::fs::rename(&part, path));
    if written.is_err() {
        // What failed is the error to tell; the part is removed with the bundle if it cannot be now.
        let _ = std::fs::remove_file(&part);
    }
    written
}

/// Opens a fifo or file of the client's with these open(2) flags.
pub fn open(path: &str, flags: i32) -> io::Result<OwnedFd> {
    let path = c_string(path)?;
    Ok(brisk::sys::fs::open(brisk::sys::fs::CWD, &path, flags | libc::O_CLOEXEC, 0)?)
}

/// What `path` leads to below the directory `root`: every link counts from there.
pub fn resolve(root: &Path, path: &str) -> io::Result<OwnedFd> {
    let (root, path) = (c_string(root.as_os_str().as_encoded_bytes())?, c_string(path)?);
    let root = brisk::sys::fs::open(brisk::sys::fs::CWD, &root, libc::O_PATH | libc::O_DIRECTORY, 0)?;
    Ok(brisk::sys::path::resolve(root.as_fd(), &path, 0)?)
}

/// Runs a program to its end.
pub fn output(command: &mut Command) -> io::Result<Output> {
    spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))?.wait_with_output()
}

/// What poll(2) says of a descriptor now: whether it could be read or written, has failed, or has nobody at its other end.
pub fn look(fd: BorrowedFd<'_>) -> nix::Result<poll::PollFlags> {
    let mut fds = [poll::PollFd::new(fd, poll::PollFlags::POLLIN | poll::PollFlags::POLLOUT)];
    poll::undisturbed(&mut fds, poll::now())?;
    Ok(fds[0].revents().unwrap_or(poll::PollFlags::empty()))
}

/// A path for what a descriptor is of, for calls that take none.
pub fn number_as_path(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// A memory file that holds `text`, to be read from its start.
pub fn memory(text: &[u8]) -> io::Result<OwnedFd> {
    let file = memfd(c"brisk-shim")?;
    write_all(file.as_fd(), text)?;
    rewind(file.as_fd())?;
    Ok(file)
}

/// What a memory file holds, at most `limit` bytes of it.
pub fn contents(file: BorrowedFd<'_>, limit: usize) -> Vec<u8> {
    let mut text = vec![0; limit];
    let mut length = 0;
    while length < limit {
        match brisk::sys::fs::pread(file, &mut text[length..], length as u64) {
            Ok(0) | Err(_) => break,
            Ok(count) => length += count,
        }
    }
    text.truncate(length);
    text
}

/// One line to containerd's log: stderr is the fifo it reads, or nothing. A line that does not fit is lost rather than waited for.
pub fn log(level: &str, message: &str) {
    let line = format!("level={level} msg={message:?} shim={}\n", getpid());
    let stderr = io::stderr();
    // There is nobody to tell that the log cannot be written.
    let _ = write(stderr.as_fd(), line.as_bytes());
}
