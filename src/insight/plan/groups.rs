//! A plan by subject: what a reader asks for first, whoever does it and when.

use brisk::plan::text::fields::PlanGroup;

use super::document::PlanDocument;
use super::layout::beside;
use crate::looks::{Looks, Tone};

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
