//! From names and values to plain structs: exactly what the user typed, nothing looked up.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::verbs::Verb;
use super::{scan, values};
use crate::container::options::{
    CgroupManager, Checkpoint, Create, Criu, Delete, Exec, Kill, Restore, Rootless, Run, Selection, Start,
};
use crate::error::{Error, Result, Stage};
use crate::state::check_id;

/// The flags before the command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Global {
    /// `--root`.
    pub root: Option<PathBuf>,
    /// `--systemd-cgroup`, `--cgroup-manager`.
    pub manager: CgroupManager,
    /// `--rootless`.
    pub rootless: Rootless,
    /// `--log-level`, `--debug`.
    pub level: Option<String>,
}

/// `table` or `json`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Format {
    #[default]
    Table,
    Json,
}

/// What `list` prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Listing {
    /// A table.
    #[default]
    Table,
    /// JSON.
    Json,
    /// Names only.
    Names,
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
    /// For an ordinary user.
    pub rootless: bool,
}

/// `update`, before its files are read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UpdateArgs {
    /// The containers.
    pub ids: Vec<String>,
    /// Files of `--resources`: one for all or one for each; `-` is standard input.
    pub files: Vec<PathBuf>,
    /// The single flags; ignored where there are files, as runc does.
    pub resources: crate::spec::resources::Resources,
    /// Intel RDT L3 cache schema.
    pub l3_cache_schema: Option<String>,
    /// Intel RDT memory bandwidth schema.
    pub mem_bw_schema: Option<String>,
    /// Replace the device rules.
    pub device_rules: bool,
    /// Skip the check that the limits can be kept.
    pub force: bool,
}

/// `mounts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountsArgs {
    /// Add or remove.
    pub action: MountsAction,
    /// The container's name.
    pub id: String,
    /// JSON list of mounts.
    pub file: PathBuf,
}

/// `mounts add|remove`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum MountsAction {
    Add,
    Remove,
}

/// One command and what it was given.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "named as the commands")]
pub enum Request {
    Checkpoint(Checkpoint),
    Create(Create),
    Delete(Delete),
    Events(EventsArgs),
    Exec(Exec),
    Features,
    Kill(Kill),
    List(Listing),
    Mounts(MountsArgs),
    Pause(String),
    Ps(PsArgs),
    Restore(Restore),
    Resume(String),
    Run(Run),
    Spec(SpecArgs),
    Start(Start),
    State(String),
    Update(Box<UpdateArgs>),
    Plan { bundle: PathBuf, json: bool },
    Check { json: bool },
    Trace(PathBuf),
    Completion(String),
    Man(PathBuf),
}

/// Reads the flags before the command.
pub fn global(given: &scan::Given) -> Result<Global> {
    let given = Given(given);
    let manager = match given.text("cgroup-manager")?.as_deref() {
        Some("cgroupfs") => CgroupManager::Files,
        Some("systemd") => CgroupManager::Systemd,
        Some("disabled") => CgroupManager::Disabled,
        Some(other) => return Err(bad("cgroup-manager", other, "cgroupfs, systemd or disabled")),
        None if given.switch("systemd-cgroup") => CgroupManager::Systemd,
        None => CgroupManager::Files,
    };
    let rootless = match given.text("rootless")?.as_deref() {
        None => Rootless::Auto,
        Some(text) if text.eq_ignore_ascii_case("auto") => Rootless::Auto,
        Some(text) => match scan::go_bool(text.as_bytes()) {
            Some(true) => Rootless::Yes,
            Some(false) => Rootless::No,
            None => return Err(bad("rootless", text, "true, false or auto")),
        },
    };
    let level = if given.switch("debug") { Some("debug".to_owned()) } else { given.text("log-level")? };
    Ok(Global { root: given.path("root"), manager, rootless, level })
}

