//! The steps of the parent, in order, as data. Nothing here decides or executes.

use std::ffi::CString;
use std::path::PathBuf;
use std::time::Duration;

use super::cgroup::entry::{IntoCgroup, Part};
use super::cgroup::rdt::RdtPlan;
use super::namespace::{NamespaceIndex, NamespaceKind};
use super::op::ParentMount;
use super::process::rlimits::ParsedRlimit;
use crate::plan::process::child_hook::StateText;
use crate::plan::rootfs::mount_op::HostTree;
use crate::spec::hooks::HookKind;
use crate::sys::cred::Ids;
use crate::wire::SyncPoint;

/// One thing the parent does.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Opens the namespace that the child will join, and checks its type.
    OpenNamespace(NamespaceKind, String),
    /// Clones the mount tree at a path of the host, for a child that could not reach it or will not see it.
    CloneTree {
        /// Which.
        tree: HostTree,
        /// Propagation given to the copy, `MS_*`, or 0.
        propagation: u64,
    },
    /// Takes these things of the host for the child, in its mount namespace and with the rights of the caller, and sends
    /// them.
    TakeFromHost(Vec<HostObject>),
    /// Takes the joined user namespace for an id-mapped mount.
    JoinedIdMap(NamespaceIndex),
    /// Opens the user namespace of an id-mapped mount: one made for these maps.
    OpenIdMap {
        /// Text for uid_map.
        uids: String,
        /// Text for gid_map.
        gids: String,
    },
    /// Makes the cgroup, or part of it; with the last part the limits are written.
    CreateCgroup(Part),
    /// Makes the child.
    Clone(CloneStep),
    /// Waits until the child asks at this point.
    Await(SyncPoint),
    /// Lets the child go on.
    Answer(SyncPoint),
    /// Writes uid_map, setgroups and gid_map of the child.
    WriteIdMaps {
        /// Text for uid_map.
        uids: String,
        /// Text for gid_map.
        gids: String,
        /// Who may write them.
        writer: MapWriter,
    },
    /// Moves the child into the cgroup's hierarchies it was not cloned into.
    AttachCgroup,
    /// Asks systemd for the scope with the child in it; the answer is read by [`Step::JoinScope`].
    StartScope,
    /// Waits until systemd has moved the child, then writes the limits and joins what systemd left out.
    JoinScope,
    /// Moves the child on into a sub-cgroup of its own, which it may manage.
    DelegateCgroup {
        /// Below the container's cgroup.
        path: String,
        /// Owner, as the host sees it.
        owner: Ids,
    },
    /// Gives the container's cgroup (v2) to this user of the host: its directory and the files that may be delegated.
    ChownCgroup(u32),
    /// Moves network devices into the child's namespace: host name and name inside.
    MoveNetDevice(String, String),
    /// Makes a resource control group (Intel RDT) and puts the child into it.
    Rdt(Box<RdtPlan>),
    /// Puts the child into the container's resource control group, by these files.
    JoinRdt(Vec<PathBuf>),
    /// Runs these hooks in the runtime's namespaces.
    Hooks(HostHooks),
    /// prlimit of the child.
    Rlimit(ParsedRlimit),
    /// Writes the child's oom_score_adj.
    OomScoreAdj(i64),
    /// sched_setaffinity of the child.
    Affinity(Vec<u64>),
    /// Lets the child start on another CPU, if it still waits for ours.
    LeaveCpu,
    /// Sends the child the files by which it joins its v1 cgroups.
    OfferCgroup,
    /// Sends the child the trees that were cloned after it was.
    OfferTrees,
    /// Writes what is about to be made, so that it can be removed whatever happens.
    SavePlanned,
    /// Writes the state, which makes the container visible.
    SaveState,
    /// From here on somebody looks after the limits of the process, which waits to be let go, and after its end.
    TakeCharge,
    /// Tells whoever asked that the process is set up: config.json's name, the pid file, the pidfd.
    Publish,
    /// Hands the seccomp listener to this socket.
    SendListener {
        /// listenerPath.
        path: String,
        /// listenerMetadata.
        metadata: String,
        /// The specification's version that the container names.
        oci_version: String,
        /// The container's state, which is sent along.
        state: StateText,
    },
    /// Waits until the child has exec'd, or has reported why it could not.
    AwaitExec,
}

/// clone3 of the child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloneStep {
    /// `CLONE_NEW*`.
    pub flags: u64,
    /// Start in the cgroup (v2).
    pub into_cgroup: IntoCgroup,
    /// The pid namespace the child is born into, when it joins one.
    pub join_pid: Option<NamespaceIndex>,
    /// Which mount namespace the child's is copied from.
    pub mounts: MountsFrom,
    /// Whether the parent has to come back from the namespaces that it enters for the child.
    pub back: ComeBack,
    /// Offsets of the new time namespace the child is born into, when there is one and we may make it.
    pub time_offsets: Option<CString>,
}

impl CloneStep {
    /// A process in the namespaces of this one, for which nothing is entered.
    pub(super) fn here(into_cgroup: IntoCgroup) -> CloneStep {
        let (mounts, back) = (MountsFrom::Copy, ComeBack::May);
        CloneStep { flags: 0, into_cgroup, join_pid: None, mounts, back, time_offsets: None }
    }
}

/// Something of the host that a container in a user namespace gets.
///
/// The thing is opened with the caller's rights: the root of the user namespace may not look into the caller's directories. And it is
/// opened in the child's own mount namespace, whose mounts are locked to each other (mount_namespaces(7)): a copy made
/// elsewhere could be made writable inside, or taken from what it covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostObject {
    /// The container's root, cloned and attached over itself.
    Root(CString, ParentMount),
    /// A mount tree.
    Tree(HostTree),
    /// A device node of its own: a user namespace may make none.
    Device {
        /// Type and permissions.
        mode: u32,
        /// Device number.
        dev: u64,
        /// Owner, as the host sees it.
        owner: Ids,
        /// SELinux label.
        label: Option<CString>,
    },
}

/// What a new mount namespace starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountsFrom {
    /// A copy of the host's mounts, thrown away when the root is entered.
    Copy,
    /// The skeleton namespace, which holds next to nothing (`launch::skeleton`). What is needed of the host
    /// comes as trees that the parent clones.
    Skeleton,
}

/// Who writes id maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapWriter {
    /// We have the capabilities in the parent user namespace.
    Direct,
    /// A single id of our own: setgroups must be denied first (user_namespaces(7)).
    OwnId,
    /// The setuid helpers newuidmap(1) and newgidmap(1).
    Helpers,
}

/// Whether the parent has to come back from namespaces that count only for what it forks. An ordinary user may not
/// return to the machine's pid namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComeBack {
    /// Hooks of the runtime's namespaces follow.
    Must,
    /// Nothing is forked from here on.
    May,
}

/// One list of hooks in the runtime's namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostHooks {
    /// Which list.
    pub kind: HookKind,
    /// The hooks, in order.
    pub hooks: Vec<HostHook>,
    /// The state written to the standard input of each.
    pub state: StateText,
    /// Where they run; the runtime's own directory where there is none.
    pub dir: Option<PathBuf>,
}

/// A hook in the runtime's namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostHook {
    /// The program.
    pub path: String,
    /// argv, with `argv[0]`; the path alone when empty.
    pub args: Vec<String>,
    /// The whole environment; `None` takes the runtime's.
    pub env: Option<Vec<String>>,
    /// After which it is killed.
    pub timeout: Option<Duration>,
}
