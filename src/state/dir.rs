//! One container's directory.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::{CONFIG, FIFO, LOOK_AGAIN, NOTIFY, RECORD, Record, StateRoot, UNREADY_CONFIG, check_id};
use crate::error::{Context, Deed, Doing, Error, Result, Stage, nearest};
use crate::spec;
use crate::sys::fs::{self, RegularFile};
use crate::sys::{self, dir, poll};

const TEMPORARY: &CStr = c".new";
/// Where `restore` mounts the root for CRIU; here to be removed after one that was cut short.
pub const CRIU_ROOT: &CStr = c"criu-root";

/// A handle on `ROOT/ID`. It stays on the directory it was opened on, whatever happens to the name.
#[derive(Debug)]
pub struct Dir {
    root: OwnedFd,
    name: CString,
    fd: OwnedFd,
}

/// Whether there was something to remove.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Was {
    There,
    Missing,
}

/// Whether to wait for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Until whoever holds it is done.
    Forever,
    /// No longer than this.
    Within(Duration),
    /// Not at all.
    No,
}

/// Held while a container is changed; gone with the process at the latest. (Not nix's `Flock`, which unlocks on
/// drop and panics when it cannot: closing is enough.)
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held for its Drop")] OwnedFd);

impl Dir {
    /// The directory of a new container, locked; exactly one of several callers gets it. Whoever finds that it is gone when he first
    /// writes to it has been overtaken by a `delete --force`.
    pub fn claim(root: &StateRoot, id: &str) -> Result<(Dir, Lock)> {
        let dir = Dir::create(root, id)?;
        let lock = dir.hold(Wait::Forever).inspect_err(|error| {
            // Who waits for the lock waits for somebody whose the directory is.
            if error.root_errno() != Some(Errno::EINTR) {
                dir.give_up();
            }
        })?;
        // Between the making of a directory and its opening another may have taken it away and made one of his own. Whose it is
        // says the lock: who has it first, and nobody but him, finds no record.
        match fs::access(dir.fd(), RECORD, libc::F_OK) {
            Err(Errno::ENOENT) => Ok((dir, lock)),
            Ok(()) => Err(exists()),
            Err(errno) => {
                dir.give_up();
                Err(errno).at(Stage::State, || "look for state.json")
            }
        }
    }

    /// Takes away the directory of a claim that failed, unless somebody else has written to it by now. If that fails too, `delete`
    /// finds it.
    fn give_up(&self) {
        let _ = fs::unlink(self.root.as_fd(), &self.name, libc::AT_REMOVEDIR);
    }

    /// Makes the directory, or an error where there is one. What is opened may by then be another's, of that name.
    pub fn create(root: &StateRoot, id: &str) -> Result<Dir> {
        let name = name_of(id)?;
        let root = root.open_or_make()?;
        if !make(root.as_fd(), &name, id)? {
            return Err(exists());
        }
        match open(root.as_fd(), &name) {
            Ok(fd) => Ok(Dir { root, name, fd }),
            Err(errno) => {
                // Empty, so it says nothing about anything. If this fails too, `delete` finds it. One that is gone was taken away, and
                // what has its name now is another's.
                if errno != Errno::ENOENT {
                    let _ = fs::unlink(root.as_fd(), &name, libc::AT_REMOVEDIR);
                }
                Err(errno).at(Stage::State, || format!("open the state directory of {id}"))
            }
        }
    }

    /// The directory of this name, made where there is none: whose it is says the lock, and what is found in it then. Others may
    /// make and remove it meanwhile.
    pub fn find_or_make(root: &StateRoot, id: &str) -> Result<Dir> {
        let name = name_of(id)?;
        let root = root.open_or_make()?;
        loop {
            match open(root.as_fd(), &name) {
                Err(Errno::ENOENT) => drop(make(root.as_fd(), &name, id)?),
                found => {
                    let fd = found.at(Stage::State, || format!("open the state directory of {id}"))?;
                    return Ok(Dir { root, name, fd });
                }
            }
        }
    }

    /// Opens the directory of a container that exists.
    pub fn open(root: &StateRoot, id: &str) -> Result<Dir> {
        Dir::find(root, id)?.ok_or_else(|| does_not_exist(root, id))
    }

