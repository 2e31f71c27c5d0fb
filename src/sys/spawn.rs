//! What a program started with [`std::process::Command`] does before it is executed.

use std::ffi::CString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::{mount, process};

/// The program gets a mount namespace of its own, which still sees what is mounted on the host later on, and in
/// which `from` is bound onto `to`, with everything below it.
pub fn with_bound(command: &mut Command, from: CString, to: CString) {
    let prepare = move || {
        process::unshare(libc::CLONE_NEWNS)?;
        mount::mount(None, c"/", None, libc::MS_SLAVE | libc::MS_REC, None)?;
        mount::mount(Some(&from), &to, None, libc::MS_BIND | libc::MS_REC, None)?;
        Ok(())
    };
    // SAFETY: runs between fork and execve in the copy of a single-threaded process, and makes only system calls
    // with strings that were allocated before.
    unsafe { command.pre_exec(prepare) };
}
