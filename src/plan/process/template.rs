//! The plan of `start` for a template: a container that was made before it was known what will run in it.
//!
//! A process of ours joins the container, as with `exec`, and looks there for what the program needs: the terminal, the
//! working directory, HOME, the program. What is found it hands to the container's first process, which waits, with the
//! last operations as a second block, and ends. Until then nothing has changed, and `start` can be called again.
//!
//! What the template has promised is refused where it is to be less, and added to where it is to be more. Pure; runs in
//! the parent.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::environment::ProgramEnvironment;
use super::{
    Fork, Groups, Startup, bounding, capabilities, caps, exec_strings, find, give_up_rights, hooks, listener,
    oom_score_adj, own_dev, rlimits as limits_by_parent, scheduler_bytes,
};
use crate::error::{Error, Result, Stage};
use crate::host::{Host, Userns};
use crate::plan::Plan;
use crate::plan::cgroup::entry::IntoCgroup;
use crate::plan::draft::{Draft, ExecRefusal, Orphan, ProgramStart, c_string, host_path, linux};
use crate::plan::namespace::check::mapped;
use crate::plan::namespace::idmap::{IdKind, IdMap};
use crate::plan::namespace::{NamespaceKind, Namespaces};
use crate::plan::op::{ConsoleNode, Enter, LastOp, SetupOp, Terminal};
use crate::plan::process::{rlimits, schedule};
use crate::plan::step::{CloneStep, Step};
use crate::spec::Spec;
use crate::spec::process::{Capabilities, Process};
use crate::wire::SyncPoint;

/// What the caller chose on the command line.
#[derive(Clone, Debug)]
pub struct StartOptions {
    /// The container's id.
    pub id: String,
    /// Its bundle.
    pub bundle: PathBuf,
    /// The program's terminal.
    pub terminal: Terminal,
    /// Who is told when it cannot be executed.
    pub refusal: ExecRefusal,
}

/// Plans the start of `process` in the template that `spec` describes.
pub fn start(process: &Process, spec: &Spec, host: &Host, options: &StartOptions) -> Result<Plan> {
    let linux = linux(spec);
    let namespaces = Namespaces::parse(&linux.namespaces)?;
    let own = spec.process.as_ref();
    keeps_promises(process, own)?;
    has_ids(process, spec, &namespaces)?;
    let userns = namespaces.contains(NamespaceKind::User);
    let mut draft = Draft::default();
    join(spec, &namespaces, options, &mut draft)?;
    if options.terminal != Terminal::None {
        draft.setup.push(SetupOp::Console {
            size: process.terminal_size(),
            uid: process.user.uid,
            node: if own_dev(spec, &options.bundle, &namespaces) { ConsoleNode::Bound } else { ConsoleNode::Nameless },
            master: options.terminal,
        });
    }
    let startup = Startup {
        process,
        linux,
        // What the template has left of it.
        bounding: own
            .and_then(|own| own.capabilities.as_ref())
            .map_or(0, |list| caps::parse(list, bounding(host, &namespaces)).0.bounding),
        leave_runtime: true,
        fork: Fork::No,
        terminal: options.terminal != Terminal::None,
        own_dev: own_dev(spec, &options.bundle, &namespaces),
        start: ProgramStart::Now(options.refusal),
        orphan: Orphan::LivesOn,
        preserved_fds: 0,
        userns: userns || host.userns == Userns::Nested,
        filter: crate::plan::seccomp::filter::filter(spec, host.seccomp, &mut draft.warnings)?,
        groups: Groups::of(spec),
        start_hooks: Vec::new(),
        host,
    };
    let sets = capabilities(&startup, &mut draft);
    let environment = ProgramEnvironment::parse(&process.env)?;
    // What the kernel may refuse is tried here first: when it is done it is too late.
    if startup.groups == Groups::Set {
        draft.setup.push(SetupOp::Groups(process.user.additional_gids.clone()));
    }
    find(&startup, &environment, sets.effective, &mut draft.setup)?;
    if let Some(priority) = &process.io_priority {
        draft.setup.push(SetupOp::IoPriority(schedule::io_priority(priority)? as u32));
    }
    // A limit that comes with it may be what allows it (RLIMIT_RTPRIO, RLIMIT_NICE).
    if let Some(scheduler) = process.scheduler.as_ref().filter(|_| process.rlimits.is_empty()) {
        draft.setup.push(SetupOp::Scheduler(scheduler_bytes(&schedule::scheduler(scheduler)?)));
    }
    draft.setup.push(SetupOp::HandOver);
    let mut left: Vec<Step> = oom_score_adj(Some(process))
        .filter(|_| process.oom_score_adj != own.and_then(|own| own.oom_score_adj))
        .into_iter()
        .collect();
    if startup.userns {
        left.extend(limits_by_parent(process)?);
    }
    in_its_process(&startup, &left, &mut draft)?;
    give_up_rights(startup, &sets, &mut draft)?;
    let program = exec_strings(process, environment)?;
    let listener = listener(&draft.last, || hooks::state(spec, &options.id, &options.bundle, "created"));
    let mut steps = vec![Step::Clone(CloneStep::here(IntoCgroup::No)), Step::Await(SyncPoint::Taken)];
    if !left.is_empty() {
        steps.extend(left);
        steps.push(Step::Answer(SyncPoint::Taken));
    }
    steps.extend(listener);
    steps.extend([Step::Publish, Step::AwaitExec]);
    Ok(Plan {
        args: program.args,
        env: program.env,
        ignored_signals: host.ignored_signals,
        refusal: options.refusal,
        ..Plan::new(steps, draft)
    })
}

