//! Plans as text: one line for each step and operation, and the error line of a failed one.

use std::ffi::CStr;
use std::fmt::{self, Display, Formatter};

use nix::errno::Errno;

use super::Plan;
use super::cgroup::entry::{IntoCgroup, Part};
use super::cgroup::files::CPUSET_CPUS;
use super::deed::deed;
use super::op::{
    ChildHook, ChildOp, CopyUp, Enter, HookKind, LastOp, MountOp, MountSource, OfJoined, Reach, Refusal, SetupOp,
    TmpfsMode, What,
};
use super::step::{CloneStep, HostObject, MapWriter, Mounts, Step};
use crate::error::{Deed, Error, Stage, errno_text};
use crate::plan::namespace::NamespaceKind;
use crate::plan::process::caps;
use crate::plan::process::rlimits;
use crate::sys::cred::CapMasks;
use crate::sys::mount_attr::{self as attr, MountAttr};
use crate::wire;

/// Names of the namespaces in a mask of `CLONE_NEW*`.
fn namespaces(flags: u64) -> String {
    let names: Vec<&str> =
        NamespaceKind::ALL.into_iter().filter(|k| flags & k.flag() != 0).map(NamespaceKind::name).collect();
    if names.is_empty() { "no namespaces".into() } else { names.join(", ") }
}

impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Step::OpenNamespace(kind, path) => write!(f, "open the {} namespace {path}", kind.name()),
            Step::CloneTree { path, reach, idmap, .. } => {
                write!(f, "clone the mount {} {}{}", lossy(path), tree(*reach), mapped(*idmap))
            }
            Step::TakeFromHost(objects) => {
                f.write_str("take for the child, in its mount namespace: ")?;
                f.write_str(&objects.iter().map(host_object).collect::<Vec<_>>().join(", "))
            }
            Step::JoinedIdMap(_) => f.write_str("take the joined user namespace for an id-mapped mount"),
            Step::OpenIdMap { uids, gids } => {
                write!(
                    f,
                    "make a user namespace for an id-mapped mount (uid {}, gid {})",
                    one_line(uids),
                    one_line(gids)
                )
            }
            Step::CreateCgroup(part) => f.write_str(match part {
                Part::All => "make the cgroup and write its limits",
                Part::V2 => "make the cgroup on cgroup2",
                Part::V1 => "make the other cgroups and write the limits",
            }),
            Step::LeaveCpu => f.write_str("let the child start on another CPU, if it waits for ours"),
            Step::OfferCgroup => f.write_str("let the child join the cgroup"),
            Step::OfferTrees => f.write_str("send the child the mounts of the cgroup"),
            Step::Clone(CloneStep { flags, into_cgroup, join_pid, mounts, time_offsets, back: _ }) => {
                write!(f, "clone3 ({})", namespaces(*flags))?;
                if *into_cgroup == IntoCgroup::Yes {
                    f.write_str(" into the cgroup")?;
                }
                if *mounts == Mounts::Skeleton {
                    f.write_str(" from the skeleton mount namespace")?;
                }
                if join_pid.is_some() {
                    f.write_str(" in the joined pid namespace")?;
                }
                match time_offsets {
                    Some(text) => write!(f, " in a new time namespace ({})", one_line(&text.to_string_lossy())),
                    None => Ok(()),
                }
            }
            Step::Await(point) => write!(f, "wait for the child: {}", point.name()),
            Step::Answer(point) => write!(f, "let the child go on: {}", point.name()),
            Step::WriteIdMaps { uids, gids, writer } => {
                let how = match writer {
                    MapWriter::Direct => "",
                    MapWriter::OwnId => ", setgroups denied",
                    MapWriter::Helpers => " by newuidmap and newgidmap",
                };
                write!(f, "write the id maps (uid {}, gid {}){how}", one_line(uids), one_line(gids))
            }
            Step::AttachCgroup => f.write_str("move the child into the cgroup"),
            Step::StartScope => f.write_str("ask systemd for the scope"),
            Step::JoinScope => f.write_str("wait for the scope and write its limits"),
            Step::ChownCgroup(uid) => write!(f, "chown the cgroup to {uid}"),
            Step::DelegateCgroup { path, uid, gid } => write!(f, "delegate cgroup {path} to {uid}:{gid}"),
            Step::MoveNetDevice(name, inside) => write!(f, "move network device {name} into the container as {inside}"),
            Step::Rdt(rdt) => write!(f, "move the child into resource control group /{}", rdt.group),
            Step::JoinRdt(_) => f.write_str("move the child into the container's resource control group"),
            Step::Hooks(list) => write!(f, "run the {} hooks", list.kind.name()),
            Step::Rlimit(limit) => f.write_str(&rlimit(limit)),
            Step::OomScoreAdj(score) => write!(f, "set oom_score_adj to {score}"),
            Step::Affinity(mask) => write!(f, "set the CPU affinity to {}", cpus(mask)),
            Step::SavePlanned => f.write_str("note what will be made"),
            Step::SaveState => f.write_str("save the state"),
            Step::TakeCharge => f.write_str("take charge of the program"),
            Step::Publish => f.write_str("tell that it is set up"),
            Step::SendListener { path, .. } => write!(f, "send the seccomp listener to {path}"),
            Step::AwaitExec => f.write_str("wait until the program runs"),
        }
    }
}

