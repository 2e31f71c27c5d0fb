//! `run --pool`: the program runs in a member of the pool, or in a container that is made for it where none waits or what is asked
//! for is more than a member can be.

use std::cell::OnceCell;
use std::os::fd::OwnedFd;

use super::claim::{Claim, claim};
use super::fill::put_below;
use super::store::{Definition, Pool, new_name};
use crate::cgroup::Cgroup;
use crate::container::attend::ended::Ended;
use crate::container::attend::signals;
use crate::container::attend::watch::{ProgramCgroup, WatchedProgram};
use crate::container::caller::files;
use crate::container::environment::Environment;
use crate::container::inside::program::{self, Fallback};
use crate::container::job::{self, Begins, JobRequest, PoolUse, Task};
use crate::container::lookup::Container;
use crate::container::make::bundle::Bundle;
use crate::container::options::{Create, ExecUser, Global, ProgramChoice, Run, Start};
use crate::container::outline::Outline;
use crate::container::verbs::delete;
use crate::container::verbs::run::{Begun, Predecessor, see_through, start_bundle};
use crate::container::verbs::start::template::{self, StartMoment, StartedTemplate, Starter};
use crate::error::{Context, Error, Result, SaidBy, Stage};
use crate::launch::{Running, Trace};
use crate::plan::namespace::rootless::Changed;
use crate::plan::process::template::keeps_promises;
use crate::spec::Spec;
use crate::spec::mounts::Mount;
use crate::state::Dir;
use crate::sys::cred::Ids;
use crate::sys::interrupt;

/// Runs a program in a container of the pool; its exit status.
pub fn run(global: &Global, args: &Run) -> Result<u8> {
    global.environment.hold_gaps(args.create.preserve_fds)?;
    let name = args.pool.as_deref().unwrap_or_default();
    let pool = Pool::find(global, name)?;
    let definition = pool.defined()?;
    let mut args = args.clone();
    args.create.bundle = Some(definition.bundle.clone());
    if args.create.id.is_empty() {
        args.create.id = new_name(name);
    }
    let request = JobRequest { detach: args.detach, ..JobRequest::in_background(global, &args.create) };
    job::run(global, &request, |task| attempt(global, &args, &pool, &definition, task))
}

fn attempt(
    global: &Global,
    args: &Run,
    pool: &Pool,
    definition: &Definition,
    mut task: Option<&mut Task<'_>>,
) -> Result<Option<Ended>> {
    let start = given(args)?;
    let mut reason = "options";
    let mut why = None;
    // What has to make room goes only when it is known that a new one can be made: `start_bundle` sees to that.
    let replaces = args.replace && Dir::find(&global.root, &args.create.id)?.is_some();
    if !replaces && !asks_for_more(global, args) {
        let attended = task.as_ref().map(|task| task.attendance());
        let claimed = claim(global, pool, definition, &args.create.id, attended)?;
        reason = if claimed.stale { "stale" } else { "empty" };
        if let Some(other) = claimed.other {
            (reason, why) = ("caller", Some(format!("the pool was created with another {other}")));
        }
        if let Some(claim) = claimed.claim {
            tell(task.as_deref_mut(), pool, None);
            match in_member(global, args, &start, claim, task.as_deref_mut())? {
                Tried::Ran(ended) => return Ok(ended),
                Tried::Refused(error) => (reason, why) = ("refused", Some(error.to_string())),
            }
        }
    }
    if let Some(debug) = global.debug {
        debug(&format!("no member of pool {} is used: {}", pool.name, why.as_deref().unwrap_or(reason)));
    }
    tell(task.as_deref_mut(), pool, Some(reason));
    in_new(global, args, &start, task)
}

/// Whether it ran in a member, for its result.
fn tell(task: Option<&mut Task<'_>>, pool: &Pool, reason: Option<&'static str>) {
    if let Some(task) = task {
        task.of_pool(PoolUse { name: pool.name.clone(), claimed: reason.is_none(), reason });
    }
}

