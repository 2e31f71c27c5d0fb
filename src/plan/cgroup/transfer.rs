//! `update --move`: what one container gives and another one gets, in steps of which none lets both together have more than they
//! had. Pure.

use std::fmt;

use serde::Serialize;

use crate::error::{Error, Result, Stage};
use crate::plan::cgroup::files::{self, DEFAULT_PERIOD, MIN_QUOTA};
use crate::spec::resources::{Cpu, Memory, Pids, Resources};

/// How much is moved; 0 is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Bytes.
    pub memory: u64,
    /// CPU time, in microseconds of each [`DEFAULT_PERIOD`].
    pub cpu: u64,
    /// A number of tasks.
    pub pids: u64,
}

/// What CPU time comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuGrain {
    /// Microseconds.
    Microsecond,
    /// Whole percents of a CPU, which is what systemd keeps.
    Percent,
}

impl CpuGrain {
    fn size(self) -> u64 {
        match self {
            CpuGrain::Microsecond => 1,
            CpuGrain::Percent => DEFAULT_PERIOD / 100,
        }
    }
}

impl Amounts {
    /// The part of this step, which counts from 1, of so many: together they are the whole.
    pub fn part(self, step: u32, steps: u32, grain: CpuGrain) -> Amounts {
        let part = |whole: u64, grain: u64| {
            let until = |step: u32| {
                if step >= steps {
                    return whole;
                }
                let exact = u128::from(whole) * u128::from(step) / u128::from(steps.max(1));
                // No more than the whole.
                let exact = u64::try_from(exact).unwrap_or(whole);
                exact - exact % grain
            };
            until(step) - until(step.saturating_sub(1))
        };
        Amounts { memory: part(self.memory, 1), cpu: part(self.cpu, grain.size()), pids: part(self.pids, 1) }
    }

    /// These and those.
    #[must_use]
    pub fn and(self, more: Amounts) -> Amounts {
        Amounts {
            memory: self.memory.saturating_add(more.memory),
            cpu: self.cpu.saturating_add(more.cpu),
            pids: self.pids.saturating_add(more.pids),
        }
    }

    /// Refuses what cannot be had in this grain.
    pub fn check(self, grain: CpuGrain) -> Result<()> {
        if self.cpu.is_multiple_of(grain.size()) {
            return Ok(());
        }
        Err(Error::new(Stage::Cgroup, "move CPU time: systemd keeps whole percents of a CPU")
            .with_hint("cpus=0.01 is the least, and what it comes in"))
    }
}

/// As `--move` takes it.
impl fmt::Display for Amounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Amounts { memory, cpu, pids } = *self;
        let cpus = format!("{}.{:05}", cpu / DEFAULT_PERIOD, cpu % DEFAULT_PERIOD);
        let cpus = cpus.trim_end_matches('0').trim_end_matches('.');
        let parts =
            [(memory, format!("memory={memory}")), (cpu, format!("cpus={cpus}")), (pids, format!("pids={pids}"))];
        let parts: Vec<String> = parts.into_iter().filter(|(amount, _)| *amount > 0).map(|(_, text)| text).collect();
        f.write_str(&parts.join(","))
    }
}

/// A container and what it has.
#[derive(Clone, Copy, Debug)]
pub struct LimitHolder<'a> {
    /// Its name.
    pub id: &'a str,
    /// Its limits.
    pub has: &'a Resources,
}

/// Limits of what can be moved; none is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// Memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// How many CPUs' time.
    pub cpus: Option<f64>,
    /// Tasks.
    pub tasks: Option<u64>,
}

/// What is more than nothing; a limit of 0 and one that is lifted are none.
fn limited(limit: Option<i64>) -> Option<u64> {
    limit.and_then(|limit| u64::try_from(limit).ok()).filter(|limit| *limit > 0)
}

fn bandwidth(cpu: Option<&Cpu>) -> Option<(u64, u64)> {
    let period = files::CFS_PERIOD.given(cpu?.period).unwrap_or(DEFAULT_PERIOD);
    Some((limited(files::CFS_QUOTA.given(cpu?.quota))?, period))
}

impl Share {
    /// Of these limits.
    pub fn of(has: &Resources) -> Share {
        #[expect(clippy::cast_precision_loss, reason = "microseconds")]
        let cpus = bandwidth(has.cpu.as_ref()).map(|(quota, period)| quota as f64 / period as f64);
        Share {
            memory_bytes: limited(has.memory.as_ref().and_then(|memory| memory.limit)),
            cpus,
            tasks: limited(has.pids.as_ref().and_then(|pids| pids.limit)),
        }
    }

    /// What both have together; nothing is known of it where one has no limit.
    #[must_use]
    pub fn and(&self, other: &Share) -> Share {
        fn sum<T: std::ops::Add<Output = T>>(one: Option<T>, other: Option<T>) -> Option<T> {
            Some(one? + other?)
        }
        Share {
            memory_bytes: sum(self.memory_bytes, other.memory_bytes),
            // Of 0.1 and 0.2 nobody wants to know more.
            cpus: sum(self.cpus, other.cpus).map(|cpus| (cpus * 1e6).round() / 1e6),
            tasks: sum(self.tasks, other.tasks),
        }
    }
}

