//! `top`, in a pseudo-terminal and without one.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command};
use std::time::Instant;

use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{FlowArg, LocalFlags, SetArg, Termios, tcflow, tcgetattr, tcsetattr};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use super::{call, cannot_look, command, only};
use crate::common::process::{self, wait_readable};
use crate::common::{Bundle, Container, host, lacks, time_limit};

/// A program in a terminal.
struct Terminal {
    master: File,
    slave: OwnedFd,
    child: Child,
    /// What it has written so far.
    text: String,
    /// How the terminal was before.
    before: Termios,
}

impl Terminal {
    /// Starts it as the leader of a session that has this terminal.
    fn start(container: &Container, args: &[&str], environment: &[(&str, &str)]) -> Terminal {
        let mut inner = command(container, args);
        inner.envs(environment.iter().copied());
        Terminal::start_command(&inner)
    }

    fn start_command(inner: &Command) -> Terminal {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).unwrap();
        let mut outer = process::under(&["setsid", "--ctty"], inner);
        let end = || pty.slave.try_clone().unwrap();
        let before = tcgetattr(&pty.slave).unwrap();
        let child = outer.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        Terminal { master: pty.master.into(), slave: pty.slave, child, text: String::new(), before }
    }

    /// Reads until that was written; the terminal stays open on our side.
    #[track_caller]
    fn wait_for(&mut self, wanted: impl Fn(&str) -> bool) {
        let end = Instant::now() + time_limit();
        while !wanted(&self.text) {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero() && wait_readable(self.master.as_fd(), left), "time limit, so far: {:?}", self.text);
            let mut buffer = [0; 65536];
            let count = self.master.read(&mut buffer).unwrap();
            self.text.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    }

    fn types(&mut self, keys: &str) {
        self.text.clear();
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    fn resize(&mut self, rows: u16, columns: u16) {
        self.text.clear();
        let (rows, columns) = (rows.to_string(), columns.to_string());
        let mut stty = Command::new("stty");
        stty.args(["rows", &rows, "cols", &columns]).stdin(self.slave.try_clone().unwrap());
        assert!(stty.status().unwrap().success());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Of a test that has failed; it has ended otherwise.
        let _ended = self.child.kill();
    }
}

const ENTERS: &str = "\x1b[?1049h\x1b[?25l";
const LEAVES: &str = "\x1b[?25h\x1b[?1049l";
const XTERM: [(&str, &str); 2] = [("TERM", "xterm"), ("LANG", "C.UTF-8")];

#[test]
fn a_terminal_is_ours_until_we_quit() {
    if cannot_look() {
        return;
    }
    let container = Bundle::idle().container();
    container.create().ok();
    for (keys, signal) in [("q", None), ("\x03", None), ("", Some(Signal::SIGTERM)), ("", Some(Signal::SIGHUP))] {
        let mut top = Terminal::start(&container, &["top", "--interval", "100ms"], &XTERM);
        top.wait_for(|text| text.contains("q quit") && text.contains("1 containers"));
        assert!(top.text.contains(ENTERS), "{:?}", top.text);
        match signal {
            Some(signal) => kill(Pid::from_raw(top.child.id().cast_signed()), signal).unwrap(),
            None => top.types(keys),
        }
        top.wait_for(|text| text.ends_with(LEAVES));
        let status = top.child.wait().unwrap();
        assert_eq!(status.code(), Some(signal.map_or(0, |signal| 128 + signal as i32)), "{status}");
        assert_eq!(tcgetattr(&top.slave).unwrap(), top.before);
    }
}

/// As one at the end of a line that is dead.
#[test]
fn a_terminal_that_takes_nothing_holds_it_up_no_longer_than_a_key_or_a_signal() {
    if cannot_look() {
        return;
    }
    let container = Bundle::idle().container();
    container.create().ok();
    for signal in [None, Some(Signal::SIGTERM)] {
        let mut top = Terminal::start(&container, &["top", "--interval", "20ms"], &XTERM);
        top.wait_for(|text| text.contains("q quit"));
        let ended = process::pidfd_open(top.child.id().cast_signed()).unwrap();
        tcflow(&top.slave, FlowArg::TCOOFF).unwrap();
        match signal {
            Some(signal) => kill(Pid::from_raw(top.child.id().cast_signed()), signal).unwrap(),
            None => top.types("q"),
        }
        assert!(wait_readable(ended.as_fd(), time_limit()), "{signal:?}");
        let status = top.child.wait().unwrap();
        assert_eq!(status.code(), Some(signal.map_or(0, |signal| 128 + signal as i32)), "{status}");
        assert_eq!(tcgetattr(&top.slave).unwrap(), top.before);
    }
}

