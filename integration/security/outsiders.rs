//! Somebody outside who does not answer: a unix socket whose backlog is full. Whatever is sent there has an end, and until
//! then the container is not called created, and goes by `delete --force`.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket};
use serde_json::{Value, json};

use crate::common::process::{self, Running, pidfd_open, wait_readable};
use crate::common::{Bundle, Container, host, skip_on};

/// What anything may take that waits for an outsider.
const BOUND: Duration = Duration::from_secs(20);
/// What `delete --force` may take: killing and reaping, not waiting.
const DELETE: Duration = Duration::from_secs(12);

/// A socket that takes no more connections.
struct Deaf {
    path: PathBuf,
    _held: Vec<OwnedFd>,
}

impl Deaf {
    fn new(dir: &Path) -> Self {
        let path = dir.join("deaf.sock");
        let address = UnixAddr::new(&path).unwrap();
        let make = |flags| socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC | flags, None).unwrap();
        let listener = make(SockFlag::empty());
        bind(listener.as_raw_fd(), &address).unwrap();
        listen(&listener, Backlog::new(0).unwrap()).unwrap();
        let mut held = vec![listener];
        loop {
            let client = make(SockFlag::SOCK_NONBLOCK);
            match connect(client.as_raw_fd(), &address) {
                Ok(()) => held.push(client),
                Err(Errno::EAGAIN) => break,
                Err(errno) => panic!("connect: {errno}"),
            }
        }
        Deaf { path, _held: held }
    }

    fn text(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

/// What names the socket, the container, the socket, arguments, environment.
type Way = (&'static str, Container, Deaf, Vec<String>, Vec<(&'static str, String)>);

/// The ways to name a socket to `create`.
fn ways() -> Vec<Way> {
    let notify = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
        "syscalls": [{ "names": ["mkdirat", "mkdir"], "action": "SCMP_ACT_NOTIFY" }],
    });
    let mut all = Vec::new();
    for what in
        ["--pidfd-socket", "--console-socket", "RUN_OCI_PIDFD_RECEIVER", "RUN_OCI_SECCOMP_RECEIVER", "listenerPath"]
    {
        let mut bundle = Bundle::idle();
        let deaf = Deaf::new(&bundle.dir);
        let (mut args, mut environment) = (Vec::new(), Vec::new());
        match what {
            "--console-socket" => bundle = bundle.set("/process/terminal", json!(true)),
            "listenerPath" | "RUN_OCI_SECCOMP_RECEIVER" => bundle = bundle.set("/linux/seccomp", notify.clone()),
            _ => {}
        }
        match what {
            "listenerPath" => bundle = bundle.set("/linux/seccomp/listenerPath", json!(deaf.text())),
            flag if flag.starts_with("--") => args = vec![flag.to_owned(), deaf.text().to_owned()],
            name => environment = vec![(name, deaf.text().to_owned())],
        }
        all.push((what, bundle.container(), deaf, args, environment));
    }
    all
}

fn begin(container: &Container, verb: &str, args: &[String], environment: &[(&'static str, String)]) -> Running {
    let mut all = vec![verb, "--bundle", container.bundle.dir.to_str().unwrap()];
    all.extend(args.iter().map(String::as_str));
    all.push(&container.id);
    let mut command = container.command(&all);
    command.envs(environment.iter().cloned());
    process::start(command, Stdio::null())
}

fn kill(running: &Running) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(running.pid()), nix::sys::signal::SIGKILL).unwrap();
}

#[track_caller]
fn ends(running: Running, limit: Duration, what: &str) -> process::Output {
    let pidfd = pidfd_open(running.pid()).unwrap();
    if !wait_readable(pidfd.as_fd(), limit) {
        kill(&running);
        running.wait();
        panic!("{what} never ends");
    }
    running.wait()
}

fn call(container: &Container, args: &[&str]) -> Running {
    let command: Command = container.command(args);
    process::start(command, Stdio::null())
}

#[test]
fn create_ends_where_nobody_answers() {
    if skip_on(&["runc", "crun"], "wait for ever") {
        return;
    }
    let begun: Vec<_> = ways()
        .into_iter()
        .map(|(what, container, deaf, args, environment)| {
            let running = begin(&container, "create", &args, &environment);
            (what, container, deaf, running)
        })
        .collect();
    let mut stuck = Vec::new();
    let mut ended = Vec::new();
    for (what, container, deaf, running) in begun {
        let pidfd = pidfd_open(running.pid()).unwrap();
        if !wait_readable(pidfd.as_fd(), BOUND) {
            kill(&running);
            stuck.push(what);
        }
        ended.push((what, container, deaf, running.wait()));
    }
    assert!(stuck.is_empty(), "create never ends with a deaf {stuck:?}");
    for (_, container, _deaf, output) in ended {
        output.fails();
        container.assert_nothing_left();
    }
}