/// The container's mounts, with the rights of its root.
fn join(spec: &Spec, namespaces: &Namespaces, options: &StartOptions, draft: &mut Draft) -> Result<()> {
    // As with `exec` (CVE-2016-9962), although nobody should be in there yet.
    draft.setup.push(SetupOp::Undumpable);
    let user = namespaces.contains(NamespaceKind::User);
    let kinds = [(user, NamespaceKind::User), (namespaces.contains(NamespaceKind::Mount), NamespaceKind::Mount)];
    let flags = kinds.iter().filter(|(has, _)| *has).fold(0, |flags, (_, kind)| flags | kind.flag());
    if flags != 0 {
        draft.setup.push(SetupOp::JoinInit(flags));
    }
    if user {
        draft.setup.push(SetupOp::BecomeRoot);
    }
    if namespaces.is_new(NamespaceKind::Mount) {
        draft.setup.push(SetupOp::RootHere(c"/".into()));
    } else {
        let path = host_path(&options.bundle, &spec.required_root()?.path);
        draft.setup.push(SetupOp::RootHere(c_string(path.as_os_str().as_bytes(), "root.path")?));
        draft.setup.push(SetupOp::Enter(Enter::Chroot));
    }
    Ok(())
}

/// What the process does itself with what it has been brought, while it has all its rights.
fn in_its_process(startup: &Startup<'_>, left: &[Step], draft: &mut Draft) -> Result<()> {
    let Startup { process, .. } = startup;
    let ops = &mut draft.last;
    ops.push(LastOp::Taken);
    if !left.is_empty() {
        ops.push(LastOp::AwaitLimits);
    }
    ops.extend([LastOp::TakeStreams, LastOp::Cwd]);
    if process.user.uid != 0 {
        ops.push(LastOp::CwdAs(process.user.uid, process.user.gid));
    }
    if startup.terminal {
        ops.push(LastOp::ControllingTerminal);
    }
    ops.push(LastOp::Umask(process.user.umask.unwrap_or(super::DEFAULT_UMASK)));
    if let Some(priority) = &process.io_priority {
        ops.push(LastOp::IoPriority(schedule::io_priority(priority)? as u32));
    }
    if startup.groups == Groups::Set {
        ops.push(LastOp::Groups(process.user.additional_gids.clone()));
    }
    if !startup.userns {
        ops.extend(rlimits::parse(&process.rlimits)?.into_iter().map(LastOp::Rlimit));
    }
    Ok(())
}

/// What a template has promised, its program cannot be without.
fn keeps_promises(process: &Process, own: Option<&Process>) -> Result<()> {
    let refuse = |what: String| {
        Err(Error::new(Stage::Process, what).with_hint("the template decides what its programs may do at most"))
    };
    let label = |label: &Option<String>| label.clone().filter(|label| !label.is_empty());
    for (name, asked, own) in [
        ("apparmorProfile", &process.apparmor_profile, own.map(|own| &own.apparmor_profile)),
        ("selinuxLabel", &process.selinux_label, own.map(|own| &own.selinux_label)),
    ] {
        let (asked, own) = (label(asked), own.and_then(label));
        if asked != own {
            let own = own.unwrap_or_else(|| "none".to_owned());
            let asked = asked.unwrap_or_else(|| "none".to_owned());
            return refuse(format!("process.{name} {asked} is not the template's, which is {own}"));
        }
    }
    let none = Capabilities::default();
    let list = |process: Option<&Process>| process.and_then(|process| process.capabilities.clone());
    let (asked, own) = (list(Some(process)).unwrap_or_default(), list(own).unwrap_or(none));
    let Capabilities { bounding, effective, inheritable, permitted, ambient } = &asked;
    let beyond = [bounding, effective, inheritable, permitted, ambient]
        .into_iter()
        .flatten()
        .find(|cap| caps::is_known(cap) && !own.bounding.iter().any(|own| caps::is_same(own, cap)));
    match beyond {
        Some(cap) => refuse(format!("process.capabilities: {cap} is not in the template's bounding set")),
        None => Ok(()),
    }
}

/// A user that is not mapped could not be become, and it would be too late to say so.
fn has_ids(process: &Process, spec: &Spec, namespaces: &Namespaces) -> Result<()> {
    if !namespaces.is_new(NamespaceKind::User) {
        return Ok(());
    }
    let linux = linux(spec);
    let uids = IdMap::parse(IdKind::Uid, &linux.uid_mappings)?;
    let gids = IdMap::parse(IdKind::Gid, &linux.gid_mappings)?;
    mapped(&process.user, &uids, &gids)
}
