//! `start`.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use super::create::{hook_output, state_text};
use super::freeze::locked;
use super::notify::Notify;
use super::options::{Global, Start};
use super::{Container, files};
use crate::error::{Context, Error, Result, Stage};
use crate::launch::{self, Trace};
use crate::spec::{self, Spec};
use crate::state::{FIFO, Status};
use crate::sys::{fs, process};

/// Lets the program of a created container run.
pub fn start(global: &Global, args: &Start) -> Result<()> {
    let mut trace = args.trace.as_ref().map(|_| Trace::default());
    if let Some(trace) = &mut trace {
        trace.mark("read the state");
    }
    let (container, lock) = locked(global, &args.id)?;
    match container.status()? {
        Status::Created => {}
        Status::Stopped => return Err(Error::new(Stage::State, "cannot start a container that has stopped")),
        Status::Creating => return Err(Error::new(Stage::State, "cannot start a container in the creating state")),
        Status::Running => return Err(Error::new(Stage::State, "cannot start an already running container")),
        Status::Paused => return Err(Error::new(Stage::State, "cannot start a paused container")),
    }
    if let Some(trace) = &mut trace {
        trace.mark("signal the container's process");
    }
    // Before the program runs: what it sends must not get lost.
    let notify = Notify::open(&container.dir)?;
    let fifo = signal(global, &container)?;
    if let (Some(notify), Some(init)) = (&notify, container.record.init)
        && let Some(pidfd) = init.pidfd()?
    {
        // It may never be ready, and must be deletable then.
        drop(lock);
        notify.wait(init.pid, pidfd.as_fd())?;
    }
    poststart(global, &container, &fifo)?;
    files::write_trace(global, args.trace.as_deref(), trace);
    Ok(())
}

/// One byte into the fifo, which is then gone: a fifo that somebody reads means "waits for start".
fn signal(global: &Global, container: &Container) -> Result<OwnedFd> {
    let flags = libc::O_WRONLY | libc::O_NONBLOCK | libc::O_NOFOLLOW;
    let fifo = match fs::open(container.dir.fd(), FIFO, flags, 0) {
        // Nobody reads: the process died between the look at it and now.
        Err(Errno::ENXIO | Errno::ENOENT) => {
            return Err(Error::new(Stage::State, "cannot start a container that has stopped"));
        }
        result => result.at(Stage::State, || "open exec.fifo")?,
    };
    fs::write_all(fifo.as_fd(), b"0").at(Stage::State, || "write to exec.fifo")?;
    // The program runs: what is left to do must not make this a failure. A fifo that nobody reads means nothing.
    if let Err(errno) = fs::unlink(container.dir.fd(), FIFO, 0) {
        (global.warn)(&format!("remove exec.fifo: {errno}"));
    }
    Ok(fifo)
}

/// poststart hooks run when the program does: the fifo's last reader goes away with execve.
fn poststart(global: &Global, container: &Container, fifo: &OwnedFd) -> Result<()> {
    let Some(text) = container.dir.config()? else { return Ok(()) };
    // Parsing is most of the cost of a start, and few containers have hooks. A key may be written with escapes.
    if !text.windows(b"\"poststart\"".len()).any(|window| window == b"\"poststart\"") && !text.contains(&b'\\') {
        return Ok(());
    }
    let spec: Spec = spec::parse(&text, "config.json")?;
    let Some(hooks) = spec.hooks.as_ref().filter(|hooks| !hooks.poststart.is_empty()) else { return Ok(()) };
    process::poll(fifo.as_fd(), 0, -1).at(Stage::State, || "wait for the program to run")?;
    let pid = container.record.init.map_or(0, |init| init.pid);
    run_poststart(global, container, &spec, hooks, pid)
}

/// A failed poststart hook is an error and ends the container (runtime-spec 1.3, "Lifecycle", step 10).
pub(super) fn run_poststart(
    global: &Global,
    container: &Container,
    spec: &Spec,
    hooks: &spec::hooks::Hooks,
    pid: i32,
) -> Result<()> {
    let state = state_text(spec, &container.record.id, Path::new(&container.record.bundle), "running", pid);
    launch::run_hooks("poststart", &hooks.poststart, &state, &hook_output(spec)?).inspect_err(|_| {
        let killed = match container.cgroup() {
            Ok(Some(cgroup)) => cgroup.kill(libc::SIGKILL),
            Ok(None) => container.record.init.map_or(Ok(()), |init| init.signal(libc::SIGKILL).map(drop)),
            Err(error) => Err(error),
        };
        if let Err(worse) = killed {
            (global.warn)(&worse.to_string());
        }
    })
}

/// Runs the poststop hooks of a container that was deleted; `config` is its config.json.
pub fn poststop(global: &Global, record: &crate::state::Record, config: &[u8]) -> Result<()> {
    let spec: Spec = spec::parse(config, "config.json")?;
    let hooks = spec.hooks.as_ref().map(|hooks| &hooks.poststop[..]).unwrap_or_default();
    let state = state_text(&spec, &record.id, Path::new(&record.bundle), "stopped", 0);
    for worse in launch::run_each_hook("poststop", hooks, &state, &hook_output(&spec)?) {
        (global.warn)(&worse.to_string());
    }
    Ok(())
}
