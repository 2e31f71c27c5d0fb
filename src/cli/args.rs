//! What the user typed, as plain structs: nothing looked up. The rows of [`super::flags`] and [`super::verbs`] fill
//! them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::filter::{ListFilter, ListFormat};
use super::log::{self, Level};
use super::put::{Format, Word};
use crate::container::PlanOf;
use crate::container::options::Transfer;
use crate::container::outline::Outline;
use crate::error::Origins;
use crate::plan::cgroup::tolerance::Tolerance;
use crate::plan::cgroup::transfer::Amounts;
use crate::plan::systemd::driver::CgroupDriver;
use crate::spec::resources::{BlockIo, Cpu, Memory, Pids, Resources};

/// The flags before the command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GlobalFlags {
    /// `--root`.
    pub root: Option<PathBuf>,
    /// `--log`.
    pub log: Option<OsString>,
    /// `--log-format`.
    pub log_format: log::LogFormat,
    /// `--log-level`.
    pub log_level: Option<Level>,
    /// `--debug`.
    pub debug: bool,
    /// `--systemd-cgroup`.
    pub systemd_cgroup: bool,
    /// `--cgroup-manager`.
    pub cgroup_manager: Option<CgroupDriver>,
    /// `--rootless`.
    pub tolerance: Tolerance,
    /// `--trust-annotations`.
    pub trust_annotations: Option<String>,
    /// `--systemd-log`.
    pub systemd_log: bool,
    /// `--version`.
    pub version: bool,
}

impl GlobalFlags {
    /// Who makes cgroups: the flag that names it counts for more than the switch.
    pub fn cgroups(&self) -> CgroupDriver {
        let switch = if self.systemd_cgroup { CgroupDriver::Systemd } else { CgroupDriver::default() };
        self.cgroup_manager.unwrap_or(switch)
    }

    /// The least serious level that is shown.
    pub fn level(&self) -> Level {
        if self.debug { Level::Debug } else { self.log_level.unwrap_or(Level::Warning) }
    }

    /// Where the log goes.
    pub fn log_destination(&self) -> Option<OsString> {
        self.log.clone().or_else(|| self.systemd_log.then(|| "journald:brisk".into()))
    }
}

/// `list`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListArgs {
    /// How to print.
    pub format: ListFormat,
    /// Which containers.
    pub filters: Vec<ListFilter>,
    /// Names only.
    pub quiet: bool,
}

/// `diff`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiffArgs {
    /// The container's name.
    pub id: String,
    /// How to print.
    pub format: Format,
}

/// `stats`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatsArgs {
    /// Which containers; all of them where none is named.
    pub ids: Vec<String>,
    /// How to print.
    pub format: StatsFormat,
    /// Which of them.
    pub filters: Vec<ListFilter>,
    /// Neither colours nor other characters than ASCII.
    pub plain: bool,
}

/// `memory`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryArgs {
    /// Which containers; all of them where none is named.
    pub ids: Vec<String>,
    /// How to print.
    pub format: Format,
    /// Which of them.
    pub filters: Vec<ListFilter>,
    /// Neither colours nor other characters than ASCII.
    pub plain: bool,
    /// Where a picture of it is written.
    pub svg: Option<PathBuf>,
}

/// `trace`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceArgs {
    /// What `--trace` has written.
    pub file: PathBuf,
    /// Another one.
    pub compare: Option<PathBuf>,
    /// How to print.
    pub format: Format,
    /// Neither colours nor other characters than ASCII.
    pub plain: bool,
    /// Where a picture of it is written.
    pub svg: Option<PathBuf>,
    /// Where a page with the picture and a table is written.
    pub html: Option<PathBuf>,
}

/// `record`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordArgs {
    /// The container's name.
    pub id: String,
    /// The bundle directory.
    pub bundle: PathBuf,
    /// A file used instead of the bundle's config.json.
    pub config: Option<PathBuf>,
    /// Where the profile is written.
    pub output: PathBuf,
    /// What the file has already stays in it.
    pub merge: bool,
    /// A profile of which is said what was not used.
    pub compare: Option<PathBuf>,
    /// Where what was seen is written, as JSON.
    pub report: Option<PathBuf>,
    /// Which runtimes the profile is for.
    pub runtime: RecordFor,
    /// Neither colours nor other characters than ASCII.
    pub plain: bool,
}

/// Whose own system calls a recorded profile allows as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum RecordFor {
    #[default]
    Brisk,
    Crun,
    Runc,
    Any,
}

impl Word for RecordFor {
    const WORDS: &'static [&'static str] = &["brisk", "crun", "runc", "any"];
    const VALUES: &'static [Self] = &[RecordFor::Brisk, RecordFor::Crun, RecordFor::Runc, RecordFor::Any];
}

/// How statistics are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum StatsFormat {
    #[default]
    Table,
    Json,
    OpenMetrics,
}

