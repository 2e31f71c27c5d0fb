//! An overlay over the root. Its layers are attached below a tmpfs that lies over the root, and the overlay over that.
//!
//! Not trusted: a directory that stays, which an earlier container has written below. What the overlay is made of is looked
//! up from inside of its upper layer: a link that leads out of the directory is on another mount than the upper layer is, and
//! the kernel takes no work directory there.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;

use super::mounts::explain;
use super::state::{Child, Done, Trouble};
use crate::plan::op::{InUse, OverlayOp};
use crate::plan::rootfs::mount_op::MountSource;
use crate::plan::rootfs::overlay::{
    IS_USED, MAX_LOWER, NOT_THEIRS_ALONE, OURS, UPPER, WORK, others_enter, others_write,
};
use crate::sys::{dir, fs, mount, mount_attr, poll, process};
use crate::wire::{self, SyncPoint};

/// Of the layers below: the root is the first.
const LAYERS: [&CStr; MAX_LOWER + 1] = [c"0", c"1", c"2", c"3", c"4", c"5", c"6", c"7", c"8"];
/// Where a directory that stays is attached.
const DIRECTORY: &CStr = c"directory";
/// Below the tmpfs of the layers: the upper layer and the work directory of the overlay that only asks.
const ASKED_UPPER: &CStr = c"asked";
const ASKED_WORK: &CStr = c"asked-work";
/// How they are named from inside of the upper layer of a directory that stays.
const ASKED_UPPER_FROM_UPPER: &CStr = c"../../asked";
const ASKED_WORK_FROM_UPPER: &CStr = c"../../asked-work";
/// Of an overlay, with its value.
type Param = (&'static CStr, &'static CStr);

const INDEX: Param = (c"index", c"on");
/// The longest pause between two tries; half a second is waited in all.
const PATIENCE: Duration = Duration::from_millis(512);
const IN_USE: &[u8] = b"another overlay writes to a layer of it";
/// [`WORK`], from inside of the upper layer.
const WORK_FROM_UPPER: &CStr = c"../.brisk-work";

impl Child<'_> {
    pub(super) fn overlay(&mut self, op: &OverlayOp) -> Done {
        if self.started_in.is_none() {
            // Hooks come back to it. Where a user namespace may not enter it, they find themselves at the top.
            let open = |path| fs::open(fs::CWD, path, libc::O_PATH | libc::O_DIRECTORY, 0);
            self.started_in = Some(open(c".").or_else(|_| open(c"/"))?);
        }
        let root = fs::stat(self.root()?)?;
        let mode = root.st_mode & 0o7777;
        let tmpfs = layers_tmpfs(op.size.as_deref())?;
        // All are looked up before something lies over the root, for they may be below it. The root's own copy is without
        // what is mounted below, as layers are.
        let mut layers = Layers {
            trees: [const { None }; LAYERS.len()],
            files: [(0, 0); LAYERS.len() + 1],
            count: 0,
            have_handles: matches!(op.in_use, InUse::Itself | InUse::Another),
        };
        let first = match &op.mapped_root {
            Some(source) => self.layer(source)?.0,
            None => mount::clone_tree(self.root()?, c"", 0)?,
        };
        let attr = flags_of(first.as_fd())?;
        layers.add((first, root))?;
        for source in &op.lower {
            layers.add(self.layer(source)?)?;
        }
        let directory = match &op.upper {
            None => None,
            Some(source) => {
                let (directory, stat) = self.layer(source)?;
                check_owner(&stat)?;
                layers.is_other(&stat)?;
                Some(directory)
            }
        };
        mount::attach(tmpfs.as_fd(), self.root()?)?;
        for (tree, name) in layers.trees.into_iter().flatten().zip(&LAYERS) {
            put(tree, tmpfs.as_fd(), name)?;
        }
        let upper = match directory {
            // Nobody else sees it.
            None => upper(tmpfs.as_fd(), mode, Private::Is)?,
            Some(directory) => upper(put(directory, tmpfs.as_fd(), DIRECTORY)?.as_fd(), mode, Private::Become)?,
        };
        if op.size_asked {
            let measured = if op.upper.is_none() { tmpfs.as_fd() } else { upper.as_fd() };
            wire::send_files(self.inherited.wire.as_fd(), SyncPoint::Overlay, &[measured])?;
        }
        fs::fchdir(upper.as_fd())?;
        let index = match op.in_use {
            InUse::Itself => layers.have_handles.then_some(INDEX),
            InUse::ItselfUpper => Some(INDEX),
            InUse::Another => {
                fs::mkdir(tmpfs.as_fd(), ASKED_UPPER, 0o700)?;
                fs::mkdir(tmpfs.as_fd(), ASKED_WORK, 0o700)?;
                when_free(|| ask_who_writes(if layers.have_handles { &op.all_layers } else { c"." }))?;
                None
            }
            InUse::NotAsked => None,
        };
        let overlay = when_free(|| overlay(op, attr, index))?;
        // Over the tmpfs, which goes with the host's mounts when the root is entered: to unmount it by itself would cost a wait
        // for all CPUs (namespace_unlock() of fs/namespace.c), as long as all the rest.
        mount::attach(overlay.as_fd(), tmpfs.as_fd())?;
        self.root_is(overlay);
        Ok(())
    }

    fn layer(&self, source: &MountSource) -> Result<(OwnedFd, libc::stat), Trouble> {
        let tree = self.source(source, libc::AT_SYMLINK_NOFOLLOW as u32)?;
        let stat = fs::stat(tree.as_fd())?;
        match fs::kind(&stat) {
            libc::S_IFDIR => Ok((tree, stat)),
            libc::S_IFLNK => Err(Trouble::from(Errno::ELOOP).with(b"a layer is a link")),
            _ => Err(Trouble::from(Errno::ENOTDIR).with(b"a layer")),
        }
    }
}

