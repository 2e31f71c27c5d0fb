//! crun's annotations that brisk follows, and its `mounts add|remove`.

use std::fs;
use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use serde_json::json;

use crate::common::host::Cgroups;
use crate::common::process::wait_readable;
use crate::common::{Bundle, Container, Need, host, skip_on, skip_unless, time_limit};

fn annotated(bundle: Bundle, key: &str, value: &str) -> Bundle {
    // The key contains no slash, but set() splits at them.
    bundle.set(&format!("/annotations/{key}"), json!(value))
}

#[test]
fn groups_of_the_caller_are_kept() {
    if skip_on(&["runc"], "crun's annotation") {
        return;
    }
    let gids = |value| {
        let bundle = Bundle::sh("cat /proc/self/status").set("/process/user/additionalGids", json!([1234]));
        let out = annotated(bundle, "run.oci.keep_original_groups", value).container().trusting().run().ok().stdout();
        out.lines().find_map(|line| line.strip_prefix("Groups:").map(|g| g.trim().to_owned())).unwrap()
    };
    assert_eq!(gids("0"), "1234");
    assert!(!gids("1").contains("1234"));
}

#[test]
fn hooks_write_to_files() {
    if skip_on(&["runc"], "crun's annotation") {
        return;
    }
    let bundle = Bundle::sh("true");
    let [out, err] = ["hooks.out", "hooks.err"].map(|name| bundle.dir.join(name));
    fs::write(&out, "before\n").unwrap();
    let bundle = annotated(bundle, "run.oci.hooks.stdout", out.to_str().unwrap());
    let bundle = annotated(bundle, "run.oci.hooks.stderr", err.to_str().unwrap())
        .sh_hook("createRuntime", "cat > /dev/null; echo one; echo two >&2")
        .hook("startContainer", "/bin/sh", &["sh", "-c", "cat > /dev/null; echo three; echo four >&2"]);
    let container = bundle.container().trusting();
    container.run().ok();
    assert_eq!(fs::read_to_string(&out).unwrap(), "before\none\nthree\n");
    assert_eq!(fs::read_to_string(&err).unwrap(), "two\nfour\n");
}

/// The payload that came, and what /proc says of the descriptor that came with it.
pub fn receive(listener: &UnixListener) -> (String, String) {
    let (text, file) = receive_file(listener);
    (text, fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).unwrap())
}

/// The payload that came, and the descriptor that came with it.
#[allow(unsafe_code, reason = "nix hands received descriptors out as numbers")]
pub fn receive_file(listener: &UnixListener) -> (String, fs::File) {
    assert!(wait_readable(listener.as_fd(), time_limit()), "nobody connects");
    let (stream, _) = listener.accept().unwrap();
    assert!(wait_readable(stream.as_fd(), time_limit()), "nothing is sent");
    let mut text = [0; 4096];
    let mut space = nix::cmsg_space!([i32; 4]);
    let mut iov = [IoSliceMut::new(&mut text)];
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut iov, Some(&mut space), MsgFlags::empty()).unwrap();
    let len = message.bytes;
    let rights = |control| if let ControlMessageOwned::ScmRights(fds) = control { fds } else { Vec::new() };
    let fds: Vec<i32> = message.cmsgs().unwrap().flat_map(rights).collect();
    assert_eq!(fds.len(), 1, "one descriptor is sent");
    // SAFETY: the kernel just gave us this descriptor.
    let file = unsafe { OwnedFd::from_raw_fd(fds[0]) };
    (String::from_utf8_lossy(&text[..len]).into_owned(), file.into())
}

