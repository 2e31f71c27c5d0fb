//! Questions to namespace files (ioctl_ns(2)).

use std::os::fd::{AsRawFd, BorrowedFd};

use super::{Result, cvt, raw};

/// NS_GET_NSTYPE: the `CLONE_NEW*` flag of the namespace.
pub fn kind(fd: BorrowedFd<'_>) -> Result<u64> {
    const NS_GET_NSTYPE: libc::c_ulong = 0xb703;
    // SAFETY: the request takes no argument.
    cvt(unsafe { raw!(SYS_ioctl, fd.as_raw_fd(), NS_GET_NSTYPE) }).map(|kind| kind as u64)
}
