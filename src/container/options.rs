//! What a caller may ask of each verb, as values. `cli` fills them in; nothing here is decided yet.

use std::path::PathBuf;
use std::time::Duration;

use crate::container::environment::Environment;
use crate::container::outline::{LimitChoice, Outline, flag_of};
use crate::container::runc_log;
use crate::error::Origins;
use crate::plan::Plan;
use crate::plan::cgroup::tolerance::Tolerance;
use crate::plan::cgroup::transfer::Amounts;
use crate::plan::systemd::driver::CgroupDriver;
use crate::spec::mounts::Mount;
use crate::spec::resources::Resources;
use crate::spec::text::Text;
use crate::state::StateRoot;

/// What `--manage-cgroups-mode` may be.
pub const CGROUP_MODES: &[&str] = &["soft", "full", "strict", "ignore"];
/// What `--network-lock` may be.
pub const NETWORK_LOCKS: &[&str] = &["iptables", "nftables", "skip"];

/// What holds for every verb.
pub struct Global<'a> {
    /// What brisk's environment asks for.
    pub environment: Environment,
    /// Where the state of containers is kept.
    pub root: StateRoot,
    /// Who makes cgroups.
    pub cgroups: CgroupDriver,
    /// Whether cgroups that cannot be written are tolerated.
    pub tolerance: Tolerance,
    /// `--trust-annotations`: the annotations that are followed although an image may have brought them.
    pub trust_annotations: Option<String>,
    /// Takes a warning: something went otherwise than asked, and the work goes on.
    pub warn: &'a dyn Fn(&str),
    /// Takes what is of interest for finding a fault only. `None` where nobody asked for it.
    pub debug: Option<&'a dyn Fn(&str)>,
}

impl Global<'_> {
    /// The annotations that are trusted, by flag and by environment.
    pub(super) fn trusted_annotations(&self) -> Vec<&str> {
        [&self.trust_annotations, &self.environment.trust_annotations]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect()
    }

    /// Tells the warnings of a plan, and what is about to be done.
    pub(super) fn tell_plan(&self, plan: &Plan) {
        for warning in &plan.warnings {
            (self.warn)(warning);
        }
        if let Some(debug) = self.debug {
            plan.to_string().lines().for_each(debug);
            runc_log::lines(plan).iter().for_each(|line| debug(line));
        }
    }
}

/// `create`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Create {
    /// The container's name, valid.
    pub id: String,
    /// The bundle directory, as typed; the current one where none is named.
    pub bundle: Option<PathBuf>,
    /// A file used instead of the bundle's config.json.
    pub config: Option<PathBuf>,
    /// With a root in it: what is made, in place of a bundle.
    pub outline: Outline,
    /// Receives the terminal's master side.
    pub console_socket: Option<PathBuf>,
    /// Receives a pidfd of the container's first process.
    pub pidfd_socket: Option<PathBuf>,
    /// Gets the process id.
    pub pid_file: Option<PathBuf>,
    /// Do not use pivot_root.
    pub no_pivot: bool,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// File descriptors passed on beyond 0 to 2 and LISTEN_FDS.
    pub preserve_fds: u32,
    /// What the program is comes with `start`.
    pub template: bool,
    /// Gets the timeline.
    pub trace: Option<PathBuf>,
    /// What it may take, and who learns how it ended.
    pub job: Job,
}

/// `run`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// What it shares with `create`.
    pub create: Create,
    /// Do not wait for the container.
    pub detach: bool,
    /// Do not delete the container when it ends.
    pub keep: bool,
    /// Delete a container that has its name, by force.
    pub replace: bool,
    /// Do not adopt its orphans.
    pub no_subreaper: bool,
    /// The pool whose member it is to be, if one waits; what it shares with `create` is of the program alone then.
    pub pool: Option<String>,
    /// What only a program that comes late is told: process.json, groups, no_new_privs.
    pub program: ProgramChoice,
}