#[test]
fn a_pidfd_is_sent() {
    if skip_on(&["runc"], "crun's annotation") {
        return;
    }
    let bundle = Bundle::idle();
    let path = bundle.dir.join("pidfd.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let container = annotated(bundle, "run.oci.pidfd_receiver", path.to_str().unwrap()).container().trusting();
    container.create().ok();
    let (payload, info) = receive(&listener);
    assert_eq!(payload, " ");
    assert!(info.contains(&format!("Pid:\t{}\n", container.pid())), "{info}");
}

#[test]
fn a_cgroup_is_delegated_on_v2_only_and_never_upwards() {
    if skip_on(&["runc"], "crun's annotation") {
        return;
    }
    let create = |path| annotated(Bundle::idle().ns("cgroup"), "run.oci.delegate-cgroup", path).container().trusting();
    let error = create("a/../../..").create().fails();
    assert!(error.contains("`..`") || error.contains("v1"), "{error}");
    let container = create("payload");
    if Cgroups::detect() == Cgroups::V1 {
        assert!(container.create().fails().contains("v1"));
        return;
    }
    container.create().ok();
    let text = fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap();
    assert!(text.trim_end().ends_with("/payload"), "{text}");
}

/// Not an annotation: what the specification says of the cgroup's owner.
#[test]
fn the_cgroup_can_be_managed_from_inside() {
    let v2 = if Cgroups::detect() == Cgroups::V2 { Need::Met } else { Need::Missing };
    if skip_on(&["runc", "crun"], "runc: with systemd only; crun: never")
        || skip_unless(v2, "a cgroup v1 hierarchy cannot be delegated")
    {
        return;
    }
    let bundle = |options: &[&str]| {
        Bundle::sh("mkdir /sys/fs/cgroup/below && echo $$ > /sys/fs/cgroup/below/cgroup.procs && cat /proc/self/cgroup")
            .userns()
            .ns("cgroup")
            .mount("cgroup", "cgroup", "/sys/fs/cgroup", options)
            .container()
    };
    let seen = bundle(&["nosuid", "noexec", "nodev"]).run().ok().stdout();
    assert_eq!(host::unified_path(&seen), "/below");
    bundle(&["nosuid", "noexec", "nodev", "ro"]).run().fails();
}

#[test]
fn a_ready_made_filter_is_loaded_instead_of_the_profile() {
    if skip_on(&["runc"], "crun's annotation") {
        return;
    }
    // Loads the number of the call, answers mkdirat and mkdir (arm64 has the first only) with errno 99, and allows the rest.
    let filter = if cfg!(target_arch = "aarch64") {
        "IAAAAAAAAAAVAAEAIgAAABUAAAEiAAAABgAAAGMABQAGAAAAAAD/fw=="
    } else if cfg!(target_arch = "x86_64") {
        "IAAAAAAAAAAVAAEAUwAAABUAAAECAQAABgAAAGMABQAGAAAAAAD/fw=="
    } else {
        return crate::common::skip("the numbers are those of x86_64 and aarch64");
    };
    let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["getppid"], "action": "SCMP_ACT_ERRNO" }] });
    let bundle = || Bundle::sh("mkdir /dev/made").set("/linux/seccomp", profile.clone());
    bundle().container().run().ok();
    let error = annotated(bundle(), "run.oci.seccomp_bpf_data", filter).container().trusting().run().fails();
    assert!(error.contains("annot assign requested address"), "{error}");
}

#[test]
fn an_unknown_system_call_is_an_error_when_asked() {
    if skip_on(&["runc"], "crun's annotation") {
        return;
    }
    let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["no_such_call"], "action": "SCMP_ACT_ERRNO" }] });
    let bundle = || Bundle::sh("true").set("/linux/seccomp", profile.clone());
    annotated(bundle(), "run.oci.seccomp_fail_unknown_syscall", "0").container().run().ok();
    let error = annotated(bundle(), "run.oci.seccomp_fail_unknown_syscall", "1").container().run().fails();
    assert!(error.contains("no_such_call"), "{error}");
}

#[test]
fn a_receiver_that_is_never_notified_is_not_waited_for() {
    let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/nowhere/agent.sock",
        "syscalls": [{ "names": ["acct"], "action": "SCMP_ACT_ERRNO" }] });
    if skip_on(&["runc", "crun"], "refuse a listenerPath without SCMP_ACT_NOTIFY") {
        return;
    }
    Bundle::sh("true").set("/linux/seccomp", profile).container().run().ok();
}

