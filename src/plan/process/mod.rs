//! What the container's process gets before its program: one list for `create` and `exec` alike, and one for a template, whose
//! program comes with `start`.
//!
//! Pure: `process` of config.json or of `exec` goes in, the last operations of the child come out, in the order in which rights
//! are given up; what needs a right comes before the right is dropped, the filter last.
//!
//! The modules: `inside` is a process that begins in a container which is there, `template` one that is told by `start` what it
//! will be. In the order of the work `hooks` are what runs before it, each as data in `child_hook`; `environment` says what the
//! program is told and where it is looked for, `rlimits`, `schedule` and `memory_policy` what it may use and when it runs, `caps`
//! what it may do.

pub mod caps;
pub mod child_hook;
pub mod environment;
pub mod hooks;
pub mod inside;
pub mod memory_policy;
pub mod rlimits;
pub mod schedule;
pub mod template;

use std::ffi::CString;
use std::path::Path;
use std::sync::LazyLock;

use ::caps::Capability;

use super::draft::Draft;
use super::input::Input;
use super::op::{ConsoleNode, Filter, Label, LastOp, RuntimeOp, SetupOp, Terminal};
use super::options::{CreateOptions, Hold, Orphan, ProgramStart};
use super::step::Step;
use super::strings::c_string;
use crate::error::{Below, Error, Result, Stage};
use crate::host::Host;
use crate::plan::namespace::{NamespaceKind, Namespaces};
use crate::plan::process::child_hook::{ChildHook, StateText};
use crate::plan::process::environment::{ProgramEnvironment, candidates};
use crate::spec::Spec;
use crate::spec::annotations;
use crate::spec::hooks::HookKind;
use crate::spec::linux::Linux;
use crate::spec::process::Process;
use crate::spec::status::Status;
use crate::spec::text::Text;
use crate::sys::cred::{CapMasks, Ids};
use crate::wire::SyncPoint;

/// The flags of personality(2) that weaken a program's protection: what the kernel takes away where execve gives rights
/// (`PER_CLEAR_ON_SETID`).
const WEAK_PERSONALITY: u64 =
    (libc::ADDR_NO_RANDOMIZE | libc::ADDR_COMPAT_LAYOUT | libc::MMAP_PAGE_ZERO | libc::READ_IMPLIES_EXEC) as u64;

impl Terminal {
    /// The terminal of a process which wants one, or does not.
    pub fn of(process: Option<&Process>, master: Terminal) -> Terminal {
        if process.is_some_and(|process| process.terminal) { master } else { Terminal::None }
    }
}

/// The terminal of a process that is to have one.
pub(super) fn console(process: &Process, master: Terminal, node: ConsoleNode) -> Option<SetupOp> {
    let (size, uid) = (process.terminal_size(), process.user.uid);
    (master != Terminal::None).then_some(SetupOp::Console { size, uid, node, master })
}

/// The terminal of a new container's process, where it is to have one.
pub(super) fn terminal(input: &Input<'_>, draft: &mut Draft) {
    let node = if input.namespaces.contains(NamespaceKind::Mount) { ConsoleNode::Bound } else { ConsoleNode::Nameless };
    let process = input.spec.process.as_ref();
    if let Some(console) = process.and_then(|process| console(process, input.options.terminal, node)) {
        draft.setup.extend([console, SetupOp::ControllingTerminal]);
    }
}

/// A working directory that is missing is made, as runc does, while the root can still be written.
pub(super) fn working_directory(input: &Input<'_>, draft: &mut Draft) -> Result<()> {
    let cwd = input.spec.process.as_ref().map_or(&b"/"[..], |process| &process.cwd);
    if let Some(last) = cwd.iter().rposition(|byte| *byte != b'/') {
        draft.setup.push(SetupOp::OpenDir(c_string(from_root(&cwd[..=last]), "process.cwd")?));
    }
    Ok(())
}

/// Of a process of which nothing else is said, as with runc.
const DEFAULT_UMASK: u32 = 0o022;

/// What waits in place of a program.
static NO_PROCESS: LazyLock<Process> = LazyLock::new(|| Process { cwd: "/".into(), ..Process::default() });

