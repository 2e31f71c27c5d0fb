//! `brisk check`: what the host gives, and what to do about the rest.

use serde_json::Value;

use crate::common::{Bundle, Container, Need, brisk_only, host, process, skip_outside_guests, skip_unless};
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
    let output = container.call(&["check", "--json"]);
    let rows = rows(&output);
    // Its status says whether anything is missing.
    let output = output.exits(i32::from(rows.iter().any(|row| row["verdict"] == "no")));
    for name in ["openat2", "clone3", "pidfd_open", "mount_setattr"] {
        assert_eq!(row(&rows, name)["verdict"], "yes", "{name}");
    }
    let v2 = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let version = row(&rows, "version")["detail"].as_str().unwrap().to_owned();
    assert_eq!(version == "v2", v2, "{version}");
    for row in &rows {
        assert_eq!(row["verdict"] == "no", row.get("trouble").is_some(), "{row}");
    }
    let table = container.call(&["check"]).exits(output.code).stdout();
    assert!(rows.iter().all(|row| table.contains(row["name"].as_str().unwrap())), "{table}");
}

#[test]
fn it_tells_a_user_what_is_missing() {
    if brisk_only("no other runtime has it") || not_here() {
        return;
    }
    let container = container();
    // as_user() takes XDG_RUNTIME_DIR away, so something is missing.
    let output = process::run(as_user(&container, &["check", "--json"])).exits(1);
    let rows = rows(&output);
    assert_eq!(row(&rows, "user namespace")["verdict"], "yes");
    let fix = row(&rows, "XDG_RUNTIME_DIR")["fix"].as_str().unwrap();
    assert!(fix.starts_with("loginctl enable-linger"), "{fix}");
    if host::is_root() {
        // The user that stands for an ordinary one is in no file.
        let ids = row(&rows, "subordinate ids");
        assert_eq!(ids["verdict"], "no");
        assert!(ids["fix"].as_str().unwrap().starts_with("usermod --add-subuids"), "{ids}");
    }
}

#[test]
fn what_it_tells_to_do_helps() {
    if brisk_only("no other runtime has it") || skip_outside_guests("it changes /etc/passwd and /etc/subuid") {
        return;
    }
    let root = |line: &str| {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", line]);
        process::run(command).ok()
    };
    if skip_unless(Need::from(host::is_root()), "only root makes a user") {
        return;
    }
    root("useradd --no-create-home briskless && sed -i /^briskless:/d /etc/subuid /etc/subgid");
    let container = container();
    let ids = || {
        let mut command = std::process::Command::new("setpriv");
        command.args(["--reuid", "briskless", "--regid", "briskless", "--clear-groups", "--"]);
        let runtime = container.command(&["check", "--json"]);
        command.arg(host::resolve_program(runtime.get_program().as_ref())).args(runtime.get_args());
        row(&rows(&process::run(command)), "subordinate ids").clone()
    };
    let before = ids();
    assert_eq!(before["verdict"], "no", "{before}");
    root(before["fix"].as_str().unwrap());
    let after = ids();
    root("userdel briskless");
    assert_eq!(after["verdict"], "yes", "{after}");
}