/// What changes of the limits of the first, which gives, and of the second, which gets.
pub fn transfer(
    from: LimitHolder<'_>,
    to: LimitHolder<'_>,
    amounts: Amounts,
    grain: CpuGrain,
) -> Result<[Resources; 2]> {
    let (mut less, mut more) = (Resources::default(), Resources::default());
    if amounts.memory > 0 {
        let moved = amounts.memory;
        let limit = |has: &Resources| limited(has.memory.as_ref().and_then(|memory| memory.limit));
        let [left, gained] = moved_of("memory", "bytes", [(from, limit(from.has)), (to, limit(to.has))], moved, 1)?;
        // Memory and swap together: what may be swapped stays as it is.
        let swap = |has: &Resources| limited(has.memory.as_ref().and_then(|memory| memory.swap));
        let lowered = swap(from.has).map(|swap| signed(swap.saturating_sub(moved)));
        let raised = swap(to.has).map(|swap| signed(swap.saturating_add(moved)));
        less.memory = Some(Memory { limit: Some(left), swap: lowered, ..Memory::default() });
        more.memory = Some(Memory { limit: Some(gained), swap: raised, ..Memory::default() });
    }
    if amounts.cpu > 0 {
        let [left, gained] = cpu(from, to, amounts.cpu, grain)?;
        less.cpu = Some(Cpu { quota: Some(left), ..Cpu::default() });
        more.cpu = Some(Cpu { quota: Some(gained), ..Cpu::default() });
    }
    if amounts.pids > 0 {
        let limit = |has: &Resources| limited(has.pids.as_ref().and_then(|pids| pids.limit));
        let both = [(from, limit(from.has)), (to, limit(to.has))];
        let [left, gained] = moved_of("tasks", "", both, amounts.pids, 1)?;
        less.pids = Some(Pids { limit: Some(left) });
        more.pids = Some(Pids { limit: Some(gained) });
    }
    Ok([less, more])
}

/// The quotas of both. Where periods differ what is not whole is lost, and never gained.
fn cpu(from: LimitHolder<'_>, to: LimitHolder<'_>, moved: u64, grain: CpuGrain) -> Result<[i64; 2]> {
    let quota = |of: LimitHolder<'_>| bandwidth(of.has.cpu.as_ref());
    let (one, other) = (quota(from), quota(to));
    let rounded = |bandwidth: Option<(u64, u64)>| {
        let (quota, period) = bandwidth?;
        // As it is kept: a quota that is no whole percent was rounded up (systemd::properties::round_quota).
        let percents = |quota: u64| quota.saturating_mul(100).div_ceil(period).saturating_mul(period) / 100;
        Some(if grain == CpuGrain::Percent { percents(quota) } else { quota })
    };
    let period = |bandwidth: Option<(u64, u64)>| bandwidth.map_or(DEFAULT_PERIOD, |(_, period)| period);
    let in_periods = |period: u64| u128::from(moved) * u128::from(period);
    let taken = u64::try_from(in_periods(period(one)).div_ceil(u128::from(DEFAULT_PERIOD))).unwrap_or(u64::MAX);
    let given = u64::try_from(in_periods(period(other)) / u128::from(DEFAULT_PERIOD)).unwrap_or(u64::MAX);
    let what = "CPU time";
    let left = rounded(one).ok_or_else(|| unlimited(from.id, what, TransferSide::Gives))?;
    let has = rounded(other).ok_or_else(|| unlimited(to.id, what, TransferSide::Gets))?;
    match left.checked_sub(taken) {
        Some(left) if left >= MIN_QUOTA => Ok([signed(left), signed(has.saturating_add(given))]),
        _ => {
            let what = format!("take {taken} µs of CPU time from {}: it has {left} µs in each period", from.id);
            Err(Error::new(Stage::Cgroup, what)
                .with_hint(format!("{MIN_QUOTA} µs have to stay, which is the least that the kernel takes")))
        }
    }
}

/// What is left of the first limit, and what becomes of the second; of the first `least` have to stay.
fn moved_of(
    what: &str,
    unit: &str,
    [(from, has), (to, gets)]: [(LimitHolder<'_>, Option<u64>); 2],
    moved: u64,
    least: u64,
) -> Result<[i64; 2]> {
    let has = has.ok_or_else(|| unlimited(from.id, what, TransferSide::Gives))?;
    let gets = gets.ok_or_else(|| unlimited(to.id, what, TransferSide::Gets))?;
    match has.checked_sub(moved) {
        Some(left) if left >= least => Ok([signed(left), signed(gets.saturating_add(moved))]),
        _ => {
            let unit = if unit.is_empty() { String::new() } else { format!("{unit} of ") };
            let what = format!("take {moved} {unit}{what} from {}: its limit is {has}", from.id);
            Err(Error::new(Stage::Cgroup, what)
                .with_hint(format!("{} is the most that can be moved", has.saturating_sub(least))))
        }
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TransferSide {
    Gives,
    Gets,
}

fn unlimited(id: &str, what: &str, side: TransferSide) -> Error {
    let flag = match what {
        "memory" => "--memory",
        "tasks" => "--pids-limit",
        _ => "--cpu-quota",
    };
    let (why, hint) = match side {
        TransferSide::Gives => ("what it gives would be nothing less for it", "gives"),
        TransferSide::Gets => ("what it gets would be nothing more for it", "gets"),
    };
    Error::new(Stage::Cgroup, format!("move {what}: {id} has no limit of it, so {why}"))
        .with_hint(format!("who {hint} needs a limit first: brisk update {flag} N {id}"))
}
