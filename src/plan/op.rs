//! The operations: what the parent ([`Step`]) and the child ([`Op`]) do, in order, as data.
//!
//! Nothing here decides or executes. Every path, name and mask is final, so that the child neither allocates
//! nor looks at the specification; what only the container's root can answer (is a masked path a file or a
//! directory?) is left open in the operation and said in its text form (`plan::text`).

use std::ffi::CString;
use std::path::PathBuf;

use super::cgroup::CgroupPlan;
use super::create::Terminal;
use super::seccomp::Notify;
use super::systemd::ScopePlan;
pub use crate::plan::cgroup::entry::{Entry, IntoCgroup, Part, Rest};
use crate::plan::cgroup::rdt::RdtPlan;
use crate::plan::namespace::Kind;
use crate::plan::process::rlimits::Limit;
use crate::sys::cred::CapMasks;
use crate::sys::mount_attr::MountAttr;
use crate::wire::SyncPoint;

/// Everything that will be done to create a container, or to run one more process in it.
#[derive(Debug)]
pub struct Plan {
    /// What the parent does.
    pub steps: Vec<Step>,
    /// What the child does.
    pub ops: Vec<Op>,
    /// Index of the first operation that is done without the runtime, by the walker of `sys::last_calls`.
    pub tail: usize,
    /// The program's argv, NUL-terminated strings.
    pub args: Vec<CString>,
    /// The program's environment without HOME, where the container's passwd decides it.
    pub env: Vec<CString>,
    /// The cgroup, where the container gets one.
    pub cgroup: Option<CgroupPlan>,
    /// The systemd scope that the cgroup belongs to, with the systemd driver.
    pub scope: Option<ScopePlan>,
    /// What was asked for and will not be done, with the reason.
    pub warnings: Vec<String>,
}

impl Plan {
    /// How many trees the child gets while it works.
    pub fn late_trees(&self) -> usize {
        self.ops.iter().map(|op| if let Op::TakeTrees(count) = op { *count } else { 0 }).sum()
    }

    /// Descriptors from this number on are not the program's.
    pub fn first_fd(&self) -> u32 {
        let first = self.ops.iter().find_map(|op| if let Op::CloseFrom(first) = op { Some(*first) } else { None });
        first.unwrap_or(3)
    }
}

/// Where the source of a mount comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The child opens this path in its own mount namespace.
    Path(CString),
    /// The parent cloned this tree: index into the descriptors of [`Step::CloneTree`].
    Tree(usize),
    /// The same for a tree that the parent can clone only once the cgroup is made: index into those of
    /// [`Step::OfferTrees`].
    Late(usize),
}

/// How far a mount operation reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// One mount.
    One,
    /// The mount and all below it.
    Tree,
}

/// What is done with a symbolic link that is the last component of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndLink {
    /// What it leads to is meant.
    Follow,
    /// The link itself is meant (`AT_SYMLINK_NOFOLLOW`).
    Keep,
}

