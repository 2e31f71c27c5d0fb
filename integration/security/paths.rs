//! Destinations of mounts that lead out of the root, at rest and changing while `create` runs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::json;

use super::{secret, while_swapping};
use crate::common::{Bundle, Container, container::has, container::mount_at};

/// Nothing may have been made in the directory outside.
#[track_caller]
fn empty(dir: &Path) {
    let names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.is_empty(), "made on the host: {names:?}");
}

fn race(bundle: Bundle, outside: &Path) {
    let (dir, link) = (bundle.rootfs().join("volume"), bundle.rootfs().join("link"));
    fs::create_dir(&dir).unwrap();
    symlink(outside, &link).unwrap();
    let container = bundle.container();
    while_swapping(&dir, &link, || {
        if container.create().code == 0 {
            sees_nothing_of_the_host(&container);
            container.delete_force().ok();
        }
        empty(outside);
    });
}

#[track_caller]
fn sees_nothing_of_the_host(container: &Container) {
    let pid = container.pid();
    for path in ["SECRET", "../SECRET", "volume/SECRET", "link/SECRET", "mnt/SECRET"] {
        // Through /proc/PID/root the container's own view counts.
        let found = fs::read_to_string(format!("/proc/{pid}/root/{path}"));
        assert!(found.is_err(), "{path} is visible inside");
    }
}

/// A volume's destination is exchanged with a link to the host while the mount is made. Destinations are
/// resolved in the root to a descriptor, and the mount is moved onto that (move_mount(2)).
#[test]
fn cve_2021_30465_destination_changes_into_a_link() {
    let bundle = Bundle::idle();
    secret(&bundle);
    let outside = bundle.host_dir("outside");
    race(bundle.mount("tmpfs", "tmpfs", "/volume/made/here", &[]), &outside);
}

/// The same for the directories and files that are made for a bind mount.
#[test]
fn cve_2024_45310_destination_is_made_while_it_changes() {
    let bundle = Bundle::idle();
    secret(&bundle);
    let outside = bundle.host_dir("outside");
    let file = bundle.dir.join("file");
    fs::write(&file, "").unwrap();
    let file = file.to_str().unwrap().to_owned();
    let bundle =
        bundle.mount("bind", &file, "/volume/a/b/file", &["bind"]).mount("bind", &file, "/volume/file", &["bind"]);
    race(bundle, &outside);
}

/// Links at rest: absolute, relative with many `..`, and through each other.
#[test]
fn cve_2019_18837_links_are_resolved_in_the_root() {
    let bundle = Bundle::idle();
    secret(&bundle);
    let outside = bundle.host_dir("outside");
    let up = format!("../../../../../../../../..{}", outside.display());
    symlink(&outside, bundle.rootfs().join("absolute")).unwrap();
    symlink(up, bundle.rootfs().join("relative")).unwrap();
    symlink("absolute/../absolute", bundle.rootfs().join("both")).unwrap();
    let mut bundle = bundle;
    for dest in ["/absolute/a", "/relative/b", "/both/c", "/../../../absolute/d", "/bin/../relative/../relative/e"] {
        bundle = bundle.mount("tmpfs", "tmpfs", dest, &[]);
    }
    let container = bundle.container();
    if container.create().code == 0 {
        sees_nothing_of_the_host(&container);
    }
    empty(&outside);
}

/// Also where the rootfs has a /proc/self/fd of its own: no path is looked up in the container's proc, and no
/// remount is put off.
#[test]
fn cve_2026_115521_a_proc_in_the_image_does_not_keep_the_root_writable() {
    if crate::common::skip_on(&["runc", "crun"], "need the container's proc") {
        return;
    }
    let bundle = Bundle::probe(&["report", "create:/tmp/x", "create:/data/x"]);
    let data = bundle.host_dir("data");
    let root = bundle.rootfs();
    fs::create_dir(root.join("proc/self")).unwrap();
    fs::create_dir(root.join("proc/self/fd")).unwrap();
    for number in 0..64 {
        symlink("/mnt", root.join(format!("proc/self/fd/{number}"))).unwrap();
    }
    let data = data.to_str().unwrap().to_owned();
    let container = bundle
        .without_mount("/proc")
        .without_mount("/sys")
        .set("/linux/maskedPaths", json!([]))
        .set("/linux/readonlyPaths", json!([]))
        .mount("bind", &data, "/data", &["bind", "ro"])
        .set("/root/readonly", json!(true))
        .container();
    let out = container.run().ok().json();
    assert_eq!(out["create:/tmp/x"]["errno"], "EROFS");
    assert_eq!(out["create:/data/x"]["errno"], "EROFS");
}

/// crun 1.31: no mount point is made inside the source of a read-only bind mount: it is read-only from the
/// moment it can be seen.
#[test]
fn a_mount_point_in_a_read_only_bind_is_not_made() {
    let bundle = Bundle::probe(&["report"]);
    let data = bundle.host_dir("data");
    let source = data.to_str().unwrap().to_owned();
    let container =
        bundle.mount("bind", &source, "/data", &["bind", "ro"]).mount("tmpfs", "tmpfs", "/data/new", &[]).container();
    let output = container.run();
    if crate::common::skip_on(&["runc", "crun"], "remounts read-only at the end") {
        return;
    }
    empty(&data);
    assert!(output.code != 0 || has(&mount_at(&output.json()["report"], "/data")["opts"], "ro"));
}

/// Two containers write to one volume whose subdirectory is another's destination (Moby GHSA-vp62-88p7-qqf5,
/// CVE-2024-9341): resolved inside of the root, whichever mount the link is in.
#[test]
fn ghsa_vp62_88p7_qqf5_a_volume_holds_the_link() {
    let bundle = Bundle::idle();
    secret(&bundle);
    let (outside, volume) = (bundle.host_dir("outside"), bundle.host_dir("shared"));
    symlink(&outside, volume.join("sub")).unwrap();
    let volume = volume.to_str().unwrap().to_owned();
    let container = bundle
        .mount("bind", &volume, "/volume", &["bind"])
        .mount("tmpfs", "tmpfs", "/volume/sub/made", &[])
        .container();
    if container.create().code == 0 {
        sees_nothing_of_the_host(&container);
    }
    empty(&outside);
}