fn rlimit(limit: &rlimits::Limit) -> String {
    let name = rlimits::name(limit.resource).unwrap_or("?");
    format!("set rlimit {name} to {}/{}", limit.soft, limit.hard)
}

fn host_object(object: &HostObject) -> String {
    match object {
        HostObject::Root(path, _) => format!("the root {}", lossy(path)),
        HostObject::Tree { path, reach, idmap, .. } => {
            format!("{} {}{}", lossy(path), tree(*reach), mapped(*idmap))
        }
        HostObject::Device { mode, dev, uid, gid, .. } => mknod(c"a device", *mode, *dev, (*uid, *gid)),
    }
}

impl SetupOp {
    /// The stage of the work that it belongs to, and its line.
    pub fn describe(&self) -> (Stage, String) {
        match self {
            SetupOp::End => (Stage::Sync, "end".into()),
            SetupOp::Sync(point) => (Stage::Sync, format!("ask the parent and wait: {}", point.name())),
            SetupOp::Wait(point) => (Stage::Sync, format!("wait for the parent: {}", point.name())),
            SetupOp::JoinCgroup => (Stage::Cgroup, "join the cgroup".into()),
            SetupOp::AskForHost(_) | SetupOp::AskForOne => ask_for_host(),
            SetupOp::CloneTree { path, .. } => (Stage::Rootfs, format!("take {} of the host", path.to_string_lossy())),
            SetupOp::TakeTrees(_) => (Stage::Sync, "take the mounts of the cgroup from the parent".into()),
            SetupOp::Join(_, kind, Refusal::Error) => (Stage::Namespace, format!("join the {} namespace", kind.name())),
            SetupOp::Join(_, kind, Refusal::TryAgain) => {
                (Stage::Namespace, format!("join the {} namespace, if it is not the user namespace's", kind.name()))
            }
            SetupOp::OfJoined(made) => (Stage::Rootfs, format!("make a {}", of_joined(*made))),
            SetupOp::EnterTime => (Stage::Namespace, "enter the time namespace".into()),
            SetupOp::JoinInit(flags) => {
                (Stage::Namespace, format!("join the container's namespaces ({})", namespaces(*flags)))
            }
            SetupOp::Unshare(flags) => (Stage::Namespace, format!("unshare ({})", namespaces(*flags))),
            SetupOp::BecomeRoot => (Stage::Namespace, "become root of the user namespace".into()),
            SetupOp::TimeOffsets(text) => (Stage::Namespace, format!("set clock offsets ({})", one_line(&lossy(text)))),
            SetupOp::Fork(flags) => (Stage::Namespace, format!("clone3 a sibling ({})", namespaces(*flags))),
            SetupOp::NewSession => new_session(),
            SetupOp::ControllingTerminal => controlling_terminal(),
            SetupOp::HandOver => (Stage::Sync, "hand the last operations to the container's process, and end".into()),
            SetupOp::Keyring(label) => keyring(label.as_deref()),
            SetupOp::Undumpable => undumpable(),
            SetupOp::Hostname(name) => (Stage::Namespace, format!("set hostname {}", lossy(name))),
            SetupOp::Domainname(name) => (Stage::Namespace, format!("set domainname {}", lossy(name))),
            SetupOp::Loopback => (Stage::Network, "bring lo up".into()),
            SetupOp::HostPropagation(flags) => (Stage::Rootfs, format!("make / {}", propagation(*flags))),
            SetupOp::Root { path, .. } => (Stage::Rootfs, format!("take the root {}", lossy(path))),
            SetupOp::Overlay(op) => (Stage::Rootfs, format!("lay an overlay: {}", op.text)),
            SetupOp::RootHere(path) => (Stage::Rootfs, format!("open the root {}", lossy(path))),
            SetupOp::Mount(op) => (Stage::Rootfs, mount(op)),
            Self::OpenDir(dir) | Self::OpenDeviceDir(dir) => (Stage::Rootfs, format!("open directory /{}", lossy(dir))),
            SetupOp::Mknod { name, mode, dev, uid, gid } => (Stage::Rootfs, mknod(name, *mode, *dev, (*uid, *gid))),
            SetupOp::BindDevice { name, source } => {
                (Stage::Rootfs, format!("bind device {} over {}", source_text(source), lossy(name)))
            }
            SetupOp::Symlink { name, target, .. } => {
                (Stage::Rootfs, format!("symlink {} to {}", lossy(name), lossy(target)))
            }
            SetupOp::Unmount { dir, name, .. } => (Stage::Rootfs, format!("unmount /{}/{}", lossy(dir), lossy(name))),
            SetupOp::SetAttr { path, attr, .. } => {
                (Stage::Rootfs, format!("make /{} {}", lossy(path), attributes(attr).join(",")))
            }
            SetupOp::Mask { path, .. } => {
                (Stage::Rootfs, format!("mask /{} (empty directory or /dev/null, if it exists)", lossy(path)))
            }
            SetupOp::ReadonlyPath { path, .. } => {
                (Stage::Rootfs, format!("make /{} read-only, if it exists", lossy(path)))
            }
            SetupOp::ReadonlyRoot => (Stage::Rootfs, "make the root read-only".into()),
            SetupOp::RootPropagation(flag, reach) => {
                (Stage::Rootfs, format!("make the root {} {}", propagation(*flag), tree(*reach)))
            }
            SetupOp::Procfs => (Stage::Rootfs, "open a private proc".into()),
            SetupOp::Sysctl(path, value) => (Stage::Process, format!("write /proc/{} = {}", lossy(path), lossy(value))),
            SetupOp::Label(label) => {
                let (file, value) = (lossy(&label.file), lossy(&label.value));
                (Stage::Lsm, format!("write `/proc/thread-self/attr/{file}` = {value}"))
            }
            SetupOp::Hook(hook) => run_hook(hook),
            SetupOp::Enter(how) => (Stage::Rootfs, entering(*how).into()),
            SetupOp::Console { .. } => (Stage::Console, "open the terminal".into()),
            SetupOp::OwnStreams(uid) => (Stage::Console, format!("give the standard streams to uid {uid}")),
            SetupOp::NullStreams => {
                (Stage::Console, "use the container's /dev/null for a standard stream that is one".into())
            }
            SetupOp::Umask(mask) => umask(*mask),
            SetupOp::Rlimit(limit) => (Stage::Process, rlimit(limit)),
            SetupOp::Groups(groups) => set_groups(groups),
            SetupOp::Cwd { path, .. } => (Stage::Process, format!("chdir to cwd (\"/{}\")", lossy(path))),
            SetupOp::Home(uid) => (Stage::Process, format!("take HOME of uid {uid} from /etc/passwd")),
            SetupOp::Program { name, .. } => (Stage::Exec, format!("find the program {}", lossy(name))),
            SetupOp::IoPriority(value) => io_priority(*value),
            SetupOp::Scheduler(_) => set_scheduler(),
            SetupOp::MemoryPolicy(mode, _) => (Stage::Process, format!("set the memory policy {mode:#x}")),
            SetupOp::Personality(persona) => (Stage::Process, format!("set the personality {persona:#x}")),
        }
    }
}

