//! Which CPUs a process may run on.

use std::ptr;

use nix::errno::Errno;

use super::{Result, done, raw};

/// sched_setaffinity(2).
pub fn set(pid: i32, mask: &[u64]) -> Result<()> {
    // SAFETY: `mask` is readable for the length given.
    done(unsafe { raw!(SYS_sched_setaffinity, pid, size_of_val(mask), mask.as_ptr()) })
}

/// Moves a process that has not run yet to any CPU but ours, of those this process may use. The scheduler sometimes
/// leaves a new process to wait for its parent's CPU although others are idle (measured on 6.18). Where there is no
/// other, it stays.
pub fn leave_cpu(pid: i32) {
    let mut cpu = 0u32;
    // SAFETY: `cpu` is writable; the other pointers are not used.
    let found = done(unsafe { raw!(SYS_getcpu, &raw mut cpu, ptr::null_mut::<u32>(), ptr::null_mut::<u8>()) });
    let (Ok(()), Ok(mut mask)) = (found, allowed()) else { return };
    let word = cpu as usize / 64;
    if word >= mask.len() {
        return;
    }
    mask[word] &= !(1 << (cpu % 64));
    // An empty mask, or one outside of the child's cpuset, is EINVAL.
    let _ = set(pid, &mask);
}

/// A mask of CPUs; no kernel is built for more (NR_CPUS).
type CpuSet = [u64; 8192 / 64];

/// The CPUs that this process may use.
fn allowed() -> Result<CpuSet> {
    let mut mask = [0; 8192 / 64];
    // SAFETY: `mask` is writable for the length given.
    done(unsafe { raw!(SYS_sched_getaffinity, 0, size_of_val(&mask), mask.as_mut_ptr()) })?;
    Ok(mask)
}

/// The CPUs this process may run on, by number; none where that cannot be told.
pub fn allowed_cpus() -> impl Iterator<Item = usize> {
    let mask = allowed().unwrap_or([0; 8192 / 64]);
    (0..mask.len() * 64).filter(move |cpu| mask[cpu / 64] & 1 << (cpu % 64) != 0)
}

/// Moves this process to one CPU.
pub fn stay_on_cpu(cpu: usize) -> Result<()> {
    let mut mask: CpuSet = [0; 8192 / 64];
    *mask.get_mut(cpu / 64).ok_or(Errno::EINVAL)? |= 1 << (cpu % 64);
    set(0, &mask)
}
