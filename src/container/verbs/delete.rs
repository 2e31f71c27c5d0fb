//! `delete`. Works from every point at which a `create` or an earlier `delete` may have been cut short.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::cgroup::{Cgroup, Leftover, Saved};
use crate::container::attend::announcement::Announcement;
use crate::container::caller::files;
use crate::container::lookup::{forewarn, monitor, rdt, saved_cgroup, select, status_of};
use crate::container::make::host_hooks::poststop;
use crate::container::make::{host_mounts, trial};
use crate::container::options::{Delete, Global};
use crate::error::{Context, Deed, Error, Result, Stage};
use crate::host::Host;
use crate::launch::Trace;
use crate::plan::reach::Reach;
use crate::plan::systemd::driver::plan_cgroup;
use crate::proc;
use crate::spec::Spec;
use crate::spec::status::Status;
use crate::state::{Dir, Life, Lock, PidNamespace, Record, Wait, does_not_exist, of_another};
use crate::sys;
use crate::sys::errno::is_shortage;
use crate::sys::poll::{self, PollFlags};

/// How long a killed process may take to be gone; runc waits as long. One that is stuck in the kernel (a
/// dead NFS server) takes longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a program that still runs may take to end before the container is refused: who has killed it, or has seen its last
/// output, is quicker here than the kernel on a busy machine (runc needs longer than this to begin).
const ENDING: Duration = Duration::from_millis(100);
/// How soon it is looked again at a command that holds the lock.
const NEXT_LOOK: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Force {
    /// `delete --force`, which has an end.
    Yes,
    No,
    /// One that has stopped makes room for another.
    Room,
    /// A `run` removes what it has made.
    Own,
}

impl Force {
    /// How long poststop hooks may take.
    fn patience(self) -> Option<Duration> {
        matches!(self, Force::Yes | Force::Room).then_some(PATIENCE)
    }

    /// What becomes of processes in its cgroup. The kernel leaves none of a pid namespace that has ended: where there are some, and not of
    /// ours, and the first process is not found, we are in another pid or time namespace than whoever made it, and it runs.
    fn leftover(self, record: &Record) -> Leftover {
        match (self, record.pid_namespace) {
            (Force::No | Force::Room, PidNamespace::Own) => Leftover::KillOurs,
            _ => Leftover::Kill,
        }
    }
}

/// Removes containers with everything they hold.
pub fn delete(global: &Global, args: &Delete) -> Result<()> {
    let Delete { which, force, trace: file } = args;
    let ids = select::select(&global.root, which)?;
    let force = if *force { Force::Yes } else { Force::No };
    let mut trace = file.as_ref().map(|_| Trace::default());
    let done = select::each(&ids, global.warn, |id| {
        mark(&mut trace, &format!("find container {id}"));
        delete_one(global, id, force, &mut trace)
    });
    files::write_trace(global, file.as_deref(), trace);
    done
}

fn mark(trace: &mut Option<Trace>, what: &str) {
    if let Some(trace) = trace {
        trace.mark(what);
    }
}

fn delete_one(global: &Global, id: &str, force: Force, trace: &mut Option<Trace>) -> Result<()> {
    match Dir::find(&global.root, id)? {
        Some(dir) => found(global, id, &dir, force, trace),
        None => gone(global, id, force),
    }
}

/// As `delete --force` of one name.
pub(in crate::container) fn by_force(global: &Global, id: &str) -> Result<()> {
    delete_one(global, id, Force::Yes, &mut None)
}

/// Deletes a container whose directory we have had since it was made: whatever has taken its name meanwhile stays. Once
/// more if it fails, for nobody else will clean up; but what was waited for in vain is not waited for again.
pub(in crate::container) fn own(global: &Global, id: &str, dir: &Dir) -> Result<()> {
    let delete = || found(global, id, dir, Force::Own, &mut None);
    let in_vain = |error: &Error| matches!(error.root_errno(), Some(Errno::ETIMEDOUT | Errno::EBUSY));
    delete().or_else(|error| if in_vain(&error) { Err(error) } else { delete() })
}

