//! The cgroup driver on this machine's own hierarchies, v1, v2 or both, through the library. Needs root.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stderr, reason = "a skip tells its reason")]

use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use brisk::cgroup::{Absent, Admission, Cgroup, Leftover, LimitsToBe};
use brisk::host::cgroup::Layout;
use brisk::plan::cgroup::update::{DeviceRules, update};
use brisk::plan::cgroup::{
    CgroupOptions, CgroupPlan, DevicePolicy, Devices, Privilege, Version, WhenMissing, Write, plan,
};
use brisk::plan::reach::Reach;
use brisk::spec::resources::{DeviceRule, Resources};
use brisk::sys::poll::{self, PollFlags};

use crate::common::{Need, host, lacks, skip_unless};

/// This machine's layout; `None`, loudly, when the test cannot run here.
fn layout() -> Option<Layout> {
    (!skip_unless(Need::from(host::is_root()), "not root")).then(|| Layout::read().unwrap())
}

/// Only cgroup2, also on a hybrid machine.
fn unified() -> Option<Layout> {
    let layout = layout()?;
    let there = Need::from(layout.unified.is_some());
    (!skip_unless(there, "no cgroup2 is mounted")).then(|| Layout { v1: Vec::new(), ..layout })
}

fn name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("/brisk-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn resources(json: &str) -> Resources {
    serde_json::from_str(json).unwrap()
}

fn plan_at(path: &str, json: &str, layout: &Layout) -> CgroupPlan {
    let options = CgroupOptions { cgroups_path: Some(path), id: "c", privilege: Privilege::Root };
    plan(&resources(json), layout, &options).unwrap()
}

/// A cgroup that is gone when the test is, whatever happens in it.
struct Guard {
    cgroup: Cgroup,
    children: Vec<Child>,
    parents: Vec<PathBuf>,
}

impl Guard {
    fn new(path: &str, json: &str, layout: &Layout) -> Guard {
        let plan = plan_at(path, json, layout);
        let parents = plan.dirs.iter().filter(|d| d.path.contains('/')).map(|d| d.full_path()).collect();
        Guard { cgroup: Cgroup::create(&plan).unwrap(), children: Vec::new(), parents }
    }

    fn spawn(&mut self, script: &str) -> i32 {
        // The script starts once it is where it belongs.
        let script = format!("read go; {script}");
        let mut shell = Command::new("sh");
        // A shell says which of its children was killed; here that is what is meant.
        shell.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = shell.spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let go = child.stdin.take();
        self.children.push(child);
        self.cgroup.attach(pid).unwrap();
        drop(go);
        pid
    }

    fn read(&self, file: &str) -> Option<String> {
        let saved = self.cgroup.saved();
        let text = saved.dirs.iter().find_map(|dir| std::fs::read_to_string(dir.path.join(file)).ok())?;
        Some(text.trim().to_owned())
    }

    fn exists(&self) -> bool {
        self.cgroup.saved().dirs.iter().any(|dir| dir.path.exists())
    }

    fn reap(&mut self) {
        for child in &mut self.children {
            child.wait().unwrap();
        }
        self.children.clear();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let removed = self.cgroup.kill(libc::SIGKILL);
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        let removed = removed.and_then(|()| self.cgroup.remove(Leftover::Kill));
        for path in &self.parents {
            let _ = path.parent().map(std::fs::remove_dir);
        }
        if !std::thread::panicking() {
            removed.unwrap();
        }
    }
}

