//! exec: its flags, and that the process gets what the container's own process gets.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use serde_json::{Value, json};

use crate::common::host::Cgroups;
use crate::common::{Bundle, Container, Need, brisk_only, host, lacks, process, runtime_name, skip_on, skip_unless};

fn up(bundle: Bundle) -> Container {
    let container = bundle.container();
    container.up();
    container
}

fn idle() -> Container {
    up(Bundle::idle())
}

#[track_caller]
fn report(container: &Container, args: &[&str]) -> Value {
    container.exec_with(args, &["/probe", "report"]).ok().json()["report"].clone()
}

#[test]
fn output_and_exit_status() {
    let container = idle();
    let output = container.exec(&["/bin/sh", "-c", "echo out; echo err >&2; exit 42"]).exits(42);
    assert_eq!(output.stdout(), "out\n");
    assert_eq!(output.stderr(), "err\n");
    container.exec(&["/bin/sh", "-c", "kill -9 $$"]).exits(137);
}

#[test]
fn standard_input() {
    let container = idle();
    let output = container.call_with_input(&["exec", &container.id, "/bin/cat"], "words\n").ok();
    assert_eq!(output.stdout(), "words\n");
}

#[test]
fn it_is_in_the_containers_namespaces_and_cgroups() {
    let container = up(Bundle::idle().ns("cgroup"));
    let pid = container.pid().to_string();
    let report = report(&container, &[]);
    for kind in ["pid", "net", "ipc", "uts", "mnt", "cgroup"] {
        assert_eq!(report["ns"][kind], json!(host::ns_of(&pid, kind)), "{kind}");
    }
    for line in report["cgroup"].as_array().unwrap() {
        assert!(line.as_str().unwrap().ends_with(":/"), "{}", report["cgroup"]);
    }
}

#[test]
fn it_is_in_the_containers_user_namespace() {
    let container = up(Bundle::idle().userns());
    let report = report(&container, &[]);
    assert_eq!(report["ns"]["user"], json!(host::ns_of(&container.pid().to_string(), "user")));
    assert_eq!(report["uid"], 0);
}

#[test]
fn it_inherits_the_configured_process() {
    if skip_on(&["crun"], "starts from user 0 in /") {
        return;
    }
    let container = up(Bundle::idle()
        .set("/process/env", json!(["PATH=/bin", "FROM=config"]))
        .set("/process/cwd", json!("/tmp"))
        .set("/process/user", json!({ "uid": 1000, "gid": 1000, "additionalGids": [77] }))
        .push("/process/rlimits", json!({ "type": "RLIMIT_NOFILE", "soft": 99, "hard": 111 }))
        .set("/process/oomScoreAdj", json!(123)));
    let report = report(&container, &[]);
    assert_eq!(report["env"]["FROM"], "config");
    assert_eq!(report["cwd"], "/tmp");
    assert_eq!(report["uid"], 1000);
    assert_eq!(report["status"]["NoNewPrivs"], "1");
    assert_eq!(report["oom_score_adj"], "123");
    if !skip_on(&["runc"], "Go raises the soft limit of open files and passes it on") {
        assert_eq!(report["limits"]["Max open files"], json!(["99", "111"]));
    }
}

#[test]
fn flags_change_the_process() {
    let container = idle();
    let report1 = report(&container, &["--cwd", "/tmp", "--env", "A=b", "--env", "C=d"]);
    assert_eq!(report1["cwd"], "/tmp");
    assert_eq!(report1["env"]["A"], "b");
    assert_eq!(report1["env"]["C"], "d");
}

#[test]
fn users() {
    // CVE-2026-30892: "1" was parsed as 0:0.
    let container = idle();
    for (text, uid, gid) in [("1", 1, 0), ("1:2", 1, 2), ("0:7", 0, 7), ("1000", 1000, 0), ("0001:0002", 1, 2)] {
        let report = report(&container, &["--user", text]);
        if text == "1000" || text == "1" {
            assert_eq!(report["uid"], uid, "{text}");
            continue;
        }
        assert_eq!((&report["uid"], &report["gid"]), (&json!(uid), &json!(gid)), "{text}");
    }
}

