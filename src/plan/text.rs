//! Plans as text: one line for each step and operation, and the error line of a failed one.

use std::fmt::{self, Display, Formatter, Write};

use nix::errno::Errno;

use super::Plan;
use super::cgroup::entry::{IntoCgroup, Part};
use super::op::{CopyUp, Enter, HookKind, Mode, MountOp, Op, Reach, Source, What};
use super::step::{MapWriter, Mounts, Step};
use crate::error::{Error, Stage, errno_text};
use crate::plan::namespace::Kind;
use crate::plan::process::caps;
use crate::plan::process::rlimits;
use crate::sys::mount_attr::{self as attr, MountAttr};

/// Names of the namespaces in a mask of `CLONE_NEW*`.
fn namespaces(flags: u64) -> String {
    let names: Vec<&str> = Kind::ALL.into_iter().filter(|k| flags & k.flag() != 0).map(Kind::name).collect();
    if names.is_empty() { "no namespaces".into() } else { names.join(", ") }
}

impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Step::OpenNamespace(kind, path) => write!(f, "open the {} namespace {path}", kind.name()),
            Step::CloneTree { path, reach, .. } => write!(f, "clone the mount {} {}", lossy(path), tree(*reach)),
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
                Part::Unified => "make the cgroup on cgroup2",
                Part::Rest => "make the other cgroups and write the limits",
            }),
            Step::Spread => f.write_str("let the child start on another CPU, if it waits for ours"),
            Step::OfferCgroup => f.write_str("let the child join the cgroup"),
            Step::OfferTrees => f.write_str("send the child the mounts of the cgroup"),
            Step::Clone { flags, into_cgroup, join_pid, mounts, time_offsets } => {
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
            Step::Hooks(kind) => write!(f, "run the {} hooks", kind.name()),
            Step::Rlimit(limit) => rlimit(limit, f),
            Step::OomScoreAdj(score) => write!(f, "set oom_score_adj to {score}"),
            Step::Affinity(mask) => write!(f, "set the CPU affinity to {}", cpus(mask)),
            Step::SavePlanned => f.write_str("note what will be made"),
            Step::SaveState => f.write_str("save the state"),
            Step::Publish => f.write_str("tell that it is set up"),
            Step::SendListener { path, .. } => write!(f, "send the seccomp listener to {path}"),
            Step::AwaitExec => f.write_str("wait until the program runs"),
        }
    }
}

fn rlimit(limit: &rlimits::Limit, f: &mut Formatter<'_>) -> fmt::Result {
    let name = rlimits::name(limit.resource).unwrap_or("?");
    write!(f, "set rlimit {name} to {}/{}", limit.soft, limit.hard)
}

