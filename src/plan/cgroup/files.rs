//! Every file that a limit is written to, and what is known of it. What computes limits, admits them, gives them to systemd
//! and puts them back asks here. Statistics read other files, and name those; so does what makes, freezes and kills a cgroup.

use crate::error::{Deed, Error};
use crate::plan::cgroup::write::Version;
use crate::spec::resources::Resources;

/// A file of a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitFile {
    /// Its name; `*` stands for a size of huge pages.
    pub name: &'static str,
    /// The version that has it; none where both do.
    pub version: Option<Version>,
    /// What becomes of the value where the other version has the controller.
    elsewhere: Elsewhere,
    /// Where config.json has the value, below linux.resources: object and key.
    pub field: Option<&'static str>,
    /// What 0 means there.
    pub zero: Zero,
    /// What is written for no limit, where the field can ask for it (-1 in config.json).
    pub unlimited: Option<&'static str>,
    /// How it is read.
    pub shape: Shape,
    /// The property of a systemd unit that stands for it.
    pub property: Option<UnitProperty>,
    /// What it gives a part of, where that can be refused.
    pub capacity: Option<Capacity>,
    /// The file that tells how much is in use.
    pub used: Option<&'static str>,
    /// What the kernel takes, where it refuses a value and does not say why.
    pub advice: Option<&'static str>,
    /// What can be told of a value before it is written.
    pub takes: Takes,
    /// Whether what one cgroup has the others beside it have not.
    pub shared_out: bool,
    /// The I/O scheduler whose file it is.
    pub scheduler: Option<&'static str>,
}

/// What becomes of a value in the version that has not the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// There is no other version.
    Nowhere,
    /// Another file has it: whoever puts one of the two looks at the version.
    Twin(&'static str),
    /// Nobody asks for it by any other name than the file's own (linux.resources.unified), which needs this version.
    ByName,
    /// The container is made without, and this is the warning.
    Ignored(&'static str),
    /// An error of this field, below linux.resources.
    Refused(&'static str, &'static str),
}

/// What values a file takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Whatever the kernel says.
    Anything,
    /// A list of what the cgroup above has.
    PartOfAbove,
    /// A quota of CPU time, from [`MIN_QUOTA`] on.
    Quota,
    /// A period, one of [`PERIODS`].
    Period,
    /// Quota and period, which are two fields of config.json.
    QuotaAndPeriod,
    /// A device that there is, and its value.
    Device,
    /// A number of tasks, up to [`MAX_TASKS`].
    Tasks,
    /// Bytes of memory; no process fits into less than [`MIN_MEMORY`].
    Memory,
}

/// What no process can do without, in bytes: its stack, the page tables that lead there and to its program, and some data, on
/// pages of 4 KiB. On Linux 6.18 a program that does nothing needs four times as much before it runs.
pub const MIN_MEMORY: u64 = 32 << 10;

/// The most tasks (PID_MAX_LIMIT of include/linux/threads.h, on machines of 64 bits).
pub const MAX_TASKS: u64 = 4 << 20;

/// The least quota in microseconds (min_cfs_quota_period of kernel/sched/core.c).
pub const MIN_QUOTA: u64 = 1000;

/// The period in microseconds where none is set (default_cfs_period).
pub const DEFAULT_PERIOD: u64 = 100_000;

/// Periods in microseconds (min_ and max_cfs_quota_period).
pub const PERIODS: std::ops::RangeInclusive<u64> = 1000..=1_000_000;

/// What a v2 file says where there is no limit.
pub const MAX: &str = "max";

/// The objects of linux.resources, by controller.
const OBJECTS: [(&str, &str); 10] = [
    ("cpu", "cpu"),
    ("cpuset", "cpu"),
    ("memory", "memory"),
    ("pids", "pids"),
    ("blkio", "blockIO"),
    ("io", "blockIO"),
    ("hugetlb", "hugepageLimits"),
    ("rdma", "rdma"),
    ("net_cls", "network"),
    ("net_prio", "network"),
];

