//! What passes a trace point, read from the ring that the kernel writes it into (perf_event_open(2)).

use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;

use super::fs::own;
use super::{Result, cvt, raw};

/// `struct perf_event_attr` of the size that it had first, and every kernel takes.
#[repr(C)]
#[derive(Default)]
struct EventAttr {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    rest: [u32; 3],
}

const TRACEPOINT: u32 = 2;
const SAMPLE_RAW: u64 = 1 << 10;
const DISABLED: u64 = 1 << 0;
const INHERIT: u64 = 1 << 1;
const ENABLE_ON_EXEC: u64 = 1 << 12;
const CLOEXEC: u64 = 1 << 3;
/// The types of records.
const RECORD_LOST: u32 = 2;
const RECORD_SAMPLE: u32 = 9;
/// Bytes of a record's type, flags and length; and those before a sample's raw data.
const RECORD_HEADER: usize = 8;
const RAW_HEADER: usize = RECORD_HEADER + 4;
/// Offsets in `struct perf_event_mmap_page`.
const DATA_HEAD: usize = 1024;
const DATA_TAIL: usize = 1032;
/// Bytes of a ring, and of the page before it on every architecture.
const RING: usize = 128 << 10;

/// A trace point on one CPU, of one thread and what it begins.
#[derive(Debug)]
pub struct TraceRing {
    /// Closed with it.
    _event: OwnedFd,
    base: *mut u8,
    page: usize,
}

impl TraceRing {
    /// From the next execve(2) of this thread on. ENODEV: the CPU is not there.
    pub fn from_exec(tid: i32, cpu: i32, tracepoint: u64) -> Result<TraceRing> {
        let attr = EventAttr {
            kind: TRACEPOINT,
            size: size_of::<EventAttr>() as u32,
            config: tracepoint,
            sample_period: 1,
            sample_type: SAMPLE_RAW,
            flags: DISABLED | INHERIT | ENABLE_ON_EXEC,
            // Nobody is woken: whoever reads does so when there is something else to do as well.
            wakeup_events: u32::MAX,
            ..EventAttr::default()
        };
        // SAFETY: `attr` has the size that it says, and outlives the call.
        let event = cvt(unsafe { raw!(SYS_perf_event_open, &raw const attr, tid, cpu, -1, CLOEXEC) }).map(own)?;
        // SAFETY: no memory is passed.
        let page = cvt(unsafe { libc::sysconf(libc::_SC_PAGESIZE) })?.cast_unsigned() as usize;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let base =
            unsafe { libc::mmap(ptr::null_mut(), page + RING, protection, libc::MAP_SHARED, event.as_raw_fd(), 0) };
        if base == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        Ok(TraceRing { _event: event, base: base.cast(), page })
    }

    fn counter(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: the offset is within the first page of the mapping.
        let counter = unsafe { self.base.add(offset) };
        // SAFETY: aligned, mapped for as long as `self` lives, and written by the kernel and us as a whole only.
        unsafe { &*counter.cast::<AtomicU64>() }
    }

    /// Copies out of the ring, which has no end.
    fn copy(&self, from: u64, into: &mut [u8]) {
        for (offset, byte) in (from..).zip(into) {
            let at = self.page + offset as usize % RING;
            // SAFETY: within the mapping, of which `at` is less than the length.
            let at = unsafe { self.base.add(at) };
            // SAFETY: mapped; and the kernel does not write to it before the tail has passed it.
            *byte = unsafe { at.read() };
        }
    }

    /// Hands over the fields of each sample that has come, in `room` as far as they fit; how many were lost.
    pub fn drain(&self, room: &mut [u8], each: &mut dyn FnMut(&[u8])) -> u64 {
        let head = self.counter(DATA_HEAD).load(Ordering::Acquire);
        let mut tail = self.counter(DATA_TAIL).load(Ordering::Relaxed);
        let mut lost = 0;
        while tail < head {
            let mut header = [0; RAW_HEADER];
            self.copy(tail, &mut header);
            let [kind, _, length] = [0, 4, 6].map(|at| u32::from(u16::from_ne_bytes([header[at], header[at + 1]])));
            let length = length as usize;
            // A record of no length would be for ever.
            if length < RECORD_HEADER {
                break;
            }
            match kind {
                RECORD_SAMPLE => {
                    let fields = length.saturating_sub(RAW_HEADER).min(room.len());
                    self.copy(tail + RAW_HEADER as u64, &mut room[..fields]);
                    each(&room[..fields]);
                }
                RECORD_LOST => {
                    // An identifier, and how many.
                    let mut number = [0; 8];
                    self.copy(tail + RECORD_HEADER as u64 + 8, &mut number);
                    lost += u64::from_ne_bytes(number);
                }
                _ => {}
            }
            tail += length as u64;
        }
        self.counter(DATA_TAIL).store(head, Ordering::Release);
        lost
    }
}

impl Drop for TraceRing {
    fn drop(&mut self) {
        // SAFETY: the mapping is our own, and nothing points into it any more.
        unsafe { libc::munmap(self.base.cast(), self.page + RING) };
    }
}
