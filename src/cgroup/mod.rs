//! The container's cgroup on this host: makes it, writes its limits, moves processes in, freezes, kills,
//! measures and removes it. Runs in the parent; touches only the cgroup file systems.
//!
//! One directory descriptor per hierarchy is opened once and everything else is relative to it, so a
//! cgroup that is removed and made again under the same name is never mistaken for this one.

pub mod dbus;
pub mod dbus_address;
pub mod dbus_link;
pub mod systemd;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::plan::cgroup::Version;

/// One cgroup as state.json remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct SavedDir {
    /// Its path on this host.
    pub path: PathBuf,
    /// The controllers it has; of a named v1 hierarchy `name=NAME`.
    pub controllers: Vec<String>,
    /// Its version.
    pub version: Version,
}

/// A container's cgroups as state.json remembers them. Empty: the container has none of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Saved {
    /// One per hierarchy.
    pub dirs: Vec<SavedDir>,
}

/// An open cgroup directory.
struct Member {
    fd: OwnedFd,
    saved: SavedDir,
}

/// The cgroups of one container, one in each hierarchy.
pub struct Cgroup {
    members: Vec<Member>,
}

impl Cgroup {
    /// The paths to store in state.json.
    pub fn saved(&self) -> Saved {
        Saved { dirs: self.members.iter().map(|m| m.saved.clone()).collect() }
    }

    /// The cgroup2 directory, for `CLONE_INTO_CGROUP`; `None` on a pure v1 host.
    pub fn v2_dir(&self) -> Option<BorrowedFd<'_>> {
        self.members.iter().find(|m| m.saved.version == Version::V2).map(|m| m.fd.as_fd())
    }
}

// The rest of the interface, being filled in:
//   Cgroup::create(&CgroupPlan) -> Result<Cgroup>          directories, limits, devices; undone on failure
//   Cgroup::open(&Saved) -> Result<Cgroup>                 directories that are gone are left out
//   attach(&self, pid: i32) -> Result<()>                  every hierarchy
//   attach_v1(&self, pid: i32) -> Result<()>               what CLONE_INTO_CGROUP did not do
//   sub(&self, controllers: Option<&str>, path: &str, Make) -> Result<Cgroup>   for `exec --cgroup`
//   apply(&self, &[Write]) -> Result<()>                   a transaction
//   set_devices(&self, &Devices) -> Result<()>
//   freeze(&self) / thaw(&self) -> Result<()>, frozen(&self) -> Result<bool>
//   pids(&self, Depth::{Own, Tree}) -> Result<Vec<i32>>
//   kill(&self, signal: i32) -> Result<()>
//   remove(self, Timeout) -> Result<()>
//   stats(&self) -> Result<Stats>                          serde: the `data` of runc's events
//   oom_watch(&self) -> Result<OomWatch>                   AsFd + drain()
//   delegate(&self, uid: u32, gid: u32) -> Result<()>
//   admission(&self, &[Write]) -> Result<()>
