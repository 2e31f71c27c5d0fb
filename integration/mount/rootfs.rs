//! The container's root: path, read-only, propagation, masked and read-only paths.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::common::container::{has, mount_at};
use crate::common::{Bundle, skip_on};

fn run(bundle: Bundle) -> Value {
    bundle.container().run().ok().json()
}

#[test]
fn the_root_is_the_configured_directory() {
    let bundle = Bundle::probe(&["readdir:/"]);
    bundle.file("a-file-of-this-root", "");
    assert!(has(&run(bundle)["readdir:/"], "a-file-of-this-root"));
}

#[test]
fn the_root_path_may_be_absolute() {
    let bundle = Bundle::probe(&["report"]);
    let path = bundle.rootfs();
    run(bundle.set("/root/path", json!(path)));
}

#[test]
fn the_root_path_is_relative_to_the_bundle() {
    let bundle = Bundle::probe(&["report"]);
    fs::create_dir(bundle.dir.join("sub")).unwrap();
    fs::rename(bundle.rootfs(), bundle.dir.join("sub/other-name")).unwrap();
    let container = bundle.set("/root/path", json!("./sub/../sub/other-name")).container();
    let mut command = container.command(&["run", "--bundle", container.bundle.dir.to_str().unwrap(), &container.id]);
    command.current_dir("/");
    crate::common::process::run(command).ok();
}

#[test]
fn a_read_only_root_cannot_be_written() {
    let bundle = Bundle::probe(&["create:/file", "create:/dev/file", "report"]).set("/root/readonly", json!(true));
    let out = run(bundle);
    assert_eq!(out["create:/file"]["errno"], "EROFS");
    assert_eq!(out["create:/dev/file"], "ok", "mounts below it are not affected");
    assert!(has(&mount_at(&out["report"], "/")["opts"], "ro"));
}

#[test]
fn a_writable_root_can_be_written() {
    let container = Bundle::probe(&["create:/file"]).container();
    assert_eq!(container.run().ok().json()["create:/file"], "ok");
    assert!(container.bundle.rootfs().join("file").exists());
}

#[test]
fn mount_points_are_made_in_the_root() {
    let bundle = Bundle::probe(&["create:/a/new/place/file"]).mount("tmpfs", "tmpfs", "/a/new/place", &[]);
    assert_eq!(run(bundle)["create:/a/new/place/file"], "ok");
}

#[test]
fn mount_points_are_made_before_the_root_is_read_only() {
    let bundle = Bundle::probe(&["stat:/a/new/place"])
        .mount("tmpfs", "tmpfs", "/a/new/place", &[])
        .set("/root/readonly", json!(true));
    assert_eq!(run(bundle)["stat:/a/new/place"]["type"], "dir");
}

#[test]
fn masked_paths_are_empty_and_cannot_be_written() {
    let bundle =
        Bundle::probe(&["read:/etc/secret", "readdir:/etc/secrets", "create:/etc/secrets/x", "stat:/etc/secret"])
            .set("/linux/maskedPaths", json!(["/etc/secret", "/etc/secrets", "/no/such/path"]));
    bundle.file("etc/secret", "do not tell");
    fs::create_dir(bundle.rootfs().join("etc/secrets")).unwrap();
    bundle.file("etc/secrets/key", "do not tell");
    let out = run(bundle);
    assert_eq!(out["read:/etc/secret"], "");
    assert_eq!(out["readdir:/etc/secrets"], json!([]));
    assert_eq!(out["create:/etc/secrets/x"]["errno"], "EROFS");
    assert_eq!(out["stat:/etc/secret"]["type"], "char");
}

#[test]
fn default_masks_hide_the_kernel() {
    let bundle = Bundle::probe(&["read1:/proc/kcore", "read1:/proc/keys", "readdir:/sys/firmware"]);
    let out = run(bundle);
    for op in ["read1:/proc/kcore", "read1:/proc/keys"] {
        assert!(out[op] == 0 || out[op]["errno"] == "ENOENT", "{op}: {out}");
    }
    assert_eq!(out["readdir:/sys/firmware"], json!([]));
}

#[test]
fn read_only_paths_are_read_only() {
    let bundle = Bundle::probe(&[
        "create:/etc/new",
        "write:/etc/passwd",
        "write:/proc/sys/kernel/domainname",
        "create:/tmp/new",
    ])
    .set("/linux/readonlyPaths", json!(["/etc", "/proc/sys", "/no/such/path"]));
    let out = run(bundle);
    assert_eq!(out["create:/etc/new"]["errno"], "EROFS");
    assert_eq!(out["write:/etc/passwd"]["errno"], "EROFS");
    assert_eq!(out["write:/proc/sys/kernel/domainname"]["errno"], "EROFS");
    assert_eq!(out["create:/tmp/new"], "ok");
}

