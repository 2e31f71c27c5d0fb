//! A container that exists, and the facts about it.
//!
//! Runs in the parent. `select` says which containers a name or an expression means. Here one is found and locked by its name, and what it
//! is, its configuration, its cgroup and its state, are read from what is kept of it.

pub(in crate::container) mod select;

use std::os::fd::{AsFd, OwnedFd};

use serde::Deserialize;

use crate::cgroup::{Cgroup, Saved, SavedDir, rdt::Rdt};
use crate::container::attend::announcement::Announcement;
use crate::container::options::Global;
use crate::error::{Context, Error, Result, Stage};
use crate::spec::status::Status;
use crate::spec::{self, Spec, resources::Resources};
use crate::state::{
    Attendance, CONFIG, Dir, FIFO, Facts, Life, Lock, Outcome, ProcessId, Record, StateRoot, Wait, does_not_exist,
    status,
};
use crate::sys::pidfd::{self, ProcessHandle};
use crate::sys::{fs, process};

/// A container of which there is a record.
#[derive(Debug)]
pub struct Container {
    /// Its directory.
    pub dir: Dir,
    /// Its record.
    pub record: Record,
}

impl Container {
    /// Finds it by name.
    pub fn load(root: &StateRoot, id: &str) -> Result<Container> {
        let dir = Dir::open(root, id)?;
        let record = dir.load()?;
        Ok(Container { dir, record })
    }

    /// Its cgroup; `None` when it has none of its own.
    pub fn cgroup(&self) -> Result<Option<Cgroup>> {
        self.saved_cgroup()?.map(|saved| Cgroup::open(&saved)).transpose()
    }

    /// How many of its processes the kernel has killed for want of memory, where that can be read: whoever deletes it takes the
    /// count away.
    pub(in crate::container) fn oom_kills(&self) -> Option<u64> {
        self.cgroup().ok().flatten()?.oom_kills().ok().flatten()
    }

    /// Where its cgroup is.
    pub fn saved_cgroup(&self) -> Result<Option<Saved>> {
        saved_cgroup(&self.record)
    }

    /// Its resource control group (Intel RDT), where it has one.
    pub fn rdt(&self) -> Result<Option<Rdt>> {
        rdt(&self.record)
    }

    /// What it is right now.
    pub fn status(&self) -> Result<Status> {
        status_of(&self.dir, &self.record)
    }

    /// Tells whoever waits for its first process, before it is done, what another command is about to do to that.
    pub(in crate::container) fn announce(&self, what: impl FnOnce() -> Announcement) -> Result<()> {
        announce(&self.record, what)
    }

    /// [`Container::announce`] for what is done in any case: whoever queues signals to himself may keep us from sending this one
    /// (RLIMIT_SIGPENDING is each user's), and it would be by whose hand the process ended that is not known.
    pub(in crate::container) fn forewarn(&self, global: &Global, what: impl FnOnce() -> Announcement) {
        forewarn(global, &self.record, what);
    }

    /// Keeps with it how it ended, for `state` and whoever waits later. One that cannot be locked,
    /// because it is being changed for longer than `patience` or was deleted meanwhile, needs none.
    pub(in crate::container) fn keep(&self, outcome: &Outcome, patience: Wait) -> Result<()> {
        let Ok(Some(_lock)) = self.dir.lock(patience) else { return Ok(()) };
        let Some(mut record) = self.dir.find_record()? else { return Ok(()) };
        if record.outcome.is_some() || record.init != self.record.init {
            return Ok(());
        }
        record.outcome = Some(outcome.clone());
        self.dir.save(&record)
    }

    /// Its monitor; none where it has none, or no longer.
    pub(in crate::container) fn monitor(&self) -> Result<Option<OwnedFd>> {
        monitor(&self.record)
    }

    /// Its program runs, and it does not wait for `start` any more. What is left to do must not make that a failure: a fifo that
    /// nobody reads means nothing, should it stay.
    pub(in crate::container) fn waits_no_more(&self, global: &Global) {
        if let Err(errno) = fs::unlink(self.dir.fd(), FIFO, 0) {
            (global.warn)(&format!("remove exec.fifo: {errno}"));
        }
    }

    /// Whether it is a template that was not started yet.
    pub fn awaits_program(&self) -> Result<bool> {
        Ok(self.record.template && self.dir.waits_for_start()?)
    }

    /// Refuses a container whose first process has ended. Engines look for the words.
    pub fn must_run(&self) -> Result<Status> {
        match self.status()? {
            Status::Stopped | Status::Creating => Err(not_running()),
            status => Ok(status),
        }
    }

    /// Its first process; refused where that has ended.
    pub(in crate::container) fn first_process(&self) -> Result<ProcessHandle> {
        let init = self.record.init.ok_or_else(not_running)?;
        Ok(ProcessHandle { pid: init.pid, pidfd: init.pidfd()?.ok_or_else(not_running)? })
    }

    /// What it was made of: its config.json, of which the annotations are followed that were followed then.
    pub fn spec(&self) -> Result<Spec> {
        let text =
            self.dir.read(CONFIG)?.ok_or_else(|| Error::new(Stage::State, "the container has no config.json"))?;
        spec_of(&self.record, &text)
    }