    /// Opens the directory of a container, if there is one.
    pub fn find(root: &StateRoot, id: &str) -> Result<Option<Dir>> {
        let name = name_of(id)?;
        let missing = |errno| matches!(errno, Errno::ENOENT | Errno::ENOTDIR);
        let root = match root.open() {
            Err(error) if error.root_errno().is_some_and(missing) => return Ok(None),
            result => result?,
        };
        match open(root.as_fd(), &name) {
            Err(errno) if missing(errno) => Ok(None),
            result => {
                let fd = result.at(Stage::State, || format!("open the state directory of {id}"))?;
                Ok(Some(Dir { root, name, fd }))
            }
        }
    }

    /// The directory, for calls relative to it.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Whether it is still there, under whatever name: `delete` removes it.
    pub fn is_there(&self) -> Result<bool> {
        Ok(fs::stat(self.fd()).at(Stage::State, || "examine the state directory")?.st_nlink != 0)
    }

    /// Whether it still has the name under which it was opened. For who has its lock, which nobody renames it without.
    pub fn is_named(&self) -> Result<bool> {
        let what = || "examine the state directory";
        match fs::stat_at(self.root.as_fd(), &self.name) {
            Err(Errno::ENOENT) => Ok(false),
            named => {
                let (named, own) = (named.at(Stage::State, what)?, fs::stat(self.fd()).at(Stage::State, what)?);
                Ok((named.st_dev, named.st_ino) == (own.st_dev, own.st_ino))
            }
        }
    }

    /// Gives it the name `id` in another root, where nothing may have it: one system call, which exactly one of several
    /// callers makes. The caller has the lock.
    pub fn move_to(&mut self, root: &StateRoot, id: &str) -> Result<()> {
        let (name, root) = (name_of(id)?, root.open_or_make()?);
        match fs::rename_new((self.root.as_fd(), &self.name), (root.as_fd(), &name)) {
            Err(Errno::EEXIST) => Err(exists()),
            moved => {
                moved.at(Stage::State, || format!("move the state directory to {id}"))?;
                (self.root, self.name) = (root, name);
                Ok(())
            }
        }
    }

    /// Keeps others from changing the container. `None` when it was deleted while we waited; fails with EAGAIN when
    /// it is held and we do not wait, or not longer.
    pub fn lock(&self, wait: Wait) -> Result<Option<Lock>> {
        let lock = self.hold(wait)?;
        Ok(self.is_there()?.then_some(lock))
    }

    fn hold(&self, wait: Wait) -> Result<Lock> {
        let patience = match wait {
            Wait::Forever => Duration::MAX,
            Wait::Within(patience) => patience,
            Wait::No => Duration::ZERO,
        };
        // An open file of its own: the lock goes when this one is closed. flock(2) knows no time, and ends by a signal only where that
        // comes while it waits.
        let lock = open(self.fd(), c".").at(Stage::State, || "open the state directory")?;
        // Without a vDSO clock each look at the time is a system call, and most locks are free.
        let mut start = None;
        loop {
            match fs::lock(lock.as_fd(), libc::LOCK_EX | libc::LOCK_NB) {
                Err(Errno::EAGAIN) => {
                    let waited = start.get_or_insert_with(Instant::now).elapsed();
                    if waited >= patience {
                        let what = "another command is changing the container";
                        return Err(Error::errno(Stage::State, what, Errno::EAGAIN));
                    }
                    // Ever more seldom, but for ever often enough to come before one who has just begun.
                    poll::pause((waited / 16).clamp(LOOK_AGAIN, LOOK_AGAIN * 10))
                        .at(Stage::State, || "wait for the command that is changing the container")?;
                }
                result => return result.map(|()| Lock(lock)).at(Stage::State, || "lock the state directory"),
            }
        }
    }

    /// Replaces a file whole: readers see the old text or the new, never a part. Not synced: after a crash of
    /// the machine there are no containers. The caller holds the lock.
    pub fn write(&self, name: &CStr, text: &[u8]) -> Result<()> {
        let what = || format!("write {}", name.to_string_lossy());
        self.write_beside(name, text)?;
        // Not a rename over the old file: ext4 would start to write the new one to the disk (auto_da_alloc), and the
        // next removal would wait for that, a millisecond or more.
        match fs::exchange(self.fd(), TEMPORARY, name) {
            Ok(()) => self.unlink(TEMPORARY).map(drop),
            // ENOENT: it is new. EINVAL: a file system without it.
            Err(Errno::ENOENT | Errno::EINVAL) => fs::rename(self.fd(), TEMPORARY, name).at(Stage::State, what),
            result => result.at(Stage::State, what),
        }
    }

    fn write_beside(&self, name: &CStr, text: &[u8]) -> Result<()> {
        let what = || format!("write {}", name.to_string_lossy());
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW;
        let file = fs::open(self.fd(), TEMPORARY, flags.bits(), 0o600).at(Stage::State, what)?;
        fs::write_all(file.as_fd(), text).at(Stage::State, what)
    }

