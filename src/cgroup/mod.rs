//! The container's cgroup on this host: makes it, writes its limits, moves processes in, freezes, kills,
//! measures and removes it. Runs in the parent; touches only the cgroup file systems.
//!
//! One directory descriptor per hierarchy is opened once and everything else is relative to it. The
//! systemd driver differs only in who makes the directories: once its scope exists, the same handle opens them.

mod devices;
mod freeze;
mod kill;
mod limits;
mod make;
mod member;
mod oom;
pub mod rdt;
mod remove;
pub mod stats;
pub mod systemd;
mod usage;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result, Stage};
use crate::plan::cgroup::Version;
use crate::sys::cgfs;

pub use kill::Signal;
pub use limits::Applied;
use member::Member;
pub use oom::{End, OomEvents, OomWatch};
pub use remove::Leftover;
pub use stats::Stats;
pub use systemd::scope::{SavedScope, manager as scope_manager};
pub use usage::{Admission, Planned};

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
    pub fn planned(plan: &crate::plan::cgroup::CgroupPlan, scope: Option<&crate::plan::systemd::ScopePlan>) -> Saved {
        let dirs = plan.dirs.iter().map(|dir| SavedDir {
            path: dir.full_path(),
            mount_point: dir.mount_point.clone(),
            controllers: dir.controllers.clone(),
            version: dir.version,
        });
        Saved { dirs: dirs.collect(), scope: scope.map(SavedScope::of) }
    }
}

/// Which processes [`Cgroup::pids`] lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Those of the cgroup itself.
    Own,
    /// Those of its descendants too.
    Tree,
}

/// Whether [`Cgroup::sub`] makes what is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// An error.
    Refuse,
    /// Made.
    Make,
}

/// The cgroups of one container, one in each hierarchy.
#[derive(Debug, Default)]
pub struct Cgroup {
    members: Vec<Member>,
    scope: Option<SavedScope>,
}

impl Cgroup {
    /// Opens the cgroups of an existing container. Those that are gone are left out, so that what is left
    /// of a half-made or half-removed container can still be looked at and removed.
    pub fn open(saved: &Saved) -> Result<Cgroup> {
        let mut members = Vec::with_capacity(saved.dirs.len());
        for dir in &saved.dirs {
            match cgfs::open_dir(&dir.path) {
                Ok(fd) => members.push(Member::new(fd, dir.clone())),
                Err(Errno::ENOENT) => {}
                Err(errno) => {
                    return Err(Error::errno(Stage::Cgroup, format!("open {}", dir.path.display()), errno));
                }
            }
        }
        Ok(Cgroup { members, scope: saved.scope.clone() })
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
        v1.map(|member| {
            member.open("tasks", cgfs::Open::Write).at(Stage::Cgroup, || format!("open {}/tasks", member.path()))
        })
        .collect()
    }

