//! Terminals: the console socket, sizes, /dev/console.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;

use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use nix::unistd::Pid;
use serde_json::json;

use crate::common::process::{Output, wait_readable};
use crate::common::{Bundle, Container, brisk_only, host, process, skip_on, time_limit};
use crate::prepared::pools;
use crate::spec::annotations::receive_file;

/// Listens where `--console-socket` will point.
struct ConsoleSocket {
    listener: UnixListener,
    path: String,
}

impl ConsoleSocket {
    fn new(container: &Container) -> Self {
        let path = container.bundle.dir.join("console.sock");
        let listener = UnixListener::bind(&path).unwrap();
        ConsoleSocket { listener, path: path.to_str().unwrap().to_string() }
    }

    /// Somebody connects, and sends nothing.
    fn hangs_up(&self) {
        assert!(wait_readable(self.listener.as_fd(), time_limit()), "nobody connects to the console socket");
        let (mut stream, _) = self.listener.accept().unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "something is sent");
    }

    /// Receives the master side of the terminal.
    fn receive(&self) -> std::fs::File {
        receive_file(&self.listener).1
    }
}

/// Reads from a terminal until `word` was seen or the other side is closed.
fn read_until(master: &mut std::fs::File, word: &str) -> String {
    let mut text = String::new();
    while !text.contains(word) {
        assert!(wait_or_hang_up(master), "time limit, so far: {text}");
        let mut buffer = [0; 65536];
        match master.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => text.push_str(&String::from_utf8_lossy(&buffer[..n])),
            // EIO: no one has the slave side open.
            Err(_) => break,
        }
    }
    text
}

fn wait_or_hang_up(master: &std::fs::File) -> bool {
    wait_readable(master.as_fd(), time_limit())
}

fn created(bundle: Bundle) -> (Container, std::fs::File) {
    let container = bundle.set("/process/terminal", json!(true)).container();
    let socket = ConsoleSocket::new(&container);
    container.create_with(&["--console-socket", &socket.path]).ok();
    let master = socket.receive();
    (container, master)
}

#[test]
fn the_master_is_sent_over_the_console_socket() {
    let (container, mut master) = created(Bundle::sh("test -t 0 && test -t 1 && test -t 2 && echo a terminal; exit 0"));
    container.start().ok();
    let text = read_until(&mut master, "terminal\r\n");
    assert!(text.contains("a terminal\r\n"), "{text}");
}

#[test]
fn a_restarted_container_has_another_terminal() {
    if brisk_only("no other runtime starts a container again") {
        return;
    }
    let (container, mut master) = created(Bundle::sh("test -t 0 && echo a terminal; exit 0"));
    container.start().ok();
    read_until(&mut master, "terminal\r\n");
    host::wait_until(|| container.status() == "stopped");
    let said = container.call(&["restart", &container.id]).fails();
    assert!(said.contains("console"), "{said}");
    assert_eq!(container.status(), "stopped");
    std::fs::remove_file(container.bundle.dir.join("console.sock")).unwrap();
    let socket = ConsoleSocket::new(&container);
    container.call(&["restart", "--console-socket", &socket.path, &container.id]).ok();
    let text = read_until(&mut socket.receive(), "terminal\r\n");
    assert!(text.contains("a terminal"), "{text}");
}

#[test]
fn a_template_has_its_terminal_from_start() {
    if brisk_only("templates") {
        return;
    }
    let container = Bundle::idle().set("/process/consoleSize", json!({ "height": 12, "width": 34 })).container();
    container.create_with(&["--template"]).ok();
    let said = container.call(&["start", "--tty", &container.id]).fails();
    assert!(said.contains("console"), "{said}");
    let socket = ConsoleSocket::new(&container);
    // It is the last that can fail, so nothing of one program's is the next one's.
    let args = ["start", "--tty", "--console-socket", &socket.path, &container.id, "--", "/not/there"];
    container.call(&args).fails();
    let mounts = container.mountinfo();
    assert!(!mounts.contains(" /dev/console "), "{mounts}");
    socket.hangs_up();
    let script = "test -t 0 && test -t 1 && test -t 2 && test -c /dev/console && read line </dev/tty && echo got $line";
    let args = ["start", "--tty", "--console-socket", &socket.path, &container.id, "--", "/bin/sh", "-c", script];
    container.call(&args).ok();
    let mut master = socket.receive();
    master.write_all(b"hello\n").unwrap();
    let text = read_until(&mut master, "got hello");
    assert!(text.contains("got hello"), "{text}");
}