#[test]
fn wrong_users_are_refused() {
    let container = idle();
    for text in ["root", "1:", ":1", "-1", "4294967296", "1:2:3", "0x1", "1.5", " 1"] {
        if skip_on(&["crun", "runc"], "they take some") {
            return;
        }
        container.exec_with(&["--user", text], &["/probe", "report"]).fails();
    }
}

#[test]
fn additional_groups() {
    if skip_on(&["crun"], "has no such flag") {
        return;
    }
    let container = idle();
    let report = report(&container, &["--additional-gids", "100", "--additional-gids", "200"]);
    assert_eq!(report["status"]["Groups"], "100 200");
}

#[test]
fn home_follows_the_user() {
    let container = idle();
    assert_eq!(report(&container, &[])["env"]["HOME"], "/root");
    assert_eq!(report(&container, &["--user", "1000"])["env"]["HOME"], "/home/someone");
}

#[test]
fn capabilities() {
    let container = idle();
    let sets = |args: &[&str]| {
        let report = report(&container, args);
        ["CapInh", "CapBnd", "CapEff", "CapAmb"]
            .map(|n| u64::from_str_radix(report["status"][n].as_str().unwrap(), 16).unwrap())
    };
    let own = (1 << 29) | (1 << 5) | (1 << 10);
    assert_eq!(sets(&[]), [0, own, own, 0]);
    let [inheritable, bounding, effective, _] = sets(&["--cap", "CAP_CHOWN"]);
    assert_eq!(bounding & 1, 1);
    assert_eq!(effective & 1, 1);
    if !skip_on(&["crun", "runc"], "the inheritable set of exec --cap") {
        assert_eq!(inheritable, 0, "CVE-2022-29162");
    }
}

#[test]
fn no_new_privileges() {
    let container = up(Bundle::idle().set("/process/noNewPrivileges", json!(false)));
    assert_eq!(report(&container, &[])["status"]["NoNewPrivs"], "0");
    assert_eq!(report(&container, &["--no-new-privs"])["status"]["NoNewPrivs"], "1");
}

#[test]
fn a_process_file() {
    if skip_on(&["runc"], "Go's runtime raises the soft limit of open files to the hard one") {
        return;
    }
    let container = idle();
    let file = container.bundle.dir.join("process.json");
    let caps = json!({ "bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"] });
    let text = json!({
        "args": ["/probe", "report"], "cwd": "/tmp", "env": ["X=y", "PATH=/bin"],
        "user": { "uid": 0, "gid": 3, "umask": 63 }, "capabilities": caps,
        "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": 50, "hard": 60 }],
    });
    fs::write(&file, text.to_string()).unwrap();
    let output = container.call(&["exec", "--process", file.to_str().unwrap(), &container.id]).ok();
    let report = &output.json()["report"];
    assert_eq!(report["cwd"], "/tmp");
    assert_eq!(report["env"]["X"], "y");
    assert_eq!(report["gid"], 3);
    if !skip_on(&["runc"], "the umask of exec came later") {
        assert_eq!(report["status"]["Umask"], "0077");
    }
    assert_eq!(report["status"]["CapBnd"], "0000000000000020");
    assert_eq!(report["status"]["NoNewPrivs"], "0");
    assert_eq!(report["limits"]["Max open files"], json!(["50", "60"]));
}

#[test]
fn a_wrong_process_file() {
    let container = idle();
    let file = container.bundle.dir.join("process.json");
    for text in ["{", "{}", r#"{"args":[],"cwd":"/"}"#] {
        if text != "{" && skip_on(&["crun"], "not checked") {
            continue;
        }
        fs::write(&file, text).unwrap();
        container.call(&["exec", "--process", file.to_str().unwrap(), &container.id]).fails();
    }
    container.call(&["exec", "--process", "/no/such/file", &container.id]).fails();
}

#[test]
fn detached_with_a_pid_file() {
    let container = idle();
    let file = container.bundle.dir.join("exec.pid");
    container.exec_with(&["--detach", "--pid-file", file.to_str().unwrap()], &["/bin/sleep", "1000"]).ok();
    let pid = fs::read_to_string(&file).unwrap();
    // runc returns before its init has become the program.
    let command = || fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    host::wait_until(|| command() == "/bin/sleep\x001000\0");
    assert_eq!(host::ns_of(&pid, "net"), host::ns_of(&container.pid().to_string(), "net"));
}

