//! `check BUNDLE`: everything that is wrong with a bundle on this host, told at once. Reads; changes nothing.
//!
//! The modules, in the order of the work: `field` finds a field in config.json, `gather` finds every error of the plan;
//! what only the host can tell is asked by `rootfs` (with `files`, `who` and `program`), `surroundings` and `limits`.
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
use crate::error::{Context, Result, Stage};
use crate::spec;
use gather::Gathered;

pub use misfit::{Misfit, Severity};
pub use program::{Needs, needs};

/// Looks for all that is wrong with a bundle: what `create` or `start` would fail with first, then warnings, each in the order
/// of config.json.
pub fn misfits(global: &Global, bundle: &Path) -> Result<Vec<Misfit>> {
    let dir = std::path::absolute(bundle).at(Stage::Bundle, || format!("find the bundle {}", bundle.display()))?;
    // It belongs to the caller: links are followed, as by `create`.
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
        let mut of_host = rootfs::misfits(&planned, &dir);
        of_host.extend(surroundings::misfits(&planned));
        of_host.extend(limits::misfits(&planned));
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
    for misfit in &mut misfits {
        misfit.line =
            Some(misfit.field.as_str()).filter(|field| !field.is_empty()).map(|field| spec::line_of(&text, field));
    }
    misfits.sort_by_key(|misfit| (misfit.severity, misfit.line.unwrap_or(usize::MAX)));
    Ok(misfits)
}
