//! /proc/PID/status (proc_pid_status(5)): in one read what would else be asked capability by capability and signal by
//! signal.

use std::io::{Error, ErrorKind, Result};

use super::file::{self, is_gone};

/// What it says of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelfStatus {
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// The capability bounding set, as a mask.
    pub bounding: u64,
    /// Signals that are ignored, as a mask: bit 0 is signal 1.
    pub ignored: u64,
}

/// Reads that of this process.
pub fn read() -> Result<SelfStatus> {
    let text = file::read_record_text("/proc/self/status")?;
    parse(&text).ok_or_else(|| Error::new(ErrorKind::InvalidData, "a field of /proc/self/status is missing"))
}

/// Of this process, what the fields of these names say; of one that this kernel has not, nothing.
pub fn fields(names: &[&'static str]) -> Result<Vec<(&'static str, String)>> {
    let text = file::read_record_text("/proc/self/status")?;
    Ok(names.iter().map(|name| (*name, field(&text, name).unwrap_or_default().trim().to_owned())).collect())
}

/// Whether the process has a handler for the signal; no process has none.
pub fn catches(pid: i32, signal: i32) -> Result<bool> {
    match file::read_record_text(format!("/proc/{pid}/status")) {
        Err(error) if is_gone(&error) => Ok(false),
        text => {
            mask(&text?, "SigCgt").map(|set| set >> (signal - 1) & 1 == 1).ok_or_else(|| ErrorKind::InvalidData.into())
        }
    }
}

/// Who traces its first thread, where that is told.
pub fn tracer(pid: i32) -> Option<i32> {
    let text = file::read_record_text(format!("/proc/{pid}/status")).ok()?;
    field(&text, "TracerPid")?.trim().parse().ok().filter(|tracer| *tracer != 0)
}

/// How many bytes of the process are in memory; 0 of one that is gone.
pub fn resident(pid: i32) -> Result<u64> {
    match file::read_record_text(format!("/proc/{pid}/status")) {
        Err(error) if is_gone(&error) => Ok(0),
        text => Ok(kilobytes(&text?, "VmRSS").unwrap_or(0) * 1024),
    }
}

fn kilobytes(text: &str, name: &str) -> Option<u64> {
    field(text, name)?.trim().strip_suffix("kB")?.trim_end().parse().ok()
}

fn parse(text: &str) -> Option<SelfStatus> {
    // Real, effective, saved and that of the file system.
    let effective = |name| field(text, name)?.split_ascii_whitespace().nth(1)?.parse().ok();
    let (uid, gid) = (effective("Uid")?, effective("Gid")?);
    Some(SelfStatus { uid, gid, bounding: mask(text, "CapBnd")?, ignored: mask(text, "SigIgn")? })
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

fn mask(text: &str, name: &str) -> Option<u64> {
    u64::from_str_radix(field(text, name)?.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handler_is_seen() {
        assert_eq!(mask("SigIgn:\t0000000000000001\nSigCgt:\t0000000000004002\n", "SigCgt"), Some(0x4002));
        assert_eq!(mask("Name:\tx\n", "SigCgt"), None);
        // The test program handles SIGSEGV (std's stack guard). An emulator of another processor may handle all that can be.
        assert!(catches(std::process::id() as i32, libc::SIGSEGV).unwrap());
        assert!(!catches(std::process::id() as i32, libc::SIGKILL).unwrap());
        assert!(!catches(i32::MAX, libc::SIGTERM).unwrap());
    }

    #[test]
    fn memory_is_in_bytes() {
        assert_eq!(kilobytes("VmHWM:\t      99 kB\nVmRSS:\t      12 kB\n", "VmRSS"), Some(12));
        assert_eq!(kilobytes("Name:\tx\n", "VmRSS"), None);
        assert!(resident(std::process::id() as i32).unwrap() > 65_536);
        assert_eq!(resident(i32::MAX).unwrap(), 0);
    }

    #[test]
    fn fields_are_found_by_their_whole_names() {
        let text = "Name:\tUid: 7\nUid:\t0\t1000\t0\t0\nGid:\t5\t6\t7\t8\nSigIgn:\t0000000000001000\n\
                    CapInh:\t0000000000000000\nCapBnd:\t000001fffeffffff\n";
        let status = SelfStatus { uid: 1000, gid: 6, bounding: 0x1ff_feff_ffff, ignored: 1 << (libc::SIGPIPE - 1) };
        assert_eq!(parse(text), Some(status));
        assert_eq!(parse("Uid:\t0\t0\t0\t0\n"), None);
    }
}
