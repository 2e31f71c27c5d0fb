//! Limits hold from the program's start on, whatever brisk waits for; and what goes through brisk keeps its order.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{ONLY, conforms, hook_that_waits, wake_of};
use crate::common::{Bundle, Container, brisk_only, host, lacks, process, time_limit};
use crate::held::{os, ptrace};

const BUSY: &str = "while :; do :; done";
const LIMITS: [(&str, &str); 2] = [("--timeout", "timeout"), ("--cpu-time", "cpu-limit")];
/// In the foreground and in the background.
const BOTH: [&[&str]; 2] = [&[], &["--detach"]];

/// `run --result` with these flags and 50 ms of this limit.
fn begin(container: &Container, flags: &[&str], limit: &str) -> process::Running {
    let file = container.bundle.dir.join("result.json");
    container.start_run(&[flags, &["--result", file.to_str().unwrap(), limit, "50ms"]].concat())
}

/// How many processes are in it.
fn processes_of(container: &Container) -> usize {
    container.call(&["ps", "--format", "json", &container.id]).ok().json().as_array().unwrap().len()
}

/// The container is gone, and this is how it ended.
#[track_caller]
fn ended(container: &Container, flags: &[&str]) -> Value {
    if !flags.is_empty() {
        container.call(&["wait", &container.id]).ok();
        container.delete().ok();
    }
    container.assert_nothing_left();
    let result = serde_json::from_slice(&fs::read(container.bundle.dir.join("result.json")).unwrap()).unwrap();
    conforms(&result);
    result["ended"].clone()
}

/// A poststart hook is the host's, and waited for; it gives the program no time.
#[test]
fn limits_hold_while_a_poststart_hook_runs() {
    if brisk_only(ONLY) || lacks(&["cpuacct"]) {
        return;
    }
    for flags in BOTH {
        for (limit, word) in LIMITS {
            let (bundle, wake) = hook_that_waits(Bundle::sh(BUSY), "poststart");
            let container = bundle.container();
            let running = begin(&container, flags, limit);
            host::wait_until(|| container.bundle.hook_output().contains("hook"));
            host::wait_until(|| container.status() == "stopped");
            fs::write(&wake, "\n").unwrap();
            running.wait().exits(if flags.is_empty() { 137 } else { 0 });
            assert_eq!(ended(&container, flags), json!(word), "{flags:?}");
        }
    }
}

/// A startContainer hook is the image's, and may be as hostile as the program.
#[test]
fn limits_hold_while_a_start_container_hook_runs() {
    if brisk_only(ONLY) || lacks(&["cpuacct"]) {
        return;
    }
    for flags in BOTH {
        for (limit, word) in LIMITS {
            let container = Bundle::idle().hook("startContainer", "/bin/sh", &["sh", "-c", BUSY]).container();
            begin(&container, flags, limit).wait().exits(if flags.is_empty() { 137 } else { 0 });
            assert_eq!(ended(&container, flags), json!(word), "{flags:?}");
        }
    }
}

/// A program that never tells its supervisor that it is ready has no longer for that.
#[test]
fn limits_hold_while_a_program_does_not_say_that_it_is_ready() {
    if brisk_only(ONLY) || lacks(&["cpuacct"]) {
        return;
    }
    for (limit, word) in LIMITS {
        let container = Bundle::sh(BUSY).container();
        container.bundle.write();
        let dir = &container.bundle.dir;
        let path = dir.join("supervisor.sock");
        let _supervisor = UnixDatagram::bind(&path).unwrap();
        let (file, bundle) = (dir.join("result.json"), dir.to_str().unwrap());
        let flags = ["run", "--detach", "--result", file.to_str().unwrap(), limit, "50ms", "--bundle", bundle];
        let mut command = container.command(&[&flags[..], &[&container.id]].concat());
        command.env("NOTIFY_SOCKET", &path);
        process::run(command).ok();
        assert_eq!(ended(&container, &["--detach"]), json!(word));
    }
}

