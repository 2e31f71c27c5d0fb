//! dlmalloc over memory of the program's own, and the kernel's where that does not do.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::{Cell, UnsafeCell};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use dlmalloc::{Allocator, Dlmalloc};

use crate::sys::memory;

/// What the program brings: several times what a start with an engine's seccomp profile takes. What nobody touches is no memory,
/// neither this process's nor a child's.
const OWN: usize = 256 << 10;

/// Blocks that are larger are mappings, which go when they are freed: in dlmalloc's hands they stay for as long as anything small lies
/// beside them, and a shim lives for months. The programs that do not are spared the system calls.
const LARGE: usize = if cfg!(feature = "shim") { 64 << 10 } else { usize::MAX };

/// dlmalloc's word for memory that is never given back.
const EXTERN: u32 = 1;

#[repr(align(4096))]
struct Own(#[expect(dead_code, reason = "used by its address")] [u8; OWN]);

static mut MEMORY: Own = Own([0; OWN]);

/// dlmalloc's state, and whether somebody is in it: the programs have one thread.
struct Shared {
    state: UnsafeCell<Dlmalloc<Supply>>,
    is_held: AtomicBool,
}

// SAFETY: `with_heap` alone reaches the state, and sees to it that it is one at a time.
unsafe impl Sync for Shared {}

static HEAP: Shared = Shared {
    state: UnsafeCell::new(Dlmalloc::new_with_allocator(Supply { own_is_left: Cell::new(true) })),
    is_held: AtomicBool::new(false),
};

/// Where the heap has its memory from.
struct Supply {
    own_is_left: Cell<bool>,
}

// SAFETY: `alloc` gives memory that nobody else has, the program's own once and else a new mapping.
unsafe impl Allocator for Supply {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        if size <= OWN && self.own_is_left.replace(false) {
            return ((&raw mut MEMORY).cast(), OWN, EXTERN);
        }
        memory::map(size, libc::MAP_PRIVATE).map_or((ptr::null_mut(), 0, 0), |base| (base.cast(), size, 0))
    }

    fn remap(&self, _: *mut u8, _: usize, _: usize, _: bool) -> *mut u8 {
        // Only for blocks with a mapping of their own, of which this port makes none.
        ptr::null_mut()
    }

    fn free_part(&self, base: *mut u8, size: usize, remaining: usize) -> bool {
        self.free(base.wrapping_add(remaining), size - remaining)
    }

    fn free(&self, base: *mut u8, size: usize) -> bool {
        // SAFETY: dlmalloc's call: nothing in this part of a mapping of ours is used.
        unsafe { libc::munmap(base.cast(), size) == 0 }
    }

    fn can_release_part(&self, _: u32) -> bool {
        // dlmalloc asks of the others alone.
        true
    }

    fn allocates_zeros(&self) -> bool {
        true
    }

    fn page_size(&self) -> usize {
        4096
    }
}

/// Does this with the heap, which nobody else has meanwhile.
fn with_heap<T>(work: impl FnOnce(&mut Dlmalloc<Supply>) -> T) -> T {
    if HEAP.is_held.swap(true, Ordering::Acquire) {
        // A panic of the heap's own: whoever waited would wait for himself.
        // SAFETY: no memory is passed; does not return.
        unsafe { libc::_exit(134) };
    }
    // SAFETY: whoever has set `is_held` is alone with it until it is cleared.
    let result = work(unsafe { &mut *HEAP.state.get() });
    HEAP.is_held.store(false, Ordering::Release);
    result
}

/// The heap of the process.
pub(super) struct Heap;

// SAFETY: each call is dlmalloc's, for the same arguments, one at a time; or the kernel's, whose pages are aligned for any type.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() > LARGE {
            return memory::map(layout.size(), libc::MAP_PRIVATE).map_or(ptr::null_mut(), <*mut libc::c_void>::cast);
        }
        // SAFETY: the caller's.
        with_heap(|heap| unsafe { heap.malloc(layout.size(), layout.align()) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.size() > LARGE {
            // SAFETY: the caller's; the kernel's pages are zero.
            return unsafe { self.alloc(layout) };
        }
        // SAFETY: the caller's.
        with_heap(|heap| unsafe { heap.calloc(layout.size(), layout.align()) })
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if layout.size().max(size) <= LARGE {
            // SAFETY: the caller's.
            return with_heap(|heap| unsafe { heap.realloc(block, layout.size(), layout.align(), size) });
        }
        // SAFETY: the caller's: the new size makes a layout.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: the caller's: the new size is not zero.
        let moved = unsafe { self.alloc(wanted) };
        if !moved.is_null() {
            // SAFETY: both are as long as that, and the new one is nobody else's.
            unsafe { ptr::copy_nonoverlapping(block, moved, layout.size().min(size)) };
            // SAFETY: the caller's, who has no use of the old one any more.
            unsafe { self.dealloc(block, layout) };
        }
        moved
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if layout.size() > LARGE {
            // SAFETY: the caller's: the block is a mapping of this length, which nobody uses. So the call does not fail.
            unsafe { libc::munmap(block.cast(), layout.size()) };
            return;
        }
        // SAFETY: the caller's.
        with_heap(|heap| unsafe { heap.free(block, layout.size(), layout.align()) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(size: usize) -> Layout {
        Layout::from_size_align(size, 16).unwrap()
    }

    fn is_own(address: *mut u8) -> bool {
        let begin: *mut u8 = (&raw mut MEMORY).cast();
        (begin..begin.wrapping_add(OWN)).contains(&address)
    }

    #[test]
    fn what_is_little_is_the_programs_and_what_is_more_the_kernels() {
        let small: Vec<*mut u8> = (0..40)
            // SAFETY: freed below with the same layout.
            .map(|_| unsafe { Heap.alloc(block(4000)) })
            .collect();
        assert!(small.iter().all(|address| is_own(*address)));
        // SAFETY: freed below with the same layout.
        let large = unsafe { Heap.alloc_zeroed(block(3 * OWN)) };
        assert!(!large.is_null() && !is_own(large));
        // SAFETY: the block has this length.
        assert!(unsafe { std::slice::from_raw_parts(large, 3 * OWN) }.iter().all(|byte| *byte == 0));
        // SAFETY: the block was allocated above with this layout.
        unsafe { Heap.dealloc(large, block(3 * OWN)) };
        for address in small {
            // SAFETY: the block was allocated above with this layout.
            unsafe { Heap.dealloc(address, block(4000)) };
        }
        // SAFETY: freed below with the same layout.
        let again = unsafe { Heap.alloc(block(OWN / 2)) };
        assert!(is_own(again), "what was freed is used again");
        // SAFETY: the block was allocated above with this layout.
        unsafe { Heap.dealloc(again, block(OWN / 2)) };
    }
}
