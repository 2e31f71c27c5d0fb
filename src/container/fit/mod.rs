//! `check BUNDLE`: everything that is wrong with a bundle on this host, told at once. Reads; changes nothing.
//!
//! The modules, in the order of the work: `misfit` is what is said, `field` finds a field in config.json, `gather` finds every
//! error of the plan; what only the host can tell is asked by `rootfs` (with `filesystems`, `files`, `who` and `program`), `layers`,
//! `surroundings` and `limits`.
//!
//! Not trusted: config.json and the image. What is read of either is bounded, and no path of the image leads out of it.

mod field;
mod files;
mod filesystems;
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

use field::{FieldChange, FieldPath, PathPart};
use gather::Gathered;

use crate::container::make::planned::PlannedContainer;
use crate::container::options::Global;
use crate::error::{Context, Result, Stage};
use crate::spec::{self, Spec};

pub use misfit::{Misfit, Severity};
pub use program::{Needs, needs};

/// What only the host can tell of a bundle that can be planned.
///
/// `covered` are the destinations of mounts that were taken out: nobody knows what would be there.
fn of_host(planned: &PlannedContainer, bundle: &Path, covered: &[&str]) -> Vec<Misfit> {
    [rootfs::misfits(planned, bundle, covered), surroundings::misfits(planned), limits::misfits(planned)].concat()
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
    let mut found = of_host(planned, bundle, &[]);
    found.retain(|misfit| misfit.severity == Severity::Error && !may_come(&misfit.field));
    found.into_iter().next()
}

/// Whether what is said of a field would be said of our own changes: of a value that we have put there ourselves, or of files
/// in a root that is not the bundle's, or without a variable that they may need.
fn rests_on(field: &FieldPath, changes: &[FieldChange]) -> bool {
    let name = field::name(field);
    let of_files = ["process.args", "process.cwd", "hooks.startContainer"].iter().any(|part| name.starts_with(part))
        || name.starts_with("mounts[") && name.ends_with(".destination");
    changes.iter().any(|change| {
        let changed = field::name(&change.field);
        let files = ["root", "process.env"].iter().any(|part| changed.starts_with(part));
        change.new.is_some() && field.starts_with(&change.field) || of_files && files
    })
}

/// Looks for all that is wrong with a bundle: what `create` or `start` would fail with first, then warnings, each in the order
/// of config.json.
pub fn misfits(global: &Global, bundle: &Path) -> Result<Vec<Misfit>> {
    let dir = std::path::absolute(bundle).at(Stage::Bundle, || format!("find the bundle {}", bundle.display()))?;
    // The bundle belongs to the caller: links are followed, as by `create`.
    let text = spec::read_config(&dir)?;
    let document: Value = spec::parse(&text, spec::CONFIG)?;
    let document_lacks_process = document.is_object() && document.get("process").is_none_or(Value::is_null);
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
        let left = field::changed(&document, &changes);
        let taken_out = changes.iter().filter_map(|change| match change.field.as_slice() {
            [PathPart::Key(mounts), PathPart::Index(index), ..] if mounts == "mounts" => {
                document["mounts"][index]["destination"].as_str().filter(|path| !path.is_empty())
            }
            _ => None,
        });
        for misfit in of_host(&planned, &dir, &taken_out.collect::<Vec<_>>()) {
            let field = field::original(&document, &changes, &field::find(&left, &misfit.field));
            if !rests_on(&field, &changes) {
                misfits.push(Misfit { field: field::name(&field), ..misfit });
            }
        }
        misfits.extend(planned.plan.warnings.into_iter().map(|warning| Misfit::warning("", warning)));
    }
    let mut told = warnings.into_inner();
    told.sort_unstable();
    told.dedup();
    misfits.extend(told.into_iter().map(|warning| Misfit::warning("", warning)));
    if document_lacks_process {
        let misfit =
            Misfit::error("process", "there is none: `create` makes a container of it, `start` and `run` fail");
        misfits.push(misfit.hint("`create --template` takes what runs from `start`"));
    }
    // What a value cannot say: it has each field once.
    if let Err(error) = spec::parse::<Spec>(&text, spec::CONFIG)
        && error.is_of_repeated_key()
        && let Some(field) = error.field()
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
