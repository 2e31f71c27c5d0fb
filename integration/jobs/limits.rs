//! Limits on time, CPU time and output, and programs that end with whoever wanted them.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use serde_json::{Value, json};

use super::{ONLY, conforms, job};
use crate::common::process::{pidfd_open, wait_readable};
use crate::common::{Bundle, Container, Need, brisk_only, host, lacks, process, skip_unless, time_limit};
use crate::spec::annotations::{receive, receive_file};

#[test]
fn a_program_that_takes_too_long() {
    if brisk_only(ONLY) {
        return;
    }
    // Process 1 of a pid namespace never hears a SIGTERM that it does not catch: nothing is waited for.
    let began = Instant::now();
    let (output, result) = job(Bundle::idle(), &["--timeout", "300ms", "--grace", "1h"]);
    output.exits(128 + libc::SIGKILL);
    assert_eq!((&result["ended"], &result["limitsHit"]), (&json!("timeout"), &json!(["timeout"])), "{result}");
    assert!(result["wallNs"].as_u64().unwrap() >= 300_000_000, "{result}");
    assert!(began.elapsed() < time_limit());
    job(Bundle::idle(), &["--timeout", "100ms", "--exit-codes"]).0.exits(124);
}

#[test]
fn a_program_that_heeds_sigterm_has_time_to_end() {
    if brisk_only(ONLY) {
        return;
    }
    // A shell hears of a signal at once while it waits; one that starts a `sleep` each time may be busy with that for long.
    let heeding = |trap: &str, grace: &str| {
        let script = format!("trap '{trap}' TERM; sleep 1000000 & echo ready; while :; do wait; done");
        let (output, result) = job(Bundle::sh(&script), &["--timeout", "2s", "--grace", grace]);
        (output.code, output.stdout(), result["ended"].clone(), result["exitCode"].clone(), result["signal"].clone())
    };
    std::thread::scope(|threads| {
        let ends = threads.spawn(|| heeding("echo bye; exit 3", "1h"));
        let goes_on = threads.spawn(|| heeding("echo no", "3s"));
        // With no grace nobody is asked.
        let unasked = threads.spawn(|| heeding("echo no", "0"));
        let told = |text: &str| text.to_owned();
        let null = Value::Null;
        assert_eq!(ends.join().unwrap(), (3, told("ready\nbye\n"), json!("timeout"), json!(3), null.clone()));
        let killed = json!("SIGKILL");
        assert_eq!(goes_on.join().unwrap(), (137, told("ready\nno\n"), json!("timeout"), null.clone(), killed.clone()));
        assert_eq!(unasked.join().unwrap(), (137, told("ready\n"), json!("timeout"), null, killed));
    });
}

#[test]
fn a_paused_program_does_not_outlive_its_time() {
    if brisk_only(ONLY) || lacks(&["freezer"]) {
        return;
    }
    let container = Bundle::sh("echo ready; while :; do sleep 1; done").container();
    let file = container.bundle.dir.join("result.json");
    let running = container.start_run(&["--timeout", "4s", "--result", file.to_str().unwrap()]);
    running.wait_for_stdout(|text| text.contains("ready"));
    container.call(&["pause", &container.id]).ok();
    running.wait().exits(137);
    let result: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    assert_eq!(result["ended"], json!("timeout"));
    container.assert_nothing_left();
}

#[test]
fn a_program_that_uses_too_much_cpu_time() {
    if brisk_only(ONLY) || lacks(&["cpuacct"]) {
        return;
    }
    // Two processes: together they may have as much.
    let script = "while :; do :; done & while :; do :; done";
    let (output, result) = job(Bundle::sh(script), &["--cpu-time", "400ms", "--exit-codes"]);
    output.exits(123);
    assert_eq!((&result["ended"], &result["limitsHit"]), (&json!("cpu-limit"), &json!(["cpu-time"])), "{result}");
    let used = result["cpu"]["totalNs"].as_u64().unwrap();
    assert!((400_000_000..2_000_000_000).contains(&used), "{result}");
    // One that waits has all the time of the world.
    let (output, result) = job(Bundle::sh("sleep 1"), &["--cpu-time", "400ms"]);
    output.ok();
    assert!(result["cpu"]["totalNs"].as_u64().unwrap() < 400_000_000, "{result}");
}

