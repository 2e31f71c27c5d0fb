//! The operations of the child, in order, as data: first those that set the container up ([`SetupOp`]), then the last
//! ones ([`LastOp`]), which need the runtime's code no more.
//!
//! Nothing here decides or executes. Every path, name and mask is final, so that the child neither allocates
//! nor looks at the specification; what only the container's root can answer (is a masked path a file or a
//! directory?) is left open in the operation and said in its text form (`plan::text::describe`).

use std::ffi::CString;

use super::seccomp::{Receiver, Speech};
use crate::plan::namespace::{NamespaceFs, NamespaceIndex, NamespaceKind};
use crate::plan::process::child_hook::ChildHook;
use crate::plan::process::environment::Candidate;
use crate::plan::process::rlimits::ParsedRlimit;
use crate::plan::rootfs::mount_op::{HostTree, KeptIndex, LateIndex, MountOp, MountSource};
use crate::plan::rootfs::options::Propagation;
use crate::sys::cred::{CapMasks, Ids};
use crate::sys::mount_attr::MountAttr;
use crate::wire::SyncPoint;

/// Whose the mount is that the root is attached to, and with that how the root becomes nobody's peer: pivot_root(2) wants
/// that, and what is mounted in it would appear on the host otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParentMount {
    /// The container's, a copy of the host's: it becomes private, and with it the root.
    Own,
    /// A copy of the host's, where rootfsPropagation asks for a slave: all copies are slaves already, and so is the root.
    Slave,
    /// One that is shared with nobody: the skeleton's, or a copy that [`SetupOp::HostPropagation`] has made private or a
    /// slave: the root becomes private.
    Unshared,
    /// The host's, or of whoever made the joined mount namespace: its propagation is theirs.
    Others,
}

/// Where a path in the container may lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MayLead {
    /// Nowhere but to proc's own files.
    InProc,
    /// Anywhere, to the root itself too.
    Anywhere,
}

/// What a link does about things that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkRule {
    /// What is there stays.
    Keep,
    /// What is there is replaced.
    Replace,
    /// What is there stays, and a link to nothing is not made.
    IfTargetExists,
}

/// What becomes of another file that is there where a node is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeRule {
    /// The node takes its place: no image decides what a device is that every container has (CVE-2025-31133, CVE-2026-88265).
    Replace,
    /// The other file stays, and the node, which this one of `linux.devices` asks for, is an error (config-linux, "Devices").
    Refuse(usize),
}

/// An overlay over the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverlayOp {
    /// A copy of the root with the owners that the container knows, in place of the root itself.
    pub mapped_root: Option<MountSource>,
    /// More layers below it, the uppermost first.
    pub lower: Vec<MountSource>,
    /// The directory that what is written goes into; a tmpfs where there is none.
    pub upper: Option<MountSource>,
    /// The size of the tmpfs.
    pub size: Option<CString>,
    /// The lower layers as the kernel is told them, from inside of the upper one.
    pub layers: CString,
    /// The upper one and the lower ones, for [`InUse::Another`].
    pub all_layers: CString,
    /// How the kernel is asked whether somebody else writes to them.
    pub in_use: InUse,
    /// Whether the overlay's extended attributes are `user.` ones: `trusted.` ones are of real root alone.
    pub userxattr: bool,
    /// Whether the parent gets a descriptor of what is written to.
    pub size_asked: bool,
    /// For the plan's reader: what lies over what.
    pub text: String,
}

/// How the kernel is asked whether a layer is, or lies in, what another overlay writes to, whoever made that and in whatever
/// namespaces: it marks upper layers and work directories while an overlay lives, and refuses what is marked with
/// `index=on` (Linux 4.13), where it otherwise goes on and says so in its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InUse {
    /// By the overlay itself, of all layers.
    Itself,
    /// By the overlay itself, of its upper layer: without CAP_DAC_READ_SEARCH of the host's there is no index, and the kernel
    /// goes on without before it looks at the others.
    ItselfUpper,
    /// By an overlay that is made before and thrown away, of all layers: with an index of its own the directory could be used
    /// over no other root than the first, and no copy of it.
    Another,
    /// Nothing could be had of it.
    NotAsked,
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

/// The program's terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Terminal {
    /// The process gets no terminal.
    #[default]
    None,
    /// Its master goes to a console socket.
    Socket,
    /// Its master is relayed by our own foreground, whose terminal or pipe gets lines as the program ends them.
    Foreground,
}

/// Whether the terminal has a name in the container's /dev.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsoleNode {
    /// The terminal is bound over /dev/console.
    Bound,
    /// No /dev/console for the terminal: that is the container's first terminal, or not the container's own.
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

/// What it means that a namespace may not be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The namespace cannot be joined.
    Error,
    /// The namespace belongs to the user namespace that is joined next, and is joined then.
    TryAgain,
}

