//! What will be done to cgroups: which directories are made, which files are written, which devices are
//! allowed. Pure: linux.resources and the host's layout in, data out; `brisk plan` prints the same data.
//!
//! The modules, in the order in which they use each other: `write` is a value for a file, and [`files`] knows every such file;
//! `options` and `collect` are how writes are gathered; `paths` names cgroups; `devices` are the rules of what may be opened and `bpf`
//! the program that follows them; `cpu`, `io` and `memory` plan their controllers, `limits` all of them; `admission` refuses what the kernel
//! would, before anything is made; `entry` says how a process gets in, `join` when in a start, and whose the cgroup is then; `rdt` plans
//! resctrl, `idle` knows what a weight is to an idle cgroup, `update` the change of a container that runs and `transfer` that of two, and `tolerance` is what an ordinary user can do without.

mod write;

mod collect;
pub mod files;
mod options;

pub mod paths;

pub mod bpf;
pub mod devices;

pub mod cpu;
pub mod io;
pub mod limits;
pub mod memory;

pub mod admission;
pub mod entry;
pub mod idle;
pub(super) mod join;
pub mod rdt;
pub mod transfer;
pub mod update;

pub mod tolerance;

use files::Capacity;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, Stage};
use crate::host::cgroup::{Layout, LayoutKind};
use crate::spec::resources::Resources;

pub use crate::plan::cgroup::devices::{DevicePolicy, Devices, plan_devices};
use crate::plan::cgroup::limits::plan_limits;
pub use crate::plan::cgroup::options::{CgroupOptions, Privilege};
pub use crate::plan::cgroup::write::{CgroupDir, Phase, UsageCheck, Version, WhenMissing, Write};

/// Whether the container may do without a cgroup of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// Fail when a directory cannot be made.
    Required,
    /// An ordinary user asked for nothing in particular: hierarchies this user may not write to are left out.
    BestEffort,
}

/// Everything that will be done to cgroups when a container is created.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct CgroupPlan {
    /// The cgroups to make, v1 first.
    pub dirs: Vec<CgroupDir>,
    /// Whether they must all be made.
    pub need: Need,
    /// The limits, in order.
    pub writes: Vec<Write>,
    /// Device access, and how it is enforced.
    pub devices: Devices,
    /// Settings of the configuration that have no effect here.
    pub warnings: Vec<String>,
}

impl CgroupPlan {
    /// The limit of memory, if there is one: its file and the bytes.
    pub fn memory_limit(&self) -> Option<(&str, u64)> {
        let of_memory =
            |write: &&Write| files::find(&write.file).is_some_and(|file| file.capacity == Some(Capacity::Memory));
        // The word for no limit is no number.
        self.writes.iter().filter(of_memory).find_map(|write| Some((&*write.file, write.value.parse().ok()?)))
    }

    /// Whether the cgroup is in cgroup2 and nowhere else.
    pub fn is_v2_alone(&self) -> bool {
        self.dirs.iter().all(|dir| dir.version == Version::V2)
    }

    /// The controllers without which something could not be written that has to be.
    pub fn needed(&self) -> Vec<&str> {
        let needed = self.writes.iter().filter(|write| write.missing != WhenMissing::Skip);
        needed.map(|write| write.controller.as_str()).collect()
    }
}

/// Plans the cgroups of a new container.
pub fn plan(resources: &Resources, layout: &Layout, options: &CgroupOptions) -> Result<CgroupPlan> {
    let mut limits = plan_limits(resources, layout, Phase::Create)?;
    idle::apart(&mut limits, resources, &Resources::default());
    limits.warnings.extend(idle::both(resources));
    limits.warnings.extend(DevicePolicy::odd(&resources.devices));
    let need = match (options.privilege, options.cgroups_path.filter(|path| !path.is_empty())) {
        (Privilege::Rootless, None) => Need::BestEffort,
        (Privilege::Rootless, Some(_)) | (Privilege::Root, _) => Need::Required,
    };
    let mut dirs = paths::dirs(layout, options)?;
    if layout.kind() == LayoutKind::Hybrid {
        // To enable a controller keeps the processes of others out of every cgroup above. Where the v1 hierarchies do the
        // work nobody expects that, so it is done for a limit alone.
        let wanted = |controller: &String| limits.writes.iter().any(|write| write.controller == *controller);
        dirs.iter_mut().filter(|dir| dir.version == Version::V2).for_each(|dir| dir.controllers.retain(wanted));
    }
    if dirs.is_empty() && need == Need::Required {
        return Err(Error::new(Stage::Cgroup, "find a cgroup file system: none is mounted")
            .with_hint("with `--cgroup-manager disabled` the container stays in the caller's cgroup"));
    }
    Ok(CgroupPlan {
        dirs,
        need,
        writes: limits.writes,
        devices: plan_devices(resources, layout, options.privilege)?,
        warnings: limits.warnings,
    })
}