impl Display for Op {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Op::Sync(point) => write!(f, "ask the parent and wait: {}", point.name()),
            Op::JoinCgroup => f.write_str("join the cgroup"),
            Op::TakeTrees(_) => f.write_str("take the mounts of the cgroup from the parent"),
            Op::Wait(point) => write!(f, "wait for the parent: {}", point.name()),
            Op::Join(_, kind) => write!(f, "join the {} namespace", kind.name()),
            Op::JoinInit(flags) => write!(f, "join the container's namespaces ({})", namespaces(*flags)),
            Op::Unshare(flags) => write!(f, "unshare ({})", namespaces(*flags)),
            Op::BecomeRoot => f.write_str("become root of the user namespace"),
            Op::TimeOffsets(text) => write!(f, "set clock offsets ({})", one_line(&text.to_string_lossy())),
            Op::Fork(flags) => write!(f, "clone3 a sibling ({})", namespaces(*flags)),
            Op::NewSession => f.write_str("start a session"),
            Op::ControllingTerminal => f.write_str("make the terminal the session's"),
            Op::Keyring(name) => write!(f, "join a new session keyring {}", lossy(name)),
            Op::Hostname(name) => write!(f, "set hostname {}", lossy(name)),
            Op::Domainname(name) => write!(f, "set domainname {}", lossy(name)),
            Op::Loopback => f.write_str("bring lo up"),
            Op::HostPropagation(flags) => write!(f, "make / {}", propagation(*flags)),
            Op::Root { path, .. } => write!(f, "take the root {}", lossy(path)),
            Op::RootHere(path) => write!(f, "open the root {}", lossy(path)),
            Op::Mount(op) => mount(op, f),
            Op::OpenDir(path) => write!(f, "open directory /{}", lossy(path)),
            Op::Mknod { name, mode, dev, uid, gid } => {
                let (kind, major, minor) = (node_kind(*mode), libc::major(*dev), libc::minor(*dev));
                write!(f, "mknod {} {kind} {major}:{minor} {:04o} {uid}:{gid}", lossy(name), mode & 0o7777)
            }
            Op::BindDevice { name, source } => write!(f, "bind device {} over {}", source_text(source), lossy(name)),
            Op::Symlink { name, target, .. } => write!(f, "symlink {} to {}", lossy(name), lossy(target)),
            Op::Unmount { dir, name } => write!(f, "unmount /{}/{}", lossy(dir), lossy(name)),
            Op::End => f.write_str("end"),
            Op::SetAttr(path, attr) => write!(f, "make /{} {}", lossy(path), attributes(attr).join(",")),
            Op::Mask(path) => write!(f, "mask /{} (empty directory or /dev/null, if it exists)", lossy(path)),
            Op::ReadonlyPath(path) => write!(f, "make /{} read-only, if it exists", lossy(path)),
            Op::ReadonlyRoot => f.write_str("make the root read-only"),
            Op::RootPropagation(flag, reach) => write!(f, "make the root {} {}", propagation(*flag), tree(*reach)),
            Op::Procfs => f.write_str("open a private proc"),
            Op::Sysctl(path, value) => write!(f, "write /proc/{} = {}", lossy(path), lossy(value)),
            Op::Label(label) => {
                write!(f, "write `/proc/thread-self/attr/{}` = {}", lossy(&label.file), lossy(&label.value))
            }
            Op::Hook(hook) => write!(f, "run {} hook {}", hook.kind.name(), lossy(&hook.path)),
            Op::Enter(Enter::Pivot) => f.write_str("pivot_root"),
            Op::Enter(Enter::Move) => f.write_str("move the root over / and chroot"),
            Op::Enter(Enter::Chroot) => f.write_str("chroot"),
            Op::Rlimit(limit) => rlimit(limit, f),
            Op::Console { .. } => f.write_str("open the terminal"),
            Op::OwnStreams(uid) => write!(f, "give the standard streams to uid {uid}"),
            Op::Umask(mask) => write!(f, "umask {mask:04o}"),
            Op::Groups(groups) => write!(f, "setgroups {groups:?}"),
            Op::Cwd { path, .. } => write!(f, "chdir to cwd (\"/{}\")", lossy(path)),
            Op::Home(uid) => write!(f, "take HOME of uid {uid} from /etc/passwd"),
            Op::Program { name, .. } => write!(f, "find the program {}", lossy(name)),
            Op::Scheduler(_) => f.write_str("set the scheduler"),
            Op::IoPriority(value) => write!(f, "set the io priority to {}:{}", value >> 13, value & 0x1fff),
            Op::MemoryPolicy(mode, _) => write!(f, "set the memory policy {mode:#x}"),
            Op::Personality(persona) => write!(f, "set the personality {persona:#x}"),
            Op::AwaitStart => f.write_str("wait for start"),
            Op::CloseFrom(first) => write!(f, "close descriptors from {first}"),
            Op::LeaveRuntime => f.write_str("unmap the runtime and swap /proc/self/exe"),
            Op::ForkTail => f.write_str("clone3 a sibling into the container"),
            Op::NoNewPrivileges => f.write_str("set no_new_privs"),
            Op::Seccomp(filter) => write!(f, "load the seccomp filter ({} instructions)", filter.len),
            Op::KeepCaps => f.write_str("keep capabilities over the change of user"),
            Op::DropBounding(mask) => write!(f, "drop from the bounding set: {}", cap_list(*mask)),
            Op::Ids(uid, gid) => write!(f, "become uid {uid}, gid {gid}"),
            Op::Caps(caps) => write!(
                f,
                "apply caps: permitted {}; effective {:#x}; inheritable {:#x}",
                cap_list(caps.permitted),
                caps.effective,
                caps.inheritable
            ),
            Op::Ambient(mask) => write!(f, "raise ambient capabilities {}", cap_list(*mask)),
            Op::Park => f.write_str("wait for start"),
            Op::Exec => f.write_str("execve"),
        }
    }
}

/// mknod(1)'s letter.
fn node_kind(mode: u32) -> char {
    match mode & libc::S_IFMT {
        libc::S_IFCHR => 'c',
        libc::S_IFBLK => 'b',
        _ => 'p',
    }
}

fn lossy(text: &std::ffi::CStr) -> std::borrow::Cow<'_, str> {
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

fn cap_list(mask: u64) -> String {
    let names = caps::names_of(mask);
    if names.is_empty() { "none".into() } else { names.join(" ") }
}

