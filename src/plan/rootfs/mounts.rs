//! One entry of `mounts` as operations.

use std::borrow::Cow;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;

use crate::error::{Error, Result, Stage};
use crate::host::cgroup::Layout;
use crate::plan::cgroup::{Need, Version};
use crate::plan::draft::Draft;
use crate::plan::input::{BindSources, Input};
use crate::plan::namespace::{NamespaceFs, NamespaceKind};
use crate::plan::op::{Enter, LinkRule, SetupOp};
use crate::plan::reach::Reach;
use crate::plan::rootfs::idmap;
use crate::plan::rootfs::mount_op::{
    CopyUp, EndLink, FsParams, MountKind, MountOp, MountSource, NewFileSystem, TmpfsMode,
};
use crate::plan::rootfs::options::MountOptions;
use crate::plan::strings::{c_string, host_path, host_root};
use crate::spec::annotations;
use crate::spec::mounts::Mount;
use crate::sys::mount_attr::{self as attr, MountAttr};

/// Attributes that are set when nothing more is made in a mount, by destination.
pub(super) type FinalAttrs = Vec<(CString, MountAttr)>;

/// Sets them, by the descriptors that the mounts were attached with.
pub(in crate::plan) fn set_final(final_attrs: FinalAttrs) -> impl Iterator<Item = SetupOp> {
    final_attrs.into_iter().enumerate().map(|(kept, (path, attr))| SetupOp::SetAttr { path, kept, attr })
}

/// Plans one mount.
pub(in crate::plan) fn plan(
    input: &Input<'_>,
    (mount, options): (&Mount, &MountOptions),
    draft: &mut Draft,
    final_attrs: &mut FinalAttrs,
) -> Result<()> {
    let mut options = Cow::Borrowed(options);
    let dest = relative_dest(input, mount)?;
    let kind = mount.kind.as_deref().unwrap_or("");
    if options.copy_symlink && (options.src_nofollow || options.dest_nofollow) {
        let what = format!("mount {}: copy-symlink excludes src-nofollow and dest-nofollow", mount.destination);
        return Err(Error::new(Stage::Bundle, what));
    }
    if options.tmpcopyup && (kind != "tmpfs" || mount.is_bind()) {
        draft.warnings.push(format!("mount {}: tmpcopyup is for tmpfs only, and left out", mount.destination));
        options.to_mut().tmpcopyup = false;
    }
    if dest.is_empty() && !options.remount && input.options.enter == Enter::Move {
        // The root that it covers would stay, and a whole proc in it would let a new one be mounted (`child::reveal`).
        let what = format!("mount {}: a mount on the root itself cannot be had with --no-pivot", mount.destination);
        return Err(Error::new(Stage::Bundle, what));
    }
    check_proc(mount, &dest)?;
    match kind {
        _ if options.remount => return remount(mount, &options, dest, draft),
        "cgroup" => return cgroup(input, mount, &options, dest, draft, final_attrs),
        // Options of the file system that are named are meant.
        "cgroup2" if options.data.is_empty() => return cgroup2(input, mount, &options, dest, draft, final_attrs),
        "sysfs" if input.in_userns() && !input.namespaces.contains(NamespaceKind::Network) && !mount.is_bind() => {
            // A new sysfs shows the network namespace, which must belong to our user namespace: the host's does not.
            return bind(input, mount, &recursively(&options), dest, c"/sys".into(), Reach::Tree, draft);
        }
        _ => {}
    }
    if mount.is_bind() {
        let Some(source) = mount.source.as_deref().filter(|source| !source.is_empty()) else {
            let what = format!("mount {}: a bind mount needs a source", mount.destination);
            return Err(Error::new(Stage::Bundle, what));
        };
        if let Some(first) = options.data.first() {
            // mount(2) ignores them, so runc and crun do, and bundles have them.
            let what = "bind mounts have no file system options";
            draft.warnings.push(format!("mount {}: {what}: {first:?} is left out", mount.destination));
        }
        let source = host_path(&input.options.bundle, source);
        let source = c_string(source.as_os_str().as_bytes(), "mounts.source")?;
        let recursive = options.bind == Some(Reach::Tree) || kind == "rbind";
        let reach = if recursive { Reach::Tree } else { Reach::One };
        return bind(input, mount, &options, dest, source, reach, draft);
    }
    if kind.is_empty() {
        return Err(Error::new(Stage::Bundle, format!("mount {}: the type is missing", mount.destination)));
    }
    if let Some(made) = draft.take_namespace_fs(kind) {
        let source = MountSource::NamespaceFs(made);
        let what = MountKind::Bind { source, reach: Reach::One, end: EndLink::Keep, host: None };
        draft.setup.push(SetupOp::Mount(Box::new(MountOp {
            // As for a new one.
            no_follow: options.dest_nofollow || made == NamespaceFs::Sysfs,
            ..mount_op(dest, what, &options)
        })));
        return Ok(());
    }
    new(input, mount, &options, dest, kind, draft, final_attrs)
}