#[test]
fn a_missing_program() {
    let container = idle();
    let text = container.exec(&["no-such-program"]).fails();
    assert!(text.contains("executable file not found in $PATH") || skip_on(&["crun"], "other words"), "{text}");
    let text = container.exec(&["/no/such/program"]).fails();
    assert!(text.to_lowercase().contains("no such file or directory"), "{text}");
    let text = container.exec(&["/etc/passwd"]).fails();
    assert!(text.to_lowercase().contains("permission denied"), "{text}");
}

/// What a log record says of it, for whoever reads it with a program.
#[test]
fn the_errno_of_a_program_that_is_not_there() {
    if brisk_only("fields of log records") {
        return;
    }
    let container = idle();
    let log = container.bundle.dir.join("log");
    for (program, errno, words) in [
        ("/no/such", "ENOENT", "stat /no/such: no such file or directory"),
        ("no-such", "ENOENT", "executable file not found in $PATH"),
        ("/etc", "EISDIR", "is a directory"),
        ("/etc/passwd", "EACCES", "permission denied"),
    ] {
        let command = ["--log", log.to_str().unwrap(), "--log-format", "json", "exec", &container.id, program];
        container.call(&command).exits(255);
        let record: Value = serde_json::from_str(fs::read_to_string(&log).unwrap().lines().last().unwrap()).unwrap();
        assert_eq!(record["errno"], errno, "{record}");
        assert!(record["msg"].as_str().unwrap().contains(words), "{record}");
    }
}

/// execve(2) knows no encoding, and neither do paths.
#[test]
fn arguments_variables_and_directories_need_not_be_utf_8() {
    if skip_on(&["runc"], "its JSON replaces the bytes") {
        return;
    }
    let container = idle();
    let odd = |text: &[u8]| OsStr::from_bytes(text).to_owned();
    fs::create_dir(container.bundle.rootfs().join(odd(b"d\xff"))).unwrap();
    let mut command = container.command(&["exec", "--env"]);
    command.arg(odd(b"V=\xfe")).arg("--cwd").arg(odd(b"/d\xff")).arg(&container.id);
    let script = "printf %s \"$V\" \"$1\"; pwd";
    let output = command.args(["/bin/sh", "-c", script, "sh"]).arg(odd(b"a\xfdb")).output().unwrap();
    assert_eq!(output.stdout, b"\xfea\xfdb/d\xff\n", "{output:?}");
}

#[test]
fn not_into_a_stopped_container() {
    let container = Bundle::idle().container();
    container.create().ok();
    container.start().ok();
    container.stop();
    container.exec(&["/bin/true"]).fails();
}

#[test]
fn a_directory_outside_is_refused() {
    let container = idle();
    for fd in 3..12 {
        let output = container.exec_with(&["--cwd", &format!("/proc/self/fd/{fd}")], &["/probe", "report"]);
        if output.code == 0 {
            let cwd = output.json()["report"]["cwd"].clone();
            panic!("/proc/self/fd/{fd} led to {cwd}");
        }
    }
}

#[test]
fn no_descriptor_of_the_runtime_is_inherited() {
    let container = idle();
    let report = report(&container, &[]);
    let fds: Vec<&String> = report["fds"].as_object().unwrap().keys().collect();
    assert_eq!(fds, ["0", "1", "2"], "{}", report["fds"]);
}

#[test]
fn signals_are_forwarded() {
    let container = idle();
    let command = container.command(&["exec", &container.id, "/probe", "signals"]);
    let running = process::start(command, std::process::Stdio::null());
    running.wait_for_stdout(|text| text.contains("ready"));
    let send = |signal| nix::sys::signal::kill(nix::unistd::Pid::from_raw(running.pid()), signal).unwrap();
    send(nix::sys::signal::SIGTERM);
    running.wait_for_stdout(|text| text.contains("SIGTERM"));
    send(nix::sys::signal::SIGUSR2);
    running.wait().ok();
}

#[test]
fn many_at_once() {
    let container = idle();
    let running: Vec<_> = (0..10)
        .map(|n| {
            let code = format!("exit {n}");
            process::start(
                container.command(&["exec", &container.id, "/bin/sh", "-c", &code]),
                std::process::Stdio::null(),
            )
        })
        .collect();
    for (n, running) in running.into_iter().enumerate() {
        running.wait().exits(i32::try_from(n).unwrap());
    }
    assert_eq!(container.status(), "running");
}

