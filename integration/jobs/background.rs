//! A program in the background, with a monitor beside it: `run --detach`, `create`, `restart` and `exec --detach` with what a
//! job may ask for.

mod killed;

use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::wait_command::holds_pidfd;
use super::{ONLY, conforms, wake_of};
use crate::common::process::{Output, pidfd_open, wait_readable};
use crate::common::{Bundle, Container, brisk_only, host, lacks, leftovers, process, time_limit};
use crate::rootless;

/// A bundle whose shell waits for a word in /wake before it goes on.
fn woken(script: &str) -> (Bundle, PathBuf) {
    let bundle = Bundle::sh(&format!("echo ready; read line < /wake; {script}"));
    let wake = wake_of(&bundle);
    (bundle, wake)
}

fn file_of(container: &Container) -> PathBuf {
    container.bundle.dir.join("result.json")
}

#[track_caller]
fn result(container: &Container) -> Value {
    let text = fs::read(file_of(container)).unwrap_or_else(|error| panic!("no result: {error}"));
    let result = serde_json::from_slice(&text).unwrap();
    conforms(&result);
    result
}

/// `run --detach --result` with these flags.
#[track_caller]
fn begin(container: &Container, flags: &[&str]) -> Output {
    let file = file_of(container);
    container.run_with(&[&["--detach", "--result", file.to_str().unwrap()], flags].concat())
}

/// The monitor of a container.
#[track_caller]
fn monitor(container: &Container) -> i32 {
    assert_eq!(record(container)["attended"], json!("monitor"));
    attendant(container)
}

/// Who waits for its first process: the monitor, or a command in the foreground.
#[track_caller]
fn attendant(container: &Container) -> i32 {
    i32::try_from(record(container)["creator"]["pid"].as_i64().unwrap()).unwrap()
}

#[track_caller]
fn record(container: &Container) -> Value {
    let state = container.record_file();
    serde_json::from_slice(&fs::read(state).unwrap()).unwrap()
}

#[track_caller]
fn wait(container: &Container) -> String {
    container.call(&["wait", &container.id]).ok().stdout().trim().to_owned()
}

fn kill_hard(pid: i32) -> OwnedFd {
    let pidfd = pidfd_open(pid).unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    pidfd
}

#[track_caller]
fn ends(pidfd: &OwnedFd, what: &str) {
    assert!(wait_readable(pidfd.as_fd(), time_limit()), "{what} runs on");
}

/// Whoever waits finds the result when told of the end, and `state` says the same.
#[test]
fn a_result_of_a_program_in_the_background() {
    if brisk_only(ONLY) {
        return;
    }
    let (bundle, wake) = woken("exit 7");
    let container = bundle.container();
    let began = Instant::now();
    begin(&container, &[]).ok();
    assert!(!file_of(&container).exists());
    let of_monitor = pidfd_open(monitor(&container)).unwrap();
    let waiters: Vec<_> =
        (0..3).map(|_| process::start(container.command(&["wait", &container.id]), Stdio::null())).collect();
    host::wait_until(|| waiters.iter().all(|waiter| holds_pidfd(waiter.pid(), container.pid())));
    fs::write(wake, "\n").unwrap();
    for waiter in waiters {
        assert_eq!(waiter.wait().ok().stdout(), "7\n");
        assert_eq!((&result(&container)["ended"], &result(&container)["exitCode"]), (&json!("exited"), &json!(7)));
    }
    ends(&of_monitor, "the monitor");
    let (state, told) = (container.state(), result(&container));
    assert_eq!(
        (&state["status"], &state["exitStatus"], &state["reason"]),
        (&json!("stopped"), &json!(7), &json!("exited"))
    );
    assert_eq!(state["finished"], told["finished"]);
    assert!(u128::from(told["wallNs"].as_u64().unwrap()) < began.elapsed().as_nanos(), "{told}");
    assert_eq!(wait(&container), "7");
    container.delete().ok();
    container.assert_nothing_left();
}

