//! Admission: whether new limits can be given at all. Pure: the writes and what is true now in, a refusal out.

use crate::error::{Deed, Error, Result, Stage};

use crate::plan::cgroup::files::Capacity;
use crate::plan::cgroup::write::Write;

/// What is true of one capacity in one container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// In use now.
    pub used: Option<u64>,
    /// The tightest limit of the cgroups above.
    pub above: Option<u64>,
    /// What the limits of the other cgroups below the one with that limit add up to.
    pub siblings: u64,
}

fn name(capacity: Capacity) -> &'static str {
    match capacity {
        Capacity::Memory => "memory",
        Capacity::MemoryAndSwap => "memory and swap",
        Capacity::Pids => "number of tasks",
        Capacity::Cpu => "CPU bandwidth (thousandths of a CPU)",
    }
}

/// The number a limit file says; `None` for no limit. `period` is the one that goes with a v1 quota.
pub fn limit(capacity: Capacity, text: &str, period: u64) -> Option<u64> {
    let mut words = text.split_ascii_whitespace();
    // What says that there is no limit is no number.
    let first = words.next()?.parse::<u64>().ok()?;
    match capacity {
        Capacity::Cpu => {
            let period = words.next().and_then(|word| word.parse().ok()).unwrap_or(period).max(1);
            Some(first.saturating_mul(1000) / period)
        }
        // v1 says no limit with the largest multiple of the page size.
        Capacity::Memory | Capacity::MemoryAndSwap => Some(first).filter(|bytes| *bytes < 1 << 62),
        Capacity::Pids => Some(first),
    }
}

/// Refuses a new limit that is below the use, above what a parent has, or that together with its siblings'
/// limits exceeds it.
pub fn check(write: &Write, capacity: Capacity, new: Option<u64>, around: Surroundings) -> Result<()> {
    let refuse = |why: String| {
        let what = format!("refuse {} = {}: {} {why}", write.file, write.value, name(capacity));
        Err(Error::new(Stage::Cgroup, what).doing(Deed::WriteLimit, &*write.file))
    };
    match (new, around) {
        (Some(new), Surroundings { used: Some(used), .. }) if new < used => refuse(format!("in use is {used}")),
        (Some(new), Surroundings { above: Some(above), .. }) if new > above => {
            refuse(format!("of a parent is {above}"))
        }
        (Some(new), Surroundings { above: Some(above), siblings, .. }) if new.saturating_add(siblings) > above => {
            refuse(format!("of a parent is {above}, of which {siblings} is given to others"))
        }
        _ => Ok(()),
    }
}