#[test]
fn no_zombie_stays_in_the_container() {
    let container = idle();
    for _ in 0..5 {
        container.exec(&["/bin/true"]).ok();
    }
    let out = container.exec_probe(&["readdir:/proc"]);
    let pids =
        out["readdir:/proc"].as_array().unwrap().iter().filter(|n| n.as_str().unwrap().parse::<u32>().is_ok()).count();
    assert_eq!(pids, 2, "{out}");
}

#[test]
fn the_affinity_is_that_of_the_container() {
    if lacks(&["cpuset"]) {
        return;
    }
    let container = up(Bundle::idle().resources("cpu", json!({ "cpus": "0" })));
    assert_eq!(report(&container, &[])["affinity"], json!([0]));
}

#[test]
fn exec_cpu_affinity() {
    if skip_on(&["runc", "crun"], "came later") {
        return;
    }
    let container = up(Bundle::idle().set("/process/execCPUAffinity", json!({ "initial": "0", "final": "1" })));
    assert_eq!(report(&container, &[])["affinity"], json!([1]));
    // Nothing but a trace tells where it ran before.
    let trace = container.bundle.dir.join("trace");
    container.exec_with(&["--trace", trace.to_str().unwrap()], &["/bin/true"]).ok();
    let text = fs::read_to_string(trace).unwrap();
    let [first, then] = ["set the CPU affinity to 0\"", "set the CPU affinity to 1\""].map(|step| text.find(step));
    assert!(first.is_some() && first < then, "{text}");
}

/// CRI-O's `exec_cpu_affinity = "first"`.
#[test]
fn an_initial_cpu_affinity_stays_where_no_final_one_is_given() {
    if skip_on(&["runc", "crun"], "came later") {
        return;
    }
    let container = up(Bundle::idle().set("/process/execCPUAffinity", json!({ "initial": "1" })));
    assert_eq!(report(&container, &[])["affinity"], json!([1]));
}

/// What process.json leaves out, among it what confines a process, is as in the container.
#[test]
fn what_process_json_leaves_out_is_the_containers() {
    if skip_on(&["crun"], "no capabilities") {
        return;
    }
    let caps = json!(["CAP_KILL", "CAP_CHOWN"]);
    let bundle = Bundle::idle()
        .set("/process/capabilities", json!({ "bounding": caps, "effective": caps, "permitted": caps }))
        .set("/process/user/umask", json!(0o27))
        .set("/process/oomScoreAdj", json!(300))
        .push("/process/rlimits", json!({ "type": "RLIMIT_NOFILE", "soft": 99, "hard": 100 }));
    let container = up(bundle);
    let file = container.bundle.dir.join("process.json");
    let run = |process: Value| {
        fs::write(&file, process.to_string()).unwrap();
        container.call(&["exec", "--process", file.to_str().unwrap(), &container.id])
    };
    let report = run(json!({ "args": ["/probe", "report"], "cwd": "/" })).ok().json()["report"].clone();
    assert_eq!(report["status"]["CapEff"], "0000000000000021", "{report}");
    if !skip_on(&["runc"], "oom_score_adj, umask and limits since 1.2") {
        assert_eq!((&report["status"]["Umask"], &report["oom_score_adj"]), (&json!("0027"), &json!("300")));
        assert_eq!(report["limits"]["Max open files"], json!(["99", "100"]), "{report}");
    }
    let own = json!({ "args": ["/probe", "report"], "cwd": "/", "oomScoreAdj": 5, "capabilities": {} });
    let report = run(own).ok().json()["report"].clone();
    assert_eq!(report["status"]["CapEff"], "0000000000000000", "what is said counts: {report}");
}