const fn entering(how: Enter) -> &'static str {
    match how {
        Enter::Pivot => "pivot_root",
        Enter::Move => "move the root over / and chroot",
        Enter::Chroot => "chroot",
    }
}

impl ChildOp<'_> {
    /// The stage of the work that it belongs to, and its line.
    pub fn describe(&self) -> (Stage, String) {
        match self {
            ChildOp::Setup(op) => op.describe(),
            ChildOp::Last(op) => op.describe(),
        }
    }
}

impl LastOp {
    /// The stage of the work that it belongs to, and its line.
    pub fn describe(&self) -> (Stage, String) {
        match self {
            LastOp::LeaveRuntime => (Stage::Sync, "unmap the runtime and swap /proc/self/exe".into()),
            LastOp::CloseFrom(first) => (Stage::Process, format!("close descriptors from {first}")),
            LastOp::Fork => (Stage::Sync, "clone3 a sibling into the container".into()),
            LastOp::NewSession => new_session(),
            LastOp::ControllingTerminal => controlling_terminal(),
            LastOp::Scheduler(_) => set_scheduler(),
            LastOp::NoNewPrivileges => (Stage::Process, "set no_new_privs".into()),
            LastOp::Seccomp(filter) => {
                (Stage::Seccomp, format!("load the seccomp filter ({} instructions)", filter.len))
            }
            LastOp::DieWithRuntime => (Stage::Process, "be killed when the runtime dies".into()),
            LastOp::KeepCaps => (Stage::Process, "keep capabilities over the change of user".into()),
            LastOp::DropBounding(mask) => (Stage::Process, format!("drop from the bounding set: {}", cap_list(*mask))),
            LastOp::Ids(uid, gid) => (Stage::Process, format!("become uid {uid}, gid {gid}")),
            LastOp::Caps(CapMasks { effective, permitted, inheritable }) => {
                let permitted = cap_list(*permitted);
                let sets = format!("permitted {permitted}; effective {effective:#x}; inheritable {inheritable:#x}");
                (Stage::Process, format!("apply caps: {sets}"))
            }
            LastOp::Ambient(mask) => (Stage::Process, format!("raise ambient capabilities {}", cap_list(*mask))),
            LastOp::Park | LastOp::AwaitStart => (Stage::Sync, "wait for start".into()),
            LastOp::AwaitBlock => (Stage::Sync, "wait for start, which brings the rest".into()),
            LastOp::Taken => (Stage::Sync, "tell that it has come".into()),
            LastOp::AwaitLimits => (Stage::Sync, "wait for the parent: limits".into()),
            LastOp::TakeStreams => (Stage::Console, "take the standard streams".into()),
            LastOp::Cwd => (Stage::Process, "chdir to what was found".into()),
            LastOp::CwdAs(uid, _) => (Stage::Process, format!("chdir to it as uid {uid}, if root may not")),
            LastOp::Umask(mask) => umask(*mask),
            LastOp::Groups(groups) => set_groups(groups),
            LastOp::IoPriority(value) => io_priority(*value),
            LastOp::Rlimit(limit) => (Stage::Process, rlimit(limit)),
            LastOp::Undumpable => undumpable(),
            LastOp::Hook(hook, None) => run_hook(hook),
            LastOp::Hook(hook, Some(_)) => {
                let (stage, line) = run_hook(hook);
                (stage, format!("{line} under the seccomp filter"))
            }
            LastOp::Exec => (Stage::Exec, "execve".into()),
        }
    }
}

