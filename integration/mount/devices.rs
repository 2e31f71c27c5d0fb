//! Default devices and links, and linux.devices.

use serde_json::{Value, json};

use crate::common::{Bundle, brisk_only, host, skip_on, skip_unless};

fn run(bundle: Bundle) -> Value {
    bundle.container().run().ok().json()
}

const DEFAULT: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

#[test]
fn the_default_devices_are_there() {
    let ops: Vec<String> = DEFAULT.iter().map(|(name, ..)| format!("stat:/dev/{name}")).collect();
    let ops: Vec<&str> = ops.iter().map(String::as_str).collect();
    for bundle in [Bundle::probe(&ops), Bundle::probe(&ops).userns()] {
        let out = run(bundle);
        for (op, (name, major, minor)) in ops.iter().zip(DEFAULT) {
            let found = &out[op];
            assert_eq!(found["type"], "char", "{name}");
            assert_eq!((&found["major"], &found["minor"]), (&json!(major), &json!(minor)), "{name}");
            assert_eq!(found["mode"], "666", "{name}");
        }
    }
}

#[test]
fn the_default_devices_belong_to_root() {
    if skip_on(&["crun"], "/dev/null belongs to the user") {
        return;
    }
    let out = run(Bundle::probe(&["stat:/dev/null"]).set("/process/user/uid", json!(1000)));
    assert_eq!(out["stat:/dev/null"]["uid"], 0);
    assert_eq!(out["stat:/dev/null"]["gid"], 0);
}

#[test]
fn the_default_devices_can_be_used() {
    let ops = [
        "write:/dev/null",
        "open:/dev/null",
        "read1:/dev/zero",
        "read1:/dev/urandom",
        "write:/dev/full",
        "write1:/dev/full",
    ];
    for bundle in [Bundle::probe(&ops), Bundle::probe(&ops).userns()] {
        let out = run(bundle);
        assert_eq!(out["write:/dev/null"], "ok");
        assert_eq!(out["open:/dev/null"], "ok");
        assert_eq!(out["read1:/dev/zero"], 1);
        assert_eq!(out["read1:/dev/urandom"], 1);
        assert_eq!(out["write1:/dev/full"]["errno"], "ENOSPC");
    }
}

#[test]
fn the_default_links_are_there() {
    let links = [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
    ];
    let ops: Vec<String> = links.iter().map(|(name, _)| format!("stat:{name}")).collect();
    let mut all: Vec<&str> = ops.iter().map(String::as_str).collect();
    all.push("stat:/dev/ptmx");
    let out = run(Bundle::probe(&all));
    for (op, (_, target)) in ops.iter().zip(links) {
        assert_eq!(out[op]["link"], target);
    }
    let ptmx = &out["stat:/dev/ptmx"];
    assert!(ptmx["link"] == "pts/ptmx" || ptmx["link"] == "/dev/pts/ptmx" || ptmx["type"] == "char", "{ptmx}");
}

#[test]
fn standard_output_can_be_reopened_by_an_ordinary_user() {
    let container = Bundle::sh("echo words > /dev/stdout").set("/process/user/uid", json!(1000)).container();
    assert_eq!(container.run().ok().stdout(), "words\n");
}

#[test]
fn a_bind_mounted_dev_is_left_alone() {
    let bundle = Bundle::probe(&["readdir:/dev"])
        .without_mount("/dev/pts")
        .without_mount("/dev/shm")
        .without_mount("/dev/mqueue");
    let dev = bundle.host_dir("dev");
    std::fs::write(dev.join("only-this"), "").unwrap();
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    mknod(&dev.join("null"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 3)).unwrap();
    let bundle = bundle.without_mount("/dev").mount("bind", dev.to_str().unwrap(), "/dev", &["bind", "ro"]);
    let container = bundle.container();
    let out = container.run().ok().json();
    assert_eq!(out["readdir:/dev"], json!(["null", "only-this"]));
}

