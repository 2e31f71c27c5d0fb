//! POSIX extended regular expressions of the C library: `--regex` of `kill` and `delete`. Used by the parent
//! only; compiling one allocates.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::ptr;

/// A compiled expression.
pub struct Regex(Box<libc::regex_t>);

impl Regex {
    /// Compiles an extended expression; `None` when it is not one.
    pub fn new(pattern: &CStr) -> Option<Regex> {
        let mut regex = Box::new(MaybeUninit::<libc::regex_t>::zeroed());
        // SAFETY: `regex` is writable and `pattern` NUL-terminated; both outlive the call.
        let failed =
            unsafe { libc::regcomp(regex.as_mut_ptr(), pattern.as_ptr(), libc::REG_EXTENDED | libc::REG_NOSUB) };
        if failed != 0 {
            return None;
        }
        // SAFETY: regcomp(3) succeeded, so the structure is filled in.
        Some(Regex(unsafe { regex.assume_init() }))
    }

    /// Whether it matches somewhere in `text`.
    pub fn is_match(&self, text: &CStr) -> bool {
        // SAFETY: the expression is compiled, `text` is NUL-terminated, and no places of matches are asked for.
        unsafe { libc::regexec(&raw const *self.0, text.as_ptr(), 0, ptr::null_mut(), 0) == 0 }
    }
}

impl Drop for Regex {
    fn drop(&mut self) {
        // SAFETY: the expression is compiled and not used afterwards.
        unsafe { libc::regfree(&raw mut *self.0) };
    }
}
