//! What the parent opens or enters for the child: namespaces and mount trees.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;

use super::skeleton;

use crate::child::Inherited;
use crate::error::{Context, Deed, Doing, Error, Result, Stage};
use crate::plan::namespace::NamespaceKind;
use crate::plan::reach::Reach;
use crate::plan::step::MountsFrom;
use crate::sys::mount::{self, RECURSIVE};
use crate::sys::mount_attr::MountAttr;
use crate::sys::namespace::{self, MountView};
use crate::sys::{fs, process};

/// Everything the child keeps, in order, with what its `/proc/self/exe` will name.
pub(super) fn needed(child: &Inherited<'_>, exe: Option<&OwnedFd>) -> Vec<u32> {
    let lists = [&child.namespaces, &child.trees, &child.idmaps];
    let single = [Some(&child.wire), child.console.as_ref(), child.fifo.as_ref(), child.init.as_ref(), exe];
    let streams = child.streams.iter().map(Option::as_ref);
    let second = child.second.iter().flat_map(|second| [&second.sender, &second.file]);
    let pair = child.pair.iter().flat_map(|(receiver, sender)| [receiver, sender]);
    let single = single
        .into_iter()
        .chain(second.chain(pair).map(Some))
        .chain(streams)
        .chain(child.hook_output.each_ref().map(Option::as_ref));
    let all = lists.into_iter().flatten().chain(single.into_iter().flatten());
    let mut needed: Vec<u32> = all.map(|fd| fd.as_raw_fd() as u32).collect();
    needed.sort_unstable();
    needed
}

/// Opens a namespace by path and makes sure that it is one of this type.
pub(super) fn namespace(kind: NamespaceKind, path: &str) -> Result<OwnedFd> {
    namespace_at(kind, path).doing(Deed::Join, || path)
}

fn namespace_at(kind: NamespaceKind, path: &str) -> Result<OwnedFd> {
    let what = || format!("open the {} namespace {path}", kind.name());
    let fd = fs::open_namespace(path).at(Stage::Namespace, what)?;
    match namespace::kind(fd.as_fd()) {
        Ok(found) if found == kind.flag() => Ok(fd),
        Ok(found) => {
            let name = NamespaceKind::from_flag(found).map_or("another", NamespaceKind::name);
            Err(Error::new(Stage::Namespace, format!("{}: it is a {name} namespace", what())))
        }
        Err(Errno::ENOTTY | Errno::EINVAL) => Err(Error::new(Stage::Namespace, format!("{}: not a namespace", what()))),
        Err(errno) => Err(Error::errno(Stage::Namespace, what(), errno)),
    }
}

/// A detached copy of a tree of the host.
pub(super) fn clone_tree(path: &CStr, reach: Reach, propagation: u64, extra: u32) -> Result<OwnedFd> {
    let what = || format!("clone the mount {}", path.to_string_lossy());
    let tree = mount::clone_tree(fs::CWD, path, reach.flag() | extra).at(Stage::Rootfs, what);
    let tree = tree.doing(Deed::Bind, || path.to_string_lossy())?;
    if propagation != 0 {
        let attr = MountAttr { propagation, ..MountAttr::default() };
        mount::set_attr(tree.as_fd(), RECURSIVE, &attr).at(Stage::Rootfs, what)?;
    }
    Ok(tree)
}

/// The namespaces the parent enters around the clone, so that the child is born in them: a pid namespace to
/// join, and a new time namespace whose offsets only its maker may write. Both only count for children.
pub(super) struct BirthNamespaces {
    own: Vec<(OwnedFd, NamespaceKind)>,
    mounts: Option<MountView>,
}

impl BirthNamespaces {
    pub(super) fn enter(
        pid: Option<&OwnedFd>,
        offsets: Option<&CStr>,
        mounts: MountsFrom,
        warn: &dyn Fn(&str),
    ) -> Result<BirthNamespaces> {
        let mut entered = BirthNamespaces { own: Vec::new(), mounts: None };
        match entered.enter_each(pid, offsets, mounts, warn) {
            Ok(()) => Ok(entered),
            // What cleans up after the failure works by paths of our own mount namespace.
            Err(error) => entered.leave().and(Err(error)),
        }
    }

    fn enter_each(
        &mut self,
        pid: Option<&OwnedFd>,
        offsets: Option<&CStr>,
        mounts: MountsFrom,
        warn: &dyn Fn(&str),
    ) -> Result<()> {
        if let Some(pid) = pid {
            self.own.push((namespace(NamespaceKind::Pid, "/proc/self/ns/pid")?, NamespaceKind::Pid));
            // The child takes it over: it is born where others can see it (CVE-2016-9962).
            process::set_undumpable().at(Stage::Namespace, || "become undumpable")?;
            process::setns(pid.as_fd(), NamespaceKind::Pid.flag() as i32)
                .at(Stage::Namespace, || "join the pid namespace")?;
        }
        if let Some(offsets) = offsets {
            self.own.push((namespace(NamespaceKind::Time, "/proc/self/ns/time")?, NamespaceKind::Time));
            process::unshare(NamespaceKind::Time.flag() as i32)
                .at(Stage::Namespace, || "unshare the time namespace")?;
            if !offsets.is_empty() {
                std::fs::write("/proc/self/timens_offsets", offsets.to_bytes())
                    .at(Stage::Namespace, || "write the clock offsets to /proc/self/timens_offsets")?;
            }
        }
        // Last: there is no proc in the skeleton.
        if mounts == MountsFrom::Skeleton {
            let skeleton = skeleton::open(warn)?;
            let view = self.mounts.insert(MountView::current().at(Stage::Namespace, || "open our own root")?);
            view.enter(skeleton.as_fd()).at(Stage::Namespace, || "enter the skeleton mount namespace")?;
        }
        Ok(())
    }

    /// Back to our own, for the hooks that follow.
    pub(super) fn leave(self) -> Result<()> {
        if let Some(mounts) = self.mounts {
            mounts.restore().at(Stage::Namespace, || "return to the runtime's mount namespace")?;
        }
        for (fd, kind) in self.own {
            process::setns(fd.as_fd(), kind.flag() as i32)
                .at(Stage::Namespace, || format!("return to the runtime's {} namespace", kind.name()))?;
        }
        Ok(())
    }
}
