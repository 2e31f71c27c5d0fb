//! Listing a directory without allocation.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

use super::{cvt, raw};

#[repr(C, align(8))]
struct Buffer([u8; 4096]);

/// Where d_reclen, d_type and d_name are in `struct linux_dirent64`, see getdents64(2).
const SIZE: usize = 16;
const TYPE: usize = 18;
const NAME: usize = 19;

/// Calls `visit` with the name of every entry but `.` and `..`, from the directory's current position on; stops at the
/// first error.
pub fn each<E: From<Errno>>(dir: BorrowedFd<'_>, visit: &mut impl FnMut(&CStr) -> Result<(), E>) -> Result<(), E> {
    each_typed(dir, &mut |name, _| visit(name))
}

/// [`each`] with the type of each entry, `DT_DIR` and so on. Some file systems say `DT_UNKNOWN`; those of cgroups never.
pub fn each_typed<E: From<Errno>>(
    dir: BorrowedFd<'_>,
    visit: &mut impl FnMut(&CStr, u8) -> Result<(), E>,
) -> Result<(), E> {
    let mut buffer = Buffer([0; 4096]);
    loop {
        // SAFETY: the buffer is writable for the length given.
        let len = cvt(unsafe { raw!(SYS_getdents64, dir.as_raw_fd(), buffer.0.as_mut_ptr(), buffer.0.len()) })?;
        if len == 0 {
            return Ok(());
        }
        let mut at = 0;
        while at < len as usize {
            let size = usize::from(u16::from_ne_bytes([buffer.0[at + SIZE], buffer.0[at + SIZE + 1]]));
            let entry = buffer.0.get(at + NAME..at + size).ok_or(Errno::EBADMSG)?;
            let name = CStr::from_bytes_until_nul(entry).map_err(|_| Errno::EBADMSG)?;
            if name != c"." && name != c".." {
                visit(name, buffer.0[at + TYPE])?;
            }
            at += size;
        }
    }
}
