//! The directory of `--overlay DIR` is one container's at a time, and what a container writes to is no layer of another's: to two
//! overlays with one upper layer, and of one whose layers change, the kernel promises nothing. It knows itself what an
//! overlay writes to, and the child asks it (`child::overlay`). What is here is for what the kernel does not say: who that is,
//! before anything is made; of two that begin at once which was first; and, to who has no right to ask of layers below,
//! whether one is written to. A file in the directory says whose it is. It outlives brisk, so nobody has to wait for the end
//! of a container to take it away; what counts is whether the process that it names lives, as far as we see that.
//!
//! Not trusted: the directory, which the child looks at once more as the container's root sees it. What is at the name of the
//! file is followed nowhere and has to be a file with one name.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Deed, Error, Result, Stage};
use crate::plan::Plan;
use crate::plan::op::{InUse, SetupOp};
use crate::plan::rootfs::overlay::{HOLDER, IS_USED, NOT_THEIRS_ALONE, OURS, UPPER, WORK, others_enter, others_write};
use crate::spec::overlay::Upper;
use crate::spec::{Spec, annotations};
use crate::state::{Life, ProcessId, boot_id};
use crate::sys::{dir, fs, process};

/// To go from a directory to the one above it.
const ABOVE: i32 = libc::O_PATH | libc::O_DIRECTORY;

/// More than an id and some numbers is none of ours.
const MAX: usize = 4096;

/// The file, locked: two that begin at once do not both find nobody there.
#[derive(Debug)]
pub(in crate::container) struct Holder {
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
    pub(in crate::container) fn begin(plan: &Plan, spec: &Spec, bundle: &Path) -> Result<Option<Holder>> {
        let Some(in_use) = in_use(plan) else { return Ok(None) };
        let ancestry = match in_use {
            InUse::Itself | InUse::Another => Ancestry::Ignored,
            InUse::ItselfUpper | InUse::NotAsked => Ancestry::Counts,
        };
        refuse_in_use(None, spec, bundle, ancestry)?;
        let Some(holder) = Holder::open(spec, bundle)? else { return Ok(None) };
        match holder.who()? {
            Some(note) => Err(holder.is_anothers(&note)),
            None => Ok(Some(holder)),
        }
    }

