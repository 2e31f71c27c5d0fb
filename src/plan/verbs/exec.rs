//! The plan of one more process in a container that runs.

use std::path::PathBuf;

use crate::error::Result;
use crate::host::Host;
use crate::plan::Plan;
use crate::plan::cgroup::Version;
use crate::plan::cgroup::entry::{Entry, IntoCgroup, Remaining};
use crate::plan::draft::Draft;
use crate::plan::namespace::NamespaceKind;
use crate::plan::namespace::enter::key_label;
use crate::plan::op::{ConsoleNode, SetupOp};
use crate::plan::options::{Hold, Keyring, Orphan};
use crate::plan::process::inside::{Inside, InsideOptions};
use crate::plan::process::{self, Fork, Startup};
use crate::plan::step::{CloneStep, Step};
use crate::plan::systemd::Owner;
use crate::plan::systemd::driver::CgroupDriver;
use crate::spec::Spec;
use crate::spec::process::Process;
use crate::spec::status::Status;
use crate::wire::SyncPoint;

/// What the caller chose on the command line.
#[derive(Clone, Debug)]
pub struct ExecOptions {
    /// Of which container, and for whom.
    pub inside: InsideOptions,
    /// What becomes of it when the runtime dies.
    pub orphan: Orphan,
    /// Whether the runtime has something to do before the program is let go.
    pub hold: Hold,
    /// Descriptors 3 to 3 + n - 1 stay open in the container.
    pub preserved_fds: u32,
    /// A new session keyring, or the caller's.
    pub keyring: Keyring,
    /// The container's cgroup, which it gets into.
    pub cgroup: Option<CgroupToJoin>,
    /// Who makes cgroups.
    pub cgroups: CgroupDriver,
    /// Namespaces (`CLONE_NEW*`) of the container's first process that config.json does not name.
    pub gained_namespaces: u64,
    /// The `tasks` files of the container's resource control group (Intel RDT), where it has one.
    pub rdt: Vec<PathBuf>,
}

/// A cgroup that is there.
#[derive(Clone, Debug)]
pub struct CgroupToJoin {
    /// The version of each of its hierarchies.
    pub versions: Vec<Version>,
    /// Whose systemd has made it, if it was one.
    pub owner: Option<Owner>,
}

/// Plans `process` in the container that `spec` describes.
pub fn exec(process: &Process, spec: &Spec, host: &Host, options: &ExecOptions) -> Result<Plan> {
    let inside = Inside::new(process, spec, host, &options.inside)?;
    let mut draft = Draft::default();
    if process::has_labels(process) {
        // Before anything is joined: in a user namespace the launcher, whose pid namespace is still the host's,
        // could not mount proc (EPERM).
        draft.setup.push(SetupOp::Procfs);
    }
    let entry = entry(options, host);
    if entry.remaining == Remaining::ChildJoins {
        // Before anybody in the container could get hold of the files.
        draft.setup.push(SetupOp::JoinCgroup);
    }
    // Whoever is in there already has no business with our memory and descriptors (CVE-2016-9962).
    draft.setup.push(SetupOp::Undumpable);
    draft.setup.push(SetupOp::JoinInit(inside.namespaces.named() | options.gained_namespaces));
    if inside.namespaces.contains(NamespaceKind::User) {
        draft.setup.push(SetupOp::BecomeRoot);
    }
    if options.keyring == Keyring::New {
        draft.setup.push(SetupOp::Keyring(key_label(Some(process), host)?));
    }
    inside.enter_root(&mut draft)?;
    inside.console(ConsoleNode::Nameless, &mut draft);
    let startup = Startup {
        fork: Fork::AtTheEnd,
        orphan: options.orphan,
        preserved_fds: options.preserved_fds,
        ..inside.startup(&mut draft.warnings)?
    };
    let program = process::plan(startup, &mut draft)?;
    let left = if inside.in_userns() { process::limits_by_parent(process)? } else { Vec::new() };
    let steps = steps(process, options, entry, left, inside.listener(&draft, Status::Creating))?;
    Ok(inside.plan(program, steps, draft))
}

/// How the process gets into the cgroup.
fn entry(options: &ExecOptions, host: &Host) -> Entry {
    let Some(cgroup) = options.cgroup.as_ref().filter(|_| options.cgroups != CgroupDriver::Disabled) else {
        return Entry { clone: IntoCgroup::No, remaining: Remaining::Nothing };
    };
    let only_v2 = cgroup.versions.iter().all(|version| *version == Version::V2);
    // A user's process outside of the delegated tree may not be cloned into it; systemd moves it there.
    let own = cgroup.owner.is_none_or(|owner| owner == Owner::System);
    let clone = if own && (only_v2 || host.is_real_root()) { IntoCgroup::Yes } else { IntoCgroup::No };
    Entry::choose(cgroup.versions.iter().copied(), clone, Remaining::ChildJoins)
}

fn steps(
    process: &Process,
    options: &ExecOptions,
    entry: Entry,
    left: Vec<Step>,
    listener: Vec<Step>,
) -> Result<Vec<Step>> {
    let (initial, last) = process::exec_affinity(process)?;
    let mut steps = vec![Step::Clone(CloneStep::here(entry.clone))];
    let leave_cpu = initial.is_none().then_some(Step::LeaveCpu);
    steps.extend(initial.map(Step::Affinity));
    match entry.remaining {
        Remaining::Nothing => {}
        Remaining::ChildJoins => steps.extend(leave_cpu.into_iter().chain([Step::OfferCgroup])),
        Remaining::ParentMoves => steps.push(Step::AttachCgroup),
    }
    steps.push(last.map_or_else(process::any_cpu, Step::Affinity));
    if !options.rdt.is_empty() {
        steps.push(Step::JoinRdt(options.rdt.clone()));
    }
    steps.extend(process::oom_score_adj(Some(process)));
    steps.extend(process::ready(left, options.hold, options.orphan));
    steps.push(Step::Await(SyncPoint::Launched));
    steps.extend(listener);
    steps.push(Step::Publish);
    steps.extend(process::bound(options.orphan));
    steps.push(Step::AwaitExec);
    Ok(steps)
}
