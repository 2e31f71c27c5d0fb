//! The root itself: taking it, restricting it, entering it; and the writes that go through proc.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::{Child, Done, Trouble, private_procfs};
use crate::plan::op::{Enter, Label, MountSource, Reach};
use crate::sys::mount::RECURSIVE;
use crate::sys::mount_attr::{self, MountAttr};
use crate::sys::path::{Missing, resolve, resolve_or_make};
use crate::sys::{fs, mount};

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

    pub(super) fn unmount(&self, dir: &CStr, name: &CStr) -> Done {
        let dir = resolve(self.root()?, dir, libc::O_DIRECTORY)?;
        // From inside the directory, so that nothing but the last name is looked up again.
        fs::fchdir(dir.as_fd())?;
        Ok(mount::umount(name, libc::MNT_DETACH | libc::UMOUNT_NOFOLLOW)?)
    }

    pub(super) fn set_attr(&self, path: &CStr, attr: &MountAttr) -> Done {
        let fd = resolve(self.root()?, path, 0)?;
        Ok(mount::set_attr(fd.as_fd(), 0, attr)?)
    }

    pub(super) fn readonly_root(&self) -> Done {
        let attr = MountAttr { set: mount_attr::RDONLY, ..MountAttr::default() };
        Ok(mount::set_attr(self.root()?, 0, &attr)?)
    }

    pub(super) fn root_propagation(&self, flag: u64, reach: Reach) -> Done {
        let attr = MountAttr { propagation: flag, ..MountAttr::default() };
        Ok(mount::set_attr(self.root()?, depth(reach), &attr)?)
    }

    pub(super) fn take_root(&mut self, source: &MountSource, path: &CStr) -> Done {
        let place = fs::open(fs::CWD, path, libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW, 0)?;
        // pivot_root(2) wants neither the root nor its parent to be shared, and what is attached below a shared
        // mount would appear on the host as well. Before the clone, which takes over the propagation.
        make_private(place.as_fd())?;
        let tree = match source {
            MountSource::Path(_) => mount::clone_tree(place.as_fd(), c"", RECURSIVE)?,
            cloned => self.tree(cloned)?,
        };
        match fs::kind(&fs::stat(tree.as_fd())?) {
            libc::S_IFDIR => {}
            libc::S_IFLNK => return Err(Errno::ELOOP.into()),
            _ => return Err(Errno::ENOTDIR.into()),
        }
        mount::attach(tree.as_fd(), place.as_fd())?;
        self.root = Some(tree);
        Ok(())
    }

    pub(super) fn mask(&mut self, path: &CStr) -> Done {
        let Some(place) = existing(self.root()?, path)? else { return Ok(()) };
        let cover = if fs::kind(&fs::stat(place.as_fd())?) == libc::S_IFDIR {
            if self.empty_dir.is_none() {
                // The first one is attached itself: before Linux 6.15 a mount that is in no namespace cannot be
                // cloned (EINVAL).
                let empty = empty_directory()?;
                mount::attach(empty.as_fd(), place.as_fd())?;
                self.empty_dir = Some(empty);
                return Ok(());
            }
            &self.empty_dir
        } else {
            if self.null.is_none() {
                self.null = Some(verified_null(self.root()?)?);
            }
            &self.null
        };
        let cover = cover.as_ref().ok_or(Errno::EBADF)?;
        let copy = mount::clone_tree(cover.as_fd(), c"", 0)?;
        Ok(mount::attach(copy.as_fd(), place.as_fd())?)
    }

    pub(super) fn readonly_path(&self, path: &CStr) -> Done {
        let Some(place) = existing(self.root()?, path)? else { return Ok(()) };
        let copy = mount::clone_tree(place.as_fd(), c"", RECURSIVE)?;
        let attr = MountAttr { set: mount_attr::RDONLY, ..MountAttr::default() };
        mount::set_attr(copy.as_fd(), RECURSIVE, &attr)?;
        Ok(mount::attach(copy.as_fd(), place.as_fd())?)
    }

    pub(super) fn sysctl(&self, path: &CStr, value: &CStr) -> Done {
        let procfs = self.procfs.as_ref().ok_or(Errno::EBADF)?;
        let fd = fs::open2(procfs.as_fd(), path, libc::O_WRONLY, 0, fs::STRICT)?;
        Ok(fs::write_all(fd.as_fd(), value.to_bytes())?)
    }

    pub(super) fn label(&self, label: &Label) -> Done {
        let procfs = self.procfs.as_ref().ok_or(Errno::EBADF)?;
        let attr = fs::open(procfs.as_fd(), c"thread-self/attr", libc::O_PATH | libc::O_DIRECTORY, 0)?;
        let fd = fs::open2(attr.as_fd(), &label.file, libc::O_WRONLY, 0, fs::STRICT)?;
        Ok(fs::write_all(fd.as_fd(), label.value.to_bytes())?)
    }

    pub(super) fn enter(&mut self, enter: Enter) -> Done {
        let root = self.root()?;
        match enter {
            Enter::Pivot => {
                let old = fs::open(fs::CWD, c"/", libc::O_PATH | libc::O_DIRECTORY, 0)?;
                fs::fchdir(root)?;
                mount::pivot_here()?;
                fs::fchdir(old.as_fd())?;
                // Unmounting must not reach the host through a shared mount.
                let slave = MountAttr { propagation: libc::MS_SLAVE, ..MountAttr::default() };
                mount::set_attr(old.as_fd(), RECURSIVE, &slave)?;
                mount::umount(c".", libc::MNT_DETACH)?;
            }
            Enter::Move => {
                fs::fchdir(root)?;
                mount::mount(Some(c"."), c"/", None, libc::MS_MOVE, None)?;
                fs::chroot(c".")?;
            }
            Enter::Chroot => {
                fs::fchdir(root)?;
                fs::chroot(c".")?;
            }
        }
        Ok(fs::chdir(c"/")?)
    }
}

