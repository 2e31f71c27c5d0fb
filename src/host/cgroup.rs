//! The cgroup layout of this host: which hierarchies are mounted where, with which controllers, and which
//! cgroup this process is in. Reads `/proc` and `/sys/fs/cgroup`; runs in the parent.
//!
//! Controllers come from the super block options (statmount(2), or mountinfo) and from `cgroup.controllers`, never from
//! the name of a directory: co-mounted hierarchies are named `cpu,cpuacct`, `cpuacct,cpu` or by links.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use serde::{Deserialize, Serialize};

use crate::error::{Context, Result, Stage};
use crate::proc::cgroup::Membership;
use crate::proc::mountinfo::{self, MountLine, unescape};
use crate::proc::{self, file};
use crate::sys::mount;

/// Where cgroup2 is mounted when it is alone, see file-hierarchy(7).
const UNIFIED: &str = "/sys/fs/cgroup";

/// Controllers of cgroup v1 as they appear among the super block options of a cgroup mount.
const V1_CONTROLLERS: &[&str] = &[
    "blkio",
    "cpu",
    "cpuacct",
    "cpuset",
    "debug",
    "devices",
    "freezer",
    "hugetlb",
    "memory",
    "misc",
    "net_cls",
    "net_prio",
    "perf_event",
    "pids",
    "rdma",
];

/// A mounted cgroup hierarchy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub mount_point: PathBuf,
    /// The cgroup that is visible at the mount point: `/` unless a part of the tree is bound there.
    pub root: String,
    /// The cgroup of this process, below the mount point and without a leading slash; empty for the
    /// mount point itself.
    pub own: String,
    /// Its controllers; of cgroup2 those that may be enabled below its root. Empty for a named hierarchy.
    pub controllers: Vec<String>,
    /// The name of a v1 hierarchy mounted with `name=`.
    pub name: Option<String>,
}

impl Hierarchy {
    /// Whether the hierarchy has `controller`.
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|c| c == controller)
    }
}

/// How the controllers are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LayoutKind {
    /// No cgroup file system is mounted.
    None,
    /// Only v1 hierarchies.
    V1,
    /// Only cgroup2.
    V2,
    /// v1 hierarchies and cgroup2, with or without controllers of its own.
    Hybrid,
}

/// All mounted hierarchies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Layout {
    /// cgroup2.
    pub unified: Option<Hierarchy>,
    /// The v1 hierarchies, in the order in which they were found.
    pub v1: Vec<Hierarchy>,
}

impl Layout {
    /// Which version this layout is.
    pub fn kind(&self) -> LayoutKind {
        match (&self.unified, self.v1.is_empty()) {
            (None, true) => LayoutKind::None,
            (None, false) => LayoutKind::V1,
            (Some(_), true) => LayoutKind::V2,
            (Some(_), false) => LayoutKind::Hybrid,
        }
    }

    /// The v1 hierarchy that has `controller`.
    pub fn v1_with(&self, controller: &str) -> Option<&Hierarchy> {
        self.v1.iter().find(|h| h.has(controller))
    }

    /// Whether any hierarchy has `controller`.
    pub fn has(&self, controller: &str) -> bool {
        self.v1_with(controller).is_some() || self.unified.as_ref().is_some_and(|h| h.has(controller))
    }

    /// Reads the layout of this host. On a pure v2 host that is one statfs and two small files, and
    /// mountinfo (thousands of lines on a busy host) stays unread.
    pub fn read() -> Result<Layout> {
        let own = file::read_record_text("/proc/self/cgroup").at(Stage::Host, || "read /proc/self/cgroup")?;
        if is_cgroup2(Path::new(UNIFIED)) {
            let controllers = read_controllers(Path::new(UNIFIED))?;
            return unified_only(&own, &controllers);
        }
        let mut layout = match listed(&own) {
            Some(layout) => layout,
            None => {
                let table = mountinfo::read("self").at(Stage::Host, || "read /proc/self/mountinfo")?;
                probe(&table, &own)?
            }
        };
        if let Some(unified) = &mut layout.unified {
            match read_controllers(&unified.mount_point) {
                // Something else is mounted over it: as good as not mounted. Beside v1 it is not needed.
                Err(error) if error.root_errno() == Some(Errno::ENOENT) && !layout.v1.is_empty() => {
                    layout.unified = None;
                }
                controllers => unified.controllers = file::words(&controllers?),
            }
        }
        Ok(layout)
    }
}

fn is_cgroup2(path: &Path) -> bool {
    statfs(path).is_ok_and(|found| found.filesystem_type() == CGROUP2_SUPER_MAGIC)
}

