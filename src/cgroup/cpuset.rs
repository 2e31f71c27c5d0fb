//! Gives a new v1 cpuset the CPUs and memory nodes of its parent: an empty one admits no process (cpuset(7)).

use std::path::Path;

use super::file::{read_below, write_below};
use crate::error::{Context, Result, Stage};
use crate::plan::cgroup::files;
use crate::sys::fs;

/// Whether a cpuset was there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WasThere {
    /// The cgroup may have something in it.
    Yes,
    /// The cgroup was made a moment ago, and is empty.
    No,
}

/// Gives the cpuset `path` below `top`, and its parents where they are empty too, what its parent has
/// (Documentation/admin-guide/cgroup-v1/cpusets.rst).
pub(super) fn fill(top: &Path, path: &str, found: WasThere) -> Result<()> {
    for file in [files::CPUSET_CPUS.name, files::CPUSET_MEMS.name] {
        value(top, path, file, found)?;
    }
    Ok(())
}

fn value(top: &Path, path: &str, file: &str, found: WasThere) -> Result<String> {
    let name = top.join(path).join(file);
    if found == WasThere::Yes || path.is_empty() {
        let value = read_below(fs::CWD, &name).at(Stage::Cgroup, || format!("read {}", name.display()))?;
        if !value.trim().is_empty() || path.is_empty() {
            return Ok(value);
        }
    }
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    let inherited = self::value(top, parent, file, WasThere::Yes)?;
    write_below(fs::CWD, &name, inherited.trim())
        .at(Stage::Cgroup, || format!("write {} to {}", inherited.trim(), name.display()))?;
    Ok(inherited)
}