/// Options of a tree of the host that stands in for a new file system: what holds for that has to hold for all of it
/// (CVE-2023-25809).
fn recursively(options: &MountOptions) -> MountOptions {
    let mut options = options.clone();
    // No flag of the host's goes.
    options.named = false;
    options.rec_set |= options.attr_set & !attr::ATIME_MASK;
    options
}

fn relative_dest(input: &Input<'_>, mount: &Mount) -> Result<CString> {
    c_string(mount.place(&host_root(input.spec, &input.options.bundle)), "mounts.destination")
}

/// What may be mounted below /proc, as in runc: files that lxcfs emulates, and a few that programs need to see.
/// Anything else there could stand in for the files that labels and parameters are written to
/// (CVE-2019-16884).
pub const OVER_PROC: &[&str] = &[
    "proc/cpuinfo",
    "proc/diskstats",
    "proc/loadavg",
    "proc/meminfo",
    "proc/net/dev",
    "proc/slabinfo",
    "proc/stat",
    "proc/swaps",
    "proc/sys/crypto/fips_enabled",
    "proc/sys/kernel/ns_last_pid",
    "proc/uptime",
];

/// Refuses a destination below /proc that is not on the list.
fn check_proc(mount: &Mount, dest: &std::ffi::CStr) -> Result<()> {
    let dest = dest.to_string_lossy();
    if !dest.starts_with("proc/") || OVER_PROC.contains(&dest.as_ref()) {
        return Ok(());
    }
    let what = format!("mount {}: nothing may be mounted inside of /proc", mount.destination);
    Err(Error::new(Stage::Bundle, what))
}

fn plain_attr(options: &MountOptions) -> MountAttr {
    MountAttr { set: options.attr_set, clear: options.attr_clr, ..MountAttr::default() }
}

/// A mount with what its options say of it alone.
fn mount_op(dest: CString, what: MountKind, options: &MountOptions) -> MountOp {
    MountOp {
        attr: plain_attr(options),
        recursive: MountAttr { set: options.rec_set, clear: options.rec_clr, ..MountAttr::default() },
        propagation: options.propagation.iter().map(|p| (p.flag, p.reach)).collect(),
        no_follow: options.dest_nofollow,
        ..MountOp::new(dest, what)
    }
}

fn bind(
    input: &Input<'_>,
    mount: &Mount,
    options: &MountOptions,
    dest: CString,
    source: CString,
    reach: Reach,
    draft: &mut Draft,
) -> Result<()> {
    let mut idmap = idmap::of_mount(input, mount, options, draft)?;
    let what = if options.copy_symlink {
        MountKind::BindOrLink { source, reach }
    } else {
        let end = if options.src_nofollow { EndLink::Keep } else { EndLink::Follow };
        let host = Some(source.clone());
        let source = draft.source(input, source, (reach, end), &mut idmap);
        MountKind::Bind { source, reach, end, host }
    };
    // Of what a container is given while it runs nothing is locked: there all flags of the host's mount stay.
    let added = input.in_userns() && input.sources == BindSources::Trees;
    let (attr, unnamed) = if added { (plain_attr(options), 0) } else { options.of_bind() };
    draft.setup.push(SetupOp::Mount(Box::new(MountOp {
        attr,
        unnamed,
        idmap,
        no_follow: options.dest_nofollow || options.copy_symlink,
        ..mount_op(dest, what, options)
    })));
    Ok(())
}

/// File systems whose superblock is shared or virtual: read-only is a property of the mount there.
const MOUNT_ONLY_READONLY: &[&str] = &["proc", "sysfs", "cgroup", "cgroup2", "mqueue", "devpts", "tmpfs"];

/// Superblock flags as fsconfig(2) names them.
const SUPER_FLAGS: &[(u64, &std::ffi::CStr)] = &[
    (libc::MS_SYNCHRONOUS, c"sync"),
    (libc::MS_DIRSYNC, c"dirsync"),
    (libc::MS_MANDLOCK, c"mand"),
    (libc::MS_LAZYTIME, c"lazytime"),
];

/// How they are taken away from a file system that is there.
const CLEARED: &[(u64, &std::ffi::CStr)] = &[
    (libc::MS_RDONLY, c"rw"),
    (libc::MS_SYNCHRONOUS, c"async"),
    (libc::MS_MANDLOCK, c"nomand"),
    (libc::MS_LAZYTIME, c"nolazytime"),
];

