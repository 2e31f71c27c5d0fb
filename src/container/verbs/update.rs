//! `update`: new limits for one container or several, all or none.

use std::path::PathBuf;

use crate::cgroup::rdt::{self as groups, Rdt};
use crate::cgroup::{Admission, Applied, Cgroup, LimitsToBe};
use crate::container::lookup::{Container, locked, not_running, rdt_value};
use crate::container::options::{Global, LimitChange, Update};
use crate::error::{Context, Error, Origins, Result, Stage};
use crate::host::Host;
use crate::host::cgroup::Layout;
use crate::plan::cgroup::files::of_limit;
use crate::plan::cgroup::idle::settled;
use crate::plan::cgroup::rdt;
use crate::plan::cgroup::rdt::RdtPlan;
use crate::plan::cgroup::update;
use crate::plan::cgroup::update::{DeviceRules, UpdatePlan};
use crate::plan::cgroup::{Privilege, Write};
use crate::plan::reach::Reach;
use crate::plan::systemd::{self, Property, properties};
use crate::spec::linux::IntelRdt;
use crate::spec::resources::Resources;
use crate::spec::status::Status;
use crate::state::Lock;

/// One container's part.
struct Change {
    container: Container,
    cgroup: Cgroup,
    plan: UpdatePlan,
    /// Who asks for it.
    said: SaidLimits,
    /// The limits for the container's systemd unit, where it has one.
    properties: Vec<Property>,
    rdt: Option<RdtChange>,
    _lock: Option<Lock>,
}

/// What is asked for, and by whom.
struct SaidLimits {
    wanted: Resources,
    origins: Origins,
}

impl SaidLimits {
    /// An error of these limits, with the flag or file that it is about.
    fn name(&self, error: Error) -> Error {
        self.origins.name(of_limit(error, &self.wanted))
    }
}

/// The part of the resctrl group.
struct RdtChange {
    group: Rdt,
    /// The container was in none so far: where resctrl is, and what is made there, as by runc.
    made: Option<(PathBuf, RdtPlan)>,
    before: Vec<String>,
    after: Vec<String>,
}

/// Changes limits. Everything is planned and checked before the first write, each container against what the others
/// will have; when a write is refused, what was written before is taken back, in every container.
pub fn update(global: &Global, args: &Update) -> Result<()> {
    // `change`, `rdt_change`.
    let Update { changes: wanted, force, device_rules: _, l3_cache_schema: _, mem_bw_schema: _ } = args;
    let layout = Layout::read()?;
    let mut changes = Vec::new();
    for LimitChange { id, resources, origins } in ordered(wanted)? {
        let (container, lock) = locked(global, id)?;
        let said = SaidLimits { wanted: resources.clone(), origins: origins.clone() };
        changes.push(change(global, container, Some(lock), said, &layout, args)?);
    }
    let admission = if *force { Admission::Force } else { Admission::Check };
    transact(global, changes, admission).map(drop).map_err(|undone| undone.error)
}

/// New limits of two containers, for whoever has their locks.
pub(in crate::container) fn both(global: &Global, both: [(Container, Lock); 2], wanted: &[Resources; 2]) -> Result<()> {
    let changes = changes_of(global, both, wanted)?;
    transact(global, changes, Admission::Always).map(drop).map_err(|undone| undone.error)
}

/// Whether [`both`] could be done now.
pub(in crate::container) fn would_do(
    global: &Global,
    both: [(Container, Lock); 2],
    wanted: &[Resources; 2],
) -> Result<()> {
    admit(&changes_of(global, both, wanted)?, Admission::Always)
}

fn changes_of(global: &Global, both: [(Container, Lock); 2], wanted: &[Resources; 2]) -> Result<Vec<Change>> {
    let layout = Layout::read()?;
    let each = both.into_iter().zip(wanted);
    let said = |wanted: &Resources| SaidLimits { wanted: wanted.clone(), origins: Origins::default() };
    each.map(|((container, lock), wanted)| {
        change(global, container, Some(lock), said(wanted), &layout, &Update::default())
    })
    .collect()
}

/// Why limits are not changed, or no longer.
pub(in crate::container) struct Undone {
    pub error: Error,
    /// Whether all is as it was.
    pub whole: bool,
}