/// Of a member, and of a container that is made for want of one.
#[test]
fn a_program_of_a_pool_sends_its_terminal() {
    if brisk_only("pools") {
        return;
    }
    let pool = pools::pool(pools::bundle(), "1");
    let socket = ConsoleSocket::new(&pool.0);
    for _ in 0..2 {
        let flags = ["run", "--pool", &pool.0.id, "--detach", "--tty", "--console-socket", &socket.path, "shown"];
        pool.0.call(&[&flags[..], &["--", "/bin/sh", "-c", "test -t 0 && echo a terminal"]].concat()).ok();
        let text = read_until(&mut socket.receive(), "terminal\r\n");
        assert!(text.contains("a terminal\r\n"), "{text}");
        pool.0.call(&["delete", "--force", "shown"]).ok();
    }
}

#[test]
fn the_program_reads_from_the_terminal() {
    let (container, mut master) = created(Bundle::sh("read line; echo got $line"));
    container.start().ok();
    master.write_all(b"hello\n").unwrap();
    let text = read_until(&mut master, "got hello");
    assert!(text.contains("got hello"), "{text}");
}

#[test]
fn the_terminal_controls_the_session() {
    let (container, mut master) =
        created(Bundle::sh("cat /proc/self/stat | cut -d' ' -f7 > /tmp/tty; cat /dev/tty & echo done; exit 0"));
    container.start().ok();
    read_until(&mut master, "done");
    host::wait_until(|| container.status() == "stopped");
    let tty = std::fs::read_to_string(container.bundle.rootfs().join("tmp/tty")).unwrap_or_default();
    // Field 7 of stat is the controlling terminal; busybox without cut leaves the file empty.
    assert_ne!(tty.trim(), "0");
}

#[test]
fn dev_console_is_the_terminal() {
    let (container, mut master) = created(Bundle::sh("echo via console > /dev/console; exit 0"));
    container.start().ok();
    let text = read_until(&mut master, "console\r\n");
    assert!(text.contains("via console\r\n"), "{text}");
}

#[test]
fn the_terminal_belongs_to_the_user() {
    let bundle = Bundle::probe(&["stat:/dev/pts/0", "stat:/dev/console"]).set("/process/user/uid", json!(1000));
    let (container, mut master) = created(bundle);
    container.start().ok();
    let text = read_until(&mut master, "}}");
    let out: serde_json::Value = serde_json::from_str(text.trim()).unwrap_or_else(|e| panic!("{e}: {text}"));
    assert_eq!(out["stat:/dev/pts/0"]["uid"], 1000, "{out}");
    assert_eq!(out["stat:/dev/pts/0"]["type"], "char", "{out}");
    assert_eq!(out["stat:/dev/console"]["type"], "char", "{out}");
}

#[test]
fn the_console_has_the_configured_size() {
    let bundle = Bundle::probe(&["report"]).set("/process/consoleSize", json!({ "height": 31, "width": 117 }));
    let (container, mut master) = created(bundle);
    container.start().ok();
    let text = read_until(&mut master, "\n");
    let out: serde_json::Value = serde_json::from_str(text.trim()).unwrap_or_else(|e| panic!("{e}: {text}"));
    assert_eq!(out["report"]["winsize"], json!({ "height": 31, "width": 117 }));
    assert_eq!(out["report"]["terminal"], json!([true, true, true]));
}

#[test]
fn a_terminal_in_a_user_namespace() {
    let (container, mut master) = created(Bundle::probe(&["stat:/dev/pts/0", "write:/dev/console"]).userns());
    container.start().ok();
    let text = read_until(&mut master, "\n");
    let out: serde_json::Value = serde_json::from_str(text.trim()).unwrap_or_else(|e| panic!("{e}: {text}"));
    assert_eq!(out["stat:/dev/pts/0"]["uid"], 0, "{out}");
    assert_eq!(out["write:/dev/console"], "ok", "{out}");
}

#[test]
fn exec_gets_a_terminal_of_its_own() {
    let container = Bundle::idle().container();
    container.up();
    let socket = ConsoleSocket::new(&container);
    let args = ["--tty", "--detach", "--console-socket", &socket.path];
    let running = {
        let mut all = vec!["exec"];
        all.extend(args);
        all.extend([container.id.as_str(), "/probe", "report"]);
        process::start(container.command(&all), std::process::Stdio::null())
    };
    let mut master = socket.receive();
    running.wait().ok();
    let text = read_until(&mut master, "\n");
    let out: serde_json::Value = serde_json::from_str(text.trim()).unwrap_or_else(|e| panic!("{e}: {text}"));
    assert_eq!(out["report"]["terminal"], json!([true, true, true]));
}

#[test]
fn a_detached_run_sends_its_terminal() {
    let bundle = Bundle::sh("test -t 0 && echo a terminal; exec sleep 1000").set("/process/terminal", json!(true));
    let container = bundle.container();
    let socket = ConsoleSocket::new(&container);
    let dir = container.bundle.dir.to_str().unwrap();
    let args = ["run", "--detach", "--console-socket", &socket.path, "--bundle", dir, &container.id];
    let running = process::start(container.command(&args), std::process::Stdio::null());
    let mut master = socket.receive();
    running.wait().ok();
    let text = read_until(&mut master, "terminal\r\n");
    assert!(text.contains("a terminal\r\n"), "{text}");
}

