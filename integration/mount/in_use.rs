//! What an overlay writes to is no layer of another, whoever looks and by whatever name: the kernel knows.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use nix::mount::MsFlags;

use super::overlay::not_here;
use crate::common::process::{self, Output};
use crate::common::{Bundle, Container, host, skip_here};
use crate::rootless;

/// Where no process of the first container can be seen.
const ELSEWHERE: [&str; 4] = ["unshare", "--pid", "--fork", "--mount-proc"];

fn elsewhere(container: &Container, flags: &[&str]) -> Output {
    let dir = container.bundle.dir.to_str().unwrap();
    container.bundle.write();
    let line = [&["run", "--bundle", dir], flags, &[&container.id]].concat();
    process::run(process::under(&ELSEWHERE, &container.command(&line)))
}

/// A directory that a container writes to, which has made `sub` and in that a directory of its own.
fn written(writer: &Container) -> PathBuf {
    let kept = writer.bundle.host_dir("kept");
    writer.run_with(&["--detach", "--overlay", kept.to_str().unwrap()]).ok();
    writer.exec(&["/bin/sh", "-c", "mkdir /sub && mkdir -m 700 /sub/deep"]).ok();
    kept
}

#[test]
fn another_pid_namespace_sees_that_a_directory_is_taken() {
    if not_here() || !host::is_root() {
        return;
    }
    let first = Bundle::idle().container();
    let kept = written(&first);
    let second = Bundle::sh("true").container();
    let flags = ["--overlay", kept.to_str().unwrap()];
    let why = elsewhere(&second, &flags).fails();
    assert!(why.contains("another overlay writes to") && why.contains("one container's at a time"), "{why}");
    second.assert_nothing_left();
    // Also when the file has the process of whoever came last, and over another root.
    fs::write(kept.join(".brisk-holder"), "").unwrap();
    second.run_with(&flags).fails();
    first.delete_force().ok();
    elsewhere(&second, &flags).ok();
    second.run_with(&flags).ok();
    // Nothing is left of what was asked, and another root is as good.
    let mut names: Vec<_> = fs::read_dir(&kept).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [".brisk-holder", ".brisk-work", "upper"]);
    assert_eq!(fs::read_dir(kept.join(".brisk-work")).unwrap().count(), 1);
}

#[test]
fn a_users_directory_is_seen_to_be_taken_too() {
    if not_here() || rootless::not_here() || !host::is_root() {
        return;
    }
    let first = rootless::bundle(&["/probe", "pause"]).container();
    let kept = first.bundle.host_dir("kept");
    chown(&kept, Some(rootless::UID), Some(rootless::UID)).unwrap();
    let kept = kept.to_str().unwrap();
    let line = |container: &Container| {
        let dir = container.bundle.dir.to_str().unwrap();
        rootless::as_user(container, &["run", "--detach", "--bundle", dir, "--overlay", kept, &container.id])
    };
    process::run(line(&first)).ok();
    let second = rootless::bundle(&["/bin/true"]).container();
    let why = process::run(process::under(&ELSEWHERE, &line(&second))).fails();
    assert!(why.contains("another overlay writes to"), "{why}");
    second.assert_nothing_left();
    let delete =
        |container: &Container| process::run(rootless::as_user(container, &["delete", "--force", &container.id]));
    delete(&first).ok();
    process::run(line(&second)).ok();
    delete(&second).ok();
}

/// A first process that is gone, and another one that is left and writes on.
#[test]
fn what_a_daemon_writes_to_is_taken() {
    if not_here() || !host::is_root() {
        return;
    }
    let first = Bundle::sh("/probe pause < /dev/null > /dev/null 2>&1 & echo $! > /pid").without_ns("pid").container();
    let kept = first.bundle.host_dir("kept");
    let flags = ["--overlay", kept.to_str().unwrap()];
    first.run_with(&[&["--detach"], &flags[..]].concat()).ok();
    host::wait_until(|| first.status() == "stopped");
    let second = Bundle::sh("true").container();
    let why = second.run_with(&flags).fails();
    assert!(why.contains("another overlay writes to"), "{why}");
    second.assert_nothing_left();
    first.delete_force().ok();
    second.run_with(&flags).ok();
}