/// The layers below, and device and inode of every directory that was named.
struct Layers {
    trees: [Option<OwnedFd>; MAX_LOWER + 1],
    files: [(u64, u64); MAX_LOWER + 2],
    count: usize,
    /// An index wants handles of all files. What has none is another overlay, for example. False where nobody asks.
    have_handles: bool,
}

impl Layers {
    fn add(&mut self, (tree, stat): (OwnedFd, libc::stat)) -> Done {
        self.is_other(&stat)?;
        self.have_handles = self.have_handles && fs::has_handle(tree.as_fd());
        self.files[self.count] = (stat.st_dev, stat.st_ino);
        self.trees[self.count] = Some(tree);
        self.count += 1;
        Ok(())
    }

    /// What is named twice the kernel refuses only sometimes, and otherwise where it is looked into.
    fn is_other(&self, stat: &libc::stat) -> Done {
        if self.files[..self.count].contains(&(stat.st_dev, stat.st_ino)) {
            return Err(Trouble::from(Errno::ELOOP).with(b"one directory is named twice"));
        }
        Ok(())
    }
}

/// What may not be done on the mount of the root, as flags of a mount: as little may be in what lies over it.
fn flags_of(root: BorrowedFd<'_>) -> crate::sys::Result<u64> {
    let flags = fs::mount_flags(root)?;
    let same = [
        (libc::ST_NOSUID, mount_attr::NOSUID),
        (libc::ST_NODEV, mount_attr::NODEV),
        (libc::ST_NOEXEC, mount_attr::NOEXEC),
    ];
    Ok(same.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, attr)| attr).sum())
}

/// A tmpfs that holds the layers, and what is written where nothing else is said.
fn layers_tmpfs(size: Option<&CStr>) -> Result<OwnedFd, Trouble> {
    let source = (c"source", c"overlay");
    Ok(match size {
        Some(size) => mount::fs_new(c"tmpfs", &[source, (c"size", size)], 0)?,
        None => mount::fs_new(c"tmpfs", &[source], 0)?,
    })
}

/// Attaches a layer under a name.
fn put(tree: OwnedFd, tmpfs: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Trouble> {
    fs::mkdir(tmpfs, name, 0o755)?;
    mount::attach_at(tree.as_fd(), tmpfs, name)?;
    Ok(tree)
}

fn check_owner(stat: &libc::stat) -> Done {
    if stat.st_uid == process::geteuid() && !others_write(stat.st_mode) {
        return Ok(());
    }
    Err(Trouble::from(Errno::EPERM).with(NOT_THEIRS_ALONE.as_bytes()))
}

/// Whether the directory of the upper layer is one that only its owner may enter.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Private {
    Is,
    Become,
}

