//! What the caller of a foreground `run` or `exec` has as its streams is not the container's to keep: a terminal, a
//! regular file, a directory or a device is relayed through pipes, so the container has neither the object nor a name
//! for it below /proc/self/fd. Owners change of terminals, pipes and sockets only.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use serde_json::{Value, json};

use crate::common::process::{self, pidfd_open, wait_readable};
use crate::common::{Bundle, Container, host, skip_on, time_limit};

/// Runs a command with its streams as they are; its exit status.
#[track_caller]
fn finish(mut command: Command) -> Option<i32> {
    let mut child = command.spawn().unwrap();
    let pidfd = pidfd_open(child.id().cast_signed()).unwrap();
    if !wait_readable(pidfd.as_fd(), time_limit()) {
        child.kill().unwrap();
        child.wait().unwrap();
        panic!("time limit: {command:?}");
    }
    child.wait().unwrap().code()
}

const HANDS_OVER: &str = "hands over the caller's streams";

fn idle() -> Container {
    let container = Bundle::idle().container();
    container.up();
    container
}

/// `exec` and `run`, each of which runs this script in a container of its own. After it the container is gone.
fn each_way(script: &str, user: u32, check: impl Fn(&Container, Command)) {
    let container = idle();
    let user_text = user.to_string();
    check(&container, container.command(&["exec", "--user", &user_text, &container.id, "/bin/sh", "-c", script]));
    let container = Bundle::sh(script).set("/process/user/uid", json!(user)).container();
    let dir = container.bundle.dir.to_str().unwrap().to_owned();
    check(&container, container.command(&["run", "--bundle", &dir, &container.id]));
}

struct Terminal {
    master: File,
    slave: OwnedFd,
}

impl Terminal {
    fn new() -> Self {
        let pty = nix::pty::openpty(None, None).unwrap();
        Terminal { master: pty.master.into(), slave: pty.slave }
    }

    fn stream(&self) -> Stdio {
        self.slave.try_clone().unwrap().into()
    }

