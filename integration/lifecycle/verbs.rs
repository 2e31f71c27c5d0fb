//! create, start, state, kill, delete, run and list, and the flags they share.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::common::{Bundle, Container, brisk_only, host, process, runtime_name, skip_on};

#[test]
fn run_prints_output_and_returns_the_exit_status() {
    let container = Bundle::sh("echo hello; echo oops >&2; exit 7").container();
    let output = container.run().exits(7);
    assert_eq!(output.stdout(), "hello\n");
    assert_eq!(output.stderr(), "oops\n");
    container.assert_nothing_left();
}

#[test]
fn run_returns_128_plus_the_signal_that_ended_the_program() {
    // Process 1 of a pid namespace is immune to its own signals; a child of it is not.
    let container = Bundle::sh("kill -9 $$").without_ns("pid").container();
    container.run().exits(128 + 9);
    container.assert_nothing_left();
}

#[test]
fn run_passes_standard_input_on() {
    let container = Bundle::new(&["/bin/cat"]).container();
    container.bundle.write();
    let dir = container.bundle.dir.to_str().unwrap();
    let output = container.call_with_input(&["run", "--bundle", dir, &container.id], "some words\n").ok();
    assert_eq!(output.stdout(), "some words\n");
}

#[test]
fn the_life_of_a_container() {
    let container = Bundle::idle().set("/annotations", json!({ "some.key": "some value" })).container();
    container.create().ok();
    let state = container.state();
    assert_eq!(state["status"], "created");
    assert_eq!(state["id"], json!(container.id));
    assert_eq!(state["bundle"], json!(container.bundle.dir));
    assert_eq!(state["annotations"]["some.key"], "some value");
    assert!(state["ociVersion"].is_string());
    let pid = state["pid"].as_i64().unwrap();
    assert!(pid > 1);
    container.start().ok();
    let state = container.state();
    assert_eq!(state["status"], "running");
    assert_eq!(state["pid"], json!(pid), "the process that was created is the one that runs");
    container.stop();
    let state = container.state();
    assert_eq!(state["status"], "stopped");
    assert!(state["pid"].is_null() || state["pid"] == 0, "no pid once stopped: {state}");
    container.delete().ok();
    container.assert_nothing_left();
    container.call(&["state", &container.id]).fails();
}

#[test]
fn state_has_rootfs_created_and_owner() {
    let container = Bundle::idle().container();
    container.create().ok();
    let state = container.state();
    assert!(state["rootfs"].as_str().unwrap().ends_with("rootfs"), "{state}");
    assert!(state["created"].as_str().unwrap().contains('T'), "{state}");
    assert!(state.get("owner").is_some(), "{state}");
}

#[test]
fn create_does_not_run_the_program() {
    let container = Bundle::sh("echo ran").container();
    let output = container.create().ok();
    container.kill("KILL").ok();
    container.delete_force().ok();
    assert_eq!(output.stdout(), "");
}

#[test]
fn changing_config_json_after_create_has_no_effect() {
    let mut container = Bundle::sh("echo first").container();
    let output = container.create().ok();
    container.bundle.config["process"]["args"] = json!(["/bin/sh", "-c", "echo second"]);
    container.bundle.write();
    container.start_and_wait();
    assert_eq!(output.stdout(), "first\n");
}

#[test]
fn start_fails_unless_created() {
    let container = Bundle::idle().container();
    container.start().fails();
    container.up();
    container.start().fails();
    assert_eq!(container.status(), "running");
    container.stop();
    container.start().fails();
}

#[test]
fn an_id_in_use_is_refused_and_the_first_is_unharmed() {
    let container = Bundle::idle().container();
    container.up();
    let text = container.create().fails();
    assert!(text.contains("exist"), "{text}");
    assert_eq!(container.status(), "running");
}

