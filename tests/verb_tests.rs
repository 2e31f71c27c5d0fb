//! Every command is used by a test, and fails at every system call in `integration/faults` or has a reason
//! why it need not.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use brisk::cli::verbs::{VERBS, Verb};

use super::test_files;

/// Commands without a row in `integration/faults/verbs.rs`: there is nothing that they could leave half done.
const WITHOUT_FAULTS: &[(&str, &str)] = &[
    ("wait", "looks and waits, no more"),
    ("checkpoint", "done by CRIU, which does not run on every kernel"),
    ("restore", "done by CRIU, which does not run on every kernel"),
    ("spec", "writes a bundle, and a half one keeps nobody out"),
    ("plan", "looks and changes nothing"),
    ("check", "looks and changes nothing"),
    ("trace", "looks and changes nothing"),
    ("record", "what it does is `run`'s; when it dies that ends the container, see integration/insight/record.rs"),
    ("diff", "looks and changes nothing"),
    ("inspect", "looks and changes nothing"),
    ("memory", "looks and changes nothing"),
    ("stats", "looks and changes nothing"),
    ("top", "looks and changes nothing"),
    ("features", "looks and changes nothing"),
    ("completion", "prints what the binary holds"),
    ("man", "writes what the binary holds"),
];

/// What the tests of the kernel call brisk by.
const CALLS: &[&str] = &["call", "call_with_input", "command", "as_user", "elsewhere", "start"];

/// Whether a command is called: as the first word of a list that one of CALLS gets. Methods have names of commands, too.
fn is_called(tests: &str, name: &str) -> bool {
    tests.match_indices(&format!("[{name:?}")).any(|(at, _)| {
        let (before, arguments) = tests[..at].rsplit_once('(').unwrap_or_default();
        let who = before.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
        CALLS.contains(&who) && !arguments.contains(['[', ')', ';', '{'])
    })
}

#[test]
fn every_command_has_a_test_and_a_row_of_faults() {
    let files = test_files();
    let text = |wanted: fn(&str) -> bool| -> String {
        files.iter().filter(|(file, _)| wanted(file)).map(|(_, text)| text.as_str()).collect()
    };
    let tests = text(|file| file.starts_with("integration/") && !file.starts_with("integration/faults"));
    let faults = text(|file| file == "integration/faults/verbs.rs");
    let papers = text(|file| file == "integration/cli/papers.rs");
    assert!(tests.len() > 100_000 && faults.len() > 1000, "{} and {}", tests.len(), faults.len());
    let mut wrong = Vec::new();
    for row in VERBS {
        let quoted = format!("{:?}", row.name);
        if !is_called(&tests, row.name) {
            wrong.push(format!("no test calls {}: one of its life belongs into integration/lifecycle", row.name));
        }
        if !papers.contains(&format!("Verb::{:?},", row.verb)) {
            wrong.push(format!("{}: its examples are run where ORDER of integration/cli/papers.rs has it", row.name));
        }
        let reason = WITHOUT_FAULTS.iter().any(|(name, _)| *name == row.name);
        if faults.contains(&format!("&[{quoted}")) == reason {
            let what = if reason { "has a row in" } else { "lacks a row in" };
            wrong.push(format!("{} {what} integration/faults/verbs.rs, see WITHOUT_FAULTS", row.name));
        }
    }
    for (name, reason) in WITHOUT_FAULTS {
        if reason.split(' ').count() < 3 {
            wrong.push(format!("WITHOUT_FAULTS: {reason:?} is no reason why {name} leaves nothing half done"));
        }
        if !VERBS.iter().any(|row| row.name == *name) {
            wrong.push(format!("WITHOUT_FAULTS names {name}, which is no command"));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// The arms of the first `match request` of a file: the commands, and what is done.
fn arms(file: &str) -> Vec<(Vec<String>, String)> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let body = text.split("match request {\n").nth(1).unwrap();
    let mut arms: Vec<(Vec<String>, String)> = Vec::new();
    let mut names: Vec<String> = Vec::new();
    for line in body.lines().map(str::trim).take_while(|line| !line.starts_with("done.map")) {
        let (pattern, does) = line.split_once(" => ").unwrap_or(match line.contains("Request::") {
            true => (line, ""),
            false => ("", line),
        });
        let variants = pattern.split("Request::").skip(1).map(|part| part.split('(').next().unwrap().to_owned());
        names.extend(variants);
        if line.contains(" => ") {
            arms.push((std::mem::take(&mut names), does.to_owned()));
        } else if let (Some((_, last)), "") = (arms.last_mut(), pattern) {
            last.push_str(does);
        }
    }
    assert!(arms.len() > 8, "{file}: {} arms", arms.len());
    arms
}

/// The functions that a text calls, but for those that print and hand on.
fn called(text: &str) -> BTreeSet<String> {
    let starts = text.match_indices('(').filter_map(|(at, _)| {
        let before = &text[..at];
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
        let name = before.rsplit(|c| !word(c)).next().unwrap_or_default();
        let of_value = before[..before.len() - name.len()].ends_with('.');
        let function = name.starts_with(|c: char| c.is_ascii_lowercase()) && !of_value;
        (function && !name.starts_with("output::")).then(|| name.to_owned())
    });
    starts.collect()
}

/// An arm that was copied, with the function of the command that it was copied from.
#[test]
fn every_command_does_something_of_its_own() {
    let mut wrong = Vec::new();
    for file in ["src/cli/dispatch.rs", "src/insight/main.rs"] {
        let mut does: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (names, text) in arms(file).iter().filter(|(_, text)| !text.contains("insight::execute()")) {
            // brisk-insight leaves all that are brisk's to it, in one arm.
            if called(text).is_empty() && names.len() == 1 {
                wrong.push(format!("{file}: {} does nothing", names[0]));
            }
            for function in called(text) {
                does.entry(function).or_default().extend(names.iter().cloned());
            }
        }
        let twice = does.iter().filter(|(_, names)| names.len() > 1);
        wrong.extend(twice.map(|(function, names)| {
            format!("{file}: {} do the same, `{function}`: each command has a function of its own", names.join(" and "))
        }));
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// The commands of some arms.
fn commands(file: &str, of: fn(&str) -> bool) -> Vec<Verb> {
    let names: BTreeSet<String> =
        arms(file).into_iter().filter(|(_, text)| of(text)).flat_map(|(names, _)| names).collect();
    VERBS.iter().map(|row| row.verb).filter(|verb| names.contains(&format!("{verb:?}"))).collect()
}

/// What brisk-insight does.
pub fn done_by_insight() -> Vec<Verb> {
    commands("src/insight/main.rs", |text| !called(text).is_empty())
}

/// What brisk leaves to brisk-insight is done there.
#[test]
fn brisk_and_insight_agree_on_who_does_a_command() {
    let left = commands("src/cli/dispatch.rs", |text| text.contains("insight::execute()"));
    let what = "what src/cli/dispatch.rs hands to insight::execute is to be what src/insight/main.rs does";
    assert_eq!(left, done_by_insight(), "{what}");
}