/// One thing the child does while it sets the container up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetupOp {
    /// The process ends: everything was done.
    End,
    /// Asks the parent and waits.
    Sync(SyncPoint),
    /// Waits for what the parent does unasked.
    Wait(SyncPoint),
    /// Takes the files of the v1 cgroups from the parent and joins them.
    JoinCgroup,
    /// Takes the trees that come late from the parent.
    TakeTrees,
    /// Asks the parent for the things of the host ([`HostObject`](super::step::HostObject)) that come together, and takes them.
    AskForHost,
    /// Asks the parent for one thing of the host, which may lie in the container's root, below what was mounted just now.
    AskForOne,
    /// Clones a tree of the host while the child sees it, as the late one of this number.
    CloneTree {
        /// Which.
        tree: HostTree,
        /// Where it is kept.
        late: LateIndex,
    },
    /// setns to an opened namespace: its type, and what a refusal means.
    Join(NamespaceIndex, NamespaceKind, Refusal),
    /// Makes this file system of a namespace that was joined, with rights that the user namespace which follows lacks.
    MakeNamespaceFs(NamespaceFs),
    /// setns to these namespaces (`CLONE_NEW*`) of the container's init, by its pidfd.
    JoinInit(u64),
    /// unshare.
    Unshare(u64),
    /// uid and gid 0 of the user namespace, and all its capabilities.
    BecomeRoot,
    /// Clock offsets of the time namespace just made.
    TimeOffsets(CString),
    /// Enters the time namespace that was made for children: setns(2) does so at once, execve(2) only since Linux 6.3.
    EnterTime,
    /// clone3 with these flags; the parent side ends and the child goes on with the list.
    Fork(u64),
    /// A new session keyring, which has no name that anybody could join it by, and the SELinux label of the program.
    Keyring(Option<CString>),
    /// Nobody may look into the process without CAP_SYS_PTRACE where the runtime was started, until its program runs.
    Undumpable,
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
        source: MountSource,
        /// Its path on the host.
        path: CString,
        /// Where it is attached: over itself, or to the skeleton's mount point.
        place: CString,
        /// Whose the mount is that it is attached to.
        parent: ParentMount,
    },
    /// An overlay over the root, which takes its place.
    Overlay(Box<OverlayOp>),
    /// Opens the root of the following operations (no mount namespace of its own, or exec).
    RootHere(CString),
    /// A mount.
    Mount(Box<MountOp>),
    /// A directory below the root, made when missing: the following devices and links are made in it, and what is entered is there.
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
        owner: Ids,
        /// What is done about another file of the name.
        rule: NodeRule,
    },
    /// A device of the host bound over an empty file in the open directory (user namespaces may not mknod).
    BindDevice {
        /// Name.
        name: CString,
        /// The host's node.
        source: MountSource,
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
    /// Unmounts what is mounted where a path leads to below the root.
    Unmount {
        /// The path.
        path: CString,
        /// The numbers of the mounts that it may be.
        added: Vec<u64>,
    },
    /// Attributes of the mount at a path below the root, set when everything in it is made.
    SetAttr {
        /// Its path below the root, for people.
        path: CString,
        /// Which ([`MountOp::kept`]).
        kept: KeptIndex,
        /// What is set.
        attr: MountAttr,
    },
    /// Makes a path unreadable: /dev/null over a file, an empty read-only tmpfs over a directory.
    Mask {
        /// Below the root.
        path: CString,
        /// The proc it is directly in, as in [`MountOp::within`].
        within: Option<KeptIndex>,
        /// SELinux label of the empty directory.
        label: Option<CString>,
    },
    /// Makes a path read-only, if it exists: with what is mounted below it, or the root's own mount.
    ReadonlyPath {
        /// Below the root.
        path: CString,
        /// Where it may lead.
        may_lead: MayLead,
        /// The proc it is directly in, as in [`MountOp::within`].
        within: Option<KeptIndex>,
    },
    /// Makes the root mount read-only.
    ReadonlyRoot,
    /// Propagation of the root mount.
    RootPropagation(Propagation),
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
    /// Puts the container's /dev/null in the place of the caller's.
    NullStreams,
    /// Sets the umask.
    Umask(u32),
    /// prlimit.
    Rlimit(ParsedRlimit),
    /// Supplementary groups.
    Groups(Vec<u32>),
    /// Enters the working directory. A start has made one that was missing ([`SetupOp::OpenDir`]).
    Cwd {
        /// Below the root, without a leading slash.
        path: CString,
        /// Who must be able to.
        user: Ids,
    },
    /// Takes HOME of this user from the container's /etc/passwd.
    Home(u32),
    /// Finds the program: the first of these that is executable.
    Program {
        /// As it was given.
        name: CString,
        /// Where it may be, in order.
        candidates: Vec<Candidate>,
        /// Who must be able to execute it.
        user: Ids,
        /// The capabilities it will have.
        caps: u64,
    },
    /// ioprio_set.
    IoPriority(u32),
    /// What [`LastOp::Scheduler`] is.
    Scheduler(Vec<u8>),
    /// set_mempolicy: mode with flags, and nodes.
    MemoryPolicy(u32, Vec<u64>),
    /// personality.
    Personality(u64),
    /// A new session.
    NewSession,
    /// Makes standard input, a terminal, the session's.
    ControllingTerminal,
    /// Hands what a template's process waits for over to it, and ends: the second block with the last operations, the
    /// standard streams, the working directory and the wire.
    HandOver,
}

