//! The directory that holds all containers of one user.
//!
//! Not trusted: a directory that others may write. What is in it names processes to kill and hooks to run, so it has to
//! belong to the caller or to root, and to nobody else.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::Mode;

use super::{Record, check_id};
use crate::error::{Context, Error, OWN_ROOT, Result, Stage};
use crate::proc::idmap::ProcIdMap;
use crate::spec::LONGEST;
use crate::spec::path::clean_bytes;
use crate::sys::dir::each_typed;
use crate::sys::fs::RegularFile;
use crate::sys::{destination, fs, process};

/// Who calls, as far as the default root depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// Root of the initial user namespace.
    pub real_root: bool,
    /// `XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<OsString>,
}

impl Caller {
    /// Reads the caller's.
    pub fn probe() -> Result<Caller> {
        let real_root = crate::sys::process::geteuid() == 0
            && ProcIdMap::of_users().at(Stage::State, || "read /proc/self/uid_map")?.is_initial();
        Ok(Caller { real_root, runtime_dir: std::env::var_os("XDG_RUNTIME_DIR") })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Flag,
    Default,
    RuntimeDir,
    /// Below another one.
    Below,
}

/// The state root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateRoot {
    path: PathBuf,
    origin: Origin,
}

impl StateRoot {
    /// Decides where it is: `--root`, or `$XDG_RUNTIME_DIR/brisk`, or `/run/brisk`.
    ///
    /// podman calls `create` through conmon and everything else itself, with different environments and no
    /// `--root`; only the user and XDG_RUNTIME_DIR are the same, so nothing else may count (runc also looks at
    /// USER). An empty XDG_RUNTIME_DIR is none: podman as root passes that. So is a relative one, as the XDG specification
    /// has it: the next command may be called from elsewhere.
    pub fn choose(given: Option<&Path>, cwd: &Path, who: &Caller) -> Result<StateRoot> {
        if let Some(given) = given {
            let path = absolute(&cwd.join(given));
            if path == Path::new("/") {
                return Err(Error::new(Stage::Args, "--root must not be /"));
            }
            return Ok(StateRoot { path, origin: Origin::Flag });
        }
        match who.runtime_dir.as_deref().filter(|dir| Path::new(dir).is_absolute() && !who.real_root) {
            Some(dir) => Ok(StateRoot { path: Path::new(dir).join("brisk"), origin: Origin::RuntimeDir }),
            None => Ok(StateRoot { path: "/run/brisk".into(), origin: Origin::Default }),
        }
    }

    /// Whether the caller has named it.
    pub fn is_given(&self) -> bool {
        self.origin == Origin::Flag
    }

    /// A root of its own below this one. No container of this one has a name that begins with a dot.
    #[must_use]
    pub fn below(&self, name: &str) -> StateRoot {
        StateRoot { path: self.path.join(name), origin: Origin::Below }
    }

    /// Whether a directory is this one or below it, by whatever path.
    pub fn holds(&self, dir: &Path) -> bool {
        identity(&self.path).is_some_and(|own| with_those_above(dir).any(|(_, here)| here == own))
    }

    /// Its path, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it; an error with ENOENT when it does not exist.
    pub fn open(&self) -> Result<OwnedFd> {
        let dir = open_dir(&self.path).map_err(|errno| self.failed("open", errno))?;
        self.check(&dir)?;
        Ok(dir)
    }

    fn failed(&self, verb: &str, errno: Errno) -> Error {
        let error = Error::errno(Stage::State, format!("{verb} {}", self.path.display()), errno);
        match self.origin {
            Origin::Default => error.with_hint(OWN_ROOT),
            Origin::Flag => {
                error.with_hint("--root names it: a directory of your own that keeps the state of containers")
            }
            Origin::RuntimeDir | Origin::Below => error,
        }
    }

