//! How a process gets into its cgroups. Pure.

use crate::plan::cgroup::write::Version;

/// Which hierarchies a step is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of them.
    All,
    /// cgroup2.
    Unified,
    /// Those of cgroup v1, after [`Part::Unified`].
    Rest,
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
    pub rest: Rest,
}

/// What `CLONE_INTO_CGROUP` leaves to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Nothing.
    Done,
    /// The process joins its v1 cgroups.
    Join,
    /// The parent moves it.
    Attach,
}

impl Entry {
    /// Into cgroups of these versions, given whether `CLONE_INTO_CGROUP` and joining are allowed.
    pub fn choose(versions: impl IntoIterator<Item = Version>, clone: IntoCgroup, v1: Rest) -> Entry {
        let (mut has_v1, mut has_v2) = (false, false);
        for version in versions {
            match version {
                Version::V1 => has_v1 = true,
                Version::V2 => has_v2 = true,
            }
        }
        let clone = if has_v2 { clone } else { IntoCgroup::No };
        let rest = match (has_v1, has_v2 && clone == IntoCgroup::No) {
            (false, false) => Rest::Done,
            (true, false) => v1,
            (_, true) => Rest::Attach,
        };
        Entry { clone, rest }
    }
}

/// Whether clone3 places the child in its cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntoCgroup {
    /// `CLONE_INTO_CGROUP`.
    Yes,
    /// It is attached afterwards.
    No,
}
