//! The program, the monitor, the command or its caller is killed or stopped, at any moment: nothing is left without limits or
//! without a result.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::{begin, ends, file_of, kill_hard, monitor, result, wait, woken};
use crate::common::process::{pidfd_open, wait_readable};
use crate::common::{Bundle, Container, brisk_only, host, lacks, leftovers, process};
use crate::jobs::wait_command::holds_pidfd;
use crate::jobs::{ONLY, hook_that_waits};
use crate::lifecycle::asked_to_end::until_it_waits;
use crate::rootless;

/// A signal of `kill` or `delete` is the caller's; the figures are those of the cgroup, although that is deleted at once.
#[test]
fn what_the_caller_kills_is_killed() {
    if brisk_only(ONLY) {
        return;
    }
    for how in ["kill", "delete", "replace"] {
        let (bundle, _) = woken("exit 0");
        let container = bundle.container();
        begin(&container, &[]).ok();
        // A signal that it gets over is not what it dies of.
        container.call(&["kill", &container.id, "WINCH"]).ok();
        match how {
            "kill" => {
                container.kill("KILL").ok();
                assert_eq!(wait(&container), "137");
                assert_eq!(container.state()["reason"], json!("killed"));
            }
            "delete" => drop(container.delete_force().ok()),
            _ => drop(container.run_with(&["--detach", "--replace"]).ok()),
        }
        let told = result(&container);
        assert_eq!((&told["ended"], &told["signal"]), (&json!("killed"), &json!("SIGKILL")), "{how}: {told}");
        assert!(lacks(&["cpuacct"]) || told["cpu"]["totalNs"].as_u64().unwrap() > 0, "{how}: {told}");
        container.delete_force().ok();
        container.assert_nothing_left();
    }
}

/// In the foreground, too: by whom a signal came is known where that was another command.
#[test]
fn a_foreground_program_that_is_killed_by_another_command() {
    if brisk_only(ONLY) {
        return;
    }
    let (bundle, _) = woken("exit 0");
    let container = bundle.container();
    let file = file_of(&container);
    let running = container.start_run(&["--result", file.to_str().unwrap()]);
    running.wait_for_stdout(|text| text.contains("ready"));
    container.kill("KILL").ok();
    running.wait().exits(137);
    assert_eq!(result(&container)["ended"], json!("killed"));
}

/// The command and its monitor are one until the program runs.
#[test]
fn a_command_that_is_killed_leaves_no_monitor() {
    if brisk_only(ONLY) {
        return;
    }
    let container = Bundle::idle().sh_hook("createRuntime", "echo hook >>$OUT; exec sleep 1000").container();
    let file = file_of(&container);
    let running = container.start_run(&["--detach", "--result", file.to_str().unwrap()]);
    host::wait_until(|| container.bundle.hook_output().contains("hook"));
    let monitor = pidfd_open(monitor(&container)).unwrap();
    kill(Pid::from_raw(running.pid()), Signal::SIGKILL).unwrap();
    running.wait().exits(137);
    ends(&monitor, "the monitor");
    assert!(!file_of(&container).exists());
    container.delete_force().ok();
    // The hook is the host's, and dies with whoever has started it.
    host::wait_until(|| container.leftovers().is_empty());
}

/// Whoever is told that its monitor was killed learns what does that.
#[test]
fn a_command_whose_container_is_deleted_meanwhile() {
    if brisk_only(ONLY) {
        return;
    }
    let container = Bundle::idle().sh_hook("createRuntime", "echo hook >>$OUT; exec sleep 1000").container();
    let running = container.start_run(&["--detach", "--timeout", "1h"]);
    host::wait_until(|| container.bundle.hook_output().contains("hook"));
    container.delete_force().ok();
    let said = running.wait().fails();
    assert!(said.contains("`run --replace` and `delete --force` of the same name"), "{said}");
    container.assert_nothing_left();
}