fn umask(mask: u32) -> (Stage, String) {
    (Stage::Process, format!("umask {mask:04o}"))
}

fn set_groups(groups: &[u32]) -> (Stage, String) {
    (Stage::Process, format!("setgroups {groups:?}"))
}

fn set_scheduler() -> (Stage, String) {
    (Stage::Process, "set the scheduler".into())
}

fn io_priority(value: u32) -> (Stage, String) {
    (Stage::Process, format!("set the io priority to {}:{}", value >> 13, value & 0x1fff))
}

fn undumpable() -> (Stage, String) {
    (Stage::Process, "let nobody look into the process".into())
}

fn ask_for_host() -> (Stage, String) {
    (Stage::Sync, "ask the parent for what is the host's".into())
}

fn keyring(label: Option<&CStr>) -> (Stage, String) {
    const WHAT: &str = "join a new session keyring";
    match label {
        None => (Stage::Process, WHAT.to_owned()),
        Some(label) => (Stage::Lsm, format!("{WHAT} labelled {}", lossy(label))),
    }
}

fn new_session() -> (Stage, String) {
    (Stage::Console, "start a session".into())
}

fn controlling_terminal() -> (Stage, String) {
    (Stage::Console, "make the terminal the session's".into())
}

fn run_hook(hook: &ChildHook) -> (Stage, String) {
    (Stage::Hook, format!("run {} hook {}", hook.kind.name(), lossy(&hook.path)))
}