/// What a program may take, and who learns how it ended: of `create`, `run`, `restart` and `exec`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Job {
    /// Gets the result, a JSON object.
    pub result: Option<ResultTo>,
    /// How long it may run.
    pub timeout: Option<Duration>,
    /// How much CPU time the container may use, of all its processes together.
    pub cpu_time: Option<Duration>,
    /// How many bytes it may write to standard output and error together.
    pub output_limit: Option<i64>,
    /// How long it may take to end after SIGTERM, where it heeds that.
    pub grace: Option<Duration>,
    /// Exit statuses tell apart why it ended.
    pub exit_codes: bool,
    /// The program ends when the runtime's parent does, or whoever waits for it: the runtime itself, or its monitor.
    pub die_with_parent: bool,
}

/// Where the result of a job goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResultTo {
    /// Into this file, whole or not at all.
    File(PathBuf),
    /// Into this open descriptor, in one write.
    Descriptor(u32),
}

/// `start`. All but the name and the trace is for a template alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// The container's name.
    pub id: String,
    /// What is run.
    pub program: ProgramChoice,
    /// Receives the terminal's master side.
    pub console_socket: Option<PathBuf>,
    /// Receives a pidfd of the container's first process.
    pub pidfd_socket: Option<PathBuf>,
    /// Gets the process id.
    pub pid_file: Option<PathBuf>,
    /// What the standard streams are; the caller's own where it is not said.
    pub streams: Option<[StreamChoice; 3]>,
    /// Limits in place of the template's.
    pub limits: LimitChoice,
    /// Mounts on top of the template's.
    pub mounts: Vec<Mount>,
    /// Gets the timeline.
    pub trace: Option<PathBuf>,
}

impl Start {
    /// Which flag has said what of the limits and of the list of mounts, which stands behind these others.
    pub(super) fn origins(&self, mounts_before: usize) -> Origins {
        let mut origins = self.limits.origins();
        for (index, mount) in self.mounts.iter().enumerate() {
            origins.add(format!("mounts[{}]", mounts_before + index), flag_of(mount));
        }
        origins
    }

    /// Whether something is asked for that only a template can be given.
    pub fn brings(&self) -> bool {
        let plain = Start { id: self.id.clone(), trace: self.trace.clone(), ..Start::default() };
        *self != plain
    }
}

/// A standard stream of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamChoice {
    /// A descriptor that the caller has open.
    Descriptor(u32),
    /// The container's /dev/null.
    Null,
}

/// A program, and as what it runs: of `exec`, and of the start of a template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgramChoice {
    /// The program and its arguments; empty with `process`.
    pub args: Vec<Text>,
    /// process.json.
    pub process: Option<PathBuf>,
    /// Allocate a terminal.
    pub tty: bool,
    /// Working directory in the container.
    pub cwd: Option<Text>,
    /// `NAME=value`, added to the container's.
    pub env: Vec<Text>,
    /// User and group.
    pub user: Option<ExecUser>,
    /// Supplementary groups, added to the container's.
    pub additional_gids: Vec<u32>,
    /// Capabilities, added to the container's.
    pub caps: Vec<String>,
    /// AppArmor profile.
    pub apparmor: Option<String>,
    /// SELinux label.
    pub process_label: Option<String>,
    /// Set no_new_privs.
    pub no_new_privs: bool,
}

/// `UID[:GID]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecUser {
    /// User id in the container.
    pub uid: u32,
    /// Group id in the container, where given.
    pub gid: Option<u32>,
}

/// `pool create`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewPool {
    /// The pool's name, valid.
    pub name: String,
    /// The bundle directory, as typed.
    pub bundle: PathBuf,
    /// How many members wait when it has been filled.
    pub size: u32,
}

/// `exec`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exec {
    /// The container's name.
    pub id: String,
    /// What is run.
    pub program: ProgramChoice,
    /// Receives the terminal's master side.
    pub console_socket: Option<PathBuf>,
    /// Receives a pidfd of the process.
    pub pidfd_socket: Option<PathBuf>,
    /// Gets the process id.
    pub pid_file: Option<PathBuf>,
    /// Do not wait for the process.
    pub detach: bool,
    /// File descriptors passed on beyond 0 to 2 and LISTEN_FDS.
    pub preserve_fds: u32,
    /// `[CONTROLLERS:]PATH` below the container's cgroup.
    pub cgroup: Vec<String>,
    /// Whether a paused container will do.
    pub ignore_paused: bool,
    /// Gets the timeline.
    pub trace: Option<PathBuf>,
    /// What it may take, and who learns how it ended.
    pub job: Job,
}

