//! Whatever a command waits for, SIGTERM, SIGINT and SIGHUP end it: with an error, the status of the signal, and as if it had not
//! been called, as far as that can be undone.

use std::cell::Cell;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::common::leases::Lease;
use crate::common::process::{self, Output, Running, pidfd_open, wait_readable};
use crate::common::{Bundle, Container, Need, brisk_only, host, skip_unless};
use crate::held;

/// What the end may take, roll-back and all: not the time of what was waited for.
const BOUND: Duration = Duration::from_secs(15);
/// How long a command does nothing until it is said to wait, where it has not taken the signals, and where it has.
const STILL: Duration = Duration::from_secs(2);
const TAKEN: Duration = Duration::from_millis(200);

const SIGNALS: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];
const HOOK: [&str; 2] = ["sleep", "1000"];

fn begin(container: &Container, args: &[&str]) -> Running {
    process::start(container.command(args), Stdio::null())
}

/// `create`, or `run` with these flags.
fn begin_new(container: &Container, verb: &[&str]) -> Running {
    begin(container, &[verb, &["--bundle", container.bundle.dir.to_str().unwrap(), &container.id]].concat())
}

/// Waits until it is known to wait: it has taken the signals, or it has used no CPU time for long.
#[track_caller]
pub fn until_it_waits(running: &Running) {
    let (mut since, mut used) = (Instant::now(), String::new());
    host::wait_until(|| {
        let file = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", running.pid())).unwrap();
        let stat = file("stat");
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        assert_ne!(fields[0], "Z", "it has ended: {:?}", running.stderr());
        // utime and stime (proc_pid_stat(5)).
        let now = fields[11..13].join(" ");
        if now != used {
            (since, used) = (Instant::now(), now);
        }
        let takes = process::signal_mask(running.pid(), "SigBlk:") >> (Signal::SIGTERM as i32 - 1) & 1 == 1;
        fields[0] == "S" && since.elapsed() >= if takes { TAKEN } else { STILL }
    });
}

/// Sends it the signal when it waits, and judges its end.
#[track_caller]
pub fn end(running: Running, signal: Signal, what: &str) -> Output {
    until_it_waits(&running);
    let asked = Instant::now();
    kill(Pid::from_raw(running.pid()), signal).unwrap();
    let pidfd = pidfd_open(running.pid()).unwrap();
    if !wait_readable(pidfd.as_fd(), BOUND) {
        kill(Pid::from_raw(running.pid()), Signal::SIGKILL).unwrap();
        panic!("{what}, {signal}: does not end: {:?}", running.wait());
    }
    let took = asked.elapsed();
    let output = running.wait().exits(128 + signal as i32);
    let said = output.stderr();
    assert!(said.contains("asked to end: "), "{what}, {signal}, after {took:?}: {said:?}");
    output
}

/// For each of the signals.
fn each(what: &str, mut test: impl FnMut(Signal, &str)) {
    if brisk_only("others end by the signal's own action, where they are") {
        return;
    }
    for signal in SIGNALS {
        test(signal, what);
    }
}

#[test]
fn whoever_makes_a_container_and_waits_for_a_hook() {
    each("createRuntime hook", |signal, what| {
        for verb in [&["create"][..], &["run"], &["run", "--detach"], &["create", "--result", "result.json"]] {
            let container = Bundle::idle().hook("createRuntime", "/bin/sleep", &HOOK).container();
            end(begin_new(&container, verb), signal, what);
            container.assert_nothing_left();
        }
        // In the container, where the child waits for it and we for the child.
        let container = Bundle::idle().hook("createContainer", "/bin/sleep", &HOOK).container();
        end(begin_new(&container, &["create"]), signal, what);
        container.assert_nothing_left();
    });
}

/// Whoever makes a container is stopped before it is killed, so that it makes nothing more: nobody may come between the two.
#[test]
fn a_delete_leaves_nobody_stopped() {
    each("delete --force", |signal, what| {
        let container = Bundle::idle().hook("createRuntime", "/bin/sleep", &HOOK).container();
        let creator = begin_new(&container, &["create"]);
        until_it_waits(&creator);
        let delete = Cell::new(0);
        let stops = |call: &held::Call| {
            delete.set(call.pid);
            call.number == libc::SYS_pidfd_send_signal && call.args[1] == libc::SIGSTOP as u64
        };
        let command = container.command(&["delete", "--force", &container.id]);
        held::at_call(command, stops, || kill(Pid::from_raw(delete.get()), signal).unwrap());
        assert!(wait_readable(creator.pidfd(), BOUND), "{what}, {signal}: it is stopped");
        drop(creator.wait());
        container.delete_force().ok();
        container.assert_nothing_left();
    });
}