/// One thing the parent does.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Opens the namespace that the child will join, and checks its type.
    OpenNamespace(Kind, String),
    /// Clones the mount tree at a path of the host, for a child that could not reach it or will not see it.
    CloneTree {
        /// Path on the host.
        path: CString,
        /// How much of it.
        reach: Reach,
        /// Propagation given to the copy, `MS_*`, or 0.
        propagation: u64,
        /// A link at the end of the path.
        end: EndLink,
    },
    /// Opens the user namespace of an id-mapped mount: the container's, or one made for these maps.
    OpenIdMap {
        /// Text for uid_map.
        uids: String,
        /// Text for gid_map.
        gids: String,
    },
    /// Makes the cgroup, or part of it; with the last part the limits are written.
    CreateCgroup(Part),
    /// clone3 with these namespaces.
    Clone {
        /// `CLONE_NEW*`.
        flags: u64,
        /// Start in the cgroup (v2).
        into_cgroup: IntoCgroup,
        /// The pid namespace the child is born into, when it joins one: index into the opened namespaces.
        join_pid: Option<usize>,
        /// Which mount namespace the child's is copied from.
        mounts: Mounts,
        /// Offsets of the new time namespace the child is born into, when there is one and we may make it.
        time_offsets: Option<CString>,
    },
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
        uid: u32,
        /// Group.
        gid: u32,
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
    Hooks(HookKind),
    /// prlimit of the child.
    Rlimit(Limit),
    /// Writes the child's oom_score_adj.
    OomScoreAdj(i64),
    /// sched_setaffinity of the child.
    Affinity(Vec<u64>),
    /// Lets the child start on another CPU, if it still waits for ours.
    Spread,
    /// Sends the child the files by which it joins its v1 cgroups.
    OfferCgroup,
    /// Sends the child the trees that were cloned after it was.
    OfferTrees,
    /// Writes what is about to be made, so that it can be removed whatever happens.
    SavePlanned,
    /// Writes the state, which makes the container visible.
    SaveState,
    /// Tells whoever asked that the process is set up: config.json's name, the pid file, the pidfd.
    Publish,
    /// Hands the seccomp listener to this socket.
    SendListener {
        /// listenerPath.
        path: String,
        /// listenerMetadata.
        metadata: String,
    },
    /// Waits until the child has exec'd, or has reported why it could not.
    AwaitExec,
}

/// What a new mount namespace starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mounts {
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

/// The hook lists that have a place in a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "names and meaning are the specification's")]
pub enum HookKind {
    Prestart,
    CreateRuntime,
    CreateContainer,
    StartContainer,
    Poststart,
    Poststop,
}

impl HookKind {
    /// The name in config.json.
    pub const fn name(self) -> &'static str {
        match self {
            HookKind::Prestart => "prestart",
            HookKind::CreateRuntime => "createRuntime",
            HookKind::CreateContainer => "createContainer",
            HookKind::StartContainer => "startContainer",
            HookKind::Poststart => "poststart",
            HookKind::Poststop => "poststop",
        }
    }
}

/// A hook the child runs in the container's namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildHook {
    /// Which list it is from.
    pub kind: HookKind,
    /// The program.
    pub path: CString,
    /// argv.
    pub args: Vec<CString>,
    /// The whole environment; `None` takes the container process's.
    pub env: Option<Vec<CString>>,
    /// Milliseconds after which it is killed; -1 never.
    pub timeout: i32,
    /// The state written to its standard input, before and after the pid.
    pub state: (Vec<u8>, Vec<u8>),
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A new file system.
    New {
        /// Its type.
        kind: CString,
        /// The device, or any name.
        source: CString,
        /// Parameters for fsconfig(2), in order; one without a value is a flag.
        params: Vec<(CString, Option<CString>)>,
        /// The same for mount(2): flags and data. Used where fsopen(2) is missing, or where a value is longer
        /// than the 255 bytes fsconfig(2) takes (overlay's lowerdir).
        flags: u64,
        /// Comma-separated data for mount(2).
        data: CString,
        /// Copy what the mount point holds into the new tmpfs before it is attached.
        copy_up: CopyUp,
        /// Permissions of a tmpfs's root.
        mode: Mode,
    },
    /// A bind mount.
    Bind {
        /// What is bound.
        source: Source,
        /// With the mounts below it?
        reach: Reach,
        /// A link at the end of the source.
        end: EndLink,
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
        params: Vec<(CString, Option<CString>)>,
    },
}

/// `tmpcopyup`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyUp {
    /// The new tmpfs starts empty.
    No,
    /// It starts with a copy of what it hides.
    Yes,
}

/// Permissions of a new tmpfs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By the parameters, or the kernel's default.
    AsGiven,
    /// Those of the directory it is mounted on, sticky bit included.
    OfMountPoint,
}

/// What a link does about things that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkRule {
    /// They stay.
    Keep,
    /// They are replaced.
    Replace,
    /// They stay, and a link to nothing is not made.
    IfTargetExists,
}