/// What a program in the background writes before it says that it is ready goes through brisk, which reads it meanwhile.
#[test]
fn a_program_may_write_before_it_is_ready() {
    if brisk_only(ONLY) {
        return;
    }
    // More than a pipe holds.
    let container = Bundle::sh("head -c 300000 /dev/zero; exec sleep 1000").container();
    container.bundle.write();
    let dir = &container.bundle.dir;
    let path = dir.join("supervisor.sock");
    let supervisor = UnixDatagram::bind(&path).unwrap();
    let (file, bundle) = (dir.join("result.json"), dir.to_str().unwrap());
    let flags = ["run", "--detach", "--result", file.to_str().unwrap(), "--output-limit", "1m", "--bundle", bundle];
    let mut command = container.command(&[&flags[..], &[&container.id]].concat());
    command.env("NOTIFY_SOCKET", &path);
    let running = process::start(command, Stdio::null());
    host::wait_until(|| running.stdout().len() == 300_000);
    let program = container.pid();
    // The command waits for the word.
    assert!(!process::wait_readable(running.pidfd(), Duration::ZERO));
    let inside = container.bundle.state_root().join(&container.id).join("notify/notify.sock");
    UnixDatagram::unbound().unwrap().send_to(b"READY=1", inside).unwrap();
    let mut text = [0; 256];
    assert!(process::wait_readable(supervisor.as_fd(), time_limit()));
    let len = supervisor.recv(&mut text).unwrap();
    assert_eq!(String::from_utf8_lossy(&text[..len]), format!("READY=1\nMAINPID={program}"));
    // The barrier (sd_notify_barrier(3)), whose descriptor goes with it.
    supervisor.recv(&mut text).unwrap();
    running.wait().ok();
    container.kill("KILL").ok();
    assert_eq!(ended(&container, &["--detach"]), json!("killed"));
}

/// A poststart hook that fails under `start` ends the program as `kill` does: whoever called `start` is told why.
#[test]
fn a_poststart_hook_of_start_that_fails() {
    if brisk_only(ONLY) {
        return;
    }
    let container = Bundle::idle().sh_hook("poststart", "exit 1").container();
    let file = container.bundle.dir.join("result.json");
    container.create_with(&["--result", file.to_str().unwrap()]).ok();
    assert!(container.start().fails().contains("poststart"));
    assert_eq!(ended(&container, &[]), json!("killed"));
}

/// A monitor that waits for a poststart hook has no figures to wait for: the hook ends with the container's directory.
#[test]
fn delete_does_not_wait_for_a_hook_that_hangs() {
    if brisk_only(ONLY) {
        return;
    }
    let container = Bundle::idle().sh_hook("poststart", "echo hook >>$OUT; exec sleep 1000").container();
    let running = container.start_run(&["--detach", "--timeout", "1h"]);
    host::wait_until(|| container.bundle.hook_output().contains("hook"));
    let begun = Instant::now();
    container.delete_force().ok();
    // It was ten seconds, for which a monitor that is stopped is waited for.
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert!(running.wait().fails().contains("the container was deleted"));
    container.assert_nothing_left();
}

/// Where standard output and error lead to the same they are one pipe, whether it is their limit that brings them to brisk or
/// what they lead to.
#[test]
fn what_is_written_to_one_stream_keeps_its_order() {
    if brisk_only(ONLY) {
        return;
    }
    let script = "for i in 1 2 3 4 5 6 7 8; do echo $i; echo -$i >&2; done; exec >&- 2>&-; read line < /wake";
    let written: String = (1..9).map(|i| format!("{i}\n-{i}\n")).collect();
    for flags in [&["--output-limit", "1m"][..], &["--output-limit", "1m", "--detach"], &[]] {
        let container = Bundle::sh(script).container();
        let wake = wake_of(&container.bundle);
        container.bundle.write();
        let dir = container.bundle.dir.to_str().unwrap();
        let mut command = container.command(&[&["run", "--bundle", dir][..], flags, &[&container.id]].concat());
        command.stdin(Stdio::null());
        let mut told = String::new();
        let mut child = if flags.is_empty() {
            let path = container.bundle.dir.join("out");
            let out = fs::File::options().write(true).create_new(true).open(&path).unwrap();
            let child = command.stdout(out.try_clone().unwrap()).stderr(out).spawn().unwrap();
            fs::write(&wake, "\n").unwrap();
            host::wait_until(|| fs::read_to_string(&path).unwrap() == written);
            child
        } else {
            let (mut reader, writer) = std::io::pipe().unwrap();
            let child = command.stdout(writer.try_clone().unwrap()).stderr(writer).spawn().unwrap();
            drop(command);
            if flags.contains(&"--detach") {
                // The end is passed on while the program runs.
                reader.read_to_string(&mut told).unwrap();
                fs::write(&wake, "\n").unwrap();
            } else {
                fs::write(&wake, "\n").unwrap();
                reader.read_to_string(&mut told).unwrap();
            }
            assert_eq!(told, written, "{flags:?}");
            child
        };
        assert!(child.wait().unwrap().success());
        if flags.contains(&"--detach") {
            container.call(&["wait", &container.id]).ok();
            container.delete().ok();
        }
        container.assert_nothing_left();
    }
}

