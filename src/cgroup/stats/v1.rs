//! Statistics of cgroup v1.

use crate::error::Result;
use crate::plan::cgroup::files;

use crate::cgroup::member::Member;
use crate::cgroup::stats::read::{huge_page_sizes, number, pairs};
use crate::cgroup::stats::types::{BlkioEntry, BlkioStats, HugetlbStats, MemoryEntry, Stats};
use crate::plan::cgroup::cpu;

/// cpuacct.stat counts in USER_HZ, which is 100 on every architecture that has it.
pub(in crate::cgroup) const NANOSECONDS_PER_TICK: u64 = 10_000_000;

/// Adds what one hierarchy tells.
pub(in crate::cgroup) fn read(member: &Member, stats: &mut Stats) -> Result<()> {
    for controller in &member.dir.controllers {
        match controller.as_str() {
            "cpu" => throttling(member, stats)?,
            "cpuacct" => usage(member, stats)?,
            "cpuset" => cpuset(member, stats)?,
            "memory" => memory(member, stats)?,
            "pids" => {
                stats.pids.current = number(member, "pids.current")?.unwrap_or(0);
                stats.pids.limit = number(member, files::PIDS_MAX.name)?.filter(|max| *max != u64::MAX).unwrap_or(0);
            }
            "blkio" => blkio(member, &mut stats.blkio)?,
            "hugetlb" => hugetlb(member, stats)?,
            _ => {}
        }
    }
    Ok(())
}

fn throttling(member: &Member, stats: &mut Stats) -> Result<()> {
    let text = member.read_if_any("cpu.stat")?.unwrap_or_default();
    for (key, value) in pairs(&text) {
        match key {
            "nr_periods" => stats.cpu.throttling.periods = value,
            "nr_throttled" => stats.cpu.throttling.throttled_periods = value,
            "throttled_time" => stats.cpu.throttling.throttled_time = value,
            _ => {}
        }
    }
    Ok(())
}

fn usage(member: &Member, stats: &mut Stats) -> Result<()> {
    let usage = &mut stats.cpu.usage;
    usage.total = number(member, "cpuacct.usage")?.unwrap_or(0);
    for (key, ticks) in pairs(&member.read_if_any("cpuacct.stat")?.unwrap_or_default()) {
        match key {
            "user" => usage.user = ticks * NANOSECONDS_PER_TICK,
            "system" => usage.kernel = ticks * NANOSECONDS_PER_TICK,
            _ => {}
        }
    }
    let percpu = member.read_if_any("cpuacct.usage_percpu")?.unwrap_or_default();
    usage.percpu = percpu.split_ascii_whitespace().filter_map(|n| n.parse().ok()).collect();
    // Lines of "cpu user system" below a header of these words.
    for line in member.read_if_any("cpuacct.usage_all")?.unwrap_or_default().lines().skip(1) {
        let mut fields = line.split_ascii_whitespace().skip(1).filter_map(|n| n.parse().ok());
        if let (Some(user), Some(kernel)) = (fields.next(), fields.next()) {
            usage.percpu_user.push(user);
            usage.percpu_kernel.push(kernel);
        }
    }
    Ok(())
}

fn cpuset(member: &Member, stats: &mut Stats) -> Result<()> {
    let list = |file: &str| Result::Ok(cpu::numbers(&member.read_if_any(file)?.unwrap_or_default()));
    let flag = |file: &str| Ok::<u64, crate::error::Error>(number(member, file)?.unwrap_or(0));
    let cpuset = &mut stats.cpuset;
    cpuset.cpus = list(files::CPUSET_CPUS.name)?;
    cpuset.mems = list(files::CPUSET_MEMS.name)?;
    cpuset.cpu_exclusive = flag("cpuset.cpu_exclusive")?;
    cpuset.mem_hardwall = flag("cpuset.mem_hardwall")?;
    cpuset.mem_exclusive = flag("cpuset.mem_exclusive")?;
    cpuset.memory_migrate = flag("cpuset.memory_migrate")?;
    cpuset.memory_spread_page = flag("cpuset.memory_spread_page")?;
    cpuset.memory_spread_slab = flag("cpuset.memory_spread_slab")?;
    cpuset.memory_pressure = flag("cpuset.memory_pressure")?;
    cpuset.sched_load_balance = flag("cpuset.sched_load_balance")?;
    let level = member.read_if_any("cpuset.sched_relax_domain_level")?;
    cpuset.sched_relax_domain_level = level.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    Ok(())
}

