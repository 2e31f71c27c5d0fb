//! The operations on cgroups: directories to make, files to write, and what must hold before.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The cgroup version of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Version {
    /// A v1 hierarchy.
    V1,
    /// cgroup2.
    V2,
}

/// A cgroup to make, one for each mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct CgroupDir {
    /// Where the hierarchy is mounted.
    pub mount_point: PathBuf,
    /// The cgroup below the mount point: no leading slash, no `..`.
    pub path: String,
    /// v1: the controllers of the hierarchy, or `name=NAME`. v2: the controllers to enable down to it.
    pub controllers: Vec<String>,
    /// Which version.
    pub version: Version,
}

impl CgroupDir {
    /// Its path on this host.
    pub fn full_path(&self) -> PathBuf {
        self.mount_point.join(&self.path)
    }
}

/// What to do when the kernel does not have the file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenMissing {
    /// The limit cannot be had: fail.
    Fail,
    /// The kernel cannot do what the value would forbid either: go on.
    Skip,
    /// Write this file instead.
    Instead {
        /// The other file.
        file: String,
        /// The value in the other file's units.
        value: String,
    },
}

/// One write to one cgroup file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Write {
    /// The controller that owns the file; it decides the directory.
    pub controller: String,
    /// Name of the file.
    pub file: String,
    /// The text written, in one write(2).
    pub value: String,
    /// What to do when there is no such file.
    pub missing: WhenMissing,
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cgroup write {} = {}", self.file, self.value.escape_debug())?;
        match &self.missing {
            WhenMissing::Fail => Ok(()),
            WhenMissing::Skip => f.write_str(" (where the file exists)"),
            WhenMissing::Instead { file, value } => write!(f, " (else {file} = {value})"),
        }
    }
}

/// A limit that must not be below what is in use.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct UsageCheck {
    /// The controller.
    pub controller: String,
    /// The file that tells the usage.
    pub file: String,
    /// The new limit.
    pub limit: u64,
    /// What the limit is called in config.json.
    pub name: String,
}

/// When the limits are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Into a cgroup that was just made: every file has its default.
    Create,
    /// Into the cgroup of a running container.
    Update,
}