/// The field of config.json that a file stands for; of a file of linux.resources.unified the nearest that is known.
pub fn field_of(name: &str) -> String {
    let controller = controller_of(name);
    let Some((_, object)) = OBJECTS.iter().find(|(known, _)| *known == controller) else {
        return "linux.resources".to_owned();
    };
    let field = find(name).filter(|file| file.takes != Takes::QuotaAndPeriod).and_then(|file| file.field);
    match field.and_then(|field| field.strip_prefix(object)?.strip_prefix('/')) {
        Some(key) => format!("linux.resources.{object}.{key}"),
        None => format!("linux.resources.{object}"),
    }
}

/// An error of a limit that was refused, as one of the field that asked for it.
pub fn of_limit(error: Error, resources: &Resources) -> Error {
    let Some((Deed::WriteLimit, Some(path))) = error.deed().filter(|_| error.field().is_none()) else { return error };
    let file = path.rsplit('/').next().unwrap_or(path);
    let field = match resources.unified.contains_key(file) {
        true => format!("linux.resources.unified.{file}"),
        false => field_of(file),
    };
    error.at_field(field)
}

/// What 0 means in config.json.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zero {
    /// 0.
    Itself,
    /// Nothing was asked for: engines send Go's zero values.
    Unset,
    /// 1: both forbid any fork by the container's first process, but with 0 that process could not be cloned into its cgroup
    /// either (systemd has no 0, and runc does the same).
    One,
    /// There is no limit.
    NoLimit,
}