impl From<Error> for Undone {
    /// Nothing was changed yet.
    fn from(error: Error) -> Undone {
        Undone { error, whole: true }
    }
}

impl Undone {
    fn and(&mut self, failure: &Error) {
        *self =
            Undone { error: Error::new(Stage::State, format!("{}; and then: {failure}", self.error)), whole: false };
    }
}

/// What has been done, as long as it may have to be taken back.
pub(in crate::container) struct Updated(Vec<Change>, Vec<AppliedPart>);

impl Updated {
    /// The limits as they were; what cannot be undone is said.
    pub(in crate::container) fn take_back(mut self, error: Error) -> Undone {
        take_back(&mut self.0, self.1, error)
    }
}

/// New limits of one container, for whoever has its lock.
pub(in crate::container) fn limit(
    global: &Global,
    container: Container,
    wanted: &Resources,
) -> std::result::Result<Updated, Undone> {
    let args = Update::default();
    let said = SaidLimits { wanted: wanted.clone(), origins: Origins::default() };
    let change = change(global, container, None, said, &Layout::read()?, &args)?;
    // `start` has no flag to insist by.
    transact(global, vec![change], Admission::Always)
}

fn transact(global: &Global, mut changes: Vec<Change>, admission: Admission) -> std::result::Result<Updated, Undone> {
    admit(&changes, admission)?;
    let done = note_groups(&mut changes).map_err(Undone::from).and_then(|()| apply(&mut changes, global.warn));
    match done {
        Ok(done) => Ok(Updated(changes, done)),
        Err(failed) => Err(forget(&mut changes, failed)),
    }
}

/// Notes the resctrl groups that are about to be made, so that `delete` finds them whatever happens.
fn note_groups(changes: &mut [Change]) -> Result<()> {
    for Change { container, rdt, .. } in changes {
        if let Some(rdt) = rdt.as_ref().filter(|rdt| rdt.made.is_some()) {
            container.record.rdt = rdt_value(&rdt.group)?;
            container.dir.save(&container.record)?;
        }
    }
    Ok(())
}

/// The groups that were not made after all.
fn forget(changes: &mut [Change], mut undone: Undone) -> Undone {
    for Change { container, rdt, .. } in changes {
        if rdt.as_ref().is_some_and(|rdt| rdt.made.is_some()) {
            container.record.rdt = serde_json::Value::Null;
            if let Err(failure) = container.dir.save(&container.record) {
                undone.and(&failure);
            }
        }
    }
    undone
}

fn admit(changes: &[Change], admission: Admission) -> Result<()> {
    let mut planned = LimitsToBe::default();
    for change in changes {
        planned.add(change.cgroup.planned(&change.plan.writes)?);
    }
    changes.iter().try_for_each(|change| {
        let admitted = change.cgroup.admission(&change.plan.writes, admission, &planned);
        admitted.map_err(|error| change.said.name(error))
    })
}

/// By name, so that two updates of the same containers lock them in the same order; each named once.
fn ordered(changes: &[LimitChange]) -> Result<Vec<&LimitChange>> {
    let mut sorted: Vec<_> = changes.iter().collect();
    sorted.sort_unstable_by(|one, other| one.id.cmp(&other.id));
    match sorted.windows(2).find(|pair| pair[0].id == pair[1].id) {
        Some(pair) => Err(Error::new(Stage::Args, format!("update names container {} twice", pair[0].id))),
        None => Ok(sorted),
    }
}

fn change(
    global: &Global,
    container: Container,
    lock: Option<Lock>,
    said: SaidLimits,
    layout: &Layout,
    args: &Update,
) -> Result<Change> {
    let id = container.record.id.clone();
    if container.status()? == Status::Stopped {
        return Err(not_running());
    }
    let Some(cgroup) = container.cgroup()? else {
        return Err(Error::new(Stage::Cgroup, format!("container {id} has no cgroup of its own"))
            .with_hint("limits need a cgroup; an ordinary user needs a delegated one"));
    };
    let current = container.resources()?;
    let rules = match args.device_rules {
        true => DeviceRules::Replace(Privilege::of(&Host::probe()?)),
        false => DeviceRules::Keep,
    };
    let plan = update::update(&current, &said.wanted, layout, rules).map_err(|error| said.name(error))?;
    let (plan, properties) = if cgroup.scope().is_some() { systemd::update(plan) } else { (plan, Vec::new()) };
    for warning in &plan.warnings {
        (global.warn)(&format!("update {id}: {warning}"));
    }
    cgroup.check_usage(&plan.checks).map_err(|error| said.name(error))?;
    let rdt = rdt_change(&container, args).map_err(|error| said.name(error))?;
    Ok(Change { container, cgroup, plan, said, properties, rdt, _lock: lock })
}

