//! What a second attack, by somebody who had not read the code, has found (docs/SECURITY.md).

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use serde_json::json;

use super::{rounds, with_caps};
use crate::common::process::{self, Running, pidfd_open, wait_readable};
use crate::common::{Bundle, Container, brisk_only, host, skip_on, time_limit};

/// What `delete --force` may take: killing and reaping, not waiting.
const DELETE: Duration = Duration::from_secs(12);

#[track_caller]
fn ends(running: Running, limit: Duration, what: &str) -> process::Output {
    let pidfd = pidfd_open(running.pid()).unwrap();
    if !wait_readable(pidfd.as_fd(), limit) {
        kill_now(running.pid());
        running.wait();
        panic!("{what} never ends");
    }
    running.wait()
}

fn kill_now(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
}

/// Exits with 0 where each standard stream is the container's own /dev/null: root in the container could give the host's
/// another mode or owner.
const OWN_NULL: &str = "for n in 0 1 2; do [ /proc/self/fd/$n -ef /dev/null ] || exit 4$n; done";

fn with_null(mut command: Command) -> Option<i32> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().code()
}

#[test]
fn the_null_device_of_the_first_process_is_the_containers() {
    for user in [0, 1000] {
        let bundle = || Bundle::sh(OWN_NULL).set("/process/user/uid", json!(user));
        let container = bundle().container();
        let dir = container.bundle.dir.to_str().unwrap();
        assert_eq!(with_null(container.command(&["run", "--bundle", dir, &container.id])), Some(0), "run, uid {user}");

        let script = format!("({OWN_NULL}; echo own) >/tmp/own; exec sleep 1000");
        // Standard output is the file here.
        let script = script.replace("0 1 2", "0 2");
        let container =
            Bundle::sh(&script).set("/process/user/uid", json!(user)).mount("tmpfs", "tmpfs", "/tmp", &["mode=1777"]);
        let container = container.container();
        let dir = container.bundle.dir.to_str().unwrap();
        assert_eq!(with_null(container.command(&["create", "--bundle", dir, &container.id])), Some(0));
        container.start().ok();
        host::wait_until(|| container.exec(&["cat", "/tmp/own"]).stdout() == "own\n");
    }
}

#[test]
fn the_null_device_of_an_added_process_is_the_containers() {
    if skip_on(&["runc", "crun"], "hand the host's to an added process") {
        return;
    }
    let container = Bundle::idle().mount("tmpfs", "tmpfs", "/tmp", &["mode=1777"]).container();
    container.up();
    let exec = ["exec", &container.id, "/bin/sh", "-c", OWN_NULL];
    assert_eq!(with_null(container.command(&exec)), Some(0), "in the foreground");
    let script = format!("({}; echo own) >/tmp/own", OWN_NULL.replace("0 1 2", "0 2"));
    assert_eq!(with_null(container.command(&["exec", "--detach", &container.id, "/bin/sh", "-c", &script])), Some(0));
    host::wait_until(|| container.exec(&["cat", "/tmp/own"]).stdout() == "own\n");

    // What the container has put there is not taken for it, and the host's is not handed over either.
    for replace in [
        "rm /dev/null; echo x >/dev/null",
        "rm /dev/null; mkfifo /dev/null",
        "rm /dev/null",
        "ln -s /etc/passwd /dev/null",
    ] {
        let mut command = container.command(&["exec", &container.id, "/bin/sh", "-c", replace]);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
        assert!(piped.status.success(), "{replace}: {piped:?}");
        let mut command = container.command(&["exec", &container.id, "/bin/true"]);
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(255), "{replace}: {output:?}");
    }
}

/// A hook of the host that makes files in the root must not make them everybody's to write.
#[test]
fn hooks_have_the_callers_umask() {
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        let bundle = Bundle::new(&["/bin/true"]);
        let out = bundle.dir.join("out");
        fs::write(&out, "").unwrap();
        // Of the startContainer hook the file is below the container's root.
        let inside = kind == "startContainer";
        let path = if inside { bundle.rootfs().join("out") } else { out };
        let script = format!("umask >{}", if inside { "/out" } else { path.to_str().unwrap() });
        let container = bundle.hook(kind, "/bin/sh", &["sh", "-c", &script]).container();
        let dir = container.bundle.dir.to_str().unwrap();
        let inner = container.command(&["run", "--bundle", dir, &container.id]);
        process::run(process::in_shell("umask 0027; exec \"$@\"", &inner)).ok();
        // The container's own is 0022.
        let expected = if inside { "0022\n" } else { "0027\n" };
        assert_eq!(fs::read_to_string(&path).unwrap(), expected, "{kind}");
    }
}

