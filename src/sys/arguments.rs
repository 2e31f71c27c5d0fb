//! The start of a program, which the C library calls directly, and the command line that it hands over. What Rust does before
//! `main` (a handler for stack overflows, for which it reads /proc/self/maps) is 12 system calls and the pages they touch, and
//! `sys::process::prepare` does what of it is needed. The command line Rust's library finds by itself with glibc alone.

use std::ffi::{CStr, OsString, c_char};
use std::os::unix::ffi::OsStringExt;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

/// Makes this function, which gives the exit status, the program's: with the allocator of all of them, and the command line
/// noted.
#[macro_export]
macro_rules! program {
    ($main:path) => {
        #[global_allocator]
        static ALLOCATOR: $crate::sys::allocator::Allocator = $crate::sys::allocator::Allocator;

        /// Its exit status.
        ///
        /// # Safety
        ///
        /// `argv` is that of the C library.
        #[allow(unsafe_code, reason = "the name by which the C library finds the program, and what it gives it")]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn main(_argc: i32, argv: *const *const std::ffi::c_char) -> i32 {
            // SAFETY: the C library's list, which ends with a null pointer; nobody changes it.
            unsafe { $crate::sys::arguments::note(argv) };
            $main().into()
        }
    };
}

static ARGV: AtomicPtr<*const c_char> = AtomicPtr::new(ptr::null_mut());

/// Notes where the command line is. For `main`, before anything else.
///
/// # Safety
///
/// `argv` is a list of C strings that ends with a null pointer, and nobody changes either.
pub unsafe fn note(argv: *const *const c_char) {
    ARGV.store(argv.cast_mut(), Relaxed);
}

/// All of it, the program's own name first; nothing where nothing was noted.
pub fn all() -> Vec<OsString> {
    let mut next = ARGV.load(Relaxed).cast_const();
    let mut words = Vec::new();
    while !next.is_null() {
        // SAFETY: the promise of `note`: the list goes on up to its null pointer.
        let word = unsafe { *next };
        if word.is_null() {
            break;
        }
        // SAFETY: the promise of `note`: a C string.
        words.push(OsString::from_vec(unsafe { CStr::from_ptr(word) }.to_bytes().to_vec()));
        // SAFETY: this was not the null pointer, so one more follows.
        next = unsafe { next.add(1) };
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_what_main_was_given() {
        let words = [c"brisk".as_ptr(), c"run".as_ptr(), c"\xff".as_ptr(), ptr::null()];
        // SAFETY: a list of C strings with its end, which outlives the test's use of it.
        unsafe { note(words.as_ptr()) };
        assert_eq!(all(), ["brisk".into(), "run".into(), OsString::from_vec(vec![0xff])]);
        // SAFETY: a null pointer is a list that was never noted.
        unsafe { note(ptr::null()) };
        assert!(all().is_empty());
    }
}