/// What CRIU is told, by `checkpoint` and `restore` alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Criu {
    /// Directory of the image files.
    pub image_path: Option<PathBuf>,
    /// Directory of work files and logs.
    pub work_path: Option<PathBuf>,
    /// Keep open TCP connections.
    pub tcp_established: bool,
    /// Allow unix sockets to the outside.
    pub ext_unix_sk: bool,
    /// Allow a terminal of the outside.
    pub shell_job: bool,
    /// Keep file locks.
    pub file_locks: bool,
    /// Restore memory when it is touched.
    pub lazy_pages: bool,
    /// soft, full, strict or ignore.
    pub manage_cgroups_mode: Option<String>,
    /// iptables, nftables or skip.
    pub network_lock: Option<String>,
    /// Namespaces made without their content.
    pub empty_ns: Vec<String>,
    /// Remove duplicate memory from the images.
    pub auto_dedup: bool,
}

/// `checkpoint`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// The container's name.
    pub id: String,
    /// What it shares with `restore`.
    pub criu: Criu,
    /// Image files of an earlier pre-dump, relative to the image path.
    pub parent_path: Option<PathBuf>,
    /// Let the container run on.
    pub leave_running: bool,
    /// Save memory only.
    pub pre_dump: bool,
    /// Leave out TCP connections that are being made.
    pub tcp_skip_in_flight: bool,
    /// Link deleted files back where possible.
    pub link_remap: bool,
    /// Where criu says that lazy pages are ready.
    pub status_fd: Option<i32>,
    /// `ADDRESS:PORT`.
    pub page_server: Option<String>,
}

/// `restore`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restore {
    /// The container's name, valid.
    pub id: String,
    /// What it shares with `checkpoint`.
    pub criu: Criu,
    /// The bundle directory, as typed.
    pub bundle: PathBuf,
    /// Receives the terminal's master side.
    pub console_socket: Option<PathBuf>,
    /// Gets the process id.
    pub pid_file: Option<PathBuf>,
    /// Do not wait for the container.
    pub detach: bool,
    /// Do not adopt its orphans.
    pub no_subreaper: bool,
    /// Do not use pivot_root.
    pub no_pivot: bool,
    /// Restore TCP connections as closed.
    pub tcp_close: bool,
    /// `TYPE:NAME`.
    pub lsm_profile: Option<String>,
    /// LSM context of the mounts.
    pub lsm_mount_context: Option<String>,
}

/// Which containers `kill` and `delete` mean.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// A name, or an expression.
    pub name: String,
    /// All whose names match the POSIX extended regular expression.
    pub regex: bool,
}

impl Selection {
    /// The container of this name.
    pub fn one(name: impl Into<String>) -> Selection {
        Selection { name: name.into(), regex: false }
    }
}

/// `kill`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kill {
    /// Which containers.
    pub which: Selection,
    /// Name or number, as typed; TERM where there is none.
    pub signal: Option<String>,
    /// Every process instead of the first.
    pub all: bool,
}

/// `delete`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delete {
    /// Which containers.
    pub which: Selection,
    /// Kill it first; no error when there is none.
    pub force: bool,
    /// Gets the timeline.
    pub trace: Option<PathBuf>,
}

/// `update --move`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transfer {
    /// Who gives.
    pub from: String,
    /// Who gets.
    pub to: String,
    /// How much.
    pub amounts: Amounts,
    /// In how many steps; 0 is one.
    pub steps: u32,
    /// How long is waited between two of them.
    pub interval: Option<Duration>,
    /// Nothing is changed.
    pub dry_run: bool,
}

/// What `update` is to change of one container.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LimitChange {
    /// Its name.
    pub id: String,
    /// Only what is to change.
    pub resources: Resources,
    /// The flags or the file that say so.
    pub origins: Origins,
}

/// `update`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Update {
    /// Containers and what each is to get; changed all or none.
    pub changes: Vec<LimitChange>,
    /// Intel RDT L3 cache schema.
    pub l3_cache_schema: Option<String>,
    /// Intel RDT memory bandwidth schema.
    pub mem_bw_schema: Option<String>,
    /// Replace the device rules by those of the changes.
    pub device_rules: bool,
    /// Skip the check that the limits can be kept.
    pub force: bool,
}
