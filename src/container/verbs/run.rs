//! `run`: create and start in one, in the foreground or detached.

use std::fmt::Display;
use std::os::fd::OwnedFd;
use std::path::Path;

use super::delete;
use super::start::run_poststart;
use crate::cgroup::{Cgroup, oom_cause};
use crate::container::attend::attended::Attended;
use crate::container::attend::ended::Ended;
use crate::container::attend::signals;
use crate::container::attend::watch::{ProgramCgroup, WatchedProgram};
use crate::container::caller::console::{Console, ConsoleRequest, OurConsole};
use crate::container::caller::files::{self, Receivers};
use crate::container::caller::notify::{self, Notify};
use crate::container::fit;
use crate::container::job::{self, JobRequest, Task};
use crate::container::lookup::Container;
use crate::container::make::bundle::Bundle;
use crate::container::make::holder::Holder;
use crate::container::make::planned::PlannedContainer;
use crate::container::make::{Created, NewContainer, image, trial};
use crate::container::options::{Create, Global, Run};
use crate::error::{Context, Error, Result, Stage};
use crate::launch::{Meanwhile, Running, Trace};
use crate::plan::{ExecRefusal, ProgramStart};
use crate::proc::stat;
use crate::spec::Spec;
use crate::spec::mounts::Mount;
use crate::state::{Dir, Wait};
use crate::sys::interrupt;
use crate::sys::process::{self, Exit};

/// Creates and starts a container; its exit status.
pub fn run(global: &Global, args: &Run) -> Result<u8> {
    let Run {
        // Taken apart by the command of that name.
        create,
        detach,
        // `see_through`.
        keep: _,
        // `attempt`.
        replace: _,
        // `start_bundle`.
        no_subreaper: _,
        // With a pool it is another function that runs it: `dispatch::dispatch`.
        pool: _,
        // Refused without a pool: `validate::run`.
        program: _,
    } = args;
    global.environment.hold_gaps(create.preserve_fds)?;
    let request = JobRequest { detach: *detach, ..JobRequest::in_background(global, create) };
    job::run(global, &request, |task| attempt(global, args, task))
}

/// How the program ended; `None` for one that runs in the background.
fn attempt(global: &Global, args: &Run, task: Option<&mut Task<'_>>) -> Result<Option<Ended>> {
    let bundle = Bundle::load(global, &args.create)?;
    let predecessor = if args.replace { Predecessor::Any } else { Predecessor::None };
    start_bundle(global, args, bundle, predecessor, task)
}

/// What has the name of a container that is to run.
pub(in crate::container) enum Predecessor {
    /// Nothing, or that is an error.
    None,
    /// Whatever there is goes, by force.
    Any,
    /// The container with this directory goes; another of its name is an error.
    This(Dir),
}

/// What becomes of it where the new one could not be made.
const STAYS: &str = "the container that is to be replaced stays";

impl Predecessor {
    fn is_there(&self) -> bool {
        !matches!(self, Predecessor::None)
    }

    /// Takes the old container away, where the new one can be made as far as that is known.
    fn make_room(self, global: &Global, create: &Create, planned: &PlannedContainer) -> Result<()> {
        if self.is_there() {
            refuse_in_vain(global, create, planned)?;
        }
        match self {
            Predecessor::Any => delete::by_force(global, &create.id),
            Predecessor::This(dir) => delete::stopped(global, &create.id, &dir),
            Predecessor::None => Ok(()),
        }
    }
}

