//! linux.resources, read back from the container's cgroup. What is expected depends on the host's layout.

use std::fs;

use serde_json::{Value, json};

use crate::common::host::Cgroups;
use crate::common::{Bundle, Container, Need, brisk_only, host, lacks, skip_on, skip_unless};

/// One setting and where it must show up: `(controller, file, value)` for each layout; none where it has none.
struct Case {
    resource: (&'static str, Value),
    v1: &'static [(&'static str, &'static str, &'static str)],
    v2: &'static [(&'static str, &'static str, &'static str)],
}

fn check(case: &Case) {
    let expect = if Cgroups::detect() == Cgroups::V1 { case.v1 } else { case.v2 };
    let (name, value) = &case.resource;
    let missing = expect.iter().find(|(controller, ..)| !host::has_controller(controller));
    let need = Need::from(missing.is_none());
    if skip_unless(need, &format!("no {missing:?} here")) {
        return;
    }
    let container = Bundle::idle().resources(name, value.clone()).container();
    // Warnings of `create` are for the log: its standard error is the program's.
    let log = container.bundle.dir.join("log");
    let dir = container.bundle.dir.to_str().unwrap();
    container.call(&["--log", log.to_str().unwrap(), "create", "--bundle", dir, &container.id]).ok();
    if expect.is_empty() && !brisk_only("only brisk says that a limit has no file here") {
        let key = value.as_object().unwrap().keys().next().unwrap();
        let said = fs::read_to_string(&log).unwrap();
        assert!(said.contains(key.as_str()), "{name}.{key}: {said}");
    }
    for (controller, file, text) in expect {
        assert_eq!(container.cgroup_file(controller, file), *text, "{name} in {file}");
    }
}

#[test]
fn memory() {
    check(&Case {
        resource: ("memory", json!({ "limit": 67_108_864, "reservation": 33_554_432 })),
        v1: &[("memory", "memory.limit_in_bytes", "67108864"), ("memory", "memory.soft_limit_in_bytes", "33554432")],
        v2: &[("memory", "memory.max", "67108864"), ("memory", "memory.low", "33554432")],
    });
}

#[test]
fn memory_and_swap() {
    if Cgroups::detect() == Cgroups::V1 {
        let swap = host::cgroup_dir("memory", "/").join("memory.memsw.limit_in_bytes").exists();
        if skip_unless(Need::from(swap), "no swap accounting") {
            return;
        }
    }
    check(&Case {
        resource: ("memory", json!({ "limit": 67_108_864, "swap": 134_217_728 })),
        v1: &[("memory", "memory.memsw.limit_in_bytes", "134217728")],
        v2: &[("memory", "memory.swap.max", "67108864")],
    });
}

#[test]
fn memory_without_limit() {
    check(&Case {
        resource: ("memory", json!({ "limit": -1 })),
        v1: &[("memory", "memory.limit_in_bytes", "9223372036854771712")],
        v2: &[("memory", "memory.max", "max")],
    });
}

#[test]
fn memory_swappiness_and_oom_killer() {
    check(&Case {
        resource: ("memory", json!({ "swappiness": 20 })),
        v1: &[("memory", "memory.swappiness", "20")],
        v2: &[],
    });
    if Cgroups::detect() == Cgroups::V1 {
        let container = Bundle::idle().resources("memory", json!({ "disableOOMKiller": true })).container();
        container.create().ok();
        assert!(container.cgroup_file("memory", "memory.oom_control").contains("oom_kill_disable 1"));
    }
}

#[test]
fn cpu_quota_and_period() {
    check(&Case {
        resource: ("cpu", json!({ "quota": 40_000, "period": 200_000 })),
        v1: &[("cpu", "cpu.cfs_quota_us", "40000"), ("cpu", "cpu.cfs_period_us", "200000")],
        v2: &[("cpu", "cpu.max", "40000 200000")],
    });
}

