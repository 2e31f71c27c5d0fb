//! `update --move`: takes from one running container what it gives to another, in steps. Each step is an update of both, all or
//! none, which lowers before it raises: at no time do both have more than they had together, whoever is killed.

use std::time::Duration;

use serde::Serialize;

use crate::container::lookup::{Container, locked};
use crate::container::options::{Global, Transfer};
use crate::container::verbs::update;
use crate::error::{Context, Error, Result, Stage, shell_word};
use crate::plan::cgroup::transfer::{Amounts, CpuGrain, LimitHolder, Share, transfer};
use crate::plan::cgroup::update::merge;
use crate::spec::resources::Resources;
use crate::state::{Lock, ProcessId};
use crate::sys::{interrupt, poll};

/// What both have after a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TransferRow {
    /// Which; 0 is what was there before.
    pub step: u32,
    /// Of the one that gives.
    pub from: Share,
    /// Of the one that gets.
    pub to: Share,
    /// Their sum.
    pub together: Share,
}

impl TransferRow {
    fn new(step: u32, limits: &BothLimits) -> TransferRow {
        let [from, to] = limits.each(Share::of);
        TransferRow { step, from, to, together: from.and(&to) }
    }
}

/// Both, locked in the order of their names, so that two who move in opposite directions wait for each other in turn.
struct Both {
    from: (Container, Lock),
    to: (Container, Lock),
}

impl Both {
    fn locked(global: &Global, args: &Transfer) -> Result<Both> {
        if args.from < args.to {
            let from = locked(global, &args.from)?;
            return Ok(Both { from, to: locked(global, &args.to)? });
        }
        let to = locked(global, &args.to)?;
        Ok(Both { from: locked(global, &args.from)?, to })
    }

    /// Their first processes: what has another is another container, whatever it is called.
    fn firsts(&self) -> [Option<ProcessId>; 2] {
        [self.from.0.record.init, self.to.0.record.init]
    }

    /// Refuses others than those of the first step.
    fn check_known(&self, args: &Transfer, known: [Option<ProcessId>; 2], done: u32, steps: u32) -> Result<()> {
        let each = known.iter().zip(self.firsts()).zip([&args.from, &args.to]);
        match each.map(|((was, is), id)| (*was == is, id)).find(|(same, _)| !same) {
            Some((_, id)) => {
                Err(Error::new(Stage::Cgroup, format!("{id} is another container than the one of the first step"))
                    .with_hint(format!(
                        "{done} of {steps} steps were done; the new container has the limits that it was made with"
                    )))
            }
            None => Ok(()),
        }
    }

    fn limits(&self) -> Result<BothLimits> {
        let [from, to] = [&self.from.0, &self.to.0];
        Ok(BothLimits { has: [from.resources()?, to.resources()?], grains: [grain(from)?, grain(to)?] })
    }
}

fn grain(container: &Container) -> Result<CpuGrain> {
    let scope = container.cgroup()?.is_some_and(|cgroup| cgroup.scope().is_some());
    Ok(if scope { CpuGrain::Percent } else { CpuGrain::Microsecond })
}

/// What both have, or will have.
struct BothLimits {
    has: [Resources; 2],
    /// What the CPU time of each comes in.
    grains: [CpuGrain; 2],
}

impl BothLimits {
    fn each<'a, T>(&'a self, of: impl Fn(&'a Resources, CpuGrain) -> T) -> [T; 2] {
        let ([from, to], [gives, gets]) = (&self.has, self.grains);
        [of(from, gives), of(to, gets)]
    }

    /// What this step moves, in what both can have.
    fn part(&self, args: &Transfer, step: u32, steps: u32) -> Result<Amounts> {
        let [one, other] = self.grains;
        let coarser = one.max(other);
        args.amounts.check(coarser)?;
        Ok(args.amounts.part(step, steps, coarser))
    }