/// Runs a bundle that was read.
pub(in crate::container) fn start_bundle(
    global: &Global,
    args: &Run,
    mut bundle: Bundle,
    predecessor: Predecessor,
    mut task: Option<&mut Task<'_>>,
) -> Result<Option<Ended>> {
    image::protect_from(bundle.spec())?;
    let terminal = bundle.terminal();
    let request = ConsoleRequest {
        socket: args.create.console_socket.as_deref(),
        terminal,
        detach: args.detach,
        relay: job::relay(&args.create.job),
    };
    let (mut console, ours) = Console::choose(&request)?.open()?;
    if task.is_some() {
        // Whoever asked how it ended is told that it never ran.
        console.refusal = ExecRefusal::Error;
    }
    bundle.size_terminal(&ours);
    if !args.detach && !args.no_subreaper {
        process::set_subreaper().at(Stage::Process, || "become a subreaper")?;
    }
    let signals = if args.detach && task.is_none() { None } else { Some(signals::take()?) };
    let create = &args.create;
    let mut trace = create.trace.as_ref().map(|_| Trace::default());
    let receivers = Receivers::of_container(global, create, bundle.spec())
        .map_err(|error| if predecessor.is_there() { error.with_hint(STAYS) } else { error })?;
    let start = ProgramStart::Now(console.refusal);
    // A bundle that cannot be planned replaces nothing.
    let planned = PlannedContainer::to_make(global, create, bundle, start, console.terminal, trace.as_mut())?;
    predecessor.make_room(global, create, &planned)?;
    let new = NewContainer { global, args: create, planned, task: task.as_deref_mut(), member: None, receivers };
    let Created { container, running, spec, lock, notify } = new.make(console, trace.as_mut())?;
    files::write_trace(global, create.trace.as_deref(), trace);
    // What comes now may take for ever, and the container must be deletable then.
    drop(lock);
    see_through(global, args, &container, Begun { running, spec, notify, ours, end: None }, signals, task)
}

/// A program that runs.
pub(in crate::container) struct Begun {
    pub running: Running,
    pub spec: Spec,
    pub notify: Option<Notify>,
    pub ours: OurConsole,
    /// Where its keeper says how it ended.
    pub end: Option<OwnedFd>,
}

/// What is left to do of a container whose program runs, up to its deletion.
pub(in crate::container) fn see_through(
    global: &Global,
    args: &Run,
    container: &Container,
    begun: Begun,
    signals: Option<OwnedFd>,
    mut task: Option<&mut Task<'_>>,
) -> Result<Option<Ended>> {
    let pid = begun.running.process.pid;
    let ended = to_end(global, (container, args.create.outline.limits.memory), begun, signals, task.as_deref_mut());
    let withdraw = || args.create.pid_file.iter().for_each(|file| files::withdraw_pid(global, file, pid));
    if let (Some(task), true) = (&task, args.detach) {
        return task.settle(global, container, ended, |dir| {
            withdraw();
            delete::own(global, &args.create.id, dir)
        });
    }
    if ended.is_err() {
        withdraw();
    }
    let id = &args.create.id;
    // What was killed and does not end was waited for already, and whoever waits for the result has waited long enough.
    let stays = matches!(ended, Ok(Some(Ended { usage: None, .. })))
        && stat::read(pid).ok().flatten().is_some_and(|stat| !stat.dead);
    if stays {
        (global.warn)(&format!(
            "the container stays: `brisk delete --force {id}` deletes it when process {pid} has ended"
        ));
    }
    let tidied = match (&ended, args.detach) {
        (Ok(_), true) => Ok(()),
        // Failed after the program ran, or done: nothing of it stays unless asked.
        _ if args.keep || stays => {
            let outcome = ended.as_ref().ok().and_then(Option::as_ref).and_then(|ended| match &task {
                Some(task) => task.outcome(ended),
                None => Some(job::outcome(ended.exit, container.oom_kills())),
            });
            outcome.map_or(Ok(()), |outcome| container.keep(&outcome, Wait::No))
        }
        _ => delete::own(global, id, &container.dir),
    };
    // How it ended stands, whatever of it stays; as with runc.
    tidied.unwrap_or_else(|failure| (global.warn)(&failure.to_string()));
    ended
}