/// One mount below the container's root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountOp {
    /// Below the root, without a leading slash.
    pub dest: CString,
    /// What.
    pub what: What,
    /// Attributes of the mount itself.
    pub attr: MountAttr,
    /// Attributes of the mount and all below it.
    pub recursive: MountAttr,
    /// Changes of propagation, in order.
    pub propagation: Vec<(u64, Reach)>,
    /// Index of the user namespace of an id-mapped mount, and whether it reaches the mounts below.
    pub idmap: Option<(usize, Reach)>,
    /// `O_NOFOLLOW` for the destination's last component: `dest-nofollow`, and always for proc and sysfs
    /// (CVE-2019-19921, CVE-2023-27561).
    pub no_follow: bool,
}

/// How the root is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enter {
    /// pivot_root(2).
    Pivot,
    /// The root is moved over `/` (`--no-pivot`, for a host that runs from a ramdisk).
    Move,
    /// chroot(2) only: the container has no mount namespace of its own.
    Chroot,
}

/// Whether the terminal has a name in the container's /dev.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsoleNode {
    /// It is bound over /dev/console.
    Bound,
    /// It has none: /dev/console is the container's first terminal, or not the container's own.
    Nameless,
}

/// A label written to /proc/thread-self/attr.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Below the attr directory: `exec`, `apparmor/exec`, `keycreate`.
    pub file: CString,
    /// What to write.
    pub value: CString,
}