/// Deletes a container that has stopped and makes room for itself; hooks that hang do not keep it.
pub(in crate::container) fn stopped(global: &Global, id: &str, dir: &Dir) -> Result<()> {
    found(global, id, dir, Force::Room, &mut None)
}

fn gone(global: &Global, id: &str, force: Force) -> Result<()> {
    match force {
        Force::Yes | Force::Room | Force::Own => Ok(()),
        Force::No => Err(does_not_exist(&global.root, id)),
    }
}

fn found(global: &Global, id: &str, dir: &Dir, force: Force, trace: &mut Option<Trace>) -> Result<()> {
    let gone = || gone(global, id, force);
    let lock = match dir.lock(Wait::No) {
        Err(error) if error.root_errno() == Some(Errno::EAGAIN) => from_another(global, id, dir, force)?,
        result => result?,
    };
    let Some(_held) = lock else { return gone() };
    locked(global, id, dir, force, trace)
}

/// Removes one by force, for who has the lock.
pub(in crate::container) fn with_lock(global: &Global, id: &str, dir: &Dir, _held: &Lock) -> Result<()> {
    locked(global, id, dir, Force::Own, &mut None)
}

/// The caller has the lock.
fn locked(global: &Global, id: &str, dir: &Dir, force: Force, trace: &mut Option<Trace>) -> Result<()> {
    let gone = || gone(global, id, force);
    let record = match dir.find_record() {
        Ok(Some(record)) => record,
        Err(error) if says_nothing(&error) => return Err(error),
        Ok(None) | Err(_) if dir.is_of_another() => return Err(of_another().doing(Deed::Delete, id)),
        // `create` was cut short before it wrote the record, so it has made nothing else.
        Ok(None) => return dir.remove().and_then(|()| gone()),
        Err(error) if force != Force::No => {
            (global.warn)(&format!("delete {id}: {error}: removing what its config.json names"));
            match remove_by_config(global, id, dir) {
                Err(failure) if says_nothing(&failure) => return Err(failure),
                Err(failure) => (global.warn)(&format!("delete {id}: {failure}: processes and cgroups may be left")),
                Ok(()) => {}
            }
            return dir.remove();
        }
        Err(error) => return Err(error.with_hint("`delete --force` removes what the copy of config.json names")),
    };
    // Who deletes his own knows that nobody else makes it.
    if force != Force::Own {
        let status = status_to_delete(dir, &record, force)?;
        refuse_running(status, id, force)?;
        if status == Status::Creating {
            kill_creator(global, id, &record)?;
        }
    }
    end(global, &record, force, trace)?;
    if force.patience().is_some()
        && let Some(cgroup) = saved_cgroup(&record)?
    {
        trial::sweep(&cgroup);
    }
    mark(trace, "remove the state directory");
    let config = if record.poststop { dir.config()? } else { None };
    dir.remove()?;
    mark(trace, "poststop hooks");
    if let Some(config) = config
        && let Err(error) = poststop(global, &record, &config, force.patience())
    {
        // The specification: a failed poststop hook is a warning, and the container is deleted all the same.
        (global.warn)(&format!("delete {id}: {error}"));
    }
    Ok(())
}

/// Whether an error is one of ours and the host's, which have too little of something, and not of the container's.
fn says_nothing(error: &Error) -> bool {
    error.root_errno().is_some_and(is_shortage)
}

/// Without a record the copy of config.json still tells which cgroup the container's processes are in. Without either
/// nothing does: what has a cgroup of the container's name may be anybody's.
fn remove_by_config(global: &Global, id: &str, dir: &Dir) -> Result<()> {
    let spec: Spec = crate::spec::parse(&dir.config()?.unwrap_or_default(), "config.json")?;
    if spec.oci_version.is_empty() {
        return Err(Error::new(Stage::State, "the copy of config.json has no ociVersion: it may be damaged, too"));
    }
    match plan_cgroup(&spec, &Host::probe()?, id, global.cgroups)? {
        (Some(plan), scope) => Saved::planned(&plan, scope.as_ref()).remove(Leftover::Kill),
        (None, _) => Ok(()),
    }
}