/// An error where the container that is to come could not be made, as far as that can be known before another one goes.
fn refuse_in_vain(global: &Global, create: &Create, planned: &PlannedContainer) -> Result<()> {
    let bundle = planned.bundle.dir();
    // The directory of the notify socket is made with the container.
    let notify = notify::directory(global, &create.id);
    let ours = |field: &str| {
        let source = |mount: &Mount| notify.is_some() && mount.source.as_deref().map(Path::new) == notify.as_deref();
        let index = planned.spec().mounts.iter().position(source);
        index.is_some_and(|index| field == format!("mounts[{index}].source"))
    };
    if let Some(misfit) = fit::obstacle(planned, bundle, ours) {
        let hint = misfit.hint.map_or_else(|| STAYS.to_owned(), |hint| format!("{hint}; {STAYS}"));
        let error = Error::of_field(Stage::Bundle, misfit.field, misfit.what);
        return Err(planned.bundle.told(create, error).with_hint(hint));
    }
    let overlay = Holder::begin_after(&create.id, planned.spec(), bundle);
    let tried = overlay.and_then(|()| trial::limits(planned, global.warn));
    tried.map_err(|error| planned.bundle.told(create, error).with_hint(STAYS))
}

/// `memory` is the limit that a flag has set, where one has: the one of a pool's member is not in its config.json.
fn to_end(
    global: &Global,
    (container, memory): (&Container, Option<i64>),
    Begun { running, spec, notify, ours, end }: Begun,
    signals: Option<OwnedFd>,
    mut task: Option<&mut Task<'_>>,
) -> Result<Option<Ended>> {
    if let Some(task) = &mut task {
        task.started();
    }
    let mut meanwhile = task.as_mut().map(|task| task.meanwhile(WatchedProgram::first(&running), global.warn));
    let meanwhile = meanwhile.as_mut().map(|meanwhile| meanwhile as &mut dyn Meanwhile);
    run_poststart(global, container, &spec, running.process.pid, meanwhile)?;
    let Some(signals) = signals else {
        let told = notify.map_or(Ok(()), |notify| notify.wait(&running.process, global.warn));
        // The program runs, whoever is not told, unless somebody has enough of waiting.
        return told.map(|()| None).or_else(|error| match interrupt::by() {
            Some(_) => Err(error),
            None => {
                (global.warn)(&error.to_string());
                Ok(None)
            }
        });
    };
    let (master, streams) = (ours.master()?, ours.streams);
    let Running { process, cgroup, overlay, .. } = running;
    let program = Attended { process, signals, master, streams, notify, end, warn: global.warn };
    // A job has an answer of its own.
    let (of_job, cgroup) = if task.is_some() { (cgroup, None) } else { (None, cgroup) };
    let ended = job::to_end(program, task, ProgramCgroup::Own(of_job), overlay)?;
    if ended.exit == Exit::Signal(libc::SIGKILL) {
        tell_oom(global, (&spec, memory), cgroup.as_ref());
    }
    Ok(Some(ended))
}

/// A status says nothing of who sent the signal; the cgroup knows whether it was the kernel, for want of memory.
fn tell_oom(global: &Global, (spec, by_flag): (&Spec, Option<i64>), cgroup: Option<&Cgroup>) {
    // What cannot be read is no reason to fail now.
    let kills = cgroup.and_then(|cgroup| cgroup.oom_kills().ok().flatten());
    if kills.is_none_or(|kills| kills == 0) {
        return;
    }
    let in_config = || spec.linux.as_ref()?.resources.as_ref()?.memory.as_ref()?.limit;
    let by_flag = by_flag.map(|limit| ("--memory", limit));
    let limit =
        by_flag.or_else(|| Some(("linux.resources.memory.limit", in_config()?))).filter(|(_, limit)| *limit > 0);
    let cause = oom_cause(limit.as_ref().map(|(name, limit)| (*name, limit as &dyn Display)));
    (global.warn)(&format!("the program was killed for want of memory (OOM): {cause}"));
}
