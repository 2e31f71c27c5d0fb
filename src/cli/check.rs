//! `check`: what this host gives, and what of a bundle does not fit here.

use std::fmt::Write;
use std::path::Path;

use serde_json::json;

use super::args::CheckArgs;
use super::output;
use super::put::Format;
use super::version::VERSION;
use crate::container::options::Global;
use crate::container::{self, Misfit, Severity};
use crate::error::{LONGEST_MESSAGE, Result, bounded, printable};
use crate::host::check::CheckFacts;
use crate::host::findings::{Finding, Verdict, findings};

/// Prints all that is wrong with a bundle; without one, what this host gives this user, what would not work, and what changes
/// that. The exit status is 1 where something is missing.
pub fn check(global: &Global, args: &CheckArgs) -> Result<u8> {
    let CheckArgs { bundle, format } = args;
    match bundle {
        Some(bundle) => of_bundle(global, bundle, *format),
        None => of_host(*format),
    }
}

fn of_bundle(global: &Global, bundle: &Path, format: Format) -> Result<u8> {
    let misfits = container::misfits(global, bundle)?;
    let errors = misfits.iter().filter(|misfit| misfit.severity == Severity::Error).count();
    match format {
        Format::Table => output::print(&lines(bundle, &misfits, errors)),
        Format::Json => output::print(&output::pretty(&json!({
            "brisk": VERSION,
            "bundle": bundle,
            "fits": errors == 0,
            "findings": misfits,
        }))?),
    }?;
    Ok(u8::from(errors > 0))
}

fn lines(bundle: &Path, misfits: &[Misfit], errors: usize) -> String {
    let mut out = String::new();
    let told = |text: &str| printable(&bounded(text, LONGEST_MESSAGE));
    for Misfit { severity, field, line, what, hint } in misfits {
        let severity = if *severity == Severity::Error { "error" } else { "warning" };
        let line = line.map(|line| format!("config.json:{line}: ")).unwrap_or_default();
        let field = if field.is_empty() { String::new() } else { format!("{field}: ") };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{}", told(&format!("{severity}: {line}{field}{what}")));
        if let Some(hint) = hint {
            let _ = writeln!(out, "  hint: {}", told(hint));
        }
    }
    let warnings = misfits.len() - errors;
    let count = |number: usize, one: &str| if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") };
    let verdict = match errors {
        0 => "nothing is wrong with it here that can be told beforehand".to_owned(),
        _ => format!("{} would keep it from starting here", count(errors, "error")),
    };
    let _ = writeln!(out, "{}: {verdict}, {}", printable(&bundle.to_string_lossy()), count(warnings, "warning"));
    out
}

fn of_host(format: Format) -> Result<u8> {
    let facts = CheckFacts::probe()?;
    let rows = findings(&facts);
    output::print(&match format {
        Format::Table => text(&facts, &rows),
        Format::Json => output::pretty(&json!({
            "brisk": VERSION,
            "kernel": facts.release,
            "user": { "name": facts.name, "uid": facts.uid },
            "findings": rows,
        }))?,
    })?;
    Ok(u8::from(rows.iter().any(|row| row.trouble.is_some())))
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
