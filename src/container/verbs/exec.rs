//! `exec`: one more process in a container that runs.

use std::path::PathBuf;

use crate::cgroup::{Absent, Cgroup};
use crate::container::attend::attended::Attended;
use crate::container::attend::ended::Ended;
use crate::container::attend::signals;
use crate::container::attend::watch::{ProgramCgroup, WatchedProgram};
use crate::container::caller::console::{Console, ConsoleRequest, ProgramConsole};
use crate::container::caller::files::{self, Receivers};
use crate::container::inside::program::{self, Fallback};
use crate::container::inside::{self, Beginning};
use crate::container::job::{self, Begins, Task};
use crate::container::lookup::{Container, not_running};
use crate::container::make::facts::host_for;
use crate::container::make::image;
use crate::container::options::{Exec, Global};
use crate::error::{Context, Error, Result, SaidBy, Stage};
use crate::host::Host;
use crate::launch::{Moment, Running, TellAgain, Trace};
use crate::plan::process::inside::InsideOptions;
use crate::plan::verbs::exec::{CgroupToJoin, ExecOptions};
use crate::plan::{self, ExecRefusal, Keyring};
use crate::spec::Spec;
use crate::spec::process::Process;
use crate::spec::status::Status;
use crate::sys::interrupt;

/// Runs one more process; its exit status.
pub fn exec(global: &Global, args: &Exec) -> Result<u8> {
    let Exec {
        id,
        preserve_fds,
        detach,
        job,
        // `attempt`.
        program: _,
        console_socket: _,
        ignore_paused: _,
        trace: _,
        // `join`.
        pidfd_socket: _,
        pid_file: _,
        // `cgroup`.
        cgroup: _,
    } = args;
    global.environment.hold_gaps(*preserve_fds)?;
    let preserved = global.environment.preserved(*preserve_fds);
    let request = job::JobRequest { id, job, detach: *detach, preserved };
    job::run(global, &request, |task| attempt(global, args, task))
}

/// How it ended; `None` for one that runs in the background.
fn attempt(global: &Global, args: &Exec, mut task: Option<&mut Task<'_>>) -> Result<Option<Ended>> {
    image::protect()?;
    let container = Container::load(&global.root, &args.id)?;
    match container.status()? {
        Status::Stopped => return Err(Error::new(Stage::State, "cannot exec in a stopped container")),
        Status::Creating => return Err(not_running()),
        Status::Paused if !args.ignore_paused => {
            return Err(Error::new(
                Stage::State,
                "cannot exec in a paused container (use --ignore-paused to override)",
            ));
        }
        Status::Paused | Status::Created | Status::Running => {}
    }
    if container.awaits_program()? {
        // Its process has more rights than the program will have, and no filter yet.
        return Err(Error::new(Stage::State, "cannot exec in a template that waits for start"));
    }
    let mut spec = container.spec()?;
    global.environment.name_receiver(&mut spec);
    let (mut process, origins) = program::chosen(global, &args.program, &spec, Fallback::Nothing)?;
    let socket = args.console_socket.as_deref();
    let relay = job::relay(&args.job);
    let request = ConsoleRequest { socket, terminal: process.terminal, detach: args.detach, relay };
    let (mut console, ours) = Console::choose(&request)?.open()?;
    if task.is_some() {
        // Whoever asked how it ended is told that it never ran.
        console.refusal = ExecRefusal::Error;
    }
    ours.size_terminal(&mut process);
    let signals = if args.detach && task.is_none() { None } else { Some(signals::take()?) };
    if args.ignore_paused || task.is_some() {
        // It may wait from the first moment on: a paused container lets nothing be set up.
        interrupt::listen();
    }
    task.as_deref().map_or(Ok(()), Task::ends_with_command_in_order)?;
    let mut trace = args.trace.as_ref().map(|_| Trace::default());
    let shared = if task.is_some() { container.cgroup()? } else { None };
    let looks = WhileSetUp { task: task.as_deref_mut(), shared: shared.as_ref() };
    let joined = join(global, args, &container, (&spec, &process), console, trace.as_mut(), looks);
    let joined = joined.said_by(|| origins);
    let limited = task.as_deref().and_then(Task::ended_before_it_began);
    let asked = task.as_deref().and_then(|_| Ended::of_interrupt());
    let running = match (joined, limited.or(asked)) {
        (Err(error), Some(ended)) => {
            // It was we who ended it.
            (global.warn)(&format!(
                "the program was ended before it began: {}",
                error.asked_to_end(interrupt::words())
            ));
            return Ok(Some(ended));
        }
        (joined, _) => joined?,
    };
    files::write_trace(global, args.trace.as_deref(), trace);
    let Some(signals) = signals.filter(|_| !args.detach || task.is_some()) else { return Ok(None) };
    if let Some(task) = &mut task {
        task.launched();
    }
    let Running { process, .. } = running;
    let program =
        Attended { master: ours.master()?, streams: ours.streams, ..Attended::of_child(process, signals, global.warn) };
    job::to_end(program, task, ProgramCgroup::Containers(shared), None).map(Some)
}

