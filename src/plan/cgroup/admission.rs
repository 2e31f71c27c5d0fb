//! Admission: whether new limits can be given at all. Pure: the writes and what is true now in, a refusal out.

use crate::error::{Error, Result, Stage};

use crate::plan::cgroup::Write;

/// A limit that has a current use and limits above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// memory.max, memory.limit_in_bytes: bytes.
    Memory,
    /// memory.memsw.limit_in_bytes: bytes of memory and swap.
    MemoryAndSwap,
    /// pids.max: tasks.
    Pids,
    /// cpu.max, cpu.cfs_quota_us: thousandths of a CPU. Its use is a rate and has no floor.
    Cpu,
}

impl Quantity {
    /// What a file limits, if it is one of these.
    pub fn of(file: &str) -> Option<Quantity> {
        match file {
            "memory.max" | "memory.limit_in_bytes" => Some(Quantity::Memory),
            "memory.memsw.limit_in_bytes" => Some(Quantity::MemoryAndSwap),
            "pids.max" => Some(Quantity::Pids),
            "cpu.max" | "cpu.cfs_quota_us" => Some(Quantity::Cpu),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Quantity::Memory => "memory",
            Quantity::MemoryAndSwap => "memory and swap",
            Quantity::Pids => "number of tasks",
            Quantity::Cpu => "CPU bandwidth (thousandths of a CPU)",
        }
    }
}

/// What is true of one quantity in one container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// In use now.
    pub used: Option<u64>,
    /// The tightest limit of the cgroups above.
    pub above: Option<u64>,
    /// What the limits of the other cgroups below the one with that limit add up to.
    pub beside: u64,
}

/// The number a limit file says; `None` for no limit. `period` is the one that goes with a v1 quota.
pub fn limit(quantity: Quantity, text: &str, period: u64) -> Option<u64> {
    let mut words = text.split_ascii_whitespace();
    let first = words.next().filter(|word| *word != "max" && !word.starts_with('-'))?.parse::<u64>().ok()?;
    match quantity {
        Quantity::Cpu => {
            let period = words.next().and_then(|word| word.parse().ok()).unwrap_or(period).max(1);
            Some(first.saturating_mul(1000) / period)
        }
        // v1 says no limit with the largest multiple of the page size.
        Quantity::Memory | Quantity::MemoryAndSwap => Some(first).filter(|bytes| *bytes < 1 << 62),
        Quantity::Pids => Some(first),
    }
}

/// Refuses a new limit that is below the use, above what a parent has, or that together with its siblings'
/// limits exceeds it.
pub fn check(write: &Write, quantity: Quantity, new: Option<u64>, facts: Facts) -> Result<()> {
    let refuse = |why: String| {
        let what = format!("refuse {} = {}: {} {why}", write.file, write.value, quantity.name());
        Err(Error::new(Stage::Cgroup, what).with_hint("nothing was written; --force insists"))
    };
    match (new, facts) {
        (Some(new), Facts { used: Some(used), .. }) if new < used => refuse(format!("in use is {used}")),
        (Some(new), Facts { above: Some(above), .. }) if new > above => refuse(format!("of a parent is {above}")),
        (Some(new), Facts { above: Some(above), beside, .. }) if new.saturating_add(beside) > above => {
            refuse(format!("of a parent is {above}, of which {beside} is given to others"))
        }
        _ => Ok(()),
    }
}
