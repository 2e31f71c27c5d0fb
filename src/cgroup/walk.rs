//! Every cgroup below one. Their names are the container's: bytes that need be no text, paths longer than the kernel takes,
//! more levels than this process has descriptors or room on its stack.
//!
//! So a directory is only ever named by its parent's descriptor, one descriptor is held whatever the depth, and the way back
//! is `..`: no cgroup file system lets a directory move to another parent.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::file::open_dir_at;
use crate::sys::{self, dir, fs};

/// What is done on the way. A cgroup that has gone meanwhile is passed over.
pub(super) trait Visitor {
    /// At each cgroup, the first one too, before those below it.
    fn enter(&mut self, _cgroup: BorrowedFd<'_>) -> sys::Result<()> {
        Ok(())
    }

    /// At each but the first, after those below it: its parent and its name there.
    fn leave(&mut self, _parent: BorrowedFd<'_>, _name: &CStr) -> sys::Result<()> {
        Ok(())
    }
}

/// Walks over `top` and everything below it.
pub(super) fn walk(top: BorrowedFd<'_>, visitor: &mut impl Visitor) -> sys::Result<()> {
    // Another descriptor than the caller's, whose position belongs to all of its users.
    let mut at = open_dir_at(top, ".")?;
    visitor.enter(at.as_fd()).or_else(passed_over)?;
    // The names that are left at each level; the last of each is the one that was entered.
    let mut levels = vec![children(at.as_fd()).or_else(passed_over)?];
    while let Some(names) = levels.last() {
        if let Some(name) = names.last() {
            match fs::open(at.as_fd(), name, libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW, 0) {
                Ok(below) => {
                    visitor.enter(below.as_fd()).or_else(passed_over)?;
                    levels.push(children(below.as_fd()).or_else(passed_over)?);
                    at = below;
                    continue;
                }
                Err(errno) => passed_over(errno)?,
            }
        } else {
            levels.pop();
            let Some(level) = levels.len().checked_sub(1) else { break };
            at = if level == 0 { open_dir_at(top, ".")? } else { open_dir_at(at.as_fd(), "..")? };
            if let Some(name) = levels[level].last() {
                visitor.leave(at.as_fd(), name).or_else(passed_over)?;
            }
        }
        levels.last_mut().map(Vec::pop);
    }
    Ok(())
}

/// The names of the cgroups in one.
fn children(cgroup: BorrowedFd<'_>) -> sys::Result<Vec<CString>> {
    let mut names = Vec::new();
    dir::each_typed(cgroup, &mut |name, kind| {
        if kind == libc::DT_DIR {
            names.push(name.to_owned());
        }
        sys::Result::Ok(())
    })?;
    Ok(names)
}

/// The names of the cgroups in one that is held open by others too.
pub(super) fn names_in(cgroup: BorrowedFd<'_>) -> sys::Result<Vec<CString>> {
    let listed: OwnedFd = open_dir_at(cgroup, ".")?;
    children(listed.as_fd())
}

fn passed_over<T: Default>(errno: Errno) -> sys::Result<T> {
    match errno {
        Errno::ENOENT | Errno::ENODEV => Ok(T::default()),
        errno => Err(errno),
    }
}
