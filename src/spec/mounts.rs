//! `mounts`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::linux::IdMapping;
use super::path::clean;

/// One mount. Options stay text here; `plan::rootfs::options` holds the table of what each means.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// Where, inside the container; relative ones count from `/` (deprecated).
    pub destination: String,
    /// File system type; `bind` or missing with a bind option means a bind mount.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Device, or path on the host for bind mounts (relative to the bundle).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// mount(8)-style options.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// With `gid_mappings`: an id-mapped mount.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uid_mappings: Vec<IdMapping>,
    /// With `uid_mappings`: an id-mapped mount.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gid_mappings: Vec<IdMapping>,
}

impl Mount {
    /// Whether the entry binds something that exists.
    pub fn is_bind(&self) -> bool {
        matches!(self.kind.as_deref(), Some("bind" | "rbind"))
            || self.options.iter().any(|o| o == "bind" || o == "rbind")
    }

    /// Whether the entry shows cgroups, of either version.
    pub fn is_cgroup(&self) -> bool {
        matches!(self.kind.as_deref(), Some("cgroup" | "cgroup2"))
    }

    /// Where it is, as a path below the container's root, however it is spelled. As with runc, a destination that begins
    /// with the path of the root on the host, `root`, is meant to be in it.
    pub fn place(&self, root: &Path) -> String {
        let below = Path::new(&self.destination).strip_prefix(root).ok().filter(|_| root.has_root());
        clean(below.and_then(Path::to_str).unwrap_or(&self.destination))
    }

    /// Whether it is a /dev from somewhere else: nothing is made there.
    pub fn binds_dev(&self, root: &Path) -> bool {
        self.is_bind() && self.place(root) == "dev"
    }
}