#[test]
fn limits_are_in_force_before_anyone_joins_and_gone_afterwards() {
    if lacks(&["pids"]) {
        return;
    }
    let Some(layout) = layout() else { return };
    let path = format!("{}/inner", name());
    let json = r#"{"memory":{"limit":67108864,"reservation":33554432},"pids":{"limit":50},
        "cpu":{"shares":2048,"quota":50000,"period":100000}}"#;
    let mut guard = Guard::new(&path, json, &layout);
    let v1 = layout.v1_with("memory").is_some();
    let wanted = if v1 {
        [
            ("memory.limit_in_bytes", "67108864"),
            ("pids.max", "50"),
            ("cpu.shares", "2048"),
            ("cpu.cfs_quota_us", "50000"),
        ]
    } else {
        [("memory.max", "67108864"), ("pids.max", "50"), ("cpu.weight", "174"), ("cpu.max", "50000 100000")]
    };
    for (file, value) in wanted {
        assert_eq!(guard.read(file).as_deref(), Some(value), "{file}");
    }
    if layout.v1_with("cpuset").is_some() {
        assert_ne!(guard.read("cpuset.cpus").as_deref(), Some(""), "copied down from the parent");
    }
    let pid = guard.spawn("exec sleep 100");
    assert_eq!(guard.cgroup.pids(Reach::One).unwrap(), [pid]);
    let all = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    for line in all.lines().filter(|line| !line.ends_with(path.as_str())) {
        let mounted = layout.v1.iter().any(|h| line.split(':').nth(1).is_some_and(|c| c.split(',').any(|c| h.has(c))));
        assert!(!mounted, "not moved in {line}");
    }
    let saved = guard.cgroup.saved();
    let text = serde_json::to_string(&saved).unwrap();
    let reopened = Cgroup::open(&serde_json::from_str(&text).unwrap()).unwrap();
    assert_eq!(reopened.saved(), saved);
    reopened.kill(libc::SIGKILL).unwrap();
    guard.reap();
    reopened.remove(Leftover::Wait).unwrap();
    assert!(!guard.exists());
    assert!(Cgroup::open(&saved).unwrap().is_empty(), "what is gone is left out");
    reopened.remove(Leftover::Wait).unwrap();
}