/// Everything that is the caller's is let go of: descriptors, streams, directory, session.
#[test]
fn a_monitor_holds_nothing_of_the_callers() {
    if brisk_only(ONLY) {
        return;
    }
    let (bundle, wake) = woken("exit 0");
    let container = bundle.container();
    container.bundle.write();
    let dir = container.bundle.dir.to_str().unwrap().to_owned();
    let foreign = container.bundle.dir.join("foreign");
    let file = file_of(&container);
    let flags = ["run", "--detach", "--bundle", &dir, "--result", file.to_str().unwrap(), "--preserve-fds", "1"];
    let run = container.command(&[&flags[..], &[&container.id]].concat());
    process::run(process::in_shell(&format!("exec \"$@\" 3>{0} 7<>{0} 8<>{0}", foreign.display()), &run)).ok();
    let monitor = monitor(&container);
    let proc = |name: &str| PathBuf::from(format!("/proc/{monitor}/{name}"));
    let link = |name: &str| fs::read_link(proc(name)).unwrap();
    for stream in ["fd/0", "fd/1", "fd/2"] {
        assert_eq!(link(stream), Path::new("/dev/null"));
    }
    for fd in fs::read_dir(proc("fd")).unwrap().flatten() {
        assert_ne!(fs::read_link(fd.path()).unwrap(), foreign, "{:?}", fd.path());
    }
    assert_eq!(link("cwd"), Path::new("/"));
    let stat = fs::read_to_string(proc("stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    // State, parent, process group, session, terminal.
    assert_eq!(fields[2..5], [&*monitor.to_string(), &*monitor.to_string(), "0"]);
    // The container's cgroup is killed as a whole, and it is not in it.
    let cgroup = fs::read_to_string(proc("cgroup")).unwrap();
    assert!(!cgroup.contains(&container.id), "{cgroup}");
    let pidfd = pidfd_open(monitor).unwrap();
    fs::write(wake, "\n").unwrap();
    ends(&pidfd, "the monitor");
    assert_eq!(wait(&container), "0");
    container.delete().ok();
}

/// Its time counts from `start`, and what it is told of before is no start.
#[test]
fn a_container_that_is_created_and_started() {
    if brisk_only(ONLY) {
        return;
    }
    let (bundle, wake) = woken("exit 3");
    let container = bundle.container();
    let file = file_of(&container);
    let create = |flags: &[&str]| container.create_with(&[&["--result", file.to_str().unwrap()], flags].concat());
    create(&[]).ok();
    assert_eq!(container.status(), "created");
    container.start().ok();
    fs::write(&wake, "\n").unwrap();
    assert_eq!(wait(&container), "3");
    let told = result(&container);
    assert_eq!((&told["ended"], &told["exitCode"]), (&json!("exited"), &json!(3)));
    assert!(told["started"].is_string() && told["wallNs"].is_u64(), "{told}");
    container.delete().ok();
    // Time that passes before the start is nobody's.
    create(&["--timeout", "300ms", "--grace", "0"]).ok();
    std::thread::sleep(std::time::Duration::from_millis(400));
    assert_eq!(container.status(), "created");
    container.start().ok();
    assert_eq!(wait(&container), "137");
    let told = result(&container);
    assert_eq!((&told["ended"], &told["limitsHit"]), (&json!("timeout"), &json!(["timeout"])), "{told}");
    assert!(told["wallNs"].as_u64().unwrap() >= 300_000_000, "{told}");
    assert_eq!(container.state()["reason"], json!("timeout"));
    container.delete().ok();
    // One that is never started.
    create(&[]).ok();
    container.delete_force().ok();
    let told = result(&container);
    assert_eq!((&told["ended"], &told["started"], &told["wallNs"]), (&json!("killed"), &Value::Null, &Value::Null));
    // What waits there heeds the signals that end a program, with the status that a shell gives them.
    let container = Bundle::idle().container();
    container.create_with(&["--result", file_of(&container).to_str().unwrap()]).ok();
    container.kill("TERM").ok();
    assert_eq!(wait(&container), "143");
    let told = result(&container);
    assert_eq!((&told["ended"], &told["started"]), (&json!("killed"), &Value::Null), "{told}");
    assert_eq!((&told["exitCode"], &told["signal"]), (&Value::Null, &json!("SIGTERM")), "{told}");
    assert_eq!(container.state()["reason"], json!("killed"));
    container.delete().ok();
    container.assert_nothing_left();
}

/// A signal that comes when `start` has said that it starts, and before the program has begun.
#[test]
fn a_start_that_a_signal_overtakes() {
    if brisk_only(ONLY) {
        return;
    }
    for (signal, by_brisk) in [(Signal::SIGTERM, true), (Signal::SIGHUP, true), (Signal::SIGINT, false)] {
        let container = Bundle::idle().container();
        container.create_with(&["--result", file_of(&container).to_str().unwrap()]).ok();
        let waiting = Pid::from_raw(container.pid());
        kill(waiting, Signal::SIGSTOP).unwrap();
        host::wait_until(|| leftovers::run_state(waiting.as_raw()) == Some('T'));
        container.start().ok();
        match by_brisk {
            true => drop(container.kill(&signal.as_str()[3..]).ok()),
            false => kill(waiting, signal).unwrap(),
        }
        kill(waiting, Signal::SIGCONT).unwrap();
        assert_eq!(wait(&container), (128 + signal as i32).to_string());
        let told = result(&container);
        let ended = if by_brisk { "killed" } else { "signaled" };
        assert_eq!((&told["ended"], &told["signal"]), (&json!(ended), &json!(signal.as_str())), "{told}");
        assert_eq!((&told["started"], &told["exitCode"]), (&Value::Null, &Value::Null), "{told}");
        assert_eq!(container.state()["reason"], json!(ended));
        container.delete().ok();
        container.assert_nothing_left();
    }
    // A program that ends by itself with such a status has done just that.
    let container = Bundle::sh("trap 'exit 143' TERM; echo > /ready; while :; do sleep 0.01; done").container();
    container.create_with(&["--result", file_of(&container).to_str().unwrap()]).ok();
    container.start().ok();
    host::wait_until(|| container.bundle.rootfs().join("ready").exists());
    container.kill("TERM").ok();
    assert_eq!(wait(&container), "143");
    let told = result(&container);
    assert_eq!((&told["ended"], &told["exitCode"]), (&json!("exited"), &json!(143)), "{told}");
    container.delete().ok();
}

#[test]
fn limits_hold_in_the_background() {
    if brisk_only(ONLY) || lacks(&["cpuacct"]) {
        return;
    }
    let told = |script: &str, flags: &[&str]| {
        let container = Bundle::sh(script).container();
        let output = begin(&container, flags).ok();
        wait(&container);
        let told = result(&container);
        assert_eq!(container.state()["reason"], told["ended"]);
        container.delete().ok();
        (output, told)
    };
    let (_, timeout) = told("sleep 1000", &["--timeout", "200ms"]);
    assert_eq!((&timeout["ended"], &timeout["limitsHit"]), (&json!("timeout"), &json!(["timeout"])), "{timeout}");
    let (_, heeds) = told("trap 'exit 3' TERM; while :; do sleep 0.05; done", &["--timeout", "2s", "--grace", "1h"]);
    assert_eq!((&heeds["ended"], &heeds["exitCode"]), (&json!("timeout"), &json!(3)), "{heeds}");
    let (_, cpu) = told("while :; do :; done", &["--cpu-time", "200ms"]);
    assert_eq!((&cpu["ended"], &cpu["limitsHit"]), (&json!("cpu-limit"), &json!(["cpu-time"])), "{cpu}");
    // What it writes goes where the caller's streams go, although the caller's command has ended.
    let (output, much) = told("yes", &["--output-limit", "10k"]);
    assert_eq!(much["ended"], json!("output-limit"), "{much}");
    host::wait_until(|| output.stdout().len() == 10 << 10);
    let (output, some) = told("echo 1234; echo 567 >&2", &["--output-limit", "9"]);
    assert_eq!((&some["ended"], &some["outputBytes"]), (&json!("exited"), &json!(9)), "{some}");
    assert_eq!((output.stdout(), output.stderr()), ("1234\n".into(), "567\n".into()));
    // Nobody could count there.
    let container = Bundle::sh("true").set("/process/terminal", json!(true)).container();
    let socket = container.bundle.dir.join("console");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let said = begin(&container, &["--output-limit", "9", "--console-socket", socket.to_str().unwrap()]).fails();
    drop(listener);
    assert!(said.contains("--output-limit"), "{said}");
    container.assert_nothing_left();
}

#[test]
fn a_created_container_has_limits() {
    if brisk_only(ONLY) || lacks(&["cpuacct"]) {
        return;
    }
    for (script, limit, ended) in [
        ("while :; do :; done", ["--cpu-time", "200ms"], "cpu-limit"),
        ("yes", ["--output-limit", "1k"], "output-limit"),
    ] {
        let container = Bundle::sh(script).container();
        let file = file_of(&container);
        let output = container.create_with(&[&["--result", file.to_str().unwrap()], &limit[..]].concat()).ok();
        container.start().ok();
        assert_eq!(wait(&container), "137");
        assert_eq!(result(&container)["ended"], json!(ended));
        host::wait_until(|| output.stdout().len() == if ended == "output-limit" { 1024 } else { 0 });
        container.delete().ok();
    }
}

#[test]
fn what_fails_is_told_to_whoever_called() {
    if brisk_only(ONLY) {
        return;
    }
    let container = Bundle::new(&["/bin/nothing-here"]).container();
    assert!(begin(&container, &[]).exits(1).fails().contains("nothing-here"));
    assert_eq!((&result(&container)["ended"], &result(&container)["started"]), (&json!("runtime-error"), &Value::Null));
    begin(&container, &["--exit-codes"]).exits(125);
    container.assert_nothing_left();
    // The program has run, and nothing of it stays.
    let container = Bundle::idle().sh_hook("poststart", "exit 1").container();
    begin(&container, &[]).exits(1).fails();
    assert_eq!(result(&container)["ended"], json!("runtime-error"));
    container.assert_nothing_left();
    // Nothing counts that: known before anything is made.
    if host::is_root() {
        let container = Bundle::sh("echo ran").sh_hook("createRuntime", "echo made >>$OUT").container();
        let dir = container.bundle.dir.to_str().unwrap().to_owned();
        container.bundle.write();
        for verb in [&["run", "--detach"][..], &["run"], &["create"]] {
            let flags = ["--bundle", &dir, "--cpu-time", "1s", &container.id];
            let all = [&["--cgroup-manager", "disabled"], verb, &flags].concat();
            let output = container.call(&all);
            assert_eq!((output.stdout(), container.bundle.hook_output()), (String::new(), String::new()));
            assert!(output.fails().contains("nothing counts"));
            container.assert_nothing_left();
        }
    }
}

#[test]
fn a_second_program_in_the_background() {
    if brisk_only(ONLY) {
        return;
    }
    let container = Bundle::idle().container();
    container.up();
    let (file, pid_file) = (file_of(&container), container.bundle.dir.join("pid"));
    let exec = |flags: &[&str], script: &str| {
        let flags =
            [&["--detach", "--result", file.to_str().unwrap(), "--pid-file", pid_file.to_str().unwrap()], flags];
        let _ = fs::remove_file(&file);
        container.exec_with(&flags.concat(), &["/bin/sh", "-c", script])
    };
    exec(&[], "exit 6").ok();
    host::wait_until(|| file.exists());
    assert_eq!((&result(&container)["ended"], &result(&container)["exitCode"]), (&json!("exited"), &json!(6)));
    let output = exec(&["--timeout", "2s", "--output-limit", "1k"], "echo hello; sleep 1000").ok();
    host::wait_until(|| file.exists());
    assert_eq!(result(&container)["ended"], json!("timeout"));
    assert_eq!((output.stdout().as_str(), &result(&container)["outputBytes"]), ("hello\n", &json!(6)));
    exec(&[], "sleep 1000").ok();
    let pid: i32 = fs::read_to_string(&pid_file).unwrap().parse().unwrap();
    drop(kill_hard(pid));
    host::wait_until(|| file.exists());
    assert_eq!((&result(&container)["ended"], &result(&container)["signal"]), (&json!("signaled"), &json!("SIGKILL")));
    exec(&["--exit-codes"], "exit 1").ok();
    let failed = container.exec_with(&["--detach", "--result", file.to_str().unwrap()], &["/bin/nothing"]);
    failed.exits(255);
    assert_eq!(result(&container)["ended"], json!("runtime-error"));
    assert_eq!(container.status(), "running");
    container.delete_force().ok();
    host::wait_until(|| container.leftovers().is_empty());
}

/// What is asked for is asked for again: it is the command's, not the container's.
#[test]
fn a_restarted_container_has_a_monitor_too() {
    if brisk_only(ONLY) {
        return;
    }
    let container = Bundle::sh("echo ready; sleep 1000").container();
    begin(&container, &["--timeout", "100ms"]).ok();
    assert_eq!(wait(&container), "137");
    let file = file_of(&container);
    let limits = ["--timeout", "2s", "--grace", "0", "--output-limit", "1k", "--cpu-time", "10s", "--die-with-parent"];
    // The caller has to live for as long.
    let flags = [&["restart", "--result", file.to_str().unwrap()], &limits[..], &[&container.id]].concat();
    let command = container.command(&flags);
    fs::remove_file(&file).unwrap();
    let caller = process::start(process::in_shell("\"$@\" && exec sleep 1000", &command), Stdio::null());
    host::wait_until(|| file.exists());
    let told = result(&container);
    assert_eq!((&told["ended"], &told["outputBytes"]), (&json!("timeout"), &json!(6)), "{told}");
    drop(kill_hard(caller.pid()));
    drop(caller.wait());
    container.delete().ok();
    container.assert_nothing_left();
}

#[test]
fn an_ordinary_user_has_a_monitor_too() {
    if brisk_only(ONLY) || rootless::not_here() {
        return;
    }
    let container = rootless::bundle(&["/bin/sh", "-c", "echo x > /file; sleep 0.1; exit 6"]).container();
    container.bundle.write();
    let (file, dir) = (file_of(&container), container.bundle.dir.to_str().unwrap().to_owned());
    let flags = ["run", "--detach", "--overlay", "tmpfs", "--bundle", &dir, "--result", file.to_str().unwrap()];
    process::run(rootless::as_user(&container, &[&flags[..], &[&container.id]].concat())).ok();
    let waited = process::run(rootless::as_user(&container, &["wait", &container.id]));
    assert_eq!(waited.ok().stdout(), "6\n");
    let told = result(&container);
    assert_eq!((&told["ended"], &told["exitCode"]), (&json!("exited"), &json!(6)));
    assert!(told["overlay"]["bytes"].as_u64().unwrap() >= 4096, "{told}");
    process::run(rootless::as_user(&container, &["delete", &container.id])).ok();
    container.assert_nothing_left();
}

/// The container knows its end before the result is written, which may take long; `wait` tells it afterwards.
#[test]
fn the_end_is_told_after_the_result() {
    if brisk_only(ONLY) {
        return;
    }
    let container = Bundle::idle().container();
    container.bundle.write();
    // Nothing more fits into the pipe.
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    let room = usize::try_from(fcntl(&writer, FcntlArg::F_GETPIPE_SZ).unwrap()).unwrap();
    writer.write_all(&vec![b' '; room]).unwrap();
    let dir = container.bundle.dir.to_str().unwrap().to_owned();
    let flags = ["run", "--detach", "--timeout", "1ms", "--result", "fd:1", "--bundle", &dir, &container.id];
    let mut command = container.command(&flags);
    command.stdin(Stdio::null()).stdout(writer);
    assert!(command.status().unwrap().success());
    drop(command);
    host::wait_until(|| !record(&container)["outcome"].is_null());
    container.call(&["wait", "--timeout", "50ms", &container.id]).exits(124);
    let mut told = String::new();
    reader.read_to_string(&mut told).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&told).unwrap()["ended"], json!("timeout"));
    assert_eq!(wait(&container), "137");
    container.delete().ok();
    container.assert_nothing_left();
}

