//! How a program ended and what it used, as one JSON object (docs/job-result.schema.json).

use std::os::fd::AsFd;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use serde::Serialize;

use super::forbidden;
use crate::cgroup::Totals;
use crate::container::attend::ended::{Ended, Ending};
use crate::container::caller::streams::FLUSH;
use crate::container::options::{Global, Job, ResultTo};
use crate::container::signal;
use crate::error::{Context, Error, Result, Stage};
use crate::launch::OverlayUse;
use crate::state::{Outcome, rfc3339};
use crate::sys::descriptor;
use crate::sys::destination::Destination;
use crate::sys::process::{ChildUsage, Exit, monotonic_ns};

/// The version of the format. A new field is no new version.
const VERSION: u32 = 1;

/// The exit statuses of `--exit-codes`; a program's own stays what it is.
mod status {
    pub const OOM: u8 = 120;
    pub const OUTPUT_LIMIT: u8 = 121;
    pub const SECCOMP: u8 = 122;
    pub const CPU_LIMIT: u8 = 123;
    pub const TIMEOUT: u8 = 124;
    pub const RUNTIME: u8 = 125;
}

/// The result of a job. What cannot be known is null.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "docs/job-result.schema.json describes every field")]
pub struct JobResult {
    pub version: u32,
    pub id: String,
    pub ended: Ending,
    pub exit_code: Option<i32>,
    pub signal: Option<String>,
    pub forbidden_call: Option<String>,
    pub error: Option<Failure>,
    pub requested: String,
    pub started: Option<String>,
    pub finished: String,
    pub requested_monotonic_ns: u64,
    pub started_monotonic_ns: Option<u64>,
    pub finished_monotonic_ns: u64,
    pub wall_ns: Option<u64>,
    pub cpu: CpuUse,
    pub memory: MemoryUse,
    pub pids: PidsUse,
    pub io: Io,
    pub overlay: OverlayFigures,
    pub output_bytes: Option<u64>,
    pub limits_hit: Vec<&'static str>,
    pub pool: Option<PoolUse>,
}

/// What a pool has done for it.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "docs/job-result.schema.json describes every field")]
pub struct PoolUse {
    pub name: String,
    pub claimed: bool,
    pub reason: Option<&'static str>,
}

/// What went wrong before the program ran.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    pub stage: &'static str,
    pub message: String,
    pub errno: Option<String>,
    pub hint: Option<String>,
}

/// CPU time.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CpuUse {
    pub total_ns: Option<u64>,
    pub user_ns: Option<u64>,
    pub system_ns: Option<u64>,
    pub throttled_ns: Option<u64>,
    pub throttled_periods: Option<u64>,
}

/// Memory.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MemoryUse {
    pub peak_bytes: Option<u64>,
    pub largest_process_bytes: Option<u64>,
    pub swap_peak_bytes: Option<u64>,
    pub limit_hits: Option<u64>,
    pub oom_kills: Option<u64>,
}

/// Tasks.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PidsUse {
    pub peak: Option<u64>,
    pub limit_hits: Option<u64>,
}

/// Block devices.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Io {
    pub read_bytes: Option<u64>,
    pub written_bytes: Option<u64>,
}

/// The upper layer of the overlay.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OverlayFigures {
    pub bytes: Option<u64>,
    pub inodes: Option<u64>,
}

/// A moment, by both clocks: the one that people read, and the one that never jumps.
#[derive(Clone, Copy, Debug)]
struct Timestamp {
    wall: SystemTime,
    monotonic: u64,
}

impl Timestamp {
    fn now() -> Timestamp {
        Timestamp { wall: SystemTime::now(), monotonic: monotonic_ns() }
    }

    fn before(self, ago: Duration) -> Timestamp {
        let ns = u64::try_from(ago.as_nanos()).unwrap_or(u64::MAX);
        Timestamp {
            wall: self.wall.checked_sub(ago).unwrap_or(self.wall),
            monotonic: self.monotonic.saturating_sub(ns),
        }
    }
}

/// Where the result goes, looked up before anything is made.
fn destination(to: &ResultTo, preserved: u32) -> Result<Destination> {
    match to {
        ResultTo::File(path) => {
            let what = || format!("--result {}", path.display());
            Destination::writable_but_link(path).at(Stage::Args, what).map_err(Error::of_destination)
        }
        ResultTo::Descriptor(number) if (3..preserved.saturating_add(3)).contains(number) => {
            Err(Error::new(Stage::Args, format!("--result fd:{number}: the container gets this descriptor"))
                .with_hint("take a number beyond those of --preserve-fds and LISTEN_FDS"))
        }
        ResultTo::Descriptor(number) => {
            let fd = descriptor::dup_inherited(*number).at(Stage::Args, || format!("--result fd:{number}"))?;
            if !descriptor::is_writable(fd.as_fd()).at(Stage::Args, || format!("--result fd:{number}"))? {
                return Err(Error::new(Stage::Args, format!("--result fd:{number}: it is not open for writing")));
            }
            Ok(Destination::Stream(fd))
        }
    }
}

