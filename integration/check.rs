//! `brisk check`: what the host gives, and what to do about the rest.

use serde_json::Value;

use crate::common::{Bundle, Container, brisk_only, host, process};
use crate::rootless::{as_user, not_here};

fn rows(output: &process::Output) -> Vec<Value> {
    output.json()["findings"].as_array().unwrap().clone()
}

fn row<'a>(rows: &'a [Value], name: &str) -> &'a Value {
    rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no row {name}: {rows:#?}"))
}

fn container() -> Container {
    Bundle::new(&["/bin/true"]).container()
}

#[test]
fn it_says_what_is_true_of_the_kernel() {
    if brisk_only("no other runtime has it") {
        return;
    }
    let container = container();
    let output = container.call(&["check", "--json"]).ok();
    let rows = rows(&output);
    for name in ["openat2", "clone3", "pidfd_open", "mount_setattr"] {
        assert_eq!(row(&rows, name)["verdict"], "yes", "{name}");
    }
    let v2 = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let version = row(&rows, "version")["detail"].as_str().unwrap().to_owned();
    assert_eq!(version == "v2", v2, "{version}");
    for row in &rows {
        assert_eq!(row["verdict"] == "no", row.get("trouble").is_some(), "{row}");
    }
    let table = container.call(&["check"]).ok().stdout();
    assert!(rows.iter().all(|row| table.contains(row["name"].as_str().unwrap())), "{table}");
}

#[test]
fn it_tells_a_user_what_is_missing() {
    if brisk_only("no other runtime has it") || not_here() {
        return;
    }
    let container = container();
    let output = process::run(as_user(&container, &["check", "--json"])).ok();
    let rows = rows(&output);
    assert_eq!(row(&rows, "user namespace")["verdict"], "yes");
    // as_user() takes XDG_RUNTIME_DIR away.
    let fix = row(&rows, "XDG_RUNTIME_DIR")["fix"].as_str().unwrap();
    assert!(fix.starts_with("loginctl enable-linger"), "{fix}");
    if host::is_root() {
        // The user that stands for an ordinary one is in no file.
        let ids = row(&rows, "subordinate ids");
        assert_eq!(ids["verdict"], "no");
        assert!(ids["fix"].as_str().unwrap().starts_with("usermod --add-subuids"), "{ids}");
    }
}
