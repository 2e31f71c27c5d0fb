//! The root itself: taking it, restricting it, entering it; and the writes that go through proc.
//!
//! Not trusted: what lies in the root: whether masked and read-only paths are there, and what its /dev/null is.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::state::{Child, Done, Trouble, empty_directory, mounted_procfs, private_procfs};
use crate::plan::op::{Enter, Label, MayLead, ParentMount};
use crate::plan::rootfs::mount_op::{KeptIndex, MountSource};
use crate::plan::rootfs::options::Propagation;
use crate::sys::mount::RECURSIVE;
use crate::sys::mount_attr::{self, MountAttr};
use crate::sys::path::{Missing, resolve, resolve_last, resolve_or_make};
use crate::sys::{descriptor, fs, mount, process};

const PRIVATE: MountAttr = MountAttr { set: 0, clear: 0, propagation: libc::MS_PRIVATE, userns_fd: 0 };
const READONLY: MountAttr = MountAttr { set: mount_attr::RDONLY, clear: 0, propagation: 0, userns_fd: 0 };

impl Child<'_> {
    pub(super) fn root_here(&mut self, path: &CStr) -> Done {
        self.root = Some(fs::open(fs::CWD, path, libc::O_PATH | libc::O_DIRECTORY, 0)?);
        Ok(())
    }

    pub(super) fn open_dir(&mut self, path: &CStr) -> Done {
        self.dir = Some(resolve_or_make(self.root()?, path, Missing::Directory, 0o755, libc::O_DIRECTORY)?);
        Ok(())
    }

    pub(super) fn open_procfs(&mut self) -> Done {
        self.procfs = Some(private_procfs()?);
        Ok(())
    }

    /// Where the path leads to, by way of links as when it was added, and only if it is one of those: the container may have put
    /// something else on top, or a link in the way to where another mount of the same name hides something from it.
    pub(super) fn unmount(&self, path: &CStr, added: &[u64]) -> Done {
        let top = resolve(self.root()?, path, 0)?;
        let ours = |mount: BorrowedFd<'_>| Ok::<_, Errno>(added.contains(&fs::mount_number(mount)?));
        if !ours(top.as_fd())? {
            return Err(Trouble::from(Errno::EINVAL).with(b"no mount that was added is there"));
        }
        if fs::kind(&fs::stat(top.as_fd())?) == libc::S_IFDIR {
            // umount2(2) takes a path, and this is one that nobody can change.
            fs::fchdir(top.as_fd())?;
            return Ok(mount::umount(c".", libc::MNT_DETACH)?);
        }
        // A file: by its name in the directory, so that nothing but the last name is looked up again: only who may mount anyway
        // could have changed what is mounted there.
        let mut buffer = [0; libc::PATH_MAX as usize];
        let (dir, name) = resolve_last(self.root()?, path, &mut buffer)?;
        let again = fs::open(dir.as_fd(), name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
        if !ours(again.as_fd())? {
            return Err(Trouble::from(Errno::EINVAL).with(b"no mount that was added is there"));
        }
        fs::fchdir(dir.as_fd())?;
        Ok(mount::umount(name, libc::MNT_DETACH | libc::UMOUNT_NOFOLLOW)?)
    }

    /// By the descriptor that it was attached with: its path may lead elsewhere by now.
    pub(super) fn set_attr(&self, kept: KeptIndex, attr: &MountAttr) -> Done {
        let mounted = self.inherited.kept_mounts.get(kept.0).and_then(Option::as_ref).ok_or(Errno::EBADF)?;
        Ok(mount::set_attr(mounted.as_fd(), 0, attr)?)
    }

    pub(super) fn readonly_root(&self) -> Done {
        Ok(mount::set_attr(self.root()?, 0, &READONLY)?)
    }

    pub(super) fn root_propagation(&self, Propagation { flag, reach }: Propagation) -> Done {
        let attr = MountAttr { propagation: flag, ..MountAttr::default() };
        Ok(mount::set_attr(self.root()?, reach.flag(), &attr)?)
    }

    pub(super) fn take_root(&mut self, source: &MountSource, path: &CStr, parent: ParentMount) -> Done {
        let (root, stat) = match source {
            // The parent has attached it already.
            MountSource::Late(_) | MountSource::Asked | MountSource::NamespaceFs(_) => {
                self.root_is(self.tree(source)?);
                return Ok(());
            }
            MountSource::Path(_) => attach_root(path, None, parent)?,
            MountSource::Tree(_) => attach_root(path, Some(self.tree(source)?), parent)?,
        };
        self.root = Some(root);
        self.root_file = Some((stat.st_dev, stat.st_ino));
        Ok(())
    }

    pub(super) fn mask(&mut self, path: &CStr, within: Option<KeptIndex>, label: Option<&CStr>) -> Done {
        let by_name = match self.within(within, path) {
            Some((proc, name)) => match fs::stat_at(proc, name) {
                Err(Errno::ENOENT) => return Ok(()),
                found => Some(fs::kind(&found?)).filter(|kind| *kind != libc::S_IFLNK),
            },
            None => None,
        };
        let (kind, cover) = match by_name {
            Some(kind) => {
                let cover = self.cover(kind, label)?;
                let (proc, name) = self.within(within, path).ok_or(Errno::EBADF)?;
                mount::attach_at(cover.as_fd(), proc, name)?;
                (kind, cover)
            }
            None => {
                let Some(place) = existing(self.root()?, path)? else { return Ok(()) };
                let stat = fs::stat(place.as_fd())?;
                if self.is_root(place.as_fd(), &stat)? {
                    return Err(Trouble::from(Errno::EINVAL).with(b"it leads to the root itself"));
                }
                let kind = fs::kind(&stat);
                let cover = self.cover(kind, label)?;
                mount::attach(cover.as_fd(), place.as_fd())?;
                self.spent.add(place);
                (kind, cover)
            }
        };
        if kind == libc::S_IFDIR && self.empty_dir.is_none() {
            self.empty_dir = Some(cover);
        } else {
            self.spent.add(cover);
        }
        Ok(())
    }

    /// What hides a thing of this kind. The first empty directory is attached itself: before Linux 6.15 a mount that is in no
    /// namespace cannot be cloned (EINVAL).
    fn cover(&mut self, kind: u32, label: Option<&CStr>) -> Result<OwnedFd, Trouble> {
        let model = if kind == libc::S_IFDIR {
            let Some(empty) = &self.empty_dir else { return empty_directory(label) };
            empty
        } else {
            if self.null.is_none() {
                self.null = Some(verified_null(self.root()?, libc::O_PATH)?);
            }
            self.null.as_ref().ok_or(Errno::EBADF)?
        };
        Ok(mount::clone_tree(model.as_fd(), c"", 0)?)
    }

    pub(super) fn readonly_path(&mut self, path: &CStr, may_lead: MayLead, within: Option<KeptIndex>) -> Done {
        if let Some((proc, name)) = self.within(within, path) {
            let at_once = if self.clones_with_attributes {
                mount::clone_tree_with(proc, name, RECURSIVE, &READONLY)
            } else {
                Err(Errno::ENOSYS)
            };
            let copy = match at_once {
                Err(Errno::ENOENT) => return Ok(()),
                Ok(copy) => copy,
                Err(_) => {
                    let copy = match mount::clone_tree(proc, name, RECURSIVE) {
                        Err(Errno::ENOENT) => return Ok(()),
                        copy => copy?,
                    };
                    mount::set_attr(copy.as_fd(), RECURSIVE, &READONLY)?;
                    copy
                }
            };
            // Onto a link of that name it does not go.
            if mount::attach_at(copy.as_fd(), proc, name).is_ok() {
                self.spent.add(copy);
                return Ok(());
            }
        }
        let Some(place) = existing(self.root()?, path)? else { return Ok(()) };
        // A mount on top of the root would not be entered.
        if may_lead == MayLead::Anywhere && self.is_root(place.as_fd(), &fs::stat(place.as_fd())?)? {
            return self.readonly_root();
        }
        let copy = mount::clone_tree(place.as_fd(), c"", RECURSIVE)?;
        mount::set_attr(copy.as_fd(), RECURSIVE, &READONLY)?;
        mount::attach(copy.as_fd(), place.as_fd())?;
        self.spent.add(copy);
        self.spent.add(place);
        Ok(())
    }

    pub(super) fn sysctl(&self, path: &CStr, value: &CStr) -> Done {
        let procfs = self.procfs.as_ref().ok_or(Errno::EBADF)?;
        let fd = fs::open2(procfs.as_fd(), path, libc::O_WRONLY, 0, fs::STRICT)?;
        Ok(fs::write_all(fd.as_fd(), value.to_bytes())?)
    }

    pub(super) fn label(&self, label: &Label) -> Done {
        let procfs = self.procfs.as_ref().ok_or(Errno::EBADF)?;
        write_label(procfs.as_fd(), &label.file, &label.value)
    }

    /// Where the kernel has no keyrings there is nothing to separate. The label is that of every key that is made from now
    /// on; execve(2) takes it back. `create` is still in the caller's mount namespace here, and the proc is the host's.
    pub(super) fn keyring(&mut self, label: Option<&CStr>) -> Done {
        if let Some(label) = label {
            let label = |procfs: BorrowedFd<'_>| write_label(procfs, c"keycreate", label);
            let written = match &self.procfs {
                Some(procfs) => label(procfs.as_fd()),
                None => mounted_procfs().and_then(|procfs| label(procfs.as_fd())),
            };
            written.map_err(|trouble| trouble.with(b"keycreate"))?;
        }
        match process::new_session_keyring() {
            Err(Errno::ENOSYS) => Ok(()),
            result => Ok(result?),
        }
    }

    pub(super) fn enter(&mut self, enter: Enter) -> Done {
        // Of the host's.
        self.started_in = None;
        match enter {
            Enter::Pivot => {
                let old = fs::open(fs::CWD, c"/", libc::O_PATH | libc::O_DIRECTORY, 0)?;
                fs::fchdir(self.root()?)?;
                mount::pivot_here()?;
                fs::fchdir(old.as_fd())?;
                // Unmounting must not reach the host through a shared mount.
                if !self.unshared {
                    let slave = MountAttr { propagation: libc::MS_SLAVE, ..MountAttr::default() };
                    mount::set_attr(old.as_fd(), RECURSIVE, &slave)?;
                }
                mount::umount(c".", libc::MNT_DETACH)?;
            }
            Enter::Move => {
                self.conceal_host()?;
                fs::fchdir(self.root()?)?;
                mount::mount(Some(c"."), c"/", None, libc::MS_MOVE, None)?;
                fs::chroot(c".")?;
            }
            Enter::Chroot => {
                fs::fchdir(self.root()?)?;
                fs::chroot(c".")?;
            }
        }
        Ok(fs::chdir(c"/")?)
    }
}

