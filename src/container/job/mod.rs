//! What a judge, a CI or a script needs around a foreground program: limits on its time and output, and one answer to
//! how it ended and what it used. Nothing here runs unless it was asked for.
//!
//! `watch` ends the program when a limit is reached; it has no thread and no timer, only a time until which `foreground`
//! may wait. `report` gathers the figures while the cgroup is there, and tells them when all is over.

pub(super) mod ended;
mod forbidden;
mod report;
pub(super) mod watch;

pub use report::{Ending, FAILURE, JobResult};

use std::os::fd::OwnedFd;
use std::time::Instant;

use ended::Ended;
use report::Report;
use watch::Watch;

use super::foreground::{self, Foreground};
use super::options::{Global, Job};
use super::streams::Relay;
use crate::cgroup::{Cgroup, Totals};
use crate::error::{Error, Result, Stage};
use crate::sys::process::Exit;

/// What a command that may wait for its program was asked.
pub(super) struct JobRequest<'a> {
    /// The container's name.
    pub id: &'a str,
    /// Limits, and who learns the result.
    pub job: &'a Job,
    /// `--die-with-parent`.
    pub die_with_parent: bool,
    /// Whether it does not wait.
    pub detach: bool,
    /// How many descriptors from 3 on are the container's.
    pub preserved: u32,
}

/// A job that is being done.
pub(super) struct Task<'a> {
    job: &'a Job,
    parent: Option<OwnedFd>,
    report: Report,
    /// When the program was started.
    started: Option<Instant>,
    /// How many processes of the container had been killed for want of memory by then.
    oom_kills: Option<u64>,
}

/// Whose cgroup the program is in.
pub(super) enum ProgramCgroup {
    /// Its own, which ends with it.
    Own(Option<Cgroup>),
    /// The container's, which goes on.
    Containers(Option<Cgroup>),
}

impl Task<'_> {
    /// The program runs. A cgroup that is the container's counts from here.
    pub(super) fn started(&mut self, shared: Option<&Cgroup>) -> Result<()> {
        self.started = Some(Instant::now());
        self.report.started();
        self.oom_kills = shared.map(Cgroup::oom_kills).transpose()?.flatten();
        Ok(())
    }
}

/// Does the work of a command, which says how the program ended (nothing of one in the background); the exit status.
pub(super) fn run(
    global: &Global,
    request: &JobRequest<'_>,
    work: impl FnOnce(Option<&mut Task<'_>>) -> Result<Option<Ended>>,
) -> Result<u8> {
    if *request.job == Job::default() && !request.die_with_parent {
        return Ok(work(None)?.map_or(0, |ended| ended.status()));
    }
    if request.detach {
        let what = "the result and the limits of a job need somebody who waits: not with --detach";
        return Err(
            Error::new(Stage::Args, what).with_hint("leave --detach out, and let the shell do it: `brisk run … &`")
        );
    }
    let mut task = Task {
        job: request.job,
        parent: request.die_with_parent.then(watch::parent).transpose()?,
        report: Report::begin(request.id, request.job, request.preserved)?,
        started: None,
        oom_kills: None,
    };
    let done = work(Some(&mut task));
    let done = done.and_then(|ended| ended.ok_or_else(|| Error::new(Stage::Signal, "nobody waited for the program")));
    task.report.tell(global, done)
}

/// Waits for the program of a command.
pub(super) fn attend(program: Foreground, task: Option<&mut Task<'_>>, cgroup: ProgramCgroup) -> Result<Ended> {
    let Some(task) = task else { return foreground::attend(program, None) };
    let (own, shared) = match cgroup {
        ProgramCgroup::Own(cgroup) => (cgroup, None),
        ProgramCgroup::Containers(cgroup) => (None, cgroup),
    };
    let started = task.started.unwrap_or_else(Instant::now);
    let mut watch = Watch::new(task.job, started, task.parent.take(), own)?;
    let pid = program.pid;
    let ended = foreground::attend(program, Some(&mut watch))?;
    task.report.finished(watch.ended_ago());
    if task.job.result.is_some() && ended.exit == Exit::Signal(libc::SIGSYS) {
        task.report.find_forbidden(pid);
    }
    let totals = match (watch.cgroup(), shared) {
        (Some(cgroup), _) => cgroup.totals()?,
        (None, Some(cgroup)) => {
            let now = cgroup.oom_kills()?;
            let oom_kills = now.zip(task.oom_kills).map(|(now, before)| now.saturating_sub(before));
            Totals { oom_kills, ..Totals::default() }
        }
        (None, None) => Totals::default(),
    };
    task.report.used(totals);
    Ok(ended)
}

/// Which of the caller's streams a job lets through us.
pub(super) fn relay(job: &Job) -> Relay {
    if job.output_limit.is_some() { Relay::Outputs } else { Relay::Needed }
}
