//! What a tenth attack, by callers and containers with too little of something, has found (docs/SECURITY.md).

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::{Bundle, Container, Need, brisk_only, host, process, skip_unless};

/// The command with this option of prlimit(1).
fn with_limit(limit: &str, command: &Command) -> process::Output {
    process::run(process::under(&["prlimit", limit, "--"], command))
}

fn run_detached(container: &Container, flags: &[&str]) -> Command {
    container.bundle.write();
    let bundle = container.bundle.dir.to_str().unwrap();
    container.command(&[&["run", "--detach", "--bundle", bundle], flags, &[&container.id]].concat())
}

/// What cannot be read for want of descriptors was taken for damaged, and the state was removed from over a program that ran on.
#[test]
fn too_few_descriptors_delete_nothing_by_halves() {
    if brisk_only("runc keeps the state, or not, by the number") {
        return;
    }
    let container = Bundle::idle().container();
    container.up().ok();
    let delete = container.command(&["delete", "--force", &container.id]);
    for files in 3.. {
        let pid = container.pid();
        let output = with_limit(&format!("--nofile={files}"), &delete);
        let lives = Path::new(&format!("/proc/{pid}")).exists();
        if output.code == 0 {
            assert!(!lives, "with {files} descriptors: {output:?}");
            break;
        }
        assert!(output.stderr().contains("too many open files"), "{output:?}");
        assert!(container.call(&["state", &container.id]).code == 0, "with {files}, and it lives: {lives}");
    }
    container.assert_nothing_left();
}

/// Its monitor is told of a signal by a signal that is queued. Whoever queues as many to himself as his user may have (RLIMIT_SIGPENDING)
/// keeps that from being sent, and kept every such container of his user's.
#[test]
fn signals_that_cannot_be_announced_are_sent() {
    if brisk_only("monitors") {
        return;
    }
    for verbs in [&["kill", "delete"][..], &["delete --force"]] {
        let container = Bundle::idle().container();
        let result = container.bundle.dir.join("r.json");
        let run = run_detached(&container, &["--result", result.to_str().unwrap()]);
        with_limit("--sigpending=0", &run).ok();
        for verb in verbs {
            let said = match *verb {
                "kill" => container.kill("KILL").ok(),
                "delete" => {
                    host::wait_until(|| container.status() == "stopped");
                    container.delete().ok();
                    continue;
                }
                _ => container.delete_force().ok(),
            };
            // With that capability its monitor has seen to it.
            let words = "resource temporarily unavailable";
            assert_ne!(said.stderr().contains(words), host::has_cap(24), "CAP_SYS_RESOURCE: {said:?}");
        }
        container.assert_nothing_left();
    }
}

/// The kernel's signal for that ended brisk without a word, and left what it had made.
#[test]
fn a_file_that_may_not_grow_is_an_error() {
    if brisk_only("the words") {
        return;
    }
    let mut refused = 0;
    for bytes in [0, 100, 500, 1000, 2000, 4000] {
        let container = Bundle::idle().container();
        container.bundle.write();
        let bundle = container.bundle.dir.to_str().unwrap();
        let trace = container.bundle.dir.join("trace");
        let create =
            container.command(&["create", "--trace", trace.to_str().unwrap(), "--bundle", bundle, &container.id]);
        let mut create = process::under(&["prlimit", &format!("--fsize={bytes}"), "--"], &create);
        // A pipe may be written to.
        let mut create = create.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        if create.wait().unwrap().success() {
            container.delete_force().ok();
        } else {
            let mut said = String::new();
            create.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            assert!(said.contains("file too large"), "{bytes}: {said}");
            refused += 1;
        }
        container.assert_nothing_left();
    }
    assert!(refused > 1);
}

/// From another pid or time namespace its first process is not found, and it looked as if it had stopped.
#[test]
fn what_runs_elsewhere_is_not_killed_without_force() {
    if skip_unless(Need::from(host::is_root()), "root: namespaces") {
        return;
    }
    for elsewhere in [&["--pid", "--mount-proc"][..], &["--time", "--boottime", "100000"]] {
        let container = Bundle::idle().container();
        container.up();
        let unshare = [&["unshare", "--fork"], elsewhere].concat();
        let delete = container.command(&["delete", &container.id]);
        let said = process::run(process::under(&unshare, &delete)).fails();
        assert!(crate::common::runtime_name() != "brisk" || said.contains("another pid or time namespace"), "{said}");
        assert_eq!(container.status(), "running");
        let delete = container.command(&["delete", "--force", &container.id]);
        process::run(process::under(&unshare, &delete)).ok();
        container.assert_nothing_left();
    }
}
