//! The shim is killed: `delete` leaves nothing of the container.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;

use brisk_shim_tests::{Shim, TaskBundle, bundle, command, directory, lives, options_with, program, script, until};
use containerd_shim_protos::protobuf::{Message, well_known_types::any::Any};
use containerd_shim_protos::{Client, TaskClient, api};
use nix::sys::ptrace;
use nix::sys::signal::{SIGKILL, SIGTERM, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

fn clean_up(shim: &Shim, bundle: &TaskBundle) -> api::DeleteResponse {
    let output = command(&shim.dir, &bundle.path, &bundle.id, "delete").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    api::DeleteResponse::parse_from_bytes(&output.stdout).unwrap()
}

fn socket(shim: &Shim) -> &Path {
    Path::new(shim.address.strip_prefix("unix://").unwrap())
}

#[test]
fn delete_cleans_up_after_a_shim_that_was_killed() {
    let dir = directory();
    let bundle = bundle(&dir, "killed", &["sleep", "1000"]);
    let shim = Shim::start(&dir, &bundle);
    let pid = shim.create(&bundle, |_| ()).unwrap();
    shim.start_process("killed", "").unwrap();
    kill(Pid::from_raw(shim.pid), SIGKILL).unwrap();
    until("the shim is gone", || (!shim.lives()).then_some(()));
    let response = clean_up(&shim, &bundle);
    assert_eq!((response.pid, response.exit_status), (pid, 137));
    assert!(response.exited_at.seconds > 1_700_000_000);
    until("the container is gone", || (!lives(pid.cast_signed())).then_some(()));
    assert!(!socket(&shim).exists());
    assert!(!Path::new("/run/containerd/runc/brisk-shim-tests/killed").exists());
    // Again, as containerd may after its own death.
    clean_up(&shim, &bundle);
}

/// Everything that is asked of a shim in the life of a container with a second process. Each answer may be that it is gone.
fn life(shim: &Shim, bundle: &TaskBundle) -> Option<()> {
    shim.create(bundle, |_| ()).ok()?;
    shim.start_process("any", "").ok()?;
    shim.exec("any", "second", &["true"], |_| ()).ok()?;
    shim.start_process("any", "second").ok()?;
    shim.wait("any", "second").ok()?;
    shim.delete("any", "second").ok()?;
    shim.kill("any", "", libc::SIGKILL).ok()?;
    shim.wait("any", "").ok()?;
    shim.delete("any", "").ok()?;
    Some(())
}

/// Kills the shim where it begins its system call of this number, while it is asked; false where it makes fewer.
fn killed_at_call(shim: &Shim, bundle: &TaskBundle, number: usize) -> bool {
    let pid = Pid::from_raw(shim.pid);
    let mut reached = false;
    std::thread::scope(|scope| {
        // Whoever follows a process has to be one thread.
        ptrace::seize(pid, ptrace::Options::PTRACE_O_TRACESYSGOOD).unwrap();
        ptrace::interrupt(pid).unwrap();
        scope.spawn(|| {
            life(shim, bundle);
            // It may sleep for ever when all is answered.
            let _ = kill(pid, SIGKILL);
        });
        let mut stops = 0;
        loop {
            match waitpid(pid, Some(WaitPidFlag::__WALL)).unwrap() {
                WaitStatus::PtraceSyscall(_) => {
                    // Each call stops twice: where it begins and where it ends.
                    stops += 1;
                    if stops == 2 * number + 1 {
                        reached = true;
                        kill(pid, SIGKILL).unwrap();
                        continue;
                    }
                    let _ = ptrace::syscall(pid, None);
                }
                WaitStatus::Stopped(_, signal) => drop(ptrace::syscall(pid, signal)),
                WaitStatus::Signaled(..) | WaitStatus::Exited(..) => break,
                _ => drop(ptrace::syscall(pid, None)),
            }
        }
    });
    reached
}

/// What the container's cgroup has in it.
fn left(id: &str) -> Vec<String> {
    let cgroup = format!("{}/{id}", brisk_shim_tests::cgroups());
    let command = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.ok()?.path();
        let cgroups = fs::read_to_string(path.join("cgroup")).ok()?;
        cgroups.contains(&cgroup).then(|| fs::read_to_string(path.join("cmdline")).unwrap_or_default())
    };
    fs::read_dir("/proc").unwrap().filter_map(command).collect()
}

