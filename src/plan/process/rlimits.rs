//! Resource limits by name. Pure; runs in the parent.

use crate::error::{Error, Result, Stage};
use crate::spec::process::Rlimit;

/// One limit for prlimit(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParsedRlimit {
    /// RLIMIT_*.
    pub resource: u32,
    /// Soft limit; `u64::MAX` is RLIM_INFINITY.
    pub soft: u64,
    /// Hard limit; `u64::MAX` is RLIM_INFINITY.
    pub hard: u64,
}

/// Name and number. `RLIM_INFINITY` is all ones in config.json and in the 64-bit prlimit64 call alike, so
/// values need no translation. Each C library has a type of its own for the numbers.
const TABLE: &[(&str, u32)] = &[
    ("RLIMIT_AS", libc::RLIMIT_AS as _),
    ("RLIMIT_CORE", libc::RLIMIT_CORE as _),
    ("RLIMIT_CPU", libc::RLIMIT_CPU as _),
    ("RLIMIT_DATA", libc::RLIMIT_DATA as _),
    ("RLIMIT_FSIZE", libc::RLIMIT_FSIZE as _),
    ("RLIMIT_LOCKS", libc::RLIMIT_LOCKS as _),
    ("RLIMIT_MEMLOCK", libc::RLIMIT_MEMLOCK as _),
    ("RLIMIT_MSGQUEUE", libc::RLIMIT_MSGQUEUE as _),
    ("RLIMIT_NICE", libc::RLIMIT_NICE as _),
    ("RLIMIT_NOFILE", libc::RLIMIT_NOFILE as _),
    ("RLIMIT_NPROC", libc::RLIMIT_NPROC as _),
    ("RLIMIT_RSS", libc::RLIMIT_RSS as _),
    ("RLIMIT_RTPRIO", libc::RLIMIT_RTPRIO as _),
    ("RLIMIT_RTTIME", libc::RLIMIT_RTTIME as _),
    ("RLIMIT_SIGPENDING", libc::RLIMIT_SIGPENDING as _),
    ("RLIMIT_STACK", libc::RLIMIT_STACK as _),
];

/// The name of an RLIMIT_* number.
pub fn name(resource: u32) -> Option<&'static str> {
    TABLE.iter().find(|(_, number)| *number == resource).map(|(name, _)| *name)
}

/// Every name.
fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name)
}

/// The RLIMIT_* number of a name.
pub fn number(name: &str) -> Option<u32> {
    TABLE.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// Reads `process.rlimits`.
pub fn parse(list: &[Rlimit]) -> Result<Vec<ParsedRlimit>> {
    let mut limits: Vec<ParsedRlimit> = Vec::with_capacity(list.len());
    for (index, entry) in list.iter().enumerate() {
        let bad = |field: &str, what: String| {
            Error::of_field(Stage::Bundle, format!("process.rlimits[{index}]{field}"), what)
        };
        let resource = number(&entry.kind).ok_or_else(|| {
            bad(".type", format!("rlimit {:?} does not exist", entry.kind)).meant(&entry.kind, names())
        })?;
        if limits.iter().any(|limit| limit.resource == resource) {
            return Err(bad("", format!("rlimit {} is listed twice", entry.kind)));
        }
        if entry.soft > entry.hard {
            let what = format!("rlimit {}: soft limit {} is above hard limit {}", entry.kind, entry.soft, entry.hard);
            return Err(bad("", what));
        }
        limits.push(ParsedRlimit { resource, soft: entry.soft, hard: entry.hard });
    }
    Ok(limits)
}
