//! The directory of `--overlay DIR` is one container's at a time: to two overlays with one upper layer the kernel promises
//! nothing. Who has it is written in a file there. The file outlives brisk, so nobody has to wait for the end of a container to
//! take it away; what counts is whether the process that it names lives.
//!
//! Not trusted: the directory, which the child looks at once more as the container's root sees it. What is at the name of the
//! file is followed nowhere and has to be a file with one name.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result, Stage};
use crate::plan::rootfs::overlay::{HOLDER, OURS, UPPER};
use crate::spec::overlay::Upper;
use crate::spec::{Spec, annotations};
use crate::state::{Life, ProcessId, boot_id};
use crate::sys::{dir, fs, process};

/// More than an id and some numbers is none of ours.
const MAX: usize = 4096;

/// The file, locked: two that begin at once do not both find nobody there.
#[derive(Debug)]
pub(super) struct Holder {
    file: File,
    path: PathBuf,
}

/// What is written in it.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Note {
    id: String,
    boot_id: String,
    init: ProcessId,
}

impl Note {
    /// What is written there, if the first process of that container lives.
    fn read(file: &File, path: &Path) -> Result<Option<Note>> {
        let mut text = [0; MAX];
        let len = file.read_at(&mut text, 0).at(Stage::Rootfs, || format!("read who has {}", path.display()))?;
        // One that was cut short was written by a command that never came to have a container.
        let Ok(note) = serde_json::from_slice::<Note>(&text[..len]) else { return Ok(None) };
        let here = note.boot_id == boot_id()? && note.init.life()? == Life::Alive;
        Ok(here.then_some(note))
    }
}

impl Holder {
    /// Takes the directory, if one is asked for; an error while another container has it. One that cannot be had is left to
    /// the child, who takes it with the rights of the container.
    pub(super) fn begin(spec: &Spec, bundle: &Path) -> Result<Option<Holder>> {
        refuse_layers_in_use(None, spec, bundle)?;
        let Some(holder) = Holder::open(spec, bundle)? else { return Ok(None) };
        match holder.who()? {
            Some(note) => Err(holder.is_anothers(&note)),
            None => Ok(Some(holder)),
        }
    }

    /// An error where the directory could not be had, once the container that is to be replaced is gone.
    pub(super) fn begin_after(id: &str, spec: &Spec, bundle: &Path) -> Result<()> {
        refuse_layers_in_use(Some(id), spec, bundle)?;
        let Some(Upper::Dir(dir)) = annotations::overlay(spec)?.map(|overlay| overlay.upper) else { return Ok(()) };
        let path = bundle.join(dir);
        let what = || format!("--overlay {}", path.display());
        let refuse = |why: &str| Err(Error::new(Stage::Rootfs, format!("{}: {why}", what())));
        let found = std::fs::symlink_metadata(&path).at(Stage::Rootfs, what)?;
        if !found.is_dir() {
            return Err(Error::errno(Stage::Rootfs, what(), Errno::ENOTDIR));
        }
        // Who the root of a user namespace is, the child finds out.
        let foreign = spec.namespace("user").is_none() && found.uid() != process::geteuid();
        if foreign || found.mode() & 0o022 != 0 {
            return refuse("it must belong to the container's root, and nobody else may write to it");
        }
        let Some(holder) = Holder::open(spec, bundle)? else {
            return refuse("it has other files: one that only its owner may enter, or an empty one, is needed");
        };
        match holder.who()? {
            Some(note) if note.id != id => Err(holder.is_anothers(&note)),
            _ => Ok(()),
        }
    }

    fn is_anothers(&self, note: &Note) -> Error {
        taken(&self.path, &format!("container {:?} is over it, process {}", note.id, note.init.pid))
    }

