//! A plan in order, and by subject: what a reader asks for first, whoever does it and when.

use brisk::cli::plan::{HOST, host_lines};
use brisk::host::Host;
use brisk::plan::text::fields::PlanGroup;

use serde::Deserialize;

use super::document::{PlanDocument, PlanSide};
use super::layout::beside;
use crate::looks::{Looks, Tone};

/// All of it in order, as `brisk plan` prints it.
pub fn list(plan: &PlanDocument, looks: Looks) -> Vec<String> {
    // One that another version has saved may have other facts.
    let host = Host::deserialize(&plan.host).map_or_else(|error| format!("{HOST}{error}\n"), |host| host_lines(&host));
    let host = host.lines().map(|line| line.strip_prefix(HOST).unwrap_or(line));
    let mut lines: Vec<String> = host.flat_map(|line| beside(HOST, line, Tone::Plain, looks)).collect();
    lines.extend(plan.warnings.iter().flat_map(|warning| beside("warning: ", warning, Tone::Warning, looks)));
    for item in plan.items.iter().filter(|item| item.side != PlanSide::Cgroup) {
        lines.extend(beside(&format!("{}  ", item.label()), &item.text, Tone::Plain, looks));
        // Here the cgroup is made.
        if item.op == "join-scope" || item.op == "make-cgroup" && item.word("part") != "v2" {
            let made = plan.items.iter().filter(|item| item.side == PlanSide::Cgroup);
            lines.extend(made.flat_map(|item| beside("            ", &item.text, Tone::Plain, looks)));
        }
    }
    lines
}

/// The groups that have something in them, and in each the operations in order, with their numbers in the whole.
pub fn lines(plan: &PlanDocument, looks: Looks) -> Vec<String> {
    let mut lines = beside("", &plan.sentence(), Tone::Plain, looks);
    for warning in &plan.warnings {
        lines.extend(beside("warning: ", warning, Tone::Warning, looks));
    }
    for group in PlanGroup::ALL {
        let items: Vec<_> = plan.items.iter().filter(|item| item.group == group.name()).collect();
        if items.is_empty() {
            continue;
        }
        lines.extend([String::new(), looks.paint(Tone::Title, group.name())]);
        let tone = if group == PlanGroup::Order { Tone::Faint } else { Tone::Plain };
        lines.extend(items.iter().flat_map(|item| beside(&format!("  {}  ", item.label()), &item.text, tone, looks)));
    }
    lines
}
