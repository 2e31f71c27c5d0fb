//! pause, resume, update, ps and events.

use std::fs;

use serde_json::{Value, json};

use crate::common::host::Cgroups;
use crate::common::{Bundle, Container, Need, host, lacks, skip_on, skip_unless};

fn up(bundle: Bundle) -> Container {
    let container = bundle.container();
    container.up();
    container
}

#[test]
fn pause_and_resume() {
    let container = up(Bundle::idle());
    container.call(&["pause", &container.id]).ok();
    assert_eq!(container.status(), "paused");
    container.call(&["resume", &container.id]).ok();
    assert_eq!(container.status(), "running");
    container.exec(&["/bin/true"]).ok();
}

#[test]
fn pause_really_stops_the_program() {
    // Process 1 counts; while paused the count stands still.
    let container = up(Bundle::sh("i=0; while true; do i=$((i+1)); echo $i > /tmp/count; done"));
    let file = container.bundle.rootfs().join("tmp/count");
    let count = || fs::read_to_string(&file).unwrap_or_default();
    host::wait_until(|| count().trim().parse::<u64>().is_ok());
    container.call(&["pause", &container.id]).ok();
    let at_pause = count();
    for _ in 0..3 {
        container.status();
        assert_eq!(count(), at_pause);
    }
    container.call(&["resume", &container.id]).ok();
    host::wait_until(|| count().trim().parse::<u64>().is_ok_and(|n| n.to_string() != at_pause.trim()));
}

#[test]
fn pause_of_what_does_not_run_fails() {
    let container = Bundle::idle().container();
    container.create().ok();
    container.start().ok();
    if !skip_on(&["crun"], "resume of a running container succeeds") {
        container.call(&["resume", &container.id]).fails();
    }
    container.stop();
    container.call(&["pause", &container.id]).fails();
}

#[test]
fn exec_into_a_paused_container_is_refused() {
    if skip_on(&["crun"], "came later") {
        return;
    }
    let container = up(Bundle::idle());
    container.call(&["pause", &container.id]).ok();
    let text = container.exec(&["/bin/true"]).fails();
    assert!(text.contains("paused"), "{text}");
    container.call(&["resume", &container.id]).ok();
}

#[test]
fn a_paused_container_is_killed_and_deleted() {
    let container = up(Bundle::idle());
    container.call(&["pause", &container.id]).ok();
    container.delete_force().ok();
    container.assert_nothing_left();
}

#[test]
fn update_from_standard_input_and_file() {
    if lacks(&["pids"]) {
        return;
    }
    let container = up(Bundle::idle().resources("pids", json!({ "limit": 100 })));
    let text = json!({ "pids": { "limit": 50 } }).to_string();
    container.call_with_input(&["update", "--resources", "-", &container.id], &text).ok();
    assert_eq!(container.cgroup_file("pids", "pids.max"), "50");
    let file = container.bundle.dir.join("resources.json");
    fs::write(&file, json!({ "pids": { "limit": 60 } }).to_string()).unwrap();
    container.call(&["update", "--resources", file.to_str().unwrap(), &container.id]).ok();
    assert_eq!(container.cgroup_file("pids", "pids.max"), "60");
}

#[test]
fn update_by_single_flags() {
    if lacks(&["memory"]) {
        return;
    }
    let container = up(Bundle::idle().resources("memory", json!({ "limit": 67_108_864 })));
    let args = [
        "update",
        "--memory",
        "134217728",
        "--cpu-quota",
        "30000",
        "--cpu-period",
        "60000",
        "--pids-limit",
        "77",
        "--cpuset-cpus",
        "0",
        &container.id,
    ];
    container.call(&args).ok();
    let (memory, quota) = match Cgroups::detect() {
        Cgroups::V1 => {
            assert_eq!(container.cgroup_file("cpu", "cpu.cfs_period_us"), "60000");
            (("memory", "memory.limit_in_bytes", "134217728"), ("cpu", "cpu.cfs_quota_us", "30000"))
        }
        Cgroups::V2 => (("memory", "memory.max", "134217728"), ("cpu", "cpu.max", "30000 60000")),
    };
    for (controller, file, value) in [memory, quota, ("pids", "pids.max", "77"), ("cpuset", "cpuset.cpus", "0")] {
        assert_eq!(container.cgroup_file(controller, file), value, "{file}");
    }
}

/// The kernel forgets the shares of a cgroup that becomes idle.
#[test]
fn update_of_cpu_idle_and_back_keeps_the_shares() {
    if skip_on(&["runc", "crun"], "leave the kernel's default") || lacks(&["cpu"]) {
        return;
    }
    let container = up(Bundle::idle().resources("cpu", json!({ "shares": 500 })));
    let (shares, configured) = match Cgroups::detect() {
        Cgroups::V1 => ("cpu.shares", "500"),
        Cgroups::V2 => ("cpu.weight", "58"),
    };
    if skip_unless(
        Need::from(host::cgroup_dir("cpu", &container.bundle.cgroup()).join("cpu.idle").exists()),
        "cpu.idle came with Linux 5.15",
    ) {
        return;
    }
    assert_eq!(container.cgroup_file("cpu", shares), configured);
    let update = |args: &[&str]| container.call(&[&["update"], args, &[container.id.as_str()]].concat());
    update(&["--cpu-idle", "1"]).ok();
    update(&["--cpu-idle", "1"]).ok();
    assert_eq!(container.cgroup_file("cpu", "cpu.idle"), "1");
    update(&["--cpu-idle", "0"]).ok();
    assert_eq!(container.cgroup_file("cpu", shares), configured);
    // What is taken back, too.
    update(&["--cpu-idle", "1", "--cpuset-cpus", "4000"]).fails();
    assert_eq!(container.cgroup_file("cpu", "cpu.idle"), "0");
    assert_eq!(container.cgroup_file("cpu", shares), configured);
}

