//! Id maps: checks, translation and composition. Pure; runs in the parent (`host`
//! reads the files of sub-ids).

use crate::error::{Error, Result, Stage};
use crate::spec::linux::IdMapping;

use crate::host::sub_ids::SubRange;

/// One range: `size` ids from `container` inside are those from `host` outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named in the line above")]
pub struct IdRange {
    pub container: u32,
    pub host: u32,
    pub size: u32,
}

/// One range of crun's `idmap=uids=FROM-TO-SIZE#…;gids=…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionRange {
    /// First id in the file system.
    pub from: u32,
    /// First id it appears as: the host's, or the container's when `relative`.
    pub to: u32,
    /// Number of ids.
    pub size: u32,
    /// Written with `@`: `to` counts inside the container's user namespace.
    pub relative: bool,
}

/// Whose ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum IdKind {
    Uid,
    Gid,
}

impl IdKind {
    /// `uid` or `gid`.
    pub const fn name(self) -> &'static str {
        match self {
            IdKind::Uid => "uid",
            IdKind::Gid => "gid",
        }
    }
}

/// A checked list of ranges: none empty, none overflows, no two overlap on either side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMap {
    ranges: Vec<IdRange>,
}

/// user_namespaces(7): the limit of lines since Linux 4.15.
const LINES_MAX: usize = 340;
/// The kernel takes the lines in one write of less than a page (map_write in kernel/user_namespace.c). On aarch64 a page may be larger,
/// and with 64 KiB all lines fit.
const TEXT_MAX: usize = if cfg!(target_arch = "aarch64") { 65_536 } else { 4096 };

/// First past the end, in 64 bits: the last id of a range may be the last of all.
fn end(first: u32, size: u32) -> u64 {
    u64::from(first) + u64::from(size)
}

fn overlap(a: u32, a_size: u32, b: u32, b_size: u32) -> bool {
    u64::from(a) < end(b, b_size) && u64::from(b) < end(a, a_size)
}

impl IdMap {
    /// Reads `uidMappings` or `gidMappings`.
    pub fn parse(kind: IdKind, list: &[IdMapping]) -> Result<Self> {
        let ranges = list.iter().map(|m| IdRange { container: m.container_id, host: m.host_id, size: m.size });
        IdMap::new(kind, ranges.collect())
    }

    /// Checks a list of ranges.
    pub fn new(kind: IdKind, ranges: Vec<IdRange>) -> Result<Self> {
        let bad = |index: &str, what: String| {
            let field = format!("{}Mappings{index}", kind.name());
            Err(Error::of_field(Stage::Bundle, field, format!("{} mappings: {what}", kind.name())))
        };
        if ranges.len() > LINES_MAX {
            return bad("", format!("{} lines are more than the kernel takes ({LINES_MAX})", ranges.len()));
        }
        // The id 2^32-1 means "no id": a range ends before it.
        let limit = u64::from(u32::MAX);
        for (index, range) in ranges.iter().enumerate() {
            let at = format!("[{index}]");
            let text = format!("{} {} {}", range.container, range.host, range.size);
            if range.size == 0 {
                return bad(&at, format!("{text} is empty"));
            }
            if end(range.container, range.size) > limit || end(range.host, range.size) > limit {
                return bad(&at, format!("{text} exceeds the largest id"));
            }
            let clash = ranges[..index].iter().find(|other| {
                overlap(range.container, range.size, other.container, other.size)
                    || overlap(range.host, range.size, other.host, other.size)
            });
            if let Some(other) = clash {
                return bad(&at, format!("{text} overlaps {} {} {}", other.container, other.host, other.size));
            }
        }
        let map = IdMap { ranges };
        let bytes = map.text().len();
        if bytes >= TEXT_MAX {
            return bad(
                "",
                format!("{} lines of {bytes} bytes are more than the kernel takes ({TEXT_MAX})", map.ranges.len()),
            );
        }
        Ok(map)
    }

    /// The ranges, in the order given.
    pub fn ranges(&self) -> &[IdRange] {
        &self.ranges
    }

    /// Whether nothing is mapped.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The id outside.
    pub fn to_host(&self, id: u32) -> Option<u32> {
        translate(&self.ranges, id, |range| (range.container, range.host))
    }

    /// Whether an id of the host has one inside.
    pub fn has_host(&self, id: u32) -> bool {
        translate(&self.ranges, id, |range| (range.host, range.container)).is_some()
    }

    /// Whether nothing but this one id of the host is mapped, which its owner may do without privilege
    /// (user_namespaces(7), "Defining user and group ID mappings").
    pub fn is_only(&self, id: u32) -> bool {
        matches!(self.ranges[..], [only] if only.size == 1 && only.host == id)
    }

    /// The content of /proc/PID/uid_map. It must be written in one call.
    pub fn text(&self) -> String {
        self.ranges.iter().map(|range| format!("{} {} {}\n", range.container, range.host, range.size)).collect()
    }

    /// The maps of an id-mapped mount from crun's ranges: ids of the file system on the inside, ids of the
    /// host outside. A relative range counts in the container's user namespace, whose maps are `self`; it is
    /// cut where their ranges end.
    pub fn compose(&self, kind: IdKind, ranges: &[OptionRange]) -> Result<IdMap> {
        let mut composed = Vec::with_capacity(ranges.len());
        for range in ranges {
            if range.relative {
                self.compose_one(kind, *range, &mut composed)?;
            } else {
                composed.push(IdRange { container: range.from, host: range.to, size: range.size });
            }
        }
        IdMap::new(kind, composed)
    }

    fn compose_one(&self, kind: IdKind, range: OptionRange, composed: &mut Vec<IdRange>) -> Result<()> {
        let (mut from, mut to, mut left) = (range.from, range.to, range.size);
        while left > 0 {
            let inside =
                self.ranges.iter().find(|map| map.container <= to && u64::from(to) < end(map.container, map.size));
            let Some(map) = inside else {
                let what = format!("idmap: {} {to} is not mapped in the container's user namespace", kind.name());
                return Err(Error::of_value(Stage::Bundle, what));
            };
            let offset = to - map.container;
            let size = left.min(map.size - offset);
            composed.push(IdRange { container: from, host: map.host + offset, size });
            from += size;
            to += size;
            left -= size;
        }
        Ok(())
    }
}

fn translate(ranges: &[IdRange], id: u32, sides: impl Fn(&IdRange) -> (u32, u32)) -> Option<u32> {
    ranges.iter().find_map(|range| {
        let (from, to) = sides(range);
        let offset = id.checked_sub(from)?;
        (offset < range.size).then(|| to + offset)
    })
}

/// The map crun makes for an ordinary user whose bundle has none: itself as 0, its sub-ids from 1 on.
pub fn automatic(kind: IdKind, id: u32, sub_ids: &[SubRange]) -> Result<IdMap> {
    let mut ranges = vec![IdRange { container: 0, host: id, size: 1 }];
    let mut next: u32 = 1;
    for sub in sub_ids {
        ranges.push(IdRange { container: next, host: sub.start, size: sub.count });
        next = next.saturating_add(sub.count);
    }
    IdMap::new(kind, ranges)
}
