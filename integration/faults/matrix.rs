//! The printed matrix and the findings below it.

use crate::options::{Mode, Options};
use crate::tool::runtime::Runtime;
use crate::trial::{Fault, TrialResult};
use crate::verbs::Verb;
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};

/// One cell: a verb in a mode.
pub struct Row {
    verb: Verb,
    mode: Mode,
    sites: usize,
    faults: usize,
    chosen: usize,
    tried: usize,
    missed: usize,
    survived: usize,
    refused: usize,
    bad: usize,
    left: usize,
    pub out_of_time: usize,
    findings: BTreeMap<String, (usize, String)>,
    said: BTreeMap<String, usize>,
}

impl Row {
    pub fn new(verb: Verb, mode: Mode, sites: usize, faults: usize, chosen: usize) -> Self {
        Self {
            verb,
            mode,
            sites,
            faults,
            chosen,
            tried: 0,
            missed: 0,
            survived: 0,
            refused: 0,
            bad: 0,
            left: 0,
            out_of_time: 0,
            findings: BTreeMap::new(),
            said: BTreeMap::new(),
        }
    }

    pub fn add(&mut self, fault: &Fault, result: Option<TrialResult>) {
        let Some(result) = result else {
            self.missed += 1;
            return;
        };
        self.tried += 1;
        if result.succeeded {
            self.survived += 1;
        } else {
            self.refused += 1;
        }
        self.bad += usize::from(!result.findings.is_empty());
        self.left += usize::from(result.left);
        if !result.succeeded {
            *self.said.entry(format!("{}: {}", fault.short(), general(&result.said))).or_default() += 1;
        }
        for finding in result.findings {
            let key = format!("{} {}: {}", self.verb.name(), fault.short(), finding.kind);
            let example = || format!("{}: {}", fault.long(), finding.detail);
            self.findings.entry(key).or_insert_with(|| (0, example())).0 += 1;
        }
    }

    /// The check that it is.
    pub fn name(&self) -> String {
        format!("faults/{}-{}", self.verb.name(), self.mode.name())
    }

    /// What is wrong: anything bad, and of a whole matrix what was skipped for time or missed; a site in fifty may be out
    /// of reach because timing chose another path. A sample is bounded by time first; what it did not get to is printed.
    pub fn wrong(&self, options: &Options) -> Vec<String> {
        let whole = options.sample.is_none();
        let first = self.findings.iter().next().map(|(key, (_, example))| format!(": {key}, e.g. {example}"));
        let wrong = [
            (self.bad > 0, format!("{} bad{}", self.bad, first.unwrap_or_default())),
            (whole && self.out_of_time > 0, format!("no time for {}", self.out_of_time)),
            (whole && self.missed * 50 > self.chosen, format!("{} missed", self.missed)),
        ];
        wrong.into_iter().filter(|(is, _)| *is).map(|(_, what)| what).collect()
    }
}

/// The head of one runtime's matrix.
pub fn head(name: &str, options: &Options) {
    let variant = options.variant.title();
    let cgroups = if std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() { "v2" } else { "v1" };
    println!("{name}, cgroup {cgroups}, {variant}");
    println!(
        "  {:<15}{:<6}{:>7}{:>8}{:>8}{:>7}{:>8}{:>10}{:>9}{:>10}{:>5}{:>9}",
        "verb",
        "mode",
        "sites",
        "faults",
        "chosen",
        "tried",
        "missed",
        "succeeded",
        "refused",
        "left-over",
        "bad",
        "no time"
    );
}

/// Printed as it ends, so that a run that is stopped has shown what it found.
pub fn line(row: &Row) {
    println!(
        "  {:<15}{:<6}{:>7}{:>8}{:>8}{:>7}{:>8}{:>10}{:>9}{:>10}{:>5}{:>9}",
        row.verb.name(),
        row.mode.name(),
        row.sites,
        row.faults,
        row.chosen,
        row.tried,
        row.missed,
        row.survived,
        row.refused,
        row.left,
        row.bad,
        row.out_of_time
    );
}

/// What was found, below the matrix.
pub fn findings(options: &Options, rows: &[Row]) {
    let mut all: Vec<(&String, &(usize, String))> = rows.iter().flat_map(|row| &row.findings).collect();
    all.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    for (key, (count, example)) in all.iter().take(options.lines) {
        println!("  {count:>4} × {key}\n         e.g. {example}");
    }
    if options.errors {
        for row in rows {
            row.said.iter().for_each(|(said, count)| println!("  {count:>4} × {} {said}", row.verb.name()));
        }
    }
    if all.len() > options.lines {
        println!("  and {} kinds more (--lines)", all.len() - options.lines);
    }
}

/// An error without what differs from one container to the next, on one line.
fn general(said: &str) -> String {
    let text: String = said.chars().filter(|letter| !letter.is_ascii_digit()).collect();
    text.lines().collect::<Vec<_>>().join(" ⏎ ")
}

/// A line that overwrites itself, on a terminal.
pub fn progress(runtime: &Runtime, row: &Row) {
    let mut stderr = std::io::stderr();
    if !stderr.is_terminal() {
        return;
    }
    let done = row.tried + row.missed;
    let line =
        format!("\r{} {} {} {done}/{} bad {} ", runtime.name, row.verb.name(), row.mode.name(), row.chosen, row.bad);
    if stderr.write_all(line.as_bytes()).is_err() {
        // A closed standard error is no reason to stop.
    }
}
