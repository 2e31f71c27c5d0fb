//! Keeps brisk's own binary out of a container's reach where `LeaveRuntime` cannot (CVE-2019-5736).
//!
//! Normally no process inside a container is ever brisk: its image is gone before the pid namespace is
//! entered (`exec`) or before anybody else is in it (`create`). Three rare cases are different, and there
//! brisk starts itself again from an image nobody can write to, before it has opened or made anything.

use std::ffi::{CString, c_char};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;

use crate::error::{Context, Error, Result, Stage};
use crate::plan;
use crate::spec::Spec;
use crate::sys::{arguments, last_calls, self_image};

/// For `create` and `run`.
pub(in crate::container) fn protect_from(spec: &Spec) -> Result<()> {
    if plan::is_met_inside(spec) { start_again() } else { protect() }
}

/// For `exec`, and for what every container has in common: the kernel may be unable to swap
/// `/proc/self/exe` (CONFIG_CHECKPOINT_RESTORE is off), and the process is brisk until its execve.
pub(in crate::container) fn protect() -> Result<()> {
    if last_calls::can_leave_runtime() { Ok(()) } else { start_again() }
}

/// Returns once this process runs from a file that cannot be written through its `/proc/PID/exe`.
fn start_again() -> Result<()> {
    const WHAT: &str = "protect brisk's own binary";
    if self_image::is_protected().at(Stage::Process, || WHAT)? {
        return Ok(());
    }
    let file = self_image::protected().at(Stage::Process, || WHAT)?;
    let args: Vec<CString> = arguments::all().into_iter().filter_map(|arg| CString::new(arg.into_vec()).ok()).collect();
    let vars = std::env::vars_os().filter_map(|(name, value)| {
        let text = [name.into_vec(), value.into_vec()].join(&b'=');
        CString::new(text).ok()
    });
    let vars: Vec<CString> = vars.collect();
    let pointers = |list: &[CString]| -> Vec<*const c_char> {
        list.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let errno = self_image::exec(file.as_fd(), &pointers(&args), &pointers(&vars));
    Err(Error::errno(Stage::Process, "start brisk again from a protected image", errno))
}
