//! Containers with `--systemd-cgroup` by the command line, on a host with systemd and cgroup v2: as root in the system's
//! manager, as an ordinary user in its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::cgroup::limits::{misc_devices, node};
use crate::common::{Bundle, Container, Need, host, process, runtime_name, skip_on, skip_outside_guests, skip_unless};
use crate::rootless;

/// True, with a loud word, where systemd does not run or cgroup v2 is not alone.
pub fn not_here() -> bool {
    let there = Path::new("/run/systemd/system").is_dir() && Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let manager = host::is_root() || Path::new(&format!("/run/user/{}/systemd", nix::unistd::geteuid())).is_dir();
    skip_unless(Need::from(there), "systemd with cgroup v2 does not run here")
        || skip_unless(Need::from(manager), "this user has no service manager")
}

pub fn bundle(args: &[&str]) -> Bundle {
    let bundle = if host::is_root() { Bundle::new(args) } else { rootless::bundle(args) };
    let slice = if host::is_root() { "system.slice" } else { "user.slice" };
    let path = format!("{slice}:brisktest:{}", bundle.id);
    bundle.set("/linux/cgroupsPath", json!(path))
}

pub(super) fn call(container: &Container, args: &[&str]) -> process::Output {
    container.call(&[&["--systemd-cgroup"], args].concat())
}

pub(super) fn up(bundle: Bundle) -> Container {
    let container = bundle.container();
    let dir = container.bundle.dir.to_str().unwrap();
    call(&container, &["create", "--bundle", dir, &container.id]).ok();
    call(&container, &["start", &container.id]).ok();
    container
}

pub(super) fn unit(container: &Container) -> String {
    format!("brisktest-{}.scope", container.id)
}

