//! The kernel's log.

use super::{Result, cvt};

/// `SYSLOG_ACTION_READ_ALL`.
const READ_ALL: libc::c_int = 3;

/// syslog(2): the newest of the kernel's messages, as many as there is room for; how long they are. EPERM for an ordinary user
/// where sysctl kernel.dmesg_restrict says so.
pub fn newest(room: &mut [u8]) -> Result<usize> {
    let len = libc::c_int::try_from(room.len()).unwrap_or(libc::c_int::MAX);
    // SAFETY: the buffer is valid for writes of `len` bytes, which is no more than it has.
    cvt(unsafe { libc::klogctl(READ_ALL, room.as_mut_ptr().cast(), len) }.into()).map(|read| read as usize)
}
