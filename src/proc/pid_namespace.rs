//! Which pid namespace a process is in.

use std::fmt::Display;
use std::io::Result;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// The name of the one that a process, or `self`, is in, as namespaces are told apart: `pid:[NUMBER]` (namespaces(7)).
pub fn of(process: impl Display) -> Result<PathBuf> {
    std::fs::read_link(format!("/proc/{process}/ns/pid"))
}

/// Whether ours is the initial one, which has all processes, and whose numbers the kernel's log has.
pub fn is_initial() -> bool {
    // include/linux/proc_ns.h: PROC_PID_INIT_INO.
    const INITIAL: u64 = 0xefff_fffc;
    std::fs::metadata("/proc/self/ns/pid").is_ok_and(|namespace| namespace.ino() == INITIAL)
}
