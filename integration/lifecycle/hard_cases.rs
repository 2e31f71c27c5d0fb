//! What makes runtimes hang, leak or lie: init that dies early, odd environments, damaged state, races.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::common::host::{Cgroups, wait_until};
use crate::common::{Bundle, Container, brisk_only, host, lacks, leftovers, process, skip_on};
use crate::held;

#[test]
fn init_that_exits_at_once() {
    for _ in 0..10 {
        let container = Bundle::new(&["/bin/true"]).container();
        container.run().ok();
        container.assert_nothing_left();
    }
}

#[test]
fn start_of_a_container_whose_init_was_killed_fails() {
    let container = Bundle::idle().container();
    container.create().ok();
    let pidfd = process::pidfd_open(container.pid()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(container.pid()), nix::sys::signal::SIGKILL).unwrap();
    assert!(process::wait_readable(pidfd.as_fd(), crate::common::time_limit()));
    container.start().fails();
    assert_eq!(container.status(), "stopped");
    container.delete().ok();
    container.assert_nothing_left();
}

#[test]
fn init_that_ignores_signals_is_killed() {
    let container = Bundle::sh("trap '' TERM INT HUP; while true; do sleep 1000; done").container();
    container.up();
    // Until its program runs, and has said so, it can be asked to end.
    let pid = container.pid();
    let ignored = || process::signal_mask(pid, "SigIgn:") >> (Signal::SIGTERM as i32 - 1) & 1 == 1;
    wait_until(ignored);
    container.kill("TERM").ok();
    assert_eq!(container.status(), "running");
    container.delete_force().ok();
    container.assert_nothing_left();
}

/// Its process has died between the opening of the fifo that it waits at and the byte.
#[test]
fn a_start_that_is_overtaken_by_the_end_of_its_container_says_so() {
    if brisk_only("others may take other calls") {
        return;
    }
    let overtaken = |flags: &[&str], program: &[&str], wanted: &dyn Fn(&held::Call) -> bool| {
        let container = Bundle::idle().container();
        container.create_with(flags).ok();
        let init = process::pidfd_open(container.pid()).unwrap();
        let start = container.command(&[&["start", &container.id], program].concat());
        let output = held::at_call(start, wanted, || {
            container.kill("KILL").ok();
            assert!(process::wait_readable(init.as_fd(), crate::common::time_limit()));
        });
        container.delete().ok();
        container.assert_nothing_left();
        output.fails()
    };
    let is_byte = |call: &held::Call| call.number == libc::SYS_write && call.file().ends_with("exec.fifo");
    let error = overtaken(&[], &[], &is_byte);
    assert!(error.contains("cannot start a container that has stopped"), "{error}");
    for number in [libc::SYS_pidfd_getfd, libc::SYS_clone3] {
        let error = overtaken(&["--template"], &["--", "/probe", "pause"], &|call| call.number == number);
        assert!(error.contains("the container has ended meanwhile"), "{error}");
    }
}

/// A name is free again for as long as another command is about to open the directory that it has made under it.
#[test]
fn of_two_that_make_a_container_one_takes_nothing_from_the_other() {
    if brisk_only("others may take other calls") {
        return;
    }
    let container = Bundle::idle().container();
    container.bundle.write();
    let create = || container.command(&["create", "--bundle", container.bundle.dir.to_str().unwrap(), &container.id]);
    // Between the making and the opening.
    let held = |meanwhile: &dyn Fn()| {
        let mut made = false;
        let next = |call: &held::Call| {
            let next = made;
            made |= call.number == libc::SYS_mkdirat && call.path(1) == container.id;
            next
        };
        held::at_call(create(), next, meanwhile).fails()
    };
    let error = held(&|| {
        container.delete_force().ok();
        process::run(create()).ok();
    });
    assert!(error.contains("container with given ID already exists"), "{error}");
    assert_eq!(container.status(), "created");
    container.start().ok();
    container.delete_force().ok();
    // Nobody else has it.
    let error = held(&|| drop(container.delete_force().ok()));
    assert!(error.contains("open the state directory"), "{error}");
    container.assert_nothing_left();
}

#[test]
fn init_that_stops_itself() {
    let container = Bundle::sh("kill -STOP $$; exec /probe pause").without_ns("pid").container();
    container.up();
    let pid = container.pid();
    wait_until(|| fs::read_to_string(format!("/proc/{pid}/status")).unwrap().contains("State:\tT"));
    assert_eq!(container.status(), "running");
    container.delete_force().ok();
    container.assert_nothing_left();
}

