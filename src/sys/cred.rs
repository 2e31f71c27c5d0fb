//! Credentials: ids, groups and capabilities, as system calls of this one thread.

use nix::errno::Errno;

use super::{Result, cvt, done, raw};

/// A user and a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Ids {
    pub uid: u32,
    pub gid: u32,
}

/// The three capability sets of capset(2) as masks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapMasks {
    /// Effective.
    pub effective: u64,
    /// Permitted.
    pub permitted: u64,
    /// Inheritable.
    pub inheritable: u64,
}

/// The right to any file, as a bit of a mask.
pub const CAP_DAC_OVERRIDE: u64 = 1 << 1;
/// The right to read any file and to look into any directory.
pub const CAP_DAC_READ_SEARCH: u64 = 1 << 2;
/// The right to be scheduled before others.
pub const CAP_SYS_NICE: u64 = 1 << 23;
/// The right to raise limits.
pub const CAP_SYS_RESOURCE: u64 = 1 << 24;

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// `_LINUX_CAPABILITY_VERSION_3`.
pub const CAP_VERSION: u32 = 0x2008_0522;

/// capget(2) of this thread.
pub fn caps() -> Result<CapMasks> {
    let mut header = CapHeader { version: CAP_VERSION, pid: 0 };
    let mut data = [CapData::default(); 2];
    // SAFETY: version 3 reads one header and fills two data structs.
    done(unsafe { raw!(SYS_capget, &raw mut header, data.as_mut_ptr()) })?;
    let join = |low: u32, high: u32| u64::from(low) | (u64::from(high) << 32);
    Ok(CapMasks {
        effective: join(data[0].effective, data[1].effective),
        permitted: join(data[0].permitted, data[1].permitted),
        inheritable: join(data[0].inheritable, data[1].inheritable),
    })
}

/// capset(2) of this thread.
pub fn set_caps(masks: &CapMasks) -> Result<()> {
    let header = CapHeader { version: CAP_VERSION, pid: 0 };
    let words = cap_words(masks);
    // SAFETY: version 3 reads one header and two data structs of three words each.
    done(unsafe { raw!(SYS_capset, &raw const header, words.as_ptr()) })
}

/// The words capset(2) version 3 reads after its header: effective, permitted, inheritable, twice.
pub fn cap_words(masks: &CapMasks) -> [u32; 6] {
    let low = |mask: u64| mask as u32;
    let high = |mask: u64| (mask >> 32) as u32;
    let (e, p, i) = (masks.effective, masks.permitted, masks.inheritable);
    [low(e), low(p), low(i), high(e), high(p), high(i)]
}

/// Every capability the kernel knows, as a mask: those up to the last of the bounding set, and the next ones until
/// `PR_CAPBSET_READ` says EINVAL.
pub fn known_caps(bounding: u64) -> u64 {
    let mut known = u64::MAX.checked_shr(bounding.leading_zeros()).unwrap_or(0);
    for cap in known.count_ones()..64 {
        // SAFETY: no memory is passed.
        match cvt(unsafe { raw!(SYS_prctl, libc::PR_CAPBSET_READ, u64::from(cap), 0, 0, 0) }) {
            Ok(_) => known |= 1 << cap,
            Err(_) => break,
        }
    }
    known
}

/// setresuid(2) with one id for all three.
pub fn set_uid(uid: u32) -> Result<()> {
    // SAFETY: no memory is passed.
    done(unsafe { raw!(SYS_setresuid, uid, uid, uid) })
}

/// setresgid(2) with one id for all three.
pub fn set_gid(gid: u32) -> Result<()> {
    // SAFETY: no memory is passed.
    done(unsafe { raw!(SYS_setresgid, gid, gid, gid) })
}

/// setgroups(2).
pub fn set_groups(groups: &[u32]) -> Result<()> {
    // SAFETY: the pointer is readable for the number of ids given.
    done(unsafe { raw!(SYS_setgroups, groups.len(), groups.as_ptr()) })
}

/// setfsuid(2) and setfsgid(2): file access as another user for a moment. They report no error, so the id is
/// read back.
pub fn set_fs_ids(uid: u32, gid: u32) -> Result<()> {
    // SAFETY: no memory is passed.
    unsafe { raw!(SYS_setfsgid, gid) };
    // SAFETY: no memory is passed; -1 changes nothing and returns the current id.
    let now_gid = unsafe { raw!(SYS_setfsgid, u32::MAX) } as u32;
    // SAFETY: no memory is passed.
    unsafe { raw!(SYS_setfsuid, uid) };
    // SAFETY: no memory is passed; -1 changes nothing and returns the current id.
    let now_uid = unsafe { raw!(SYS_setfsuid, u32::MAX) } as u32;
    if (now_uid, now_gid) == (uid, gid) { Ok(()) } else { Err(Errno::EPERM) }
}