/// Takes the lock from a command that has it. A `create` that hangs in a hook would hold it for ever; one that has just
/// begun, and has written nothing that tells who it is, is found at the next look.
fn from_another(global: &Global, id: &str, dir: &Dir, force: Force) -> Result<Option<Lock>> {
    let end = Instant::now() + PATIENCE;
    let mut looks = 0;
    loop {
        // Without a readable record there is nothing to tell yet.
        if let Ok(Some(record)) = dir.find_record() {
            interrupt(global, id, dir, &record, force, looks)?;
        }
        looks += 1;
        let wait = if force == Force::No { Wait::Forever } else { Wait::Within(NEXT_LOOK) };
        match dir.lock(wait) {
            Err(error) if error.root_errno() == Some(Errno::EAGAIN) && Instant::now() < end => {}
            result => return result,
        }
    }
}

/// While another command holds the lock: without force the container must not run; with force the one that creates it is
/// killed, and after so many looks what else may keep it.
fn interrupt(global: &Global, id: &str, dir: &Dir, record: &Record, force: Force, looks: u32) -> Result<()> {
    let status = status_to_delete(dir, record, force)?;
    refuse_running(status, id, force)?;
    if status == Status::Creating {
        return kill_creator(global, id, record);
    }
    match looks {
        0 => Ok(()),
        // A `run` or `start` waits for the container's process, and that for its startContainer hooks, which are the image's.
        1 => kill_init(global, id, record),
        // A `run` waits for poststart hooks as well, which are the host's.
        _ => kill_creator(global, id, record),
    }
}

/// Its first process and all others, thawed: in a v1 cgroup a frozen process does not die, and whoever waits for it, or for a file
/// system that it serves, has the lock that thawing it would need.
fn kill_init(global: &Global, id: &str, record: &Record) -> Result<()> {
    let Some(init) = record.live_init()? else { return Ok(()) };
    (global.warn)(&format!("delete {id}: another command waits for it: killing process {}", init.pid));
    init.signal(libc::SIGKILL)?;
    let Some(cgroup) = saved_cgroup(record)? else { return Ok(()) };
    if let Err(error) = Cgroup::open(&cgroup).and_then(|cgroup| cgroup.kill(libc::SIGKILL)) {
        // Whoever has the lock may be removing it.
        (global.warn)(&format!("delete {id}: {error}"));
    }
    Ok(())
}

fn kill_creator(global: &Global, id: &str, record: &Record) -> Result<()> {
    // A `run` at its end is the one that deletes.
    if record.creator.pid == sys::process::getpid() || record.life(record.creator)? == Life::Gone {
        return Ok(());
    }
    (global.warn)(&format!("delete {id}: killing process {}, which makes or starts it", record.creator.pid));
    // Its child asks to die with it, but who shares a pid namespace with it may have stopped it before that; and it has the
    // lock, as a copy of its parent. While it is stopped itself it has no more of them.
    // Whoever asks us to end now, or whatever fails, would leave it stopped for ever: that comes when it is killed.
    sys::interrupt::listen();
    let Some(creator) = record.creator.pidfd()? else { return Ok(()) };
    let stopped = record.creator.stop(NEXT_LOOK);
    // What a hook has left to live on, a `run` has adopted.
    let children = record.creator.children_at_work();
    sys::pidfd::signal(creator.as_fd(), libc::SIGKILL).at(Stage::Signal, || "kill who makes the container")?;
    for child in &children? {
        let what = || "kill the process that was being set up";
        sys::pidfd::signal(child.as_fd(), libc::SIGKILL).at(Stage::Signal, what)?;
    }
    stopped
}

/// What the container is, once one that is about to end has had the time for it.
fn status_to_delete(dir: &Dir, record: &Record, force: Force) -> Result<Status> {
    let status = status_of(dir, record)?;
    if (status, force) != (Status::Running, Force::No) {
        return Ok(status);
    }
    if let Some(init) = record.live_init()?
        && let Some(pidfd) = init.pidfd()?
    {
        init.ends(pidfd.as_fd(), poll::within(ENDING))?;
    }
    status_of(dir, record)
}

