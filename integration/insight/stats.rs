//! `stats`: the numbers are the kernel's, for whoever has made the container.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{call, cannot_look, command, of_others, only};
use crate::common::host::Cgroups;
use crate::common::{Bundle, Container, Need, lacks, process, skip_unless};

/// A container with limits, whose process sleeps.
fn sleeper() -> Bundle {
    Bundle::idle().resources("memory", json!({ "limit": 64 << 20 })).resources("pids", json!({ "limit": 20 }))
}

fn number(container: &Container, controller: &str, v1: &str, v2: &str) -> u64 {
    let file = match Cgroups::detect() {
        Cgroups::V1 => v1,
        Cgroups::V2 => v2,
    };
    container.cgroup_file(controller, file).trim().parse().unwrap()
}

#[test]
fn the_numbers_are_the_kernels() {
    if cannot_look() || lacks(&["memory", "pids"]) {
        return;
    }
    let container = sleeper().container();
    container.up().ok();
    // Its program may be beginning yet: what stands still can be compared.
    container.call(&["pause", &container.id]).ok();
    let cpu = || container.cgroup_file("cpuacct", "cpuacct.usage").trim().parse::<u64>().unwrap();
    let v1 = std::path::Path::new("/sys/fs/cgroup/cpuacct").exists();
    let kernels = || {
        let memory = number(&container, "memory", "memory.usage_in_bytes", "memory.current");
        let peak = number(&container, "memory", "memory.max_usage_in_bytes", "memory.peak");
        [memory, peak, if v1 { cpu() } else { 0 }]
    };
    let before = kernels();
    let value = call(&container, &["stats", "--json", &container.id]).ok().json();
    let after = kernels();
    let row = only(&value);
    assert_eq!(
        (&row["id"], &row["runtime"], &row["status"]),
        (&json!(container.id), &json!("brisk"), &json!("paused"))
    );
    assert_eq!(row["pid"], container.pid());
    let told =
        [&row["memory"]["bytes"], &row["memory"]["peakBytes"], if v1 { &row["cpu"]["totalNs"] } else { &json!(0) }];
    for ((told, before), after) in told.iter().zip(before).zip(after) {
        // Memory that its start has used may be given back late.
        let told = told.as_u64().unwrap();
        assert!((before.min(after)..=before.max(after)).contains(&told), "{before} {told} {after}: {value}");
    }
    assert_eq!(row["memory"]["limitBytes"], 64 << 20);
    assert_eq!(row["memory"]["oomKills"], 0);
    assert_eq!(row["pids"], json!({ "tasks": 1, "limit": 20, "limitHits": 0 }));
    container.call(&["resume", &container.id]).ok();
}

#[test]
fn what_cannot_be_known_is_null() {
    if cannot_look() {
        return;
    }
    let container = Bundle::idle().container();
    let dir = container.bundle.dir.to_str().unwrap();
    container.call(&["--cgroup-manager", "disabled", "create", "--bundle", dir, &container.id]).ok();
    let value = call(&container, &["stats", "--json"]).ok().json();
    let row = only(&value);
    for field in ["cpu", "memory", "pids", "io"] {
        assert_eq!(row[field], Value::Null, "{row}");
    }
    assert_eq!(row["pressure"], json!({ "cpu": null, "memory": null, "io": null }));
    let table = call(&container, &["stats"]).ok().stdout();
    let cells: Vec<&str> = table.lines().nth(1).unwrap().split_ascii_whitespace().collect();
    assert_eq!(&cells[..3], [container.id.as_str(), "brisk", "created"], "{table}");
    assert!(cells[3..].iter().all(|cell| *cell == "-") && cells.len() == 15, "{table}");
}

/// Reads it as Prometheus's own library does, and prints the samples as JSON.
const PARSER: &str = "
import json, sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
print(json.dumps([[s.name, s.labels, s.value, f.type, f.unit] for f in parse(sys.stdin.read()) for s in f.samples]))";