/// Gathers the result of one job.
#[derive(Debug)]
pub struct Report {
    id: String,
    destination: Option<Destination>,
    limits: Job,
    requested: Timestamp,
    started: Option<Timestamp>,
    finished: Option<Timestamp>,
    forbidden: Option<String>,
    totals: Totals,
    overlay: Option<OverlayUse>,
    /// What a pool has done for it.
    pub pool: Option<PoolUse>,
}

impl Report {
    /// The job was asked for; `preserved` descriptors from 3 on are the container's.
    pub fn begin(id: &str, job: &Job, preserved: u32) -> Result<Report> {
        let destination = job.result.as_ref().map(|to| destination(to, preserved)).transpose()?;
        Ok(Report {
            id: id.to_owned(),
            destination,
            limits: job.clone(),
            requested: Timestamp::now(),
            started: None,
            finished: None,
            forbidden: None,
            totals: Totals::default(),
            overlay: None,
            pool: None,
        })
    }

    /// The program was started that long ago; the first word of it counts.
    pub fn started(&mut self, ago: Duration) {
        self.started.get_or_insert_with(|| Timestamp::now().before(ago));
    }

    /// The program ended that long ago.
    pub fn finished(&mut self, ago: Duration) {
        self.finished = Some(Timestamp::now().before(ago));
    }

    /// Its filter ended it: for which call, if the kernel tells.
    pub fn find_forbidden(&mut self, pid: i32) {
        self.forbidden = self.started.and_then(|started| forbidden::call(pid, started.wall));
    }

    /// What was used: of its cgroup, which is still there, and of its overlay.
    pub fn used(&mut self, totals: Totals, overlay: Option<OverlayUse>) {
        (self.totals, self.overlay) = (totals, overlay);
    }

    /// What the container keeps of it.
    pub fn outcome(&self, ended: &Ended) -> Outcome {
        let finished = self.finished.unwrap_or_else(Timestamp::now);
        Outcome { finished: rfc3339(finished.wall), ..outcome(ended, self.totals.oom_kills) }
    }

    /// Tells the result; the exit status of the command. The program's status counts for more than a result that nobody could
    /// be told.
    pub(in crate::container) fn tell(mut self, global: &Global, done: Result<Ended>) -> Result<u8> {
        let (destination, exit_codes) = (self.destination.take(), self.limits.exit_codes);
        let result = self.result(&done);
        if let Some(destination) = destination
            && let Err(error) = tell(&result, &destination)
        {
            (global.warn)(&error.to_string());
        }
        match (done?, own_status(result.ended).filter(|_| exit_codes)) {
            (_, Some(status)) => Ok(status),
            (ended, None) => Ok(ended.status()),
        }
    }

    fn result(self, done: &Result<Ended>) -> JobResult {
        let finished = self.finished.unwrap_or_else(Timestamp::now);
        let exit = done.as_ref().ok().map(|ended| ended.exit);
        let usage = done.as_ref().ok().and_then(|ended| ended.usage);
        let ending = done.as_ref().map_or(Ending::RuntimeError, |ended| ending(ended, self.totals.oom_kills));
        let wall_ns = self.started.map(|started| finished.monotonic.saturating_sub(started.monotonic));
        let output = done.as_ref().ok().and_then(|ended| ended.output);
        let cpu = cpu(&self.totals, usage);
        let reached = |limit: Option<Duration>, used: Option<u64>| {
            limit.zip(used).is_some_and(|(limit, used)| u128::from(used) >= limit.as_nanos())
        };
        // Also one that it has just got over.
        let hits = [
            ("timeout", ending == Ending::Timeout || reached(self.limits.timeout, wall_ns)),
            ("cpu-time", ending == Ending::CpuLimit || reached(self.limits.cpu_time, cpu.total_ns)),
            (
                "output",
                self.limits.output_limit.zip(output).is_some_and(|(limit, output)| output > limit.unsigned_abs()),
            ),
            ("memory", is_hit(self.totals.memory_limit_hits) || is_hit(self.totals.oom_kills)),
            ("pids", is_hit(self.totals.pids_limit_hits)),
            ("cpu-quota", is_hit(self.totals.throttled_periods)),
        ];
        let monotonic = |moment: Timestamp| moment.monotonic;
        JobResult {
            version: VERSION,
            id: self.id,
            ended: ending,
            exit_code: exit.and_then(|exit| if let Exit::Code(code) = exit { Some(code) } else { None }),
            signal: exit
                .and_then(|exit| if let Exit::Signal(number) = exit { Some(signal::name(number)) } else { None }),
            forbidden_call: self.forbidden.filter(|_| ending == Ending::Seccomp),
            error: done.as_ref().err().map(failure),
            requested: rfc3339(self.requested.wall),
            started: self.started.map(|moment| rfc3339(moment.wall)),
            finished: rfc3339(finished.wall),
            requested_monotonic_ns: self.requested.monotonic,
            started_monotonic_ns: self.started.map(monotonic),
            finished_monotonic_ns: finished.monotonic,
            wall_ns,
            limits_hit: hits.into_iter().filter_map(|(name, hit)| hit.then_some(name)).collect(),
            pool: self.pool,
            cpu,
            memory: MemoryUse {
                peak_bytes: self.totals.memory_peak,
                // Nothing is known of one whose keeper was killed.
                largest_process_bytes: usage.map(|usage| usage.max_rss).filter(|bytes| *bytes > 0),
                swap_peak_bytes: self.totals.swap_peak,
                limit_hits: self.totals.memory_limit_hits,
                oom_kills: self.totals.oom_kills,
            },
            pids: PidsUse { peak: self.totals.pids_peak, limit_hits: self.totals.pids_limit_hits },
            io: Io { read_bytes: self.totals.read_bytes, written_bytes: self.totals.written_bytes },
            overlay: OverlayFigures {
                bytes: self.overlay.map(|overlay| overlay.bytes),
                inodes: self.overlay.map(|overlay| overlay.inodes),
            },
            output_bytes: output,
        }
    }
}

