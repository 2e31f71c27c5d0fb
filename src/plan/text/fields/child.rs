//! The operations of the child as values.

use std::ffi::CStr;

use super::parent::add;
use super::parts::{
    below_root, capabilities, filter, host_tree, milliseconds, namespace_names, node, octal, rlimit, text, texts,
};
use super::{ItemFields, PlanGroup, item};
use crate::plan::namespace::NamespaceKind;
use crate::plan::op::{
    ChildOp, ConsoleNode, Enter, Label, LastOp, LinkRule, NodeRule, OverlayOp, Refusal, RuntimeOp, SetupOp, Terminal,
};
use crate::plan::process::child_hook::ChildHook;
use crate::plan::process::schedule;
use crate::plan::reach::Reach;
use crate::plan::rootfs::mount_op::{CopyUp, MountKind, MountOp, NewFileSystem, TmpfsMode};
use crate::plan::text::cpus;
use crate::plan::text::describe::{self, attributes, one_line, propagation, source_text};
use crate::sys::cred::{CapMasks, Ids};
use crate::sys::mount_attr::MountAttr;

use PlanGroup::{Cgroup, Devices, Hooks, Identity, Mounts, Namespaces, Order, Process, Security};

impl ChildOp<'_> {
    /// What it is, as values, where this directory was opened last.
    pub(super) fn fields(&self, directory: &str) -> ItemFields {
        match self {
            ChildOp::Setup(op) => op.fields(directory),
            ChildOp::Last(op) => op.fields(),
        }
    }
}

impl SetupOp {
    fn fields(&self, directory: &str) -> ItemFields {
        match self {
            SetupOp::End => item(Order, "end"),
            SetupOp::Sync(point) => item(Order, "ask").with("point", point.name()),
            SetupOp::Wait(point) => item(Order, "wait").with("point", point.name()),
            SetupOp::JoinCgroup => item(Cgroup, "join-cgroup"),
            SetupOp::TakeTrees => item(Order, "take-trees"),
            SetupOp::AskForHost => item(Order, "ask-for-host"),
            SetupOp::AskForOne => item(Order, "ask-for-one"),
            SetupOp::CloneTree { tree, .. } => host_tree(tree).into_iter().fold(item(Mounts, "take-tree"), add),
            SetupOp::Join(_, kind, refusal) => join(*kind, *refusal),
            SetupOp::MakeNamespaceFs(made) => item(Mounts, "make-namespace-fs").with("fsType", text(made.kind())),
            SetupOp::JoinInit(flags) => item(Namespaces, "join-init").with("namespaces", namespace_names(*flags)),
            SetupOp::Unshare(flags) => item(Namespaces, "unshare").with("namespaces", namespace_names(*flags)),
            SetupOp::BecomeRoot => item(Identity, "become-root"),
            SetupOp::TimeOffsets(offsets) => item(Namespaces, "time-offsets").with("offsets", one_line(&text(offsets))),
            SetupOp::EnterTime => item(Namespaces, "enter-time"),
            SetupOp::Fork(flags) => item(Namespaces, "fork").with("namespaces", namespace_names(*flags)),
            SetupOp::NewSession => item(Process, "new-session"),
            SetupOp::ControllingTerminal => item(Process, "controlling-terminal"),
            SetupOp::HandOver => item(Order, "hand-over"),
            SetupOp::Keyring(label) => item(Security, "keyring").with("label", label.as_deref().map(text)),
            SetupOp::Undumpable => item(Security, "undumpable"),
            SetupOp::Hostname(name) => item(Namespaces, "hostname").with("name", text(name)),
            SetupOp::Domainname(name) => item(Namespaces, "domainname").with("name", text(name)),
            SetupOp::Loopback => item(Namespaces, "loopback"),
            SetupOp::HostPropagation(flags) => {
                item(Mounts, "host-propagation").with("propagation", propagation(*flags))
            }
            SetupOp::Root { path, .. } => item(Mounts, "root").with("path", text(path)),
            SetupOp::Overlay(op) => overlay(op),
            SetupOp::RootHere(path) => item(Mounts, "open-root").with("path", text(path)),
            SetupOp::Mount(op) => mount(op),
            SetupOp::OpenDir(dir) => item(Devices, "directory").with("path", below_root(dir)),
            SetupOp::Mknod { name, mode, dev, owner, rule } => {
                let made = named("mknod", directory, name).with("rule", node_rule(*rule));
                node(*mode, *dev, *owner).into_iter().fold(made, add)
            }
            SetupOp::BindDevice { name, source } => {
                named("bind-device", directory, name).with("source", source_text(source))
            }
            SetupOp::Symlink { name, target, rule } => symlink(named("symlink", directory, name), target, *rule),
            SetupOp::Unmount { path, .. } => item(Mounts, "unmount").with("destination", below_root(path)),
            SetupOp::SetAttr { path, attr, .. } => set_attributes(path, attr),
            SetupOp::Mask { path, .. } => item(Mounts, "mask").with("destination", below_root(path)),
            SetupOp::ReadonlyPath { path, .. } => item(Mounts, "read-only").with("destination", below_root(path)),
            SetupOp::ReadonlyRoot => item(Mounts, "read-only-root"),
            SetupOp::RootPropagation(change) => {
                item(Mounts, "root-propagation").with("propagation", propagation(change.ms_flags()))
            }
            SetupOp::Procfs => item(Process, "private-proc"),
            SetupOp::Sysctl(path, value) => sysctl(path, value),
            SetupOp::Label(label) => set_label(label),
            SetupOp::Hook(hook) => run_hook(hook),
            SetupOp::Enter(how) => item(Mounts, "enter-root").with("by", entering(*how)),
            SetupOp::Console { size, uid, node, master } => terminal(*size, *node, *master).with("uid", *uid),
            SetupOp::OwnStreams(uid) => item(Process, "own-streams").with("uid", *uid),
            SetupOp::NullStreams => item(Process, "null-streams"),
            SetupOp::Umask(mask) => umask(*mask),
            SetupOp::Rlimit(limit) => rlimit(limit).into_iter().fold(item(Process, "rlimit"), add),
            SetupOp::Groups(groups) => supplementary(groups),
            SetupOp::Cwd { path, user } => of_user(item(Process, "cwd").with("path", below_root(path)), *user),
            SetupOp::Home(uid) => item(Process, "home").with("uid", *uid),
            SetupOp::Program { name, .. } => item(Process, "program").with("name", text(name)),
            SetupOp::IoPriority(value) => io_priority(*value),
            SetupOp::Scheduler(bytes) => scheduler(bytes),
            SetupOp::MemoryPolicy(mode, nodes) => memory_policy(*mode, nodes),
            SetupOp::Personality(persona) => item(Process, "personality").with("persona", *persona),
        }
    }
}

