//! How a program ended and what it used, as one JSON object (docs/job-result.schema.json).

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;

use super::ended::{Cause, Ended};
use crate::cgroup::{Cgroup, Totals};
use crate::container::files;
use crate::container::options::{Global, Job, ResultTo};
use crate::container::signal;
use crate::error::{Context, Error, Result, Stage};
use crate::state::rfc3339;
use crate::sys::fs;
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

/// Why a job is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// The program ended by itself; `exitCode` says how.
    Exited,
    /// A signal ended it that neither we nor the kernel's limits sent.
    Signaled,
    /// The kernel killed for want of memory, and the program did not get over it.
    Oom,
    /// `--timeout`.
    Timeout,
    /// `--cpu-time`, or RLIMIT_CPU.
    CpuLimit,
    /// `--output-limit`.
    OutputLimit,
    /// By a signal that was sent to the runtime, or with the runtime's parent.
    Killed,
    /// A system call that the seccomp filter forbids.
    Seccomp,
    /// There was no program: `error` says why.
    RuntimeError,
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
    pub error: Option<Failure>,
    pub requested: String,
    pub started: Option<String>,
    pub finished: String,
    pub requested_monotonic_ns: u64,
    pub started_monotonic_ns: Option<u64>,
    pub finished_monotonic_ns: u64,
    pub wall_ns: Option<u64>,
    pub cpu: Cpu,
    pub memory: Memory,
    pub pids: Pids,
    pub io: Io,
    pub output_bytes: Option<u64>,
    pub limits_hit: Vec<&'static str>,
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
pub struct Cpu {
    pub total_ns: Option<u64>,
    pub user_ns: Option<u64>,
    pub system_ns: Option<u64>,
    pub throttled_ns: Option<u64>,
    pub throttled_periods: Option<u64>,
}

/// Memory.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    pub peak_bytes: Option<u64>,
    pub largest_process_bytes: Option<u64>,
    pub swap_peak_bytes: Option<u64>,
    pub limit_hits: Option<u64>,
    pub oom_kills: Option<u64>,
}

/// Tasks.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pids {
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

/// A moment, by both clocks: the one that people read, and the one that never jumps.
#[derive(Clone, Copy, Debug)]
struct Moment {
    wall: SystemTime,
    monotonic: u64,
}

impl Moment {
    fn now() -> Moment {
        Moment { wall: SystemTime::now(), monotonic: monotonic_ns() }
    }
}

/// Where the result goes, looked at before anything is made.
#[derive(Debug)]
enum Sink {
    File(PathBuf),
    Descriptor(File),
}

impl Sink {
    fn open(to: &ResultTo, preserved: u32) -> Result<Sink> {
        match to {
            ResultTo::File(path) => {
                let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
                let found = std::fs::metadata(dir).at(Stage::Args, || format!("--result {}", path.display()))?;
                match (found.is_dir() && !path.is_dir(), path.file_name()) {
                    (true, Some(_)) => Ok(Sink::File(path.clone())),
                    _ => Err(Error::new(Stage::Args, format!("--result {}: not the name of a file", path.display()))),
                }
            }
            ResultTo::Descriptor(number) if (3..preserved.saturating_add(3)).contains(number) => {
                Err(Error::new(Stage::Args, format!("--result fd:{number}: the container gets this descriptor"))
                    .with_hint("take a number beyond those of --preserve-fds and LISTEN_FDS"))
            }
            ResultTo::Descriptor(number) => {
                let fd = fs::dup_inherited(*number).at(Stage::Args, || format!("--result fd:{number}"))?;
                Ok(Sink::Descriptor(fd.into()))
            }
        }
    }

    fn take(self, result: &JobResult) -> Result<()> {
        let mut text = serde_json::to_vec(result).at(Stage::State, || "describe the result")?;
        text.push(b'\n');
        match self {
            Sink::File(path) => files::write(&path, &text, "result"),
            Sink::Descriptor(mut file) => file.write_all(&text).at(Stage::State, || "write the result"),
        }
    }
}

/// Gathers the result of one job.
#[derive(Debug)]
pub struct Report {
    id: String,
    sink: Option<Sink>,
    requested: Moment,
    started: Option<Moment>,
    finished: Option<Moment>,
    totals: Totals,
}

impl Report {
    /// The job was asked for; `preserved` descriptors from 3 on are the container's.
    pub fn begin(id: &str, job: &Job, preserved: u32) -> Result<Report> {
        let sink = job.result.as_ref().map(|to| Sink::open(to, preserved)).transpose()?;
        let (id, requested) = (id.to_owned(), Moment::now());
        Ok(Report { id, sink, requested, started: None, finished: None, totals: Totals::default() })
    }

    /// The program runs.
    pub fn started(&mut self) {
        self.started = Some(Moment::now());
    }

    /// It has ended, and its cgroup is still there.
    pub fn finished(&mut self, cgroup: Option<&Cgroup>) -> Result<()> {
        self.finished = Some(Moment::now());
        if let Some(cgroup) = cgroup {
            self.totals = cgroup.totals()?;
        }
        Ok(())
    }

    /// Tells the result; the exit status of the command. A result that cannot be told is an error of its own only where
    /// there is no other.
    pub(in crate::container) fn tell(mut self, global: &Global, job: &Job, done: Result<Ended>) -> Result<u8> {
        let sink = self.sink.take();
        let result = self.result(&done);
        let ended = result.ended;
        let told = sink.map_or(Ok(()), |sink| sink.take(&result));
        let status = match (&done, ended.own_status().filter(|_| job.exit_codes)) {
            (_, Some(status)) => Some(status),
            (Ok(ended), None) => Some(ended.status()),
            (Err(_), None) => None,
        };
        match (done, told) {
            (Ok(_), told) => told.map(|()| status.unwrap_or_default()),
            (Err(error), told) => {
                if let Err(failure) = told {
                    (global.warn)(&failure.to_string());
                }
                Err(error)
            }
        }
    }