#[test]
fn a_fork_bomb_against_the_pids_limit_is_deleted() {
    if lacks(&["pids"]) {
        return;
    }
    let bomb =
        || Bundle::sh("b() { b | b & }; b; while true; do sleep 1; done").resources("pids", json!({ "limit": 60 }));
    for bundle in [bomb(), bomb().without_ns("pid")] {
        let container = bundle.container();
        container.up();
        container.delete_force().ok();
        container.assert_nothing_left();
    }
}

#[test]
fn processes_without_a_pid_namespace_do_not_outlive_the_container() {
    let container = Bundle::sh("sleep 1000 & sleep 1000 & exit 0").without_ns("pid").container();
    container.up();
    wait_until(|| container.status() == "stopped");
    container.delete_force().ok();
    container.assert_nothing_left();
}

#[test]
fn run_tells_that_a_limit_has_ended_the_program() {
    if lacks(&["memory"]) || brisk_only("others leave the status alone") {
        return;
    }
    // It wants more than the limit and writes nothing anywhere.
    let hungry = Bundle::sh("x=$(cat /dev/zero | tr '\\0' x)").resources("memory", json!({ "limit": 16_777_216 }));
    std::os::unix::fs::symlink("busybox", hungry.rootfs().join("bin/tr")).unwrap();
    let container = hungry.container();
    let told = container.run().exits(137).stderr();
    assert!(told.contains("OOM") && told.contains("linux.resources.memory.limit is 16777216"), "{told}");
    // The same status, and the memory had nothing to do with it.
    let killed = Bundle::sh("kill -KILL $$").without_ns("pid").resources("memory", json!({ "limit": 67_108_864 }));
    assert_eq!(killed.container().run().exits(137).stderr(), "");
}

#[test]
fn a_memory_limit_too_small_to_start_says_so() {
    if lacks(&["memory"]) {
        return;
    }
    if skip_on(&["crun", "runc"], "crun fits in any limit, runc hints at nothing") {
        return;
    }
    // One page: the first that the container's process is charged for.
    let container = Bundle::idle().resources("memory", json!({ "limit": 4096 })).container();
    let text = container.create().fails();
    assert!(text.contains("OOM: memory.") && text.contains("is 4096 bytes"), "{text}");
    assert!(text.contains("linux.resources.memory.limit: ") && text.contains("hint: raise that limit"), "{text}");
    container.assert_nothing_left();
}

#[test]
fn a_process_that_somebody_else_kills_during_the_set_up_is_not_called_out_of_memory() {
    if lacks(&["memory"]) {
        return;
    }
    if skip_on(&["crun", "runc"], "other words") {
        return;
    }
    let killer = r#"kill -KILL "$(sed -n 's/.*"pid":[^0-9]*\([0-9]*\).*/\1/p')""#;
    let container = Bundle::idle()
        .resources("memory", json!({ "limit": 1_u64 << 30 }))
        .sh_hook("createRuntime", killer)
        .container();
    let text = container.create().fails();
    assert!(text.contains("killed by signal 9") && !text.contains("OOM"), "{text}");
    container.assert_nothing_left();
}

