//! `restart` and `run --replace`: a container in the place of one.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::common::{Bundle, Container, brisk_only, host, lacks, process};

const ONLY: &str = "no other runtime starts a container again";

/// A container that has run and stopped.
#[track_caller]
fn stopped(bundle: Bundle) -> Container {
    let container = bundle.container();
    container.create().ok();
    container.start_and_wait();
    host::wait_until(|| container.status() == "stopped");
    container
}

/// A container that runs is stopped, runs once more, and goes.
#[track_caller]
fn runs_again(container: &Container) {
    container.stop();
    container.call(&["restart", &container.id]).ok();
    assert_eq!(container.status(), "running");
    container.delete_force().ok();
    container.assert_nothing_left();
}

#[test]
fn a_stopped_container_runs_again() {
    if brisk_only(ONLY) {
        return;
    }
    let mut bundle = Bundle::sh("echo run >>/log/runs").sh_hook("poststop", "echo poststop >>$OUT");
    if host::has_controller("pids") {
        bundle = bundle.resources("pids", json!({ "limit": 7 }));
    }
    let log = bundle.host_dir("log");
    let source = log.to_str().unwrap().to_owned();
    let container = stopped(bundle.mount("bind", &source, "/log", &["bind"]));
    let runs = || fs::read_to_string(log.join("runs")).unwrap_or_default().lines().count();
    assert_eq!(runs(), 1);
    let mut pids = Vec::new();
    for round in 2..5 {
        let pid_file = container.bundle.dir.join("pid");
        container.call(&["restart", "--pid-file", pid_file.to_str().unwrap(), &container.id]).ok();
        host::wait_until(|| runs() == round && container.status() == "stopped");
        pids.push(fs::read_to_string(&pid_file).unwrap().parse::<i32>().unwrap());
    }
    pids.dedup();
    assert_eq!(pids.len(), 3);
    // What the last life left is gone as after `delete`.
    assert_eq!(container.bundle.hook_output().matches("poststop").count(), 3, "{}", container.bundle.hook_output());
    container.delete().ok();
    container.assert_nothing_left();
}

/// The bundle may have changed meanwhile: it is the same container that runs again, with its limits and its overlay.
#[test]
fn it_is_what_it_was() {
    if brisk_only(ONLY) || crate::common::lacks(&["pids"]) {
        return;
    }
    let container = Bundle::probe(&["pause"]).resources("pids", json!({ "limit": 70 })).container();
    container.create_with(&["--overlay", "tmpfs"]).ok();
    container.start().ok();
    container.call(&["update", "--pids-limit", "90", &container.id]).ok();
    let said = container.call(&["restart", &container.id]).fails();
    assert!(said.contains("not stopped (it is running)") && said.contains("--replace"), "{said}");
    container.stop();
    let config = container.bundle.dir.join("config.json");
    let mut changed: Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    changed["process"]["args"] = json!(["/missing"]);
    fs::write(&config, changed.to_string()).unwrap();
    container.call(&["restart", &container.id]).ok();
    assert_eq!(container.status(), "running");
    assert_eq!(container.cgroup_file("pids", "pids.max"), "90");
    container.exec(&["/bin/sh", "-c", "echo x >/new"]).ok();
    assert!(!container.bundle.rootfs().join("new").exists(), "the overlay of --overlay is there again");
    container.delete_force().ok();
    container.assert_nothing_left();
}

