//! Looks at what is in use and at the limits around the container before an update: its checks and its
//! admission.

use std::path::Path;

use crate::error::{Error, Result, Stage};
use crate::plan::cgroup::{UsageCheck, Write};
use crate::plan::cgroup_admission::{Facts, Quantity, check, limit};
use crate::sys::cgfs;

use super::member::Member;
use super::stats::number;
use super::{Cgroup, SavedDir};

/// Whether an update is checked against what is in use and what the parents can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Refuse what cannot be given.
    Check,
    /// The caller insists.
    Force,
}

/// The kernel's default period in microseconds.
const PERIOD: u64 = 100_000;

impl Cgroup {
    /// checkBeforeUpdate. Usage that cannot be read is no reason to refuse, as in runc.
    pub fn check_usage(&self, checks: &[UsageCheck]) -> Result<()> {
        for wanted in checks {
            let Some(member) = self.with(&wanted.controller) else { continue };
            let Some(used) = number(member, &wanted.file)? else { continue };
            if wanted.limit <= used {
                let what = format!("rejecting {} {} <= usage {used}", wanted.name, wanted.limit);
                return Err(Error::new(Stage::Cgroup, what));
            }
        }
        Ok(())
    }

    /// Whether all of `writes` can be given: none below what is in use, and all within what the parents
    /// have left. Nothing is written.
    pub fn admission(&self, writes: &[Write], admission: Admission) -> Result<()> {
        if admission == Admission::Force {
            return Ok(());
        }
        let period = writes.iter().find(|w| w.file == "cpu.cfs_period_us").and_then(|w| w.value.parse().ok());
        for write in writes {
            let (Some(quantity), Some(member)) = (Quantity::of(&write.file), self.with(&write.controller)) else {
                continue;
            };
            let period = match period {
                Some(period) => period,
                None => number(member, "cpu.cfs_period_us")?.unwrap_or(PERIOD),
            };
            let new = limit(quantity, &write.value, period);
            if new.is_some() {
                check(write, quantity, new, facts(member, quantity, &write.file)?)?;
            }
        }
        Ok(())
    }
}

fn facts(member: &Member, quantity: Quantity, file: &str) -> Result<Facts> {
    let used = match (quantity, member.is_v2()) {
        (Quantity::Memory, true) => number(member, "memory.current")?,
        (Quantity::Memory, false) => number(member, "memory.usage_in_bytes")?,
        (Quantity::MemoryAndSwap, _) => number(member, "memory.memsw.usage_in_bytes")?,
        (Quantity::Pids, _) => number(member, "pids.current")?,
        (Quantity::Cpu, _) => None,
    };
    let mut facts = Facts { used, above: None, beside: 0 };
    let mut child = member.dir.path.as_path();
    while let Some(parent) = child.parent().filter(|p| p.starts_with(&member.dir.mount_point)) {
        let Some(at) = open(member, parent) else { break };
        let above = current(&at, quantity, file)?;
        if above.is_some_and(|above| facts.above.is_none_or(|known| above < known)) {
            facts.above = above;
            facts.beside = given(&at, child, quantity, file)?;
        }
        child = parent;
    }
    Ok(facts)
}

/// A parent that this user may not look at has no say.
fn open(member: &Member, path: &Path) -> Option<Member> {
    let fd = cgfs::open_dir(path).ok()?;
    Some(Member::new(fd, SavedDir { path: path.to_owned(), ..member.dir.clone() }))
}

fn current(member: &Member, quantity: Quantity, file: &str) -> Result<Option<u64>> {
    let period = match quantity {
        Quantity::Cpu => number(member, "cpu.cfs_period_us")?.unwrap_or(PERIOD),
        Quantity::Memory | Quantity::MemoryAndSwap | Quantity::Pids => PERIOD,
    };
    Ok(member.read_if_any(file)?.and_then(|text| limit(quantity, &text, period)))
}

/// What the limits of the children of `parent` other than `but` add up to. Those without a limit count nothing:
/// nobody promised them anything.
fn given(parent: &Member, but: &Path, quantity: Quantity, file: &str) -> Result<u64> {
    let mut sum: u64 = 0;
    for name in parent.children().unwrap_or_default() {
        let path = parent.dir.path.join(&name);
        if path == but {
            continue;
        }
        if let Some(sibling) = open(parent, &path) {
            sum = sum.saturating_add(current(&sibling, quantity, file)?.unwrap_or(0));
        }
    }
    Ok(sum)
}