/// The exit status of `--exit-codes`, where it has one of its own.
const fn own_status(ending: Ending) -> Option<u8> {
    match ending {
        Ending::Exited | Ending::Signaled | Ending::Killed => None,
        Ending::Oom => Some(status::OOM),
        Ending::OutputLimit => Some(status::OUTPUT_LIMIT),
        Ending::Seccomp => Some(status::SECCOMP),
        Ending::CpuLimit => Some(status::CPU_LIMIT),
        Ending::Timeout => Some(status::TIMEOUT),
        Ending::RuntimeError => Some(status::RUNTIME),
    }
}

/// The exit status of a runtime that failed, with `--exit-codes`.
pub const FAILURE: u8 = status::RUNTIME;

fn ending(ended: &Ended, oom_kills: Option<u64>) -> Ending {
    let killed = ended.exit == Exit::Signal(libc::SIGKILL);
    match (ended.cause, ended.exit) {
        (Some(cause), _) => cause,
        (None, Exit::Signal(libc::SIGXCPU)) => Ending::CpuLimit,
        // One that was killed, or gave up because one of its own was.
        _ if oom_kills.unwrap_or(0) > 0 && (killed || ended.status() != 0) => Ending::Oom,
        (_, Exit::Signal(libc::SIGSYS)) => Ending::Seccomp,
        (_, Exit::Signal(_)) => Ending::Signaled,
        (_, Exit::Code(_)) => Ending::Exited,
    }
}

/// What a container keeps of its end.
pub(super) fn outcome(ended: &Ended, oom_kills: Option<u64>) -> Outcome {
    Outcome {
        exit_status: ended.exit.status(),
        finished: rfc3339(SystemTime::now()),
        reason: ending(ended, oom_kills).name().to_owned(),
    }
}

fn is_hit(count: Option<u64>) -> bool {
    count.is_some_and(|count| count > 0)
}

/// The cgroup's figures; where it has none, what the kernel tells the parent of a process.
fn cpu(totals: &Totals, usage: Option<ChildUsage>) -> CpuUse {
    let (throttled_ns, throttled_periods) = (totals.throttled_ns, totals.throttled_periods);
    match (totals.cpu_ns, usage) {
        (None, Some(ChildUsage { user_ns, system_ns, .. })) => CpuUse {
            total_ns: Some(user_ns + system_ns),
            user_ns: Some(user_ns),
            system_ns: Some(system_ns),
            throttled_ns,
            throttled_periods,
        },
        (total_ns, _) => {
            CpuUse { total_ns, user_ns: totals.user_ns, system_ns: totals.system_ns, throttled_ns, throttled_periods }
        }
    }
}

fn failure(error: &Error) -> Failure {
    Failure {
        stage: error.stage().name(),
        message: error.to_string(),
        errno: error.root_errno().map(|errno| format!("{errno:?}")),
        hint: error.hint().map(str::to_owned),
    }
}

fn tell(result: &JobResult, destination: &Destination) -> Result<()> {
    let mut text = serde_json::to_vec(result).at(Stage::State, || "describe the result")?;
    text.push(b'\n');
    let what = "write the result of the job";
    match destination.write(&text) {
        Err(Errno::ETIMEDOUT) => {
            Err(Error::new(Stage::State, format!("{what}: nobody read it for {} s", FLUSH.as_secs())))
        }
        written => written.at(Stage::State, || what),
    }
}
