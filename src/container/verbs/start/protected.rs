//! What a template keeps from its programs, masked and read-only paths, and mounts that come with `start`: none may be
//! over such a path, above or below it.
//!
//! Before anything is mounted the destinations are looked up, by way of what links the image has. What became of them
//! is then read from the kernel, for whoever else has the image could change a link meanwhile.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;

use crate::container::lookup::{Container, not_running};
use crate::error::{Context, Error, Result, Stage};
use crate::proc::mountinfo;
use crate::spec::Spec;
use crate::spec::mounts::Mount;
use crate::spec::path::{clean, clean_bytes};
use crate::sys::{self, fs};

/// The container's mounts, by number and point. A number alone says little: whoever else has a directory can have a mount
/// that is on one in it unmounted by removing that (rmdir(2) since Linux 3.18), and the kernel gives the number to the next.
type MountTable = BTreeSet<(u32, Vec<u8>)>;

/// The paths, without links, as well as by the names that config.json has for them.
pub(in crate::container) struct ProtectedPaths {
    paths: BTreeSet<Vec<u8>>,
    before: MountTable,
}

impl ProtectedPaths {
    /// The paths of the template; an error where one of `mounts` would be over a masked or read-only path, above or below it.
    pub fn check(spec: &Spec, container: &Container, mounts: &[Mount]) -> Result<ProtectedPaths> {
        let init = container.record.live_init()?.ok_or_else(not_running)?;
        let root = CString::new(format!("/proc/{}/root", init.pid)).unwrap_or_default();
        let root = fs::open(fs::CWD, &root, libc::O_PATH | libc::O_DIRECTORY, 0)
            .at(Stage::Rootfs, || "open the template's root")?;
        let mut paths = BTreeSet::new();
        for path in spec.linux.iter().flat_map(|linux| linux.masked_paths.iter().chain(&linux.readonly_paths)) {
            paths.insert(clean(path).into_bytes());
            paths.insert(resolved(&root, path).at(Stage::Rootfs, || format!("look up {path} in the template"))?);
        }
        let protected = ProtectedPaths { paths, before: table(container)? };
        for Mount { destination, .. } in mounts {
            let point =
                resolved(&root, destination).at(Stage::Rootfs, || format!("look up {destination} in the template"))?;
            protected.refuse(&clean(destination).into_bytes(), destination)?;
            protected.refuse(&point, destination)?;
        }
        Ok(protected)
    }

    /// [`ProtectedPaths::check`] for what is mounted by now.
    pub fn check_again(&self, container: &Container) -> Result<()> {
        self.refuse_new(&table(container)?)
    }

    fn refuse_new(&self, now: &MountTable) -> Result<()> {
        now.difference(&self.before).try_for_each(|(_, point)| self.refuse(point, &String::from_utf8_lossy(point)))
    }

    /// Whether no mount is there that was not there before.
    pub fn is_as_before(&self, container: &Container) -> bool {
        table(container).is_ok_and(|now| now.is_subset(&self.before))
    }

    fn refuse(&self, point: &[u8], destination: &str) -> Result<()> {
        let Some(path) = self.paths.iter().find(|path| is_within(path, point) || is_within(point, path)) else {
            return Ok(());
        };
        let path = String::from_utf8_lossy(path);
        Err(Error::new(Stage::Args, format!("mount {destination}: the template keeps /{path} masked or read-only"))
            .with_hint("the template decides what its programs may do at most"))
    }
}

/// Whether `path` is `dir` or below it, both from the root.
fn is_within(path: &[u8], dir: &[u8]) -> bool {
    dir.is_empty() || path.strip_prefix(dir).is_some_and(|rest| rest.first().is_none_or(|next| *next == b'/'))
}

/// Where a path leads to in `root`, as far as there is something.
fn resolved(root: &OwnedFd, path: &str) -> sys::Result<Vec<u8>> {
    let path = clean(path);
    let mut there = path.as_str();
    loop {
        let (dir, rest) = (if there.is_empty() { "." } else { there }, &path[there.len()..]);
        let name = CString::new(dir).map_err(|_| Errno::EINVAL)?;
        match fs::open2(root.as_fd(), &name, libc::O_PATH, 0, fs::IN_ROOT) {
            Ok(file) => {
                let mut buffer = [0; libc::PATH_MAX as usize];
                let found = fs::path_of(file.as_fd(), &mut buffer)?;
                return Ok(clean_bytes(&[found, rest.as_bytes()].concat()));
            }
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) if !there.is_empty() => {
                there = there.rsplit_once('/').map_or("", |(dir, _)| dir);
            }
            Err(errno) => return Err(errno),
        }
    }
}

fn table(container: &Container) -> Result<MountTable> {
    let init = container.record.live_init()?.ok_or_else(not_running)?;
    let table = mountinfo::read(&init.pid.to_string()).at(Stage::Rootfs, || "read the mounts of the template")?;
    let mut mounts = MountTable::new();
    mounts.extend(mountinfo::parse(&table).map(|mount| (mount.id, clean_bytes(&mountinfo::unescape(mount.point)))));
    Ok(mounts)
}

#[cfg(test)]
mod tests {
    use super::{MountTable, ProtectedPaths, is_within};

    #[test]
    fn a_path_is_within_itself_and_what_is_above_it() {
        assert!(is_within(b"proc/sys", b"proc/sys") && is_within(b"proc/sys", b"proc") && is_within(b"proc", b""));
        assert!(!is_within(b"proc/system", b"proc/sys") && !is_within(b"proc", b"proc/sys"));
    }

    #[test]
    fn a_number_that_the_kernel_gives_again_is_a_new_mount() {
        let table = |point: &str| MountTable::from([(7, b"data".to_vec()), (8, point.as_bytes().to_vec())]);
        let protected = ProtectedPaths { paths: [b"data/kept".to_vec()].into(), before: table("data/gone") };
        assert!(protected.refuse_new(&table("data/gone")).is_ok());
        assert!(protected.refuse_new(&table("data/new")).is_ok());
        assert!(protected.refuse_new(&table("data/kept/in")).is_err());
    }
}