/// A pipe that takes nothing more.
fn full_pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    let size = nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_GETPIPE_SZ).unwrap();
    std::io::Write::write_all(&mut &writer, &vec![0; size.unsigned_abs() as usize]).unwrap();
    (reader, writer)
}

/// Whoever does not read what the program has written keeps nobody: not the monitor, and not a command that has a limit.
#[test]
fn a_reader_that_does_not_read() {
    if brisk_only(ONLY) {
        return;
    }
    // Nor one that does not read the result. It waits while the others do.
    let unread = Bundle::sh("exit 6").container();
    unread.bundle.write();
    let (reader, writer) = full_pipe();
    let run = unread.command(&["run", "--result", "fd:9", "--bundle", unread.bundle.dir.to_str().unwrap(), &unread.id]);
    let unread_result = process::start(process::in_shell("exec \"$@\" 9<&0", &run), writer.into());
    for detach in [&["--detach"][..], &[]] {
        let container = Bundle::sh("yes").container();
        container.bundle.write();
        let (dir, file) = (container.bundle.dir.to_str().unwrap().to_owned(), file_of(&container));
        let log = container.bundle.dir.join("log");
        let limits = ["--output-limit", "1m", "--timeout", "1s", "--result", file.to_str().unwrap()];
        let all = [&["--log", log.to_str().unwrap(), "run"], detach, &limits, &["--bundle", &dir, &container.id]];
        let mut command = container.command(&all.concat());
        let (reader, writer) = std::io::pipe().unwrap();
        // One and the same for both: a warning would not be read either.
        command.stdin(Stdio::null()).stdout(writer.try_clone().unwrap()).stderr(writer);
        let mut child = command.spawn().unwrap();
        drop(command);
        let pidfd = pidfd_open(i32::try_from(child.id()).unwrap()).unwrap();
        ends(&pidfd, "the command");
        let status = child.wait().unwrap().code();
        if detach.is_empty() {
            assert_eq!(status, Some(137));
        } else {
            assert_eq!((status, wait(&container).as_str()), (Some(0), "137"));
            assert_eq!(container.state()["reason"], json!("timeout"));
        }
        assert_eq!(result(&container)["ended"], json!("timeout"));
        let said = fs::read_to_string(&log).unwrap();
        assert!(said.contains("the rest of it is lost"), "{said}");
        drop(reader);
        container.delete_force().ok();
        container.assert_nothing_left();
    }
    let told = unread_result.wait().exits(6).stderr();
    assert!(told.contains("write the result of the job: nobody read it for 3 s"), "{told}");
    drop(reader);
}

