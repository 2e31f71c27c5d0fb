//! What is said of the child's operations: the one table that has the stage and the line of each, and what it does as advice
//! and log records know it. Pure.

use std::ffi::CStr;

use crate::error::{Deed, Stage};
use crate::plan::namespace::{NamespaceFs, NamespaceKind};
use crate::plan::op::{ChildOp, Enter, Label, LastOp, Refusal, RuntimeOp, SetupOp};
use crate::plan::process::caps;
use crate::plan::process::child_hook::ChildHook;
use crate::plan::process::memory_policy;
use crate::plan::process::rlimits::{self, ParsedRlimit};
use crate::plan::reach::Reach;
use crate::plan::rootfs::mount_op::{CopyUp, HostTree, MountKind, MountOp, MountSource, NewFileSystem, TmpfsMode};
use crate::plan::rootfs::options::Propagation;
use crate::sys::cred::{CapMasks, Ids};
use crate::sys::mount_attr::{self as attr, MountAttr};
use crate::wire::SyncPoint;

/// An operation in words.
#[derive(Debug)]
pub struct OpText {
    /// The stage of the work that it belongs to.
    pub stage: Stage,
    /// Its line in the plan.
    pub line: String,
    /// What it does and to what, where advice or a record of the log depends on that.
    pub deed: Option<(Deed, String)>,
}

/// Stage and line of an operation, of which it has yet to be said whether it has a deed: each row decides that.
struct StageLine {
    stage: Stage,
    line: String,
}

impl StageLine {
    /// Advice or a record of the log depends on what it does, or to what.
    fn doing(self, deed: Deed, object: impl Into<String>) -> OpText {
        OpText { stage: self.stage, line: self.line, deed: Some((deed, object.into())) }
    }

    /// Its stage and an errno say all that advice depends on.
    fn no_deed(self) -> OpText {
        OpText { stage: self.stage, line: self.line, deed: None }
    }
}

fn at(stage: Stage, line: impl Into<String>) -> StageLine {
    StageLine { stage, line: line.into() }
}

fn sync(line: impl Into<String>) -> StageLine {
    at(Stage::Sync, line)
}

fn namespace(line: impl Into<String>) -> StageLine {
    at(Stage::Namespace, line)
}

fn rootfs(line: impl Into<String>) -> StageLine {
    at(Stage::Rootfs, line)
}

fn process(line: impl Into<String>) -> StageLine {
    at(Stage::Process, line)
}

