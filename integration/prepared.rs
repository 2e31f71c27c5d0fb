//! Templates: containers whose program comes with `start`.

mod pool_races;
pub mod pools;
mod refusals;

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::common::container::{has, mount_at};
use crate::common::{Bundle, Container, brisk_only, host, lacks, process, time_limit};

/// A template, which waits.
#[track_caller]
fn template(bundle: Bundle) -> Container {
    let container = bundle.container();
    container.create_with(&["--template"]).ok();
    container
}

#[track_caller]
fn pidfd(container: &Container) -> OwnedFd {
    process::pidfd_open(container.pid()).unwrap()
}

#[track_caller]
fn ends(pidfd: &OwnedFd) {
    assert!(process::wait_readable(pidfd.as_fd(), time_limit()), "the program does not end");
}

/// Starts it with these flags and this program, and waits for its end; what it printed.
#[track_caller]
fn start(container: &Container, flags: &[&str], program: &[&str]) -> process::Output {
    let pidfd = pidfd(container);
    let output = try_start(container, flags, program).ok();
    ends(&pidfd);
    output
}

/// Starts it and expects nothing.
#[track_caller]
fn try_start(container: &Container, flags: &[&str], program: &[&str]) -> process::Output {
    let mut args = vec!["start"];
    args.extend(flags);
    args.push(&container.id);
    if !program.is_empty() {
        args.push("--");
        args.extend(program);
    }
    container.call(&args)
}

#[track_caller]
fn report(container: &Container, flags: &[&str]) -> Value {
    start(container, flags, &["/probe", "report"]).json()["report"].take()
}

/// What was refused changed nothing: it can still be started.
#[track_caller]
fn still_starts(container: &Container) {
    assert_eq!(container.status(), "created");
    assert_eq!(start(container, &[], &["/bin/echo", "still"]).stdout(), "still\n");
}

fn caps(status: &Value, set: &str) -> u64 {
    u64::from_str_radix(status[set].as_str().unwrap(), 16).unwrap()
}

#[test]
fn the_program_comes_with_start() {
    if brisk_only("templates") {
        return;
    }
    let container = template(Bundle::sh("echo the template's own"));
    assert_eq!(container.status(), "created");
    assert_eq!(start(&container, &[], &["/bin/echo", "hello", "there"]).stdout(), "hello there\n");
    assert_eq!(container.status(), "stopped");
    assert!(!container.bundle.state_root().join(&container.id).join("exec.fifo").exists());
    try_start(&container, &[], &["/bin/true"]).fails();
    container.delete().ok();

    let container = template(Bundle::sh("echo the template\\'s own"));
    assert_eq!(start(&container, &[], &[]).stdout(), "the template's own\n");
}

#[test]
fn every_late_flag_reaches_the_program() {
    if brisk_only("templates") {
        return;
    }
    let own = json!(["CAP_KILL", "CAP_CHOWN"]);
    let bundle = Bundle::probe(&["report"])
        .set("/process/capabilities", json!({ "bounding": own, "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"] }))
        .set("/process/noNewPrivileges", json!(false))
        .set("/process/rlimits", json!([{ "type": "RLIMIT_NOFILE", "soft": 20, "hard": 30 }]));
    let container = template(bundle);
    let flags = [
        "--env",
        "LATE=1",
        "--cwd",
        "/tmp",
        "--user",
        "1000:1001",
        "--additional-gids",
        "7",
        "--cap",
        "CAP_CHOWN",
        "--no-new-privs",
    ];
    let seen = report(&container, &flags);
    assert_eq!(seen["args"], json!(["/probe", "report"]));
    assert_eq!((&seen["env"]["LATE"], &seen["env"]["HOME"]), (&json!("1"), &json!("/home/someone")));
    assert_eq!((&seen["cwd"], &seen["uid"], &seen["gid"]), (&json!("/tmp"), &json!(1000), &json!(1001)));
    assert_eq!((&seen["pid"], &seen["sid"]), (&json!(1), &json!(1)));
    let status = &seen["status"];
    assert_eq!((&status["Groups"], &status["NoNewPrivs"]), (&json!("7"), &json!("1")));
    assert_eq!(caps(status, "CapBnd"), 1 | 1 << 5);
    assert_eq!(seen["limits"]["Max open files"], json!(["20", "30"]));
    let fds: Vec<&String> = seen["fds"].as_object().unwrap().keys().collect();
    assert_eq!(fds, ["0", "1", "2"], "nothing of what it was brought is left");
}

