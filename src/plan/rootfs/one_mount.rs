//! One mount as operations: a bind, a new file system, or new attributes of one that is there. Pure; runs in the parent.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;

use crate::error::{Error, Result, Stage};
use crate::plan::draft::{Draft, TreeSource};
use crate::plan::input::Input;
use crate::plan::namespace::NamespaceFs;
use crate::plan::op::SetupOp;
use crate::plan::reach::Reach;
use crate::plan::rootfs::idmap;
use crate::plan::rootfs::mount_op::{
    CopyUp, EndLink, FsParams, HostTree, MountKind, MountOp, MountSource, NewFileSystem, TmpfsMode,
};
use crate::plan::rootfs::options::MountOptions;
use crate::plan::strings::{c_string, host_path};
use crate::spec::annotations;
use crate::spec::mounts::Mount;
use crate::sys::mount_attr::{self as attr, MountAttr};

/// One mount on its way into operations: as config.json has it, or a part of what stands in for that.
pub(super) struct OneMount<'a> {
    pub input: &'a Input<'a>,
    pub mount: &'a Mount,
    pub options: MountOptions,
    /// Below the root, without a leading slash.
    pub dest: CString,
}

impl OneMount<'_> {
    pub(super) fn kind(&self) -> &str {
        self.mount.kind.as_deref().unwrap_or("")
    }

    /// With these options in place of its own.
    pub(super) fn with(&self, options: MountOptions) -> Self {
        OneMount { input: self.input, mount: self.mount, options, dest: self.dest.clone() }
    }

    /// What config.json names as the source of a bind.
    pub(super) fn bind_source(&self, draft: &mut Draft) -> Result<()> {
        let OneMount { input, mount, options, .. } = self;
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
        let recursive = options.bind == Some(Reach::Tree) || self.kind() == "rbind";
        self.bind(source, if recursive { Reach::Tree } else { Reach::One }, draft)
    }

    /// A bind of this path of the host.
    pub(super) fn bind(&self, path: CString, reach: Reach, draft: &mut Draft) -> Result<()> {
        let OneMount { input, mount, options, dest } = self;
        let idmap = idmap::of_mount(input, mount, options, draft)?;
        let (what, idmap) = if options.copy_symlink {
            (MountKind::BindOrLink { source: path, reach }, idmap)
        } else {
            let end = if options.src_nofollow { EndLink::Keep } else { EndLink::Follow };
            let host = Some(path.clone());
            let TreeSource { source, idmap } = draft.source(input, HostTree { path, reach, end, idmap });
            (MountKind::Bind { source, reach, end, host }, idmap)
        };
        // Where none is locked all flags of the host's mount stay.
        let (attr, unnamed) = if input.flags_are_locked() { options.of_bind() } else { (plain_attr(options), 0) };
        draft.setup.push(SetupOp::Mount(Box::new(MountOp {
            attr,
            unnamed,
            idmap,
            no_follow: options.dest_nofollow || options.copy_symlink,
            ..mount_op(dest.clone(), what, options)
        })));
        Ok(())
    }

    /// The file system of a namespace that was joined.
    pub(super) fn attach(&self, made: NamespaceFs, draft: &mut Draft) {
        let source = MountSource::NamespaceFs(made);
        let what = MountKind::Bind { source, reach: Reach::One, end: EndLink::Keep, host: None };
        draft.setup.push(SetupOp::Mount(Box::new(MountOp {
            // As for a new one.
            no_follow: self.options.dest_nofollow || made == NamespaceFs::Sysfs,
            ..mount_op(self.dest.clone(), what, &self.options)
        })));
    }

    /// A new file system of this type.
    pub(super) fn new_file_system(&self, kind: &str, draft: &mut Draft) -> Result<()> {
        let OneMount { input, mount, options, dest } = self;
        if options.tmpcopyup || kind == "cgroup2" {
            draft.needs_cgroup(input);
        }
        let mut attr = MountAttr { clear: 0, ..plain_attr(options) };
        let mut kept = None;
        if kind == "tmpfs" && attr.set & attr::RDONLY != 0 {
            // Devices and mount points are still made in it.
            attr.set &= !attr::RDONLY;
            kept = Some(draft.set_finally(dest, MountAttr { set: attr::RDONLY, ..MountAttr::default() }));
        }
        let idmap = idmap::of_mount(input, mount, options, draft)?;
        let what = MountKind::New(self.file_system(kind)?);
        draft.setup.push(SetupOp::Mount(Box::new(MountOp {
            kept,
            attr,
            idmap,
            // A link at /proc or /sys would put the real one elsewhere (CVE-2019-19921, CVE-2023-27561).
            no_follow: options.dest_nofollow || matches!(kind, "proc" | "sysfs"),
            ..mount_op(dest.clone(), what, options)
        })));
        Ok(())
    }

    fn file_system(&self, kind: &str) -> Result<NewFileSystem> {
        let OneMount { input, mount, options, .. } = self;
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
        let source = mount.source.as_deref().filter(|source| !source.is_empty()).unwrap_or(kind);
        let has_mode = options.data.iter().any(|item| item.starts_with("mode="));
        Ok(NewFileSystem {
            kind: c_string(kind, "mounts.type")?,
            source: c_string(source, "mounts.source")?,
            params,
            flags: options.sb_set & !libc::MS_RDONLY,
            data: c_string(data, "mounts.options")?,
            copy_up: if options.tmpcopyup { CopyUp::Yes } else { CopyUp::No },
            mode: if kind == "tmpfs" && !has_mode { TmpfsMode::OfMountPoint } else { TmpfsMode::AsGiven },
            label,
        })
    }

    pub(super) fn remount(&self, draft: &mut Draft) -> Result<()> {
        let OneMount { mount, options, dest, .. } = self;
        let mut params = if mount.is_bind() { Vec::new() } else { params(options, "")? };
        if !mount.is_bind() {
            let cleared = CLEARED.iter().filter(|(flag, _)| options.sb_clr & flag != 0);
            params.extend(cleared.map(|(_, name)| ((*name).into(), None)));
        }
        draft.setup.push(SetupOp::Mount(Box::new(mount_op(dest.clone(), MountKind::Remount { params }, options))));
        Ok(())
    }
}

