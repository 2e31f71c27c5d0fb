//! What containers use, and by how much that has grown between two looks.

use brisk::cgroup::{Levels, Totals};
use brisk::error::Result;
use brisk::proc::pid_namespace;
use brisk::spec::status::Status;
use brisk::sys::process::monotonic_ns;

use crate::containers::{Discovery, Problems};
use crate::subject::Subject;

/// What one container uses. Everything that cannot be known is `None`.
#[derive(Clone, Debug)]
pub struct Reading {
    pub subject: Subject,
    pub totals: Totals,
    pub levels: Levels,
    pub rates: Rates,
}

impl Reading {
    /// Whether it may run where this pid namespace does not see it. In that of the host, where nothing is hidden, who is left in a cgroup is
    /// a process that has outlived the first.
    pub fn seems_hidden(&self) -> bool {
        let has_tasks = self.levels.pids.is_some_and(|pids| pids.now > 0);
        self.subject.status == Status::Stopped && has_tasks && !pid_namespace::is_initial()
    }
}

/// Growth in a second, between this look and the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Time on CPUs; 1 is one of them, all the time.
    pub cpus: Option<f64>,
    /// Time without a CPU for want of quota.
    pub throttled: Option<f64>,
    /// Bytes.
    pub read: Option<f64>,
    /// Bytes.
    pub written: Option<f64>,
}

/// All of them at one time.
#[derive(Debug, Default)]
pub struct Look {
    /// By the clock that does not jump.
    pub at_ns: u64,
    pub rows: Vec<Reading>,
    /// What could not be read.
    pub problems: Problems,
}

impl Look {
    /// Measures what was found.
    pub fn at(found: Discovery, before: Option<&Look>) -> Look {
        let at_ns = monotonic_ns();
        let mut look = Look { at_ns, rows: Vec::with_capacity(found.subjects.len()), problems: found.problems };
        for subject in found.subjects {
            match measure(&subject) {
                Ok((totals, levels)) => {
                    let mut row = Reading { subject, totals, levels, rates: Rates::default() };
                    if let Some((before, past)) = before.and_then(|before| Some((before, before.same(&row)?))) {
                        row.rates = rates(past, &row, at_ns.saturating_sub(before.at_ns));
                    }
                    if row.seems_hidden() {
                        look.problems.told.push(format!("{} is called stopped, but tasks are in its cgroup: its first process may be one of another pid namespace", row.subject.id));
                    }
                    look.rows.push(row);
                }
                Err(error) => look.problems.add(&subject.id, &error),
            }
        }
        look
    }

    /// Whose figures they are.
    pub fn subjects(&self) -> Vec<&Subject> {
        self.rows.iter().map(|row| &row.subject).collect()
    }

    /// What was read of the same container: its first process is the same.
    fn same(&self, now: &Reading) -> Option<&Reading> {
        let is = |row: &&Reading| {
            let (one, other) = (&row.subject, &now.subject);
            (&one.id, &one.root, one.init) == (&other.id, &other.root, other.init)
        };
        self.rows.iter().find(is)
    }
}

fn measure(subject: &Subject) -> Result<(Totals, Levels)> {
    match subject.open_cgroup()? {
        Some(cgroup) => Ok((cgroup.totals()?, cgroup.levels()?)),
        None => Ok((Totals::default(), Levels::default())),
    }
}

fn rates(before: &Reading, now: &Reading, ns: u64) -> Rates {
    #[expect(clippy::cast_precision_loss, reason = "shown with few digits")]
    let per_second = |before: Option<u64>, now: Option<u64>| {
        let grown = now?.saturating_sub(before?);
        (ns > 0).then(|| grown as f64 * 1e9 / ns as f64)
    };
    let share = |before, now| per_second(before, now).map(|ns| ns / 1e9);
    let (past, now) = (&before.totals, &now.totals);
    Rates {
        cpus: share(past.cpu_ns, now.cpu_ns),
        throttled: share(past.throttled_ns, now.throttled_ns),
        read: per_second(past.read_bytes, now.read_bytes),
        written: per_second(past.written_bytes, now.written_bytes),
    }
}
