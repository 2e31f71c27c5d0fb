//! /dev as the image left it, devices that were not allowed, and the cgroup hierarchy.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use serde_json::json;

use super::{ALL_CAPS, with_caps};
use crate::common::host::Cgroups;
use crate::common::{Bundle, Container, skip_on};

/// A directory of the host with a file of each name that a runtime makes or removes in /dev.
fn outside(bundle: &Bundle) -> PathBuf {
    let outside = bundle.host_dir("outside");
    for name in ["ptmx", "null", "console", "fd", "core", "file"] {
        fs::write(outside.join(name), "untouched").unwrap();
    }
    outside
}

#[track_caller]
fn untouched(container: &Container) {
    let outside = container.bundle.dir.join("outside");
    let mut names = Vec::new();
    for entry in fs::read_dir(&outside).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(fs::read_to_string(&path).unwrap(), "untouched", "{}", path.display());
        assert_eq!(fs::metadata(&path).unwrap().uid(), 0, "{}", path.display());
        names.push(path);
    }
    assert_eq!(names.len(), 6, "{names:?}");
}

fn without_dev(bundle: Bundle) -> Bundle {
    bundle.without_mount("/dev").without_mount("/dev/pts").without_mount("/dev/shm").without_mount("/dev/mqueue")
}

/// Everything in /dev is made through the descriptor of a directory that was resolved below the root. Also
/// CVE-2026-47766 (crun: default devices).
#[test]
fn cve_2026_41579_dev_is_a_link() {
    for target in ["absolute", "relative"] {
        let bundle = without_dev(Bundle::probe(&["report"]));
        let outside = outside(&bundle);
        let target = if target == "absolute" { outside } else { PathBuf::from("../../../outside") };
        fs::remove_dir(bundle.rootfs().join("dev")).unwrap();
        symlink(target, bundle.rootfs().join("dev")).unwrap();
        let container = bundle.container();
        container.run();
        untouched(&container);
    }
}

fn with_terminal(bundle: Bundle) -> Container {
    let container = bundle.set("/process/terminal", json!(true)).container();
    let listener = UnixListener::bind(container.bundle.dir.join("console.sock")).unwrap();
    let output = container.create_with(&["--console-socket", "console.sock"]);
    if output.code == 0 {
        container.start();
    }
    drop(listener);
    container
}

/// A link that is /dev/console is replaced, not followed.
#[test]
fn cve_2026_88264_console_is_a_link() {
    for name in ["new", "file"] {
        let bundle =
            without_dev(Bundle::sh("true")).mount("devpts", "devpts", "/dev/pts", &["newinstance", "ptmxmode=0666"]);
        let outside = outside(&bundle);
        fs::create_dir(bundle.rootfs().join("dev/pts")).unwrap();
        symlink(outside.join(name), bundle.rootfs().join("dev/console")).unwrap();
        untouched(&with_terminal(bundle));
    }
}

/// Streams that are nowhere go to the null device only, and only the process's own streams change hands.
#[test]
fn cve_2026_88265_null_is_a_link() {
    for name in ["new", "null"] {
        let bundle = without_dev(Bundle::probe(&["report"])).set("/process/user/uid", json!(1000));
        let outside = outside(&bundle);
        symlink(outside.join(name), bundle.rootfs().join("dev/null")).unwrap();
        let container = bundle.container();
        container.run();
        untouched(&container);
    }
}

/// The slave comes from the master (TIOCGPTPEER), the master is device 5:2 or nothing.
#[test]
fn cve_2025_52565_the_terminal_comes_from_no_name() {
    for target in ["/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/dev/zero"] {
        let bundle = without_dev(with_caps(Bundle::probe(&["pause"]), ALL_CAPS));
        let outside = outside(&bundle);
        fs::create_dir(bundle.rootfs().join("dev/pts")).unwrap();
        for name in ["0", "1", "2"] {
            symlink(target, bundle.rootfs().join("dev/pts").join(name)).unwrap();
        }
        symlink(outside.join("ptmx"), bundle.rootfs().join("dev/pts/ptmx")).unwrap();
        let container = with_terminal(bundle);
        let state = container.call(&["state", &container.id]);
        if state.code == 0 && container.status() == "running" {
            let mounts = container.mountinfo();
            let console = mounts.lines().find(|line| line.contains(" /dev/console "));
            assert!(console.is_none_or(|line| line.contains(" - devpts ")), "{console:?}");
        }
        untouched(&container);
    }
}

