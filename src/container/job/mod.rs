//! What a judge, a CI or a script needs around a program: limits on its time and output, and one answer to how it ended and
//! what it used. Nothing here runs unless it was asked for.
//!
//! A `Task` has a `Watch` of the limits (`attend::watch`), which has no thread and no timer, only a time until which whoever stays
//! with the program may wait: while it is set up (`begin_set_up`, where that is not ours alone), and from `take_charge` on while it
//! runs. `report` gathers the figures while the cgroup is there, and tells them when all is over; `forbidden` finds the call that a
//! filter has killed it for. Of a program in the background a `monitor` does all of it.

mod forbidden;
pub(super) mod monitor;
mod report;

pub(super) use monitor::needs_stack;
pub use report::{FAILURE, JobResult, PoolUse};

use std::time::Duration;

use monitor::{KeptStreams, Monitor, Role};
use report::Report;

use crate::cgroup::{Cgroup, Totals};
use crate::container::attend;
use crate::container::attend::attended::Attended;
use crate::container::attend::ended::Ended;
use crate::container::attend::watch::{self, ProgramCgroup, Watch, WatchMeanwhile, WatchedProgram};
use crate::container::caller::streams::Relay;
use crate::container::lookup::Container;
use crate::container::options::{Create, Global, Job};
use crate::error::{Context, Error, Result, Stage};
use crate::launch::{Meanwhile, Moment, Running, TellAgain, UpperLayer};
use crate::plan::{Hold, Orphan};
use crate::state::{Attendance, Dir, Outcome, Wait};
use crate::sys::interrupt;
use crate::sys::process::Exit;

/// How long another command may change a container whose end is to be kept with it.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a command that may wait for its program was asked.
pub(super) struct JobRequest<'a> {
    /// The container's name.
    pub id: &'a str,
    /// Limits, and who learns the result.
    pub job: &'a Job,
    /// Whether it does not wait: a monitor does it then.
    pub detach: bool,
    /// How many descriptors from 3 on are the container's.
    pub preserved: u32,
}

impl<'a> JobRequest<'a> {
    /// Of a command that makes a container and does not wait.
    pub(super) fn in_background(global: &Global, args: &'a Create) -> JobRequest<'a> {
        let preserved = global.environment.preserved(args.preserve_fds);
        JobRequest { id: &args.id, job: &args.job, detach: true, preserved }
    }
}

/// A job that is being done.
pub(super) struct Task<'a> {
    job: &'a Job,
    watch: Watch,
    report: Report,
    who: Attendant,
    /// How many processes of the container had been killed for want of memory by then.
    oom_kills: Option<u64>,
}

/// Who does it.
enum Attendant {
    /// The command that was called.
    Foreground,
    /// A process that the command waits for.
    Monitor(Monitor),
    /// One on its own.
    Released,
}

/// When the program begins that is taken charge of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begins {
    Now,
    /// With `start`.
    Later,
}

