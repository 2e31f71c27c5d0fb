//! Statistics of cgroup v2.

use crate::error::Result;
use crate::plan::cgroup::files;

use crate::cgroup::member::Member;
use crate::cgroup::stats::read::{huge_page_sizes, number, pairs, psi};
use crate::cgroup::stats::types::{BlkioEntry, BlkioStats, HugetlbStats, MemoryEntry, Pressure, Stats};

/// Adds what the v2 cgroup tells. On a hybrid host that is pressure alone: the numbers come from v1, whose
/// controllers have them.
pub(in crate::cgroup) fn read(member: &Member, stats: &mut Stats) -> Result<()> {
    if member.has("memory") {
        memory(member, stats)?;
    }
    if member.has("io") {
        io(member, &mut stats.blkio)?;
    }
    if member.has("pids") {
        pids(member, stats)?;
    }
    if member.has("hugetlb") {
        hugetlb(member, stats)?;
    }
    // cpu.stat is there without the controller, too.
    if stats.cpu.usage.total == 0 {
        cpu(member, stats)?;
    }
    let Pressure { cpu, memory, io } = pressure(member)?;
    (stats.cpu.psi, stats.memory.psi, stats.blkio.psi) = (cpu, memory, io);
    Ok(())
}

/// Who has waited for what.
pub(in crate::cgroup) fn pressure(member: &Member) -> Result<Pressure> {
    Ok(Pressure {
        cpu: psi(member, "cpu.pressure")?,
        memory: psi(member, "memory.pressure")?,
        io: psi(member, "io.pressure")?,
    })
}

fn cpu(member: &Member, stats: &mut Stats) -> Result<()> {
    for (key, value) in pairs(&member.read_if_any("cpu.stat")?.unwrap_or_default()) {
        match key {
            "usage_usec" => stats.cpu.usage.total = value * 1000,
            "user_usec" => stats.cpu.usage.user = value * 1000,
            "system_usec" => stats.cpu.usage.kernel = value * 1000,
            "nr_periods" => stats.cpu.throttling.periods = value,
            "nr_throttled" => stats.cpu.throttling.throttled_periods = value,
            "throttled_usec" => stats.cpu.throttling.throttled_time = value * 1000,
            _ => {}
        }
    }
    Ok(())
}

fn pids(member: &Member, stats: &mut Stats) -> Result<()> {
    stats.pids.current = number(member, "pids.current")?.unwrap_or(0);
    stats.pids.limit = number(member, files::PIDS_MAX.name)?.filter(|max| *max != u64::MAX).unwrap_or(0);
    Ok(())
}

/// As on v1, `swap` is memory and swap together; its maximum is not known.
fn memory(member: &Member, stats: &mut Stats) -> Result<()> {
    let raw = member.read_if_any("memory.stat")?.unwrap_or_default();
    let memory = &mut stats.memory;
    memory.raw.extend(pairs(&raw).map(|(key, value)| (key.to_owned(), value)));
    memory.cache = memory.raw.get("file").copied().unwrap_or(0);
    memory.usage = entry(member, "memory")?.unwrap_or_default();
    let swap = entry(member, "memory.swap")?.unwrap_or_default();
    let limit = if swap.limit == u64::MAX { u64::MAX } else { swap.limit.saturating_add(memory.usage.limit) };
    memory.swap = MemoryEntry { limit, usage: swap.usage + memory.usage.usage, max: 0, failcnt: 0 };
    Ok(())
}

fn entry(member: &Member, prefix: &str) -> Result<Option<MemoryEntry>> {
    let Some(usage) = number(member, &format!("{prefix}.current"))? else { return Ok(None) };
    Ok(Some(MemoryEntry {
        limit: number(member, &format!("{prefix}.max"))?.unwrap_or(0),
        usage,
        // memory.peak is there since Linux 5.19, memory.swap.peak since 6.5.
        max: number(member, &format!("{prefix}.peak"))?.unwrap_or(0),
        failcnt: 0,
    }))
}

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 …`, in the tables of v1.
fn io(member: &Member, blkio: &mut BlkioStats) -> Result<()> {
    for line in member.read_if_any("io.stat")?.unwrap_or_default().lines() {
        let mut words = line.split_ascii_whitespace();
        let Some((major, minor)) = words.next().and_then(|device| device.split_once(':')) else { continue };
        let (Ok(major), Ok(minor)) = (major.parse(), minor.parse()) else { continue };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let (table, op) = match key {
                "rbytes" => (&mut blkio.service_bytes, "Read"),
                "wbytes" => (&mut blkio.service_bytes, "Write"),
                "rios" => (&mut blkio.serviced, "Read"),
                "wios" => (&mut blkio.serviced, "Write"),
                _ => continue,
            };
            if let Ok(value) = value.parse() {
                table.push(BlkioEntry { major, minor, op: op.to_owned(), value });
            }
        }
    }
    Ok(())
}

fn hugetlb(member: &Member, stats: &mut Stats) -> Result<()> {
    for size in huge_page_sizes() {
        for reservation in [".rsvd", ""] {
            if let Some(usage) = number(member, &format!("hugetlb.{size}{reservation}.current"))? {
                let failcnt = member.keyed(&format!("hugetlb.{size}.events"), "max")?.unwrap_or(0);
                stats.hugetlb.insert(size.clone(), HugetlbStats { usage, max: 0, failcnt });
                break;
            }
        }
    }
    Ok(())
}
