//! The numbers, field by field as runc writes them (names, order, what is left out when it is zero: never a structure),
//! because monitoring tools read that.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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

/// The pressure files of one cgroup. `None`: this kernel, or this cgroup, has none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pressure {
    /// Processes that could run and had no CPU.
    pub cpu: Option<Psi>,
    /// Processes that waited for memory.
    pub memory: Option<Psi>,
    /// Processes that waited for block devices.
    pub io: Option<Psi>,
}