/// What came of a member.
enum Tried {
    Ran(Option<Ended>),
    /// What comes with the program could not be had in it; the program was not about to run.
    Refused(Error),
}

/// What has to be known when a container is made, and a member was made without.
fn asks_for_more(global: &Global, args: &Run) -> bool {
    let Environment {
        notify_socket,
        seccomp_receiver,
        pidfd_receiver,
        // `Environment::preserved`.
        listen_fds: _,
        // `Global::trusted_annotations`, which `claim` compares with the pool's (`pool::inherited`).
        trust_annotations: _,
    } = &global.environment;
    let create = &args.create;
    create.job.die_with_parent
        || create.no_pivot
        || create.no_new_keyring
        || global.environment.preserved(create.preserve_fds) > 0
        || notify_socket.is_some()
        || seccomp_receiver.is_some()
        || pidfd_receiver.is_some()
}

/// What comes with the program.
fn given(args: &Run) -> Result<Start> {
    let Run {
        create,
        program,
        // `run::see_through`, of what runs in a member and of what does not.
        detach: _,
        keep: _,
        // `attempt`, `in_new`.
        replace: _,
        // `run::start_bundle`. The orphans of a member never come to us, for it is not our child.
        no_subreaper: _,
        // `run`.
        pool: _,
    } = args;
    let Create {
        id,
        outline,
        console_socket,
        pidfd_socket,
        pid_file,
        // Said when the pool was made, and refused with the command line: `validate::check_program`.
        bundle: _,
        config: _,
        // `make::record`; no flag of `run` sets it.
        template: _,
        // `asks_for_more`.
        no_pivot: _,
        no_new_keyring: _,
        preserve_fds: _,
        // `in_member`, `run::start_bundle`.
        trace: _,
        // `JobRequest::in_background`.
        job: _,
    } = create;
    let Outline {
        terminal,
        limits,
        user,
        env,
        cwd,
        caps,
        mounts,
        args,
        // Said when the pool was made, and refused with the command line: `validate::check_program`.
        rootfs: _,
        readonly: _,
        hostname: _,
        network: _,
        seccomp: _,
        rootless: _,
        overlay: _,
    } = outline;
    let program = ProgramChoice {
        args: args.iter().map(|arg| arg.as_str().into()).collect(),
        tty: *terminal == Some(true),
        cwd: cwd.as_deref().map(Into::into),
        env: env.iter().map(|variable| variable.as_str().into()).collect(),
        user: user.map(|Ids { uid, gid }| ExecUser { uid, gid: Some(gid) }),
        caps: caps.clone(),
        ..program.clone()
    };
    Ok(Start {
        id: id.clone(),
        program,
        console_socket: console_socket.clone(),
        pidfd_socket: pidfd_socket.clone(),
        pid_file: pid_file.clone(),
        streams: None,
        limits: limits.clone(),
        mounts: mounts.iter().map(absolute).collect::<Result<_>>()?,
        trace: None,
    })
}

/// A mount whose source does not depend on where we are.
fn absolute(mount: &Mount) -> Result<Mount> {
    let Some(source) = mount.source.as_ref().filter(|_| mount.is_bind()) else { return Ok(mount.clone()) };
    let path = std::path::absolute(source).at(Stage::Args, || format!("find {source}"))?;
    let source = path.to_str().map(str::to_owned);
    source
        .map(|source| Mount { source: Some(source), ..mount.clone() })
        .ok_or_else(|| Error::new(Stage::Args, "--mount: not UTF-8"))
}