/// A shell sets it as it likes it when its job is stopped by a signal that the job is not told of.
#[test]
fn a_terminal_that_somebody_has_had_meanwhile_is_ours_again() {
    if cannot_look() {
        return;
    }
    let container = Bundle::idle().container();
    container.create().ok();
    let mut top = Terminal::start(&container, &["top", "--interval", "100ms"], &XTERM);
    top.wait_for(|text| text.contains("q quit"));
    let pid = Pid::from_raw(top.child.id().cast_signed());
    kill(pid, Signal::SIGSTOP).unwrap();
    let stopped = WaitPidFlag::WSTOPPED | WaitPidFlag::WNOWAIT;
    waitid(Id::Pid(pid), stopped).unwrap();
    tcsetattr(&top.slave, SetArg::TCSANOW, &top.before).unwrap();
    kill(pid, Signal::SIGCONT).unwrap();
    host::wait_until(|| !tcgetattr(&top.slave).unwrap().local_flags.contains(LocalFlags::ICANON));
    top.types("q");
    top.wait_for(|text| text.ends_with(LEAVES));
    assert!(top.child.wait().unwrap().success());
    assert_eq!(tcgetattr(&top.slave).unwrap(), top.before);
}

/// As the kernel has it for who changes the terminal or, with `stty tostop`, writes to it.
#[test]
fn in_the_background_it_is_stopped() {
    if cannot_look() {
        return;
    }
    let container = Bundle::idle().container();
    container.create().ok();
    for (input, ends) in [("", true), ("", false), ("< /dev/null", false)] {
        let mut inner = command(&container, &["top", "--interval", "20ms"]);
        inner.envs(XTERM);
        let script =
            format!("set -m; \"$@\" {input} & echo began $!; read line; fg > /dev/null; echo over $?; read line");
        let mut top = Terminal::start_command(&process::in_shell(&script, &inner));
        top.wait_for(|text| text.contains("began ") && text.ends_with('\n'));
        let pid: i32 = top.text.split("began ").nth(1).unwrap().trim().parse().unwrap();
        let field = |name: &str| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned()
        };
        let switches = || field("voluntary_ctxt_switches:").parse::<u64>().unwrap();
        let stopped_after = |before: u64| host::wait_until(|| field("State:").starts_with('T') && switches() > before);
        let continued = |signal| kill(Pid::from_raw(-pid), signal).unwrap();
        stopped_after(0);
        let before = switches();
        continued(Signal::SIGCONT);
        stopped_after(before);
        assert_eq!(tcgetattr(&top.slave).unwrap(), top.before);
        assert!(!top.text.contains('\x1b'), "{:?}", top.text);
        if ends {
            // What asks it to end is heard there, too, when it is continued: as shells do it.
            continued(Signal::SIGTERM);
            continued(Signal::SIGCONT);
            // Its shell waits for a line, and not for it.
            host::wait_until(|| field("State:").starts_with('Z'));
            assert!(!top.text.contains('\x1b'), "{:?}", top.text);
            top.types("\n");
        } else {
            top.types("\n");
            top.wait_for(|text| text.contains(ENTERS) && text.contains("q quit"));
            if input.is_empty() {
                // The whole job, and back to it.
                top.types("\x1a");
            } else {
                kill(Pid::from_raw(pid), Signal::SIGTSTP).unwrap();
            }
            top.wait_for(|text| text.contains(LEAVES) && text.contains("over 148"));
            assert_eq!(tcgetattr(&top.slave).unwrap(), top.before);
            continued(Signal::SIGKILL);
        }
        top.types("\n");
        top.child.wait().unwrap();
        assert_eq!(tcgetattr(&top.slave).unwrap(), top.before);
    }
}

/// Nobody could continue it: the kernel stops no group that is orphaned, and neither do we.
#[test]
fn ctrl_z_does_not_stop_who_could_not_be_continued() {
    if cannot_look() {
        return;
    }
    let container = Bundle::idle().container();
    container.create().ok();
    let mut top = Terminal::start(&container, &["top", "--interval", "100ms"], &XTERM);
    top.wait_for(|text| text.contains("q quit"));
    top.types("\x1a");
    top.wait_for(|text| text.contains(LEAVES) && text.contains(ENTERS) && text.contains("q quit"));
    top.types("q");
    top.wait_for(|text| text.ends_with(LEAVES));
    assert!(top.child.wait().unwrap().success());
    assert_eq!(tcgetattr(&top.slave).unwrap(), top.before);
}

