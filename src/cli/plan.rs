//! `plan`: what would be done.

use serde_json::{Value, json};

use super::args::PlanArgs;
use super::output;
use super::put::Format;
use crate::container::{self, options::Global};
use crate::error::{Context, Result, Stage};

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