#[test]
fn update_leaves_the_rest_alone() {
    if lacks(&["pids"]) {
        return;
    }
    let container = up(Bundle::probe(&["pause"])
        .resources("pids", json!({ "limit": 33 }))
        .resources("cpu", json!({ "shares": 500 })));
    let before = if Cgroups::detect() == Cgroups::V1 {
        container.cgroup_file("cpu", "cpu.shares")
    } else {
        container.cgroup_file("cpu", "cpu.weight")
    };
    container.call(&["update", "--pids-limit", "34", &container.id]).ok();
    let after = if Cgroups::detect() == Cgroups::V1 {
        container.cgroup_file("cpu", "cpu.shares")
    } else {
        container.cgroup_file("cpu", "cpu.weight")
    };
    assert_eq!(before, after);
    container.exec(&["/bin/sh", "-c", "echo > /dev/null"]).ok();
}

#[test]
fn update_of_what_the_kernel_refuses_fails_and_changes_nothing() {
    if lacks(&["pids"]) {
        return;
    }
    if skip_on(&["runc", "crun"], "the first writes stay") {
        return;
    }
    let container = up(Bundle::idle().resources("pids", json!({ "limit": 33 })));
    let text = json!({ "pids": { "limit": 44 }, "cpu": { "cpus": "4000" } }).to_string();
    let message = container.call_with_input(&["update", "--resources", "-", &container.id], &text).fails();
    assert!(message.contains("cpuset.cpus") && message.contains("4000"), "{message}");
    assert_eq!(container.cgroup_file("pids", "pids.max"), "33");
}

#[test]
fn wrong_updates_are_refused() {
    let container = up(Bundle::idle());
    container.call_with_input(&["update", "--resources", "-", &container.id], "{").fails();
    container.call(&["update", "--pids-limit", "many", &container.id]).fails();
    container.call(&["update", "--resources", "/no/such/file", &container.id]).fails();
}

#[test]
fn ps_lists_the_containers_processes() {
    let container = up(Bundle::sh("sleep 1000 & sleep 1000 & echo; wait"));
    let pids = || container.call(&["ps", "--format", "json", &container.id]).ok().json();
    host::wait_until(|| pids().as_array().unwrap().len() == 3);
    let list = pids();
    assert!(list.as_array().unwrap().contains(&json!(container.pid())), "{list}");
    if skip_on(&["crun"], "prints only pids") {
        return;
    }
    let table = container.call(&["ps", &container.id]).ok().stdout();
    let mut lines = table.lines();
    assert!(lines.next().unwrap().contains("PID"), "{table}");
    assert_eq!(lines.count(), 3, "{table}");
    let table = container.call(&["ps", &container.id, "-o", "pid,comm"]).ok().stdout();
    assert!(table.contains("sleep"), "{table}");
}

#[test]
fn events_prints_statistics() {
    if lacks(&["memory", "pids"]) {
        return;
    }
    if skip_on(&["crun"], "has no such command") {
        return;
    }
    let container = up(Bundle::idle());
    let stats: Value = container.call(&["events", "--stats", &container.id]).ok().json();
    assert_eq!(stats["type"], "stats");
    assert_eq!(stats["id"], json!(container.id));
    assert!(stats["data"]["memory"]["usage"]["usage"].as_u64().unwrap() > 0, "{stats}");
    assert_eq!(stats["data"]["pids"]["current"], 1, "{stats}");
    assert!(stats["data"]["cpu"]["usage"]["total"].as_u64().unwrap() > 0, "{stats}");
}

#[test]
fn memory_can_be_raised_and_lowered() {
    if lacks(&["memory"]) {
        return;
    }
    let container = up(Bundle::idle().resources("memory", json!({ "limit": 50_331_648 })));
    for limit in ["100663296", "33554432", "67108864"] {
        container.call(&["update", "--memory", limit, &container.id]).ok();
        let found = match Cgroups::detect() {
            Cgroups::V1 => container.cgroup_file("memory", "memory.limit_in_bytes"),
            Cgroups::V2 => container.cgroup_file("memory", "memory.max"),
        };
        assert_eq!(found, limit);
    }
}

/// runc's way: a container that was made without linux.intelRdt gets a group of its own, where there is resctrl.
#[test]
fn cache_and_bandwidth_schemas_need_resctrl() {
    if skip_on(&["crun"], "does not have the flags") {
        return;
    }
    let container = Bundle::idle().container();
    container.up();
    let before = container.call(&["state", &container.id]).ok().stdout();
    if std::fs::read_to_string("/proc/mounts").unwrap().contains(" resctrl ") {
        return crate::common::skip("resctrl is mounted, and its schemata are not known");
    }
    for flag in ["--l3-cache-schema", "--mem-bw-schema"] {
        let error = container.call(&["update", flag, "L3:0=f", &container.id]).fails();
        let lower = error.to_lowercase();
        assert!(
            lower.contains("resctrl") || lower.contains("not enabled") || lower.contains("not supported"),
            "{error}"
        );
    }
    assert_eq!(container.call(&["state", &container.id]).ok().stdout(), before);
}
