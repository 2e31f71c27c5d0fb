//! How a process gets into its cgroups. Pure.

use crate::plan::cgroup::{CgroupPlan, Need, Version};

/// Which hierarchies a step is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of them.
    All,
    /// cgroup2.
    V2,
    /// The hierarchies of cgroup v1, after [`Part::V2`].
    V1,
}

/// How a process gets into its cgroups.
///
/// A write of its pid to cgroup.procs is the slow way: it keeps every process of the machine from forking and ending,
/// for which the kernel first waits until each CPU has passed a quiescent state: 8 ms in the mean when it was not done
/// recently. A process that is cloned into a cgroup2 directory, or that writes 0 to the `tasks` file of a v1 one, needs
/// none of that (kernel/cgroup/cgroup.c: cgroup_css_set_fork; cgroup_procs_write_start, Linux 5.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whether clone3 places it in its cgroup2 directory.
    pub clone: IntoCgroup,
    /// What is left to do.
    pub remaining: Remaining,
}

/// What `CLONE_INTO_CGROUP` leaves to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remaining {
    /// Nothing.
    Nothing,
    /// The process joins its v1 cgroups.
    ChildJoins,
    /// The parent moves it.
    ParentMoves,
}

impl Entry {
    /// Into the cgroups of a new container, which brisk makes, if it gets any.
    pub(in crate::plan) fn of(cgroup: Option<&CgroupPlan>) -> Entry {
        let Some(cgroup) = cgroup else { return Entry { clone: IntoCgroup::No, remaining: Remaining::Nothing } };
        // Where a hierarchy may be left out, only the attempt tells.
        let all = cgroup.need == Need::Required;
        let clone = if cgroup.is_v2_alone() || all { IntoCgroup::Yes } else { IntoCgroup::No };
        Entry::choose(
            cgroup.dirs.iter().map(|dir| dir.version),
            clone,
            if all { Remaining::ChildJoins } else { Remaining::ParentMoves },
        )
    }

    /// Into cgroups of these versions, given whether `CLONE_INTO_CGROUP` and joining are allowed.
    pub fn choose(versions: impl IntoIterator<Item = Version>, clone: IntoCgroup, v1: Remaining) -> Entry {
        let (mut has_v1, mut has_v2) = (false, false);
        for version in versions {
            match version {
                Version::V1 => has_v1 = true,
                Version::V2 => has_v2 = true,
            }
        }
        let clone = if has_v2 { clone } else { IntoCgroup::No };
        let remaining = match (has_v1, has_v2 && clone == IntoCgroup::No) {
            (false, false) => Remaining::Nothing,
            (true, false) => v1,
            (_, true) => Remaining::ParentMoves,
        };
        Entry { clone, remaining }
    }
}

/// Whether clone3 places the child in its cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntoCgroup {
    /// `CLONE_INTO_CGROUP`.
    Yes,
    /// The child is attached afterwards.
    No,
}