#[test]
fn what_would_be_lost_is_told() {
    if brisk_only(ONLY) {
        return;
    }
    let refused = |container: &Container, flags: &[&str], told: &str| {
        let before = container.state();
        let said = container.call(&[&["restart"], flags, &[&container.id]].concat()).fails();
        assert!(said.contains(told) && said.contains("hint: "), "{said}");
        assert_eq!(container.state(), before, "nothing has happened");
    };
    let container = Bundle::idle().container();
    container.create().ok();
    refused(&container, &[], "it is created");
    container.start().ok();
    let list = container.bundle.file("mounts.json", r#"[{"destination": "/mnt", "type": "tmpfs", "source": "tmpfs"}]"#);
    container.call(&["mounts", "add", &container.id, list.to_str().unwrap()]).ok();
    container.stop();
    refused(&container, &[], "mounts were added");
    container.delete().ok();

    let container = stopped(Bundle::sh("true").set("/process/terminal", json!(false)));
    let hidden = container.bundle.dir.with_extension("moved");
    fs::rename(&container.bundle.dir, &hidden).unwrap();
    // The state root is below it, so the runtime is told where that is now.
    let mut command = std::process::Command::new(host::resolve_program(&crate::common::runtime()));
    command.arg("--root").arg(hidden.join("state")).args(["restart", &container.id]);
    let said = process::run(command).fails();
    fs::rename(&hidden, &container.bundle.dir).unwrap();
    assert!(said.contains("the bundle is gone"), "{said}");
    let hidden = container.bundle.dir.join("moved");
    fs::rename(container.bundle.rootfs(), &hidden).unwrap();
    refused(&container, &[], "does not exist");
    fs::rename(&hidden, container.bundle.rootfs()).unwrap();
    container.delete().ok();

    let container = Bundle::sh("true").container();
    container.create_with(&["--preserve-fds", "1"]).ok();
    container.start_and_wait();
    host::wait_until(|| container.status() == "stopped");
    refused(&container, &[], "file descriptors");
    container.delete().ok();
}

#[test]
fn a_container_without_a_bundle_runs_again() {
    if brisk_only(ONLY) {
        return;
    }
    let container = Bundle::idle().container();
    let line = ["create", "--rootfs", "rootfs", &container.id, "--", "/probe", "pause"];
    container.call(&line).ok();
    container.start().ok();
    runs_again(&container);
}

#[test]
fn a_run_takes_the_place_of_another() {
    if brisk_only(ONLY) {
        return;
    }
    let container = Bundle::idle().container();
    // Nothing is there, something stopped, something running, something made.
    container.run_with(&["--replace", "--detach"]).ok();
    let first = container.pid();
    let said = container.run_with(&["--detach"]).fails();
    assert!(said.contains("exists"), "{said}");
    container.run_with(&["--replace", "--detach"]).ok();
    assert!(container.pid() != first && fs::read_link(format!("/proc/{first}/exe")).is_err(), "killed");
    container.stop();
    container.run_with(&["--replace", "--detach"]).ok();
    container.delete_force().ok();
    container.create().ok();
    container.run_with(&["--replace", "--detach"]).ok();
    let running = container.pid();
    // What cannot be made replaces nothing.
    let config = container.bundle.dir.join("config.json");
    let whole = fs::read_to_string(&config).unwrap();
    for broken in [whole.replace("\"/probe\"", "7"), whole.replace("\"pid\"", "\"pidd\"")] {
        fs::write(&config, broken).unwrap();
        container.run_with(&["--replace", "--detach"]).fails();
        assert_eq!((container.status(), container.pid()), ("running".into(), running));
    }
    fs::write(&config, whole).unwrap();
    let moved = container.bundle.dir.join("moved");
    fs::rename(container.bundle.rootfs(), &moved).unwrap();
    let said = container.run_with(&["--replace", "--detach"]).fails();
    assert!(said.contains("does not exist") && container.pid() == running, "{said}");
    fs::rename(&moved, container.bundle.rootfs()).unwrap();
    container.delete_force().ok();
    container.assert_nothing_left();
}

/// A container that cannot come replaces nothing, as far as that can be known.
#[test]
fn what_would_be_in_vain_takes_nothing_away() {
    if brisk_only(ONLY) {
        return;
    }
    let container = Bundle::idle().container();
    container.bundle.write();
    let config = container.bundle.dir.join("config.json");
    let whole: Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    let changed = |pointer: &str, value: Value| {
        let mut changed = whole.clone();
        let (above, key) = pointer.rsplit_once('/').unwrap();
        changed.pointer_mut(above).unwrap()[key] = value;
        changed
    };
    let missing = json!({ "destination": "/mnt", "type": "bind", "source": "/nonexistent", "options": ["bind"] });
    let mounts = [whole["mounts"].as_array().unwrap().as_slice(), &[missing]].concat();
    let cases = [
        ("process.args[0]", changed("/process/args", json!(["/nothing"]))),
        ("/nonexistent does not exist", changed("/mounts", json!(mounts))),
        ("hooks.poststart[0].path", changed("/hooks", json!({ "poststart": [{ "path": "/no/hook" }] }))),
        ("hooks.createRuntime[0].path", changed("/hooks", json!({ "createRuntime": [{ "path": "/no/hook" }] }))),
        ("/nonexistent does not exist", changed("/annotations", json!({ "run.brisk.overlay": "/nonexistent" }))),
        ("is named twice", changed("/annotations", json!({ "run.brisk.overlay": "rootfs" }))),
    ];
    let trusting = |args: &[&str]| container.call(&[&["--trust-annotations", "all"], args].concat());
    let dir = container.bundle.dir.to_str().unwrap();
    let pid_file = ["--pid-file", "/nonexistent/pid"];
    container.run_with(&["--detach"]).ok();
    let running = container.pid();
    let replace = ["run", "--replace", "--detach", "--bundle", dir];
    let refused = |flags: &[&str], words: &str| {
        let said = trusting(&[&replace, flags, &[&container.id]].concat()).fails();
        assert!(said.contains(words) && said.contains("is to be replaced stays"), "{said}");
        assert_eq!((container.status(), container.pid()), ("running".into(), running));
    };
    for (words, text) in &cases {
        fs::write(&config, text.to_string()).unwrap();
        refused(&[], words);
    }
    fs::write(&config, whole.to_string()).unwrap();
    refused(&pid_file, "/nonexistent/pid");
    refused(&["--pidfd-socket", "/nonexistent/socket"], "/nonexistent/socket");
    refused(&["--pidfd-socket", config.to_str().unwrap()], "connect to");
    if host::is_root() {
        let [foreign, held] = ["foreign", "held"].map(|name| container.bundle.dir.join(name));
        fs::create_dir(&foreign).unwrap();
        std::os::unix::fs::chown(&foreign, Some(1000), Some(1000)).unwrap();
        refused(&["--overlay", foreign.to_str().unwrap()], "must belong to");
        fs::create_dir(&held).unwrap();
        let held = held.to_str().unwrap();
        let other = Bundle::idle().container();
        other.run_with(&["--detach", "--overlay", held]).ok();
        refused(&["--overlay", held], "one container's at a time");
        let used = container.bundle.host_dir("used");
        fs::write(used.join("note"), "").unwrap();
        refused(&["--overlay", used.to_str().unwrap()], "has other files");
        assert_eq!(fs::read_dir(&used).unwrap().count(), 1);
        other.delete_force().ok();
        other.assert_nothing_left();
        // Its own is free when it is gone.
        container.run_with(&["--replace", "--detach", "--overlay", held]).ok();
        container.run_with(&["--replace", "--detach", "--overlay", held]).ok();
    }
    container.delete_force().ok();
    // What a restart could not do leaves the stopped container, to be started another time.
    for (words, text) in &cases {
        fs::write(&config, whole.to_string()).unwrap();
        container.run_with(&["--detach"]).ok();
        container.stop();
        // It goes by its copy of config.json, which somebody with the rights may change.
        let copy = container.bundle.state_root().join(&container.id).join("config.json");
        if !text.to_string().contains("run.brisk.overlay") {
            fs::write(copy, text.to_string()).unwrap();
            let before = container.state();
            let said = container.call(&["restart", &container.id]).fails();
            assert!(said.contains(words) && said.contains("is to be replaced stays"), "{said}");
            assert_eq!(container.state(), before);
        }
        let said = container.call(&["restart", pid_file[0], pid_file[1], &container.id]).fails();
        assert!(said.contains("is to be replaced stays"), "{said}");
        container.delete().ok();
    }
    container.assert_nothing_left();
}

/// The kernel takes a limit of memory in which not even the set-up fits.
#[test]
fn memory_in_which_nothing_runs_takes_nothing_away() {
    if brisk_only(ONLY) || lacks(&["memory"]) {
        return;
    }
    let container = Bundle::idle().container();
    container.run_with(&["--detach"]).ok();
    let running = container.pid();
    let root = container.bundle.rootfs();
    let replace = ["run", "--replace", "--detach", "--rootfs", root.to_str().unwrap(), "--memory", "31k"];
    let said = container.call(&[&replace[..], &[&container.id, "--", "/probe", "pause"]].concat()).fails();
    assert!(said.contains("no program runs in less") && said.contains("is to be replaced stays"), "{said}");
    assert_eq!((container.status(), container.pid()), ("running".into(), running));
    container.delete_force().ok();
    container.assert_nothing_left();
}

/// What the kernel refuses, or lets nothing begin with, is found out with a cgroup of its own that goes again.
#[test]
fn limits_that_cannot_be_had_take_nothing_away() {
    if brisk_only(ONLY) || lacks(&["memory"]) {
        return;
    }
    let small = |kilo: u64| json!({ "memory": { "limit": kilo << 10, "swap": kilo << 10 } });
    let mut wrong = vec![small(32), small(40), small(48), small(52)];
    if ["unified/cgroup.procs", "cgroup.controllers"].iter().any(|name| Path::new("/sys/fs/cgroup").join(name).exists())
    {
        wrong.push(json!({ "unified": { "cgroup.max.depth": "deep" } }));
    }
    if !lacks(&["cpu"]) {
        wrong.push(json!({ "cpu": { "realtimeRuntime": 2000, "realtimePeriod": 1000 } }));
    }
    let idle = Bundle::idle().container();
    idle.run_with(&["--detach"]).ok();
    let running = idle.pid();
    let dir = idle.bundle.dir.to_str().unwrap();
    for limits in wrong {
        let text = fs::read_to_string(idle.bundle.dir.join("config.json")).unwrap();
        let mut config: Value = serde_json::from_str(&text).unwrap();
        config["linux"]["resources"] = limits.clone();
        let other = idle.bundle.dir.join("other.json");
        fs::write(&other, config.to_string()).unwrap();
        let line = ["run", "--replace", "--detach", "--bundle", dir, "--config", other.to_str().unwrap(), &idle.id];
        let said = idle.call(&line).fails();
        assert_eq!((idle.status(), idle.pid()), ("running".into(), running), "{limits}: {said}");
    }
    idle.run_with(&["--replace", "--detach"]).ok();
    idle.delete_force().ok();
    idle.assert_nothing_left();
}

/// Each tries its limits beside the others, and one container is there in the end.
#[test]
fn of_several_that_replace_one_stays() {
    if brisk_only(ONLY) || lacks(&["pids"]) {
        return;
    }
    let container = Bundle::idle().resources("pids", json!({ "limit": 70 })).container();
    container.run_with(&["--detach"]).ok();
    let mut last = container.pid();
    for _ in 0..12 {
        let all: Vec<_> = (0..6).map(|_| container.start_run(&["--replace", "--detach"])).collect();
        let ended: Vec<_> = all.into_iter().map(process::Running::wait).collect();
        assert!(ended.iter().any(|output| output.code == 0), "{ended:?}");
        assert!(ended.iter().all(|output| !output.stderr().contains("trial")), "{ended:?}");
        assert!(container.status() == "running" && container.pid() != last);
        last = container.pid();
    }
    container.delete_force().ok();
    container.assert_nothing_left();
    let pids = host::cgroup_dir("pids", &container.bundle.cgroup());
    let tried = format!("{}.brisk-trial", pids.file_name().unwrap().to_str().unwrap());
    let beside = fs::read_dir(pids.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = beside.filter(|name| name.to_str().is_some_and(|name| name.starts_with(&tried))).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// What hooks bring is not missed: whether they do is known when they have run.
#[test]
fn what_a_hook_makes_is_not_missed() {
    if brisk_only(ONLY) {
        return;
    }
    let bundle = Bundle::probe(&["pause"]).sh_hook("createRuntime", "mkdir -p ${OUT%/*}/made");
    let source = bundle.dir.join("made");
    let container = bundle.mount("bind", source.to_str().unwrap(), "/mnt", &["bind"]).container();
    for _ in 0..2 {
        container.run_with(&["--replace", "--detach"]).ok();
        fs::remove_dir(&source).unwrap();
    }
    runs_again(&container);
}

/// `--replace` is `delete --force` before: it does not wait for a poststop hook that hangs.
#[test]
fn a_hook_that_hangs_does_not_keep_who_replaces() {
    if brisk_only(ONLY) {
        return;
    }
    let container = Bundle::idle().sh_hook("poststop", "trap '' TERM; exec sleep 1000000").container();
    container.create().ok();
    let config = container.bundle.dir.join("config.json");
    let mut harmless: Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    harmless["hooks"] = json!({});
    fs::write(&config, harmless.to_string()).unwrap();
    let said = container.run_with(&["--replace", "--detach"]).ok().stderr();
    assert_eq!(container.status(), "running", "{said}");
    container.delete_force().ok();
    container.assert_nothing_left();
}
