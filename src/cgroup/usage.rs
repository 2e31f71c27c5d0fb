//! Looks at what is in use and at the limits around the container before an update: its checks and its
//! admission.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result, Stage};
use crate::plan::cgroup::admission::{Facts, Quantity, check, limit};
use crate::plan::cgroup::{UsageCheck, Write};

use super::file::open_dir;
use super::handle::Cgroup;
use super::member::Member;
use super::saved::SavedDir;
use super::stats::read::number;

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

    /// What `writes` will make of this container's limits: what others that are updated with it are measured by.
    pub fn planned(&self, writes: &[Write]) -> Result<Planned> {
        let mut planned = Planned::default();
        for it in self.limited(writes)? {
            planned.0.push((it.member.dir.path.clone(), it.quantity, it.new));
        }
        Ok(planned)
    }

    /// Whether all of `writes` can be given: none below what is in use, and all within what the parents
    /// have left once everything that is `planned` is done. Nothing is written.
    pub fn admission(&self, writes: &[Write], admission: Admission, planned: &Planned) -> Result<()> {
        if admission == Admission::Force {
            return Ok(());
        }
        for it in self.limited(writes)? {
            if it.new.is_some() {
                check(it.write, it.quantity, it.new, facts(it.member, it.quantity, &it.write.file, planned)?)?;
            }
        }
        Ok(())
    }

    /// For each of the writes by how much it raises its limit over the one there is: negative where it lowers it.
    pub fn growth(&self, writes: &[Write]) -> Result<Vec<(String, i128)>> {
        let number = |limit: Option<u64>| limit.map_or(i128::from(u64::MAX), i128::from);
        let mut growths = Vec::new();
        for it in self.limited(writes)? {
            let old = current(it.member, it.quantity, &it.write.file, &Planned::default())?;
            growths.push((it.write.controller.clone(), number(it.new) - number(old)));
        }
        Ok(growths)
    }

    /// The writes that limit a quantity, with the limit they will make.
    fn limited<'a>(&'a self, writes: &'a [Write]) -> Result<Vec<Limited<'a>>> {
        let period = writes.iter().find(|w| w.file == "cpu.cfs_period_us").and_then(|w| w.value.parse().ok());
        let mut limited = Vec::new();
        for write in writes {
            let (Some(quantity), Some(member)) = (Quantity::of(&write.file), self.with(&write.controller)) else {
                continue;
            };
            let period = match period {
                Some(period) => period,
                None => number(member, "cpu.cfs_period_us")?.unwrap_or(PERIOD),
            };
            limited.push(Limited { write, quantity, member, new: limit(quantity, &write.value, period) });
        }
        Ok(limited)
    }
}

/// A write that limits a quantity.
struct Limited<'a> {
    write: &'a Write,
    quantity: Quantity,
    member: &'a Member,
    new: Option<u64>,
}

/// Limits that several containers will have: cgroup directory, quantity, limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Planned(Vec<(PathBuf, Quantity, Option<u64>)>);

impl Planned {
    /// Adds those of another container.
    pub fn add(&mut self, other: Planned) {
        self.0.extend(other.0);
    }

    /// The limit a cgroup will have; `None` when it stays as it is.
    fn limit(&self, path: &Path, quantity: Quantity) -> Option<Option<u64>> {
        let found = self.0.iter().find(|(at, what, _)| at == path && *what == quantity);
        found.map(|(_, _, limit)| *limit)
    }
}

fn facts(member: &Member, quantity: Quantity, file: &str, planned: &Planned) -> Result<Facts> {
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
        let above = current(&at, quantity, file, planned)?;
        if above.is_some_and(|above| facts.above.is_none_or(|known| above < known)) {
            facts.above = above;
            facts.beside = given(&at, child, quantity, file, planned)?;
        }
        child = parent;
    }
    Ok(facts)
}

/// A parent that this user may not look at has no say.
fn open(member: &Member, path: &Path) -> Option<Member> {
    let fd = open_dir(path).ok()?;
    Some(Member::new(fd, SavedDir { path: path.to_owned(), ..member.dir.clone() }))
}

fn current(member: &Member, quantity: Quantity, file: &str, planned: &Planned) -> Result<Option<u64>> {
    if let Some(limit) = planned.limit(&member.dir.path, quantity) {
        return Ok(limit);
    }
    let period = match quantity {
        Quantity::Cpu => number(member, "cpu.cfs_period_us")?.unwrap_or(PERIOD),
        Quantity::Memory | Quantity::MemoryAndSwap | Quantity::Pids => PERIOD,
    };
    Ok(member.read_if_any(file)?.and_then(|text| limit(quantity, &text, period)))
}

/// What the limits of the children of `parent` other than `but` add up to. Those without a limit count nothing:
/// nobody promised them anything.
fn given(parent: &Member, but: &Path, quantity: Quantity, file: &str, planned: &Planned) -> Result<u64> {
    let mut sum: u64 = 0;
    for name in parent.children().unwrap_or_default() {
        let path = parent.dir.path.join(&name);
        if path == but {
            continue;
        }
        if let Some(sibling) = open(parent, &path) {
            sum = sum.saturating_add(current(&sibling, quantity, file, planned)?.unwrap_or(0));
        }
    }
    Ok(sum)
}
