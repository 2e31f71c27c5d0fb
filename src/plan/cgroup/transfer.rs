//! `update --move`: what one container gives and another one gets, in steps of which none lets both together have more than they
//! had. Pure.

use std::fmt;

use serde::Serialize;

use crate::error::{Error, Result, Stage};
use crate::plan::cgroup::cpu::{percents, quota_of_percents, rounded_quota};
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

/// What CPU time comes in, the finer first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
        let of_step = |whole: u64, grain: u64| {
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
        Amounts { memory: of_step(self.memory, 1), cpu: of_step(self.cpu, grain.size()), pids: of_step(self.pids, 1) }
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
    /// What its CPU time comes in.
    pub grain: CpuGrain,
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

/// A limit of CPU time.
#[derive(Clone, Copy)]
struct Bandwidth {
    /// Microseconds of each period.
    quota: u64,
    /// Microseconds.
    period: u64,
    grain: CpuGrain,
}

impl Bandwidth {
    /// What is in force, which in whole percents may be more than was asked for.
    fn of(has: &Resources, grain: CpuGrain) -> Option<Bandwidth> {
        let cpu = has.cpu.as_ref()?;
        let period = files::CFS_PERIOD.given(cpu.period).unwrap_or(DEFAULT_PERIOD);
        let quota = limited(files::CFS_QUOTA.given(cpu.quota))?;
        let quota = if grain == CpuGrain::Percent { rounded_quota(quota, period) } else { quota };
        Some(Bandwidth { quota, period, grain })
    }

    /// The quota with so much less, where there is as much.
    fn lowered(self, moved: u64) -> Option<u64> {
        match self.grain {
            CpuGrain::Microsecond => self.quota.checked_sub(scaled_up(moved, self.period, DEFAULT_PERIOD)),
            CpuGrain::Percent => {
                let left = percents(self.quota, self.period).checked_sub(moved.div_ceil(self.grain.size()))?;
                Some(quota_of_percents(left, self.period))
            }
        }
    }

    /// The quota with so much more.
    fn raised(self, moved: u64) -> u64 {
        match self.grain {
            CpuGrain::Microsecond => self.quota.saturating_add(scaled_down(moved, self.period, DEFAULT_PERIOD)),
            CpuGrain::Percent => {
                let sum = percents(self.quota, self.period).saturating_add(moved / self.grain.size());
                quota_of_percents(sum, self.period)
            }
        }
    }
}

/// What `part` of `of` is of `to`, rounded down.
fn scaled_down(part: u64, to: u64, of: u64) -> u64 {
    (u128::from(part) * u128::from(to) / u128::from(of)).try_into().unwrap_or(u64::MAX)
}

/// What `part` of `of` is of `to`, rounded up.
fn scaled_up(part: u64, to: u64, of: u64) -> u64 {
    (u128::from(part) * u128::from(to)).div_ceil(u128::from(of)).try_into().unwrap_or(u64::MAX)
}

impl Share {
    /// Of these limits.
    pub fn of(has: &Resources, grain: CpuGrain) -> Share {
        #[expect(clippy::cast_precision_loss, reason = "microseconds")]
        let cpus = Bandwidth::of(has, grain).map(|Bandwidth { quota, period, .. }| quota as f64 / period as f64);
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
pub fn transfer(from: LimitHolder<'_>, to: LimitHolder<'_>, amounts: Amounts) -> Result<[Resources; 2]> {
    let (mut less, mut more) = (Resources::default(), Resources::default());
    if amounts.memory > 0 {
        let moved = amounts.memory;
        let limit = |has: &Resources| limited(has.memory.as_ref().and_then(|memory| memory.limit));
        let [left, gained] = moved_of(Quantity::Memory, [(from, limit(from.has)), (to, limit(to.has))], moved, 1)?;
        // Memory and swap together: what may be swapped stays as it is.
        let swap = |has: &Resources| limited(has.memory.as_ref().and_then(|memory| memory.swap));
        let lowered = swap(from.has).map(|swap| signed(swap.saturating_sub(moved)));
        let raised = swap(to.has).map(|swap| signed(swap.saturating_add(moved)));
        less.memory = Some(Memory { limit: Some(left), swap: lowered, ..Memory::default() });
        more.memory = Some(Memory { limit: Some(gained), swap: raised, ..Memory::default() });
    }
    if amounts.cpu > 0 {
        let [left, gained] = cpu(from, to, amounts.cpu)?;
        less.cpu = Some(Cpu { quota: Some(left), ..Cpu::default() });
        more.cpu = Some(Cpu { quota: Some(gained), ..Cpu::default() });
    }
    if amounts.pids > 0 {
        let limit = |has: &Resources| limited(has.pids.as_ref().and_then(|pids| pids.limit));
        let both = [(from, limit(from.has)), (to, limit(to.has))];
        let [left, gained] = moved_of(Quantity::Tasks, both, amounts.pids, 1)?;
        less.pids = Some(Pids { limit: Some(left) });
        more.pids = Some(Pids { limit: Some(gained) });
    }
    Ok([less, more])
}

/// The quotas of both, each in its own grain. Where periods differ what is not whole is lost, and never gained; of two in whole
/// percents those are kept, and of a period that is no multiple of 100 µs they come to less than a microsecond more or less.
fn cpu(from: LimitHolder<'_>, to: LimitHolder<'_>, moved: u64) -> Result<[i64; 2]> {
    let in_force = |of: LimitHolder<'_>| Bandwidth::of(of.has, of.grain);
    let has = in_force(from).ok_or_else(|| unlimited(from.id, Quantity::CpuTime, TransferSide::Gives))?;
    let gets = in_force(to).ok_or_else(|| unlimited(to.id, Quantity::CpuTime, TransferSide::Gets))?;
    let (mut left, mut gained) = (has.lowered(moved), gets.raised(moved));
    // Percents of an odd period are not whole: whoever has microseconds gets no more than was given, and gives as much as is got.
    if gets.grain == CpuGrain::Microsecond {
        let given = has.quota.saturating_sub(left.unwrap_or_default());
        gained = gained.min(gets.quota.saturating_add(scaled_down(given, gets.period, has.period)));
    }
    if has.grain == CpuGrain::Microsecond {
        let taken = scaled_up(gained.saturating_sub(gets.quota), has.period, gets.period);
        left = left.and_then(|left| Some(left.min(has.quota.checked_sub(taken)?)));
    }
    let burst = from.has.cpu.as_ref().and_then(|cpu| cpu.burst).unwrap_or_default();
    match left {
        Some(left) if left < burst => {
            let what = format!("leave {left} µs of CPU time in each period to {}: its burst is {burst} µs", from.id);
            Err(Error::new(Stage::Cgroup, what).with_hint(format!(
                "the kernel takes no quota below the burst: brisk update --cpu-burst N {} first",
                from.id
            )))
        }
        Some(left) if left >= MIN_QUOTA => Ok([signed(left), signed(gained)]),
        _ => {
            let taken = scaled_up(moved, has.period, DEFAULT_PERIOD);
            let what = format!("take {taken} µs of CPU time from {}: it has {} µs in each period", from.id, has.quota);
            Err(Error::new(Stage::Cgroup, what)
                .with_hint(format!("{MIN_QUOTA} µs have to stay, which is the least that the kernel takes")))
        }
    }
}

/// What is left of the first limit, and what becomes of the second; of the first `least` have to stay.
fn moved_of(
    quantity: Quantity,
    [(from, has), (to, gets)]: [(LimitHolder<'_>, Option<u64>); 2],
    moved: u64,
    least: u64,
) -> Result<[i64; 2]> {
    let has = has.ok_or_else(|| unlimited(from.id, quantity, TransferSide::Gives))?;
    let gets = gets.ok_or_else(|| unlimited(to.id, quantity, TransferSide::Gets))?;
    match has.checked_sub(moved) {
        Some(left) if left >= least => Ok([signed(left), signed(gets.saturating_add(moved))]),
        _ => {
            let unit = if quantity == Quantity::Memory { "bytes of " } else { "" };
            let what = format!("take {moved} {unit}{} from {}: its limit is {has}", quantity.name(), from.id);
            Err(Error::new(Stage::Cgroup, what)
                .with_hint(format!("{} is the most that can be moved", has.saturating_sub(least))))
        }
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quantity {
    Memory,
    CpuTime,
    Tasks,
}

impl Quantity {
    fn name(self) -> &'static str {
        match self {
            Quantity::Memory => "memory",
            Quantity::CpuTime => "CPU time",
            Quantity::Tasks => "tasks",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TransferSide {
    Gives,
    Gets,
}

fn unlimited(id: &str, quantity: Quantity, side: TransferSide) -> Error {
    let flag = match quantity {
        Quantity::Memory => "--memory",
        Quantity::CpuTime => "--cpu-quota",
        Quantity::Tasks => "--pids-limit",
    };
    let what = quantity.name();
    let (why, hint) = match side {
        TransferSide::Gives => ("what it gives would be nothing less for it", "gives"),
        TransferSide::Gets => ("what it gets would be nothing more for it", "gets"),
    };
    Error::new(Stage::Cgroup, format!("move {what}: {id} has no limit of it, so {why}"))
        .with_hint(format!("who {hint} needs a limit first: brisk update {flag} N {id}"))
}
