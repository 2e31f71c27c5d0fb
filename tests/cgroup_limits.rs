//! linux.resources to writes, for both versions.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use brisk::host::cgroup::Layout;
use brisk::plan::cgroup::admission::{Surroundings, check, limit};
use brisk::plan::cgroup::cpu::weight_from_shares;
use brisk::plan::cgroup::files::{self, Capacity, Elsewhere, UnitProperty, Zero};
use brisk::plan::cgroup::io::io_weight;
use brisk::plan::cgroup::limits::plan_limits;
use brisk::plan::cgroup::memory::swap_max;
use brisk::plan::cgroup::update::{DeviceRules, merge, update};
use brisk::plan::cgroup::{CgroupOptions, Devices, Need, Phase, Privilege, Version, WhenMissing, Write, plan};
use brisk::spec::resources::Resources;

use crate::cgroup_layout::{host, v2};

fn resources(json: &str) -> Resources {
    serde_json::from_str(json).unwrap()
}

/// `FILE=VALUE`, with `?` where the file may be missing and `|FILE=VALUE` for its stand-in.
fn writes_in(json: &str, layout: &Layout, phase: Phase) -> Result<Vec<String>, String> {
    let limits = plan_limits(&resources(json), layout, phase).map_err(|e| e.to_string())?;
    let text = |w: &Write| match &w.missing {
        WhenMissing::Fail => format!("{}={}", w.file, w.value),
        WhenMissing::Skip => format!("{}={}?", w.file, w.value),
        WhenMissing::Instead { file, value } => format!("{}={}|{file}={value}", w.file, w.value),
    };
    Ok(limits.writes.iter().map(text).collect())
}

#[track_caller]
fn expect(json: &str, v1: &[&str], two: &[&str]) {
    assert_eq!(writes_in(json, &host("v1"), Phase::Create).unwrap(), v1, "v1 of {json}");
    assert_eq!(writes_in(json, &v2(), Phase::Create).unwrap(), two, "v2 of {json}");
}

#[track_caller]
fn refused(json: &str, layout: &Layout, text: &str) {
    let error = writes_in(json, layout, Phase::Create).unwrap_err();
    assert!(error.contains(text), "{error}");
}

#[test]
fn shares_become_weights() {
    for (shares, weight) in [(2, 1), (3, 2), (10, 4), (100, 17), (1024, 100), (2048, 174), (262_144, 10_000)] {
        assert_eq!(weight_from_shares(shares), weight, "{shares}");
    }
    assert_eq!((weight_from_shares(0), weight_from_shares(u64::MAX)), (1, 10_000));
    let weights: Vec<u64> = (2..262_144).step_by(97).map(weight_from_shares).collect();
    assert!(weights.is_sorted());
}

#[test]
fn blkio_weights_become_io_weights() {
    for (weight, io) in [(10, 1), (100, 910), (500, 4950), (1000, 10_000)] {
        assert_eq!(io_weight(weight), io);
    }
}

#[test]
fn swap_is_what_memory_leaves() {
    let cases = [
        ((None, None), Ok(None)),
        ((Some(100), None), Ok(None)),
        ((Some(-1), None), Ok(Some(-1))),
        ((Some(100), Some(-1)), Ok(Some(-1))),
        ((None, Some(-1)), Ok(Some(-1))),
        ((Some(-1), Some(300)), Ok(Some(300))),
        ((Some(100), Some(300)), Ok(Some(200))),
        ((Some(100), Some(100)), Ok(Some(0))),
        ((None, Some(300)), Err(())),
    ];
    for ((limit, swap), wanted) in cases {
        assert_eq!(swap_max(limit, swap).map_err(drop), wanted, "{limit:?} {swap:?}");
    }
}

