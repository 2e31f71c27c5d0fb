//! /proc/PID/status (proc_pid_status(5)).

use std::io::{ErrorKind, Result};

use super::file;

/// Whether the process has a handler for the signal; no process has none.
pub fn catches(pid: i32, signal: i32) -> Result<bool> {
    match file::read_text(format!("/proc/{pid}/status")) {
        // ESRCH: it went away between open and read.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => Ok(false),
        text => caught(&text?).map(|set| set >> (signal - 1) & 1 == 1).ok_or_else(|| ErrorKind::InvalidData.into()),
    }
}

fn caught(text: &str) -> Option<u64> {
    text.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigCgt:")?.trim(), 16).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handler_is_seen() {
        assert_eq!(caught("SigIgn:\t0000000000000001\nSigCgt:\t0000000000004002\n"), Some(0x4002));
        assert_eq!(caught("Name:\tx\n"), None);
        // The test program handles SIGSEGV (std's stack guard), and nothing else has.
        assert!(catches(std::process::id() as i32, libc::SIGSEGV).unwrap());
        assert!(!catches(std::process::id() as i32, libc::SIGUSR2).unwrap());
        assert!(!catches(i32::MAX, libc::SIGTERM).unwrap());
    }
}
