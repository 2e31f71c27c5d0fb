//! One open cgroup directory and its files.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;

use crate::error::{Context, Result, Stage};
use crate::plan::cgroup::Version;
use crate::sys::{self, dir};

use super::cpuset;
use super::file::{self, FileAccess, lookup};
use super::saved::SavedDir;

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

/// An open cgroup directory.
#[derive(Debug)]
pub(super) struct Member {
    pub fd: OwnedFd,
    pub dir: SavedDir,
    /// Left out rather than failed on when this user may not use it.
    pub optional: bool,
}

impl Member {
    pub fn new(fd: OwnedFd, dir: SavedDir) -> Member {
        Member { fd, dir, optional: false }
    }

    pub fn path(&self) -> String {
        self.dir.path.display().to_string()
    }

    pub fn has(&self, controller: &str) -> bool {
        self.dir.controllers.iter().any(|c| c == controller)
    }

    pub fn open(&self, file: &str, access: FileAccess) -> sys::Result<OwnedFd> {
        file::open(self.fd.as_fd(), file, access)
    }

    pub fn read(&self, file: &str) -> sys::Result<String> {
        file::read_below(self.fd.as_fd(), file)
    }

    /// The text of a file; `None` when there is no such file, or the cgroup has been removed.
    pub fn read_if_any(&self, file: &str) -> Result<Option<String>> {
        match self.read(file) {
            Ok(text) => Ok(Some(text)),
            // EOPNOTSUPP: pressure files on kernels that want psi=1.
            Err(Errno::ENOENT | Errno::ENODEV | Errno::EOPNOTSUPP) => Ok(None),
            Err(errno) => Err(errno).at(Stage::Cgroup, || format!("read {}/{file}", self.path())),
        }
    }

    pub fn write(&self, file: &str, value: &str) -> sys::Result<()> {
        file::write_below(self.fd.as_fd(), file, value)
    }

    /// The value after `key ` in a file of such lines.
    pub fn keyed(&self, file: &str, key: &str) -> Result<Option<u64>> {
        Ok(self.read_if_any(file)?.as_deref().and_then(|text| lookup(text, key)))
    }

    /// The names of the child cgroups.
    pub fn children(&self) -> sys::Result<Vec<String>> {
        // Through a second descriptor: this one's position belongs to all users of the member.
        let listed = file::open_dir_at(self.fd.as_fd(), ".")?;
        let mut names = Vec::new();
        dir::each_typed(listed.as_fd(), &mut |name, kind| {
            if kind == libc::DT_DIR {
                names.push(name.to_string_lossy().into_owned());
            }
            sys::Result::Ok(())
        })?;
        Ok(names)
    }

    /// The cgroup `relative` (clean, maybe empty) below this one.
    pub fn below(&self, relative: &str, absent: Absent) -> Result<Member> {
        let path = if relative.is_empty() { "." } else { relative };
        if absent == Absent::Make && !relative.is_empty() {
            for (end, _) in relative.match_indices('/').chain([(relative.len(), "")]) {
                match file::make_dir(self.fd.as_fd(), relative.get(..end).unwrap_or(relative)) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(errno) => return Err(errno).at(Stage::Cgroup, || format!("mkdir {}/{relative}", self.path())),
                }
            }
            if !self.is_v2() && self.has("cpuset") {
                cpuset::fill(self.fd.as_fd(), relative)?;
            }
        }
        let fd = file::open_dir_at(self.fd.as_fd(), path)
            .at(Stage::Cgroup, || format!("open sub-cgroup {}/{path}", self.path()))?;
        let mut dir = self.dir.clone();
        if !relative.is_empty() {
            dir.path.push(relative);
        }
        Ok(Member { fd, dir, optional: false })
    }

    /// Adds the processes of this cgroup, and of its descendants, to `pids`.
    pub fn collect_pids(&self, depth: Depth, pids: &mut Vec<i32>) -> Result<()> {
        let text = match self.read("cgroup.procs") {
            // A threaded cgroup has no cgroup.procs of its own, see cgroups(7).
            Err(Errno::EOPNOTSUPP) => self.read("cgroup.threads"),
            other => other,
        };
        match text {
            Ok(text) => pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0)),
            // Removed meanwhile: nobody is in it.
            Err(Errno::ENOENT | Errno::ENODEV) => return Ok(()),
            Err(errno) => return Err(errno).at(Stage::Cgroup, || format!("read {}/cgroup.procs", self.path())),
        }
        if depth == Depth::Own {
            return Ok(());
        }
        let children = match self.children() {
            Err(Errno::ENOENT | Errno::ENODEV) => return Ok(()),
            other => other.at(Stage::Cgroup, || format!("list {}", self.path()))?,
        };
        for name in children {
            match self.below(&name, Absent::Refuse) {
                Ok(child) => child.collect_pids(depth, pids)?,
                Err(error) if error.root_errno() == Some(Errno::ENOENT) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub fn is_v2(&self) -> bool {
        self.dir.version == Version::V2
    }
}
