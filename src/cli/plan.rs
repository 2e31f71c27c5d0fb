//! `plan` and `trace`: what would be done, and when it was.

use std::path::Path;

use serde_json::{Value, json};

use super::args::PlanArgs;
use super::output;
use super::put::Format;
use crate::container::{self, options::Global};
use crate::error::{Context, Error, Result, Stage};
use crate::spec;

/// Prints the facts about the host and the operations of a `create`, in order. Does nothing else.
pub fn plan(global: &Global, args: &PlanArgs) -> Result<()> {
    // `PlanArgs::which`.
    let PlanArgs { bundle, format, template: _, start: _ } = args;
    let (host, plan) = container::plan(global, bundle, args.which())?;
    if *format == Format::Json {
        let lines = |list: Vec<String>| list.into_iter().map(Value::from).collect::<Vec<_>>();
        let document = json!({
            "host": serde_json::to_value(&host).at(Stage::Host, || "describe the host")?,
            "warnings": plan.warnings,
            "parent": lines(plan.steps.iter().map(ToString::to_string).collect()),
            "cgroup": plan.cgroup_lines(),
            "child": lines(plan.child_ops().map(|op| op.describe().line).collect()),
        });
        return output::print(&format!("{document:#}\n"));
    }
    let userns = if host.is_real_root() { "root" } else { "not root of the machine" };
    let mut text = format!("host         uid {} ({userns}), cgroups {:?}\n", host.uid, host.cgroup.kind());
    for hierarchy in host.cgroup.v1.iter().chain(&host.cgroup.unified) {
        let name = hierarchy.name.as_ref().map(|name| format!("name={name}")).unwrap_or_default();
        text.push_str(&format!(
            "host         {}: {}{name}\n",
            hierarchy.mount_point.display(),
            hierarchy.controllers.join(" ")
        ));
    }
    output::print_lines(&format!("{text}{plan}"))
}

/// Prints a timeline written by `--trace` as a table.
pub fn trace(file: &Path) -> Result<()> {
    let text = spec::read_file(file, Stage::Args)?;
    let document: Value = serde_json::from_slice(&text).at(Stage::Args, || format!("parse {}", file.display()))?;
    let events = document["traceEvents"].as_array();
    let events = events.ok_or_else(|| Error::new(Stage::Args, format!("{} is not a trace", file.display())))?;
    let mut rows: Vec<(f64, f64, &str, &str)> = events
        .iter()
        .map(|event| {
            let number = |key: &str| event[key].as_f64().unwrap_or(0.0);
            let word = |key: &str| event[key].as_str().unwrap_or("");
            (number("ts"), number("dur"), word("cat"), word("name"))
        })
        .collect();
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    let first = rows.first().map_or(0.0, |row| row.0);
    let mut table = String::from("  start µs      took µs  side    what\n");
    for (start, took, side, what) in rows {
        table.push_str(&format!("{:>10.1}   {took:>10.1}  {side:<6}  {what}\n", start - first));
    }
    output::print_lines(&table)
}
