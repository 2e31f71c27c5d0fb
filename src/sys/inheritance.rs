//! What a process has from its parent and no file of /proc tells.

use std::mem::size_of_val;

use super::{Result, cvt, done, raw};

/// sched_getattr(2) of this thread: policy, flags, nice value, priority and what a policy has beside that, as the kernel's struct.
pub fn scheduling() -> Result<[u8; 56]> {
    let mut attr = [0; 56];
    // SAFETY: the kernel writes no more than the length given, to memory that is as long.
    done(unsafe { raw!(SYS_sched_getattr, 0, attr.as_mut_ptr(), attr.len(), 0) })?;
    Ok(attr)
}

/// get_mempolicy(2) of this thread: mode, and the nodes. MAX_NUMNODES is 1024 at most.
pub fn memory_policy() -> Result<(i32, [u64; 16])> {
    let (mut mode, mut nodes) = (0, [0u64; 16]);
    // SAFETY: the kernel writes an int and a mask of the number of bits given, to memory that has them.
    done(unsafe { raw!(SYS_get_mempolicy, &raw mut mode, nodes.as_mut_ptr(), size_of_val(&nodes) * 8, 0, 0) })?;
    Ok((mode, nodes))
}

/// What a `PR_GET_*` of prctl(2) returns, which takes no arguments.
pub fn attribute(option: i32) -> Result<i64> {
    // SAFETY: no memory is passed; such an option changes nothing.
    cvt(unsafe { raw!(SYS_prctl, option, 0, 0, 0, 0) })
}

/// prctl(2) `PR_GET_TSC`: whether this process may read the time-stamp counter.
pub fn time_stamp_counter() -> Result<i32> {
    let mut value = 0;
    // SAFETY: the kernel writes an int.
    done(unsafe { raw!(SYS_prctl, libc::PR_GET_TSC, &raw mut value, 0, 0, 0) })?;
    Ok(value)
}

/// prctl(2) `PR_GET_SPECULATION_CTRL`: whether the L1 data cache is flushed when this thread is switched away from (Linux 5.15);
/// of the others /proc/self/status tells.
pub fn flushes_cache() -> Result<i64> {
    // linux/prctl.h; the crate has not both for every architecture.
    const PR_GET_SPECULATION_CTRL: i32 = 52;
    const PR_SPEC_L1D_FLUSH: i32 = 2;
    // SAFETY: no memory is passed; nothing is changed.
    cvt(unsafe { raw!(SYS_prctl, PR_GET_SPECULATION_CTRL, PR_SPEC_L1D_FLUSH, 0, 0, 0) })
}

/// keyctl(2) `KEYCTL_SET_REQKEY_KEYRING` that changes nothing: where request_key(2) of this thread puts new keys.
pub fn keyring_of_requests() -> Result<i64> {
    const KEYCTL_SET_REQKEY_KEYRING: i32 = 14;
    const KEY_REQKEY_DEFL_NO_CHANGE: i32 = -1;
    // SAFETY: no memory is passed.
    cvt(unsafe { raw!(SYS_keyctl, KEYCTL_SET_REQKEY_KEYRING, KEY_REQKEY_DEFL_NO_CHANGE) })
}

/// prctl(2) `PR_SCHED_CORE_GET` of this thread: with whom it shares a core (Linux 5.14).
pub fn core_cookie() -> Result<u64> {
    let mut value = 0u64;
    // SAFETY: the kernel writes eight bytes.
    done(unsafe { raw!(SYS_prctl, libc::PR_SCHED_CORE, libc::PR_SCHED_CORE_GET, 0, 0, &raw mut value) })?;
    Ok(value)
}

/// ioprio_get(2) of this process.
pub fn io_priority() -> Result<i64> {
    const IOPRIO_WHO_PROCESS: i32 = 1;
    // SAFETY: no memory is passed.
    cvt(unsafe { raw!(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0) })
}