impl SetupOp {
    /// What is said of it.
    pub fn describe(&self) -> OpText {
        match self {
            SetupOp::End => sync("end").no_deed(),
            SetupOp::Sync(SyncPoint::Ready) => {
                sync("ask the parent and wait: ready; then outlive it, with the program's signals").no_deed()
            }
            SetupOp::Sync(point) => sync(format!("ask the parent and wait: {}", point.name())).no_deed(),
            SetupOp::Wait(point) => sync(format!("wait for the parent: {}", point.name())).no_deed(),
            SetupOp::JoinCgroup => at(Stage::Cgroup, "join the cgroup").no_deed(),
            SetupOp::AskForHost | SetupOp::AskForOne => ask_for_host(),
            SetupOp::CloneTree { tree, .. } => rootfs(format!("take {} of the host", lossy(&tree.path))).no_deed(),
            SetupOp::TakeTrees => sync("take the mounts of the cgroup from the parent").no_deed(),
            SetupOp::Join(_, kind, refusal) => join(*kind, *refusal),
            SetupOp::MakeNamespaceFs(made) => rootfs(format!("make a {}", namespace_fs(*made))).no_deed(),
            SetupOp::EnterTime => namespace("enter the time namespace").no_deed(),
            SetupOp::JoinInit(flags) => join_init(*flags),
            SetupOp::Unshare(flags) => namespace(format!("unshare ({})", namespaces(*flags))).doing(Deed::Unshare, ""),
            SetupOp::BecomeRoot => namespace("become root of the user namespace").no_deed(),
            SetupOp::TimeOffsets(text) => time_offsets(text),
            SetupOp::Fork(flags) => fork(*flags),
            SetupOp::NewSession => new_session(),
            SetupOp::ControllingTerminal => controlling_terminal(),
            SetupOp::HandOver => sync("hand the last operations to the container's process, and end").no_deed(),
            SetupOp::Keyring(label) => keyring(label.as_deref()),
            SetupOp::Undumpable => undumpable(),
            SetupOp::Hostname(name) => namespace(format!("set hostname {}", lossy(name))).no_deed(),
            SetupOp::Domainname(name) => namespace(format!("set domainname {}", lossy(name))).no_deed(),
            SetupOp::Loopback => at(Stage::Network, "bring lo up").no_deed(),
            SetupOp::HostPropagation(flags) => rootfs(format!("make / {}", propagation(*flags))).no_deed(),
            SetupOp::Root { path, .. } => root("take", path),
            SetupOp::Overlay(op) => rootfs(format!("lay an overlay: {}", op.text)).doing(Deed::Overlay, "/"),
            SetupOp::RootHere(path) => root("open", path),
            SetupOp::Mount(op) => rootfs(mount(op)).doing(mount_deed(op), format!("/{}", lossy(&op.dest))),
            SetupOp::OpenDir(dir) => rootfs(format!("open directory /{}", lossy(dir))).no_deed(),
            SetupOp::Mknod { name, mode, dev, owner, .. } => make_node(name, *mode, *dev, *owner),
            SetupOp::BindDevice { name, source } => bind_device(name, source),
            SetupOp::Symlink { name, target, .. } => symlink(name, target),
            SetupOp::Unmount { path, .. } => rootfs(format!("unmount /{}", lossy(path))).no_deed(),
            SetupOp::SetAttr { path, attr, .. } => set_attributes(path, attr),
            SetupOp::Mask { path, .. } => mask(path),
            SetupOp::ReadonlyPath { path, .. } => readonly_path(path),
            SetupOp::ReadonlyRoot => rootfs("make the root read-only").no_deed(),
            SetupOp::RootPropagation(Propagation { flag, reach }) => {
                rootfs(format!("make the root {} {}", propagation(*flag), tree(*reach))).no_deed()
            }
            SetupOp::Procfs => rootfs("open a private proc").no_deed(),
            SetupOp::Sysctl(path, value) => write_sysctl(path, value),
            SetupOp::Label(label) => set_label(label),
            SetupOp::Hook(hook) => run_hook(hook),
            SetupOp::Enter(how) => entering(*how),
            SetupOp::Console { .. } => at(Stage::Console, "open the terminal").no_deed(),
            SetupOp::OwnStreams(uid) => at(Stage::Console, format!("give the standard streams to uid {uid}")).no_deed(),
            SetupOp::NullStreams => {
                at(Stage::Console, "use the container's /dev/null for a standard stream that is one").no_deed()
            }
            SetupOp::Umask(mask) => umask(*mask),
            SetupOp::Rlimit(limit) => set_rlimit(limit),
            SetupOp::Groups(groups) => set_groups(groups),
            SetupOp::Cwd { path, .. } => process(format!("chdir to cwd (\"/{}\")", lossy(path))).no_deed(),
            SetupOp::Home(uid) => process(format!("take HOME of uid {uid} from /etc/passwd")).no_deed(),
            SetupOp::Program { name, .. } => find_program(name),
            SetupOp::IoPriority(value) => io_priority(*value),
            SetupOp::Scheduler(_) => set_scheduler(),
            SetupOp::MemoryPolicy(mode, nodes) => set_memory_policy(*mode, nodes),
            SetupOp::Personality(persona) => process(format!("set the personality {persona:#x}")).no_deed(),
        }
    }
}

fn time_offsets(text: &CStr) -> OpText {
    namespace(format!("set clock offsets ({})", one_line(&lossy(text)))).no_deed()
}

fn bind_device(name: &CStr, source: &MountSource) -> OpText {
    rootfs(format!("bind device {} over {}", source_text(source), lossy(name))).no_deed()
}

fn symlink(name: &CStr, target: &CStr) -> OpText {
    rootfs(format!("symlink {} to {}", lossy(name), lossy(target))).no_deed()
}

fn set_attributes(path: &CStr, attr: &MountAttr) -> OpText {
    rootfs(format!("make /{} {}", lossy(path), attributes(attr).join(","))).no_deed()
}

fn mask(path: &CStr) -> OpText {
    rootfs(format!("mask /{} (empty directory or /dev/null, if it exists)", lossy(path))).no_deed()
}

fn readonly_path(path: &CStr) -> OpText {
    rootfs(format!("make /{} read-only, if it exists", lossy(path))).no_deed()
}

fn write_sysctl(path: &CStr, value: &CStr) -> OpText {
    let path = format!("/proc/{}", lossy(path));
    process(format!("write {path} = {}", lossy(value))).doing(Deed::Sysctl, path)
}

fn make_node(name: &CStr, mode: u32, dev: u64, owner: Ids) -> OpText {
    rootfs(mknod(name, mode, dev, owner)).doing(Deed::MakeNode, lossy(name))
}