/// argv and environment.
#[derive(Debug, Default)]
pub struct ExecStrings {
    /// argv.
    pub args: Vec<CString>,
    /// The environment.
    pub env: Vec<CString>,
}

/// How the process is started.
pub(super) struct Startup<'a> {
    pub process: &'a Process,
    pub linux: &'a Linux,
    pub bounding: u64,
    pub leave_runtime: bool,
    pub fork: Fork,
    pub terminal: bool,
    /// Its /dev is one that we have made.
    pub own_dev: bool,
    pub start: ProgramStart,
    pub orphan: Orphan,
    pub preserved_fds: u32,
    pub userns: bool,
    pub filter: Option<Filter>,
    pub groups: Groups,
    pub start_hooks: Vec<ChildHook>,
    pub host: &'a Host,
}

/// What a process is started in: a new container, or one that runs.
struct StartedIn<'a, 'n> {
    spec: &'a Spec,
    host: &'a Host,
    namespaces: &'n Namespaces,
    bundle: &'n Path,
    terminal: Terminal,
}

/// What becomes of the supplementary groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Groups {
    /// The groups of config.json.
    Set,
    /// The caller's, left as they are.
    Keep,
}

impl Groups {
    pub(super) fn of(spec: &Spec) -> Groups {
        match annotations::is_on(&spec.instructions, annotations::KEEP_ORIGINAL_GROUPS) {
            true => Groups::Keep,
            false => Groups::Set,
        }
    }
}

/// Whether the launcher forks into the pid namespace at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fork {
    No,
    AtTheEnd,
}

/// Plans the process of a new container.
pub(super) fn create(input: &Input<'_>, draft: &mut Draft) -> Result<ExecStrings> {
    let startup = Startup::of(input, draft)?;
    plan(startup, draft)
}

impl<'a> Startup<'a> {
    /// How the process of a new container is started.
    fn of(input: &Input<'a>, draft: &mut Draft) -> Result<Startup<'a>> {
        let process = match (&input.spec.process, input.options.start) {
            (Some(process), _) => process,
            // config.md, "Process": required by `start`, which refuses; until then a container may be without.
            (None, ProgramStart::OnSignal | ProgramStart::Brought) => &*NO_PROCESS,
            (None, ProgramStart::Now(_)) => {
                return Err(Error::of_field(Stage::Bundle, "process", "config.json has no process"));
            }
        };
        let start_hooks = hooks::child(input, HookKind::StartContainer, Status::Created)?;
        let CreateOptions { bundle, terminal, start, orphan, preserved_fds, .. } = input.options;
        let started_in = StartedIn {
            spec: input.spec,
            host: input.host,
            namespaces: &input.namespaces,
            bundle,
            terminal: *terminal,
        };
        Ok(Startup {
            leave_runtime: input.host.can_leave_runtime && start_hooks.is_empty(),
            orphan: *orphan,
            preserved_fds: *preserved_fds,
            start_hooks,
            ..Startup::usual(process, *start, started_in, &mut draft.warnings)?
        })
    }

    /// How a process is started, as far as nothing else was asked for.
    fn usual(
        process: &'a Process,
        start: ProgramStart,
        started_in: StartedIn<'a, '_>,
        warnings: &mut Vec<String>,
    ) -> Result<Startup<'a>> {
        let StartedIn { spec, host, namespaces, bundle, terminal } = started_in;
        Ok(Startup {
            process,
            linux: spec.linux_or_empty(),
            bounding: bounding(host, namespaces),
            leave_runtime: host.can_leave_runtime,
            fork: Fork::No,
            terminal: terminal != Terminal::None,
            own_dev: own_dev(spec, bundle, namespaces),
            start,
            orphan: Orphan::LivesOn,
            preserved_fds: 0,
            userns: namespaces.in_userns(host),
            filter: crate::plan::seccomp::filter::filter(spec, host.seccomp, warnings)?,
            groups: Groups::of(spec),
            start_hooks: Vec::new(),
            host,
        })
    }
}