#[test]
fn memory() {
    expect(
        r#"{"memory":{"limit":1048576,"swap":2097152,"reservation":524288}}"#,
        &["memory.limit_in_bytes=1048576", "memory.memsw.limit_in_bytes=2097152", "memory.soft_limit_in_bytes=524288"],
        &["memory.swap.max=1048576", "memory.max=1048576", "memory.low=524288"],
    );
    expect(
        r#"{"memory":{"limit":-1}}"#,
        &["memory.limit_in_bytes=-1", "memory.memsw.limit_in_bytes=-1?"],
        &["memory.swap.max=max?", "memory.max=max"],
    );
    expect(
        r#"{"memory":{"limit":4096,"swap":4096}}"#,
        &["memory.limit_in_bytes=4096", "memory.memsw.limit_in_bytes=4096"],
        &["memory.swap.max=0?", "memory.max=4096"],
    );
    expect(
        r#"{"memory":{"swappiness":0,"disableOOMKiller":true,"kernel":4096}}"#,
        &["memory.oom_control=1", "memory.swappiness=0"],
        &[],
    );
    expect(r#"{"memory":{"limit":0,"reservation":0,"swap":0,"kernel":0,"disableOOMKiller":false}}"#, &[], &[]);
    refused(r#"{"memory":{"limit":200,"swap":100}}"#, &host("v1"), "memory plus swap");
    refused(r#"{"memory":{"swap":100}}"#, &v2(), "unable to set swap limit without memory limit");
    refused(r#"{"memory":{"limit":-5}}"#, &v2(), "negative");
    refused(r#"{"memory":{"swappiness":101}}"#, &host("v1"), "0-100");
}

#[test]
fn what_is_ignored_is_told() {
    let json = r#"{"memory":{"kernel":1,"kernelTCP":1,"swappiness":1,"disableOOMKiller":true,"useHierarchy":false},
        "blockIO":{"leafWeight":20}}"#;
    let warnings = plan_limits(&resources(json), &v2(), Phase::Create).unwrap().warnings;
    assert_eq!(warnings.len(), 6, "{warnings:?}");
    // What is named, and given nothing.
    let json = r#"{"rdma":{"mlx5_1":{}},"blockIO":{"weightDevice":[{"major":8,"minor":0}]}}"#;
    let warnings = plan_limits(&resources(json), &v2(), Phase::Create).unwrap().warnings.join("; ");
    assert!(warnings.contains("rdma: mlx5_1 is given no limit"), "{warnings}");
    assert!(warnings.contains("weightDevice: 8:0 is given no weight"), "{warnings}");
}

#[test]
fn cpu() {
    expect(
        r#"{"cpu":{"shares":1024,"quota":50000,"period":200000,"burst":1000,"idle":1,"cpus":"0-1","mems":"0"}}"#,
        &[
            "cpu.shares=1024",
            "cpu.cfs_period_us=200000",
            "cpu.cfs_quota_us=50000",
            "cpu.cfs_burst_us=1000",
            "cpu.idle=1",
            "cpuset.cpus=0-1",
            "cpuset.mems=0",
        ],
        &[
            "cpu.weight=100",
            "cpu.max=50000 200000",
            "cpu.max.burst=1000",
            "cpu.idle=1",
            "cpuset.cpus=0-1",
            "cpuset.mems=0",
        ],
    );
    expect(r#"{"cpu":{"quota":-1}}"#, &["cpu.cfs_quota_us=-1"], &["cpu.max=max 100000"]);
    // What is negative is no limit, as for the kernel on v1 and for runc.
    expect(r#"{"cpu":{"quota":-5}}"#, &["cpu.cfs_quota_us=-1"], &["cpu.max=max 100000"]);
    expect(r#"{"cpu":{"period":50000}}"#, &["cpu.cfs_period_us=50000"], &["cpu.max=max 50000"]);
    expect(
        r#"{"cpu":{"burst":0,"idle":0}}"#,
        &["cpu.cfs_burst_us=0?", "cpu.idle=0?"],
        &["cpu.max.burst=0?", "cpu.idle=0?"],
    );
    expect(r#"{"cpu":{"shares":0,"quota":0,"period":0,"cpus":"","mems":"","realtimeRuntime":0}}"#, &[], &[]);
    let realtime = r#"{"cpu":{"realtimePeriod":1000000,"realtimeRuntime":95000}}"#;
    assert_eq!(
        writes_in(realtime, &host("v1"), Phase::Create).unwrap(),
        ["cpu.rt_period_us=1000000", "cpu.rt_runtime_us=95000"]
    );
    refused(realtime, &v2(), "cgroup v1");
    refused(r#"{"cpu":{"shares":1}}"#, &host("v1"), "the minimum allowed cpu-shares is 2");
    refused(r#"{"cpu":{"shares":300000}}"#, &host("v1"), "the maximum allowed cpu-shares is 262144");
    refused(r#"{"cpu":{"idle":2}}"#, &v2(), "idle");
}

#[test]
fn pids_hugetlb_rdma_network() {
    for (limit, value) in [(-2, "max"), (-1, "max"), (0, "1"), (1, "1"), (77, "77")] {
        let wanted = format!("pids.max={value}");
        expect(&format!(r#"{{"pids":{{"limit":{limit}}}}}"#), &[&wanted], &[&wanted]);
    }
    expect(
        r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#,
        &["hugetlb.2MB.limit_in_bytes=4194304", "hugetlb.2MB.rsvd.limit_in_bytes=4194304?"],
        &["hugetlb.2MB.max=4194304", "hugetlb.2MB.rsvd.max=4194304?"],
    );
    for size in ["2mb", "MB", "02MB", "2B", "2MBB", "../2MB", "2TB"] {
        refused(&format!(r#"{{"hugepageLimits":[{{"pageSize":"{size}","limit":1}}]}}"#), &v2(), "page size");
    }
    let rdma = "rdma.max=mlx5_0 hca_handle=3 hca_object=10000";
    expect(r#"{"rdma":{"mlx5_0":{"hcaHandles":3,"hcaObjects":10000}}}"#, &[rdma], &[rdma]);
    let network = r#"{"network":{"classID":1048577,"priorities":[{"name":"eth0","priority":500}]}}"#;
    assert_eq!(
        writes_in(network, &host("v1"), Phase::Create).unwrap(),
        ["net_cls.classid=1048577", "net_prio.ifpriomap=eth0 500"]
    );
    refused(network, &v2(), "cgroup v1");
}

#[test]
fn block_io() {
    expect(
        r#"{"blockIO":{"weight":500,"weightDevice":[{"major":8,"minor":0,"weight":100}],
            "throttleReadBpsDevice":[{"major":8,"minor":0,"rate":600}],
            "throttleWriteIOPSDevice":[{"major":8,"minor":16,"rate":0}]}}"#,
        &[
            "blkio.weight=500|blkio.bfq.weight=500",
            "blkio.weight_device=8:0 100|blkio.bfq.weight_device=8:0 100",
            "blkio.throttle.read_bps_device=8:0 600",
            "blkio.throttle.write_iops_device=8:16 0",
        ],
        &[
            "io.bfq.weight=500|io.weight=4950",
            "io.bfq.weight=8:0 100|io.weight=8:0 910",
            "io.max=8:0 rbps=600",
            "io.max=8:16 wiops=max",
        ],
    );
    expect(
        r#"{"blockIO":{"leafWeight":200,"weightDevice":[{"major":8,"minor":0,"leafWeight":300}]}}"#,
        &["blkio.leaf_weight=200", "blkio.leaf_weight_device=8:0 300"],
        &[],
    );
    refused(r#"{"blockIO":{"weight":9}}"#, &v2(), "10-1000");
    refused(r#"{"blockIO":{"throttleReadBpsDevice":[{"major":-1,"minor":0,"rate":1}]}}"#, &v2(), "device number");
}

#[test]
fn unified() {
    let ok = r#"{"unified":{"io.max":"8:0 rbps=1\n8:16 wbps=2\n","memory.high":"max","cgroup.max.depth":"3"}}"#;
    assert_eq!(
        writes_in(ok, &v2(), Phase::Create).unwrap(),
        ["cgroup.max.depth=3", "io.max=8:0 rbps=1", "io.max=8:16 wbps=2", "memory.high=max"]
    );
    refused(ok, &host("v1"), "cgroup v2");
    for (key, text) in [
        ("../memory.max", "name of a file"),
        ("memory..max", "name of a file"),
        ("a/b.c", "name of a file"),
        ("memory", "CONTROLLER.PARAMETER"),
        (".max", "CONTROLLER.PARAMETER"),
        ("perf_event.x", "no controller perf_event"),
        ("cgroup.procs", "not a limit"),
    ] {
        refused(&format!(r#"{{"unified":{{"{key}":"1"}}}}"#), &v2(), text);
    }
}

#[test]
fn a_missing_controller_matters_only_when_it_is_asked_for_something() {
    let bare = host("hybrid");
    for (json, controller) in [
        (r#"{"pids":{"limit":5}}"#, "pids"),
        (r#"{"cpu":{"shares":5}}"#, "cpu"),
        (r#"{"cpu":{"cpus":"0"}}"#, "cpuset"),
        (r#"{"blockIO":{"weight":50}}"#, "blkio"),
        (r#"{"hugepageLimits":[{"pageSize":"2MB","limit":1}]}"#, "hugetlb"),
        (r#"{"network":{"classID":5}}"#, "net_cls"),
    ] {
        refused(json, &bare, &format!("no {controller} controller"));
    }
    assert_eq!(
        writes_in(r#"{"pids":{},"cpu":{"burst":0},"blockIO":{"weight":0}}"#, &bare, Phase::Create).unwrap().len(),
        0
    );
}

#[test]
fn docker_updates_touch_only_what_they_set() {
    let current = resources(
        r#"{"memory":{"limit":1000,"swap":3000},"cpu":{"quota":20000,"period":50000,"shares":512},"pids":{"limit":9}}"#,
    );
    let docker = r#"{"memory":{"limit":0,"reservation":0,"kernel":0},
        "cpu":{"shares":0,"quota":0,"period":0,"cpus":"0"},"blockIO":{"weight":0}}"#;
    let plan = update(&current, &resources(docker), &v2(), DeviceRules::Keep).unwrap();
    let files: Vec<&str> = plan.writes.iter().map(|w| w.file.as_str()).collect();
    assert_eq!(files, ["cpuset.cpus"]);
    let mut wanted = current.clone();
    wanted.cpu.as_mut().unwrap().cpus = Some("0".into());
    let kept = &plan.resources;
    assert_eq!((&kept.memory, &kept.cpu, &kept.pids), (&wanted.memory, &wanted.cpu, &wanted.pids));
}

#[test]
fn an_update_completes_pairs_from_what_is_in_force() {
    let current = resources(r#"{"memory":{"limit":1000,"swap":3000},"cpu":{"quota":20000,"period":50000}}"#);
    let lines = |json: &str| -> Vec<String> {
        let plan = update(&current, &resources(json), &v2(), DeviceRules::Keep).unwrap();
        plan.writes.iter().map(|w| format!("{}={}", w.file, w.value)).collect()
    };
    assert_eq!(lines(r#"{"cpu":{"quota":30000}}"#), ["cpu.max=30000 50000"]);
    assert_eq!(lines(r#"{"cpu":{"period":10000}}"#), ["cpu.max=20000 10000"]);
    assert_eq!(lines(r#"{"memory":{"limit":2000}}"#), ["memory.swap.max=1000", "memory.max=2000"]);
    assert_eq!(lines(r#"{"memory":{"swap":4000}}"#), ["memory.swap.max=3000", "memory.max=1000"]);
    assert_eq!(lines(r#"{"memory":{"limit":-1}}"#), ["memory.swap.max=max", "memory.max=max"]);
    assert_eq!(lines(r#"{"pids":{"limit":0}}"#), ["pids.max=1"]);
}

/// The kernel resets the shares when a cgroup is no longer idle, and refuses them while it is.
#[test]
fn shares_come_back_when_a_container_is_no_longer_idle() {
    let lines = |current: &str, change: &str| -> Vec<String> {
        let plan = update(&resources(current), &resources(change), &host("v1"), DeviceRules::Keep).unwrap();
        plan.writes.iter().map(|w| format!("{}={}", w.file, w.value)).collect()
    };
    let (busy, idle) = (r#"{"cpu":{"shares":512}}"#, r#"{"cpu":{"shares":512,"idle":1}}"#);
    assert_eq!(lines(idle, r#"{"cpu":{"idle":0}}"#), ["cpu.shares=512", "cpu.idle=0"]);
    assert_eq!(lines(busy, r#"{"cpu":{"idle":1}}"#), ["cpu.shares=512", "cpu.idle=1"]);
    assert_eq!(lines(idle, r#"{"cpu":{"idle":1}}"#), ["cpu.idle=1"]);
    assert_eq!(lines(r#"{"cpu":{"idle":1}}"#, r#"{"cpu":{"idle":0}}"#), ["cpu.idle=0"]);
    assert_eq!(lines(idle, r#"{"cpu":{"idle":0,"shares":300}}"#), ["cpu.shares=300", "cpu.idle=0"]);
    assert_eq!(lines(idle, r#"{"cpu":{"quota":5000}}"#), ["cpu.cfs_quota_us=5000"]);
}

/// The kernel takes one of the two, and systemd has one property for both: what is asked for last holds.
#[test]
fn a_weight_ends_that_a_container_is_idle() {
    let of = |current: &str, change: &str, layout: &Layout| {
        let plan = update(&resources(current), &resources(change), layout, DeviceRules::Keep).unwrap();
        let lines: Vec<String> = plan.writes.iter().map(|w| format!("{}={}", w.file, w.value)).collect();
        let idle = plan.resources.cpu.and_then(|cpu| cpu.idle);
        (lines.join(" "), idle, plan.resources.unified.contains_key("cpu.idle"), plan.warnings.join(" "))
    };
    let (busy, idle) = (r#"{"cpu":{"shares":512}}"#, r#"{"cpu":{"idle":1}}"#);
    let (shares, both) = (r#"{"cpu":{"shares":300}}"#, r#"{"cpu":{"shares":300,"idle":1}}"#);
    assert_eq!(of(idle, shares, &host("v1")), ("cpu.shares=300 cpu.idle=0".into(), Some(0), false, String::new()));
    assert_eq!(of(busy, shares, &host("v1")), ("cpu.shares=300".into(), None, false, String::new()));
    let warned = |found: (String, _, _, String)| {
        assert!(found.3.contains("unable to apply both"), "{found:?}");
        (found.0, found.1)
    };
    assert_eq!(warned(of(busy, both, &host("v1"))), ("cpu.shares=300 cpu.idle=1".into(), Some(1)));
    assert_eq!(warned(of(idle, both, &host("v1"))), ("cpu.idle=1".into(), Some(1)));
    let (unified, weight) = (r#"{"unified":{"cpu.idle":"1"}}"#, r#"{"unified":{"cpu.weight":"8"}}"#);
    let found = of(unified, weight, &v2());
    assert!(found.0.contains("cpu.idle=0") && found.0.contains("cpu.weight=8") && !found.2, "{found:?}");
    let weighed = r#"{"unified":{"cpu.idle":"1","cpu.weight":"8"}}"#;
    assert_eq!(warned(of("{}", weighed, &v2())).0, "cpu.weight=8 cpu.idle=1");
    // However the two were asked for, and are taken back.
    let by_file = r#"{"cpu":{"shares":1024},"unified":{"cpu.idle":"1"}}"#;
    assert_eq!(of(by_file, r#"{"cpu":{"idle":1}}"#, &v2()).0, "cpu.idle=1");
    assert_eq!(of(by_file, r#"{"unified":{"cpu.idle":"1"}}"#, &v2()).0, "cpu.idle=1");
    assert_eq!(of(by_file, r#"{"unified":{"cpu.idle":"0"}}"#, &v2()).0, "cpu.weight=100 cpu.idle=0");
    assert_eq!(of(by_file, r#"{"cpu":{"idle":0}}"#, &v2()).0, "cpu.weight=100 cpu.idle=0");
    assert_eq!(of(weighed, r#"{"cpu":{"idle":0}}"#, &v2()).0, "cpu.idle=0 cpu.weight=8");
    assert_eq!(of(r#"{"cpu":{"idle":1}}"#, r#"{"unified":{"cpu.idle":"0"}}"#, &v2()).0, "cpu.idle=0");
    let nice = r#"{"unified":{"cpu.weight.nice":"3"}}"#;
    assert_eq!(of(nice, r#"{"cpu":{"idle":1}}"#, &v2()).0, "cpu.weight.nice=3 cpu.idle=1");
}

/// What is made again from the record has what was asked for last, whichever of the two names of a file that was by.
#[test]
fn a_field_replaces_what_unified_said_of_its_file() {
    let unified = |current: &str, change: &str| {
        let plan = update(&resources(current), &resources(change), &v2(), DeviceRules::Keep).unwrap();
        plan.resources.unified.into_iter().map(|(file, value)| format!("{file}={value}")).collect::<Vec<_>>()
    };
    let current = r#"{"unified":{"pids.max":"20","cpu.idle":"1","memory.high":"9000"}}"#;
    assert_eq!(unified(current, r#"{"pids":{"limit":10},"cpu":{"idle":0}}"#), ["memory.high=9000"]);
    assert_eq!(unified(current, r#"{"unified":{"pids.max":"7"}}"#), ["cpu.idle=1", "memory.high=9000", "pids.max=7"]);
}

/// A weight has three names, and the last that was asked for is the only one.
#[test]
fn a_weight_replaces_a_weight() {
    let of = |current: &str, change: &str| {
        let plan = update(&resources(current), &resources(change), &v2(), DeviceRules::Keep).unwrap();
        let writes: Vec<String> = plan.writes.iter().map(|w| format!("{}={}", w.file, w.value)).collect();
        let kept: Vec<String> = plan.resources.unified.iter().map(|(file, value)| format!("{file}={value}")).collect();
        format!("{}; {}", writes.join(" "), kept.join(" "))
    };
    let idle = r#"{"unified":{"cpu.weight":"50","cpu.idle":"1"}}"#;
    for current in [r#"{"unified":{"cpu.weight":"50"}}"#, idle, r#"{"unified":{"cpu.weight.nice":"5"}}"#] {
        assert_eq!(of(current, r#"{"cpu":{"idle":0,"shares":1024}}"#), "cpu.weight=100 cpu.idle=0; ", "{current}");
    }
    assert_eq!(of(idle, r#"{"cpu":{"shares":1024}}"#), "cpu.weight=100 cpu.idle=0; ");
    let nice = r#"{"cpu":{"shares":1024},"unified":{"cpu.weight.nice":"5"}}"#;
    assert_eq!(of(nice, r#"{"unified":{"cpu.weight":"50"}}"#), "cpu.weight=50; cpu.weight=50");
    let both = r#"{"cpu":{"idle":0},"unified":{"cpu.weight":"50"}}"#;
    assert_eq!(of(nice, both), "cpu.idle=0 cpu.weight=50; cpu.weight=50");
    assert_eq!(of(nice, r#"{"pids":{"limit":7}}"#), "pids.max=7; cpu.weight.nice=5");
}

/// A new container is told as an update is, and gets its weight before it is idle.
#[test]
fn a_new_container_is_not_idle_with_a_weight_without_a_word() {
    for json in [
        r#"{"cpu":{"shares":1024,"idle":1}}"#,
        r#"{"cpu":{"idle":1},"unified":{"cpu.weight":"100"}}"#,
        r#"{"unified":{"cpu.idle":"1","cpu.weight":"100"}}"#,
    ] {
        let options = CgroupOptions { cgroups_path: None, id: "c", privilege: Privilege::Root };
        let planned = plan(&resources(json), &v2(), &options).unwrap();
        let lines: Vec<String> = planned.writes.iter().map(|w| format!("{}={}", w.file, w.value)).collect();
        assert_eq!(lines.join(" "), "cpu.weight=100 cpu.idle=1", "{json}");
        assert!(planned.warnings.iter().any(|text| text.contains("unable to apply both")), "{json}");
    }
}

#[test]
fn device_rules_and_weights_merge_by_number() {
    let current = resources(
        r#"{"devices":[{"allow":true,"type":"c","major":1,"minor":2,"access":"r"}],
            "blockIO":{"weightDevice":[{"major":8,"minor":0,"weight":100},{"major":8,"minor":1,"weight":200}]}}"#,
    );
    let change = resources(
        r#"{"devices":[{"allow":false}],
            "blockIO":{"weightDevice":[{"major":8,"minor":1,"weight":300},{"major":8,"minor":2,"weight":400}]}}"#,
    );
    let merged = merge(&current, &change).unwrap();
    assert_eq!(merged.devices, current.devices, "an update never touches device rules");
    let weights: Vec<_> = merged.block_io.unwrap().weight_device.iter().map(|d| (d.minor, d.weight)).collect();
    assert_eq!(weights, [(0, Some(100)), (1, Some(300)), (2, Some(400))]);
}

#[test]
fn check_before_update_is_a_check_of_updates_on_v2() {
    let change = resources(r#"{"memory":{"limit":1000,"swap":3000,"checkBeforeUpdate":true}}"#);
    let checks = |layout: &Layout| update(&Resources::default(), &change, layout, DeviceRules::Keep).unwrap().checks;
    let limits: Vec<_> = checks(&v2()).iter().map(|c| (c.file.clone(), c.limit)).collect();
    assert_eq!(limits, [("memory.current".to_owned(), 3000), ("memory.current".to_owned(), 1000)]);
    // The v1 kernel itself refuses a limit below the usage.
    assert!(checks(&host("v1")).is_empty());
    assert!(limits_of_create(&change).is_empty());
}

fn limits_of_create(resources: &Resources) -> Vec<brisk::plan::cgroup::UsageCheck> {
    plan_limits(resources, &v2(), Phase::Create).unwrap().checks
}

#[test]
fn who_asks_decides_about_need_and_devices() {
    let options = |privilege, cgroups_path| CgroupOptions { cgroups_path, id: "c", privilege };
    let none = Resources::default();
    let plan_of = |layout: &Layout, options: &CgroupOptions| plan(&none, layout, options).unwrap();
    let root = plan_of(&v2(), &options(Privilege::Root, None));
    assert!(matches!(root.devices, Devices::Bpf(_)));
    assert_eq!(root.need, Need::Required);
    let rootless = plan_of(&v2(), &options(Privilege::Rootless, None));
    assert_eq!((rootless.need, rootless.devices), (Need::BestEffort, Devices::Unrestricted));
    assert_eq!(plan_of(&v2(), &options(Privilege::Rootless, Some("/a"))).need, Need::Required);
    assert!(matches!(plan_of(&host("v1"), &options(Privilege::Root, None)).devices, Devices::V1(_)));
    let nothing = Layout::default();
    assert!(plan(&none, &nothing, &options(Privilege::Root, None)).is_err());
    assert!(plan(&none, &nothing, &options(Privilege::Rootless, None)).unwrap().dirs.is_empty());
}

#[test]
fn admission() {
    let write = |file: &str, value: &str| brisk::plan::cgroup::Write {
        controller: "memory".into(),
        file: file.into(),
        value: value.into(),
        missing: brisk::plan::cgroup::WhenMissing::Fail,
    };
    assert_eq!(limit(Capacity::Cpu, "50000 100000", 1), Some(500));
    assert_eq!(limit(Capacity::Cpu, "50000", 25_000), Some(2000));
    assert_eq!(limit(Capacity::Cpu, "max 100000", 1), None);
    assert_eq!(limit(Capacity::Memory, "9223372036854771712", 1), None);
    assert_eq!(limit(Capacity::Memory, "-1", 1), None);
    assert_eq!(files::find("memory.low").and_then(|file| file.capacity), None);
    let facts = Surroundings { used: Some(50), above: Some(1000), siblings: 300 };
    let ask =
        |new: u64| check(&write("memory.max", "x"), Capacity::Memory, Some(new), facts).map_err(|e| e.to_string());
    assert!(ask(50).is_ok() && ask(700).is_ok());
    assert!(ask(49).unwrap_err().contains("in use is 50"));
    assert!(ask(1001).unwrap_err().contains("of a parent is 1000"));
    assert!(ask(701).unwrap_err().contains("300 is given to others"));
}

#[test]
fn every_limit_is_in_the_registry() {
    for (index, file) in files::ALL.iter().enumerate() {
        let name = file.sized("2MB");
        assert_eq!(files::find(&name), Some(file), "{name} is found");
        assert!(!files::ALL[..index].iter().any(|other| other.name == file.name), "{name} is there once");
        // Of one version the I/O schedulers alone have a file each; quota and period are one property.
        let of_both = |other: &&files::LimitFile| other.is_of(Version::V1) == file.is_of(Version::V1);
        for other in files::ALL[..index].iter().filter(of_both) {
            let field = file.field.filter(|_| file.scheduler == other.scheduler);
            assert!(field.is_none() || field != other.field, "{name} and {} are of one field", other.name);
            let property = file.property.filter(|property| *property != UnitProperty::Bandwidth);
            assert!(property.is_none() || property != other.property, "{name} and {} are one property", other.name);
        }
        let key = file.field.and_then(|field| field.rsplit('/').next()).unwrap_or_default();
        for version in [Version::V1, Version::V2] {
            if let Elsewhere::Ignored(said) | Elsewhere::Refused(_, said) = file.elsewhere(version) {
                let named = said.starts_with("linux.resources.") && (said.contains(key) || key == "classID");
                assert!(named, "{name}: {said:?} does not name {key}");
            }
        }
    }
    assert_eq!(files::find("hugetlb.2MB.rsvd.max"), Some(&files::HUGETLB_RSVD_MAX), "a size has no dot");
    assert_eq!(files::find("memory.maximum"), None);
}

/// The limits of config.json that have this number for the field of a file.
fn with_number(file: &files::LimitFile, number: i64) -> serde_json::Value {
    let (object, key) = file.field.unwrap().split_once('/').unwrap();
    match object {
        "weightDevice" => serde_json::json!({ "blockIO": { object: [{ "major": 8, "minor": 0, key: number }] } }),
        _ => serde_json::json!({ object: { key: number } }),
    }
}

/// What is negative is no limit, in the words of the row: however it is put, the number itself is not written.
#[test]
fn no_limit_is_what_the_registry_says() {
    let mut seen = 0;
    for file in files::ALL.iter().filter(|file| file.field.is_some() && file.unlimited.is_some()) {
        let json = with_number(file, -1).to_string();
        for host in [host("v1"), v2()] {
            let writes = plan_limits(&resources(&json), &host, Phase::Create).map_or(vec![], |limits| limits.writes);
            for write in writes.iter().filter(|write| files::find(&write.file) == Some(file)) {
                let value = write.value.split(' ').next();
                assert_eq!(value, file.unlimited, "{json}: {write:?}");
                seen += 1;
            }
        }
    }
    assert!(seen > 8, "{seen}");
}

/// A zero that means "not set" neither writes a file nor changes what an update keeps.
#[test]
fn zeros_mean_what_the_registry_says() {
    let mut unset = 0;
    for file in files::ALL.iter().filter(|file| file.zero == Zero::Unset) {
        let json = with_number(file, 0);
        let [zero, more]: [Resources; 2] =
            [0, 64].map(|number| serde_json::from_value(with_number(file, number)).unwrap());
        for host in [host("v1"), v2()] {
            let writes = plan_limits(&zero, &host, Phase::Create).unwrap().writes;
            assert!(writes.is_empty(), "{json}: {writes:?}");
        }
        assert_eq!(merge(&more, &zero).unwrap(), more, "{json}");
        unset += 1;
    }
    assert!(unset > 15, "{unset}");
}

/// linux.resources of the bundle that has every field.
fn all_resources() -> serde_json::Value {
    let text = std::fs::read(crate::fixture("bundles/everything/config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_slice(&text).unwrap();
    config["linux"]["resources"].clone()
}

/// A field that a row names by a word of its own is found by nobody: errors would name it, and systemd's reader would miss it.
#[test]
fn the_registry_names_fields_of_config_json() {
    let resources = all_resources();
    for file in files::ALL {
        let Some((object, key)) = file.field.and_then(|field| field.split_once('/')) else { continue };
        let of = if object == "weightDevice" { &resources["blockIO"][object][0] } else { &resources[object] };
        assert!(
            !of[key].is_null(),
            "{}: fixtures/bundles/everything has no {object}.{key}, is it spelled so?",
            file.name
        );
    }
}

/// What is written on either kind of host for each limit of the bundle that has them all, one by one: the whole is refused on every host.
fn written() -> Vec<(Version, Phase, Write)> {
    let mut single = Vec::new();
    for (object, values) in all_resources().as_object().unwrap().iter().filter(|(object, _)| *object != "unified") {
        // Swap is nothing without a limit of memory.
        single.push(serde_json::json!({object: values}));
        let values = values.as_object().into_iter().flatten();
        single.extend(values.map(|(key, value)| serde_json::json!({object: {key: value}})));
    }
    let mut written = Vec::new();
    for (layout, version) in [(host("v1"), Version::V1), (v2(), Version::V2)] {
        for wanted in &single {
            let asked: Resources = serde_json::from_value(wanted.clone()).unwrap();
            let created = plan_limits(&asked, &layout, Phase::Create).map_or(vec![], |limits| limits.writes);
            let updated = update(&Resources::default(), &asked, &layout, DeviceRules::Keep);
            for (phase, writes) in
                [(Phase::Create, created), (Phase::Update, updated.map_or(vec![], |plan| plan.writes))]
            {
                for (index, write) in writes.iter().enumerate() {
                    assert!(!writes[..index].contains(write), "{write:?} is written twice for {wanted}");
                }
                written.extend(writes.into_iter().map(|write| (version, phase, write)));
            }
        }
    }
    written
}

/// A row of the table that says which version has the file, and a limit that is given to the other.
#[test]
fn no_limit_is_written_where_its_file_is_not() {
    let mut seen = 0;
    for (version, _, write) in written() {
        let Some(file) = files::find(&write.file) else { continue };
        assert!(file.version.is_none_or(|of| of == version), "{} on {version:?}", write.file);
        seen += 1;
    }
    assert!(seen > 30, "only {seen} writes");
}

/// A row that nobody puts a value into promises a limit that is never set; so does one that only `create` does, or only one version.
#[test]
fn every_file_of_the_registry_is_written() {
    let mut written = written();
    let instead = written.iter().filter_map(|(version, phase, write)| match &write.missing {
        WhenMissing::Instead { file, .. } => Some((*version, *phase, Write { file: file.clone(), ..write.clone() })),
        _ => None,
    });
    written.extend(instead.collect::<Vec<_>>());
    let mut unwritten = Vec::new();
    for version in [Version::V1, Version::V2] {
        let by_name = |file: &&files::LimitFile| {
            [Version::V1, Version::V2].iter().any(|version| file.elsewhere(*version) == Elsewhere::ByName)
        };
        for file in files::ALL.iter().filter(|file| file.is_of(version) && !by_name(file)) {
            for phase in [Phase::Create, Phase::Update] {
                let is_it = |(of, when, write): &(Version, Phase, Write)| {
                    (*of, *when) == (version, phase) && files::find(&write.file) == Some(file)
                };
                if !written.iter().any(is_it) {
                    unwritten.push(format!("{} of {version:?}, {phase:?}", file.name));
                }
            }
        }
    }
    assert!(
        unwritten.is_empty(),
        "no value of fixtures/bundles/everything is written to {unwritten:?}: `out.put_number(&files::…)` in the module of its \
        controller (src/plan/cgroup) does that, and the fixture needs a field that asks for it"
    );
}

/// What is not put as it is, or has a range: field, number, and what the files of v1 and v2 get.
const CONVERTED: &[(&str, i64, &str, &str)] = &[
    ("memory/swappiness", 67, "67", ""),
    ("cpu/shares", 12_345, "12345", "745"),
    ("cpu/period", 234_567, "234567", "max 234567"),
    ("cpu/quota", 1_234_567, "1234567", "1234567 100000"),
    ("cpu/realtimeRuntime", 234_567, "234567", ""),
    ("cpu/idle", 1, "1", "1"),
    ("blockIO/weight", 567, "567", "567"),
    ("blockIO/leafWeight", 567, "567", ""),
    ("weightDevice/weight", 567, "8:0 567", "8:0 567"),
    ("weightDevice/leafWeight", 567, "8:0 567", ""),
];

/// A limit that was made of another's lines: put only beside that one, from its value, or in its unit.
#[test]
fn each_limit_alone_is_in_its_file_as_it_is() {
    // What is no number; and swap, which is nothing without a limit of memory.
    let other = ["memory/disableOOMKiller", "cpu/cpus", "cpu/mems", "memory/swap"];
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for file in files::ALL.iter().filter(|file| file.field.is_some_and(|field| !other.contains(&field))) {
        let field = file.field.unwrap();
        let row = CONVERTED.iter().find(|row| row.0 == field);
        let (_, number, v1_text, v2_text) = *row.unwrap_or(&(field, 1_234_567, "1234567", "1234567"));
        let asked = with_number(file, number).to_string();
        let hosts = [(host("v1"), Version::V1, v1_text), (v2(), Version::V2, v2_text)];
        for (layout, _, text) in hosts.into_iter().filter(|(_, version, _)| file.is_of(*version)) {
            for phase in [Phase::Create, Phase::Update] {
                let writes = writes_in(&asked, &layout, phase).unwrap_or_else(|error| vec![error]).join("|");
                let is_it = |write: &str| {
                    let (name, value) = write.split_once('=').unwrap_or_default();
                    // It has another range than the one of the scheduler.
                    let text = if *file == files::IO_WEIGHT { "5626" } else { text };
                    name == file.name && value == text
                };
                seen += 1;
                if writes.split('|').filter(|write| is_it(write)).count() != 1 {
                    wrong.push(format!("{asked} alone: {} is to get {text:?} by {phase:?}: {writes}", file.name));
                }
            }
        }
    }
    assert!(seen > 50, "{seen}");
    let next = "a value goes into its own file as it is, whatever else is asked for, or how it is converted is a row of CONVERTED";
    assert!(wrong.is_empty(), "\n{}\n{next}", wrong.join("\n"));
}
