//! The container's root: mounts, devices, links, masked and read-only paths, and the entry.
//!
//! Pure: config.json and what the host is like go in, operations of the child come out, and beside them steps of the parent
//! for what the child may not open. Every destination is resolved below the root by the child itself, never beforehand:
//! what lies there may be the image's, and changes with each mount.
//!
//! The modules, in the order of the work: `mount_op` is a mount as data, `options` reads its words (`options_idmap` those that
//! map ids), `mounts` says what each entry of config.json stands for, `one_mount` plans it (`idmap` the namespaces that map its owners, `cgroup` what a mount of cgroups is made of), `mount_effect` says what an
//! operation does to mounts, and `fresh` by that what may be done by name in what this start has made, `devices` the nodes and links of /dev, `overlay` the layers over the root.

mod cgroup;
pub mod devices;
mod fresh;
mod idmap;
pub(super) mod mount_effect;
pub mod mount_op;
pub mod mounts;
mod one_mount;
pub mod options;
mod options_idmap;
pub mod overlay;

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;

use super::draft::Draft;
use super::input::Input;
use super::op::{Enter, LinkRule, MayLead, NodeRule, ParentMount, SetupOp};
use super::step::MountsFrom;
use super::strings::c_string;
use crate::error::{Below, Error, Result, Stage};
use crate::plan::namespace::NamespaceKind;
use crate::plan::reach::Reach;
use crate::plan::rootfs::devices::NodeKind;
use crate::plan::rootfs::mount_op::{DeviceDir, EndLink, HostTree, MountSource};
use crate::plan::rootfs::options::Propagation;
use crate::plan::step::HostObject;
use crate::spec::Spec;
use crate::spec::linux::Linux;
use crate::spec::mounts::Mount;
use crate::spec::path::clean;
use crate::sys::cred::Ids;

/// The container's root, and everything in it.
pub(super) fn plan(input: &Input<'_>, draft: &mut Draft) -> Result<()> {
    let root = input.spec.required_root()?;
    let path = input.spec.root_dir(&input.options.bundle);
    let path = c_string(path.as_os_str().as_bytes(), "root.path")?;
    overlay::check(input)?;
    if is_used_as_it_is(input) {
        draft.setup.push(SetupOp::RootHere(path));
        return Ok(());
    }
    take_root(input, path, draft);
    overlay::plan(input, draft, &root.path)?;
    for (index, (mount, options)) in input.mounts().enumerate() {
        mounts::plan(input, (mount, options), draft).below(|| format!("mounts[{index}]"))?;
    }
    device_nodes(input, input.linux, draft)
}

/// Whether the root stays where it is on the host: nothing is mounted in it.
fn is_used_as_it_is(input: &Input<'_>) -> bool {
    !input.namespaces.contains(NamespaceKind::Mount) && !mounts_on_host(input.spec)
}

/// The root becomes a mount that what follows is mounted in, and which nobody else sees.
fn take_root(input: &Input<'_>, path: CString, draft: &mut Draft) {
    let new_namespace = input.namespaces.is_new(NamespaceKind::Mount);
    let propagation = input.root_propagation;
    // An unbindable mount could not be cloned: the host's copies are made private meanwhile, as runc does.
    let host = match propagation {
        None => libc::MS_SLAVE | libc::MS_REC,
        Some(p) if p.flag == libc::MS_UNBINDABLE => libc::MS_PRIVATE | libc::MS_REC,
        Some(p) if p.flag == libc::MS_SHARED => p.ms_flags(),
        // What is mounted below, and by the container on it, is not to appear on the host either.
        Some(p) => p.flag | libc::MS_REC,
    };
    if new_namespace && input.mounts_from == MountsFrom::Copy {
        draft.setup.push(SetupOp::HostPropagation(host));
    }
    let parent = match propagation {
        _ if !new_namespace => ParentMount::Others,
        Some(p) if p.flag == libc::MS_SLAVE => ParentMount::Slave,
        _ if input.mounts_from == MountsFrom::Skeleton || unshares(host) => ParentMount::Unshared,
        _ => ParentMount::Own,
    };
    let source = if input.asks() {
        draft.needs_cgroup(input);
        draft.ask_here();
        draft.ask(input, HostObject::Root(path.clone(), parent))
    } else {
        let tree = HostTree { path: path.clone(), reach: Reach::Tree, end: EndLink::Keep, idmap: None };
        draft.source(input, tree).source
    };
    let place = if input.mounts_from == MountsFrom::Copy { path.clone() } else { SKELETON_ROOT.into() };
    draft.setup.push(SetupOp::Root { source, path, place, parent });
}