#[test]
fn cpu_shares() {
    // runc 1.1 and crun 1.8 convert to weight by the older, linear formula.
    if Cgroups::detect() == Cgroups::V2
        && skip_on(&["runc", "crun"], "the conversion changed in runc 1.3.2 and crun 1.23")
    {
        return;
    }
    check(&Case {
        resource: ("cpu", json!({ "shares": 1024 })),
        v1: &[("cpu", "cpu.shares", "1024")],
        v2: &[("cpu", "cpu.weight", "100")],
    });
    check(&Case {
        resource: ("cpu", json!({ "shares": 2 })),
        v1: &[("cpu", "cpu.shares", "2")],
        v2: &[("cpu", "cpu.weight", "1")],
    });
}

#[test]
fn cpu_idle_and_burst() {
    if skip_on(&["runc", "crun"], "came later") {
        return;
    }
    check(&Case {
        resource: ("cpu", json!({ "idle": 1 })),
        v1: &[("cpu", "cpu.idle", "1")],
        v2: &[("cpu", "cpu.idle", "1")],
    });
    check(&Case {
        resource: ("cpu", json!({ "quota": 50_000, "period": 100_000, "burst": 20_000 })),
        v1: &[("cpu", "cpu.cfs_burst_us", "20000")],
        v2: &[("cpu", "cpu.max.burst", "20000")],
    });
}

#[test]
fn a_weight_ends_that_a_container_is_idle() {
    if brisk_only("runc: EINVAL without systemd") || lacks(&["cpu"]) {
        return;
    }
    let container = Bundle::idle().resources("cpu", json!({ "shares": 100, "idle": 1 })).container();
    container.up();
    let file = host::cgroup_dir("cpu", &container.bundle.cgroup()).join("cpu.idle");
    let idle = || fs::read_to_string(&file).unwrap().trim().to_owned();
    assert_eq!(idle(), "1");
    container.call(&["update", "--cpu-idle", "1", &container.id]).ok();
    container.call(&["update", "--cpu-share", "200", &container.id]).ok();
    assert_eq!(idle(), "0");
}

#[test]
fn cpu_set() {
    check(&Case {
        resource: ("cpu", json!({ "cpus": "0", "mems": "0" })),
        v1: &[("cpuset", "cpuset.cpus", "0"), ("cpuset", "cpuset.mems", "0")],
        v2: &[("cpuset", "cpuset.cpus", "0"), ("cpuset", "cpuset.mems", "0")],
    });
    // Most machines have node 0 only, which a cgroup has from the start.
    let container = Bundle::idle().resources("cpu", json!({ "mems": "900" })).container();
    let error = container.create().fails();
    assert!(error.contains("cpuset.mems") || skip_on(&["crun"], "names no file"), "{error}");
}

#[test]
fn a_cpu_set_holds_for_the_program() {
    if lacks(&["cpuset"]) {
        return;
    }
    let container = Bundle::probe(&["report"]).resources("cpu", json!({ "cpus": "0" })).container();
    assert_eq!(container.run().ok().json()["report"]["affinity"], json!([0]));
}

#[test]
fn pids() {
    if skip_on(&["crun"], "pids.limit -1 on v1") {
        return;
    }
    check(&Case {
        resource: ("pids", json!({ "limit": 17 })),
        v1: &[("pids", "pids.max", "17")],
        v2: &[("pids", "pids.max", "17")],
    });
    check(&Case {
        resource: ("pids", json!({ "limit": -1 })),
        v1: &[("pids", "pids.max", "max")],
        v2: &[("pids", "pids.max", "max")],
    });
}

#[test]
fn a_pids_limit_holds() {
    if lacks(&["pids"]) {
        return;
    }
    let container = Bundle::probe(&["threads:20"]).resources("pids", json!({ "limit": 8 })).container();
    let started = container.run().ok().json()["threads:20"].as_u64().unwrap();
    assert!((3..=7).contains(&started), "{started}");
}