/// The kernel lets go of an overlay when it has closed all files in it, which may be after their process has ended.
#[test]
fn a_directory_is_free_when_its_container_is_gone() {
    if not_here() {
        return;
    }
    let container = Bundle::new(&["/probe", "ring:/file", "pause"]).container();
    let kept = container.bundle.host_dir("kept");
    for _ in 0..10 {
        let running = container.start_run(&["--overlay", kept.to_str().unwrap()]);
        running.wait_for_stdout(|text| text.ends_with('\n'));
        let known = running.stdout().contains("\"ok\"");
        container.delete_force().ok();
        running.wait().exits(128 + libc::SIGKILL);
        if !known {
            skip_here("this kernel has no io_uring");
            return;
        }
    }
    container.assert_nothing_left();
}

/// By every way that leads to it.
#[test]
fn what_is_written_to_is_no_layer_by_another_name() {
    if not_here() || !host::is_root() {
        return;
    }
    let mut bundle = Bundle::idle();
    let [kept, upper_too, sub_too, work_too] =
        ["kept", "upper-too", "sub-too", "work-too"].map(|name| bundle.host_dir(name));
    for name in ["upper", "upper/sub", "upper/sub/deep", ".brisk-work", ".brisk-work/work"] {
        fs::create_dir(kept.join(name)).unwrap();
    }
    for dir in [&kept, &kept.join("upper/sub/deep")] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).unwrap();
    }
    for (name, at) in [("upper", &upper_too), ("upper/sub", &sub_too), (".brisk-work", &work_too)] {
        bundle.mount_on_host(&kept.join(name), at, "", MsFlags::MS_BIND, "");
    }
    let writer = bundle.container();
    writer.run_with(&["--detach", "--overlay", kept.to_str().unwrap()]).ok();
    let container = Bundle::sh("true").container();
    let own = container.bundle.host_dir("own");
    let own = own.to_str().unwrap();
    let [sub, work, works] = ["upper/sub", ".brisk-work", ".brisk-work/work"].map(|name| kept.join(name));
    let layers = [&sub, &work, &works, &upper_too, &sub_too, &work_too];
    let refused = |flags: &[&str], what: &Path| {
        let why = container.run_with(flags).fails();
        let told = why.contains("cannot be a layer") && why.contains(&writer.id);
        assert!(told || why.contains("another overlay writes to"), "{}: {why}", what.display());
        container.assert_nothing_left();
    };
    for layer in layers {
        let text = layer.to_str().unwrap();
        refused(&["--overlay", "tmpfs", "--lower", text], layer);
        refused(&["--overlay", own, "--lower", text], layer);
        let why =
            container.call(&["run", "--rootfs", text, "--overlay", "tmpfs", &container.id, "--", "/bin/true"]).fails();
        assert!(why.contains("cannot be a layer") || why.contains("another overlay writes to"), "{why}");
    }
    // A directory of one's own in it.
    for deep in [kept.join("upper/sub/deep"), sub_too.join("deep")] {
        refused(&["--overlay", deep.to_str().unwrap()], &deep);
    }
    // With a user namespace the kernel does not say it of layers below, and what leads to it from above is looked at.
    let inside = Bundle::sh("true").userns().container();
    for layer in [&sub, &work, &works] {
        let why = inside.run_with(&["--overlay", "tmpfs", "--lower", layer.to_str().unwrap()]).fails();
        assert!(why.contains("cannot be a layer") && why.contains(&writer.id), "{why}");
    }
    writer.delete_force().ok();
    for layer in layers {
        container.run_with(&["--overlay", own, "--lower", layer.to_str().unwrap()]).ok();
    }
    container.run_with(&["--overlay", kept.join("upper/sub/deep").to_str().unwrap()]).ok();
}
