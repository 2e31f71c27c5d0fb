//! `update`: new limits for one container or several, all or none.

use super::Container;
use super::freeze::locked;
use super::lookup::not_running;
use super::options::{Global, Update};
use crate::cgroup::rdt::Rdt;
use crate::cgroup::{Admission, Applied, Cgroup};
use crate::error::{Error, Result, Stage};
use crate::host::cgroup::Layout;
use crate::plan::cgroup_update::{self, UpdatePlan};
use crate::plan::rdt;
use crate::plan::systemd::{self, Property};
use crate::spec::resources::Resources;
use crate::state::{Lock, Status};

/// One container's part.
struct Change {
    container: Container,
    cgroup: Cgroup,
    plan: UpdatePlan,
    /// The same limits for the container's systemd unit, where it has one.
    properties: Vec<Property>,
    /// By how much its memory limit grows; those that shrink come first.
    growth: i64,
    rdt: Option<RdtChange>,
    _lock: Lock,
}

/// The part of the resctrl group.
struct RdtChange {
    group: Rdt,
    before: Vec<String>,
    after: Vec<String>,
}

/// Changes limits. Everything is planned and checked before the first write; when a write is refused, what the
/// containers before it got is taken back.
pub fn update(global: &Global, args: &Update) -> Result<()> {
    let layout = Layout::read()?;
    let mut changes = Vec::new();
    for (id, wanted) in ordered(&args.changes)? {
        changes.push(change(global, id, wanted, &layout, args)?);
    }
    // Shrink first, so that the sum is at no time above what it was before or will be after.
    changes.sort_by_key(|change| change.growth);
    apply(&changes)?;
    changes.iter_mut().try_for_each(|change| {
        change.container.record.resources = Some(change.plan.resources.clone());
        change.container.dir.save(&change.container.record)
    })
}

/// By name, so that two updates of the same containers lock them in the same order; each named once.
fn ordered(changes: &[(String, Resources)]) -> Result<Vec<(&str, &Resources)>> {
    let mut sorted: Vec<_> = changes.iter().map(|(id, wanted)| (id.as_str(), wanted)).collect();
    sorted.sort_by_key(|(id, _)| *id);
    match sorted.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(Error::new(Stage::Args, format!("update names container {} twice", pair[0].0))),
        None => Ok(sorted),
    }
}

fn change(global: &Global, id: &str, wanted: &Resources, layout: &Layout, args: &Update) -> Result<Change> {
    let (container, lock) = locked(global, id)?;
    if container.status()? == Status::Stopped {
        return Err(not_running());
    }
    let Some(cgroup) = container.cgroup()? else {
        return Err(Error::new(Stage::Cgroup, format!("container {id} has no cgroup of its own"))
            .with_hint("limits need a cgroup; an ordinary user needs a delegated one"));
    };
    let current = container.resources()?;
    let mut plan = cgroup_update::update(&current, wanted, layout)?;
    let properties = match cgroup.scope() {
        Some(_) => systemd::update(&mut plan.writes),
        None => Vec::new(),
    };
    for warning in &plan.warnings {
        (global.warn)(&format!("update {id}: {warning}"));
    }
    cgroup.check_usage(&plan.checks)?;
    cgroup.admission(&plan.writes, if args.force { Admission::Force } else { Admission::Check })?;
    let growth = limit(&plan.resources).saturating_sub(limit(&current));
    let rdt = rdt_change(&container, args)?;
    Ok(Change { container, cgroup, plan, properties, growth, rdt, _lock: lock })
}

/// The new schemata, where some are given, and what they replace.
fn rdt_change(container: &Container, args: &Update) -> Result<Option<RdtChange>> {
    let after = rdt::schemas(args.l3_cache_schema.as_deref(), args.mem_bw_schema.as_deref());
    if after.is_empty() {
        return Ok(None);
    }
    let Some(group) = container.rdt()? else {
        let what = format!("container {} is in no resctrl group of its own", container.record.id);
        return Err(Error::new(Stage::Cgroup, what).with_hint("create it with linux.intelRdt"));
    };
    let resource = |line: &str| line.split(':').next().unwrap_or_default().trim().to_owned();
    let changed: Vec<String> = after.iter().map(|line| resource(line)).collect();
    let before = group.schemata()?;
    let before = before.lines().map(str::trim).filter(|line| changed.contains(&resource(line))).map(str::to_owned);
    Ok(Some(RdtChange { before: before.collect(), group, after }))
}

/// The memory limit; none is the highest.
fn limit(resources: &Resources) -> i64 {
    let limit = resources.memory.as_ref().and_then(|memory| memory.limit).unwrap_or(-1);
    if limit < 0 { i64::MAX } else { limit }
}

fn apply(changes: &[Change]) -> Result<()> {
    let mut done: Vec<(&Change, Applied)> = Vec::new();
    for change in changes {
        match change.cgroup.apply(&change.plan.writes) {
            Ok(applied) => done.push((change, applied)),
            Err(error) => return Err(take_back(done, error)),
        }
        if let Some(Err(error)) = change.rdt.as_ref().map(|rdt| rdt.group.write_schemata(&rdt.after)) {
            return Err(take_back(done, error));
        }
    }
    // Only once the kernel has accepted every value.
    for (index, change) in changes.iter().enumerate() {
        if let Err(error) = change.cgroup.set_unit_properties(&change.properties) {
            // The one that failed may have got some: systemd does not say.
            let units = done.iter().take(index + 1).rev().filter_map(|(change, applied)| reset_unit(change, applied));
            let worse: Vec<Error> = units.filter_map(Result::err).collect();
            return Err(not_all(take_back(done, error), &worse));
        }
    }
    Ok(())
}

/// Tells systemd the limits from before; `None` for a container without a unit.
fn reset_unit(change: &Change, applied: &Applied) -> Option<Result<()>> {
    let properties = if change.properties.is_empty() { return None } else { systemd::properties(&applied.before()) };
    Some(change.cgroup.set_unit_properties(&properties))
}

/// Undoes, the newest first; what cannot be undone is said.
fn take_back(done: Vec<(&Change, Applied)>, error: Error) -> Error {
    let worse: Vec<Error> = done
        .into_iter()
        .rev()
        .flat_map(|(change, applied)| {
            let rdt = change.rdt.as_ref().and_then(|rdt| rdt.group.write_schemata(&rdt.before).err());
            [rdt, change.cgroup.put_back(applied).err()].into_iter().flatten()
        })
        .collect();
    not_all(error, &worse)
}

fn not_all(error: Error, worse: &[Error]) -> Error {
    if worse.is_empty() {
        return error;
    }
    let worse: Vec<String> = worse.iter().map(Error::to_string).collect();
    Error::new(Stage::Cgroup, format!("{error}; and then not all was put back: {}", worse.join("; ")))
}
