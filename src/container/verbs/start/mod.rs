//! `start`: lets the program of a created container begin, and says how that went.
//!
//! Runs in the parent. Of a container whose program is known there is only a byte to be written, and hooks to be run: that is here.
//! `template` starts one whose program comes now, and `protected` keeps the
//! mounts that come with it off what the template hides.

mod protected;
pub(in crate::container) mod template;

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use template::{StartMoment, StartedTemplate, Starter};

use crate::container::attend::announcement::Announcement;
use crate::container::caller::files;
use crate::container::caller::notify::Notify;
use crate::container::caller::streams::Relay;
use crate::container::lookup::{self, Container};
use crate::container::make::host_hooks;
use crate::container::options::{Global, Start};
use crate::container::verbs::delete;
use crate::error::{Context, Error, Result, Stage};
use crate::launch::{self, Meanwhile, Trace, WhileHooksRun};
use crate::plan::process::hooks;
use crate::spec::Spec;
use crate::spec::hooks::HookKind;
use crate::spec::status::Status;
use crate::state::{FIFO, Wait};
use crate::sys::pidfd::ProcessHandle;
use crate::sys::{fs, interrupt};

/// Lets the program of a created container run.
pub fn start(global: &Global, args: &Start) -> Result<()> {
    attempt(global, args).map_err(|error| match interrupt::by() {
        // A template's process is reached by several calls.
        None if error.root_errno() == Some(Errno::ESRCH) => error.with_hint("the container has ended meanwhile"),
        None => error,
        // Not everything that it has begun can be undone: what is said is how far it got.
        Some(_) => error.with_hint(match Container::load(&global.root, &args.id).and_then(|found| found.status()) {
            Ok(status) => format!("the container is {}", status.name()),
            Err(_) => "the container is gone".to_owned(),
        }),
    })
}

fn attempt(global: &Global, args: &Start) -> Result<()> {
    let Start {
        id,
        trace: file,
        // `start::template::start`.
        console_socket: _,
        pidfd_socket: _,
        pid_file: _,
        streams: _,
        // `template::wanted`.
        program: _,
        // `template::furnish`.
        limits: _,
        mounts: _,
    } = args;
    let mut trace = file.as_ref().map(|_| Trace::default());
    if let Some(trace) = &mut trace {
        trace.mark("read the state");
    }
    let (mut container, lock) = lookup::locked(global, id)?;
    match container.status()? {
        Status::Created => {}
        Status::Stopped => return Err(has_stopped()),
        Status::Creating => return Err(Error::new(Stage::State, "cannot start a container in the creating state")),
        Status::Running => return Err(Error::new(Stage::State, "cannot start an already running container")),
        Status::Paused => return Err(Error::new(Stage::State, "cannot start a paused container")),
    }
    if container.record.template {
        let tell = &mut |_: StartMoment<'_>| Ok(None);
        let starter = Starter { detach: true, relay: Relay::Needed, is_job: false, tell };
        let started = template::start(global, args, &mut container, starter, trace.as_mut())?;
        drop(lock);
        after(global, &container, started)?;
        files::write_trace(global, file.as_deref(), trace);
        return Ok(());
    }
    if args.brings() {
        return Err(Error::new(Stage::Args, "the container is no template: config.json says what runs in it")
            .with_hint("`create --template` makes a container whose program comes with start"));
    }
    if container.record.no_process {
        return Err(Error::new(Stage::Bundle, "config.json has no process to start"));
    }
    if let Some(trace) = &mut trace {
        trace.mark("signal the container's process");
    }
    // Before the program runs: what it sends must not get lost.
    let notify = Notify::open(global, &container.dir)?;
    let fifo = signal(global, &container)?;
    // What comes now may take for ever, and the container must be deletable then.
    drop(lock);
    if let (Some(notify), Some(init)) = (&notify, container.record.init)
        && let Some(pidfd) = init.pidfd()?
    {
        notify.wait(&ProcessHandle { pid: init.pid, pidfd }, global.warn)?;
    }
    run_hooks(global, &container, &fifo)?;
    files::write_trace(global, file.as_deref(), trace);
    Ok(())
}

