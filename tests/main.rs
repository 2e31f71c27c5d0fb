//! Tests that need no root and change nothing: plans, formats, the shape of the source.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod architecture;
mod caps;
mod cgroup_devices;
mod cgroup_layout;
mod cgroup_limits;
mod child_panic;
mod cli;
mod cli_engines;
mod cli_output;
mod criu;
mod dbus;
mod devices;
mod environment;
mod feature_tests;
mod field_tests;
mod fields;
mod flag_tests;
mod fuzz_corpus;
mod idmap;
mod json_schema;
mod licences;
mod load;
mod manual;
mod mistakes;
mod namespaces;
mod options;
mod packaging;
mod plan_options;
mod plan_schema;
mod plans;
mod plans_with;
mod rlimits;
mod rootless;
mod schedule;
mod seccomp;
mod security_doc;
mod spec_types;
mod state;
mod sysctl;
mod systemd_plan;
mod tables;
mod told;
mod transfer;
mod validate;
mod verb_tests;

/// The text of an error that must have happened.
fn refused<T: std::fmt::Debug>(result: brisk::error::Result<T>) -> String {
    result.expect_err("should have been refused").to_string()
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

/// Says why the test of this thread does not run, past libtest's capture of the print macros; a failure with `MUST_RUN=1`.
fn skip(why: &str) {
    let name = std::thread::current().name().unwrap_or("?").to_owned();
    assert_ne!(std::env::var("MUST_RUN").as_deref(), Ok("1"), "{name}: {why}");
    std::io::Write::write_all(&mut std::io::stderr(), format!("SKIP {name}: {why}\n").as_bytes()).unwrap();
}

/// A file or directory below fixtures/.
fn fixture(path: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(path)
}

/// Every file with tests below integration/ and tests/: its path from the top, and its code. What a comment says no test does.
fn test_files() -> Vec<(String, String)> {
    fn below(dir: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                below(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for dir in ["integration", "tests"] {
        below(&root.join(dir), &mut found);
    }
    found.sort();
    let name = |path: &std::path::Path| path.strip_prefix(root).unwrap().display().to_string();
    let code = |path: &std::path::Path| {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| architecture::before_comment(line).to_owned() + "\n").collect()
    };
    found.iter().map(|path| (name(path), code(path))).collect()
}
