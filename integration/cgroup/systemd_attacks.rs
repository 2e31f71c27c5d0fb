//! The systemd driver among strangers: units that somebody else has made, names and properties that are not what they seem, and
//! containers that do what they like with the cgroup that systemd has given them.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::systemd::{bundle, call, cgroup, not_here, property, systemctl, unit, units, up};
use crate::common::{Bundle, brisk_only, host, process, skip_on};
use crate::security::{ALL_CAPS, rounds, with_caps};

/// What `delete --force` takes at most, in a guest as well: its own bound, and systemd's work.
const BOUND: Duration = Duration::from_secs(90);

/// A scope of somebody else's, with a process.
struct Stranger {
    unit: String,
    process: process::Running,
}

impl Stranger {
    fn new(unit: &str) -> Stranger {
        let mut command = Command::new("systemd-run");
        command.args((!host::is_root()).then_some("--user"));
        command.args(["--quiet", "--scope", "--collect", "--unit", unit, "sleep", "600"]);
        let process = process::start(command, Stdio::null());
        let stranger = Stranger { unit: unit.to_owned(), process };
        host::wait_until(|| stranger.state() == "active");
        stranger
    }

    fn state(&self) -> String {
        systemctl(&["show", "--value", "-p", "ActiveState", &self.unit])
    }

    /// The unit is there, and its process lives.
    fn is_well(&self) -> bool {
        let group = systemctl(&["show", "--value", "-p", "ControlGroup", &self.unit]);
        let procs = fs::read_to_string(format!("/sys/fs/cgroup{group}/cgroup.procs")).unwrap_or_default();
        self.state() == "active" && procs.lines().any(|pid| pid == self.process.pid().to_string())
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        systemctl(&["stop", &self.unit]);
    }
}

/// `create` of a container whose unit's name is taken fails, and neither it nor `delete --force` touches what it has not made.
#[test]
fn the_unit_of_somebody_else_is_left_alone() {
    if not_here() {
        return;
    }
    let container = bundle(&["/probe", "pause"]).container();
    let dir = container.bundle.dir.to_str().unwrap();
    let stranger = Stranger::new(&unit(&container));
    let error = call(&container, &["create", "--bundle", dir, &container.id]).fails();
    assert!(error.contains(&unit(&container)), "{error}");
    assert!(stranger.is_well(), "after create");
    call(&container, &["delete", "--force", &container.id]);
    assert!(stranger.is_well(), "after delete --force");
    drop(stranger);
    call(&container, &["create", "--bundle", dir, &container.id]).ok();
    container.delete_force().ok();
    assert_eq!(units(), "");
    container.assert_nothing_left();
}

/// Nothing is asked of systemd under a name that would mean another unit, another slice, or another rule of the bus.
#[test]
fn names_that_are_no_units_are_refused() {
    if not_here() || skip_on(&["runc", "crun"], "they ask systemd, which refuses most") {
        return;
    }
    let long = "x".repeat(250);
    let names = [
        "system.slice:a:../b",
        "system.slice:../../x:b",
        "system.slice/../x.slice:a:b",
        "../system.slice:a:b",
        "a--b.slice:a:b",
        "-a.slice:a:b",
        ".slice:a:b",
        "system.scope:a:b",
        "system.slice:a:b',arg2='x",
        "system.slice:a:b\nc",
        "system.slice:a:b c",
        "system.slice:a:b@c",
        "system.slice:a:b%c",
        "system.slice:a:\u{202e}b",
        "system.slice:a:x.slice",
        "system.slice:a",
        "system.slice:a:b:c",
        &format!("system.slice:a:{long}"),
    ];
    for name in names {
        let container = bundle(&["/probe", "pause"]).set("/linux/cgroupsPath", json!(name)).container();
        let dir = container.bundle.dir.to_str().unwrap();
        call(&container, &["create", "--bundle", dir, &container.id]).fails();
        assert!(!container.bundle.state_root().join(&container.id).exists(), "{name}");
    }
    assert_eq!(units(), "");
}