/// The hierarchies below /sys/fs/cgroup, asked for one by one; `None` where the kernel cannot tell them so, or where one
/// that this process is in is not among them and may be mounted elsewhere. cgroup2 beside v1 counts only there.
fn listed(own: &str) -> Option<Layout> {
    let mounts = mount::below(c"/sys/fs/cgroup").ok()?;
    let lines = mounts.iter().map(|m| format!("0 0 0:0 {} {} - {} none {}\n", m.root, m.point, m.fs_type, m.options));
    let layout = probe(lines.collect::<String>().as_bytes(), own).ok()?;
    let named = memberships(own).ok()?.into_iter().filter(|own| !own.unified());
    let all = named.into_iter().all(|own| layout.v1.iter().any(|hierarchy| matches(&own, hierarchy)));
    (all && !layout.v1.is_empty()).then_some(layout)
}

fn read_controllers(mount_point: &Path) -> Result<String> {
    let path = mount_point.join("cgroup.controllers");
    file::read_record_text(&path).at(Stage::Host, || format!("read {}", path.display()))
}

/// The layout of a host where cgroup2 is mounted on `/sys/fs/cgroup` itself. `controllers` is the text of
/// `cgroup.controllers` there.
///
/// Such a mount shows the root of this process's cgroup namespace, so the path in `/proc/self/cgroup` is
/// relative to it. A bind of a subtree without a cgroup namespace is the exception: then the path is not
/// found below the mount and the caller's mkdir says so.
pub fn unified_only(self_cgroup: &str, controllers: &str) -> Result<Layout> {
    let unified = Hierarchy {
        mount_point: PathBuf::from(UNIFIED),
        root: "/".into(),
        own: own_below("/", &path_of(memberships(self_cgroup)?.iter().find(|o| o.unified()))),
        controllers: file::words(controllers),
        name: None,
    };
    Ok(Layout { unified: Some(unified), v1: Vec::new() })
}

/// Parses `/proc/self/mountinfo`, where anybody's mount may have any name, and the text of `/proc/self/cgroup` (proc(5),
/// cgroups(7)).
///
/// The controllers of cgroup2 are not in there: [`Layout::read`] fills them in. Hierarchies that are in
/// `self_cgroup` but not mounted are left out; of several mounts of one hierarchy the one that shows its
/// root wins, then the first.
pub fn probe(mountinfo: &[u8], self_cgroup: &str) -> Result<Layout> {
    let own = memberships(self_cgroup)?;
    let mut layout = Layout::default();
    for mount in mountinfo::parse(mountinfo) {
        let Some(mut found) = hierarchy(&mount) else { continue };
        if mount.fs_type == b"cgroup2" {
            found.own = own_below(&found.root, &path_of(own.iter().find(|o| o.unified())));
            match &mut layout.unified {
                Some(known) => prefer(known, found),
                None => layout.unified = Some(found),
            }
            continue;
        }
        found.own = own_below(&found.root, &path_of(own.iter().find(|o| matches(o, &found))));
        match layout.v1.iter_mut().find(|h| h.controllers == found.controllers && h.name == found.name) {
            Some(known) => prefer(known, found),
            None => layout.v1.push(found),
        }
    }
    Ok(layout)
}

fn prefer(known: &mut Hierarchy, found: Hierarchy) {
    if known.root != "/" && found.root == "/" {
        *known = found;
    }
}

/// The part of `path` below `root`, without slashes at its ends. A path outside of the visible tree (a
/// bind of a sibling, or `/..` of a foreign cgroup namespace) has no name here: the mount point stands for it.
fn own_below(root: &str, path: &str) -> String {
    let below = match root {
        "/" => path,
        _ => match path.strip_prefix(root) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
            _ => "",
        },
    };
    let below = below.trim_matches('/');
    if below.split('/').any(|part| part == "..") { String::new() } else { below.to_owned() }
}

fn memberships(text: &str) -> Result<Vec<Membership<'_>>> {
    proc::cgroup::parse(text.as_bytes()).at(Stage::Host, || "parse /proc/self/cgroup")
}

/// Our own place. It is named by whoever runs us, and lies above the containers.
fn path_of<'a>(own: Option<&Membership<'a>>) -> Cow<'a, str> {
    own.map_or(Cow::Borrowed("/"), |own| String::from_utf8_lossy(own.path))
}

fn matches(own: &Membership<'_>, hierarchy: &Hierarchy) -> bool {
    match &hierarchy.name {
        Some(name) => own.controllers.split(',').any(|c| c.strip_prefix("name=") == Some(name)),
        None => own.controllers.split(',').any(|c| hierarchy.has(c)),
    }
}

/// A mounted hierarchy; `None` for what is no cgroup file system.
fn hierarchy(mount: &MountLine<'_>) -> Option<Hierarchy> {
    if !matches!(mount.fs_type, b"cgroup" | b"cgroup2") {
        return None;
    }
    let text = |field: &[u8]| String::from_utf8_lossy(&unescape(field)).into_owned();
    let options = text(mount.options);
    let options = || options.split(',');
    Some(Hierarchy {
        mount_point: PathBuf::from(text(mount.point)),
        root: text(mount.root),
        own: String::new(),
        controllers: options().filter(|o| V1_CONTROLLERS.contains(o)).map(str::to_owned).collect(),
        name: options().find_map(|o| o.strip_prefix("name=")).map(str::to_owned),
    })
}
