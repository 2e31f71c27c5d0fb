//! `delete`. Works from every point at which a `create` or an earlier `delete` may have been cut short.

use std::os::fd::AsFd;

use super::options::{Delete, Global};
use super::{Container, select};
use crate::cgroup::Leftover;
use crate::error::{Context, Error, Result, Stage};
use crate::state::{CONFIG, Dir, Life, Record, Status, Wait, does_not_exist};
use crate::sys;

/// Runs the poststop hooks, given the record and the text of config.json.
pub type Poststop<'a> = &'a dyn Fn(&Global, &Record, &[u8]) -> Result<()>;

/// How long a killed process may take to be gone; runc waits as long. One that is stuck in the kernel (a
/// dead NFS server) takes longer.
const PATIENCE_MS: i32 = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Force {
    Yes,
    No,
}

/// Removes containers with everything they hold.
pub fn delete(global: &Global, args: &Delete, poststop: Poststop) -> Result<()> {
    let ids = select::select(&global.root, &args.which)?;
    let force = if args.force { Force::Yes } else { Force::No };
    select::each(&ids, global.warn, |id| one(global, id, force, poststop))
}

fn one(global: &Global, id: &str, force: Force, poststop: Poststop) -> Result<()> {
    let gone = || match force {
        Force::Yes => Ok(()),
        Force::No => Err(does_not_exist()),
    };
    let Some(dir) = Dir::find(&global.root, id)? else { return gone() };
    let dir = allow(global, id, dir, force)?;
    let Some(_lock) = dir.lock(Wait::Forever)? else { return gone() };
    // Read again: what was read without the lock may have changed.
    let record = match dir.find_record() {
        Ok(Some(record)) => record,
        // `create` was cut short before it wrote the record, so it has made nothing else.
        Ok(None) => return dir.remove().and_then(|()| gone()),
        Err(error) if force == Force::Yes => {
            (global.warn)(&format!("delete {id}: {error}: only its state directory is removed"));
            return dir.remove();
        }
        Err(error) => return Err(error),
    };
    let container = Container { dir, record };
    refuse_running(&container, id, force)?;
    end(&container)?;
    let config = if container.record.poststop { container.dir.read(CONFIG)? } else { None };
    container.dir.remove()?;
    if let Some(config) = config
        && let Err(error) = poststop(global, &container.record, &config)
    {
        // The specification: a failed poststop hook is a warning, and the container is deleted all the same.
        (global.warn)(&format!("delete {id}: {error}"));
    }
    Ok(())
}

/// What can be told without the lock, which a `create` that hangs in a hook would hold for ever: without force the
/// container must not run; with force its creator is killed.
fn allow(global: &Global, id: &str, dir: Dir, force: Force) -> Result<Dir> {
    let record = match dir.find_record() {
        Ok(Some(record)) => record,
        Ok(None) | Err(_) => return Ok(dir),
    };
    let container = Container { dir, record };
    refuse_running(&container, id, force)?;
    if container.status()? == Status::Creating {
        (global.warn)(&format!("delete {id}: it is being created: killing process {}", container.record.creator.pid));
        container.record.creator.signal(libc::SIGKILL)?;
    }
    Ok(container.dir)
}

fn refuse_running(container: &Container, id: &str, force: Force) -> Result<()> {
    match container.status()? {
        // A created container may be deleted: engines rely on it, as runc does it.
        Status::Stopped | Status::Created => Ok(()),
        _ if force == Force::Yes => Ok(()),
        status => Err(Error::new(
            Stage::State,
            format!("cannot delete container {id} that is not stopped: {}", status.name()),
        )),
    }
}

/// Kills what is left and removes the cgroup.
fn end(container: &Container) -> Result<()> {
    let cgroup = container.cgroup()?;
    let init = container.record.live_init()?;
    let pidfd = init.map_or(Ok(None), |init| init.pidfd())?;
    if let Some(pidfd) = &pidfd {
        // ESRCH: it has ended meanwhile.
        match sys::process::pidfd_kill(pidfd.as_fd(), libc::SIGKILL) {
            Err(nix::errno::Errno::ESRCH) => {}
            result => result.at(Stage::Signal, || "kill the container's first process")?,
        }
    }
    if let (Some(_), Some(cgroup)) = (&pidfd, &cgroup) {
        // Everybody else too, and thawed: a frozen process of a v1 cgroup does not die.
        cgroup.kill(libc::SIGKILL)?;
    }
    if let (Some(pidfd), Some(init)) = (&pidfd, init) {
        let events = sys::process::poll(pidfd.as_fd(), libc::POLLIN, PATIENCE_MS)
            .at(Stage::Signal, || "wait for the container's first process to end")?;
        if events == 0 && container.record.life(init)? == Life::Alive {
            return Err(Error::new(Stage::Signal, format!("container init still running: process {}", init.pid))
                .with_hint("a process in state D is waiting for a device or a network file system"));
        }
    }
    match cgroup {
        Some(cgroup) => cgroup.remove(Leftover::Kill),
        None => Ok(()),
    }
}
