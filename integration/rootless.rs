//! Containers of an ordinary user: no root anywhere on the way.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::common::{Bundle, Container, Need, host, process, runtime, skip_on, skip_unless};

/// No user has this id, so nothing can depend on one.
const UID: u32 = 54_321;

/// A bundle that belongs to the user, mapped to root inside and nothing else.
fn bundle(args: &[&str]) -> Bundle {
    let uid = if host::is_root() { UID } else { nix::unistd::geteuid().as_raw() };
    let map = json!([{ "containerID": 0, "hostID": uid, "size": 1 }]);
    let bundle = Bundle::new(args)
        .ns("user")
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .unset("/linux/cgroupsPath")
        .without_mount("/dev/pts")
        .without_mount("/sys")
        .mount("devpts", "devpts", "/dev/pts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"])
        .mount("bind", "/sys", "/sys", &["rbind", "nosuid", "noexec", "nodev", "ro"]);
    if host::is_root() {
        crate::common::bundle::chown_tree(&bundle.rootfs(), UID);
        chown(&bundle.dir, Some(UID), Some(UID)).unwrap();
        fs::set_permissions(&bundle.dir, fs::Permissions::from_mode(0o755)).unwrap();
    }
    bundle
}

/// The same command line as the user, with an empty environment but for PATH.
fn as_user(container: &Container, args: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    if host::is_root() {
        let id = UID.to_string();
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"]);
    } else {
        command = Command::new("env");
    }
    command.arg(host::resolve_program(&runtime())).arg("--root").arg(container.bundle.state_root()).args(args);
    command.current_dir(&container.bundle.dir).env_remove("XDG_RUNTIME_DIR");
    command
}

/// True, with a loud word, where an ordinary user cannot have a user namespace or reach the runtime.
fn not_here() -> bool {
    let limit = fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap_or_default();
    let reachable = host::resolve_program(&runtime())
        .ancestors()
        .skip(1)
        .all(|dir| dir == Path::new("") || fs::metadata(dir).is_ok_and(|m| m.permissions().mode() & 0o001 != 0));
    skip_unless(Need::from(limit.trim() != "0"), "user namespaces are off")
        || skip_unless(Need::from(reachable), "the runtime is in a directory that an ordinary user cannot enter")
}

#[track_caller]
fn run(bundle: Bundle) -> (Container, process::Output) {
    let container = bundle.container();
    let dir = container.bundle.dir.to_str().unwrap().to_string();
    let id = container.id.clone();
    let output = process::run(as_user(&container, &["run", "--bundle", &dir, &id]));
    (container, output)
}

#[track_caller]
fn report(bundle: Bundle) -> Value {
    let (_container, output) = run(bundle);
    output.ok().json()["report"].clone()
}

#[test]
fn a_user_runs_a_container() {
    if not_here() {
        return;
    }
    let (container, output) = run(bundle(&["/bin/sh", "-c", "echo hello; exit 6"]));
    assert_eq!(output.exits(6).stdout(), "hello\n");
    container.assert_nothing_left();
}

#[test]
fn the_user_is_root_inside() {
    if not_here() {
        return;
    }
    let report = report(bundle(&["/probe", "report"]));
    assert_eq!(report["uid"], 0);
    assert_eq!(report["pid"], 1);
    assert_eq!(report["hostname"], "testhost");
}

#[test]
fn devices_are_bound() {
    if not_here() {
        return;
    }
    let (_container, output) = run(bundle(&["/probe", "write:/dev/null", "read1:/dev/zero", "stat:/dev/null"]));
    let out = output.ok().json();
    assert_eq!(out["write:/dev/null"], "ok");
    assert_eq!(out["read1:/dev/zero"], 1);
    assert_eq!(out["stat:/dev/null"]["minor"], 3);
}

#[test]
fn the_whole_life_as_a_user() {
    if not_here() {
        return;
    }
    let container = bundle(&["/probe", "pause"]).container();
    let call = |args: &[&str]| process::run(as_user(&container, args));
    let dir = container.bundle.dir.to_str().unwrap();
    call(&["create", "--bundle", dir, &container.id]).ok();
    call(&["start", &container.id]).ok();
    let state = call(&["state", &container.id]).ok().json();
    assert_eq!(state["status"], "running");
    let out = call(&["exec", &container.id, "/probe", "report"]).ok().json();
    assert_eq!(out["report"]["uid"], 0);
    call(&["delete", "--force", &container.id]).ok();
    container.assert_nothing_left();
}

#[test]
fn read_only_binds_of_mounts_with_locked_flags() {
    if not_here() {
        return;
    }
    if skip_on(&["runc"], "fixed later (runc#3967)") {
        return;
    }
    let source = Path::new("/dev/shm");
    let bundle = bundle(&["/probe", "report"]).mount("bind", source.to_str().unwrap(), "/mnt", &["rbind", "ro"]);
    report(bundle);
}

#[test]
fn a_configured_limit_that_cannot_be_set_is_refused() {
    if not_here() {
        return;
    }
    // Without delegation there is no cgroup to write to: to ignore the limit would be a lie.
    if skip_on(&["runc", "crun"], "they ignore it") || !host::is_root() {
        return;
    }
    let (container, output) = run(bundle(&["/bin/true"]).resources("pids", json!({ "limit": 10 })));
    output.fails();
    container.assert_nothing_left();
}