/// Whether /dev is made by us. In one that is bound from somewhere, and in somebody else's mount namespace, nothing is.
pub(super) fn own_dev(spec: &Spec, bundle: &Path, namespaces: &Namespaces) -> bool {
    let root = spec.root_dir(bundle);
    namespaces.is_new(NamespaceKind::Mount) && !spec.mounts.iter().any(|mount| mount.binds_dev(&root))
}

/// The bounding set the process starts with: all capabilities in a user namespace of its own.
pub(super) fn bounding(host: &Host, namespaces: &Namespaces) -> u64 {
    if namespaces.contains(NamespaceKind::User) { host.known_caps } else { host.bounding }
}

/// The operations themselves.
pub(super) fn plan(startup: Startup<'_>, draft: &mut Draft) -> Result<ExecStrings> {
    let Startup { process, linux, .. } = startup;
    let environment = ProgramEnvironment::parse(&process.env)?;
    attributes(process, linux, startup.host, &mut draft.setup)?;
    draft.setup.push(SetupOp::Umask(process.user.umask.unwrap_or(DEFAULT_UMASK)));
    if startup.groups == Groups::Set {
        draft.setup.push(SetupOp::Groups(process.user.additional_gids.clone()));
    }
    let sets = capabilities(&startup, draft);
    find(&startup, &environment, sets.effective, &mut draft.setup)?;
    end_of_setup(&startup, draft);
    // Not earlier: they would limit the set-up too.
    if !startup.userns {
        draft.setup.extend(rlimits::parse(&process.rlimits)?.into_iter().map(SetupOp::Rlimit));
    }
    credentials(startup, &sets, draft)?;
    exec_strings(process, environment)
}

/// What execve(2) is told.
fn exec_strings(process: &Process, environment: ProgramEnvironment) -> Result<ExecStrings> {
    let strings = |list: &[Text], field| list.iter().map(|text| c_string(&text[..], field)).collect::<Result<Vec<_>>>();
    let vars: Vec<Text> = environment.vars.into_iter().filter(|var| *var != "HOME=").collect();
    Ok(ExecStrings { args: strings(&process.args, "process.args")?, env: strings(&vars, "process.env")? })
}

/// Whose the program is.
fn ids(process: &Process) -> Ids {
    Ids { uid: process.user.uid, gid: process.user.gid }
}

fn cwd(process: &Process) -> Result<SetupOp> {
    let path = c_string(from_root(&process.cwd), "process.cwd")?;
    Ok(SetupOp::Cwd { path, user: ids(process) })
}

fn capabilities(startup: &Startup<'_>, draft: &mut Draft) -> caps::CapSets {
    let (sets, warnings) = match &startup.process.capabilities {
        Some(list) => caps::parse(list, startup.bounding),
        None => (caps::CapSets::default(), Vec::new()),
    };
    draft.warnings.extend(warnings);
    sets
}

/// What is looked for in the container, and the standard streams.
fn find(startup: &Startup<'_>, environment: &ProgramEnvironment, effective: u64, ops: &mut Vec<SetupOp>) -> Result<()> {
    let process = startup.process;
    ops.push(cwd(process)?);
    if environment.get("HOME").is_none_or(<[u8]>::is_empty) {
        ops.push(SetupOp::Home(process.user.uid));
    }
    let user = ids(process);
    // `spec::validate` refuses a process without arguments and a relative directory; what waits in place of a program has none.
    if let Some(name) = process.args.first() {
        let candidates = candidates(name, environment.path())?;
        let name = c_string(&name[..], "process.args")?;
        ops.push(SetupOp::Program { name, candidates, user, caps: effective });
    }
    if user.uid != 0 || startup.userns {
        ops.push(SetupOp::OwnStreams(user.uid));
    }
    // Only who owns the host's node, or has authority over its owner, could change it.
    if startup.own_dev && startup.host.uid == 0 && !startup.userns && !startup.terminal {
        ops.push(SetupOp::NullStreams);
    }
    Ok(())
}

fn end_of_setup(startup: &Startup<'_>, draft: &mut Draft) {
    let ops = &mut draft.setup;
    // An ordinary user has no rights over a process that is not dumpable, and `exec` would not get into a container that
    // waits for `start`.
    if startup.host.uid == 0 && !ops.contains(&SetupOp::Undumpable) {
        ops.push(SetupOp::Undumpable);
    }
    ops.push(SetupOp::Sync(SyncPoint::Ready));
}