fn params(options: &MountOptions, kind: &str) -> Result<FsParams> {
    let mut params = Vec::new();
    if options.sb_set & libc::MS_RDONLY != 0 && !MOUNT_ONLY_READONLY.contains(&kind) {
        params.push((c"ro".into(), None));
    }
    for (flag, name) in SUPER_FLAGS {
        if options.sb_set & flag != 0 {
            params.push(((*name).into(), None));
        }
    }
    for item in &options.data {
        params.push(match item.split_once('=') {
            // The quotes keep the commas of a context together in the data of mount(2); fsconfig(2) takes values as they are.
            Some((key, value)) => {
                let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
                let value = quoted.filter(|_| key.ends_with("context")).unwrap_or(value);
                (c_string(key, "mounts.options")?, Some(c_string(value, "mounts.options")?))
            }
            None => (c_string(item.as_str(), "mounts.options")?, None),
        });
    }
    Ok(params)
}

fn new(
    input: &Input<'_>,
    mount: &Mount,
    options: &MountOptions,
    dest: CString,
    kind: &str,
    draft: &mut Draft,
    final_attrs: &mut FinalAttrs,
) -> Result<()> {
    if options.tmpcopyup || kind == "cgroup2" {
        draft.needs_cgroup();
    }
    let mut params = params(options, kind)?;
    let mut data = options.data.join(",");
    let mut label = None;
    let context = annotations::mount_context(input.spec)?;
    match mount_label(input, kind)? {
        // Made with the ipc namespace, it has its labels by now, and no other mount of it can have others (EINVAL).
        own @ Some(_) if kind == "mqueue" => label = own,
        Some(value) if !params.iter().any(|(key, _)| key.to_bytes() == context.as_bytes()) => {
            let comma = if data.is_empty() { "" } else { "," };
            data = format!("{data}{comma}{context}=\"{}\"", value.to_string_lossy());
            params.push((c_string(context, "linux.mountLabel")?, Some(value)));
        }
        _ => {}
    }
    let mut attr = plain_attr(options);
    attr.clear = 0;
    let mut kept = None;
    if kind == "tmpfs" && attr.set & attr::RDONLY != 0 {
        // Devices and mount points are still made in it.
        kept = Some(final_attrs.len());
        attr.set &= !attr::RDONLY;
        final_attrs.push((dest.clone(), MountAttr { set: attr::RDONLY, ..MountAttr::default() }));
    }
    let idmap = idmap::of_mount(input, mount, options, draft)?;
    let source = mount.source.as_deref().filter(|source| !source.is_empty()).unwrap_or(kind);
    let has_mode = options.data.iter().any(|item| item.starts_with("mode="));
    let what = MountKind::New(NewFileSystem {
        kind: c_string(kind, "mounts.type")?,
        source: c_string(source, "mounts.source")?,
        params,
        flags: options.sb_set & !libc::MS_RDONLY,
        data: c_string(data, "mounts.options")?,
        copy_up: if options.tmpcopyup { CopyUp::Yes } else { CopyUp::No },
        mode: if kind == "tmpfs" && !has_mode { TmpfsMode::OfMountPoint } else { TmpfsMode::AsGiven },
        label,
    });
    draft.setup.push(SetupOp::Mount(Box::new(MountOp {
        kept,
        attr,
        idmap,
        // A link at /proc or /sys would put the real one elsewhere (CVE-2019-19921, CVE-2023-27561).
        no_follow: options.dest_nofollow || matches!(kind, "proc" | "sysfs"),
        ..mount_op(dest, what, options)
    })));
    Ok(())
}

/// The SELinux context of a new mount. The kernel labels proc and sysfs itself; without SELinux no file system
/// knows the option, and engines write the label all the same.
pub(super) fn mount_label(input: &Input<'_>, kind: &str) -> Result<Option<CString>> {
    if !input.host.selinux || matches!(kind, "proc" | "sysfs" | "cgroup" | "cgroup2") {
        return Ok(None);
    }
    let label = input.linux.mount_label.as_deref().filter(|label| !label.is_empty());
    label.map(|label| c_string(label, "linux.mountLabel")).transpose()
}

fn remount(mount: &Mount, options: &MountOptions, dest: CString, draft: &mut Draft) -> Result<()> {
    let mut params = if mount.is_bind() { Vec::new() } else { params(options, "")? };
    if !mount.is_bind() {
        let cleared = CLEARED.iter().filter(|(flag, _)| options.sb_clr & flag != 0);
        params.extend(cleared.map(|(_, name)| ((*name).into(), None)));
    }
    draft.setup.push(SetupOp::Mount(Box::new(mount_op(dest, MountKind::Remount { params }, options))));
    Ok(())
}

