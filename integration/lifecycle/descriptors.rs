//! Descriptors: what the caller passes on, and what is held by nobody.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;

use serde_json::json;

use crate::common::{Bundle, Container, process, skip_on};

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
    let report = process::run(process::in_shell(
        r#"export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@" 3</dev/null 4</dev/null"#,
        &runtime,
    ))
    .ok()
    .json();
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
    process::in_shell(r#"exec "$@" 3</dev/null 4</dev/null 5</dev/null 9</dev/null"#, &runtime)
}

#[test]
fn a_created_container_holds_no_pipe_of_its_creator() {
    // A caller that reads the output of create until its end must not wait for the container.
    let container = Bundle::idle().container();
    let fifo = container.bundle.dir.join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let reader = fs::File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&fifo).unwrap();
    let runtime = container.command(&["create", "--bundle", container.bundle.dir.to_str().unwrap(), &container.id]);
    // Descriptor 3 of the runtime is the pipe, without --preserve-fds.
    process::run(process::in_shell(r#"exec "$@" 3>fifo"#, &runtime)).ok();
    use std::os::fd::AsFd;
    let limit = std::time::Duration::from_secs(5);
    // crun and runc keep such a descriptor open in the waiting init until start.
    if skip_on(&["runc", "crun"], "init keeps foreign descriptors until start") {
        return;
    }
    assert!(process::wait_readable(reader.as_fd(), limit), "someone still holds the pipe");
}
