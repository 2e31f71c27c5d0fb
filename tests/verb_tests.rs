//! Every command is used by a test, and fails at every system call in `integration/faults` or has a reason
//! why it need not.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use brisk::cli::verbs::VERBS;

use super::test_files;

/// Commands without a row in `integration/faults/verbs.rs`: there is nothing that they could leave half done.
const WITHOUT_FAULTS: &[(&str, &str)] = &[
    ("wait", "looks and waits"),
    ("checkpoint", "done by CRIU, which does not run on every kernel"),
    ("restore", "done by CRIU, which does not run on every kernel"),
    ("spec", "writes a bundle, and a half one keeps nobody out"),
    ("plan", "changes nothing"),
    ("check", "changes nothing"),
    ("trace", "changes nothing"),
    ("record", "what it does is `run`'s; when it dies that ends the container, see integration/insight/record.rs"),
    ("diff", "changes nothing"),
    ("inspect", "changes nothing"),
    ("memory", "changes nothing"),
    ("stats", "changes nothing"),
    ("top", "changes nothing"),
    ("features", "changes nothing"),
    ("completion", "prints what the binary holds"),
    ("man", "writes what the binary holds"),
];

#[test]
fn every_command_has_a_test_and_a_row_of_faults() {
    let files = test_files();
    let text = |wanted: fn(&str) -> bool| -> String {
        files.iter().filter(|(file, _)| wanted(file)).map(|(_, text)| text.as_str()).collect()
    };
    let tests = text(|file| !file.starts_with("integration/faults") && file != "tests/verb_tests.rs");
    let faults = text(|file| file == "integration/faults/verbs.rs");
    assert!(tests.len() > 100_000 && faults.len() > 1000, "{} and {}", tests.len(), faults.len());
    let mut wrong = Vec::new();
    for row in VERBS {
        let quoted = format!("{:?}", row.name);
        // As the first word of a command line, or as the bench's own function of that name.
        if !tests.contains(&format!("[{quoted}")) && !tests.contains(&format!(".{}(", row.name)) {
            wrong.push(format!("no test calls {}", row.name));
        }
        let reason = WITHOUT_FAULTS.iter().any(|(name, _)| *name == row.name);
        if faults.contains(&format!("&[{quoted}")) == reason {
            let what = if reason { "has a row in" } else { "lacks a row in" };
            wrong.push(format!("{} {what} integration/faults/verbs.rs, see WITHOUT_FAULTS", row.name));
        }
    }
    for (name, _) in WITHOUT_FAULTS {
        if !VERBS.iter().any(|row| row.name == *name) {
            wrong.push(format!("WITHOUT_FAULTS names {name}, which is no command"));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}