/// A path in the container, from its root.
pub(super) fn from_root(path: &[u8]) -> &[u8] {
    &path[path.iter().take_while(|byte| **byte == b'/').count()..]
}

/// Whether a label has to be written for an LSM.
pub(super) fn has_labels(process: &Process) -> bool {
    [&process.apparmor_profile, &process.selinux_label].into_iter().flatten().any(|label| !label.is_empty())
}

/// Scheduling, memory policy, personality and labels.
fn attributes(process: &Process, linux: &Linux, host: &Host, ops: &mut Vec<SetupOp>) -> Result<()> {
    let Process {
        apparmor_profile,
        selinux_label,
        io_priority,
        // Only an exec uses it, but a list that makes no sense is refused with the container: `exec_affinity`.
        exec_cpu_affinity: _,
        // `plan`, `find`, `cwd`.
        args: _,
        env: _,
        cwd: _,
        user: _,
        // In a user namespace by the parent, `limits_by_parent`; else at the end of the set-up, `plan`.
        rlimits: _,
        // `capabilities`, `give_up_rights`.
        capabilities: _,
        no_new_privileges: _,
        scheduler: _,
        // By the parent: `oom_score_adj`.
        oom_score_adj: _,
        // `Terminal::of`, `Process::terminal_size`.
        terminal: _,
        console_size: _,
        // Of Windows.
        command_line: _,
    } = process;
    exec_affinity(process)?;
    if let Some(priority) = io_priority {
        ops.push(SetupOp::IoPriority(schedule::io_priority(priority)? as u32));
    }
    if let Some(policy) = &linux.memory_policy {
        let policy = memory_policy::parse(policy)?;
        ops.push(SetupOp::MemoryPolicy(policy.mode as u32, policy.nodes));
    }
    if let Some(personality) = &linux.personality {
        ops.push(SetupOp::Personality(schedule::personality(personality)?));
    } else if host.personality & WEAK_PERSONALITY != 0 {
        // `setarch -R brisk run` is about brisk.
        ops.push(SetupOp::Personality(host.personality & !WEAK_PERSONALITY));
    }
    let mut labels = Vec::new();
    if let Some(profile) = apparmor_profile.as_deref().filter(|profile| !profile.is_empty()) {
        labels.push(Label {
            file: c"apparmor/exec".into(),
            value: c_string(format!("exec {profile}"), "apparmorProfile")?,
        });
    }
    if let Some(label) = selinux_label.as_deref().filter(|label| !label.is_empty()) {
        labels.push(Label { file: c"exec".into(), value: c_string(label, "selinuxLabel")? });
    }
    if !labels.is_empty() && !ops.contains(&SetupOp::Procfs) {
        ops.push(SetupOp::Procfs);
    }
    ops.extend(labels.into_iter().map(SetupOp::Label));
    Ok(())
}

/// `struct sched_attr` as the kernel wants it.
fn scheduler_bytes(attr: &schedule::SchedAttr) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(56);
    bytes.extend(attr.size.to_ne_bytes());
    bytes.extend(attr.policy.to_ne_bytes());
    bytes.extend(attr.flags.to_ne_bytes());
    bytes.extend(attr.nice.to_ne_bytes());
    bytes.extend(attr.priority.to_ne_bytes());
    bytes.extend(attr.runtime.to_ne_bytes());
    bytes.extend(attr.deadline.to_ne_bytes());
    bytes.extend(attr.period.to_ne_bytes());
    bytes.extend(attr.util_min.to_ne_bytes());
    bytes.extend(attr.util_max.to_ne_bytes());
    bytes
}