/// What gets a name in the directory that was opened last.
fn named(kind: &'static str, directory: &str, name: &CStr) -> ItemFields {
    item(Devices, kind).with("directory", directory).with("name", text(name))
}

fn symlink(named: ItemFields, target: &CStr, rule: LinkRule) -> ItemFields {
    named.with("target", text(target)).with("rule", rule_name(rule))
}

fn set_attributes(path: &CStr, attr: &MountAttr) -> ItemFields {
    item(Mounts, "set-attributes").with("destination", below_root(path)).with("options", attributes(attr))
}

fn sysctl(path: &CStr, value: &CStr) -> ItemFields {
    item(Namespaces, "sysctl").with("path", format!("/proc/{}", text(path))).with("value", text(value))
}

fn set_label(label: &Label) -> ItemFields {
    item(Security, "label").with("file", text(&label.file)).with("value", text(&label.value))
}

fn join(kind: NamespaceKind, refusal: Refusal) -> ItemFields {
    item(Namespaces, "join").with("namespace", kind.name()).with("orLater", refusal == Refusal::TryAgain)
}

impl LastOp {
    fn fields(&self) -> ItemFields {
        match self {
            LastOp::LeaveRuntime => item(Security, "leave-runtime"),
            LastOp::CloseFrom(first) => item(Process, "close-from").with("descriptor", *first),
            LastOp::Fork => item(Namespaces, "fork-into-container"),
            LastOp::NewSession => item(Process, "new-session"),
            LastOp::ControllingTerminal => item(Process, "controlling-terminal"),
            LastOp::Scheduler(bytes) => scheduler(bytes),
            LastOp::NoNewPrivileges => item(Security, "no-new-privileges"),
            LastOp::Seccomp(loaded) => filter(loaded).into_iter().fold(item(Security, "seccomp"), add),
            LastOp::KeepCaps => item(Security, "keep-capabilities"),
            LastOp::DropBounding(mask) => item(Security, "drop-bounding").with("capabilities", capabilities(*mask)),
            LastOp::Ids(ids) => of_user(item(Identity, "ids"), *ids),
            LastOp::Caps(CapMasks { effective, permitted, inheritable }) => {
                let named = item(Security, "capabilities").with("effective", capabilities(*effective));
                named.with("permitted", capabilities(*permitted)).with("inheritable", capabilities(*inheritable))
            }
            LastOp::Ambient(mask) => item(Security, "ambient").with("capabilities", capabilities(*mask)),
            LastOp::DieWithRuntime => item(Process, "die-with-runtime"),
            LastOp::Park | LastOp::ByRuntime(RuntimeOp::AwaitStart) => item(Order, "await-start"),
            LastOp::AwaitBlock => item(Order, "await-block"),
            LastOp::Taken => item(Order, "taken"),
            LastOp::AwaitLimits => item(Order, "await-limits"),
            LastOp::TakeStreams => item(Process, "take-streams"),
            LastOp::Cwd => item(Process, "found-cwd"),
            LastOp::CwdAs(user) => of_user(item(Process, "found-cwd-as"), *user),
            LastOp::Umask(mask) => umask(*mask),
            LastOp::Groups(groups) => supplementary(groups),
            LastOp::IoPriority(value) => io_priority(*value),
            LastOp::Rlimit(limit) => rlimit(limit).into_iter().fold(item(Process, "rlimit"), add),
            LastOp::ByRuntime(RuntimeOp::Undumpable) => item(Security, "undumpable"),
            LastOp::ByRuntime(RuntimeOp::Hook(hook, under)) => run_hook(hook).with("filtered", under.is_some()),
            LastOp::Exec => item(Process, "execve"),
        }
    }
}