/// Devices and links would be made on the host.
#[test]
fn a_bind_mounted_dev_is_left_alone_however_it_is_spelled() {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    if brisk_only("the others look at some of the spellings") {
        return;
    }
    for place in ["/dev/", "//dev", "/./dev", "/etc/../dev", "dev", "ROOT/dev"] {
        let bundle = ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"]
            .into_iter()
            .fold(Bundle::probe(&["readdir:/dev"]), Bundle::without_mount);
        let dev = bundle.host_dir("dev");
        std::fs::write(dev.join("only-this"), "").unwrap();
        mknod(&dev.join("null"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 3)).unwrap();
        let place = place.replace("ROOT", bundle.rootfs().to_str().unwrap());
        let source = dev.to_str().unwrap().to_owned();
        let container = bundle.mount("bind", &source, &place, &["bind"]).container();
        let out = container.run().ok().json();
        assert_eq!(out["readdir:/dev"], json!(["null", "only-this"]), "{place}");
        assert_eq!(std::fs::read_dir(&dev).unwrap().count(), 2, "{place}: made on the host");
    }
}

#[test]
fn configured_devices_are_made() {
    let devices = json!([
        { "type": "c", "path": "/dev/my-null", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 7, "gid": 8 },
        { "type": "u", "path": "/dev/my-zero", "major": 1, "minor": 5 },
        { "type": "b", "path": "/dev/deep/er/block", "major": 7, "minor": 200, "fileMode": 0o600 },
        { "type": "p", "path": "/dev/my-pipe", "fileMode": 0o622 },
    ]);
    let ops = ["stat:/dev/my-null", "stat:/dev/my-zero", "stat:/dev/deep/er/block", "stat:/dev/my-pipe"];
    let out = run(Bundle::probe(&ops).set("/linux/devices", devices));
    let null = &out[ops[0]];
    assert_eq!(null["type"], "char");
    assert_eq!((&null["major"], &null["minor"]), (&json!(1), &json!(3)));
    assert_eq!(null["mode"], "640");
    assert_eq!((&null["uid"], &null["gid"]), (&json!(7), &json!(8)));
    assert_eq!(out[ops[1]]["minor"], 5);
    assert_eq!(out[ops[2]]["type"], "block");
    assert_eq!(out[ops[2]]["minor"], 200);
    assert_eq!(out[ops[3]]["type"], "fifo");
    assert_eq!(out[ops[3]]["mode"], "622");
}

/// A device in the place of another file would take that away from the bundle (config-linux, "Devices"); one that is there already, is.
#[test]
fn a_file_in_the_place_of_a_configured_device_stays() {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    if brisk_only("runc passes over the device without a word") {
        return;
    }
    for made in ["file", "link", "device"] {
        let devices = json!([{ "type": "c", "path": "/place", "major": 1, "minor": 5 }]);
        let bundle = Bundle::probe(&["stat:/place"]).set("/linux/devices", devices);
        let place = bundle.rootfs().join("place");
        match made {
            "file" => std::fs::write(&place, "kept").unwrap(),
            "link" => std::os::unix::fs::symlink("/etc/kept", &place).unwrap(),
            _ => mknod(&place, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 5)).unwrap(),
        }
        let container = bundle.container();
        if made == "device" {
            assert_eq!(container.run().ok().json()["stat:/place"]["minor"], 5);
            continue;
        }
        let error = container.run().fails();
        assert!(error.contains("linux.devices[0]: ") && error.contains("mknod place c 1:5"), "{error}");
        assert!(error.contains("has another file there"), "{error}");
        let left = std::fs::symlink_metadata(&place).unwrap().file_type();
        assert!(left.is_file() == (made == "file") && left.is_symlink() == (made == "link"), "{made}");
    }
}

