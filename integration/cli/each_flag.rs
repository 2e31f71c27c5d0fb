//! One thing that each flag does and that does not happen without it: `integration/deaf` runs these with a brisk that
//! does not see the flag.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::common::process::Running;
use crate::common::{Bundle, Container, brisk_only, host, keys, lacks, process, runtime_name, skip_on};
use crate::prepared::pools;

/// A command outside of the bundle.
fn elsewhere(container: &Container, args: &[&str]) -> Command {
    let mut command = container.command(args);
    command.current_dir("/");
    command
}

#[test]
fn the_bundle_is_found_from_elsewhere() {
    let container = Bundle::sh("true").container();
    let dir = container.bundle.dir.to_str().unwrap();
    for verb in ["create", "run"] {
        process::run(elsewhere(&container, &[verb, "--bundle", dir, &container.id])).ok();
        container.delete_force().ok();
    }
    let new = container.bundle.dir.join("new");
    fs::create_dir(&new).unwrap();
    process::run(elsewhere(&container, &["spec", "--bundle", new.to_str().unwrap()])).ok();
    assert!(new.join("config.json").exists());
}

#[test]
fn the_state_is_kept_where_it_is_said() {
    let container = Bundle::idle().container();
    container.up();
    assert!(container.bundle.state_root().join(&container.id).is_dir());
    // The first --root is the test bench's, the last one counts.
    let other = container.bundle.dir.join("other");
    let error =
        process::run(elsewhere(&container, &["--root", other.to_str().unwrap(), "state", &container.id])).fails();
    assert!(error.contains("does not exist"), "{error}");
}

#[test]
fn manual_pages_are_written() {
    if brisk_only("the others bring theirs as files") {
        return;
    }
    let container = Bundle::idle().container();
    let dir = container.bundle.dir.join("pages");
    fs::create_dir(&dir).unwrap();
    process::run(elsewhere(&container, &["man", dir.to_str().unwrap()])).ok();
    let page = fs::read_to_string(dir.join("brisk-run.8")).unwrap();
    assert!(page.starts_with(".TH BRISK") && dir.join("brisk.8").exists(), "{page}");
    let file = dir.join("brisk.8");
    let error = process::run(elsewhere(&container, &["man", file.to_str().unwrap()])).fails();
    assert!(error.contains("brisk.8"), "{error}");
}

#[test]
fn a_pid_file_has_the_pid() {
    let container = Bundle::idle().container();
    let file = container.bundle.dir.join("pid");
    let path = file.to_str().unwrap();
    let number = || fs::read_to_string(&file).unwrap().parse::<i32>().unwrap();
    container.create_with(&["--pid-file", path]).ok();
    assert_eq!(number(), container.pid());
    container.start().ok();
    fs::remove_file(&file).unwrap();
    container.exec_with(&["--pid-file", path], &["/bin/true"]).ok();
    assert_ne!(number(), container.pid());
    container.delete_force().ok();
    fs::remove_file(&file).unwrap();
    container.run_with(&["--detach", "--pid-file", path]).ok();
    assert_eq!(number(), container.pid());
}

#[test]
fn the_root_is_moved_instead_of_pivoted() {
    if brisk_only("the trace tells") {
        return;
    }
    let container = Bundle::sh("true").container();
    let trace = container.bundle.dir.join("trace");
    for verb in ["create", "run"] {
        let args = [verb, "--no-pivot", "--trace", trace.to_str().unwrap(), &container.id];
        container.call(&args).ok();
        container.delete_force().ok();
        let text = fs::read_to_string(&trace).unwrap();
        assert!(text.contains("move the root over /") && !text.contains("pivot_root"), "{text}");
    }
}

#[test]
fn the_session_keyring_of_create() {
    if !Path::new("/proc/keys").exists() {
        return crate::common::skip("no keyrings");
    }
    let has_callers = |args: &[&str]| {
        let container = Bundle::sh("/probe key:test > /tmp/key").container();
        let dir = container.bundle.dir.to_str().unwrap();
        let mut create = container.command(&[&["create", "--bundle", dir], args, &[&container.id]].concat());
        keys::with_key(&mut create, None, "test");
        process::run(create).ok();
        container.start_and_wait();
        fs::read_to_string(container.bundle.rootfs().join("tmp/key")).unwrap().contains("of the caller")
    };
    assert!(!has_callers(&[]));
    assert!(has_callers(&["--no-new-keyring"]));
}

#[test]
fn descriptors_that_are_not_there_cannot_be_preserved() {
    let container = Bundle::idle().container();
    container.create_with(&["--preserve-fds", "4294967295"]).fails();
    container.up();
    container.exec_with(&["--preserve-fds", "4294967295"], &["/bin/true"]).fails();
}

