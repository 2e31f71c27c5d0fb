//! `events`: statistics at intervals and out-of-memory events as they happen.

use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cgroup::rdt::Rdt;
use crate::cgroup::stats::Stats;
use crate::cgroup::{Cgroup, OomWatch};
use crate::container::lookup::{Container, not_running};
use crate::container::options::Global;
use crate::error::{Context, Result, Stage};
use crate::spec::status::Status;
use crate::state::Life;
use crate::sys::poll::{self, PollFd, PollFlags};

/// One line of `events`, as runc writes it.
#[derive(Debug, Serialize)]
pub struct Event {
    /// `stats` or `oom`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The container's name.
    pub id: String,
    /// The statistics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Stats>,
}

/// The statistics now; of a container that has ended as long as its cgroup is there.
pub fn stats(global: &Global, id: &str) -> Result<Event> {
    let container = Container::load(&global.root, id)?;
    let status = container.status()?;
    let cgroup = cgroup(&container)?;
    match status {
        Status::Creating => return Err(not_running()),
        Status::Stopped if cgroup.is_empty() => return Err(not_running()),
        Status::Stopped | Status::Created | Status::Running | Status::Paused => {}
    }
    measured(id, &cgroup, container.rdt()?.as_ref())
}

/// Hands every event to `emit` until the container ends, or nobody wants more: whoever reads `output` is gone.
pub fn events(
    global: &Global,
    id: &str,
    interval: Duration,
    output: BorrowedFd<'_>,
    emit: &mut dyn FnMut(&Event) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let container = Container::load(&global.root, id)?;
    container.must_run()?;
    let cgroup = cgroup(&container)?;
    let rdt = container.rdt()?;
    let init = container.record.init.ok_or_else(not_running)?;
    let pidfd = init.pidfd()?.ok_or_else(not_running)?;
    let mut watch = cgroup.oom_watch()?;
    if watch.is_none() {
        (global.warn)(&format!("events {id}: no memory controller, so nobody tells when memory runs out"));
    }
    let mut next = Instant::now() + interval;
    loop {
        let (told, unread) = {
            // An end that is gone is told of without being asked for.
            let mut fds = vec![PollFd::new(pidfd.as_fd(), PollFlags::POLLIN), PollFd::new(output, PollFlags::empty())];
            fds.extend(watch.iter().map(|watch| PollFd::new(watch.as_fd(), PollFlags::POLLIN)));
            let again = watch.as_ref().and_then(OomWatch::look_again).map(|soon| Instant::now() + soon);
            poll::undisturbed(&mut fds, Some(again.map_or(next, |again| again.min(next))))
                .at(Stage::Cgroup, || "wait for events")?;
            (fds[0].any() == Some(true), fds[1].any() == Some(true))
        };
        if unread {
            return Ok(());
        }
        // The last time after the end: what killed the container was counted before it died.
        if let Some(watch) = &mut watch {
            for _ in 0..watch.drain()? {
                if emit(&Event { kind: "oom", id: id.to_owned(), data: None })?.is_break() {
                    return Ok(());
                }
            }
        }
        if told {
            return Ok(());
        }
        if Instant::now() >= next {
            // Whoever traces a thread of it keeps its pidfd from telling.
            if init.life()? == Life::Gone {
                return Ok(());
            }
            if emit(&measured(id, &cgroup, rdt.as_ref())?)?.is_break() {
                return Ok(());
            }
            next += interval;
        }
    }
}

fn measured(id: &str, cgroup: &Cgroup, rdt: Option<&Rdt>) -> Result<Event> {
    let mut stats = cgroup.stats()?;
    if let Some(rdt) = rdt {
        stats.intel_rdt = rdt.stats()?;
    }
    Ok(Event { kind: "stats", id: id.to_owned(), data: Some(stats) })
}

/// An ordinary user's container may have none: nothing is measured there, and the numbers are 0, as with runc.
fn cgroup(container: &Container) -> Result<Cgroup> {
    Ok(container.cgroup()?.unwrap_or_default())
}
