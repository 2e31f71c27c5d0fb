//! Pid files, and what is left of one.

use std::fs;

use serde_json::json;

use crate::common::{Bundle, brisk_only, skip_on};

#[test]
fn pid_file_holds_the_pid() {
    let container = Bundle::idle().container();
    let file = container.bundle.dir.join("the.pid");
    container.create_with(&["--pid-file", file.to_str().unwrap()]).ok();
    assert_eq!(fs::read_to_string(&file).unwrap(), container.pid().to_string());
    container.delete_force().ok();
    container.run_with(&["--detach", "--pid-file", file.to_str().unwrap()]).ok();
    assert_eq!(fs::read_to_string(&file).unwrap(), container.pid().to_string());
}

#[test]
fn a_pid_file_that_cannot_be_written_leaves_nothing_beside_it() {
    let container = Bundle::idle().container();
    let place = container.bundle.host_dir("place");
    container.create_with(&["--pid-file", place.to_str().unwrap()]).fails();
    assert!(!container.bundle.dir.join(".place").exists());
    if skip_on(&["runc", "crun"], "fails, or writes in place") {
        return;
    }
    // A link in the way of the temporary file is not written through.
    let victim = container.bundle.dir.join("victim");
    fs::write(&victim, "old").unwrap();
    std::os::unix::fs::symlink(&victim, place.join(".pid")).unwrap();
    container.create_with(&["--pid-file", place.join("pid").to_str().unwrap()]).ok();
    assert_eq!(fs::read_to_string(victim).unwrap(), "old");
    assert_eq!(fs::read_to_string(place.join("pid")).unwrap(), container.pid().to_string());
}

#[test]
fn a_pid_file_that_cannot_be_written_fails_the_create() {
    let container = Bundle::idle().container();
    container.create_with(&["--pid-file", "/no/such/directory/pid"]).fails();
    container.assert_nothing_left();
}

/// Whoever finds the file takes the number for the container's, and it is free again.
#[test]
fn a_create_that_fails_late_leaves_no_pid_file() {
    // More than fs.nr_open: refused by the kernel when the container is all but done.
    let limit = json!([{ "type": "RLIMIT_NOFILE", "soft": 1_u64 << 40, "hard": 1_u64 << 40 }]);
    let container = Bundle::idle().set("/process/rlimits", limit).container();
    let file = container.bundle.dir.join("pid");
    container.create_with(&["--pid-file", file.to_str().unwrap()]).fails();
    assert!(!file.exists());
    // Somebody else's stays.
    fs::write(&file, "1").unwrap();
    container.create_with(&["--pid-file", "/no/such/directory/pid"]).fails();
    assert_eq!(fs::read_to_string(&file).unwrap(), "1");
}

/// Its poststart hook takes the program with it.
#[test]
fn a_run_that_fails_after_its_program_has_begun_leaves_no_pid_file() {
    if brisk_only("that was looked at with brisk alone") {
        return;
    }
    for flags in [&[][..], &["--detach"], &["--detach", "--timeout", "1h"]] {
        let container = Bundle::idle().hook("poststart", "/bin/false", &["false"]).container();
        let file = container.bundle.dir.join("pid");
        container.run_with(&[flags, &["--pid-file", file.to_str().unwrap()]].concat()).fails();
        assert!(!file.exists(), "{flags:?}");
        container.assert_nothing_left();
    }
}