pub(super) fn systemctl(args: &[&str]) -> String {
    let user = (!host::is_root()).then_some("--user");
    let output = Command::new("systemctl").args(user).args(args).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

pub(super) fn property(container: &Container, name: &str) -> String {
    systemctl(&["show", "--value", "-p", name, &unit(container)])
}

/// The directory of the cgroup the container's process is in.
pub(super) fn cgroup(container: &Container) -> PathBuf {
    let text = fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap();
    let path = text.trim().strip_prefix("0::/").unwrap();
    assert!(path.ends_with(&unit(container)), "{path}");
    Path::new("/sys/fs/cgroup").join(path)
}

fn file(container: &Container, name: &str) -> String {
    fs::read_to_string(cgroup(container).join(name)).unwrap().trim().to_owned()
}

pub fn units() -> String {
    systemctl(&["list-units", "--all", "--plain", "--no-legend", "brisktest-*"])
}

/// systemd puts the process into a directory that is there; frozen, it would never say anything.
#[test]
fn a_frozen_directory_in_the_place_of_the_scope_is_refused() {
    if not_here() || skip_on(&["crun"], "waits for ever") {
        return;
    }
    let container = up(bundle(&["sleep", "1000"]));
    let place = cgroup(&container);
    call(&container, &["delete", "--force", &container.id]).ok();
    host::wait_until(|| !place.exists());
    fs::create_dir(&place).unwrap();
    fs::write(place.join("cgroup.freeze"), "1").unwrap();
    let dir = container.bundle.dir.to_str().unwrap();
    let said = call(&container, &["create", "--bundle", dir, &container.id]).fails();
    assert!(said.contains("container's cgroup unexpectedly frozen"), "{said}");
    assert_eq!(systemctl(&["is-active", &unit(&container)]), "inactive");
    fs::remove_dir(&place).unwrap();
    call(&container, &["create", "--bundle", dir, &container.id]).ok();
    if !host::is_root() {
        return;
    }
    // The slice as well, which is not systemd's yet.
    let slice = format!("frozen{}.slice", std::process::id());
    let place = Path::new("/sys/fs/cgroup").join(&slice);
    fs::create_dir(&place).unwrap();
    fs::write(place.join("cgroup.freeze"), "1").unwrap();
    let bundle = bundle(&["sleep", "1000"]);
    let path = format!("{slice}:brisktest:{}", bundle.id);
    let inside = bundle.set("/linux/cgroupsPath", json!(path)).container();
    let dir = inside.bundle.dir.to_str().unwrap();
    let said = call(&inside, &["create", "--bundle", dir, &inside.id]).fails();
    assert!(said.contains(&format!("container's cgroup unexpectedly frozen: {}", place.display())), "{said}");
    fs::remove_dir(&place).unwrap();
}

#[test]
fn the_whole_life() {
    if not_here() {
        return;
    }
    let limits = json!({ "memory": { "limit": 64 << 20 }, "pids": { "limit": 50 } });
    let container = up(bundle(&["/probe", "pause"]).set("/linux/resources", limits));
    assert_eq!((file(&container, "memory.max"), file(&container, "pids.max")), ("67108864".into(), "50".into()));
    assert_eq!(property(&container, "MemoryMax"), "67108864");
    assert_eq!(property(&container, "Delegate"), "yes");

    call(&container, &["update", "--memory", "32m", "--pids-limit", "40", &container.id]).ok();
    assert_eq!((file(&container, "memory.max"), file(&container, "pids.max")), ("33554432".into(), "40".into()));
    assert_eq!((property(&container, "MemoryMax"), property(&container, "TasksMax")), ("33554432".into(), "40".into()));
    systemctl(&["daemon-reload"]);
    assert_eq!((file(&container, "memory.max"), file(&container, "pids.max")), ("33554432".into(), "40".into()));

    let inside = call(&container, &["exec", &container.id, "/bin/cat", "/proc/self/cgroup"]).ok().stdout();
    assert!(inside.trim().ends_with(&unit(&container)), "{inside}");
    call(&container, &["pause", &container.id]).ok();
    assert_eq!(container.status(), "paused");
    call(&container, &["resume", &container.id]).ok();
    container.stop();
    container.delete().ok();
    assert_eq!(units(), "");
    container.assert_nothing_left();
}

#[test]
fn a_device_rule_survives_daemon_reload() {
    if not_here() || skip_unless(Need::from(host::is_root()), "device rules are root's") {
        return;
    }
    let Some((allowed, denied)) = misc_devices() else { return };
    let rules = json!([
        { "allow": false, "access": "rwm" },
        { "allow": true, "type": "c", "major": 10, "minor": allowed, "access": "rw" },
    ]);
    let container = up(bundle(&["/probe", "pause"])
        .set("/linux/resources", json!({ "devices": rules.clone(), "memory": { "limit": 64 << 20 } }))
        .set("/linux/devices", json!([node("/dev/allowed", allowed), node("/dev/denied", denied)])));
    let check = |when: &str| {
        let out = container.exec_probe(&["open:/dev/null", "open:/dev/allowed", "open:/dev/denied"]);
        assert_eq!((&out["open:/dev/null"], &out["open:/dev/allowed"]), (&json!("ok"), &json!("ok")), "{when}: {out}");
        assert_eq!(out["open:/dev/denied"]["errno"], "EPERM", "{when}: {out}");
        assert_eq!(file(&container, "memory.max"), "67108864", "{when}");
    };
    check("before");
    assert_eq!(property(&container, "DevicePolicy"), "strict");
    assert!(property(&container, "DeviceAllow").contains(&format!("/dev/char/10:{allowed} rw")));
    systemctl(&["daemon-reload"]);
    check("after daemon-reload");
    // A sibling makes systemd write the files of the whole slice again.
    systemctl(&["set-property", "--runtime", "system.slice", "CPUWeight=100"]);
    check("after a change of the slice");
    systemctl(&["revert", "system.slice"]);
    if runtime_name() == "brisk" {
        let other = json!({ "devices": [
            { "allow": false, "access": "rwm" },
            { "allow": true, "type": "c", "major": 10, "minor": denied, "access": "rw" },
        ] });
        let args = ["--systemd-cgroup", "update", "--resources", "-", "--device-rules", &container.id];
        container.call_with_input(&args, &other.to_string()).ok();
        let opens = |when: &str| {
            let out = container.exec_probe(&["open:/dev/null", "open:/dev/allowed", "open:/dev/denied"]);
            let now = (&out["open:/dev/null"], &out["open:/dev/allowed"]["errno"], &out["open:/dev/denied"]);
            assert_eq!(now, (&json!("ok"), &json!("EPERM"), &json!("ok")), "{when}: {out}");
        };
        opens("after an update");
        systemctl(&["daemon-reload"]);
        opens("after an update and daemon-reload");
        let listed = property(&container, "DeviceAllow");
        assert!(listed.contains(&format!("10:{denied} rw")) && !listed.contains(&format!("10:{allowed} ")), "{listed}");
        container.call_with_input(&args, &json!({ "devices": rules }).to_string()).ok();
    }
    // The same program in systemd's place, which remembers only what is in the unit's files.
    systemctl(&["daemon-reexec"]);
    check("after daemon-reexec");
}

#[test]
fn every_limit_is_a_property_and_stays() {
    if not_here() || skip_on(&["runc", "crun"], "they convert CPU shares by another formula") {
        return;
    }
    let limits = json!({
        "memory": { "limit": 64 << 20, "reservation": 1 << 20, "swap": 96 << 20 },
        "cpu": { "shares": 512, "quota": 20000, "period": 50000, "cpus": "0", "mems": "0" },
        "pids": { "limit": 50 },
        "unified": { "memory.high": "33554432" },
    });
    let container = up(bundle(&["/probe", "pause"]).set("/linux/resources", limits));
    let files = || {
        [
            "memory.max",
            "memory.low",
            "memory.swap.max",
            "memory.high",
            "cpu.weight",
            "cpu.max",
            "cpuset.cpus",
            "pids.max",
        ]
        .map(|name| file(&container, name))
    };
    let properties = || {
        [
            "MemoryMax",
            "MemoryLow",
            "MemorySwapMax",
            "MemoryHigh",
            "CPUWeight",
            "CPUQuotaPerSecUSec",
            "AllowedCPUs",
            "TasksMax",
        ]
        .map(|name| property(&container, name))
    };
    let before = ["67108864", "1048576", "33554432", "33554432", "59", "20000 50000", "0", "50"];
    assert_eq!(files(), before);
    assert_eq!(properties(), ["67108864", "1048576", "33554432", "33554432", "59", "400ms", "0", "50"]);
    systemctl(&["daemon-reload"]);
    assert_eq!(files(), before);
    let args = ["update", "--cpu-quota", "25000", "--cpu-share", "1024", "--memory", "48m", "--memory-swap", "64m"];
    call(&container, &[&args[..], &[&container.id]].concat()).ok();
    let after = ["50331648", "1048576", "16777216", "33554432", "100", "25000 50000", "0", "50"];
    assert_eq!(files(), after);
    systemctl(&["daemon-reload"]);
    assert_eq!(files(), after);
    assert_eq!(
        (property(&container, "CPUWeight"), property(&container, "CPUQuotaPerSecUSec")),
        ("100".into(), "500ms".into())
    );
}

/// systemd writes files of its own accord after an answer: an OOMPolicy that it had before, a period without its quota.
#[test]
fn what_an_update_wrote_is_there_when_systemd_has_written() {
    if not_here()
        || skip_unless(Need::from(host::is_root()), "not every limit is a user's")
        || skip_on(&["crun"], "lost")
    {
        return;
    }
    let container = up(bundle(&["/probe", "pause"]));
    let update = |resources: serde_json::Value| {
        let path = container.bundle.dir.join("update.json");
        fs::write(&path, resources.to_string()).unwrap();
        call(&container, &["update", "--resources", path.to_str().unwrap(), &container.id]).ok();
    };
    update(json!({ "unified": { "memory.oom.group": "1" }, "memory": { "limit": 64 << 20 } }));
    assert_eq!((file(&container, "memory.oom.group"), file(&container, "memory.max")), ("1".into(), "67108864".into()));
    update(json!({ "cpu": { "period": 50_000 } }));
    assert_eq!(file(&container, "cpu.max"), "max 50000");
}

/// systemd knows nothing of huge pages, so nobody has enabled their controller for the scope.
#[test]
fn an_update_may_limit_what_nothing_was_asked_of() {
    let pages = Path::new("/sys/kernel/mm/hugepages/hugepages-2048kB").is_dir();
    if not_here()
        || skip_unless(Need::from(host::is_root() && pages), "root and huge pages of 2 MB")
        || skip_unless(Need::from(host::has_controller("hugetlb")), "no hugetlb controller")
    {
        return;
    }
    let container = up(bundle(&["/probe", "pause"]));
    let path = container.bundle.dir.join("update.json");
    fs::write(&path, json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": 4 << 20 }] }).to_string()).unwrap();
    call(&container, &["update", "--resources", path.to_str().unwrap(), &container.id]).ok();
    assert_eq!(file(&container, "hugetlb.2MB.max"), "4194304");
    let stats = call(&container, &["events", "--stats", &container.id]).ok().json();
    assert!(stats["data"]["hugetlb"]["2MB"].is_object(), "{stats}");
}

/// One weight, one file: io.bfq.weight where there is BFQ.
#[test]
fn a_weight_of_io_is_written_once() {
    if not_here()
        || skip_unless(Need::from(host::is_root()), "the io controller")
        || skip_on(&["runc", "crun"], "files")
    {
        return;
    }
    // The module that has the file.
    let _ = Command::new("modprobe").arg("bfq").status();
    let limits = json!({ "blockIO": { "weight": 300 } });
    let container = up(bundle(&["/probe", "pause"]).set("/linux/resources", limits));
    let dir = cgroup(&container);
    let read = |name: &str| fs::read_to_string(dir.join(name)).map(|text| text.trim().to_owned()).unwrap_or_default();
    let found = (read("io.bfq.weight"), read("io.weight"));
    let with_bfq =
        ("default 300".to_owned(), if dir.join("io.weight").exists() { "default 100" } else { "" }.to_owned());
    let without = (String::new(), "default 2930".to_owned());
    assert!(found == with_bfq || found == without, "{found:?}, wanted {with_bfq:?} or {without:?}");
}

/// The kernel has the last word on a limit when the child, process 1 of its namespace, is in the scope already: it never
/// hears the TERM of a stop.
#[test]
fn a_limit_that_the_kernel_refuses_does_not_wait_for_systemd() {
    if not_here() || skip_unless(Need::from(host::is_root()), "cpuset is not a user's everywhere") {
        return;
    }
    let container = bundle(&["/probe", "pause"]).resources("cpu", json!({ "cpus": "777" })).container();
    let dir = container.bundle.dir.to_str().unwrap();
    let error = call(&container, &["create", "--bundle", dir, &container.id]).fails();
    assert!(!error.contains("timed out"), "{error}");
    assert_eq!(units(), "");
    container.assert_nothing_left();
}

/// As every upgrade of its package does.
#[test]
fn systemd_may_execute_itself_anew_meanwhile() {
    if not_here() || skip_outside_guests("systemd is executed anew") || skip_on(&["crun"], "fails") {
        return;
    }
    let reexec = || {
        let user = (!host::is_root()).then_some("--user");
        Command::new("systemctl").args(user).arg("daemon-reexec").spawn().unwrap()
    };
    for round in 0..2 {
        let container = up(bundle(&["/probe", "pause"]));
        for limit in [64 << 20, 32 << 20] {
            let mut meanwhile = reexec();
            call(&container, &["update", "--memory", &limit.to_string(), &container.id]).ok();
            assert_eq!(file(&container, "memory.max"), limit.to_string(), "round {round}");
            meanwhile.wait().unwrap();
        }
        let mut meanwhile = reexec();
        call(&container, &["delete", "--force", &container.id]).ok();
        meanwhile.wait().unwrap();
        assert_eq!(units(), "", "round {round}");
    }
}

#[test]
fn slices_and_properties_as_asked_for() {
    if not_here() {
        return;
    }
    let bundle = bundle(&["/probe", "pause"]);
    let slice = format!("machine-{}.slice", bundle.id.replace('-', "_"));
    let path = format!("{slice}:brisktest:{}", bundle.id);
    let container = bundle
        .set("/linux/cgroupsPath", json!(path))
        .set("/annotations", json!({ "org.systemd.property.TimeoutStopSec": "uint64 7" }))
        .container()
        .trusting();
    let dir = container.bundle.dir.to_str().unwrap();
    // The other way to ask for systemd.
    let flags: &[&str] =
        if runtime_name() == "brisk" { &["--cgroup-manager", "systemd"] } else { &["--systemd-cgroup"] };
    container.call(&[flags, &["create", "--bundle", dir, &container.id]].concat()).ok();
    let cgroup = cgroup(&container);
    let above = cgroup.parent().unwrap();
    assert!(above.ends_with(format!("machine.slice/{slice}")), "{}", cgroup.display());
    assert_eq!(property(&container, "Slice"), slice);
    assert_eq!(property(&container, "TimeoutStopUSec"), "7s");
    container.delete_force().ok();
    assert_eq!(units(), "");
    systemctl(&["stop", &slice]);
}

#[test]
fn a_unit_that_was_killed_for_memory_goes() {
    if not_here() {
        return;
    }
    let limits = json!({ "memory": { "limit": 32 << 20, "swap": 32 << 20 } });
    let container = bundle(&["/probe", "alloc:200000000"]).set("/linux/resources", limits).container();
    let dir = container.bundle.dir.to_str().unwrap();
    for _ in 0..3 {
        call(&container, &["run", "--bundle", dir, &container.id]).exits(128 + 9);
        assert_eq!(units(), "");
    }
    // Again, with the unit failed and still there when `delete` comes.
    call(&container, &["create", "--bundle", dir, &container.id]).ok();
    container.start_and_wait();
    container.delete().ok();
    assert_eq!(units(), "");
    container.assert_nothing_left();
}

/// systemd has one property for both, and the kernel refuses a weight while a cgroup is idle.
#[test]
fn a_container_is_idle_or_has_a_weight() {
    if not_here() {
        return;
    }
    let container =
        up(bundle(&["/probe", "pause"]).set("/linux/resources", json!({ "cpu": { "shares": 100, "idle": 1 } })));
    assert_eq!(file(&container, "cpu.idle"), "1");
    let update = |flags: &[&str]| call(&container, &[&["update"], flags, &[&container.id]].concat()).ok();
    for idle in ["1", "0", "1", "1"] {
        update(&["--cpu-idle", idle]);
        assert_eq!(file(&container, "cpu.idle"), idle);
    }
    let said = update(&["--cpu-share", "200", "--cpu-idle", "1"]).stderr();
    assert!(said.contains("unable to apply both"), "{said}");
    assert_eq!(file(&container, "cpu.idle"), "1");
    update(&["--cpu-share", "1024"]);
    assert_eq!((file(&container, "cpu.idle"), file(&container, "cpu.weight")), ("0".into(), "100".into()));
}

#[test]
fn no_bus_daemon_is_needed() {
    if not_here() || skip_on(&["runc", "crun"], "they ask by the bus") {
        return;
    }
    let container = bundle(&["/bin/true"]).container();
    let dir = container.bundle.dir.to_str().unwrap();
    let runtime = container.command(&["--systemd-cgroup", "run", "--bundle", dir, &container.id]);
    let mut words =
        vec!["env", "DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nowhere", "DBUS_SESSION_BUS_ADDRESS=unix:path=/nowhere"];
    if host::is_root() {
        // What hides the directory is the program's own, and gone with it.
        words.extend(["unshare", "--mount", "sh", "-c", "mount -t tmpfs hidden /run/dbus && exec \"$0\" \"$@\""]);
    }
    process::run(process::under(&words, &runtime)).ok();
    assert_eq!(units(), "");
}

#[test]
fn an_update_of_two_puts_the_first_unit_back() {
    if not_here() || skip_on(&["runc", "crun"], "they update one container at a time") {
        return;
    }
    let limits = json!({ "memory": { "limit": 64 << 20 } });
    let first = up(bundle(&["/probe", "pause"]).set("/linux/resources", limits.clone()));
    let second = bundle(&["/probe", "pause"]).set("/linux/resources", limits).container();
    let (root, dir) = (first.bundle.state_root(), second.bundle.dir.to_str().unwrap().to_owned());
    let in_first = |args: &[&str]| {
        let mut command = first.command(&["--systemd-cgroup"]);
        command.args(args);
        process::run(command)
    };
    in_first(&["create", "--bundle", &dir, &second.id]).ok();
    // The second container's unit is one that systemd does not know.
    let state = root.join(&second.id).join("state.json");
    let text = fs::read_to_string(&state).unwrap();
    let mut record: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(record["cgroup"]["scope"]["unit"], unit(&second));
    record["cgroup"]["scope"]["unit"] = json!("brisktest-nobody.scope");
    fs::write(&state, record.to_string()).unwrap();

    let said = in_first(&["update", "--memory", "48m", &first.id, &second.id]).fails();
    assert!(said.contains("brisktest-nobody.scope"), "{said}");
    assert_eq!(file(&first, "memory.max"), "67108864");
    assert_eq!(property(&first, "MemoryMax"), "67108864");
    fs::write(&state, text).unwrap();
    in_first(&["delete", "--force", &second.id]).ok();
}

/// systemd keeps whole percents of a CPU, and rounds up: what both have is no more than before, for it and for the kernel.
#[test]
fn what_is_moved_is_moved_for_systemd_too() {
    if not_here() || skip_on(&["runc", "crun"], "--move is brisk's own") {
        return;
    }
    let limits = json!({ "memory": { "limit": 64 << 20 }, "cpu": { "quota": 50_500, "period": 100_000 } });
    let first = up(bundle(&["/probe", "pause"]).set("/linux/resources", limits.clone()));
    let second = bundle(&["/probe", "pause"]).set("/linux/resources", limits).container();
    let dir = second.bundle.dir.to_str().unwrap();
    call(&first, &["create", "--bundle", dir, &second.id]).ok();
    let scopes = cgroup(&first).parent().unwrap().to_owned();
    let files = |name: &str| {
        [&first, &second].map(|of| fs::read_to_string(scopes.join(unit(of)).join(name)).unwrap().trim().to_owned())
    };
    let of_systemd = |name: &str| [&first, &second].map(|of| property(of, name));
    assert_eq!(files("cpu.max"), ["51000 100000", "51000 100000"]);

    let whole = call(&first, &["update", "--move", "cpus=0.015", &first.id, &second.id]).fails();
    assert!(whole.contains("whole percents of a CPU") && whole.contains("hint: cpus=0.01"), "{whole}");
    assert_eq!(files("cpu.max"), ["51000 100000", "51000 100000"]);
    let moves = ["update", "--move", "memory=16m,cpus=0.1", "--steps", "3", &first.id, &second.id];
    call(&first, &moves).ok();
    systemctl(&["daemon-reload"]);
    assert_eq!(files("cpu.max"), ["41000 100000", "61000 100000"]);
    assert_eq!(of_systemd("CPUQuotaPerSecUSec"), ["410ms", "610ms"]);
    assert_eq!(files("memory.max"), ["50331648", "83886080"]);
    assert_eq!(of_systemd("MemoryMax"), ["50331648", "83886080"]);
    call(&first, &["delete", "--force", &second.id]).ok();
}

#[test]
fn two_hundred_containers_leave_no_unit() {
    if not_here() {
        return;
    }
    let container = bundle(&["/bin/true"]).container();
    let dir = container.bundle.dir.to_str().unwrap();
    for round in 0..200 {
        let output = call(&container, &["run", "--bundle", dir, &container.id]);
        assert_eq!(output.code, 0, "round {round}: {output:?}");
    }
    assert_eq!(units(), "");
    assert!(systemctl(&["list-units", "--failed", "--plain", "--no-legend"]).lines().all(|l| !l.contains("brisktest")));
    container.assert_nothing_left();
}