/// Before anything is waited for, too: a monitor ends with its command, and with it the only one who knows.
#[test]
fn a_command_with_a_monitor_tells_the_result_from_the_first_moment_on() {
    each("pipe2", |signal, what| {
        for verb in [&["run", "--detach"][..], &["create"]] {
            let container = Bundle::idle().hook("createRuntime", "/bin/sleep", &HOOK).container();
            container.bundle.write();
            let (dir, file) = (container.bundle.dir.to_str().unwrap(), container.bundle.dir.join("result.json"));
            let flags = ["--result", file.to_str().unwrap(), "--bundle", dir, &container.id];
            let pid = Cell::new(0);
            // By which the two of them stay in touch.
            let pipe = |call: &held::Call| {
                pid.set(call.pid);
                call.number == libc::SYS_pipe2
            };
            let command = container.command(&[verb, &flags].concat());
            let ended = held::at_call(command, pipe, || kill(Pid::from_raw(pid.get()), signal).unwrap());
            assert_eq!(ended.code, 128 + signal as i32, "{what}, {signal}: {ended:?}");
            let result: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
            assert_eq!(result["ended"], json!("runtime-error"), "{result}");
            container.assert_nothing_left();
        }
    });
}

#[test]
fn a_start_that_waits_for_a_hook_says_how_far_it_is() {
    each("startContainer hook", |signal, what| {
        let container = Bundle::idle().hook("startContainer", "/probe", &["probe", "pause"]).container();
        container.create().ok();
        let output = end(begin(&container, &["start", &container.id]), signal, what);
        assert!(output.stderr().contains(&format!("the container is {}", container.status())), "{output:?}");
        container.delete_force().ok();
        container.assert_nothing_left();
    });
    each("poststart hook", |signal, what| {
        let container = Bundle::idle().hook("poststart", "/bin/sleep", &HOOK).container();
        container.create().ok();
        let output = end(begin(&container, &["start", &container.id]), signal, what);
        assert!(output.stderr().contains("the container is gone"), "{output:?}");
        container.assert_nothing_left();
        for verb in [&["run"][..], &["run", "--detach"]] {
            let container = Bundle::idle().hook("poststart", "/bin/sleep", &HOOK).container();
            end(begin_new(&container, verb), signal, what);
            container.assert_nothing_left();
        }
    });
}

#[test]
fn whoever_waits_until_a_program_is_ready() {
    each("NOTIFY_SOCKET", |signal, what| {
        let container = Bundle::idle().container();
        let supervisor = container.bundle.dir.join("supervisor.sock");
        let _supervisor = std::os::unix::net::UnixDatagram::bind(&supervisor).unwrap();
        let begin = |args: &[&str]| {
            let mut command = container.command(args);
            command.env("NOTIFY_SOCKET", &supervisor);
            process::start(command, Stdio::null())
        };
        container.bundle.write();
        let dir = container.bundle.dir.to_str().unwrap();
        begin(&["create", "--bundle", dir, &container.id]).wait().ok();
        let output = end(begin(&["start", &container.id]), signal, what);
        assert!(output.stderr().contains("the container is running"), "{output:?}");
        assert_eq!(container.status(), "running");
        container.delete_force().ok();
        end(begin(&["run", "--detach", "--bundle", dir, &container.id]), signal, what);
        container.assert_nothing_left();
    });
}

/// Somebody else changes the container.
#[test]
fn whoever_waits_for_a_lock() {
    each("lock", |signal, what| {
        let container = Bundle::idle().container();
        container.create().ok();
        let dir = fs::File::open(container.bundle.state_root().join(&container.id)).unwrap();
        dir.lock().unwrap();
        for verb in [&["start"][..], &["pause"], &["update", "--pids-limit", "100"], &["delete"]] {
            end(begin(&container, &[verb, &[&container.id]].concat()), signal, what);
            assert_eq!(container.status(), "created", "{verb:?}");
        }
        drop(dir);
        container.delete().ok();
        container.assert_nothing_left();
    });
}

#[test]
fn whoever_waits_for_the_end_of_a_container() {
    each("wait", |signal, what| {
        let container = Bundle::idle().container();
        container.up();
        end(begin(&container, &["wait", &container.id]), signal, what);
        assert_eq!(container.status(), "running");
    });
}

