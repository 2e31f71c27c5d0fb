//! `wait`: how a container's program ended, told to others than its parent.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant, SystemTime};

use nix::poll::PollTimeout;

use super::Container;
use super::foreground::until;
use super::options::Global;
use crate::error::{Context, Error, Result, Stage};
use crate::state::{Outcome, ProcessId, Wait, rfc3339};
use crate::sys::poll;
use crate::sys::process::{self, Exit};

/// How long whoever reaps the process may take: the kernel tells its status only afterwards.
const REAPED: Duration = Duration::from_secs(10);

/// Waits until the container's first process has ended, at most `timeout`; `None`: it runs on. Any number may wait.
///
/// Linux 6.15 and later tell the status of a process to whoever holds a pidfd of it. What was learnt once is kept with the
/// container.
pub fn wait(global: &Global, id: &str, timeout: Option<Duration>) -> Result<Option<Outcome>> {
    let container = Container::load(&global.root, id)?;
    if let Some(outcome) = container.record.outcome {
        return Ok(Some(outcome));
    }
    let Some(pidfd) = container.record.init.map_or(Ok(None), ProcessId::pidfd)? else { return Err(not_known()) };
    if !happens(pidfd.as_fd(), libc::POLLIN, timeout)? {
        return Ok(None);
    }
    // POLLHUP, which is always reported: it was reaped.
    let exit = match happens(pidfd.as_fd(), 0, Some(REAPED))? {
        true => process::pidfd_exit(pidfd.as_fd()).at(Stage::Signal, || "ask how the container's process ended")?,
        false => None,
    };
    let outcome = outcome(exit.ok_or_else(not_known)?);
    keep(&container, &outcome)?;
    Ok(Some(outcome))
}

/// What has just been learnt.
pub(super) fn outcome(exit: Exit) -> Outcome {
    Outcome { exit_status: exit.status(), finished: rfc3339(SystemTime::now()) }
}

/// Keeps it with the container, for `state` and whoever waits later. One that is being changed, or was deleted meanwhile,
/// needs none.
pub(super) fn keep(container: &Container, outcome: &Outcome) -> Result<()> {
    let Ok(Some(_lock)) = container.dir.lock(Wait::No) else { return Ok(()) };
    let Some(mut record) = container.dir.find_record()? else { return Ok(()) };
    if record.outcome.is_some() || record.init != container.record.init {
        return Ok(());
    }
    record.outcome = Some(outcome.clone());
    container.dir.save(&record)
}

fn not_known() -> Error {
    Error::new(Stage::Signal, "the container's process has ended, and how is not known").with_hint(
        "wait for it while it runs (Linux 6.15 or later tells others than its parent), or use `run --result FILE`",
    )
}

fn happens(pidfd: BorrowedFd<'_>, events: i16, timeout: Option<Duration>) -> Result<bool> {
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    loop {
        let wait = deadline.map_or(PollTimeout::NONE, until);
        if poll::one(pidfd, events, wait.into()).at(Stage::Signal, || "wait for the container's process")? != 0 {
            return Ok(true);
        }
        // poll(2) waits for 24 days at most.
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(false);
        }
    }
}
