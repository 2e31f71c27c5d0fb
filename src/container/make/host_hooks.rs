//! The hooks that run when a container is gone, and where those of the host write to.

use std::path::Path;
use std::time::Duration;

use crate::container::lookup::spec_of;
use crate::container::options::Global;
use crate::error::Result;
use crate::launch::{self, HookOutput};
use crate::plan::process::hooks;
use crate::spec::{Spec, annotations};
use crate::state::Record;

/// Runs the poststop hooks; those that fail are told.
pub(in crate::container) fn run_poststop(
    global: &Global,
    spec: &Spec,
    id: &str,
    bundle: &Path,
    patience: Option<Duration>,
) -> Result<()> {
    let list = hooks::poststop(spec, id, bundle, patience);
    for error in launch::run_each_hook(&list, 0, &output(spec)?) {
        (global.warn)(&error.to_string());
    }
    Ok(())
}

/// Runs the poststop hooks of a container that was deleted; `config` is its config.json.
pub(in crate::container) fn poststop(
    global: &Global,
    record: &Record,
    config: &[u8],
    patience: Option<Duration>,
) -> Result<()> {
    let spec = spec_of(record, config)?;
    run_poststop(global, &spec, &record.id, Path::new(&record.bundle), patience)
}

/// Where hooks of this container write to.
pub(in crate::container) fn output(spec: &Spec) -> Result<HookOutput> {
    if spec.hooks.is_none() {
        return Ok(HookOutput::default());
    }
    let file = |key| annotations::value(&spec.instructions, key);
    HookOutput::open(file(annotations::HOOKS_STDOUT), file(annotations::HOOKS_STDERR))
}
