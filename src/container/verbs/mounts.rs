//! `mounts add` and `mounts remove`, crun's: mounts of a container that runs.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::path::PathBuf;

use crate::container::lookup::{Container, locked, not_running};
use crate::container::options::Global;
use crate::error::{Context, Deed, Doing, Error, Result, Stage};
use crate::host::Host;
use crate::launch::{self, HookOutput, Launch, Running};
use crate::plan::cgroup::tolerance::Tolerance;
use crate::plan::op::{Enter, Terminal};
use crate::plan::systemd::driver::CgroupDriver;
use crate::plan::verbs;
use crate::plan::{CreateOptions, ExecRefusal, Hold, Keyring, Orphan, OverlaySize, Plan, ProgramStart};
use crate::proc::mountinfo;
use crate::spec::Spec;
use crate::spec::mounts::Mount;
use crate::sys::pidfd::{self, ProcessHandle};
use crate::sys::poll::{self, PollFlags};
use crate::sys::process::{self, Exit};

/// Mounts these in the container.
pub fn add_mounts(global: &Global, id: &str, list: &[Mount]) -> Result<()> {
    let (mut container, _lock) = locked(global, id)?;
    add(global, &mut container, list)
}

/// [`add_mounts`] for whoever has the lock.
pub(in crate::container) fn add(global: &Global, container: &mut Container, list: &[Mount]) -> Result<()> {
    let id = container.record.id.clone();
    let spec = config(container)?;
    let options = CreateOptions {
        id,
        bundle: PathBuf::from(&container.record.bundle),
        enter: Enter::Pivot,
        keyring: Keyring::Inherit,
        start: ProgramStart::Now(ExecRefusal::Error),
        orphan: Orphan::LivesOn,
        preserved_fds: 0,
        cgroups: CgroupDriver::Disabled,
        tolerance: Tolerance::Auto,
        terminal: Terminal::None,
        notify: None,
        joined_own: 0,
        overlay_size: OverlaySize::NotAsked,
        hold: Hold::No,
        oddities: Vec::new(),
    };
    let init = container.record.live_init()?.ok_or_else(not_running)?;
    let plan = verbs::mounts::add(list, &spec, &Host::probe()?, &options, init.pid)?;
    let before = mounted(container)?;
    let done = run(global, container, &plan);
    // Of a list of which a part failed, too. What a container that may mount has mounted itself meanwhile it may also
    // unmount.
    let new = mounted(container)?.into_iter().filter(|mount| !before.contains(mount));
    container.record.added_mounts.extend(new);
    done.and(container.dir.save(&container.record))
}

/// Unmounts what [`add_mounts`] has mounted at these destinations in the container.
pub fn remove_mounts(global: &Global, id: &str, list: &[Mount]) -> Result<()> {
    let (mut container, _lock) = locked(global, id)?;
    remove(global, &mut container, list)
}

/// [`remove_mounts`] for whoever has the lock.
pub(in crate::container) fn remove(global: &Global, container: &mut Container, list: &[Mount]) -> Result<()> {
    let plan = verbs::mounts::remove(list, &config(container)?, &container.record.added_mounts)?;
    let done = run(global, container, &plan);
    let left = mounted(container)?;
    container.record.added_mounts.retain(|mount| left.contains(mount));
    done.and(container.dir.save(&container.record))
}

/// The numbers of the mounts in the container.
fn mounted(container: &Container) -> Result<BTreeSet<u64>> {
    let init = container.record.live_init()?.ok_or_else(not_running)?;
    let what = || format!("read the mounts of process {}", init.pid);
    let table = mountinfo::read(&init.pid.to_string()).at(Stage::Rootfs, what).doing(Deed::ReadMounts, String::new)?;
    let mut numbers = BTreeSet::new();
    numbers.extend(mountinfo::parse(&table).map(|mount| u64::from(mount.id)));
    Ok(numbers)
}

fn config(container: &Container) -> Result<Spec> {
    container.must_run()?;
    container.spec()
}

/// Runs the plan in a process that ends with it.
fn run(global: &Global, container: &Container, plan: &Plan) -> Result<()> {
    let init = container.first_process()?;
    for warning in &plan.warnings {
        (global.warn)(warning);
    }
    let Running { process: ProcessHandle { pid, pidfd }, .. } = launch::launch(Launch {
        plan,
        hook_output: HookOutput::default(),
        warn: global.warn,
        tell: &mut |_| Ok(None),
        streams: [None, None, None],
        console: None,
        fifo: None,
        init: Some(init.pidfd),
        waiting: None,
        cgroup: None,
        trace: None,
        due: None,
    })?;
    let ended = poll::one(pidfd.as_fd(), PollFlags::POLLIN, None).at(Stage::Rootfs, || "wait for the mounts");
    if let Err(error) = ended {
        // ESRCH: it has ended.
        let _ = pidfd::kill(pidfd.as_fd(), libc::SIGKILL);
        return Err(error);
    }
    match process::wait(pid, 0).at(Stage::Rootfs, || "reap the process that mounts")? {
        Some((_, Exit::Code(0))) => Ok(()),
        _ => Err(Error::new(Stage::Rootfs, "the process that mounts was killed")),
    }
}