#[track_caller]
fn refused(bundle: Bundle, flags: &[&str]) {
    let container = bundle.container();
    container.create_with(flags).fails();
    container.assert_nothing_left();
}

#[test]
fn a_terminal_needs_a_console_socket_when_detached() {
    refused(Bundle::idle().set("/process/terminal", json!(true)), &[]);
}

#[test]
fn a_console_socket_without_a_terminal_is_refused() {
    if skip_on(&["crun"], "not checked") {
        return;
    }
    let container = Bundle::idle().container();
    let socket = ConsoleSocket::new(&container);
    container.create_with(&["--console-socket", &socket.path]).fails();
    container.assert_nothing_left();
}

#[test]
fn a_console_socket_nobody_listens_on_fails() {
    let flags = ["--console-socket", "/no/such/socket"];
    refused(Bundle::idle().set("/process/terminal", json!(true)), &flags);
}

/// script(1) gives the runtime a terminal.
fn run_in_a_terminal(container: &Container) -> Output {
    let runtime = container.command(&["run", "--bundle", container.bundle.dir.to_str().unwrap(), &container.id]);
    let mut command = std::process::Command::new("script");
    command.args(["--quiet", "--return", "--command", &process::line(&runtime), "/dev/null"]);
    process::run(command)
}

#[test]
fn run_in_the_foreground_passes_a_terminal_through() {
    let container = Bundle::sh("test -t 0 && test -t 1 && echo in a terminal; exit 5")
        .set("/process/terminal", json!(true))
        .container();
    let output = run_in_a_terminal(&container).exits(5);
    assert!(output.stdout().contains("in a terminal\r\n"), "{output:?}");
    container.assert_nothing_left();
}

#[test]
fn run_in_the_foreground_loses_no_byte_at_the_end() {
    let container = Bundle::sh("i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; echo the end")
        .set("/process/terminal", json!(true))
        .container();
    let text = run_in_a_terminal(&container).ok().stdout();
    assert_eq!(text.matches("line ").count(), 3000);
    assert!(text.contains("the end\r\n"));
}

/// It is another job's then, until this one comes to the foreground.
#[test]
fn run_in_the_background_is_stopped_until_the_terminal_is_its_own() {
    if skip_on(&["runc", "crun"], "crun changes it; when runc is stopped depends on the shell") {
        return;
    }
    let container = Bundle::sh("echo begun; read line; echo got $line; read line; exit 3")
        .set("/process/terminal", json!(true))
        .container();
    let runtime = container.command(&["run", "--bundle", container.bundle.dir.to_str().unwrap(), &container.id]);
    let pty = nix::pty::openpty(None, None).unwrap();
    let before = tcgetattr(&pty.slave).unwrap();
    let script = process::in_shell(
        "set -m; \"$@\" & echo job $!; read line; echo shell $line; fg >/dev/null; \
         echo stopped $?; bg >/dev/null; read line; fg >/dev/null; echo over $?",
        &runtime,
    );
    let mut command = process::under(&["setsid", "--ctty"], &script);
    let end = || pty.slave.try_clone().unwrap();
    let mut shell = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
    let mut master = std::fs::File::from(pty.master);
    let said = read_until(&mut master, "\n");
    let job: i32 = said.split("job ").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap();
    let stopped = || {
        let stat = std::fs::read_to_string(format!("/proc/{job}/stat")).unwrap();
        stat.rsplit(')').next().unwrap().trim_start().starts_with('T')
    };
    host::wait_until(stopped);
    assert_eq!(tcgetattr(&pty.slave).unwrap(), before);
    // What is typed is the shell's, and no end of the program's input.
    master.write_all(b"first\n").unwrap();
    read_until(&mut master, "shell first");
    host::wait_until(|| !tcgetattr(&pty.slave).unwrap().local_flags.contains(LocalFlags::ICANON));
    master.write_all(b"second\r").unwrap();
    read_until(&mut master, "got second");
    // Out of the foreground again, by a signal that it is not told of.
    kill(Pid::from_raw(job), Signal::SIGSTOP).unwrap();
    read_until(&mut master, "stopped ");
    tcsetattr(&pty.slave, SetArg::TCSANOW, &before).unwrap();
    host::wait_until(stopped);
    master.write_all(b"third\n").unwrap();
    host::wait_until(|| !tcgetattr(&pty.slave).unwrap().local_flags.contains(LocalFlags::ICANON));
    master.write_all(b"fourth\r").unwrap();
    read_until(&mut master, "over 3");
    assert!(shell.wait().unwrap().success());
    assert_eq!(tcgetattr(&pty.slave).unwrap(), before);
    container.assert_nothing_left();
}