#[test]
fn a_process_json_is_taken() {
    if brisk_only("templates") {
        return;
    }
    let container = template(Bundle::idle());
    let process = json!({
        "args": ["/probe", "report"], "cwd": "/mnt", "env": ["PATH=/bin", "HOME=/x"],
        "user": { "uid": 5, "gid": 6, "umask": 0o77, "additionalGids": [8, 9] },
        "capabilities": { "bounding": ["CAP_KILL"], "inheritable": ["CAP_KILL"], "permitted": ["CAP_KILL"],
            "effective": ["CAP_KILL"], "ambient": ["CAP_KILL"] },
        "rlimits": [{ "type": "RLIMIT_CORE", "soft": 1, "hard": 2 }],
        "oomScoreAdj": 321,
        "scheduler": { "policy": "SCHED_BATCH", "nice": 5 },
        "ioPriority": { "class": "IOPRIO_CLASS_BE", "priority": 6 },
    });
    let file = container.bundle.dir.join("process.json");
    std::fs::write(&file, process.to_string()).unwrap();
    let seen = start(&container, &["--process", file.to_str().unwrap()], &[]).json()["report"].take();
    assert_eq!((&seen["cwd"], &seen["uid"], &seen["gid"]), (&json!("/mnt"), &json!(5), &json!(6)));
    let status = &seen["status"];
    assert_eq!((&status["Umask"], &status["Groups"]), (&json!("0077"), &json!("8 9")));
    assert_eq!((caps(status, "CapBnd"), caps(status, "CapAmb")), (1 << 5, 1 << 5));
    assert_eq!(status["NoNewPrivs"], json!("1"), "the template's holds");
    assert_eq!(seen["limits"]["Max core file size"], json!(["1", "2"]));
    assert_eq!(seen["oom_score_adj"], json!("321"));
    assert_eq!(seen["scheduler"]["policy"], json!(3));
    assert_eq!(seen["ioprio"], json!({ "class": 2, "priority": 6 }));
}

/// What comes has more descriptors than the program may have.
#[test]
fn a_low_limit_of_descriptors_is_set_when_they_are_there() {
    if brisk_only("templates") {
        return;
    }
    for bundle in [Bundle::idle(), Bundle::idle().userns()] {
        let limits = json!([{ "type": "RLIMIT_NOFILE", "soft": 4, "hard": 4 }]);
        let container = template(bundle.set("/process/rlimits", limits));
        let seen = start(&container, &[], &["/bin/cat", "/proc/self/limits"]).stdout();
        let line = seen.lines().find(|line| line.starts_with("Max open files")).unwrap();
        assert_eq!(line.split_whitespace().nth(3), Some("4"), "{line}");
    }
}

#[test]
fn the_streams_are_those_of_start() {
    if brisk_only("templates") {
        return;
    }
    let container = template(Bundle::idle());
    let pidfd = pidfd(&container);
    let args = ["start", &container.id, "--", "/bin/cat"];
    let output = container.call_with_input(&args, "from who starts it").ok();
    ends(&pidfd);
    assert_eq!(output.stdout(), "from who starts it");
    container.delete().ok();

    let container = template(Bundle::idle());
    let text = start(&container, &["--stdio", "null"], &["/probe", "stat:/dev/stdin", "report"]).stdout();
    assert_eq!(text, "");
    container.delete().ok();

    // A descriptor by number: the shell opens it.
    let container = template(Bundle::idle());
    let pidfd = self::pidfd(&container);
    let file = container.bundle.dir.join("elsewhere");
    let command = container.command(&[
        "start",
        "--stdio",
        "null,7,1",
        &container.id,
        "--",
        "/bin/sh",
        "-c",
        "echo out; echo err >&2",
    ]);
    let words = process::line(&command);
    let mut shell = std::process::Command::new("/bin/sh");
    shell.arg("-c").arg(format!("{} 7>{}", words, file.display())).current_dir(&container.bundle.dir);
    let output = process::run(shell).ok();
    ends(&pidfd);
    assert_eq!((std::fs::read_to_string(file).unwrap().as_str(), output.stdout().as_str()), ("out\n", "err\n"));
    container.delete().ok();

    let container = template(Bundle::idle());
    assert!(try_start(&container, &["--stdio", "77,1,2"], &["/bin/true"]).fails().contains("descriptor 77"));
    assert!(try_start(&container, &["--stdio", "1,2"], &["/bin/true"]).fails().contains("three of null and numbers"));
    still_starts(&container);
}

