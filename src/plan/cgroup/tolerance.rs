//! What is done about cgroups that cannot be written. Pure.

use serde::{Deserialize, Serialize};

use crate::plan::cgroup::{CgroupPlan, Need, WhenMissing};

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

/// Applies the tolerance to a plan.
pub(in crate::plan) fn tolerate(plan: &mut CgroupPlan, tolerance: Tolerance) {
    match tolerance {
        Tolerance::Auto => {}
        Tolerance::Nothing => plan.need = Need::Required,
        Tolerance::Everything => {
            plan.need = Need::BestEffort;
            plan.writes
                .iter_mut()
                .filter(|w| w.missing == WhenMissing::Fail)
                .for_each(|w| w.missing = WhenMissing::Skip);
        }
    }
}
