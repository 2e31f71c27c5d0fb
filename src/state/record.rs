//! state.json: what the commands after `create` have to know of a container.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Life, ProcessId, boot_id};
use crate::error::{Context, Error, Result, Stage};
use crate::spec::annotations::Trust;
use crate::spec::resources::Resources;

/// The version of the format this brisk writes. A change that an older brisk would misread gets a new one.
const VERSION: u32 = 1;
/// The version of a template's record: a brisk that knows no templates would start one like any container, and run nothing.
const TEMPLATE_VERSION: u32 = 2;

/// The commit brisk was built from; set by the Makefile.
pub const COMMIT: &str = match option_env!("BRISK_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// This brisk, as [`Record::build`] names it.
pub fn build() -> String {
    format!("{} {COMMIT}", env!("CARGO_PKG_VERSION"))
}

/// Whether the container's first process is pid 1 of a namespace of its own, so that its death is that of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum PidNamespace {
    #[default]
    Own,
    Shared,
}

/// The place in the caller's mount namespace on which a container's root is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct HostMounts {
    /// The mount point, without links.
    pub path: PathBuf,
    /// How many mounts were stacked there before: those are the engine's.
    pub before: usize,
}

/// How the first process ended, as somebody has learnt it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// 0 to 255, or 128 and the number of a signal.
    pub exit_status: i32,
    /// When that was learnt, RFC 3339.
    pub finished: String,
    /// Why, in the words of `ended` of a job's result (docs/job-result.schema.json).
    pub reason: String,
}

/// Who waits for the first process, and hears what other commands do to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Attendance {
    /// The `run` that made it, in the foreground.
    Foreground,
    /// Its monitor, which the command that made it has left behind.
    Monitor,
}

/// What a file or directory was that a container was made of.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct MadeOf {
    /// Where.
    pub path: PathBuf,
    /// Where that led.
    pub real: Option<PathBuf>,
    /// Device and inode; none where there was nothing.
    pub inode: Option<(u64, u64)>,
    /// Length, and when content and inode were changed, in seconds and nanoseconds; of what is read once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<[i64; 5]>,
}

/// A template that a pool has made.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolMember {
    /// The pool's name.
    pub pool: String,
    /// The process that is the parent of its first one, and waits for that.
    pub keeper: ProcessId,
    /// Which of all pools of that name.
    pub generation: String,
    /// What has to be as it was.
    pub made_of: Vec<MadeOf>,
    /// The mounts there, as /proc/self/mountinfo had them.
    pub mounts: Vec<String>,
}

/// What every brisk writes. Other runtimes have state roots like ours, and engines one root for all of them.
#[derive(Deserialize)]
struct Probe {
    version: Option<u32>,
    id: Option<String>,
}

/// The state is that of a container that another runtime has made.
pub fn of_another() -> Error {
    Error::new(Stage::State, "another runtime has made the container").with_hint("use the runtime that made it")
}

