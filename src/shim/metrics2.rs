//! Statistics of a cgroup of v2 as the messages of containerd's cgroups package.

use std::path::Path;

use super::cgroups::{Table, number, page_sizes};
use super::protobuf::Writer;

/// Fields of CPUStat and what cpu.stat calls them.
const CPU: [(u64, &str); 8] = [
    (1, "usage_usec"),
    (2, "user_usec"),
    (3, "system_usec"),
    (4, "nr_periods"),
    (5, "nr_throttled"),
    (6, "throttled_usec"),
    (8, "nr_bursts"),
    (9, "burst_usec"),
];

/// Fields of MemoryStat and what memory.stat calls them.
const MEMORY: [(u64, &str); 35] = [
    (1, "anon"),
    (2, "file"),
    (3, "kernel_stack"),
    (4, "slab"),
    (5, "sock"),
    (6, "shmem"),
    (7, "file_mapped"),
    (8, "file_dirty"),
    (9, "file_writeback"),
    (10, "anon_thp"),
    (11, "inactive_anon"),
    (12, "active_anon"),
    (13, "inactive_file"),
    (14, "active_file"),
    (15, "unevictable"),
    (16, "slab_reclaimable"),
    (17, "slab_unreclaimable"),
    (18, "pgfault"),
    (19, "pgmajfault"),
    (20, "workingset_refault"),
    (21, "workingset_activate"),
    (22, "workingset_nodereclaim"),
    (23, "pgrefill"),
    (24, "pgscan"),
    (25, "pgsteal"),
    (26, "pgactivate"),
    (27, "pgdeactivate"),
    (28, "pglazyfree"),
    (29, "pglazyfreed"),
    (30, "thp_fault_alloc"),
    (31, "thp_collapse_alloc"),
    (39, "workingset_refault_anon"),
    (40, "workingset_refault_file"),
    (41, "workingset_activate_anon"),
    (42, "workingset_activate_file"),
];

/// Numbers of MemoryStat that are files of their own, `memory.` and this.
const MEMORY_FILES: [(u64, &str); 6] =
    [(32, "current"), (33, "max"), (34, "swap.current"), (35, "swap.max"), (36, "peak"), (37, "swap.peak")];

const EVENTS: [(u64, &str); 6] =
    [(1, "low"), (2, "high"), (3, "max"), (4, "oom"), (5, "oom_kill"), (6, "oom_group_kill")];

/// The message for the cgroup in `directory`.
pub fn of(directory: &Path) -> Vec<u8> {
    let mut metrics = Writer::new();
    if directory.join("pids.current").exists() {
        metrics.message(1, |stat| {
            stat.number(1, number(directory, "pids.current", 0)).number(2, number(directory, "pids.max", 0));
        });
    }
    if let Some(table) = Table::read(directory, "cpu.stat") {
        metrics.message(2, |stat| {
            fields(stat, &table, &CPU);
            pressure(stat, 7, directory, "cpu.pressure");
        });
    }
    if let Some(table) = Table::read(directory, "memory.stat") {
        metrics.message(4, |stat| {
            fields(stat, &table, &MEMORY);
            for (field, name) in MEMORY_FILES {
                stat.number(field, number(directory, &format!("memory.{name}"), 0));
            }
            pressure(stat, 38, directory, "memory.pressure");
        });
    }
    metrics.message(5, |stat| rdma(stat, directory));
    if let Some(table) = Table::read(directory, "io.stat") {
        metrics.message(6, |stat| {
            io(stat, &table);
            pressure(stat, 2, directory, "io.pressure");
        });
    }
    for size in page_sizes(directory, ".current") {
        let of = |what: &str| number(directory, &format!("hugetlb.{size}.{what}"), 0);
        let failures = Table::read(directory, &format!("hugetlb.{size}.events")).unwrap_or_default();
        metrics.message(7, |stat| {
            stat.number(1, of("current")).number(2, of("max")).text(3, &size).number(4, failures.get("max"));
        });
    }
    if let Some(table) = Table::read(directory, "memory.events") {
        metrics.message(8, |events| fields(events, &table, &EVENTS));
    }
    metrics.done()
}

fn fields(stat: &mut Writer, table: &Table, names: &[(u64, &str)]) {
    for (field, name) in names {
        stat.number(*field, table.get(name));
    }
}

/// Lines `major:minor key=value…`.
fn io(stat: &mut Writer, table: &Table) {
    for line in table.lines() {
        let Some((device, values)) = line.split_once(' ') else { continue };
        let Some((major, minor)) = device.split_once(':') else { continue };
        let (Ok(major), Ok(minor)) = (major.parse::<u64>(), minor.parse::<u64>()) else { continue };
        let of = |key: &str| -> u64 {
            let value = values.split(' ').find_map(|pair| pair.split_once('=').filter(|(name, _)| *name == key));
            value.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
        };
        stat.message(1, |entry| {
            entry.number(1, major).number(2, minor).number(3, of("rbytes")).number(4, of("wbytes"));
            entry.number(5, of("rios")).number(6, of("wios"));
        });
    }
}

/// `some` and `full` lines of `avg10=… avg60=… avg300=… total=…`.
fn pressure(stat: &mut Writer, field: u64, directory: &Path, file: &str) {
    let Some(table) = Table::read(directory, file) else { return };
    stat.message(field, |psi| {
        for line in table.lines() {
            let Some((kind, values)) = line.split_once(' ') else { continue };
            let value = |key: &str| {
                values
                    .split(' ')
                    .find_map(|pair| pair.split_once('=').filter(|(name, _)| *name == key))
                    .map(|(_, value)| value)
            };
            let average = |key| value(key).and_then(|value| value.parse::<f64>().ok()).unwrap_or(0.0);
            let field = match kind {
                "some" => 1,
                "full" => 2,
                _ => continue,
            };
            psi.message(field, |data| {
                data.double(1, average("avg10")).double(2, average("avg60")).double(3, average("avg300"));
                data.number(4, value("total").and_then(|value| value.parse::<u64>().ok()).unwrap_or(0));
            });
        }
    });
}

/// Lines `device hca_handle=N hca_object=N`: what is used, and the limits.
pub fn rdma(stat: &mut Writer, directory: &Path) {
    for (field, file) in [(1, "rdma.current"), (2, "rdma.max")] {
        let Some(table) = Table::read(directory, file) else { continue };
        for line in table.lines() {
            let Some((device, values)) = line.split_once(' ') else { continue };
            let of = |key: &str| -> u64 {
                let value = values.split(' ').find_map(|pair| pair.split_once('=').filter(|(name, _)| *name == key));
                match value {
                    Some((_, "max")) => u32::MAX.into(),
                    Some((_, value)) => value.parse().unwrap_or(0),
                    None => 0,
                }
            };
            stat.message(field, |entry| {
                entry.text(1, device).number(2, of("hca_handle")).number(3, of("hca_object"));
            });
        }
    }
}