#[test]
fn an_id_can_be_used_again_after_delete() {
    let container = Bundle::idle().container();
    for _ in 0..3 {
        container.create().ok();
        container.delete_force().ok();
    }
    container.assert_nothing_left();
}

#[test]
fn delete_of_a_running_container_is_refused() {
    let container = Bundle::idle().container();
    container.up();
    let text = container.delete().fails();
    assert!(["not stopped", "running", "`stopped` state"].iter().any(|words| text.contains(words)), "{text}");
    assert_eq!(container.status(), "running");
}

#[test]
fn delete_force_kills_a_running_container() {
    let container = Bundle::idle().container();
    container.up();
    container.delete_force().ok();
    container.assert_nothing_left();
}

#[test]
fn delete_of_a_created_container_kills_it() {
    let container = Bundle::idle().container();
    container.create().ok();
    container.delete().ok();
    container.assert_nothing_left();
}

#[test]
fn delete_force_of_an_unknown_id_succeeds() {
    let container = Bundle::idle().container();
    container.delete_force().ok();
    let text = container.delete().fails();
    assert!(text.contains("does not exist") || text.contains("No such file"), "{text}");
}

#[test]
fn commands_on_an_unknown_id_fail() {
    let container = Bundle::idle().container();
    for args in [&["state"][..], &["start"], &["kill"], &["pause"], &["resume"], &["ps"]] {
        let mut all = args.to_vec();
        all.push("no-such-container");
        if args == ["kill"] {
            all.push("TERM");
        }
        let text = container.call(&all).fails();
        assert!(text.contains("does not exist") || text.contains("No such file"), "{args:?}: {text}");
    }
}

#[test]
fn kill_takes_names_and_numbers() {
    for (spelling, printed) in
        [("TERM", "SIGTERM"), ("SIGHUP", "SIGHUP"), ("10", "SIGUSR1"), ("usr1", "SIGUSR1"), ("SIGWINCH", "SIGWINCH")]
    {
        if spelling == "usr1" && skip_on(&["crun"], "signal names in lower case") {
            continue;
        }
        let container = Bundle::probe(&["signals"]).container();
        let output = container.create().ok();
        container.start().ok();
        wait_for_line(&output, "ready");
        container.kill(spelling).ok();
        wait_for_line(&output, printed);
        container_ends(&container, || container.kill("USR2").ok());
        assert_eq!(output.stdout(), format!("ready\n{printed}\nSIGUSR2\n"), "kill {spelling}");
    }
}

#[test]
fn kill_without_a_signal_sends_term() {
    let container = Bundle::probe(&["signals"]).container();
    let output = container.create().ok();
    container.start().ok();
    wait_for_line(&output, "ready");
    container.call(&["kill", &container.id]).ok();
    wait_for_line(&output, "SIGTERM");
    // What a script has from a variable that is not set.
    if skip_on(&["crun"], "an empty name is none") {
        return;
    }
    container.kill("").ok();
    host::wait_until(|| output.stdout().matches("SIGTERM").count() == 2);
    container_ends(&container, || container.kill("USR2").ok());
    assert_eq!(output.stdout(), "ready\nSIGTERM\nSIGTERM\nSIGUSR2\n");
}

#[test]
fn kill_all_reaches_every_process() {
    let container = Bundle::sh("sleep 1000 & sleep 1000 & wait").without_ns("pid").container();
    container.up();
    let output = container.call(&["kill", "--all", &container.id, "KILL"]);
    output.ok();
    wait_until(|| container.status() == "stopped");
    container.delete().ok();
    container.assert_nothing_left();
}

#[test]
fn kill_of_a_created_container_is_allowed() {
    let container = Bundle::idle().container();
    container.create().ok();
    container.stop();
    assert_eq!(container.status(), "stopped");
    container.delete().ok();
}

