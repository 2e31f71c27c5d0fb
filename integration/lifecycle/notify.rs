//! NOTIFY_SOCKET (sd_notify(3)): a container that tells its readiness to our supervisor.

use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Stdio;

use crate::common::process::{self, Running, wait_readable};
use crate::common::{Bundle, Container, brisk_only, host, time_limit};

/// The supervisor, a container, and the container's socket as the host sees it.
struct Fixture {
    supervisor: UnixDatagram,
    path: PathBuf,
    container: Container,
    inside: PathBuf,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture::of(|bundle| bundle)
    }

    fn of(change: impl Fn(Bundle) -> Bundle) -> Fixture {
        let bundle = change(Bundle::sh("test -S $NOTIFY_SOCKET && echo $NOTIFY_SOCKET > /tmp/seen; exec sleep 1000"));
        let path = bundle.dir.join("supervisor.sock");
        let supervisor = UnixDatagram::bind(&path).unwrap();
        let inside = bundle.state_root().join(&bundle.id).join("notify/notify.sock");
        Fixture { supervisor, path, container: bundle.container(), inside }
    }

    /// Where the words that are passed on, and the place in the container, are brisk's own.
    fn of_brisk() -> Option<Fixture> {
        (!brisk_only("the words passed on and the place in the container differ")).then(Fixture::new)
    }

    fn create_and_start(&self) -> Running {
        let dir = self.container.bundle.dir.to_str().unwrap();
        self.begin(&["create", "--bundle", dir, &self.container.id]).wait().ok();
        self.begin(&["start", &self.container.id])
    }

    fn begin(&self, args: &[&str]) -> Running {
        let mut command = self.container.command(args);
        command.env("NOTIFY_SOCKET", &self.path);
        process::start(command, Stdio::null())
    }

    /// What the supervisor hears after the container has said this.
    fn say(&self, text: &str) -> String {
        let socket = UnixDatagram::unbound().unwrap();
        host::wait_until(|| socket.send_to(text.as_bytes(), &self.inside).is_ok());
        self.heard()
    }

    /// What the supervisor hears next; it does not take the descriptor of a barrier, which is gone with that.
    fn heard(&self) -> String {
        assert!(wait_readable(self.supervisor.as_fd(), time_limit()), "nobody told the supervisor");
        let mut text = [0; 256];
        let len = self.supervisor.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..len]).into_owned()
    }

    fn seen(&self) -> String {
        let path = self.container.bundle.rootfs().join("tmp/seen");
        host::wait_until(|| std::fs::read_to_string(&path).is_ok_and(|text| text.ends_with('\n')));
        std::fs::read_to_string(&path).unwrap()
    }
}

#[test]
fn start_waits_until_the_program_is_ready() {
    let Some(fixture) = Fixture::of_brisk() else { return };
    let start = fixture.create_and_start();
    assert_eq!(fixture.seen(), "/run/notify/notify.sock\n");
    let told = fixture.say("STATUS=ready soon\nREADY=1\nMAINPID=1");
    assert_eq!(told, format!("READY=1\nMAINPID={}", fixture.container.pid()));
    // `start` stays until the supervisor has read that, and can tell whose words they were.
    assert_eq!(fixture.heard(), "BARRIER=1");
    start.wait().ok();
    fixture.container.delete_force().ok();
    assert!(!fixture.inside.exists());
}

#[test]
fn the_program_of_a_template_has_the_socket() {
    if brisk_only("templates") {
        return;
    }
    let fixture = Fixture::new();
    let dir = fixture.container.bundle.dir.to_str().unwrap().to_owned();
    fixture.begin(&["create", "--template", "--bundle", &dir, &fixture.container.id]).wait().ok();
    let script = "test -S $NOTIFY_SOCKET && echo $NOTIFY_SOCKET > /tmp/seen; exec sleep 1000";
    let start = fixture.begin(&["start", &fixture.container.id, "--", "/bin/sh", "-c", script]);
    assert_eq!(fixture.seen(), "/run/notify/notify.sock\n");
    assert_eq!(fixture.say("READY=1"), format!("READY=1\nMAINPID={}", fixture.container.pid()));
    assert_eq!(fixture.heard(), "BARRIER=1");
    start.wait().ok();
}

#[test]
fn start_ends_with_a_program_that_is_never_ready() {
    let Some(fixture) = Fixture::of_brisk() else { return };
    let start = fixture.create_and_start();
    fixture.seen();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(fixture.container.pid()), nix::sys::signal::Signal::SIGKILL)
        .unwrap();
    start.wait().ok();
}

#[test]
fn run_in_the_foreground_passes_it_on() {
    let Some(fixture) = Fixture::of_brisk() else { return };
    let dir = fixture.container.bundle.dir.to_str().unwrap().to_owned();
    let run = fixture.begin(&["run", "--bundle", &dir, &fixture.container.id]);
    fixture.seen();
    assert_eq!(fixture.say("READY=1"), "READY=1");
    fixture.container.kill("KILL").ok();
    run.wait().exits(137);
}

/// A variable that somebody has inherited, of a supervisor that is gone.
#[test]
fn a_supervisor_that_is_gone_ends_no_program() {
    if brisk_only("the words passed on and the place in the container differ") {
        return;
    }
    for flags in [&[][..], &["--detach"]] {
        let mut fixture = Fixture::new();
        fixture.supervisor = UnixDatagram::unbound().unwrap();
        std::fs::remove_file(&fixture.path).unwrap();
        let dir = fixture.container.bundle.dir.to_str().unwrap().to_owned();
        let log = fixture.container.bundle.dir.join("log");
        let head = ["--log", log.to_str().unwrap(), "run", "--bundle", &dir];
        let run = fixture.begin(&[&head[..], flags, &[&fixture.container.id]].concat());
        fixture.seen();
        let socket = UnixDatagram::unbound().unwrap();
        socket.send_to(b"READY=1", &fixture.inside).unwrap();
        let told = || std::fs::read_to_string(&log).unwrap().contains("tell NOTIFY_SOCKET");
        if flags.is_empty() {
            host::wait_until(told);
            assert_eq!(fixture.container.status(), "running");
            fixture.container.kill("KILL").ok();
            run.wait().exits(137);
        } else {
            run.wait().ok();
            assert!(told());
            assert_eq!(fixture.container.status(), "running");
        }
    }
}

#[test]
fn a_container_of_a_user_namespace_gets_its_socket_too() {
    if brisk_only("the words passed on and the place in the container differ") {
        return;
    }
    let fixture = Fixture::of(Bundle::userns);
    let dir = fixture.container.bundle.dir.to_str().unwrap().to_owned();
    let run = fixture.begin(&["run", "--bundle", &dir, &fixture.container.id]);
    assert_eq!(fixture.say("READY=1"), "READY=1");
    fixture.container.kill("KILL").ok();
    run.wait().exits(137);
}

#[test]
fn without_a_supervisor_there_is_no_socket() {
    let container = Bundle::sh("echo [$NOTIFY_SOCKET]; ls /run").container();
    let out = container.run().ok().stdout();
    assert_eq!(out, "[]\n");
}