#[test]
fn limits_are_there_before_the_program_is() {
    if brisk_only("templates") || lacks(&["memory", "pids", "cpu"]) {
        return;
    }
    let container = template(Bundle::idle());
    let pidfd = pidfd(&container);
    try_start(&container, &["--memory", "32m", "--pids", "7", "--cpus", "0.5"], &["/probe", "pause"]).ok();
    assert_eq!(container.cgroup_file("pids", "pids.max"), "7");
    for (controller, files, wanted) in [
        ("memory", ["memory.max", "memory.limit_in_bytes"], "33554432"),
        ("cpu", ["cpu.max", "cpu.cfs_quota_us"], "50000"),
    ] {
        let found = files.iter().find_map(|file| {
            std::fs::read_to_string(host::cgroup_dir(controller, &container.bundle.cgroup()).join(file)).ok()
        });
        assert_eq!(found.unwrap().split_whitespace().next(), Some(wanted), "{controller}");
    }
    container.kill("KILL").ok();
    ends(&pidfd);
    container.delete().ok();

    // What could not be started has the limits it had.
    let container = template(Bundle::idle());
    let before = container.cgroup_file("pids", "pids.max");
    try_start(&container, &["--pids", "7"], &["/not/there"]).fails();
    assert_eq!(container.cgroup_file("pids", "pids.max"), before);
    // Nobody is sent to a flag of another command.
    let error = try_start(&container, &["--memory", "4k"], &["/probe", "pause"]).fails();
    assert!(error.contains("in use is") && error.contains("nothing was changed"), "{error}");
    still_starts(&container);
}

#[test]
fn mounts_are_there_before_the_program_is() {
    if brisk_only("templates") {
        return;
    }
    let container = template(Bundle::idle());
    let shared = container.bundle.host_dir("shared");
    std::fs::write(shared.join("word"), "of the host").unwrap();
    let place = format!("{}:/mnt:ro", shared.display());
    let out =
        start(&container, &["--mount", &place], &["/probe", "read:/mnt/word", "create:/mnt/new", "report"]).json();
    assert_eq!(out["read:/mnt/word"], json!("of the host"));
    assert_eq!(out["create:/mnt/new"]["errno"], json!("EROFS"));
    assert!(has(&mount_at(&out["report"], "/mnt")["opts"], "ro"));
    container.delete().ok();

    let container = template(Bundle::idle());
    let place = format!("{}:/mnt", container.bundle.host_dir("other").display());
    try_start(&container, &["--mount", &place], &["/not/there"]).fails();
    let mounts = container.mountinfo();
    assert!(!mounts.contains(" /mnt "), "{mounts}");
    still_starts(&container);
}

/// Without no_new_privs the filter is loaded while the process has the right to.
#[test]
fn a_filter_without_no_new_privs_is_loaded() {
    if brisk_only("templates") {
        return;
    }
    let bundle = Bundle::idle().with_docker_seccomp().set("/process/noNewPrivileges", json!(false));
    let seen = report(&template(bundle), &["--user", "1000"]);
    assert_eq!((&seen["status"]["NoNewPrivs"], &seen["status"]["Seccomp"]), (&json!("0"), &json!("2")));
    assert_eq!(seen["uid"], json!(1000));
}