    /// What changes when so much is moved, and what both have then.
    fn moved(&self, args: &Transfer, part: Amounts) -> Result<([Resources; 2], BothLimits)> {
        let [from, to] = self.each(|has, grain| (has, grain));
        let holder = |id, (has, grain)| LimitHolder { id, has, grain };
        let changes = transfer(holder(&args.from, from), holder(&args.to, to), part)?;
        let has = [merge(&self.has[0], &changes[0])?, merge(&self.has[1], &changes[1])?];
        Ok((changes, BothLimits { has, grains: self.grains }))
    }
}

/// Moves it, or says what would be done; the limits of both before and after each step.
pub fn move_limits(global: &Global, args: &Transfer) -> Result<Vec<TransferRow>> {
    // `Both::locked`, `BothLimits::part`.
    let Transfer { from: _, to: _, amounts: _, steps, interval, dry_run } = args;
    let steps = (*steps).max(1);
    if *dry_run {
        return foretell(global, args, steps);
    }
    let (mut rows, mut moved) = (Vec::new(), Amounts::default());
    let mut known = None;
    if steps > 1 {
        // Between two steps, and from the first on: what was done so far is told.
        interrupt::listen();
    }
    for step in 1..=steps {
        let failed = |error| told(error, global, args, moved, step - 1, steps);
        let both = wait(step, *interval).and_then(|()| Both::locked(global, args)).map_err(failed)?;
        both.check_known(args, *known.get_or_insert(both.firsts()), step - 1, steps)?;
        let TransferredStep { part, before, after } = one_step(global, both, args, step, steps).map_err(failed)?;
        rows.extend((step == 1).then_some(before));
        rows.push(after);
        moved = moved.and(part);
    }
    Ok(rows)
}

/// A step that was done: how much was moved, and the limits before and after it.
struct TransferredStep {
    part: Amounts,
    before: TransferRow,
    after: TransferRow,
}

/// Between two steps; without an interval whoever asks us to end is heard all the same.
fn wait(step: u32, interval: Option<Duration>) -> Result<()> {
    if step == 1 {
        return Ok(());
    }
    let until = poll::within(interval.unwrap_or_default());
    poll::any(&mut [], until).map(drop).at(Stage::Cgroup, || "wait for the next step")
}

/// One step, by what both have now: others may have moved something meanwhile.
fn one_step(global: &Global, both: Both, args: &Transfer, step: u32, steps: u32) -> Result<TransferredStep> {
    let limits = both.limits()?;
    let part = limits.part(args, step, steps)?;
    let (changes, then) = limits.moved(args, part)?;
    if part != Amounts::default() {
        update::both(global, [both.from, both.to], &changes)?;
    }
    Ok(TransferredStep { part, before: TransferRow::new(step - 1, &limits), after: TransferRow::new(step, &then) })
}

/// All steps, of which the first is looked at as if it were done: what comes later depends on what is in use then.
fn foretell(global: &Global, args: &Transfer, steps: u32) -> Result<Vec<TransferRow>> {
    let both = Both::locked(global, args)?;
    let mut limits = both.limits()?;
    let mut rows = vec![TransferRow::new(0, &limits)];
    let mut firsts = Some([both.from, both.to]);
    for step in 1..=steps {
        let (changes, then) = limits.moved(args, limits.part(args, step, steps)?)?;
        if let Some(both) = firsts.take() {
            update::would_do(global, both, &changes)?;
        }
        limits = then;
        rows.push(TransferRow::new(step, &limits));
    }
    Ok(rows)
}

/// An error of a step, with what was done before it.
fn told(error: Error, global: &Global, args: &Transfer, before: Amounts, done: u32, steps: u32) -> Error {
    if before == Amounts::default() && done > 0 {
        return error.with_hint(format!("{done} of {steps} steps were done, which moved nothing"));
    }
    if done > 0 {
        let root = global.root.is_given().then(|| format!("--root {} ", shell_word(global.root.path().as_os_str())));
        let options_end = if args.to.starts_with('-') || args.from.starts_with('-') { "-- " } else { "" };
        let root = root.unwrap_or_default();
        let back = format!("brisk {root}update --move {before} {options_end}{} {}", args.to, args.from);
        return error
            .with_hint(format!("{done} of {steps} steps were done, and stay; {back} takes them back, while both run"));
    }
    error
}
