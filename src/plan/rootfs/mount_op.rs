//! A mount as data: where it comes from, where it goes, and what it is told.

use std::ffi::CString;

use crate::plan::namespace::NamespaceFs;
use crate::plan::reach::Reach;
use crate::plan::rootfs::options::Propagation;
use crate::sys::mount_attr::MountAttr;

/// What a file system is told before it is mounted: keys, and their values where they take one (fsconfig(2)).
pub type FsParams = Vec<(CString, Option<CString>)>;

/// A place among the trees that [`Step::CloneTree`](crate::plan::step::Step::CloneTree) clones before there is a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeIndex(pub usize);

/// A place among the trees that come when there is a child ([`MountSource::Late`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LateIndex(pub usize);

/// A place among the user namespaces that the parent opens for id-mapped mounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdMapIndex(pub usize);

/// A place among the mounts whose descriptors the child keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptIndex(pub usize);

/// How the ids of a mount are mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MountIdMap {
    /// By the maps of this user namespace.
    pub userns: IdMapIndex,
    /// Whether those of the mounts below it are, too.
    pub reach: Reach,
}

/// A tree of mounts of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostTree {
    /// Its path.
    pub path: CString,
    /// How much of it.
    pub reach: Reach,
    /// A link at the end of the path.
    pub end: EndLink,
    /// How it is mapped by whoever takes it: only one who has authority over the file system may do that.
    pub idmap: Option<MountIdMap>,
}

/// Where the source of a mount comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountSource {
    /// The child opens this path in its own mount namespace.
    Path(CString),
    /// The parent has cloned this tree.
    Tree(TreeIndex),
    /// A tree that comes after the child was made: one that the parent offers once the cgroup is made
    /// ([`Step::OfferTrees`](crate::plan::step::Step::OfferTrees)) or takes in the child's mount namespace
    /// ([`Step::TakeFromHost`](crate::plan::step::Step::TakeFromHost)), or that the child has cloned itself
    /// ([`SetupOp::CloneTree`](crate::plan::op::SetupOp::CloneTree)).
    Late(LateIndex),
    /// What [`SetupOp::AskForOne`](crate::plan::op::SetupOp::AskForOne) has just brought.
    Asked,
    /// What [`SetupOp::MakeNamespaceFs`](crate::plan::op::SetupOp::MakeNamespaceFs) has made.
    NamespaceFs(NamespaceFs),
}

/// What is done with a symbolic link that is the last component of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndLink {
    /// What it leads to is meant.
    Follow,
    /// The link itself is meant (`AT_SYMLINK_NOFOLLOW`).
    Keep,
}

impl EndLink {
    /// The flag of open_tree(2).
    pub const fn flag(self) -> u32 {
        if matches!(self, EndLink::Keep) { libc::AT_SYMLINK_NOFOLLOW as u32 } else { 0 }
    }
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountKind {
    /// A new file system.
    New(NewFileSystem),
    /// A bind mount.
    Bind {
        /// What is bound.
        source: MountSource,
        /// With the mounts below it?
        reach: Reach,
        /// A link at the end of the source.
        end: EndLink,
        /// Where the source is on the host, for people: what the child gets of it may be a descriptor.
        host: Option<CString>,
    },
    /// A link is made anew instead of mounting what it points to, when the source is one (`copy-symlink`).
    BindOrLink {
        /// What is bound or copied.
        source: CString,
        /// With the mounts below it?
        reach: Reach,
    },
    /// Nothing new: attributes of the mount that is there.
    Remount {
        /// Superblock parameters to change.
        params: FsParams,
    },
}

/// A file system that is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFileSystem {
    /// Its type.
    pub kind: CString,
    /// The device, or any name.
    pub source: CString,
    /// Parameters for fsconfig(2), in order; one without a value is a flag.
    pub params: FsParams,
    /// What mount(2) takes: flags and data. Used where fsopen(2) is missing, or where a value is longer
    /// than the 255 bytes fsconfig(2) takes (overlay's lowerdir).
    pub flags: u64,
    /// Comma-separated data for mount(2).
    pub data: CString,
    /// Copy what the mount point holds into the new tmpfs before it is attached.
    pub copy_up: CopyUp,
    /// Permissions of a tmpfs's root.
    pub mode: TmpfsMode,
    /// SELinux label of its root, where the file system is older than this mount and takes none as it is made.
    pub label: Option<CString>,
}

/// `tmpcopyup`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyUp {
    /// The new tmpfs starts empty.
    No,
    /// The new tmpfs starts with a copy of what it hides.
    Yes,
}

/// Permissions of a new tmpfs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TmpfsMode {
    /// By the parameters, or the kernel's default.
    AsGiven,
    /// The permissions of the directory it is mounted on, sticky bit included.
    OfMountPoint,
}

/// One mount below the container's root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountOp {
    /// Below the root, without a leading slash.
    pub dest: CString,
    /// What.
    pub what: MountKind,
    /// Attributes of the mount itself.
    pub attr: MountAttr,
    /// The cleared attributes that the options do not name: they stay where a user namespace may not clear them.
    pub unnamed: u64,
    /// Attributes of the mount and all below it.
    pub recursive: MountAttr,
    /// Changes of propagation, in order.
    pub propagation: Vec<Propagation>,
    /// How the child maps its ids.
    pub idmap: Option<MountIdMap>,
    /// Where its descriptor is kept for [`SetupOp::SetAttr`](crate::plan::op::SetupOp::SetAttr) and, told last (`rootfs::settle`), for what
    /// works in it.
    pub kept: Option<KeptIndex>,
    /// The tmpfs it is directly in, if that is one that this start has made and nobody else has been in
    /// (`plan::rootfs::fresh`); told last.
    pub within: Option<KeptIndex>,
    /// `O_NOFOLLOW` for the destination's last component: `dest-nofollow`, and always for proc and sysfs
    /// (CVE-2019-19921, CVE-2023-27561).
    pub no_follow: bool,
    /// Directories where devices are made and that the destination does not name: no link of the image may lead the mount over
    /// one, for what is mounted would be given them and our links, a directory of the host for example. Told last.
    pub keeps_off: Vec<DeviceDir>,
}

impl MountOp {
    /// A mount as it is, at a place whose links are followed.
    pub fn new(dest: CString, what: MountKind) -> MountOp {
        MountOp {
            dest,
            what,
            attr: MountAttr::default(),
            unnamed: 0,
            recursive: MountAttr::default(),
            propagation: Vec::new(),
            idmap: None,
            kept: None,
            within: None,
            no_follow: false,
            keeps_off: Vec::new(),
        }
    }
}

/// A directory where devices are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceDir {
    /// Below the root, without a leading slash.
    pub path: CString,
    /// Whether it has a file system of its own, and no place on the root's is in it.
    pub apart: bool,
}
