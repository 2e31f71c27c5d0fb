//! Memory limits. Pure.

use crate::error::{Error, Result, Stage};
use crate::spec::resources::Memory;

use crate::plan::cgroup::collect::{Collector, refuse};
use crate::plan::cgroup::files::{self, LimitFile};
use crate::plan::cgroup::write::{Phase, UsageCheck, Version, WhenMissing};

/// The writes for `memory`.
pub fn limits(memory: &Memory, version: Version, phase: Phase, out: &mut Collector) -> Result<()> {
    let Memory {
        limit,
        reservation,
        swap,
        kernel,
        kernel_tcp,
        swappiness,
        disable_oom_killer,
        use_hierarchy,
        check_before_update,
    } = *memory;
    let (of_limit, of_swap, of_reservation) = match version {
        Version::V1 => (&files::MEMORY_LIMIT, &files::MEMSW_LIMIT, &files::SOFT_LIMIT),
        Version::V2 => (&files::MEMORY_MAX, &files::SWAP_MAX, &files::MEMORY_LOW),
    };
    let (limit, swap, reservation) =
        (bytes(of_limit, limit)?, bytes(of_swap, swap)?, bytes(of_reservation, reservation)?);
    if limit.is_some_and(|l| l > 0 && swap.is_some_and(|s| s > 0 && s < l)) {
        return Err(refuse(
            "memory.swap",
            "linux.resources.memory.swap is memory plus swap, and less than linux.resources.memory.limit",
        )
        .with_hint(
            "give both: with swap as large as the limit nothing is swapped (`update --memory 128m --memory-swap 128m`)",
        ));
    }
    // The kernel wants the limit of memory and swap together to be at least that of memory, which is unlimited here.
    if version == Version::V1 && phase == Phase::Create && limit.is_none_or(|l| l < 0) && swap.is_some_and(|s| s > 0) {
        return Err(refuse("memory.swap", "unable to set swap limit without memory limit"));
    }
    let swappiness = swappiness.filter(|s| *s != u64::MAX);
    if let Some(swappiness) = swappiness.filter(|s| *s > 100) {
        return Err(refuse(
            "memory.swappiness",
            format!("linux.resources.memory.swappiness {swappiness} is not in 0-100"),
        ));
    }
    if kernel.is_some_and(|kernel| kernel != 0) {
        out.warn("linux.resources.memory.kernel is ignored: kernel memory is part of the memory limit");
    }
    let tcp = bytes(&files::KMEM_TCP_LIMIT, kernel_tcp)?;
    if use_hierarchy == Some(false) {
        out.warn("linux.resources.memory.useHierarchy is ignored: accounting is always hierarchical since Linux 5.11");
    }
    match version {
        Version::V1 => v1(limit, swap, reservation, out),
        Version::V2 => v2(limit, swap, reservation, out)?,
    }
    out.put_number(&files::KMEM_TCP_LIMIT, tcp);
    let no_killer = match (disable_oom_killer, phase) {
        (Some(true), _) => Some(1),
        (Some(false), Phase::Update) => Some(0).filter(|_| files::OOM_CONTROL.is_of(version)),
        (Some(false), Phase::Create) | (None, _) => None,
    };
    out.put_number(&files::OOM_CONTROL, no_killer);
    out.put_number(&files::SWAPPINESS, swappiness);
    if version == Version::V2 && phase == Phase::Update && check_before_update == Some(true) {
        checks(limit, swap, out);
    }
    Ok(())
}

/// A number of bytes; -1 is "no limit".
fn bytes(file: &LimitFile, value: Option<i64>) -> Result<Option<i64>> {
    match file.given(value) {
        Some(value) if value < -1 => {
            let field = files::field_of(file.name);
            Err(Error::of_field(Stage::Cgroup, field.clone(), format!("{field} {value} is negative")))
        }
        other => Ok(other),
    }
}

fn v1(limit: Option<i64>, swap: Option<i64>, reservation: Option<i64>, out: &mut Collector) {
    // Which of the two has to come first depends on the values they replace (the kernel refuses a
    // memory+swap limit below the memory limit); whoever applies them retries the refused one last.
    out.put_number(&files::MEMORY_LIMIT, limit);
    match (limit, swap) {
        // No memory limit means no memory+swap limit. Swap accounting may be off: then there is none anyway.
        (Some(-1), None) | (_, Some(-1)) => out.put_or(&files::MEMSW_LIMIT, -1, WhenMissing::Skip),
        (_, swap) => out.put_number(&files::MEMSW_LIMIT, swap),
    }
    out.put_number(&files::SOFT_LIMIT, reservation);
}

fn v2(limit: Option<i64>, swap: Option<i64>, reservation: Option<i64>, out: &mut Collector) -> Result<()> {
    // memory.swap.max does not exist without swap accounting: to lift the limit, or to forbid
    // all swap, is then what the kernel does anyway.
    match swap_max(limit, swap)? {
        Some(max @ (-1 | 0)) => out.put_or(&files::SWAP_MAX, files::SWAP_MAX.text(max), WhenMissing::Skip),
        Some(max) => out.put_text(&files::SWAP_MAX, max),
        None => {}
    }
    out.put_number(&files::MEMORY_MAX, limit);
    out.put_number(&files::MEMORY_LOW, reservation);
    Ok(())
}

/// cgroup v2 limits swap alone; the configuration has the sum of memory and swap.
pub fn swap_max(limit: Option<i64>, swap: Option<i64>) -> Result<Option<i64>> {
    match (limit, swap) {
        (Some(-1), None) => Ok(Some(-1)),
        (_, None) => Ok(None),
        (_, Some(-1)) => Ok(Some(-1)),
        (Some(-1), Some(swap)) => Ok(Some(swap)),
        (None, Some(_)) => Err(refuse("memory.swap", "unable to set swap limit without memory limit")),
        (Some(limit), Some(swap)) => Ok(Some(swap - limit)),
    }
}

fn checks(limit: Option<i64>, swap: Option<i64>, out: &mut Collector) {
    for (name, value) in [("memory+swap limit", swap), ("memory limit", limit)] {
        if let Some(limit) = value.and_then(|v| u64::try_from(v).ok()) {
            out.check(UsageCheck {
                controller: "memory".into(),
                file: files::MEMORY_MAX.used.unwrap_or_default().into(),
                limit,
                name: name.into(),
            });
        }
    }
}