#[test]
fn a_pids_limit_of_one_still_runs() {
    if lacks(&["pids"]) {
        return;
    }
    // runc#1914: threads of the runtime count.
    if skip_on(&["runc"], "its Go threads do not fit") {
        return;
    }
    let container = Bundle::probe(&["report"]).resources("pids", json!({ "limit": 1 })).container();
    container.run().ok();
}

#[test]
fn block_io() {
    if lacks(&["io"]) {
        return;
    }
    let dir = host::cgroup_dir("blkio", "/");
    if Cgroups::detect() == Cgroups::V1 && skip_unless(Need::from(dir.exists()), "no blkio hierarchy") {
        return;
    }
    let Some((major, minor)) = block_device() else {
        let _ = skip_unless(Need::Missing, "no whole block device");
        return;
    };
    let rate = |n: u64| json!([{ "major": major, "minor": minor, "rate": n }]);
    let io = json!({
        "throttleReadBpsDevice": rate(1_048_576), "throttleWriteBpsDevice": rate(2_097_152),
        "throttleReadIOPSDevice": rate(1000), "throttleWriteIOPSDevice": rate(2000),
    });
    let container = Bundle::idle().resources("blockIO", io).container();
    container.create().ok();
    if Cgroups::detect() == Cgroups::V2 {
        let text = container.cgroup_file("io", "io.max");
        assert_eq!(text, format!("{major}:{minor} rbps=1048576 wbps=2097152 riops=1000 wiops=2000"));
        return;
    }
    for (file, value) in [("read_bps", 1_048_576), ("write_bps", 2_097_152), ("read_iops", 1000), ("write_iops", 2000)]
    {
        let text = container.cgroup_file("blkio", &format!("blkio.throttle.{file}_device"));
        assert_eq!(text, format!("{major}:{minor} {value}"));
    }
}