    /// Its limits: those of the last update, or else of its config.json.
    pub fn resources(&self) -> Result<Resources> {
        if let Some(resources) = &self.record.resources {
            return Ok(resources.clone());
        }
        #[derive(serde::Deserialize)]
        struct ConfigPart {
            linux: Option<LinuxPart>,
        }
        #[derive(serde::Deserialize)]
        struct LinuxPart {
            resources: Option<Resources>,
        }
        match self.dir.config()? {
            Some(text) => {
                let config: ConfigPart = spec::parse(&text, "config.json")?;
                Ok(config.linux.and_then(|linux| linux.resources).unwrap_or_default())
            }
            None => Ok(Resources::default()),
        }
    }
}

/// A container that nobody else is changing.
pub(in crate::container) fn locked(global: &Global, id: &str) -> Result<(Container, Lock)> {
    let container = Container::load(&global.root, id)?;
    let lock = container.dir.lock(Wait::Forever)?.ok_or_else(|| does_not_exist(&global.root, id))?;
    let record = container.dir.load()?;
    Ok((Container { dir: container.dir, record }, lock))
}

/// [`Container::spec`] of the text of its config.json.
pub(in crate::container) fn spec_of(record: &Record, text: &[u8]) -> Result<Spec> {
    let mut spec: Spec = spec::parse(text, "config.json")?;
    record.trust.apply(&mut spec);
    Ok(spec)
}

/// [`Container::announce`].
fn announce(record: &Record, what: impl FnOnce() -> Announcement) -> Result<()> {
    let Some(creator) = attendant(record, |_| true)? else { return Ok(()) };
    pidfd::announce(creator.as_fd(), what().number())
        .at(Stage::Signal, || "tell whoever waits for the container's process")
        .map(drop)
}

/// [`Container::forewarn`].
pub(in crate::container) fn forewarn(global: &Global, record: &Record, what: impl FnOnce() -> Announcement) {
    announce(record, what).unwrap_or_else(|error| (global.warn)(&error.to_string()));
}

/// [`Container::monitor`].
pub(in crate::container) fn monitor(record: &Record) -> Result<Option<OwnedFd>> {
    attendant(record, |who| who == Attendance::Monitor)
}

fn attendant(record: &Record, wanted: impl Fn(Attendance) -> bool) -> Result<Option<OwnedFd>> {
    let Record { attended, creator, .. } = record;
    // The creator needs not tell itself.
    if !attended.is_some_and(wanted) || creator.pid == process::getpid() || record.life(*creator)? == Life::Gone {
        return Ok(None);
    }
    creator.pidfd()
}

/// The status that follows from the record and what can be observed.
pub(in crate::container) fn status_of(dir: &Dir, record: &Record) -> Result<Status> {
    let mut init = record.init.map(|init| record.life(init)).transpose()?;
    let alive = init == Some(Life::Alive);
    let set_up = alive && dir.is_published()?;
    let waits_for_start = alive && dir.waits_for_start()?;
    // Who made it only matters until it is made, or has ended.
    let creator = if set_up || init == Some(Life::Gone) { Life::Gone } else { record.life(record.creator)? };
    if let (true, false, Life::Gone, Some(first)) = (alive, set_up, creator, record.init) {
        // Its creator has died before it was done, and the kernel kills it for that; it may still be on its way out.
        init = Some(if first.is_leaving()? { Life::Gone } else { Life::Alive });
    }
    let frozen = alive && is_frozen(record)?;
    Ok(status(&Facts { creator, init, set_up, waits_for_start, frozen }))
}

/// Only the hierarchy that can freeze is opened: v1 hosts have a dozen others.
fn is_frozen(record: &Record) -> Result<bool> {
    let Some(mut saved) = saved_cgroup(record)? else { return Ok(false) };
    saved.dirs.retain(SavedDir::may_freeze);
    Cgroup::by_path(&saved)?.frozen()
}

/// Where the cgroup of a record is.
pub(in crate::container) fn saved_cgroup(record: &Record) -> Result<Option<Saved>> {
    if record.cgroup.is_null() {
        return Ok(None);
    }
    let saved = Saved::deserialize(&record.cgroup).at(Stage::State, || "parse the cgroup in state.json")?;
    Ok(Some(saved).filter(|saved| !saved.dirs.is_empty()))
}

/// Where a cgroup is, for the record.
pub(in crate::container) fn cgroup_value(saved: &Saved) -> Result<serde_json::Value> {
    serde_json::to_value(saved).at(Stage::State, || "describe the cgroup")
}

/// A resource control group, for the record.
pub(in crate::container) fn rdt_value(rdt: &Rdt) -> Result<serde_json::Value> {
    serde_json::to_value(rdt).at(Stage::State, || "describe the resctrl group")
}

/// What a record is told of a first process and of what was made for it.
pub(in crate::container) fn note(
    record: &mut Record,
    init: ProcessId,
    cgroup: Option<&Cgroup>,
    rdt: Option<&Rdt>,
) -> Result<()> {
    record.init = Some(init);
    if let Some(cgroup) = cgroup {
        record.cgroup = cgroup_value(&cgroup.saved())?;
    }
    if let Some(rdt) = rdt {
        record.rdt = rdt_value(rdt)?;
    }
    Ok(())
}

/// The resource control group of a record.
pub(in crate::container) fn rdt(record: &Record) -> Result<Option<Rdt>> {
    if record.rdt.is_null() {
        return Ok(None);
    }
    Rdt::deserialize(&record.rdt).map(Some).at(Stage::State, || "parse the resctrl group in state.json")
}

/// The first process has ended, or does not exist yet.
pub fn not_running() -> Error {
    Error::new(Stage::Signal, "container not running")
}