#[test]
fn a_program_that_writes_too_much() {
    if brisk_only(ONLY) {
        return;
    }
    let (output, result) = job(Bundle::sh("yes"), &["--output-limit", "10k"]);
    output.exits(137);
    let (output, again) = job(Bundle::sh("yes; exit 0"), &["--output-limit", "10k", "--exit-codes"]);
    assert_eq!(output.stdout(), "y\n".repeat(5 << 10));
    output.exits(121);
    for result in [result, again] {
        assert_eq!((&result["ended"], &result["limitsHit"]), (&json!("output-limit"), &json!(["output"])), "{result}");
        assert!(result["outputBytes"].as_u64().unwrap() > 10 << 10, "{result}");
    }
    // Both streams count, and what is within the limit arrives.
    let (output, result) = job(Bundle::sh("echo 1234; echo 567 >&2"), &["--output-limit", "9"]);
    assert_eq!((output.stdout(), output.stderr()), ("1234\n".into(), "567\n".into()));
    assert_eq!((&result["ended"], &result["outputBytes"]), (&json!("exited"), &json!(9)));
    job(Bundle::sh("echo 1234; echo 567 >&2"), &["--output-limit", "8", "--exit-codes"]).0.exits(121);
}

/// A pipe is handed over as it is, but not where it is counted.
#[test]
fn output_into_a_pipe_counts_as_well() {
    if brisk_only(ONLY) {
        return;
    }
    let container = Bundle::sh("yes").container();
    container.bundle.write();
    let dir = container.bundle.dir.to_str().unwrap().to_owned();
    let mut command = container.command(&["run", "--bundle", &dir, "--output-limit", "100000", &container.id]);
    let output = command.stdin(Stdio::null()).stderr(Stdio::piped()).stdout(Stdio::piped()).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(137), 100_000));
    container.assert_nothing_left();
}

#[test]
fn a_second_program_has_limits_too() {
    if brisk_only(ONLY) {
        return;
    }
    let container = Bundle::idle().container();
    container.up();
    let file = container.bundle.dir.join("result.json");
    let file = file.to_str().unwrap();
    let result = || -> Value {
        let result = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        conforms(&result);
        result
    };
    container.exec_with(&["--result", file], &["/bin/sh", "-c", "exit 5"]).exits(5);
    assert_eq!((&result()["ended"], &result()["exitCode"]), (&json!("exited"), &json!(5)));
    assert!(result()["cpu"]["totalNs"].is_u64(), "of the program alone: {}", result());
    assert!(result()["memory"]["peakBytes"].is_null(), "the container's is not this program's: {}", result());
    let deaf = "trap 'echo no' TERM; echo ready; while :; do sleep 0.05; done";
    let flags = ["--result", file, "--timeout", "2s", "--grace", "2s"];
    assert_eq!(container.exec_with(&flags, &["/bin/sh", "-c", deaf]).exits(137).stdout(), "ready\nno\n");
    assert_eq!(result()["ended"], json!("timeout"));
    container
        .exec_with(&["--result", file, "--output-limit", "4", "--exit-codes"], &["/bin/sh", "-c", "yes"])
        .exits(121);
    container.exec_with(&["--result", file, "--exit-codes"], &["/bin/nothing"]).exits(125);
    assert_eq!(result()["ended"], json!("runtime-error"));
    assert_eq!(container.status(), "running", "the container goes on");
    container.delete_force().ok();
    container.assert_nothing_left();
}