/// A monitor that is killed leaves the container alone, and nobody is told a result that nobody knows.
#[test]
fn a_container_lives_on_without_its_monitor() {
    if brisk_only(ONLY) {
        return;
    }
    let (bundle, wake) = woken("exit 5");
    let container = bundle.container();
    begin(&container, &["--timeout", "1h"]).ok();
    ends(&kill_hard(monitor(&container)), "the monitor");
    assert_eq!(container.status(), "running");
    container.exec(&["/bin/true"]).ok();
    let waiter = process::start(container.command(&["wait", &container.id]), Stdio::null());
    host::wait_until(|| holds_pidfd(waiter.pid(), container.pid()));
    fs::write(&wake, "\n").unwrap();
    let told = waiter.wait();
    assert!(!file_of(&container).exists());
    if told.code == 0 {
        assert_eq!(told.stdout(), "5\n");
        assert_eq!(container.state()["reason"], json!("exited"));
    } else {
        assert!(told.stderr().contains("how is not known"), "{told:?}");
    }
    container.delete().ok();
    // Nobody waited.
    begin(&container, &[]).ok();
    let init = container.pid();
    ends(&kill_hard(monitor(&container)), "the monitor");
    fs::write(&wake, "\n").unwrap();
    host::wait_until(|| leftovers::run_state(init).is_none());
    assert_eq!(container.state()["reason"], json!("unknown"));
    assert!(container.state().get("exitStatus").is_none());
    assert!(container.call(&["wait", &container.id]).fails().contains("how is not known"));
    container.delete().ok();
    container.assert_nothing_left();
}

/// A monitor that is stopped keeps nobody for longer than that one wants, and goes on where it was.
#[test]
fn a_monitor_that_is_stopped() {
    if brisk_only(ONLY) {
        return;
    }
    let (bundle, _) = woken("exit 0");
    let container = bundle.container();
    begin(&container, &[]).ok();
    let monitor = Pid::from_raw(monitor(&container));
    kill(monitor, Signal::SIGSTOP).unwrap();
    container.kill("KILL").ok();
    container.call(&["wait", "--timeout", "200ms", &container.id]).exits(124);
    // It is about to tell: nobody else says that it is not known.
    assert_eq!((&container.state()["status"], container.state().get("reason")), (&json!("stopped"), None));
    kill(monitor, Signal::SIGCONT).unwrap();
    assert_eq!(wait(&container), "137");
    assert_eq!(result(&container)["ended"], json!("killed"));
    // What it has read of the cgroup is not waited for for ever.
    container.delete().ok();
    begin(&container, &[]).ok();
    let monitor = Pid::from_raw(super::monitor(&container));
    let of_monitor = pidfd_open(monitor.as_raw()).unwrap();
    kill(monitor, Signal::SIGSTOP).unwrap();
    container.delete_force().ok();
    kill(monitor, Signal::SIGCONT).unwrap();
    ends(&of_monitor, "the monitor");
    assert_eq!((&result(&container)["ended"], &result(&container)["signal"]), (&json!("killed"), &json!("SIGKILL")));
    container.assert_nothing_left();
}

/// With the caller, or with the monitor: also where the program is started later.
#[test]
fn nothing_in_the_background_outlives_who_wanted_it() {
    if brisk_only(ONLY) {
        return;
    }
    for (verb, whom) in
        [("run", "the caller"), ("run", "the monitor"), ("create", "the caller"), ("create", "the monitor")]
    {
        let container = Bundle::idle().container();
        container.bundle.write();
        let (dir, file) = (container.bundle.dir.to_str().unwrap().to_owned(), file_of(&container));
        let detach: &[&str] = if verb == "run" { &["--detach"] } else { &[] };
        let flags = ["--die-with-parent", "--result", file.to_str().unwrap(), "--bundle", &dir, &container.id];
        let command = container.command(&[&[verb], detach, &flags].concat());
        let caller =
            process::start(process::in_shell("\"$@\" && echo begun && exec sleep 1000", &command), Stdio::null());
        caller.wait_for_stdout(|text| text.contains("begun"));
        if verb == "create" && whom == "the caller" {
            container.start().ok();
        }
        let (init, of_monitor) = (pidfd_open(container.pid()).unwrap(), pidfd_open(monitor(&container)).unwrap());
        if whom == "the caller" {
            drop(kill_hard(caller.pid()));
            ends(&of_monitor, "the monitor");
            assert_eq!(result(&container)["ended"], json!("killed"), "{verb}");
        } else {
            ends(&kill_hard(monitor(&container)), "the monitor");
            drop(kill_hard(caller.pid()));
        }
        ends(&init, "the program");
        drop(caller.wait());
        container.delete_force().ok();
        container.assert_nothing_left();
    }
}

