//! Device nodes and links in the open directory.
//!
//! Not trusted: what is at the names of devices and links already.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;

use super::state::{Child, Done};
use crate::plan::op::{LinkRule, NodeRule};
use crate::plan::reach::Reach;
use crate::plan::rootfs::mount_op::MountSource;
use crate::sys::cred::Ids;
use crate::sys::mount_attr::{self, MountAttr};
use crate::sys::{fs, mount, path};

impl Child<'_> {
    /// A node of the right kind that is there already stays, with its mode and owner, as with runc; of anything else `rule` says what
    /// is done. A directory is never replaced.
    pub(super) fn mknod(&self, name: &CStr, (mode, dev): (u32, u64), owner: Ids, rule: NodeRule) -> Done {
        let dir = self.dir()?;
        match fs::mknod(dir, name, mode, dev) {
            Err(Errno::EEXIST) => {
                let found = fs::stat_at(dir, name)?;
                if fs::kind(&found) == mode & libc::S_IFMT && (dev == 0 || found.st_rdev == dev) {
                    return Ok(());
                }
                if let NodeRule::Refuse(_) = rule {
                    return Err(Errno::EEXIST.into());
                }
                fs::unlink(dir, name, 0)?;
                fs::mknod(dir, name, mode, dev)?;
            }
            result => result?,
        }
        if owner != (Ids { uid: 0, gid: 0 }) {
            fs::chown(dir, name, owner.uid, owner.gid)?;
        }
        Ok(())
    }

    pub(super) fn bind_device(&self, name: &CStr, source: &MountSource) -> Done {
        let dir = self.dir()?;
        let node = self.source(source, Reach::One.flag())?;
        // As crun: a node has nothing else to be good for.
        let attr = MountAttr { set: mount_attr::NOSUID | mount_attr::NOEXEC, ..MountAttr::default() };
        mount::set_attr(node.as_fd(), 0, &attr)?;
        let place = empty_file(dir, name)?;
        Ok(mount::attach(node.as_fd(), place.as_fd())?)
    }

    pub(super) fn symlink(&self, name: &CStr, target: &CStr, rule: LinkRule) -> Done {
        let dir = self.dir()?;
        if rule == LinkRule::IfTargetExists {
            let below = CStr::from_bytes_with_nul(target.to_bytes_with_nul().strip_prefix(b"/").unwrap_or(b"\0"));
            match path::resolve(self.root()?, below.unwrap_or(c"."), libc::O_NOFOLLOW) {
                Err(Errno::ENOENT) => return Ok(()),
                result => drop(result?),
            }
        }
        match fs::symlink(target, dir, name) {
            Err(Errno::EEXIST) if rule == LinkRule::Replace => {
                fs::unlink(dir, name, 0)?;
                Ok(fs::symlink(target, dir, name)?)
            }
            Err(Errno::EEXIST) => Ok(()),
            result => Ok(result?),
        }
    }
}

/// A place to bind a file over: what is there already, unless it is a link, which is replaced (CVE-2026-88264).
pub(super) fn empty_file(dir: BorrowedFd<'_>, name: &CStr) -> Result<std::os::fd::OwnedFd, super::state::Trouble> {
    let create = libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_WRONLY;
    match fs::open(dir, name, create, 0o644) {
        Ok(_) => {}
        Err(Errno::EEXIST) => {
            if fs::kind(&fs::stat_at(dir, name)?) == libc::S_IFLNK {
                fs::unlink(dir, name, 0)?;
                fs::open(dir, name, create, 0o644)?;
            }
        }
        Err(errno) => return Err(errno.into()),
    }
    Ok(fs::open(dir, name, libc::O_PATH | libc::O_NOFOLLOW, 0)?)
}