fn memory(member: &Member, stats: &mut Stats) -> Result<()> {
    let raw = member.read_if_any("memory.stat")?.unwrap_or_default();
    let memory = &mut stats.memory;
    memory.raw.extend(pairs(&raw).map(|(key, value)| (key.to_owned(), value)));
    memory.cache = memory.raw.get("cache").copied().unwrap_or(0);
    memory.usage = entry(member, "memory")?;
    memory.swap = entry(member, "memory.memsw")?;
    memory.kernel = entry(member, "memory.kmem")?;
    memory.kernel_tcp = entry(member, "memory.kmem.tcp")?;
    Ok(())
}

fn entry(member: &Member, prefix: &str) -> Result<MemoryEntry> {
    let get =
        |suffix: &str| Ok::<u64, crate::error::Error>(number(member, &format!("{prefix}.{suffix}"))?.unwrap_or(0));
    Ok(MemoryEntry {
        limit: get("limit_in_bytes")?,
        usage: get("usage_in_bytes")?,
        max: get("max_usage_in_bytes")?,
        failcnt: get("failcnt")?,
    })
}

/// The tables, by the part of the file's name that names them.
fn tables(blkio: &mut BlkioStats) -> [(&'static str, &mut Vec<BlkioEntry>); 8] {
    [
        ("io_serviced", &mut blkio.serviced),
        ("io_service_bytes", &mut blkio.service_bytes),
        ("sectors", &mut blkio.sectors),
        ("io_service_time", &mut blkio.service_time),
        ("io_wait_time", &mut blkio.wait_time),
        ("io_merged", &mut blkio.merged),
        ("io_queued", &mut blkio.queued),
        ("time", &mut blkio.time),
    ]
}

/// Which files tell depends on the scheduler and the kernel: BFQ, CFQ (before 5.0), else the throttling policy's
/// counters. The first family with numbers wins.
fn blkio(member: &Member, blkio: &mut BlkioStats) -> Result<()> {
    for (prefix, suffix) in [
        ("blkio.bfq.", "_recursive"),
        ("blkio.", "_recursive"),
        ("blkio.throttle.", "_recursive"),
        ("blkio.throttle.", ""),
    ] {
        let mut found = false;
        for (name, table) in tables(blkio) {
            let text = member.read_if_any(&format!("{prefix}{name}{suffix}"))?.unwrap_or_default();
            *table = text.lines().filter_map(blkio_entry).collect();
            found |= !table.is_empty();
        }
        if found {
            break;
        }
    }
    Ok(())
}

/// `8:0 Read 1282048` or `8:0 6792`; a last line `Total N` is the sum of all devices and left out.
pub(in crate::cgroup) fn blkio_entry(line: &str) -> Option<BlkioEntry> {
    let mut words = line.split_ascii_whitespace();
    let (major, minor) = words.next()?.split_once(':')?;
    let (op, value) = match (words.next()?, words.next()) {
        (op, Some(value)) => (op, value),
        (value, None) => ("", value),
    };
    Some(BlkioEntry {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
        op: op.to_owned(),
        value: value.parse().ok()?,
    })
}

fn hugetlb(member: &Member, stats: &mut Stats) -> Result<()> {
    for size in huge_page_sizes() {
        for reservation in [".rsvd", ""] {
            let prefix = format!("hugetlb.{size}{reservation}");
            if let Some(usage) = number(member, &format!("{prefix}.usage_in_bytes"))? {
                let max = number(member, &format!("{prefix}.max_usage_in_bytes"))?.unwrap_or(0);
                let failcnt = number(member, &format!("{prefix}.failcnt"))?.unwrap_or(0);
                stats.hugetlb.insert(size.clone(), HugetlbStats { usage, max, failcnt });
                break;
            }
        }
    }
    Ok(())
}
