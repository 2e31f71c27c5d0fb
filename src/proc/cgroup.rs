//! /proc/PID/cgroup (cgroups(7)).
//!
//! The paths are not trusted: a container with a cgroup namespace of its own names what is below its cgroup.

use std::io::{Error, ErrorKind, Result};

use super::file;

/// A process's place in one hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership<'a> {
    /// The controllers of the hierarchy, separated by commas, or `name=NAME`; empty for cgroup2.
    pub controllers: &'a str,
    /// The cgroup, from the root of this process's cgroup namespace. A container may name its own as it likes, but for a
    /// newline.
    pub path: &'a [u8],
}

impl Membership<'_> {
    /// Whether it is that in cgroup2.
    pub fn unified(&self) -> bool {
        self.controllers.is_empty()
    }
}

/// The text for a process, `self` for this one.
pub fn read(process: &str) -> Result<Vec<u8>> {
    file::read_record(format!("/proc/{process}/cgroup"))
}

/// The lines of the text.
pub fn parse(text: &[u8]) -> Result<Vec<Membership<'_>>> {
    let unexpected = |line| format!("unexpected line {:?}", String::from_utf8_lossy(line));
    let line = |line| membership(line).ok_or_else(|| Error::new(ErrorKind::InvalidData, unexpected(line)));
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(line).collect()
}

/// `3:cpu,cpuacct:/path`.
fn membership(line: &[u8]) -> Option<Membership<'_>> {
    let mut fields = line.splitn(3, |byte| *byte == b':').skip(1);
    let controllers = std::str::from_utf8(fields.next()?).ok()?;
    Some(Membership { controllers, path: fields.next().filter(|path| path.starts_with(b"/"))? })
}