/// The parent of brisk ends, or brisk itself: nothing runs on.
#[test]
fn nothing_outlives_who_wanted_it() {
    if brisk_only(ONLY) {
        return;
    }
    for (whom, user) in [("the caller", 0), ("brisk", 0), ("brisk", 1000)] {
        let container = Bundle::sh("echo ready; while :; do sleep 1; done")
            .set("/process/user", json!({ "uid": user, "gid": user }))
            .container();
        container.bundle.write();
        let dir = container.bundle.dir.to_str().unwrap().to_owned();
        let run = container.command(&["run", "--die-with-parent", "--bundle", &dir, &container.id]);
        // A shell that does not become brisk.
        let running = process::start(process::in_shell("\"$@\"; echo over", &run), Stdio::null());
        running.wait_for_stdout(|text| text.contains("ready"));
        let program = pidfd_open(container.pid()).unwrap();
        let brisk: i32 =
            fs::read_to_string(format!("/proc/{0}/task/{0}/children", running.pid())).unwrap().trim().parse().unwrap();
        let runtime = pidfd_open(brisk).unwrap();
        let target = if whom == "brisk" { brisk } else { running.pid() };
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(target), nix::sys::signal::Signal::SIGKILL).unwrap();
        for (name, pidfd) in [("the program", &program), ("brisk", &runtime)] {
            assert!(wait_readable(pidfd.as_fd(), time_limit()), "{whom} was killed, {name} runs on (uid {user})");
        }
        drop(running.wait());
        if whom == "brisk" {
            // Nobody was left to clean up.
            container.delete_force().ok();
        }
        host::wait_until(|| container.leftovers().is_empty());
    }
}

/// brisk is killed, and has no time for anything.
fn killed(brisk: process::Running) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(brisk.pid()), nix::sys::signal::Signal::SIGKILL).unwrap();
    drop(brisk.wait());
}

/// The program ends as well, and nothing of its container keeps it from being deleted.
#[track_caller]
fn ends_too(program: &OwnedFd, container: &Container, what: &str) {
    assert!(wait_readable(program.as_fd(), time_limit()), "{what}");
    container.delete_force().ok();
    host::wait_until(|| container.leftovers().is_empty());
}

/// The same holds before the program runs: who has the listener of its own filter open waits for an answer to its next call for ever.
#[test]
fn nothing_outlives_who_wanted_it_on_the_way_to_its_program() {
    if brisk_only(ONLY) {
        return;
    }
    for user in [0, 1000] {
        let bundle = Bundle::idle().set("/process/user", json!({ "uid": user, "gid": user }));
        let path = bundle.dir.join("agent.sock");
        let agent = UnixListener::bind(&path).unwrap();
        let profile = json!({
            "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path,
            "syscalls": [{ "names": ["prctl"], "action": "SCMP_ACT_NOTIFY" }],
        });
        let container = bundle.set("/linux/seccomp", profile).container();
        container.bundle.write();
        let dir = container.bundle.dir.to_str().unwrap().to_owned();
        let run = container.command(&["run", "--die-with-parent", "--bundle", &dir, &container.id]);
        let running = process::start(run, Stdio::null());
        // The descriptor that comes with it is closed at once: nobody answers.
        let state: Value = serde_json::from_str(&receive(&agent).0).unwrap();
        let init = i32::try_from(state["pid"].as_i64().unwrap()).unwrap();
        let program = pidfd_open(init).unwrap();
        host::wait_until(|| process::waits_in(init, &[libc::SYS_prctl]));
        killed(running);
        ends_too(&program, &container, &format!("uid {user}"));
    }
}

/// Nor between the change of ids, which takes the signal back (prctl(2)), and the call that asks for it again: there the
/// program's own filter holds it until brisk is gone.
#[test]
fn nothing_outlives_who_died_before_it_was_asked_for() {
    if brisk_only(ONLY) {
        return;
    }
    for verb in ["run", "exec"] {
        let bundle = Bundle::idle().set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
        let path = bundle.dir.join("agent.sock");
        let agent = UnixListener::bind(&path).unwrap();
        let death_signal = json!([{ "index": 0, "value": libc::PR_SET_PDEATHSIG, "op": "SCMP_CMP_EQ" }]);
        let profile = json!({
            "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path,
            "syscalls": [{ "names": ["prctl"], "action": "SCMP_ACT_NOTIFY", "args": death_signal }],
        });
        let container = bundle.set("/linux/seccomp", profile).container();
        container.bundle.write();
        let dir = container.bundle.dir.to_str().unwrap().to_owned();
        let command = if verb == "run" {
            container.command(&["run", "--die-with-parent", "--bundle", &dir, &container.id])
        } else {
            container.up();
            drop(receive_file(&agent));
            container.command(&["exec", "--die-with-parent", &container.id, "/bin/sh", "-c", "exec sleep 1000"])
        };
        let running = process::start(command, Stdio::null());
        let (_, listener) = receive_file(&agent);
        let (call, pid) = process::waiting_call(&listener);
        let program = pidfd_open(pid).unwrap();
        killed(running);
        process::let_pass(&listener, call);
        ends_too(&program, &container, verb);
    }
}

