//! `update` of several containers at once: all or none, admitted against what all of them will have.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::cgroup::limits::{misc_devices, node};
use crate::common::host::{self, Cgroups};
use crate::common::process::Output;
use crate::common::{Bundle, Container, brisk_only, lacks};

pub(super) const MIB: u64 = 1 << 20;

/// Two containers in one state root, below one cgroup.
pub(super) struct Pair {
    pub first: Container,
    pub second: Container,
    pub parent: String,
}

pub(super) fn memory_file() -> &'static str {
    match Cgroups::detect() {
        Cgroups::V1 => "memory.limit_in_bytes",
        Cgroups::V2 => "memory.max",
    }
}

fn limits(pids: u64, mib: u64) -> Value {
    json!({ "pids": { "limit": pids }, "memory": { "limit": mib * MIB } })
}

impl Pair {
    pub fn new(first: &Value, second: &Value) -> Pair {
        let parent = host::unique_name();
        let bundle = |limits: &Value| {
            let bundle = Bundle::idle();
            let path = format!("/{parent}/{}", bundle.id);
            bundle.set("/linux/cgroupsPath", json!(path)).set("/linux/resources", limits.clone()).container()
        };
        let pair = Pair { first: bundle(first), second: bundle(second), parent };
        for container in [&pair.first, &pair.second] {
            pair.first.call(&["create", "--bundle", container.bundle.dir.to_str().unwrap(), &container.id]).ok();
        }
        pair
    }

    pub fn cgroup(&self, controller: &str) -> PathBuf {
        host::cgroup_dir(controller, &self.parent)
    }

    /// Limits the cgroup that both are in.
    pub fn total(&self, pids: u64, mib: u64) {
        fs::write(self.cgroup("pids").join("pids.max"), pids.to_string()).unwrap();
        fs::write(self.cgroup("memory").join(memory_file()), (mib * MIB).to_string()).unwrap();
    }

    /// (tasks, MiB) of each.
    pub fn limits(&self) -> [(u64, u64); 2] {
        [&self.first, &self.second].map(|container| {
            let read = |controller: &str, file: &str| -> u64 {
                let path = self.cgroup(controller).join(&container.id).join(file);
                fs::read_to_string(path).unwrap().trim().parse().unwrap()
            };
            (read("pids", "pids.max"), read("memory", memory_file()) / MIB)
        })
    }