fn of_user(item: ItemFields, Ids { uid, gid }: Ids) -> ItemFields {
    item.with("uid", uid).with("gid", gid)
}

fn umask(mask: u32) -> ItemFields {
    item(Process, "umask").with("mask", octal(mask))
}

fn supplementary(groups: &[u32]) -> ItemFields {
    item(Identity, "groups").with("groups", groups)
}

/// As ioprio_set(2) has it.
fn io_priority(value: u32) -> ItemFields {
    item(Process, "io-priority").with("class", value >> 13).with("level", value & 0x1fff)
}

fn scheduler(bytes: &[u8]) -> ItemFields {
    schedule::values_of(bytes).into_iter().fold(item(Process, "scheduler"), add)
}

fn memory_policy(mode: u32, nodes: &[u64]) -> ItemFields {
    let nodes = (!nodes.is_empty()).then(|| cpus(nodes));
    item(Process, "memory-policy").with("mode", mode).with("nodes", nodes)
}

fn entering(how: Enter) -> &'static str {
    match how {
        Enter::Pivot => "pivot_root",
        Enter::Move => "move",
        Enter::Chroot => "chroot",
    }
}

fn rule_name(rule: LinkRule) -> &'static str {
    match rule {
        LinkRule::Keep => "keep",
        LinkRule::Replace => "replace",
        LinkRule::IfTargetExists => "if-target-exists",
    }
}

fn node_rule(rule: NodeRule) -> &'static str {
    match rule {
        NodeRule::Replace => "replace",
        NodeRule::Refuse(_) => "refuse",
    }
}

fn terminal(size: Option<(u16, u16)>, node: ConsoleNode, master: Terminal) -> ItemFields {
    let master = match master {
        Terminal::None => None,
        Terminal::Socket => Some("socket"),
        Terminal::Foreground => Some("foreground"),
    };
    let console = (node == ConsoleNode::Bound).then_some("/dev/console");
    let named = item(Devices, "terminal").with("rows", size.map(|(rows, _)| rows));
    named.with("columns", size.map(|(_, columns)| columns)).with("destination", console).with("master", master)
}

fn run_hook(hook: &ChildHook) -> ItemFields {
    let ChildHook { kind, index, path, args, env: _, timeout, state: _, dir: _ } = hook;
    let named = item(Hooks, "hook").with("kind", kind.name()).with("number", *index).with("path", text(path));
    named.with("args", texts(args)).with("timeoutMs", milliseconds(*timeout)).with("filtered", false)
}

fn overlay(op: &OverlayOp) -> ItemFields {
    let upper = op.upper.as_ref().map(source_text);
    let lower: Vec<String> = op.lower.iter().map(source_text).collect();
    let named = item(Mounts, "overlay").with("lower", lower).with("upper", upper).with("over", &*op.text);
    named.with("size", op.size.as_deref().map(text)).with("idMapped", op.mapped_root.is_some())
}

fn mount(op: &MountOp) -> ItemFields {
    // Kind, type, source, with what is mounted below it, with what was there, with the permissions of what was there.
    let (kind, fs_type, source, recursive, copy_up, mode) = match &op.what {
        MountKind::New(NewFileSystem { kind, source, copy_up, mode, .. }) => {
            let (copy_up, mode) = (*copy_up == CopyUp::Yes, *mode == TmpfsMode::OfMountPoint);
            ("new", Some(text(kind)), Some(text(source)), false, copy_up, mode)
        }
        MountKind::Bind { source, reach, host, .. } => {
            let source = host.as_ref().map_or_else(|| source_text(source), |path| text(path));
            ("bind", None, Some(source), *reach == Reach::Tree, false, false)
        }
        MountKind::BindOrLink { source, reach } => {
            ("bind-or-link", None, Some(text(source)), *reach == Reach::Tree, false, false)
        }
        MountKind::Remount { .. } => ("remount", None, None, false, false, false),
    };
    let named = item(Mounts, "mount").with("kind", kind).with("destination", below_root(&op.dest));
    let named = named.with("fsType", fs_type).with("source", source).with("recursive", recursive);
    let named = named.with("copyUp", copy_up).with("modeOfDirectory", mode).with("options", describe::options(op));
    named.with("idMapped", op.idmap.is_some()).with("nofollow", op.no_follow)
}
