//! Looks at what is in use and at the limits around the container before an update: its checks and its
//! admission.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result, Stage};
use crate::plan::cgroup::admission::{Surroundings, check, limit};
use crate::plan::cgroup::files::{self, Capacity, LimitFile};
use crate::plan::cgroup::{UsageCheck, Write};

use super::file::open_dir;
use super::handle::Cgroup;
use super::member::Member;
use super::saved::SavedDir;
use super::stats::read::number;
use super::walk::names_in;

/// Whether an update is checked against what is in use and what the parents can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Refuse what cannot be given, unless the caller insists.
    Check,
    /// Refuse it, whoever insists.
    Always,
    /// The caller insists.
    Force,
}

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
    pub fn planned(&self, writes: &[Write]) -> Result<LimitsToBe> {
        let mut planned = LimitsToBe::default();
        for limited in self.limited(writes)? {
            planned.0.push((limited.member.dir.path.clone(), limited.capacity, limited.new));
        }
        Ok(planned)
    }

    /// Whether all of `writes` can be given: none below what is in use, and all within what the parents
    /// have left once everything that is `planned` is done. Nothing is written.
    pub fn admission(&self, writes: &[Write], admission: Admission, planned: &LimitsToBe) -> Result<()> {
        let hint = match admission {
            Admission::Check => "nothing was written; --force insists",
            Admission::Always => "nothing was changed",
            Admission::Force => return Ok(()),
        };
        for limited in self.limited(writes)?.iter().filter(|limited| limited.new.is_some()) {
            check(limited.write, limited.capacity, limited.new, limited.surroundings(planned)?)
                .map_err(|error| error.with_hint(hint))?;
        }
        Ok(())
    }

    /// For each of the writes by how much it raises its limit over the one there is: negative where it lowers it.
    pub fn growth(&self, writes: &[Write]) -> Result<Vec<(String, i128)>> {
        let number = |limit: Option<u64>| limit.map_or(i128::from(u64::MAX), i128::from);
        let mut growths = Vec::new();
        for limited in self.limited(writes)? {
            let old = limited.current(limited.member, &LimitsToBe::default())?;
            growths.push((limited.write.controller.clone(), number(limited.new) - number(old)));
        }
        Ok(growths)
    }

    /// The writes that give a part of a capacity, with the limit they will make.
    fn limited<'a>(&'a self, writes: &'a [Write]) -> Result<Vec<Limited<'a>>> {
        let period = writes.iter().find(|w| w.file == files::CFS_PERIOD.name).and_then(|w| w.value.parse().ok());
        let mut limited = Vec::new();
        for write in writes {
            let Some(file) = files::find(&write.file) else { continue };
            let (Some(capacity), Some(member)) = (file.capacity, self.with(&write.controller)) else { continue };
            let period = match period {
                Some(period) => period,
                None => period_of(member)?,
            };
            limited.push(Limited { write, file, capacity, member, new: limit(capacity, &write.value, period) });
        }
        Ok(limited)
    }
}

fn period_of(member: &Member) -> Result<u64> {
    Ok(number(member, files::CFS_PERIOD.name)?.unwrap_or(files::DEFAULT_PERIOD))
}

/// A write that gives a part of a capacity.
struct Limited<'a> {
    write: &'a Write,
    file: &'static LimitFile,
    capacity: Capacity,
    member: &'a Member,
    new: Option<u64>,
}

/// Limits that several containers will have: cgroup directory, capacity, limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitsToBe(Vec<(PathBuf, Capacity, Option<u64>)>);

impl LimitsToBe {
    /// Adds those of another container.
    pub fn add(&mut self, other: LimitsToBe) {
        self.0.extend(other.0);
    }

    /// The limit a cgroup will have; `None` when it stays as it is.
    fn limit(&self, path: &Path, capacity: Capacity) -> Option<Option<u64>> {
        let found = self.0.iter().find(|(at, what, _)| at == path && *what == capacity);
        found.map(|(_, _, limit)| *limit)
    }
}

impl Limited<'_> {
    fn surroundings(&self, planned: &LimitsToBe) -> Result<Surroundings> {
        let used = self.file.used.map_or(Ok(None), |file| number(self.member, file))?;
        let mut around = Surroundings { used, above: None, siblings: 0 };
        let mut child = self.member.dir.path.as_path();
        while let Some(parent) = child.parent().filter(|p| p.starts_with(&self.member.dir.mount_point)) {
            let Some(at) = open(self.member, parent) else { break };
            let above = self.current(&at, planned)?;
            if above.is_some_and(|above| around.above.is_none_or(|known| above < known)) {
                around.above = above;
                around.siblings = self.given(&at, child, planned)?;
            }
            child = parent;
        }
        Ok(around)
    }

    fn current(&self, member: &Member, planned: &LimitsToBe) -> Result<Option<u64>> {
        if let Some(limit) = planned.limit(&member.dir.path, self.capacity) {
            return Ok(limit);
        }
        let period = match self.capacity {
            Capacity::Cpu => period_of(member)?,
            Capacity::Memory | Capacity::MemoryAndSwap | Capacity::Pids => files::DEFAULT_PERIOD,
        };
        Ok(member.read_if_any(&self.write.file)?.and_then(|text| limit(self.capacity, &text, period)))
    }

    /// What the limits of the children of `parent` other than `but` add up to. Those without a limit count nothing:
    /// nobody promised them anything.
    fn given(&self, parent: &Member, but: &Path, planned: &LimitsToBe) -> Result<u64> {
        let mut sum: u64 = 0;
        for name in parent.fd().and_then(names_in).unwrap_or_default() {
            let path = parent.dir.path.join(OsStr::from_bytes(name.to_bytes()));
            if path == but {
                continue;
            }
            if let Some(sibling) = open(parent, &path) {
                sum = sum.saturating_add(self.current(&sibling, planned)?.unwrap_or(0));
            }
        }
        Ok(sum)
    }
}

/// A parent that this user may not look at has no say.
fn open(member: &Member, path: &Path) -> Option<Member> {
    let fd = open_dir(path).ok()?;
    Some(Member::new(fd, SavedDir { path: path.to_owned(), ..member.dir.clone() }))
}