/// Who looks after a program while it is set up.
struct WhileSetUp<'a, 't> {
    task: Option<&'a mut Task<'t>>,
    /// The container's cgroup, for the task.
    shared: Option<&'a Cgroup>,
}

fn join(
    global: &Global,
    args: &Exec,
    container: &Container,
    (spec, process): (&Spec, &Process),
    console: ProgramConsole,
    trace: Option<&mut Trace>,
    looks: WhileSetUp<'_, '_>,
) -> Result<Running> {
    let WhileSetUp { mut task, shared } = looks;
    let init = container.first_process()?;
    let cgroup = cgroup(container, args, init.pid)?;
    let host = host_for(spec, Host::probe_for_exec()?)?;
    let inside = InsideOptions {
        id: args.id.clone(),
        bundle: PathBuf::from(&container.record.bundle),
        terminal: console.terminal,
        refusal: console.refusal,
    };
    let options = ExecOptions {
        inside,
        orphan: job::orphan(&args.job),
        hold: job::hold(&args.job),
        preserved_fds: global.environment.preserved(args.preserve_fds),
        keyring: if container.record.inherits_keyring { Keyring::Inherit } else { Keyring::New },
        cgroup: cgroup.as_ref().map(|cgroup| CgroupToJoin {
            versions: cgroup.versions().collect(),
            owner: cgroup.scope().map(|scope| scope.owner),
        }),
        cgroups: global.cgroups,
        gained_namespaces: container.record.gained_namespaces,
        rdt: container.rdt()?.map(|rdt| rdt.task_files()).unwrap_or_default(),
    };
    let plan = plan::verbs::exec::exec(process, spec, &host, &options)?;
    global.tell_plan(&plan);
    // The program may run before they are told.
    let receivers = Receivers::find(args.pid_file.as_deref(), args.pidfd_socket.as_deref())?;
    // A paused container lets nothing be set up, and somebody may pause it at any moment.
    let due = task.as_mut().and_then(|task| task.begin_set_up());
    let mut tell = |moment: Moment<'_>| -> Result<TellAgain> {
        let Some(task) = &mut task else { return Ok(None) };
        task.told(moment, Begins::Now, |running| WatchedProgram::added(running, shared), global.warn)
    };
    let beginning = Beginning { plan: &plan, console, init: init.pidfd, waiting: None, cgroup, trace, due };
    inside::begin(global, beginning, receivers, &mut tell)
}

/// The container's cgroup, or the one below it that `--cgroup [CONTROLLERS:]PATH` names, or the one its first process
/// has moved to where the container's own takes no processes any more.
fn cgroup(container: &Container, args: &Exec, init: i32) -> Result<Option<Cgroup>> {
    if args.cgroup.is_empty() {
        let saved = container.saved_cgroup()?;
        return saved.map(|saved| Cgroup::by_path(&saved)?.for_another(init)).transpose();
    }
    let Some(cgroup) = container.cgroup()? else {
        return match args.cgroup.first() {
            Some(path) => {
                Err(Error::new(Stage::Cgroup, format!("--cgroup {path}: the container has no cgroup of its own")))
            }
            None => Ok(None),
        };
    };
    let wanted: Vec<_> = args
        .cgroup
        .iter()
        .map(|entry| entry.split_once(':').map_or((None, entry.as_str()), |(list, path)| (Some(list), path)))
        .collect();
    let what = || format!("--cgroup {}: adding pid to the cgroup", args.cgroup.join(" --cgroup "));
    cgroup.sub(&wanted, Absent::Refuse).at(Stage::Cgroup, what).map(Some)
}