fn in_member(
    global: &Global,
    args: &Run,
    start: &Start,
    Claim { mut container, lock, end }: Claim,
    mut task: Option<&mut Task<'_>>,
) -> Result<Tried> {
    let mut trace = args.create.trace.as_ref().map(|_| Trace::default());
    let mut let_go = false;
    let begun = begin(global, args, start, &mut container, task.as_deref_mut(), trace.as_mut(), &mut let_go);
    drop(lock);
    let (StartedTemplate { spec, running, notify, ours }, signals) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            let gone = delete::own(global, &args.create.id, &container.dir);
            if !let_go && gone.is_ok() && interrupt::by().is_none() {
                return Ok(Tried::Refused(error));
            }
            gone.unwrap_or_else(|failure| (global.warn)(&failure.to_string()));
            let Some(ended) = task.as_deref().and_then(Task::ended_before_it_began) else { return Err(error) };
            // It was we who ended it.
            (global.warn)(&format!("the program was ended before it began: {error}"));
            return Ok(Tried::Ran(Some(ended)));
        }
    };
    files::write_trace(global, args.create.trace.as_deref(), trace);
    let begun = Begun { running, spec, notify, ours, end: Some(end) };
    see_through(global, args, &container, begun, signals, task).map(Tried::Ran)
}

fn begin(
    global: &Global,
    args: &Run,
    start: &Start,
    container: &mut Container,
    mut task: Option<&mut Task<'_>>,
    trace: Option<&mut Trace>,
    is_let_go: &mut bool,
) -> Result<(StartedTemplate, Option<OwnedFd>)> {
    let signals = if args.detach && task.is_none() { None } else { Some(signals::take()?) };
    // It has the process in it already.
    let cgroup = container.saved_cgroup()?.map(|saved| Cgroup::by_path(&saved)).transpose()?;
    let is_job = task.is_some();
    let mut tell = |moment: StartMoment<'_>| {
        *is_let_go = true;
        let Some(task) = task.as_mut() else { return Ok(None) };
        let cgroup = ProgramCgroup::Own(cgroup.as_ref());
        match moment {
            StartMoment::Held => task.take_charge(Begins::Now, cgroup),
            StartMoment::Due(Running { process, .. }) => task.look(WatchedProgram { process, cgroup }, global.warn),
        }
    };
    let starter = Starter { detach: args.detach, relay: job::relay(&args.create.job), is_job, tell: &mut tell };
    let started = template::start(global, start, container, starter, trace)?;
    let running = Running { cgroup, ..started.running };
    Ok((StartedTemplate { running, ..started }, signals))
}

/// What a member would have been made of, with what comes with the program; nothing that a member refuses is had here.
fn in_new(global: &Global, args: &Run, start: &Start, task: Option<&mut Task<'_>>) -> Result<Option<Ended>> {
    let mut bundle = Bundle::load(global, &Create { bundle: args.create.bundle.clone(), ..Create::default() })?;
    let of_process = OnceCell::new();
    let mounts_before = bundle.spec().mounts.len();
    let origins = || {
        let mut origins = start.origins(mounts_before);
        origins.extend(of_process.get().cloned().unwrap_or_default());
        origins
    };
    let change = |spec: &mut Spec| {
        let (process, said) = program::chosen(global, &start.program, spec, Fallback::Template)?;
        of_process.get_or_init(|| said);
        keeps_promises(&process, spec.process.as_ref())?;
        spec.process = Some(process);
        start.limits.set(spec.linux.get_or_insert_default().resources.get_or_insert_default());
        spec.mounts.extend(start.mounts.iter().cloned());
        put_below(spec, global.cgroups, &args.create.id);
        Ok(Changed::Yes)
    };
    bundle.change(|_| origins(), change)?;
    // They are in the bundle, but for those whose flags a warning may be about.
    let outline = Outline { limits: start.limits.clone(), ..Outline::default() };
    let create = Create { outline, ..args.create.clone() };
    let predecessor = if args.replace { Predecessor::Any } else { Predecessor::None };
    start_bundle(global, &Run { create, ..args.clone() }, bundle, predecessor, task).said_by(origins)
}