/// It says that it is bound before it loads a filter that lets nobody speak.
#[test]
fn who_dies_with_brisk_need_not_speak_under_its_filter() {
    if brisk_only(ONLY) {
        return;
    }
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["write", "sendto", "read", "recvfrom"], "action": "SCMP_ACT_ERRNO" }],
    });
    for (user, bound) in [(0, false), (1000, false), (0, true), (1000, true)] {
        let container = Bundle::new(&["/bin/sleep", "1000"])
            .set("/process/user", json!({ "uid": user, "gid": user }))
            .set("/process/noNewPrivileges", json!(bound))
            .set("/linux/seccomp", profile.clone())
            .container();
        let running = container.start_run(&["--die-with-parent", "--pid-file", "pid"]);
        let pid_file = container.bundle.dir.join("pid");
        host::wait_until(|| pid_file.exists());
        let init: i32 = fs::read_to_string(pid_file).unwrap().parse().unwrap();
        host::wait_until(|| fs::read_to_string(format!("/proc/{init}/comm")).unwrap() == "sleep\n");
        let program = pidfd_open(init).unwrap();
        killed(running);
        ends_too(&program, &container, &format!("uid {user}"));
    }
}

/// uid 0 gains by execve(2) what is in the bounding set (capabilities(7)), and the kernel forgets the signal: that is said.
#[test]
fn a_program_that_would_outlive_a_killed_brisk_is_warned_of() {
    if brisk_only(ONLY) {
        return;
    }
    for (permitted, bound, warns) in [(false, false, true), (false, true, false), (true, false, false)] {
        let permitted = if permitted { json!(["CAP_KILL"]) } else { json!([]) };
        let container = Bundle::probe(&[])
            .set("/process/noNewPrivileges", json!(bound))
            .set("/process/capabilities", json!({ "bounding": ["CAP_KILL"], "permitted": permitted.clone() }))
            .container();
        let said = container.run_with(&["--die-with-parent"]).ok().stderr();
        assert_eq!(said.contains("the program lives on where brisk is killed"), warns, "{permitted} {bound}: {said}");
    }
}

/// An exec ends with its caller as well, and the container does not.
#[test]
fn an_exec_ends_with_brisk() {
    if brisk_only(ONLY) {
        return;
    }
    let container = Bundle::idle().container();
    container.up();
    let command =
        container.command(&["exec", "--die-with-parent", &container.id, "/bin/sh", "-c", "echo $$; exec sleep 1000"]);
    let running = process::start(command, Stdio::null());
    running.wait_for_stdout(|text| text.ends_with('\n'));
    let inside = running.stdout();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(running.pid()), nix::sys::signal::Signal::SIGKILL).unwrap();
    running.wait().exits(137);
    host::wait_until(|| {
        container.exec_with(&[], &["/bin/sh", "-c", &format!("[ ! -e /proc/{} ]", inside.trim())]).code == 0
    });
    assert_eq!(container.status(), "running");
    container.delete_force().ok();
    container.assert_nothing_left();
}

