//! Device rules as the kernel enforces them.

use std::fs;

use serde_json::json;

use crate::common::{Bundle, brisk_only, host, skip_here, skip_on};

/// The devices that every container has come after the configuration's rules, and must not undo them: `mknod` of any node
/// is one of those.
#[test]
fn what_is_denied_where_all_else_is_allowed_stays_denied() {
    if skip_on(&["crun"], "its default rules undo it") {
        return;
    }
    let rules = json!([
        { "allow": true, "access": "rwm" },
        { "allow": false, "type": "c", "major": 1, "minor": 11, "access": "rwm" },
    ]);
    let bundle = Bundle::probe(&["mknod:/tmp/kmsg=1:11", "mknod:/tmp/other=1:12", "mknod:/tmp/null=1:3"])
        .resources("devices", rules)
        .push("/process/capabilities/bounding", json!("CAP_MKNOD"))
        .push("/process/capabilities/effective", json!("CAP_MKNOD"))
        .push("/process/capabilities/permitted", json!("CAP_MKNOD"))
        .mount("tmpfs", "tmpfs", "/tmp", &["mode=1777"]);
    let found = bundle.container().run().ok().json();
    assert_eq!(found["mknod:/tmp/kmsg=1:11"], json!({ "errno": "EPERM" }), "{found}");
    for made in ["mknod:/tmp/other=1:12", "mknod:/tmp/null=1:3"] {
        assert!(found[made].get("errno").is_none(), "{made}: {found}");
    }
}

/// Who may make nodes makes one of the host's console, and gets nothing of it.
#[test]
fn the_hosts_console_is_not_the_containers() {
    if skip_on(&["crun"], "its default rules have it") {
        return;
    }
    let container = Bundle::sh("mknod /tmp/console c 5 1 && { : </tmp/console; } 2>&1")
        .resources("devices", json!([{ "allow": false, "access": "rwm" }]))
        .push("/process/capabilities/bounding", json!("CAP_MKNOD"))
        .push("/process/capabilities/effective", json!("CAP_MKNOD"))
        .push("/process/capabilities/permitted", json!("CAP_MKNOD"))
        .mount("tmpfs", "tmpfs", "/tmp", &["mode=1777"])
        .container();
    let said = container.run().stdout();
    assert!(said.contains("Operation not permitted"), "{said}");
}

/// With a container whose systemd has made cgroups, and that nobody could delete.
#[test]
fn cgroups_that_were_left_below_are_told_of() {
    if brisk_only("its hint") {
        return;
    }
    let Some(top) = host::cgroup_dirs("/").into_iter().find(|dir| dir.join("devices.list").exists()) else {
        return skip_here("no devices controller of cgroup v1");
    };
    let bundle = Bundle::sh("true");
    let own = top.join(bundle.cgroup().trim_start_matches('/'));
    fs::create_dir(&own).unwrap();
    fs::create_dir(own.join("left")).unwrap();
    let container = bundle.container();
    container.bundle.write();
    let error = container.run_with(&[]).fails();
    assert!(error.contains("where cgroups are below"), "{error}");
    // On a hybrid host the failed start has taken it away already.
    let _ = fs::remove_dir(own.join("left"));
    container.run().ok();
}