/// A sample of its system calls, or with SOAK every one.
#[test]
fn a_shim_may_die_at_any_system_call() {
    let every = if std::env::var_os("SOAK").is_some() { 1 } else { 16 };
    let mut calls = 0;
    loop {
        let dir = directory();
        let bundle = bundle(&dir, "any", &["sleep", "1000"]);
        let shim = Shim::start(&dir, &bundle);
        let reached = killed_at_call(&shim, &bundle, calls);
        until("the shim is gone", || (!shim.lives()).then_some(()));
        clean_up(&shim, &bundle);
        until(&format!("nothing of the container is left at call {calls}: {:?}", left("any")), || {
            left("any").is_empty().then_some(())
        });
        assert!(!Path::new("/run/containerd/runc/brisk-shim-tests/any").exists(), "state is left at call {calls}");
        assert!(!socket(&shim).exists(), "its socket is left at call {calls}");
        if !reached {
            break;
        }
        calls += every;
    }
    println!("killed at {} of {calls} calls", calls / every);
    assert!(calls > 100, "only {calls} calls");
}

#[test]
fn a_start_after_a_killed_shim_has_the_same_address() {
    let dir = directory();
    let bundle = bundle(&dir, "again", &["true"]);
    let shim = Shim::start(&dir, &bundle);
    kill(Pid::from_raw(shim.pid), SIGKILL).unwrap();
    until("the shim is gone", || (!shim.lives()).then_some(()));
    assert!(socket(&shim).exists());
    let second = Shim::start(&dir, &bundle);
    assert_eq!(second.address, shim.address);
    assert_eq!(second.run(&bundle), 0);
    second.delete("again", "").unwrap();
    second.shutdown();
}

/// A child that the shim had just made holds its socket until the execve; connecting works meanwhile.
#[test]
fn a_socket_that_a_child_of_a_dead_shim_holds_is_nobodys() {
    let dir = directory();
    let bundle = bundle(&dir, "held", &["true"]);
    let shim = Shim::start(&dir, &bundle);
    kill(Pid::from_raw(shim.pid), SIGKILL).unwrap();
    until("the shim is gone", || (!shim.lives()).then_some(()));
    let held_while = |work: &(dyn Fn() -> Option<Shim> + Sync)| {
        fs::remove_file(socket(&shim)).unwrap();
        let held = UnixListener::bind(socket(&shim)).unwrap();
        std::thread::scope(|scope| {
            let done = scope.spawn(work);
            drop(held.accept().unwrap());
            drop(held);
            done.join().unwrap()
        })
    };
    let second = held_while(&|| Some(Shim::start(&dir, &bundle))).unwrap();
    assert_eq!(second.run(&bundle), 0);
    second.delete("held", "").unwrap();
    kill(Pid::from_raw(second.pid), SIGKILL).unwrap();
    until("the shim is gone", || (!second.lives()).then_some(()));
    held_while(&|| {
        clean_up(&shim, &bundle);
        None
    });
    assert!(!socket(&shim).exists());
}

