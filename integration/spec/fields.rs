//! Fields of config.json whose effect no other file looks at.

use std::fs;
use std::os::unix::net::UnixListener;

use nix::libc;
use serde_json::{Value, json};

use crate::common::host::Cgroups;
use crate::common::{Bundle, Need, brisk_only, host, skip_on, skip_unless};
use crate::spec::annotations::receive;

/// A call by its number, as the probe takes it.
fn call(number: libc::c_long, args: &str) -> String {
    format!("syscall:{number},{args}")
}

#[test]
fn seccomp_rules_with_arguments_and_errnos() {
    // An argument under a mask, one that is in a range, and a call that is refused whatever its arguments.
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
        "syscalls": [
            { "names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EPROTO,
              "args": [{ "index": 0, "op": "SCMP_CMP_MASKED_EQ", "value": 3, "valueTwo": 2 }] },
            { "names": ["getpgid"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EBADFD,
              "args": [{ "index": 0, "op": "SCMP_CMP_GE", "value": 1 }] },
            { "names": ["getsid"], "action": "SCMP_ACT_ERRNO" },
        ],
    });
    let table = [
        (call(libc::SYS_getpriority, "0,0"), None),
        (call(libc::SYS_getpriority, "2,0"), Some("EPROTO")),
        (call(libc::SYS_getpriority, "6,0"), Some("EPROTO")),
        (call(libc::SYS_getpgid, "0"), None),
        (call(libc::SYS_getpgid, "1"), Some("EBADFD")),
        (call(libc::SYS_getsid, "0"), Some("EPERM")),
    ];
    let ops: Vec<&str> = table.iter().map(|(op, _)| op.as_str()).collect();
    let out = Bundle::probe(&ops).set("/linux/seccomp", profile).container().run().ok().json();
    for (op, errno) in &table {
        assert_eq!(out[op]["errno"], json!(errno), "{op}: {out}");
    }
}

#[test]
fn the_default_errno_of_a_seccomp_profile() {
    if skip_on(&["runc", "crun"], "too old for the field, or for the profile's system calls") {
        return;
    }
    let docker: Value =
        serde_json::from_str(include_str!("../../fixtures/engines/docker-default-config.json")).unwrap();
    let kexec = call(libc::SYS_kexec_load, "0,0,0,0");
    let bundle = Bundle::probe(&[&kexec]).set("/linux/seccomp", docker["linux"]["seccomp"].clone());
    let out = bundle.set("/linux/seccomp/defaultErrnoRet", json!(libc::EPROTO)).container().run().ok().json();
    assert_eq!(out[&kexec]["errno"], "EPROTO");
}

#[test]
fn a_seccomp_flag_that_does_not_exist_is_refused() {
    let profile = |flag: &str| json!({ "defaultAction": "SCMP_ACT_ALLOW", "flags": [flag], "syscalls": [] });
    let bundle = |flag: &str| Bundle::sh("true").set("/linux/seccomp", profile(flag)).container();
    bundle("SECCOMP_FILTER_FLAG_LOG").run().ok();
    let text = bundle("SECCOMP_FILTER_FLAG_NOPE").run().fails();
    assert!(text.contains("SECCOMP_FILTER_FLAG_NOPE"), "{text}");
}

#[test]
fn the_seccomp_listener_comes_with_state_and_metadata() {
    if skip_on(&["runc", "crun"], "built without it") {
        return;
    }
    let bundle = Bundle::idle();
    let path = bundle.dir.join("agent.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path, "listenerMetadata": "for the agent",
        "syscalls": [{ "names": ["kexec_load"], "action": "SCMP_ACT_NOTIFY" }],
    });
    let container = bundle.set("/linux/seccomp", profile).container();
    container.up();
    let (text, _) = receive(&listener);
    let message: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(message["metadata"], "for the agent", "{message}");
    assert_eq!(message["fds"], json!(["seccompFd"]), "{message}");
    assert_eq!(message["state"]["id"], json!(container.id), "{message}");
    assert_eq!(message["pid"], json!(container.pid()), "{message}");
}

/// The listener is handed over before anybody can answer for it, by calls that the filter lets pass.
#[test]
fn the_seccomp_listener_is_handed_over_whatever_is_notified_of() {
    if skip_on(&["runc", "crun"], "built without it") {
        return;
    }
    let (errno, notify) = ("SCMP_ACT_ERRNO", "SCMP_ACT_NOTIFY");
    for (names, action) in [
        (&["sendmsg", "sendto"][..], notify),
        (&["sendmsg", "recvfrom", "recvmsg"], errno),
        (&["sendmsg", "sendto", "recvfrom"], "SCMP_ACT_KILL_PROCESS"),
        (&["write", "sendmsg"], errno),
    ] {
        let bundle = Bundle::idle();
        let path = bundle.dir.join("agent.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let profile = json!({
            "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path,
            "syscalls": [{ "names": ["kexec_load"], "action": notify }, { "names": names, "action": action }],
        });
        let container = bundle.set("/linux/seccomp", profile).container();
        container.create().ok();
        let (text, _) = receive(&listener);
        assert!(text.contains("seccompFd"), "{names:?} {action}: {text}");
    }
    let nothing = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/agent.sock",
        "syscalls": [{ "names": ["kexec_load"], "action": notify }, { "names": ["write", "sendto"], "action": errno }],
    });
    let text = Bundle::idle().set("/linux/seccomp", nothing).container().create().fails();
    assert!(text.contains("neither write nor sendto"), "{text}");
}

