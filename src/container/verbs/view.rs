//! `state` and `list`.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use serde::Serialize;

use crate::container::lookup::Container;
use crate::container::options::Global;
use crate::error::{Context, Error, Result, Stage};
use crate::proc::passwd::Users;
use crate::spec::status::Status;
use crate::state::{Attendance, Dir, Outcome};
use crate::sys::errno::is_shortage;
use crate::sys::poll::{self, PollFlags};

/// How long the monitor of a container that has ended is waited for.
const MOMENT: Duration = Duration::from_millis(200);

/// A container as `state` and `list` show it: the fields of the specification and runc's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    /// The bundle's ociVersion.
    pub oci_version: String,
    /// Its name.
    pub id: String,
    /// Its first process; 0 when it has ended.
    pub pid: i32,
    /// The word of [`Status`].
    pub status: &'static str,
    /// Absolute path of the bundle.
    pub bundle: String,
    /// Absolute path of the root file system.
    pub rootfs: String,
    /// When it was created, RFC 3339.
    pub created: String,
    /// Its exit status, when it has ended and somebody has learnt it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_status: Option<i32>,
    /// When that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished: Option<String>,
    /// Why it has ended; `unknown` where nobody has learnt it, none while somebody is about to tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The bundle's annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Name of the user it belongs to, or `#` and the number.
    pub owner: String,
}

/// Shows one container.
pub fn state(global: &Global, id: &str) -> Result<View> {
    view(&Container::load(&global.root, id)?, &users())
}

/// What could be shown, and an error where the system kept something from us, as it does where too much is open. What is wrong in the
/// state of a container, or another runtime's, is a warning and nothing more, as with runc.
pub type Listed<T> = (Vec<T>, Result<()>);

/// Shows all containers. One that went away meanwhile is nothing.
pub fn list(global: &Global) -> Result<Listed<View>> {
    let users = users();
    each_of_all(global, |container| view(&container, &users))
}

/// The names of all containers. A directory without a record is none, as for runc.
pub fn names(global: &Global) -> Result<Listed<String>> {
    each_of_all(global, |container| Ok(container.record.id))
}

fn each_of_all<T>(global: &Global, shown: impl Fn(Container) -> Result<T>) -> Result<Listed<T>> {
    let (mut all, mut kept_from_us) = (Vec::new(), Ok(()));
    for id in global.root.ids()? {
        match record_of(global, &id).and_then(|found| found.map(&shown).transpose()) {
            Ok(found) => all.extend(found),
            Err(error) if is_kept_from_us(&error) && kept_from_us.is_ok() => {
                kept_from_us = Err(error).at(Stage::State, || format!("{id} cannot be read"));
            }
            Err(error) => (global.warn)(&format!("list {id}: {error}")),
        }
    }
    Ok((all, kept_from_us))
}

/// Whether it says nothing of the container: we have too little of something, or may not look.
fn is_kept_from_us(error: &Error) -> bool {
    error.root_errno().is_some_and(|errno| is_shortage(errno) || matches!(errno, Errno::EACCES | Errno::EPERM))
}

/// `None` for a directory without a record: `create` has just begun, or `delete` is about to end.
fn record_of(global: &Global, id: &str) -> Result<Option<Container>> {
    let Some(dir) = Dir::find(&global.root, id)? else { return Ok(None) };
    let Some(record) = dir.find_record()? else { return Ok(None) };
    if record.id != id {
        return Err(Error::new(Stage::State, format!("state.json is that of another container: {:?}", record.id)));
    }
    Ok(Some(Container { dir, record }))
}

fn view(container: &Container, users: &Users) -> Result<View> {
    let status = container.status()?;
    let record = &container.record;
    let kept = match &record.outcome {
        None if status == Status::Stopped && record.attended == Some(Attendance::Monitor) => outcome_soon(container)?,
        outcome => Kept::of(outcome.clone()),
    };
    let outcome = match &kept {
        Kept::Outcome(outcome) => Some(outcome),
        Kept::Nothing | Kept::NotYet => None,
    };
    Ok(View {
        oci_version: record.oci_version.clone(),
        id: record.id.clone(),
        pid: if status == Status::Stopped { 0 } else { record.init.map_or(0, |init| init.pid) },
        status: status.name(),
        bundle: record.bundle.clone(),
        rootfs: record.rootfs.clone(),
        created: record.created.clone(),
        exit_status: outcome.map(|outcome| outcome.exit_status),
        finished: outcome.map(|outcome| outcome.finished.clone()),
        reason: match &kept {
            _ if status != Status::Stopped => None,
            Kept::Outcome(outcome) => Some(outcome.reason.clone()),
            Kept::NotYet => None,
            Kept::Nothing => Some("unknown".to_owned()),
        },
        annotations: record.annotations.clone(),
        owner: owner(users, container.dir.owner()?),
    })
}

/// What is kept of a container's end.
enum Kept {
    Outcome(Outcome),
    Nothing,
    /// Its monitor, which lives, is about to.
    NotYet,
}

impl Kept {
    fn of(outcome: Option<Outcome>) -> Kept {
        outcome.map_or(Kept::Nothing, Kept::Outcome)
    }
}

/// The container has ended, and whoever reads its figures needs a moment more; one that is stopped, or passes on what the program
/// wrote to somebody who does not read it, needs longer than anybody waits for an answer.
fn outcome_soon(container: &Container) -> Result<Kept> {
    let lives = match container.monitor()? {
        None => false,
        Some(monitor) => {
            let what = || "wait for the container's monitor";
            !poll::one(monitor.as_fd(), PollFlags::POLLIN, poll::within(MOMENT)).at(Stage::Signal, what)?
        }
    };
    let outcome = container.dir.find_record()?.and_then(|record| record.outcome);
    Ok(if lives && outcome.is_none() { Kept::NotYet } else { Kept::of(outcome) })
}

/// Without names users have numbers.
fn users() -> Users {
    Users::of_host().unwrap_or_default()
}

fn owner(users: &Users, uid: u32) -> String {
    users.name(uid).map_or_else(|| format!("#{uid}"), str::to_owned)
}
