//! What a template refuses, and what is refused it: it waits on, and can still be started.

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use super::{ends, pidfd, start, still_starts, template, try_start};
use crate::common::{Bundle, brisk_only, host, lacks, process};

/// What it mounted and limited is not the next one's.
#[test]
fn a_start_that_was_interrupted_was_the_last() {
    if brisk_only("templates") || lacks(&["pids"]) {
        return;
    }
    let container = template(Bundle::idle());
    // It has something to say when all is changed, and nobody listens: it stays there until it is killed.
    let process =
        json!({ "args": ["/bin/true"], "cwd": "/", "capabilities": { "bounding": ["CAP_OF_ANOTHER_KERNEL"] } });
    let file = container.bundle.dir.join("process.json");
    std::fs::write(&file, process.to_string()).unwrap();
    let place = format!("{}:/mnt", container.bundle.host_dir("shared").display());
    let flags = ["--process", file.to_str().unwrap(), "--mount", &place, "--pids", "7"];
    let (_reader, mut full) = std::io::pipe().unwrap();
    full.write_all(&[b'x'; 65536]).unwrap();
    // A log, for what a program of its own may read is held back.
    let start = ["--log-format", "json", "start"];
    let mut command = container.command(&[&start[..], &flags[..], &[&container.id]].concat());
    let mut start = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(full).spawn().unwrap();
    host::wait_until(|| container.cgroup_file("pids", "pids.max") == "7");
    start.kill().unwrap();
    start.wait().unwrap();
    assert_eq!(container.status(), "created");
    for flags in [&[][..], &["--pids", "9"]] {
        let error = try_start(&container, flags, &["/bin/true"]).fails();
        assert!(error.contains("an earlier start of the template was interrupted"), "{error}");
    }
    container.delete_force().ok();
    container.assert_nothing_left();
}

/// What its process waits for is laid out as the brisk that made it has it.
#[test]
fn a_template_of_another_brisk_is_not_started() {
    if brisk_only("templates") {
        return;
    }
    let container = template(Bundle::idle());
    let file = container.record_file();
    let text = std::fs::read_to_string(&file).unwrap();
    let mut record: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(record["version"], json!(2), "a brisk that knows no templates must not take it for a container");
    record["build"] = json!("0.0.1 another");
    std::fs::write(&file, record.to_string()).unwrap();
    let error = try_start(&container, &[], &["/bin/true"]).fails();
    assert!(error.contains("made by brisk 0.0.1 another") && error.contains("create it again"), "{error}");
    std::fs::write(&file, text).unwrap();
    still_starts(&container);
}

/// It would take what it is sent whenever it is let go on; nobody waits for that, and nothing of it stays.
#[test]
fn a_process_that_is_stopped_is_told_and_the_template_waits_on() {
    if brisk_only("templates") || lacks(&["pids"]) {
        return;
    }
    let container = template(Bundle::idle());
    let state = |letter: char| {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", container.pid())).unwrap();
        stat.rsplit_once(") ").unwrap().1.starts_with(letter)
    };
    let before = container.cgroup_file("pids", "pids.max");
    container.kill("STOP").ok();
    host::wait_until(|| state('T'));
    let place = format!("{}:/mnt", container.bundle.host_dir("shared").display());
    let error = try_start(&container, &["--mount", &place, "--pids", "7"], &["/bin/echo", "stopped"]).fails();
    assert!(error.contains("process is stopped") && error.contains("it waits on"), "{error}");
    container.kill("CONT").ok();
    host::wait_until(|| state('S'));
    assert_eq!(container.cgroup_file("pids", "pids.max"), before);
    let mounts = container.mountinfo();
    assert!(!mounts.contains(" /mnt "), "{mounts}");
    still_starts(&container);
}

