//! What a container uses: the `data` of `events`, field by field as runc writes it (names, order, what is left
//! out when it is zero: never a structure), because monitoring tools read that.

mod v1;
mod v2;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::Result;

use super::Cgroup;
use super::member::Member;

fn zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

macro_rules! record {
    ($(#[$doc:meta])* $name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty,)* }) => {
        #[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
        $(#[$doc])*
        #[serde(default)]
        #[expect(missing_docs, reason = "the names are runc's, the meaning is that of the cgroup files")]
        pub struct $name { $($(#[$attribute])* pub $field: $type,)* }
    };
}

record!(
    /// Everything.
    Stats {
        cpu: CpuStats,
        cpuset: CpusetStats,
        memory: MemoryStats,
        pids: PidsStats,
        blkio: BlkioStats,
        hugetlb: BTreeMap<String, HugetlbStats>,
        intel_rdt: serde_json::Map<String, serde_json::Value>,
        network_interfaces: Option<Vec<NetworkInterface>>,
    }
);
record!(
    /// CPU time and throttling.
    CpuStats {
        usage: CpuUsage,
        throttling: Throttling,
        #[serde(skip_serializing_if = "Option::is_none")]
        psi: Option<Psi>,
    }
);
record!(
    /// CPU time in nanoseconds.
    CpuUsage {
        #[serde(skip_serializing_if = "zero")]
        total: u64,
        #[serde(skip_serializing_if = "zero")]
        percpu: Vec<u64>,
        #[serde(skip_serializing_if = "zero")]
        percpu_kernel: Vec<u64>,
        #[serde(skip_serializing_if = "zero")]
        percpu_user: Vec<u64>,
        kernel: u64,
        user: u64,
    }
);
record!(
    /// CPU bandwidth control.
    Throttling {
        #[serde(skip_serializing_if = "zero")]
        periods: u64,
        #[serde(rename = "throttledPeriods", skip_serializing_if = "zero")]
        throttled_periods: u64,
        #[serde(rename = "throttledTime", skip_serializing_if = "zero")]
        throttled_time: u64,
    }
);
record!(
    /// cpuset (v1).
    CpusetStats {
        #[serde(skip_serializing_if = "zero")]
        cpus: Vec<u16>,
        cpu_exclusive: u64,
        #[serde(skip_serializing_if = "zero")]
        mems: Vec<u16>,
        mem_hardwall: u64,
        mem_exclusive: u64,
        memory_migrate: u64,
        memory_spread_page: u64,
        memory_spread_slab: u64,
        memory_pressure: u64,
        sched_load_balance: u64,
        sched_relax_domain_level: i64,
    }
);
record!(
    /// Memory, in bytes.
    MemoryStats {
        #[serde(skip_serializing_if = "zero")]
        cache: u64,
        usage: MemoryEntry,
        swap: MemoryEntry,
        kernel: MemoryEntry,
        #[serde(rename = "kernelTCP")]
        kernel_tcp: MemoryEntry,
        #[serde(skip_serializing_if = "zero")]
        raw: BTreeMap<String, u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        psi: Option<Psi>,
    }
);
record!(
    /// One kind of memory.
    MemoryEntry {
        limit: u64,
        #[serde(skip_serializing_if = "zero")]
        usage: u64,
        #[serde(skip_serializing_if = "zero")]
        max: u64,
        failcnt: u64,
    }
);
record!(
    /// Tasks; a limit of 0 is none.
    PidsStats {
        #[serde(skip_serializing_if = "zero")]
        current: u64,
        #[serde(skip_serializing_if = "zero")]
        limit: u64,
    }
);
record!(
    /// Block devices.
    BlkioStats {
        #[serde(rename = "ioServiceBytesRecursive", skip_serializing_if = "zero")]
        service_bytes: Vec<BlkioEntry>,
        #[serde(rename = "ioServicedRecursive", skip_serializing_if = "zero")]
        serviced: Vec<BlkioEntry>,
        #[serde(rename = "ioQueueRecursive", skip_serializing_if = "zero")]
        queued: Vec<BlkioEntry>,
        #[serde(rename = "ioServiceTimeRecursive", skip_serializing_if = "zero")]
        service_time: Vec<BlkioEntry>,
        #[serde(rename = "ioWaitTimeRecursive", skip_serializing_if = "zero")]
        wait_time: Vec<BlkioEntry>,
        #[serde(rename = "ioMergedRecursive", skip_serializing_if = "zero")]
        merged: Vec<BlkioEntry>,
        #[serde(rename = "ioTimeRecursive", skip_serializing_if = "zero")]
        time: Vec<BlkioEntry>,
        #[serde(rename = "sectorsRecursive", skip_serializing_if = "zero")]
        sectors: Vec<BlkioEntry>,
        #[serde(skip_serializing_if = "Option::is_none")]
        psi: Option<Psi>,
    }
);
record!(
    /// A number for one device and operation.
    BlkioEntry {
        #[serde(skip_serializing_if = "zero")]
        major: u64,
        #[serde(skip_serializing_if = "zero")]
        minor: u64,
        #[serde(skip_serializing_if = "zero")]
        op: String,
        #[serde(skip_serializing_if = "zero")]
        value: u64,
    }
);
record!(
    /// Huge pages of one size.
    HugetlbStats {
        #[serde(skip_serializing_if = "zero")]
        usage: u64,
        #[serde(skip_serializing_if = "zero")]
        max: u64,
        failcnt: u64,
    }
);
record!(
    /// One network interface of the container.
    #[serde(rename_all = "PascalCase")]
    NetworkInterface {
        name: String,
        rx_bytes: u64,
        rx_packets: u64,
        rx_errors: u64,
        rx_dropped: u64,
        tx_bytes: u64,
        tx_packets: u64,
        tx_errors: u64,
        tx_dropped: u64,
    }
);
record!(
    /// Pressure stall information.
    Psi {
        some: PsiData,
        full: PsiData,
    }
);
record!(
    /// One line of a pressure file.
    PsiData {
        avg10: f64,
        avg60: f64,
        avg300: f64,
        total: u64,
    }
);

impl Cgroup {
    /// Reads what the container uses. What the kernel does not tell stays zero.
    pub fn stats(&self) -> Result<Stats> {
        let mut stats = Stats::default();
        for member in &self.members {
            if member.is_v2() {
                v2::read(member, &mut stats)?;
            } else {
                v1::read(member, &mut stats)?;
            }
        }
        Ok(stats)
    }
}

/// A file with one number; `max` is the largest one, as in runc.
pub(super) fn number(member: &Member, file: &str) -> Result<Option<u64>> {
    Ok(member.read_if_any(file)?.as_deref().and_then(|text| match text.trim() {
        "max" => Some(u64::MAX),
        // v1 files of signed numbers: -1 is no limit.
        "-1" => Some(u64::MAX),
        number => number.parse().ok(),
    }))
}

/// Lines of a key and a number.
pub(super) fn pairs(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key, value.trim().parse().ok()?))
    })
}

/// A pressure file.
pub(super) fn psi(member: &Member, file: &str) -> Result<Option<Psi>> {
    let Some(text) = member.read_if_any(file)? else { return Ok(None) };
    let mut psi = Psi::default();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let data = match words.next() {
            Some("some") => &mut psi.some,
            Some("full") => &mut psi.full,
            _ => continue,
        };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            match key {
                "avg10" => data.avg10 = value.parse().unwrap_or_default(),
                "avg60" => data.avg60 = value.parse().unwrap_or_default(),
                "avg300" => data.avg300 = value.parse().unwrap_or_default(),
                "total" => data.total = value.parse().unwrap_or_default(),
                _ => {}
            }
        }
    }
    Ok(Some(psi))
}

/// The huge page sizes of this machine, as the names of cgroup files have them.
pub(super) fn huge_page_sizes() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir("/sys/kernel/mm/hugepages") else { return Vec::new() };
    let mut sizes: Vec<String> = entries.filter_map(|entry| page_size(entry.ok()?.file_name().to_str()?)).collect();
    sizes.sort();
    sizes
}

/// `hugepages-2048kB` is `2MB`.
pub(super) fn page_size(name: &str) -> Option<String> {
    let kb: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
    Some(match kb {
        kb if kb >= 1 << 20 => format!("{}GB", kb >> 20),
        kb if kb >= 1 << 10 => format!("{}MB", kb >> 10),
        kb => format!("{kb}KB"),
    })
}
