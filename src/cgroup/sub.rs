//! Cgroups below the container's own, and giving it away to whoever manages them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;

use super::file::c_name;
use super::handle::Cgroup;
use super::member::{Absent, Member};
use crate::error::{Context, Error, Result, Stage};
use crate::plan::cgroup::paths::clean;
use crate::proc;
use crate::sys::cred::Ids;
use crate::sys::{self, fs};

/// Where systemd is as the first process (systemd.special(7)).
const INIT_SCOPE: &str = "init.scope";

impl Cgroup {
    /// The cgroups below these that are wanted: each a path, and the hierarchies with one of these controllers (a
    /// comma-separated list as in `exec --cgroup`), or all. The last counts; where none does, it is the cgroup itself. A path
    /// cannot leave the container's cgroup.
    pub fn sub(&self, wanted: &[(Option<&str>, &str)], absent: Absent) -> Result<Cgroup> {
        for (controllers, path) in wanted {
            if path.split('/').any(|part| part == "..") {
                return Err(Error::new(Stage::Cgroup, format!("bad sub cgroup path {path:?}: it has a ..")));
            }
            let mut named = controllers.iter().flat_map(|list| list.split(','));
            if let Some(unknown) = named.find(|c| !self.members.iter().any(|m| m.has(c))) {
                let what = format!("unknown controller {unknown:?}: the container has no cgroup with it");
                return Err(Error::new(Stage::Cgroup, what));
            }
        }
        let below = |member: &Member| {
            let meant =
                |(list, _): &&(Option<&str>, &str)| list.is_none_or(|list| list.split(',').any(|c| member.has(c)));
            let path = wanted.iter().rfind(meant).map_or("", |(_, path)| path);
            member.below(&clean(path), absent)
        };
        let members = self.members.iter().map(below).collect::<Result<_>>()?;
        Ok(Cgroup { members, scope: self.scope.clone() })
    }

    /// Where another process is put: here, or on v2, once this one gives controllers to those below it and takes no process any
    /// more (cgroups(7), "no internal processes"), where the container's first process is. A systemd goes to `init.scope` before
    /// it gives controllers, asks the kernel once, and a process that was added here meanwhile would keep its units without limits
    /// for good: there it is the first process's at once.
    pub fn for_another(mut self, init: i32) -> Result<Cgroup> {
        let Some(member) = self.members.iter_mut().find(|m| m.is_v2()) else { return Ok(self) };
        // kernfs counts a directory's sub-directories as links. Without any the first process can be in none.
        if member.fd().and_then(fs::stat).at(Stage::Cgroup, || format!("stat {}", member.path()))?.st_nlink <= 2 {
            return Ok(self);
        }
        let what = || format!("read /proc/{init}/cgroup");
        let text = proc::cgroup::read(&init.to_string()).at(Stage::Cgroup, what)?;
        let memberships = proc::cgroup::parse(&text).at(Stage::Cgroup, what)?;
        let at = memberships.iter().find(|own| own.unified()).map_or(&b"/"[..], |own| own.path);
        let own = member.dir.path.strip_prefix(&member.dir.mount_point).unwrap_or(&member.dir.path);
        let at = Path::new(OsStr::from_bytes(at));
        // None: somebody else has moved it, or this process sees another part of the hierarchy.
        let below = at.strip_prefix("/").unwrap_or(at).strip_prefix(own).ok();
        if below.is_none_or(|below| !below.ends_with(INIT_SCOPE)) {
            let what = || format!("read {}/cgroup.subtree_control", member.path());
            if member.read("cgroup.subtree_control").at(Stage::Cgroup, what)?.trim().is_empty() {
                return Ok(self);
            }
        }
        let below = below.ok_or_else(|| {
            let what = format!(
                "cgroup {} gives controllers to its sub-cgroups, and the container's first process is in none of them but in {}",
                member.path(),
                at.display()
            );
            Error::new(Stage::Cgroup, what).with_hint("name one with `exec --cgroup`")
        })?;
        // A threaded cgroup takes a whole process only from its own domain.
        for dir in below.ancestors().filter(|dir| !dir.as_os_str().is_empty()) {
            let sub = member.open_below(dir)?;
            let what = || format!("read {}/cgroup.type", sub.path());
            if sub.read("cgroup.type").at(Stage::Cgroup, what)?.trim() != "threaded" {
                *member = sub;
                break;
            }
        }
        Ok(self)
    }

    /// Makes the cgroup `path` below this one (v2), moves the process there, gives it every controller there is,
    /// and gives it away.
    pub fn delegate_below(&self, path: &str, pid: i32, owner: Ids) -> Result<()> {
        let mut target = self.sub(&[(None, path)], Absent::Make)?;
        // First of all: a cgroup with processes cannot give controllers to those below it (cgroups(7), "no
        // internal processes").
        target.attach(pid)?;
        let Some(top) = self.v2() else { return Ok(()) };
        let relative = clean(path);
        let above = std::iter::once("").chain(relative.match_indices('/').filter_map(|(end, _)| relative.get(..end)));
        for ancestor in above {
            let member = top.below(ancestor, Absent::Refuse)?;
            let what = || format!("enable the controllers of {}", member.path());
            let there = member.read("cgroup.controllers").at(Stage::Cgroup, what)?;
            let all: Vec<String> = there.split_ascii_whitespace().map(|controller| format!("+{controller}")).collect();
            member.write("cgroup.subtree_control", &all.join(" ")).at(Stage::Cgroup, what)?;
        }
        target.delegate(owner.uid, Some(owner.gid))
    }

    /// Gives the v2 cgroup to the owner of a container that may manage its own sub-tree: the directory and the files the
    /// kernel names in /sys/kernel/cgroup/delegate (Linux 4.15), as runc does for a writable cgroup namespace.
    pub fn delegate(&self, uid: u32, gid: Option<u32>) -> Result<()> {
        let Some(member) = self.v2() else { return Ok(()) };
        let files = std::fs::read_to_string("/sys/kernel/cgroup/delegate")
            .unwrap_or_else(|_| "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n".to_owned());
        for file in files.lines().chain(["."]) {
            match chown(member, file, uid, gid) {
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

fn chown(member: &Member, file: &str, uid: u32, gid: Option<u32>) -> sys::Result<()> {
    // -1 leaves the group as it is.
    fs::chown(member.fd()?, &c_name(file)?, uid, gid.unwrap_or(u32::MAX))
}
