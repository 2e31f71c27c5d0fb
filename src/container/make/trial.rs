//! Whether the kernel gives a container its limits, before another one goes for it: they are written to a cgroup beside the one that
//! it will have, and a process begins there. Changes nothing that stays; one that was killed meanwhile is swept up by `delete --force`.
//!
//! Runs in the parent.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Display;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;

use super::planned::PlannedContainer;
use crate::cgroup::{Cgroup, Leftover, Saved, oom_cause};
use crate::error::{Context, Error, Result, Stage};
use crate::plan::cgroup::{CgroupPlan, Devices, files};
use crate::plan::systemd::driver::CgroupDriver;
use crate::sys::clone::{self, CloneArgs, Cloned};
use crate::sys::pidfd::{self, ProcessHandle};
use crate::sys::poll::{self, PollFlags};
use crate::sys::process::{self, Exit};
use crate::sys::{descriptor, fs};

/// What its name ends with, and when that was: several may try at once, each by itself.
const SUFFIX: &str = ".brisk-trial-";
/// How often it is tried where somebody sweeps up between its making and its process.
const TRIES: u32 = 10;
/// What the process writes to, in bytes: less than any takes that is set up or calls execve(2), on pages of 4 KiB.
const WRITTEN: usize = 64 << 10;
/// How long it may take. One that may not be killed for want of memory waits for some.
const PATIENCE: Duration = Duration::from_secs(2);

/// An error where the limits cannot be had.
pub(in crate::container) fn limits(planned: &PlannedContainer, warn: &dyn Fn(&str)) -> Result<()> {
    let Some(plan) = planned.plan.cgroup.as_ref().filter(|_| planned.cgroups == CgroupDriver::Files) else {
        return Ok(());
    };
    let mut trial = plan.clone();
    trial.devices = Devices::Unrestricted;
    // The container that is to go still has its part.
    trial.writes.retain(|write| !files::find(&write.file).is_some_and(|file| file.shared_out));
    if trial.writes.is_empty() {
        return Ok(());
    }
    let mut left = TRIES;
    loop {
        left -= 1;
        match limits_once(trial.clone(), warn) {
            // ENODEV: its files are open, and it is gone.
            Err(error) if left > 0 && matches!(error.root_errno(), Some(Errno::ENOENT | Errno::ENODEV)) => {}
            tried => return tried,
        }
    }
}

fn limits_once(mut trial: CgroupPlan, warn: &dyn Fn(&str)) -> Result<()> {
    let suffix = format!("{SUFFIX}{:016x}", process::monotonic_ns());
    trial.dirs.iter_mut().for_each(|dir| dir.path.push_str(&suffix));
    let mut cgroup = Cgroup::create(&trial)?;
    let begun = begins(&mut cgroup, &trial);
    cgroup.remove(Leftover::Kill).unwrap_or_else(|error| warn(&error.to_string()));
    begun
}

/// Takes away what a command has left that was killed while it tried.
pub(in crate::container) fn sweep(saved: &Saved) {
    // They are made and removed in one order: some are there only where the first is, or the last.
    let ends = [saved.dirs.first(), saved.dirs.last()];
    let mut names: BTreeSet<OsString> = BTreeSet::new();
    names.extend(ends.into_iter().flatten().flat_map(|dir| left(&dir.path)));
    for (dir, name) in saved.dirs.iter().flat_map(|dir| names.iter().map(move |name| (dir, name))) {
        // One that is in use stays.
        let _ = std::fs::remove_dir(dir.path.with_file_name(name));
    }
}

/// The names of those beside a cgroup. What cannot be read has none.
fn left(cgroup: &Path) -> Vec<OsString> {
    let (Some(above), Some(name)) = (cgroup.parent(), cgroup.file_name()) else { return Vec::new() };
    let begins = [name.as_bytes(), SUFFIX.as_bytes()].concat();
    let names = std::fs::read_dir(above).into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.filter(|name| name.as_bytes().starts_with(&begins)).collect()
}

/// An error where no process can begin there.
fn begins(cgroup: &mut Cgroup, plan: &CgroupPlan) -> Result<()> {
    let what = || "try the limits with a process";
    let (reader, writer) = descriptor::pipe().at(Stage::Cgroup, what)?;
    let only_v2 = plan.is_v2_alone();
    let args = CloneArgs { cgroup: cgroup.v2_dir().filter(|_| only_v2), ..CloneArgs::default() };
    let ProcessHandle { pid, pidfd } = match clone::clone3(&args).at(Stage::Cgroup, what)? {
        Cloned::Parent(child) => child,
        Cloned::Child => {
            drop(writer);
            // The only failure is an invalid signal number.
            let _ = process::set_parent_death_signal(libc::SIGKILL);
            let told = fs::read(reader.as_fd(), &mut [0]);
            let mut pages = [1u8; WRITTEN];
            std::hint::black_box(&mut pages);
            process::exit(i32::from(told != Ok(1)));
        }
    };
    drop(reader);
    let joined = if only_v2 { Ok(()) } else { cgroup.attach(pid) };
    // One that is dead has been killed for want of memory already.
    let _ = fs::write_all(writer.as_fd(), &[0]);
    let ended = poll::one(pidfd.as_fd(), PollFlags::POLLIN, poll::within(PATIENCE)).at(Stage::Cgroup, what);
    if !matches!(ended, Ok(true)) {
        // One that has ended meanwhile is waited for below, as who was killed is.
        let _ = pidfd::kill(pidfd.as_fd(), libc::SIGKILL);
    }
    let exit = process::wait(pid, libc::__WALL).at(Stage::Cgroup, what)?;
    joined?;
    match (ended?, exit) {
        (true, Some((_, Exit::Signal(libc::SIGKILL)))) => Err(no_memory(plan)),
        _ => Ok(()),
    }
}

fn no_memory(plan: &CgroupPlan) -> Error {
    let limit = plan.memory_limit();
    let cause = oom_cause(limit.as_ref().map(|(file, bytes)| (*file, bytes as &dyn Display)));
    let field = limit.map(|(file, _)| files::field_of(file)).unwrap_or_default();
    Error::new(Stage::Cgroup, format!("no process can begin with these limits: {cause}")).at_field(field)
}