impl Word for StatsFormat {
    const WORDS: &'static [&'static str] = &["table", "json", "openmetrics"];
    const VALUES: &'static [Self] = &[StatsFormat::Table, StatsFormat::Json, StatsFormat::OpenMetrics];
}

/// `top`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopArgs {
    /// Which containers; all of them where none is named.
    pub ids: Vec<String>,
    /// Time between two looks.
    pub interval: Duration,
    /// What comes first.
    pub sort: SortKey,
    /// Which of them.
    pub filters: Vec<ListFilter>,
    /// One table, then end.
    pub once: bool,
    /// How to print.
    pub format: Format,
    /// Neither colours nor other characters than ASCII.
    pub plain: bool,
}

/// What the containers of `top` are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum SortKey {
    #[default]
    Cpu,
    Memory,
    Pids,
    Io,
    Throttled,
    Oom,
    Pressure,
    Name,
}

impl Word for SortKey {
    const WORDS: &'static [&'static str] = &["cpu", "memory", "pids", "io", "throttled", "oom", "pressure", "name"];
    const VALUES: &'static [Self] = &[
        SortKey::Cpu,
        SortKey::Memory,
        SortKey::Pids,
        SortKey::Io,
        SortKey::Throttled,
        SortKey::Oom,
        SortKey::Pressure,
        SortKey::Name,
    ];
}

/// `ps`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PsArgs {
    /// The container's name.
    pub id: String,
    /// How to print.
    pub format: Format,
    /// Options of ps(1).
    pub options: Vec<String>,
}

/// `wait`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WaitArgs {
    /// The container's name.
    pub id: String,
    /// How long, at most.
    pub timeout: Option<Duration>,
}

/// `events`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventsArgs {
    /// The container's name.
    pub id: String,
    /// Time between statistics.
    pub interval: Duration,
    /// Once, then end.
    pub stats: bool,
}

/// `spec`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpecArgs {
    /// The bundle directory.
    pub bundle: Option<PathBuf>,
    /// Instead of config.json.
    pub file: Option<PathBuf>,
    /// What is changed in it.
    pub outline: Outline,
    /// The program that the root is put together for.
    pub program: Option<PathBuf>,
    /// What else is in that root.
    pub with: Vec<String>,
}

/// `update`, before its files are read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UpdateArgs {
    /// The containers.
    pub ids: Vec<String>,
    /// Files of `--resources`: one for all or one for each; `-` is standard input.
    pub files: Vec<PathBuf>,
    /// The single flags; ignored where there are files, as runc does.
    pub memory: Memory,
    /// Flags of the CPU controller; ignored where there are files.
    pub cpu: Cpu,
    /// Flags of the block I/O controller; ignored where there are files.
    pub block_io: BlockIo,
    /// Flags of the pids controller; ignored where there are files.
    pub pids: Pids,
    /// Intel RDT L3 cache schema.
    pub l3_cache_schema: Option<String>,
    /// Intel RDT memory bandwidth schema.
    pub mem_bw_schema: Option<String>,
    /// Replace the device rules.
    pub device_rules: bool,
    /// Skip the check that the limits can be kept.
    pub force: bool,
    /// What the first of two containers gives to the second.
    pub amounts: Option<Amounts>,
    /// In how many steps.
    pub steps: Option<u32>,
    /// Time between two steps.
    pub interval: Option<Duration>,
    /// Print what would be done.
    pub dry_run: bool,
    /// How to print what was done.
    pub format: Format,
}

impl UpdateArgs {
    /// The two containers, and what the first is to give to the second, where that is asked.
    pub fn transfer(&self) -> Option<Transfer> {
        let (amounts, [from, to]) = (self.amounts?, self.ids.as_slice()) else { return None };
        Some(Transfer {
            from: from.clone(),
            to: to.clone(),
            amounts,
            steps: self.steps.unwrap_or(1),
            interval: self.interval,
            dry_run: self.dry_run,
        })
    }