#[test]
fn the_memory_policy_is_set() {
    if skip_on(&["runc", "crun"], "came later")
        || skip_unless(Need::from(fs::exists("/proc/self/numa_maps").unwrap()), "a kernel without NUMA")
    {
        return;
    }
    // Every mode that `features` names, and every flag; that of balancing older kernels know, but do not show.
    let cases: [(&str, &str, &[&str], &str); 10] = [
        ("MPOL_BIND", "0", &["MPOL_F_STATIC_NODES"], "bind=static:0"),
        ("MPOL_BIND", "0", &["MPOL_F_RELATIVE_NODES"], "bind=relative:0"),
        ("MPOL_BIND", "0", &["MPOL_F_NUMA_BALANCING"], "bind=balancing:0"),
        ("MPOL_INTERLEAVE", "0", &["MPOL_F_STATIC_NODES"], "interleave=static:0"),
        ("MPOL_PREFERRED", "0", &[], "prefer:0"),
        ("MPOL_PREFERRED_MANY", "0", &[], "prefer (many):0"),
        ("MPOL_LOCAL", "", &[], "local"),
        ("MPOL_DEFAULT", "", &[], "default"),
        ("MPOL_DEFAULT", "", &["MPOL_F_RELATIVE_NODES"], "default"),
        ("MPOL_WEIGHTED_INTERLEAVE", "0", &[], "weighted interleave:0"),
    ];
    for (mode, nodes, flags, shown) in cases {
        let newer =
            |name, major, minor| (mode == name || flags.contains(&name)) && !host::kernel_is_at_least(major, minor);
        if newer("MPOL_PREFERRED_MANY", 5, 15)
            || newer("MPOL_WEIGHTED_INTERLEAVE", 6, 9)
            || newer("MPOL_F_NUMA_BALANCING", 6, 18)
        {
            continue;
        }
        let policy = json!({ "mode": mode, "nodes": nodes, "flags": flags });
        let container = Bundle::probe(&["read:/proc/self/numa_maps"]).set("/linux/memoryPolicy", policy).container();
        let out = container.run().ok().json();
        let maps = out["read:/proc/self/numa_maps"].as_str().unwrap();
        assert!(maps.lines().next().unwrap().contains(&format!(" {shown} ")), "{mode} {flags:?}: {maps}");
    }
}