/// The new schemata, where some are given, and what they replace.
fn rdt_change(container: &Container, args: &Update) -> Result<Option<RdtChange>> {
    let after = rdt::schemas(args.l3_cache_schema.as_deref(), args.mem_bw_schema.as_deref());
    if after.is_empty() {
        return Ok(None);
    }
    let Some(group) = container.rdt()? else {
        let what = || "make a resctrl group, for the container has none".to_owned();
        let root = groups::mount_point().at(Stage::Cgroup, what).map_err(|error| error.at_field("linux.intelRdt"))?;
        let wanted = IntelRdt {
            l3_cache_schema: args.l3_cache_schema.clone(),
            mem_bw_schema: args.mem_bw_schema.clone(),
            ..IntelRdt::default()
        };
        let plan = rdt::plan(&wanted, &container.record.id)?;
        let group = Rdt::planned(&root, &plan);
        return Ok(Some(RdtChange { group, made: Some((root, plan)), before: Vec::new(), after }));
    };
    let resource = |line: &str| line.split(':').next().unwrap_or_default().trim().to_owned();
    let changed: Vec<String> = after.iter().map(|line| resource(line)).collect();
    let before = group.schemata()?;
    let before = before.lines().map(str::trim).filter(|line| changed.contains(&resource(line))).map(str::to_owned);
    Ok(Some(RdtChange { before: before.collect(), group, made: None, after }))
}

impl Change {
    fn limits(&self, index: usize, writes: &[Write]) -> Result<AppliedPart> {
        let applied = self.cgroup.apply(writes).map_err(|error| self.said.name(error))?;
        Ok(AppliedPart::Limits(index, applied))
    }
}

/// What a container got, to be taken back: the writes of a pass, the schemata of its resctrl group, device rules, its
/// unit, its record.
enum AppliedPart {
    Limits(usize, Applied),
    Schemata(usize),
    Devices(usize),
    /// The limits its systemd unit had.
    Unit(usize, Vec<Property>),
    /// The limits its record had.
    Record(usize, Box<Option<Resources>>),
}

/// The writes that raise something, and the others. Those of one controller stay together, for they depend on each other.
fn raises(change: &Change) -> Result<(Vec<Write>, Vec<Write>)> {
    let growth = change.cgroup.growth(&change.plan.writes)?;
    let raised = |write: &Write| growth.iter().any(|(controller, by)| *controller == write.controller && *by > 0);
    Ok(change.plan.writes.iter().cloned().partition(raised))
}

fn apply(changes: &mut [Change], warn: &dyn Fn(&str)) -> std::result::Result<Vec<AppliedPart>, Undone> {
    let mut done = Vec::new();
    match write(changes, &mut done, warn) {
        Ok(()) => Ok(done),
        Err(error) => Err(take_back(changes, done, error)),
    }
}

/// What is lowered comes first, in all containers: so the sum of a limit is at no time above what it was before or will be after. Who
/// raises nothing is done with, in its unit and its record, before anybody gets more: from whatever is noted and kept when we are
/// killed, nobody makes more of them all than there was.
fn write(changes: &mut [Change], done: &mut Vec<AppliedPart>, warn: &dyn Fn(&str)) -> Result<()> {
    let (raise, lower): (Vec<_>, Vec<_>) = changes.iter().map(raises).collect::<Result<Vec<_>>>()?.into_iter().unzip();
    for (index, writes) in lower.iter().enumerate() {
        done.push(changes[index].limits(index, writes)?);
    }
    let (lowered, raised): (Vec<_>, Vec<_>) = (0..changes.len()).partition(|index| raise[*index].is_empty());
    finish(changes, &lowered, done, warn)?;
    for index in &raised {
        done.push(changes[*index].limits(*index, &raise[*index])?);
    }
    finish(changes, &raised, done, warn)
}

