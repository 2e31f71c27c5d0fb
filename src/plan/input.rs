//! What every part of a plan looks at: the bundle, the host and the options, and what follows from them in more than one place,
//! which is decided once, here.

use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::cgroup::CgroupPlan;
use super::cgroup::entry::{Entry, Remaining};
use super::cgroup::tolerance::{Tolerance, tolerate};
use super::namespace::check::check;
use super::namespace::idmap::{IdKind, IdMap};
use super::options::CreateOptions;
use super::step::MountsFrom;
use super::strings::host_path;
use super::systemd::ScopePlan;
use super::systemd::driver::{self, CgroupDriver};
use crate::error::{Below, Result};
use crate::host::Host;
use crate::plan::namespace::{NamespaceKind, Namespaces};
use crate::plan::rootfs::options::{self as mount_options, MountOptions, Propagation};
use crate::spec::Spec;
use crate::spec::annotations;
use crate::spec::linux::Linux;
use crate::spec::mounts::Mount;
use crate::spec::overlay::Overlay;

/// Who opens the source of a bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BindSources {
    /// The child, by its path.
    Paths,
    /// The parent, who clones it before there is a child.
    Trees,
}

/// The values every part of the plan looks at. What follows from them in more than one place is decided once, here.
pub(super) struct Input<'a> {
    pub spec: &'a Spec,
    /// [`Spec::linux`], or an empty one.
    pub linux: &'a Linux,
    /// What the options of each mount say, in the order of [`Spec::mounts`].
    pub mount_options: Vec<MountOptions>,
    /// What the root and what is below it tells other namespaces; nothing is said.
    pub root_propagation: Option<Propagation>,
    /// An overlay over the root.
    pub overlay: Option<Overlay>,
    pub host: &'a Host,
    pub options: &'a CreateOptions,
    pub namespaces: Namespaces,
    pub uids: IdMap,
    pub gids: IdMap,
    pub cgroup: Option<CgroupPlan>,
    /// The systemd scope that the cgroup belongs to.
    pub scope: Option<ScopePlan>,
    /// How the child gets into its cgroup. With systemd as the driver that is systemd's business.
    pub entry: Entry,
    /// The child is cloned before its cgroup is made, and joins it.
    pub joins_cgroup: bool,
    /// The child is cloned outside of (a part of) its cgroup.
    pub enters_cgroup_after_clone: bool,
    /// The namespaces made by clone3 itself.
    pub clone_flags: u64,
    /// The child waits for the parent before the root is set up.
    pub stops_for_hooks: bool,
    /// What the mount namespace starts from; a copy, unless it is found that the skeleton will do.
    pub mounts_from: MountsFrom,
    /// What binds are made of that the parent does not take in the child's copy.
    pub sources: BindSources,
}

