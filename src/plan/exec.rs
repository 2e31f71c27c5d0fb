//! The plan of one more process in a container that runs.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::Plan;
use super::cgroup::entry::{Entry, Remaining};
use super::draft::{Draft, ExecRefusal, Hold, Keyring, Orphan, ProgramStart, c_string, host_path, key_label, linux};
use super::op::{ConsoleNode, Enter, SetupOp, Terminal};
use super::process::{self, Fork, Groups, Startup, hooks};
use super::step::{CloneStep, Step};
use crate::error::Result;
use crate::host::{Host, Userns};
use crate::plan::namespace::{NamespaceKind, Namespaces};
use crate::spec::Spec;
use crate::spec::process::Process;
use crate::wire::SyncPoint;

/// What the caller chose on the command line.
#[derive(Clone, Debug)]
pub struct ExecOptions {
    /// The container's id.
    pub id: String,
    /// Its bundle.
    pub bundle: PathBuf,
    /// What becomes of it when the runtime dies.
    pub orphan: Orphan,
    /// Whether the runtime has something to do before the program is let go.
    pub hold: Hold,
    /// Descriptors 3 to 3 + n - 1 stay open in the container.
    pub preserved_fds: u32,
    /// A new session keyring, or the caller's.
    pub keyring: Keyring,
    /// How it gets into the container's cgroup, where there is one.
    pub entry: Entry,
    /// Namespaces (`CLONE_NEW*`) of the container's first process that config.json does not name.
    pub gained_namespaces: u64,
    /// Its terminal.
    pub terminal: Terminal,
    /// Who is told when it cannot be executed.
    pub refusal: ExecRefusal,
    /// The `tasks` files of the container's resource control group (Intel RDT), where it has one.
    pub rdt: Vec<PathBuf>,
}

/// Plans `process` in the container that `spec` describes.
pub fn exec(process: &Process, spec: &Spec, host: &Host, options: &ExecOptions) -> Result<Plan> {
    let linux = linux(spec);
    let namespaces = Namespaces::parse(&linux.namespaces)?;
    let userns = namespaces.contains(NamespaceKind::User);
    let nested = userns || host.userns == Userns::Nested;
    let mut draft = Draft::default();
    let all = NamespaceKind::ALL
        .into_iter()
        .filter(|kind| namespaces.contains(*kind))
        .fold(options.gained_namespaces, |flags, kind| flags | kind.flag());
    if process::has_labels(process) {
        // Before anything is joined: in a user namespace the launcher, whose pid namespace is still the host's,
        // could not mount proc (EPERM).
        draft.setup.push(SetupOp::Procfs);
    }
    if options.entry.remaining == Remaining::ChildJoins {
        // Before anybody in the container could get hold of the files.
        draft.setup.push(SetupOp::JoinCgroup);
    }
    // Whoever is in there already has no business with our memory and descriptors (CVE-2016-9962).
    draft.setup.push(SetupOp::Undumpable);
    draft.setup.push(SetupOp::JoinInit(all));
    if userns {
        draft.setup.push(SetupOp::BecomeRoot);
    }
    if options.keyring == Keyring::New {
        draft.setup.push(SetupOp::Keyring(key_label(Some(process), host)?));
    }
    if namespaces.is_new(NamespaceKind::Mount) {
        draft.setup.push(SetupOp::RootHere(c"/".into()));
    } else {
        // The root of a mount namespace that is somebody else's is not the container's, which is a directory there.
        let path = host_path(&options.bundle, &spec.required_root()?.path);
        draft.setup.push(SetupOp::RootHere(c_string(path.as_os_str().as_bytes(), "root.path")?));
        draft.setup.push(SetupOp::Enter(Enter::Chroot));
    }
    if options.terminal != Terminal::None {
        draft.setup.push(SetupOp::Console {
            size: process.terminal_size(),
            uid: process.user.uid,
            node: ConsoleNode::Nameless,
            master: options.terminal,
        });
    }
    let startup = Startup {
        process,
        linux,
        bounding: process::bounding(host, &namespaces),
        leave_runtime: host.can_leave_runtime,
        fork: Fork::AtTheEnd,
        terminal: options.terminal != Terminal::None,
        own_dev: process::own_dev(spec, &options.bundle, &namespaces),
        start: ProgramStart::Now(options.refusal),
        orphan: options.orphan,
        preserved_fds: options.preserved_fds,
        userns: nested,
        filter: crate::plan::seccomp::filter::filter(spec, host.seccomp, &mut draft.warnings)?,
        groups: Groups::of(spec),
        start_hooks: Vec::new(),
        host,
    };
    let program = process::plan(startup, &mut draft)?;
    let left = if nested { process::rlimits(process)? } else { Vec::new() };
    let listener = process::listener(&draft.last, || hooks::state(spec, &options.id, &options.bundle, "creating"));
    let steps = steps(process, options, left, listener)?;
    Ok(Plan {
        args: program.args,
        env: program.env,
        ignored_signals: host.ignored_signals,
        refusal: options.refusal,
        ..Plan::new(steps, draft)
    })
}

fn steps(process: &Process, options: &ExecOptions, left: Vec<Step>, listener: Vec<Step>) -> Result<Vec<Step>> {
    let (initial, last) = process::exec_affinity(process)?;
    let mut steps = vec![Step::Clone(CloneStep::here(options.entry.clone))];
    let leave_cpu = initial.is_none().then_some(Step::LeaveCpu);
    steps.extend(initial.map(Step::Affinity));
    match options.entry.remaining {
        Remaining::Nothing => {}
        Remaining::ChildJoins => steps.extend(leave_cpu.into_iter().chain([Step::OfferCgroup])),
        Remaining::ParentMoves => steps.push(Step::AttachCgroup),
    }
    steps.push(last.map_or_else(process::any_cpu, Step::Affinity));
    if !options.rdt.is_empty() {
        steps.push(Step::JoinRdt(options.rdt.clone()));
    }
    steps.extend(process::oom_score_adj(Some(process)));
    steps.extend(process::ready(left, options.hold));
    steps.push(Step::Await(SyncPoint::Launched));
    steps.extend(listener);
    steps.push(Step::Publish);
    steps.push(Step::AwaitExec);
    Ok(steps)
}
