//! The cgroup driver: directories that brisk makes, or a scope that systemd is asked for. Pure; runs in the parent.

use serde::{Deserialize, Serialize};

use super::{Owner, ScopePlan, Unit, scope, user_manager_path};
use crate::error::Result;
use crate::host::Host;
use crate::plan::cgroup::{self, CgroupPlan};
use crate::spec::Spec;

/// Who makes cgroups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupDriver {
    /// Directories are made by brisk.
    #[default]
    Files,
    /// A transient scope is asked of systemd.
    Systemd,
    /// None is made: containers stay in the caller's cgroup.
    Disabled,
}

/// The cgroup of a container of this name, and the systemd scope it belongs to.
pub fn plan_cgroup(
    spec: &Spec,
    host: &Host,
    id: &str,
    driver: CgroupDriver,
) -> Result<(Option<CgroupPlan>, Option<ScopePlan>)> {
    let linux = spec.linux.as_ref();
    let resources = linux.and_then(|l| l.resources.clone()).unwrap_or_default();
    let cgroups_path = linux.and_then(|l| l.cgroups_path.as_deref());
    let privilege = cgroup::Privilege::of(host);
    match driver {
        CgroupDriver::Disabled => Ok((None, None)),
        CgroupDriver::Files => {
            let plan = cgroup::plan(&resources, &host.cgroup, &cgroup::CgroupOptions { cgroups_path, id, privilege })?;
            Ok(((!plan.dirs.is_empty()).then_some(plan), None))
        }
        CgroupDriver::Systemd => {
            let owner = if host.owns_systemd() { Owner::System } else { Owner::User };
            let unit = Unit::parse(cgroups_path, id, owner)?;
            let manager = match owner {
                Owner::System => String::new(),
                Owner::User => {
                    let own = host.cgroup.unified.as_ref().map_or("", |unified| unified.own.as_str());
                    format!("/{}", user_manager_path(own, host.uid))
                }
            };
            let path = format!("{manager}/{}", unit.path()?);
            let cgroup_options = cgroup::CgroupOptions { cgroups_path: Some(&path), id, privilege };
            let plan = cgroup::plan(&resources, &host.cgroup, &cgroup_options)?;
            let (plan, scope) = scope(unit, id, &spec.instructions, plan)?;
            Ok((Some(plan), Some(scope)))
        }
    }
}