#[test]
fn a_template_with_a_user_namespace() {
    if brisk_only("templates") {
        return;
    }
    let bundle =
        Bundle::idle().userns().set("/process/rlimits", json!([{ "type": "RLIMIT_CORE", "soft": 0, "hard": 0 }]));
    let container = template(bundle);
    let error = try_start(&container, &["--user", "70000"], &["/bin/true"]).fails();
    assert!(error.contains("process.user.uid 70000 is not mapped"), "{error}");
    let error = try_start(&container, &["--additional-gids", "70000"], &["/bin/true"]).fails();
    assert!(error.contains("additionalGids 70000 is not mapped"), "{error}");
    let seen = report(&container, &["--user", "1000:1000", "--cwd", "/tmp"]);
    assert_eq!((&seen["uid"], &seen["cwd"]), (&json!(1000), &json!("/tmp")));
    assert_eq!(seen["env"]["HOME"], json!("/home/someone"));
    assert_eq!(seen["limits"]["Max core file size"], json!(["0", "0"]));
}

/// What waits has nothing of the host's, no path to the binary, and no more memory than a created container has.
#[test]
fn what_waits_has_nothing() {
    if brisk_only("templates") {
        return;
    }
    let container = template(Bundle::idle());
    let proc = PathBuf::from(format!("/proc/{}", container.pid()));
    let mut fds: Vec<(String, String)> = std::fs::read_dir(proc.join("fd"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let target = std::fs::read_link(&path).unwrap().to_string_lossy().into_owned();
            (path.file_name().unwrap().to_string_lossy().into_owned(), target)
        })
        .collect();
    fds.sort();
    let numbers: Vec<&str> = fds.iter().map(|(number, _)| number.as_str()).collect();
    assert_eq!(numbers, ["0", "1", "2"], "{fds:?}");
    assert!(fds[0].1.starts_with("socket:") && fds[1].1.starts_with("socket:"), "{fds:?}");
    assert!(fds[2].1.ends_with("exec.fifo"), "{fds:?}");
    let exe = std::fs::read_link(proc.join("exe")).unwrap();
    assert!(exe.to_string_lossy().contains("memfd:brisk-init"), "{exe:?}");
    let status = std::fs::read_to_string(proc.join("status")).unwrap();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert_eq!(field("NoNewPrivs:"), "1");
    assert_eq!(u64::from_str_radix(&field("CapBnd:"), 16).unwrap(), 1 << 5 | 1 << 10 | 1 << 29);
    let kilobytes: u64 = field("VmRSS:").split_whitespace().next().unwrap().parse().unwrap();
    assert!(kilobytes <= 64, "{kilobytes} kB");
    // Whoever gets in would meet a process with more rights than the program will have.
    assert!(container.exec(&["/bin/true"]).fails().contains("cannot exec in a template that waits for start"));
    assert!(container.call(&["checkpoint", &container.id]).fails().contains("created state"));
    // It is killed, frozen and deleted as any other.
    container.call(&["pause", &container.id]).ok();
    assert!(try_start(&container, &[], &["/bin/true"]).fails().contains("paused"));
    assert!(container.exec_with(&["--ignore-paused"], &["/bin/true"]).fails().contains("waits for start"));
    assert!(container.call(&["checkpoint", &container.id]).fails().contains("waits for start"));
    container.call(&["resume", &container.id]).ok();
    still_starts(&container);
    container.delete().ok();
    let container = template(Bundle::idle());
    let pidfd = pidfd(&container);
    container.kill("TERM").ok();
    ends(&pidfd);
    assert!(try_start(&container, &[], &["/bin/true"]).fails().contains("stopped"));
    container.delete().ok();
    let container = template(Bundle::idle());
    container.delete_force().ok();
    container.assert_nothing_left();
}

