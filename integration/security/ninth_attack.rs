//! What a ninth attack, with programs that are there in an unusual way, has found (docs/SECURITY.md).

use std::fs;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::common::process::{pidfd_open, wait_readable};
use crate::common::{Bundle, Container, brisk_only, host, process, skip_on, time_limit};

/// The first thread of its first process has ended, and another has not.
fn outlived(bundle: Bundle) -> Container {
    let container = bundle.container();
    container.up().ok();
    let state = format!("/proc/{}/stat", container.pid());
    host::wait_until(|| fs::read_to_string(&state).unwrap().contains(") Z "));
    container
}

/// Such a process is none that has ended: it was stopped for `state`, killed by nobody, and in the way of its cgroup's removal.
#[test]
fn a_process_whose_first_thread_has_ended_is_there() {
    if skip_on(&["runc"], "it forgets the process") {
        return;
    }
    let container = outlived(Bundle::probe(&["outlive"]));
    assert_eq!(container.status(), "running");
    // Nobody can come to the others.
    let mounts = container.bundle.dir.join("mounts.json");
    fs::write(&mounts, r#"[{"destination":"/mnt","type":"tmpfs"}]"#).unwrap();
    let mounts = ["mounts", "add", &container.id, mounts.to_str().unwrap()];
    for command in [&["exec", &container.id, "/probe"][..], &mounts] {
        let error = container.call(command).fails();
        assert!(brisk_only("the words are brisk's") || error.contains("or its first thread has"), "{error}");
    }
    let first = pidfd_open(container.pid()).unwrap();
    container.call(&["delete", &container.id]).fails();
    container.kill("KILL").ok();
    assert!(wait_readable(first.as_fd(), time_limit()), "it was not killed");
    container.delete().ok();
    let container = outlived(Bundle::probe(&["outlive"]));
    container.delete_force().ok();
    container.assert_nothing_left();
}

/// Nor does one survive the container's end as a daemon, where no pid namespace takes it along: cgroup.kill passes over it.
#[test]
fn a_daemon_whose_first_thread_has_ended_ends_with_the_container() {
    if skip_on(&["runc", "crun"], "they leave what is left without a pid namespace, or wait for it") {
        return;
    }
    let script = "/probe outlive & while read a b c d; do [ \"$c\" = Z ] && exit 4; done < /proc/$!/stat; \
                  until read a b c d < /proc/$!/stat && [ \"$c\" = Z ]; do :; done; exit 4";
    let container = Bundle::sh(script).without_ns("pid").container();
    let said = container.run().exits(4).stderr();
    assert_eq!(said, "", "something is left");
    container.assert_nothing_left();
}

/// Whoever traces a process is told of its end before its parent is, and need not listen.
#[test]
fn a_program_that_is_traced_ends() {
    if brisk_only("results; runc and crun wait for ever") {
        return;
    }
    let container = Bundle::probe(&["seize"]).container();
    container.up().ok();
    let script = "t=0; until [ $t != 0 ]; do while read k v; do [ $k = TracerPid: ] && t=$v; done < /proc/$$/status; done; exit 5";
    let result = container.bundle.dir.join("r.json");
    let flags = ["--result", result.to_str().unwrap()];
    let said = container.exec_with(&flags, &["/bin/sh", "-c", script]).exits(5).stderr();
    assert!(said.contains("is left to whoever traces it"), "{said}");
    let result: Value = serde_json::from_str(&fs::read_to_string(result).unwrap()).unwrap();
    assert_eq!((&result["ended"], &result["exitCode"]), (&json!("exited"), &json!(5)), "{result}");
    container.delete_force().ok();
    container.assert_nothing_left();
}

/// Nor need whoever traces another thread than the first: no pidfd says then that the process has ended.
#[test]
fn a_program_of_which_a_thread_is_traced_ends() {
    if brisk_only("results; runc and crun wait for ever") {
        return;
    }
    let container = Bundle::probe(&["seize:others"]).container();
    container.up().ok();
    let result = container.bundle.dir.join("r.json");
    let flags = ["--result", result.to_str().unwrap()];
    let ended = || serde_json::from_str::<Value>(&fs::read_to_string(&result).unwrap()).unwrap();
    let said = container.exec_with(&flags, &["/probe", "traced:5"]).exits(5).stderr();
    assert!(said.contains("is left to whoever traces it"), "{said}");
    let whole = ended();
    assert_eq!((&whole["ended"], &whole["exitCode"]), (&json!("exited"), &json!(5)), "{whole}");
    // Nobody has told of its time.
    assert_eq!(whole["cpu"]["totalNs"], Value::Null, "{whole}");
    let flags = ["--timeout", "1s", "--result", result.to_str().unwrap()];
    container.exec_with(&flags, &["/probe", "traced:"]).exits(137);
    assert_eq!(ended()["ended"], json!("timeout"));
    container.delete_force().ok();
    container.assert_nothing_left();
}

/// What was killed may be stopped at its end, by whom it does not let go: no signal moves it then (`PTRACE_O_TRACEEXIT`).
#[test]
fn a_program_that_is_held_at_its_end_keeps_no_limit_from_holding() {
    if brisk_only("limits") {
        return;
    }
    let container = Bundle::probe(&["seize:end"]).container();
    container.up().ok();
    let result = container.bundle.dir.join("r.json");
    for flags in [&["--timeout", "1s"][..], &["--output-limit", "10"]] {
        let flags = [flags, &["--result", result.to_str().unwrap()]].concat();
        let script = "t=0; until [ $t != 0 ]; do while read k v; do [ $k = TracerPid: ] && t=$v; done < /proc/$$/status; done; \
                      echo a lot of output; while :; do :; done";
        container.exec_with(&flags, &["/bin/sh", "-c", script]).exits(137);
        let whole: Value = serde_json::from_str(&fs::read_to_string(&result).unwrap()).unwrap();
        let hit = if flags[0] == "--timeout" { "timeout" } else { "output-limit" };
        assert_eq!(whole["ended"], json!(hit), "{whole}");
    }
    container.delete_force().ok();
    container.assert_nothing_left();
}

/// Ended with the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).unwrap();
    }
}