/// Who shares a pid namespace with a container that is being made may stop its process at birth. `create` then waits for
/// its caller to have enough, but `delete --force` ends both.
#[test]
fn a_process_that_is_stopped_at_birth_does_not_keep_delete() {
    if skip_on(&["runc", "crun"], "leave the stopped process behind") {
        return;
    }
    // Process ids in a namespace are given in order.
    let script = "p=2; while :; do kill -STOP $p 2>/dev/null && p=$((p + 1)); done";
    let attacker = with_caps(Bundle::sh(script), &["CAP_KILL"]).container();
    attacker.up();
    let namespace = format!("/proc/{}/ns/pid", attacker.pid());
    let mut hung = 0;
    for round in 0..rounds(8) {
        let container = Bundle::idle().join("pid", &namespace).container();
        let dir = container.bundle.dir.to_str().unwrap().to_owned();
        let create = process::start(container.command(&["create", "--bundle", &dir, &container.id]), Stdio::null());
        let pidfd = pidfd_open(create.pid()).unwrap();
        // Before it has begun there is nothing to delete, and on a busy machine that takes its time.
        let begun = container.bundle.state_root().join(&container.id);
        host::wait_until(|| begun.exists() || wait_readable(pidfd.as_fd(), Duration::ZERO));
        // One that was not stopped is there within that.
        hung += u32::from(!wait_readable(pidfd.as_fd(), Duration::from_millis(400)));
        let delete = process::start(container.command(&["delete", "--force", &container.id]), Stdio::null());
        let output = ends(delete, DELETE, "delete --force");
        assert_eq!(output.code, 0, "round {round}: {output:?}");
        ends(create, DELETE, "the create");
        container.assert_nothing_left();
    }
    assert!(hung > 0, "nothing was ever stopped: not an attack");
}

fn restore(container: &Container, images: &Path) -> Running {
    let dir = container.bundle.dir.to_str().unwrap();
    let images = images.to_str().unwrap();
    let args = ["restore", "--detach", "--bundle", dir, "--image-path", images, &container.id];
    let mut command = container.command(&args);
    // What stands in for CRIU never answers.
    let path = format!("{}:{}", container.bundle.dir.join("bin").display(), std::env::var("PATH").unwrap());
    command.env("PATH", path);
    process::start(command, Stdio::null())
}

fn with_silent_criu() -> (Container, std::path::PathBuf) {
    let container = Bundle::idle().container();
    let dir = &container.bundle.dir;
    for name in ["bin", "images"] {
        fs::create_dir(dir.join(name)).unwrap();
    }
    fs::write(dir.join("bin/criu"), "#!/bin/sh\nexec sleep 1000\n").unwrap();
    fs::set_permissions(dir.join("bin/criu"), fs::Permissions::from_mode(0o755)).unwrap();
    let images = dir.join("images");
    (container, images)
}

/// Images of a checkpoint may come from anywhere: what is read of them has an end.
#[test]
fn lists_in_an_image_directory_are_files_of_a_bounded_size() {
    if brisk_only("runc asks criu first, crun has no such list") {
        return;
    }
    let (container, images) = with_silent_criu();
    let list = images.join("descriptors.json");
    let makers: [(&str, &dyn Fn()); 4] = [
        ("a fifo", &|| mkfifo(&list, Mode::S_IRWXU).unwrap()),
        ("a device", &|| symlink("/dev/zero", &list).unwrap()),
        ("an endless file", &|| fs::File::create_new(&list).unwrap().set_len(1 << 42).unwrap()),
        ("a directory", &|| fs::create_dir(&list).unwrap()),
    ];
    for (what, make) in makers {
        make();
        let output = ends(restore(&container, &images), time_limit(), what);
        assert_ne!(output.code, 0, "{what}: {output:?}");
        assert!(output.stderr().contains("descriptors.json"), "{what}: {output:?}");
        let _ = fs::remove_file(&list).or_else(|_| fs::remove_dir(&list));
        container.assert_nothing_left();
    }
}

