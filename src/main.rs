//! The `brisk` program.
//!
//! Called by the C library directly: what Rust does before `main` (a handler for stack overflows, for which it reads
//! /proc/self/maps) is 12 system calls and the pages they touch, and `sys::process::prepare` does what of it is needed.
#![no_main]

/// The tests run a debug build, too: there an allocation in a child ends it with status 134.
#[cfg(debug_assertions)]
#[global_allocator]
static ALLOCATOR: brisk::sys::child_allocator::ChildAllocator = brisk::sys::child_allocator::ChildAllocator;

/// Its exit status.
#[expect(unsafe_code, reason = "the name by which the C library finds the program")]
#[unsafe(no_mangle)]
pub extern "C" fn main() -> i32 {
    brisk::cli::main().into()
}
