//! What every part of a plan looks at ([`Input`]), and what the parts fill in ([`Draft`]).

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use super::cgroup::CgroupPlan;
use super::cgroup::entry::{Entry, Remaining};
use super::cgroup::tolerance::{Tolerance, tolerate};
use super::namespace::check::check;
use super::namespace::idmap::{IdKind, IdMap};
use super::op::{LastOp, SetupOp};
use super::options::CreateOptions;
use super::step::{HostObject, MountsFrom, Step};
use super::systemd::ScopePlan;
use super::systemd::driver::{self, CgroupDriver};
use crate::error::{Below, Error, Result, Stage};
use crate::host::Host;
use crate::plan::namespace::{NamespaceFs, NamespaceKind, Namespaces};
use crate::plan::reach::Reach;
use crate::plan::rootfs::mount_op::{EndLink, MountSource};
use crate::spec::Spec;
use crate::spec::annotations;
use crate::spec::linux::Linux;
use crate::spec::process::Process;
use crate::wire::SyncPoint;

/// The SELinux label that the container's keys are made with. Without one they would have that of the runtime's process,
/// and the program, whose label may do nothing with the runtime's keys, could not use its own session keyring.
pub(super) fn key_label(process: Option<&Process>, host: &Host) -> Result<Option<CString>> {
    let label = process.and_then(|process| process.selinux_label.as_deref()).filter(|label| !label.is_empty());
    label.filter(|_| host.selinux).map(|label| c_string(label, "selinuxLabel")).transpose()
}

/// A configuration without a `linux` part.
static NO_LINUX: LazyLock<Linux> = LazyLock::new(Linux::default);

/// The `linux` part, or an empty one.
pub(super) fn linux(spec: &Spec) -> &Linux {
    spec.linux.as_ref().unwrap_or(&NO_LINUX)
}

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
    pub mounts: MountsFrom,
    /// What binds are made of that the parent does not take in the child's copy.
    pub sources: BindSources,
}