/// A restore that was killed leaves nothing that `delete --force` does not remove.
#[test]
fn a_restore_that_hangs_is_deleted_by_force() {
    if brisk_only("a criu that never answers") {
        return;
    }
    for killed_first in [true, false] {
        let (container, images) = with_silent_criu();
        fs::write(images.join("descriptors.json"), "[]").unwrap();
        let running = restore(&container, &images);
        let criu_root = container.bundle.state_root().join(&container.id).join("criu-root");
        host::wait_until(|| criu_root.exists());
        if killed_first {
            kill_now(running.pid());
        }
        let delete = process::start(container.command(&["delete", "--force", &container.id]), Stdio::null());
        let output = ends(delete, DELETE, "delete --force");
        assert_eq!(output.code, 0, "{output:?}");
        ends(running, DELETE, "the restore");
        container.assert_nothing_left();
    }
}

#[test]
fn a_log_that_nobody_reads_is_an_error() {
    if skip_on(&["runc", "crun"], "wait for a reader") {
        return;
    }
    let container = Bundle::idle().container();
    let log = container.bundle.dir.join("log");
    mkfifo(&log, Mode::S_IRWXU).unwrap();
    let running = process::start(container.command(&["--log", log.to_str().unwrap(), "list"]), Stdio::null());
    assert_ne!(ends(running, time_limit(), "list").code, 0);
}

/// Whoever may run a copy with the set-user-ID bit would be root.
#[test]
fn a_copy_with_the_setuid_bit_is_refused() {
    if brisk_only("the others' own") {
        return;
    }
    let container = Bundle::idle().container();
    let copy = container.bundle.dir.join("runtime");
    crate::common::bundle::copy(&host::resolve_program(&crate::common::runtime()), &copy);
    fs::set_permissions(&container.bundle.dir, fs::Permissions::from_mode(0o755)).unwrap();
    let written = container.bundle.dir.join("written");
    for (mode, refused) in [(0o4755, true), (0o2755, true), (0o755, false)] {
        fs::set_permissions(&copy, fs::Permissions::from_mode(mode)).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--reuid=1000", "--regid=1000", "--clear-groups"]).arg(&copy);
        // Nobody but root may write there.
        let log = if refused { written.to_str().unwrap() } else { "" };
        command.args(["--log", log, "--version"]);
        let output = process::run(command);
        assert_eq!(output.code != 0, refused, "mode {mode:o}: {output:?}");
        assert!(!written.exists(), "mode {mode:o}: root wrote a log where an ordinary user said");
    }
}

/// As much as that bit: every file of the host is had through a log, a pid file or a volume.
#[test]
fn a_copy_with_capabilities_of_its_own_is_refused() {
    if brisk_only("the others' own") {
        return;
    }
    let container = Bundle::idle().container();
    let copy = container.bundle.dir.join("runtime");
    crate::common::bundle::copy(&host::resolve_program(&crate::common::runtime()), &copy);
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&container.bundle.dir, fs::Permissions::from_mode(0o755)).unwrap();
    let call = |caps: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=1000", "--regid=1000", "--clear-groups"]).args(caps).arg(&copy).arg("--version");
        process::run(command)
    };
    // Those that its caller has are its own.
    call(&["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]).ok();
    give_dac_override(&copy);
    let output = call(&[]);
    assert_ne!(output.code, 0, "{output:?}");
    assert!(output.stderr().contains("rights than its caller's"), "{output:?}");
}

/// As `setcap cap_dac_override+ep` (`struct vfs_cap_data` of linux/capability.h).
#[allow(unsafe_code, reason = "nix has no setxattr")]
fn give_dac_override(file: &Path) {
    let path = std::ffi::CString::new(file.as_os_str().as_encoded_bytes()).unwrap();
    let words: [u32; 5] = [0x0200_0001, 1 << 1, 0, 0, 0];
    let value: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let name = c"security.capability".as_ptr();
    // SAFETY: both names are NUL-terminated, and the value is as long as said.
    let done = unsafe { libc::setxattr(path.as_ptr(), name, value.as_ptr().cast(), value.len(), 0) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}