/// Writes a label of this process, through a proc that is ours or the host's.
fn write_label(procfs: BorrowedFd<'_>, file: &CStr, value: &CStr) -> Done {
    let attr = fs::open(procfs, c"thread-self/attr", libc::O_PATH | libc::O_DIRECTORY, 0)?;
    let fd = fs::open2(attr.as_fd(), file, libc::O_WRONLY, 0, fs::STRICT)?;
    Ok(fs::write_all(fd.as_fd(), value.to_bytes())?)
}

/// Attaches the root's tree, cloned where there is none yet, to its path: over itself, or at the skeleton's place. With
/// what fstat(2) says of it.
pub(crate) fn attach_root(
    path: &CStr,
    tree: Option<OwnedFd>,
    parent: ParentMount,
) -> crate::sys::Result<(OwnedFd, libc::stat)> {
    let place = fs::open(fs::CWD, path, libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW, 0)?;
    // Before the clone, which takes over the propagation.
    if parent == ParentMount::Own {
        make_private(place.as_fd())?;
    }
    let tree = match tree {
        Some(tree) => tree,
        None => mount::clone_tree(place.as_fd(), c"", RECURSIVE)?,
    };
    let stat = fs::stat(tree.as_fd())?;
    match fs::kind(&stat) {
        libc::S_IFDIR => {}
        libc::S_IFLNK => return Err(Errno::ELOOP),
        _ => return Err(Errno::ENOTDIR),
    }
    let place = match parent {
        ParentMount::Others => private_place(place.as_fd(), tree.as_fd())?,
        ParentMount::Own | ParentMount::Slave | ParentMount::Unshared => place,
    };
    mount::attach(tree.as_fd(), place.as_fd())?;
    if parent == ParentMount::Unshared {
        mount::set_attr(tree.as_fd(), 0, &PRIVATE)?;
    }
    Ok((tree, stat))
}