    /// Writes the copy of config.json of a container that is not set up yet. Nobody else looks for it before that.
    pub fn write_config(&self, text: &[u8]) -> Result<()> {
        let what = || "write config.json";
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
        let file = fs::open(self.fd(), UNREADY_CONFIG, flags.bits(), 0o600).at(Stage::State, what)?;
        fs::write_all(file.as_fd(), text).at(Stage::State, what)
    }

    /// The container is set up: from here on it can be started and entered.
    pub fn publish(&self) -> Result<()> {
        fs::rename(self.fd(), UNREADY_CONFIG, CONFIG).at(Stage::State, || "rename config.json")
    }

    /// Whether [`Dir::publish`] was called.
    pub fn is_published(&self) -> Result<bool> {
        match fs::access(self.fd(), CONFIG, libc::F_OK) {
            Err(Errno::ENOENT) => Ok(false),
            result => result.map(|()| true).at(Stage::State, || "look for config.json"),
        }
    }

    /// The copy of config.json, ready or not.
    pub fn config(&self) -> Result<Option<Vec<u8>>> {
        match self.read(CONFIG)? {
            None => self.read(UNREADY_CONFIG),
            found => Ok(found),
        }
    }

    /// Reads a file; `None` when it does not exist.
    pub fn read(&self, name: &CStr) -> Result<Option<Vec<u8>>> {
        let what = || format!("read {}", name.to_string_lossy());
        let file = match RegularFile::open(self.fd(), name) {
            Err(Errno::ENOENT) => return Ok(None),
            result => result.at(Stage::State, what)?,
        };
        let file = file.ok_or_else(|| Error::new(Stage::State, format!("{}: not a regular file", what())))?;
        // They are replaced whole, so none of them grows.
        spec::check_length(file.bytes(), &name.to_string_lossy(), Stage::State)?;
        let text = file.read(spec::LONGEST).at(Stage::State, what)?;
        Ok(Some(text))
    }

    /// Writes state.json of a container that has none.
    pub fn save_first(&self, record: &Record) -> Result<()> {
        self.write_beside(RECORD, &record.to_json()?)?;
        fs::rename(self.fd(), TEMPORARY, RECORD).at(Stage::State, || "write state.json")
    }

    /// Writes state.json.
    pub fn save(&self, record: &Record) -> Result<()> {
        self.write(RECORD, &record.to_json()?)
    }

    /// Reads state.json; `None` for a directory without one: a container that is not there yet, or no longer.
    pub fn find_record(&self) -> Result<Option<Record>> {
        self.read(RECORD)?.map(|text| Record::parse(&text)).transpose()
    }

    /// Whether another runtime has made it. crun has its own under another name. What cannot be read is nobody's.
    pub fn is_of_another(&self) -> bool {
        self.read(RECORD).is_ok_and(|text| match text {
            Some(text) => Record::is_of_another(&text),
            None => fs::stat_at(self.fd(), c"status").is_ok(),
        })
    }

    /// Reads state.json of a container that exists.
    pub fn load(&self) -> Result<Record> {
        self.find_record()?.ok_or_else(gone)
    }

    /// Whether the container waits for `start`: somebody has the fifo open for reading. A `start` that was cut
    /// short between the signal and the removal of the fifo leaves one that nobody reads.
    pub fn waits_for_start(&self) -> Result<bool> {
        let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW;
        match fs::open(self.fd(), FIFO, flags.bits(), 0) {
            Err(Errno::ENOENT | Errno::ENXIO) => Ok(false),
            result => result.map(|_| true).at(Stage::State, || "look at exec.fifo"),
        }
    }

    /// Whether nobody has started it, alive or not.
    pub fn has_fifo(&self) -> Result<bool> {
        match fs::stat_at(self.fd(), FIFO) {
            Err(Errno::ENOENT) => Ok(false),
            found => found.map(|_| true).at(Stage::State, || "look at exec.fifo"),
        }
    }

    /// The user id that owns the container.
    pub fn owner(&self) -> Result<u32> {
        Ok(fs::stat(self.fd()).at(Stage::State, || "examine the state directory")?.st_uid)
    }

