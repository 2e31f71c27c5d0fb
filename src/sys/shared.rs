//! Memory shared with the child: for the times of a trace, and for how far it is.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

use super::{Result, memory};

/// A row of times in nanoseconds, one per operation, 0 where it was not reached.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    base: *const AtomicU64,
    len: usize,
}

impl Times {
    /// Maps room for `len` times.
    pub fn new(len: usize) -> Result<Times> {
        memory::map(len * size_of::<AtomicU64>(), libc::MAP_SHARED).map(|base| Times { base: base.cast(), len })
    }

    fn slot(&self, index: usize) -> Option<&AtomicU64> {
        if index >= self.len {
            return None;
        }
        // SAFETY: the index is within the mapping, which is one allocation of `len` slots.
        let slot = unsafe { self.base.add(index) };
        // SAFETY: the mapping is zeroed, page-aligned and never unmapped, and is only ever used atomically.
        Some(unsafe { &*slot })
    }

    /// Notes when an operation starts.
    pub fn start(&self, index: usize, now: u64) {
        if let Some(slot) = self.slot(index) {
            slot.store(now, Ordering::Relaxed);
        }
    }

    /// When an operation started; 0 when it did not.
    pub fn get(&self, index: usize) -> u64 {
        self.slot(index).map_or(0, |slot| slot.load(Ordering::Relaxed))
    }
}

/// How far a child is, as it tells its parent.
#[derive(Debug)]
pub struct Progress {
    /// Whether the child has started.
    pub started: AtomicBool,
    /// The number of what it has made as our child (`CLONE_PARENT`), which the kernel writes with the making; 0 before that.
    pub made: AtomicI32,
}

impl Progress {
    /// Maps one.
    pub fn new() -> Result<&'static Progress> {
        let base = memory::map(size_of::<Progress>(), libc::MAP_SHARED)?.cast::<Progress>();
        // SAFETY: the mapping is as large, page-aligned and never unmapped; all zeros are a value of it, and it is only ever used
        // atomically.
        Ok(unsafe { &*base })
    }

    /// Maps one in the place of a page.
    ///
    /// # Safety
    /// The page at this address is mapped, for as long as the process lives, and nobody uses it.
    pub(super) unsafe fn at(page: usize) -> Result<&'static Progress> {
        let flags = libc::MAP_SHARED | libc::MAP_FIXED;
        // SAFETY: the caller's.
        let base =
            unsafe { memory::map_at(page as *mut libc::c_void, size_of::<Progress>(), flags)? }.cast::<Progress>();
        // SAFETY: the mapping is as large, page-aligned and, as the caller says, never unmapped; all zeros are a value of it.
        Ok(unsafe { &*base })
    }
}
