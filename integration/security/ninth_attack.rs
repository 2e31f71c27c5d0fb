//! What a ninth attack, with programs that are there in an unusual way, has found (docs/SECURITY.md).

use std::fs;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::with_caps;
use crate::common::leases::Lease;
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

/// Goes on once it is traced.
const UNTIL_TRACED: &str =
    "t=0; until [ $t != 0 ]; do while read k v; do [ $k = TracerPid: ] && t=$v; done < /proc/$$/status; done";

/// A container whose first process traces whoever comes, and waits for none of it to end.
struct Seizing(Container);

impl Seizing {
    fn new(which: &str) -> Seizing {
        let container = Bundle::probe(&[&format!("seize:{which}")]).container();
        container.up().ok();
        Seizing(container)
    }

    /// What `exec` with this flag says, and the result.
    #[track_caller]
    fn exec(&self, flags: &[&str], program: &[&str], status: i32) -> (String, Value) {
        let result = self.0.bundle.dir.join("r.json");
        let flags = [flags, &["--result", result.to_str().unwrap()]].concat();
        let said = self.0.exec_with(&flags, program).exits(status).stderr();
        (said, serde_json::from_str(&fs::read_to_string(&result).unwrap()).unwrap())
    }

    /// It ended by itself, and its tracer was not waited for.
    #[track_caller]
    fn exec_to_its_end(&self, program: &[&str]) -> Value {
        let (said, result) = self.exec(&[], program, 5);
        assert!(said.contains("is left to whoever traces it"), "{said}");
        assert_eq!((&result["ended"], &result["exitCode"]), (&json!("exited"), &json!(5)), "{result}");
        result
    }

    fn end(self) {
        self.0.delete_force().ok();
        self.0.assert_nothing_left();
    }
}

/// Whoever traces a process is told of its end before its parent is, and need not listen.
#[test]
fn a_program_that_is_traced_ends() {
    if brisk_only("results; runc and crun wait for ever") {
        return;
    }
    let container = Seizing::new("first");
    container.exec_to_its_end(&["/bin/sh", "-c", &format!("{UNTIL_TRACED}; exit 5")]);
    container.end();
}

/// Nor is what its daemons write kept back meanwhile.
#[test]
fn what_is_relayed_does_not_wait_for_a_tracer() {
    if brisk_only("runc and crun wait for ever") {
        return;
    }
    let container = Seizing::new("first");
    // By itself: whom it starts is traced, too, and it would wait for that.
    let daemon = "s=; until [ \"$s\" = Z ]; do while read k v r; do [ $k = State: ] && s=$v; done < /proc/$$/status; done; echo late";
    let script = format!("{UNTIL_TRACED}; ({daemon}) & exit 5");
    let exec = process::start(container.0.command(&["exec", &container.0.id, "/bin/sh", "-c", &script]), Stdio::null());
    exec.wait_for_stdout(|text| text == "late\n");
    let seen = Instant::now();
    exec.wait().exits(5);
    assert!(seen.elapsed() > Duration::from_millis(500), "it came with the end");
    container.end();
}

/// Nor need whoever traces another thread than the first: no pidfd says then that the process has ended.
#[test]
fn a_program_of_which_a_thread_is_traced_ends() {
    if brisk_only("results; runc and crun wait for ever") {
        return;
    }
    let container = Seizing::new("others");
    let result = container.exec_to_its_end(&["/probe", "traced:5"]);
    // Nobody has told of its time.
    assert_eq!(result["cpu"]["totalNs"], Value::Null, "{result}");
    let (_, result) = container.exec(&["--timeout", "1s"], &["/probe", "traced:"], 137);
    assert_eq!(result["ended"], json!("timeout"), "{result}");
    container.end();
}

