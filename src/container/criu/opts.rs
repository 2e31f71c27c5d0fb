//! What CRIU is asked to do, as a pure function of the command line and a few facts: the `criu_opts` of its RPC
//! (images/rpc.proto of CRIU; the numbers are those of 3.17 and later, older versions skip what they do not know).

use std::collections::BTreeMap;
use std::path::Path;

use super::protobuf::FieldValue;
use crate::container::options::{Checkpoint, Criu, Restore};
use crate::error::{Error, Result, Stage};
use crate::spec::annotations::CRIU_CONFIG;

/// The fields that brisk sets, with their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[expect(missing_docs, reason = "named as in rpc.proto")]
pub enum Field {
    ImagesDirFd = 1,
    Pid = 2,
    LeaveRunning = 3,
    ExtUnixSk = 4,
    TcpEstablished = 5,
    EvasiveDevices = 6,
    ShellJob = 7,
    FileLocks = 8,
    LogLevel = 9,
    LogFile = 10,
    PageServer = 11,
    NotifyScripts = 12,
    Root = 13,
    ParentImg = 14,
    TrackMem = 15,
    AutoDedup = 16,
    WorkDirFd = 17,
    LinkRemap = 18,
    ManageCgroups = 24,
    CgRoot = 25,
    RstSibling = 26,
    InheritFd = 27,
    ManageCgroupsMode = 34,
    External = 37,
    EmptyNs = 38,
    JoinNs = 39,
    FreezeCgroup = 44,
    TcpSkipInFlight = 46,
    LazyPages = 48,
    OrphanPtsMaster = 50,
    ConfigFile = 51,
    TcpClose = 52,
    LsmProfile = 53,
    LsmMountContext = 63,
    NetworkLock = 64,
}

/// CRIU's options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opts(Vec<(Field, FieldValue)>);

impl Opts {
    fn set(&mut self, field: Field, value: impl Into<FieldValue>) {
        self.0.push((field, value.into()));
    }

    fn pair(&mut self, field: Field, first: impl Into<FieldValue>, second: impl Into<FieldValue>) {
        self.0.push((field, FieldValue::Message(vec![(1, first.into()), (2, second.into())])));
    }

    /// The values of a field.
    pub fn get(&self, field: Field) -> Vec<&FieldValue> {
        self.0.iter().filter(|(name, _)| *name == field).map(|(_, value)| value).collect()
    }

    /// The fields by number, to be sent.
    pub fn message(&self) -> FieldValue {
        FieldValue::Message(self.0.iter().map(|(field, value)| (*field as u32, value.clone())).collect())
    }
}

/// The log of `checkpoint`, in the work directory or else beside the images.
pub const DUMP_LOG: &str = "dump.log";
/// The log of `restore`.
pub const RESTORE_LOG: &str = "restore.log";

/// CRIU's level "info, warnings and errors", runc's choice.
const LOG_LEVEL: i32 = 4;

/// Where configuration files are.
pub const CONFIGS: &str = "/etc/criu";

/// The configuration file in this directory, where nothing names another: brisk's, or runc's that the host may have already.
/// CRIU goes on without where there is none.
pub fn configuration(dir: &str) -> String {
    let [own, runc] = ["brisk.conf", "runc.conf"].map(|name| format!("{dir}/{name}"));
    if !Path::new(&own).exists() && Path::new(&runc).exists() { runc } else { own }
}

/// What is known of the directories and the container, for both directions.
pub struct CriuFacts<'a> {
    /// Our descriptor of the image directory; CRIU opens it through /proc.
    pub images: i32,
    /// Our descriptor of the work directory; CRIU opens it through /proc.
    pub work: Option<i32>,
    /// The container's root: on the host to save, the mount point to restore to.
    pub root: &'a str,
    /// Objects of the host by name (see [`super::external`]).
    pub externals: &'a [String],
    /// The configuration file, where no annotation names one.
    pub config: &'a str,
    /// The annotations that are followed.
    pub instructions: &'a BTreeMap<String, String>,
}

/// What only a checkpoint has.
pub struct Dumped<'a> {
    /// The container's first process.
    pub pid: i32,
    /// The cgroup to freeze.
    pub freezer: Option<&'a Path>,
}

/// What only a restore has.
#[derive(Default)]
pub struct Restored<'a> {
    /// Objects that come with a descriptor of CRIU's own: key and number.
    pub inherited: &'a [(String, i32)],
    /// Namespaces to join: CRIU's name of the type and a path.
    pub joined: &'a [(String, String)],
    /// Where the saved cgroups are to be: controllers and path.
    pub cgroups: &'a [(String, String)],
}

/// The options of a checkpoint.
pub fn dump(args: &Checkpoint, facts: &CriuFacts<'_>, saved: &Dumped<'_>) -> Result<Opts> {
    let mut opts = shared(&args.criu, facts, DUMP_LOG)?;
    opts.set(Field::Pid, saved.pid);
    opts.set(Field::LeaveRunning, args.leave_running);
    opts.set(Field::TcpSkipInFlight, args.tcp_skip_in_flight);
    opts.set(Field::LinkRemap, args.link_remap);
    if let Some(path) = saved.freezer {
        opts.set(Field::FreezeCgroup, path.to_string_lossy().as_ref());
    }
    if let Some(parent) = &args.parent_path {
        if parent.is_absolute() {
            let what = format!("--parent-path {}: must be relative to the image path", parent.display());
            return Err(Error::new(Stage::Args, what));
        }
        opts.set(Field::ParentImg, parent.to_string_lossy().as_ref());
    }
    if args.parent_path.is_some() || args.pre_dump {
        opts.set(Field::TrackMem, true);
    }
    if let Some(server) = &args.page_server {
        let (address, port) = page_server(server)?;
        opts.pair(Field::PageServer, address, port);
    }
    Ok(opts)
}

