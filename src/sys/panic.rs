//! The end of a child of clone3(2) that panics.
//!
//! abort(3) would send a signal to the process that the C library takes us for. Nobody has told it that there is a child: musl's
//! sends it to our parent, or to whoever has its number where we are.

use std::fmt::{Error, Result, Write};
use std::panic::{PanicHookInfo, set_hook};

use super::fs;

/// As of a process that SIGABRT has ended.
const ABORTED: i32 = 128 + libc::SIGABRT;

/// From here on a panic is told on standard error and ends this process.
pub(super) fn end_here() {
    // A box of a function's name is no memory.
    set_hook(Box::new(end));
}

fn end(panic: &PanicHookInfo<'_>) {
    // There is nobody to tell that it could not be told.
    let _ = writeln!(Stderr, "brisk: {panic}");
    // SAFETY: does not return; nothing in this process is used afterwards.
    unsafe { libc::_exit(ABORTED) }
}

struct Stderr;

impl Write for Stderr {
    fn write_str(&mut self, text: &str) -> Result {
        fs::write_all(fs::STDERR, text.as_bytes()).map_err(|_| Error)
    }
}
