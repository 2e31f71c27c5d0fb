//! `check`: the table of what this host gives.

use std::fmt::Write;

use serde_json::json;

use super::args::CheckArgs;
use super::{VERSION, output};
use crate::error::Result;
use crate::host::check::CheckFacts;
use crate::host::findings::{Finding, Verdict, findings};

/// Prints what this host gives this user, what would not work, and what changes that.
pub fn check(args: &CheckArgs) -> Result<()> {
    let facts = CheckFacts::probe()?;
    let rows = findings(&facts);
    if !args.json {
        return output::print(&text(&facts, &rows));
    }
    output::print(&output::pretty(&json!({
        "brisk": VERSION,
        "kernel": facts.release,
        "user": { "name": facts.name, "uid": facts.uid },
        "findings": rows,
    }))?)
}

fn text(facts: &CheckFacts, rows: &[Finding]) -> String {
    let mut out = format!("brisk {VERSION}, Linux {}, user {}\n\n", facts.release, facts.name);
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or_default();
    for row in rows {
        let verdict = match row.verdict {
            Verdict::Yes => "yes",
            Verdict::Without => "-",
            Verdict::No => "NO",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{:<9} {:<width$} {verdict:<4} {}", row.group, row.name, row.detail);
    }
    let troubles: Vec<&Finding> = rows.iter().filter(|row| row.trouble.is_some()).collect();
    if troubles.is_empty() {
        return out + "\nEverything works for this user.\n";
    }
    out += "\nWhat would not work for this user, and the command (as root) that changes it:\n";
    for row in troubles {
        let _ = writeln!(out, "- {}: {}", row.name, row.trouble.as_deref().unwrap_or_default());
        if let Some(fix) = &row.fix {
            let _ = writeln!(out, "    {fix}");
        }
    }
    out
}
