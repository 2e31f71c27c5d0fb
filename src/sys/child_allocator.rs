//! The allocator of debug builds: the system's, which ends a process that allocates where it must not.
//!
//! The child is a copy of a process with one thread, so an allocation would work. It would cost time at each start, and it
//! would be wrong as soon as the parent had a second thread, which may hold the allocator's lock when the child is cloned.
//! `make quick` and `make integration-checked` run the integration tests with it (main.rs); a release build has the
//! system's allocator alone.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, Ordering};

use super::raw;

/// Set in the child; its parent has its own copy.
static FORBIDDEN: AtomicBool = AtomicBool::new(false);

/// The exit status of a child that has allocated: a signal would not do, for process 1 of a pid namespace hears none.
const STATUS: i32 = 134;

/// From here on an allocation ends this process, in a build that has the allocator. Whoever is cloned calls it.
pub(super) fn forbid() {
    if cfg!(debug_assertions) {
        FORBIDDEN.store(true, Ordering::Relaxed);
    }
}

/// The allocator.
#[derive(Debug)]
pub struct ChildAllocator;

fn check(what: &[u8]) {
    if FORBIDDEN.load(Ordering::Relaxed) {
        for text in [&b"brisk: the child has "[..], what, b" memory\n"] {
            // SAFETY: pointer and length are of one slice. The process ends in any case.
            unsafe { raw!(SYS_write, libc::STDERR_FILENO, text.as_ptr(), text.len()) };
        }
        // What was written may go to a pipe that nobody reads: the status says it as well.
        // SAFETY: no memory is passed; does not return.
        unsafe { raw!(SYS_exit_group, STATUS) };
    }
}

// SAFETY: everything is done by the system's allocator, for the same arguments.
unsafe impl GlobalAlloc for ChildAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check(b"allocated");
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        check(b"allocated");
        // SAFETY: the caller's.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        check(b"reallocated");
        // SAFETY: the caller's.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        check(b"freed");
        // SAFETY: the caller's.
        unsafe { System.dealloc(block, layout) }
    }
}

#[cfg(test)]
#[global_allocator]
static ALLOCATOR: ChildAllocator = ChildAllocator;

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