/// The last operations: what the runtime has open goes, then the rights that the program is not to have.
fn credentials(startup: Startup<'_>, sets: &caps::CapSets, draft: &mut Draft) -> Result<()> {
    let ops = &mut draft.last;
    if startup.leave_runtime {
        ops.push(LastOp::LeaveRuntime);
    }
    ops.push(LastOp::CloseFrom(startup.preserved_fds.saturating_add(3)));
    if startup.fork == Fork::AtTheEnd {
        ops.push(LastOp::Fork);
        ops.push(LastOp::NewSession);
        if startup.terminal {
            ops.push(LastOp::ControllingTerminal);
        }
    }
    give_up_rights(startup, sets, draft)
}

/// In an order that keeps each right until it is no longer needed.
fn give_up_rights(startup: Startup<'_>, sets: &caps::CapSets, draft: &mut Draft) -> Result<()> {
    let Startup { process, .. } = startup;
    let undumpable = draft.setup.contains(&SetupOp::Undumpable);
    let ops = &mut draft.last;
    if let Some(scheduler) = &process.scheduler {
        ops.push(LastOp::Scheduler(scheduler_bytes(&schedule::scheduler(scheduler)?)));
    }
    if process.no_new_privileges {
        ops.push(LastOp::NoNewPrivileges);
    }
    let mut filter = startup.filter.map(Box::new);
    let listener = filter.as_ref().is_some_and(|filter| filter.receiver.is_some());
    let dies = startup.orphan == Orphan::Dies;
    // Without no_new_privs a filter needs CAP_SYS_ADMIN, which the next operations give up. One without a listener need not let
    // a process speak, and one that dies with the runtime has a word to say first.
    let privileged = !process.no_new_privileges && !listener;
    if let Some(filter) = filter.take_if(|_| listener || (privileged && !dies)) {
        ops.push(LastOp::Seccomp(filter));
    }
    let drop = startup.bounding & !sets.bounding;
    if drop != 0 {
        ops.push(LastOp::DropBounding(drop));
    }
    if process.user.uid != 0 {
        ops.push(LastOp::KeepCaps);
    }
    ops.push(LastOp::Ids(ids(process)));
    if dies {
        // Once more: a change of ids takes it back (prctl(2)), to give up capabilities does not.
        ops.push(LastOp::DieWithRuntime);
    }
    let caps = CapMasks { effective: sets.effective, permitted: sets.permitted, inheritable: sets.inheritable };
    if privileged && let Some(filter) = filter.take() {
        if process.user.uid != 0 {
            // Permitted it still is, but a change from uid 0 leaves nothing effective.
            let more = Capability::CAP_SYS_ADMIN.bitmask() & startup.bounding;
            ops.push(LastOp::Caps(CapMasks {
                effective: caps.effective | more,
                permitted: caps.permitted | more,
                ..caps
            }));
        }
        ops.push(LastOp::Seccomp(filter));
    }
    ops.push(LastOp::Caps(caps));
    if sets.ambient != 0 {
        ops.push(LastOp::Ambient(sets.ambient));
    }
    if startup.start == ProgramStart::OnSignal && startup.start_hooks.is_empty() {
        // An `exec` that comes before `start` must not get hold of a process without a filter. It reads from the fifo, which
        // is no socket.
        if let Some(filter) =
            filter.take_if(|filter| filter.speech.both() && filter.speech.receive == Some(libc::SYS_read))
        {
            ops.push(LastOp::Seccomp(filter));
        }
        ops.push(LastOp::Park);
    } else if startup.start == ProgramStart::OnSignal {
        ops.push(LastOp::ByRuntime(RuntimeOp::AwaitStart));
    }
    if !startup.start_hooks.is_empty() && !undumpable {
        ops.push(LastOp::ByRuntime(RuntimeOp::Undumpable));
    }
    let run = |hook| RuntimeOp::Hook(Box::new(hook), filter.clone());
    ops.extend(startup.start_hooks.into_iter().map(run).map(LastOp::ByRuntime));
    ops.extend(filter.map(LastOp::Seccomp));
    ops.push(LastOp::Exec);
    if dies && loses_bond(process, sets) {
        draft.warnings.push(LOST_BOND.to_owned());
    }
    Ok(())
}

const LOST_BOND: &str = "--die-with-parent: the program lives on where brisk is killed: the kernel forgets the bond for its label, or, without \
    noNewPrivileges, for capabilities of `bounding` that are not `permitted`";