/// While it hangs, for as long as it may.
#[test]
fn delete_by_force_wins_while_create_hangs() {
    if skip_on(&["runc", "crun"], "have no lock to wait for") {
        return;
    }
    for (what, container, _deaf, args, environment) in ways() {
        let create = begin(&container, "create", &args, &environment);
        let state = container.record_file();
        // A console is asked for before there is anything.
        let there = what != "--console-socket";
        if there {
            host::wait_until(|| state.exists());
        }
        // It hangs as soon as its process is there; `state` may say so, but not that it is done.
        let began = std::time::Instant::now();
        let mut early = None;
        while there && began.elapsed() < Duration::from_millis(500) {
            let known = call(&container, &["state", &container.id]).wait();
            let pidfd = pidfd_open(create.pid()).unwrap();
            if known.code == 0 && !wait_readable(pidfd.as_fd(), Duration::ZERO) {
                early = early.or_else(|| Some(known.json()).filter(|state: &Value| state["status"] == "created"));
            }
        }
        let delete = call(&container, &["delete", "--force", &container.id]);
        let pidfd = pidfd_open(delete.pid()).unwrap();
        let won = wait_readable(pidfd.as_fd(), DELETE);
        if !won || early.is_some() {
            for running in [&create, &delete] {
                kill(running);
            }
        }
        let output = delete.wait();
        assert!(won, "delete --force never ends while create hangs with {what}");
        assert!(early.is_none(), "{what}: create is not over: {early:?}");
        assert_eq!(output.code, 0, "{what}: {output:?}");
        ends(create, BOUND, &format!("create with a deaf {what}"));
        container.assert_nothing_left();
    }
}

#[test]
fn exec_ends_where_nobody_answers() {
    if skip_on(&["runc", "crun"], "wait for ever") {
        return;
    }
    let container = Bundle::idle().container();
    container.up();
    let deaf = Deaf::new(&container.bundle.dir);
    let id = &container.id;
    let ways: [&[&str]; 2] = [
        &["exec", "--detach", "--pidfd-socket", deaf.text(), id, "/bin/true"],
        &["exec", "--detach", "--tty", "--console-socket", deaf.text(), id, "/bin/true"],
    ];
    let running = ways.map(|args| call(&container, args));
    // And nobody else has to wait meanwhile.
    ends(call(&container, &["kill", id, "0"]), DELETE, "kill while they hang");
    for (running, args) in running.into_iter().zip(ways) {
        ends(running, BOUND, &format!("{args:?}")).fails();
    }
}

/// A supervisor that takes no more messages.
#[test]
fn a_deaf_supervisor_does_not_keep_start() {
    if skip_on(&["runc", "crun"], "another way of waiting") {
        return;
    }
    let bundle = Bundle::sh("exec /probe pause");
    let path = bundle.dir.join("notify.sock");
    let supervisor = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    let filler = std::os::unix::net::UnixDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    while filler.send_to(&[b'x'; 4096], &path).is_ok() {}
    let container = bundle.container();
    let dir = container.bundle.dir.to_str().unwrap();
    let mut command = container.command(&["create", "--bundle", dir, &container.id]);
    command.env("NOTIFY_SOCKET", &path);
    ends(process::start(command, Stdio::null()), BOUND, "create with a deaf supervisor").ok();
    let mut command = container.command(&["start", &container.id]);
    command.env("NOTIFY_SOCKET", &path);
    let start = process::start(command, Stdio::null());
    // The program says that it is ready, from inside.
    let say = "exec 2>&1; test -S $NOTIFY_SOCKET";
    container.exec(&["/bin/sh", "-c", say]);
    let inside = format!("/proc/{}/root/run/notify/notify.sock", container.pid());
    let program = std::os::unix::net::UnixDatagram::unbound().unwrap();
    host::wait_until(|| program.send_to(b"READY=1\n", &inside).is_ok());
    ends(start, BOUND, "start with a deaf supervisor");
    drop(supervisor);
}
