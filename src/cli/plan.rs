//! `plan`: what would be done.

use std::path::Path;

use serde_json::{Value, json};

use super::args::{PlanArgs, PlanFormat};
use super::output;
use crate::container::options::Global;
use crate::container::{self, PlanOf};
use crate::error::{Context, Result, Stage, printable};
use crate::host::Host;
use crate::plan::Plan;
use crate::plan::text::fields::PlanItems;

/// The version of the JSON (docs/plan.schema.json).
pub const VERSION: u32 = 1;

/// Whether that is a plan which was saved: standard input, or what is there and no directory, as a pipe is that a shell names.
pub fn is_saved(path: &Path) -> bool {
    path == Path::new("-") || path.metadata().is_ok_and(|found| !found.is_dir())
}

/// Prints the facts about the host and the operations of a `create`, in order. Does nothing else.
pub fn plan(global: &Global, args: &PlanArgs, elsewhere: Option<Host>) -> Result<()> {
    let PlanArgs {
        bundle,
        format,
        // `PlanArgs::which`.
        template: _,
        start: _,
        // `PlanArgs::is_drawn`; then it is brisk-insight's `insight::plan::plan` that prints it.
        host: _,
        diff: _,
        plain: _,
    } = args;
    if *format == PlanFormat::Json {
        let document = document_of(global, bundle, args.which(), elsewhere)?;
        return output::print(&output::pretty(&document)?);
    }
    let (host, plan) = container::plan(global, bundle, args.which(), elsewhere)?;
    output::print(&format!("{}{plan}", host_lines(&host)))
}

/// What each of [`host_lines`] begins with.
pub const HOST: &str = "host         ";

/// What a plan rests on, for people.
pub fn host_lines(host: &Host) -> String {
    let userns = if host.is_real_root() { "root" } else { "not root of the machine" };
    let mut text = format!("{HOST}uid {} ({userns}), cgroups {:?}\n", host.uid, host.cgroup.kind());
    for hierarchy in host.cgroup.v1.iter().chain(&host.cgroup.unified) {
        let name = hierarchy.name.as_ref().map(|name| format!("name={}", printable(name))).unwrap_or_default();
        text.push_str(&format!(
            "{HOST}{}: {}{name}\n",
            printable(&hierarchy.mount_point.to_string_lossy()),
            printable(&hierarchy.controllers.join(" "))
        ));
    }
    text
}

/// The plan of a bundle as a document.
pub fn document_of(global: &Global, bundle: &Path, which: PlanOf, elsewhere: Option<Host>) -> Result<Value> {
    let (host, plan) = container::plan(global, bundle, which, elsewhere)?;
    document(&host, &plan, which)
}

/// A plan as docs/plan.schema.json describes it.
pub fn document(host: &Host, plan: &Plan, which: PlanOf) -> Result<Value> {
    let PlanItems { parent, cgroup, child } = plan.items();
    Ok(json!({
        "version": VERSION,
        "of": which.name(),
        "host": serde_json::to_value(host).at(Stage::Host, || "describe the host")?,
        "warnings": plan.warnings,
        "parent": parent,
        "cgroup": cgroup,
        "child": child,
    }))
}