fn mknod(name: &CStr, mode: u32, dev: u64, (uid, gid): (u32, u32)) -> String {
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

fn of_joined(made: OfJoined) -> String {
    format!("{} of the joined namespace", lossy(made.kind()))
}

fn lossy(text: &CStr) -> std::borrow::Cow<'_, str> {
    text.to_string_lossy()
}

fn one_line(text: &str) -> String {
    text.trim_end().replace('\n', "; ")
}

fn tree(reach: Reach) -> &'static str {
    match reach {
        Reach::One => "(this mount)",
        Reach::Tree => "(the whole tree)",
    }
}

fn mapped(idmap: Option<(usize, Reach)>) -> &'static str {
    if idmap.is_some() { " id-mapped" } else { "" }
}

fn cap_list(mask: u64) -> String {
    let names = caps::names_of(mask);
    if names.is_empty() { "none".into() } else { names.join(" ") }
}

fn source_text(source: &MountSource) -> String {
    match source {
        MountSource::Path(path) => lossy(path).into_owned(),
        MountSource::Tree(index) => format!("tree {index}"),
        MountSource::Asked => "what the parent has taken".into(),
        MountSource::OfJoined(made) => format!("the {}", of_joined(*made)),
        MountSource::Late(index) => format!("tree {index} of the parent"),
    }
}

fn propagation(flags: u64) -> String {
    const NAMES: &[(u64, &str)] = &[
        (libc::MS_SHARED, "shared"),
        (libc::MS_SLAVE, "slave"),
        (libc::MS_PRIVATE, "private"),
        (libc::MS_UNBINDABLE, "unbindable"),
    ];
    let name = NAMES.iter().find(|(flag, _)| flags & flag != 0).map_or("unchanged", |(_, name)| name);
    if flags & libc::MS_REC != 0 { format!("r{name}") } else { name.to_owned() }
}

fn attributes(attributes: &MountAttr) -> Vec<&'static str> {
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