fn refuse_running(status: Status, id: &str, force: Force) -> Result<()> {
    match status {
        // A created container may be deleted: engines rely on it, as runc does it.
        Status::Stopped | Status::Created => Ok(()),
        _ if force != Force::No => Ok(()),
        status => Err(Error::new(
            Stage::State,
            format!("cannot delete container {id} that is not stopped: {}", status.name()),
        )
        .doing(Deed::Delete, id)
        .with_hint("`kill` ends its first process; `delete --force` does both")),
    }
}

/// One that is stopped goes without the figures, and so does one that waits for a poststart hook, which ends with the container's
/// directory: that goes later.
fn await_monitor(record: &Record, monitor: &OwnedFd) -> Result<()> {
    let ended = |process: &OwnedFd, patience: Duration| {
        poll::one(process.as_fd(), PollFlags::POLLIN, poll::within(patience))
            .at(Stage::Signal, || "wait for the monitor")
    };
    if ended(monitor, NEXT_LOOK)? {
        return Ok(());
    }
    // The program, which is its child as well, has ended.
    for child in record.creator.children()? {
        if !ended(&child, Duration::ZERO)? {
            return Ok(());
        }
    }
    ended(monitor, PATIENCE).map(drop)
}

/// Kills what is left and removes the cgroup.
fn end(global: &Global, record: &Record, force: Force, trace: &mut Option<Trace>) -> Result<()> {
    mark(trace, "kill what is left");
    let cgroup = saved_cgroup(record)?;
    let init = record.live_init()?;
    let pidfd = init.map_or(Ok(None), |init| init.pidfd())?;
    if let Some(pidfd) = &pidfd {
        forewarn(global, record, || Announcement::Deleted);
        let what = || "kill the container's first process";
        sys::pidfd::signal(pidfd.as_fd(), libc::SIGKILL).at(Stage::Signal, what)?;
    }
    if let (Some(_), Some(cgroup)) = (&pidfd, &cgroup) {
        // Everybody else too, and thawed: a frozen process of a v1 cgroup does not die.
        Cgroup::open(cgroup)?.kill(libc::SIGKILL)?;
    }
    mark(trace, "wait for the first process to end");
    if let (Some(pidfd), Some(init)) = (&pidfd, init)
        && !init.ends(pidfd.as_fd(), poll::within(PATIENCE))?
    {
        let error = Error::new(Stage::Signal, format!("container init still running: process {}", init.pid))
            .told(Errno::ETIMEDOUT);
        let others = cgroup.as_ref().and_then(|cgroup| Cgroup::open(cgroup).ok()?.pids(Reach::Tree).ok());
        let mut all = [init.pid].into_iter().chain(others.unwrap_or_default());
        return Err(match all.find_map(|pid| Some((pid, proc::status::tracer(pid)?))) {
            Some((pid, tracer)) => error.with_hint(format!("process {tracer} traces {pid} and does not let it end")),
            None => error.with_hint(
                "a process in state D waits for a device or a network file system; a pid namespace also waits until \
                 whoever adopted the processes of a killed exec has reaped them",
            ),
        });
    }
    if let Some(monitor) = monitor(record)? {
        mark(trace, "wait for the monitor, which reads the cgroup");
        await_monitor(record, &monitor)?;
    }
    mark(trace, "remove the cgroup");
    if let Some(cgroup) = cgroup {
        let leftover = if pidfd.is_some() { Leftover::Kill } else { force.leftover(record) };
        cgroup.remove(leftover).map_err(|error| match leftover {
            Leftover::Kill => error,
            Leftover::Wait | Leftover::KillOurs => error.with_hint(
                "its first process is not found: it may have been made in another pid or time namespace, and run. `delete --force` kills \
                 what is in its cgroup",
            ),
        })?;
    }
    host_mounts::remove(record.host_mounts.as_ref())?;
    rdt(record)?.map_or(Ok(()), |rdt| rdt.remove())
}
