//! Namespaces: which are made, which are joined, and what is done with them. Pure; runs in the parent.
//!
//! The modules, in the order of the work: `rootless` gives an ordinary user's bundle the user namespace that it lacks, `idmap`
//! reads the maps of ids, `check` refuses what does not fit together,
//! `enter` takes the child into its namespaces, `net_devices` and `sysctl` furnish them.

pub(super) mod check;
pub(super) mod enter;
pub mod idmap;
pub(super) mod net_devices;
pub mod rootless;
pub mod sysctl;

use std::ffi::CStr;

use libc::{
    CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWTIME, CLONE_NEWUSER, CLONE_NEWUTS,
};

use crate::error::{Error, Result, Stage};
use crate::host::{Host, Userns};
use crate::spec::linux::{NAMESPACES, Namespace};

/// A type of namespace, in the order of [`NAMESPACES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "names and meaning are namespaces(7)'s")]
pub enum NamespaceKind {
    User,
    Pid,
    Network,
    Mount,
    Ipc,
    Uts,
    Cgroup,
    Time,
}

impl NamespaceKind {
    /// Every type: the user namespace first, since joining it gives the rights to join the others.
    pub const ALL: [NamespaceKind; 8] = [
        NamespaceKind::User,
        NamespaceKind::Pid,
        NamespaceKind::Network,
        NamespaceKind::Mount,
        NamespaceKind::Ipc,
        NamespaceKind::Uts,
        NamespaceKind::Cgroup,
        NamespaceKind::Time,
    ];

    /// The name in config.json and in `features`.
    pub const fn name(self) -> &'static str {
        NAMESPACES[self as usize]
    }

    /// The flag of clone3(2), unshare(2), setns(2) and ioctl NS_GET_NSTYPE.
    pub const fn flag(self) -> u64 {
        (match self {
            NamespaceKind::User => CLONE_NEWUSER,
            NamespaceKind::Pid => CLONE_NEWPID,
            NamespaceKind::Network => CLONE_NEWNET,
            NamespaceKind::Mount => CLONE_NEWNS,
            NamespaceKind::Ipc => CLONE_NEWIPC,
            NamespaceKind::Uts => CLONE_NEWUTS,
            NamespaceKind::Cgroup => CLONE_NEWCGROUP,
            NamespaceKind::Time => CLONE_NEWTIME,
        }) as u64
    }

    /// The file in /proc/PID/ns.
    pub const fn proc_name(self) -> &'static str {
        match self {
            NamespaceKind::Network => "net",
            NamespaceKind::Mount => "mnt",
            other => other.name(),
        }
    }

    /// The type of a flag.
    pub fn from_flag(flag: u64) -> Option<NamespaceKind> {
        NamespaceKind::ALL.into_iter().find(|kind| kind.flag() == flag)
    }

    /// The type named `name` in config.json.
    pub fn from_name(name: &str) -> Option<NamespaceKind> {
        NamespaceKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A file system that shows a namespace, and may be mounted only by whoever has authority over the user namespace which that
/// belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamespaceFs {
    /// sysfs, of a network namespace.
    Sysfs,
    /// mqueue, of an ipc namespace.
    Mqueue,
}

impl NamespaceFs {
    /// The type, as config.json and the kernel name it.
    pub const fn kind(self) -> &'static CStr {
        match self {
            NamespaceFs::Sysfs => c"sysfs",
            NamespaceFs::Mqueue => c"mqueue",
        }
    }

    /// The namespace that it shows.
    pub const fn namespace(self) -> NamespaceKind {
        match self {
            NamespaceFs::Sysfs => NamespaceKind::Network,
            NamespaceFs::Mqueue => NamespaceKind::Ipc,
        }
    }
}

/// A place among the namespaces that the parent opens for the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamespaceIndex(pub usize);

/// A namespace that is joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedNamespace {
    /// Its type.
    pub kind: NamespaceKind,
    /// Where it is, absolute.
    pub path: String,
}

/// The container's namespaces. A type in neither list is shared with the runtime.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// CLONE_NEW* flags of those to make.
    pub new: u64,
    /// The namespaces to join, in the order of [`NamespaceKind::ALL`].
    pub join: Vec<JoinedNamespace>,
}

impl Namespaces {
    /// Whether the container's root has authority only over a user namespace.
    pub fn in_userns(&self, host: &Host) -> bool {
        self.contains(NamespaceKind::User) || host.userns == Userns::Nested
    }

    /// Reads `linux.namespaces`.
    pub fn parse(list: &[Namespace]) -> Result<Self> {
        let mut namespaces = Namespaces::default();
        for (index, entry) in list.iter().enumerate() {
            let bad = |field: &str, what: String| {
                Error::of_field(Stage::Bundle, format!("linux.namespaces[{index}]{field}"), what)
            };
            let kind = NamespaceKind::from_name(&entry.kind).ok_or_else(|| {
                bad(".type", format!("namespace {:?} does not exist", entry.kind))
                    .meant(&entry.kind, NamespaceKind::ALL.iter().map(|kind| kind.name()))
            })?;
            if namespaces.contains(kind) {
                return Err(bad("", format!("namespace {} is listed twice", kind.name())));
            }
            match entry.joined() {
                None => namespaces.new |= kind.flag(),
                Some(path) if path.starts_with('/') => {
                    namespaces.join.push(JoinedNamespace { kind, path: path.to_owned() });
                }
                Some(path) => {
                    let what = format!("path {path:?} of the {} namespace is not absolute", kind.name());
                    return Err(bad(".path", what));
                }
            }
        }
        namespaces.join.sort_unstable_by_key(|joined| joined.kind);
        Ok(namespaces)
    }

    /// Whether the container gets a new namespace of this type.
    pub fn is_new(&self, kind: NamespaceKind) -> bool {
        self.new & kind.flag() != 0
    }

    /// The path of the namespace of this type that the container joins.
    pub fn joined(&self, kind: NamespaceKind) -> Option<&str> {
        self.join.iter().find(|joined| joined.kind == kind).map(|joined| joined.path.as_str())
    }

    /// CLONE_NEW* flags of all that config.json names, new or joined.
    pub fn named(&self) -> u64 {
        self.join.iter().fold(self.new, |flags, joined| flags | joined.kind.flag())
    }

    /// Whether the container has a namespace of this type, new or joined, that config.json names.
    pub fn contains(&self, kind: NamespaceKind) -> bool {
        self.is_new(kind) || self.joined(kind).is_some()
    }
}