impl Task<'_> {
    /// The program is set up and waits to be let go: its time counts from here, and so does a cgroup that is the container's.
    /// A monitor is on its own from now on: from its first instruction the program has somebody who looks after it. When to be
    /// told of it though it does not run yet.
    pub(super) fn take_charge(&mut self, begins: Begins, cgroup: ProgramCgroup<&Cgroup>) -> Result<TellAgain> {
        match cgroup {
            ProgramCgroup::Own(cgroup) if self.job.cpu_time.is_some() => {
                cgroup.map(Cgroup::cpu_ns).transpose()?.flatten().ok_or_else(nothing_counts)?;
            }
            ProgramCgroup::Own(_) => {}
            // What cannot be known is null.
            ProgramCgroup::Containers(shared) => {
                self.oom_kills = shared.and_then(|cgroup| cgroup.oom_kills().ok().flatten());
            }
        }
        if let Attendant::Monitor(monitor) = &self.who {
            // From here on signals are the program's. One that has come before was for us, whatever we were just doing.
            interrupt::look().at(Stage::Signal, || "take charge of the program")?;
            monitor.stand_alone()?;
        }
        if begins == Begins::Now {
            self.watch.begin();
        }
        Ok(self.watch.next_meanwhile())
    }

    /// What a launch has to tell of the program of a job; when to be told again.
    pub(in crate::container) fn told<'r>(
        &mut self,
        moment: Moment<'r>,
        begins: Begins,
        program: impl Fn(&'r Running) -> WatchedProgram<'r>,
        warn: &dyn Fn(&str),
    ) -> Result<TellAgain> {
        match moment {
            Moment::Held(running) => self.take_charge(begins, program(running).cgroup),
            Moment::Due(running) => self.look(program(running), warn),
            Moment::Planned | Moment::Cloned(_) | Moment::Ready(_) => Ok(None),
        }
    }

    /// Looks after the program, which does not run yet; when to look again. An error when it was killed, and somebody keeps it from
    /// its end.
    pub(in crate::container) fn look(&mut self, program: WatchedProgram<'_>, warn: &dyn Fn(&str)) -> Result<TellAgain> {
        let mut meanwhile = self.meanwhile(program, warn);
        meanwhile.look();
        let next = meanwhile.next();
        if self.watch.is_given_up() {
            let pid = program.process.pid;
            return Err(Error::new(Stage::Signal, format!("process {pid} was killed, and has not ended")));
        }
        Ok(next)
    }

    /// The program that was let go runs indeed.
    pub(super) fn started(&mut self) {
        if let Some(started) = self.watch.started() {
            self.report.started(started.elapsed());
        }
    }

    /// The program is set up from now on, which may take no longer than it may itself; when to look after it.
    pub(super) fn begin_set_up(&mut self) -> TellAgain {
        self.watch.begin_set_up();
        self.watch.next_meanwhile()
    }

    /// Who is the parent of what is set up asks it to end, instead of killing it and leaving the process to a freezer.
    pub(super) fn ends_with_command_in_order(&self) -> Result<()> {
        if let Attendant::Monitor(monitor) = &self.who { monitor.end_with_command() } else { Ok(()) }
    }

    /// [`Self::begin_set_up`] has come to its end, and the program runs.
    pub(super) fn launched(&mut self) {
        self.watch.launched();
        self.started();
    }

    /// Of a program that was ended while it was set up.
    pub(super) fn ended_before_it_began(&self) -> Option<Ended> {
        self.watch.ended_before_it_began()
    }

    /// Looks after the program while something else is waited for.
    pub(super) fn meanwhile<'a>(
        &'a mut self,
        program: WatchedProgram<'a>,
        warn: &'a dyn Fn(&str),
    ) -> WatchMeanwhile<'a> {
        WatchMeanwhile { watch: &mut self.watch, program, warn }
    }

    /// What a pool has done for it, for its result.
    pub(super) fn of_pool(&mut self, used: PoolUse) {
        self.report.pool = Some(used);
    }

    /// Who waits for the program, for the container's record.
    pub(super) fn attendance(&self) -> Attendance {
        self.watch.attendance()
    }

    /// What is kept with the container; nothing of one that is being deleted.
    pub(super) fn outcome(&self, ended: &Ended) -> Option<Outcome> {
        (!self.watch.is_deleted()).then(|| self.report.outcome(ended))
    }

    /// The end of a monitor's work: the container keeps how it ended. One that failed before the caller was told that all is
    /// well goes; after that it is the caller's, whatever became of us. How it ended stands, although it could not be kept.
    pub(super) fn settle(
        &self,
        global: &Global,
        container: &Container,
        ended: Result<Option<Ended>>,
        remove: impl FnOnce(&Dir) -> Result<()>,
    ) -> Result<Option<Ended>> {
        let kept = match &ended {
            Ok(Some(ended)) => {
                let outcome = self.outcome(ended);
                outcome.map_or(Ok(()), |outcome| container.keep(&outcome, Wait::Within(PATIENCE)))
            }
            Err(_) if !matches!(self.who, Attendant::Released) => remove(&container.dir),
            Ok(None) | Err(_) => Ok(()),
        };
        kept.unwrap_or_else(|failure| (global.warn)(&failure.to_string()));
        ended
    }
}

impl Attendant {
    /// The program runs, or waits for `start`: the command that was called may end.
    fn release(&mut self, job: &Job) -> Result<()> {
        match std::mem::replace(self, Attendant::Released) {
            Attendant::Monitor(monitor) => {
                monitor.release(if job.output_limit.is_some() { KeptStreams::Outputs } else { KeptStreams::None })
            }
            who => {
                *self = who;
                Ok(())
            }
        }
    }
}

