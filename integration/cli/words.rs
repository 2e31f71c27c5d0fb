//! What is said, and where: the words of runc that scripts look for, in lines that they can read.

use std::fs;

use serde_json::{Value, json};

use crate::common::{Bundle, brisk_only, host, process, skip_on};

/// What is refused, and a phrase of runc 1.5 that says so.
#[test]
fn runcs_phrases_are_in_our_errors() {
    if brisk_only("the words of runc 1.5, which crun and older ones do not say") {
        return;
    }
    let policy = |policy: Value| Bundle::idle().set("/linux/memoryPolicy", policy);
    let notify = |name: &str| {
        let rule = json!([{ "names": [name], "action": "SCMP_ACT_NOTIFY" }]);
        let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/nobody", "syscalls": rule });
        Bundle::idle().set("/linux/seccomp", profile)
    };
    let link = Bundle::idle().unset("/linux/maskedPaths").unset("/linux/readonlyPaths");
    fs::remove_dir(link.rootfs().join("proc")).unwrap();
    std::os::unix::fs::symlink("/elsewhere", link.rootfs().join("proc")).unwrap();
    let table = [
        (policy(json!({})), "invalid memory policy mode \"\""),
        (policy(json!({ "mode": "INTERLEAVE" })), "invalid memory policy mode"),
        (policy(json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["bad"] })), "invalid memory policy flag"),
        (policy(json!({ "mode": "MPOL_DEFAULT", "nodes": "0-7" })), "mode requires 0 nodes but got 8"),
        (policy(json!({ "mode": "MPOL_BIND", "nodes": "0-9876543210" })), "invalid memory policy node"),
        (notify("write"), "SCMP_ACT_NOTIFY cannot be used for the write syscall"),
        (notify("mkdir"), "failed to connect with seccomp agent"),
        (link, "must be mounted on ordinary directory"),
    ];
    for (bundle, phrase) in table {
        let container = bundle.container();
        let text = container.create().fails();
        assert!(text.contains(phrase) && text.contains("error") && text.lines().count() == 1, "{phrase}: {text}");
        container.assert_nothing_left();
    }
}

#[test]
fn a_failed_command_says_error_and_its_advice_in_one_line() {
    let container = Bundle::idle().container();
    let none = container.call(&["state", "no-such-container"]).fails();
    assert_eq!(none.lines().count(), 1, "{none}");
    if brisk_only("theirs has no advice") {
        return;
    }
    assert!(none.starts_with("brisk: error: state no-such-container: ") && none.contains(" (hint: "), "{none}");
    let swapped = container.call(&["kill", "TERM", &container.id]).fails();
    assert!(swapped.contains("unknown signal") && swapped.contains("brisk kill ID TERM"), "{swapped}");
    let mut misnamed = container.command(&["run", &container.bundle.id]);
    misnamed.current_dir(container.bundle.dir.parent().unwrap());
    let misnamed = process::run(misnamed).fails();
    assert!(
        misnamed.contains(&format!("(hint: {0} is a bundle: --bundle {0} before", container.bundle.id)),
        "{misnamed}"
    );
    for (flags, advice) in [
        (["--seccomp", "nope"], "docker, unconfined, or a file"),
        (["--overlay", "/brisk-nope"], "have to be there"),
        (["--rootfs", "/brisk-nope"], "root.path of config.json, or --rootfs, names no directory"),
    ] {
        let root = container.bundle.rootfs();
        let line = [&["run", "--rootfs", root.to_str().unwrap()], &flags[..], &["x", "--", "true"]].concat();
        let said = container.call(&line).fails();
        assert!(said.contains("(hint: ") && said.contains(advice), "{said}");
    }
    let file = container.bundle.script("file", "");
    let no_root = container.call(&["--root", file.to_str().unwrap(), "list"]).fails();
    assert!(no_root.contains(": not a directory (hint: --root names it"), "{no_root}");
    let typo = container.call(&["crate", "-h"]).fails();
    assert!(typo.contains("No help topic for 'crate'") && typo.contains("did you mean create?"), "{typo}");
}

#[test]
fn a_root_that_was_named_has_to_be_there_to_be_listed() {
    if skip_on(&["runc", "crun"], "an error since runc 1.5") {
        return;
    }
    let container = Bundle::idle().container();
    container.call(&["list"]).fails();
    container.call(&["list", "--quiet"]).fails();
}

#[test]
fn debug_lines_have_the_form_and_words_of_runcs_log() {
    if brisk_only("brisk's words as well") {
        return;
    }
    let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW" });
    let container = Bundle::sh("true").set("/linux/seccomp", profile).container();
    let words = ["nsexec container setup", "child process in init()", "init: closing the pipe to signal completion"];
    let dir = container.bundle.dir.to_str().unwrap().to_owned();
    let run =
        |flags: &[&str]| container.call(&[flags, &["run", "--bundle", &dir, &container.id]].concat()).ok().stderr();
    let said = run(&["--debug"]);
    assert!(said.lines().all(|line| line.starts_with("time=\"") && line.contains(" level=")), "{said}");
    assert!(said.contains(" level=debug msg=\"parent "), "{said}");
    for words in words.into_iter().chain(["exeseal: ", "\"seccomp filter flags: 4\""]) {
        assert!(said.contains(words), "{words}: {said}");
    }
    let log = container.bundle.dir.join("log").to_str().unwrap().to_owned();
    assert_eq!(run(&["--debug", "--log", &log, "--log-format", "json"]), "");
    let text = fs::read_to_string(&log).unwrap();
    assert!(words.iter().all(|words| text.contains(words)) && text.contains("\"level\":\"debug\""), "{text}");
    assert_eq!(run(&[]), "");
    let container = Bundle::idle().set("/process/execCPUAffinity", json!({ "initial": "0", "final": "0" })).container();
    container.up();
    let said = container.call(&["--debug", "exec", &container.id, "/bin/true"]).ok().stderr();
    assert!(said.contains("setns_init: about to exec") && said.contains("nsexec: affinity: 0x1"), "{said}");
}