#[test]
fn a_terminal_is_resized_sorted_and_filtered() {
    if cannot_look() {
        return;
    }
    let container = Bundle::idle().container();
    container.create().ok();
    let mut top = Terminal::start(&container, &["top", "--interval", "100ms"], &XTERM);
    top.wait_for(|text| text.contains("by cpu") && text.contains("MEM%"));
    top.types("m");
    top.wait_for(|text| text.contains("by memory"));
    top.types("/zzz");
    top.wait_for(|text| text.contains("filter: zzz_") && text.contains("0 containers"));
    top.types("\x1b");
    top.wait_for(|text| text.contains("1 containers"));
    top.types("?");
    top.wait_for(|text| text.contains("sort by OOM kills"));
    top.types("?");
    top.resize(8, 40);
    // Less fits, in as many lines as there are now.
    top.wait_for(|text| text.contains("q quit  ? help  / filter  r reverse  c …"));
    let last = top.text.rsplit("\x1b[H").next().unwrap();
    assert!(last.contains("CPU%") && !last.contains("MEM%") && last.matches('\n').count() == 7, "{last:?}");
    top.types("q");
    top.wait_for(|text| text.ends_with(LEAVES));
    assert!(top.child.wait().unwrap().success());
}

#[test]
fn a_dumb_terminal_gets_one_table_after_the_other() {
    if cannot_look() {
        return;
    }
    let container = Bundle::idle().container();
    container.create().ok();
    let mut top = Terminal::start(&container, &["top", "--interval", "20ms"], &[("TERM", "dumb"), ("LANG", "C.UTF-8")]);
    top.wait_for(|text| text.matches("CPU%").count() >= 3);
    assert!(!top.text.contains('\x1b') && top.text.is_ascii(), "{:?}", top.text);
    // Ctrl-C of a terminal in its usual mode.
    top.types("\x03");
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&top.child.wait().unwrap()), Some(libc::SIGINT));
}

#[test]
fn plain_is_without_orders_to_the_terminal() {
    if cannot_look() {
        return;
    }
    let container = Bundle::idle().container();
    container.create().ok();
    let bundle = container.bundle.dir.to_str().unwrap().to_owned();
    // Each command, and how its last line ends.
    let commands = [
        (&["stats"][..], ""),
        (&["top", "--once", "--interval", "1ms"], ""),
        (&["plan", "--format", "tree", &bundle], "it never leads out of it."),
    ];
    for (args, last) in commands {
        for (plain, environment) in [(false, None), (true, None), (false, Some(("NO_COLOR", "1")))] {
            let args = [args, if plain { &["--plain"][..] } else { &[] }].concat();
            let environment: Vec<_> = XTERM.into_iter().chain(environment).collect();
            let mut shown = Terminal::start(&container, &args, &environment);
            shown.wait_for(|text| text.lines().count() >= 2 && text.contains(last) && text.ends_with('\n'));
            assert!(shown.child.wait().unwrap().success());
            let coloured = !plain && environment.len() == 2;
            assert_eq!(shown.text.contains('\x1b'), coloured, "{args:?} {:?}", shown.text);
            assert!(!plain || shown.text.is_ascii(), "{:?}", shown.text);
        }
    }
}

#[test]
fn one_look_has_rates() {
    if cannot_look() || lacks(&["cpu"]) {
        return;
    }
    let container = Bundle::sh("while :; do :; done").container();
    container.up().ok();
    for flag in [&["--json"][..], &["--format", "json"]] {
        let value = call(&container, &[&["top", "--once", "--interval", "100ms"], flag].concat()).ok().json();
        let row = only(&value);
        // Whatever else this machine does.
        assert!(row["perSecond"]["cpus"].as_f64().is_some_and(|cpus| cpus >= 0.0), "{value}");
        assert!(row["cpu"]["totalNs"].as_u64().unwrap() > 0, "{value}");
    }
}

#[test]
fn the_order_is_as_asked_for() {
    if cannot_look() || lacks(&["pids"]) {
        return;
    }
    let container = Bundle::idle().container();
    container.create().ok();
    // One without a cgroup, whose numbers are not known: last by any of them, and first by its name.
    let (dir, other) = (container.bundle.dir.to_str().unwrap(), format!("a-{}", container.id));
    container.call(&["--cgroup-manager", "disabled", "create", "--bundle", dir, &other]).ok();
    let order = |args: &[&str]| -> Vec<String> {
        let table = call(&container, &[&["top", "--once", "--interval", "1ms"], args].concat()).ok().stdout();
        table.lines().skip(1).map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    };
    assert_eq!(order(&[]), [&*container.id, &*other]);
    assert_eq!(order(&["--sort", "name"]), [&*other, &*container.id]);
    let said = call(&container, &["top", "--once", "--interval", "never"]).fails();
    assert!(said.contains("must be a duration"), "{said}");
    container.call(&["delete", "--force", &other]).ok();
}