/// What is closed off when everything is made: read-only and masked paths, and the attributes that had to wait.
pub(super) fn restrict(input: &Input<'_>, draft: &mut Draft) -> Result<()> {
    if is_used_as_it_is(input) {
        return Ok(());
    }
    draft.set_now();
    restrictions(input, draft)?;
    if input.spec.required_root()?.readonly {
        draft.setup.push(SetupOp::ReadonlyRoot);
    }
    Ok(())
}

/// The entry into the root.
pub(super) fn enter(input: &Input<'_>, draft: &mut Draft) {
    let new_namespace = input.namespaces.is_new(NamespaceKind::Mount);
    draft.setup.push(SetupOp::Enter(if new_namespace { input.options.enter } else { Enter::Chroot }));
    // Afterwards: pivot_root(2) refuses a shared root. A private one, or a slave, it is already, and mounts keep what their
    // options say.
    let refused = |p: &Propagation| p.flag & (libc::MS_SHARED | libc::MS_UNBINDABLE) != 0;
    if let Some(propagation) = input.root_propagation.filter(refused).filter(|_| !is_used_as_it_is(input)) {
        draft.setup.push(SetupOp::RootPropagation(propagation));
    }
}

/// What follows from the whole list as it will be done, and is told to operations that stand in it already: the directories that
/// devices are made in, which mounts keep off (`MountOp::keeps_off`); and what may be done by a name (`within`, and `kept` of who
/// made what it is in). Nobody else changes an operation that was pushed, and nothing of the root is pushed after this.
pub(super) fn settle(input: &Input<'_>, draft: &mut Draft) {
    let mut setup = std::mem::take(&mut draft.setup);
    keep_off(&mut setup, &draft.device_dirs);
    if input.namespaces.is_new(NamespaceKind::Mount) {
        fresh::settle(&mut setup, || draft.keep());
    }
    draft.setup = setup;
}

/// Whether no mount is shared with another namespace after this change of propagation.
pub fn unshares(flags: u64) -> bool {
    flags & libc::MS_REC != 0 && flags & (libc::MS_SLAVE | libc::MS_PRIVATE) != 0
}

/// Where the root is attached in the skeleton namespace.
pub const SKELETON_ROOT: &CStr = c"/root";

/// Whether the container's mounts are made in the mount namespace of the caller, where `delete` has to take
/// them away again: the bundle has mounts, or a root that is read-only, but no mount namespace.
pub fn mounts_on_host(spec: &Spec) -> bool {
    let any = !spec.mounts.is_empty() || spec.root.as_ref().is_some_and(|root| root.readonly);
    any && spec.namespace(NamespaceKind::Mount.name()).is_none()
}

/// The default devices, those of the configuration, and the usual links. Nothing is made in a /dev that is
/// bound from somewhere: it is not the container's own.
fn device_nodes(input: &Input<'_>, linux: &Linux, draft: &mut Draft) -> Result<()> {
    let root = input.spec.root_dir(&input.options.bundle);
    if input.spec.mounts.iter().any(|mount| mount.binds_dev(&root)) {
        return Ok(());
    }
    // /dev/ptmx is a link to the container's own.
    for node in devices::all(&linux.devices)?.into_iter().filter(|node| node.relative() != "dev/ptmx") {
        let (dir, name) = node.relative().rsplit_once('/').unwrap_or((".", node.relative()));
        open_dir(dir, draft)?;
        let name = c_string(name, "linux.devices")?;
        if input.in_userns() && node.kind != NodeKind::Fifo {
            let source = device(input, &node, draft)?;
            draft.setup.push(SetupOp::BindDevice { name, source });
        } else {
            let owner = Ids { uid: node.uid, gid: node.gid };
            let rule = node.index.filter(|_| !node.is_default()).map_or(NodeRule::Replace, NodeRule::Refuse);
            draft.setup.push(SetupOp::Mknod { name, mode: node.full_mode(), dev: node.rdev(), owner, rule });
        }
    }
    open_dir("dev", draft)?;
    for (name, target) in devices::LINKS.iter().copied() {
        let rule = match name {
            "ptmx" => LinkRule::Replace,
            "core" => LinkRule::IfTargetExists,
            _ => LinkRule::Keep,
        };
        draft.setup.push(SetupOp::Symlink { name: c_string(name, "link")?, target: c_string(target, "link")?, rule });
    }
    Ok(())
}