/// What the image offers as /dev/ptmx is opened only if it is one: a fifo would hang, a device would react.
#[test]
fn cve_2025_52565_ptmx_is_something_else() {
    if skip_on(&["runc", "crun"], "replace /dev/ptmx without looking") {
        return;
    }
    for kind in ["fifo", "file", "zero"] {
        let bundle = Bundle::sh("true").without_mount("/dev/pts");
        let source = bundle.dir.join("ptmx");
        match kind {
            "fifo" => nix::unistd::mkfifo(&source, nix::sys::stat::Mode::S_IRWXU).unwrap(),
            "file" => fs::write(&source, "").unwrap(),
            _ => symlink("/dev/zero", &source).unwrap(),
        }
        let pts = bundle.host_dir("pts");
        fs::rename(&source, pts.join("ptmx")).unwrap();
        let pts = pts.to_str().unwrap().to_owned();
        let container =
            bundle.mount("bind", &pts, "/dev/pts", &["bind"]).set("/process/terminal", json!(true)).container();
        let listener = UnixListener::bind(container.bundle.dir.join("console.sock")).unwrap();
        container.create_with(&["--console-socket", "console.sock"]).fails();
        drop(listener);
    }
}

/// A device that no rule allows is denied, whatever is or is not in the list.
#[test]
fn ghsa_g54h_m393_cpwq_devices_are_denied_by_default() {
    // 1:11 is the kernel's log; no default allows it.
    let script = "/bin/busybox mknod /tmp/kmsg c 1 11; exec /probe open:/tmp/kmsg open:/dev/null";
    let lists = [
        json!([{ "allow": false, "access": "rwm" }]),
        json!([]),
        json!([{ "allow": true, "type": "c", "major": 10, "minor": 200, "access": "rwm" }]),
    ];
    for devices in lists {
        let bundle = with_caps(Bundle::sh(script), ALL_CAPS).resources("devices", devices.clone());
        let out = bundle.container().run().ok().json();
        assert!(
            out["open:/tmp/kmsg"]["errno"] == "EPERM" || out["open:/tmp/kmsg"]["errno"] == "ENOENT",
            "{devices}: {out}"
        );
        assert_eq!(out["open:/dev/null"], "ok", "{devices}");
    }
}

/// Without a cgroup namespace only the container's own part of each hierarchy is there. Also CVE-2022-0492: the
/// file that names a program of the host to run is only in the root of a hierarchy.
#[test]
fn cve_2023_25809_only_the_own_cgroup_is_visible() {
    let script = "/bin/busybox find /sys/fs/cgroup -name release_agent > /found; exec /probe report read:/found";
    let bundle = || {
        let options = ["nosuid", "noexec", "nodev", "relatime"];
        with_caps(Bundle::sh(script), ALL_CAPS).mount("cgroup", "cgroup", "/sys/fs/cgroup", &options)
    };
    // On v2 a container of the host's root that asks for no cgroup namespace gets the host's view, as with runc
    // and crun: programs look up there what /proc/self/cgroup names. Root of a user namespace never does.
    let host_view = Cgroups::detect() == Cgroups::V2;
    let cases = [bundle().userns(), bundle().ns("cgroup"), bundle().userns().ns("cgroup"), bundle()];
    for (bundle, own_namespace) in cases.into_iter().zip([false, true, true, false]).take(4 - usize::from(host_view)) {
        let id = bundle.id.clone();
        let out = bundle.container().run().ok().json();
        assert_eq!(out["read:/found"], "");
        let mounts = out["report"]["mounts"].as_array().unwrap();
        let cgroups: Vec<_> = mounts.iter().filter(|m| m["fs"].as_str().unwrap().starts_with("cgroup")).collect();
        assert!(!cgroups.is_empty(), "{mounts:?}");
        for mount in cgroups {
            let root = mount["root"].as_str().unwrap();
            let own = root.contains(&id) || own_namespace && root == "/";
            let read_only = mount["opts"].as_array().unwrap().contains(&json!("ro"));
            assert!(own || read_only, "{mount}");
        }
    }
}