#[test]
fn kill_of_a_stopped_container_fails_with_the_words_engines_look_for() {
    let container = Bundle::new(&["/bin/true"]).container();
    container.create().ok();
    container.start_and_wait();
    let text = container.kill("TERM").fails();
    assert!(
        ["container not running", "no such process", "process already finished"]
            .iter()
            .any(|words| text.to_lowercase().contains(words)),
        "{text}"
    );
}

#[test]
fn kill_refuses_an_unknown_signal() {
    if skip_on(&["crun"], "not checked") {
        return;
    }
    let container = Bundle::idle().container();
    container.up();
    for signal in ["SIGNOTHING", "4711"] {
        container.kill(signal).fails();
    }
    assert_eq!(container.status(), "running");
}

#[test]
fn run_deletes_the_container_and_keep_leaves_it() {
    let container = Bundle::sh("exit 3").container();
    container.run().exits(3);
    container.assert_nothing_left();
    if skip_on(&["crun", "runc"], "run --keep came later") {
        return;
    }
    container.run_with(&["--keep"]).exits(3);
    assert_eq!(container.status(), "stopped");
    container.delete().ok();
}

#[test]
fn run_detached_returns_while_the_container_runs() {
    let container = Bundle::idle().container();
    container.run_with(&["--detach"]).ok();
    assert_eq!(container.status(), "running");
}

#[test]
fn run_forwards_signals() {
    let container = Bundle::probe(&["signals"]).container();
    let running = container.start_run(&[]);
    running.wait_for_stdout(|text| text.contains("ready"));
    // About a terminal that the program does not have.
    send(running.pid(), "WINCH");
    for (signal, name) in [("HUP", "SIGHUP"), ("TERM", "SIGTERM"), ("INT", "SIGINT")] {
        send(running.pid(), signal);
        running.wait_for_stdout(|text| text.contains(name));
    }
    send(running.pid(), "USR2");
    let output = running.wait().ok();
    // Go's scheduler sends SIGURG to itself, and runc forwards it.
    let text = output.stdout().replace("SIGURG\n", "");
    assert_eq!(text, "ready\nSIGHUP\nSIGTERM\nSIGINT\nSIGUSR2\n");
    container.assert_nothing_left();
}

#[test]
fn run_reaps_the_orphans_of_a_container_without_a_pid_namespace() {
    let container = Bundle::sh("(sleep 0 &) ; (sleep 0 &) ; exit 4").without_ns("pid").container();
    container.run().exits(4);
    container.assert_nothing_left();
}

#[test]
fn pid_file_holds_the_pid() {
    let container = Bundle::idle().container();
    let file = container.bundle.dir.join("the.pid");
    container.create_with(&["--pid-file", file.to_str().unwrap()]).ok();
    assert_eq!(fs::read_to_string(&file).unwrap(), container.pid().to_string());
    container.delete_force().ok();
    container.run_with(&["--detach", "--pid-file", file.to_str().unwrap()]).ok();
    assert_eq!(fs::read_to_string(&file).unwrap(), container.pid().to_string());
}

#[test]
fn a_pid_file_that_cannot_be_written_leaves_nothing_beside_it() {
    let container = Bundle::idle().container();
    let place = container.bundle.host_dir("place");
    container.create_with(&["--pid-file", place.to_str().unwrap()]).fails();
    assert!(!container.bundle.dir.join(".place").exists());
    if skip_on(&["runc", "crun"], "fails, or writes in place") {
        return;
    }
    // A link in the way of the temporary file is not written through.
    let victim = container.bundle.dir.join("victim");
    fs::write(&victim, "old").unwrap();
    std::os::unix::fs::symlink(&victim, place.join(".pid")).unwrap();
    container.create_with(&["--pid-file", place.join("pid").to_str().unwrap()]).ok();
    assert_eq!(fs::read_to_string(victim).unwrap(), "old");
    assert_eq!(fs::read_to_string(place.join("pid")).unwrap(), container.pid().to_string());
}

#[test]
fn a_pid_file_that_cannot_be_written_fails_the_create() {
    let container = Bundle::idle().container();
    container.create_with(&["--pid-file", "/no/such/directory/pid"]).fails();
    container.assert_nothing_left();
}

