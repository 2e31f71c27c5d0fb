//! A mount of cgroup file systems, which is made of what the host has. Pure; runs in the parent.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::one_mount::{OneMount, recursively};
use super::options::MountOptions;
use crate::error::Result;
use crate::host::cgroup::{Hierarchy, Layout};
use crate::plan::cgroup::{CgroupDir, CgroupPlan, Need, Version};
use crate::plan::draft::Draft;
use crate::plan::input::Input;
use crate::plan::namespace::NamespaceKind;
use crate::plan::op::{LinkRule, SetupOp};
use crate::plan::reach::Reach;
use crate::plan::strings::c_string;
use crate::spec::mounts::Mount;
use crate::sys::mount_attr as attr;

/// `cgroup`: cgroup2 where there are no v1 hierarchies, else a tmpfs with one directory a hierarchy, as
/// applications expect of v1.
pub(super) fn v1(one: &OneMount<'_>, draft: &mut Draft) -> Result<()> {
    draft.needs_cgroup(one.input);
    let layout = &one.input.host.cgroup;
    if layout.v1.is_empty() {
        return without_v1(one, draft);
    }
    let mut holder = fixed(&one.options);
    holder.data = vec!["mode=755".into(), "size=65536k".into()];
    holder.propagation.clear();
    one.with(holder).new_file_system("tmpfs", draft)?;
    for hierarchy in layout.v1.iter().chain(&layout.unified) {
        let Some(name) = hierarchy.mount_point.file_name() else { continue };
        let dest = [one.dest.to_bytes(), b"/", name.as_bytes()].concat();
        let dest = c_string(dest, "mounts.destination")?;
        let part = OneMount { input: one.input, mount: one.mount, options: fixed(&one.options), dest };
        one_hierarchy(&part, hierarchy, draft)?;
    }
    links_of_controllers(layout, one.dest.clone(), draft)
}

/// The container's cgroup. What is only tried may not have been made by the time of the mount.
fn planned<'a>(input: &'a Input<'_>) -> Option<&'a CgroupPlan> {
    input.cgroup.as_ref().filter(|cgroup| cgroup.need != Need::BestEffort)
}

fn dir_path(dir: &Path) -> Result<CString> {
    c_string(dir.as_os_str().as_bytes(), "linux.cgroupsPath")
}

/// `cgroup` of a host with cgroup2 alone. Without a cgroup namespace a new mount would show every cgroup of the host,
/// writable for a container root that is not confined (CVE-2023-25809): its own part is bound instead.
fn without_v1(one: &OneMount<'_>, draft: &mut Draft) -> Result<()> {
    let input = one.input;
    let one = one.with(fixed(&one.options));
    if input.namespaces.contains(NamespaceKind::Cgroup) || !input.in_userns() {
        return v2(&one, draft);
    }
    let is_v2 = |dir: &&CgroupDir| dir.version == Version::V2;
    match planned(input).and_then(|cgroup| cgroup.dirs.iter().find(is_v2)) {
        Some(dir) => one.bind(dir_path(&dir.full_path())?, Reach::One, draft),
        None => {
            one.with(recursively(&read_only(one.options.clone()))).bind(c"/sys/fs/cgroup".into(), Reach::Tree, draft)
        }
    }
}

/// One directory of `cgroup`.
fn one_hierarchy(one: &OneMount<'_>, hierarchy: &Hierarchy, draft: &mut Draft) -> Result<()> {
    let input = one.input;
    let layout = &input.host.cgroup;
    let own_namespace = input.namespaces.contains(NamespaceKind::Cgroup);
    if own_namespace && input.cgroup.is_some() && !input.in_userns() {
        let is_v2 = layout.unified.as_ref().is_some_and(|unified| unified.mount_point == hierarchy.mount_point);
        let (kind, data) = match &hierarchy.name {
            _ if is_v2 => ("cgroup2", Vec::new()),
            Some(name) => ("cgroup", vec![format!("name={name}")]),
            None => ("cgroup", hierarchy.controllers.clone()),
        };
        let named = Mount { source: Some("cgroup".into()), ..one.mount.clone() };
        let options = MountOptions { data, ..one.options.clone() };
        return OneMount { mount: &named, options, dest: one.dest.clone(), input }.new_file_system(kind, draft);
    }
    let dir = planned(input).and_then(|c| c.dirs.iter().find(|dir| dir.mount_point == hierarchy.mount_point));
    match dir {
        Some(dir) => one.bind(dir_path(&dir.full_path())?, Reach::One, draft),
        // No cgroup of its own there: where the runtime is, and nothing may be written.
        None => {
            let source = dir_path(&hierarchy.mount_point.join(&hierarchy.own))?;
            one.with(read_only(one.options.clone())).bind(source, Reach::One, draft)
        }
    }
}

/// cgroup2. In the host's cgroup namespace a new mount would change the file system of the whole host: it takes the mount's options,
/// and `nsdelegate` and `memory_recursiveprot` go where they are not named (cgroup_get_tree() of kernel/cgroup/cgroup.c). So
/// the host's mount is bound there, which shows the same.
pub(super) fn v2(one: &OneMount<'_>, draft: &mut Draft) -> Result<()> {
    let input = one.input;
    match &input.host.cgroup.unified {
        Some(there) if !input.namespaces.contains(NamespaceKind::Cgroup) && !input.in_userns() => {
            let source = c_string(there.mount_point.as_os_str().as_bytes(), "mounts.source")?;
            one.with(MountOptions { named: false, ..one.options.clone() }).bind(source, Reach::One, draft)
        }
        _ => one.new_file_system("cgroup2", draft),
    }
}

fn read_only(mut options: MountOptions) -> MountOptions {
    options.attr_set |= attr::RDONLY;
    options
}

/// Programs look for `/sys/fs/cgroup/cpu` where the host has `cpu,cpuacct`: links, as on the host and as runc makes them.
fn links_of_controllers(layout: &Layout, dest: CString, draft: &mut Draft) -> Result<()> {
    let names = layout.v1.iter().filter_map(|hierarchy| hierarchy.mount_point.file_name()?.to_str());
    let shared: Vec<&str> = names.filter(|name| name.contains(',')).collect();
    if !shared.is_empty() {
        draft.setup.push(SetupOp::OpenDir(dest));
    }
    for target in shared {
        for name in target.split(',') {
            let (name, target) = (c_string(name, "mounts.destination")?, c_string(target, "mounts.destination")?);
            draft.setup.push(SetupOp::Symlink { name, target, rule: LinkRule::Keep });
        }
    }
    Ok(())
}

/// The options of a cgroup mount without what only the file system named in the bundle would know.
fn fixed(options: &MountOptions) -> MountOptions {
    let mut fixed = options.clone();
    fixed.data.clear();
    fixed.named = false;
    fixed
}
