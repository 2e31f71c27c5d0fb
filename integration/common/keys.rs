//! Kernel keyrings (keyrings(7)) of whoever calls the runtime.
#![allow(unsafe_code, reason = "libc has no functions for keyrings, and a closure runs between fork and exec")]

use std::ffi::CString;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// KEY_SPEC_SESSION_KEYRING
const SESSION: i64 = -3;

/// The command runs with a session keyring of this name, or a nameless one, that has a key of this description in it and
/// may be searched by everyone.
pub fn with_key(command: &mut Command, keyring: Option<&str>, key: &str) {
    const JOIN_SESSION_KEYRING: i64 = 1;
    const SETPERM: i64 = 5;
    let (keyring, key) = (keyring.map(|name| CString::new(name).unwrap()), CString::new(key).unwrap());
    let prepare = move || {
        let name = keyring.as_ref().map_or(std::ptr::null(), |name| name.as_ptr());
        let payload = c"of the caller";
        // SAFETY: the name is NULL or NUL-terminated, and outlives the call.
        unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, name) };
        let kind = c"user";
        // SAFETY: the strings are NUL-terminated and outlive the call, and the payload has the length given.
        let made = unsafe {
            libc::syscall(libc::SYS_add_key, kind.as_ptr(), key.as_ptr(), payload.as_ptr(), 13usize, SESSION)
        };
        // SAFETY: no memory is passed.
        unsafe { libc::syscall(libc::SYS_keyctl, SETPERM, SESSION, 0x3f3f_3f3f_u64) };
        if made < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
    };
    // SAFETY: the closure makes three system calls.
    unsafe { command.pre_exec(prepare) };
}
