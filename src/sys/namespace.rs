//! Namespace files: what they are (ioctl_ns(2)), and the way into another mount namespace and back.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::{Result, cvt, fs, process, raw};

/// NS_GET_NSTYPE: the `CLONE_NEW*` flag of the namespace.
pub fn kind(fd: BorrowedFd<'_>) -> Result<u64> {
    const NS_GET_NSTYPE: libc::c_ulong = 0xb703;
    // SAFETY: the request takes no argument.
    cvt(unsafe { raw!(SYS_ioctl, fd.as_raw_fd(), NS_GET_NSTYPE) }).map(|kind| kind as u64)
}

/// NS_GET_USERNS: whether this process's mount namespace belongs to its user namespace or one below. EPERM says that it
/// belongs to one above.
pub fn mounts_are_ours() -> bool {
    const NS_GET_USERNS: libc::c_ulong = 0xb701;
    let Ok(mounts) = fs::open(fs::CWD, c"/proc/self/ns/mnt", libc::O_RDONLY, 0) else { return false };
    // SAFETY: the request takes no argument.
    cvt(unsafe { raw!(SYS_ioctl, mounts.as_raw_fd(), NS_GET_USERNS) }).map(fs::own).is_ok()
}

/// From where a process sees the mounts. To enter a mount namespace (setns(2)) changes all three: its root becomes ours,
/// which need not be the one we had.
#[derive(Debug)]
pub struct MountView {
    namespace: OwnedFd,
    root: OwnedFd,
    cwd: OwnedFd,
}

impl MountView {
    /// What this process sees.
    pub fn current() -> Result<MountView> {
        let directory = |path: &CStr| fs::open(fs::CWD, path, libc::O_PATH | libc::O_DIRECTORY, 0);
        let namespace = fs::open(fs::CWD, c"/proc/self/ns/mnt", libc::O_RDONLY, 0)?;
        Ok(MountView { namespace, root: directory(c"/")?, cwd: directory(c".")? })
    }

    /// Goes into the mount namespace behind a file or a pidfd.
    pub fn enter(&self, namespace: BorrowedFd<'_>) -> Result<()> {
        process::setns(namespace, libc::CLONE_NEWNS)
    }

    /// Goes into a copy of this mount namespace.
    pub fn enter_copy(&self) -> Result<()> {
        process::unshare(libc::CLONE_NEWNS)
    }

    /// Takes it back. Once more if it fails: from elsewhere neither cgroups nor state can be cleaned up.
    pub fn restore(&self) -> Result<()> {
        self.take_back().or_else(|_| self.take_back())
    }

    fn take_back(&self) -> Result<()> {
        process::setns(self.namespace.as_fd(), libc::CLONE_NEWNS)?;
        fs::fchdir(self.root.as_fd())?;
        fs::chroot(c".")?;
        fs::fchdir(self.cwd.as_fd())
    }
}
