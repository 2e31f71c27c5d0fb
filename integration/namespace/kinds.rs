//! Namespaces: new, joined by path, absent, and in combination.

use std::fs;

use nix::mount::MsFlags;
use serde_json::{Value, json};

use crate::common::container::{Container, mount_at};
use crate::common::{Bundle, Need, brisk_only, host, process, skip_on, skip_unless};

const KINDS: [(&str, &str); 7] = [
    ("pid", "pid"),
    ("network", "net"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("mount", "mnt"),
    ("cgroup", "cgroup"),
    ("user", "user"),
];

fn report(container: &Container) -> Value {
    container.run().ok().json()["report"].clone()
}

#[test]
fn a_listed_namespace_is_new() {
    let container = Bundle::probe(&["report"]).ns("cgroup").userns().container();
    let report = report(&container);
    for (kind, file) in KINDS {
        assert_ne!(report["ns"][file], json!(host::ns(file)), "{kind}");
    }
}

#[test]
fn a_namespace_that_is_not_listed_is_the_runtimes() {
    for (kind, file) in [("pid", "pid"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts")] {
        let mut bundle = Bundle::probe(&["report"]).without_ns(kind);
        if kind == "uts" {
            bundle = bundle.unset("/hostname");
        }
        let container = bundle.container();
        assert_eq!(report(&container)["ns"][file], json!(host::ns(file)), "{kind}");
    }
    let container = Bundle::probe(&["report"]).container();
    let report = report(&container);
    for file in ["user", "cgroup", "time"] {
        assert_eq!(report["ns"][file], json!(host::ns(file)), "{file}");
    }
}

#[test]
fn namespaces_are_joined_by_path() {
    let first = Bundle::idle().ns("cgroup").container();
    first.up();
    let pid = first.pid().to_string();
    for (kind, file) in [("pid", "pid"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("cgroup", "cgroup")] {
        let mut bundle = Bundle::probe(&["report"]).join(kind, &format!("/proc/{pid}/ns/{file}"));
        if kind == "uts" {
            bundle = bundle.unset("/hostname");
        }
        let second = bundle.container();
        assert_eq!(report(&second)["ns"][file], json!(host::ns_of(&pid, file)), "{kind}");
    }
}

#[test]
fn all_namespaces_of_another_container_are_joined_at_once() {
    let first = Bundle::idle().container();
    first.up();
    let pid = first.pid().to_string();
    let mut bundle = Bundle::probe(&["report"]).unset("/hostname");
    for (kind, file) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid")] {
        bundle = bundle.join(kind, &format!("/proc/{pid}/ns/{file}"));
    }
    let second = bundle.container();
    let report = report(&second);
    for file in ["pid", "net", "ipc", "uts"] {
        assert_eq!(report["ns"][file], json!(host::ns_of(&pid, file)), "{file}");
    }
    assert_ne!(report["pid"], 1, "it is not the first process of a joined pid namespace");
}

#[test]
fn a_pinned_namespace_is_joined() {
    // Engines pin network namespaces as bind mounts.
    let mut bundle = Bundle::probe(&["report"]);
    let pin = bundle.dir.join("netns");
    fs::write(&pin, "").unwrap();
    let mut command = std::process::Command::new("unshare");
    command.arg(format!("--net={}", pin.display())).args(["readlink", "/proc/self/ns/net"]);
    let name = crate::common::process::run(command).ok().stdout();
    bundle.own_mounts.push(pin.clone());
    let container = bundle.join("network", pin.to_str().unwrap()).container();
    let report = report(&container);
    assert_eq!(report["ns"]["net"], json!(name.trim()));
}

#[test]
fn the_pid_namespace_starts_at_one() {
    let container = Bundle::probe(&["report"]).container();
    let report = report(&container);
    assert_eq!(report["pid"], 1);
    assert_eq!(report["ppid"], 0);
}

#[test]
fn without_a_pid_namespace_the_process_has_a_host_pid() {
    let container = Bundle::probe(&["pause"]).without_ns("pid").container();
    container.up();
    let pid = container.pid();
    let link = fs::read_link(format!("/proc/{pid}/root/probe"));
    assert!(link.is_err());
    assert_eq!(host::ns_of(&pid.to_string(), "pid"), host::ns("pid"));
}

#[test]
fn hostname_and_domainname_are_set() {
    let container = Bundle::probe(&["report"]).set("/hostname", json!("some-host")).container();
    assert_eq!(report(&container)["hostname"], "some-host");
    if skip_on(&["runc", "crun"], "domainname came later") {
        return;
    }
    let container = Bundle::probe(&["report"]).set("/domainname", json!("some.domain")).container();
    assert_eq!(report(&container)["domainname"], "some.domain");
}

#[test]
fn a_user_namespace_maps_ids() {
    let container = Bundle::probe(&["report", "stat:/bin/busybox", "stat:/proc/1"]).userns().container();
    let out = container.run().ok().json();
    let report = &out["report"];
    let words = |text: &Value| text.as_str().unwrap().split_whitespace().map(str::to_string).collect::<Vec<_>>();
    assert_eq!(words(&report["uid_map"]), ["0", "100000", "65536"]);
    assert_eq!(words(&report["gid_map"]), ["0", "100000", "65536"]);
    assert_eq!(report["uid"], 0);
    assert_eq!(out["stat:/bin/busybox"]["uid"], 0);
}

#[test]
fn objects_of_a_user_namespaced_container_belong_to_its_root() {
    // sysfs and mqueue made before the maps would belong to the overflow id.
    let ops = ["stat:/sys/class/net/lo", "stat:/dev/mqueue", "stat:/dev/shm", "stat:/dev/pts", "stat:/dev"];
    let container = Bundle::probe(&ops).userns().container();
    let out = container.run().ok().json();
    for op in ops {
        assert_eq!(out[op]["uid"], 0, "{op}: {out}");
    }
}

#[test]
fn a_user_namespace_with_several_extents() {
    let map = json!([
        { "containerID": 0, "hostID": 100_000, "size": 1000 },
        { "containerID": 1000, "hostID": 200_000, "size": 1 },
        { "containerID": 2000, "hostID": 300_000, "size": 500 },
    ]);
    let container = Bundle::probe(&["report"])
        .userns()
        .set("/linux/uidMappings", map)
        .set("/process/user/uid", json!(1000))
        .container();
    let report = report(&container);
    assert_eq!(report["uid_map"].as_str().unwrap().lines().count(), 3);
    assert_eq!(report["uid"], 1000);
}

#[test]
fn a_user_namespace_is_joined_by_path() {
    if skip_on(&["runc"], "wants mappings for a user namespace that has them") {
        return;
    }
    let first = Bundle::idle().userns().container();
    first.up();
    let pid = first.pid().to_string();
    let second = Bundle::probe(&["report"])
        .userns()
        .join("user", &format!("/proc/{pid}/ns/user"))
        .unset("/linux/uidMappings")
        .unset("/linux/gidMappings")
        .container();
    let report = report(&second);
    assert_eq!(report["ns"]["user"], json!(host::ns_of(&pid, "user")));
    assert_eq!(report["uid"], 0);
}

#[test]
fn a_user_namespace_and_what_it_owns_are_joined_together() {
    if skip_on(&["runc"], "wants mappings for a user namespace that has them") {
        return;
    }
    let first = Bundle::idle().userns().container();
    first.up();
    let pid = first.pid().to_string();
    let mut bundle = Bundle::probe(&["report"]).userns().unset("/linux/uidMappings").unset("/linux/gidMappings");
    bundle = bundle.unset("/hostname");
    for (kind, file) in [("user", "user"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts")] {
        bundle = bundle.join(kind, &format!("/proc/{pid}/ns/{file}"));
    }
    let second = bundle.container();
    let report = report(&second);
    for file in ["user", "net", "ipc", "uts"] {
        assert_eq!(report["ns"][file], json!(host::ns_of(&pid, file)), "{file}");
    }
}

#[test]
fn a_cgroup_namespace_shows_the_containers_cgroup_as_the_root() {
    let container = Bundle::probe(&["report"]).ns("cgroup").container();
    let report = report(&container);
    for line in report["cgroup"].as_array().unwrap() {
        assert!(line.as_str().unwrap().ends_with(":/"), "{}", report["cgroup"]);
    }
}

#[test]
fn a_cgroup_namespace_in_a_user_namespace_shows_the_root() {
    let container = Bundle::probe(&["report"]).ns("cgroup").userns().container();
    let report = report(&container);
    for line in report["cgroup"].as_array().unwrap() {
        assert!(line.as_str().unwrap().ends_with(":/"), "{}", report["cgroup"]);
    }
}

#[test]
fn time_offsets_are_applied() {
    let time = Need::from(fs::exists("/proc/self/ns/time").unwrap());
    if skip_unless(time, "no time namespaces") || skip_on(&["runc", "crun"], "timeOffsets came later") {
        return;
    }
    let container = Bundle::probe(&["report"])
        .ns("time")
        .set(
            "/linux/timeOffsets",
            json!({ "monotonic": { "secs": 172_800, "nanosecs": 5 }, "boottime": { "secs": 604_800, "nanosecs": 7 } }),
        )
        .container();
    let report = report(&container);
    assert_ne!(report["ns"]["time"], json!(host::ns("time")));
    assert_eq!(report["ns"]["time"], report["ns"]["time_for_children"]);
    let text = report["timens_offsets"].as_str().unwrap();
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(words, ["monotonic", "172800", "5", "boottime", "604800", "7"]);
    let uptime: f64 = report["uptime"].as_str().unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(uptime > 604_800.0);
}

#[test]
fn lo_is_up_in_a_new_network_namespace() {
    let container = Bundle::probe(&["loopback", "read:/sys/class/net/lo/flags", "readdir:/sys/class/net"]).container();
    let out = container.run().ok().json();
    assert_eq!(out["loopback"], "ok");
    let flags = out["read:/sys/class/net/lo/flags"].as_str().unwrap().trim().trim_start_matches("0x");
    assert_eq!(u32::from_str_radix(flags, 16).unwrap() & 1, 1, "IFF_UP");
    assert!(out["readdir:/sys/class/net"].as_array().unwrap().contains(&json!("lo")));
}

#[test]
fn lo_is_up_in_a_user_namespaced_container() {
    let container = Bundle::probe(&["loopback"]).userns().container();
    assert_eq!(container.run().ok().json()["loopback"], "ok");
}

#[test]
fn sysctls_are_set_in_the_containers_namespaces() {
    let ops =
        ["read:/proc/sys/net/ipv4/ip_forward", "read:/proc/sys/kernel/msgmax", "read:/proc/sys/kernel/shm_rmid_forced"];
    let before = fs::read_to_string("/proc/sys/kernel/msgmax").unwrap();
    let sysctl = json!({ "net.ipv4.ip_forward": "1", "kernel.msgmax": "12345", "kernel/shm_rmid_forced": "1" });
    let container = Bundle::probe(&ops).set("/linux/sysctl", sysctl).container();
    if skip_on(&["crun"], "takes only dots") {
        return;
    }
    let out = container.run().ok().json();
    assert_eq!(out[ops[0]], "1\n");
    assert_eq!(out[ops[1]], "12345\n");
    assert_eq!(out[ops[2]], "1\n");
    assert_eq!(fs::read_to_string("/proc/sys/kernel/msgmax").unwrap(), before);
}

#[test]
fn sysctls_of_the_host_are_refused() {
    for (key, drop) in
        [("kernel.panic", ""), ("vm.swappiness", ""), ("net.ipv4.ip_forward", "network"), ("kernel.msgmax", "ipc")]
    {
        let mut bundle = Bundle::idle().set("/linux/sysctl", json!({ key: "1" }));
        if !drop.is_empty() {
            bundle = bundle.without_ns(drop);
        }
        let container = bundle.container();
        let text = container.create().fails();
        assert!(text.contains("sysctl"), "{key}: {text}");
        container.assert_nothing_left();
    }
}

#[test]
fn the_mount_namespace_hides_the_host() {
    let container = Bundle::probe(&["report"]).container();
    let report = report(&container);
    assert_eq!(mount_at(&report, "/")["root"].as_str().unwrap().rsplit('/').next(), Some("rootfs"));
    let points: Vec<&str> = report["mounts"].as_array().unwrap().iter().map(|m| m["point"].as_str().unwrap()).collect();
    for point in &points {
        assert!(!point.contains(&container.bundle.id), "the old root is still there: {points:?}");
    }
}

#[test]
fn every_combination_of_new_namespaces_works() {
    for bits in 0..16 {
        let mut bundle = Bundle::probe(&["report"]).unset("/hostname");
        let mut expect = vec![];
        for (i, (kind, file)) in [("pid", "pid"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts")].iter().enumerate()
        {
            if bits >> i & 1 == 0 {
                bundle = bundle.without_ns(kind);
            } else {
                expect.push(*file);
            }
        }
        let container = bundle.container();
        let report = report(&container);
        for (_, file) in KINDS {
            let new = expect.contains(&file) || file == "mnt";
            assert_eq!(report["ns"][file] != json!(host::ns(file)), new, "{file} with {expect:?}");
        }
    }
}

/// The mounts are then in the caller's namespace (as with runc and crun, which leave them there).
#[test]
fn mounts_without_a_mount_namespace_go_with_the_container() {
    if skip_on(&["runc", "crun"], "the mounts stay on the host") {
        return;
    }
    let mounted = |dir: &std::path::Path| {
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        table.lines().filter(|line| line.contains(dir.to_str().unwrap())).count()
    };
    let mut bundle = Bundle::idle()
        .without_ns("mount")
        .unset("/linux/maskedPaths")
        .unset("/linux/readonlyPaths")
        .set("/root/readonly", json!(false));
    // An engine's own mount there, which has to stay. Where mounts are shared the kernel would take it along (docs/COMPAT.md).
    let (root, dir) = (bundle.rootfs(), bundle.dir.clone());
    bundle.mount_on_host(&dir, &dir, "", MsFlags::MS_BIND, "");
    nix::mount::mount(None::<&str>, &dir, None::<&str>, MsFlags::MS_PRIVATE, None::<&str>).unwrap();
    bundle.mount_on_host(&root, &root, "", MsFlags::MS_BIND, "");
    let container = bundle.container();
    container.up();
    assert!(mounted(&container.bundle.rootfs()) > 1, "the mounts are on the host");
    assert_eq!(host::ns_of(&container.pid().to_string(), "mnt"), host::ns("mnt"));
    container.delete_force().ok();
    assert_eq!(mounted(&container.bundle.rootfs()), 1, "only the engine's mount is left");
}

/// The root is a mount of the container's own there, whatever else it has.
#[test]
fn a_read_only_root_without_a_mount_namespace() {
    if skip_on(&["runc", "crun"], "runc leaves it writable, crun leaves the mounts on the host") {
        return;
    }
    for mounts in [true, false] {
        let mut bundle = Bundle::probe(&["create:/new", "create:/tmp/new"])
            .without_ns("mount")
            .unset("/linux/maskedPaths")
            .unset("/linux/readonlyPaths")
            .set("/root/readonly", json!(true));
        if mounts {
            bundle = bundle.mount("tmpfs", "tmpfs", "/tmp", &[]);
        } else {
            bundle = bundle.set("/mounts", json!([]));
        }
        let container = bundle.container();
        let out = container.run().ok().json();
        assert_eq!(out["create:/new"]["errno"], "EROFS", "{out}");
        assert_eq!(out["create:/tmp/new"] == "ok", mounts, "{out}");
        container.assert_nothing_left();
        // Nor is the directory read-only for others.
        std::fs::write(container.bundle.rootfs().join("new"), "").unwrap();
    }
}

/// The limits are of a user namespace and all below it, so one is made for the test.
#[test]
fn a_limit_on_namespaces_is_named() {
    if brisk_only("hints") {
        return;
    }
    for kind in ["pid", "net"] {
        let container = Bundle::probe(&["report"]).container();
        let runtime = container.command(&["run", &container.id]);
        let none = format!("echo 0 >/proc/sys/user/max_{kind}_namespaces; exec \"$@\"");
        let error = process::run(process::under(&["unshare", "-Urm", "sh", "-c", &none, "sh"], &runtime)).fails();
        assert!(error.contains("user.max_*_namespaces"), "{error}");
        container.assert_nothing_left();
    }
}
