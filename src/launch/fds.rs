//! What the parent opens or enters for the child: namespaces and mount trees.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;

use crate::error::{Context, Error, Result, Stage};
use crate::plan::namespaces::Kind;
use crate::plan::op::Reach;
use crate::sys::mount::{self, MountAttr, RECURSIVE};
use crate::sys::{fs, namespace, process};

/// Opens a namespace by path and makes sure that it is one of this type.
pub(super) fn namespace(kind: Kind, path: &str) -> Result<OwnedFd> {
    let what = || format!("open the {} namespace {path}", kind.name());
    let file = std::fs::File::open(path).at(Stage::Namespace, what)?;
    let fd = OwnedFd::from(file);
    match namespace::kind(fd.as_fd()) {
        Ok(found) if found == kind.flag() => Ok(fd),
        Ok(found) => {
            let name = Kind::ALL.into_iter().find(|kind| kind.flag() == found).map_or("another", Kind::name);
            Err(Error::new(Stage::Namespace, format!("{}: it is a {name} namespace", what())))
        }
        Err(Errno::ENOTTY | Errno::EINVAL) => Err(Error::new(Stage::Namespace, format!("{}: not a namespace", what()))),
        Err(errno) => Err(Error::errno(Stage::Namespace, what(), errno)),
    }
}

/// A detached copy of a tree of the host.
pub(super) fn clone_tree(path: &CStr, reach: Reach, propagation: u64) -> Result<OwnedFd> {
    let what = || format!("clone the mount {}", path.to_string_lossy());
    let depth = if reach == Reach::Tree { RECURSIVE } else { 0 };
    let tree = mount::clone_tree(fs::CWD, path, depth).at(Stage::Rootfs, what)?;
    if propagation != 0 {
        let attr = MountAttr { propagation, ..MountAttr::default() };
        mount::set_attr(tree.as_fd(), RECURSIVE, &attr).at(Stage::Rootfs, what)?;
    }
    Ok(tree)
}

/// The namespaces the parent enters around the clone, so that the child is born in them: a pid namespace to
/// join, and a new time namespace whose offsets only its maker may write. Both only count for children.
pub(super) struct Around {
    own: Vec<(OwnedFd, Kind)>,
}

impl Around {
    pub(super) fn enter(pid: Option<&OwnedFd>, offsets: Option<&CStr>) -> Result<Around> {
        let mut around = Around { own: Vec::new() };
        if let Some(pid) = pid {
            around.own.push((namespace(Kind::Pid, "/proc/self/ns/pid")?, Kind::Pid));
            process::setns(pid.as_fd(), Kind::Pid.flag() as i32).at(Stage::Namespace, || "join the pid namespace")?;
        }
        if let Some(offsets) = offsets {
            around.own.push((namespace(Kind::Time, "/proc/self/ns/time")?, Kind::Time));
            process::unshare(Kind::Time.flag() as i32).at(Stage::Namespace, || "unshare the time namespace")?;
            if !offsets.is_empty() {
                std::fs::write("/proc/self/timens_offsets", offsets.to_bytes())
                    .at(Stage::Namespace, || "write the clock offsets to /proc/self/timens_offsets")?;
            }
        }
        Ok(around)
    }

    /// Back to our own, for the hooks that follow.
    pub(super) fn leave(self) -> Result<()> {
        for (fd, kind) in self.own {
            process::setns(fd.as_fd(), kind.flag() as i32)
                .at(Stage::Namespace, || format!("return to the runtime's {} namespace", kind.name()))?;
        }
        Ok(())
    }
}
