//! A new v1 cpuset is empty and admits no process.

use std::os::fd::BorrowedFd;

use super::file::{join, read_below, write_below};
use crate::error::{Context, Result, Stage};
use crate::plan::cgroup::files;

/// Gives a cpuset, and its parents where they are empty too, what its parent has
/// (Documentation/admin-guide/cgroup-v1/cpusets.rst).
pub(super) fn fill(mount: BorrowedFd<'_>, path: &str) -> Result<()> {
    for file in [files::CPUSET_CPUS.name, files::CPUSET_MEMS.name] {
        value(mount, path, file)?;
    }
    Ok(())
}

fn value(mount: BorrowedFd<'_>, path: &str, file: &str) -> Result<String> {
    let name = join(path, file);
    let value = read_below(mount, &name).at(Stage::Cgroup, || format!("read {name}"))?;
    if !value.trim().is_empty() || path.is_empty() {
        return Ok(value);
    }
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    let inherited = self::value(mount, parent, file)?;
    write_below(mount, &name, inherited.trim())
        .at(Stage::Cgroup, || format!("write {} to {name}", inherited.trim()))?;
    Ok(inherited)
}