fn list(bundle: &Path, mounts: &serde_json::Value) -> String {
    let file = bundle.join("mounts.json");
    fs::write(&file, mounts.to_string()).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn mounts_are_added_and_removed() {
    if skip_on(&["runc", "crun"], "newer than Debian's version") {
        return;
    }
    let bundle = Bundle::idle();
    let source = bundle.host_dir("added");
    fs::write(source.join("file"), "from the host").unwrap();
    let container = bundle.container();
    container.up();
    let file = list(
        &container.bundle.dir,
        &json!([
            { "destination": "/mnt/new/dir", "type": "bind", "source": source, "options": ["bind", "ro", "nodev"] },
            { "destination": "/mnt/one", "type": "bind", "source": source.join("file"), "options": ["bind"] },
            { "destination": "/mnt/mem", "type": "tmpfs", "source": "tmpfs", "options": ["size=64k", "nosuid"] },
        ]),
    );
    container.call(&["mounts", "add", &container.id, &file]).ok();
    let out = container.exec(&["/bin/sh", "-c", "cat /mnt/new/dir/file /mnt/one /proc/self/mounts"]).ok().stdout();
    assert!(out.starts_with("from the hostfrom the host"), "{out}");
    let line = |point: &str| out.lines().find(|line| line.contains(point)).unwrap_or_else(|| panic!("{point}: {out}"));
    assert!(line(" /mnt/new/dir ").contains("ro,nodev"), "{out}");
    assert!(line(" /mnt/mem ").contains("size=64k"), "{out}");
    container.exec(&["/bin/sh", "-c", "echo x > /mnt/new/dir/other"]).fails();
    container.call(&["mounts", "remove", &container.id, &file]).ok();
    let out = container.exec(&["/bin/cat", "/proc/self/mounts"]).ok().stdout();
    assert!(!out.contains("/mnt/"), "{out}");
    // There is nothing left to remove.
    assert!(container.call(&["mounts", "remove", &container.id, &file]).fails().contains("/mnt/new/dir"));
}

#[test]
fn an_added_mount_stays_below_the_root() {
    if skip_on(&["runc", "crun"], "newer than Debian's version") {
        return;
    }
    let container = Bundle::idle().container();
    container.up();
    let outside = container.bundle.dir.join("outside");
    std::os::unix::fs::symlink(&outside, container.bundle.rootfs().join("mnt/link")).unwrap();
    let file = list(
        &container.bundle.dir,
        &json!([
            { "destination": "/mnt/link/../../../../x", "type": "tmpfs", "source": "tmpfs" },
        ]),
    );
    container.call(&["mounts", "add", &container.id, &file]);
    assert!(!outside.exists());
    let refused = [
        (json!([{ "destination": "/mnt", "type": "proc", "source": "proc" }]), "tmpfs only"),
        (json!([{ "destination": "/mnt", "type": "tmpfs", "options": ["remount"] }]), "creation only"),
        (json!({}), "expected a list"),
    ];
    for (mounts, word) in refused {
        let file = list(&container.bundle.dir, &mounts);
        let error = container.call(&["mounts", "add", &container.id, &file]).fails();
        assert!(error.contains(word), "{error}");
    }
    let file = list(&container.bundle.dir, &json!([{ "destination": "/", "type": "tmpfs" }]));
    assert!(container.call(&["mounts", "remove", &container.id, &file]).fails().contains("not the place"));
}

#[test]
fn a_container_of_a_user_namespace_gets_mounts_it_cannot_loosen() {
    if skip_on(&["runc", "crun"], "newer than Debian's version") {
        return;
    }
    let mount = |container: &Container, options: &[&str]| {
        let source = container.bundle.dir.join("added");
        let mounts = json!([{ "destination": "/mnt", "type": "bind", "source": source, "options": options }]);
        let file = list(&container.bundle.dir, &mounts);
        container.call(&["mounts", "add", &container.id, &file])
    };
    let container =
        Bundle::idle().userns().set("/process/capabilities", json!({ "bounding": ["CAP_SYS_ADMIN"] })).container();
    container.up();
    container.bundle.host_dir("added");
    assert!(mount(&container, &["bind", "ro"]).fails().contains("writable"));
    mount(&container, &["bind"]).ok();
    container.delete_force().ok();
    // Without the right to mount it cannot, nor in a user namespace of its own, where the flags are locked.
    let container = Bundle::idle().userns().container();
    container.up();
    container.bundle.host_dir("added");
    mount(&container, &["bind", "ro"]).ok();
    let script = "remount='/bin/busybox mount -o remount,rw,bind /mnt'; $remount && echo loosened
                  /bin/busybox unshare -U -r -m sh -c \"echo inside; $remount && echo loosened\"; true";
    // Root of the first may not be mapped without CAP_SETFCAP (user_namespaces(7)).
    assert_eq!(container.exec_with(&["--user", "1000"], &["/bin/sh", "-c", script]).ok().stdout(), "inside\n");
}