/// What the kernel has said of the program stands, whatever goes wrong with what brisk keeps of it.
#[test]
fn an_error_of_brisks_own_does_not_hide_how_it_ended() {
    if brisk_only(ONLY) {
        return;
    }
    for flag in ["--detach", "--keep"] {
        let (bundle, wake) = woken("exit 5");
        let container = bundle.container();
        let (file, log) = (file_of(&container), container.bundle.dir.join("log"));
        let dir = container.bundle.dir.to_str().unwrap().to_owned();
        container.bundle.write();
        let flags = ["run", flag, "--bundle", &dir, "--result", file.to_str().unwrap(), &container.id];
        let all = [&["--log", log.to_str().unwrap()], &flags[..]].concat();
        let running = process::start(container.command(&all), Stdio::null());
        // The command of a program in the background may end before the program has said it.
        host::wait_until(|| running.stdout().contains("ready"));
        let (init, of_monitor) = (pidfd_open(container.pid()).unwrap(), pidfd_open(attendant(&container)).unwrap());
        let state = container.record_file();
        let record = fs::read(&state).unwrap();
        fs::write(&state, "no record").unwrap();
        fs::write(&wake, "\n").unwrap();
        ends(&init, "the program");
        ends(&of_monitor, "who waits for it");
        running.wait().exits(if flag == "--keep" { 5 } else { 0 });
        let told = result(&container);
        assert_eq!((&told["ended"], &told["exitCode"], &told["error"]), (&json!("exited"), &json!(5), &Value::Null));
        assert!(fs::read_to_string(&log).unwrap().contains("state.json"), "{flag}: nobody is warned");
        fs::write(&state, record).unwrap();
        container.delete_force().ok();
        container.assert_nothing_left();
    }
}

