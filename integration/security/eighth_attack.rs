//! What an eighth attack, on what earlier ones had read but not run, has found (docs/SECURITY.md).

use std::fs;

use serde_json::{Value, json};

use super::with_caps;
use crate::common::{Bundle, Container, brisk_only, host, process, skip_unless};

/// A disk of the host's in a shared directory: what `exec` was to write there, root wrote to the disk.
#[test]
fn no_device_that_a_container_makes_is_written_to() {
    if brisk_only("runc and crun write pid files by a rename, and nothing else")
        || skip_unless(host::has_cap(27).into(), "CAP_MKNOD is needed")
    {
        return;
    }
    // A disk that nobody has set up, the kernel's log, its random numbers.
    let nodes = [("disk", "b 7 251"), ("log", "c 1 11"), ("random", "c 1 8")];
    let made: String = nodes.iter().map(|(name, node)| format!("/bin/busybox mknod /out/{name} {node} && ")).collect();
    let bundle = with_caps(Bundle::sh(&format!("{made} echo > /out/ready; exec /probe pause")), &["CAP_MKNOD"]);
    let out = bundle.host_dir("out");
    let container = bundle.mount("bind", out.to_str().unwrap(), "/out", &["bind"]).container();
    container.up().ok();
    host::wait_until(|| out.join("ready").exists());
    for (name, _) in nodes {
        let file = out.join(name);
        let file = file.to_str().unwrap();
        for flag in ["--pid-file", "--result"] {
            let said = container.exec_with(&[flag, file], &["/probe"]).fails();
            assert!(said.contains("of devices only terminals"), "{flag} {name}: {said}");
        }
        let traced = container.exec_with(&["--trace", file], &["/probe"]).ok();
        assert!(traced.stderr().contains("of devices only terminals"), "{name}: {}", traced.stderr());
    }
    container.delete_force().ok();
    container.assert_nothing_left();
}

/// A container that has a lease on a file of another's root (fcntl(2)): whoever opens it waits for as long as the kernel allows.
fn holding(bundle: &Bundle, file: &str) -> Container {
    let held =
        format!("exec 3<>/root{file}; /probe syscall:{},3,{},{}", libc::SYS_fcntl, libc::F_SETLEASE, libc::F_WRLCK);
    let neighbour = Bundle::sh(&format!("{held} > /done; /bin/busybox mv /done /held; exec /probe pause"));
    let root = bundle.rootfs();
    let neighbour = neighbour.mount("bind", root.to_str().unwrap(), "/root", &["bind"]).container();
    neighbour.up().ok();
    let said = neighbour.bundle.rootfs().join("held");
    host::wait_until(|| said.exists());
    let said: Value = serde_json::from_str(&fs::read_to_string(said).unwrap()).unwrap();
    assert!(said.to_string().contains("\"ret\":0"), "{said}");
    neighbour
}

/// Its time is over, whoever keeps the program's file from being opened.
#[test]
fn a_program_that_cannot_be_opened_is_ended_by_its_time_limit() {
    if brisk_only("pools") {
        return;
    }
    let bundle = Bundle::idle().unset("/linux/cgroupsPath");
    fs::copy("/bin/true", bundle.file("bin/tool", "")).unwrap();
    let container = bundle.container();
    container.call(&["pool", "create", &container.id, "--size", "1"]).ok();
    let neighbour = holding(&container.bundle, "/bin/tool");
    let flags = ["run", "--pool", &container.id, "--timeout", "200ms", "--exit-codes", "--result", "r.json"];
    container.call(&[&flags[..], &["--", "/bin/tool"]].concat()).exits(124);
    let result: Value =
        serde_json::from_str(&fs::read_to_string(container.bundle.dir.join("r.json")).unwrap()).unwrap();
    assert_eq!((&result["ended"], &result["pool"]["claimed"]), (&json!("timeout"), &json!(true)));
    assert_eq!(container.call(&["list", "--quiet"]).ok().stdout(), "");
    container.call(&["pool", "delete", &container.id]).ok();
    neighbour.delete_force().ok();
    neighbour.assert_nothing_left();
    container.assert_nothing_left();
}

/// Nor does a lease on passwd keep anybody out: HOME is as where there is none.
#[test]
fn a_passwd_that_cannot_be_opened_keeps_nobody_out() {
    if brisk_only("runc and crun wait for it") {
        return;
    }
    let bundle = Bundle::idle();
    bundle.file("etc/passwd", "root:x:0:0::/home/root:/bin/sh\n");
    let container = bundle.container();
    container.up().ok();
    let home = || process::run(container.command(&["exec", &container.id, "/probe", "env:HOME"])).ok().json();
    assert_eq!(home()["env:HOME"], json!("/home/root"));
    let neighbour = holding(&container.bundle, "/etc/passwd");
    assert_eq!(home()["env:HOME"], json!("/"));
    for container in [neighbour, container] {
        container.delete_force().ok();
        container.assert_nothing_left();
    }
}

/// Where the kernel lists no mounts (before Linux 6.8), or a hierarchy is mounted elsewhere, mountinfo is read, in which every user's FUSE
/// mount has the name that he likes.
#[test]
fn a_strangers_mount_point_keeps_nobody_from_the_cgroups() {
    if skip_unless(host::has_cap(21).into(), "CAP_SYS_ADMIN is needed") {
        return;
    }
    let container = Bundle::probe(&["read:/proc/self/comm"]).container();
    let script = r#"d=$(printf '%s/x\377y' "$0"); mkdir "$d" && mount -t tmpfs tmpfs "$d" || exit 1
        if mountpoint -q /sys/fs/cgroup/systemd; then umount -l /sys/fs/cgroup/systemd; fi; exec "$@""#;
    let dir = container.bundle.host_dir("mounts");
    let words = ["unshare", "-m", "sh", "-c", script, dir.to_str().unwrap()];
    process::run(process::under(&words, &container.command(&["run", &container.id]))).ok();
    container.assert_nothing_left();
}