/// conmon and CRI-O give `create` the container's own standard error.
#[test]
fn a_warning_is_not_part_of_what_the_program_says() {
    if brisk_only("crun never warns, runc always") {
        return;
    }
    let caps = json!({ "bounding": ["CAP_NO_SUCH"] });
    let container = Bundle::sh("echo of the program >&2").set("/process/capabilities", caps.clone()).container();
    let created = container.create().ok();
    container.start_and_wait();
    assert_eq!(created.stderr(), "of the program\n");
    host::wait_until(|| container.status() == "stopped");
    let restarted = container.call(&["restart", &container.id]).ok();
    host::wait_until(|| container.status() == "stopped");
    assert_eq!(restarted.stderr(), "of the program\n");
    container.delete().ok();
    let dir = container.bundle.dir.to_str().unwrap().to_owned();
    let warned = container.run().ok().stderr();
    assert!(warned.contains("warning: ignoring unknown or unavailable capabilities: [CAP_NO_SUCH]"), "{warned}");
    let log = container.bundle.dir.join("log").to_str().unwrap().to_owned();
    container.call(&["--log", &log, "create", "--bundle", &dir, &container.id]).ok();
    assert!(fs::read_to_string(&log).unwrap().contains("CAP_NO_SUCH"));
    container.delete_force().ok();
    // One that fails has nobody else's standard error.
    let container = Bundle::new(&["/no/such/program"]).set("/process/capabilities", caps).container();
    let said = container.create().fails();
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].contains("CAP_NO_SUCH") && lines[1].starts_with("brisk: error: ") && lines.len() == 2, "{said}");
}

/// One line, without a name before it: the container's process says it, as after `start`.
#[test]
fn a_program_that_cannot_be_executed_says_so_itself() {
    let bundle = Bundle::new(&["/run.sh"]);
    let script = bundle.script("rootfs/run.sh", "#!/no/such/interpreter\n");
    assert!(script.exists());
    let container = bundle.container();
    if skip_on(&["runc", "crun"], "since runc 1.2") {
        return;
    }
    let line = "exec /run.sh: no such file or directory\n";
    let said = container.run().exits(255);
    assert_eq!((said.stderr(), said.stdout()), (line.into(), String::new()));
    container.assert_nothing_left();
    // One that is detached, too: the caller's command has done its work.
    let said = container.run_with(&["--detach"]).ok();
    host::wait_until(|| container.status() == "stopped");
    assert_eq!((said.stderr(), said.stdout()), (line.into(), String::new()));
    container.delete().ok();
    let said = container.run_with(&["--keep"]).exits(255);
    assert_eq!((said.stderr(), container.status()), (line.into(), "stopped".into()));
    container.delete().ok();

    let container = Bundle::idle().container();
    container.bundle.script("rootfs/run.sh", "#!/no/such/interpreter\n");
    container.up();
    assert_eq!(container.exec(&["/run.sh"]).exits(255).stderr(), line);
    let on_terminal = container.exec_with(&["--tty"], &["/run.sh"]).exits(255);
    assert_eq!((on_terminal.stdout(), on_terminal.stderr()), (line.into(), String::new()));
    let pid_file = container.bundle.dir.join("pid");
    let detached = container.exec_with(&["--detach", "--pid-file", pid_file.to_str().unwrap()], &["/run.sh"]).ok();
    assert_eq!(detached.stderr(), line);
    assert!(pid_file.exists(), "an engine waits for that process, and learns its status");
    // What is found out before execve(2) is an error.
    container.exec_with(&["--detach"], &["/nope"]).exits(255);
}

#[test]
fn a_busy_or_frozen_cgroup_is_refused_in_runcs_words() {
    if brisk_only("the words of runc 1.5") {
        return;
    }
    let first = Bundle::idle().container();
    first.up();
    let second = Bundle::idle().set("/linux/cgroupsPath", json!(first.bundle.cgroup())).container();
    let said = second.create().fails();
    assert!(said.contains("container's cgroup is not empty"), "{said}");
    first.call(&["pause", &first.id]).ok();
    first.call(&["resume", &first.id]).ok();
    if host::has_controller("freezer") && host::Cgroups::detect() == host::Cgroups::V1 {
        let bundle = Bundle::idle();
        let dir = host::cgroup_dir("freezer", &bundle.cgroup());
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("freezer.state"), "FROZEN").unwrap();
        let container = bundle.container();
        let said = container.create().fails();
        let _ = fs::remove_dir(dir);
        assert!(said.contains("container's cgroup unexpectedly frozen"), "{said}");
    }
}