#[test]
fn a_memory_policy_that_the_kernel_refuses_is_told_with_its_nodes() {
    if skip_on(&["runc", "crun"], "words of ours")
        || skip_unless(Need::from(fs::exists("/proc/self/numa_maps").unwrap()), "a kernel without NUMA")
    {
        return;
    }
    let policy = json!({ "mode": "MPOL_BIND", "nodes": "960-961", "flags": ["MPOL_F_STATIC_NODES"] });
    let text = Bundle::probe(&[]).set("/linux/memoryPolicy", policy).container().run().fails();
    for word in
        ["MPOL_BIND|MPOL_F_STATIC_NODES on nodes 960,961", "invalid argument", "hint: linux.memoryPolicy", "cpu.mems"]
    {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn a_deadline_is_set() {
    if skip_on(&["runc", "crun"], "came later") {
        return;
    }
    let scheduler = json!({
        "policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 2_000_000, "period": 4_000_000,
        "flags": ["SCHED_FLAG_RECLAIM"],
    });
    let container = Bundle::probe(&["report"]).set("/process/scheduler", scheduler).container();
    let seen = container.run().ok().json()["report"]["scheduler"].clone();
    for (field, value) in
        [("policy", 6), ("flags", 2), ("runtime", 1_000_000), ("deadline", 2_000_000), ("period", 4_000_000)]
    {
        assert_eq!(seen[field], json!(value), "{field}: {seen}");
    }
}

/// The share of real time that the root cgroup has given to no other.
fn unused_real_time() -> f64 {
    let root = host::cgroup_dir("cpu", "/");
    let share = |dir: &std::path::Path| {
        let number = |file| fs::read_to_string(dir.join(file)).ok()?.trim().parse::<f64>().ok();
        Some(number("cpu.rt_runtime_us")? / number("cpu.rt_period_us")?)
    };
    let others = fs::read_dir(&root).unwrap().filter_map(|entry| share(&entry.unwrap().path()));
    share(&root).unwrap() - others.sum::<f64>()
}

#[test]
fn real_time_limits_let_a_real_time_policy_run() {
    let file = host::cgroup_dir("cpu", "/").join("cpu.rt_runtime_us");
    if skip_on(&["runc", "crun"], "the scheduler came later")
        || skip_unless(Need::from(Cgroups::detect() == Cgroups::V1 && file.exists()), "no real-time limits of groups")
        || skip_unless(Need::from(unused_real_time() >= 0.02), "other cgroups have all of this machine's real time")
    {
        return;
    }
    let scheduler = json!({ "policy": "SCHED_FIFO", "priority": 5, "flags": ["SCHED_FLAG_RESET_ON_FORK"] });
    let container = Bundle::probe(&["report", "pause"])
        .resources("cpu", json!({ "realtimeRuntime": 10_000, "realtimePeriod": 500_000 }))
        .set("/process/scheduler", scheduler)
        .container();
    let running = container.start_run(&[]);
    running.wait_for_stdout(|text| text.ends_with("}\n"));
    let seen: Value = serde_json::from_str(&running.stdout()).unwrap();
    let seen = &seen["report"]["scheduler"];
    assert_eq!((&seen["policy"], &seen["priority"], &seen["flags"]), (&json!(1), &json!(5), &json!(1)), "{seen}");
    assert_eq!(container.cgroup_file("cpu", "cpu.rt_runtime_us"), "10000");
    assert_eq!(container.cgroup_file("cpu", "cpu.rt_period_us"), "500000");
    container.kill("KILL").ok();
    running.wait();
}

#[test]
fn hooks_have_the_arguments_and_environment_of_their_own() {
    if skip_on(&["runc"], "runs poststart at create") {
        return;
    }
    const KINDS: [&str; 6] =
        ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
    let mut bundle = Bundle::sh("true");
    let host_file = bundle.dir.join("hook.out");
    for kind in KINDS {
        let file = if kind == "startContainer" { "/tmp/hook.out" } else { host_file.to_str().unwrap() };
        let script = format!("echo $0 $1 $KIND $TERM >> {file}");
        bundle = bundle.push(
            &format!("/hooks/{kind}"),
            json!({ "path": "/bin/sh", "args": ["sh", "-c", script, "zero", "one"], "env": [format!("KIND={kind}")] }),
        );
    }
    let container = bundle.container();
    container.create().ok();
    container.start_and_wait();
    container.delete_force().ok();
    // TERM is set for the container's process: a hook with an environment has no other.
    let text =
        container.bundle.hook_output() + &fs::read_to_string(container.bundle.rootfs().join("tmp/hook.out")).unwrap();
    for kind in KINDS {
        assert!(text.lines().any(|line| line == format!("zero one {kind}")), "{kind}: {text}");
    }
}

#[test]
fn limits_that_mean_nothing_any_more_are_told() {
    if brisk_only("its warnings") {
        return;
    }
    let limits = json!({ "kernel": 4_194_304, "useHierarchy": true, "checkBeforeUpdate": true });
    let container = Bundle::sh("true").resources("memory", limits).container();
    let text = container.run().ok().stderr();
    assert!(text.contains("linux.resources.memory.kernel "), "{text}");
}

#[test]
fn what_this_host_cannot_serve_is_named() {
    if brisk_only("its errors") {
        return;
    }
    let served = |path: &str| fs::exists(path).unwrap();
    let controller =
        |name: &str| fs::read_to_string("/proc/cgroups").unwrap().lines().any(|line| line.starts_with(name));
    let table = [
        (
            "/linux/intelRdt",
            json!({ "closID": "x", "l3CacheSchema": "L3:0=f" }),
            "resctrl",
            served("/sys/fs/resctrl/schemata"),
        ),
        ("/linux/intelRdt", json!({ "memBwSchema": "MB:0=10" }), "resctrl", served("/sys/fs/resctrl/schemata")),
        (
            "/linux/intelRdt",
            json!({ "enableMonitoring": true, "schemata": ["L3:0=f"] }),
            "resctrl",
            served("/sys/fs/resctrl/schemata"),
        ),
        ("/process/apparmorProfile", json!("none-such"), "apparmor", false),
        ("/process/selinuxLabel", json!("a:b:c:d"), "attr/exec", served("/sys/fs/selinux/enforce")),
        (
            "/linux/resources/network",
            json!({ "priorities": [{ "name": "lo", "priority": 3 }] }),
            "net_prio",
            controller("net_prio"),
        ),
        ("/linux/resources/rdma", json!({ "none0": { "hcaHandles": 2, "hcaObjects": 3 } }), "rdma", false),
        ("/linux/personality", json!({ "domain": "LINUX", "flags": ["NONE"] }), "personality flag", false),
    ];
    for (field, value, word, here) in table {
        if here {
            continue;
        }
        let container = Bundle::sh("true").set(field, value).container();
        let text = container.create().fails();
        assert!(text.contains(word), "{field}: {text}");
        container.assert_nothing_left();
    }
}
