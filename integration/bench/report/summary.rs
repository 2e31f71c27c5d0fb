//! The first sentence of a report: what a start costs, and beside whom.

use crate::result::{Outcome, Run, Table};
use crate::stats::median;

/// Nothing where neither `run`, `create` nor `exec` was measured.
pub fn of(run: &Run) -> Option<String> {
    let parts: Vec<String> = [
        ("run", "runs /bin/true"),
        ("create", "creates, starts and deletes a container"),
        ("exec", "executes a second program"),
    ]
    .into_iter()
    .filter_map(|(id, what)| part(run, id, what))
    .collect();
    (!parts.is_empty()).then(|| format!("{}.", parts.join("; it ")))
}

fn part(run: &Run, id: &str, what: &str) -> Option<String> {
    let table = run.outcomes.iter().find_map(|outcome| match outcome {
        Outcome::Latency(table) if table.id == id => Some(table),
        _ => None,
    })?;
    let first = table.series.iter().find(|series| series.name != "floor")?;
    let own = median(&first.data);
    let subject = if id == "run" { format!("{} ", first.name) } else { String::new() };
    let others = beside(table, &first.name, own);
    let others = if others.is_empty() { String::new() } else { format!(", {}", others.join(", ")) };
    Some(format!("{subject}{what} in {own:.2} ms{others}"))
}

/// `0.41 × crun`, for each of the others.
fn beside(table: &Table<Vec<f64>>, first: &str, own: f64) -> Vec<String> {
    let others = table.series.iter().filter(|series| series.name != first);
    let name = |name: &str| if name == "floor" { "the kernel's own work".to_owned() } else { name.to_owned() };
    others.map(|series| format!("{:.2} × {}", own / median(&series.data), name(&series.name))).collect()
}
