//! What of the host a container in a user namespace gets: taken in the child's mount namespace with our rights.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;

use super::idmap;
use crate::child;
use crate::error::{Context, Error, Result, Stage};
use crate::plan::rootfs::mount_op::HostTree;
use crate::plan::step::HostObject;
use crate::sys::cred::Ids;
use crate::sys::fs;
use crate::sys::mount;
use crate::sys::namespace::MountView;

/// Takes the objects in the mount namespace of the process behind `child`, in their order, and hands each to `send`: no
/// more than two are held, so that a limit of 32 descriptors is enough for a container.
pub(super) fn take(
    child: &OwnedFd,
    objects: &[HostObject],
    idmaps: &[OwnedFd],
    send: impl Fn(OwnedFd) -> Result<()>,
) -> Result<()> {
    let view = MountView::current().at(Stage::Namespace, || "open our own root")?;
    view.enter(child.as_fd()).at(Stage::Namespace, || "enter the child's mount namespace")?;
    let mut devices = DeviceTmpfs::default();
    // The child goes on when it has the last of them: that is sent when nothing is left of the visit.
    let mut last = None;
    let taken = objects.iter().try_for_each(|object| {
        let before = last.replace(take_one(object, idmaps, &mut devices)?);
        before.map_or(Ok(()), &send)
    });
    let cleared = devices.clear();
    view.restore().at(Stage::Namespace, || "return to the runtime's mount namespace")?;
    cleared?;
    taken?;
    last.map_or(Ok(()), &send)
}

fn take_one(object: &HostObject, idmaps: &[OwnedFd], devices: &mut DeviceTmpfs) -> Result<OwnedFd> {
    match object {
        HostObject::Root(path, parent) => child::attach_root(path, None, *parent)
            .map(|(root, _)| root)
            .at(Stage::Rootfs, || format!("take the root {}", path.to_string_lossy())),
        HostObject::Tree(HostTree { path, reach, end, idmap }) => {
            let what = || format!("take {} for the container", path.to_string_lossy());
            let tree = mount::clone_tree(fs::CWD, path, reach.flag() | end.flag()).at(Stage::Rootfs, what)?;
            idmap::apply(&tree, path, *idmap, idmaps)?;
            Ok(tree)
        }
        HostObject::Device { mode, dev, owner, label } => {
            devices.node(*mode, *dev, *owner, label.as_deref()).at(Stage::Rootfs, || "make a device for the container")
        }
    }
}

/// A tmpfs of our own, where nodes are made: one of the container's own would not let devices be opened. It lies over the
/// root of the child's mount namespace, where nobody comes by a path, for as long as the visit lasts: before Linux 6.15
/// what is in no mount namespace cannot be cloned.
///
/// A node keeps its name: what has none any more cannot be attached (ENOENT).
#[derive(Default)]
struct DeviceTmpfs {
    dir: Option<OwnedFd>,
    nodes: usize,
}

impl DeviceTmpfs {
    /// All nodes of a container have the same label.
    fn node(
        &mut self,
        mode: u32,
        dev: u64,
        Ids { uid, gid }: Ids,
        label: Option<&CStr>,
    ) -> std::result::Result<OwnedFd, Errno> {
        self.nodes += 1;
        let name = CString::new(self.nodes.to_string()).map_err(|_| Errno::EINVAL)?;
        if self.dir.is_none() {
            let context = label.map(|label| (c"context", label));
            let made = mount::fs_new(c"tmpfs", context.as_slice(), 0)?;
            let root = fs::open(fs::CWD, c"/", libc::O_PATH | libc::O_DIRECTORY, 0)?;
            mount::attach(made.as_fd(), root.as_fd())?;
            self.dir = Some(made);
        }
        let dir = self.dir.as_ref().ok_or(Errno::EBADF)?.as_fd();
        fs::mknod(dir, &name, mode, dev)?;
        // In this order: a change of owner may clear bits of the mode; and the umask is the caller's.
        fs::chown(dir, &name, uid, gid)?;
        fs::chmod_at(dir, &name, mode & 0o7777)?;
        mount::clone_tree(dir, &name, 0)
    }

    fn clear(&self) -> Result<()> {
        let Some(dir) = &self.dir else { return Ok(()) };
        let cleared = fs::fchdir(dir.as_fd()).and_then(|()| mount::umount(c".", libc::MNT_DETACH));
        cleared.map_err(|errno| Error::errno(Stage::Rootfs, "take away the place where devices are made", errno))
    }
}