/// The upper layer and the work directory, made where they are missing. A new one looks like the root that it lies over.
fn upper(dir: BorrowedFd<'_>, mode: u32, private: Private) -> Result<OwnedFd, Trouble> {
    if private == Private::Become && fs::stat_at(dir, UPPER).is_err_and(|errno| errno == Errno::ENOENT) {
        let mode = fs::stat(dir)?.st_mode & 0o7777;
        if others_enter(mode) {
            has_nothing_else(dir)?;
            fs::chmod_at(dir, c".", mode & 0o700)?;
        }
    }
    let made = match fs::mkdir(dir, UPPER, mode) {
        Err(Errno::EEXIST) => false,
        result => result.map(|()| true)?,
    };
    let upper = fs::open(dir, UPPER, libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW, 0)
        .map_err(|errno| Trouble::from(errno).with(b"upper"))?;
    if made && mode & 0o7000 != 0 {
        // mkdir(2) leaves out all but the sticky bit.
        fs::chmod_at(dir, UPPER, mode)?;
    }
    match fs::mkdir(dir, WORK, 0o700) {
        Err(Errno::EEXIST) if fs::kind(&fs::stat_at(dir, WORK)?) == libc::S_IFDIR => {}
        result => result.map_err(|errno| Trouble::from(errno).with(WORK.to_bytes()))?,
    }
    Ok(upper)
}

fn has_nothing_else(dir: BorrowedFd<'_>) -> Done {
    let list = fs::open(dir, c".", libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    dir::each(list.as_fd(), &mut |name| {
        if OURS.contains(&name) {
            return Ok(());
        }
        Err(Trouble::from(Errno::ENOTEMPTY).with(IS_USED.as_bytes()))
    })
}

/// Tries to make an overlay until no other one writes to a layer of it. That of a container that has just ended may live a
/// moment longer: the kernel closes what was in a ring of io_uring(7), or on its way through a socket, when it comes to it.
fn when_free<T>(mut make: impl FnMut() -> Result<T, Trouble>) -> Result<T, Trouble> {
    let mut pause = Duration::from_millis(1);
    loop {
        match make() {
            Err(trouble) if trouble.errno == Errno::EBUSY && pause < PATIENCE => {
                poll::pause(pause)?;
                pause *= 2;
            }
            Err(trouble) if trouble.errno == Errno::EBUSY => return Err(trouble.with(IN_USE)),
            made => return made,
        }
    }
}

/// Asks the kernel whether somebody writes to what is to be a layer, by an overlay that has them all below. It is made, and is
/// gone, without a trace: its own upper layer is in our tmpfs. What else is wrong with the layers is told when the overlay
/// itself is made.
fn ask_who_writes(layers: &CStr) -> Done {
    let params =
        [(c"lowerdir", layers), (c"upperdir", ASKED_UPPER_FROM_UPPER), (c"workdir", ASKED_WORK_FROM_UPPER), INDEX];
    match mount::fs_try(c"overlay", &params) {
        Err(errno @ Errno::EBUSY) => Err(errno.into()),
        _ => Ok(()),
    }
}

/// The overlay, nowhere yet; made from inside of its upper layer.
fn overlay(op: &OverlayOp, attr: u64, index: Option<Param>) -> Result<OwnedFd, Trouble> {
    let context = mount::fs_open(c"overlay")?;
    let fs = context.as_fd();
    let told = |errno| explain(errno, fs);
    mount::fs_set(fs, c"source", Some(c"overlay"))?;
    // Linux 5.11.
    if op.userxattr {
        mount::fs_set(fs, c"userxattr", None).map_err(told)?;
    }
    let layers = [(c"lowerdir", &*op.layers), (c"upperdir", c"."), (c"workdir", WORK_FROM_UPPER)];
    for (key, value) in layers.into_iter().chain(index) {
        mount::fs_set(fs, key, Some(value)).map_err(told)?;
    }
    let overlay = mount::fs_make(fs, attr).map_err(|errno| match errno {
        Errno::EBUSY => errno.into(),
        Errno::ELOOP => Trouble::from(errno).with(b"one layer is in another"),
        errno => told(errno),
    })?;
    // Where the kernel cannot use the work directory it only says so in its log, and nothing could be written.
    if op.upper.is_some() && fs::mount_flags(overlay.as_fd())? & libc::ST_RDONLY != 0 {
        return Err(Trouble::from(Errno::EROFS).with(b".brisk-work cannot be used: remove it, nothing in it is needed"));
    }
    Ok(overlay)
}
