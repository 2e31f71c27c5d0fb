//! What containers use, as JSON. What cannot be known is null; so is a limit where there is none.

use brisk::cgroup::Amount;
use brisk::cgroup::stats::Psi;
use brisk::cli::output;
use brisk::error::Result;
use serde_json::{Value, json};

use crate::figures::{Look, Reading};

/// The version of the format.
const VERSION: u32 = 1;

/// JSON on several lines.
pub fn text(value: &Value) -> Result<String> {
    output::pretty(value)
}

/// JSON on one line.
pub fn line(value: &Value) -> Result<String> {
    output::compact(value)
}

/// A look; with rates where there was one before it.
pub fn look(look: &Look, rates: Rated) -> Value {
    let rows: Vec<Value> = look.rows.iter().map(|one| row(one, rates)).collect();
    json!({ "version": VERSION, "monotonicNs": look.at_ns, "containers": rows, "problems": look.problems.told })
}

/// Whether rates are part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rated {
    Yes,
    No,
}

/// One container.
pub fn row(row: &Reading, rated: Rated) -> Value {
    let Reading { subject, totals, levels, rates } = row;
    let mut value = json!({
        "id": subject.id,
        "runtime": subject.maker.name(),
        "root": subject.root.to_string_lossy(),
        "status": subject.status.name(),
        "pid": subject.init.map(|init| init.pid),
        "created": subject.created,
        "owner": subject.owner,
        "bundle": subject.bundle,
        "rootfs": subject.rootfs.to_string_lossy(),
        "annotations": subject.annotations,
        "cpu": totals.cpu_ns.map(|total| json!({
            "totalNs": total,
            "userNs": totals.user_ns,
            "systemNs": totals.system_ns,
            "throttledNs": totals.throttled_ns,
            "throttledPeriods": totals.throttled_periods,
        })),
        "memory": memory(row),
        "pids": levels.pids.map(|Amount { now, limit }| json!({
            "tasks": now,
            "limit": limit,
            "limitHits": totals.pids_limit_hits,
        })),
        "io": (totals.read_bytes.is_some() || totals.written_bytes.is_some()).then(|| json!({
            "readBytes": totals.read_bytes,
            "writtenBytes": totals.written_bytes,
        })),
        "pressure": {
            "cpu": levels.pressure.cpu.as_ref().map(psi),
            "memory": levels.pressure.memory.as_ref().map(psi),
            "io": levels.pressure.io.as_ref().map(psi),
        },
    });
    if rated == Rated::Yes {
        value["perSecond"] = json!({
            "cpus": rates.cpus,
            "throttled": rates.throttled,
            "readBytes": rates.read,
            "writtenBytes": rates.written,
        });
    }
    value
}

/// What its cgroup says of memory.
pub fn memory(Reading { totals, levels, .. }: &Reading) -> Option<Value> {
    levels.memory.map(|Amount { now, limit }| {
        json!({
            "bytes": now,
            "limitBytes": limit,
            "peakBytes": totals.memory_peak,
            "cacheBytes": levels.cache,
            "tmpfsBytes": levels.shmem,
            "workingSetBytes": levels.inactive_file.map(|inactive| now.saturating_sub(inactive)),
            "kernelBytes": levels.kernel,
            "limitHits": totals.memory_limit_hits,
            "oomKills": totals.oom_kills,
        })
    })
}

/// Shares of time in percent, as the kernel has them, and the whole time in microseconds.
fn psi(psi: &Psi) -> Value {
    let line = |line: &brisk::cgroup::stats::PsiData| json!({ "avg10": line.avg10, "avg60": line.avg60, "avg300": line.avg300, "totalUs": line.total });
    json!({ "some": line(&psi.some), "full": line(&psi.full) })
}
