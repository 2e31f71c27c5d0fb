//! What will be done to cgroups: which directories are made, which files are written, which devices are
//! allowed. Pure: linux.resources and the host's layout in, data out; `brisk plan` prints the same data.

pub mod admission;
pub mod bpf;
pub mod cpu;
pub mod devices;
pub mod entry;
pub mod io;
pub mod limits;
pub mod memory;
pub mod paths;
pub(super) mod place;
pub mod rdt;
pub mod rootless;
pub mod update;

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, Stage};
use crate::host::cgroup::Layout;
use crate::spec::resources::Resources;

pub use crate::plan::cgroup::devices::DevicePolicy;
use crate::plan::cgroup::limits::limits;

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
pub struct Dir {
    /// Where the hierarchy is mounted.
    pub mount_point: PathBuf,
    /// The cgroup below the mount point: no leading slash, no `..`.
    pub path: String,
    /// v1: the controllers of the hierarchy, or `name=NAME`. v2: the controllers to enable down to it.
    pub controllers: Vec<String>,
    /// Which version.
    pub version: Version,
}

impl Dir {
    /// Its path on this host.
    pub fn full_path(&self) -> PathBuf {
        self.mount_point.join(&self.path)
    }
}

/// What to do when the kernel does not have the file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
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
    pub missing: Missing,
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cgroup write {} = {}", self.file, self.value.escape_debug())?;
        match &self.missing {
            Missing::Fail => Ok(()),
            Missing::Skip => f.write_str(" (where the file exists)"),
            Missing::Instead { file, value } => write!(f, " (else {file} = {value})"),
        }
    }
}

/// Whether the container may do without a cgroup of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// Fail when a directory cannot be made.
    Required,
    /// An ordinary user asked for nothing in particular: hierarchies this user may not write to are left out.
    BestEffort,
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

impl fmt::Display for UsageCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cgroup check {} < {} = {}", self.file, self.name, self.limit)
    }
}

/// Everything that will be done to cgroups when a container is created.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct CgroupPlan {
    /// The cgroups to make, v1 first.
    pub dirs: Vec<Dir>,
    /// Whether they must all be made.
    pub need: Need,
    /// The limits, in order.
    pub writes: Vec<Write>,
    /// Device access, and how it is enforced.
    pub devices: Devices,
    /// Settings of the configuration that have no effect here.
    pub warnings: Vec<String>,
}

/// Device access rules and the mechanism that enforces them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Devices {
    /// Access is not restricted: nothing is written or loaded.
    Unrestricted,
    /// The v1 devices controller.
    V1(DevicePolicy),
    /// An eBPF program on the v2 cgroup.
    Bpf(DevicePolicy),
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// Root on the host.
    Root,
    /// An ordinary user, or root in a user namespace: no device control, and cgroups only where delegated.
    Rootless,
}

/// What the plan depends on besides the resources and the layout.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// linux.cgroupsPath.
    pub cgroups_path: Option<&'a str>,
    /// The container's id: names the cgroup when there is no path.
    pub id: &'a str,
    /// Who asks.
    pub privilege: Privilege,
}

/// When the limits are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Into a cgroup that was just made: every file has its default.
    Create,
    /// Into the cgroup of a running container.
    Update,
}

/// Plans the cgroups of a new container.
pub fn plan(resources: &Resources, layout: &Layout, options: &Options) -> Result<CgroupPlan> {
    let limits = limits(resources, layout, Phase::Create)?;
    let need = match (options.privilege, options.cgroups_path.filter(|path| !path.is_empty())) {
        (Privilege::Rootless, None) => Need::BestEffort,
        (Privilege::Rootless, Some(_)) | (Privilege::Root, _) => Need::Required,
    };
    let dirs = paths::dirs(layout, options)?;
    if dirs.is_empty() && need == Need::Required {
        return Err(Error::new(Stage::Cgroup, "find a cgroup file system: none is mounted")
            .with_hint("with `--cgroup-manager disabled` the container stays in the caller's cgroup"));
    }
    Ok(CgroupPlan {
        dirs,
        need,
        writes: limits.writes,
        devices: devices(resources, layout, options.privilege)?,
        warnings: limits.warnings,
    })
}

/// Which devices may be used, and by what mechanism that is enforced.
///
/// An ordinary user may neither write the v1 devices controller nor load a device program, and needs neither:
/// without CAP_MKNOD on the host there are only the devices that were bound in.
pub fn devices(resources: &Resources, layout: &Layout, privilege: Privilege) -> Result<Devices> {
    let policy = DevicePolicy::new(&resources.devices)?;
    if privilege == Privilege::Rootless || policy.allows_all() {
        return Ok(Devices::Unrestricted);
    }
    if layout.v1_with("devices").is_some() {
        // Rules the v1 controller cannot express are refused here, before anything is made.
        policy.v1_writes()?;
        return Ok(Devices::V1(policy));
    }
    if layout.unified.is_some() {
        return Ok(Devices::Bpf(policy));
    }
    Err(Error::new(
        Stage::Cgroup,
        "restrict devices: neither the v1 devices controller nor cgroup v2 is mounted on this host",
    ))
}

impl fmt::Display for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Devices::Unrestricted => f.write_str("cgroup devices unrestricted"),
            Devices::V1(policy) => write!(f, "cgroup devices (v1 controller) {policy}"),
            Devices::Bpf(policy) => write!(f, "cgroup devices (eBPF) {policy}"),
        }
    }
}

impl fmt::Display for Dir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.version == Version::V2 { "enabling" } else { "of" };
        write!(f, "cgroup mkdir {}", self.full_path().display())?;
        if self.controllers.is_empty() { Ok(()) } else { write!(f, " {verb} {}", self.controllers.join(",")) }
    }
}

/// One line per operation.
impl fmt::Display for CgroupPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let effort = if self.need == Need::BestEffort { " (where this user may)" } else { "" };
        self.dirs.iter().try_for_each(|dir| writeln!(f, "{dir}{effort}"))?;
        self.writes.iter().try_for_each(|write| writeln!(f, "{write}"))?;
        writeln!(f, "{}", self.devices)
    }
}
