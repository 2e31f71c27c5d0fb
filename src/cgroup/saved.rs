//! A container's cgroups as state.json remembers them.

use std::path::PathBuf;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Result, Stage};
use crate::plan::cgroup::{CgroupPlan, Version};
use crate::plan::systemd::{Owner, ScopePlan};
use crate::sys::fs::{CWD, c_path, stat_at};

/// One cgroup as state.json remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct SavedDir {
    /// Its path on this host.
    pub path: PathBuf,
    /// Where its hierarchy is mounted.
    pub mount_point: PathBuf,
    /// The controllers it has; of a named v1 hierarchy `name=NAME`.
    pub controllers: Vec<String>,
    /// Its version.
    pub version: Version,
}

impl SavedDir {
    /// Whether it may freeze the container: on v1 the hierarchy of that controller does, whatever cgroup2 beside it could.
    pub fn may_freeze(&self) -> bool {
        self.version == Version::V2 || self.controllers.iter().any(|controller| controller == "freezer")
    }
}

/// A container's cgroups as state.json remembers them. Empty: the container has none of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Saved {
    /// One per hierarchy.
    pub dirs: Vec<SavedDir>,
    /// The systemd unit they belong to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<SavedScope>,
}

impl Saved {
    /// What a plan will make, before it is made.
    pub fn planned(plan: &CgroupPlan, scope: Option<&ScopePlan>) -> Saved {
        let dirs = plan.dirs.iter().map(|dir| SavedDir {
            path: dir.full_path(),
            mount_point: dir.mount_point.clone(),
            controllers: dir.controllers.clone(),
            version: dir.version,
        });
        Saved { dirs: dirs.collect(), scope: scope.map(SavedScope::of) }
    }

    /// Whether all of them are there.
    pub fn is_there(&self) -> Result<bool> {
        for SavedDir { path, .. } in &self.dirs {
            match c_path(path).and_then(|path| stat_at(CWD, &path)) {
                Err(Errno::ENOENT) => return Ok(false),
                found => drop(found.at(Stage::Cgroup, || format!("examine {}", path.display()))?),
            }
        }
        Ok(true)
    }
}

/// A scope as state.json remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct SavedScope {
    /// The unit.
    pub unit: String,
    /// Whose manager runs it.
    pub owner: Owner,
}

impl SavedScope {
    /// The scope of a plan.
    pub fn of(plan: &ScopePlan) -> SavedScope {
        SavedScope { unit: plan.unit.name.clone(), owner: plan.unit.owner }
    }
}