/// Does the work of a command, which says how the program ended (nothing of one in the background); the exit status.
pub(super) fn run(
    global: &Global,
    request: &JobRequest<'_>,
    work: impl FnOnce(Option<&mut Task<'_>>) -> Result<Option<Ended>>,
) -> Result<u8> {
    let JobRequest { id, job, detach, preserved } = *request;
    let Job {
        die_with_parent,
        // `Watch::new`.
        timeout: _,
        cpu_time: _,
        output_limit: _,
        grace: _,
        // `Report::begin`, `Report::tell`.
        result: _,
        exit_codes: _,
    } = job;
    if hold(job) == Hold::No {
        return Ok(work(None)?.map_or(0, |ended| ended.status()));
    }
    let report = Report::begin(id, job, preserved)?;
    if detach {
        // The command and its monitor: one that a signal's own action ends takes the other along, and nobody tells the result.
        interrupt::listen();
    }
    let parent = die_with_parent.then(watch::parent).transpose();
    let begun = parent.and_then(|parent| Ok((parent, detach.then(Monitor::begin).transpose()?)));
    let (parent, who) = match begun {
        Ok((parent, None)) => (parent, Attendant::Foreground),
        Ok((parent, Some(Role::Monitor(monitor)))) => {
            monitor.die_with_command()?;
            (parent, Attendant::Monitor(monitor))
        }
        // What becomes of the program is the monitor's to tell.
        Ok((_, Some(Role::Command(follower)))) => return follower.follow(),
        Err(error) => return report.tell(global, Err(error)),
    };
    let attendance = if detach { Attendance::Monitor } else { Attendance::Foreground };
    let watch = Watch::new(job, parent, attendance);
    let mut task = Task { job, watch, report, who, oom_kills: None };
    let done = work(Some(&mut task));
    let done = done.and_then(|ended| ended.ok_or_else(|| Error::new(Stage::Signal, "nobody waited for the program")));
    task.report.tell(global, done)
}

/// Stays with the program of a command up to its end; what it used goes into the result.
pub(in crate::container) fn to_end(
    program: Attended,
    task: Option<&mut Task<'_>>,
    cgroup: ProgramCgroup<Cgroup>,
    overlay: Option<UpperLayer>,
) -> Result<Ended> {
    let Some(task) = task else { return attend::to_end(program) };
    let (pid, warn) = (program.process.pid, program.warn);
    let (who, job) = (&mut task.who, task.job);
    let ended = attend::to_end_within(program, Some(&mut task.watch), cgroup.as_ref(), &mut || who.release(job))?;
    // Of one that `start` has let go it is known now.
    task.started();
    task.report.finished(task.watch.ended_ago());
    if task.job.result.is_some() && ended.exit == Exit::Signal(libc::SIGSYS) {
        task.report.find_forbidden(pid);
    }
    // Whoever deletes the container has not waited for ever: what it used is not known then, how it ended is.
    fn known<T: Default>(told: Result<T>, warn: &dyn Fn(&str)) -> T {
        told.unwrap_or_else(|error| {
            warn(&error.to_string());
            T::default()
        })
    }
    let totals = match cgroup {
        ProgramCgroup::Own(Some(cgroup)) => known(cgroup.totals(), warn),
        ProgramCgroup::Containers(Some(cgroup)) => {
            let now = known(cgroup.oom_kills(), warn);
            let oom_kills = now.zip(task.oom_kills).map(|(now, before)| now.saturating_sub(before));
            Totals { oom_kills, ..Totals::default() }
        }
        ProgramCgroup::Own(None) | ProgramCgroup::Containers(None) => Totals::default(),
    };
    task.report.used(totals, overlay.and_then(|overlay| overlay.size()));
    Ok(ended)
}

/// Whether that is a job, whose program waits until somebody looks after it.
pub(super) fn hold(job: &Job) -> Hold {
    if *job == Job::default() { Hold::No } else { Hold::Yes }
}

/// What becomes of it when whoever waits for it dies.
pub(super) fn orphan(job: &Job) -> Orphan {
    if job.die_with_parent { Orphan::Dies } else { Orphan::LivesOn }
}

/// Why `--cpu-time` cannot be had.
pub(super) fn nothing_counts() -> Error {
    Error::new(Stage::Cgroup, "--cpu-time: nothing counts the CPU time of the container")
        .with_hint("it needs a cgroup of its own (cgroup v2 or cpuacct)")
}

/// How a program ended that nobody has watched, as its container keeps it.
pub(super) fn outcome(exit: Exit, oom_kills: Option<u64>) -> Outcome {
    report::outcome(&Ended { exit, usage: None, cause: None, output: None }, oom_kills)
}

/// Which of the caller's streams a job lets through us.
pub(super) fn relay(job: &Job) -> Relay {
    if job.output_limit.is_some() { Relay::Outputs } else { Relay::Needed }
}
