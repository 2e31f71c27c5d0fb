//! What a fifth attack, by somebody who had not read the code, has found (docs/SECURITY.md).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::rounds;
use crate::common::process::{self, Running};
use crate::common::{Bundle, Container, brisk_only, host, skip_on};

/// Until its hook has said that it is there.
#[track_caller]
fn in_hook(container: &Container, running: &Running) {
    host::wait_until(|| {
        assert!(!process::wait_readable(running.pidfd(), Duration::ZERO), "{} ended", running.pid());
        container.bundle.hook_output() == "here\n"
    });
}

/// The lock is not held in poststart hooks, so that the container can be deleted; who waits for them then has an end.
#[test]
fn a_poststart_hook_that_hangs_ends_with_the_container() {
    if skip_on(&["runc", "crun"], "wait for ever") {
        return;
    }
    for args in [&["run"][..], &["run", "--detach"], &["start"]] {
        let container = Bundle::idle().sh_hook("poststart", "echo here >>$OUT; exec sleep 1000000").container();
        let dir = container.bundle.dir.to_str().unwrap().to_owned();
        let bundle = ["--bundle", &dir];
        if args == ["start"] {
            container.create().ok();
        }
        let bundle: &[&str] = if args == ["start"] { &[] } else { &bundle };
        let command = container.command(&[args, bundle, &[&container.id]].concat());
        let waits = process::start(command, Stdio::null());
        in_hook(&container, &waits);
        container.delete_force().ok();
        // One of its name is another, whatever becomes of the first.
        container.create().ok();
        assert!(waits.wait().fails().contains("the container was deleted"), "{args:?}");
        assert_eq!(container.status(), "created", "{args:?}");
        container.delete_force().ok();
        container.assert_nothing_left();
    }
}

/// It is stopped: what its hooks do is nothing that anybody could get rid of otherwise.
#[test]
fn restart_has_an_end_whatever_poststop_hooks_do() {
    if brisk_only("no other runtime starts a container again") {
        return;
    }
    let container = Bundle::sh("true").sh_hook("poststop", "trap '' TERM; exec sleep 1000000").container();
    container.create().ok();
    container.start_and_wait();
    host::wait_until(|| container.status() == "stopped");
    let begin = Instant::now();
    container.call(&["restart", &container.id]).ok();
    // The hook had its time; that it has no more, the call itself would say.
    assert!(begin.elapsed().as_secs() >= 8, "{:?}", begin.elapsed());
    host::wait_until(|| container.status() == "stopped");
    container.delete_force().ok();
}

/// The kernel kills what a `create` was making when that is killed, but not at once: for a few milliseconds `state` said
/// `created`, and `start` that it had started it.
#[test]
fn what_dies_with_its_creator_was_never_created() {
    if skip_on(&["runc", "crun"], "their containers outlive who makes them") {
        return;
    }
    for round in 0..rounds(12) {
        let container = Bundle::idle().hook("createContainer", "/bin/sh", &["sh", "-c", "echo here; sleep 1000000"]);
        let container = container.container();
        let dir = container.bundle.dir.to_str().unwrap().to_owned();
        let create = process::start(container.command(&["create", "--bundle", &dir, &container.id]), Stdio::null());
        let children = |pid: i32| fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        // The hook is a child of the first process.
        host::wait_until(|| {
            let first = children(create.pid());
            first.split_whitespace().next().is_some_and(|pid| !children(pid.parse().unwrap()).is_empty())
        });
        kill(Pid::from_raw(create.pid()), Signal::SIGKILL).unwrap();
        assert_eq!(create.wait().code, 128 + 9);
        assert_eq!(container.status(), "stopped", "round {round}");
        let why = container.start().fails();
        assert!(why.contains("cannot start a container that has stopped"), "round {round}: {why}");
        container.delete_force().ok();
        container.assert_nothing_left();
    }
}

/// Where an error is, is found by a walk over the text, which went as deep as that.
#[test]
fn text_that_is_nested_without_end_is_an_error() {
    if brisk_only("asks for brisk's words") {
        return;
    }
    let container = Bundle::idle().container();
    container.up();
    let file = container.bundle.dir.join("deep.json");
    let name = file.to_str().unwrap();
    let dir = container.bundle.dir.to_str().unwrap();
    for open in ["{\"a\":", "[", "{\"ociVersion\": [{\"a\":"] {
        fs::write(&file, open.repeat(200_000)).unwrap();
        for args in [
            &["create", "--bundle", dir, "--config", name, "other"][..],
            &["run", "--rootfs", dir, "--seccomp", name, "other", "--", "true"],
            &["exec", "--process", name, &container.id],
            &["update", "--resources", name, &container.id],
            &["mounts", "add", &container.id, name],
            &["mounts", "remove", &container.id, name],
        ] {
            let output = container.call(args);
            let code = if args[0] == "exec" { 255 } else { 1 };
            assert_eq!(output.code, code, "{args:?} {open}: {output:?}");
            assert!(output.stderr().contains("parse"), "{args:?} {open}");
        }
    }
}