fn set_memory_policy(mode: u32, nodes: &[u64]) -> OpText {
    let policy = memory_policy::text(mode, nodes);
    process(format!("set the memory policy {policy}")).doing(Deed::MemoryPolicy, policy)
}

fn entering(how: Enter) -> OpText {
    match how {
        Enter::Pivot => rootfs("pivot_root").doing(Deed::PivotRoot, ""),
        Enter::Move => rootfs("move the root over / and chroot").no_deed(),
        Enter::Chroot => rootfs("chroot").no_deed(),
    }
}

fn root(verb: &str, path: &CStr) -> OpText {
    rootfs(format!("{verb} the root {}", lossy(path))).doing(Deed::TakeRoot, lossy(path))
}

fn set_label(label: &Label) -> OpText {
    let (file, value) = (lossy(&label.file), lossy(&label.value));
    at(Stage::Lsm, format!("write `/proc/thread-self/attr/{file}` = {value}")).doing(Deed::Label, value)
}

fn join(kind: NamespaceKind, refusal: Refusal) -> OpText {
    let rest = if refusal == Refusal::TryAgain { ", if it is not the user namespace's" } else { "" };
    namespace(format!("join the {} namespace{rest}", kind.name())).doing(Deed::Join, "")
}

fn join_init(flags: u64) -> OpText {
    namespace(format!("join the container's namespaces ({})", namespaces(flags))).doing(Deed::Join, "")
}

fn fork(flags: u64) -> OpText {
    namespace(format!("clone3 a sibling ({})", namespaces(flags))).doing(Deed::Clone, "")
}

fn find_program(name: &CStr) -> OpText {
    at(Stage::Exec, format!("find the program {}", lossy(name))).doing(Deed::FindProgram, lossy(name))
}

impl ChildOp<'_> {
    /// What is said of it.
    pub fn describe(&self) -> OpText {
        match self {
            ChildOp::Setup(op) => op.describe(),
            ChildOp::Last(op) => op.describe(),
        }
    }
}

impl LastOp {
    /// What is said of it.
    pub fn describe(&self) -> OpText {
        match self {
            LastOp::LeaveRuntime => sync("unmap the runtime and swap /proc/self/exe").no_deed(),
            LastOp::CloseFrom(first) => process(format!("close descriptors from {first}")).no_deed(),
            LastOp::Fork => sync("clone3 a sibling into the container").doing(Deed::Clone, ""),
            LastOp::NewSession => new_session(),
            LastOp::ControllingTerminal => controlling_terminal(),
            LastOp::Scheduler(_) => set_scheduler(),
            LastOp::NoNewPrivileges => process("set no_new_privs").no_deed(),
            LastOp::Seccomp(filter) => {
                at(Stage::Seccomp, format!("load the seccomp filter ({} instructions)", filter.len)).no_deed()
            }
            LastOp::DieWithRuntime => process("be killed when the runtime dies, and tell it").no_deed(),
            LastOp::KeepCaps => process("keep capabilities over the change of user").no_deed(),
            LastOp::DropBounding(mask) => process(format!("drop from the bounding set: {}", cap_list(*mask))).no_deed(),
            LastOp::Ids(ids) => process(format!("become uid {}, gid {}", ids.uid, ids.gid)).no_deed(),
            LastOp::Caps(CapMasks { effective, permitted, inheritable }) => {
                let like = |mask: u64| if mask == *permitted && mask != 0 { "the same".into() } else { cap_list(mask) };
                let (effective, inheritable) = (like(*effective), like(*inheritable));
                let permitted = cap_list(*permitted);
                let sets = format!("permitted {permitted}; effective {effective}; inheritable {inheritable}");
                process(format!("apply caps: {sets}")).no_deed()
            }
            LastOp::Ambient(mask) => process(format!("raise ambient capabilities {}", cap_list(*mask))).no_deed(),
            LastOp::Park | LastOp::ByRuntime(RuntimeOp::AwaitStart) => sync("wait for start").no_deed(),
            LastOp::AwaitBlock => sync("wait for start, which brings the rest").no_deed(),
            LastOp::Taken => sync("tell that it has come").no_deed(),
            LastOp::AwaitLimits => sync("wait for the parent: limits").no_deed(),
            LastOp::TakeStreams => at(Stage::Console, "take the standard streams").no_deed(),
            LastOp::Cwd => process("chdir to what was found").no_deed(),
            LastOp::CwdAs(user) => process(format!("chdir to it as uid {}, if root may not", user.uid)).no_deed(),
            LastOp::Umask(mask) => umask(*mask),
            LastOp::Groups(groups) => set_groups(groups),
            LastOp::IoPriority(value) => io_priority(*value),
            LastOp::Rlimit(limit) => set_rlimit(limit),
            LastOp::ByRuntime(RuntimeOp::Undumpable) => undumpable(),
            LastOp::ByRuntime(RuntimeOp::Hook(hook, None)) => run_hook(hook),
            LastOp::ByRuntime(RuntimeOp::Hook(hook, Some(_))) => {
                let text = run_hook(hook);
                OpText { line: format!("{} under the seccomp filter", text.line), ..text }
            }
            LastOp::Exec => at(Stage::Exec, "execve").doing(Deed::Execve, ""),
        }
    }
}

