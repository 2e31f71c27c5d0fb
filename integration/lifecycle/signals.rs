//! Signals: of kill, to who runs in the foreground, and to a container that waits.

use crate::common::host::wait_until;
use crate::common::{Bundle, Container, host, process, skip_on};

#[test]
fn kill_takes_names_and_numbers() {
    for (spelling, printed) in
        [("TERM", "SIGTERM"), ("SIGHUP", "SIGHUP"), ("10", "SIGUSR1"), ("usr1", "SIGUSR1"), ("SIGWINCH", "SIGWINCH")]
    {
        if spelling == "usr1" && skip_on(&["crun"], "signal names in lower case") {
            continue;
        }
        let container = Bundle::probe(&["signals"]).container();
        let output = container.create().ok();
        container.start().ok();
        wait_for_line(&output, "ready");
        container.kill(spelling).ok();
        wait_for_line(&output, printed);
        container_ends(&container, || container.kill("USR2").ok());
        assert_eq!(output.stdout(), format!("ready\n{printed}\nSIGUSR2\n"), "kill {spelling}");
    }
}

#[test]
fn kill_without_a_signal_sends_term() {
    let container = Bundle::probe(&["signals"]).container();
    let output = container.create().ok();
    container.start().ok();
    wait_for_line(&output, "ready");
    container.call(&["kill", &container.id]).ok();
    wait_for_line(&output, "SIGTERM");
    // What a script has from a variable that is not set.
    if skip_on(&["crun"], "an empty name is none") {
        return;
    }
    container.kill("").ok();
    host::wait_until(|| output.stdout().matches("SIGTERM").count() == 2);
    container_ends(&container, || container.kill("USR2").ok());
    assert_eq!(output.stdout(), "ready\nSIGTERM\nSIGTERM\nSIGUSR2\n");
}

#[test]
fn kill_all_reaches_every_process() {
    let container = Bundle::sh("sleep 1000 & sleep 1000 & wait").without_ns("pid").container();
    container.up();
    let output = container.call(&["kill", "--all", &container.id, "KILL"]);
    output.ok();
    wait_until(|| container.status() == "stopped");
    container.delete().ok();
    container.assert_nothing_left();
}

#[test]
fn kill_of_a_created_container_is_allowed() {
    let container = Bundle::idle().container();
    container.create().ok();
    container.stop();
    assert_eq!(container.status(), "stopped");
    container.delete().ok();
}

#[test]
fn kill_of_a_stopped_container_fails_with_the_words_engines_look_for() {
    let container = Bundle::new(&["/bin/true"]).container();
    container.create().ok();
    container.start_and_wait();
    let text = container.kill("TERM").fails();
    assert!(
        ["container not running", "no such process", "process already finished"]
            .iter()
            .any(|words| text.to_lowercase().contains(words)),
        "{text}"
    );
}

#[test]
fn kill_refuses_an_unknown_signal() {
    if skip_on(&["crun"], "not checked") {
        return;
    }
    let container = Bundle::idle().container();
    container.up();
    for signal in ["SIGNOTHING", "4711"] {
        container.kill(signal).fails();
    }
    assert_eq!(container.status(), "running");
}

#[test]
fn run_forwards_signals() {
    let container = Bundle::probe(&["signals"]).container();
    let running = container.start_run(&[]);
    running.wait_for_stdout(|text| text.contains("ready"));
    // About a terminal that the program does not have.
    send(running.pid(), "WINCH");
    for (signal, name) in [("HUP", "SIGHUP"), ("TERM", "SIGTERM"), ("INT", "SIGINT")] {
        send(running.pid(), signal);
        running.wait_for_stdout(|text| text.contains(name));
    }
    send(running.pid(), "USR2");
    let output = running.wait().ok();
    // Go's scheduler sends SIGURG to itself, and runc forwards it.
    let text = output.stdout().replace("SIGURG\n", "");
    assert_eq!(text, "ready\nSIGHUP\nSIGTERM\nSIGINT\nSIGUSR2\n");
    container.assert_nothing_left();
}

fn send(pid: i32, signal: &str) {
    let signal: nix::sys::signal::Signal = format!("SIG{signal}").parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
}

fn wait_for_line(output: &process::Output, line: &str) {
    wait_until(|| output.stdout().lines().any(|l| l == line));
}

/// Runs `action`, which makes the container's program end, and waits for that.
fn container_ends<T>(container: &Container, action: impl FnOnce() -> T) {
    use std::os::fd::AsFd;
    let pidfd = process::pidfd_open(container.pid()).unwrap();
    action();
    assert!(process::wait_readable(pidfd.as_fd(), crate::common::time_limit()));
}

/// As the first process of a pid namespace what waits for `start` would get no signal without a handler, but SIGKILL.
#[test]
fn a_created_container_can_be_asked_to_end() {
    if skip_on(&["crun"], "only SIGKILL ends it") {
        return;
    }
    for signal in ["TERM", "INT", "HUP", "QUIT"] {
        let container = Bundle::idle().container();
        container.create().ok();
        container.kill(signal).ok();
        host::wait_until(|| container.status() == "stopped");
        container.delete().ok();
        container.assert_nothing_left();
    }
    let hook = Bundle::idle().hook("startContainer", "/bin/true", &["true"]).container();
    hook.create().ok();
    hook.kill("TERM").ok();
    host::wait_until(|| hook.status() == "stopped");
    // The program has what is the default again: for the first process of a namespace that is to ignore it.
    let container = Bundle::sh("kill -TERM $$; echo on > /tmp/on").container();
    container.create().ok();
    container.start_and_wait();
    assert!(container.bundle.rootfs().join("tmp/on").exists());
    let status = Bundle::new(&["/bin/cat", "/proc/self/status"]).container().run().ok().stdout();
    assert!(status.contains("SigCgt:\t0000000000000000") && status.contains("SigIgn:\t0000000000000000"), "{status}");
}
