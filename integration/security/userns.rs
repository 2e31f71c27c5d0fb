//! Container root with every capability in its own user namespace against the host's mounts.
//!
//! The kernel locks flags and positions of mounts that are copied into the mount namespace of a less privileged
//! user namespace (mount_namespaces(7)); these tests fail with a way of building the namespace that skips the
//! copy.

use std::fs;
use std::path::Path;

use nix::mount::MsFlags;
use serde_json::{Value, json};

use super::{ALL_CAPS, secret, with_caps};
use crate::common::{Bundle, brisk_only};

/// Runs the script in a user namespace with every capability; the probe's report ends its output.
fn run(more: impl FnOnce(Bundle) -> Bundle, script: &str, ops: &str) -> Value {
    let script = format!("({script}) > /log 2>&1; exec /probe read:/log {ops}");
    let bundle = with_caps(Bundle::sh(&script).userns(), ALL_CAPS);
    secret(&bundle);
    more(bundle).container().run().ok().json()
}

/// A directory of the host that anybody may write to, with these flags of its own mount.
fn host_mount(bundle: &mut Bundle, flags: MsFlags) -> String {
    use std::os::unix::fs::PermissionsExt;
    let dir = bundle.host_dir("data");
    bundle.mount_on_host(Path::new("tmpfs"), &dir, "tmpfs", MsFlags::empty(), "mode=0777");
    fs::write(dir.join("program"), "#!/bin/sh\nexit 0\n").unwrap();
    fs::set_permissions(dir.join("program"), fs::Permissions::from_mode(0o755)).unwrap();
    let node = nix::sys::stat::SFlag::S_IFCHR;
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o666);
    nix::sys::stat::mknod(&dir.join("null"), node, mode, libc::makedev(1, 3)).unwrap();
    fs::set_permissions(dir.join("null"), fs::Permissions::from_mode(0o666)).unwrap();
    if !flags.is_empty() {
        let remount = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags;
        bundle.mount_on_host(Path::new("none"), &dir, "none", remount, "");
    }
    dir.to_str().unwrap().to_owned()
}

const CLEAR: &str = "for o in remount,bind,rw remount,bind,rw,suid,dev,exec remount,rw remount,bind; do \
    /bin/busybox mount -o $o /data; done; \
    /bin/busybox unshare -m /bin/busybox mount -o remount,bind,rw,suid,dev,exec /data; \
    /bin/busybox mkdir -p /again; /bin/busybox mount --bind /data /again; \
    /bin/busybox mount -o remount,bind,rw,suid,dev,exec /again";
const OPS: &str = "create:/data/made create:/again/made exec:/data/program open:/data/null report";

fn flags_stay(out: &Value) {
    for op in ["create:/data/made", "create:/again/made"] {
        assert!(matches!(out[op]["errno"].as_str(), Some("EROFS" | "ENOENT")), "{op}: {out:#}");
    }
    assert_eq!(out["exec:/data/program"]["errno"], "EACCES", "{out:#}");
    assert_eq!(out["open:/data/null"]["errno"], "EACCES", "{out:#}");
    for mount in out["report"]["mounts"].as_array().unwrap().iter().filter(|m| m["point"] == "/data") {
        for flag in ["ro", "nosuid", "nodev", "noexec"] {
            assert!(mount["opts"].as_array().unwrap().iter().any(|o| o == flag), "{flag}: {mount}");
        }
    }
}

/// Flags that the host's mount has.
#[test]
fn the_flags_of_a_host_mount_cannot_be_cleared() {
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    for kind in ["bind", "rbind"] {
        let bind = |mut bundle: Bundle| {
            let source = host_mount(&mut bundle, flags);
            bundle.mount("bind", &source, "/data", &[kind])
        };
        flags_stay(&run(bind, CLEAR, OPS));
    }
}

/// What a mount on the host covers stays covered.
#[test]
fn a_submount_that_covers_something_cannot_be_unmounted() {
    let script = "/bin/busybox umount /data/sub; /bin/busybox umount -l /data/sub; \
        /bin/busybox unshare -m /bin/busybox umount -l /data/sub; /bin/busybox mkdir -p /again; \
        /bin/busybox mount --bind /data /again; /bin/busybox mount --rbind /data /again; \
        /bin/busybox umount /again/sub; /bin/busybox mount --move /data/sub /mnt";
    let ops = "stat:/data/sub/covered stat:/again/sub/covered read:/data/sub/file report";
    let bind = |mut bundle: Bundle| {
        let source = bundle.host_dir("source");
        let sub = source.join("sub");
        fs::create_dir(&sub).unwrap();
        fs::write(sub.join("covered"), "").unwrap();
        bundle.mount_on_host(Path::new("tmpfs"), &sub, "tmpfs", MsFlags::empty(), "");
        fs::write(sub.join("file"), "below").unwrap();
        bundle.mount("bind", source.to_str().unwrap(), "/data", &["rbind"])
    };
    let out = run(bind, script, ops);
    assert_eq!(out["stat:/data/sub/covered"]["errno"], "ENOENT", "{out:#}");
    assert_eq!(out["stat:/again/sub/covered"]["errno"], "ENOENT", "{out:#}");
    assert_eq!(out["read:/data/sub/file"], "below", "{out:#}");
}