    /// Removes the directory and everything in it. The record goes last of our files, so that a removal that is cut
    /// short can be found and done again. Needs no descriptor unless somebody put files of their own there: it has to
    /// work where a `create` has just failed for want of one.
    pub fn remove(&self) -> Result<()> {
        // What is set up has the copy of config.json under its last name; what is not may have anything.
        let names: &[_] = if self.unlink(CONFIG)? == Was::There {
            &[FIFO, RECORD]
        } else {
            &[FIFO, UNREADY_CONFIG, TEMPORARY, RECORD]
        };
        for name in names {
            self.unlink(name)?;
        }
        let rmdir = || fs::unlink(self.root.as_fd(), &self.name, libc::AT_REMOVEDIR);
        let removed = match rmdir() {
            Err(Errno::ENOTEMPTY | Errno::EEXIST) => {
                self.remove_files()?;
                rmdir()
            }
            result => result,
        };
        match removed {
            Err(Errno::ENOENT) => Ok(()),
            result => result.at(Stage::State, || "remove the state directory"),
        }
    }

    fn remove_files(&self) -> Result<()> {
        let what = || "list the state directory";
        let again = open(self.fd(), c".").at(Stage::State, what)?;
        let emptied = dir::each_typed(again.as_fd(), &mut |name, kind| match kind {
            libc::DT_DIR => Ok(()),
            _ => self.try_unlink(name).map(drop),
        });
        emptied.at(Stage::State, || "remove the files of the state directory")?;
        match fs::unlink(self.fd(), CRIU_ROOT, libc::AT_REMOVEDIR) {
            // Nothing was ever mounted on it outside of CRIU's mount namespace.
            Err(Errno::ENOENT) => {}
            result => result.at(Stage::State, || "remove the directory of a root for criu")?,
        }
        self.remove_notify()
    }

    /// The directory that the container sees, and that its root may have written to where it is our own user.
    fn remove_notify(&self) -> Result<()> {
        match std::fs::remove_dir_all(fs::by_number(self.fd()).join(NOTIFY.to_string_lossy().as_ref())) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            result => result.at(Stage::State, || "remove the directory of the notify socket"),
        }
    }

    fn unlink(&self, name: &CStr) -> Result<Was> {
        self.try_unlink(name).at(Stage::State, || format!("remove {}", name.to_string_lossy()))
    }

    fn try_unlink(&self, name: &CStr) -> sys::Result<Was> {
        match fs::unlink(self.fd(), name, 0) {
            Err(Errno::ENOENT) => Ok(Was::Missing),
            removed => removed.map(|()| Was::There),
        }
    }
}

/// There is no such container. Engines look for these words (containerd, podman, BuildKit).
pub fn does_not_exist(root: &StateRoot, id: &str) -> Error {
    let other = ["runc", "crun", "youki"].into_iter().find(|name| Path::new("/run").join(name).join(id).exists());
    let hint = match other {
        Some(runtime) => format!("/run/{runtime}/{id} is there: the container was made by {runtime}"),
        None => format!(
            "{}containers are looked for in {}: --root names another directory, `list` shows what is there",
            near(root, id).map_or(String::new(), |near| format!("did you mean {near}? ")),
            root.path().display()
        ),
    };
    gone().doing(Deed::FindContainer, id).with_hint(hint)
}

/// The container that may have been meant, where the name is one that somebody types.
pub fn near(root: &StateRoot, id: &str) -> Option<String> {
    const TYPED: usize = 40;
    if id.len() > TYPED {
        return None;
    }
    let ids = root.ids().unwrap_or_default();
    nearest(id, ids.iter().map(String::as_str)).map(str::to_owned)
}

fn exists() -> Error {
    Error::new(Stage::State, "container with given ID already exists")
        .with_hint("`brisk delete` removes one that has ended, and with --force one that has not; `brisk run --replace` does so first")
}

/// What is said of a container that was deleted meanwhile.
fn gone() -> Error {
    Error::new(Stage::State, "container does not exist")
}

fn name_of(id: &str) -> Result<CString> {
    check_id(id)?;
    // A valid id has no NUL byte.
    CString::new(id).map_err(|_| Error::new(Stage::Args, "container id with a NUL byte"))
}

/// Makes a state directory; false where the name is taken.
fn make(root: BorrowedFd<'_>, name: &CStr, id: &str) -> Result<bool> {
    match fs::mkdir(root, name, 0o711) {
        Err(Errno::EEXIST) => Ok(false),
        made => {
            made.at(Stage::State, || format!("make the state directory of {id}")).doing(Deed::MakeState, || id)?;
            Ok(true)
        }
    }
}

fn open(dir: BorrowedFd<'_>, name: &CStr) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    fs::open(dir, name, flags.bits(), 0)
}
