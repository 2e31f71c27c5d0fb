//! What the plan of cgroups depends on besides the resources and the layout.

use crate::host::Host;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// Root on the host.
    Root,
    /// An ordinary user, or root in a user namespace: no device control, and cgroups only where delegated.
    Rootless,
}

impl Privilege {
    /// Who asks on this host.
    pub fn of(host: &Host) -> Privilege {
        if host.is_real_root() { Privilege::Root } else { Privilege::Rootless }
    }
}

/// Who asks, and for which cgroup.
#[derive(Clone, Copy, Debug)]
pub struct CgroupOptions<'a> {
    /// linux.cgroupsPath.
    pub cgroups_path: Option<&'a str>,
    /// The container's id: names the cgroup when there is no path.
    pub id: &'a str,
    /// Who asks.
    pub privilege: Privilege,
}