/// An empty mount of its own at `place`, to attach the tree to. What is attached to a shared mount becomes shared, and gets a copy beside
/// each of that mount's peers, which goes with it only while nothing is mounted in it: so it is this that gets copies, and the tree none.
/// A clone of the host's mount would be no better than a tree that is still its peer: the end of one is taken for that of the other.
fn private_place(place: BorrowedFd<'_>, tree: BorrowedFd<'_>) -> crate::sys::Result<OwnedFd> {
    mount::set_attr(tree, RECURSIVE, &PRIVATE)?;
    let base = mount::fs_new(c"tmpfs", &[], mount_attr::RDONLY)?;
    mount::attach(base.as_fd(), place)?;
    mount::set_attr(base.as_fd(), 0, &PRIVATE)?;
    Ok(base)
}

/// Makes the mount that holds `place` private: it may be mounted anywhere above.
fn make_private(place: BorrowedFd<'_>) -> crate::sys::Result<()> {
    let mut at = descriptor::dup(place, 3)?;
    // A path has at most PATH_MAX / 2 components.
    for _ in 0..libc::PATH_MAX / 2 {
        match mount::set_attr(at.as_fd(), 0, &PRIVATE) {
            // Not the root of a mount: try the directory above.
            Err(Errno::EINVAL) => at = fs::open(at.as_fd(), c"..", libc::O_PATH | libc::O_DIRECTORY, 0)?,
            result => return result,
        }
    }
    Err(Errno::EINVAL)
}

/// A path that may be missing; only "there is no such thing" counts as missing.
fn existing(root: BorrowedFd<'_>, path: &CStr) -> Result<Option<OwnedFd>, Trouble> {
    match resolve(root, path, 0) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// The container's /dev/null, opened with these flags, if that is what it is: character device 1:3 (CVE-2025-31133).
pub(super) fn verified_null(root: BorrowedFd<'_>, flags: i32) -> Result<OwnedFd, Trouble> {
    let fd = fs::open2(root, c"dev/null", flags | libc::O_NOFOLLOW, 0, fs::IN_ROOT)?;
    if fs::is_null_device(&fs::stat(fd.as_fd())?) {
        Ok(fd)
    } else {
        Err(Trouble::from(Errno::ENODEV).with(b"/dev/null is not the null device"))
    }
}