/// Neither over it, nor above or below, nor by way of a link.
#[test]
fn no_mount_comes_over_what_is_masked_or_read_only() {
    if brisk_only("templates") {
        return;
    }
    let bundle = Bundle::idle()
        .set("/linux/readonlyPaths", json!(["/etc/kept"]))
        .set("/linux/maskedPaths", json!(["/srv/dark", "/by/link"]));
    for dir in ["etc/kept/below", "srv/dark", "real/link"] {
        std::fs::DirBuilder::new().recursive(true).create(bundle.rootfs().join(dir)).unwrap();
    }
    for (target, link) in [("/etc", "way"), ("/real", "by"), ("/srv/dark", "last")] {
        std::os::unix::fs::symlink(target, bundle.rootfs().join(link)).unwrap();
    }
    let container = template(bundle);
    let source = container.bundle.host_dir("shared");
    let places = [
        "/etc/kept",
        "/etc/kept/below",
        "/etc",
        "/way/kept",
        "/way",
        "/way/kept/new",
        "/srv",
        "/srv/dark/new",
        "/last",
        "/real/link",
        "/by/link",
        "/real",
        "/mnt/../srv",
    ];
    for place in places {
        let error =
            try_start(&container, &["--mount", &format!("{}:{place}", source.display())], &["/bin/true"]).fails();
        assert!(error.contains("masked or read-only"), "{place}: {error}");
    }
    let beside = format!("{}:/etc/other", source.display());
    assert_eq!(start(&container, &["--mount", &beside], &["/bin/echo", "beside"]).stdout(), "beside\n");
}