/// The command line counts for more than the file; nothing of it is dropped.
#[test]
fn flags_of_exec_change_what_process_json_says() {
    if brisk_only("the others drop them without a word") {
        return;
    }
    let container = idle();
    let file = container.bundle.dir.join("process.json");
    let process =
        json!({ "args": ["/bin/false"], "cwd": "/", "env": ["A=file", "B=file"], "user": { "uid": 5, "gid": 5 } });
    fs::write(&file, process.to_string()).unwrap();
    let flags = ["--process", file.to_str().unwrap(), "--user", "7:8", "--env", "A=flag", "--cwd", "/tmp"];
    let report = container.exec_with(&flags, &["/probe", "report"]).ok().json()["report"].clone();
    assert_eq!((&report["uid"], &report["gid"], &report["cwd"]), (&json!(7), &json!(8), &json!("/tmp")), "{report}");
    assert_eq!((&report["env"]["A"], &report["env"]["B"]), (&json!("flag"), &json!("file")), "{report}");
    container.exec_with(&["--process", file.to_str().unwrap()], &[]).exits(1);
}

/// A user other than root has no use for a capability that is not ambient.
#[test]
fn a_capability_of_exec_is_ambient_where_it_is_inheritable() {
    let (all, some) = (json!(["CAP_KILL", "CAP_CHOWN", "CAP_FOWNER"]), json!(["CAP_KILL"]));
    let caps =
        json!({ "bounding": all, "effective": some, "permitted": some, "inheritable": ["CAP_CHOWN", "CAP_FOWNER"] });
    let container = up(Bundle::idle().set("/process/capabilities", caps));
    if skip_on(&["crun", "runc"], "since runc 1.2") {
        return;
    }
    let flags = ["--cap", "CAP_FOWNER", "--cap", "CAP_SETUID", "--user", "1000"];
    let report = container.exec_with(&flags, &["/probe", "report"]).ok().json()["report"].clone();
    assert_eq!(report["status"]["CapAmb"], "0000000000000008", "CAP_FOWNER alone: {report}");
    assert_eq!(report["status"]["CapEff"], "0000000000000008", "{report}");
}

#[test]
fn a_missing_working_directory_is_not_made() {
    let container = idle();
    let text = container.exec_with(&["--cwd", "/not/there"], &["/bin/true"]).fails();
    assert!(text.contains("/not/there"), "{text}");
    assert!(!container.bundle.rootfs().join("not").exists());
}

#[test]
fn it_is_limited_by_the_containers_pids() {
    if lacks(&["pids"]) {
        return;
    }
    let container = up(Bundle::idle().resources("pids", json!({ "limit": 20 })));
    let started = container.exec_probe(&["threads:40"])["threads:40"].as_u64().unwrap();
    assert!((10..=19).contains(&started), "{started}");
}

#[test]
fn a_sub_cgroup() {
    let container = idle();
    for dir in host::cgroup_dirs(&container.bundle.cgroup()) {
        let sub = dir.join("sub");
        fs::create_dir(&sub).unwrap();
        // On v1 nobody can join a cpuset that has no CPUs or memory nodes yet.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if sub.join("tasks").exists() && sub.join(file).exists() {
                fs::write(sub.join(file), fs::read(dir.join(file)).unwrap()).unwrap();
            }
        }
    }
    if skip_on(&["crun", "runc"], "one hierarchy at a time, or cgroup2 only") {
        return;
    }
    let report = report(&container, &["--cgroup", "sub"]);
    let lines = report["cgroup"].as_array().unwrap();
    assert!(lines.iter().any(|l| l.as_str().unwrap().ends_with(&format!("{}/sub", container.id))), "{lines:?}");
    // A sibling whose name begins with the container's is not inside of it.
    container.exec_with(&["--cgroup", &format!("../{}-sibling", container.id)], &["/bin/true"]).fails();
}

