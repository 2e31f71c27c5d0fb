//! Statistics of a container's cgroups as the messages of containerd's cgroups package. This is v1; v2 is `metrics2`.

use std::path::Path;

use super::cgroups::{Cgroups, Table, number, page_sizes};
use super::metrics2;
use super::protobuf::Writer;

/// What memory.stat calls the fields of MemoryStat, in the order of their numbers from 1.
const MEMORY: [&str; 32] = [
    "cache",
    "rss",
    "rss_huge",
    "mapped_file",
    "dirty",
    "writeback",
    "pgpgin",
    "pgpgout",
    "pgfault",
    "pgmajfault",
    "inactive_anon",
    "active_anon",
    "inactive_file",
    "active_file",
    "unevictable",
    "hierarchical_memory_limit",
    "hierarchical_memsw_limit",
    "total_cache",
    "total_rss",
    "total_rss_huge",
    "total_mapped_file",
    "total_dirty",
    "total_writeback",
    "total_pgpgin",
    "total_pgpgout",
    "total_pgfault",
    "total_pgmajfault",
    "total_inactive_anon",
    "total_active_anon",
    "total_inactive_file",
    "total_active_file",
    "total_unevictable",
];

/// MemoryEntry's field, and what comes before `limit_in_bytes` in the names of its files.
const ENTRIES: [(u64, &str); 4] = [(33, "memory"), (34, "memory.memsw"), (35, "memory.kmem"), (36, "memory.kmem.tcp")];

/// BlkIOStat's field and its file.
const BLKIO: [(u64, &str); 8] = [
    (1, "blkio.io_service_bytes_recursive"),
    (2, "blkio.io_serviced_recursive"),
    (3, "blkio.io_queued_recursive"),
    (4, "blkio.io_service_time_recursive"),
    (5, "blkio.io_wait_time_recursive"),
    (6, "blkio.io_merged_recursive"),
    (7, "blkio.time_recursive"),
    (8, "blkio.sectors_recursive"),
];
/// Where the disk has no scheduler that counts, only these count.
const THROTTLE: [(u64, &str); 2] = [(1, "blkio.throttle.io_service_bytes"), (2, "blkio.throttle.io_serviced")];

/// The type and message of a container's statistics; `None` when it has no cgroups (any more).
pub fn of(cgroups: &Cgroups) -> Option<(&'static str, Vec<u8>)> {
    if cgroups.is_v2() {
        let directory = cgroups.controller("")?;
        return directory.is_dir().then(|| ("io.containerd.cgroups.v2.Metrics", metrics2::of(&directory)));
    }
    let mut metrics = Writer::new();
    let mut any = false;
    for (controller, write) in CONTROLLERS {
        if let Some(directory) = cgroups.controller(controller) {
            any = true;
            write(&mut metrics, &directory);
        }
    }
    let (times, throttling) = (cgroups.controller("cpuacct"), cgroups.controller("cpu"));
    if times.is_some() || throttling.is_some() {
        any = true;
        metrics.message(3, |stat| cpu(stat, times.as_deref(), throttling.as_deref()));
    }
    any.then(|| ("io.containerd.cgroups.v1.Metrics", metrics.done()))
}

type Write = fn(&mut Writer, &Path);

const CONTROLLERS: [(&str, Write); 5] =
    [("hugetlb", hugetlb), ("pids", pids), ("memory", memory), ("blkio", blkio), ("rdma", rdma)];

fn hugetlb(metrics: &mut Writer, directory: &Path) {
    for size in page_sizes(directory, ".usage_in_bytes") {
        let of = |what: &str| number(directory, &format!("hugetlb.{size}.{what}"), 0);
        metrics.message(1, |stat| {
            stat.number(1, of("usage_in_bytes"))
                .number(2, of("max_usage_in_bytes"))
                .number(3, of("failcnt"))
                .text(4, &size);
        });
    }
}