/// Grace is for ending: not for more CPU time than there is.
#[test]
fn grace_does_not_lift_the_other_limits() {
    if brisk_only(ONLY) || lacks(&["cpuacct"]) {
        return;
    }
    let script = "trap 'echo term' TERM; while :; do :; done";
    let (output, result) = job(Bundle::sh(script), &["--cpu-time", "200ms", "--grace", "1h"]);
    assert_eq!((output.code, output.stdout().as_str()), (137, ""));
    assert_eq!(result["ended"], json!("cpu-limit"));
    let flags = ["--timeout", "2s", "--cpu-time", "4s", "--grace", "1h"];
    let (output, result) = job(Bundle::sh(script), &flags);
    output.exits(137);
    assert_eq!(result["ended"], json!("timeout"), "{result}");
    assert_eq!(result["limitsHit"], json!(["timeout", "cpu-time"]), "{result}");
}

/// The program has run, whatever becomes of its hooks, and its time counts from its start.
#[test]
fn a_poststart_hook_takes_of_the_programs_time() {
    if brisk_only(ONLY) {
        return;
    }
    let (_, result) = job(Bundle::idle().sh_hook("poststart", "sleep 0.3"), &["--timeout", "200ms"]);
    assert_eq!(result["ended"], json!("timeout"), "{result}");
    let (_, result) = job(Bundle::idle().sh_hook("poststart", "exit 1"), &[]);
    assert_eq!(result["ended"], json!("runtime-error"), "{result}");
    assert!(result["started"].is_string(), "{result}");
}

/// Nothing polls: whoever waits for the program asks the kernel once, until the limit could be reached.
#[test]
fn a_limit_that_is_far_is_waited_for_in_one_call() {
    // Of x86-64; others have ppoll(2) alone, whose time is in memory.
    const POLL: &str = "7";
    let told = cfg!(target_arch = "x86_64") && Path::new("/proc/self/syscall").exists();
    if brisk_only(ONLY) || skip_unless(Need::from(told && host::is_root()), "root, x86-64 and /proc/PID/syscall") {
        return;
    }
    let hour = 3_600_000;
    for detach in [&[][..], &["--detach"]] {
        let container = Bundle::idle().container();
        let running = container.start_run(&[detach, &["--timeout", "1h", "--output-limit", "1m"]].concat());
        host::wait_until(|| container.record_file().exists() && container.status() == "running");
        let record: Value = serde_json::from_slice(&fs::read(container.record_file()).unwrap()).unwrap();
        let who = record["creator"]["pid"].as_i64().unwrap();
        host::wait_until(|| {
            let call = fs::read_to_string(format!("/proc/{who}/syscall")).unwrap();
            let words: Vec<&str> = call.split_whitespace().collect();
            let number = |index: usize| i64::from_str_radix(words[index].trim_start_matches("0x"), 16).unwrap();
            words[0] == POLL && (hour * 9 / 10..=hour).contains(&number(3))
        });
        container.kill("KILL").ok();
        running.wait();
        if !detach.is_empty() {
            container.call(&["wait", &container.id]).ok();
            container.delete().ok();
        }
        container.assert_nothing_left();
    }
}

/// A program that is to end with its caller is asked first, and may take its time.
#[test]
fn a_program_whose_caller_is_gone_has_time_to_end() {
    if brisk_only(ONLY) {
        return;
    }
    let script = "trap 'exit 4' TERM; sleep 1000000 & echo ready; while :; do wait; done";
    let container = Bundle::sh(script).container();
    container.bundle.write();
    let (file, dir) = (container.bundle.dir.join("result.json"), container.bundle.dir.to_str().unwrap());
    let flags = ["--die-with-parent", "--grace", "1h", "--result", file.to_str().unwrap()];
    let run = container.command(&[&["run", "--bundle", dir], &flags[..], &[&container.id]].concat());
    // A shell that does not become brisk.
    let running = process::start(process::in_shell("\"$@\"; echo over", &run), Stdio::null());
    running.wait_for_stdout(|text| text.contains("ready"));
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", running.pid())).unwrap();
    let brisk = pidfd_open(children.trim().parse().unwrap()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(running.pid()), nix::sys::signal::Signal::SIGKILL).unwrap();
    drop(running.wait());
    assert!(wait_readable(brisk.as_fd(), time_limit()), "it runs on");
    let result: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    assert_eq!((&result["ended"], &result["exitCode"]), (&json!("killed"), &json!(4)), "{result}");
    container.assert_nothing_left();
}
