//! The plan of a new container: every step of the parent and every operation of the child, in the order of a start.

use crate::error::Result;
use crate::host::Host;
use crate::plan::cgroup::entry::{Part, Remaining};
use crate::plan::cgroup::{join, rdt};
use crate::plan::draft::Draft;
use crate::plan::input::Input;
use crate::plan::namespace::{NamespaceKind, enter, net_devices, sysctl};
use crate::plan::op::SetupOp;
use crate::plan::options::{CreateOptions, ProgramStart};
use crate::plan::process::{hooks, template};
use crate::plan::step::{CloneStep, ComeBack, Step};
use crate::plan::{Plan, process, rootfs};
use crate::spec::Spec;
use crate::spec::hooks::HookKind;
use crate::spec::status::Status;
use crate::wire::SyncPoint;

/// Plans the container of `spec`.
pub fn create(spec: &Spec, host: &Host, options: &CreateOptions) -> Result<Plan> {
    let input = Input::for_creation(spec, host, options)?;
    let mut draft = Draft::default();
    draft.warnings = warnings(&input);
    enter::enter(&input, &mut draft)?;
    enter::furnish(&input, &mut draft)?;
    if input.stops_for_hooks {
        if input.joins_cgroup() {
            // Hooks look at the cgroup of the pid they are told.
            draft.needs_cgroup(&input);
        }
        draft.setup.push(SetupOp::Sync(SyncPoint::Hooks));
    }
    let sysctls = sysctl::ops(&input)?;
    // Without a pid namespace of its own a user namespace gets no new proc. The mounted one has to be taken
    // before parts of it are hidden or read-only.
    let mounted_proc = input.in_userns() && !input.namespaces.is_new(NamespaceKind::Pid);
    if mounted_proc && !sysctls.is_empty() {
        draft.setup.push(SetupOp::Procfs);
    }
    rootfs::plan(&input, &mut draft)?;
    process::terminal(&input, &mut draft);
    process::working_directory(&input, &mut draft)?;
    draft.needs_cgroup(&input);
    for hook in hooks::child(&input, HookKind::CreateContainer, Status::Creating)? {
        draft.setup.push(SetupOp::Hook(Box::new(hook)));
    }
    rootfs::restrict(&input, &mut draft)?;
    rootfs::enter(&input, &mut draft);
    if !mounted_proc && !sysctls.is_empty() {
        draft.setup.push(SetupOp::Procfs);
    }
    draft.setup.extend(sysctls);
    let program = match options.start {
        ProgramStart::Brought => template::create(&input, &mut draft)?,
        ProgramStart::OnSignal | ProgramStart::Now(_) => process::create(&input, &mut draft)?,
    };
    rootfs::settle(&input, &mut draft);
    let steps = steps(&input, &mut draft)?;
    Ok(Plan {
        args: program.args,
        env: program.env,
        ignored_signals: input.host.ignored_signals,
        refusal: input.options.start.refusal(),
        cgroup: input.cgroup,
        scope: input.scope,
        ..Plan::new(steps, draft)
    })
}

/// What was asked for and will not be done.
fn warnings(input: &Input<'_>) -> Vec<String> {
    let mut warnings = input.options.oddities.clone();
    warnings.extend(input.cgroup.iter().flat_map(|cgroup| cgroup.warnings.iter().cloned()));
    let mapped = !(input.linux.uid_mappings.is_empty() && input.linux.gid_mappings.is_empty());
    if mapped && !input.namespaces.contains(NamespaceKind::User) {
        warnings.push("linux.uidMappings and gidMappings have no effect without a user namespace".to_owned());
    }
    warnings
}