/// Without a pid namespace an orphan of the container goes to the next process that adopts.
#[test]
fn a_run_adopts_orphans_unless_told_not_to() {
    if skip_on(&["crun"], "accepts the flag and does nothing") {
        return;
    }
    let orphan = "sleep 0.3; exec cut -d\" \" -f4 /proc/self/stat > /tmp/parent";
    let script = format!("(sh -c '{orphan}' &); while [ ! -s /tmp/parent ]; do sleep 0.05; done");
    let adopted = |container: &Container, run: Running| {
        let pid = run.pid();
        run.wait().ok();
        let parent = fs::read_to_string(container.bundle.rootfs().join("tmp/parent")).unwrap();
        parent.trim().parse::<i32>().unwrap() == pid
    };
    for (flags, adopts) in [(&[][..], true), (&["--no-subreaper"], false)] {
        let container = Bundle::sh(&script).without_ns("pid").container();
        assert_eq!(adopted(&container, container.start_run(flags)), adopts, "{flags:?}");
        if runtime_name() != "brisk" {
            continue;
        }
        // With a pool as well, where the program runs in no member, whose parent is another.
        let pool = pools::pool(pools::bundle().without_ns("pid"), "1");
        let run = ["run", "--pool", &pool.0.id, "--no-new-keyring"];
        let args = [&run[..], flags, &["--", "/bin/sh", "-c", &script]].concat();
        let run = process::start(pool.0.command(&args), Stdio::null());
        assert_eq!(adopted(&pool.0, run), adopts, "{flags:?}");
    }
}

#[test]
fn kill_all_reaches_those_that_the_first_process_left() {
    let container = Bundle::sh("sleep 1000 & sleep 1000 & wait").without_ns("pid").container();
    container.up();
    let procs = || -> String {
        let dirs = host::cgroup_dirs(&container.bundle.cgroup());
        dirs.iter().map(|dir| fs::read_to_string(dir.join("cgroup.procs")).unwrap()).collect()
    };
    host::wait_until(|| procs().lines().collect::<std::collections::BTreeSet<_>>().len() == 3);
    // Without a pid namespace KILL alone goes to all of them, as with runc.
    container.call(&["kill", "--all", &container.id, "TERM"]).ok();
    host::wait_until(|| procs().is_empty());
}

#[test]
fn a_bundle_for_an_ordinary_user_has_its_maps() {
    let container = Bundle::idle().container();
    let config = container.bundle.dir.join("config.json");
    fs::remove_file(&config).unwrap();
    container.call(&["spec", "--rootless"]).ok();
    let spec: Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    assert_eq!(spec["linux"]["uidMappings"][0]["containerID"], 0, "{spec}");
}

#[test]
fn a_plan_in_json() {
    if brisk_only("has plans") {
        return;
    }
    let container = Bundle::idle().container();
    for flags in [&["--json"][..], &["--format", "json"]] {
        let dir = container.bundle.dir.to_str().unwrap();
        let plan = container.call(&[&["plan"], flags, &[dir]].concat()).ok().json();
        assert!(plan["child"].as_array().unwrap().iter().any(|op| op["by"] == "pivot_root"), "{plan}");
        assert_eq!((&plan["version"], &plan["of"]), (&serde_json::json!(1), &serde_json::json!("create")), "{plan}");
    }
}

#[test]
fn no_cgroups_where_they_are_disabled() {
    if skip_on(&["runc"], "crun's flag") {
        return;
    }
    let container = Bundle::idle().container();
    let dir = container.bundle.dir.to_str().unwrap();
    container.call(&["--cgroup-manager", "disabled", "create", "--bundle", dir, &container.id]).ok();
    assert_eq!(host::cgroup_dirs(&container.bundle.cgroup()), [""; 0].map(std::path::PathBuf::from));
}

/// Where systemd runs, integration/cgroup/systemd_driver.rs has the rest.
#[test]
fn the_systemd_driver_needs_systemd() {
    if Path::new("/run/systemd/private").exists() || Path::new("/run/dbus/system_bus_socket").exists() {
        return crate::common::skip("systemd runs here");
    }
    let container = Bundle::idle().container();
    let dir = container.bundle.dir.to_str().unwrap();
    let error = container.call(&["--systemd-cgroup", "create", "--bundle", dir, &container.id]).fails();
    assert!(error.to_lowercase().contains("systemd") || error.contains("cgroupsPath"), "{error}");
    container.assert_nothing_left();
}

#[test]
fn the_journal_is_connected_to() {
    if brisk_only("youki's flag") || Path::new("/run/systemd/journal/socket").exists() {
        return;
    }
    // There is none here, and that is no reason not to do what was asked.
    let told = Bundle::idle().container().call(&["--systemd-log", "features"]).ok().stderr();
    assert!(told.contains("warning: connect the log to /run/systemd/journal/socket"), "{told}");
}

#[test]
fn events_come_at_the_interval() {
    if skip_on(&["crun"], "has no such command") {
        return;
    }
    let container = Bundle::idle().container();
    container.up();
    let events = |interval: &str| {
        let mut command = container.command(&["events", "--interval", interval, &container.id]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_secs(1));
        child.kill().unwrap();
        let out = child.wait_with_output().unwrap();
        String::from_utf8(out.stdout).unwrap().lines().filter(|line| line.contains("\"stats\"")).count()
    };
    assert!(events("100ms") >= 3);
    assert!(events("1h") <= 1);
}

#[test]
fn limits_that_cannot_be_kept_need_force() {
    if brisk_only("checks before it writes") || lacks(&["pids"]) {
        return;
    }
    let parent = host::unique_name();
    let bundle = Bundle::idle();
    let path = format!("/{parent}/{}", bundle.id);
    let container = bundle.set("/linux/cgroupsPath", serde_json::json!(path)).container();
    container.up();
    let limit = host::cgroup_dir("pids", &parent).join("pids.max");
    fs::write(&limit, "100").unwrap();
    container.call(&["update", "--pids-limit", "500", &container.id]).fails();
    container.call(&["update", "--force", "--pids-limit", "500", &container.id]).ok();
    container.delete_force().ok();
    for dir in host::cgroup_dirs(&parent) {
        fs::remove_dir(dir).unwrap();
    }
}