/// A program of the bundle that nobody can begin for as long as this lives.
fn leased(bundle: &Bundle) -> Lease {
    let file = bundle.rootfs().join("leased");
    fs::copy(host::probe(), &file).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    Lease::take(&file)
}

#[test]
fn whoever_waits_for_a_file_that_is_leased() {
    each("lease", |signal, what| {
        let bundle = Bundle::new(&["/leased", "pause"]);
        let lease = leased(&bundle);
        let container = bundle.container();
        for verb in [&["run"][..], &["run", "--detach"]] {
            end(begin_new(&container, verb), signal, what);
            container.assert_nothing_left();
            lease.again();
        }
        let container = Bundle::idle().container();
        let lease = leased(&container.bundle);
        container.up();
        for flags in [&[][..], &["--detach"]] {
            end(begin(&container, &[&["exec"], flags, &[&container.id, "/leased", "pause"]].concat()), signal, what);
            assert_eq!(container.status(), "running");
            lease.again();
        }
    });
}

#[test]
fn a_template_whose_program_is_leased() {
    each("template, lease", |signal, what| {
        let container = Bundle::idle().container();
        let lease = leased(&container.bundle);
        container.create_with(&["--template"]).ok();
        let start = ["start", &container.id, "--", "/leased", "pause"];
        let output = end(begin(&container, &start), signal, what);
        // Its process has taken its last operations, and is no template any more.
        assert!(output.stderr().contains("the container is stopped"), "{output:?}");
        assert_eq!(container.status(), "stopped");
        container.delete().ok();
        container.create_with(&["--template"]).ok();
        lease.again();
        // Whoever else wants something of it is answered meanwhile.
        let starting = begin(&container, &start);
        until_it_waits(&starting);
        assert_eq!(container.status(), "running");
        let asked = Instant::now();
        container.delete_force().ok();
        assert!(asked.elapsed() < BOUND, "{:?}", asked.elapsed());
        starting.wait();
        container.assert_nothing_left();
    });
}

#[test]
fn a_run_in_a_member_of_a_pool() {
    each("run --pool, lease", |signal, what| {
        let container = Bundle::idle().unset("/linux/cgroupsPath").container();
        let lease = leased(&container.bundle);
        container.call(&["pool", "create", &container.id, "--size", "1"]).ok();
        // One in the background for one of the signals, to be done sooner.
        let detached = (signal == Signal::SIGTERM).then_some("--detach");
        for flag in [None, detached].into_iter().take(if detached.is_some() { 2 } else { 1 }) {
            let mut run = vec!["run", "--pool", &container.id];
            run.extend(flag);
            run.extend(["--", "/leased", "pause"]);
            end(begin(&container, &run), signal, what);
            assert_eq!(container.call(&["list", "--quiet"]).ok().stdout(), "", "no other container was made for it");
            lease.again();
            container.call(&["pool", "fill", &container.id]).ok();
        }
        let dir = fs::File::open(container.bundle.state_root().join(".pools").join(&container.id)).unwrap();
        dir.lock().unwrap();
        for action in ["fill", "drain", "delete"] {
            end(begin(&container, &["pool", action, &container.id]), signal, what);
        }
        drop(dir);
        container.call(&["pool", "delete", &container.id]).ok();
        container.assert_nothing_left();
    });
}