fn mount(op: &MountOp) -> String {
    let named = MountAttr { clear: op.attr.clear & !op.unnamed, ..op.attr };
    let mut options: Vec<String> = attributes(&named).into_iter().map(str::to_owned).collect();
    if op.unnamed != 0 {
        options.push("no other flags".into());
    }
    options.extend(attributes(&op.recursive).into_iter().map(|name| format!("r{name}")));
    for (flag, reach) in &op.propagation {
        options.push(propagation(flag | if *reach == Reach::Tree { libc::MS_REC } else { 0 }));
    }
    if op.idmap.is_some() {
        options.push("idmap".into());
    }
    let what = match &op.what {
        What::New { kind, source, params, copy_up, mode, .. } => {
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
            let source = if source == kind { String::new() } else { format!("{} ", lossy(source)) };
            format!("mount {} {source}", lossy(kind))
        }
        What::Bind { source, reach, .. } => format!("{} {} ", bind_word(*reach), source_text(source)),
        What::BindOrLink { source, reach } => format!("{} (or copy the link) {} ", bind_word(*reach), lossy(source)),
        What::Remount { .. } => "remount ".into(),
    };
    let options = if options.is_empty() { String::new() } else { format!(" ({})", options.join(",")) };
    format!("{what}on /{}{options}", lossy(&op.dest))
}

fn bind_word(reach: Reach) -> &'static str {
    match reach {
        Reach::One => "bind mount",
        Reach::Tree => "rbind mount",
    }
}

impl Display for Plan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        for (index, step) in self.steps.iter().enumerate() {
            writeln!(f, "parent {index:>3}  {step}")?;
            if matches!(step, Step::CreateCgroup(Part::All | Part::V1) | Step::JoinScope) {
                for line in self.cgroup_lines() {
                    writeln!(f, "            {line}")?;
                }
            }
        }
        self.child_ops().enumerate().try_for_each(|(index, op)| writeln!(f, "child  {index:>3}  {}", op.describe().1))
    }
}