    /// A line that was typed, as whoever reads from the terminal gets it; nothing if somebody else got it.
    fn types_and_reads(&self, line: &str) -> String {
        (&self.master).write_all(line.as_bytes()).unwrap();
        let mut text = [0; 256];
        if !wait_readable(self.slave.as_fd(), std::time::Duration::from_secs(2)) {
            return String::new();
        }
        fcntl(&self.slave, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let len = File::from(self.slave.try_clone().unwrap()).read(&mut text).unwrap_or(0);
        String::from_utf8_lossy(&text[..len]).into_owned()
    }
}

/// A process that stays reads what is typed after the command has ended: a password, commands to answer.
#[test]
fn what_is_typed_afterwards_is_the_callers() {
    if skip_on(&["crun"], HANDS_OVER) {
        return;
    }
    let terminal = Terminal::new();
    let container = idle();
    // The file is there before the process that stays, so its absence is never taken for an empty one.
    let script = ": >/stolen; exec 3<&0; (: >/tmp/there; exec cat <&3 >>/stolen 2>/dev/null) & until [ -e /tmp/there ]; do :; done";
    let mut command = container.command(&["exec", &container.id, "/bin/sh", "-c", script]);
    command.stdin(terminal.stream()).stdout(Stdio::null()).stderr(Stdio::null());
    assert_eq!(finish(command), Some(0));
    // Both may be waiting for the line.
    for round in 0..super::rounds(50) {
        let line = terminal.types_and_reads("the password\n");
        let stolen = fs::read_to_string(container.bundle.rootfs().join("stolen")).unwrap();
        assert!(!stolen.contains("password"), "{round}: read by a process that was left behind: {stolen:?}");
        assert_eq!(line, "the password\n", "{round}");
    }
}

/// The descriptors that `exec` and `run` have in the container: links, and whether they are terminals.
fn inside(container: &Container, mut command: Command, stdio: impl Fn() -> [Stdio; 3]) -> Value {
    let [stdin, stdout, stderr] = stdio();
    command.stdin(stdin).stdout(stdout).stderr(stderr);
    assert_eq!(finish(command), Some(0));
    let text = fs::read_to_string(container.bundle.rootfs().join("tmp/seen")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["report"].clone()
}

/// Standard output is needed for the report, so the shell gives the probe another one and keeps the caller's as 3 to 5.
const REPORT: &str = "exec 3<&0 4>&1 5>&2; /probe report > /tmp/seen";

#[track_caller]
fn nothing_but_pipes(report: &Value, what: &str) {
    for number in ["0", "2", "3", "4", "5"] {
        let link = report["fds"][number].as_str().unwrap();
        let harmless = ["pipe:", "socket:", "/dev/null"].iter().any(|kind| link.starts_with(kind));
        assert!(harmless, "{what}: descriptor {number} is {link}");
    }
}

/// The terminal may be any of the three.
#[test]
fn a_terminal_is_not_handed_over() {
    if skip_on(&["crun"], HANDS_OVER) {
        return;
    }
    let terminal = Terminal::new();
    for which in 0..4 {
        each_way(REPORT, 0, |container, command| {
            let report = inside(container, command, || {
                [0, 1, 2].map(|i| if which == 3 || i == which { terminal.stream() } else { Stdio::null() })
            });
            nothing_but_pipes(&report, &format!("terminal on {which}"));
            assert_eq!(report["terminal"][0], false);
        });
    }
}

/// Whoever has a file open for reading only has not allowed it to be written: the container's root opens
/// /proc/self/fd/0 anew.
#[test]
fn a_file_that_is_read_cannot_be_written() {
    if skip_on(&["crun"], HANDS_OVER) {
        return;
    }
    for script in ["echo owned > /proc/self/fd/0", "echo owned >> /dev/stdin", "echo owned 1<>/proc/self/fd/0 >&1"] {
        each_way(&format!("{script}; exit 0"), 0, |container, mut command| {
            let file = container.bundle.dir.join("input");
            fs::write(&file, "of the host").unwrap();
            command.stdin(File::open(&file).unwrap()).stdout(Stdio::null()).stderr(Stdio::null());
            finish(command);
            assert_eq!(fs::read_to_string(&file).unwrap(), "of the host", "{script}");
        });
    }
}

/// And what is written cannot be read: a log of others.
#[test]
fn a_file_that_is_written_cannot_be_read_or_cut() {
    if skip_on(&["crun"], HANDS_OVER) {
        return;
    }
    let script = "cat /proc/self/fd/1 > /tmp/stolen; : > /proc/self/fd/1; echo mine; exit 0";
    each_way(script, 0, |container, mut command| {
        let file = container.bundle.dir.join("log");
        fs::write(&file, "of others\n").unwrap();
        let log = File::options().append(true).open(&file).unwrap();
        command.stdin(Stdio::null()).stdout(log).stderr(Stdio::null());
        finish(command);
        let stolen = fs::read_to_string(container.bundle.rootfs().join("tmp/stolen")).unwrap_or_default();
        assert_eq!(stolen, "", "the log was read");
        assert_eq!(fs::read_to_string(&file).unwrap(), "of others\nmine\n", "the log was cut");
    });
}

/// From a directory everything beside it can be reached.
#[test]
fn a_directory_is_not_handed_over() {
    if skip_on(&["crun"], HANDS_OVER) {
        return;
    }
    let script = "cat /proc/self/fd/0/SECRET /proc/self/fd/0/../SECRET > /tmp/stolen; exit 0";
    each_way(script, 0, |container, mut command| {
        super::secret(&container.bundle);
        command.stdin(File::open(&container.bundle.dir).unwrap()).stdout(Stdio::null()).stderr(Stdio::null());
        finish(command);
        let stolen = fs::read_to_string(container.bundle.rootfs().join("tmp/stolen")).unwrap_or_default();
        assert_eq!(stolen, "", "read through a directory of the host");
    });
}

/// The device's own cgroup rules do not count for a descriptor that is open already.
#[test]
fn devices_and_files_are_not_handed_over() {
    if skip_on(&["crun"], HANDS_OVER) {
        return;
    }
    for name in ["/dev/zero", "/dev/full"] {
        each_way(REPORT, 0, |container, command| {
            let open = || File::options().read(true).write(true).open(name).unwrap();
            let report = inside(container, command, || [open().into(), open().into(), open().into()]);
            nothing_but_pipes(&report, name);
        });
    }
    each_way(REPORT, 0, |container, command| {
        let open = || {
            let file = container.bundle.dir.join("stream");
            Stdio::from(File::options().read(true).write(true).create(true).truncate(true).open(file).unwrap())
        };
        let report = inside(container, command, || [open(), open(), open()]);
        nothing_but_pipes(&report, "a file");
    });
}

fn device(dir: &Path) -> std::path::PathBuf {
    let path = dir.join("device");
    let node = nix::sys::stat::SFlag::S_IFCHR;
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
    nix::sys::stat::mknod(&path, node, mode, libc::makedev(1, 5)).unwrap();
    path
}

/// The owner of a stream's file is what protects it: a root-owned file with mode 0600, a device node.
#[test]
fn files_and_devices_keep_their_owner() {
    if skip_on(&["crun"], HANDS_OVER) {
        return;
    }
    each_way("exit 0", 1000, |container, mut command| {
        let dir = &container.bundle.dir;
        let (file, device) = (dir.join("secret"), device(dir));
        fs::write(&file, "of root").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let log = File::options().append(true).open(&file).unwrap();
        let node = File::options().read(true).write(true).open(&device).unwrap();
        command.stdin(File::open(&file).unwrap()).stdout(log).stderr(node);
        assert_eq!(finish(command), Some(0));
        for path in [&file, &device] {
            assert_eq!(fs::metadata(path).unwrap().uid(), 0, "{} was given away", path.display());
        }
    });
}

/// In the background there is nobody to relay: the streams are handed over, but their owners stay.
#[test]
fn files_and_devices_keep_their_owner_in_the_background() {
    if skip_on(&["runc", "crun"], "give away every stream but /dev/null") {
        return;
    }
    let container = Bundle::idle().set("/process/user/uid", json!(1000)).container();
    let dir = container.bundle.dir.to_str().unwrap().to_owned();
    let path = container.bundle.dir.join("secret");
    fs::write(&path, "of root").unwrap();
    let node = device(&container.bundle.dir);
    let streams = |command: &mut Command| {
        command.stdin(File::open(&path).unwrap()).stdout(File::options().append(true).open(&path).unwrap());
        command.stderr(File::options().write(true).open(&node).unwrap());
    };
    let mut command = container.command(&["create", "--bundle", &dir, &container.id]);
    streams(&mut command);
    assert_eq!(finish(command), Some(0));
    container.start().ok();
    let mut command = container.command(&["exec", "--detach", "--user", "1000", &container.id, "/bin/true"]);
    streams(&mut command);
    assert_eq!(finish(command), Some(0));
    for path in [&path, &node] {
        assert_eq!(fs::metadata(path).unwrap().uid(), 0, "{} was given away", path.display());
    }
}

/// What has to go on working: bytes as they are, the end of input, and output after it.
#[test]
fn a_relayed_file_arrives_byte_by_byte() {
    each_way("cat; echo end", 0, |container, mut command| {
        let (from, to) = (container.bundle.dir.join("from"), container.bundle.dir.join("to"));
        let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        fs::write(&from, &bytes).unwrap();
        command.stdin(File::open(&from).unwrap()).stdout(File::create_new(&to).unwrap()).stderr(Stdio::null());
        assert_eq!(finish(command), Some(0));
        let mut wanted = bytes;
        wanted.extend(b"end\n");
        assert!(fs::read(&to).unwrap() == wanted, "other bytes arrived");
    });
}

/// A reader that goes away ends the program, relayed or not.
#[test]
fn a_reader_that_goes_away_ends_the_program() {
    for args in ["", "-t"] {
        let container = idle();
        let exec = process::line(&container.command(&["exec"]));
        let script = format!("{exec} {args} {} /bin/busybox yes | head -n 1", container.id);
        let mut command = Command::new("sh");
        command.args(["-c", &script]);
        let terminal = Terminal::new();
        command.stdin(terminal.stream()).stdout(Stdio::null()).stderr(Stdio::null());
        let running = command.spawn().unwrap();
        let pidfd = pidfd_open(running.id().cast_signed()).unwrap();
        let ended = wait_readable(pidfd.as_fd(), std::time::Duration::from_secs(10));
        let mut running = running;
        if !ended {
            container.delete_force();
        }
        running.wait().unwrap();
        assert!(ended, "exec {args} goes on writing to nobody");
        host::wait_until(|| process::run(container.command(&["ps", &container.id])).stdout().lines().count() <= 2);
    }
}
