//! What is done about cgroups that cannot be written. Pure.

use serde::{Deserialize, Serialize};

use crate::plan::cgroup::{CgroupPlan, Need, WhenMissing, Write};

/// `--rootless`: what is done about cgroups that this user may not write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tolerance {
    /// An ordinary user who asks for no limit and names no cgroup does without.
    #[default]
    Auto,
    /// Cgroups and limits are set where they can be.
    Everything,
    /// The cgroup must be there.
    Nothing,
}

/// This plan, carried out with this tolerance.
pub(in crate::plan) fn with_tolerance(plan: CgroupPlan, tolerance: Tolerance) -> CgroupPlan {
    match tolerance {
        Tolerance::Auto => plan,
        Tolerance::Nothing => CgroupPlan { need: Need::Required, ..plan },
        Tolerance::Everything => {
            CgroupPlan { need: Need::BestEffort, writes: plan.writes.into_iter().map(where_possible).collect(), ..plan }
        }
    }
}

/// This write, which is left out where its file is missing.
fn where_possible(write: Write) -> Write {
    match write.missing {
        WhenMissing::Fail => Write { missing: WhenMissing::Skip, ..write },
        _ => write,
    }
}
