//! What every part of a plan looks at: the bundle, the host and the options, and what follows from them in more than one place,
//! which is decided once, here.

use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::cgroup::CgroupPlan;
use super::cgroup::entry::{Entry, Remaining};
use super::cgroup::tolerance::{Tolerance, with_tolerance};
use super::namespace::check::check;
use super::namespace::idmap::{IdKind, IdMap};
use super::op::Enter;
use super::options::CreateOptions;
use super::step::MountsFrom;
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

/// Who takes what belongs to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taker {
    /// The child, by its path.
    Child,
    /// The child, in its copy of the host's mounts, before it leaves that for the container's.
    ChildInCopy,
    /// The parent, in the child's copy of the host's mounts ([`HostObject`](super::step::HostObject)), with the caller's
    /// rights: the root of the container's user namespace may not look into the caller's directories.
    ParentInCopy,
    /// The parent, before there is a child, which will not see it.
    ParentBefore,
    /// The parent, when the cgroup is made that it is in.
    ParentWithCgroup,
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
    /// The child is cloned outside of (a part of) its cgroup.
    pub enters_cgroup_after_clone: bool,
    /// The namespaces made by clone3 itself.
    pub clone_flags: u64,
    /// The child waits for the parent before the root is set up.
    pub stops_for_hooks: bool,
    /// What the mount namespace starts from.
    pub mounts_from: MountsFrom,
    /// Who takes what is mounted from the host; [`Input::taker`] knows the exceptions.
    pub takes: Taker,
}