/// An image's annotations ask nothing of systemd. Those that the caller trusts do, but for the properties that say what the
/// scope is; and a value of another type is an error, not another value.
#[test]
fn properties_are_the_callers() {
    if not_here() || brisk_only("the others follow all annotations") {
        return;
    }
    let with = |name: &str, value: &str| {
        let annotations = json!({ format!("org.systemd.property.{name}"): value });
        bundle(&["/probe", "pause"]).set("/annotations", annotations)
    };
    let container = up(with("Description", "'of the image'"));
    assert!(property(&container, "Description").starts_with("brisk container"));
    container.delete_force().ok();
    let container = up_trusting(with("Description", "'of the caller'")).unwrap();
    assert_eq!(property(&container, "Description"), "of the caller");
    container.delete_force().ok();
    let refused = [
        ("PIDs", "[uint32 1]"),
        ("Slice", "'-.slice'"),
        ("Delegate", "false"),
        ("Scope", "'x.scope'"),
        ("Description", "uint32 5"),
        ("Description", "['a', 'b']"),
        ("TimeoutStopSec", "'7'"),
        ("TimeoutStopSec", "-1"),
        ("TimeoutStopUSec", "'infinity'"),
        ("MemoryMax", "'1G'"),
        ("ExecStart", "[('/bin/sh', ['/bin/sh'], false)]"),
        ("ControlGroup", "'/'"),
        ("Nonsense", "true"),
        ("Description=x\nSlice", "'-.slice'"),
    ];
    for (name, value) in refused {
        let error = up_trusting(with(name, value)).err().unwrap_or_else(|| panic!("{name}={value} is followed"));
        assert!(!error.is_empty());
        assert_eq!(units(), "", "{name}={value}");
    }
}

fn up_trusting(bundle: Bundle) -> Result<crate::common::Container, String> {
    let container = bundle.container().trusting();
    let dir = container.bundle.dir.to_str().unwrap();
    let output = call(&container, &["create", "--bundle", dir, &container.id]);
    if output.code == 0 {
        return Ok(container);
    }
    container.assert_nothing_left();
    Err(output.stderr())
}

/// Root of a container that may write to its cgroup makes cgroups, moves what is in them, makes them threaded, freezes and kills
/// them, all the while `delete --force` is at work.
#[test]
fn a_container_cannot_keep_its_scope() {
    if not_here() {
        return;
    }
    let storm = "mount -o remount,rw /sys/fs/cgroup; cd /sys/fs/cgroup || exit 1; echo ready; i=0; while :; do i=$((i + 1)); \
                 mkdir a$i b$i b$i/c$i; echo threaded > a$i/cgroup.type; echo $$ > b$i/c$i/cgroup.procs; \
                 (while :; do echo 1 > b$i/cgroup.freeze; echo 0 > b$i/cgroup.freeze; done) & \
                 (echo 1 > cgroup.freeze; echo 0 > cgroup.subtree_control; echo +pids > cgroup.subtree_control) & \
                 [ $i -lt 40 ] || i=0; done 2>/dev/null";
    for round in 0..rounds(1) {
        let bundle = with_caps(bundle(&["/bin/sh", "-c", storm]), ALL_CAPS).ns("cgroup");
        let mount = json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw"] });
        let container = bundle.push("/mounts", mount).container();
        let dir = container.bundle.dir.to_str().unwrap().to_owned();
        let mut create = container.command(&["--systemd-cgroup", "run", "--bundle", &dir, &container.id]);
        create.stdout(Stdio::piped());
        let running = process::start(create, Stdio::null());
        running.wait_for_stdout(|text| text.contains("ready"));
        let group = cgroup_of(&container);
        host::wait_until(|| fs::read_dir(&group).is_ok_and(|dir| dir.flatten().any(|entry| entry.path().is_dir())));
        let began = Instant::now();
        call(&container, &["delete", "--force", &container.id]).ok();
        assert!(began.elapsed() < BOUND, "round {round}: {:?}", began.elapsed());
        running.wait();
        assert!(!group.exists(), "round {round}: {}", group.display());
        assert_eq!(units(), "");
        container.assert_nothing_left();
    }
}

/// The scope's directory: the first process may be in one below.
fn cgroup_of(container: &crate::common::Container) -> std::path::PathBuf {
    let group = systemctl(&["show", "--value", "-p", "ControlGroup", &unit(container)]);
    std::path::PathBuf::from(format!("/sys/fs/cgroup{group}"))
}

/// A scope that somebody has stopped is a container that has ended, and no `update` makes another unit of its name.
#[test]
fn a_scope_that_was_stopped_is_no_scope_of_ours() {
    if not_here() {
        return;
    }
    let container = up(bundle(&["/probe", "pause"]));
    assert!(cgroup(&container).exists());
    systemctl(&["kill", "--signal", "KILL", &unit(&container)]);
    host::wait_until(|| container.status() == "stopped");
    host::wait_until(|| systemctl(&["show", "--value", "-p", "ActiveState", &unit(&container)]) == "inactive");
    call(&container, &["update", "--pids-limit", "5", &container.id]).fails();
    assert_eq!(units(), "");
    container.delete().ok();
    container.assert_nothing_left();
}