/// Nor does it lose its locks when the container is given it while it runs.
#[test]
fn an_added_mount_is_as_locked_as_one_of_the_configuration() {
    if brisk_only("mounts add") {
        return;
    }
    let mut bundle = with_caps(Bundle::idle().userns(), ALL_CAPS);
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let locked = host_mount(&mut bundle, flags);
    let source = bundle.host_dir("source");
    let sub = source.join("sub");
    fs::create_dir(&sub).unwrap();
    fs::write(sub.join("covered"), "").unwrap();
    bundle.mount_on_host(Path::new("tmpfs"), &sub, "tmpfs", MsFlags::empty(), "");
    let container = bundle.container();
    container.up();
    for options in [&["bind"][..], &["bind", "nosuid"]] {
        let list = container.bundle.dir.join("list.json");
        let mounts = json!([
            { "destination": "/data", "type": "bind", "source": locked, "options": options },
            { "destination": "/tree", "type": "bind", "source": source, "options": ["rbind"] },
        ]);
        fs::write(&list, mounts.to_string()).unwrap();
        container.call(&["mounts", "add", &container.id, list.to_str().unwrap()]).ok();
        let script = format!(
            "({CLEAR}; /bin/busybox umount -l /tree/sub; /bin/busybox mkdir -p /over; /bin/busybox mount --bind /tree \
             /over) > /log 2>&1; exec /probe {OPS} stat:/tree/sub/covered stat:/over/sub/covered"
        );
        let caps: Vec<&str> = ALL_CAPS.iter().flat_map(|cap| ["--cap", cap]).collect();
        let out = container.exec_with(&caps, &["/bin/sh", "-c", &script]).ok().json();
        flags_stay(&out);
        for op in ["stat:/tree/sub/covered", "stat:/over/sub/covered"] {
            assert_eq!(out[op]["errno"], "ENOENT", "{out:#}");
        }
        container.call(&["mounts", "remove", &container.id, list.to_str().unwrap()]).ok();
    }
}

/// A plain bind would leave the mount out and show what is below it: the kernel refuses that (EINVAL).
#[test]
fn a_plain_bind_does_not_uncover_what_is_below_a_submount() {
    let mut bundle = with_caps(Bundle::probe(&["stat:/data/sub/covered"]).userns(), ALL_CAPS);
    let source = bundle.host_dir("source");
    let sub = source.join("sub");
    fs::create_dir(&sub).unwrap();
    fs::write(sub.join("covered"), "").unwrap();
    bundle.mount_on_host(Path::new("tmpfs"), &sub, "tmpfs", MsFlags::empty(), "");
    let source = source.to_str().unwrap().to_owned();
    let output = bundle.mount("bind", &source, "/data", &["bind"]).container().run();
    if output.code == 0 {
        assert_eq!(output.json()["stat:/data/sub/covered"]["errno"], "ENOENT");
    }
}

/// The old root is gone, not only hidden.
#[test]
fn the_hosts_other_mounts_cannot_be_seen() {
    let script = "for i in 1 2 3 4; do /bin/busybox umount -l /; done; \
        /bin/busybox unshare -m /bin/busybox umount -l /proc; /bin/busybox umount -R /mnt";
    let out = run(|bundle| bundle, script, "report stat:/SECRET stat:/../SECRET readdir:/");
    for op in ["stat:/SECRET", "stat:/../SECRET"] {
        assert_eq!(out[op]["errno"], "ENOENT");
    }
    let points = ["/", "/proc", "/dev", "/sys", "/mnt", "/data"];
    for mount in out["report"]["mounts"].as_array().unwrap() {
        let point = mount["point"].as_str().unwrap();
        assert!(
            points.iter().any(|known| point == *known || *known != "/" && point.starts_with(&format!("{known}/"))),
            "{mount}"
        );
    }
}

/// The container's root can write to nothing that belongs to the host, even where it can reach it.
#[test]
fn host_root_owned_files_cannot_be_written() {
    let bind = |bundle: Bundle| {
        let dir = bundle.host_dir("data");
        fs::write(dir.join("file"), "of the host").unwrap();
        let source = dir.to_str().unwrap().to_owned();
        bundle.mount("bind", &source, "/data", &["rbind"])
    };
    let out = run(bind, "true", "write:/data/file create:/data/made chown:/data/file");
    assert_eq!(out["write:/data/file"]["errno"], "EACCES");
    assert_eq!(out["create:/data/made"]["errno"], "EACCES");
    assert_eq!(out["chown:/data/file"]["errno"], "EPERM");
}