/// Such a first process is one that has ended, and its container can be deleted.
#[test]
fn a_first_process_of_which_a_thread_is_traced_ends() {
    if brisk_only("runc and crun wait for ever") {
        return;
    }
    let traced = || {
        let container = Bundle::probe(&["traced:"]).without_ns("pid").container();
        container.up().ok();
        let threads = format!("/proc/{}/task", container.pid());
        host::wait_until(|| fs::read_dir(&threads).unwrap().count() == 2);
        let mut numbers =
            fs::read_dir(threads).unwrap().map(|thread| thread.unwrap().file_name().into_string().unwrap());
        let second: u32 = numbers.find(|number| *number != container.pid().to_string()).unwrap().parse().unwrap();
        let mut tracer = Command::new(host::probe());
        let tracer = Killed(tracer.args([&format!("hold:{second}"), "pause"]).stdout(Stdio::null()).spawn().unwrap());
        let status = format!("/proc/{second}/status");
        host::wait_until(|| !fs::read_to_string(&status).unwrap().contains("TracerPid:\t0\n"));
        (container, tracer)
    };
    let (container, _tracer) = traced();
    container.kill("KILL").ok();
    host::wait_until(|| container.status() == "stopped");
    container.delete().ok();
    let (container, _tracer) = traced();
    container.delete_force().ok();
    container.assert_nothing_left();
}

/// Opening a fifo waits for a writer.
#[test]
fn a_fifo_is_no_namespace() {
    for kind in ["network", "ipc", "user", "pid"] {
        let bundle = Bundle::idle();
        let fifo = bundle.dir.join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let container = bundle.join(kind, fifo.to_str().unwrap()).container();
        container.bundle.write();
        let create = container.command(&["create", "--bundle", container.bundle.dir.to_str().unwrap(), &container.id]);
        let running = process::start(create, Stdio::null());
        let ended = pidfd_open(running.pid()).unwrap();
        assert!(wait_readable(ended.as_fd(), time_limit()), "{kind}: it waits for a writer");
        running.wait().fails();
        container.assert_nothing_left();
    }
}