fn plain_attr(options: &MountOptions) -> MountAttr {
    MountAttr { set: options.attr_set, clear: options.attr_clr, ..MountAttr::default() }
}

/// A mount with what its options say of it alone.
fn mount_op(dest: CString, what: MountKind, options: &MountOptions) -> MountOp {
    MountOp {
        attr: plain_attr(options),
        recursive: MountAttr { set: options.rec_set, clear: options.rec_clr, ..MountAttr::default() },
        propagation: options.propagation.clone(),
        no_follow: options.dest_nofollow,
        ..MountOp::new(dest, what)
    }
}

/// Options of a tree of the host that stands in for a new file system: what holds for that has to hold for all of it
/// (CVE-2023-25809).
pub(super) fn recursively(options: &MountOptions) -> MountOptions {
    let mut options = options.clone();
    // No flag of the host's goes.
    options.named = false;
    options.rec_set |= options.attr_set & !attr::ATIME_MASK;
    options
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

/// What takes a superblock flag away from a file system that is there.
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

/// The SELinux context of a new mount. The kernel labels proc and sysfs itself; without SELinux no file system
/// knows the option, and engines write the label all the same.
pub(super) fn mount_label(input: &Input<'_>, kind: &str) -> Result<Option<CString>> {
    if !input.host.selinux || matches!(kind, "proc" | "sysfs" | "cgroup" | "cgroup2") {
        return Ok(None);
    }
    let label = input.linux.mount_label.as_deref().filter(|label| !label.is_empty());
    label.map(|label| c_string(label, "linux.mountLabel")).transpose()
}
