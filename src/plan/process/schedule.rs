//! Scheduling attributes, I/O priority, CPU affinity and execution domain as the kernel's numbers. Pure;
//! runs in the parent.

use std::mem::offset_of;

use serde_json::Value;

use crate::error::{Below, Error, Result, Stage};
use crate::spec::linux::Personality;
use crate::spec::number_list;
use crate::spec::process::{IoPriority, Scheduler};

/// `struct sched_attr` of sched_setattr(2), as of Linux 5.3. Older kernels accept the two fields they do not
/// know as long as they are zero, and they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
#[expect(missing_docs, reason = "names and meaning are sched_setattr(2)'s")]
pub struct SchedAttr {
    pub size: u32,
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
    pub util_min: u32,
    pub util_max: u32,
}

/// What the bytes of a [`SchedAttr`] say, as values for `brisk plan --json`.
pub(in crate::plan) fn values_of(bytes: &[u8]) -> [(&'static str, Value); 6] {
    let word = |at: usize| {
        let part = bytes.get(at..at + 4).and_then(|part| part.try_into().ok());
        part.map(u32::from_ne_bytes).unwrap_or_default()
    };
    let long = |at: usize| {
        let part = bytes.get(at..at + 8).and_then(|part| part.try_into().ok());
        Value::from(part.map(u64::from_ne_bytes).unwrap_or_default())
    };
    let policy = word(offset_of!(SchedAttr, policy)).cast_signed();
    let policy = POLICIES.iter().find(|(_, number)| *number == policy).map(|(name, _)| *name);
    [
        ("policy", policy.into()),
        ("nice", word(offset_of!(SchedAttr, nice)).cast_signed().into()),
        ("priority", word(offset_of!(SchedAttr, priority)).into()),
        ("runtimeNs", long(offset_of!(SchedAttr, runtime))),
        ("deadlineNs", long(offset_of!(SchedAttr, deadline))),
        ("periodNs", long(offset_of!(SchedAttr, period))),
    ]
}

const POLICIES: &[(&str, i32)] = &[
    ("SCHED_BATCH", libc::SCHED_BATCH),
    ("SCHED_DEADLINE", libc::SCHED_DEADLINE),
    ("SCHED_FIFO", libc::SCHED_FIFO),
    ("SCHED_IDLE", libc::SCHED_IDLE),
    // In the specification and reserved in the kernel, which answers EINVAL.
    ("SCHED_ISO", 4),
    ("SCHED_OTHER", libc::SCHED_OTHER),
    ("SCHED_RR", libc::SCHED_RR),
];

const FLAGS: &[(&str, i32)] = &[
    ("SCHED_FLAG_DL_OVERRUN", libc::SCHED_FLAG_DL_OVERRUN),
    ("SCHED_FLAG_KEEP_PARAMS", libc::SCHED_FLAG_KEEP_PARAMS),
    ("SCHED_FLAG_KEEP_POLICY", libc::SCHED_FLAG_KEEP_POLICY),
    ("SCHED_FLAG_RECLAIM", libc::SCHED_FLAG_RECLAIM),
    ("SCHED_FLAG_RESET_ON_FORK", libc::SCHED_FLAG_RESET_ON_FORK),
    ("SCHED_FLAG_UTIL_CLAMP_MAX", libc::SCHED_FLAG_UTIL_CLAMP_MAX),
    ("SCHED_FLAG_UTIL_CLAMP_MIN", libc::SCHED_FLAG_UTIL_CLAMP_MIN),
];

const IO_CLASSES: &[(&str, i32)] = &[("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3), ("IOPRIO_CLASS_RT", 1)];

/// The value `name` has in `table`.
pub(in crate::plan) fn lookup(table: &[(&str, i32)], what: &str, name: &str) -> Result<i32> {
    match table.iter().find(|(known, _)| *known == name) {
        Some((_, value)) => Ok(*value),
        None => Err(Error::of_value(Stage::Bundle, format!("{what} {name:?} does not exist"))
            .meant(name, table.iter().map(|(known, _)| *known))),
    }
}

fn bad(field: &str, what: impl Into<String>) -> Error {
    Error::of_field(Stage::Bundle, field, what)
}

/// Reads `process.scheduler`.
pub fn scheduler(spec: &Scheduler) -> Result<SchedAttr> {
    scheduler_of(spec).below(|| "process.scheduler")
}

fn scheduler_of(spec: &Scheduler) -> Result<SchedAttr> {
    let policy = lookup(POLICIES, "scheduler policy", &spec.policy).below(|| "policy")?;
    let mut flags = 0;
    for (index, name) in spec.flags.iter().enumerate() {
        flags |= lookup(FLAGS, "scheduler flag", name).below(|| format!("flags[{index}]"))? as u64;
    }
    if !(-20..=19).contains(&spec.nice) {
        return Err(bad("nice", format!("scheduler nice {} is not between -20 and 19", spec.nice)));
    }
    let realtime = matches!(policy, libc::SCHED_FIFO | libc::SCHED_RR);
    if realtime && !(1..=99).contains(&spec.priority) {
        return Err(bad(
            "priority",
            format!("scheduler priority {} of {} is not between 1 and 99", spec.priority, spec.policy),
        ));
    }
    if !realtime && spec.priority != 0 {
        return Err(bad(
            "priority",
            format!("scheduler priority is for SCHED_FIFO and SCHED_RR, not for {}", spec.policy),
        ));
    }
    check_deadline(policy, spec)?;
    Ok(SchedAttr {
        size: size_of::<SchedAttr>() as u32,
        policy: policy as u32,
        flags,
        nice: spec.nice,
        priority: spec.priority as u32,
        runtime: spec.runtime,
        deadline: spec.deadline,
        period: spec.period,
        util_min: 0,
        util_max: 0,
    })
}

/// The least that the kernel counts (`DL_SCALE`), and what it has bits for (`__checkparam_dl()` in kernel/sched/deadline.c).
const MIN_RUNTIME: u64 = 1 << 10;
const MAX_PERIOD: u64 = i64::MAX as u64;

/// sched(7): runtime ≤ deadline ≤ period, where a period of 0 means the deadline.
fn check_deadline(policy: i32, spec: &Scheduler) -> Result<()> {
    let (runtime, deadline, period) = (spec.runtime, spec.deadline, spec.period);
    if policy != libc::SCHED_DEADLINE {
        return match (runtime, deadline, period) {
            (0, 0, 0) => Ok(()),
            _ => Err(Error::of_value(
                Stage::Bundle,
                format!("scheduler runtime, deadline and period are for SCHED_DEADLINE, not for {}", spec.policy),
            )),
        };
    }
    if runtime < MIN_RUNTIME
        || runtime > deadline
        || (period != 0 && deadline > period)
        || deadline.max(period) > MAX_PERIOD
    {
        let what = format!(
            "scheduler runtime {runtime}, deadline {deadline}, period {period}: want {MIN_RUNTIME} <= runtime <= deadline <= \
             period, in nanoseconds"
        );
        return Err(Error::of_value(Stage::Bundle, what));
    }
    Ok(())
}

/// Reads `process.ioPriority`: the value for ioprio_set(2).
pub fn io_priority(spec: &IoPriority) -> Result<i32> {
    const CLASS_SHIFT: i32 = 13;
    let class = lookup(IO_CLASSES, "I/O priority class", &spec.class).below(|| "process.ioPriority.class")?;
    match spec.priority {
        level @ 0..=7 => Ok(class << CLASS_SHIFT | level as i32),
        level => Err(bad("process.ioPriority.priority", format!("I/O priority {level} is not between 0 and 7"))),
    }
}

/// Reads a list of CPUs or memory nodes, `0-3,7`: a mask for sched_setaffinity(2) or set_mempolicy(2), bit n
/// of word n/64. `None` for a list that names nothing. Extra commas and spaces are allowed, as in runc.
pub fn parse_list(what: &str, list: &str) -> Result<Option<Vec<u64>>> {
    let mask = number_list::mask(list)
        .map_err(|part| format!("{what} list {list:?}: {part:?} is neither a number nor a range"))
        .map_err(|what| Error::of_value(Stage::Bundle, what))?;
    Ok((!mask.is_empty()).then_some(mask))
}

/// Reads `linux.personality`: the value for personality(2).
pub fn personality(spec: &Personality) -> Result<u64> {
    const PER_LINUX: i32 = 0;
    const PER_LINUX32: i32 = 8;
    if let Some(flag) = spec.flags.first() {
        return Err(bad("linux.personality.flags[0]", format!("personality flag {flag:?} does not exist")));
    }
    lookup(&[("LINUX", PER_LINUX), ("LINUX32", PER_LINUX32)], "personality", &spec.domain)
        .below(|| "linux.personality.domain")
        .map(|value| value as u64)
}
