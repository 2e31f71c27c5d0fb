//! bpf(2), as far as device programs on cgroups need it.
//!
//! The attribute is always one zeroed block larger than any kernel's `union bpf_attr`. From Linux 6.17 (commit
//! 120933984460) until 7.2 (21c4b99b27f3) BPF_PROG_QUERY writes the revision at offset 56 however short an
//! attribute the caller declared (runc issue 5403). Here that hits our own zeros, and a kernel that
//! knows fewer fields accepts the excess because it is zero (bpf_check_uarg_tail_zero).

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::fs::own;
use super::{Result, cvt, raw};

const PROG_LOAD: libc::c_long = 5;
const PROG_ATTACH: libc::c_long = 8;
const PROG_DETACH: libc::c_long = 9;
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const PROG_QUERY: libc::c_long = 16;

const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_TYPE_CGROUP_DEVICE: u32 = 6;
/// BPF_F_ALLOW_MULTI: descendants may have programs of their own, and all must agree.
const ALLOW_MULTI: u32 = 2;
/// BPF_F_REPLACE (Linux 5.6): swap one program for another with no moment between.
const REPLACE: u32 = 4;

/// `union bpf_attr`, with room for fields of kernels to come.
#[repr(C, align(8))]
struct Attr([u8; 256]);

impl Attr {
    fn new() -> Attr {
        Attr([0; 256])
    }

    fn u32(mut self, offset: usize, value: u32) -> Attr {
        if let Some(field) = self.0.get_mut(offset..offset + 4) {
            field.copy_from_slice(&value.to_ne_bytes());
        }
        self
    }

    fn u64(mut self, offset: usize, value: u64) -> Attr {
        if let Some(field) = self.0.get_mut(offset..offset + 8) {
            field.copy_from_slice(&value.to_ne_bytes());
        }
        self
    }

    fn fd(self, offset: usize, fd: BorrowedFd) -> Attr {
        // A descriptor is never negative.
        self.u32(offset, fd.as_raw_fd().unsigned_abs())
    }

    fn get_u32(&self, offset: usize) -> u32 {
        self.0.get(offset..offset + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_ne_bytes)
    }
}

/// # Safety
/// Every address in `attr` must be valid for what `command` does with it until the call returns.
unsafe fn bpf(command: libc::c_long, attr: &mut Attr) -> Result<libc::c_long> {
    // SAFETY: `attr` is initialised memory of the size that is passed, writable for the kernel's answers;
    // the caller vouches for the addresses inside.
    cvt(unsafe { raw!(SYS_bpf, command, attr.0.as_mut_ptr(), attr.0.len()) })
}

/// Loads a device program; `code` is a sequence of encoded instructions.
pub fn load_device_program(code: &[[u8; 8]]) -> Result<OwnedFd> {
    let license: &CStr = c"Apache-2.0";
    let count = u32::try_from(code.len()).map_err(|_| Errno::E2BIG)?;
    let mut attr = Attr::new()
        .u32(0, PROG_TYPE_CGROUP_DEVICE)
        .u32(4, count)
        .u64(8, code.as_ptr().expose_provenance() as u64)
        .u64(16, license.as_ptr().expose_provenance() as u64);
    // SAFETY: `code` has `count` instructions of 8 bytes, `license` is NUL-terminated; both outlive the call
    // and the kernel only reads them. No log buffer is given.
    unsafe { bpf(PROG_LOAD, &mut attr) }.map(own)
}

/// Attaches `program` to `cgroup`, in the place of `old` if that is given.
pub fn attach_device_program(cgroup: BorrowedFd, program: BorrowedFd, old: Option<BorrowedFd>) -> Result<()> {
    let attr = Attr::new().fd(0, cgroup).fd(4, program).u32(8, ATTACH_TYPE_CGROUP_DEVICE);
    let mut attr = match old {
        Some(old) => attr.u32(12, ALLOW_MULTI | REPLACE).fd(16, old),
        None => attr.u32(12, ALLOW_MULTI),
    };
    // SAFETY: the attribute of BPF_PROG_ATTACH has no addresses.
    unsafe { bpf(PROG_ATTACH, &mut attr) }.map(drop)
}

/// Detaches `program` from `cgroup`.
pub fn detach_device_program(cgroup: BorrowedFd, program: BorrowedFd) -> Result<()> {
    let mut attr = Attr::new().fd(0, cgroup).fd(4, program).u32(8, ATTACH_TYPE_CGROUP_DEVICE);
    // SAFETY: the attribute of BPF_PROG_DETACH has no addresses.
    unsafe { bpf(PROG_DETACH, &mut attr) }.map(drop)
}

/// Puts the ids of the device programs attached to `cgroup` into `ids`; returns how many there are. ENOSPC
/// when there are more than fit.
pub fn query_device_programs(cgroup: BorrowedFd, ids: &mut [u32]) -> Result<usize> {
    let room = u32::try_from(ids.len()).map_err(|_| Errno::E2BIG)?;
    let mut attr = Attr::new()
        .fd(0, cgroup)
        .u32(4, ATTACH_TYPE_CGROUP_DEVICE)
        .u64(16, ids.as_mut_ptr().expose_provenance() as u64)
        .u32(24, room);
    // SAFETY: the kernel writes at most `room` ids to `ids`, which has that many and outlives the call.
    unsafe { bpf(PROG_QUERY, &mut attr) }?;
    Ok(attr.get_u32(24) as usize)
}

/// Opens a loaded program by its id.
pub fn open_program(id: u32) -> Result<OwnedFd> {
    let mut attr = Attr::new().u32(0, id);
    // SAFETY: the attribute of BPF_PROG_GET_FD_BY_ID has no addresses.
    unsafe { bpf(PROG_GET_FD_BY_ID, &mut attr) }.map(own)
}