/// What `exec` does for a paused container waits; its time does not, and the container stays as it is.
#[test]
fn a_second_program_that_cannot_begin_has_its_time_all_the_same() {
    if brisk_only(ONLY) || lacks(&["freezer"]) {
        return;
    }
    let container = Bundle::idle().container();
    container.up();
    container.call(&["pause", &container.id]).ok();
    let file = container.bundle.dir.join("result.json");
    for flags in BOTH {
        let limits = ["--ignore-paused", "--timeout", "100ms", "--exit-codes", "--result", file.to_str().unwrap()];
        let output = container.exec_with(&[flags, &limits].concat(), &["/bin/sh", "-c", "echo ran"]).exits(124);
        assert_eq!(output.stdout(), "");
        // Standard error of a command that does not wait is the program's.
        let told = output.stderr().contains("ended before it began");
        assert_eq!(told, flags.is_empty(), "{output:?}");
        let result: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        conforms(&result);
        assert_eq!((&result["ended"], &result["limitsHit"]), (&json!("timeout"), &json!(["timeout"])), "{result}");
        let of_a_program = [&result["started"], &result["wallNs"], &result["cpu"]["totalNs"], &result["exitCode"]];
        assert_eq!(of_a_program, [&Value::Null; 4], "{result}");
        fs::remove_file(&file).unwrap();
        assert_eq!(container.status(), "paused");
    }
    container.call(&["resume", &container.id]).ok();
    assert_eq!(container.exec(&["/bin/echo", "on"]).ok().stdout(), "on\n");
    container.delete_force().ok();
    container.assert_nothing_left();
}

/// Whoever waits for it may lose patience: nothing of it stays in the container, which does not have to be resumed for that.
#[test]
fn a_second_program_that_cannot_begin_ends_when_it_is_asked_to() {
    if brisk_only(ONLY) || lacks(&["freezer"]) {
        return;
    }
    let container = Bundle::idle().container();
    container.up();
    let inside = || processes_of(&container);
    let alone = inside();
    container.call(&["pause", &container.id]).ok();
    let file = container.bundle.dir.join("result.json");
    let result_file = ["--result", file.to_str().unwrap()];
    let ways = [&[][..], &["--detach"], &result_file, &["--detach", "--result", file.to_str().unwrap()]];
    for (flags, signal) in ways.into_iter().zip([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGTERM]) {
        let line = [&["exec", "--ignore-paused"], flags, &[&container.id, "/bin/sh", "-c", "echo ran"]].concat();
        let running = process::start(container.command(&line), Stdio::null());
        // It is there, and does nothing.
        host::wait_until(|| inside() > alone);
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(running.pid()), signal).unwrap();
        assert_eq!(running.wait().exits(128 + signal as i32).stdout(), "");
        host::wait_until(|| inside() == alone);
        assert_eq!(container.status(), "paused");
        if flags.contains(&"--result") {
            host::wait_until(|| file.exists());
            let result: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
            conforms(&result);
            let told = [&result["ended"], &result["signal"], &result["started"]];
            assert_eq!(told, [&json!("killed"), &json!(signal.as_str()), &Value::Null], "{result}");
            fs::remove_file(&file).unwrap();
        }
    }
    container.call(&["resume", &container.id]).ok();
    assert_eq!(container.exec(&["/bin/echo", "on"]).ok().stdout(), "on\n");
    container.delete_force().ok();
    container.assert_nothing_left();
}

