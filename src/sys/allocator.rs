//! The allocator of all programs: dlmalloc's where the C library is musl, the C library's own elsewhere.
//!
//! musl's own gives a page back to the kernel as soon as it is free, and a start allocates and frees the same few again and again:
//! forty system calls for the usage text alone. dlmalloc's begins with memory that is part of the program (`heap`): a start as
//! engines ask for it takes none of the kernel's, so none can be refused when half of a container is made.
//!
//! In a debug build it ends a child that allocates. The child is a copy of a process with one thread, so an allocation would work. It
//! would cost time at each start, and it would be wrong as soon as the parent had a second thread, which may hold the allocator's
//! lock when the child is cloned. `make quick` and `make integration-checked` run the integration tests with it.

#[cfg(not(target_env = "musl"))]
use std::alloc::System;
use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicBool, Ordering};

use super::raw;

#[cfg(any(target_env = "musl", test))]
mod heap;

/// Who does the work.
#[cfg(target_env = "musl")]
const WORKER: heap::Heap = heap::Heap;
#[cfg(not(target_env = "musl"))]
const WORKER: System = System;

/// Set in the child; its parent has its own copy.
static FORBIDDEN: AtomicBool = AtomicBool::new(false);

/// The exit status of a child that has allocated: a signal would not do, for process 1 of a pid namespace hears none.
const STATUS: i32 = 134;

/// From here on an allocation ends this process, in a debug build. Whoever is cloned calls it.
pub(super) fn forbid() {
    if cfg!(debug_assertions) {
        FORBIDDEN.store(true, Ordering::Relaxed);
    }
}

/// The allocator.
#[derive(Debug)]
pub struct Allocator;

fn check(what: &[u8]) {
    if cfg!(debug_assertions) && FORBIDDEN.load(Ordering::Relaxed) {
        for text in [&b"brisk: the child has "[..], what, b" memory\n"] {
            // SAFETY: pointer and length are of one slice. The process ends in any case.
            unsafe { raw!(SYS_write, libc::STDERR_FILENO, text.as_ptr(), text.len()) };
        }
        // What was written may go to a pipe that nobody reads: the status says it as well.
        // SAFETY: no memory is passed; does not return.
        unsafe { raw!(SYS_exit_group, STATUS) };
    }
}

// SAFETY: everything is done by `WORKER`, for the same arguments.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check(b"allocated");
        // SAFETY: the caller's.
        unsafe { WORKER.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        check(b"allocated");
        // SAFETY: the caller's.
        unsafe { WORKER.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        check(b"reallocated");
        // SAFETY: the caller's.
        unsafe { WORKER.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        check(b"freed");
        // SAFETY: the caller's.
        unsafe { WORKER.dealloc(block, layout) }
    }
}

#[cfg(test)]
#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;

    /// How a child ends that does this after `forbid`.
    fn status_of(child: fn()) -> libc::c_int {
        // SAFETY: what the child does is meant to be forbidden to it: it ends there, or by _exit.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            forbid();
            child();
            // SAFETY: ends the child, which must not return into the test.
            unsafe { libc::_exit(0) };
        }
        let mut status = 0;
        // SAFETY: `status` is an int that outlives the call.
        assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
        status
    }

    #[test]
    fn a_child_that_allocates_is_ended() {
        let status = status_of(|| drop(black_box(Box::new(1))));
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == STATUS, "{status:#x}");
        assert_eq!(status_of(|| ()), 0);
    }
}
