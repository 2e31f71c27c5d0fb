//! Containers without a mount namespace of their own, or in a joined one: their root is a chroot, so whoever joins the
//! namespace alone stands in the host's root. Everything that enters has to enter the root too.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::mount::MsFlags;
use serde_json::json;

use super::secret;
use crate::common::{Bundle, Container, host, skip_on};

/// A mount namespace that shows what the host's shows, and what makes it go away.
struct Joined(std::process::Child);

impl Joined {
    fn new() -> Self {
        Self::with("private")
    }

    fn with(propagation: &str) -> Self {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", propagation, "sleep", "1000"]).stdin(Stdio::null());
        let child = command.stdout(Stdio::null()).spawn().unwrap();
        // It has its namespace, and the propagation is set, when the next program runs.
        let comm = format!("/proc/{}/comm", child.id());
        host::wait_until(|| fs::read_to_string(&comm).unwrap() == "sleep\n");
        Joined(child)
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/mnt", self.0.id())
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A bundle whose container can be without a mount namespace. Its proc is there beforehand.
fn bundle(args: &[&str]) -> Bundle {
    let mut bundle =
        Bundle::new(args).unset("/linux/maskedPaths").unset("/linux/readonlyPaths").set("/mounts", json!([]));
    secret(&bundle);
    let proc = bundle.rootfs().join("proc");
    bundle.mount_on_host(Path::new("proc"), &proc, "proc", MsFlags::empty(), "");
    bundle
}

/// Does something with a running container without a mount namespace, and with one in a joined one.
fn with_each(prepare: impl Fn(Bundle) -> Bundle, check: impl Fn(&Container)) {
    let container = prepare(bundle(&["/probe", "pause"])).without_ns("mount").container();
    container.up();
    check(&container);
    drop(container);
    let bundle = prepare(bundle(&["/probe", "pause"]));
    let joined = Joined::new();
    let container = bundle.join("mount", &joined.path()).container();
    container.up();
    check(&container);
}

fn names(container: &Container) -> [String; 2] {
    let secret = container.bundle.dir.join("SECRET").to_str().unwrap().to_owned();
    [secret, "/proc/1/root/etc/shadow".into()]
}

/// The program, its file, its working directory, its HOME, and a terminal's.
#[test]
fn exec_runs_in_the_containers_root() {
    if skip_on(&["runc", "crun"], "run it in the host's root, leave their mounts there") {
        return;
    }
    with_each(
        |bundle| bundle,
        |container| {
            let namespaces = &container.bundle.config["linux"]["namespaces"];
            fs::write(container.bundle.rootfs().join("etc/passwd"), "root:x:0:0::/in-the-container:/bin/sh\n").unwrap();
            for name in names(container) {
                let output = container.exec(&["/bin/busybox", "cat", &name]);
                assert!(output.code != 0 && output.stdout().is_empty(), "exec is in the host's root: {output:?}");
            }
            let output = container.exec(&["/probe", "stat:/probe", "stat:/usr", "report"]);
            assert_eq!(output.code, 0, "{namespaces}: the container's program is not found: {output:?}");
            let out = output.json();
            assert_eq!(out["stat:/probe"]["type"], "file", "{namespaces}: {out}");
            assert_eq!(out["stat:/usr"]["errno"], "ENOENT", "{namespaces}: {out}");
            assert_eq!(out["report"]["env"]["HOME"], "/in-the-container", "HOME is from the host's passwd");
            let cwd = container.bundle.dir.to_str().unwrap();
            let output = container.exec_with(&["--cwd", cwd], &["/bin/busybox", "cat", "SECRET"]);
            assert_ne!(output.code, 0, "a working directory of the host: {output:?}");
        },
    );
}

/// A mount is made in the container's root or not at all.
#[test]
fn mounts_are_added_in_the_containers_root() {
    if crate::common::brisk_only("mounts add") {
        return;
    }
    with_each(
        |bundle| bundle,
        |container| {
            let place = format!("/tmp/added-{}", container.id);
            let list = container.bundle.dir.join("list.json");
            let mounts = json!([{ "destination": place, "type": "tmpfs", "source": "tmpfs", "options": ["size=4k"] }]);
            fs::write(&list, mounts.to_string()).unwrap();
            let output = container.call(&["mounts", "add", &container.id, list.to_str().unwrap()]);
            let on_host = Path::new(&place).exists();
            if on_host {
                let _ = nix::mount::umount2(&*place, nix::mount::MntFlags::MNT_DETACH);
                fs::remove_dir(&place).unwrap();
            }
            assert!(!on_host, "mounted on the host: {output:?}");
            let inside = container.bundle.rootfs().join(&place[1..]);
            assert_eq!(output.code == 0, inside.exists(), "{output:?}");
            if output.code == 0 {
                container.call(&["mounts", "remove", &container.id, list.to_str().unwrap()]).ok();
            }
        },
    );
}

/// The other way into it: startContainer hooks, by the container's own root.
#[test]
fn start_container_hooks_run_in_the_containers_root() {
    if skip_on(&["runc", "crun"], "run it in the host's root, leave their mounts there") {
        return;
    }
    let hook = |bundle: Bundle| {
        bundle.hook("startContainer", "/bin/sh", &["sh", "-c", "/probe stat:/usr stat:/probe > /seen"])
    };
    with_each(hook, |container| {
        let seen = fs::read_to_string(container.bundle.rootfs().join("seen")).unwrap();
        let out: serde_json::Value = serde_json::from_str(&seen).unwrap();
        assert_eq!(out["stat:/usr"]["errno"], "ENOENT", "{out}");
        assert_eq!(out["stat:/probe"]["type"], "file", "{out}");
    });
}

/// What is mounted at the root file system and below it, by the namespace's own numbers: one `shared` or not for each.
fn mounted(pid: &str, root: &Path) -> Vec<(String, bool)> {
    let table = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    let mounts = table.lines().map(|line| (line.split(' ').nth(4).unwrap(), line.contains(" shared:")));
    let below = mounts.filter(|(point, _)| Path::new(point).starts_with(root));
    below.map(|(point, shared)| (point.to_owned(), shared)).collect()
}

/// The mount that holds the root file system is the host's: its propagation stays what it was, during the container's
/// life and afterwards; and the mount itself stays, also where the one that it is on is its peer (as everywhere below `/` where systemd
/// is). Whoever has mounts that follow the host's keeps none of the container's.
#[test]
fn the_hosts_mount_stays_shared() {
    if skip_on(&["runc", "crun"], "make it private or slave") {
        return;
    }
    for mounts in [json!([]), json!([{ "destination": "/tmp", "type": "tmpfs", "source": "tmpfs" }])] {
        for below in [None, Some("mnt")] {
            let mut bundle = Bundle::idle()
                .unset("/linux/maskedPaths")
                .unset("/linux/readonlyPaths")
                .set("/mounts", mounts.clone())
                .without_ns("mount");
            let (dir, root) = (bundle.dir.clone(), bundle.rootfs());
            bundle.mount_on_host(&dir, &dir, "", MsFlags::MS_BIND, "");
            bundle.mount_on_host(Path::new("none"), &dir, "", MsFlags::MS_SHARED, "");
            bundle.mount_on_host(&root, &root, "", MsFlags::MS_BIND, "");
            if let Some(below) = below {
                bundle.mount_on_host(Path::new("none"), &root.join(below), "tmpfs", MsFlags::empty(), "");
            }
            let follower = Joined::with("slave");
            let of_all = || ["self", &follower.0.id().to_string()].map(|pid| mounted(pid, &root));
            let before = of_all();
            assert!(before[0].iter().all(|(_, shared)| *shared) && !before[1].is_empty(), "{before:?}");
            let container = bundle.container();
            container.up();
            let now = of_all();
            assert!(before[0].iter().all(|mount| now[0].contains(mount)), "{mounts}: while it runs: {now:?}");
            container.delete_force().ok();
            assert_eq!(of_all(), before, "{mounts} {below:?}: for good");
        }
    }
}