/// The parent's list: it serves the points at which the child asks, in the same order.
fn steps(input: &Input<'_>, draft: &mut Draft) -> Result<Vec<Step>> {
    let mut steps = Vec::with_capacity(24);
    let (before_clone, after_clone) = join::parts(input);
    clone(input, draft, before_clone, &mut steps)?;
    cgroup(input, after_clone, &mut steps);
    steps.push(process::any_cpu());
    if let Some(rdt) = &input.linux.intel_rdt {
        steps.push(Step::Rdt(Box::new(rdt::plan(rdt, &input.options.id)?)));
    }
    let child_waits = join::waits(input);
    // As late as possible: systemd and the child work at the same time.
    let mut scope = input.has_scope().then_some(Step::JoinScope);
    if child_waits || input.stops_for_hooks {
        steps.extend(scope.take());
    }
    if input.stops_for_hooks {
        steps.push(Step::Await(SyncPoint::Hooks));
        steps.extend(net_devices::plan(input)?);
        let CreateOptions { id, bundle, .. } = input.options;
        steps.extend(hooks::runtime(input.spec, id, bundle).map(Step::Hooks));
        steps.push(Step::Answer(SyncPoint::Hooks));
    }
    if child_waits {
        steps.push(Step::Answer(SyncPoint::Cgroup));
    }
    steps.extend(join::trees(std::mem::take(&mut draft.cgroup_trees)));
    steps.extend(draft.take_asked());
    steps.extend(scope);
    steps.extend(process::oom_score_adj(input.spec.process.as_ref()));
    steps.push(Step::SaveState);
    ready(input, draft, &mut steps)?;
    Ok(steps)
}

/// The child, and its ids.
fn clone(input: &Input<'_>, draft: &mut Draft, cgroup: Option<Part>, steps: &mut Vec<Step>) -> Result<()> {
    // Without a cgroup to be cloned into nothing is left of us if we die: the child dies with us.
    let planned = if let Some(part) = cgroup {
        steps.extend([Step::SavePlanned, Step::CreateCgroup(part)]);
        None
    } else {
        Some(Step::SavePlanned)
    };
    steps.append(&mut draft.before_clone);
    steps.push(Step::Clone(CloneStep {
        flags: input.clone_flags,
        into_cgroup: input.entry.clone,
        join_pid: draft.opened_of(NamespaceKind::Pid).filter(|_| !input.launches()),
        mounts: input.mounts_from,
        back: come_back(input),
        time_offsets: if enter::time_in_parent(input) {
            Some(enter::time_offsets(input)?.unwrap_or_default())
        } else {
            None
        },
    }));
    steps.extend(planned);
    if enter::fork(input).is_some() {
        steps.push(Step::Await(SyncPoint::Launched));
    }
    if input.new_userns() {
        steps.extend([enter::idmaps(input), Step::Answer(SyncPoint::IdMaps)]);
    }
    Ok(())
}

/// What of the cgroup is made after the clone, and how the child gets there.
fn cgroup(input: &Input<'_>, after_clone: Option<Part>, steps: &mut Vec<Step>) {
    if input.has_scope() {
        steps.push(Step::StartScope);
    } else if let Some(part) = after_clone {
        steps.extend([Step::LeaveCpu, Step::CreateCgroup(part)]);
    }
    match input.entry.remaining {
        Remaining::Nothing => {}
        Remaining::ChildJoins => steps.push(Step::OfferCgroup),
        Remaining::ParentMoves => steps.push(Step::AttachCgroup),
    }
}

/// What is done when the child has everything, up to its program or the wait for `start`.
fn ready(input: &Input<'_>, draft: &Draft, steps: &mut Vec<Step>) -> Result<()> {
    let mut left: Vec<Step> = join::ownership(input).into_iter().chain(join::delegation(input)?).collect();
    // Those of a template come with its program: they would be in the way of what that is brought with.
    let limited = input.in_userns() && input.options.start != ProgramStart::Brought;
    if let Some(process) = input.spec.process.as_ref().filter(|_| limited) {
        left.extend(process::limits_by_parent(process)?);
    }
    steps.extend(process::ready(left, input.options.hold, input.options.orphan));
    steps.extend(process::listener(&draft.last, input.spec, || {
        hooks::state(input.spec, &input.options.id, &input.options.bundle, Status::Creating)
    }));
    steps.push(Step::Publish);
    steps.extend(process::bound(input.options.orphan));
    steps.push(match input.options.start {
        ProgramStart::OnSignal | ProgramStart::Brought => Step::Await(SyncPoint::Parked),
        ProgramStart::Now(_) => Step::AwaitExec,
    });
    Ok(())
}

/// Of what follows the clone only hooks are forked.
fn come_back(input: &Input<'_>) -> ComeBack {
    let forked = input.spec.hooks.as_ref().is_some_and(|hooks| {
        !(hooks.prestart.is_empty() && hooks.create_runtime.is_empty() && hooks.poststart.is_empty())
    });
    if forked { ComeBack::Must } else { ComeBack::May }
}