/// One thing the child does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// The process ends: everything was done.
    End,
    /// Asks the parent and waits.
    Sync(SyncPoint),
    /// Waits for what the parent does unasked.
    Wait(SyncPoint),
    /// Takes the files of the v1 cgroups from the parent and joins them.
    JoinCgroup,
    /// Takes this many trees from the parent.
    TakeTrees(usize),
    /// setns to an opened namespace: its index and type.
    Join(usize, Kind),
    /// setns to these namespaces (`CLONE_NEW*`) of the container's init, by its pidfd.
    JoinInit(u64),
    /// unshare.
    Unshare(u64),
    /// uid and gid 0 of the user namespace, and all its capabilities.
    BecomeRoot,
    /// Clock offsets of the time namespace just made; it is entered by execve (Linux 6.3).
    TimeOffsets(CString),
    /// clone3 with these flags; the parent side ends and the child goes on with the list.
    Fork(u64),
    /// A new session keyring of this name.
    Keyring(CString),
    /// sethostname.
    Hostname(CString),
    /// setdomainname.
    Domainname(CString),
    /// Brings lo up.
    Loopback,
    /// Propagation of every mount the new namespace was born with.
    HostPropagation(u64),
    /// The root's tree, cloned and attached over itself, becomes what the following operations work on.
    Root {
        /// Where the tree comes from.
        source: Source,
        /// Its path on the host.
        path: CString,
        /// Where it is attached: over itself, or to the skeleton's mount point.
        place: CString,
    },
    /// Opens `/` as the root of the following operations (no mount namespace of its own, or exec).
    RootHere(CString),
    /// A mount.
    Mount(Box<MountOp>),
    /// A directory below the root that the following devices and links are made in, made when missing.
    OpenDir(CString),
    /// A device node or fifo in the open directory.
    Mknod {
        /// Name.
        name: CString,
        /// Type and permissions.
        mode: u32,
        /// Device number.
        dev: u64,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// A device of the host bound over an empty file in the open directory (user namespaces may not mknod).
    BindDevice {
        /// Name.
        name: CString,
        /// The host's node.
        source: Source,
    },
    /// A symbolic link in the open directory.
    Symlink {
        /// Name.
        name: CString,
        /// What it points to.
        target: CString,
        /// What about things that are there.
        rule: LinkRule,
    },
    /// Unmounts what is mounted at a name, itself never followed, in a directory below the root.
    Unmount {
        /// Directory.
        dir: CString,
        /// Name.
        name: CString,
    },
    /// Attributes of the mount at a path below the root, set when everything in it is made.
    SetAttr(CString, MountAttr),
    /// Makes a path unreadable: /dev/null over a file, an empty read-only tmpfs over a directory.
    Mask(CString),
    /// Makes a path read-only, if it exists.
    ReadonlyPath(CString),
    /// Makes the root mount read-only.
    ReadonlyRoot,
    /// Propagation of the root mount.
    RootPropagation(u64, Reach),
    /// Opens a proc file system of the child's own for the writes below.
    Procfs,
    /// Writes a kernel parameter below proc/sys.
    Sysctl(CString, CString),
    /// Writes a security label.
    Label(Label),
    /// Runs a hook in the container's namespaces.
    Hook(Box<ChildHook>),
    /// Enters the root.
    Enter(Enter),
    /// Opens a terminal, sends its master to the console socket and makes the slave the standard streams.
    Console {
        /// Rows and columns.
        size: Option<(u16, u16)>,
        /// Owner of the slave.
        uid: u32,
        /// Its place in /dev.
        node: ConsoleNode,
        /// Who gets its master.
        master: Terminal,
    },
    /// Gives the standard streams to the user, as the program expects of /dev/stdout.
    OwnStreams(u32),
    /// Sets the umask.
    Umask(u32),
    /// prlimit.
    Rlimit(Limit),
    /// Supplementary groups.
    Groups(Vec<u32>),
    /// Enters the working directory, made when missing.
    Cwd {
        /// Below the root, without a leading slash.
        path: CString,
        /// Who must be able to.
        uid: u32,
        /// Whose group.
        gid: u32,
    },
    /// Takes HOME of this user from the container's /etc/passwd.
    Home(u32),
    /// Finds the program: the first of these that is executable.
    Program {
        /// As it was given.
        name: CString,
        /// Absolute paths, or relative to the working directory.
        candidates: Vec<CString>,
        /// Who must be able to execute it.
        uid: u32,
        /// Whose group.
        gid: u32,
    },
    /// sched_setattr: the kernel's struct.
    Scheduler(Vec<u8>),
    /// ioprio_set.
    IoPriority(u32),
    /// set_mempolicy: mode with flags, and nodes.
    MemoryPolicy(u32, Vec<u64>),
    /// personality.
    Personality(u64),
    /// Waits for `start` on the fifo, from the runtime's own code (startContainer hooks follow).
    AwaitStart,
    // The tail: what follows can be done by the walker of `sys::last_calls`, without the runtime.
    /// A new session.
    NewSession,
    /// Makes standard input, a terminal, the session's.
    ControllingTerminal,
    /// Unmaps the runtime and swaps `/proc/self/exe`.
    LeaveRuntime,
    /// Closes every descriptor from this number up but the wire and the fifo, which close at exec.
    CloseFrom(u32),
    /// clone3 with CLONE_PARENT: the launcher ends, its child goes on.
    ForkTail,
    /// no_new_privs.
    NoNewPrivileges,
    /// Loads the seccomp filter.
    Seccomp(Box<Filter>),
    /// Keeps capabilities over the change of user.
    KeepCaps,
    /// Drops these from the bounding set.
    DropBounding(u64),
    /// The user's ids: uid, gid.
    Ids(u32, u32),
    /// capset.
    Caps(CapMasks),
    /// Raises these in the ambient set.
    Ambient(u64),
    /// Tells the parent that only the start signal is missing, and waits for it on the fifo.
    Park,
    /// execve.
    Exec,
}

/// A compiled seccomp filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// `struct sock_filter`s as bytes.
    pub program: Vec<u8>,
    /// Their number.
    pub len: u16,
    /// `SECCOMP_FILTER_FLAG_*`.
    pub flags: u64,
    /// A listener is made and has to be handed over.
    pub notify: Option<Notify>,
}

/// Operations from this one on may be done by the walker of `sys::last_calls`.
pub fn is_tail(op: &Op) -> bool {
    matches!(
        op,
        Op::NewSession
            | Op::ControllingTerminal
            | Op::LeaveRuntime
            | Op::CloseFrom(_)
            | Op::ForkTail
            | Op::NoNewPrivileges
            | Op::Seccomp(_)
            | Op::KeepCaps
            | Op::DropBounding(_)
            | Op::Ids(..)
            | Op::Caps(_)
            | Op::Ambient(_)
            | Op::Park
            | Op::Exec
    )
}