/// A directory with a program of this name that does nothing but this.
fn hanging(bundle: &Bundle, name: &str, does: &str) -> String {
    let dir = bundle.host_dir("programs");
    let program = dir.join(name);
    fs::write(&program, format!("#!/bin/sh\nexec {does}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", dir.display(), std::env::var("PATH").unwrap())
}

#[test]
fn a_checkpoint_whose_criu_hangs() {
    if skip_unless(Need::from(host::is_root()), "root: a user checkpoints nothing") {
        return;
    }
    each("criu", |signal, what| {
        let container = Bundle::idle().container();
        container.up();
        let mut command = container.command(&["checkpoint", "--image-path", "images", &container.id]);
        command.env("PATH", hanging(&container.bundle, "criu", "sh -c 'echo $$ >pid; exec sleep 1000'"));
        end(process::start(command, Stdio::null()), signal, what);
        let criu = fs::read_to_string(container.bundle.dir.join("pid")).unwrap().trim().parse().unwrap();
        // It is left to itself: one that works undoes what it has done.
        kill(Pid::from_raw(criu), Signal::SIGKILL).unwrap();
        assert_eq!(container.status(), "running");
    });
}

/// The wait of one who is to undo what he did has an end of its own, and a second signal does not cut it short.
#[test]
fn a_second_signal_leaves_nothing_either() {
    each("two signals", |signal, what| {
        let container = Bundle::idle().hook("createRuntime", "/bin/sleep", &HOOK).container();
        let running = begin_new(&container, &["create"]);
        until_it_waits(&running);
        kill(Pid::from_raw(running.pid()), Signal::SIGHUP).unwrap();
        end_now(running, signal, what);
        container.assert_nothing_left();
    });
}

fn end_now(running: Running, signal: Signal, what: &str) {
    // It may have ended by the first.
    let _ = kill(Pid::from_raw(running.pid()), signal);
    let pidfd: OwnedFd = running.pidfd().try_clone_to_owned().unwrap();
    assert!(wait_readable(pidfd.as_fd(), BOUND), "{what}: fd {}", pidfd.as_raw_fd());
    let output = running.wait();
    assert!(output.stderr().contains("asked to end"), "{output:?}");
}

/// Who has nobody to ask him, as behind nohup(1), is not asked.
#[test]
fn a_signal_that_is_ignored_ends_nothing() {
    if brisk_only("others end by the signal's own action, where they are") {
        return;
    }
    let container = Bundle::idle().hook("createRuntime", "/bin/sleep", &HOOK).container();
    container.bundle.write();
    let dir = container.bundle.dir.to_str().unwrap();
    let inner = container.command(&["create", "--bundle", dir, &container.id]);
    let running = process::start(process::in_shell("trap '' HUP; exec \"$@\"", &inner), Stdio::null());
    until_it_waits(&running);
    kill(Pid::from_raw(running.pid()), Signal::SIGHUP).unwrap();
    until_it_waits(&running);
    assert!(!wait_readable(running.pidfd(), Duration::ZERO));
    end(running, Signal::SIGTERM, "ignored hangup");
    container.assert_nothing_left();
}

/// newuidmap(1), which an ordinary user's container waits for.
#[test]
fn a_helper_for_id_maps_that_hangs() {
    if crate::rootless::not_here() || !host::is_root() {
        return;
    }
    each("newuidmap", |signal, what| {
        let map = json!([
            { "containerID": 0, "hostID": 65534, "size": 1 }, { "containerID": 1, "hostID": 100_000, "size": 10 },
        ]);
        let bundle = crate::rootless::bundle(&["/probe", "pause"]);
        let container = bundle.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map).container();
        container.bundle.write();
        let dir = container.bundle.dir.to_str().unwrap();
        let mut command = crate::rootless::as_user(&container, &["create", "--bundle", dir, &container.id]);
        command.env("PATH", hanging(&container.bundle, "newgidmap", "sleep 1000"));
        end(process::start(command, Stdio::null()), signal, what);
        container.assert_nothing_left();
    });
}

/// By a hook in the container, at whose end all is done in no time.
#[test]
fn a_signal_that_comes_while_the_last_of_it_is_done_is_not_the_programs() {
    each("the end of a createContainer hook", |signal, what| {
        for verb in
            [&["create", "--timeout", "50s"][..], &["create", "--result", "r"], &["run", "-d", "--timeout", "50s"]]
        {
            // The parent of the container's process is the monitor.
            let script = format!("set -- $(grep PPid: /proc/$PPID/status); kill -{} $2", signal as i32);
            let mut bundle = Bundle::idle().sh_hook("createContainer", &script);
            bundle.config["linux"]["namespaces"].as_array_mut().unwrap().retain(|entry| entry["type"] != "pid");
            let container = bundle.container();
            let output = begin_new(&container, verb).wait().exits(128 + signal as i32);
            assert!(output.stderr().contains("asked to end: "), "{what}, {signal}: {output:?}");
            container.assert_nothing_left();
        }
    });
}

#[test]
fn what_a_program_wrote_is_passed_on_whatever_signal_comes_after_its_end() {
    if brisk_only("--output-limit") {
        return;
    }
    let container = Bundle::sh("echo begin; sleep 0.2; echo end; exit 7").container();
    let running = begin_new(&container, &["run", "--output-limit", "64k"]);
    running.wait_for_stdout(|text| text.contains("begin"));
    let (brisk, program) = (Pid::from_raw(running.pid()), container.pid());
    kill(brisk, Signal::SIGSTOP).unwrap();
    host::wait_until(|| fs::read_to_string(format!("/proc/{program}/stat")).is_ok_and(|stat| stat.contains(") Z ")));
    kill(brisk, Signal::SIGTERM).unwrap();
    kill(brisk, Signal::SIGCONT).unwrap();
    assert_eq!(running.wait().exits(7).stdout(), "begin\nend\n");
}
