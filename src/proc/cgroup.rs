//! /proc/PID/cgroup (cgroups(7)).
//!
//! Not trusted: the paths: a container with a cgroup of its own names those below it.

use std::io::{Error, ErrorKind, Result};

use super::file;

/// A process's place in one hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership<'a> {
    /// The controllers of the hierarchy, separated by commas, or `name=NAME`; empty for cgroup2.
    pub controllers: &'a str,
    /// The cgroup, from the root of this process's cgroup namespace.
    pub path: &'a str,
}

impl Membership<'_> {
    /// Whether it is that in cgroup2.
    pub fn unified(&self) -> bool {
        self.controllers.is_empty()
    }
}

/// The text for a process, `self` for this one.
pub fn read(process: &str) -> Result<String> {
    file::read_text(format!("/proc/{process}/cgroup"))
}

/// The lines of the text.
pub fn parse(text: &str) -> Result<Vec<Membership<'_>>> {
    let line =
        |line| membership(line).ok_or_else(|| Error::new(ErrorKind::InvalidData, format!("unexpected line {line:?}")));
    text.lines().map(line).collect()
}

/// `3:cpu,cpuacct:/path`.
fn membership(line: &str) -> Option<Membership<'_>> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, path) = (fields.next()?, fields.next().filter(|path| path.starts_with('/'))?);
    Some(Membership { controllers, path })
}
