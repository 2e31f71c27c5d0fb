//! What a container has used in all, and which of its limits it has reached.

use super::handle::Cgroup;
use super::member::Member;
use super::stats::read::{number, pairs};
use super::stats::v1::{NANOSECONDS_PER_TICK, blkio_entry};
use crate::error::Result;

/// The sums over a container's life. `None`: this kernel, or this cgroup, does not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// CPU time, in nanoseconds.
    pub cpu_ns: Option<u64>,
    /// Of it in user mode; on v1 in steps of 10 ms.
    pub user_ns: Option<u64>,
    /// Of it in the kernel.
    pub system_ns: Option<u64>,
    /// How long it had to wait for its CPU quota.
    pub throttled_ns: Option<u64>,
    /// In how many periods.
    pub throttled_periods: Option<u64>,
    /// The most memory at one time, in bytes (v2: since Linux 5.19).
    pub memory_peak: Option<u64>,
    /// The most swap at one time, in bytes (v2: since Linux 6.5).
    pub swap_peak: Option<u64>,
    /// How often memory was at its limit.
    pub memory_limit_hits: Option<u64>,
    /// How many processes were killed for want of memory.
    pub oom_kills: Option<u64>,
    /// The most tasks at one time (since Linux 6.12).
    pub pids_peak: Option<u64>,
    /// How often a task more was refused.
    pub pids_limit_hits: Option<u64>,
    /// Bytes read from block devices.
    pub read_bytes: Option<u64>,
    /// Bytes written to block devices.
    pub written_bytes: Option<u64>,
}

impl Cgroup {
    /// What was used so far.
    pub fn totals(&self) -> Result<Totals> {
        let mut totals = Totals::default();
        for member in &self.members {
            if member.is_v2() {
                v2(member, &mut totals)?;
            } else {
                v1(member, &mut totals)?;
            }
        }
        if let Some(member) = self.with("pids") {
            totals.pids_peak = number(member, "pids.peak")?;
            totals.pids_limit_hits = member.keyed("pids.events", "max")?;
        }
        totals.oom_kills = self.oom_kills()?;
        Ok(totals)
    }

    /// How much memory the kernel has for it, where that is counted (v2: all of it since Linux 5.18).
    pub fn kernel_memory(&self) -> Result<Option<u64>> {
        let Some(member) = self.with("memory") else { return Ok(None) };
        if !member.is_v2() {
            return number(member, "memory.kmem.usage_in_bytes");
        }
        let all = member.keyed("memory.stat", "kernel")?;
        if all.is_some() { Ok(all) } else { member.keyed("memory.stat", "slab") }
    }

    /// The CPU time used so far, in nanoseconds.
    pub fn cpu_ns(&self) -> Result<Option<u64>> {
        if let Some(member) = self.with("cpuacct") {
            return number(member, "cpuacct.usage");
        }
        let Some(member) = self.v2() else { return Ok(None) };
        Ok(member.keyed("cpu.stat", "usage_usec")?.map(|usec| usec * 1000))
    }
}

fn v2(member: &Member, totals: &mut Totals) -> Result<()> {
    // Usage is there without the controller, too; on a hybrid host v1 has said more.
    for (key, value) in pairs(&member.read_if_any("cpu.stat")?.unwrap_or_default()) {
        let total = match key {
            "usage_usec" => &mut totals.cpu_ns,
            "user_usec" => &mut totals.user_ns,
            "system_usec" => &mut totals.system_ns,
            "throttled_usec" => &mut totals.throttled_ns,
            "nr_throttled" => {
                totals.throttled_periods.get_or_insert(value);
                continue;
            }
            _ => continue,
        };
        total.get_or_insert(value * 1000);
    }
    if member.has("memory") {
        totals.memory_peak = number(member, "memory.peak")?;
        totals.swap_peak = number(member, "memory.swap.peak")?;
        totals.memory_limit_hits = member.keyed("memory.events", "max")?;
    }
    if member.has("io") {
        let text = member.read_if_any("io.stat")?.unwrap_or_default();
        let sum = |key: &str| {
            let values = text.split_ascii_whitespace().filter_map(|word| word.strip_prefix(key)?.parse::<u64>().ok());
            Some(values.sum())
        };
        (totals.read_bytes, totals.written_bytes) = (sum("rbytes="), sum("wbytes="));
    }
    Ok(())
}

/// Where the limit of memory and swap together is no higher than that of memory, it is the one that is reached. How often that
/// was nobody counts from Linux 6.15 on (`track_failcnt` of struct page_counter).
fn v1_memory_limit_hits(member: &Member) -> Result<Option<u64>> {
    // Memory is charged 64 pages at a time (MEMCG_CHARGE_BATCH): the last of them may not have fitted.
    const BATCH: u64 = 64 * 4096;
    let hits = number(member, "memory.failcnt")?;
    let with_swap = |file: &str| number(member, &format!("memory.memsw.{file}"));
    let both = hits.map(|hits| Ok(hits + with_swap("failcnt")?.unwrap_or(0))).transpose()?;
    if both != Some(0) {
        return Ok(both);
    }
    let reached = with_swap("limit_in_bytes")?.zip(with_swap("max_usage_in_bytes")?);
    Ok(both.filter(|_| reached.is_none_or(|(limit, peak)| peak.saturating_add(BATCH) < limit)))
}

fn v1(member: &Member, totals: &mut Totals) -> Result<()> {
    if member.has("cpuacct") {
        totals.cpu_ns = number(member, "cpuacct.usage")?;
        let ticks = |key: &str| Ok(member.keyed("cpuacct.stat", key)?.map(|ticks| ticks * NANOSECONDS_PER_TICK));
        (totals.user_ns, totals.system_ns) = (ticks("user")?, ticks("system")?);
    }
    if member.has("cpu") {
        totals.throttled_ns = member.keyed("cpu.stat", "throttled_time")?;
        totals.throttled_periods = member.keyed("cpu.stat", "nr_throttled")?;
    }
    if member.has("memory") {
        totals.memory_peak = number(member, "memory.max_usage_in_bytes")?;
        totals.memory_limit_hits = v1_memory_limit_hits(member)?;
    }
    if member.has("blkio") {
        // What the throttling policy counts is all there is, whatever the scheduler.
        let text = member.read_if_any("blkio.throttle.io_service_bytes_recursive")?;
        let sum = |op: &str| {
            let entries = text.as_deref()?.lines().filter_map(blkio_entry).filter(|entry| entry.op == op);
            Some(entries.map(|entry| entry.value).sum())
        };
        (totals.read_bytes, totals.written_bytes) = (sum("Read"), sum("Write"));
    }
    Ok(())
}