    /// Refuses a directory whose content others than the caller and root decide.
    fn check(&self, dir: &OwnedFd) -> Result<()> {
        let stat = fs::stat(dir.as_fd()).at(Stage::State, || format!("examine {}", self.path.display()))?;
        let refuse = |why: String, hint: &'static str| {
            Err(Error::new(Stage::State, format!("{} {why}", self.path.display())).with_hint(hint))
        };
        if stat.st_uid != 0 && stat.st_uid != process::geteuid() {
            return refuse(
                format!("belongs to user {}", stat.st_uid),
                "whose state it is decides which hooks run: use another --root, or the one of that user as that user",
            );
        }
        if stat.st_mode & 0o022 != 0 {
            let why = format!("can be written by others (mode {:o})", stat.st_mode & 0o7777);
            return refuse(why, "whoever writes state decides which hooks run: `chmod go-w`, or another --root");
        }
        Ok(())
    }

    /// Opens it, and makes it first where it does not exist: for its owner only, and below XDG_RUNTIME_DIR with the
    /// sticky bit, without which the XDG specification lets others clean it up.
    pub fn open_or_make(&self) -> Result<OwnedFd> {
        match open_dir(&self.path) {
            Err(Errno::ENOENT) => {}
            result => {
                let dir = result.map_err(|errno| self.failed("open", errno))?;
                self.check(&dir)?;
                return Ok(dir);
            }
        }
        let mode = if self.origin == Origin::RuntimeDir { Mode::S_IRWXU | Mode::S_ISVTX } else { Mode::S_IRWXU };
        make(&self.path, mode).map_err(|errno| self.failed("make", errno))?;
        self.open()
    }

    /// The names of all containers, sorted. The usual root may not exist yet; one that the caller names does.
    pub fn ids(&self) -> Result<Vec<String>> {
        let dir = match self.open() {
            Err(error) if error.root_errno() == Some(Errno::ENOENT) && self.origin != Origin::Flag => {
                return Ok(Vec::new());
            }
            result => result?,
        };
        let mut ids = Vec::new();
        let listed = each_typed(dir.as_fd(), &mut |name, kind| {
            let is_dir = match kind {
                // An entry that went away meanwhile is none.
                libc::DT_UNKNOWN => fs::stat_at(dir.as_fd(), name).is_ok_and(|stat| fs::kind(&stat) == libc::S_IFDIR),
                kind => kind == libc::DT_DIR,
            };
            ids.extend(name.to_str().ok().filter(|name| is_dir && check_id(name).is_ok()).map(str::to_owned));
            Ok::<_, Errno>(())
        });
        match listed {
            // Removed since it was opened, as a pool is that somebody deletes: nothing is in it (getdents64(2)).
            Err(Errno::ENOENT) => {}
            listed => listed.at(Stage::State, || format!("list {}", self.path.display()))?,
        }
        ids.sort_unstable();
        Ok(ids)
    }
}

/// The directory of a container, of whatever root and runtime, that a directory is or is in.
pub fn container_around(dir: &Path) -> Option<PathBuf> {
    with_those_above(dir).map(|(dir, _)| dir).find(|dir| {
        let record = RegularFile::find(&dir.join("state.json")).ok().flatten();
        let text = record.and_then(|record| record.read(LONGEST).ok()).unwrap_or_default();
        Record::parse(&text).is_ok() || Record::is_of_runc(&text) || destination::is_read(&dir.join("status"))
    })
}

/// A directory, and those that it is in, up to the root, with what they are.
fn with_those_above(dir: &Path) -> impl Iterator<Item = (PathBuf, (u64, u64))> {
    let with_identity = |dir: PathBuf| identity(&dir).map(|here| (dir, here));
    std::iter::successors(with_identity(dir.to_owned()), move |(dir, below)| {
        with_identity(dir.join("..")).filter(|(_, here)| here != below)
    })
}

/// Which file or directory that is, whatever it is called.
pub fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

fn open_dir(path: &Path) -> nix::Result<OwnedFd> {
    fs::open(fs::CWD, &fs::c_path(path)?, libc::O_RDONLY | libc::O_DIRECTORY, 0)
}

/// mkdir with missing parents. The path is the operator's own, so links on the way are meant.
fn make(path: &Path, mode: Mode) -> nix::Result<()> {
    match nix::unistd::mkdir(path, mode) {
        Err(Errno::ENOENT) => {
            make(path.parent().ok_or(Errno::ENOENT)?, Mode::S_IRWXU)?;
            nix::unistd::mkdir(path, mode)
        }
        Err(Errno::EEXIST) => Ok(()),
        result => result,
    }
}

/// The path without `.`, `..` and doubled slashes, as Go's filepath.Clean: by text, whatever links there are.
fn absolute(path: &Path) -> PathBuf {
    Path::new("/").join(OsString::from_vec(clean_bytes(path.as_os_str().as_bytes())))
}