#[test]
fn read_only_paths_keep_the_flags_of_what_is_below() {
    if skip_on(&["crun"], "clears them") {
        return;
    }
    let bundle = Bundle::probe(&["report"])
        .mount("tmpfs", "tmpfs", "/mnt", &["nosuid", "nodev", "noexec"])
        .set("/linux/readonlyPaths", json!(["/mnt"]));
    let out = run(bundle);
    for flag in ["ro", "nosuid", "nodev", "noexec"] {
        assert!(has(&mount_at(&out["report"], "/mnt")["opts"], flag), "{flag}");
    }
}

#[test]
fn masked_and_read_only_paths_through_links_stay_inside() {
    // A link in the image must not make the runtime mask, or bind, something of the host.
    let bundle = Bundle::probe(&["read:/etc/passwd"]);
    let outside = bundle.dir.join("outside");
    fs::write(&outside, "of the host").unwrap();
    symlink(&outside, bundle.rootfs().join("link")).unwrap();
    let container =
        bundle.set("/linux/maskedPaths", json!(["/link"])).set("/linux/readonlyPaths", json!(["/link"])).container();
    container.run();
    assert_eq!(fs::read_to_string(&outside).unwrap(), "of the host");
}

#[test]
fn the_root_mount_has_the_configured_propagation() {
    for (option, expect) in
        [("private", None), ("slave", None), ("shared", Some("shared:")), ("unbindable", Some("unbindable"))]
    {
        if expect.is_some() && skip_on(&["runc"], "fixed later (runc#1755)") {
            continue;
        }
        let bundle = Bundle::probe(&["report"]).set("/linux/rootfsPropagation", json!(option));
        let out = run(bundle);
        let tags = mount_at(&out["report"], "/")["tags"].as_array().unwrap().clone();
        match expect {
            None => assert!(!tags.iter().any(|t| t.as_str().unwrap().starts_with("shared:")), "{option}: {tags:?}"),
            Some(word) => assert!(tags.iter().any(|t| t.as_str().unwrap().starts_with(word)), "{option}: {tags:?}"),
        }
    }
}

#[test]
fn an_unknown_propagation_is_refused() {
    if skip_on(&["crun"], "not checked") {
        return;
    }
    let container = Bundle::idle().set("/linux/rootfsPropagation", json!("sideways")).container();
    container.create().fails();
    container.assert_nothing_left();
}

#[test]
fn mounts_in_the_container_do_not_reach_the_host() {
    let caps = json!(["CAP_SYS_ADMIN"]);
    let sets = json!({ "bounding": caps, "effective": caps, "permitted": caps });
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
    let container =
        Bundle::sh("mount -t tmpfs tmpfs /mnt && exec /probe pause").set("/process/capabilities", sets).container();
    container.up();
    // The container's own view has the mount once the program got there.
    let path = format!("/proc/{}/mountinfo", container.pid());
    crate::common::host::wait_until(|| fs::read_to_string(&path).unwrap_or_default().contains(" /mnt "));
    let now = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!now.contains(&container.bundle.id), "{now}");
    assert!(now.lines().count() <= before + 1);
}

#[test]
fn no_pivot_works_too() {
    let container = Bundle::probe(&["readdir:/", "report"]).container();
    let out = container.run_with(&["--no-pivot"]).ok().json();
    assert!(has(&out["readdir:/"], "probe"));
    assert_eq!(out["report"]["cwd"], "/");
}

#[test]
fn a_root_on_a_mount_with_flags_keeps_them() {
    if skip_on(&["crun"], "clears them") {
        return;
    }
    // A nosuid,nodev file system below the root must not lose its flags by the bind mount of the root.
    let mut bundle = Bundle::probe(&["report"]);
    let rootfs = bundle.rootfs();
    let moved = bundle.dir.join("content");
    fs::rename(&rootfs, &moved).unwrap();
    fs::create_dir(&rootfs).unwrap();
    use nix::mount::MsFlags;
    bundle.mount_on_host(&moved, &rootfs, "", MsFlags::MS_BIND, "");
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    bundle.mount_on_host(&moved, &rootfs, "", flags, "");
    let out = run(bundle);
    for flag in ["nosuid", "nodev"] {
        assert!(has(&mount_at(&out["report"], "/")["opts"], flag), "{out}");
    }
}