/// Reads what follows a command.
pub fn request(verb: Verb, given: &scan::Given) -> Result<Request> {
    let given = Given(given);
    Ok(match verb {
        Verb::Checkpoint => Request::Checkpoint(given.checkpoint()?),
        Verb::Create => Request::Create(given.create()?),
        Verb::Delete => Request::Delete(Delete {
            which: given.selection()?,
            force: given.switch("force"),
            trace: given.path("trace"),
        }),
        Verb::Events => Request::Events(EventsArgs {
            id: given.id()?,
            interval: given.text("interval")?.map_or(Ok(Duration::from_secs(5)), |text| values::interval(&text))?,
            stats: given.switch("stats"),
        }),
        Verb::Exec => Request::Exec(given.exec()?),
        Verb::Features => Request::Features,
        Verb::Kill => Request::Kill(Kill {
            which: given.selection()?,
            signal: given.text("SIGNAL")?.unwrap_or_else(|| "TERM".to_owned()),
            all: given.switch("all"),
        }),
        Verb::List => Request::List(match (given.switch("quiet"), given.format()?) {
            (true, _) => Listing::Names,
            (false, Format::Table) => Listing::Table,
            (false, Format::Json) => Listing::Json,
        }),
        Verb::Mounts => Request::Mounts(given.mounts()?),
        Verb::Pause => Request::Pause(given.id()?),
        Verb::Ps => Request::Ps(PsArgs { id: given.id()?, format: given.format()?, options: given.texts("OPTIONS")? }),
        Verb::Restore => Request::Restore(given.restore()?),
        Verb::Resume => Request::Resume(given.id()?),
        Verb::Run => Request::Run(Run {
            create: given.create()?,
            detach: given.switch("detach"),
            keep: given.switch("keep"),
            no_subreaper: given.switch("no-subreaper"),
        }),
        Verb::Spec => Request::Spec(SpecArgs {
            bundle: given.path("bundle"),
            file: given.path("file"),
            rootless: given.switch("rootless"),
        }),
        Verb::Start => Request::Start(Start { id: given.id()?, trace: given.path("trace") }),
        Verb::State => Request::State(given.id()?),
        Verb::Update => Request::Update(Box::new(given.update()?)),
        Verb::Plan => {
            Request::Plan { bundle: given.path("BUNDLE").unwrap_or_else(|| ".".into()), json: given.switch("json") }
        }
        Verb::Check => Request::Check { json: given.switch("json") },
        Verb::Trace => Request::Trace(given.path("FILE").unwrap_or_default()),
        Verb::Completion => Request::Completion(given.text("SHELL")?.unwrap_or_default()),
        Verb::Man => Request::Man(given.path("DIR").unwrap_or_default()),
    })
}

fn bad(flag: &str, value: &str, wanted: &str) -> Error {
    Error::new(Stage::Args, format!("--{flag} {value:?}: must be {wanted}"))
}

/// Values by name. An empty value is no value, as with runc: scripts write `--pid-file "$unset"`.
pub(super) struct Given<'m>(&'m scan::Given);

