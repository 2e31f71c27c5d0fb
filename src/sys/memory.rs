//! Memory from the kernel, page by page.

use std::{ptr, slice};

use nix::errno::Errno;

use super::Result;

/// Maps so many bytes, all of them zero: `MAP_PRIVATE`, or `MAP_SHARED` with children. What nobody touches is no memory.
pub(super) fn map(len: usize, sharing: i32) -> Result<*mut libc::c_void> {
    // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no other memory.
    unsafe { map_at(ptr::null_mut(), len, sharing) }
}

/// [`map`] at this address, with `MAP_FIXED` among the flags.
///
/// # Safety
/// What that covers nobody uses.
pub(super) unsafe fn map_at(at: *mut libc::c_void, len: usize, flags: i32) -> Result<*mut libc::c_void> {
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: anonymous, and the caller's promise.
    let base = unsafe { libc::mmap(at, len.max(1), rights, flags | libc::MAP_ANONYMOUS, -1, 0) };
    if base == libc::MAP_FAILED { Err(Errno::last()) } else { Ok(base) }
}

/// Memory for the rest of the process.
pub fn pages(len: usize) -> Result<&'static mut [u8]> {
    let base = map(len, libc::MAP_PRIVATE)?;
    // SAFETY: the mapping has this length, is zeroed and never unmapped, and nobody else has its address.
    Ok(unsafe { slice::from_raw_parts_mut(base.cast(), len) })
}