/// Orphans come to a brisk that is a subreaper, or the first process of a pid namespace. One that comes while a program is launched
/// is nobody that the launcher has made.
#[test]
#[allow(unsafe_code, reason = "nix has no pre_exec, and the closure makes one system call")]
fn an_orphan_that_comes_beside_a_launcher_lives() {
    if brisk_only(ONLY) || lacks(&["freezer"]) {
        return;
    }
    let container = Bundle::idle().container();
    container.up();
    let inside = || processes_of(&container);
    let alone = inside();
    container.call(&["pause", &container.id]).ok();
    let exec = container.command(&["exec", "--ignore-paused", &container.id, "/bin/true"]);
    // The shell that waits is the child of what becomes brisk, and leaves its own to that.
    let script = "exec 3<&0 </dev/null; (read go <&3; sleep 1000 & echo $!) & exec \"$@\" 3<&-";
    let mut command = process::in_shell(script, &exec);
    // SAFETY: what runs after the fork is one system call.
    unsafe { command.pre_exec(os::become_subreaper) };
    let (input, mut go) = std::io::pipe().unwrap();
    let running = process::start(command, Stdio::from(input));
    host::wait_until(|| inside() > alone);
    go.write_all(b"\n").unwrap();
    running.wait_for_stdout(|text| text.ends_with('\n'));
    let orphan: i32 = running.stdout().trim().parse().unwrap();
    let pidfd = process::pidfd_open(orphan).unwrap();
    let children = || fs::read_to_string(format!("/proc/{0}/task/{0}/children", running.pid())).unwrap();
    host::wait_until(|| children().split_whitespace().last() == Some(&orphan.to_string()));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(running.pid()), Signal::SIGTERM).unwrap();
    running.wait().exits(143);
    assert!(!process::wait_readable(pidfd.as_fd(), Duration::ZERO), "the orphan was killed");
    host::wait_until(|| inside() == alone);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(orphan), Signal::SIGKILL).unwrap();
    assert!(process::wait_readable(pidfd.as_fd(), time_limit()));
    container.delete_force().ok();
    container.assert_nothing_left();
}

/// Where the process is held that launches a program of `exec`, as a freezer would hold it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Held {
    /// It has cloned the program, and has not said so.
    AtItsClone,
    /// It has said so.
    AtItsEnd,
    /// It ends, and its tracer does not ask how.
    UntilItIsReaped,
}

/// Does something to brisk while its launcher is held; brisk's exit status, `None` where it does not end.
fn with_launcher(mut command: Command, held: Held, when: impl Fn(nix::unistd::Pid)) -> Option<i32> {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let brisk = ptrace::trace_me(quiet).spawn().unwrap().id() as i32;
    let (mut launcher, mut options) = (None, false);
    // Everybody but the launcher, once that has ended.
    let (mut seen, mut ended) = (std::collections::BTreeSet::new(), false);
    let end = Instant::now() + time_limit();
    while Instant::now() < end {
        // Tests beside this one have children, too.
        let options_of_wait = libc::__WALL | libc::__WNOTHREAD | libc::WNOHANG;
        let whom: Vec<i32> = if ended { seen.iter().copied().collect() } else { vec![-1] };
        let Some(stop) = whom.into_iter().find_map(|pid| os::wait4(pid, options_of_wait).ok().flatten()) else {
            continue;
        };
        let (pid, signal, event) = (stop.pid, libc::WSTOPSIG(stop.status), stop.status >> 16);
        if !libc::WIFSTOPPED(stop.status) {
            seen.remove(&pid);
            if pid == brisk {
                return Some(libc::WEXITSTATUS(stop.status));
            }
            continue;
        }
        if !std::mem::replace(&mut options, true) {
            ptrace::follow(brisk).unwrap();
        }
        let clones = [libc::PTRACE_EVENT_FORK, libc::PTRACE_EVENT_VFORK, libc::PTRACE_EVENT_CLONE].contains(&event);
        if clones && pid == brisk {
            launcher = launcher.or(ptrace::event_message(pid).ok());
        }
        if clones && launcher == Some(pid) {
            seen.extend(ptrace::event_message(pid).ok());
        }
        let is_call = signal == libc::SIGTRAP | 0x80;
        let here = launcher == Some(pid)
            && match held {
                Held::AtItsClone => clones,
                Held::AtItsEnd | Held::UntilItIsReaped => is_call && ends(ptrace::syscall_stop(pid).unwrap()),
            };
        if here {
            when(nix::unistd::Pid::from_raw(brisk));
            if held == Held::UntilItIsReaped {
                seen.remove(&pid);
                ended = true;
                ptrace::resume(pid, 0).unwrap();
            }
            continue;
        }
        seen.insert(pid);
        let ours = is_call || event != 0 || [libc::SIGTRAP, libc::SIGSTOP].contains(&signal);
        // Who was killed meanwhile is not there to go on.
        let _ = ptrace::resume(pid, if ours { 0 } else { signal });
    }
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(brisk), Signal::SIGKILL).unwrap();
    None
}

