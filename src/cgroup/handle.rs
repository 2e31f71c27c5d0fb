//! The open cgroups of one container.

use std::os::fd::{BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::file::{FileAccess, open_dir};
use super::member::{Member, UNSEEN};
use super::saved::{Saved, SavedScope};
use crate::error::{Context, Error, Result, Stage};
use crate::plan::cgroup::Version;
use crate::plan::reach::Reach;

/// The cgroups of one container, one in each hierarchy.
#[derive(Debug, Default)]
pub struct Cgroup {
    pub(super) members: Vec<Member>,
    pub(super) scope: Option<SavedScope>,
}

impl Cgroup {
    /// Opens the cgroups of an existing container. Those that are gone are left out, so that what is left
    /// of a half-made or half-removed container can still be looked at and removed.
    pub fn open(saved: &Saved) -> Result<Cgroup> {
        let mut members = Vec::with_capacity(saved.dirs.len());
        for dir in &saved.dirs {
            match open_dir(&dir.path) {
                Ok(fd) => members.push(Member::new(fd, dir.clone())),
                Err(Errno::ENOENT) => {}
                Err(errno) => {
                    return Err(Error::errno(Stage::Cgroup, format!("open {}", dir.path.display()), errno));
                }
            }
        }
        Ok(Cgroup { members, scope: saved.scope.clone() })
    }

    /// [`Self::open`] without those of v1: for a file or two of them, and for a process that joins them by their paths.
    pub fn by_path(saved: &Saved) -> Result<Cgroup> {
        let unified = saved.dirs.iter().filter(|dir| dir.version == Version::V2).cloned().collect();
        let mut cgroup = Cgroup::open(&Saved { dirs: unified, scope: saved.scope.clone() })?;
        let v1 = saved.dirs.iter().filter(|dir| dir.version == Version::V1);
        cgroup.members.splice(0..0, v1.cloned().map(Member::unopened));
        cgroup.members.iter_mut().for_each(|member| member.may_be_gone = true);
        Ok(cgroup)
    }

    /// The paths to store in state.json.
    pub fn saved(&self) -> Saved {
        Saved { dirs: self.members.iter().map(|m| m.dir.clone()).collect(), scope: self.scope.clone() }
    }

    /// Whether the container has no cgroup of its own, or none any more.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The versions of its hierarchies.
    pub fn versions(&self) -> impl Iterator<Item = Version> {
        self.members.iter().map(|member| member.dir.version)
    }

    /// The files by which a process puts itself into the v1 cgroups: it writes 0.
    pub fn join_files(&self) -> Result<Vec<OwnedFd>> {
        let v1 = self.members.iter().filter(|member| !member.is_v2());
        let tasks = |member: &Member| match member.open("tasks", FileAccess::Write) {
            // As with those that are looked for.
            Err(Errno::ENOENT) if member.may_be_gone => Ok(None),
            file => file.map(Some).at(Stage::Cgroup, || format!("open {}/tasks", member.path())),
        };
        v1.filter_map(|member| tasks(member).transpose()).collect()
    }

    /// The cgroup2 directory, for `CLONE_INTO_CGROUP`; `None` on a pure v1 host.
    pub fn v2_dir(&self) -> Option<BorrowedFd<'_>> {
        self.v2().and_then(Member::opened)
    }

    pub(super) fn v2(&self) -> Option<&Member> {
        self.members.iter().find(|m| m.dir.version == Version::V2)
    }

    /// The member that has `controller`. Files of cgroup2 that belong to no controller are found under `cgroup`.
    pub(super) fn with(&self, controller: &str) -> Option<&Member> {
        self.members.get(position_with(&self.members, controller)?)
    }

    /// The processes, as pids of this process's pid namespace, sorted; without those that it does not have.
    pub fn pids(&self, reach: Reach) -> Result<Vec<i32>> {
        let mut pids = self.listed_pids(reach)?;
        pids.retain(|pid| *pid != UNSEEN);
        Ok(pids)
    }

    /// Whether there are any, seen or not.
    pub fn has_processes(&self) -> Result<bool> {
        self.listed_pids(Reach::Tree).map(|pids| !pids.is_empty())
    }

    /// [`Cgroup::pids`], and [`UNSEEN`] for all others.
    pub(super) fn listed_pids(&self, reach: Reach) -> Result<Vec<i32>> {
        let Some(member) = self.v2().or_else(|| self.with("pids")).or_else(|| self.members.first()) else {
            return Ok(Vec::new());
        };
        let mut pids = Vec::new();
        member.collect_pids(reach, &mut pids)?;
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }
}

/// Which of the members has `controller`, or stands for it ([`Cgroup::with`]).
pub(super) fn position_with(members: &[Member], controller: &str) -> Option<usize> {
    let has = members.iter().position(|member| member.has(controller));
    has.or_else(|| members.iter().position(|member| controller == "cgroup" && member.is_v2()))
}