#[test]
fn a_failed_create_leaves_nothing() {
    if lacks(&["pids"]) {
        return;
    }
    let Some(layout) = layout() else { return };
    let path = format!("{}/a/b", name());
    let mut plan = plan_at(&path, r#"{"pids":{"limit":5}}"#, &layout);
    plan.writes.push(Write {
        controller: "pids".into(),
        file: "pids.max".into(),
        value: "many".into(),
        missing: WhenMissing::Fail,
    });
    let error = Cgroup::create(&plan).unwrap_err().to_string();
    assert!(error.contains("write many to") && error.contains("pids.max"), "{error}");
    for dir in &plan.dirs {
        let top = dir.mount_point.join(dir.path.split('/').next().unwrap());
        assert!(!top.exists(), "{} is left", top.display());
    }
}

#[test]
fn a_used_cgroup_is_refused_and_an_empty_one_is_taken() {
    let Some(layout) = layout() else { return };
    let path = name();
    let mut guard = Guard::new(&path, "{}", &layout);
    guard.spawn("exec sleep 100");
    let error = Cgroup::create(&plan_at(&path, "{}", &layout)).unwrap_err().to_string();
    assert!(error.contains("not empty"), "{error}");
    guard.cgroup.kill(libc::SIGKILL).unwrap();
    guard.reap();
    // The shell's own child is reaped by another process.
    crate::common::host::wait_until(|| guard.cgroup.pids(Reach::Tree).unwrap().is_empty());
    assert!(guard.exists(), "the refusal must not remove what it did not make");
    Cgroup::create(&plan_at(&path, "{}", &layout)).unwrap();
}

#[test]
fn a_frozen_cgroup_is_refused_even_below_the_frozen_one() {
    let Some(layout) = layout() else { return };
    let path = name();
    let mut guard = Guard::new(&path, "{}", &layout);
    guard.spawn("exec sleep 100");
    guard.cgroup.freeze().unwrap();
    let below = format!("{path}/below");
    let error = Cgroup::create(&plan_at(&below, "{}", &layout)).unwrap_err().to_string();
    assert!(error.contains("frozen"), "{error}");
    guard.cgroup.thaw().unwrap();
    let inner = Cgroup::create(&plan_at(&below, "{}", &layout)).unwrap();
    inner.remove(Leftover::Wait).unwrap();
}

fn cpu_ticks(pid: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(')').next().unwrap().split_whitespace().nth(11).unwrap().parse().unwrap()
}

fn freeze_thaw_kill(layout: &Layout) {
    let mut guard = Guard::new(&name(), "{}", layout);
    let pid = guard.spawn("while :; do :; done");
    assert!(!guard.cgroup.frozen().unwrap());
    guard.cgroup.freeze().unwrap();
    assert!(guard.cgroup.frozen().unwrap());
    let before = cpu_ticks(pid);
    poll::pause(Duration::from_millis(100)).unwrap();
    assert_eq!(cpu_ticks(pid), before, "a frozen process runs");
    // SIGKILL ends a frozen container, and what is left is thawed.
    guard.cgroup.kill(libc::SIGKILL).unwrap();
    guard.reap();
    assert!(!guard.cgroup.frozen().unwrap());
    // Another signal reaches every process too.
    guard.spawn("trap 'exit 7' TERM; while :; do sleep 0.01; done");
    poll::pause(Duration::from_millis(100)).unwrap();
    guard.cgroup.kill(libc::SIGTERM).unwrap();
    let status = guard.children.pop().unwrap().wait().unwrap();
    assert!(!status.success());
    guard.cgroup.remove(Leftover::Wait).unwrap();
    assert!(!guard.exists());
}

#[test]
fn freeze_thaw_kill_here() {
    if let Some(layout) = layout() {
        freeze_thaw_kill(&layout);
    }
}

#[test]
fn freeze_thaw_kill_on_cgroup2() {
    if let Some(layout) = unified() {
        freeze_thaw_kill(&layout);
    }
}

#[test]
fn freeze_thaw_kill_without_cgroup2() {
    if let Some(layout) = layout() {
        if layout.v1_with("freezer").is_none() {
            return crate::common::skip("no v1 freezer");
        }
        freeze_thaw_kill(&Layout { unified: None, ..layout });
    }
}

/// Sub-cgroups with processes in them that fork as fast as they can, and no one to help.
fn remove_busy(layout: &Layout) {
    let mut guard = Guard::new(&name(), r#"{}"#, layout);
    let deep = guard.cgroup.sub(&[(None, "x/y/z")], Absent::Make).unwrap();
    let pid = guard.spawn("while :; do sleep 0.001 & done 2>/dev/null");
    drop(deep);
    let mut deep = guard.cgroup.sub(&[(None, "x/y")], Absent::Refuse).unwrap();
    let child = Command::new("sleep").arg("100").spawn().unwrap();
    let inner = i32::try_from(child.id()).unwrap();
    guard.children.push(child);
    deep.attach(inner).unwrap();
    let tree = guard.cgroup.pids(Reach::Tree).unwrap();
    assert!(tree.contains(&pid) && tree.contains(&inner));
    assert!(!guard.cgroup.pids(Reach::One).unwrap().contains(&inner));
    let start = Instant::now();
    guard.cgroup.remove(Leftover::Kill).unwrap();
    assert!(!guard.exists());
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    guard.reap();
}

#[test]
fn a_busy_tree_is_removed() {
    if let Some(layout) = layout() {
        remove_busy(&layout);
    }
}

#[test]
fn a_busy_tree_is_removed_on_cgroup2() {
    if let Some(layout) = unified() {
        remove_busy(&layout);
    }
}

#[test]
fn a_busy_tree_is_removed_without_cgroup2() {
    if let Some(layout) = layout() {
        if layout.v1.is_empty() {
            return crate::common::skip("no v1 hierarchy");
        }
        remove_busy(&Layout { unified: None, ..layout });
    }
}

#[test]
fn sub_cgroups_stay_inside() {
    if lacks(&["pids"]) {
        return;
    }
    let Some(layout) = layout() else { return };
    let guard = Guard::new(&name(), "{}", &layout);
    for path in ["..", "a/../..", "/../x"] {
        assert!(guard.cgroup.sub(&[(None, path)], Absent::Make).unwrap_err().to_string().contains(".."));
    }
    assert!(guard.cgroup.sub(&[(None, "missing")], Absent::Refuse).is_err());
    assert!(guard.cgroup.sub(&[(Some("nonsense"), "")], Absent::Refuse).unwrap_err().to_string().contains("nonsense"));
    let all = guard.cgroup.sub(&[(None, "/")], Absent::Refuse).unwrap();
    assert_eq!(all.saved(), guard.cgroup.saved());
}

#[test]
fn an_update_is_all_or_nothing() {
    if lacks(&["pids", "memory"]) {
        return;
    }
    let Some(layout) = layout() else { return };
    let json =
        r#"{"memory":{"limit":67108864,"swap":134217728},"pids":{"limit":50},"cpu":{"quota":50000,"period":100000}}"#;
    let guard = Guard::new(&name(), json, &layout);
    let files: &[&str] = if layout.v1_with("memory").is_some() {
        &["memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "pids.max", "cpu.cfs_quota_us", "cpu.cfs_period_us"]
    } else {
        &["memory.max", "memory.swap.max", "pids.max", "cpu.max"]
    };
    let state = || files.iter().map(|file| guard.read(file)).collect::<Vec<_>>();
    let before = state();
    let change = resources(
        r#"{"memory":{"limit":268435456,"swap":536870912},"pids":{"limit":99},"cpu":{"quota":20000,"period":20000}}"#,
    );
    let mut change = update(&resources(json), &change, &layout, DeviceRules::Keep).unwrap();
    let good = change.writes.clone();
    let bad = Write { value: "nonsense".into(), ..good.last().unwrap().clone() };
    change.writes.push(bad);
    let error = guard.cgroup.apply(&change.writes).unwrap_err().to_string();
    assert!(error.contains("nonsense") && !error.contains("put back"), "{error}");
    assert_eq!(state(), before, "put back");
    // Up, where memory+swap has to go first, and down again, where memory has to.
    guard.cgroup.apply(&good).unwrap();
    assert_ne!(state(), before);
    let down = update(&change.resources, &resources(json), &layout, DeviceRules::Keep).unwrap();
    guard.cgroup.apply(&down.writes).unwrap();
    assert_eq!(state(), before);
}

#[test]
fn admission_refuses_what_cannot_be_given() {
    if lacks(&["pids", "memory"]) {
        return;
    }
    let Some(layout) = layout() else { return };
    let path = name();
    let _parent = Guard::new(&path, r#"{"pids":{"limit":100}}"#, &layout);
    let _other = Guard::new(&format!("{path}/other"), r#"{"pids":{"limit":60}}"#, &layout);
    let mut guard = Guard::new(&format!("{path}/one"), "{}", &layout);
    guard.spawn("sleep 100 & sleep 100 & echo; wait");
    let stdout = guard.children[0].stdout.as_mut().unwrap();
    std::io::Read::read_exact(stdout, &mut [0]).unwrap();
    let ask = |limit: u64, admission| {
        let change = resources(&format!(r#"{{"pids":{{"limit":{limit}}}}}"#));
        let plan = update(&Resources::default(), &change, &layout, DeviceRules::Keep).unwrap();
        guard.cgroup.admission(&plan.writes, admission, &LimitsToBe::default()).map_err(|e| e.to_string())
    };
    assert!(ask(40, Admission::Check).is_ok());
    assert!(ask(41, Admission::Check).unwrap_err().contains("60 is given to others"));
    assert!(ask(101, Admission::Check).unwrap_err().contains("of a parent is 100"));
    assert!(ask(2, Admission::Check).unwrap_err().contains("in use is 3"));
    assert!(ask(2, Admission::Force).is_ok());
}

/// Whether a process in the cgroup may read /dev/kmsg or, failing that, another device outside of the default list.
fn may_read(guard: &mut Guard, device: &str) -> bool {
    let script = format!("read go; {{ exec 3<{device}; }} 2>/dev/null && echo yes || echo no");
    let mut child =
        Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    guard.cgroup.attach(i32::try_from(child.id()).unwrap()).unwrap();
    drop(child.stdin.take());
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim() == "yes"
}

fn device_policies(layout: &Layout) {
    let mut guard = Guard::new(&name(), r#"{"devices":[{"allow":false,"access":"rwm"}]}"#, layout);
    assert!(may_read(&mut guard, "/dev/null"));
    assert!(may_read(&mut guard, "/dev/urandom"));
    assert!(!may_read(&mut guard, "/dev/kmsg"), "1:11 is not in the default list");
    let allow =
        DeviceRule { allow: true, kind: Some("c".into()), major: Some(1), minor: Some(11), access: Some("r".into()) };
    let policy = DevicePolicy::new(&[allow]).unwrap();
    let devices = if layout.v1_with("devices").is_some() { Devices::V1(policy) } else { Devices::Bpf(policy) };
    guard.cgroup.set_devices(&devices).unwrap();
    assert!(may_read(&mut guard, "/dev/kmsg"));
    assert!(!may_read(&mut guard, "/dev/mem") || !std::path::Path::new("/dev/mem").exists());
    guard.cgroup.set_devices(&Devices::Unrestricted).unwrap();
    assert!(may_read(&mut guard, "/dev/kmsg"));
}

#[test]
fn devices_are_restricted_by_the_v1_controller() {
    if let Some(layout) = layout() {
        if layout.v1_with("devices").is_none() {
            return crate::common::skip("no v1 devices controller");
        }
        device_policies(&layout);
    }
}

#[test]
fn devices_are_restricted_by_a_program_on_cgroup2() {
    if let Some(layout) = unified() {
        device_policies(&layout);
    }
}

#[test]
fn a_process_is_cloned_into_the_cgroup() {
    let Some(layout) = unified() else { return };
    let guard = Guard::new(&name(), "{}", &layout);
    let fd = guard.cgroup.v2_dir().unwrap().as_raw_fd();
    // clone3(2) itself belongs to the launcher; here it is enough that the descriptor is one the kernel takes.
    let path = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
    assert_eq!(path, guard.cgroup.saved().dirs[0].path);
    assert_eq!(guard.cgroup.saved().dirs[0].version, Version::V2);
}

#[test]
fn statistics_are_runcs() {
    if lacks(&["pids", "memory"]) {
        return;
    }
    let Some(layout) = layout() else { return };
    let mut guard = Guard::new(&name(), r#"{"pids":{"limit":50},"memory":{"limit":67108864}}"#, &layout);
    guard.spawn("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo; sleep 100");
    let stdout = guard.children[0].stdout.as_mut().unwrap();
    std::io::Read::read_exact(stdout, &mut [0]).unwrap();
    let stats = guard.cgroup.stats().unwrap();
    assert!(stats.cpu.usage.total > 0);
    assert!((1..=2).contains(&stats.pids.current), "the shell, and sleep if it was that fast");
    assert_eq!(stats.pids.limit, 50);
    assert_eq!(stats.memory.usage.limit, 67_108_864);
    assert!(stats.memory.usage.usage > 0 && !stats.memory.raw.is_empty());
    let json = serde_json::to_value(&stats).unwrap();
    let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    assert_eq!(keys.len(), 8);
    for key in ["cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "intel_rdt", "network_interfaces"] {
        assert!(json.get(key).is_some(), "{key}");
    }
    assert!(json["network_interfaces"].is_null());
    assert_eq!(serde_json::from_value::<brisk::cgroup::stats::Stats>(json).unwrap(), stats);
}

#[test]
fn the_oom_killer_is_noticed() {
    let Some(layout) = layout() else { return };
    if !layout.has("memory") {
        return crate::common::skip("no memory controller");
    }
    let json = r#"{"memory":{"limit":8388608,"swap":8388608}}"#;
    let mut guard = Guard::new(&name(), json, &layout);
    let mut watch = guard.cgroup.oom_watch().unwrap().unwrap();
    assert_eq!(watch.drain().unwrap(), 0);
    guard.spawn("exec tail /dev/zero");
    let start = Instant::now();
    let mut kills = 0;
    while kills == 0 && start.elapsed() < Duration::from_secs(20) {
        poll::one(watch.as_fd(), PollFlags::POLLIN, poll::within(Duration::from_secs(5))).unwrap();
        kills = watch.drain().unwrap();
    }
    assert!(kills > 0, "no OOM kill was seen");
    guard.reap();
}