/// Nor is what is mounted there overwritten.
#[test]
fn a_mount_in_the_place_of_a_configured_device_is_named() {
    if brisk_only("runc passes over the device without a word") {
        return;
    }
    for path in ["/place", "/dev/place"] {
        let device = |minor: i32, path: &str| json!({ "type": "c", "path": path, "major": 1, "minor": minor });
        let devices = json!([device(3, "/dev/null"), device(7, "/dev/other"), device(5, path)]);
        let bundle = Bundle::probe(&[]).set("/linux/devices", devices);
        let error = bundle.mount("bind", "/etc/hostname", path, &["bind"]).container().run().fails();
        assert!(
            error.contains("linux.devices[2]: ") && error.contains("the root or a mount has another file there"),
            "{error}"
        );
    }
}

#[test]
fn configured_devices_in_a_user_namespace_are_bound() {
    let devices = json!([{ "type": "c", "path": "/dev/kmsg", "major": 1, "minor": 11 }]);
    let out = run(Bundle::probe(&["stat:/dev/kmsg"]).userns().set("/linux/devices", devices));
    assert_eq!(out["stat:/dev/kmsg"]["type"], "char");
    assert_eq!(out["stat:/dev/kmsg"]["minor"], 11);
}

#[test]
fn a_configured_default_device_replaces_the_default() {
    let devices =
        json!([{ "type": "c", "path": "/dev/null", "major": 1, "minor": 3, "fileMode": 0o600, "uid": 0, "gid": 0 }]);
    if skip_on(&["runc"], "the mode of a default device cannot be changed") {
        return;
    }
    let out = run(Bundle::probe(&["stat:/dev/null"]).set("/linux/devices", devices));
    assert_eq!(out["stat:/dev/null"]["type"], "char");
    assert_eq!(out["stat:/dev/null"]["minor"], 3);
}

#[test]
fn an_unknown_device_type_is_refused() {
    if skip_on(&["crun"], "makes an ordinary file of it") {
        return;
    }
    let devices = json!([{ "type": "x", "path": "/dev/x", "major": 1, "minor": 3 }]);
    let container = Bundle::idle().set("/linux/devices", devices).container();
    container.create().fails();
    container.assert_nothing_left();
}

#[test]
fn a_dev_that_links_to_the_host_is_not_followed() {
    if skip_on(&["runc", "crun"], "CVE-2026-41579 and CVE-2026-47766") {
        return;
    }
    // CVE-2026-41579, CVE-2026-47766: default devices and links made, or deleted, on the host.
    let bundle = Bundle::idle()
        .without_mount("/dev")
        .without_mount("/dev/pts")
        .without_mount("/dev/shm")
        .without_mount("/dev/mqueue");
    let outside = bundle.host_dir("outside");
    std::fs::write(outside.join("ptmx"), "of the host").unwrap();
    std::fs::remove_dir(bundle.rootfs().join("dev")).unwrap();
    std::os::unix::fs::symlink(&outside, bundle.rootfs().join("dev")).unwrap();
    let container = bundle.container();
    container.create();
    let names: Vec<_> = std::fs::read_dir(&outside).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["ptmx"]);
    assert_eq!(std::fs::read_to_string(outside.join("ptmx")).unwrap(), "of the host");
}

/// The list of the v1 controller has the rules as they were given: runc and crun's readers compare it.
#[test]
fn device_rules_are_read_back_as_given() {
    let v1 = host::cgroup_dirs("/").iter().any(|dir| dir.join("devices.list").exists());
    if skip_unless(v1.into(), "no v1 devices controller") || skip_on(&["runc"], "merges the rules") {
        return;
    }
    let rule = |kind: &str, major: i64, minor: i64, access: &str| json!({ "allow": true, "type": kind, "major": major, "minor": minor, "access": access });
    let rules = json!([{ "allow": false, "access": "rwm" }, rule("b", 8, 20, "rw"), rule("b", 10, 200, "r")]);
    let container = Bundle::idle().resources("devices", rules).container();
    container.create().ok();
    let list = container.cgroup_file("devices", "devices.list");
    let lines: Vec<&str> = list.lines().filter(|line| line.starts_with("b 8") || line.starts_with("b 10")).collect();
    assert_eq!(lines, ["b 8:20 rw", "b 10:200 r"], "{list}");
}
