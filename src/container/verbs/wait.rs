//! `wait`: how a container's program ended, told to others than its parent.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use crate::container::job;
use crate::container::lookup::Container;
use crate::container::options::Global;
use crate::error::{Context, Error, Result, Stage};
use crate::state::{Outcome, ProcessId, Record, Wait};
use crate::sys::pidfd::{self, ToldExit};
use crate::sys::poll::{self, PollFlags};

/// How long whoever reaps the process may take: the kernel tells its status only afterwards.
const REAPED: Duration = Duration::from_secs(10);

/// Waits until the container's first process has ended, at most `timeout`; `None`: it runs on. Any number may wait.
///
/// A monitor knows the status, keeps it with the container, and ends. Where there is none, Linux 6.15 and later tell it to
/// whoever holds a pidfd of the process. What was learnt once is kept.
pub fn wait(global: &Global, id: &str, timeout: Option<Duration>) -> Result<Option<Outcome>> {
    let container = Container::load(&global.root, id)?;
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    // One that has ended as well, as long as it can tell how.
    let init = container.record.init;
    let pidfd = init.map_or(Ok(None), ProcessId::pidfd_until_reaped)?;
    if let (Some(init), Some(pidfd)) = (init, &pidfd)
        && !init.ends(pidfd.as_fd(), deadline)?
    {
        return Ok(None);
    }
    let patience = deadline.unwrap_or_else(|| Instant::now() + REAPED);
    // The monitor keeps the status first, then writes the result, then ends: whoever is told of the end may read it.
    if let Some(monitor) = container.monitor()?
        && !happens(monitor.as_fd(), PollFlags::POLLIN, Some(patience))?
        && deadline == Some(patience)
    {
        return Ok(None);
    }
    let kept = match &container.record {
        Record { outcome: None, attended: Some(_), .. } => {
            container.dir.find_record()?.and_then(|record| record.outcome)
        }
        record => record.outcome.clone(),
    };
    if kept.is_some() {
        return Ok(kept);
    }
    let pidfd = pidfd.ok_or_else(not_known)?;
    let ask = || pidfd::exit(pidfd.as_fd()).at(Stage::Signal, || "ask how the container's process ended");
    let mut told = ask()?;
    if told == ToldExit::NotYet {
        // POLLHUP, which is always reported: it was reaped.
        let reaped = happens(pidfd.as_fd(), PollFlags::empty(), Some(patience))?;
        if !reaped && deadline == Some(patience) {
            return Ok(None);
        }
        told = ask()?;
    }
    let ToldExit::Known(exit) = told else { return Err(not_known()) };
    // One whose program has not begun still has the fifo: `start` takes that away. Nobody has heard who sent the signal.
    let exit = if container.dir.has_fifo()? { exit.of_parked() } else { exit };
    let outcome = job::outcome(exit, container.oom_kills());
    // The status is known, whoever else will be told of it.
    container.keep(&outcome, Wait::No).unwrap_or_else(|error| (global.warn)(&error.to_string()));
    Ok(Some(outcome))
}

fn not_known() -> Error {
    Error::new(Stage::Signal, "the container's process has ended, and how is not known").with_hint(
        "wait for it while it runs (Linux 6.15 or later tells others than its parent), or use `--result FILE`",
    )
}

fn happens(pidfd: BorrowedFd<'_>, events: PollFlags, deadline: Option<Instant>) -> Result<bool> {
    poll::one(pidfd, events, deadline).at(Stage::Signal, || "wait for the container's process")
}