/// How a file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// What was written.
    Plain,
    /// A line for each device or name; one that has none has this value.
    Keyed(&'static str),
    /// The value is in the line of this key.
    Line(&'static str),
}

/// A property of a systemd unit, and how the value gets into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitProperty {
    /// A number.
    Number(&'static str),
    /// A mask of CPUs or memory nodes.
    Mask(&'static str),
    /// `IOWeight` and `IODeviceWeight`. (`io.bfq.weight` has none: systemd would write `io.weight` with it.)
    IoWeight,
    /// `IOReadBandwidthMax` and its like.
    IoMax,
    /// `OOMPolicy`.
    OomPolicy,
    /// `CPUQuotaPerSecUSec` and `CPUQuotaPeriodUSec`, of quota and period together.
    Bandwidth,
    /// A `CPUWeight` of 0.
    Idle,
}

/// What a host has so much of that a limit may be more than there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capacity {
    /// Bytes.
    Memory,
    /// Bytes of memory and swap.
    MemoryAndSwap,
    /// Tasks.
    Pids,
    /// Thousandths of a CPU. Its use is a rate and has no floor.
    Cpu,
}

/// What the kernel takes.
mod advice {
    pub const CPUS: &str = "the CPUs of this machine are in /sys/devices/system/cpu/online, those that the cgroup above has in its \
        cpuset.cpus";
    pub const MEMS: &str = "the memory nodes of this machine are in /sys/devices/system/node/online, those that the cgroup above has \
        in its cpuset.mems";
    pub const BANDWIDTH: &str = "the quota is at least 1000 µs, the period 1000 to 1000000 µs, and no cgroup may have more than the one \
        above";
    pub const REAL_TIME: &str = "real-time time is given from what the cgroup above has in its cpu.rt_runtime_us: 0 unless somebody \
        gave it some";
    pub const WEIGHTS: &str = "a weight is 10 to 1000 (io.weight: 1 to 10000)";
    pub const PERCENT: &str = "swappiness is 0 to 100";
}

impl LimitFile {
    const fn new(name: &'static str, (version, elsewhere): (Option<Version>, Elsewhere)) -> LimitFile {
        LimitFile {
            name,
            version,
            elsewhere,
            field: None,
            zero: Zero::Itself,
            unlimited: None,
            shape: Shape::Plain,
            property: None,
            capacity: None,
            used: None,
            advice: None,
            takes: Takes::Anything,
            shared_out: false,
            scheduler: None,
        }
    }

    const fn field(mut self, field: &'static str, zero: Zero) -> LimitFile {
        self.field = Some(field);
        self.zero = zero;
        self
    }

    const fn zero(mut self, zero: Zero) -> LimitFile {
        self.zero = zero;
        self
    }

    const fn advice(mut self, text: &'static str) -> LimitFile {
        self.advice = Some(text);
        self
    }

    const fn takes(mut self, takes: Takes) -> LimitFile {
        self.takes = takes;
        self
    }

    const fn shared_out(mut self) -> LimitFile {
        self.shared_out = true;
        self
    }

    const fn scheduler(mut self, name: &'static str) -> LimitFile {
        self.scheduler = Some(name);
        self
    }

    const fn unlimited(mut self, text: &'static str) -> LimitFile {
        self.unlimited = Some(text);
        self
    }

    const fn shape(mut self, shape: Shape) -> LimitFile {
        self.shape = shape;
        self
    }

    const fn property(mut self, property: UnitProperty) -> LimitFile {
        self.property = Some(property);
        self
    }

    const fn capacity(mut self, capacity: Capacity, used: Option<&'static str>) -> LimitFile {
        self.capacity = Some(capacity);
        self.used = used;
        self
    }

    /// The controller it belongs to.
    pub fn controller(&self) -> &'static str {
        controller_of(self.name)
    }

    /// Whether this version has it.
    pub fn is_of(&self, version: Version) -> bool {
        self.version.is_none_or(|of| of == version)
    }

    /// What is done in this version with a value for it, other than to write it.
    pub fn elsewhere(&self, version: Version) -> Elsewhere {
        if self.is_of(version) { Elsewhere::Nowhere } else { self.elsewhere }
    }

    /// The number that one of config.json asks for, where it asks for any.
    pub fn given<N: Copy + PartialEq + From<u8>>(&self, number: Option<N>) -> Option<N> {
        let zero = number == Some(N::from(0));
        match self.zero {
            Zero::Unset if zero => None,
            Zero::One if zero => Some(N::from(1)),
            Zero::Unset | Zero::One | Zero::Itself | Zero::NoLimit => number,
        }
    }

    /// The text of a number of config.json, where what is negative is no limit.
    pub fn text(&self, number: impl Into<i128>) -> String {
        let number = number.into();
        let none = number < 0 || (number == 0 && self.zero == Zero::NoLimit);
        match self.unlimited.filter(|_| none) {
            Some(unlimited) => unlimited.to_owned(),
            None => number.to_string(),
        }
    }

    /// The name with this size of huge pages in it.
    pub fn sized(&self, size: &str) -> String {
        self.name.replacen('*', size, 1)
    }

    /// Whether it is called so.
    fn is(&self, name: &str) -> bool {
        self.name == name || self.size_in(name).is_some()
    }

    /// The size of huge pages in a name of this file.
    fn size_in<'n>(&self, name: &'n str) -> Option<&'n str> {
        let (before, after) = self.name.split_once('*')?;
        let size = name.strip_prefix(before)?.strip_suffix(after)?;
        Some(size).filter(|size| !size.is_empty() && !size.contains('.'))
    }
}

/// The controller that a file of this name belongs to.
pub fn controller_of(name: &str) -> &str {
    name.split_once('.').map_or(name, |(controller, _)| controller)
}

/// The size of the huge pages that a file of this name limits.
pub fn page_size(name: &str) -> Option<&str> {
    ALL.iter().find_map(|file| file.size_in(name))
}

/// A limit of [`IO_MAX`], which v1 has a file for.
#[derive(Clone, Copy, Debug)]
pub struct Throttle {
    /// Its key.
    pub key: &'static str,
    /// The file of v1.
    pub v1: LimitFile,
    /// The property of a systemd unit.
    pub property: &'static str,
}

/// All of them: of bytes and of operations, in a second.
pub const THROTTLES: [Throttle; 4] = [
    Throttle { key: "rbps", v1: BLKIO_READ_BPS, property: "IOReadBandwidthMax" },
    Throttle { key: "wbps", v1: BLKIO_WRITE_BPS, property: "IOWriteBandwidthMax" },
    Throttle { key: "riops", v1: BLKIO_READ_IOPS, property: "IOReadIOPSMax" },
    Throttle { key: "wiops", v1: BLKIO_WRITE_IOPS, property: "IOWriteIOPSMax" },
];