#[test]
fn prometheus_reads_the_metrics() {
    if cannot_look() || lacks(&["memory", "pids"]) {
        return;
    }
    let there =
        Command::new("/usr/bin/python3").args(["-c", "import prometheus_client"]).stderr(Stdio::null()).status();
    if skip_unless(Need::from(there.is_ok_and(|status| status.success())), "no python3-prometheus-client") {
        return;
    }
    let container = sleeper().container();
    container.up().ok();
    let text = call(&container, &["stats", "--format", "openmetrics"]).ok().stdout();
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-c", PARSER]);
    let samples = process::run_with_input(python, &text).ok().json();
    let of = |name: &str| samples.as_array().unwrap().iter().find(|sample| sample[0] == name).unwrap_or(&Value::Null);
    let limit = of("brisk_container_memory_limit_bytes");
    assert_eq!(limit[2], f64::from(64 << 20), "{text}");
    assert_eq!((&limit[3], &limit[4]), (&json!("gauge"), &json!("bytes")), "{text}");
    let root = container.bundle.state_root();
    assert_eq!(limit[1], json!({ "id": container.id, "runtime": "brisk", "root": root }), "{text}");
    assert!(of("brisk_container_cpu_seconds_total")[2].as_f64().unwrap() > 0.0, "{text}");
    let states = samples.as_array().unwrap().iter().filter(|sample| sample[0] == "brisk_container_state");
    let on: Vec<&Value> = states.filter(|sample| sample[2] == 1.0).map(|sample| &sample[1]["state"]).collect();
    assert_eq!(on, ["running"], "{text}");
}

#[test]
fn containers_are_chosen() {
    if cannot_look() {
        return;
    }
    let container = Bundle::idle().set("/annotations", json!({ "team": "a b" })).container();
    container.create().ok();
    let count = |args: &[&str]| {
        let value = call(&container, &[&["stats", "--json"], args].concat()).ok().json();
        value["containers"].as_array().unwrap().len()
    };
    assert_eq!(count(&[]), 1);
    for (filter, shown) in [
        ("status=created", 1),
        ("status~creat", 1),
        ("status=creat", 0),
        ("annotation.team=a b", 1),
        ("annotation.other=a b", 0),
        ("runtime=runc", 0),
        (container.id.as_str(), 1),
    ] {
        assert_eq!(count(&["--filter", filter]), shown, "{filter}");
    }
    assert_eq!(count(&["--filter", "status=created", "--filter", "runtime=runc"]), 0, "all have to hold");
    let once = ["top", "--once", "--json", "--interval", "1ms", "--filter", "status=paused"];
    assert_eq!(call(&container, &once).ok().json()["containers"], json!([]));
    let said = call(&container, &["stats", "--filter", "size=3"]).fails();
    assert!(said.contains("must be FIELD=VALUE"), "{said}");
    let said = call(&container, &["stats", "nobody"]).fails();
    assert!(said.contains("container does not exist"), "{said}");
}

#[test]
fn containers_of_others_are_read() {
    if cannot_look() || lacks(&["memory", "pids"]) {
        return;
    }
    let bundle = || sleeper().set("/annotations", json!({ "team": "a" }));
    of_others(bundle, |runtime, container, pid| {
        let value = process::run(command(container, &["stats", "--json"])).ok().json();
        let row = only(&value);
        assert_eq!((&row["runtime"], &row["status"]), (&json!(runtime), &json!("running")), "{value}");
        assert_eq!(row["pid"], pid, "{value}");
        assert_eq!((&row["memory"]["limitBytes"], &row["pids"]["limit"]), (&json!(64 << 20), &json!(20)), "{value}");
        assert_eq!(row["annotations"]["team"], "a", "{value}");
        // Threads of runc's own process may be on their way out yet.
        assert!(row["pids"]["tasks"].as_u64().unwrap() >= 1 && row["memory"]["bytes"].as_u64().unwrap() > 0, "{value}");
        assert_eq!(row["bundle"], container.bundle.dir.to_str().unwrap(), "{value}");
    });
}

