//! An overlay over the root. Its layers are attached below a tmpfs that lies over the root, and the overlay over that.
//!
//! Not trusted: a directory that stays, which an earlier container has written below. What the overlay is made of is looked
//! up from inside of its upper layer: a link that leads out of the directory is on another mount than the upper layer is, and
//! the kernel takes no work directory there.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::mounts::explain;
use super::state::{Child, Done, Trouble};
use crate::plan::op::OverlayOp;
use crate::plan::rootfs::overlay::MAX_LOWER;
use crate::sys::{fs, mount, process};

/// Of the layers below: the root is the first.
const LAYERS: [&CStr; MAX_LOWER + 1] = [c"0", c"1", c"2", c"3", c"4", c"5", c"6", c"7", c"8"];
/// Where a directory that stays is attached.
const KEPT: &CStr = c"kept";
const UPPER: &CStr = c"upper";
/// overlayfs empties what is in it: nobody has anything else of this name.
const WORK: &CStr = c".brisk-work";

impl Child<'_> {
    pub(super) fn overlay(&mut self, op: &OverlayOp) -> Done {
        if self.away.is_none() {
            // Hooks come back to it. Where a user namespace may not enter it, they find themselves at the top.
            let open = |path| fs::open(fs::CWD, path, libc::O_PATH | libc::O_DIRECTORY, 0);
            self.away = Some(open(c".").or_else(|_| open(c"/"))?);
        }
        let mode = fs::stat(self.root()?)?.st_mode & 0o7777;
        let workshop = workshop(op.size.as_deref())?;
        // The root's own copy, before something lies over it: without what is mounted below, as layers are.
        let first = match &op.mapped_root {
            Some(source) => self.layer(source)?,
            None => mount::clone_tree(self.root()?, c"", 0)?,
        };
        mount::attach(workshop.as_fd(), self.root()?)?;
        put(first, workshop.as_fd(), LAYERS[0])?;
        for (source, name) in op.lower.iter().zip(&LAYERS[1..]) {
            put(self.layer(source)?, workshop.as_fd(), name)?;
        }
        let upper = match &op.upper {
            None => upper(workshop.as_fd(), mode)?,
            Some(source) => {
                let kept = self.layer(source)?;
                check_owner(kept.as_fd())?;
                upper(put(kept, workshop.as_fd(), KEPT)?.as_fd(), mode)?
            }
        };
        fs::fchdir(upper.as_fd())?;
        let overlay = overlay(op)?;
        // Over the tmpfs, which goes with the host's mounts when the root is entered: to unmount it by itself would cost a wait
        // for all CPUs (namespace_unlock() of fs/namespace.c), as long as all the rest.
        mount::attach(overlay.as_fd(), workshop.as_fd())?;
        self.root_is(overlay);
        Ok(())
    }

    fn layer(&self, source: &crate::plan::op::MountSource) -> Result<OwnedFd, Trouble> {
        let tree = self.source(source, libc::AT_SYMLINK_NOFOLLOW as u32)?;
        match fs::kind(&fs::stat(tree.as_fd())?) {
            libc::S_IFDIR => Ok(tree),
            libc::S_IFLNK => Err(Trouble::from(Errno::ELOOP).with(b"a layer is a link")),
            _ => Err(Trouble::from(Errno::ENOTDIR).with(b"a layer")),
        }
    }
}

/// A tmpfs that holds the layers, and what is written where nothing else is said.
fn workshop(size: Option<&CStr>) -> Result<OwnedFd, Trouble> {
    let context = mount::fs_open(c"tmpfs")?;
    mount::fs_set(context.as_fd(), c"source", Some(c"overlay"))?;
    if let Some(size) = size {
        mount::fs_set(context.as_fd(), c"size", Some(size))?;
    }
    mount::fs_create(context.as_fd())?;
    Ok(mount::fs_mount(context.as_fd(), 0)?)
}

/// Attaches a layer under a name.
fn put(tree: OwnedFd, workshop: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Trouble> {
    fs::mkdir(workshop, name, 0o755)?;
    mount::attach_at(tree.as_fd(), workshop, name)?;
    Ok(tree)
}

/// Who may write to the directory could change the layer under the kernel, and put links in the place of what is in it.
fn check_owner(kept: BorrowedFd<'_>) -> Done {
    let stat = fs::stat(kept)?;
    if stat.st_uid == process::geteuid() && stat.st_mode & 0o022 == 0 {
        return Ok(());
    }
    Err(Trouble::from(Errno::EPERM)
        .with(b"the directory must belong to the container's root, and others not write to it"))
}

/// The upper layer and the work directory, made where they are missing. A new one looks like the root that it lies over.
fn upper(dir: BorrowedFd<'_>, mode: u32) -> Result<OwnedFd, Trouble> {
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

/// The overlay, nowhere yet; made from inside of its upper layer.
fn overlay(op: &OverlayOp) -> Result<OwnedFd, Trouble> {
    let context = mount::fs_open(c"overlay")?;
    let fs = context.as_fd();
    let told = |errno| explain(errno, fs);
    mount::fs_set(fs, c"source", Some(c"overlay"))?;
    // Linux 5.11.
    if op.userxattr {
        mount::fs_set(fs, c"userxattr", None).map_err(told)?;
    }
    for (key, value) in [(c"lowerdir", &*op.layers), (c"upperdir", c"."), (c"workdir", c"../.brisk-work")] {
        mount::fs_set(fs, key, Some(value)).map_err(told)?;
    }
    mount::fs_create(fs).map_err(told)?;
    mount::fs_mount(fs, 0).map_err(told)
}
