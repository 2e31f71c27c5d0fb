//! Links and races in the rootfs: nothing outside of it is touched.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::common::{Bundle, skip_on};

#[test]
fn a_destination_that_links_to_the_host_stays_inside() {
    let bundle = Bundle::probe(&["report"]);
    let outside = bundle.host_dir("outside");
    symlink(&outside, bundle.rootfs().join("link")).unwrap();
    let container = bundle.mount("tmpfs", "tmpfs", "/link/made", &[]).container();
    container.run();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "something was made on the host");
    container.assert_nothing_left();
}

#[test]
fn a_file_bind_whose_destination_links_to_the_host_stays_inside() {
    let bundle = Bundle::probe(&["report"]);
    let outside = bundle.host_dir("outside");
    fs::write(outside.join("file"), "untouched").unwrap();
    let source = bundle.dir.join("source-file");
    fs::write(&source, "source").unwrap();
    symlink(outside.join("new"), bundle.rootfs().join("link")).unwrap();
    symlink(outside.join("file"), bundle.rootfs().join("link2")).unwrap();
    let source = source.to_str().unwrap().to_string();
    let container =
        bundle.mount("bind", &source, "/link", &["bind"]).mount("bind", &source, "/link2", &["bind"]).container();
    container.run();
    assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "untouched");
    assert!(!outside.join("new").exists());
}

#[test]
fn a_working_directory_that_links_to_the_host_stays_inside() {
    let bundle = Bundle::probe(&["report"]).set("/process/cwd", json!("/link"));
    let outside = bundle.host_dir("outside");
    symlink(&outside, bundle.rootfs().join("link")).unwrap();
    let container = bundle.container();
    let output = container.run();
    if output.code == 0 {
        let cwd = output.json()["report"]["cwd"].clone();
        assert!(container.bundle.rootfs().join(cwd.as_str().unwrap().trim_start_matches('/')).exists());
    }
}

#[test]
fn proc_that_is_a_link_is_refused() {
    // CVE-2019-19921, CVE-2023-27561, CVE-2025-54867.
    for name in ["proc", "sys"] {
        let bundle = Bundle::probe(&["report"]);
        fs::remove_dir(bundle.rootfs().join(name)).unwrap();
        fs::create_dir(bundle.rootfs().join("elsewhere")).unwrap();
        symlink("elsewhere", bundle.rootfs().join(name)).unwrap();
        let container = bundle.container();
        if skip_on(&["crun"], "follows the link inside the root") {
            return;
        }
        container.create().fails();
        container.assert_nothing_left();
    }
}

#[test]
fn a_mount_over_proc_is_refused() {
    // CVE-2019-16884: a fake /proc takes the writes of LSM labels.
    if skip_on(&["crun"], "checks the file system when it writes instead") {
        return;
    }
    let bundle = Bundle::idle();
    let source = bundle.host_dir("source").to_str().unwrap().to_string();
    let container = bundle.mount("bind", &source, "/proc/1", &["bind"]).container();
    container.create().fails();
    container.assert_nothing_left();
}

#[test]
fn the_allowed_mounts_in_proc_work() {
    // What lxcfs provides.
    let bundle = Bundle::probe(&["read:/proc/uptime"]);
    let file = bundle.dir.join("uptime");
    fs::write(&file, "1 2\n").unwrap();
    let file = file.to_str().unwrap().to_string();
    let container = bundle.mount("bind", &file, "/proc/uptime", &["bind"]).container();
    assert_eq!(container.run().ok().json()["read:/proc/uptime"], "1 2\n");
}

#[test]
fn a_null_that_is_a_link_does_not_unmask_proc() {
    // CVE-2025-31133: /dev/null as the source of masks, replaced by a link.
    if skip_on(&["runc", "crun"], "fixed in later versions") {
        return;
    }
    let bundle = Bundle::probe(&["read1:/proc/keys", "stat:/proc/keys"])
        .without_mount("/dev")
        .without_mount("/dev/pts")
        .without_mount("/dev/shm")
        .without_mount("/dev/mqueue");
    symlink("/proc/sys/kernel/core_pattern", bundle.rootfs().join("dev/null")).unwrap();
    let container = bundle.container();
    let output = container.run();
    if output.code == 0 {
        let out = output.json();
        assert_eq!(out["read1:/proc/keys"], 0, "{out}");
    }
}

#[test]
fn the_runtime_is_not_reachable_for_writing() {
    // CVE-2019-5736: the container's program is /proc/self/exe.
    let runtime = crate::common::host::resolve_program(&crate::common::runtime());
    let before = fs::metadata(&runtime).unwrap();
    let container = Bundle::idle().container();
    container.up();
    container.exec(&["/proc/self/exe", "--version"]);
    let attempt = Bundle::new(&["/proc/self/exe"]).container();
    attempt.run();
    let after = fs::metadata(&runtime).unwrap();
    assert_eq!(before.len(), after.len());
    assert_eq!(before.modified().unwrap(), after.modified().unwrap());
}

#[test]
fn an_id_cannot_leave_the_state_directory() {
    if skip_on(&["crun"], "delete .. removes the directory above") {
        return;
    }
    let container = Bundle::idle().container();
    for id in ["..", ".", "../escape", "a/b", "", "/tmp/x", "a\nb", "with space", "né", "~", "a*"] {
        let dir = container.bundle.dir.to_str().unwrap();
        container.call(&["create", "--bundle", dir, id]).fails();
        container.call(&["state", id]).fails();
        container.call(&["delete", id]).fails();
    }
    assert!(!container.bundle.dir.join("escape").exists());
    assert!(container.bundle.dir.join("config.json").exists());
    container.assert_nothing_left();
}

#[test]
fn ids_with_all_allowed_characters() {
    // A name may begin with a dash as well, but on a command line that is a flag.
    for id in ["a", "0", "_x", "+x", "a_b+c-d.e", "A1..b"] {
        let bundle = Bundle::sh("true");
        let container = bundle.container();
        let dir = container.bundle.dir.to_str().unwrap();
        container.call(&["run", "--bundle", dir, id]).ok();
    }
}