/// `cgroup`: cgroup2 where there are no v1 hierarchies, else a tmpfs with one directory a hierarchy, as
/// applications expect of v1.
fn cgroup(
    input: &Input<'_>,
    mount: &Mount,
    options: &MountOptions,
    dest: CString,
    draft: &mut Draft,
    final_attrs: &mut FinalAttrs,
) -> Result<()> {
    draft.needs_cgroup();
    let layout = &input.host.cgroup;
    let own_namespace = input.namespaces.contains(NamespaceKind::Cgroup);
    // What is only tried may not have been made by the time of the mount.
    let planned = input.cgroup.as_ref().filter(|cgroup| cgroup.need != Need::BestEffort);
    if layout.v1.is_empty() {
        // Without a cgroup namespace a new mount would show every cgroup of the host, writable for a
        // container root that is not confined (CVE-2023-25809): its own part is bound instead.
        let dir = planned.and_then(|c| c.dirs.iter().find(|dir| dir.version == Version::V2));
        return match dir {
            Some(dir) if !own_namespace && input.in_userns() => {
                let source = c_string(dir.full_path().as_os_str().as_bytes(), "linux.cgroupsPath")?;
                bind(input, mount, &fixed(options), dest, source, Reach::One, draft)
            }
            None if input.in_userns() && !own_namespace => {
                let mut options = fixed(options);
                options.attr_set |= attr::RDONLY;
                let options = recursively(&options);
                bind(input, mount, &options, dest, c"/sys/fs/cgroup".into(), Reach::Tree, draft)
            }
            _ => cgroup2(input, mount, &fixed(options), dest, draft, final_attrs),
        };
    }
    let mut holder = fixed(options);
    let readonly = options.attr_set & attr::RDONLY != 0;
    holder.data = vec!["mode=755".into(), "size=65536k".into()];
    holder.propagation.clear();
    new(input, mount, &holder, dest.clone(), "tmpfs", draft, final_attrs)?;
    for hierarchy in layout.v1.iter().chain(&layout.unified) {
        let Some(name) = hierarchy.mount_point.file_name() else { continue };
        let inner = [dest.to_bytes(), b"/", name.as_bytes()].concat();
        let inner = c_string(inner, "mounts.destination")?;
        let dir = planned.and_then(|c| c.dirs.iter().find(|dir| dir.mount_point == hierarchy.mount_point));
        let mut options = fixed(options);
        if readonly {
            options.attr_set |= attr::RDONLY;
        }
        if own_namespace && input.cgroup.is_some() && !input.in_userns() {
            let is_v2 = layout.unified.as_ref().is_some_and(|u| u.mount_point == hierarchy.mount_point);
            let kind = if is_v2 { "cgroup2" } else { "cgroup" };
            options.data = match (&hierarchy.name, is_v2) {
                (_, true) => Vec::new(),
                (Some(name), _) => vec![format!("name={name}")],
                (None, _) => hierarchy.controllers.clone(),
            };
            let named = Mount { source: Some("cgroup".into()), ..mount.clone() };
            new(input, &named, &options, inner, kind, draft, final_attrs)?;
            continue;
        }
        let source = match dir {
            Some(dir) => dir.full_path(),
            // No cgroup of its own there: where the runtime is, and nothing may be written.
            None => {
                options.attr_set |= attr::RDONLY;
                hierarchy.mount_point.join(&hierarchy.own)
            }
        };
        let source = c_string(source.as_os_str().as_bytes(), "linux.cgroupsPath")?;
        bind(input, mount, &options, inner, source, Reach::One, draft)?;
    }
    links_of_controllers(layout, dest, draft)
}

/// cgroup2. In the host's cgroup namespace a new mount would change the file system of the whole host: it takes the mount's options,
/// and `nsdelegate` and `memory_recursiveprot` go where they are not named (cgroup_get_tree() of kernel/cgroup/cgroup.c). So
/// the host's mount is bound there, which shows the same.
fn cgroup2(
    input: &Input<'_>,
    mount: &Mount,
    options: &MountOptions,
    dest: CString,
    draft: &mut Draft,
    final_attrs: &mut FinalAttrs,
) -> Result<()> {
    match &input.host.cgroup.unified {
        Some(there) if !input.namespaces.contains(NamespaceKind::Cgroup) && !input.in_userns() => {
            let source = c_string(there.mount_point.as_os_str().as_bytes(), "mounts.source")?;
            let options = MountOptions { named: false, ..options.clone() };
            bind(input, mount, &options, dest, source, Reach::One, draft)
        }
        _ => new(input, mount, options, dest, "cgroup2", draft, final_attrs),
    }
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