/// From its first instruction the program has somebody who looks after it, whatever becomes of the command that let it go.
#[test]
fn a_command_that_is_killed_leaves_no_program_without_limits() {
    if brisk_only(ONLY) {
        return;
    }
    for signal in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGINT] {
        let (bundle, wake) = hook_that_waits(Bundle::idle(), "poststart");
        let container = bundle.container();
        let file = file_of(&container);
        let flags = ["--detach", "--timeout", "10ms", "--result", file.to_str().unwrap()];
        let running = container.start_run(&flags);
        host::wait_until(|| container.bundle.hook_output().contains("hook"));
        kill(Pid::from_raw(running.pid()), signal).unwrap();
        running.wait().exits(128 + signal as i32);
        fs::write(&wake, "\n").unwrap();
        assert_eq!(wait(&container), "137");
        assert_eq!(result(&container)["ended"], json!("timeout"));
        container.delete().ok();
        container.assert_nothing_left();
    }
}

/// One without a monitor is no job, and whoever asked for the result is told so.
#[test]
fn no_process_is_left_for_the_monitor() {
    if brisk_only(ONLY) || rootless::not_here() {
        return;
    }
    let container = rootless::bundle(&["/bin/true"]).container();
    container.bundle.write();
    let (dir, file) = (container.bundle.dir.to_str().unwrap().to_owned(), file_of(&container));
    let flags = ["run", "--detach", "--bundle", &dir, "--result", file.to_str().unwrap(), &container.id];
    let run = rootless::as_user(&container, &flags);
    let args: Vec<_> = run.get_args().collect();
    let runtime = args.iter().position(|arg| *arg == "--").map_or(0, |at| at + 1);
    let mut command = Command::new(run.get_program());
    // Itself is one.
    command.args(&args[..runtime]).args(["prlimit", "--nproc=1"]).args(&args[runtime..]).current_dir(&dir);
    let why = process::run(command).fails();
    assert!(why.contains("fork the monitor") && why.contains("RLIMIT_NPROC"), "{why}");
    let told = result(&container);
    assert_eq!((&told["ended"], &told["error"]["errno"]), (&json!("runtime-error"), &json!("EAGAIN")), "{told}");
    container.assert_nothing_left();
}

/// Whenever the command is killed: there is no program, or one with a monitor.
#[test]
fn an_exec_that_is_killed_leaves_no_program_without_limits() {
    if brisk_only(ONLY) {
        return;
    }
    let container = Bundle::idle().container();
    container.up();
    let processes = || container.call(&["ps", &container.id]).ok().stdout().matches("sleep 1001").count();
    for delay in 0..24 {
        let flags = ["exec", "--detach", "--timeout", "50ms", &container.id, "/bin/sleep", "1001"];
        let running = process::start(container.command(&flags), Stdio::null());
        // The time at which it dies is what is tried.
        std::thread::sleep(std::time::Duration::from_micros(500 * delay));
        drop(kill_hard(running.pid()));
        drop(running.wait());
    }
    host::wait_until(|| processes() == 0);
    container.delete_force().ok();
    container.assert_nothing_left();
}

/// A `run` with a monitor in a process group of their own, which waits for a hook.
fn in_a_group(container: &Container) -> process::Running {
    container.bundle.write();
    let dir = container.bundle.dir.to_str().unwrap();
    let mut command = container.command(&["run", "--detach", "--timeout", "1h", "--bundle", dir, &container.id]);
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let running = process::start(command, Stdio::null());
    until_it_waits(&running);
    running
}