/// Whoever finds the file takes the number for the container's, and it is free again.
#[test]
fn a_create_that_fails_late_leaves_no_pid_file() {
    // More than fs.nr_open: refused by the kernel when the container is all but done.
    let limit = json!([{ "type": "RLIMIT_NOFILE", "soft": 1_u64 << 40, "hard": 1_u64 << 40 }]);
    let container = Bundle::idle().set("/process/rlimits", limit).container();
    let file = container.bundle.dir.join("pid");
    container.create_with(&["--pid-file", file.to_str().unwrap()]).fails();
    assert!(!file.exists());
    // Somebody else's stays.
    fs::write(&file, "1").unwrap();
    container.create_with(&["--pid-file", "/no/such/directory/pid"]).fails();
    assert_eq!(fs::read_to_string(&file).unwrap(), "1");
}

#[test]
fn the_bundle_is_the_working_directory_by_default() {
    let container = Bundle::sh("echo here").container();
    let output = container.call(&["run", &container.id]).ok();
    assert_eq!(output.stdout(), "here\n");
}

#[test]
fn a_relative_bundle_is_stored_absolute() {
    let container = Bundle::idle().container();
    container.call(&["create", "--bundle=.", &container.id]).ok();
    assert_eq!(container.state()["bundle"], json!(container.bundle.dir));
}

#[test]
fn list_shows_containers() {
    let container = Bundle::idle().container();
    fs::create_dir(container.bundle.state_root()).unwrap();
    assert_eq!(container.call(&["list", "-q"]).ok().stdout(), "");
    container.up();
    assert_eq!(container.call(&["list", "-q"]).ok().stdout(), format!("{}\n", container.id));
    let table = container.call(&["list"]).ok().stdout();
    for word in ["ID", "PID", "STATUS", "BUNDLE", &container.id, "running", container.bundle.dir.to_str().unwrap()] {
        assert!(table.contains(word), "{word} is missing: {table}");
    }
    let list = container.call(&["list", "--format", "json"]).ok().json();
    assert_eq!(list[0]["id"], json!(container.id));
    assert_eq!(list[0]["pid"], json!(container.pid()));
    assert_eq!(list[0]["status"], "running");
}

#[test]
fn a_directory_without_a_container_is_not_listed() {
    let container = Bundle::idle().container();
    container.up();
    let root = container.bundle.state_root();
    std::fs::create_dir(root.join("stray")).unwrap();
    assert_eq!(container.call(&["list", "-q"]).ok().stdout(), format!("{}\n", container.id));
    assert!(!container.call(&["list"]).ok().stdout().contains("stray"));
    std::fs::remove_dir(root.join("stray")).unwrap();
}

#[test]
fn list_of_no_containers_in_json_is_empty() {
    let container = Bundle::idle().container();
    fs::create_dir(container.bundle.state_root()).unwrap();
    let list = container.call(&["list", "--format", "json"]).ok().json();
    assert!(list.is_null() || list == json!([]), "{list}");
}

