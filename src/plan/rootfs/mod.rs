//! The container's root: mounts, devices, links, masked and read-only paths, the terminal, and the entry.
//!
//! Pure: config.json and what the host is like go in, operations of the child come out, and beside them steps of the parent
//! for what the child may not open. Every destination is resolved below the root by the child itself, never beforehand:
//! what lies there may be the image's, and changes with each mount.
//!
//! The modules, in the order of the work: `mount_op` is a mount as data, `options` reads its words (`options_idmap` those that
//! map ids), `mounts` plans each entry of config.json (`idmap` the namespaces that map its owners), `mount_effect` says what an
//! operation does to mounts, and `fresh` by that what may be done by name in what this start has made, `devices` the nodes and links of /dev, `overlay` the layers over the root.

pub mod devices;
mod fresh;
mod idmap;
pub(super) mod mount_effect;
pub mod mount_op;
pub mod mounts;
pub mod options;
mod options_idmap;
pub mod overlay;

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;

use super::draft::Draft;
use super::input::Input;
use super::op::{ConsoleNode, Enter, LinkRule, MayLead, ParentMount, SetupOp};
use super::process::{self, from_root, hooks};
use super::step::MountsFrom;
use super::strings::{c_string, host_path, host_root};
use crate::error::{Below, Result};
use crate::plan::namespace::NamespaceKind;
use crate::plan::reach::Reach;
use crate::plan::rootfs::devices::NodeKind;
use crate::plan::rootfs::mount_op::{DeviceDir, EndLink, MountSource};
use crate::plan::rootfs::options::{MountOptions, Propagation};
use crate::plan::step::HostObject;
use crate::plan::systemd::driver::CgroupDriver;
use crate::spec::Spec;
use crate::spec::hooks::HookKind;
use crate::spec::linux::Linux;
use crate::spec::mounts::Mount;
use crate::spec::path::clean;
use crate::sys::mount_attr::MountAttr;

/// Plans everything below the root, and the entry into it.
pub(super) fn plan(input: &Input<'_>, draft: &mut Draft) -> Result<()> {
    let linux = input.linux;
    let root = input.spec.required_root()?;
    let path = host_path(&input.options.bundle, &root.path);
    let path = c_string(path.as_os_str().as_bytes(), "root.path")?;
    overlay::check(input)?;
    if !input.namespaces.contains(NamespaceKind::Mount) && !mounts_on_host(input.spec) {
        draft.setup.push(SetupOp::RootHere(path));
        console(input, draft);
        draft.setup.push(SetupOp::Enter(Enter::Chroot));
        return Ok(());
    }
    let propagation = input.root_propagation;
    // An unbindable mount could not be cloned: the host's copies are made private meanwhile, as runc does.
    let host = match propagation {
        None => libc::MS_SLAVE | libc::MS_REC,
        Some(p) if p.flag == libc::MS_UNBINDABLE => libc::MS_PRIVATE | libc::MS_REC,
        Some(p) if p.flag == libc::MS_SHARED => p.ms_flags(),
        // What is mounted below, and by the container on it, is not to appear on the host either.
        Some(p) => p.flag | libc::MS_REC,
    };
    if input.namespaces.is_new(NamespaceKind::Mount) && input.mounts_from == MountsFrom::Copy {
        draft.setup.push(SetupOp::HostPropagation(host));
    }
    let parent = match propagation {
        _ if !input.namespaces.is_new(NamespaceKind::Mount) => ParentMount::Others,
        Some(p) if p.flag == libc::MS_SLAVE => ParentMount::Slave,
        _ if input.mounts_from == MountsFrom::Skeleton || unshares(host) => ParentMount::Unshared,
        _ => ParentMount::Own,
    };
    let source = if input.takes_from_host() {
        draft.needs_cgroup();
        draft.setup.push(SetupOp::AskForHost(0));
        draft.ask(input, HostObject::Root(path.clone(), parent))
    } else {
        draft.source(input, path.clone(), (Reach::Tree, EndLink::Keep), &mut None)
    };
    let place = if input.mounts_from == MountsFrom::Copy { path.clone() } else { SKELETON_ROOT.into() };
    draft.setup.push(SetupOp::Root { source, path, place, parent });
    overlay::plan(input, draft, &root.path)?;
    let mut final_attrs = Vec::new();
    for (index, (mount, options)) in input.mounts().enumerate() {
        mounts::plan(input, (mount, options), draft, &mut final_attrs).below(|| format!("mounts[{index}]"))?;
    }
    let device_dirs = device_nodes(input, linux, draft)?;
    keep_off(&mut draft.setup, &device_dirs);
    console(input, draft);
    working_directory(input, draft)?;
    draft.needs_cgroup();
    for hook in hooks::child(input, HookKind::CreateContainer, "creating")? {
        draft.setup.push(SetupOp::Hook(Box::new(hook)));
    }
    restrictions(input, draft, final_attrs)?;
    if root.readonly {
        draft.setup.push(SetupOp::ReadonlyRoot);
    }
    let enter = if input.namespaces.is_new(NamespaceKind::Mount) { input.options.enter } else { Enter::Chroot };
    draft.setup.push(SetupOp::Enter(enter));
    // Afterwards: pivot_root(2) refuses a shared root. A private one, or a slave, it is already, and mounts keep what their
    // options say.
    if let Some(propagation) = propagation.filter(|p| p.flag & (libc::MS_SHARED | libc::MS_UNBINDABLE) != 0) {
        draft.setup.push(SetupOp::RootPropagation(propagation.flag, propagation.reach));
    }
    Ok(())
}

