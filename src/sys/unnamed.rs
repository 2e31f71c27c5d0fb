//! A file that has no name until it is whole.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use super::fs::{self, link_of};
use super::{Result, done, raw};

/// Makes a file with this text in a directory, by `O_TMPFILE` and linkat(2): of whoever is killed meanwhile nothing stays. EEXIST where
/// something has the name; EOPNOTSUPP and others where the file system gives every file one.
pub fn write(dir: BorrowedFd<'_>, name: &CStr, text: &[u8]) -> Result<()> {
    let file = fs::open(dir, c".", libc::O_WRONLY | libc::O_TMPFILE, 0o666)?;
    fs::write_all(file.as_fd(), text)?;
    let mut buf = [0; 32];
    // By descriptor (`AT_EMPTY_PATH`) it would need CAP_DAC_READ_SEARCH before Linux 6.10.
    let link = link_of(file.as_fd(), &mut buf)?;
    let (from, to) = (libc::AT_FDCWD, dir.as_raw_fd());
    // SAFETY: both paths are NUL-terminated and outlive the call.
    done(unsafe { raw!(SYS_linkat, from, link.as_ptr(), to, name.as_ptr(), libc::AT_SYMLINK_FOLLOW) })
}