/// The others are shown all the same; of one that is not there nobody can have meant what.
#[test]
fn one_that_cannot_be_read_is_named() {
    if cannot_look() {
        return;
    }
    let container = Bundle::idle().container();
    container.create().ok();
    let broken = container.bundle.state_root().join("broken");
    std::fs::create_dir(&broken).unwrap();
    std::fs::write(broken.join("state.json"), "{").unwrap();
    let id = &*container.id;
    for view in [
        &["stats"][..],
        &["stats", "--json"],
        &["memory"],
        &["memory", "--json"],
        &["top", "--once", "--interval", "1ms"],
    ] {
        let out = call(&container, &[view, &[id, "broken"]].concat());
        assert!(out.stdout().contains(id), "{view:?}: {out:?}");
        assert!(out.fails().contains("state: broken cannot be read"), "{view:?}");
        // Nobody has named it.
        assert!(call(&container, view).ok().stdout().contains(id), "{view:?}");
        let out = call(&container, &[view, &["--filter", "status=paused", id, "nobody"]].concat());
        assert_eq!(out.stdout(), "", "{view:?}");
        assert!(out.fails().contains("container does not exist"), "{view:?}");
    }
    std::fs::remove_dir_all(&broken).unwrap();
}

/// Of what the system keeps from us, too, though nobody has named it: as `list` has it.
#[test]
fn who_may_not_look_is_not_shown_an_empty_table() {
    if cannot_look() {
        return;
    }
    let container = Bundle::idle().container();
    container.create().ok();
    let id = &*container.id;
    let views = [&["stats"][..], &["stats", "--json"], &["memory"], &["top", "--once", "--interval", "1ms"]];
    for view in views {
        let few = |limit| {
            let script = format!(r#"ulimit -n {limit}; exec "$@""#);
            process::run(process::in_shell(&script, &command(&container, view)))
        };
        let few: Vec<_> = (4..24).map(few).collect();
        let has = |out: &process::Output| {
            out.stdout().contains(&format!("{id} ")) || out.stdout().contains(&format!("\"{id}\""))
        };
        assert!(few.iter().all(|out| out.code != 0 || has(out)), "{view:?}: {few:?}");
        assert!(few.iter().any(|out| out.stderr().contains("cannot be read") && out.code == 1), "{view:?}: {few:?}");
    }
    // And what cannot be said in the log is said on standard error.
    let broken = container.bundle.state_root().join("broken");
    std::fs::create_dir(&broken).unwrap();
    let log = container.bundle.dir.join("log");
    std::fs::write(&log, "").unwrap();
    std::fs::hard_link(&log, broken.join("state.json")).unwrap();
    for view in views {
        let said = call(&container, &[&["--log", log.to_str().unwrap()], view].concat()).fails();
        assert!(said.contains("state: broken cannot be read"), "{view:?}: {said}");
        assert!(view.contains(&"--json") || said.contains("warning: broken: "), "{view:?}: {said}");
    }
    std::fs::remove_dir_all(&broken).unwrap();
}

#[test]
fn what_another_pid_namespace_hides_is_told() {
    if cannot_look() || lacks(&["pids"]) {
        return;
    }
    let container = Bundle::idle().container();
    container.up().ok();
    let hidden = ["unshare", "--pid", "--fork", "--mount-proc"];
    for (args, to) in
        [(&["stats", "--json"][..], "problems"), (&["stats"], "warning"), (&["inspect", &container.id], "warning")]
    {
        let out = process::run(process::under(&hidden, &command(&container, args)));
        let said = format!("{} {}", out.stdout(), out.stderr());
        assert!(
            said.contains("is called stopped, but tasks are in its cgroup") && said.contains(to),
            "{args:?}: {said}"
        );
        out.ok();
    }
    assert!(!call(&container, &["stats", "--json"]).ok().stdout().contains("is called stopped"));
    let memory = command(&container, &["memory", "--json", &container.id]);
    let all = process::run(process::under(&hidden, &memory)).ok().json();
    let one = &all["containers"][0];
    assert_eq!((&one["unreadProcesses"], &one["mapped"]), (&json!(1), &Value::Null), "{all}");
}