fn umask(mask: u32) -> OpText {
    process(format!("umask {mask:04o}")).no_deed()
}

fn set_groups(groups: &[u32]) -> OpText {
    process(format!("setgroups {groups:?}")).no_deed()
}

fn set_scheduler() -> OpText {
    process("set the scheduler").doing(Deed::Schedule, "")
}

fn io_priority(value: u32) -> OpText {
    process(format!("set the io priority to {}:{}", value >> 13, value & 0x1fff)).doing(Deed::Schedule, "")
}

fn undumpable() -> OpText {
    process("let nobody look into the process").no_deed()
}

fn ask_for_host() -> OpText {
    sync("ask the parent for what is the host's").no_deed()
}

fn keyring(label: Option<&CStr>) -> OpText {
    const WHAT: &str = "join a new session keyring";
    match label {
        None => process(WHAT).no_deed(),
        Some(label) => at(Stage::Lsm, format!("{WHAT} labelled {}", lossy(label))).doing(Deed::Label, lossy(label)),
    }
}

fn new_session() -> OpText {
    at(Stage::Console, "start a session").no_deed()
}

fn controlling_terminal() -> OpText {
    at(Stage::Console, "make the terminal the session's").no_deed()
}

fn run_hook(hook: &ChildHook) -> OpText {
    at(Stage::Hook, format!("run {} hook {}", hook.kind.name(), lossy(&hook.path))).no_deed()
}

pub(super) fn mknod(name: &CStr, mode: u32, dev: u64, Ids { uid, gid }: Ids) -> String {
    let (kind, major, minor) = (node_kind(mode), libc::major(dev), libc::minor(dev));
    format!("mknod {} {kind} {major}:{minor} {:04o} {uid}:{gid}", lossy(name), mode & 0o7777)
}

/// mknod(1)'s letter.
fn node_kind(mode: u32) -> char {
    match mode & libc::S_IFMT {
        libc::S_IFCHR => 'c',
        libc::S_IFBLK => 'b',
        _ => 'p',
    }
}

fn namespace_fs(made: NamespaceFs) -> String {
    format!("{} of the joined namespace", lossy(made.kind()))
}

pub(super) fn lossy(text: &CStr) -> std::borrow::Cow<'_, str> {
    text.to_string_lossy()
}

pub(super) fn one_line(text: &str) -> String {
    text.trim_end().replace('\n', "; ")
}

fn tree(reach: Reach) -> &'static str {
    match reach {
        Reach::One => "(this mount)",
        Reach::Tree => "(the whole tree)",
    }
}

pub(super) fn host_tree(of: &HostTree) -> String {
    let mapped = if of.idmap.is_some() { " id-mapped" } else { "" };
    format!("{} {}{mapped}", lossy(&of.path), tree(of.reach))
}

fn cap_list(mask: u64) -> String {
    let names = caps::names_of(mask);
    if names.is_empty() { "none".into() } else { names.join(" ") }
}

pub(super) fn source_text(source: &MountSource) -> String {
    match source {
        MountSource::Path(path) => lossy(path).into_owned(),
        MountSource::Tree(index) => format!("tree {}", index.0),
        MountSource::Asked => "what the parent has taken".into(),
        MountSource::NamespaceFs(made) => format!("the {}", namespace_fs(*made)),
        MountSource::Late(index) => format!("tree {} of the parent", index.0),
    }
}

pub(super) fn propagation(flags: u64) -> String {
    const NAMES: &[(u64, &str)] = &[
        (libc::MS_SHARED, "shared"),
        (libc::MS_SLAVE, "slave"),
        (libc::MS_PRIVATE, "private"),
        (libc::MS_UNBINDABLE, "unbindable"),
    ];
    let name = NAMES.iter().find(|(flag, _)| flags & flag != 0).map_or("unchanged", |(_, name)| name);
    if flags & libc::MS_REC != 0 { format!("r{name}") } else { name.to_owned() }
}

