//! Mounts of a container without a mount namespace. They are in the namespace of the caller, all below one
//! mount on the root file system (that, and what it is attached to), and go with it. runc and crun leave them there.

use std::ffi::CString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;

use crate::error::{Context, Error, Result, Stage};
use crate::plan::rootfs::mounts_on_host;
use crate::proc::mountinfo;
use crate::spec::Spec;
use crate::state::HostMounts;
use crate::sys::{fs, mount};

/// What is at the root file system before the container is made; `None` where it will have its own namespace.
pub(in crate::container) fn find(spec: &Spec, rootfs: &Path) -> Result<Option<HostMounts>> {
    if !mounts_on_host(spec) {
        return Ok(None);
    }
    let what = || format!("find the root file system {}", rootfs.display());
    let name = c_path(rootfs)?;
    let dir = fs::open(fs::CWD, &name, libc::O_PATH | libc::O_DIRECTORY, 0).at(Stage::Rootfs, what)?;
    let path = std::fs::read_link(fs::by_number(dir.as_fd())).at(Stage::Rootfs, what)?;
    let before = stacked(&path)?;
    Ok(Some(HostMounts { path, before }))
}

/// Takes away what the container mounted.
pub(in crate::container) fn remove(mounts: Option<&HostMounts>) -> Result<()> {
    let Some(HostMounts { path, before }) = mounts else { return Ok(()) };
    let name = c_path(path)?;
    // Looked at again each time: one call takes a mount's copies away, too, where mounts are shared, and what is below is the host's.
    while stacked(path)? > *before {
        match mount::umount(&name, libc::MNT_DETACH | libc::UMOUNT_NOFOLLOW) {
            // Somebody else was faster, or the bundle is gone.
            Err(Errno::EINVAL | Errno::ENOENT) => return Ok(()),
            result => result.at(Stage::Rootfs, || format!("unmount {}", path.display()))?,
        }
    }
    Ok(())
}

/// How many mounts are stacked at `path`.
fn stacked(path: &Path) -> Result<usize> {
    let table = mountinfo::read("self").at(Stage::Rootfs, || "read /proc/self/mountinfo")?;
    Ok(mountinfo::parse(&table)
        .filter(|mount| *mountinfo::unescape(mount.point) == *path.as_os_str().as_bytes())
        .count())
}

fn c_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Error::new(Stage::Rootfs, "the path holds a NUL byte"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_at_a_path_are_counted() {
        assert!(stacked(Path::new("/proc")).unwrap() >= 1);
        assert_eq!(stacked(Path::new("/no such place")).unwrap(), 0);
    }
}