    /// Which of the single flags has said what. A file of the kernel's is of more than one of them: the one that was given.
    pub fn origins(&self) -> Origins {
        let Cpu { quota, period, burst, shares, realtime_period, realtime_runtime, idle, cpus, mems } = &self.cpu;
        let memory = &self.memory;
        let mut origins = Origins::default();
        let rows = [
            ("memory.limit", "--memory", memory.limit.is_some()),
            ("memory.swap", "--memory-swap", memory.swap.is_some()),
            ("memory.reservation", "--memory-reservation", memory.reservation.is_some()),
            ("cpu.quota", "--cpu-quota", quota.is_some()),
            ("cpu.period", "--cpu-period", period.is_some()),
            ("cpu.burst", "--cpu-burst", burst.is_some()),
            ("cpu.shares", "--cpu-share", shares.is_some()),
            ("cpu.realtimePeriod", "--cpu-rt-period", realtime_period.is_some()),
            ("cpu.realtimeRuntime", "--cpu-rt-runtime", realtime_runtime.is_some()),
            ("cpu.idle", "--cpu-idle", idle.is_some()),
            ("cpu.cpus", "--cpuset-cpus", cpus.is_some()),
            ("cpu.mems", "--cpuset-mems", mems.is_some()),
            ("blockIO", "--blkio-weight", self.block_io.weight.is_some()),
            ("pids.limit", "--pids-limit", self.pids.limit.is_some()),
            ("memory", "--memory", memory.limit.is_some()),
            ("memory", "--memory-swap", memory.swap.is_some()),
            ("cpu", "--cpu-quota", quota.is_some()),
            ("cpu", "--cpu-period", period.is_some()),
            ("cpu", "--cpu-burst", burst.is_some()),
        ];
        for (field, flag, _) in rows.iter().filter(|(.., given)| *given) {
            origins.add(format!("linux.resources.{field}"), *flag);
        }
        origins.add_given(&[
            ("linux.intelRdt", "--l3-cache-schema", self.l3_cache_schema.is_some()),
            ("linux.intelRdt", "--mem-bw-schema", self.mem_bw_schema.is_some()),
        ]);
        origins
    }

    /// What the single flags say.
    pub fn resources(&self) -> Resources {
        fn given<T: Default + PartialEq + Clone>(part: &T) -> Option<T> {
            (*part != T::default()).then(|| part.clone())
        }
        Resources {
            memory: given(&self.memory),
            cpu: given(&self.cpu),
            block_io: given(&self.block_io),
            pids: given(&self.pids),
            ..Resources::default()
        }
    }
}

/// `mounts`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountsArgs {
    /// Add or remove.
    pub action: MountsAction,
    /// The container's name.
    pub id: String,
    /// JSON list of mounts.
    pub file: PathBuf,
}

/// `mounts add|remove`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum MountsAction {
    #[default]
    Add,
    Remove,
}

impl Word for MountsAction {
    const WORDS: &'static [&'static str] = &["add", "remove"];
    const VALUES: &'static [Self] = &[MountsAction::Add, MountsAction::Remove];
}

/// `pool`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolArgs {
    /// What is done.
    pub action: PoolAction,
    /// The pool's name; none for all of them.
    pub name: Option<String>,
    /// Of a new one: the bundle directory.
    pub bundle: Option<PathBuf>,
    /// Of a new one: how many members wait when it has been filled.
    pub size: Option<u32>,
    /// How to print the list.
    pub format: Format,
}

/// What is done with a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum PoolAction {
    Create,
    #[default]
    List,
    Fill,
    Drain,
    Stats,
    Delete,
}

impl Word for PoolAction {
    const WORDS: &'static [&'static str] = &["create", "list", "fill", "drain", "stats", "delete"];
    const VALUES: &'static [Self] = &[
        PoolAction::Create,
        PoolAction::List,
        PoolAction::Fill,
        PoolAction::Drain,
        PoolAction::Stats,
        PoolAction::Delete,
    ];
}

/// `plan`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanArgs {
    /// The bundle directory, or a plan that was saved.
    pub bundle: PathBuf,
    /// How to print.
    pub format: PlanFormat,
    /// Of `create --template`.
    pub template: bool,
    /// Of the start of a template.
    pub start: bool,
    /// A saved plan, whose facts about a host are taken.
    pub host: Option<PathBuf>,
    /// What it is compared with.
    pub diff: Option<PathBuf>,
    /// Neither colours nor other characters than ASCII.
    pub plain: bool,
}

/// How a plan is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum PlanFormat {
    #[default]
    Table,
    Json,
    Groups,
    Tree,
}

impl Word for PlanFormat {
    const WORDS: &'static [&'static str] = &["table", "json", "groups", "tree"];
    const VALUES: &'static [Self] = &[PlanFormat::Table, PlanFormat::Json, PlanFormat::Groups, PlanFormat::Tree];
}

impl PlanArgs {
    /// Whether it is the other program that prints it in any case, which also reads what was saved: it has the pictures.
    pub fn is_drawn(&self) -> bool {
        self.host.is_some() || self.diff.is_some() || matches!(self.format, PlanFormat::Groups | PlanFormat::Tree)
    }

    /// What is asked.
    pub fn which(&self) -> PlanOf {
        match (self.template, self.start) {
            (_, true) => PlanOf::Start,
            (true, false) => PlanOf::Template,
            (false, false) => PlanOf::Create,
        }
    }
}

/// `check`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckArgs {
    /// The bundle directory; none for the host alone.
    pub bundle: Option<PathBuf>,
    /// How to print.
    pub format: Format,
}

/// Shells that have completions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Shell {
    #[default]
    Bash,
    Zsh,
    Fish,
}

impl Word for Shell {
    const WORDS: &'static [&'static str] = &["bash", "zsh", "fish"];
    const VALUES: &'static [Self] = &[Shell::Bash, Shell::Zsh, Shell::Fish];
}
