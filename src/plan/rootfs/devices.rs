//! Device nodes and links of /dev. Pure; runs in the parent.

use std::collections::BTreeMap;

use crate::error::{Below, Error, Result, Stage};
use crate::spec::linux::Device;

/// What kind of node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// `c` and `u`.
    Char,
    /// `b`.
    Block,
    /// `p`.
    Fifo,
}

impl NodeKind {
    /// The S_IF* bits.
    pub const fn mode(self) -> u32 {
        match self {
            NodeKind::Char => libc::S_IFCHR,
            NodeKind::Block => libc::S_IFBLK,
            NodeKind::Fifo => libc::S_IFIFO,
        }
    }
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceNode {
    /// Absolute and normalised, inside the container.
    pub path: String,
    /// Character, block or fifo.
    pub kind: NodeKind,
    /// Major number; 0 for a fifo.
    pub major: u32,
    /// Minor number; 0 for a fifo.
    pub minor: u32,
    /// Permissions, without the kind's bits. The umask must not touch them.
    pub mode: u32,
    /// Owner, as the container sees it.
    pub uid: u32,
    /// Group, as the container sees it.
    pub gid: u32,
    /// Which of `linux.devices` has asked for it.
    pub index: Option<usize>,
}

impl DeviceNode {
    /// The device number for mknod(2).
    pub fn rdev(&self) -> u64 {
        libc::makedev(self.major, self.minor)
    }

    /// The mode for mknod(2): permissions and kind.
    pub fn full_mode(&self) -> u32 {
        self.mode | self.kind.mode()
    }

    /// Whether every container has a node of this path.
    pub fn is_default(&self) -> bool {
        DEFAULTS.iter().any(|(path, ..)| *path == self.path)
    }

    /// The path below the root: without the leading slash.
    pub fn relative(&self) -> &str {
        &self.path[1..]
    }
}

/// The nodes every container has: path, major, minor (config-linux.md, default devices). /dev/console and
/// /dev/ptmx depend on the terminal and are made elsewhere.
pub const DEFAULTS: &[(&str, u32, u32)] = &[
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// Links in /dev: name and target. `core` is made only where /proc/kcore exists.
pub const LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];

const DEFAULT_MODE: u32 = 0o666;
// include/linux/kdev_t.h: dev_t is 12 bits of major and 20 of minor.
const MAJOR_MAX: i64 = (1 << 12) - 1;
const MINOR_MAX: i64 = (1 << 20) - 1;

/// The default nodes, owned by the container's root.
pub fn defaults() -> Vec<DeviceNode> {
    DEFAULTS
        .iter()
        .map(|(path, major, minor)| DeviceNode {
            path: (*path).to_owned(),
            kind: NodeKind::Char,
            major: *major,
            minor: *minor,
            mode: DEFAULT_MODE,
            uid: 0,
            gid: 0,
            index: None,
        })
        .collect()
}

/// The default nodes and those of `linux.devices`, which replace a default at the same path.
pub fn all(list: &[Device]) -> Result<Vec<DeviceNode>> {
    let configured = parse(list)?;
    let mut nodes = defaults();
    nodes.retain(|default| configured.iter().all(|node| node.path != default.path));
    nodes.extend(configured);
    Ok(nodes)
}

/// Reads `linux.devices`. The same node twice counts once; two different ones at one path are an error.
pub fn parse(list: &[Device]) -> Result<Vec<DeviceNode>> {
    let mut nodes: Vec<DeviceNode> = Vec::with_capacity(list.len());
    let mut index: BTreeMap<String, usize> = BTreeMap::new();
    for (number, device) in list.iter().enumerate() {
        let field = || format!("linux.devices[{number}]");
        let mut node = parse_one(device).below(field)?;
        let known = index.get(&node.path).map(|at| &nodes[*at]);
        node.index = known.map_or(Some(number), |known| known.index);
        match known {
            None => {
                index.insert(node.path.clone(), nodes.len());
                nodes.push(node);
            }
            Some(known) if *known == node => {}
            Some(_) => return Err(bad(device, "path", "another device has this path")).below(field),
        }
    }
    Ok(nodes)
}

fn bad(device: &Device, field: &str, why: &str) -> Error {
    Error::of_field(Stage::Bundle, field, format!("device {:?}: {why}", device.path))
}

fn parse_one(device: &Device) -> Result<DeviceNode> {
    let kind = match device.kind.as_str() {
        "c" | "u" => NodeKind::Char,
        "b" => NodeKind::Block,
        "p" => NodeKind::Fifo,
        other => return Err(bad(device, "type", &format!("type {other:?} is none of c, b, u, p"))),
    };
    let (major, minor) = match kind {
        NodeKind::Fifo => (0, 0),
        _ => (number(device, "major", device.major, MAJOR_MAX)?, number(device, "minor", device.minor, MINOR_MAX)?),
    };
    Ok(DeviceNode {
        path: normalise(device)?,
        kind,
        major,
        minor,
        // Engines fill this from stat(2), with the kind's bits in it.
        mode: device.file_mode.unwrap_or(DEFAULT_MODE) & 0o7777,
        uid: device.uid.unwrap_or(0),
        gid: device.gid.unwrap_or(0),
        index: None,
    })
}

fn number(device: &Device, what: &str, value: Option<i64>, max: i64) -> Result<u32> {
    match value {
        None => Err(bad(device, "", &format!("{what} is missing"))),
        Some(value @ 0..) if value <= max => Ok(value as u32),
        Some(value) => Err(bad(device, what, &format!("{what} {value} is out of range"))),
    }
}

fn normalise(device: &Device) -> Result<String> {
    if !device.path.starts_with('/') {
        return Err(bad(device, "path", "path is not absolute"));
    }
    let mut path = String::with_capacity(device.path.len());
    for component in device.path.split('/').filter(|component| !matches!(*component, "" | ".")) {
        if component == ".." {
            return Err(bad(device, "path", "path contains .."));
        }
        path.push('/');
        path.push_str(component);
    }
    if path.is_empty() {
        return Err(bad(device, "path", "path is the root"));
    }
    Ok(path)
}