    pub fn update(&self, flags: &[&str], first: &Value, second: &Value) -> Output {
        let file = |name: &str, limits: &Value| {
            let path = self.first.bundle.dir.join(name);
            fs::write(&path, limits.to_string()).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (one, two) = (file("one.json", first), file("two.json", second));
        let mut args = vec!["update", "--resources", &one, "--resources", &two];
        args.extend(flags);
        args.extend([self.first.id.as_str(), self.second.id.as_str()]);
        self.first.call(&args)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for container in [&self.first, &self.second] {
            self.first.call(&["delete", "--force", &container.id]);
        }
        for dir in host::cgroup_dirs(&self.parent) {
            // What is left in it is found, and named, by the containers' own check.
            let _ = fs::remove_dir(dir);
        }
    }
}

fn skip() -> bool {
    brisk_only("the others update one container at a time") || lacks(&["memory", "pids"])
}

#[test]
fn one_goes_up_and_the_other_down_within_a_fixed_total() {
    if skip() {
        return;
    }
    let pair = Pair::new(&limits(60, 128), &limits(40, 64));
    pair.total(100, 192);
    // Alone neither fits: what the other has now is not free.
    for (id, tasks) in [(&pair.first.id, "61"), (&pair.second.id, "41")] {
        let text = pair.first.call(&["update", "--pids-limit", tasks, id]).fails();
        assert!(text.contains("is given to others"), "{text}");
    }
    assert_eq!(pair.limits(), [(60, 128), (40, 64)]);
    pair.update(&[], &limits(30, 96), &limits(70, 96)).ok();
    assert_eq!(pair.limits(), [(30, 96), (70, 96)]);
    // In opposite directions, and back.
    pair.update(&[], &limits(70, 64), &limits(30, 128)).ok();
    assert_eq!(pair.limits(), [(70, 64), (30, 128)]);
    pair.update(&[], &limits(60, 128), &limits(40, 64)).ok();
    assert_eq!(pair.limits(), [(60, 128), (40, 64)]);
}

#[test]
fn more_than_the_total_is_refused_before_anything_is_written() {
    if skip() {
        return;
    }
    let pair = Pair::new(&limits(60, 128), &limits(40, 64));
    pair.total(100, 192);
    let text = pair.update(&[], &limits(30, 96), &limits(71, 96)).fails();
    assert!(text.contains("100") && text.contains("nothing was written"), "{text}");
    assert_eq!(pair.limits(), [(60, 128), (40, 64)]);
    pair.update(&["--force"], &limits(30, 96), &limits(71, 96)).ok();
    assert_eq!(pair.limits(), [(30, 96), (71, 96)]);
}

#[test]
fn when_the_kernel_refuses_one_the_others_get_their_limits_back() {
    if skip() {
        return;
    }
    let pair = Pair::new(&limits(60, 128), &limits(40, 64));
    let mut bad = limits(50, 96);
    bad["cpu"] = json!({ "cpus": "4000" });
    for (first, second) in [(limits(30, 96), bad.clone()), (bad, limits(30, 96))] {
        let text = pair.update(&[], &first, &second).fails();
        assert!(text.contains("4000"), "{text}");
        assert_eq!(pair.limits(), [(60, 128), (40, 64)]);
    }
    // Nor does the record know of it: an update of something else writes nothing of it.
    pair.first.call(&["update", "--cpu-share", "512", &pair.first.id]).ok();
    assert_eq!(pair.limits(), [(60, 128), (40, 64)]);
}

#[test]
fn less_than_is_in_use_is_refused() {
    if skip() {
        return;
    }
    let container = Bundle::sh("sleep 1000000 & sleep 1000000 & exec sleep 1000000").container();
    container.up();
    host::wait_until(|| container.cgroup_file("pids", "pids.current") == "3");
    let text = container.call(&["update", "--pids-limit", "2", &container.id]).fails();
    assert!(text.contains("in use is 3"), "{text}");
    container.call(&["update", "--pids-limit", "2", "--force", &container.id]).ok();
    assert_eq!(container.cgroup_file("pids", "pids.max"), "2");
}

#[test]
fn an_update_that_cannot_be_recorded_is_taken_back() {
    if lacks(&["pids"]) {
        return;
    }
    if brisk_only("the others leave the new limits and the old record") {
        return;
    }
    let mut bundle = Bundle::idle().resources("pids", json!({ "limit": 33 }));
    let state = bundle.state_root();
    fs::create_dir(&state).unwrap();
    let flags = nix::mount::MsFlags::empty();
    bundle.mount_on_host(std::path::Path::new("tmpfs"), &state, "tmpfs", flags, "size=1m,mode=700");
    let container = bundle.container();
    container.up();
    let read_only = nix::mount::MsFlags::MS_REMOUNT | nix::mount::MsFlags::MS_RDONLY;
    // EBUSY until the program runs: the fifo that `start` removed is open in the process that waited on it.
    host::wait_until(|| nix::mount::mount(None::<&str>, &state, None::<&str>, read_only, None::<&str>).is_ok());
    container.call(&["update", "--pids-limit", "44", &container.id]).fails();
    assert_eq!(container.cgroup_file("pids", "pids.max"), "33");
    nix::mount::mount(None::<&str>, &state, None::<&str>, nix::mount::MsFlags::MS_REMOUNT, None::<&str>).unwrap();
    container.call(&["update", "--pids-limit", "44", &container.id]).ok();
    assert_eq!(container.cgroup_file("pids", "pids.max"), "44");
}

#[test]
fn device_rules_are_replaced_only_when_that_is_asked_for() {
    if brisk_only("runc never replaces them, crun always does") || lacks(&["pids"]) {
        return;
    }
    let Some((first, second)) = misc_devices() else { return };
    let rules = |minor: u32| {
        json!([
            { "allow": false, "access": "rwm" },
            { "allow": true, "type": "c", "major": 10, "minor": minor, "access": "rw" },
        ])
    };
    let container = Bundle::idle()
        .resources("devices", rules(first))
        .set("/linux/devices", json!([node("/dev/first", first), node("/dev/second", second)]))
        .container();
    container.up();
    let opens = || {
        let out = container.exec_probe(&["open:/dev/null", "open:/dev/first", "open:/dev/second"]);
        assert_eq!(out["open:/dev/null"], "ok", "{out}");
        (out["open:/dev/first"] == "ok", out["open:/dev/second"] == "ok")
    };
    let update = |flags: &[&str], resources: Value| {
        let args = [&["update", "--resources", "-"], flags, &[&container.id]].concat();
        container.call_with_input(&args, &resources.to_string())
    };
    assert_eq!(opens(), (true, false));
    let said = update(&[], json!({ "devices": rules(second), "pids": { "limit": 40 } })).ok().stderr();
    assert!(said.contains("--device-rules"), "{said}");
    assert_eq!(opens(), (true, false));
    assert_eq!(update(&[], json!({ "devices": rules(first) })).ok().stderr(), "", "an engine repeats what it knows");
    update(&["--device-rules"], json!({ "devices": rules(second) })).ok();
    assert_eq!(opens(), (false, true));
    // What is refused is taken back.
    let bad = json!({ "devices": rules(first), "cpu": { "cpus": "4000" } });
    update(&["--device-rules"], bad).fails();
    assert_eq!(opens(), (false, true));
    update(&["--device-rules"], json!({ "devices": [{ "allow": true, "access": "rwm" }] })).ok();
    assert_eq!(opens(), (true, true));
    update(&["--device-rules"], json!({ "devices": rules(first) })).ok();
    assert_eq!(opens(), (true, false));
    assert!(update(&["--device-rules"], json!({ "pids": { "limit": 40 } })).fails().contains("no devices"));
    assert!(container.call(&["update", "--device-rules", &container.id]).fails().contains("--resources"));
}
