//! What several operations have, as values.

use std::ffi::{CStr, CString};
use std::time::Duration;

use serde_json::{Value, json};

use crate::plan::namespace::NamespaceKind;
use crate::plan::op::Filter;
use crate::plan::process::caps;
use crate::plan::process::rlimits::{self, ParsedRlimit};
use crate::plan::reach::Reach;
use crate::plan::rootfs::mount_op::HostTree;
use crate::plan::seccomp;
use crate::sys::cred::Ids;

/// Text of a C string.
pub(super) fn text(of: &CStr) -> String {
    of.to_string_lossy().into_owned()
}

pub(super) fn texts(list: &[CString]) -> Vec<String> {
    list.iter().map(|of| text(of)).collect()
}

/// A path below the root, as the container sees it.
pub(super) fn below_root(path: &CStr) -> String {
    format!("/{}", path.to_string_lossy())
}

/// The name of a variable.
pub(super) fn variable_name(variable: &CStr) -> String {
    let bytes = variable.to_bytes();
    let end = bytes.iter().position(|byte| *byte == b'=').unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

pub(super) fn milliseconds(time: Option<Duration>) -> Value {
    time.map_or(Value::Null, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX).into())
}

/// The names of the namespaces in a mask.
pub(super) fn namespace_names(flags: u64) -> Vec<&'static str> {
    let kinds = NamespaceKind::ALL.into_iter().filter(|kind| flags & kind.flag() != 0);
    kinds.map(NamespaceKind::name).collect()
}

/// Names of capabilities.
pub(super) fn capabilities(mask: u64) -> Vec<String> {
    caps::names_of(mask)
}

/// The lines of a map of ids, as config.json has them.
pub(super) fn id_map(lines: &str) -> Vec<Value> {
    let line = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map(|number| number.parse::<u64>().ok());
        let mut next = || numbers.next().flatten();
        json!({ "containerID": next(), "hostID": next(), "size": next() })
    };
    lines.lines().map(line).collect()
}

/// A tree of mounts of the host.
pub(super) fn host_tree(tree: &HostTree) -> [(&'static str, Value); 3] {
    let HostTree { path, reach, end: _, idmap } = tree;
    [("path", text(path).into()), ("recursive", (*reach == Reach::Tree).into()), ("idMapped", idmap.is_some().into())]
}

/// Permissions as chmod(1) writes them.
pub(super) fn octal(mode: u32) -> String {
    format!("{:04o}", mode & 0o7777)
}

/// A device node.
pub(super) fn node(mode: u32, dev: u64, owner: Ids) -> [(&'static str, Value); 6] {
    let kind = match mode & libc::S_IFMT {
        libc::S_IFCHR => "char",
        libc::S_IFBLK => "block",
        _ => "fifo",
    };
    [
        ("type", kind.into()),
        ("major", libc::major(dev).into()),
        ("minor", libc::minor(dev).into()),
        ("mode", octal(mode).into()),
        ("uid", owner.uid.into()),
        ("gid", owner.gid.into()),
    ]
}

/// A limit; null is none.
pub(super) fn rlimit(limit: &ParsedRlimit) -> [(&'static str, Value); 3] {
    let amount = |value: u64| if value == u64::MAX { Value::Null } else { value.into() };
    let name = rlimits::name(limit.resource).unwrap_or("?");
    [("name", name.into()), ("soft", amount(limit.soft)), ("hard", amount(limit.hard))]
}

/// What is said of a filter.
pub(super) fn filter(filter: &Filter) -> [(&'static str, Value); 4] {
    let flags: Vec<&str> = seccomp::FLAGS
        .into_iter()
        .filter(|name| seccomp::flag(name).is_some_and(|flag| filter.flags & flag != 0))
        .collect();
    [
        ("instructions", filter.len.into()),
        ("flags", flags.into()),
        ("listener", filter.receiver.is_some().into()),
        ("fingerprint", fingerprint(&filter.program).into()),
    ]
}

/// Tells whether two filters are the same: FNV-1a, 64 bits. Against nobody's will, which would take a longer one.
fn fingerprint(bytes: &[u8]) -> String {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    format!("{:016x}", bytes.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_that_of_fnv() {
        // The test vectors of its authors.
        assert_eq!(fingerprint(b""), "cbf29ce484222325");
        assert_eq!(fingerprint(b"a"), "af63dc4c8601ec8c");
        assert_eq!(fingerprint(b"foobar"), "85944171f73967e8");
    }

    #[test]
    fn of_a_variable_the_value_is_not_told() {
        assert_eq!(variable_name(c"TOKEN=a=b"), "TOKEN");
    }

    #[test]
    fn a_map_of_ids_has_a_value_for_each_line() {
        let map = id_map("0 1000 1\n1 100000 65535\n");
        assert_eq!(map[1], json!({ "containerID": 1, "hostID": 100_000, "size": 65_535 }));
        assert_eq!(map.len(), 2);
    }
}