/// What a terminal sends to the process group comes to the command and to its monitor, and is one signal: the hooks that undo what was
/// done are not cut short, as by a second one.
#[test]
fn a_signal_to_the_group_is_one() {
    if brisk_only(ONLY) {
        return;
    }
    for second in [false, true] {
        let (bundle, wake) = hook_that_waits(Bundle::idle(), "poststop");
        let bundle =
            bundle.sh_hook("poststop", "echo whole >>$OUT").hook("createRuntime", "/bin/sleep", &["sleep", "1000"]);
        let container = bundle.container();
        let running = in_a_group(&container);
        let (group, of_monitor) = (Pid::from_raw(running.pid()), Pid::from_raw(monitor(&container)));
        let pending = || process::signal_mask(of_monitor.as_raw(), "ShdPnd:") >> (Signal::SIGINT as i32 - 1) & 1;
        // The command gets it last, so that it is told twice for sure.
        kill(group, Signal::SIGSTOP).unwrap();
        host::wait_until(|| leftovers::run_state(group.as_raw()) == Some('T'));
        nix::sys::signal::killpg(group, Signal::SIGINT).unwrap();
        host::wait_until(|| container.bundle.hook_output().contains("hook"));
        kill(group, Signal::SIGCONT).unwrap();
        until_it_waits(&running);
        host::wait_until(|| pending() == 0);
        if second {
            kill(group, Signal::SIGINT).unwrap();
        } else {
            // Nobody reads what has cut it short.
            let mut words = fs::OpenOptions::new();
            host::wait_until(|| {
                let opened = std::os::unix::fs::OpenOptionsExt::custom_flags(words.write(true), libc::O_NONBLOCK);
                opened.open(&wake).is_ok_and(|mut wake| std::io::Write::write_all(&mut wake, b"\n").is_ok())
                    || wait_readable(running.pidfd(), Duration::ZERO)
            });
        }
        let output = running.wait().exits(130);
        let cut_short =
            output.stderr().lines().any(|line| line.contains("poststop hook #0") && line.contains("asked to end"));
        assert_eq!((cut_short, output.stderr().contains("poststop")), (second, second), "{output:?}");
        assert!(container.bundle.hook_output().contains("whole"), "{output:?}");
        container.assert_nothing_left();
    }
}

/// The kernel keeps one signal of a number: what the command hands on is lost where the monitor has not read its own yet. And a signal may
/// be sent to the monitor alone. The next one, which comes by the command only, is another one all the same.
#[test]
fn a_signal_that_came_one_way_takes_nothing_from_the_next() {
    if brisk_only(ONLY) {
        return;
    }
    for to_group in [true, false] {
        let (bundle, _wake) = hook_that_waits(Bundle::idle(), "poststop");
        let container = bundle.hook("createRuntime", "/bin/sleep", &["sleep", "1000"]).container();
        let running = in_a_group(&container);
        let (group, of_monitor) = (Pid::from_raw(running.pid()), Pid::from_raw(monitor(&container)));
        let pending = |pid: Pid| process::signal_mask(pid.as_raw(), "ShdPnd:") >> (Signal::SIGINT as i32 - 1) & 1 == 1;
        if to_group {
            kill(of_monitor, Signal::SIGSTOP).unwrap();
            host::wait_until(|| leftovers::run_state(of_monitor.as_raw()) == Some('T'));
            nix::sys::signal::killpg(group, Signal::SIGINT).unwrap();
            host::wait_until(|| pending(of_monitor) && !pending(group));
            until_it_waits(&running);
            kill(of_monitor, Signal::SIGCONT).unwrap();
        } else {
            kill(of_monitor, Signal::SIGINT).unwrap();
        }
        host::wait_until(|| container.bundle.hook_output().contains("hook"));
        kill(group, Signal::SIGTERM).unwrap();
        let output = running.wait().exits(143);
        assert!(output.stderr().contains("poststop hook #0"), "{output:?}");
        container.assert_nothing_left();
    }
}