impl<'a> Input<'a> {
    pub(super) fn new(spec: &'a Spec, host: &'a Host, options: &'a CreateOptions) -> Result<Input<'a>> {
        let linux = linux(spec);
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
        Ok(Input {
            clone_flags,
            stops_for_hooks: !linux.net_devices.is_empty()
                || hooks.is_some_and(|hooks| !hooks.prestart.is_empty() || !hooks.create_runtime.is_empty()),
            joins_cgroup: entry.remaining == Remaining::ChildJoins,
            mounts: MountsFrom::Copy,
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
    pub(super) fn start_from(&mut self, mounts: MountsFrom) {
        self.mounts = mounts;
        self.sources = match mounts {
            MountsFrom::Copy => BindSources::Paths,
            MountsFrom::Skeleton => BindSources::Trees,
        };
    }

    /// A first process joins namespaces and clones the container's: in a user namespace of its own it could not.
    pub(super) fn launches(&self) -> bool {
        launches(&self.namespaces)
    }

    /// What is the host's is taken by the parent, in the child's mount namespace ([`HostObject`]). An ordinary user could
    /// not enter that, and has no more rights than the root of his user namespace.
    pub(super) fn takes_from_host(&self) -> bool {
        self.namespaces.contains(NamespaceKind::User)
            && self.namespaces.is_new(NamespaceKind::Mount)
            && self.mounts == MountsFrom::Copy
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
    fn is_in_root(&self, path: &CStr) -> bool {
        let root = self.spec.root.as_ref().map(|root| host_path(&self.options.bundle, &root.path));
        root.is_some_and(|root| Path::new(OsStr::from_bytes(path.to_bytes())).starts_with(root))
    }

    fn is_notify(&self, path: &CStr) -> bool {
        self.options.notify.as_ref().is_some_and(|notify| notify.as_os_str().as_bytes() == path.to_bytes())
    }

    /// Whether this path of the host is in a cgroup of the container's own.
    fn is_in_cgroup(&self, path: &CStr) -> bool {
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

/// Parent steps and child operations under construction.
#[derive(Default)]
pub(super) struct Draft {
    pub before_clone: Vec<Step>,
    /// [`Step::CloneTree`]s of what is made after the clone.
    pub late_trees: Vec<Step>,
    /// What [`SetupOp::MakeNamespaceFs`] makes, for the first mount of each kind.
    pub namespace_fs: Vec<NamespaceFs>,
    /// What the child asks for: together before the root is taken, then each at its turn.
    pub asked: Vec<Vec<HostObject>>,
    /// Nothing is asked for at its turn.
    pub at_once: bool,
    pub setup: Vec<SetupOp>,
    pub last: Vec<LastOp>,
    pub warnings: Vec<String>,
    pub idmaps: usize,
    /// The first operation that needs the cgroup.
    pub cgroup_from: Option<usize>,
}

impl Draft {
    /// What comes next needs the cgroup.
    pub(super) fn needs_cgroup(&mut self) {
        self.cgroup_from.get_or_insert(self.setup.len());
    }

    /// A source on the host: opened by the child, or cloned by the parent for a child that will not see it. What is in
    /// the container's cgroup is cloned when that is made. `idmap` is taken where the parent applies it: only the caller
    /// may map what belongs to the host where the container has a user namespace.
    pub(super) fn source(
        &mut self,
        input: &Input<'_>,
        path: CString,
        (reach, end): (Reach, EndLink),
        idmap: &mut Option<(usize, Reach)>,
    ) -> MountSource {
        if input.takes_from_host() && !input.is_in_cgroup(&path) {
            return self.ask(input, HostObject::Tree { path, reach, end, idmap: idmap.take() });
        }
        // As root of a user namespace it could not look into the runtime's state. An ordinary user's can.
        let hidden = input.host.uid == 0 && input.is_notify(&path);
        if input.sources == BindSources::Paths && !hidden {
            return MountSource::Path(path);
        }
        let late = input.joins_cgroup && input.is_in_cgroup(&path);
        let private = matches!(input.linux.rootfs_propagation.as_deref(), Some("private" | "rprivate"));
        let propagation = if hidden || private { libc::MS_PRIVATE } else { libc::MS_SLAVE };
        if late {
            self.needs_cgroup();
            self.late_trees.push(Step::CloneTree { path, reach, propagation, end, idmap: None });
            return MountSource::Late(self.late_trees.len() - 1);
        }
        let index = self.before_clone.iter().filter(|step| matches!(step, Step::CloneTree { .. })).count();
        self.before_clone.push(Step::CloneTree { path, reach, propagation, end, idmap: idmap.take() });
        MountSource::Tree(index)
    }

    /// A layer below or above the root, which is taken together with it: nothing has been mounted in it by then.
    pub(super) fn layer(&mut self, input: &Input<'_>, path: CString, idmap: Option<(usize, Reach)>) -> MountSource {
        match self.asked.first_mut().filter(|_| input.takes_from_host()) {
            Some(together) => {
                together.push(HostObject::Tree { path, reach: Reach::One, end: EndLink::Keep, idmap });
                MountSource::Late(together.len() - 1)
            }
            None => self.source(input, path, (Reach::One, EndLink::Keep), &mut None),
        }
    }

    /// The file system of this kind, if it is made beforehand and not taken yet.
    pub(super) fn take_namespace_fs(&mut self, kind: &str) -> Option<NamespaceFs> {
        let at = self.namespace_fs.iter().position(|made| made.kind().to_bytes() == kind.as_bytes())?;
        Some(self.namespace_fs.swap_remove(at))
    }

    /// What the parent does for the child that asks, which is told here how much comes together.
    pub(super) fn take_asked(&mut self) -> impl Iterator<Item = Step> {
        let together = self.asked.first().map_or(0, Vec::len);
        for op in &mut self.setup {
            if let SetupOp::AskForHost(count) = op {
                *count = together;
            }
        }
        let asked = std::mem::take(&mut self.asked).into_iter();
        asked.flat_map(|objects| [Step::Await(SyncPoint::Trees), Step::TakeFromHost(objects)])
    }

    /// Asks for something of the host: with the rest of it where nothing can be mounted over it meanwhile.
    pub(super) fn ask(&mut self, input: &Input<'_>, object: HostObject) -> MountSource {
        let inside = match &object {
            HostObject::Tree { path, .. } => input.is_in_root(path),
            HostObject::Root(..) | HostObject::Device { .. } => false,
        };
        match self.asked.first_mut() {
            // The root of a container that runs is not what a path of the host leads to.
            Some(together) if self.at_once || !inside && together.len() < TOGETHER => {
                together.push(object);
                MountSource::Late(together.len() - 1)
            }
            None => {
                self.asked.push(vec![object]);
                MountSource::Late(0)
            }
            Some(_) => {
                self.asked.push(vec![object]);
                self.setup.push(SetupOp::AskForOne);
                MountSource::Asked
            }
        }
    }
}

/// How many descriptors the child holds at once at the most: a limit of 32 is enough for a container. What is
/// more comes one at a time.
const TOGETHER: usize = 12;

/// Text as a C string; a NUL byte is refused with the name of the field.
pub(super) fn c_string(text: impl Into<Vec<u8>>, field: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::new(Stage::Bundle, format!("{field} contains a NUL byte")))
}

/// The container's root on the host.
pub(super) fn host_root(spec: &Spec, bundle: &Path) -> PathBuf {
    spec.root.as_ref().map(|root| host_path(bundle, &root.path)).unwrap_or_default()
}

/// A path of the host: absolute, or counted from the bundle.
pub(super) fn host_path(bundle: &Path, path: &str) -> PathBuf {
    bundle.join(path)
}