    fn result(self, done: &Result<Ended>) -> JobResult {
        let finished = self.finished.unwrap_or_else(Moment::now);
        let exit = done.as_ref().ok().map(|ended| ended.exit);
        let usage = done.as_ref().ok().map(|ended| ended.usage);
        let ending = ending(done, &self.totals);
        let monotonic = |moment: Moment| moment.monotonic;
        JobResult {
            version: VERSION,
            id: self.id,
            ended: ending,
            exit_code: exit.and_then(|exit| if let Exit::Code(code) = exit { Some(code) } else { None }),
            signal: exit
                .and_then(|exit| if let Exit::Signal(number) = exit { Some(signal::name(number)) } else { None }),
            error: done.as_ref().err().map(failure),
            requested: rfc3339(self.requested.wall),
            started: self.started.map(|moment| rfc3339(moment.wall)),
            finished: rfc3339(finished.wall),
            requested_monotonic_ns: self.requested.monotonic,
            started_monotonic_ns: self.started.map(monotonic),
            finished_monotonic_ns: finished.monotonic,
            wall_ns: self.started.map(|started| finished.monotonic.saturating_sub(started.monotonic)),
            limits_hit: limits_hit(ending, &self.totals),
            cpu: cpu(&self.totals, usage),
            memory: Memory {
                peak_bytes: self.totals.memory_peak,
                largest_process_bytes: usage.map(|usage| usage.max_rss),
                swap_peak_bytes: self.totals.swap_peak,
                limit_hits: self.totals.memory_limit_hits,
                oom_kills: self.totals.oom_kills,
            },
            pids: Pids { peak: self.totals.pids_peak, limit_hits: self.totals.pids_limit_hits },
            io: Io { read_bytes: self.totals.read_bytes, written_bytes: self.totals.written_bytes },
            output_bytes: done.as_ref().ok().and_then(|ended| ended.output),
        }
    }
}

impl Ending {
    /// The exit status of `--exit-codes`, where it has one of its own.
    const fn own_status(self) -> Option<u8> {
        match self {
            Ending::Exited | Ending::Signaled | Ending::Killed => None,
            Ending::Oom => Some(status::OOM),
            Ending::OutputLimit => Some(status::OUTPUT_LIMIT),
            Ending::Seccomp => Some(status::SECCOMP),
            Ending::CpuLimit => Some(status::CPU_LIMIT),
            Ending::Timeout => Some(status::TIMEOUT),
            Ending::RuntimeError => Some(status::RUNTIME),
        }
    }
}

/// The exit status of a runtime that failed, with `--exit-codes`.
pub const FAILURE: u8 = status::RUNTIME;

fn ending(done: &Result<Ended>, totals: &Totals) -> Ending {
    let Ok(ended) = done else { return Ending::RuntimeError };
    let killed = ended.exit == Exit::Signal(libc::SIGKILL);
    match (ended.cause, ended.exit) {
        (Some(Cause::Timeout), _) => Ending::Timeout,
        (Some(Cause::CpuLimit), _) | (None, Exit::Signal(libc::SIGXCPU)) => Ending::CpuLimit,
        (Some(Cause::OutputLimit), _) => Ending::OutputLimit,
        (Some(Cause::ParentGone), _) => Ending::Killed,
        // The program may have taken the signal for what it is to it, and gone on.
        (Some(Cause::Passed(passed)), Exit::Signal(signal)) if passed == signal => Ending::Killed,
        // One that was killed, or gave up because one of its own was.
        _ if totals.oom_kills.unwrap_or(0) > 0 && (killed || ended.status() != 0) => Ending::Oom,
        (_, Exit::Signal(libc::SIGSYS)) => Ending::Seccomp,
        (_, Exit::Signal(_)) => Ending::Signaled,
        (_, Exit::Code(_)) => Ending::Exited,
    }
}

fn limits_hit(ending: Ending, totals: &Totals) -> Vec<&'static str> {
    let hit = |count: Option<u64>| count.unwrap_or(0) > 0;
    [
        ("timeout", ending == Ending::Timeout),
        ("cpu-time", ending == Ending::CpuLimit),
        ("output", ending == Ending::OutputLimit),
        ("memory", hit(totals.memory_limit_hits) || hit(totals.oom_kills)),
        ("pids", hit(totals.pids_limit_hits)),
        ("cpu-quota", hit(totals.throttled_periods)),
    ]
    .into_iter()
    .filter_map(|(name, hit)| hit.then_some(name))
    .collect()
}

/// The cgroup's figures; where it has none, what the kernel tells the parent of a process.
fn cpu(totals: &Totals, usage: Option<ChildUsage>) -> Cpu {
    let (throttled_ns, throttled_periods) = (totals.throttled_ns, totals.throttled_periods);
    match (totals.cpu_ns, usage) {
        (None, Some(ChildUsage { user_ns, system_ns, .. })) => Cpu {
            total_ns: Some(user_ns + system_ns),
            user_ns: Some(user_ns),
            system_ns: Some(system_ns),
            throttled_ns,
            throttled_periods,
        },
        (total_ns, _) => {
            Cpu { total_ns, user_ns: totals.user_ns, system_ns: totals.system_ns, throttled_ns, throttled_periods }
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