/// What one call leaves for the next: facts that do not change while the container lives.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Version of this format.
    pub version: u32,
    /// The bundle's ociVersion.
    pub oci_version: String,
    /// The container's name.
    pub id: String,
    /// Absolute path of the bundle.
    pub bundle: String,
    /// Absolute path of the root file system.
    pub rootfs: String,
    /// When it was created, RFC 3339.
    pub created: String,
    /// The bundle's annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The annotations that are followed on the word of whoever created the container.
    #[serde(default, skip_serializing_if = "Trust::is_empty")]
    pub trust: Trust,
    /// The boot the start times are of.
    pub boot_id: String,
    /// The `create` or `run` that makes the container.
    pub creator: ProcessId,
    /// What its creator goes on to do, where that is more than to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attended: Option<Attendance>,
    /// The container's first process, once it is cloned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<ProcessId>,
    /// How it ended, where somebody who knew has said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Whether the first process takes the others with it.
    #[serde(default)]
    pub pid_namespace: PidNamespace,
    /// Namespaces (`CLONE_NEW*`) that it has and config.json does not name: CRIU gives what it restores a time namespace of
    /// its own, for clocks that go on.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gained_namespaces: u64,
    /// Where its mounts are when it has no mount namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_mounts: Option<HostMounts>,
    /// The numbers, as in mountinfo, of what `mounts add` has mounted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added_mounts: Vec<u64>,
    /// Whether its processes keep the session keyring of whoever starts them (`--no-new-keyring`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inherits_keyring: bool,
    /// Whether its root was moved instead of pivoted (`--no-pivot`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_pivot: bool,
    /// Whether it was given file descriptors beyond the standard streams (`--preserve-fds`, LISTEN_FDS).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_descriptors: bool,
    /// Whether the bundle has no process, which `start` then refuses.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_process: bool,
    /// Whether what its program is comes with `start`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub template: bool,
    /// Which brisk made the template: what its process waits for is laid out as that brisk has it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub build: String,
    /// Of a pool's: what the pool has to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<PoolMember>,
    /// Whether a `start` mounts or limits something in the template, or gives it a terminal, or was interrupted while it
    /// did: said before the first change, taken back when all is as it was. Once the program runs it says nothing any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub furnishing: bool,
    /// Whether the bundle has poststop hooks: spares `delete` reading config.json.
    #[serde(default)]
    pub poststop: bool,
    /// Its limits after an `update`; before, they are those of config.json.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// The container's cgroup, as `cgroup` saved it; null without one.
    #[serde(default)]
    pub cgroup: serde_json::Value,
    /// Its resource control group (Intel RDT), as `cgroup::rdt` saved it; null without one.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub rdt: serde_json::Value,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(flags: &u64) -> bool {
    *flags == 0
}

impl Record {
    /// The version of the format for a container.
    pub const fn version() -> u32 {
        VERSION
    }

    /// The version of the format for a template.
    pub const fn template_version() -> u32 {
        TEMPLATE_VERSION
    }

    /// Reads state.json.
    pub fn parse(text: &[u8]) -> Result<Record> {
        // The version first: a newer format may have other fields altogether.
        let probe: Probe = serde_json::from_slice(text).at(Stage::State, || "parse state.json")?;
        match probe.version {
            None if probe.id.is_some() => return Err(of_another()),
            None => return Err(Error::new(Stage::State, "parse state.json: it has no version")),
            Some(VERSION | TEMPLATE_VERSION) => {}
            Some(version) => {
                return Err(Error::new(
                    Stage::State,
                    format!("state.json has format {version}, this brisk knows {VERSION} and {TEMPLATE_VERSION}"),
                )
                .with_hint("use the brisk that made the container, or `delete --force`"));
            }
        }
        serde_json::from_slice(text).at(Stage::State, || "parse state.json")
    }

    /// Whether a state.json is whole, and no brisk's.
    pub(super) fn is_of_another(text: &[u8]) -> bool {
        serde_json::from_slice::<Probe>(text).is_ok_and(|probe| probe.version.is_none() && probe.id.is_some())
    }

    /// Whether it is one of runc's, which has this in it.
    pub fn is_of_runc(text: &[u8]) -> bool {
        #[derive(Deserialize)]
        struct RuncProbe {
            init_process_pid: Option<i64>,
        }
        serde_json::from_slice::<RuncProbe>(text).is_ok_and(|probe| probe.init_process_pid.is_some())
    }

    /// The text of state.json.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).at(Stage::State, || "write state.json")
    }

    /// Whether `process` still runs; nothing of another boot does.
    pub fn life(&self, process: ProcessId) -> Result<Life> {
        match process.life()? {
            Life::Alive => {
                let now = boot_id()?;
                let same = now == self.boot_id || now.is_empty() || self.boot_id.is_empty();
                Ok(if same { Life::Alive } else { Life::Gone })
            }
            Life::Gone => Ok(Life::Gone),
        }
    }

    /// The first process, if it still runs.
    pub fn live_init(&self) -> Result<Option<ProcessId>> {
        match self.init {
            Some(init) if self.life(init)? == Life::Alive => Ok(Some(init)),
            _ => Ok(None),
        }
    }
}