/// One of the last things the child does: a few system calls, which the walker of `sys::last_calls` makes without the
/// runtime once that is gone. Where the runtime stays it does more between them ([`RuntimeOp`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LastOp {
    /// Unmaps the runtime and swaps `/proc/self/exe`; the walker goes on.
    LeaveRuntime,
    /// Closes every descriptor from this number up but the wire and the fifo, which close at exec.
    CloseFrom(u32),
    /// clone3 with CLONE_PARENT: the launcher ends, its child goes on.
    Fork,
    /// A new session.
    NewSession,
    /// Makes standard input, a terminal, the session's.
    ControllingTerminal,
    /// sched_setattr: the kernel's struct. Not before the last fork, over which not every policy is inherited.
    Scheduler(Vec<u8>),
    /// no_new_privs.
    NoNewPrivileges,
    /// Loads the seccomp filter.
    Seccomp(Box<Filter>),
    /// Keeps capabilities over the change of user.
    KeepCaps,
    /// Drops these from the bounding set.
    DropBounding(u64),
    /// The user's ids.
    Ids(Ids),
    /// capset.
    Caps(CapMasks),
    /// Raises these in the ambient set.
    Ambient(u64),
    /// Has the kernel kill the program when the runtime dies.
    DieWithRuntime,
    /// Tells the parent that only the start signal is missing, and waits for it on the fifo.
    Park,
    /// Tells the parent that only `start` is missing, and waits for what that brings: the second block, with the other last
    /// operations, and the descriptors that go with it. Of a template.
    AwaitBlock,
    /// Of the second block: tells `start` that it has come to where it was sent.
    Taken,
    /// Waits until `start` has set the limits that it sets.
    AwaitLimits,
    /// Takes the standard streams that have come with the block; all other descriptors close at execve(2).
    TakeStreams,
    /// Enters the working directory that has come with the block.
    Cwd,
    /// Enters it with the rights of this user to files, where root has not the right.
    CwdAs(Ids),
    /// What [`SetupOp::Umask`] is.
    Umask(u32),
    /// What [`SetupOp::Groups`] is.
    Groups(Vec<u32>),
    /// What [`SetupOp::IoPriority`] is.
    IoPriority(u32),
    /// What [`SetupOp::Rlimit`] is.
    Rlimit(ParsedRlimit),
    /// What the runtime's own code does, which is still there.
    ByRuntime(RuntimeOp),
    /// execve.
    Exec,
}

impl LastOp {
    /// Whether it waits for `start`, and may be asked to end meanwhile.
    pub fn awaits_start(&self) -> bool {
        match self {
            LastOp::Park | LastOp::AwaitBlock | LastOp::ByRuntime(RuntimeOp::AwaitStart) => true,
            LastOp::LeaveRuntime
            | LastOp::CloseFrom(_)
            | LastOp::Fork
            | LastOp::NewSession
            | LastOp::ControllingTerminal
            | LastOp::Scheduler(_)
            | LastOp::NoNewPrivileges
            | LastOp::Seccomp(_)
            | LastOp::KeepCaps
            | LastOp::DropBounding(_)
            | LastOp::Ids(..)
            | LastOp::Caps(_)
            | LastOp::Ambient(_)
            | LastOp::DieWithRuntime
            | LastOp::Taken
            | LastOp::AwaitLimits
            | LastOp::TakeStreams
            | LastOp::Cwd
            | LastOp::CwdAs(..)
            | LastOp::Umask(_)
            | LastOp::Groups(_)
            | LastOp::IoPriority(_)
            | LastOp::Rlimit(_)
            | LastOp::ByRuntime(RuntimeOp::Undumpable | RuntimeOp::Hook(..))
            | LastOp::Exec => false,
        }
    }
}

/// What is done among the last operations, and not by calls of the block: there are startContainer hooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuntimeOp {
    /// Does what [`LastOp::Park`] does, where hooks follow.
    AwaitStart,
    /// What [`SetupOp::Undumpable`] is, for the hooks.
    Undumpable,
    /// Runs a startContainer hook, a program of the image, which loads the filter first that the container's own
    /// program will have.
    Hook(Box<ChildHook>, Option<Box<Filter>>),
}

/// An operation of either list, as plans and errors number them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the types say it")]
pub enum ChildOp<'a> {
    Setup(&'a SetupOp),
    Last(&'a LastOp),
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
    pub receiver: Option<Receiver>,
    /// How the process can still speak under it.
    pub speech: Speech,
}