impl Plan {
    /// What [`Step::CreateCgroup`] or the steps of a scope will do, a line each.
    pub fn cgroup_lines(&self) -> Vec<String> {
        let Some(cgroup) = &self.cgroup else { return Vec::new() };
        let mut lines: Vec<String> = self
            .scope
            .iter()
            .flat_map(|scope| scope.to_string().lines().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        let verb = if self.scope.is_some() { "open" } else { "mkdir" };
        lines.extend(cgroup.dirs.iter().map(|dir| format!("cgroup {verb} {}", dir.full_path().display())));
        lines.extend(cgroup.writes.iter().map(ToString::to_string));
        lines.extend(cgroup.devices.to_string().lines().map(str::to_owned));
        lines
    }

    fn limits_cpus(&self) -> bool {
        self.cgroup.as_ref().is_some_and(|cgroup| cgroup.writes.iter().any(|write| write.file == CPUSET_CPUS.name))
    }

    /// Words a fault of the child: the operation, its object, and what the kernel said, or a hook.
    pub fn fault(&self, index: usize, errno: Errno, detail: &str, said: &str) -> Error {
        let Some(op) = self.child_ops().nth(index) else {
            return Error::errno(Stage::Sync, format!("the child reported a fault in operation {index}"), errno);
        };
        if let ChildOp::Setup(SetupOp::Program { name, .. }) = op {
            let name = name.to_string_lossy();
            return program_error(&name, errno, detail).doing(Deed::FindProgram, &*name);
        }
        let (stage, mut line) = op.describe();
        if let Some((number, path)) = taken(&op) {
            line = line.replacen(&number, &path, 1);
        }
        let mut what = if op == ChildOp::Last(&LastOp::Exec) {
            format!("exec {:?}", self.args.first().map(|arg| arg.to_string_lossy()).unwrap_or_default())
        } else {
            format!("op {} of {}: {line}", index + 1, self.child_ops().count())
        };
        if !detail.is_empty() {
            what.push_str(&format!(": {detail}"));
        }
        if matches!(op, ChildOp::Last(LastOp::Scheduler(_)) | ChildOp::Setup(SetupOp::Scheduler(_)))
            && errno == Errno::EPERM
            && self.limits_cpus()
        {
            // sched_setattr(2): SCHED_DEADLINE wants all CPUs of the machine.
            what.push_str(": process scheduler can't be used together with AllowedCPUs (linux.resources.cpu.cpus)");
        }
        if let ChildOp::Setup(SetupOp::Hook(hook)) | ChildOp::Last(LastOp::Hook(hook, _)) = op {
            return hook_error(hook.kind, detail, said).unwrap_or_else(|| Error::errno(Stage::Hook, what, errno));
        }
        let error = Error::errno(stage, what, errno);
        match deed(&op) {
            Some((deed, object)) => error.doing(deed, object),
            None => error,
        }
    }
}

/// What a bind mounts: as the plan names it, and its path on the host.
fn taken(op: &ChildOp<'_>) -> Option<(String, String)> {
    let ChildOp::Setup(SetupOp::Mount(mount)) = op else { return None };
    let What::Bind { source, host, .. } = &mount.what else { return None };
    Some((source_text(source), lossy(host.as_ref()?).into_owned()))
}

/// What a hook of the container's process ended with, and said; `None` for what is not the hook's doing.
pub fn hook_error(kind: HookKind, detail: &str, said: &str) -> Option<Error> {
    let verdict = detail.strip_prefix(char::from(wire::VERDICT))?;
    let (index, how) = verdict.split_once(' ')?;
    let mut what = format!("{}: {how}", failed_hook(kind, index));
    if !said.trim().is_empty() {
        what = what + ", stderr: " + said.trim();
    }
    Some(Error::new(Stage::Hook, what))
}

/// runc's words.
pub fn failed_hook(kind: HookKind, index: impl Display) -> String {
    format!("error running {} hook #{index}", kind.name())
}

/// The CPUs of a mask as a list, `0-2,9`.
fn cpus(mask: &[u64]) -> String {
    if mask.iter().all(|word| *word == u64::MAX) {
        return "all".to_owned();
    }
    let total = mask.len() * 64;
    let has = |cpu: usize| mask.get(cpu / 64).is_some_and(|word| word >> (cpu % 64) & 1 == 1);
    let starts = (0..total).filter(|cpu| has(*cpu) && (*cpu == 0 || !has(cpu - 1)));
    let ranges: Vec<String> = starts
        .map(|first| match (first..total).find(|cpu| !has(cpu + 1)).unwrap_or(first) {
            last if last == first => first.to_string(),
            last => format!("{first}-{last}"),
        })
        .collect();
    ranges.join(",")
}

/// runc's words: docker and podman tell 126 from 127 by them.
fn program_error(name: &str, errno: Errno, detail: &str) -> Error {
    let plain = || format!("exec: {name:?}");
    match errno {
        Errno::ENOENT | Errno::ENOTDIR if !name.contains('/') => {
            Error::new(Stage::Exec, format!("exec: {name:?}: executable file not found in $PATH"))
                .told(errno)
                .with_hint("PATH is that of process.env, and its directories are the container's")
        }
        Errno::EPERM if !detail.is_empty() => {
            Error::new(Stage::Exec, format!("exec: {name:?}: cannot run executable {detail}")).told(errno)
        }
        Errno::EACCES if !detail.is_empty() => {
            Error::new(Stage::Exec, format!("exec: {name:?}: {}: {detail}", errno_text(errno))).told(errno)
        }
        Errno::EACCES | Errno::EISDIR => Error::errno(Stage::Exec, plain(), errno),
        errno => Error::errno(Stage::Exec, format!("exec: {name:?}: stat {name}"), errno),
    }
}