/// What comes when a template's program runs; it may take for ever.
fn after(global: &Global, container: &Container, started: StartedTemplate) -> Result<()> {
    let StartedTemplate { spec, running, notify, ours: _ } = started;
    if let Some(notify) = &notify {
        notify.wait(&running.process, global.warn)?;
    }
    run_poststart(global, container, &spec, running.process.pid, None).inspect_err(|_| tidy(global, container))
}

/// The lifecycle goes on where the container is destroyed.
fn tidy(global: &Global, container: &Container) {
    if let Err(failure) = delete::own(global, &container.record.id, &container.dir) {
        (global.warn)(&failure.to_string());
    }
}

fn has_stopped() -> Error {
    Error::new(Stage::State, "cannot start a container that has stopped")
}

/// One byte into the fifo, which is then gone: a fifo that somebody reads means "waits for start".
fn signal(global: &Global, container: &Container) -> Result<OwnedFd> {
    let flags = libc::O_WRONLY | libc::O_NONBLOCK | libc::O_NOFOLLOW;
    // Nobody reads (any more): the process died between the look at it and now.
    let died = |errno: &Errno| matches!(errno, Errno::ENXIO | Errno::ENOENT | Errno::EPIPE);
    let fifo = match fs::open(container.dir.fd(), FIFO, flags, 0) {
        Err(errno) if died(&errno) => return Err(has_stopped()),
        result => result.at(Stage::State, || "open exec.fifo")?,
    };
    // Its time counts from here.
    container.announce(Announcement::started)?;
    match fs::write_all(fifo.as_fd(), b"0") {
        Err(errno) if died(&errno) => return Err(has_stopped()),
        result => result.at(Stage::State, || "write to exec.fifo")?,
    }
    container.waits_no_more(global);
    Ok(fifo)
}

/// The container's process runs startContainer hooks, and tells of one that failed; poststart hooks run when the
/// program does.
fn run_hooks(global: &Global, container: &Container, fifo: &OwnedFd) -> Result<()> {
    let Some(text) = container.dir.config()? else { return Ok(()) };
    // Parsing is most of the cost of a start, and few containers have hooks. A key may be written with escapes.
    let names = |key: &[u8]| text.windows(key.len()).any(|window| window == key);
    if !names(b"\"poststart\"") && !names(b"\"startContainer\"") && !text.contains(&b'\\') {
        return Ok(());
    }
    let spec = lookup::spec_of(&container.record, &text)?;
    let Some(hooks) = spec.hooks.as_ref() else { return Ok(()) };
    if hooks.poststart.is_empty() && hooks.start_container.is_empty() {
        return Ok(());
    }
    let Some(init) = container.record.init else { return Ok(()) };
    launch::await_program(fifo.as_fd(), init.pid, init.pidfd()?.as_ref().map(AsFd::as_fd))?;
    run_poststart(global, container, &spec, init.pid, None).inspect_err(|_| tidy(global, container))
}

/// A failed poststart hook is an error and ends the container (runtime-spec 1.3, "Lifecycle", step 10). Called without
/// the container's lock. `meanwhile` looks after the program.
pub(in crate::container) fn run_poststart(
    global: &Global,
    container: &Container,
    spec: &Spec,
    pid: i32,
    meanwhile: Option<&mut dyn Meanwhile>,
) -> Result<()> {
    let record = &container.record;
    let list = hooks::host(spec, &record.id, Path::new(&record.bundle), HookKind::Poststart, Status::Running);
    if list.hooks.is_empty() {
        return Ok(());
    }
    // The lock is not held: whoever deletes the container meanwhile ends them by that.
    let while_they_run = WhileHooksRun { wanted: &|| container.dir.is_there(), meanwhile };
    launch::run_hooks_while(&list, pid, &host_hooks::output(spec)?, while_they_run).inspect_err(|_| {
        if let Err(failure) = kill(global, container) {
            (global.warn)(&failure.to_string());
        }
    })
}

fn kill(global: &Global, container: &Container) -> Result<()> {
    // Deleted meanwhile: what has the same cgroup now is another container.
    let Some(_lock) = container.dir.lock(Wait::Forever)? else { return Ok(()) };
    container.forewarn(global, || Announcement::Signal(libc::SIGKILL));
    match container.cgroup()? {
        Some(cgroup) => cgroup.kill(libc::SIGKILL),
        None => container.record.init.map_or(Ok(()), |init| init.signal(libc::SIGKILL).map(drop)),
    }
}