    fn open(spec: &Spec, bundle: &Path) -> Result<Option<Holder>> {
        let Some(Upper::Dir(dir)) = annotations::overlay(spec)?.map(|overlay| overlay.upper) else { return Ok(None) };
        let path = bundle.join(dir);
        let what = || format!("look who has {}", path.display());
        let name = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL).at(Stage::Rootfs, what)?;
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let dir = match fs::open(fs::CWD, &name, flags, 0) {
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(None),
            dir => dir.at(Stage::Rootfs, what)?,
        };
        let owner = fs::stat(dir.as_fd()).at(Stage::Rootfs, what)?;
        if owner.st_mode & 0o022 != 0 {
            return Ok(None);
        }
        let file = match open(&dir, owner.st_uid, 0).at(Stage::Rootfs, what) {
            Err(error) if error.root_errno() == Some(Errno::ENOENT) => {
                // The child refuses it, and nothing of ours is left there.
                if !may_become_private(&dir, owner.st_mode).at(Stage::Rootfs, what)? {
                    return Ok(None);
                }
                open(&dir, owner.st_uid, libc::O_CREAT).at(Stage::Rootfs, what)?
            }
            file => file?,
        };
        match fs::lock(file.as_fd(), libc::LOCK_EX | libc::LOCK_NB) {
            Err(Errno::EAGAIN) => return Err(taken(&path, "another is being made over it")),
            locked => locked.at(Stage::Rootfs, what)?,
        }
        Ok(Some(Holder { file: File::from(file), path }))
    }

    /// The container that has it, if its first process lives.
    fn who(&self) -> Result<Option<Note>> {
        Note::read(&self.file, &self.path)
    }

    /// Writes whose it is now.
    pub(super) fn is(&self, id: &str, init: ProcessId) -> Result<()> {
        let what = || format!("write who has {}", self.path.display());
        let note = Note { id: id.to_owned(), boot_id: boot_id()?.to_owned(), init };
        let text = serde_json::to_vec(&note).at(Stage::Rootfs, what)?;
        self.file.set_len(0).and_then(|()| self.file.write_all_at(&text, 0)).at(Stage::Rootfs, what)
    }
}

/// An error where a layer of the overlay is what another container than `id` writes to: all of its `--overlay DIR`, or the upper
/// layer in it. Of what changes below an overlay the kernel promises nothing.
fn refuse_layers_in_use(id: Option<&str>, spec: &Spec, bundle: &Path) -> Result<()> {
    let Some(overlay) = annotations::overlay(spec)? else { return Ok(()) };
    let root = spec.root.iter().map(|root| &root.path);
    for layer in root.chain(&overlay.lower).map(|layer| bundle.join(layer)) {
        for dir in [layer.clone(), layer.join("..")] {
            let what = || format!("look who writes to {}", layer.display());
            let Some(file) = note_in(&dir).at(Stage::Rootfs, what)? else { continue };
            let is_upper = || {
                let [upper, own] = [dir.join("upper"), layer.clone()].map(|path| std::fs::metadata(path).ok());
                upper.zip(own).is_some_and(|(upper, own)| (upper.dev(), upper.ino()) == (own.dev(), own.ino()))
            };
            if let Some(note) = Note::read(&file, &dir)?
                && id != Some(note.id.as_str())
                && (dir == layer || is_upper())
            {
                let error = format!(
                    "{} cannot be a layer: container {:?}, process {}, writes to it",
                    layer.display(),
                    note.id,
                    note.init.pid
                );
                return Err(Error::new(Stage::Rootfs, error).with_hint("delete that container first, or take a copy"));
            }
        }
    }
    Ok(())
}

/// The note of a directory that may be anybody's. What cannot be read of it says nothing to us.
fn note_in(dir: &Path) -> crate::sys::Result<Option<File>> {
    let path = dir.join(std::ffi::OsStr::from_bytes(HOLDER.to_bytes()));
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    let flags = libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK;
    match fs::open(fs::CWD, &name, flags, 0) {
        Ok(file) => {
            let stat = fs::stat(file.as_fd())?;
            Ok(Some(File::from(file)).filter(|_| fs::kind(&stat) == libc::S_IFREG))
        }
        // Those that are no directory, or not there, the child complains of.
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EACCES | Errno::ENXIO) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Whether the child takes the directory: one that others may enter for something else stays open to them.
fn may_become_private(dir: &OwnedFd, mode: u32) -> crate::sys::Result<bool> {
    if mode & 0o077 == 0 || fs::stat_at(dir.as_fd(), UPPER).is_ok() {
        return Ok(true);
    }
    let ours = |name: &CStr| if OURS.contains(&name) { Ok(()) } else { Err(Errno::ENOTEMPTY) };
    match dir::each(dir.as_fd(), &mut |name| ours(name)) {
        Err(Errno::ENOTEMPTY) => Ok(false),
        done => done.map(|()| true),
    }
}

/// The file in it, made where `flags` say so. Who may write to the directory could have put anything there.
fn open(dir: &OwnedFd, owner: u32, flags: i32) -> crate::sys::Result<OwnedFd> {
    let flags = flags | libc::O_RDWR | libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = fs::open(dir.as_fd(), HOLDER, flags, 0o600)?;
    let stat = fs::stat(file.as_fd())?;
    let ours = [owner, process::geteuid()].contains(&stat.st_uid);
    let plain = fs::kind(&stat) == libc::S_IFREG && stat.st_nlink == 1;
    if ours && plain { Ok(file) } else { Err(Errno::EPERM) }
}

fn taken(path: &Path, whose: &str) -> Error {
    Error::new(Stage::Rootfs, format!("{} is one container's at a time: {whose}", path.display()))
        .with_hint("each container needs a directory of its own; what is below can be shared, as --lower or the root")
}
