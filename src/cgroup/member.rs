//! One open cgroup directory and its files.

use std::cell::OnceCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use crate::error::{Context, Result, Stage};
use crate::plan::cgroup::Version;
use crate::plan::reach::Reach;
use crate::sys::{self, fs};

use super::cpuset::{self, WasThere};
use super::file::{self, FileAccess, lookup};
use super::saved::SavedDir;
use super::walk::{Visitor, walk};

/// Whether [`Cgroup::sub`](super::Cgroup::sub) makes what is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// An error.
    Refuse,
    /// Made.
    Make,
}

/// A cgroup directory of the container's.
#[derive(Debug)]
pub(super) struct Member {
    /// Opened when something needs more of it than a file or two: a new v1 cgroup is made, and joined, by its path.
    fd: OnceCell<OwnedFd>,
    pub dir: SavedDir,
    /// Left out rather than failed on when this user may not use it.
    pub optional: bool,
    /// Whether nobody has looked if it is still there.
    pub may_be_gone: bool,
}

impl Member {
    pub fn new(fd: OwnedFd, dir: SavedDir) -> Member {
        Member { fd: OnceCell::from(fd), dir, optional: false, may_be_gone: false }
    }

    /// One that has just been made, whose path is the same as long as nobody but us uses it.
    pub fn unopened(dir: SavedDir) -> Member {
        Member { fd: OnceCell::new(), dir, optional: false, may_be_gone: false }
    }

    /// The open directory.
    pub fn fd(&self) -> sys::Result<BorrowedFd<'_>> {
        if let Some(fd) = self.fd.get() {
            return Ok(fd.as_fd());
        }
        let fd = file::open_dir(&self.dir.path)?;
        Ok(self.fd.get_or_init(|| fd).as_fd())
    }

    /// The directory if it is open: only that cannot fail.
    pub fn opened(&self) -> Option<BorrowedFd<'_>> {
        self.fd.get().map(AsFd::as_fd)
    }

    pub fn path(&self) -> String {
        self.dir.path.display().to_string()
    }

    pub fn has(&self, controller: &str) -> bool {
        self.dir.controllers.iter().any(|c| c == controller)
    }

    pub fn open(&self, file: &str, access: FileAccess) -> sys::Result<OwnedFd> {
        match self.fd.get() {
            Some(fd) => file::open(fd.as_fd(), file, access),
            None => file::open(fs::CWD, self.dir.path.join(file), access),
        }
    }

    pub fn read(&self, file: &str) -> sys::Result<String> {
        file::read_all(self.open(file, FileAccess::Read)?.as_fd())
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
        file::write(self.open(file, FileAccess::Write)?.as_fd(), value)
    }

    /// The value after `key ` in a file of such lines.
    pub fn keyed(&self, file: &str, key: &str) -> Result<Option<u64>> {
        Ok(self.read_if_any(file)?.as_deref().and_then(|text| lookup(text, key)))
    }

    /// The cgroup `relative` (clean, maybe empty) below this one.
    pub fn below(&self, relative: &str, absent: Absent) -> Result<Member> {
        if absent == Absent::Make && !relative.is_empty() {
            let what = || format!("mkdir {}/{relative}", self.path());
            let own = self.fd().at(Stage::Cgroup, what)?;
            for (end, _) in relative.match_indices('/').chain([(relative.len(), "")]) {
                match file::make_dir(own, relative.get(..end).unwrap_or(relative)) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(errno) => return Err(errno).at(Stage::Cgroup, what),
                }
            }
            if !self.is_v2() && self.has("cpuset") {
                cpuset::fill(&self.dir.path, relative, WasThere::Yes)?;
            }
        }
        self.open_below(Path::new(relative))
    }

    /// [`Self::below`] for one that is there; it need not have been named by us.
    pub fn open_below(&self, relative: &Path) -> Result<Member> {
        let own = relative.as_os_str().is_empty();
        let fd = self
            .fd()
            .and_then(|fd| file::open_dir_at(fd, if own { Path::new(".") } else { relative }))
            .at(Stage::Cgroup, || format!("open sub-cgroup {}/{}", self.path(), relative.display()))?;
        let mut dir = self.dir.clone();
        if !own {
            dir.path.push(relative);
        }
        Ok(Member::new(fd, dir))
    }

    /// Adds the processes of this cgroup, and of its descendants, to `pids`, and [`UNSEEN`] for each of another pid namespace.
    pub fn collect_pids(&self, reach: Reach, pids: &mut Vec<i32>) -> Result<()> {
        let mut listed = PidCollector(pids);
        let done = self.fd().and_then(|fd| match reach {
            Reach::One => listed.enter(fd),
            Reach::Tree => walk(fd, &mut listed),
        });
        match done {
            // Removed meanwhile: nobody is in it.
            Ok(()) | Err(Errno::ENOENT | Errno::ENODEV) => Ok(()),
            Err(errno) => Err(errno).at(Stage::Cgroup, || format!("list the processes of {}", self.path())),
        }
    }

    pub fn is_v2(&self) -> bool {
        self.dir.version == Version::V2
    }
}

/// What the kernel has in place of a number that a process does not have in our pid namespace.
pub(super) const UNSEEN: i32 = 0;

struct PidCollector<'a>(&'a mut Vec<i32>);

impl Visitor for PidCollector<'_> {
    fn enter(&mut self, cgroup: BorrowedFd<'_>) -> sys::Result<()> {
        let text = match file::read_list_below(cgroup, "cgroup.procs") {
            // A threaded cgroup has no cgroup.procs of its own, see cgroups(7).
            Err(Errno::EOPNOTSUPP) => file::read_list_below(cgroup, "cgroup.threads"),
            other => other,
        }?;
        self.0.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
        Ok(())
    }
}
