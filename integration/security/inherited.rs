//! What a container inherits from whoever calls the runtime, and must not.

use std::fs::File;

use crate::common::{Bundle, process, skip_on};

/// An empty user is none: a script whose variable is unset would else run as the container's user, often root.
#[test]
fn an_empty_user_is_refused() {
    if skip_on(&["runc", "crun"], "take it for no flag") {
        return;
    }
    let container = Bundle::idle().container();
    container.up();
    for args in [&["--user", ""][..], &["--user="], &["-u", ""], &["--user", ":"], &["--user", ":0"], &["--user", "0:"]]
    {
        let output = container.exec_with(args, &["/bin/true"]);
        assert_ne!(output.code, 0, "{args:?} was taken: {output:?}");
    }
}

/// Descriptors are passed on to whom they were meant for (sd_listen_fds(3)): LISTEN_PID is somebody else's here.
#[test]
fn listen_fds_of_another_process_are_not_passed_on() {
    if skip_on(&["crun"], "does not look at LISTEN_PID") {
        return;
    }
    let container = Bundle::probe(&["report"]).container();
    let dir = container.bundle.dir.to_str().unwrap();
    let secret = container.bundle.dir.join("secret");
    File::create_new(&secret).unwrap();
    let script = format!("exec \"$@\" 3<{}", secret.display());
    let inner = container.command(&["run", "--bundle", dir, &container.id]);
    let mut command = process::in_shell(&script, &inner);
    command.env("LISTEN_FDS", "1").env("LISTEN_PID", "1");
    let out = process::run(command).ok().json();
    let fds = out["report"]["fds"].as_object().unwrap();
    assert!(!fds.values().any(|link| link.as_str().unwrap().ends_with("/secret")), "{fds:?}");
}

/// What is preserved has to be the caller's. The runtime's own descriptors, its log among them, are not, whatever number they
/// would have.
#[test]
fn the_runtimes_own_descriptors_do_not_count_as_the_callers() {
    if skip_on(&["runc", "crun"], "close what is not there, or pass their own") {
        return;
    }
    let bundle = Bundle::probe(&["report"]);
    let log = bundle.dir.join("log");
    for count in 1..8 {
        let container = Bundle::probe(&["report"]).container();
        let (dir, count) = (container.bundle.dir.to_str().unwrap(), count.to_string());
        let global = ["--log", log.to_str().unwrap(), "--log-format", "json"];
        for global in [&global[..], &[]] {
            let args = [global, &["run", "--bundle", dir, "--preserve-fds", &count, &container.id]].concat();
            only_callers(&container.call(&args));
        }
        let container = Bundle::idle().container();
        container.up();
        only_callers(&container.exec_with(&["--preserve-fds", &count], &["/probe", "report"]));
    }
}

/// Beyond the standard streams there is nothing but what the test program itself was started with.
#[track_caller]
fn only_callers(output: &process::Output) {
    assert_eq!(output.code, 0, "{output:?}");
    let report = output.json();
    for (number, link) in report["report"]["fds"].as_object().unwrap() {
        let ours = std::fs::read_link(format!("/proc/self/fd/{number}")).ok();
        let same = ours.is_some_and(|ours| link.as_str() == ours.to_str());
        assert!(same || ["0", "1", "2"].contains(&number.as_str()), "{number} is {link}");
    }
}
