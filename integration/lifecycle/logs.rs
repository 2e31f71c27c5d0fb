//! The log that engines read.

use std::fs;

use serde_json::Value;

use crate::common::{Bundle, brisk_only, skip_on};

#[test]
fn json_log_has_level_msg_and_time() {
    let container = Bundle::idle().container();
    let log = container.bundle.dir.join("log.json");
    let log = log.to_str().unwrap();
    container.call(&["--log", log, "--log-format", "json", "state", "no-such-container"]).fails();
    let line = last_error(log);
    assert!(
        line["msg"].as_str().unwrap().contains("does not exist") || line["msg"].as_str().unwrap().contains("No such")
    );
    assert!(line["time"].as_str().unwrap().contains('T'), "{line}");
}

#[test]
fn the_log_file_exists_even_for_argument_errors() {
    if skip_on(&["runc", "crun"], "they parse arguments before they open the log") {
        return;
    }
    let container = Bundle::idle().container();
    let log = container.bundle.dir.join("log.json");
    let log = log.to_str().unwrap();
    container.call(&["--log", log, "--log-format", "json", "create", "--no-such-flag", "x"]).fails();
    assert!(last_error(log)["msg"].as_str().unwrap().contains("no-such-flag"));
}

#[test]
fn text_log_is_text() {
    let container = Bundle::idle().container();
    let log = container.bundle.dir.join("log");
    container.call(&["--log", log.to_str().unwrap(), "state", "no-such-container"]).fails();
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.contains("does not exist") || text.contains("No such"), "{text}");
    assert!(serde_json::from_str::<Value>(text.lines().next().unwrap()).is_err(), "{text}");
}

#[test]
fn a_failed_run_logs_an_error_with_its_cause() {
    let container = Bundle::new(&["/no/such/program"]).container();
    let log = container.bundle.dir.join("log.json");
    let log = log.to_str().unwrap();
    let dir = container.bundle.dir.to_str().unwrap();
    container.call(&["--log", log, "--log-format=json", "run", "--bundle", dir, &container.id]).fails();
    let message = last_error(log)["msg"].as_str().unwrap().to_lowercase();
    // What podman's regular expression for exit status 127 looks for.
    assert!(message.contains("no such file or directory"), "{message}");
    container.assert_nothing_left();
}

fn last_error(log: &str) -> Value {
    let text = fs::read_to_string(log).unwrap();
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .rfind(|line| line["level"] == "error" || line["level"] == "fatal")
        .unwrap_or_else(|| panic!("no error in {text}"))
}

/// Without a log daemon a container runs all the same.
#[test]
fn a_log_that_is_not_there_does_not_keep_a_container() {
    if brisk_only("crun says nothing, runc knows no such log") {
        return;
    }
    let container = Bundle::sh("echo fine").container();
    let dir = container.bundle.dir.to_str().unwrap();
    for (log, path) in [("journald:x", "/run/systemd/journal/socket"), ("syslog:x", "/dev/log")] {
        if std::path::Path::new(path).exists() {
            continue;
        }
        let output = container.call(&["--log", log, "run", "--bundle", dir, &container.id]).ok();
        assert_eq!(output.stdout(), "fine\n");
        assert!(output.stderr().contains("warning: ") && output.stderr().contains(path), "{output:?}");
    }
    container.call(&["--log", "/no/such/directory/log", "run", "--bundle", dir, &container.id]).fails();
}
