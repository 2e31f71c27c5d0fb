//! What the validation programs of OCI runtime-tools check and no other module covers.

use std::fs;

use serde_json::json;

use crate::common::container::{has, mount_at};
use crate::common::{Bundle, host};

#[test]
fn the_documented_default_file_systems_are_mounted() {
    let out = Bundle::probe(&["report"]).container().run().ok().json();
    for (point, kind) in [("/proc", "proc"), ("/sys", "sysfs"), ("/dev/pts", "devpts"), ("/dev/shm", "tmpfs")] {
        assert_eq!(mount_at(&out["report"], point)["fs"], kind);
    }
}

#[test]
fn the_process_can_be_started_only_once_and_state_follows() {
    let container = Bundle::new(&["/bin/true"]).container();
    container.create().ok();
    container.start_and_wait();
    host::wait_until(|| container.status() == "stopped");
    container.start().fails();
    container.delete().ok();
    container.delete().fails();
}

#[test]
fn create_without_an_id_or_with_a_used_one_fails() {
    let container = Bundle::idle().container();
    let dir = container.bundle.dir.to_str().unwrap();
    container.call(&["create", "--bundle", dir]).fails();
    container.create().ok();
    container.create().fails();
    assert_eq!(container.status(), "created");
}

#[test]
fn kill_of_an_unknown_container_and_of_none_fails() {
    let container = Bundle::idle().container();
    container.call(&["kill"]).fails();
    container.call(&["kill", "no-such", "KILL"]).fails();
}

#[test]
fn delete_must_remove_what_create_made_and_nothing_else() {
    // A cgroup that was there before belongs to someone else.
    let bundle = Bundle::idle();
    let path = format!("/{}-parent/child", bundle.id);
    let parent = format!("/{}-parent", bundle.id);
    let dirs: Vec<_> = ["pids", "memory", "devices"].iter().map(|c| host::cgroup_dir(c, &parent)).collect();
    if host::Cgroups::detect() == host::Cgroups::V1 {
        for dir in &dirs {
            fs::create_dir(dir).unwrap();
        }
    }
    let container = bundle.set("/linux/cgroupsPath", json!(path)).container();
    container.up();
    container.delete_force().ok();
    for dir in host::cgroup_dirs(&path) {
        assert!(!dir.join("tasks").exists(), "{}", dir.display());
    }
    if host::Cgroups::detect() == host::Cgroups::V1 {
        for dir in &dirs {
            assert!(dir.exists(), "{} was there before", dir.display());
        }
    }
    for dir in host::cgroup_dirs(&parent) {
        let _ = fs::remove_dir(dir);
    }
}

#[test]
fn mounts_are_visible_in_the_order_of_the_config() {
    let out = Bundle::probe(&["report"])
        .mount("tmpfs", "one", "/mnt/one", &["nosuid"])
        .mount("tmpfs", "two", "/mnt/two", &["nodev"])
        .container()
        .run()
        .ok()
        .json();
    let points: Vec<&str> =
        out["report"]["mounts"].as_array().unwrap().iter().map(|m| m["point"].as_str().unwrap()).collect();
    let index = |point: &str| points.iter().position(|p| *p == point).unwrap();
    assert!(index("/proc") < index("/dev") && index("/dev") < index("/dev/pts"));
    assert!(index("/mnt/one") < index("/mnt/two"));
    assert!(has(&mount_at(&out["report"], "/mnt/two")["opts"], "nodev"));
}

#[test]
fn a_relative_hook_path_a_missing_process_and_a_wrong_root_leave_no_state() {
    let container = Bundle::new(&["/no/such"]).container();
    container.run().fails();
    container.call(&["state", &container.id]).fails();
    container.assert_nothing_left();
}

#[test]
fn stdin_stdout_and_stderr_are_those_of_create() {
    let container = Bundle::sh("echo to-stdout; echo to-stderr >&2").container();
    let output = container.create().ok();
    container.start_and_wait();
    assert_eq!(output.stdout(), "to-stdout\n");
    assert_eq!(output.stderr(), "to-stderr\n");
}