/// What is left of these when the kernel has all their limits. Their units only once it has accepted every other value.
fn finish(changes: &mut [Change], which: &[usize], done: &mut Vec<AppliedPart>, warn: &dyn Fn(&str)) -> Result<()> {
    for index in which {
        set_others(&changes[*index], *index, done)?;
    }
    for index in which {
        set_unit(&changes[*index], *index, done, warn)?;
    }
    for index in which {
        let Change { container, plan, .. } = &mut changes[*index];
        let before = container.record.resources.replace(plan.resources.clone());
        // Also when it fails: it may be in the file all the same.
        done.push(AppliedPart::Record(*index, Box::new(before)));
        container.dir.save(&container.record)?;
    }
    Ok(())
}

fn set_others(change: &Change, index: usize, done: &mut Vec<AppliedPart>) -> Result<()> {
    if let Some(rules) = &change.plan.devices {
        done.push(AppliedPart::Devices(index));
        change.cgroup.set_devices(&rules.after)?;
    }
    if let Some(rdt) = &change.rdt {
        done.push(AppliedPart::Schemata(index));
        match &rdt.made {
            Some((root, plan)) => Rdt::create(root, plan)?.take_in(&change.cgroup.pids(Reach::Tree)?)?,
            None => rdt.group.write_schemata(&rdt.after)?,
        }
    }
    Ok(())
}

fn set_unit(change: &Change, index: usize, done: &mut Vec<AppliedPart>, warn: &dyn Fn(&str)) -> Result<()> {
    if change.properties.is_empty() {
        return Ok(());
    }
    // Also when it fails: the unit may have got some, systemd does not say.
    let mut before = properties::limits(&limits_before(done, index));
    before.extend(change.plan.devices.iter().flat_map(|rules| properties::other_devices(&rules.before)));
    done.push(AppliedPart::Unit(index, before));
    for name in change.cgroup.set_unit_properties(&change.properties)? {
        let id = &change.container.record.id;
        warn(&format!("update {id}: this systemd has no {name}: the limit holds until it writes the cgroup again"));
    }
    // What systemd made of a property is not always what was asked: an OOMPolicy, a period without a quota.
    change.cgroup.apply_again(&settled(&change.plan.writes))
}

/// The limits that one container had.
fn limits_before(done: &[AppliedPart], container: usize) -> Vec<Write> {
    let limits = |done: &AppliedPart| match done {
        AppliedPart::Limits(index, applied) if *index == container => applied.before(),
        _ => Vec::new(),
    };
    done.iter().flat_map(limits).collect()
}

/// Undoes, the newest first; what cannot be undone is said.
fn take_back(changes: &mut [Change], done: Vec<AppliedPart>, error: Error) -> Undone {
    let failures = done.into_iter().rev().filter_map(|part| undo(changes, part).err());
    let failures: Vec<String> = failures.map(|failure| failure.to_string()).collect();
    if failures.is_empty() {
        return Undone { error, whole: true };
    }
    let what = format!("{error}; and then not all was put back: {}", failures.join("; "));
    Undone { error: Error::new(Stage::Cgroup, what), whole: false }
}

fn undo(changes: &mut [Change], part: AppliedPart) -> Result<()> {
    match part {
        AppliedPart::Limits(index, applied) => changes[index].cgroup.put_back(applied),
        AppliedPart::Schemata(index) => changes[index].rdt.as_ref().map_or(Ok(()), |rdt| match rdt.made {
            Some(_) => rdt.group.remove(),
            None => rdt.group.write_schemata(&rdt.before),
        }),
        AppliedPart::Devices(index) => {
            let Change { cgroup, plan, .. } = &changes[index];
            plan.devices.as_ref().map_or(Ok(()), |rules| cgroup.set_devices(&rules.before))
        }
        AppliedPart::Unit(index, properties) => changes[index].cgroup.set_unit_properties(&properties).map(drop),
        AppliedPart::Record(index, before) => {
            let container = &mut changes[index].container;
            container.record.resources = *before;
            container.dir.save(&container.record)
        }
    }
}