impl<'a> Input<'a> {
    /// For a new container.
    pub(super) fn for_creation(spec: &'a Spec, host: &'a Host, options: &'a CreateOptions) -> Result<Input<'a>> {
        let input = Input::new(spec, host, options)?;
        let (mounts_from, takes) = match starts_from(&input) {
            MountsFrom::Copy if input.may_take_in_copy() => (MountsFrom::Copy, Taker::ParentInCopy),
            MountsFrom::Copy => (MountsFrom::Copy, Taker::Child),
            // It has no paths of the host.
            MountsFrom::Skeleton => (MountsFrom::Skeleton, Taker::ParentBefore),
        };
        Ok(Input { mounts_from, takes, ..input })
    }

    /// For mounts of a container that runs: what is bound is taken before the container's namespaces are entered.
    pub(super) fn for_mounts(spec: &'a Spec, host: &'a Host, options: &'a CreateOptions) -> Result<Input<'a>> {
        let input = Input::new(spec, host, options)?;
        let takes = if input.may_take_in_copy() {
            Taker::ParentInCopy
        } else if input.namespaces.contains(NamespaceKind::User) && host.uid != 0 {
            // An ordinary user may clone in no other copy than the child's.
            Taker::ChildInCopy
        } else {
            Taker::ParentBefore
        };
        Ok(Input { takes, ..input })
    }

    fn new(spec: &'a Spec, host: &'a Host, options: &'a CreateOptions) -> Result<Input<'a>> {
        let linux = spec.linux_or_empty();
        let namespaces = Namespaces::parse(&linux.namespaces)?;
        let mut uids = IdMap::parse(IdKind::Uid, &linux.uid_mappings).below(|| "linux")?;
        let mut gids = IdMap::parse(IdKind::Gid, &linux.gid_mappings).below(|| "linux")?;
        if !namespaces.contains(NamespaceKind::User) {
            // Left out with a warning, as they mean nothing.
            (uids, gids) = (IdMap::default(), IdMap::default());
        }
        check(spec, host, &namespaces, &uids, &gids)?;
        let (cgroup, scope) = driver::plan_cgroup(spec, host, &options.id, options.cgroups)?;
        let best_effort = annotations::is_on(&spec.instructions, annotations::CGROUP_BEST_EFFORT);
        let tolerance = if best_effort { Tolerance::Everything } else { options.tolerance };
        let cgroup = cgroup.map(|cgroup| with_tolerance(cgroup, tolerance));
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
            mounts_from: MountsFrom::Copy,
            takes: Taker::Child,
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

    /// Every mount, and what its options say.
    pub(super) fn mounts(&self) -> impl Iterator<Item = (&'a Mount, &MountOptions)> {
        self.spec.mounts.iter().zip(&self.mount_options)
    }

    /// A first process joins namespaces and clones the container's: in a user namespace of its own it could not.
    pub(super) fn launches(&self) -> bool {
        launches(&self.namespaces)
    }

    /// Whether the child asks the parent for what belongs to the host.
    pub(super) fn asks(&self) -> bool {
        self.takes == Taker::ParentInCopy
    }

    /// Whether the child is cloned before its cgroup is made, and joins it.
    pub(super) fn joins_cgroup(&self) -> bool {
        self.entry.remaining == Remaining::ChildJoins
    }

    /// Whether the parent may enter the child's mount namespace, and has more rights there than the child. An ordinary user
    /// could not enter it, and has no more rights than the root of his user namespace.
    fn may_take_in_copy(&self) -> bool {
        self.namespaces.contains(NamespaceKind::User)
            && self.namespaces.is_new(NamespaceKind::Mount)
            && self.host.uid == 0
            && self.host.returns
    }

    /// Who takes what is at this path of the host.
    pub(super) fn taker(&self, path: &CStr) -> Taker {
        match self.takes {
            // When things are asked for the cgroup may not have been made.
            Taker::ParentInCopy if self.is_in_cgroup(path) => Taker::Child,
            Taker::Child if self.is_hidden(path) => Taker::ParentBefore,
            Taker::ParentBefore if self.joins_cgroup() && self.is_in_cgroup(path) => Taker::ParentWithCgroup,
            taker => taker,
        }
    }

    /// As root of a user namespace the child could not look into the runtime's state. An ordinary user's can.
    fn is_hidden(&self, path: &CStr) -> bool {
        self.host.uid == 0 && self.is_notify(path)
    }

    /// Propagation of a tree that the parent has cloned of this path.
    pub(super) fn tree_propagation(&self, path: &CStr) -> u64 {
        let private = self.is_hidden(path) || self.root_propagation.is_some_and(|root| root.flag == libc::MS_PRIVATE);
        if private { libc::MS_PRIVATE } else { libc::MS_SLAVE }
    }

    /// Whether the flags of the host's mounts are locked in what is bound, so that they can only be added to. What the parent
    /// has cloned before there was a child has all of them, and none is locked.
    pub(super) fn flags_are_locked(&self) -> bool {
        !(self.in_userns() && self.takes == Taker::ParentBefore)
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
        let path = Path::new(OsStr::from_bytes(path.to_bytes()));
        self.spec.root.is_some() && path.starts_with(self.spec.root_dir(&self.options.bundle))
    }

    fn is_notify(&self, path: &CStr) -> bool {
        self.options.notify.as_ref().is_some_and(|notify| notify.as_os_str().as_bytes() == path.to_bytes())
    }

    /// Whether this path of the host is in a cgroup of the container's own.
    pub(super) fn is_in_cgroup(&self, path: &CStr) -> bool {
        let path = Path::new(OsStr::from_bytes(path.to_bytes()));
        self.cgroup.as_ref().is_some_and(|cgroup| cgroup.dirs.iter().any(|dir| path.starts_with(dir.full_path())))
    }
}

/// File systems that take nothing from the host but their name.
const SELF_CONTAINED: &[&str] = &["proc", "sysfs", "tmpfs", "ramfs", "devpts", "mqueue", "cgroup", "cgroup2", "bind"];

/// For more the descriptors might not be enough (`host::ROOMY`).
const MAX_TREES: usize = 256;

/// What the mount namespace starts from. The skeleton is for a crowded host, and for containers that need
/// nothing of the host but trees which can be cloned beforehand: no hook that expects the host's root, no file
/// system whose source or options are paths, no propagation back to the host. In a user namespace trees that
/// are attached directly are not locked (mount_namespaces(7)), so such containers copy as well.
fn starts_from(input: &Input<'_>) -> MountsFrom {
    let Input { spec, host, namespaces, options, .. } = input;
    let plain = |(mount, options): (&Mount, &MountOptions)| {
        let known = mount.kind.as_deref().is_none_or(|kind| SELF_CONTAINED.contains(&kind));
        (known || mount.is_bind()) && !options.copy_symlink
    };
    let stays = |root: Propagation| root.flag & (libc::MS_SLAVE | libc::MS_PRIVATE) != 0;
    let hooks = spec.hooks.as_ref().is_some_and(|hooks| !hooks.create_container.is_empty());
    let suits = host.crowded
        && host.is_real_root()
        && namespaces.is_new(NamespaceKind::Mount)
        && !namespaces.contains(NamespaceKind::User)
        && options.enter == Enter::Pivot
        // Its cgroup exists only after the clone, too late for a tree of it.
        && options.cgroups != CgroupDriver::Systemd
        && input.root_propagation.is_none_or(stays)
        && !hooks
        && spec.mounts.len() <= MAX_TREES
        && input.mounts().all(plain);
    if suits { MountsFrom::Skeleton } else { MountsFrom::Copy }
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