/// What was killed may be stopped at its end, by whom it does not let go: no signal moves it then (`PTRACE_O_TRACEEXIT`).
#[test]
fn a_program_that_is_held_at_its_end_keeps_no_limit_from_holding() {
    if brisk_only("limits") {
        return;
    }
    let container = Seizing::new("end");
    let script = format!("{UNTIL_TRACED}; echo a lot of output; while :; do :; done");
    for (flags, hit) in [(["--timeout", "1s"], "timeout"), (["--output-limit", "10"], "output-limit")] {
        let (_, result) = container.exec(&flags, &["/bin/sh", "-c", &script], 137);
        assert_eq!(result["ended"], json!(hit), "{result}");
    }
    container.end();
}

/// Who may trace what is being set up in his container can keep it from being so, and from its end.
#[test]
fn a_program_that_is_held_while_it_is_set_up_keeps_no_limit_from_holding() {
    if brisk_only("limits") {
        return;
    }
    let container = Seizing(with_caps(Bundle::probe(&["seize:now"]), &["CAP_SYS_PTRACE"]).container());
    container.0.up().ok();
    // Until the tracer has come.
    let program = container.0.bundle.dir.join("rootfs/held");
    fs::copy(host::probe(), &program).unwrap();
    let lease = Lease::take(&program);
    let (said, result) = container.exec(&["--timeout", "1s"], &["/held"], 137);
    drop(lease);
    assert_eq!((&result["ended"], &result["started"]), (&json!("timeout"), &Value::Null), "{said}: {result}");
    container.end();
}

/// The first process of a pid namespace ends after all others, and those can be held at their end by each other, for ever.
#[test]
fn a_program_that_waits_for_one_who_is_held_at_his_end_keeps_no_limit_from_holding() {
    if brisk_only("limits") {
        return;
    }
    // By a limit of its own; by another command.
    for hit in ["output-limit", "killed"] {
        let script =
            "sleep 1000000 & echo begun; until [ -e /mnt/held ]; do :; done; echo more than it may write; wait";
        let bundle = Bundle::sh(script);
        let shared = bundle.dir.join("shared");
        fs::create_dir(&shared).unwrap();
        let result = shared.join("r.json");
        let container = bundle.mount("bind", shared.to_str().unwrap(), "/mnt", &["bind"]).container();
        let running = container.start_run(&["--output-limit", "20", "--result", result.to_str().unwrap()]);
        running.wait_for_stdout(|said| said.contains("begun"));
        let children = format!("/proc/{pid}/task/{pid}/children", pid = container.pid());
        let child = fs::read_to_string(children).unwrap().trim().to_owned();
        let tracer = Tracer::of("hold_at_end", &child);
        if hit == "killed" {
            container.kill("KILL").ok();
        } else {
            fs::write(shared.join("held"), "").unwrap();
        }
        assert!(wait_readable(running.pidfd(), time_limit()), "it waits for whoever is held");
        let said = running.wait().exits(137).stderr();
        assert!(said.contains("was killed, and has not ended") && said.contains("the container stays"), "{said}");
        let result: Value = serde_json::from_str(&fs::read_to_string(result).unwrap()).unwrap();
        assert_eq!(result["ended"], json!(hit), "{result}");
        if hit == "killed" {
            let said = container.call(&["delete", "--force", &container.id]).fails();
            assert!(said.contains(&format!("process {} traces {child} and", tracer.0.id())), "{said}");
        }
        drop(tracer);
        container.delete_force().ok();
        container.assert_nothing_left();
    }
}

/// A tracer on the host, who lets nothing go on; ended with the test.
struct Tracer(Child);

impl Tracer {
    /// Who traces this thread by now, in a way of the probe.
    fn of(way: &str, thread: &str) -> Tracer {
        let mut tracer = Command::new(host::probe());
        let tracer = tracer.args([&format!("{way}:{thread}"), "pause"]).stdout(Stdio::null()).spawn().unwrap();
        let status = format!("/proc/{thread}/status");
        host::wait_until(|| !fs::read_to_string(&status).unwrap().contains("TracerPid:\t0\n"));
        Tracer(tracer)
    }
}

impl Drop for Tracer {
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
        let second = numbers.find(|number| *number != container.pid().to_string()).unwrap();
        let tracer = Tracer::of("hold", &second);
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
