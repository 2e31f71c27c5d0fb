//! System calls on cgroup file systems.

use std::path::Path;

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use super::Result;

/// Whether `path` is on a cgroup2 file system.
pub fn is_cgroup2(path: &Path) -> Result<bool> {
    Ok(statfs(path)?.filesystem_type() == CGROUP2_SUPER_MAGIC)
}