impl Given<'_> {
    pub(super) fn switch(&self, name: &str) -> bool {
        self.0.has(name)
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.0.last(name).filter(|text| !text.is_empty()).map(PathBuf::from)
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<String>> {
        Ok(self.texts(name)?.pop().filter(|text| !text.is_empty()))
    }

    fn texts(&self, name: &str) -> Result<Vec<String>> {
        self.0
            .all(name)
            .map(|value| match value.to_str() {
                Some(text) => Ok(text.to_owned()),
                None => Err(Error::new(Stage::Args, format!("{name} {value:?}: not UTF-8"))),
            })
            .collect()
    }

    pub(super) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>> {
        self.text(name)?.map(|text| values::number(name, &text)).transpose()
    }

    fn paths(&self, name: &str) -> Vec<PathBuf> {
        self.0.all(name).map(PathBuf::from).collect()
    }

    fn id(&self) -> Result<String> {
        checked(self.text("ID")?.unwrap_or_default())
    }

    fn selection(&self) -> Result<Selection> {
        let text = self.text("ID")?.unwrap_or_default();
        if self.switch("regex") { Ok(Selection::Regex(text)) } else { checked(text).map(Selection::Id) }
    }

    fn format(&self) -> Result<Format> {
        match self.text("format")?.as_deref() {
            None | Some("table") => Ok(Format::Table),
            Some("json") => Ok(Format::Json),
            Some(other) => Err(bad("format", other, "table or json")),
        }
    }

    fn create(&self) -> Result<Create> {
        Ok(Create {
            id: self.id()?,
            bundle: self.path("bundle").unwrap_or_else(|| ".".into()),
            config: self.path("config"),
            console_socket: self.path("console-socket"),
            pidfd_socket: self.path("pidfd-socket"),
            pid_file: self.path("pid-file"),
            no_pivot: self.switch("no-pivot"),
            no_new_keyring: self.switch("no-new-keyring"),
            preserve_fds: self.number("preserve-fds")?.unwrap_or(0),
            trace: self.path("trace"),
        })
    }

    fn exec(&self) -> Result<Exec> {
        let exec = Exec {
            id: self.id()?,
            args: self.texts("COMMAND")?,
            process: self.path("process"),
            console_socket: self.path("console-socket"),
            pidfd_socket: self.path("pidfd-socket"),
            pid_file: self.path("pid-file"),
            detach: self.switch("detach"),
            tty: self.switch("tty"),
            preserve_fds: self.number("preserve-fds")?.unwrap_or(0),
            cwd: self.text("cwd")?,
            env: self.texts("env")?,
            user: self.text("user")?.map(|text| values::user(&text)).transpose()?,
            additional_gids: self
                .texts("additional-gids")?
                .iter()
                .map(|text| values::number("additional-gids", text))
                .collect::<Result<_>>()?,
            caps: self.texts("cap")?,
            apparmor: self.text("apparmor")?,
            process_label: self.text("process-label")?,
            no_new_privs: self.switch("no-new-privs"),
            cgroup: self.texts("cgroup")?,
            ignore_paused: self.switch("ignore-paused"),
            trace: self.path("trace"),
        };
        if exec.args.is_empty() && exec.process.is_none() {
            return Err(Error::new(Stage::Args, "exec needs a command or --process FILE"));
        }
        Ok(exec)
    }

    fn criu(&self) -> Result<Criu> {
        Ok(Criu {
            image_path: self.path("image-path"),
            work_path: self.path("work-path"),
            tcp_established: self.switch("tcp-established"),
            ext_unix_sk: self.switch("ext-unix-sk"),
            shell_job: self.switch("shell-job"),
            file_locks: self.switch("file-locks"),
            lazy_pages: self.switch("lazy-pages"),
            manage_cgroups_mode: match self.text("manage-cgroups-mode")? {
                Some(mode) if !["soft", "full", "strict", "ignore"].contains(&mode.as_str()) => {
                    return Err(bad("manage-cgroups-mode", &mode, "soft, full, strict or ignore"));
                }
                mode => mode,
            },
            network_lock: self.text("network-lock")?,
            empty_ns: self.texts("empty-ns")?,
            auto_dedup: self.switch("auto-dedup"),
        })
    }

    fn checkpoint(&self) -> Result<Checkpoint> {
        Ok(Checkpoint {
            id: self.id()?,
            criu: self.criu()?,
            parent_path: self.path("parent-path"),
            leave_running: self.switch("leave-running"),
            pre_dump: self.switch("pre-dump"),
            tcp_skip_in_flight: self.switch("tcp-skip-in-flight"),
            link_remap: self.switch("link-remap"),
            status_fd: self.number("status-fd")?,
            page_server: self.text("page-server")?,
        })
    }

    fn restore(&self) -> Result<Restore> {
        Ok(Restore {
            id: self.id()?,
            criu: self.criu()?,
            bundle: self.path("bundle").unwrap_or_else(|| ".".into()),
            console_socket: self.path("console-socket"),
            pid_file: self.path("pid-file"),
            detach: self.switch("detach"),
            no_subreaper: self.switch("no-subreaper"),
            no_pivot: self.switch("no-pivot"),
            tcp_close: self.switch("tcp-close"),
            lsm_profile: self.text("lsm-profile")?,
            lsm_mount_context: self.text("lsm-mount-context")?,
        })
    }

    fn mounts(&self) -> Result<MountsArgs> {
        let action = match self.text("ACTION")?.as_deref() {
            Some("add") => MountsAction::Add,
            Some("remove") => MountsAction::Remove,
            other => {
                return Err(Error::new(
                    Stage::Args,
                    format!("mounts {:?}: must be add or remove", other.unwrap_or("")),
                ));
            }
        };
        Ok(MountsArgs { action, id: self.id()?, file: self.path("FILE").unwrap_or_default() })
    }

    fn update(&self) -> Result<UpdateArgs> {
        let args = UpdateArgs {
            ids: self.texts("ID")?.into_iter().map(checked).collect::<Result<_>>()?,
            files: self.paths("resources"),
            resources: values::resources(self)?,
            l3_cache_schema: self.text("l3-cache-schema")?,
            mem_bw_schema: self.text("mem-bw-schema")?,
            device_rules: self.switch("device-rules"),
            force: self.switch("force"),
        };
        if args.files.len() > 1 && args.files.len() != args.ids.len() {
            return Err(Error::new(
                Stage::Args,
                "--resources is given once for all containers, or once for each of them",
            ));
        }
        Ok(args)
    }
}

fn checked(id: String) -> Result<String> {
    check_id(&id)?;
    Ok(id)
}