/// Whoever waits is told what the kernel says, whether or not it can be kept with the container.
#[test]
fn a_status_that_cannot_be_kept_is_told() {
    if brisk_only(ONLY) {
        return;
    }
    let (bundle, wake) = woken("exit 5");
    let container = bundle.container();
    container.run_with(&["--detach"]).ok();
    let waiter = process::start(container.command(&["wait", &container.id]), Stdio::null());
    host::wait_until(|| holds_pidfd(waiter.pid(), container.pid()));
    let state = container.record_file();
    let record = fs::read(&state).unwrap();
    fs::write(&state, "no record").unwrap();
    fs::write(&wake, "\n").unwrap();
    let told = waiter.wait();
    if told.code == 0 {
        assert_eq!(told.stdout(), "5\n");
        assert!(told.stderr().contains("state.json"), "{told:?}");
    } else {
        assert!(told.stderr().contains("how is not known"), "{told:?}");
    }
    fs::write(&state, record).unwrap();
    container.delete_force().ok();
    container.assert_nothing_left();
}

/// A program that has closed its output is not waited for by who reads it.
#[test]
fn an_output_that_the_program_closes_is_closed() {
    if brisk_only(ONLY) {
        return;
    }
    let container = Bundle::sh("echo hello; exec >/dev/null 2>&1; sleep 1000").container();
    container.bundle.write();
    let dir = container.bundle.dir.to_str().unwrap().to_owned();
    let flags = ["run", "--detach", "--output-limit", "1m", "--bundle", &dir, &container.id];
    let mut command = container.command(&flags);
    let output = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"hello\n"[..]));
    assert_eq!(container.status(), "running");
    container.delete_force().ok();
    container.assert_nothing_left();
}

/// The time of a program begins before its first instruction.
#[test]
fn a_program_starts_no_earlier_than_is_told() {
    if brisk_only(ONLY) {
        return;
    }
    for how in ["--detach", "--keep", "create"] {
        for _ in 0..5 {
            let container = Bundle::probe(&["clock:"]).container();
            let file = file_of(&container);
            let output = match how {
                "create" => {
                    let output = container.create_with(&["--result", file.to_str().unwrap()]).ok();
                    container.start().ok();
                    output
                }
                _ => container.run_with(&[how, "--result", file.to_str().unwrap()]).ok(),
            };
            wait(&container);
            let began: Value = serde_json::from_str(&output.stdout()).unwrap();
            let told = result(&container);
            let (began, started) = (began["clock:"].as_u64().unwrap(), told["startedMonotonicNs"].as_u64().unwrap());
            assert!(started <= began, "{how}: {} us late", (started - began) / 1000);
            container.delete().ok();
        }
    }
}