#[test]
fn standard_error_that_nobody_reads_does_not_hang() {
    // A full pipe: a program that writes blocks, the runtime must not.
    let container = Bundle::sh("exec /bin/cat /dev/zero >&2").container();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = container.command(&["create", "--bundle", container.bundle.dir.to_str().unwrap(), &container.id]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(writer);
    let status = command.status().unwrap();
    assert!(status.success());
    container.start().ok();
    assert_eq!(container.status(), "running");
    container.delete_force().ok();
    container.assert_nothing_left();
    drop(reader);
}

#[test]
fn closed_standard_descriptors() {
    let container = Bundle::probe(&["create:/tmp/ran"]).container();
    let runtime = container.command(&["run", "--bundle", container.bundle.dir.to_str().unwrap(), &container.id]);
    let shell = process::in_shell(r#"exec "$@" <&- >&- 2>&-"#, &runtime);
    if skip_on(&["runc", "crun"], "descriptors 0 to 2 end up elsewhere") {
        return;
    }
    process::run(shell);
    container.assert_nothing_left();
}

#[test]
fn a_small_limit_on_open_files() {
    if skip_on(&["runc"], "Go's runtime wants more") {
        return;
    }
    let mut bundle = Bundle::probe(&["report"]);
    for n in 0..30 {
        bundle = bundle.mount("tmpfs", "tmpfs", &format!("/mnt/{n}"), &["size=4k"]);
    }
    let container = bundle.container();
    let runtime = container.command(&["run", "--bundle", container.bundle.dir.to_str().unwrap(), &container.id]);
    process::run(process::in_shell(r#"ulimit -n 32; exec "$@""#, &runtime)).ok();
}

#[test]
fn a_megabyte_of_environment() {
    let mut bundle = Bundle::probe(&["report"]);
    for n in 0..16 {
        bundle = bundle.push("/process/env", json!(format!("VARIABLE_{n}={}", "x".repeat(65_000))));
    }
    let out = bundle.container().run().ok().json();
    assert_eq!(out["report"]["env"]["VARIABLE_15"].as_str().unwrap().len(), 65_000);
}

#[test]
fn many_arguments_and_variables() {
    let mut bundle = Bundle::probe(&["report"]);
    for n in 0..2000 {
        bundle =
            bundle.push("/process/args", json!(format!("unknown{n}"))).push("/process/env", json!(format!("V{n}={n}")));
    }
    let out = bundle.container().run().ok().json();
    assert_eq!(out["report"]["env"]["V1999"], "1999");
}

#[test]
fn a_hundred_hooks() {
    let mut bundle = Bundle::sh("true");
    for kind in ["createRuntime", "createContainer", "poststop"] {
        for _ in 0..100 {
            bundle = bundle.sh_hook(kind, "cat > /dev/null; echo >> $OUT");
        }
    }
    let container = bundle.container();
    container.run().ok();
    assert_eq!(container.bundle.hook_output().len(), 300);
}

#[test]
fn damaged_state_can_be_deleted_by_force() {
    if brisk_only("runc and crun refuse for ever, or leave the container") {
        return;
    }
    // The last one is a sparse file, whose length is more than there is memory.
    const ENDLESS: &str = "endless";
    for text in ["", "{", "{}", "{\"version\":\"99\"}", "\0\0\0", ENDLESS] {
        for files in [&["state.json"][..], &["state.json", "config.json"]] {
            let container = Bundle::idle().unset("/linux/cgroupsPath").container();
            container.create().ok();
            let dir = container.bundle.state_root().join(&container.id);
            for file in files {
                assert!(dir.join(file).exists());
                fs::write(dir.join(file), text).unwrap();
                if text == ENDLESS {
                    fs::File::options().write(true).open(dir.join(file)).unwrap().set_len(1 << 42).unwrap();
                }
            }
            let error = container.call(&["state", &container.id]).fails();
            assert!(text != ENDLESS || error.contains("state.json is longer than"), "{error}");
            let listed = container.call(&["list"]);
            assert!(listed.code < 128, "{listed:?}");
            let output = container.delete_force().ok();
            assert!(!dir.exists());
            if files.len() == 2 {
                // Nothing says any more which process was the container's; that is told, and its process is left.
                assert!(output.stderr().contains("may be left"), "{output:?}");
                let found = container.leftovers();
                assert!(found.iter().any(|line| line.starts_with("cgroup: ")), "{found:?}");
                leftovers::clean_up(&found);
            }
            container.assert_nothing_left();
        }
    }
}

#[test]
fn a_state_directory_that_cannot_be_written() {
    let container = Bundle::idle().container();
    let dir = container.bundle.dir.to_str().unwrap();
    let args = ["--root", "/proc/no-such-place", "create", "--bundle", dir, &container.id];
    let mut command = std::process::Command::new(crate::common::runtime());
    command.args(args);
    process::run(command).fails();
    container.assert_nothing_left();
}

#[test]
fn a_full_disk() {
    let mut bundle = Bundle::idle();
    let state = bundle.host_dir("full");
    let flags = nix::mount::MsFlags::empty();
    bundle.mount_on_host(std::path::Path::new("tmpfs"), &state, "tmpfs", flags, "size=4k");
    fs::write(state.join("filler"), [0; 4096]).unwrap();
    let container = bundle.container();
    let dir = container.bundle.dir.to_str().unwrap();
    let mut command = std::process::Command::new(crate::common::runtime());
    command.arg("--root").arg(&state).args(["create", "--bundle", dir, &container.id]);
    let output = process::run(command);
    if output.code == 0 {
        panic!("created without room for its state: {output:?}");
    }
    if skip_on(&["crun", "runc"], "may leave the process") {
        let found = container.leftovers();
        crate::common::leftovers::clean_up(&found);
        return;
    }
    container.assert_nothing_left();
}

#[test]
fn two_creates_of_one_id_at_once() {
    if skip_on(&["runc", "crun"], "both may fail") {
        return;
    }
    for _ in 0..5 {
        let container = Bundle::idle().container();
        let start = || container.start_create();
        let (a, b) = (start(), start());
        let codes = [a.wait().code, b.wait().code];
        assert_eq!(codes.iter().filter(|c| **c == 0).count(), 1, "{codes:?}");
        assert_eq!(container.status(), "created");
    }
}

impl Container {
    fn start_create(&self) -> process::Running {
        let dir = self.bundle.dir.to_str().unwrap();
        process::start(self.command(&["create", "--bundle", dir, &self.id]), Stdio::null())
    }
}

#[test]
fn two_deletes_at_once() {
    for _ in 0..5 {
        let container = Bundle::idle().container();
        container.up();
        let start = || process::start(container.command(&["delete", "--force", &container.id]), Stdio::null());
        let (a, b) = (start(), start());
        let codes = [a.wait().code, b.wait().code];
        assert!(codes.contains(&0), "{codes:?}");
        container.assert_nothing_left();
    }
}

#[test]
fn two_starts_at_once() {
    if skip_on(&["runc"], "the second may hang") {
        return;
    }
    for _ in 0..5 {
        let container = Bundle::idle().container();
        container.create().ok();
        let start = || process::start(container.command(&["start", &container.id]), Stdio::null());
        let (a, b) = (start(), start());
        let codes = [a.wait().code, b.wait().code];
        assert!(codes.contains(&0), "{codes:?}");
        assert_eq!(container.status(), "running");
    }
}

#[test]
fn list_and_state_while_others_come_and_go() {
    let container = Bundle::idle().container();
    for _ in 0..5 {
        let create = container.start_create();
        for _ in 0..5 {
            container.call(&["list", "--format", "json"]);
        }
        create.wait().ok();
        let delete = process::start(container.command(&["delete", "--force", &container.id]), Stdio::null());
        for _ in 0..5 {
            let output = container.call(&["list", "-q"]);
            assert!(output.code == 0 || skip_on(&["runc", "crun"], "list fails while a container goes"), "{output:?}");
        }
        delete.wait().ok();
    }
    container.assert_nothing_left();
}

#[test]
fn the_runtime_killed_during_create() {
    // At points spread over the whole of it: whatever was reached, delete --force removes everything.
    for n in 0..20u64 {
        let container = Bundle::idle().container();
        let create = container.start_create();
        // The wait is what is varied, not a synchronisation.
        std::thread::sleep(std::time::Duration::from_micros(n * 300));
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(create.pid()), nix::sys::signal::SIGKILL);
        create.wait();
        container.delete_force();
        if skip_on(&["runc", "crun"], "leave processes and cgroups behind") {
            let found = container.leftovers();
            crate::common::leftovers::clean_up(&found);
            let _ = fs::remove_dir_all(container.bundle.state_root());
            continue;
        }
        wait_until(|| container.leftovers().is_empty());
        container.create().ok();
    }
}

#[test]
fn a_frozen_container_is_killed() {
    if skip_on(&["runc"], "1.1 waits for ever") {
        return;
    }
    let container = Bundle::idle().container();
    container.up();
    let (file, text) = match Cgroups::detect() {
        Cgroups::V1 => ("freezer.state", "FROZEN"),
        Cgroups::V2 => ("cgroup.freeze", "1"),
    };
    fs::write(host::cgroup_dir("freezer", &container.bundle.cgroup()).join(file), text).unwrap();
    container.delete_force().ok();
    container.assert_nothing_left();
}

/// Who holds a killed process in a v1 freezer below its own cgroup: the first process ends after all others of its pid namespace.
#[test]
fn what_a_container_has_frozen_itself_is_killed() {
    if skip_on(&["runc", "crun"], "thaw the container's own cgroup alone") || lacks(&["freezer"]) {
        return;
    }
    for frozen in ["the first process", "its child"] {
        let container = Bundle::sh("sleep 1000 & wait").container();
        container.up();
        let first = container.pid();
        let children = || fs::read_to_string(format!("/proc/{first}/task/{first}/children")).unwrap();
        wait_until(|| !children().is_empty());
        let pid = if frozen == "its child" { children().trim().to_owned() } else { first.to_string() };
        let dir = host::cgroup_dir("freezer", &container.bundle.cgroup()).join("below");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("cgroup.procs"), pid).unwrap();
        let (file, text) = match Cgroups::detect() {
            Cgroups::V1 => ("freezer.state", "FROZEN"),
            Cgroups::V2 => ("cgroup.freeze", "1"),
        };
        fs::write(dir.join(file), text).unwrap();
        container.kill("KILL").ok();
        wait_until(|| container.status() == "stopped");
        container.delete().ok();
        container.assert_nothing_left();
    }
}

/// Who is not frozen freezes the others again and again, until it dies itself.
#[test]
fn what_freezes_again_and_again_is_killed() {
    // On cgroup2 SIGKILL reaches a frozen process.
    if skip_on(&["runc", "crun"], "thaw once") || Cgroups::detect() == Cgroups::V2 || !host::is_root() {
        return;
    }
    let below = "/sys/fs/cgroup/freezer/below";
    let procs = format!("{below}/cgroup.procs");
    for first in [":".to_owned(), format!("echo 1 >{procs}")] {
        let script = format!(
            "mkdir {below}; (while :; do echo FROZEN >{below}/freezer.state; done) & \
             for i in 1 2 3 4 5 6 7 8; do sleep 1000 & echo $! >{procs}; done; mkdir /sys/fs/cgroup/freezer/done; {first}; wait"
        );
        for _ in 0..12 {
            let container = Bundle::sh(&script).mount("cgroup", "cgroup", "/sys/fs/cgroup", &["rw"]).container();
            container.up();
            let done = host::cgroup_dir("freezer", &container.bundle.cgroup()).join("done");
            wait_until(|| done.exists());
            container.kill("KILL").ok();
            wait_until(|| container.status() == "stopped");
            container.delete().ok();
            container.assert_nothing_left();
        }
    }
}

#[test]
fn fifty_cycles_leave_nothing() {
    let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
    let container = Bundle::new(&["/bin/true"]).container();
    container.run().ok();
    let before = mounts();
    for _ in 0..50 {
        container.run().ok();
    }
    container.assert_nothing_left();
    // Other tests mount things in this namespace meanwhile, but not hundreds.
    assert!(mounts() < before + 40);
}

/// What ignores SIGCHLD hands that down, and cannot wait for its children (wait(2)).
#[test]
fn a_caller_that_ignores_sigchld() {
    let ignoring =
        |command: std::process::Command| process::run(process::in_shell("trap '' CHLD; exec \"$@\"", &command));
    let container = Bundle::sh("exit 7").sh_hook("createRuntime", "cat > /dev/null").container();
    let dir = container.bundle.dir.to_str().unwrap();
    ignoring(container.command(&["run", "--bundle", dir, &container.id])).exits(7);
    let container = Bundle::idle().container();
    container.up();
    ignoring(container.command(&["exec", &container.id, "/bin/sh", "-c", "exit 8"])).exits(8);
    let ps = ignoring(container.command(&["ps", &container.id])).ok();
    assert!(ps.stdout().contains("probe"), "{}", ps.stdout());
}

/// An engine that is given another runtime has its containers below the root of the one before.
#[test]
fn the_state_of_another_runtime_is_left_to_that() {
    if brisk_only("the names are theirs") {
        return;
    }
    let container = Bundle::idle().container();
    container.bundle.write();
    let root = container.bundle.state_root();
    let dir = root.join(&container.id);
    fs::create_dir(&root).unwrap();
    fs::set_permissions(&root, fs::Permissions::from_mode(0o700)).unwrap();
    let states = [
        ("state.json", "{\"id\":\"c\",\"init_process_pid\":1,\"init_process_start\":1,\"cgroup_paths\":{}}"),
        ("state.json", "{\"ociVersion\":\"1.0.2\",\"id\":\"c\",\"status\":\"running\",\"pid\":1,\"creator\":0}"),
        ("status", "{\"pid\":1,\"cgroup-path\":\"/c\"}"),
    ];
    for (name, text) in states {
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join(name), text).unwrap();
        let bundle = container.bundle.dir.to_str().unwrap();
        for words in [&["delete"][..], &["delete", "--force"], &["run", "--replace", "--bundle", bundle]] {
            let said = container.call(&[words, &[&container.id]].concat()).fails();
            assert!(said.contains("another runtime has made the container"), "{words:?}: {said}");
            assert_eq!(fs::read_to_string(dir.join(name)).unwrap(), text, "{words:?}");
        }
        fs::remove_dir_all(&dir).unwrap();
    }
}
