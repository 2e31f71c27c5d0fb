//! `wait`: who is told how a container ended.

use std::fs;
use std::process::Stdio;

use serde_json::json;

use super::wake_of;
use crate::common::process::{Output, wait_readable};
use crate::common::{Bundle, brisk_only, host, leftovers, process};

/// Others than the parent of a container's process learn how it ended.
#[test]
fn a_container_is_waited_for() {
    if brisk_only("no other runtime has wait") {
        return;
    }
    let container = Bundle::sh("read line < /wake; exit 9").container();
    let wake = wake_of(&container.bundle);
    container.up();
    assert_eq!(container.call(&["wait", "--timeout", "100ms", &container.id]).exits(124).stdout(), "");
    let waiters: Vec<_> =
        (0..3).map(|_| process::start(container.command(&["wait", &container.id]), Stdio::null())).collect();
    // They wait when each has a pidfd of the process.
    host::wait_until(|| waiters.iter().all(|waiter| holds_pidfd(waiter.pid(), container.pid())));
    fs::write(wake, "\n").unwrap();
    let told: Vec<Output> = waiters.into_iter().map(process::Running::wait).collect();
    if told.iter().all(|output| output.code != 0) {
        // Before Linux 6.15.
        assert!(told.iter().all(|output| output.stderr().contains("how is not known")), "{told:?}");
        assert!(container.state().get("exitStatus").is_none());
    } else {
        for output in told {
            assert_eq!(output.ok().stdout(), "9\n");
        }
        assert_eq!(container.call(&["wait", &container.id]).ok().stdout(), "9\n", "it is kept");
        assert_eq!(container.state()["exitStatus"], json!(9));
        assert!(container.state()["finished"].as_str().unwrap().ends_with('Z'));
    }
    container.delete().ok();
    container.assert_nothing_left();
    assert!(container.call(&["wait", &container.id]).fails().contains("does not exist"));
}

/// One that has ended and that nobody has reaped tells how it ended once somebody does.
#[test]
fn a_container_that_is_not_reaped_yet_is_waited_for() {
    if brisk_only("no other runtime has wait") {
        return;
    }
    let container = Bundle::sh("echo ready; read line < /wake; exit 9").container();
    let wake = wake_of(&container.bundle);
    let running = container.start_run(&["--keep"]);
    running.wait_for_stdout(|text| text == "ready\n");
    let program = container.pid();
    // Its parent, which would reap it.
    let brisk = nix::unistd::Pid::from_raw(running.pid());
    nix::sys::signal::kill(brisk, nix::sys::signal::Signal::SIGSTOP).unwrap();
    host::wait_until(|| leftovers::run_state(running.pid()) == Some('T'));
    fs::write(wake, "\n").unwrap();
    host::wait_until(|| leftovers::run_state(program) == Some('Z'));
    let waiter = process::start(container.command(&["wait", &container.id]), Stdio::null());
    let gives_up = |waiter: &process::Running| wait_readable(waiter.pidfd(), std::time::Duration::ZERO);
    host::wait_until(|| holds_pidfd(waiter.pid(), program) || gives_up(&waiter));
    nix::sys::signal::kill(brisk, nix::sys::signal::Signal::SIGCONT).unwrap();
    running.wait().exits(9);
    let told = waiter.wait();
    // Before Linux 6.15 nobody tells it, and the waiter has found nothing that `--keep` had kept.
    match tells_exits() {
        true => assert_eq!(told.ok().stdout(), "9\n"),
        false => assert!(told.fails().contains("how is not known")),
    }
    container.delete().ok();
    container.assert_nothing_left();
}

/// Whether the kernel tells others than a parent how a process ended.
fn tells_exits() -> bool {
    host::kernel_is_at_least(6, 15)
}

pub(super) fn holds_pidfd(waiter: i32, of: i32) -> bool {
    let Ok(fds) = fs::read_dir(format!("/proc/{waiter}/fdinfo")) else { return false };
    let wanted = format!("Pid:\t{of}\n");
    fds.flatten().any(|fd| fs::read_to_string(fd.path()).is_ok_and(|text| text.contains(&wanted)))
}

/// One that is never started ends by the signal, as one that runs would: who sent it nobody has heard.
#[test]
fn a_container_that_is_killed_before_it_is_started() {
    if brisk_only("no other runtime has wait") {
        return;
    }
    for started in [false, true] {
        let container = Bundle::idle().container();
        container.create().ok();
        if started {
            container.start().ok();
        }
        let waiter = process::start(container.command(&["wait", &container.id]), Stdio::null());
        host::wait_until(|| holds_pidfd(waiter.pid(), container.pid()));
        let signal = if started { ("KILL", 137) } else { ("TERM", 143) };
        container.kill(signal.0).ok();
        let told = waiter.wait();
        if tells_exits() {
            assert_eq!(told.ok().stdout(), format!("{}\n", signal.1));
            let state = container.state();
            assert_eq!((&state["reason"], &state["exitStatus"]), (&json!("signaled"), &json!(signal.1)), "{state}");
        }
        container.delete().ok();
        container.assert_nothing_left();
    }
}

#[test]
fn nobody_waited_and_nobody_knows() {
    if brisk_only("no other runtime has wait") {
        return;
    }
    let container = Bundle::sh("exit 3").container();
    container.create().ok();
    let program = container.pid();
    container.start_and_wait();
    host::wait_until(|| leftovers::run_state(program).is_none());
    assert!(container.call(&["wait", &container.id]).fails().contains("how is not known"));
    assert!(container.state().get("exitStatus").is_none());
    container.delete().ok();
    // The command that was there knows.
    let container = Bundle::sh("exit 3").container();
    container.run_with(&["--keep"]).exits(3);
    assert_eq!(container.call(&["wait", &container.id]).ok().stdout(), "3\n");
    assert_eq!(container.state()["exitStatus"], json!(3));
    container.delete().ok();
    container.assert_nothing_left();
}
