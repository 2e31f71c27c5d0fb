//! The running program's own file: a copy of it that nobody can write to, and starting again from there.
//!
//! A process in a container that reaches another one's `/proc/PID/exe` may open that file for writing
//! (CVE-2019-5736). Most containers never meet a process whose exe is the runtime (see `sys::last_calls`); where
//! they would, the runtime first starts itself again from here. Runs in the parent, before anything is made.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use nix::errno::Errno;

use super::fs;
use super::mount;
use super::mount_attr::{self, MountAttr};
use super::{Result, cvt, done, raw};

const SEALS: libc::c_int = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;

fn open_self() -> Result<OwnedFd> {
    fs::open(fs::CWD, c"/proc/self/exe", libc::O_RDONLY, 0)
}

/// Whether this process runs from a file that its own `/proc/PID/exe` does not let anybody write to.
pub fn is_protected() -> Result<bool> {
    is_unwritable(open_self()?.as_fd())
}

/// On a read-only mount, or a memory file sealed against writing. The link in `/proc/PID/exe` leads to the
/// very mount the program was executed from, whoever follows it.
fn is_unwritable(file: BorrowedFd<'_>) -> Result<bool> {
    let flags = fs::mount_flags(file)?;
    // SAFETY: no memory is passed. EINVAL says that the file takes no seals.
    let seals = cvt(unsafe { raw!(SYS_fcntl, file.as_raw_fd(), libc::F_GET_SEALS) }).unwrap_or(0);
    Ok(flags & libc::ST_RDONLY != 0 || seals as libc::c_int & libc::F_SEAL_WRITE != 0)
}

/// The program's file where nobody can write to it: a read-only detached clone of its mount, which costs a few
/// microseconds, or a sealed copy in memory where the mount API is missing (Linux 5.12) or not allowed.
pub fn protected() -> Result<OwnedFd> {
    let file = open_self()?;
    let file = match read_only_clone(file.as_fd()) {
        Ok(clone) => clone,
        Err(Errno::ENOSYS | Errno::EPERM | Errno::EINVAL) => sealed_copy(file.as_fd())?,
        Err(errno) => return Err(errno),
    };
    // Starting again from a file that is no better would never end.
    if is_unwritable(file.as_fd())? { Ok(file) } else { Err(Errno::ETXTBSY) }
}

fn read_only_clone(file: BorrowedFd<'_>) -> Result<OwnedFd> {
    let tree = mount::clone_tree(file, c"", 0)?;
    let attr = MountAttr { set: mount_attr::RDONLY, ..MountAttr::default() };
    mount::set_attr(tree.as_fd(), 0, &attr)?;
    Ok(tree)
}

fn sealed_copy(file: BorrowedFd<'_>) -> Result<OwnedFd> {
    let copy = fs::sealable_memfd(c"brisk")?;
    let mut left = usize::try_from(fs::stat(file)?.st_size).map_err(|_| Errno::EFBIG)?;
    while left > 0 {
        let none = ptr::null_mut::<libc::off_t>();
        // SAFETY: no offset is passed, so the file's own position is used; the other arguments are numbers.
        match cvt(unsafe { raw!(SYS_sendfile, copy.as_raw_fd(), file.as_raw_fd(), none, left) })? {
            0 => return Err(Errno::EIO),
            len => left -= len as usize,
        }
    }
    // SAFETY: no memory is passed.
    done(unsafe { raw!(SYS_fcntl, copy.as_raw_fd(), libc::F_ADD_SEALS, SEALS) })?;
    Ok(copy)
}

/// execveat(2) of an open file, with arrays of pointers that end in NULL. Returns only on failure.
pub fn exec(file: BorrowedFd<'_>, argv: &[*const libc::c_char], envp: &[*const libc::c_char]) -> Errno {
    let terminated = |list: &[*const libc::c_char]| list.last().is_some_and(|last| last.is_null());
    if !terminated(argv) || !terminated(envp) {
        return Errno::EINVAL;
    }
    let (path, fd) = (c"".as_ptr(), file.as_raw_fd());
    // SAFETY: the path is static; both arrays end in NULL, and the caller keeps their strings alive.
    unsafe { raw!(SYS_execveat, fd, path, argv.as_ptr(), envp.as_ptr(), libc::AT_EMPTY_PATH) };
    Errno::last()
}
