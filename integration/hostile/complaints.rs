//! What users of runtimes complain of most and no other file shows: mounts that appear on the host, cgroups that are
//! busy, waits for programs that ended long ago, descriptors that run out, starts of what is stopped or frozen.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::common::host::Cgroups;
use crate::common::{Bundle, Container, host, process, skip_on};

/// The mounts of this thread's own namespace and their propagation, without those that a test asked for by name, and
/// without the one that brisk keeps.
fn host_mounts() -> BTreeSet<String> {
    let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let lines = table.lines().filter(|line| !line.contains(" /run/brisk-skeleton/mnt "));
    lines.map(|line| line.split(' ').skip(3).collect::<Vec<_>>().join(" ")).collect()
}

/// A thread in a mount namespace of its own whose mounts are shared, as systemd makes those of every host. What is
/// mounted in a copy of it that is no private one appears in it.
fn on_a_shared_host(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SHARED, none).unwrap();
            test();
        });
    });
}

fn each_step_leaves_the_mounts(container: &Container) {
    let before = host_mounts();
    let same = |step: &str| assert_eq!(host_mounts(), before, "after {step}");
    container.create().ok();
    same("create");
    container.start().ok();
    same("start");
    container.exec(&["/bin/true"]).ok();
    same("exec");
    container.delete_force().ok();
    same("delete");
}

/// runc#2404, #1567, talos#14216: mounts of containers that other mount namespaces get to see, or keep.
#[test]
fn nothing_is_mounted_on_a_host_whose_mounts_are_shared() {
    if skip_on(&["crun", "runc"], "no option silent; no unbindable root") {
        return;
    }
    on_a_shared_host(|| {
        each_step_leaves_the_mounts(&Bundle::idle().container());
        each_step_leaves_the_mounts(&Bundle::idle().userns().container());
        for propagation in ["private", "rprivate", "slave", "rslave", "unbindable"] {
            let bundle = Bundle::idle().set("/linux/rootfsPropagation", json!(propagation));
            each_step_leaves_the_mounts(&bundle.container());
        }
        // Made by mount(2): fsconfig(2) has no such option.
        let bundle = Bundle::idle().mount("tmpfs", "tmpfs", "/mnt", &["silent"]);
        each_step_leaves_the_mounts(&bundle.container());
        // Fails when some mounts are made already.
        let before = host_mounts();
        let container = Bundle::idle().mount("nonsense", "nonsense", "/mnt", &[]).container();
        container.create().fails();
        assert_eq!(host_mounts(), before, "after a create that failed");
        container.assert_nothing_left();
    });
}

/// crun 1.5.3: the host's `/` became private when the container had no mount namespace.
#[test]
fn a_container_without_a_mount_namespace_leaves_the_hosts_propagation_alone() {
    if skip_on(&["runc"], "wants a /proc there") {
        return;
    }
    on_a_shared_host(|| {
        let bundle = Bundle::idle().without_ns("mount").unset("/linux/maskedPaths").unset("/linux/readonlyPaths");
        let container = bundle.set("/root/readonly", json!(false)).set("/mounts", json!([])).container();
        let tags = || {
            let lines = host_mounts().into_iter().filter(|line| !line.contains(container.bundle.dir.to_str().unwrap()));
            lines.collect::<BTreeSet<_>>()
        };
        let before = tags();
        container.up();
        assert_eq!(tags(), before);
        container.delete_force().ok();
        assert_eq!(tags(), before);
    });
}

/// runc#2344, #234: somebody puts a process into one hierarchy's cgroup of the container, which is then busy.
#[test]
fn a_process_in_one_of_its_cgroups_does_not_keep_it() {
    if skip_on(&["crun", "runc"], "cgroup v1: they look into one hierarchy") {
        return;
    }
    for step in ["force", "stopped"] {
        let names = match Cgroups::detect() {
            Cgroups::V1 => vec!["cpu", "pids", "devices", "freezer"],
            Cgroups::V2 => vec!["any"],
        };
        for name in names {
            let container = Bundle::idle().container();
            container.up();
            let sub = host::cgroup_dir(name, &container.bundle.cgroup()).join("sub");
            fs::create_dir(&sub).unwrap();
            let mut stranger = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
            fs::write(sub.join("cgroup.procs"), stranger.id().to_string()).unwrap();
            if step == "force" {
                container.delete_force().ok();
            } else {
                container.stop();
                container.delete().ok();
            }
            stranger.wait().unwrap();
            container.assert_nothing_left();
        }
    }
}

/// runc#5208: since 1.3.0 `run` and `exec` hung when the program was over before they waited.
#[test]
fn programs_that_end_at_once_are_not_waited_for_in_vain() {
    let up = Bundle::idle().container();
    up.up();
    let once = Bundle::new(&["/bin/true"]).container();
    for round in 0..40 {
        up.exec(&["/bin/true"]).ok();
        up.exec(&["/bin/false"]).exits(1);
        up.exec_with(&["--detach"], &["/bin/true"]).ok();
        once.run().ok();
        if round % 8 == 0 {
            once.run_with(&["--detach"]).ok();
            host::wait_until(|| once.status() == "stopped");
            once.delete().ok();
        }
    }
}

/// runc#4481, #3448: between `create` and `start` the process was stopped or frozen.
#[test]
fn a_created_container_that_is_stopped_or_frozen_can_be_started() {
    if skip_on(&["crun"], "starts what is frozen") {
        return;
    }
    let container = Bundle::idle().container();
    container.create().ok();
    container.call(&["pause", &container.id]).ok();
    let error = container.start().fails();
    assert!(error.contains("paused"), "{error}");
    container.call(&["resume", &container.id]).ok();
    assert_eq!(container.status(), "created");
    let pid = Pid::from_raw(container.pid());
    kill(pid, Signal::SIGSTOP).unwrap();
    let start = process::start(container.command(&["start", &container.id]), Stdio::null());
    // Nothing can be waited for: `start` may end now or when the process goes on.
    kill(pid, Signal::SIGCONT).unwrap();
    start.wait().ok();
    host::wait_until(|| container.status() == "running");
    assert_eq!(container.exec(&["/bin/echo", "here"]).ok().stdout(), "here\n");
}

/// runc#5007, #5177, crun fda03513: a descriptor for each device and each mount.
#[test]
fn a_hundred_devices_and_mounts_with_few_descriptors() {
    if skip_on(&["crun", "runc"], "too many open files") {
        return;
    }
    let with_mounts = |mut bundle: Bundle| {
        let source = bundle.host_dir("source");
        for n in 0..100 {
            bundle = bundle.mount("bind", source.to_str().unwrap(), &format!("/mnt/{n}"), &["rbind", "ro"]);
        }
        bundle
    };
    let mut devices = with_mounts(Bundle::probe(&["report"]));
    for n in 0..100 {
        let device = json!({ "path": format!("/dev/zero{n}"), "type": "c", "major": 1, "minor": 5 });
        devices = devices.push("/linux/devices", device);
    }
    for bundle in [devices, with_mounts(Bundle::probe(&["report"]).userns())] {
        let output = limited(&bundle.container());
        let fds: Vec<String> = output["report"]["fds"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(fds, ["0", "1", "2"]);
    }
}

/// `run` with at most 32 descriptors.
fn limited(container: &Container) -> serde_json::Value {
    let dir: &Path = &container.bundle.dir;
    let runtime = container.command(&["run", "--bundle", dir.to_str().unwrap(), &container.id]);
    process::run(process::in_shell(r#"ulimit -n 32; exec "$@""#, &runtime)).ok().json()
}