/// The words are those of a `create`, and the template waits on.
#[test]
fn a_program_that_is_not_there_is_told_and_the_template_waits_on() {
    if brisk_only("templates") {
        return;
    }
    let bundle = Bundle::idle();
    bundle.file("etc/data", "no program");
    nix::unistd::mkfifo(&bundle.rootfs().join("etc/pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let container = template(bundle);
    let no_program = |args: &[&str]| try_start(&container, &[], args).fails();
    assert!(no_program(&["nowhere"]).contains("exec: \"nowhere\": executable file not found in $PATH"));
    assert!(no_program(&["/not/there"]).contains("exec: \"/not/there\": stat /not/there: no such file or directory"));
    assert!(no_program(&["/etc/data"]).contains("exec: \"/etc/data\": permission denied"));
    assert!(no_program(&["/etc"]).contains("exec: \"/etc\": is a directory"));
    assert!(no_program(&["/etc/pipe"]).contains("exec: \"/etc/pipe\": permission denied"));
    assert!(
        try_start(&container, &["--cwd", "/not/there"], &["/bin/true"])
            .fails()
            .contains("chdir to cwd (\"/not/there\")")
    );
    assert!(try_start(&container, &["--cwd", "relative"], &["/bin/true"]).fails().contains("cwd"));
    still_starts(&container);
}

/// What only execve(2) finds out comes too late to try again, and is told all the same.
#[test]
fn a_program_that_cannot_be_executed_is_an_error_of_start() {
    if brisk_only("templates") {
        return;
    }
    let bundle = Bundle::idle();
    bundle.script("rootfs/bin/script", "#!/not/there\n");
    let container = template(bundle);
    let pidfd = pidfd(&container);
    let error = try_start(&container, &[], &["/bin/script"]).fails();
    assert!(error.contains("exec \"/bin/script\": no such file or directory"), "{error}");
    ends(&pidfd);
    assert_eq!(container.status(), "stopped");
}

#[test]
fn what_the_template_promised_holds() {
    if brisk_only("templates") {
        return;
    }
    let container = template(Bundle::idle());
    let error = try_start(&container, &["--cap", "CAP_SYS_ADMIN"], &["/bin/true"]).fails();
    assert!(error.contains("CAP_SYS_ADMIN is not in the template's bounding set"), "{error}");
    let file = container.bundle.dir.join("process.json");
    for (process, word) in [
        (json!({ "apparmorProfile": "other" }), "process.apparmorProfile other is not the template's, which is none"),
        (json!({ "selinuxLabel": "a:b:c:s0" }), "process.selinuxLabel a:b:c:s0 is not the template's"),
        (
            json!({ "capabilities": { "ambient": ["CAP_NET_ADMIN"] } }),
            "CAP_NET_ADMIN is not in the template's bounding set",
        ),
    ] {
        let mut all = json!({ "args": ["/bin/true"], "cwd": "/", "user": { "uid": 0, "gid": 0 } });
        all.as_object_mut().unwrap().extend(process.as_object().unwrap().clone());
        std::fs::write(&file, all.to_string()).unwrap();
        let error = try_start(&container, &["--process", file.to_str().unwrap()], &[]).fails();
        assert!(error.contains(word), "{error}");
    }
    still_starts(&container);
    container.delete().ok();

    // A filter and no_new_privs are the template's, whatever process.json leaves out.
    let container = template(Bundle::idle().with_docker_seccomp());
    let all = json!({ "args": ["/probe", "report"], "cwd": "/", "noNewPrivileges": false });
    let file = container.bundle.dir.join("process.json");
    std::fs::write(&file, all.to_string()).unwrap();
    let seen = start(&container, &["--process", file.to_str().unwrap()], &[]).json();
    let status = &seen["report"]["status"];
    assert_eq!((&status["NoNewPrivs"], &status["Seccomp"]), (&json!("1"), &json!("2")));
}

/// What can be tried before, is.
#[test]
fn what_the_kernel_refuses_a_program_it_refuses_in_time() {
    if brisk_only("templates") {
        return;
    }
    let container = template(Bundle::idle().userns().set("/process/rlimits", json!([])));
    let file = container.bundle.dir.join("process.json");
    for (field, value, word) in [
        ("scheduler", json!({ "policy": "SCHED_FIFO", "priority": 5 }), "scheduler"),
        ("ioPriority", json!({ "class": "IOPRIO_CLASS_RT", "priority": 1 }), "io priority"),
    ] {
        let process = json!({ "args": ["/bin/true"], "cwd": "/", field: value });
        std::fs::write(&file, process.to_string()).unwrap();
        let error = try_start(&container, &["--process", file.to_str().unwrap()], &[]).fails();
        assert!(error.contains(word), "{error}");
    }
    still_starts(&container);
}

/// Exactly one of many `start`s has its program run.
#[test]
fn one_of_several_starts_wins() {
    if brisk_only("templates") {
        return;
    }
    for _ in 0..8 {
        let container = template(Bundle::idle());
        let pidfd = pidfd(&container);
        let starts: Vec<_> = (0..6)
            .map(|number| {
                let text = format!("started {number}");
                let command = container.command(&["start", &container.id, "--", "/bin/echo", &text]);
                process::start(command, Stdio::null())
            })
            .collect();
        let done: Vec<_> = starts.into_iter().map(process::Running::wait).collect();
        ends(&pidfd);
        let won: Vec<String> = done.iter().filter(|start| start.code == 0).map(process::Output::stdout).collect();
        assert_eq!(won.len(), 1, "{done:?}");
        let ran: Vec<String> = done.iter().map(process::Output::stdout).filter(|text| !text.is_empty()).collect();
        assert_eq!(ran, won, "{done:?}");
        for lost in done.iter().filter(|start| start.code != 0) {
            let error = lost.stderr();
            assert!(error.contains("already running") || error.contains("has stopped"), "{error}");
        }
    }
}

/// Before the program runs.
#[test]
fn who_cannot_be_told_is_an_error_in_time() {
    if brisk_only("templates") {
        return;
    }
    let container = template(Bundle::idle());
    for flag in ["--pid-file", "--pidfd-socket"] {
        let output = try_start(&container, &[flag, "/not/there/it"], &["/bin/echo", "ran"]);
        assert_eq!(output.stdout(), "");
        assert!(output.fails().contains("/not/there/it"));
    }
    still_starts(&container);
}

#[test]
fn what_cannot_be_a_template_is_refused() {
    if brisk_only("templates") {
        return;
    }
    let container = Bundle::idle().hook("startContainer", "/bin/true", &["true"]).container();
    assert!(container.create_with(&["--template"]).fails().contains("startContainer hooks"));
    container.assert_nothing_left();
    let container = Bundle::idle().container();
    assert!(
        container.create_with(&["--template", "--preserve-fds", "1"]).fails().contains("descriptors come with start")
    );
    container.assert_nothing_left();
    let error = container.create_with(&["--template", "--console-socket", "/not/there"]).fails();
    assert!(error.contains("the terminal of a template comes with start"), "{error}");
    let container = Bundle::idle().unset("/process").container();
    container.create_with(&["--template"]).ok();
    assert!(try_start(&container, &[], &[]).fails().contains("the template has no program"));
    assert_eq!(start(&container, &[], &["/bin/echo", "any"]).stdout(), "any\n");
    container.delete().ok();
    // The other way round: what is no template takes nothing.
    let container = Bundle::idle().container();
    container.create().ok();
    for flags in [&["--env", "A=b"][..], &["--stdio", "null"], &["--pids", "3"]] {
        assert!(try_start(&container, flags, &[]).fails().contains("no template"));
    }
    assert!(try_start(&container, &[], &["/bin/true"]).fails().contains("no template"));
    container.start().ok();
}