    /// An error where the directory could not be had, once the container that is to be replaced is gone.
    pub(in crate::container) fn begin_after(id: &str, spec: &Spec, bundle: &Path) -> Result<()> {
        refuse_in_use(Some(id), spec, bundle, Ancestry::Counts)?;
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
        if foreign || others_write(found.mode()) {
            return refuse(NOT_THEIRS_ALONE);
        }
        let Some(holder) = Holder::open(spec, bundle)? else {
            return refuse(IS_USED);
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
        let name = fs::c_path(&path).at(Stage::Rootfs, what)?;
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let dir = match fs::open(fs::CWD, &name, flags, 0) {
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(None),
            dir => dir.at(Stage::Rootfs, what)?,
        };
        let owner = fs::stat(dir.as_fd()).at(Stage::Rootfs, what)?;
        if others_write(owner.st_mode) {
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
    pub(in crate::container) fn is(&self, id: &str, init: ProcessId) -> Result<()> {
        let what = || format!("write who has {}", self.path.display());
        let note = Note { id: id.to_owned(), boot_id: boot_id()?.to_owned(), init };
        let text = serde_json::to_vec(&note).at(Stage::Rootfs, what)?;
        self.file.set_len(0).and_then(|()| self.file.write_all_at(&text, 0)).at(Stage::Rootfs, what)
    }
}

/// Whether the directories above a layer count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ancestry {
    /// The kernel says of them, but not that an upper layer lies below a layer.
    Ignored,
    /// All of them, and the layer.
    Counts,
    /// The directories above it alone.
    Only,
}

/// How the kernel is asked, where there is an overlay.
fn in_use(plan: &Plan) -> Option<InUse> {
    let mut all = plan.setup.iter();
    all.find_map(|op| if let SetupOp::Overlay(op) = op { Some(op.in_use) } else { None })
}

/// The error of a start with who it is that writes to a layer, where the kernel has said that somebody does and a file tells.
pub(in crate::container) fn name_writer(error: Error, spec: &Spec, bundle: &Path) -> Error {
    let of_overlay = error.deed().is_some_and(|(deed, _)| deed == Deed::Overlay);
    if !of_overlay || error.root_errno() != Some(Errno::EBUSY) {
        return error;
    }
    refuse_in_use(None, spec, bundle, Ancestry::Counts).err().unwrap_or(error)
}

/// An error where a layer of the overlay is, or lies in, what another container than `id` writes to, or all of its
/// `--overlay DIR`; and where the directory of this one lies there.
fn refuse_in_use(id: Option<&str>, spec: &Spec, bundle: &Path, ancestry: Ancestry) -> Result<()> {
    let Some(overlay) = annotations::overlay(spec)? else { return Ok(()) };
    let root = spec.root.iter().map(|root| &root.path);
    let mut layers: Vec<(&String, Ancestry)> = root.chain(&overlay.lower).map(|layer| (layer, ancestry)).collect();
    if let (Upper::Dir(dir), Ancestry::Counts) = (&overlay.upper, ancestry) {
        // Who has it itself is asked when it is taken.
        layers.push((dir, Ancestry::Only));
    }
    for (layer, ancestry) in layers {
        let layer = bundle.join(layer);
        let note = writer(&layer, ancestry)?.filter(|note| id != Some(note.id.as_str()));
        if let Some(Note { id, init, .. }) = note {
            let error =
                format!("{} cannot be a layer: container {id:?}, process {}, writes to it", layer.display(), init.pid);
            return Err(Error::new(Stage::Rootfs, error).with_hint("delete that container first, or take a copy"));
        }
    }
    Ok(())
}

/// The container that writes to a directory. Of what a mount shows in another place it is not seen where that lies.
fn writer(layer: &Path, ancestry: Ancestry) -> Result<Option<Note>> {
    let what = || format!("look who writes to {}", layer.display());
    let c_path = |path: &Path| fs::c_path(path).at(Stage::Rootfs, what);
    if ancestry == Ancestry::Ignored {
        let path = c_path(&layer.join(OsStr::from_bytes(HOLDER.to_bytes())))?;
        return note_in(fs::CWD, &path, layer);
    }
    let id = |dir: &OwnedFd| fs::stat(dir.as_fd()).map(|stat| (stat.st_dev, stat.st_ino)).at(Stage::Rootfs, what);
    let above = |dir: BorrowedFd<'_>, name: &CStr| there(fs::open(dir, name, ABOVE, 0)).at(Stage::Rootfs, what);
    let Some(mut dir) = above(fs::CWD, &c_path(layer)?)? else { return Ok(None) };
    let mut from = None;
    loop {
        if let Some(note) = note_in(dir.as_fd(), HOLDER, layer)? {
            let written = [UPPER, WORK].map(|name| fs::stat_at(dir.as_fd(), name).ok());
            let mut written = written.iter().flatten().map(|stat| (stat.st_dev, stat.st_ino));
            if from.map_or(ancestry == Ancestry::Counts, |from| written.any(|id| id == from)) {
                return Ok(Some(note));
            }
        }
        let (here, Some(next)) = (id(&dir)?, above(dir.as_fd(), c"..")?) else { return Ok(None) };
        if id(&next)? == here {
            return Ok(None);
        }
        (from, dir) = (Some(here), next);
    }
}

/// The note at a name that may be anybody's, if its container lives.
fn note_in(dir: BorrowedFd<'_>, name: &CStr, layer: &Path) -> Result<Option<Note>> {
    let what = || format!("look who writes to {}", layer.display());
    let flags = libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let Some(file) = there(fs::open(dir, name, flags, 0)).at(Stage::Rootfs, what)? else { return Ok(None) };
    if fs::kind(&fs::stat(file.as_fd()).at(Stage::Rootfs, what)?) != libc::S_IFREG {
        return Ok(None);
    }
    Note::read(&File::from(file), layer)
}

/// What cannot be read, or is not there, says nothing to us; the child complains of it.
fn there(opened: crate::sys::Result<OwnedFd>) -> crate::sys::Result<Option<OwnedFd>> {
    match opened {
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EACCES | Errno::ENXIO) => Ok(None),
        opened => opened.map(Some),
    }
}

/// Whether the child takes the directory: one that others may enter for something else stays open to them.
fn may_become_private(dir: &OwnedFd, mode: u32) -> crate::sys::Result<bool> {
    if !others_enter(mode) || fs::stat_at(dir.as_fd(), UPPER).is_ok() {
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