fn source_text(source: &Source) -> String {
    match source {
        Source::Path(path) => lossy(path).into_owned(),
        Source::Tree(index) => format!("tree {index}"),
        Source::Late(index) => format!("tree {index} of the cgroup"),
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

fn mount(op: &MountOp, f: &mut Formatter<'_>) -> fmt::Result {
    let mut options: Vec<String> = attributes(&op.attr).into_iter().map(str::to_owned).collect();
    options.extend(attributes(&op.recursive).into_iter().map(|name| format!("r{name}")));
    for (flag, reach) in &op.propagation {
        options.push(propagation(flag | if *reach == Reach::Tree { libc::MS_REC } else { 0 }));
    }
    if op.idmap.is_some() {
        options.push("idmap".into());
    }
    match &op.what {
        What::New { kind, source, params, copy_up, mode, .. } => {
            for (key, value) in params {
                let value = value.as_ref().map(|value| format!("={}", lossy(value))).unwrap_or_default();
                options.push(format!("{}{value}", lossy(key)));
            }
            if *copy_up == CopyUp::Yes {
                options.push("tmpcopyup".into());
            }
            if *mode == Mode::OfMountPoint {
                options.push("mode of the directory".into());
            }
            write!(f, "mount {} ", lossy(kind))?;
            if source != kind {
                write!(f, "{} ", lossy(source))?;
            }
        }
        What::Bind { source, reach, .. } => write!(f, "{} {} ", bind_word(*reach), source_text(source))?,
        What::BindOrLink { source, reach } => write!(f, "{} (or copy the link) {} ", bind_word(*reach), lossy(source))?,
        What::Remount { .. } => f.write_str("remount ")?,
    }
    write!(f, "on /{}", lossy(&op.dest))?;
    if !options.is_empty() {
        write!(f, " ({})", options.join(","))?;
    }
    Ok(())
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
            if matches!(step, Step::CreateCgroup(Part::All | Part::Rest) | Step::JoinScope) {
                for line in self.cgroup_lines() {
                    writeln!(f, "            {line}")?;
                }
            }
        }
        for (index, op) in self.ops.iter().enumerate() {
            writeln!(f, "child  {index:>3}  {op}")?;
        }
        Ok(())
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

    /// Words a fault of the child: the operation, its object, and what the kernel said.
    pub fn fault(&self, index: usize, errno: Errno, detail: &str) -> Error {
        let Some(op) = self.ops.get(index) else {
            return Error::errno(Stage::Sync, format!("the child reported a fault in operation {index}"), errno);
        };
        if let Op::Program { name, .. } = op {
            return program_error(&name.to_string_lossy(), errno, detail);
        }
        let mut what = String::new();
        // Writing to a String cannot fail.
        let _ = match op {
            Op::Exec => {
                write!(what, "exec {:?}", self.args.first().map(|arg| arg.to_string_lossy()).unwrap_or_default())
            }
            _ => write!(what, "op {} of {}: {op}", index + 1, self.ops.len()),
        };
        if !detail.is_empty() {
            what.push_str(&format!(": {detail}"));
        }
        if let Op::Hook(hook) = op {
            return hook_error(hook.kind, errno, detail).unwrap_or_else(|| Error::errno(Stage::Hook, what, errno));
        }
        Error::errno(stage(op), what, errno)
    }
}

/// What a hook of the container's process ended with; `None` for what is not the hook's doing.
pub fn hook_error(kind: HookKind, errno: Errno, detail: &str) -> Option<Error> {
    let end = match errno {
        Errno::ETIMEDOUT => ": timed out and was killed",
        Errno::EREMOTEIO => "",
        _ => return None,
    };
    Some(Error::new(Stage::Hook, format!("{} hook {detail}{end}", kind.name())))
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
    let what = match errno {
        Errno::ENOENT | Errno::ENOTDIR if !name.contains('/') => {
            return Error::new(Stage::Exec, format!("exec: {name:?}: executable file not found in $PATH"));
        }
        Errno::EPERM if !detail.is_empty() => format!("exec: {name:?}: cannot run executable {detail}"),
        Errno::EACCES => format!("exec: {name:?}: {}", errno_text(errno)),
        errno => format!("exec: {name:?}: stat {name}: {}", errno_text(errno)),
    };
    Error::new(Stage::Exec, what)
}

fn stage(op: &Op) -> Stage {
    match op {
        Op::Sync(_)
        | Op::Wait(_)
        | Op::TakeTrees(_)
        | Op::End
        | Op::AwaitStart
        | Op::Park
        | Op::ForkTail
        | Op::LeaveRuntime => Stage::Sync,
        Op::Join(..) | Op::JoinInit(_) | Op::Unshare(_) | Op::BecomeRoot | Op::TimeOffsets(_) | Op::Fork(_) => {
            Stage::Namespace
        }
        Op::JoinCgroup => Stage::Cgroup,
        Op::Loopback => Stage::Network,
        Op::Hostname(_) | Op::Domainname(_) => Stage::Namespace,
        Op::Console { .. } | Op::OwnStreams(_) | Op::NewSession | Op::ControllingTerminal => Stage::Console,
        Op::Label(_) => Stage::Lsm,
        Op::Seccomp(_) => Stage::Seccomp,
        Op::Hook(_) => Stage::Hook,
        Op::Exec | Op::Program { .. } => Stage::Exec,
        Op::HostPropagation(_)
        | Op::Root { .. }
        | Op::RootHere(_)
        | Op::Mount(_)
        | Op::OpenDir(_)
        | Op::Mknod { .. }
        | Op::BindDevice { .. }
        | Op::Symlink { .. }
        | Op::SetAttr(..)
        | Op::Unmount { .. }
        | Op::Mask(_)
        | Op::ReadonlyPath(_)
        | Op::ReadonlyRoot
        | Op::RootPropagation(..)
        | Op::Procfs
        | Op::Enter(_) => Stage::Rootfs,
        _ => Stage::Process,
    }
}
