//! Moves processes into a container's cgroups.

use std::path::Path;

use nix::errno::Errno;

use super::file::{forbidden, remove_dir};
use super::handle::Cgroup;
use super::member::Member;
use crate::error::{Context, Result, Stage};
use crate::plan::cgroup::Version;

impl Cgroup {
    /// Moves a process into the cgroups of all hierarchies.
    pub fn attach(&mut self, pid: i32) -> Result<()> {
        self.attach_to(pid, |_| true)
    }

    /// Moves a process into the v1 cgroups: what `CLONE_INTO_CGROUP` leaves to do.
    pub fn attach_v1(&mut self, pid: i32) -> Result<()> {
        self.attach_to(pid, |member| member.dir.version == Version::V1)
    }

    /// Where this user need not have a cgroup and may not move the process, the hierarchy is left out from
    /// now on (cgroups(7): on v2 that takes write access to the common ancestor of both cgroups).
    fn attach_to(&mut self, pid: i32, wanted: impl Fn(&Member) -> bool) -> Result<()> {
        let mut refused = Vec::new();
        for (index, member) in self.members.iter().enumerate().filter(|(_, m)| wanted(m)) {
            match member.write("cgroup.procs", &pid.to_string()) {
                Err(errno) if member.optional && forbidden(errno) => refused.push(index),
                // A user's process outside of the delegated tree: systemd may move it.
                Err(errno) if forbidden(errno) && member.is_v2() && self.scope.is_some() => {
                    self.attach_by_systemd(member, pid)?;
                }
                other => other.at(Stage::Cgroup, || format!("attach process {pid} to {}", member.path()))?,
            }
        }
        for index in refused.into_iter().rev() {
            let member = self.members.remove(index);
            remove_empty(&member.dir.path)?;
        }
        Ok(())
    }
}

/// Removes a cgroup that nobody uses any more.
fn remove_empty(path: &Path) -> Result<()> {
    match remove_dir(path) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno).at(Stage::Cgroup, || format!("rmdir {}", path.display())),
    }
}