#[test]
fn preserve_fds_passes_that_many_and_no_more() {
    let container = Bundle::probe(&["report"]).container();
    let fds = |args: &[&str]| -> Vec<String> {
        let mut all = vec!["run", "--bundle", container.bundle.dir.to_str().unwrap()];
        all.extend(args);
        all.push(&container.id);
        let output = process::run(with_open_fds(&container, &all)).ok();
        output.json()["report"]["fds"].as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(fds(&[]), ["0", "1", "2"]);
    assert_eq!(fds(&["--preserve-fds", "1"]), ["0", "1", "2", "3"]);
    assert_eq!(fds(&["--preserve-fds=2"]), ["0", "1", "2", "3", "4"]);
}

/// What is not open stays closed, and nothing of the runtime takes its number: not the log, nor the console socket.
#[test]
fn preserve_fds_of_closed_descriptors_passes_the_open_ones() {
    if skip_on(&["runc"], "refuses") {
        return;
    }
    let container = Bundle::probe(&["report"]).container();
    let log = container.bundle.dir.join("log");
    let dir = container.bundle.dir.to_str().unwrap();
    let args = ["--log", log.to_str().unwrap(), "run", "--bundle", dir, "--preserve-fds", "50", &container.id];
    let output = process::run(with_open_fds(&container, &args)).ok();
    let report = output.json();
    let fds = report["report"]["fds"].as_object().unwrap();
    for (number, link) in fds.iter().filter(|(number, _)| !["0", "1", "2"].contains(&number.as_str())) {
        // Of the shell above, or of whoever runs the tests.
        let ours = fs::read_link(format!("/proc/self/fd/{number}")).ok();
        assert!(link == "/dev/null" || ours.is_some_and(|ours| *link == json!(ours)), "{number} is {link}");
    }
    assert!(["3", "4", "5", "9"].iter().all(|number| fds[*number] == "/dev/null"), "{fds:?}");
    let container = Bundle::idle().container();
    container.create_with(&["--preserve-fds", "20"]).ok();
    // Nor are they there while it waits for `start`.
    let open = fs::read_dir(format!("/proc/{}/fd", container.pid())).unwrap();
    let numbers: Vec<u32> = open.map(|fd| fd.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
    let ours = |number: &u32| std::path::Path::new(&format!("/proc/self/fd/{number}")).exists();
    assert!(numbers.iter().all(|number| *number < 3 || *number > 22 || ours(number)), "{numbers:?}");
}

#[test]
fn listen_fds_are_passed_on() {
    let container = Bundle::probe(&["report"]).container();
    let args = ["run", "--bundle", container.bundle.dir.to_str().unwrap(), &container.id];
    let runtime = container.command(&args);
    let mut command = std::process::Command::new("/bin/sh");
    command.args(["-c", r#"export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@" 3</dev/null 4</dev/null"#, "sh"]);
    command.arg(runtime.get_program()).args(runtime.get_args()).current_dir(&container.bundle.dir);
    let report = process::run(command).ok().json();
    let report = &report["report"];
    assert!(report["fds"].get("3").is_some(), "{report}");
    assert!(report["fds"].get("4").is_none(), "{report}");
    if skip_on(&["crun"], "sets no environment") {
        return;
    }
    assert_eq!(report["env"]["LISTEN_FDS"], "1");
    assert_eq!(report["env"]["LISTEN_PID"], "1");
}

#[test]
fn no_descriptor_of_the_runtime_reaches_the_program() {
    let container = Bundle::probe(&["report"]).container();
    let report = container.run().ok().json();
    let fds: Vec<&String> = report["report"]["fds"].as_object().unwrap().keys().collect();
    assert_eq!(fds, ["0", "1", "2"], "{report}");
}

/// The runtime with descriptors 3, 4, 5 and 9 open and inheritable (a shell opens them).
fn with_open_fds(container: &Container, args: &[&str]) -> std::process::Command {
    let runtime = container.command(args);
    let mut shell = std::process::Command::new("/bin/sh");
    shell.args(["-c", r#"exec "$@" 3</dev/null 4</dev/null 5</dev/null 9</dev/null"#, "sh"]);
    shell.arg(runtime.get_program()).args(runtime.get_args()).current_dir(&container.bundle.dir);
    shell
}

#[test]
fn version_has_three_lines() {
    let container = Bundle::idle().container();
    let text = container.call(&["--version"]).ok().stdout();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].contains(" version "), "{text}");
    assert!(lines[1].starts_with("commit: "), "{text}");
    assert!(lines.iter().any(|l| l.starts_with("spec: 1.")), "{text}");
}

#[test]
fn json_log_has_level_msg_and_time() {
    let container = Bundle::idle().container();
    let log = container.bundle.dir.join("log.json");
    let log = log.to_str().unwrap();
    container.call(&["--log", log, "--log-format", "json", "state", "no-such-container"]).fails();
    let line = last_error(log);
    assert!(
        line["msg"].as_str().unwrap().contains("does not exist") || line["msg"].as_str().unwrap().contains("No such")
    );
    assert!(line["time"].as_str().unwrap().contains('T'), "{line}");
}

#[test]
fn the_log_file_exists_even_for_argument_errors() {
    if skip_on(&["runc", "crun"], "they parse arguments before they open the log") {
        return;
    }
    let container = Bundle::idle().container();
    let log = container.bundle.dir.join("log.json");
    let log = log.to_str().unwrap();
    container.call(&["--log", log, "--log-format", "json", "create", "--no-such-flag", "x"]).fails();
    assert!(last_error(log)["msg"].as_str().unwrap().contains("no-such-flag"));
}

#[test]
fn text_log_is_text() {
    let container = Bundle::idle().container();
    let log = container.bundle.dir.join("log");
    container.call(&["--log", log.to_str().unwrap(), "state", "no-such-container"]).fails();
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.contains("does not exist") || text.contains("No such"), "{text}");
    assert!(serde_json::from_str::<Value>(text.lines().next().unwrap()).is_err(), "{text}");
}

#[test]
fn a_failed_run_logs_an_error_with_its_cause() {
    let container = Bundle::new(&["/no/such/program"]).container();
    let log = container.bundle.dir.join("log.json");
    let log = log.to_str().unwrap();
    let dir = container.bundle.dir.to_str().unwrap();
    container.call(&["--log", log, "--log-format=json", "run", "--bundle", dir, &container.id]).fails();
    let message = last_error(log)["msg"].as_str().unwrap().to_lowercase();
    // What podman's regular expression for exit status 127 looks for.
    assert!(message.contains("no such file or directory"), "{message}");
    container.assert_nothing_left();
}

#[test]
fn wrong_arguments_are_refused() {
    let container = Bundle::idle().container();
    container.call(&["create"]).fails();
    container.call(&["no-such-command"]).fails();
    container.call(&["create", "--no-such-flag", "x"]).fails();
    container.call(&["state"]).fails();
    container.assert_nothing_left();
}

#[test]
fn spec_makes_a_bundle_that_runs() {
    let container = Bundle::idle().container();
    fs::remove_file(container.bundle.dir.join("config.json")).unwrap();
    container.call(&["spec"]).ok();
    let text = fs::read_to_string(container.bundle.dir.join("config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(config["root"]["path"], "rootfs");
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["/bin/echo", "from spec"]);
    config["linux"]["cgroupsPath"] = json!(container.bundle.cgroup());
    // Raising a hard limit needs a capability that test machines lack.
    config["process"].as_object_mut().unwrap().remove("rlimits");
    fs::write(container.bundle.dir.join("config.json"), config.to_string()).unwrap();
    assert_eq!(container.run().ok().stdout(), "from spec\n");
    // It does not overwrite.
    container.call(&["spec"]).fails();
}

#[test]
fn features_is_json() {
    if skip_on(&["crun"], "came later") {
        return;
    }
    let container = Bundle::idle().container();
    let features = container.call(&["features"]).ok().json();
    assert_eq!(features["ociVersionMin"].as_str().unwrap().split('.').next(), Some("1"));
    for hook in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        assert!(features["hooks"].as_array().unwrap().contains(&json!(hook)), "{features}");
    }
    for kind in ["pid", "network", "mount", "ipc", "uts", "user", "cgroup"] {
        assert!(features["linux"]["namespaces"].as_array().unwrap().contains(&json!(kind)), "{features}");
    }
}

#[test]
fn containers_in_parallel_do_not_disturb_each_other() {
    let containers: Vec<Container> = (0..4).map(|i| Bundle::sh(&format!("exit {i}")).container()).collect();
    let running: Vec<_> = containers.iter().map(|c| c.start_run(&[])).collect();
    for (i, running) in running.into_iter().enumerate() {
        running.wait().exits(i32::try_from(i).unwrap());
    }
}

#[test]
fn a_created_container_holds_no_pipe_of_its_creator() {
    // A caller that reads the output of create until its end must not wait for the container.
    let container = Bundle::idle().container();
    let fifo = container.bundle.dir.join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let reader = fs::File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&fifo).unwrap();
    let runtime = container.command(&["create", "--bundle", container.bundle.dir.to_str().unwrap(), &container.id]);
    let mut shell = std::process::Command::new("/bin/sh");
    // Descriptor 3 of the runtime is the pipe, without --preserve-fds.
    shell.args(["-c", r#"exec "$@" 3>fifo"#, "sh"]).current_dir(&container.bundle.dir);
    shell.arg(runtime.get_program()).args(runtime.get_args());
    process::run(shell).ok();
    use std::os::fd::AsFd;
    let limit = std::time::Duration::from_secs(5);
    // crun and runc keep such a descriptor open in the waiting init until start.
    if skip_on(&["runc", "crun"], "init keeps foreign descriptors until start") {
        return;
    }
    assert!(process::wait_readable(reader.as_fd(), limit), "someone still holds the pipe");
}

fn last_error(log: &str) -> Value {
    let text = fs::read_to_string(log).unwrap();
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .rfind(|line| line["level"] == "error" || line["level"] == "fatal")
        .unwrap_or_else(|| panic!("no error in {text}"))
}

fn send(pid: i32, signal: &str) {
    let signal: nix::sys::signal::Signal = format!("SIG{signal}").parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
}

fn wait_for_line(output: &process::Output, line: &str) {
    wait_until(|| output.stdout().lines().any(|l| l == line));
}

/// Runs `action`, which makes the container's program end, and waits for that.
fn container_ends<T>(container: &Container, action: impl FnOnce() -> T) {
    use std::os::fd::AsFd;
    let pidfd = process::pidfd_open(container.pid()).unwrap();
    action();
    assert!(process::wait_readable(pidfd.as_fd(), crate::common::time_limit()));
}

use crate::common::host::wait_until;

#[test]
fn host_is_clean_between_tests() {
    // The helper that all other tests rely on can see a process, a mount and a cgroup.
    let container = Bundle::idle().container();
    container.up();
    let found = container.leftovers().join("\n");
    for word in ["process ", "cgroup: ", "state: "] {
        assert!(found.contains(word), "{word} not in {found}");
    }
    assert!(host::is_root() || found.contains("process"));
}

#[test]
fn ps_of_a_container_that_has_ended_is_empty() {
    let container = Bundle::idle().container();
    container.up();
    container.stop();
    host::wait_until(|| container.status() == "stopped");
    if skip_on(&["runc", "crun"], "since runc 1.4") {
        return;
    }
    assert_eq!(container.call(&["ps", "--format", "json", &container.id]).ok().json(), json!([]));
    assert_eq!(container.call(&["ps", &container.id]).ok().stdout().lines().count(), 1, "the titles");
}

/// The lifecycle goes on where the container is destroyed (runtime-spec 1.3, "Lifecycle", step 10).
#[test]
fn a_failed_poststart_hook_of_start_deletes_the_container() {
    let container =
        Bundle::idle().sh_hook("poststart", "exit 1").sh_hook("poststop", "echo poststop >> $OUT").container();
    if skip_on(&["runc", "crun"], "runc 1.1 runs it in create, crun ignores it") {
        return;
    }
    container.create().ok();
    let text = container.start().fails();
    assert!(text.contains("error running poststart hook #0"), "{text}");
    container.assert_nothing_left();
    assert_eq!(container.bundle.hook_output(), "poststop\n");
}

/// config.md: `process` is required by `start`, not by `create`.
#[test]
fn create_does_without_a_process_and_start_does_not() {
    if skip_on(&["runc"], "refuses it in create") {
        return;
    }
    let container = Bundle::idle().unset("/process").container();
    container.create().ok();
    assert_eq!(container.status(), "created");
    container.start().fails();
    if runtime_name() == "brisk" {
        assert_eq!(container.status(), "created", "nothing was begun");
    }
    container.delete_force().ok();
    let text = container.run().fails();
    if runtime_name() == "brisk" {
        assert!(text.contains("config.json has no process"), "{text}");
    }
    container.assert_nothing_left();
}

/// Without a log daemon a container runs all the same.
#[test]
fn a_log_that_is_not_there_does_not_keep_a_container() {
    if brisk_only("crun says nothing, runc knows no such log") {
        return;
    }
    let container = Bundle::sh("echo fine").container();
    let dir = container.bundle.dir.to_str().unwrap();
    for (log, path) in [("journald:x", "/run/systemd/journal/socket"), ("syslog:x", "/dev/log")] {
        if std::path::Path::new(path).exists() {
            continue;
        }
        let output = container.call(&["--log", log, "run", "--bundle", dir, &container.id]).ok();
        assert_eq!(output.stdout(), "fine\n");
        assert!(output.stderr().contains("warning: ") && output.stderr().contains(path), "{output:?}");
    }
    container.call(&["--log", "/no/such/directory/log", "run", "--bundle", dir, &container.id]).fails();
}

/// As the first process of a pid namespace what waits for `start` would get no signal without a handler, but SIGKILL.
#[test]
fn a_created_container_can_be_asked_to_end() {
    if skip_on(&["crun"], "only SIGKILL ends it") {
        return;
    }
    for signal in ["TERM", "INT", "HUP", "QUIT"] {
        let container = Bundle::idle().container();
        container.create().ok();
        container.kill(signal).ok();
        host::wait_until(|| container.status() == "stopped");
        container.delete().ok();
        container.assert_nothing_left();
    }
    let hook = Bundle::idle().hook("startContainer", "/bin/true", &["true"]).container();
    hook.create().ok();
    hook.kill("TERM").ok();
    host::wait_until(|| hook.status() == "stopped");
    // The program has what is the default again: for the first process of a namespace that is to ignore it.
    let container = Bundle::sh("kill -TERM $$; echo on > /tmp/on").container();
    container.create().ok();
    container.start_and_wait();
    assert!(container.bundle.rootfs().join("tmp/on").exists());
    let status = Bundle::new(&["/bin/cat", "/proc/self/status"]).container().run().ok().stdout();
    assert!(status.contains("SigCgt:\t0000000000000000") && status.contains("SigIgn:\t0000000000000000"), "{status}");
}

/// Another command may be at the container when its program ends; the `run` that deletes it then is not what keeps it.
#[test]
fn a_run_outwaits_who_has_the_lock_at_its_end() {
    if brisk_only("the lock is its own") {
        return;
    }
    let container = Bundle::sh("while [ ! -e /tmp/go ]; do sleep 0.05; done; exit 7").container();
    let dir = container.bundle.dir.to_str().unwrap();
    let run = process::start(container.command(&["run", "--bundle", dir, &container.id]), Stdio::null());
    host::wait_until(|| container.call(&["state", &container.id]).stdout().contains("running"));
    let state = fs::File::open(container.bundle.state_root().join(&container.id)).unwrap();
    let lock = nix::fcntl::Flock::lock(state, nix::fcntl::FlockArg::LockExclusive).unwrap();
    fs::write(container.bundle.rootfs().join("tmp/go"), "").unwrap();
    // As long as several looks at who has it.
    std::thread::sleep(std::time::Duration::from_millis(1500));
    drop(lock);
    assert_eq!(run.wait().code, 7);
    container.assert_nothing_left();
}