/// What `check` reads of an image, and what `plan` tells of a bundle, goes to somebody's terminal.
#[test]
fn check_and_plan_give_a_terminal_no_orders() {
    if brisk_only("no other runtime has them") {
        return;
    }
    let order = "\u{1b}]0;mine\u{7}\u{202e}";
    let bundle = Bundle::new(&["/script"]).mount("bind", "/etc", &format!("/{order}"), &["bind", "mode=1"]);
    bundle.script("rootfs/script", &format!("#!/nothing/{order}\n"));
    let container = bundle.container();
    let dir = container.bundle.dir.to_str().unwrap();
    for args in [["check", dir], ["plan", dir]] {
        let said = container.call(&args).stdout();
        assert!(said.contains("\\u{1b}]0;mine\\u{7}\\u{202e}"), "{args:?}: {said}");
        assert!(!said.contains(|c: char| c != '\n' && (c.is_control() || c == '\u{202e}')), "{args:?}: {said}");
    }
}

/// `check` looked at values, which have every field once; `create` refuses the text.
#[test]
fn check_finds_a_field_that_is_there_twice() {
    if brisk_only("no other runtime has it") {
        return;
    }
    let container = Bundle::new(&["/bin/true"]).container();
    let file = container.bundle.dir.join("config.json");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen('{', "{\"root\": {\"path\": \"/\"},", 1)).unwrap();
    let dir = container.bundle.dir.to_str().unwrap();
    let said = container.call(&["check", dir]).exits(1).stdout();
    assert!(said.contains("root: it is there twice"), "{said}");
    container.create().fails();
}

/// A document may have any number of errors: each was looked for from the beginning.
#[test]
fn check_has_an_end_whatever_is_wrong() {
    if brisk_only("no other runtime has it") {
        return;
    }
    let mut mounts = json!([]);
    for index in 0..10_000 {
        let (source, place) = (format!("/missing{index}"), format!("/m{index}"));
        let mount = json!({ "destination": place, "type": "bind", "source": source, "options": ["bind"] });
        mounts.as_array_mut().unwrap().push(mount);
    }
    let container = Bundle::new(&["/bin/true"]).set("/mounts", mounts).container();
    let dir = container.bundle.dir.to_str().unwrap();
    let said = container.call(&["check", dir]).exits(1).stdout();
    assert!(said.contains("10000 errors"), "{}", said.lines().last().unwrap());
}

/// Programs with the set-user-ID bit that root in a container leaves there were everybody's on the host (as in Docker's
/// directory, CVE-2021-41091).
#[test]
fn nobody_else_enters_the_directory_of_an_overlay() {
    if brisk_only("no other runtime lays an overlay over the root") {
        return;
    }
    let container = Bundle::sh("cp /bin/busybox /x && chmod 4755 /x").container();
    let kept = container.bundle.host_dir("kept");
    let mode = |mode| fs::set_permissions(&kept, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o755);
    let run = || container.run_with(&["--overlay", kept.to_str().unwrap()]).ok();
    let is = || kept.metadata().unwrap().permissions().mode() & 0o7777;
    run();
    assert_eq!(fs::metadata(kept.join("upper/x")).unwrap().permissions().mode() & 0o7777, 0o4755);
    assert_eq!(is(), 0o700);
    // What somebody allows afterwards is meant.
    mode(0o755);
    run();
    assert_eq!(is(), 0o755);
}

/// It was written beside its place under a longer name.
#[test]
fn a_result_may_have_the_longest_name() {
    if brisk_only("no other runtime has results") {
        return;
    }
    let container = Bundle::new(&["/bin/true"]).container();
    let result = container.bundle.dir.join("r".repeat(255));
    let output = container.run_with(&["--result", result.to_str().unwrap()]).ok();
    assert_eq!(output.stderr(), "");
    assert!(fs::read_to_string(&result).unwrap().contains("\"exited\""));
}