fn pids(metrics: &mut Writer, directory: &Path) {
    // No limit is zero here.
    let limit = match number(directory, "pids.max", 0) {
        u64::MAX => 0,
        limit => limit,
    };
    metrics.message(2, |stat| {
        stat.number(1, number(directory, "pids.current", 0)).number(2, limit);
    });
}

/// The two are one hierarchy on most machines, but need not be.
fn cpu(stat: &mut Writer, times: Option<&Path>, throttling: Option<&Path>) {
    // In ticks of user space, of which there are 100 a second on every architecture.
    const TICK: u64 = 10_000_000;
    if let Some(directory) = times {
        let times = Table::read(directory, "cpuacct.stat").unwrap_or_default();
        let each = std::fs::read_to_string(directory.join("cpuacct.usage_percpu")).unwrap_or_default();
        let each: Vec<u64> = each.split_whitespace().filter_map(|time| time.parse().ok()).collect();
        stat.message(1, |usage| {
            usage.number(1, number(directory, "cpuacct.usage", 0));
            usage.number(2, times.get("system") * TICK).number(3, times.get("user") * TICK).packed(4, &each);
        });
    }
    if let Some(table) = throttling.and_then(|directory| Table::read(directory, "cpu.stat")) {
        stat.message(2, |throttle| {
            throttle.number(1, table.get("nr_periods")).number(2, table.get("nr_throttled"));
            throttle.number(3, table.get("throttled_time"));
        });
    }
}

fn memory(metrics: &mut Writer, directory: &Path) {
    let Some(table) = Table::read(directory, "memory.stat") else { return };
    metrics.message(4, |stat| {
        for (field, name) in (1..).zip(MEMORY) {
            stat.number(field, table.get(name));
        }
        for (field, name) in ENTRIES {
            if !directory.join(format!("{name}.usage_in_bytes")).exists() {
                continue;
            }
            let of = |what: &str| number(directory, &format!("{name}.{what}"), 0);
            stat.message(field, |entry| {
                entry.number(1, of("limit_in_bytes")).number(2, of("usage_in_bytes"));
                entry.number(3, of("max_usage_in_bytes")).number(4, of("failcnt"));
            });
        }
    });
    if let Some(control) = Table::read(directory, "memory.oom_control") {
        metrics.message(9, |oom| {
            oom.number(1, control.get("oom_kill_disable"))
                .number(2, control.get("under_oom"))
                .number(3, control.get("oom_kill"));
        });
    }
}

fn blkio(metrics: &mut Writer, directory: &Path) {
    metrics.message(5, |stat| {
        let counted = BLKIO.iter().map(|(field, file)| entries(stat, *field, directory, file)).sum::<usize>();
        if counted == 0 {
            for (field, file) in THROTTLE {
                entries(stat, field, directory, file);
            }
        }
    });
}

/// Lines `major:minor operation value`, or `major:minor value`; how many there were.
fn entries(stat: &mut Writer, field: u64, directory: &Path, file: &str) -> usize {
    let Some(table) = Table::read(directory, file) else { return 0 };
    let mut count = 0;
    for line in table.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (device, operation, value) = match words.as_slice() {
            [device, value] => (device, "", value),
            [device, operation, value] => (device, *operation, value),
            _ => continue,
        };
        let Some((major, minor)) = device.split_once(':') else { continue };
        let (Ok(major), Ok(minor), Ok(value)) = (major.parse::<u64>(), minor.parse::<u64>(), value.parse::<u64>())
        else {
            continue;
        };
        let name = std::fs::read_link(format!("/sys/dev/block/{major}:{minor}")).ok();
        let name = name.as_deref().and_then(Path::file_name).map(|name| format!("/dev/{}", name.to_string_lossy()));
        stat.message(field, |entry| {
            entry.text(1, operation).text(2, &name.unwrap_or_default());
            entry.number(3, major).number(4, minor).number(5, value);
        });
        count += 1;
    }
    count
}

fn rdma(metrics: &mut Writer, directory: &Path) {
    metrics.message(6, |stat| metrics2::rdma(stat, directory));
}
