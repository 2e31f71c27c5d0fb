//! How much is in the upper layer of a container's overlay, which outlives the container while somebody holds it.
//!
//! Not trusted: a directory that the container has written to, and that may have any depth and any number of files.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;

use crate::plan::Plan;
use crate::plan::op::SetupOp;
use crate::sys::{dir, fs};

/// With more files than this nobody counts to the end: a tenth of a second, on the machine of docs/PERFORMANCE.
const MOST: u64 = 100_000;
/// Directories within directories that are open at one time.
const DEEPEST: usize = 200;

/// The upper layer of an overlay.
#[derive(Debug)]
pub struct UpperLayer {
    pub(super) fd: OwnedFd,
    pub(super) place: UpperPlace,
}

/// What it is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UpperPlace {
    /// A tmpfs with nothing else in it: the kernel counts.
    Tmpfs,
    /// A directory among others: we do.
    Directory,
}

/// What a plan has in it.
pub(super) fn place(plan: &Plan) -> Option<UpperPlace> {
    plan.setup.iter().find_map(|op| {
        let SetupOp::Overlay(op) = op else { return None };
        Some(if op.upper.is_some() { UpperPlace::Directory } else { UpperPlace::Tmpfs })
    })
}

/// What an overlay takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OverlayUse {
    /// Bytes, in whole blocks.
    pub bytes: u64,
    /// Files, directories and all else that has an inode.
    pub inodes: u64,
}

impl UpperLayer {
    /// What it takes now; `None` where nobody may look into all of it, or it is too much to be counted.
    pub fn size(&self) -> Option<OverlayUse> {
        match self.place {
            UpperPlace::Tmpfs => fs::in_use(self.fd.as_fd()).ok().map(|(bytes, inodes)| OverlayUse { bytes, inodes }),
            UpperPlace::Directory => count(&self.fd).ok(),
        }
    }
}

/// Counts what is below a directory, on its file system and through no link.
fn count(top: &OwnedFd) -> Result<OverlayUse, Errno> {
    let mut used = OverlayUse::default();
    let mut links: std::collections::BTreeSet<u64> = std::collections::BTreeSet::new();
    let own = fs::stat(top.as_fd())?;
    let mut add = |stat: &libc::stat| {
        // A file with several names is one.
        if fs::kind(stat) == libc::S_IFDIR || stat.st_nlink < 2 || links.insert(stat.st_ino) {
            used.inodes += 1;
            used.bytes += stat.st_blocks.unsigned_abs() * 512;
        }
        if used.inodes > MOST { Err(Errno::EOVERFLOW) } else { Ok(()) }
    };
    add(&own)?;
    let open = |dir: &OwnedFd, name: &CStr| {
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_NOATIME;
        match fs::open(dir.as_fd(), name, flags, 0) {
            // Of another user.
            Err(Errno::EPERM) => fs::open(dir.as_fd(), name, flags & !libc::O_NOATIME, 0),
            opened => opened,
        }
    };
    let mut stack = vec![(open(top, c".")?, Vec::<CString>::new())];
    list(&mut stack, &mut add)?;
    while let Some((dir, left)) = stack.last_mut() {
        let Some(name) = left.pop() else {
            stack.pop();
            continue;
        };
        let below = open(dir, &name)?;
        if fs::stat(below.as_fd())?.st_dev != own.st_dev {
            continue;
        }
        if stack.len() == DEEPEST {
            return Err(Errno::ELOOP);
        }
        stack.push((below, Vec::new()));
        list(&mut stack, &mut add)?;
    }
    Ok(used)
}

/// Adds what is in the directory at the top, and notes the directories in it.
fn list(
    stack: &mut [(OwnedFd, Vec<CString>)],
    add: &mut impl FnMut(&libc::stat) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let Some((dir, below)) = stack.last_mut() else { return Ok(()) };
    dir::each(dir.as_fd(), &mut |name| {
        let stat = fs::stat_at(dir.as_fd(), name)?;
        add(&stat)?;
        if fs::kind(&stat) == libc::S_IFDIR {
            below.push(name.to_owned());
        }
        Ok(())
    })
}