/// Numbers of a whole disk.
fn block_device() -> Option<(u32, u32)> {
    let entry = fs::read_dir("/sys/block").ok()?.flatten().next()?;
    let text = fs::read_to_string(entry.path().join("dev")).ok()?;
    let (major, minor) = text.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Two devices of the misc major that anyone may open if the cgroup lets him and that no runtime allows by itself; where this
/// machine has none the test is skipped.
pub fn misc_devices() -> Option<(u32, u32)> {
    let text = fs::read_to_string("/proc/misc").unwrap();
    let mut numbers = text.lines().filter_map(|line| {
        let (number, name) = line.trim().split_once(' ')?;
        ["fuse", "loop-control", "autofs", "cpu_dma_latency", "rfkill"].contains(&name).then(|| number.parse().ok())?
    });
    let found = numbers.next().zip(numbers.next());
    let _ = skip_unless(Need::from(found.is_some()), "no two harmless devices in /proc/misc");
    found
}

/// A device of the misc major that anyone may open as far as its mode goes.
pub fn node(path: &str, minor: u32) -> Value {
    json!({ "type": "c", "path": path, "major": 10, "minor": minor, "fileMode": 0o666, "uid": 0, "gid": 0 })
}

#[test]
fn devices_are_denied_and_allowed() {
    let Some((allowed, denied)) = misc_devices() else { return };
    let rules = json!([
        { "allow": false, "access": "rwm" },
        { "allow": true, "type": "c", "major": 10, "minor": allowed, "access": "r" },
    ]);
    let mut nodes = json!([
        node("/dev/allowed", allowed),
        node("/dev/denied", denied),
        node("/dev/of_other_major", allowed),
        node("/dev/of_other_type", allowed)
    ]);
    nodes[2]["major"] = json!(1);
    nodes[3]["type"] = json!("b");
    let ops = [
        "open:/dev/of_other_major",
        "open:/dev/of_other_type",
        "open:/dev/allowed",
        "write:/dev/allowed",
        "open:/dev/denied",
        "open:/dev/null",
        "read1:/dev/zero",
        "write:/dev/null",
    ];
    let container = Bundle::probe(&ops).resources("devices", rules).set("/linux/devices", nodes).container();
    let out = container.run().ok().json();
    assert_eq!(out["open:/dev/allowed"], "ok", "{out}");
    assert_eq!(out["write:/dev/allowed"]["errno"], "EPERM", "{out}");
    for denied in ["open:/dev/denied", "open:/dev/of_other_major", "open:/dev/of_other_type"] {
        assert_eq!(out[denied]["errno"], "EPERM", "{denied}: {out}");
    }
    // The default devices are always allowed.
    assert_eq!(out["open:/dev/null"], "ok", "{out}");
    assert_eq!(out["write:/dev/null"], "ok", "{out}");
    assert_eq!(out["read1:/dev/zero"], 1, "{out}");
}

#[test]
fn all_devices_can_be_allowed() {
    let Some((first, second)) = misc_devices() else { return };
    let nodes = json!([node("/dev/first", first), node("/dev/second", second)]);
    let rules = json!([{ "allow": true, "access": "rwm" }]);
    let container = Bundle::probe(&["open:/dev/first", "open:/dev/second"])
        .resources("devices", rules)
        .set("/linux/devices", nodes)
        .container();
    let out = container.run().ok().json();
    assert_eq!((&out["open:/dev/first"], &out["open:/dev/second"]), (&json!("ok"), &json!("ok")));
}

#[test]
fn without_device_rules_only_the_defaults_are_allowed() {
    // GHSA-g54h-m393-cpwq: the list is one of exceptions to "deny".
    let Some((_, denied)) = misc_devices() else { return };
    if skip_on(&["crun"], "without rules it allows all") {
        return;
    }
    let container = Bundle::probe(&["open:/dev/denied", "open:/dev/null"])
        .resources("devices", json!([]))
        .set("/linux/devices", json!([node("/dev/denied", denied)]))
        .container();
    let out = container.run().ok().json();
    assert_eq!(out["open:/dev/denied"]["errno"], "EPERM", "{out}");
    assert_eq!(out["open:/dev/null"], "ok", "{out}");
}

#[test]
fn later_device_rules_win() {
    if skip_on(&["runc", "crun"], "a denied minor of an allowed major is not expressible on v1 in them") {
        return;
    }
    let Some((allowed, denied)) = misc_devices() else { return };
    let rules = json!([
        { "allow": false, "access": "rwm" },
        { "allow": true, "type": "c", "major": 10, "access": "rwm" },
        { "allow": false, "type": "c", "major": 10, "minor": denied, "access": "rwm" },
    ]);
    let container = Bundle::probe(&["open:/dev/allowed", "open:/dev/denied"])
        .resources("devices", rules)
        .set("/linux/devices", json!([node("/dev/allowed", allowed), node("/dev/denied", denied)]))
        .container();
    let output = container.run();
    if output.code != 0 {
        // On v1 the kernel cannot express it: then it must be said, not ignored.
        assert!(output.fails().contains("device"));
        return;
    }
    let out = output.json();
    assert_eq!(out["open:/dev/allowed"], "ok");
    assert_eq!(out["open:/dev/denied"]["errno"], "EPERM");
}

#[test]
fn making_device_nodes_is_denied_unless_allowed() {
    let sets = json!({ "bounding": ["CAP_MKNOD"], "effective": ["CAP_MKNOD"], "permitted": ["CAP_MKNOD"] });
    let nodes = json!([{ "allow": false, "access": "rwm" }]);
    let container =
        Bundle::probe(&["mknod:/tmp/null"]).set("/process/capabilities", sets).resources("devices", nodes).container();
    let out = container.run().ok().json();
    // Engines' images expect to be able to make nodes; runc and crun always allow m.
    assert!(out["mknod:/tmp/null"] == "ok" || out["mknod:/tmp/null"]["errno"] == "EPERM", "{out}");
}

#[test]
fn unified() {
    if lacks(&["pids", "memory"]) {
        return;
    }
    if skip_on(&["crun"], "leaves the cgroups when create fails") {
        return;
    }
    if Cgroups::detect() == Cgroups::V1 {
        let container = Bundle::idle().resources("unified", json!({ "memory.high": "1000000" })).container();
        container.create().fails();
        container.assert_nothing_left();
        return;
    }
    let container =
        Bundle::idle().resources("unified", json!({ "memory.high": "104857600", "pids.max": "33" })).container();
    container.create().ok();
    assert_eq!(container.cgroup_file("memory", "memory.high"), "104857600");
    assert_eq!(container.cgroup_file("pids", "pids.max"), "33");
}

#[test]
fn the_cgroup_path_is_used() {
    let container = Bundle::probe(&["report"]).container();
    let cgroup = container.bundle.cgroup();
    let report = container.run().ok().json();
    let lines = report["report"]["cgroup"].as_array().unwrap();
    assert!(lines.iter().any(|l| l.as_str().unwrap().ends_with(&cgroup)), "{lines:?}");
}

#[test]
fn a_nested_cgroup_path_is_made_and_removed() {
    if skip_on(&["crun"], "leaves directories beside cgroup2") {
        return;
    }
    let bundle = Bundle::idle();
    let path = format!("/{}/inner/most", bundle.id);
    let container = bundle.set("/linux/cgroupsPath", json!(path)).container();
    container.up();
    assert!(!host::cgroup_dirs(&path).is_empty());
    container.delete_force().ok();
    assert!(host::cgroup_dirs(&path).is_empty(), "the container's own cgroup stays");
    remove_cgroups(&format!("{}/inner", container.bundle.id));
    remove_cgroups(&container.bundle.id);
}

/// Parents a runtime made on the way may stay, as far as the specification goes: engines own them.
fn remove_cgroups(path: &str) {
    for dir in host::cgroup_dirs(path) {
        let _ = fs::remove_dir(dir);
    }
}

#[test]
fn a_relative_cgroup_path_works() {
    let bundle = Bundle::probe(&["report"]);
    let id = bundle.id.clone();
    let container = bundle.set("/linux/cgroupsPath", json!(id)).container();
    let report = container.run().ok().json();
    let lines = report["report"]["cgroup"].as_array().unwrap();
    assert!(lines.iter().any(|l| l.as_str().unwrap().contains(&id)), "{lines:?}");
    container.assert_nothing_left();
}

#[test]
fn without_a_cgroup_path_there_is_one_named_after_the_container() {
    let container = Bundle::probe(&["report"]).unset("/linux/cgroupsPath").container();
    let report = container.run().ok().json();
    let lines = report["report"]["cgroup"].as_array().unwrap();
    assert!(lines.iter().any(|l| l.as_str().unwrap().contains(&container.id)), "{lines:?}");
    container.assert_nothing_left();
}

#[test]
fn a_cgroup_path_stays_below_the_hierarchy() {
    if skip_on(&["crun"], "makes a directory outside") {
        return;
    }
    let bundle = Bundle::probe(&["report"]);
    let path = format!("../../../../{}", bundle.id);
    let container = bundle.set("/linux/cgroupsPath", json!(path)).container();
    container.run();
    container.assert_nothing_left();
    assert!(!std::path::Path::new("/").join(&container.bundle.id).exists());
}

#[test]
fn sub_cgroups_made_by_the_container_are_removed() {
    let container = Bundle::idle().container();
    container.up();
    for dir in host::cgroup_dirs(&container.bundle.cgroup()) {
        let deep = dir.join("made/by/container");
        for dir in [dir.join("made"), dir.join("made/by"), deep] {
            fs::create_dir(dir).unwrap();
        }
    }
    container.delete_force().ok();
    container.assert_nothing_left();
}

#[test]
fn a_memory_limit_kills() {
    if lacks(&["memory"]) {
        return;
    }
    let container = Bundle::probe(&["alloc:200000000"])
        .resources("memory", json!({ "limit": 33_554_432, "swap": 33_554_432 }))
        .container();
    if Cgroups::detect() == Cgroups::V1 && !host::cgroup_dir("memory", "/").join("memory.memsw.limit_in_bytes").exists()
    {
        let container =
            Bundle::probe(&["alloc:200000000"]).resources("memory", json!({ "limit": 33_554_432 })).container();
        return oom(&container);
    }
    oom(&container);
}

fn oom(container: &Container) {
    container.run().exits(128 + 9);
    container.assert_nothing_left();
}

#[test]
fn a_limit_the_kernel_refuses_fails_and_names_it() {
    if skip_on(&["crun"], "leaves the cgroups when create fails") {
        return;
    }
    let container = Bundle::idle().resources("cpu", json!({ "quota": 1, "period": 100_000 })).container();
    let text = container.create().fails();
    assert!(text.contains("cpu"), "{text}");
    container.assert_nothing_left();
}

#[test]
fn a_cpu_that_does_not_exist_is_refused() {
    if skip_on(&["crun"], "leaves the cgroups when create fails") {
        return;
    }
    let container = Bundle::idle().resources("cpu", json!({ "cpus": "4000" })).container();
    let text = container.create().fails();
    assert!(text.contains("cpuset") || text.contains("4000"), "{text}");
    container.assert_nothing_left();
}

#[test]
fn huge_pages_rdma_and_network_classes() {
    for (controller, name, value) in [
        ("hugetlb", "hugepageLimits", json!([{ "pageSize": "2MB", "limit": 4_194_304 }])),
        ("net_cls", "network", json!({ "classID": 1_048_577 })),
        ("rdma", "rdma", json!({ "mlx5_1": { "hcaHandles": 3 } })),
    ] {
        if host::has_controller(controller) {
            continue;
        }
        // What the host cannot limit must be refused, never ignored.
        let container = Bundle::idle().resources(name, value).container();
        if skip_on(&["runc", "crun"], "they ignore what has no controller") {
            return;
        }
        container.create().fails();
        container.assert_nothing_left();
    }
}

/// `--rootless true` is for who may not do everything: what this caller cannot have is left out, device rules too.
#[test]
fn device_rules_are_left_out_where_the_caller_may_make_no_cgroup() {
    if brisk_only("--rootless true takes what it gets") {
        return;
    }
    let bundle = Bundle::sh("true").resources("devices", json!([{ "allow": false, "access": "rwm" }]));
    let container = bundle.container();
    let script = "for m in /sys/fs/cgroup /sys/fs/cgroup/*; do \
            mountpoint -q $m && mount -o remount,bind,ro $m; done; exec \"$@\"";
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]);
    command.arg(crate::common::runtime()).arg("--root").arg(container.bundle.state_root());
    command.args(["--rootless", "true", "run", "--bundle"]).arg(&container.bundle.dir).arg(&container.id);
    crate::common::process::run(command).ok();
}

#[test]
fn memory_of_tcp_is_limited_on_v1() {
    let file = "memory.kmem.tcp.limit_in_bytes";
    let there = Cgroups::detect() == Cgroups::V1 && host::cgroup_dir("memory", "/").join(file).exists();
    if skip_unless(Need::from(there), "no limit on the memory of TCP here")
        || skip_on(&["runc"], "leaves it out since it gave up kernel memory")
    {
        return;
    }
    let container = Bundle::idle().resources("memory", json!({ "kernelTCP": 8_388_608 })).container();
    container.create().ok();
    assert_eq!(container.cgroup_file("memory", file), "8388608");
}