impl<'a> Input<'a> {
    pub(super) fn new(spec: &'a Spec, host: &'a Host, options: &'a CreateOptions) -> Result<Input<'a>> {
        let linux = spec.linux_or_empty();
        let namespaces = Namespaces::parse(&linux.namespaces)?;
        let mut uids = IdMap::parse(IdKind::Uid, &linux.uid_mappings).below(|| "linux")?;
        let mut gids = IdMap::parse(IdKind::Gid, &linux.gid_mappings).below(|| "linux")?;
        if !namespaces.contains(NamespaceKind::User) {
            // Left out with a warning, as they mean nothing.
            (uids, gids) = (IdMap::default(), IdMap::default());
        }
        check(spec, host, &namespaces, &uids, &gids)?;
        let (mut cgroup, scope) = driver::plan_cgroup(spec, host, &options.id, options.cgroups)?;
        if let Some(cgroup) = &mut cgroup {
            let wanted = annotations::is_on(&spec.instructions, annotations::CGROUP_BEST_EFFORT);
            tolerate(cgroup, if wanted { Tolerance::Everything } else { options.tolerance });
        }
        let entry = Entry::of(cgroup.as_ref().filter(|_| options.cgroups == CgroupDriver::Files));
        let systemd = options.cgroups == CgroupDriver::Systemd;
        let enters_cgroup_after_clone = cgroup.is_some() && (systemd || entry.remaining != Remaining::Nothing);
        let mut clone_flags = clone_flags(&namespaces);
        if enters_cgroup_after_clone {
            // A cgroup namespace from clone3 would show the runtime's own cgroup as the container's root.
            clone_flags &= !NamespaceKind::Cgroup.flag();
        }
        let hooks = spec.hooks.as_ref();
        let mut parsed = Vec::with_capacity(spec.mounts.len());
        for (index, mount) in spec.mounts.iter().enumerate() {
            parsed.push(mount_options::parse(&mount.options).below(|| format!("mounts[{index}]"))?);
        }
        Ok(Input {
            mount_options: parsed,
            root_propagation: Propagation::of_root(linux)?,
            overlay: annotations::overlay(spec)?,
            clone_flags,
            stops_for_hooks: !linux.net_devices.is_empty()
                || hooks.is_some_and(|hooks| !hooks.prestart.is_empty() || !hooks.create_runtime.is_empty()),
            joins_cgroup: entry.remaining == Remaining::ChildJoins,
            mounts_from: MountsFrom::Copy,
            sources: BindSources::Paths,
            spec,
            linux,
            host,
            options,
            namespaces,
            uids,
            gids,
            cgroup,
            scope,
            entry,
            enters_cgroup_after_clone,
        })
    }

    /// The skeleton has no paths of the host.
    pub(super) fn start_from(&mut self, mounts_from: MountsFrom) {
        self.mounts_from = mounts_from;
        self.sources = match mounts_from {
            MountsFrom::Copy => BindSources::Paths,
            MountsFrom::Skeleton => BindSources::Trees,
        };
    }

    /// Every mount, and what its options say.
    pub(super) fn mounts(&self) -> impl Iterator<Item = (&'a Mount, &MountOptions)> {
        self.spec.mounts.iter().zip(&self.mount_options)
    }

    /// A first process joins namespaces and clones the container's: in a user namespace of its own it could not.
    pub(super) fn launches(&self) -> bool {
        launches(&self.namespaces)
    }

    /// What is the host's is taken by the parent, in the child's mount namespace ([`super::step::HostObject`]). An ordinary user could
    /// not enter that, and has no more rights than the root of his user namespace.
    pub(super) fn takes_from_host(&self) -> bool {
        self.namespaces.contains(NamespaceKind::User)
            && self.namespaces.is_new(NamespaceKind::Mount)
            && self.mounts_from == MountsFrom::Copy
            && self.host.uid == 0
            && self.host.returns
    }

    pub(super) fn new_userns(&self) -> bool {
        self.namespaces.is_new(NamespaceKind::User)
    }

    /// Whether the container's root has authority only over a user namespace.
    pub(super) fn in_userns(&self) -> bool {
        self.namespaces.in_userns(self.host)
    }

    /// Whether systemd makes the cgroup.
    pub(super) fn has_scope(&self) -> bool {
        self.cgroup.is_some() && self.options.cgroups == CgroupDriver::Systemd
    }

    /// Whether this path of the host is in the container's root.
    pub(super) fn is_in_root(&self, path: &CStr) -> bool {
        let root = self.spec.root.as_ref().map(|root| host_path(&self.options.bundle, &root.path));
        root.is_some_and(|root| Path::new(OsStr::from_bytes(path.to_bytes())).starts_with(root))
    }

    pub(super) fn is_notify(&self, path: &CStr) -> bool {
        self.options.notify.as_ref().is_some_and(|notify| notify.as_os_str().as_bytes() == path.to_bytes())
    }

    /// Whether this path of the host is in a cgroup of the container's own.
    pub(super) fn is_in_cgroup(&self, path: &CStr) -> bool {
        let path = Path::new(OsStr::from_bytes(path.to_bytes()));
        self.cgroup.as_ref().is_some_and(|cgroup| cgroup.dirs.iter().any(|dir| path.starts_with(dir.full_path())))
    }
}

fn launches(namespaces: &Namespaces) -> bool {
    namespaces.contains(NamespaceKind::User) && !namespaces.join.is_empty()
}

fn clone_flags(namespaces: &Namespaces) -> u64 {
    let new = namespaces.new;
    if launches(namespaces) {
        return 0;
    }
    if namespaces.is_new(NamespaceKind::User) {
        // The rest is unshared after the maps are written: objects such as those of sysfs and mqueue would
        // belong to the overflow uid otherwise.
        return new & (NamespaceKind::User.flag() | NamespaceKind::Pid.flag());
    }
    // What takes long is left to the child: meanwhile the parent makes the cgroup.
    new & !(NamespaceKind::Time.flag()
        | NamespaceKind::Network.flag()
        | NamespaceKind::Ipc.flag()
        | NamespaceKind::Uts.flag())
}