/// The options of a restore.
pub fn restore(args: &Restore, facts: &CriuFacts<'_>, restored: &Restored<'_>) -> Result<Opts> {
    let mut opts = shared(&args.criu, facts, RESTORE_LOG)?;
    opts.set(Field::EvasiveDevices, true);
    // The restored process becomes our child: we can wait for it, and whoever called us inherits it.
    opts.set(Field::RstSibling, true);
    opts.set(Field::TcpClose, args.tcp_close);
    for (field, value) in [(Field::LsmProfile, &args.lsm_profile), (Field::LsmMountContext, &args.lsm_mount_context)] {
        if let Some(value) = value {
            opts.set(field, value.as_str());
        }
    }
    for (key, number) in restored.inherited {
        opts.pair(Field::InheritFd, key.as_str(), *number);
    }
    for (kind, path) in restored.joined {
        opts.pair(Field::JoinNs, kind.as_str(), path.as_str());
    }
    for (controllers, path) in restored.cgroups {
        opts.pair(Field::CgRoot, controllers.as_str(), path.as_str());
    }
    Ok(opts)
}

fn shared(criu: &Criu, facts: &CriuFacts<'_>, log: &str) -> Result<Opts> {
    let Criu {
        tcp_established,
        ext_unix_sk,
        shell_job,
        file_locks,
        lazy_pages,
        manage_cgroups_mode,
        network_lock: lock,
        empty_ns,
        auto_dedup,
        // `checkpoint::image_path`, `Directories::open`.
        image_path: _,
        work_path: _,
    } = criu;
    let mut opts = Opts::default();
    opts.set(Field::ImagesDirFd, facts.images);
    if let Some(work) = facts.work {
        opts.set(Field::WorkDirFd, work);
    }
    opts.set(Field::LogLevel, LOG_LEVEL);
    opts.set(Field::LogFile, log);
    opts.set(Field::Root, facts.root);
    opts.set(Field::NotifyScripts, true);
    // A terminal whose master is outside of the container is not an error; at restore we get its master.
    opts.set(Field::OrphanPtsMaster, true);
    opts.set(Field::ManageCgroups, true);
    opts.set(Field::ManageCgroupsMode, cgroup_mode(manage_cgroups_mode.as_deref())?);
    for (field, given) in [
        (Field::TcpEstablished, tcp_established),
        (Field::ExtUnixSk, ext_unix_sk),
        (Field::ShellJob, shell_job),
        (Field::FileLocks, file_locks),
        (Field::LazyPages, lazy_pages),
        (Field::AutoDedup, auto_dedup),
    ] {
        opts.set(field, *given);
    }
    opts.set(Field::EmptyNs, empty_namespaces(empty_ns)?);
    if let Some(method) = lock {
        opts.set(Field::NetworkLock, network_lock(method)?);
    }
    match facts.instructions.get(CRIU_CONFIG).map(String::as_str) {
        Some("") => {}
        Some(file) => opts.set(Field::ConfigFile, file),
        None => opts.set(Field::ConfigFile, facts.config),
    }
    for external in facts.externals {
        opts.set(Field::External, external.as_str());
    }
    Ok(opts)
}

fn wrong(flag: &str, value: &str, wanted: &str) -> Error {
    Error::new(Stage::Args, format!("--{flag} {value:?}: must be {wanted}"))
}

/// `criu_cg_mode`.
fn cgroup_mode(mode: Option<&str>) -> Result<i32> {
    match mode {
        Some("ignore") => Ok(0),
        None | Some("soft") => Ok(3),
        Some("full") => Ok(4),
        Some("strict") => Ok(5),
        Some(other) => Err(wrong("manage-cgroups-mode", other, "soft, full, strict or ignore")),
    }
}

/// `criu_network_lock_method`; `skip` needs CRIU 3.18.
fn network_lock(method: &str) -> Result<i32> {
    match method {
        "iptables" => Ok(1),
        "nftables" => Ok(2),
        "skip" => Ok(3),
        other => Err(wrong("network-lock", other, "iptables, nftables or skip")),
    }
}

/// CLONE_NEW* flags. CRIU knows of one that may be empty.
fn empty_namespaces(names: &[String]) -> Result<i32> {
    names.iter().try_fold(0, |flags, name| match name.as_str() {
        "network" => Ok(flags | libc::CLONE_NEWNET),
        other => Err(wrong("empty-ns", other, "network")),
    })
}

/// `ADDRESS:PORT`; the address may have colons of its own.
fn page_server(text: &str) -> Result<(&str, i32)> {
    let parts = text.rsplit_once(':').filter(|(address, _)| !address.is_empty());
    let parsed = parts.and_then(|(address, port)| Some((address, port.parse::<u16>().ok().filter(|port| *port != 0)?)));
    parsed.map(|(address, port)| (address, port.into())).ok_or_else(|| wrong("page-server", text, "ADDRESS:PORT"))
}
