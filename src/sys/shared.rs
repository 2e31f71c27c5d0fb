//! Memory shared with the child, for the times of a trace.

use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;

use super::Result;

/// A row of times in nanoseconds, one per operation, 0 where it was not reached.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    base: *const AtomicU64,
    len: usize,
}

impl Times {
    /// Maps room for `len` times.
    pub fn new(len: usize) -> Result<Times> {
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no other memory.
        let base = unsafe { libc::mmap(ptr::null_mut(), (len * 8).max(1), protection, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        Ok(Times { base: base.cast(), len })
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