#[test]
fn two_starts_of_a_pod_at_once_are_one_shim() {
    let dir = directory();
    let group = |config: &mut serde_json::Value| {
        config["annotations"] = serde_json::json!({ "io.containerd.runc.v2.group": "g" })
    };
    let bundles: Vec<_> = (0..6).map(|number| bundle(&dir, &format!("p{number}"), &["true"]).with(group)).collect();
    let pids: Vec<u32> = std::thread::scope(|scope| {
        let starts: Vec<_> = bundles
            .iter()
            .map(|bundle| {
                scope.spawn(|| {
                    let address = brisk_shim_tests::start_address(&dir, bundle);
                    let client = TaskClient::new(Client::connect(&address).unwrap());
                    client.connect(brisk_shim_tests::context(), &api::ConnectRequest::new()).unwrap().shim_pid
                })
            })
            .collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    assert!(pids.iter().all(|pid| *pid == pids[0]), "{pids:?}");
    kill(Pid::from_raw(pids[0].cast_signed()), SIGTERM).unwrap();
    until("the shim ends", || (!lives(pids[0].cast_signed())).then_some(()));
}

#[test]
fn a_client_that_dies_takes_only_its_waits_along() {
    let dir = directory();
    let bundle = bundle(&dir, "client", &["sleep", "1000"]);
    let shim = Shim::start(&dir, &bundle);
    shim.create(&bundle, |_| ()).unwrap();
    shim.start_process("client", "").unwrap();
    let (before, ..) = shim.usage();
    for _ in 0..10 {
        let client = shim.connect();
        let request = api::WaitRequest { id: "client".into(), ..Default::default() };
        let context = containerd_shim_protos::ttrpc::context::with_timeout(1_000_000);
        assert!(client.wait(context, &request).is_err());
    }
    until("connections are closed", || (shim.usage().0 <= before).then_some(()));
    shim.kill("client", "", libc::SIGKILL).unwrap();
    assert_eq!(shim.wait("client", "").unwrap(), 137);
    shim.delete("client", "").unwrap();
    shim.shutdown();
}

/// A runtime that is killed when its work is done, by its words.
fn killed_after(dir: &Path, verb: &str) -> Any {
    let runtime = dir.join(format!("killed-after-{verb}"));
    let text = format!(
        "#!/bin/sh\n{} \"$@\"; status=$?\ncase \" $* \" in *' {verb} '*) kill -KILL $$ ;; esac\nexit $status\n",
        program("BRISK").display()
    );
    script(&runtime, &text);
    options_with(runtime.to_str().unwrap())
}

#[test]
fn what_a_killed_runtime_has_made_is_deleted() {
    let dir = directory();
    let bundle = bundle(&dir, "slain", &["sleep", "1000"]);
    let shim = Shim::start(&dir, &bundle);
    let state = Path::new("/run/containerd/runc/brisk-shim-tests/slain");
    let nothing_is_left =
        || until(&format!("nothing is left: {:?}", left("slain")), || left("slain").is_empty().then_some(()));
    let made = shim.create(&bundle, |request| request.options = Some(killed_after(&dir, "create")).into());
    assert!(made.unwrap_err().to_string().contains("signal: 9"));
    assert!(!state.exists());
    nothing_is_left();
    // What was there before is not the failed one's.
    shim.create(&bundle, |_| ()).unwrap();
    let pod = brisk_shim_tests::bundle(&dir, "other", &["true"]);
    let other = Shim::start(&dir, &pod);
    let made = other.create(&pod, |request| request.id = "slain".into());
    assert!(made.unwrap_err().to_string().contains("slain"));
    assert!(state.exists());
    other.shutdown();
    shim.kill("slain", "", libc::SIGKILL).unwrap();
    shim.wait("slain", "").unwrap();
    shim.delete("slain", "").unwrap();
    // A process that was added goes, too, and may be started again, as any that has not run.
    shim.create(&bundle, |request| request.options = Some(killed_after(&dir, "exec")).into()).unwrap();
    shim.start_process("slain", "").unwrap();
    shim.exec("slain", "e", &["sleep", "1000"], |_| ()).unwrap();
    for _ in 0..2 {
        assert!(shim.start_process("slain", "e").unwrap_err().to_string().contains("signal: 9"));
        until("only the first process is there", || (left("slain").len() == 1).then_some(()));
        assert!(!bundle.path.join("e.pid").exists());
    }
    shim.kill("slain", "", libc::SIGKILL).unwrap();
    shim.wait("slain", "").unwrap();
    shim.delete("slain", "").unwrap();
    shim.shutdown();
}
