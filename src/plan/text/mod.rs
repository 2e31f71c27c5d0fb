//! Plans as text: one line for each step and operation, and the error line of a failed one.
//!
//! The modules: `describe` is the table of the child's operations, `fields` has all of it as values.

pub mod describe;
pub mod fields;

use std::fmt::{self, Display, Formatter};

use nix::errno::Errno;

use self::describe::{OpText, host_tree, lossy, mknod, namespaces, one_line, rlimit};
use super::Plan;
use super::cgroup::entry::{IntoCgroup, Part};
use super::cgroup::files::CPUSET_CPUS;
use super::op::{ChildOp, LastOp, NodeRule, RuntimeOp, SetupOp};
use super::step::{CloneStep, HostObject, MapWriter, MountsFrom, Step};
use crate::error::{Deed, Error, Stage, errno_text, printable};
use crate::spec::hooks::HookKind;
use crate::wire;

impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Step::OpenNamespace(kind, path) => write!(f, "open the {} namespace {path}", kind.name()),
            Step::CloneTree { tree, .. } => write!(f, "clone the mount {}", host_tree(tree)),
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
                if *mounts == MountsFrom::Skeleton {
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
            Step::DelegateCgroup { path, owner } => write!(f, "delegate cgroup {path} to {}:{}", owner.uid, owner.gid),
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

fn host_object(object: &HostObject) -> String {
    match object {
        HostObject::Root(path, _) => format!("the root {}", lossy(path)),
        HostObject::Tree(tree) => host_tree(tree),
        HostObject::Device { mode, dev, owner, .. } => mknod(c"a device", *mode, *dev, *owner),
    }
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

/// A line for each step and operation, whatever is in a text of config.json: a newline there makes no line that could be taken for another.
impl Display for Plan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut line = |line: String| writeln!(f, "{}", printable(&line));
        for warning in &self.warnings {
            line(format!("warning: {warning}"))?;
        }
        for (index, step) in self.steps.iter().enumerate() {
            line(format!("parent {index:>3}  {step}"))?;
            if matches!(step, Step::CreateCgroup(Part::All | Part::V1) | Step::JoinScope) {
                self.cgroup_lines().iter().try_for_each(|of_cgroup| line(format!("            {of_cgroup}")))?;
            }
        }
        self.child_ops()
            .enumerate()
            .try_for_each(|(index, op)| line(format!("child  {index:>3}  {}", op.describe().line)))
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
        let OpText { stage, line, deed } = op.describe();
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
        if let ChildOp::Setup(SetupOp::Hook(hook)) | ChildOp::Last(LastOp::ByRuntime(RuntimeOp::Hook(hook, _))) = op {
            return hook_error(hook.kind, detail, said).unwrap_or_else(|| Error::errno(Stage::Hook, what, errno));
        }
        let error = Error::errno(stage, what, errno);
        let error = match deed {
            Some((deed, object)) => error.doing(deed, object),
            None => error,
        };
        if let ChildOp::Setup(SetupOp::Mknod { rule: NodeRule::Refuse(device), .. }) = op {
            return error.at_field(format!("linux.devices[{device}]"));
        }
        error
    }
}

/// What a hook of the container's process ended with, and said; `None` for what is not the hook's doing.
pub fn hook_error(kind: HookKind, detail: &str, said: &str) -> Option<Error> {
    let ending = detail.strip_prefix(char::from(wire::HOOK_ENDED))?;
    let (index, how) = ending.split_once(' ')?;
    let mut what = format!("{}: {how}", failed_hook(kind, index));
    if !said.trim().is_empty() {
        what = what + ", stderr: " + said.trim();
    }
    Some(Error::new(Stage::Hook, what))
}

/// What a startContainer hook ended with, and said, where the plan is not at hand any more.
pub fn start_hook_error(detail: &str, said: &str) -> Option<Error> {
    hook_error(HookKind::StartContainer, detail, said)
}

/// runc's words.
pub fn failed_hook(kind: HookKind, index: impl Display) -> String {
    format!("error running {} hook #{index}", kind.name())
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
        Errno::EACCES => Error::errno(Stage::Exec, plain(), errno),
        // runc's words, and behind them what execve(2) would say: Docker before 23 and Podman tell 126 by that alone.
        Errno::EISDIR => {
            let denied = errno_text(Errno::EACCES);
            Error::new(Stage::Exec, format!("{}: {}: {denied}", plain(), errno_text(errno))).told(errno)
        }
        errno => Error::errno(Stage::Exec, format!("exec: {name:?}: stat {name}"), errno),
    }
}