/// What may be done by a name, of the whole list as it will be done.
pub(super) fn settle(input: &Input<'_>, draft: &mut Draft) {
    if input.namespaces.is_new(NamespaceKind::Mount) {
        fresh::settle(&mut draft.setup);
    }
}

/// Whether no mount is shared with another namespace after this change of propagation.
pub fn unshares(flags: u64) -> bool {
    flags & libc::MS_REC != 0 && flags & (libc::MS_SLAVE | libc::MS_PRIVATE) != 0
}

/// Where the root is attached in the skeleton namespace.
pub const SKELETON_ROOT: &CStr = c"/root";

/// File systems that take nothing from the host but their name.
const SELF_CONTAINED: &[&str] = &["proc", "sysfs", "tmpfs", "ramfs", "devpts", "mqueue", "cgroup", "cgroup2", "bind"];

/// For more the descriptors might not be enough (`host::ROOMY`).
const MAX_TREES: usize = 256;

/// What the mount namespace starts from. The skeleton is for a crowded host, and for containers that need
/// nothing of the host but trees which can be cloned beforehand: no hook that expects the host's root, no file
/// system whose source or options are paths, no propagation back to the host. In a user namespace trees that
/// are attached directly are not locked (mount_namespaces(7)), so such containers copy as well.
pub(super) fn starts_from(input: &Input<'_>) -> MountsFrom {
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

/// Whether the container's mounts are made in the mount namespace of the caller, where `delete` has to take
/// them away again: the bundle has mounts, or a root that is read-only, but no mount namespace.
pub fn mounts_on_host(spec: &Spec) -> bool {
    let any = !spec.mounts.is_empty() || spec.root.as_ref().is_some_and(|root| root.readonly);
    any && spec.namespace(NamespaceKind::Mount.name()).is_none()
}

fn console(input: &Input<'_>, draft: &mut Draft) {
    let node = if input.namespaces.contains(NamespaceKind::Mount) { ConsoleNode::Bound } else { ConsoleNode::Nameless };
    let process = input.spec.process.as_ref();
    if let Some(console) = process.and_then(|process| process::console(process, input.options.terminal, node)) {
        draft.setup.extend([console, SetupOp::ControllingTerminal]);
    }
}

/// The default devices, those of the configuration, and the usual links. Nothing is made in a /dev that is
/// bound from somewhere: it is not the container's own. The directories that something is made in.
fn device_nodes(input: &Input<'_>, linux: &Linux, draft: &mut Draft) -> Result<Vec<CString>> {
    let root = host_root(input.spec, &input.options.bundle);
    let mut opened = Vec::new();
    if input.spec.mounts.iter().any(|mount| mount.binds_dev(&root)) {
        return Ok(opened);
    }
    // /dev/ptmx is a link to the container's own.
    for node in devices::all(&linux.devices)?.into_iter().filter(|node| node.relative() != "dev/ptmx") {
        let (dir, name) = node.relative().rsplit_once('/').unwrap_or((".", node.relative()));
        open_dir(&mut opened, dir, draft)?;
        let name = c_string(name, "linux.devices")?;
        if input.in_userns() && node.kind != NodeKind::Fifo {
            let source = device(input, &node, draft)?;
            draft.setup.push(SetupOp::BindDevice { name, source });
        } else {
            let (mode, dev) = (node.full_mode(), node.rdev());
            draft.setup.push(SetupOp::Mknod { name, mode, dev, uid: node.uid, gid: node.gid });
        }
    }
    open_dir(&mut opened, "dev", draft)?;
    for (name, target) in devices::LINKS.iter().copied() {
        let rule = match name {
            "ptmx" => LinkRule::Replace,
            "core" => LinkRule::IfTargetExists,
            _ => LinkRule::Keep,
        };
        draft.setup.push(SetupOp::Symlink { name: c_string(name, "link")?, target: c_string(target, "link")?, rule });
    }
    Ok(opened)
}

fn open_dir(opened: &mut Vec<CString>, dir: &str, draft: &mut Draft) -> Result<()> {
    let dir = c_string(dir, "linux.devices")?;
    if opened.last() != Some(&dir) {
        draft.setup.push(SetupOp::OpenDir(dir.clone()));
        opened.push(dir);
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
    match owner.filter(|_| input.takes_from_host() && input.host.is_real_root()) {
        Some((uid, gid)) => {
            let (mode, dev) = (node.full_mode(), node.rdev());
            Ok(draft
                .ask(input, HostObject::Device { mode, dev, uid, gid, label: mounts::mount_label(input, "tmpfs")? }))
        }
        None => {
            let path = c_string(node.path.as_str(), "linux.devices")?;
            Ok(draft.source(input, path, (Reach::One, EndLink::Follow), &mut None))
        }
    }
}

/// A working directory that is missing is made, as runc does, while the root can still be written.
fn working_directory(input: &Input<'_>, draft: &mut Draft) -> Result<()> {
    let cwd = input.spec.process.as_ref().map_or(&b"/"[..], |process| &process.cwd);
    if let Some(last) = cwd.iter().rposition(|byte| *byte != b'/') {
        draft.setup.push(SetupOp::OpenDir(c_string(from_root(&cwd[..=last]), "process.cwd")?));
    }
    Ok(())
}

/// Read-only and masked paths, and the attributes that had to wait until everything was made.
fn restrictions(input: &Input<'_>, draft: &mut Draft, final_attrs: Vec<(CString, MountAttr)>) -> Result<()> {
    let linux = input.linux;
    draft.setup.extend(mounts::set_final(final_attrs));
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
    for path in &linux.masked_paths {
        let path = relative(path, "linux.maskedPaths")?;
        // Once is enough.
        if seen.insert(path.clone()) {
            let label = mounts::mount_label(input, "tmpfs")?;
            draft.setup.push(SetupOp::Mask { path, within: None, label });
        }
    }
    Ok(())
}

/// A path in the container without its leading slashes; a relative one counts from the root, as with runc.
fn relative(path: &str, field: &str) -> Result<CString> {
    c_string(path.trim_start_matches('/'), field)
}