fn open_dir(dir: &str, draft: &mut Draft) -> Result<()> {
    let dir = c_string(dir, "linux.devices")?;
    if draft.device_dirs.last() != Some(&dir) {
        draft.setup.push(SetupOp::OpenDir(dir.clone()));
        draft.device_dirs.push(dir);
    }
    Ok(())
}

/// Tells each mount where devices are made, as far as its destination does not say so.
fn keep_off(setup: &mut [SetupOp], device_dirs: &[CString]) {
    let own_dev = setup.iter().any(|op| matches!(op, SetupOp::Mount(mount) if *mount.dest == *c"dev"));
    let in_dir = |path: &CStr, dir: &[u8]| {
        path.to_bytes().strip_prefix(dir).is_some_and(|rest| rest.first().is_none_or(|byte| *byte == b'/'))
    };
    for op in setup {
        let SetupOp::Mount(mount) = op else { continue };
        let others = device_dirs.iter().filter(|dir| !in_dir(&mount.dest, dir.to_bytes()));
        let others = others.map(|dir| DeviceDir { path: dir.clone(), apart: own_dev && in_dir(dir, b"dev") });
        mount.keeps_off = others.collect();
    }
}

/// A device in a user namespace, which may make none: a node that the caller makes, with the mode and the owner that are
/// asked for, or the host's own where the caller may make none either.
fn device(input: &Input<'_>, node: &devices::DeviceNode, draft: &mut Draft) -> Result<MountSource> {
    let owner = input.uids.to_host(node.uid).zip(input.gids.to_host(node.gid));
    match owner.filter(|_| input.asks() && input.host.is_real_root()) {
        Some((uid, gid)) => {
            let (mode, dev, label) = (node.full_mode(), node.rdev(), one_mount::mount_label(input, "tmpfs")?);
            Ok(draft.ask(input, HostObject::Device { mode, dev, owner: Ids { uid, gid }, label }))
        }
        None => {
            let path = c_string(node.path.as_str(), "linux.devices")?;
            Ok(draft.source(input, HostTree { path, reach: Reach::One, end: EndLink::Follow, idmap: None }).source)
        }
    }
}

/// Read-only and masked paths.
fn restrictions(input: &Input<'_>, draft: &mut Draft) -> Result<()> {
    let linux = input.linux;
    // What may be mounted below it is files of its own, and none of its links leads out.
    let over_proc = |mount: &&Mount| matches!(&*clean(&mount.destination), "" | "proc");
    let has_proc = input.spec.mounts.iter().rfind(over_proc).is_some_and(|mount| mount.kind.as_deref() == Some("proc"));
    let mut seen = BTreeSet::new();
    for path in &linux.readonly_paths {
        let in_proc = has_proc && path.starts_with("/proc/") && !path.contains("..");
        let may_lead = if in_proc { MayLead::InProc } else { MayLead::Anywhere };
        let path = relative(path, "linux.readonlyPaths")?;
        draft.setup.push(SetupOp::ReadonlyPath { path, may_lead, within: None });
    }
    for (index, path) in linux.masked_paths.iter().enumerate() {
        if path.split('/').all(|name| matches!(name, "" | "." | "..")) {
            let field = format!("linux.maskedPaths[{index}]");
            return Err(Error::of_field(Stage::Bundle, field, format!("{path:?} is the root itself")));
        }
        let path = relative(path, "linux.maskedPaths")?;
        // Once is enough.
        if seen.insert(path.clone()) {
            let label = one_mount::mount_label(input, "tmpfs")?;
            draft.setup.push(SetupOp::Mask { path, within: None, label });
        }
    }
    Ok(())
}

/// A path in the container without its leading slashes; a relative one counts from the root, as with runc.
fn relative(path: &str, field: &str) -> Result<CString> {
    c_string(path.trim_start_matches('/'), field)
}