/// Whether execve(2) takes PR_SET_PDEATHSIG back, as far as that is known: for rights that are gained by it (commit_creds() in
/// kernel/cred.c), or for a change of label (`*_bprm_committing_creds()` of the modules).
fn loses_bond(process: &Process, sets: &caps::CapSets) -> bool {
    let unconfined = process.apparmor_profile.as_deref() == Some("unconfined") && process.selinux_label.is_none();
    let gained = (sets.bounding | sets.inheritable) & !sets.permitted;
    (has_labels(process) && !unconfined) || (process.user.uid == 0 && !process.no_new_privileges && gained != 0)
}

/// Limits above the hard ones need rights that a process in a user namespace does not have: the parent sets them.
pub(super) fn limits_by_parent(process: &Process) -> Result<Vec<Step>> {
    Ok(rlimits::parse(&process.rlimits)?.into_iter().map(Step::Rlimit).collect())
}

/// A lower one than the runtime's own needs the runtime's rights.
pub(super) fn oom_score_adj(process: Option<&Process>) -> Option<Step> {
    process.and_then(|process| process.oom_score_adj).map(Step::OomScoreAdj)
}

/// The end of the set-up, with what the parent has left to do for a child that waits. Where that is nothing, the child
/// finds its answer when it gets there, and neither waits for the other.
pub(super) fn ready(mut left: Vec<Step>, hold: Hold, orphan: Orphan) -> Vec<Step> {
    // Last: from here on its time counts.
    left.extend((hold == Hold::Yes).then_some(Step::TakeCharge));
    let (ask, answer) = (Step::Await(SyncPoint::Ready), Step::Answer(SyncPoint::Ready));
    let steps = if left.is_empty() { vec![answer, ask] } else { [vec![ask], left, vec![answer]].concat() };
    [steps, bound(orphan)].concat()
}

/// A process that is to be killed with us says that it will be: had we died before, it would find nobody to say it to.
pub(super) fn bound(orphan: Orphan) -> Vec<Step> {
    match orphan {
        Orphan::LivesOn => Vec::new(),
        Orphan::Dies => vec![Step::Await(SyncPoint::Bound)],
    }
}

/// A mask of CPUs, if one was asked for.
type CpuMask = Option<Vec<u64>>;

/// The CPUs of a process of `exec` before and after it is in the cgroup, where config.json names some.
pub(super) fn exec_affinity(process: &Process) -> Result<(CpuMask, CpuMask)> {
    let Some(affinity) = &process.exec_cpu_affinity else { return Ok((None, None)) };
    let list = |what, list: &Option<String>| {
        schedule::parse_list(what, list.as_deref().unwrap_or_default()).below(|| format!("process.{what}"))
    };
    let initial = list("execCPUAffinity.initial", &affinity.initial)?;
    // Without a final list the first one stays, as it does with runc on kernels that keep it (6.2): CRI-O's
    // `exec_cpu_affinity = "first"` sets it alone.
    let last = list("execCPUAffinity.final", &affinity.last)?.or_else(|| initial.clone());
    Ok((initial, last))
}

/// Every CPU the cgroup allows: the affinity of whoever called the runtime is not the container's. No kernel is built for
/// more than 8192 (NR_CPUS).
pub(super) fn any_cpu() -> Step {
    Step::Affinity(vec![u64::MAX; 8192 / 64])
}

/// The hand-over of a seccomp listener, where a filter has one: a profile may name a socket and never notify.
pub(super) fn listener(ops: &[LastOp], spec: &Spec, state: impl FnOnce() -> StateText) -> Vec<Step> {
    let receiver =
        ops.iter().find_map(|op| if let LastOp::Seccomp(filter) = op { filter.receiver.as_ref() } else { None });
    let Some(receiver) = receiver else { return Vec::new() };
    let (path, metadata) = (receiver.path.clone(), receiver.metadata.clone().unwrap_or_default());
    let send = Step::SendListener { path, metadata, oci_version: spec.oci_version.clone(), state: state() };
    vec![Step::Await(SyncPoint::Listener), send, Step::Answer(SyncPoint::Listener)]
}