/// The file of this name. Others may be written too (linux.resources.unified), of which nothing is known.
pub fn find(name: &str) -> Option<&'static LimitFile> {
    ALL.iter().find(|file| file.is(name))
}

/// The version that has a file. One that the other has not is no row until it says what becomes of the value there.
macro_rules! of {
    ($name:literal, BOTH) => {
        (None, Elsewhere::Nowhere)
    };
    ($name:literal, $version:ident) => {
        compile_error!(concat!(
            $name,
            " is of ",
            stringify!($version),
            " alone: say what becomes of its value in the other version: `else Twin(\"the other file\"),` \
             `else Ignored(\"warning\"),` `else Elsewhere::Refused(\"field\", \"error\"),` or `else ByName,`"
        ))
    };
    ($name:literal, $version:ident $elsewhere:expr) => {
        (Some(Version::$version), $elsewhere)
    };
}

macro_rules! files {
    ($($id:ident = $version:ident $(else $elsewhere:expr,)? $name:literal $([$($known:tt)+])?;)+) => {
        $(
            #[doc = concat!("`", $name, "`")]
            pub const $id: LimitFile = LimitFile::new($name, of!($name, $version $($elsewhere)?)) $($($known)+)?;
        )+

        /// All of them.
        pub const ALL: &[LimitFile] = &[$($id),+];
    };
}

const NOT_OF_V2: Elsewhere =
    Elsewhere::Refused("network", "linux.resources.network needs the net_cls and net_prio controllers of cgroup v1");
const REAL_TIME: Elsewhere =
    Elsewhere::Refused("cpu", "linux.resources.cpu.realtimeRuntime and realtimePeriod need cgroup v1");
const LEAF_WEIGHT: Elsewhere =
    Elsewhere::Ignored("linux.resources.blockIO.leafWeight is ignored: cgroup v2 has no such weights");

use Elsewhere::{ByName, Ignored, Twin};
use Shape::{Keyed, Line};
use UnitProperty::{Mask, Number};
use Zero::{Itself, NoLimit, One, Unset};