    /// The cgroup2 directory, for `CLONE_INTO_CGROUP`; `None` on a pure v1 host.
    pub fn v2_dir(&self) -> Option<BorrowedFd<'_>> {
        self.v2().map(|m| m.fd.as_fd())
    }

    fn v2(&self) -> Option<&Member> {
        self.members.iter().find(|m| m.dir.version == Version::V2)
    }

    /// The member that has `controller`. Files of cgroup2 that belong to no controller are found under `cgroup`.
    fn with(&self, controller: &str) -> Option<&Member> {
        self.members.iter().find(|m| m.has(controller)).or_else(|| (controller == "cgroup").then(|| self.v2())?)
    }

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
                Err(errno) if member.optional && make::forbidden(errno) => refused.push(index),
                // A user's process outside of the delegated tree: systemd may move it.
                Err(errno) if make::forbidden(errno) && member.is_v2() && self.scope.is_some() => {
                    self.attach_by_systemd(member, pid)?;
                }
                other => other.at(Stage::Cgroup, || format!("attach process {pid} to {}", member.path()))?,
            }
        }
        for index in refused.into_iter().rev() {
            let member = self.members.remove(index);
            remove::remove_empty(&member.dir.path)?;
        }
        Ok(())
    }

    /// The cgroup `path` below this one, in all hierarchies or in those with one of `controllers` (a
    /// comma-separated list as in `exec --cgroup`). `path` cannot leave the container's cgroup.
    pub fn sub(&self, controllers: Option<&str>, path: &str, absent: Absent) -> Result<Cgroup> {
        if path.split('/').any(|part| part == "..") {
            return Err(Error::new(Stage::Cgroup, format!("bad sub cgroup path {path:?}: it has a ..")));
        }
        let relative = crate::plan::cgroup::paths::clean(path);
        let chosen = |member: &&Member| match controllers {
            None => true,
            Some(list) => list.split(',').any(|c| member.has(c)),
        };
        if let Some(list) = controllers
            && let Some(unknown) = list.split(',').find(|c| !self.members.iter().any(|m| m.has(c)))
        {
            return Err(Error::new(Stage::Cgroup, format!("the container has no cgroup with controller {unknown:?}")));
        }
        let mut members = Vec::new();
        for member in self.members.iter().filter(chosen) {
            members.push(member.below(&relative, absent)?);
        }
        Ok(Cgroup { members, scope: self.scope.clone() })
    }

    /// Where another process can be put: here, or, where the container (a systemd, or a runtime of its own) has given
    /// controllers to sub-cgroups and so may have no processes itself (cgroups(7), "no internal processes"), the
    /// v2 cgroup its first process has moved to.
    pub fn beside(mut self, init: i32) -> Result<Cgroup> {
        let Some(member) = self.members.iter_mut().find(|m| m.is_v2()) else { return Ok(self) };
        let what = || format!("read {}/cgroup.subtree_control", member.path());
        if member.read("cgroup.subtree_control").at(Stage::Cgroup, what)?.trim().is_empty() {
            return Ok(self);
        }
        let file = format!("/proc/{init}/cgroup");
        let text = std::fs::read_to_string(&file).at(Stage::Cgroup, || format!("read {file}"))?;
        let at = text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
        let own = member.dir.path.strip_prefix(&member.dir.mount_point).unwrap_or(&member.dir.path);
        let Ok(below) = Path::new(at.trim_start_matches('/')).strip_prefix(own) else {
            let what = format!(
                "cgroup {} gives controllers to its sub-cgroups, and the container's first process is in none of them but in {at}",
                member.path()
            );
            return Err(Error::new(Stage::Cgroup, what).with_hint("name one with `exec --cgroup`"));
        };
        *member = member.below(&below.to_string_lossy(), Absent::Refuse)?;
        Ok(self)
    }

    /// Makes the cgroup `path` below this one (v2), moves the process there, gives it every controller there is,
    /// and gives it away.
    pub fn delegate_below(&self, path: &str, pid: i32, owner: (u32, u32)) -> Result<()> {
        let mut target = self.sub(None, path, Absent::Make)?;
        // First of all: a cgroup with processes cannot give controllers to those below it (cgroups(7), "no
        // internal processes").
        target.attach(pid)?;
        let Some(top) = self.v2() else { return Ok(()) };
        let relative = crate::plan::cgroup::paths::clean(path);
        let above = std::iter::once("").chain(relative.match_indices('/').filter_map(|(end, _)| relative.get(..end)));
        for ancestor in above {
            let member = top.below(ancestor, Absent::Refuse)?;
            let what = || format!("enable the controllers of {}", member.path());
            let there = member.read("cgroup.controllers").at(Stage::Cgroup, what)?;
            let all: Vec<String> = there.split_ascii_whitespace().map(|controller| format!("+{controller}")).collect();
            member.write("cgroup.subtree_control", &all.join(" ")).at(Stage::Cgroup, what)?;
        }
        target.delegate(owner.0, Some(owner.1))
    }

    /// The processes, as pids of this process's pid namespace, sorted.
    pub fn pids(&self, depth: Depth) -> Result<Vec<i32>> {
        let Some(member) = self.v2().or_else(|| self.with("pids")).or_else(|| self.members.first()) else {
            return Ok(Vec::new());
        };
        let mut pids = Vec::new();
        member.collect_pids(depth, &mut pids)?;
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Gives the v2 cgroup to the owner of a container that may manage its own sub-tree: the directory and the files the
    /// kernel names in /sys/kernel/cgroup/delegate (Linux 4.15), as runc does for a writable cgroup namespace.
    pub fn delegate(&self, uid: u32, gid: Option<u32>) -> Result<()> {
        let Some(member) = self.v2() else { return Ok(()) };
        let files = std::fs::read_to_string("/sys/kernel/cgroup/delegate")
            .unwrap_or_else(|_| "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n".to_owned());
        for file in files.lines().chain(["."]) {
            match cgfs::chown(member.fd.as_fd(), file, uid, gid) {
                // memory.* exists only where that controller is enabled.
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => {
                    let what = format!("chown {}/{file} to {uid}", member.path());
                    return Err(Error::errno(Stage::Cgroup, what, errno));
                }
            }
        }
        Ok(())
    }
}
