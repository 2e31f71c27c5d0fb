//! `check BUNDLE`: everything that is wrong with a bundle on this host, told at once. Reads; changes nothing.
//!
//! The modules, in the order of the work: `misfit` is what is said, `field` finds a field in config.json, `gather` finds every
//! error of the plan; what only the host can tell is asked by `rootfs` (with `files`, `who` and `program`), `layers`,
//! `surroundings` and `limits`.
//!
//! Not trusted: config.json and the image. What is read of either is bounded, and no path of the image leads out of it.

mod field;
mod files;
mod gather;
mod layers;
mod limits;
mod misfit;
mod program;
mod rootfs;
mod surroundings;
mod who;

use std::path::Path;

use serde_json::Value;

use super::options::Global;
use super::planned::PlannedContainer;
use crate::error::{Context, Deed, Result, Stage};
use crate::spec::{self, Spec};
use gather::Gathered;

pub use misfit::{Misfit, Severity};
pub use program::{Needs, needs};

/// What only the host can tell of a bundle that can be planned.
fn of_host(planned: &PlannedContainer, bundle: &Path) -> Vec<Misfit> {
    [rootfs::misfits(planned, bundle), surroundings::misfits(planned), limits::misfits(planned)].concat()
}

/// The first thing that a container could not be made for, before another is taken away for it; and not what may yet come: what
/// hooks put into the root, or what goes back to the host with that other one.
///
/// `ours` are fields that we see to ourselves.
pub(super) fn obstacle(planned: &PlannedContainer, bundle: &Path, ours: impl Fn(&str) -> bool) -> Option<Misfit> {
    let hooks = planned.spec().hooks.as_ref();
    let changed = hooks.is_some_and(|hooks| {
        [&hooks.prestart, &hooks.create_runtime, &hooks.create_container].iter().any(|list| !list.is_empty())
    });
    let of_root = ["root.", "mounts[", "process.args", "process.cwd", "hooks.startContainer"];
    let may_come = |field: &str| {
        ours(field)
            || field.starts_with("linux.netDevices")
            || changed && of_root.iter().any(|part| field.starts_with(part))
    };
    let mut found = of_host(planned, bundle);
    found.retain(|misfit| misfit.severity == Severity::Error && !may_come(&misfit.field));
    found.into_iter().next()
}

/// Looks for all that is wrong with a bundle: what `create` or `start` would fail with first, then warnings, each in the order
/// of config.json.
pub fn misfits(global: &Global, bundle: &Path) -> Result<Vec<Misfit>> {
    let dir = std::path::absolute(bundle).at(Stage::Bundle, || format!("find the bundle {}", bundle.display()))?;
    // The bundle belongs to the caller: links are followed, as by `create`.
    let text = spec::read_file(&dir.join(spec::CONFIG), Stage::Bundle)?;
    let document: Value = spec::parse(&text, spec::CONFIG)?;
    let warnings = std::cell::RefCell::new(Vec::new());
    let warn = |warning: &str| warnings.borrow_mut().push(warning.to_owned());
    let quiet = Global {
        environment: global.environment.clone(),
        root: global.root.clone(),
        cgroups: global.cgroups,
        tolerance: global.tolerance,
        trust_annotations: global.trust_annotations.clone(),
        warn: &warn,
        debug: None,
    };
    let Gathered { document, changes, mut misfits, planned } = gather::gather(&quiet, &dir, document)?;
    if let Some(planned) = planned {
        let mut of_host = of_host(&planned, &dir);
        let left = field::changed(&document, &changes);
        for misfit in &mut of_host {
            let field = field::find(&left, &misfit.field);
            misfit.field = field::name(&field::original(&document, &changes, &field));
        }
        misfits.append(&mut of_host);
        misfits.extend(planned.plan.warnings.into_iter().map(|warning| Misfit::warning("", warning)));
    }
    let mut told = warnings.into_inner();
    told.sort_unstable();
    told.dedup();
    misfits.extend(told.into_iter().map(|warning| Misfit::warning("", warning)));
    // What a value cannot say: it has each field once.
    if let Err(error) = spec::parse::<Spec>(&text, spec::CONFIG)
        && error.to_string().contains(": duplicate field ")
        && let Some((Deed::ReadConfig, Some(field))) = error.deed()
    {
        misfits.push(Misfit::new(Severity::Error, field.to_owned(), "it is there twice"));
    }
    let lines = spec::lines_of(&text, &misfits.iter().map(|misfit| &misfit.field[..]).collect::<Vec<_>>());
    for (misfit, line) in misfits.iter_mut().zip(lines) {
        misfit.line = Some(line).filter(|_| !misfit.field.is_empty());
    }
    misfits.sort_by_key(|misfit| (misfit.severity, misfit.line.unwrap_or(usize::MAX)));
    Ok(misfits)
}