files! {
    PIDS_MAX = BOTH "pids.max"
        [.field("pids/limit", One).unlimited(MAX).takes(Takes::Tasks).property(Number("TasksMax"))
         .capacity(Capacity::Pids, Some("pids.current"))];

    MEMORY_LIMIT = V1 else Twin("memory.max"), "memory.limit_in_bytes"
        [.field("memory/limit", Unset).unlimited("-1").takes(Takes::Memory).property(Number("MemoryLimit"))
         .capacity(Capacity::Memory, Some("memory.usage_in_bytes"))];
    MEMSW_LIMIT = V1 else Twin("memory.swap.max"), "memory.memsw.limit_in_bytes"
        [.field("memory/swap", Unset).unlimited("-1")
         .capacity(Capacity::MemoryAndSwap, Some("memory.memsw.usage_in_bytes"))];
    SOFT_LIMIT = V1 else Twin("memory.low"), "memory.soft_limit_in_bytes" [.field("memory/reservation", Unset).unlimited("-1")];
    KMEM_TCP_LIMIT = V1 else Ignored("linux.resources.memory.kernelTCP is ignored: on cgroup v2 it is part of the memory limit"), "memory.kmem.tcp.limit_in_bytes"
        [.field("memory/kernelTCP", Unset).unlimited("-1")];
    OOM_CONTROL = V1 else Ignored("linux.resources.memory.disableOOMKiller is ignored: cgroup v2 has no such setting"), "memory.oom_control"
        [.field("memory/disableOOMKiller", Itself).shape(Line("oom_kill_disable"))];
    SWAPPINESS = V1 else Ignored("linux.resources.memory.swappiness is ignored: cgroup v2 has no such setting"), "memory.swappiness" [.field("memory/swappiness", Itself).advice(advice::PERCENT)];

    MEMORY_MIN = V2 else ByName, "memory.min" [.property(Number("MemoryMin"))];
    MEMORY_LOW = V2 else Twin("memory.soft_limit_in_bytes"), "memory.low"
        [.field("memory/reservation", Unset).unlimited(MAX).property(Number("MemoryLow"))];
    MEMORY_HIGH = V2 else ByName, "memory.high" [.property(Number("MemoryHigh"))];
    MEMORY_MAX = V2 else Twin("memory.limit_in_bytes"), "memory.max"
        [.field("memory/limit", Unset).unlimited(MAX).takes(Takes::Memory).property(Number("MemoryMax"))
         .capacity(Capacity::Memory, Some("memory.current"))];
    SWAP_MAX = V2 else Twin("memory.memsw.limit_in_bytes"), "memory.swap.max"
        [.field("memory/swap", Unset).unlimited(MAX).property(Number("MemorySwapMax"))];
    ZSWAP_MAX = V2 else ByName, "memory.zswap.max" [.property(Number("MemoryZSwapMax"))];
    OOM_GROUP = V2 else ByName, "memory.oom.group" [.property(UnitProperty::OomPolicy)];

    CPU_SHARES = V1 else Twin("cpu.weight"), "cpu.shares" [.field("cpu/shares", Unset).property(Number("CPUShares"))];
    CFS_PERIOD = V1 else Twin("cpu.max"), "cpu.cfs_period_us"
        [.field("cpu/period", Unset).property(UnitProperty::Bandwidth).takes(Takes::Period).advice(advice::BANDWIDTH)];
    CFS_QUOTA = V1 else Twin("cpu.max"), "cpu.cfs_quota_us"
        [.field("cpu/quota", Unset).unlimited("-1").property(UnitProperty::Bandwidth).capacity(Capacity::Cpu, None).takes(Takes::Quota).advice(advice::BANDWIDTH)];
    CFS_BURST = V1 else Twin("cpu.max.burst"), "cpu.cfs_burst_us" [.field("cpu/burst", Itself)];
    RT_PERIOD = V1 else REAL_TIME, "cpu.rt_period_us" [.field("cpu/realtimePeriod", Unset).shared_out().advice(advice::REAL_TIME)];
    RT_RUNTIME = V1 else REAL_TIME, "cpu.rt_runtime_us" [.field("cpu/realtimeRuntime", Unset).shared_out().unlimited("-1").advice(advice::REAL_TIME)];
    CPU_WEIGHT = V2 else Twin("cpu.shares"), "cpu.weight" [.field("cpu/shares", Unset).property(Number("CPUWeight"))];
    CPU_MAX = V2 else Twin("cpu.cfs_quota_us"), "cpu.max"
        [.field("cpu/quota", Unset).unlimited(MAX).property(UnitProperty::Bandwidth).capacity(Capacity::Cpu, None)
         .takes(Takes::QuotaAndPeriod).advice(advice::BANDWIDTH)];
    CPU_MAX_BURST = V2 else Twin("cpu.cfs_burst_us"), "cpu.max.burst" [.field("cpu/burst", Itself)];
    CPU_IDLE = BOTH "cpu.idle" [.field("cpu/idle", Itself).property(UnitProperty::Idle)];

    CPUSET_CPUS = BOTH "cpuset.cpus" [.shared_out().field("cpu/cpus", Itself).takes(Takes::PartOfAbove).property(Mask("AllowedCPUs")).advice(advice::CPUS)];
    CPUSET_MEMS = BOTH "cpuset.mems" [.shared_out().field("cpu/mems", Itself).takes(Takes::PartOfAbove).property(Mask("AllowedMemoryNodes")).advice(advice::MEMS)];

    CPUSET_EXCLUSIVE = V2 else ByName, "cpuset.cpus.exclusive" [.shared_out()];
    CPUSET_PARTITION = V2 else ByName, "cpuset.cpus.partition" [.shared_out()];

    BLKIO_WEIGHT = V1 else Twin("io.weight"), "blkio.weight"
        [.field("blockIO/weight", Unset).property(Number("BlockIOWeight")).advice(advice::WEIGHTS)];
    BLKIO_BFQ_WEIGHT = V1 else Twin("io.bfq.weight"), "blkio.bfq.weight" [.scheduler("bfq").field("blockIO/weight", Unset).advice(advice::WEIGHTS)];
    BLKIO_LEAF_WEIGHT = V1 else LEAF_WEIGHT, "blkio.leaf_weight" [.field("blockIO/leafWeight", Unset)];
    BLKIO_WEIGHT_DEVICE = V1 else Twin("io.weight"), "blkio.weight_device" [.field("weightDevice/weight", Unset).shape(Keyed("0"))];
    BLKIO_BFQ_WEIGHT_DEVICE = V1 else Twin("io.bfq.weight"), "blkio.bfq.weight_device"
        [.scheduler("bfq").field("weightDevice/weight", Unset).shape(Keyed("0"))];
    BLKIO_LEAF_WEIGHT_DEVICE = V1 else LEAF_WEIGHT, "blkio.leaf_weight_device"
        [.field("weightDevice/leafWeight", Unset).shape(Keyed("0"))];
    BLKIO_READ_BPS = V1 else Twin("io.max"), "blkio.throttle.read_bps_device" [.shape(Keyed("0")).takes(Takes::Device)];
    BLKIO_WRITE_BPS = V1 else Twin("io.max"), "blkio.throttle.write_bps_device" [.shape(Keyed("0")).takes(Takes::Device)];
    BLKIO_READ_IOPS = V1 else Twin("io.max"), "blkio.throttle.read_iops_device" [.shape(Keyed("0")).takes(Takes::Device)];
    BLKIO_WRITE_IOPS = V1 else Twin("io.max"), "blkio.throttle.write_iops_device" [.shape(Keyed("0")).takes(Takes::Device)];
    IO_WEIGHT = V2 else Twin("blkio.weight"), "io.weight"
        [.field("blockIO/weight", Unset).shape(Keyed("default")).property(UnitProperty::IoWeight).advice(advice::WEIGHTS)];
    IO_BFQ_WEIGHT = V2 else Twin("blkio.bfq.weight"), "io.bfq.weight"
        [.scheduler("bfq").field("blockIO/weight", Unset).shape(Keyed("default")).advice(advice::WEIGHTS)];
    IO_MAX = V2 else Twin("blkio.throttle.read_bps_device"), "io.max"
        [.zero(NoLimit).unlimited(MAX).shape(Keyed("rbps=max wbps=max riops=max wiops=max")).takes(Takes::Device).property(UnitProperty::IoMax)];
    IO_LATENCY = V2 else ByName, "io.latency" [.shape(Keyed("default")).takes(Takes::Device)];

    HUGETLB_LIMIT = V1 else Twin("hugetlb.*.max"), "hugetlb.*.limit_in_bytes";
    HUGETLB_RSVD_LIMIT = V1 else Twin("hugetlb.*.rsvd.max"), "hugetlb.*.rsvd.limit_in_bytes";
    HUGETLB_MAX = V2 else Twin("hugetlb.*.limit_in_bytes"), "hugetlb.*.max";
    HUGETLB_RSVD_MAX = V2 else Twin("hugetlb.*.rsvd.limit_in_bytes"), "hugetlb.*.rsvd.max";

    RDMA_MAX = BOTH "rdma.max" [.shape(Keyed("0"))];
    NET_CLASS = V1 else NOT_OF_V2, "net_cls.classid" [.field("network/classID", Unset)];
    NET_PRIORITIES = V1 else NOT_OF_V2, "net_prio.ifpriomap" [.shape(Keyed("0"))];

    MISC_MAX = V2 else ByName, "misc.max" [.shape(Keyed("0"))];
    DMEM_MAX = V2 else ByName, "dmem.max" [.shape(Keyed("0"))];
    DMEM_MIN = V2 else ByName, "dmem.min" [.shape(Keyed("0"))];
    DMEM_LOW = V2 else ByName, "dmem.low" [.shape(Keyed("0"))];
}