/// The flag for a whole tree.
pub(super) fn depth(reach: Reach) -> u32 {
    match reach {
        Reach::One => 0,
        Reach::Tree => RECURSIVE,
    }
}

/// Makes the mount that holds `place` private: it may be mounted anywhere above.
fn make_private(place: BorrowedFd<'_>) -> Done {
    let private = MountAttr { propagation: libc::MS_PRIVATE, ..MountAttr::default() };
    let mut at = fs::dup(place, 3)?;
    // A path has at most PATH_MAX / 2 components.
    for _ in 0..libc::PATH_MAX / 2 {
        match mount::set_attr(at.as_fd(), 0, &private) {
            // Not the root of a mount: try the directory above.
            Err(Errno::EINVAL) => at = fs::open(at.as_fd(), c"..", libc::O_PATH | libc::O_DIRECTORY, 0)?,
            result => return Ok(result?),
        }
    }
    Err(Errno::EINVAL.into())
}

/// A path that may be missing; only "there is no such thing" counts as missing.
fn existing(root: BorrowedFd<'_>, path: &CStr) -> Result<Option<OwnedFd>, Trouble> {
    match resolve(root, path, 0) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// One empty read-only tmpfs, cloned for every masked directory.
fn empty_directory() -> Result<OwnedFd, Trouble> {
    let context = mount::fs_open(c"tmpfs")?;
    mount::fs_set(context.as_fd(), c"source", Some(c"tmpfs"))?;
    mount::fs_set(context.as_fd(), c"mode", Some(c"0755"))?;
    mount::fs_set(context.as_fd(), c"nr_inodes", Some(c"1"))?;
    mount::fs_set(context.as_fd(), c"nr_blocks", Some(c"1"))?;
    mount::fs_create(context.as_fd())?;
    Ok(mount::fs_mount(context.as_fd(), mount_attr::RDONLY)?)
}

/// The container's /dev/null, if that is what it is: character device 1:3 (CVE-2025-31133).
fn verified_null(root: BorrowedFd<'_>) -> Result<OwnedFd, Trouble> {
    let fd = resolve(root, c"dev/null", libc::O_NOFOLLOW)?;
    let stat = fs::stat(fd.as_fd())?;
    if fs::kind(&stat) == libc::S_IFCHR && stat.st_rdev == libc::makedev(1, 3) {
        Ok(fd)
    } else {
        Err(Trouble::from(Errno::ENODEV).with(b"/dev/null is not the null device"))
    }
}