/// Each flag is about the controllers that it names; where none is about one, the process is in the container's own.
#[test]
fn a_sub_cgroup_of_some_controllers() {
    if skip_on(&["crun"], "takes one path for all") || lacks(&["memory", "pids"]) || Cgroups::detect() == Cgroups::V2 {
        return;
    }
    let container = idle();
    for (controller, name) in [("memory", "m"), ("pids", "p")] {
        fs::create_dir(host::cgroup_dir(controller, &container.bundle.cgroup()).join(name)).unwrap();
    }
    let report = report(&container, &["--cgroup", "memory:m", "--cgroup", "pids:p"]);
    let lines: Vec<&str> = report["cgroup"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    for (controller, end) in [(":memory:", "/m"), (":pids:", "/p"), (":freezer:", "")] {
        let wanted = format!("{}{end}", container.id);
        assert!(
            lines.iter().any(|line| line.contains(controller) && line.ends_with(&wanted)),
            "{controller} {lines:?}"
        );
    }
    let error = container.exec_with(&["--cgroup", "memory:missing"], &["/bin/true"]).fails();
    assert!(error.contains(" adding pid ") && error.contains("o such file or directory"), "{error}");
    let error = container.exec_with(&["--cgroup", "nonsense:/"], &["/bin/true"]).fails();
    assert!(error.contains("unknown controller "), "{error}");
}

#[test]
fn a_wrong_command_line_of_exec_is_no_status_of_the_program() {
    if skip_on(&["crun"], "ends with 1") {
        return;
    }
    let container = Bundle::idle().container();
    container.up();
    for wrong in [&["exec", &container.id][..], &["exec", "--user", "someone", &container.id, "true"]] {
        container.call(wrong).exits(255);
    }
}

/// A systemd in the container moves itself to init.scope and gives the controllers to its units: the container's own
/// cgroup takes no process any more (EBUSY), and runc and crun go to where init is. brisk goes there before, too, where it
/// is named init.scope: a process in the container's own cgroup would keep systemd from giving controllers at all.
#[test]
fn a_container_that_manages_its_own_cgroups() {
    if skip_unless(Need::from(Cgroups::detect() != Cgroups::V1), "a cgroup of v1 may have both processes and children")
    {
        return;
    }
    let container = idle();
    let dir = host::cgroup_dirs(&container.bundle.cgroup()).remove(0);
    let enter = |sub: &str| {
        let _ = fs::create_dir(dir.join(sub));
        fs::write(dir.join(sub).join("cgroup.procs"), container.pid().to_string()).unwrap();
    };
    let where_it_is = || container.exec(&["/bin/cat", "/proc/self/cgroup"]).ok().stdout();
    let is_at = |end: &str| host::unified_path(&where_it_is()).ends_with(end);
    // Any controller will do.
    let offered = fs::read_to_string(dir.join("cgroup.controllers")).unwrap();
    let Some(controller) = offered.split_whitespace().next() else {
        let _ = skip_unless(Need::Missing, "no controller at all");
        return;
    };
    let give = |sub: &str| fs::write(dir.join(sub).join("cgroup.subtree_control"), format!("+{controller}")).unwrap();
    enter("init.scope");
    let expected =
        if runtime_name() == "brisk" { format!("{}/init.scope", container.id) } else { container.id.clone() };
    assert!(is_at(&expected), "{}", where_it_is());
    enter("another");
    assert!(is_at(&container.id), "{}", where_it_is());
    enter("init.scope");
    give("");
    assert!(is_at(&format!("{}/init.scope", container.id)));
    fs::create_dir(dir.join("user.slice")).unwrap();
    enter("user.slice/deep");
    assert!(is_at(&format!("{}/user.slice/deep", container.id)));
    give("user.slice");
    let error = container.exec_with(&["--cgroup", "user.slice"], &["/bin/true"]).fails();
    assert!(error.contains("sub-cgroups"), "{error}");
    container.exec_with(&["--cgroup", "init.scope"], &["/bin/true"]).ok();
    let elsewhere = dir.parent().unwrap().join(format!("{}-elsewhere", container.id));
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("cgroup.procs"), container.pid().to_string()).unwrap();
    let error = container.exec(&["/bin/true"]).fails();
    assert!(error.contains("in none of them"), "{error}");
    for sub in ["user.slice", ""] {
        fs::write(dir.join(sub).join("cgroup.subtree_control"), format!("-{controller}")).unwrap();
    }
    assert!(is_at(&container.id), "{}", where_it_is());
    enter("");
    let threads = dir.join("threads");
    fs::create_dir(&threads).unwrap();
    // Those beside it are not for processes any more.
    fs::write(threads.join("cgroup.type"), "threaded").unwrap();
    enter("threads");
    assert!(is_at(&container.id), "a threaded cgroup takes no process from elsewhere: {}", where_it_is());
    fs::remove_dir(&elsewhere).unwrap();
    container.delete_force().ok();
    assert!(!dir.exists());
}