pub(super) fn attributes(attributes: &MountAttr) -> Vec<&'static str> {
    const SET: &[(u64, &str, &str)] = &[
        (attr::RDONLY, "ro", "rw"),
        (attr::NOSUID, "nosuid", "suid"),
        (attr::NODEV, "nodev", "dev"),
        (attr::NOEXEC, "noexec", "exec"),
        (attr::NOATIME, "noatime", "relatime"),
        (attr::STRICTATIME, "strictatime", "relatime"),
        (attr::NODIRATIME, "nodiratime", "diratime"),
        (attr::NOSYMFOLLOW, "nosymfollow", "symfollow"),
    ];
    let mut names: Vec<&str> =
        SET.iter().filter(|(bit, ..)| attributes.set & bit != 0).map(|(_, name, _)| *name).collect();
    let atime = attributes.set & attr::ATIME_MASK != 0 || attributes.clear & attr::ATIME_MASK == 0;
    let plain = |bit: u64| bit & attr::ATIME_MASK == 0;
    names.extend(SET.iter().filter(|(bit, ..)| attributes.clear & bit != 0 && plain(*bit)).map(|(.., name)| *name));
    if !atime {
        names.push("relatime");
    }
    names
}

/// The options of a mount, as config.json could have them.
pub(super) fn options(op: &MountOp) -> Vec<String> {
    let named = MountAttr { clear: op.attr.clear & !op.unnamed, ..op.attr };
    let mut options: Vec<String> = attributes(&named).into_iter().map(str::to_owned).collect();
    if op.unnamed != 0 {
        options.push("no other flags".into());
    }
    options.extend(attributes(&op.recursive).into_iter().map(|name| format!("r{name}")));
    options.extend(op.propagation.iter().map(|change| propagation(change.ms_flags())));
    if op.idmap.is_some() {
        options.push("idmap".into());
    }
    if let MountKind::New(NewFileSystem { params, copy_up, mode, .. }) = &op.what {
        for (key, value) in params {
            let value = value.as_ref().map(|value| format!("={}", lossy(value))).unwrap_or_default();
            options.push(format!("{}{value}", lossy(key)));
        }
        if *copy_up == CopyUp::Yes {
            options.push("tmpcopyup".into());
        }
        if *mode == TmpfsMode::OfMountPoint {
            options.push("mode of the directory".into());
        }
    }
    options
}

fn mount(op: &MountOp) -> String {
    let what = match &op.what {
        MountKind::New(NewFileSystem { kind, source, .. }) => {
            let source = if source == kind { String::new() } else { format!("{} ", lossy(source)) };
            format!("mount {} {source}", lossy(kind))
        }
        MountKind::Bind { source, reach, host, .. } => {
            let source = host.as_ref().map_or_else(|| source_text(source), |path| lossy(path).into_owned());
            format!("{} {source} ", bind_word(*reach))
        }
        MountKind::BindOrLink { source, reach } => {
            format!("{} (or copy the link) {} ", bind_word(*reach), lossy(source))
        }
        MountKind::Remount { .. } => "remount ".into(),
    };
    let options = options(op);
    let options = if options.is_empty() { String::new() } else { format!(" ({})", options.join(",")) };
    format!("{what}on /{}{options}", lossy(&op.dest))
}

fn mount_deed(op: &MountOp) -> Deed {
    match &op.what {
        MountKind::New(new) if *new.kind == *c"proc" => Deed::MountProc,
        MountKind::New(new) if *new.kind == *c"sysfs" => Deed::MountSysfs,
        MountKind::Bind { .. } | MountKind::BindOrLink { .. } => Deed::Bind,
        MountKind::New(_) | MountKind::Remount { .. } => Deed::Mount,
    }
}

fn bind_word(reach: Reach) -> &'static str {
    match reach {
        Reach::One => "bind mount",
        Reach::Tree => "rbind mount",
    }
}

fn set_rlimit(limit: &ParsedRlimit) -> OpText {
    process(rlimit(limit)).doing(Deed::Rlimit, rlimits::name(limit.resource).unwrap_or("?"))
}

/// What is set of a limit; the parent does that, too.
pub(super) fn rlimit(limit: &ParsedRlimit) -> String {
    let name = rlimits::name(limit.resource).unwrap_or("?");
    format!("set rlimit {name} to {}/{}", limit.soft, limit.hard)
}

/// Names of the namespaces in a mask of `CLONE_NEW*`.
pub(super) fn namespaces(flags: u64) -> String {
    let names: Vec<&str> =
        NamespaceKind::ALL.into_iter().filter(|k| flags & k.flag() != 0).map(NamespaceKind::name).collect();
    if names.is_empty() { "no namespaces".into() } else { names.join(", ") }
}