fn ends(stop: ptrace::Stop) -> bool {
    let calls = [libc::SYS_exit, libc::SYS_exit_group].map(|call| call as u64);
    matches!(stop, ptrace::Stop::Entry { nr, .. } if calls.contains(&nr))
}

/// Whoever freezes the container may do so at any moment of a set-up, and the program may be there already.
#[test]
fn a_second_program_that_was_just_launched_ends_when_that_is_asked_for() {
    if brisk_only(ONLY) {
        return;
    }
    let bundles = || [Bundle::idle(), Bundle::idle().without_ns("pid")];
    for (held, bundle) in
        [Held::AtItsClone, Held::AtItsEnd].into_iter().flat_map(|held| bundles().map(|bundle| (held, bundle)))
    {
        let container = bundle.container();
        container.up();
        let inside = || processes_of(&container);
        let alone = inside();
        let file = container.bundle.dir.join("result.json");
        let line = ["exec", "--result", file.to_str().unwrap(), &container.id, "/bin/sleep", "1000"];
        let ask = |brisk| nix::sys::signal::kill(brisk, Signal::SIGTERM).unwrap();
        assert_eq!(with_launcher(container.command(&line), held, ask), Some(143), "{held:?}");
        let result: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        assert_eq!(result["ended"], json!("killed"), "{result}");
        host::wait_until(|| inside() == alone);
        container.delete_force().ok();
        container.assert_nothing_left();
    }
}

/// Nobody waits for a launcher for ever that has made the program and does not end.
#[test]
fn a_launcher_that_does_not_end_is_not_waited_for() {
    if brisk_only(ONLY) {
        return;
    }
    let each = [Held::AtItsEnd, Held::UntilItIsReaped].map(|held| [(held, &[][..]), (held, &["--timeout", "1h"])]);
    for (held, flags) in each.into_iter().flatten() {
        let container = Bundle::idle().container();
        container.up();
        let line = [&["exec"], flags, &[&container.id, "/bin/sh", "-c", "exit 7"]].concat();
        assert_eq!(with_launcher(container.command(&line), held, drop), Some(7), "{held:?} {flags:?}");
        container.delete_force().ok();
        container.assert_nothing_left();
    }
}

/// A paused program of `exec` ends with its caller, and nobody else of the container hears of it.
#[test]
fn a_second_program_that_is_paused_ends() {
    if brisk_only(ONLY) || lacks(&["freezer"]) {
        return;
    }
    let container = Bundle::idle().container();
    container.up();
    let exec = container.command(&["exec", "--die-with-parent", &container.id, "/bin/sh", "-c", "echo $PPID; read x"]);
    let (input, _open) = std::io::pipe().unwrap();
    // A shell that does not become brisk.
    let running = process::start(process::in_shell("\"$@\"; echo over", &exec), Stdio::from(input));
    running.wait_for_stdout(|text| text.ends_with('\n'));
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", running.pid())).unwrap();
    let brisk = process::pidfd_open(children.trim().parse().unwrap()).unwrap();
    container.call(&["pause", &container.id]).ok();
    let shell = nix::unistd::Pid::from_raw(running.pid());
    nix::sys::signal::kill(shell, nix::sys::signal::Signal::SIGKILL).unwrap();
    drop(running.wait());
    // Which it does when it has reaped the program.
    assert!(process::wait_readable(brisk.as_fd(), time_limit()), "the program outlives its caller");
    assert_eq!(container.status(), "paused");
    container.delete_force().ok();
    container.assert_nothing_left();
}
