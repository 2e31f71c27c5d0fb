//! CPU shares, bandwidth and placement. Pure.

use crate::error::Result;
use crate::spec::resources::Cpu;

use crate::plan::cgroup::collect::{Collector, refuse};
use crate::plan::cgroup::files;
use crate::plan::cgroup::write::{Version, WhenMissing};
use crate::spec::number_list;

/// What cpu.shares may be; the kernel silently clamps what is not.
const SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;

/// The period of real-time scheduling where none is given, in microseconds (kernel/sched/rt.c).
const RT_PERIOD: u64 = 1_000_000;

/// A whole percent of one CPU, in microseconds of each second.
const PERCENT: u64 = 10_000;

/// The whole percents of a CPU that a quota is, rounded up: what systemd keeps of it.
pub fn percents(quota: u64, period: u64) -> u64 {
    let per_second = u128::from(quota) * 1_000_000 / u128::from(period.max(1));
    u64::try_from(per_second).unwrap_or(u64::MAX).div_ceil(PERCENT)
}

/// So many percents of a CPU in microseconds of each second; all ones where they do not fit, which is systemd's word for no limit.
pub fn percents_per_second(percents: u64) -> u64 {
    percents.saturating_mul(PERCENT)
}

/// The quota that is so many percents of a CPU, as systemd writes it: of a period that is no multiple of 100 µs less than a
/// microsecond is lost.
pub fn quota_of_percents(percents: u64, period: u64) -> u64 {
    (u128::from(percents) * u128::from(period) / 100).try_into().unwrap_or(u64::MAX)
}

/// The least quota of whole percents that is no lower than this one: what is in force where systemd keeps it.
pub fn rounded_quota(quota: u64, period: u64) -> u64 {
    quota.max(quota_of_percents(percents(quota, period), period))
}

/// The writes of the cpu controller.
pub fn bandwidth(cpu: &Cpu, version: Version, out: &mut Collector) -> Result<()> {
    let Cpu {
        quota,
        burst,
        idle,
        realtime_period,
        realtime_runtime,
        // `v1` and `v2`.
        shares: _,
        period: _,
        // `placement`.
        cpus: _,
        mems: _,
    } = cpu;
    if let Some(idle) = idle.filter(|i| !(0..=1).contains(i)) {
        return Err(refuse("cpu.idle", format!("linux.resources.cpu.idle {idle} is neither 0 nor 1")));
    }
    if let (Some(quota @ 1..), Some(burst)) = (*quota, *burst)
        && burst > quota as u64
    {
        return Err(refuse("cpu.burst", format!("linux.resources.cpu.burst {burst} is above the quota {quota}")));
    }
    let period = realtime_period.filter(|period| *period > 0).unwrap_or(RT_PERIOD);
    if let Some(runtime @ 1..) = *realtime_runtime
        && runtime as u64 > period
    {
        let what = format!("linux.resources.cpu.realtimeRuntime {runtime} is above the period {period}");
        return Err(refuse("cpu.realtimeRuntime", what));
    }
    match version {
        Version::V1 => v1(cpu, out)?,
        Version::V2 => v2(cpu, out),
    }
    out.put_number(&files::RT_PERIOD, *realtime_period);
    out.put_number(&files::RT_RUNTIME, *realtime_runtime);
    if let Some(idle) = *idle {
        out.put_or(&files::CPU_IDLE, idle, zero_may_miss(idle.into()));
    }
    Ok(())
}

/// A file that only newer kernels have, whose absence means 0.
fn zero_may_miss(value: i128) -> WhenMissing {
    if value == 0 { WhenMissing::Skip } else { WhenMissing::Fail }
}

// The order of period, quota and burst depends on the values they replace: whoever applies the writes
// retries the refused ones last. The weight comes before idle: an idle cgroup refuses a weight.
fn v1(cpu: &Cpu, out: &mut Collector) -> Result<()> {
    if let Some(shares) = files::CPU_SHARES.given(cpu.shares) {
        if shares < *SHARES.start() {
            return Err(refuse("cpu.shares", format!("the minimum allowed cpu-shares is {}", SHARES.start())));
        }
        if shares > *SHARES.end() {
            return Err(refuse("cpu.shares", format!("the maximum allowed cpu-shares is {}", SHARES.end())));
        }
    }
    out.put_number(&files::CPU_SHARES, cpu.shares);
    out.put_number(&files::CFS_PERIOD, cpu.period);
    out.put_number(&files::CFS_QUOTA, cpu.quota);
    if let Some(burst) = cpu.burst {
        out.put_or(&files::CFS_BURST, burst, zero_may_miss(burst.into()));
    }
    Ok(())
}

fn v2(cpu: &Cpu, out: &mut Collector) {
    if let Some(shares) = files::CPU_WEIGHT.given(cpu.shares) {
        out.put_text(&files::CPU_WEIGHT, weight_from_shares(shares));
    }
    // The period is v1's field, and means the same here.
    let (quota, period) = (files::CPU_MAX.given(cpu.quota), files::CFS_PERIOD.given(cpu.period));
    if quota.is_some() || period.is_some() {
        let quota = files::CPU_MAX.text(quota.unwrap_or(-1));
        out.put_text(&files::CPU_MAX, format!("{quota} {}", period.unwrap_or(files::DEFAULT_PERIOD)));
    }
    if let Some(burst) = cpu.burst {
        out.put_or(&files::CPU_MAX_BURST, burst, zero_may_miss(burst.into()));
    }
}

/// The writes of the cpuset controller: before any process joins.
pub fn placement(cpu: &Cpu, out: &mut Collector) {
    for (file, value) in [(&files::CPUSET_CPUS, &cpu.cpus), (&files::CPUSET_MEMS, &cpu.mems)] {
        if let Some(list) = value.as_deref().map(str::trim).filter(|list| !list.is_empty()) {
            out.put_text(file, list);
        }
    }
}

/// cpu.weight (1 to 10000, default 100) from cpu.shares (2 to 262144, default 1024).
///
/// A parabola in log2(shares) for log10(weight) that maps both ends and the default onto each other, as
/// runc does since 1.3.2. (The older straight line made 1024 into 39.)
pub fn weight_from_shares(shares: u64) -> u64 {
    if shares <= *SHARES.start() {
        return 1;
    }
    if shares >= *SHARES.end() {
        return 10_000;
    }
    let log2 = (shares as f64).log2();
    let log10_weight = (log2 * log2 + 125.0 * log2) / 612.0 - 7.0 / 34.0;
    10f64.powf(log10_weight).ceil() as u64
}

/// The numbers of a list that the kernel wrote, `0-2,4`.
pub fn numbers(list: &str) -> Vec<u16> {
    let mask = number_list::mask(list).unwrap_or_default();
    number_list::numbers(&mask).filter_map(|number| u16::try_from(number).ok()).collect()
}