#[test]
fn who_asks_is_told_of_the_process() {
    if brisk_only("templates") {
        return;
    }
    let container = template(Bundle::idle().sh_hook("poststart", "cat >$OUT"));
    let file = container.bundle.dir.join("pid");
    try_start(&container, &["--pid-file", file.to_str().unwrap()], &["/probe", "pause"]).ok();
    assert_eq!(container.status(), "running");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), container.pid().to_string());
    let hook: Value = serde_json::from_str(&container.bundle.hook_output()).unwrap();
    assert_eq!((&hook["status"], &hook["pid"]), (&json!("running"), &json!(container.pid())));
    // From here on it is like any other.
    let told = container.exec_with(&["--pid-file", "/not/there/pid"], &["/bin/echo", "ran"]);
    assert!(told.stdout().is_empty() && told.fails().contains("/not/there/pid"));
    assert_eq!(container.exec(&["/bin/echo", "inside"]).ok().stdout(), "inside\n");
    container.kill("KILL").ok();
    host::wait_until(|| container.status() == "stopped");
    assert!(container.call(&["restart", &container.id]).fails().contains("template"));
}

/// What is printed is what is done: the operations of the waiting process, and those that it is brought.
#[test]
fn both_plans_are_printed() {
    if brisk_only("templates") {
        return;
    }
    let container = Bundle::idle().container();
    let plan = |flags: &[&str]| {
        let bundle = container.bundle.dir.to_str().unwrap();
        container.call(&[&["plan"][..], flags, &[bundle]].concat()).ok().stdout()
    };
    let (own, template, start) = (plan(&[]), plan(&["--template"]), plan(&["--start"]));
    let waits = "wait for start, which brings the rest";
    assert!(template.lines().last().unwrap().ends_with(waits), "{template}");
    assert!(own.contains("execve") && !own.contains(waits), "{own}");
    assert!(start.contains("hand the last operations to the container's process"), "{start}");
    assert!(start.lines().last().unwrap().ends_with("execve"), "{start}");

    // The steps of a start, as its trace has them.
    let trace = container.bundle.dir.join("trace.json");
    container.create_with(&["--template"]).ok();
    container.call(&["start", "--trace", trace.to_str().unwrap(), &container.id]).ok();
    let trace = std::fs::read_to_string(trace).unwrap();
    for line in start.lines().filter_map(|line| line.strip_prefix("parent").map(|line| &line[6..])) {
        assert!(trace.contains(line), "{line} is not in {trace}");
    }
}

/// The limits of a job are said when the container is made, and count from the start of its program.
#[test]
fn the_time_of_a_job_counts_from_the_start() {
    if brisk_only("templates") {
        return;
    }
    let container = Bundle::idle().container();
    let file = container.bundle.dir.join("result.json");
    container.create_with(&["--template", "--timeout", "300ms", "--result", file.to_str().unwrap()]).ok();
    let pidfd = pidfd(&container);
    assert!(
        !process::wait_readable(pidfd.as_fd(), std::time::Duration::from_millis(900)),
        "it waits, and nothing counts"
    );
    try_start(&container, &[], &["/probe", "pause"]).ok();
    ends(&pidfd);
    host::wait_until(|| file.exists());
    let result: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(result["ended"], json!("timeout"), "{result}");
    container.delete_force().ok();
    for flags in [["--output-limit", "1k"], ["--die-with-parent", "--template"]] {
        assert!(container.create_with(&[&["--template"], &flags[..]].concat()).fails().contains("template"));
    }
}

/// Without a mount namespace the root is a directory; with one that somebody else has, it is as well.
#[test]
fn a_template_without_a_mount_namespace() {
    if brisk_only("templates") {
        return;
    }
    let mut bundle = Bundle::idle().without_ns("mount").unset("/linux/maskedPaths").unset("/linux/readonlyPaths");
    bundle.config["mounts"] = json!([]);
    let container = template(bundle);
    assert_eq!(start(&container, &["--cwd", "/tmp"], &["/bin/sh", "-c", "pwd; echo $$"]).stdout(), "/tmp\n1\n");
}

/// The second block is as long as they need.
#[test]
fn the_arguments_may_be_long() {
    if brisk_only("templates") {
        return;
    }
    let container = template(Bundle::idle());
    let long = "x".repeat(100_000);
    let script = "n=0; for a; do n=$((n+${#a})); done; echo $n";
    let mut program = vec!["/bin/sh", "-c", script, "sh"];
    program.extend([long.as_str(); 8]);
    assert_eq!(start(&container, &[], &program).stdout(), "800000\n");
}
