//! The attributes of the container's process: user, groups, umask, environment, directory, limits, flags.

use std::fs;

use serde_json::{Value, json};

use crate::common::{Bundle, Need, host, keys, process, skip_on, skip_unless};

fn report(bundle: Bundle) -> Value {
    bundle.container().run().ok().json()["report"].clone()
}

#[test]
fn user_and_groups() {
    let user = json!({ "uid": 1000, "gid": 1001, "additionalGids": [5, 6, 100_000] });
    let report = report(Bundle::probe(&["report"]).set("/process/user", user));
    assert_eq!(report["status"]["Uid"], "1000 1000 1000 1000");
    assert_eq!(report["status"]["Gid"], "1001 1001 1001 1001");
    let mut groups: Vec<&str> = report["status"]["Groups"].as_str().unwrap().split(' ').collect();
    groups.retain(|g| *g != "1001");
    assert_eq!(groups, ["5", "6", "100000"]);
}

#[test]
fn no_group_of_the_runtime_is_inherited() {
    let report = report(Bundle::probe(&["report"]));
    assert!(["", "0"].contains(&report["status"]["Groups"].as_str().unwrap()), "{}", report["status"]["Groups"]);
}

#[test]
fn umask() {
    assert_eq!(report(Bundle::probe(&["report"]))["status"]["Umask"], "0022");
    let report = report(Bundle::probe(&["report"]).set("/process/user/umask", json!(0o27)));
    assert_eq!(report["status"]["Umask"], "0027");
}

#[test]
fn arguments_are_passed_unchanged() {
    let odd = ["report", "", "two words", "new\nline", "ü", "a\"b'c\\d", "$HOME"];
    let report = report(Bundle::probe(&odd));
    let mut expect = vec!["/probe"];
    expect.extend(odd);
    assert_eq!(report["args"], json!(expect));
}

#[test]
fn the_environment_is_the_configured_one() {
    let env = json!(["PATH=/bin", "A=1", "EMPTY=", "WITH=equals=signs", "HOME=/somewhere"]);
    let report = report(Bundle::probe(&["report"]).set("/process/env", env));
    assert_eq!(
        report["env"],
        json!({ "PATH": "/bin", "A": "1", "EMPTY": "", "WITH": "equals=signs", "HOME": "/somewhere" })
    );
}

#[test]
fn the_last_of_two_values_of_a_variable_wins() {
    if skip_on(&["crun"], "passes both") {
        return;
    }
    let env = json!(["PATH=/bin", "A=1", "A=2"]);
    let bundle = Bundle::new(&["/bin/sh", "-c", "echo $A"]).set("/process/env", env);
    assert_eq!(bundle.container().run().ok().stdout(), "2\n");
}

#[test]
fn home_comes_from_the_containers_passwd() {
    for (uid, home) in [(0, "/root"), (1000, "/home/someone"), (4711, "/")] {
        if uid == 4711 && skip_on(&["crun"], "sets no HOME for an unknown user") {
            continue;
        }
        let report = report(Bundle::probe(&["report"]).set("/process/user/uid", json!(uid)));
        assert_eq!(report["env"]["HOME"], home, "uid {uid}");
    }
}

#[test]
fn home_without_a_passwd_is_the_root() {
    let bundle = Bundle::probe(&["report"]);
    std::fs::remove_file(bundle.rootfs().join("etc/passwd")).unwrap();
    let home = report(bundle)["env"]["HOME"].clone();
    assert!(home == "/" || home == "/root", "{home}");
}

#[test]
fn home_is_found_through_the_containers_mounts() {
    let bundle = Bundle::probe(&["report"]);
    let etc = bundle.host_dir("etc");
    std::fs::write(etc.join("passwd"), "root:x:0:0::/mounted/home:/bin/sh\n").unwrap();
    let bundle = bundle.mount("bind", etc.to_str().unwrap(), "/etc", &["bind", "ro"]);
    assert_eq!(report(bundle)["env"]["HOME"], "/mounted/home");
}

#[test]
fn a_passwd_that_links_to_the_host_is_read_inside_the_root() {
    let bundle = Bundle::probe(&["report"]);
    let passwd = bundle.rootfs().join("etc/passwd");
    std::fs::remove_file(&passwd).unwrap();
    std::os::unix::fs::symlink("/etc/other", &passwd).unwrap();
    bundle.file("etc/other", "root:x:0:0::/inside:/bin/sh\n");
    assert_eq!(report(bundle)["env"]["HOME"], "/inside");
}

#[test]
fn the_program_is_looked_up_in_the_containers_path() {
    let container = Bundle::new(&["echo", "found"]).container();
    assert_eq!(container.run().ok().stdout(), "found\n");
    let bundle = Bundle::new(&["tool"]).set("/process/env", json!(["PATH=/nowhere:/opt/tools:/bin"]));
    let dir = bundle.rootfs().join("opt/tools");
    std::fs::create_dir(bundle.rootfs().join("opt")).unwrap();
    std::fs::create_dir(&dir).unwrap();
    std::os::unix::fs::symlink("/bin/busybox", dir.join("tool")).unwrap();
    let text = bundle.container().run().stderr();
    assert!(text.contains("tool: applet not found"), "{text}");
}

#[test]
fn a_relative_program_is_found_from_the_working_directory() {
    let container = Bundle::new(&["./busybox", "echo", "found"]).set("/process/cwd", json!("/bin")).container();
    assert_eq!(container.run().ok().stdout(), "found\n");
}

#[test]
fn a_script_with_an_interpreter_runs() {
    let bundle = Bundle::new(&["/script"]);
    bundle.script("rootfs/script", "#!/bin/sh\necho from a script\n");
    assert_eq!(bundle.container().run().ok().stdout(), "from a script\n");
}

#[test]
fn the_working_directory() {
    assert_eq!(report(Bundle::probe(&["report"]).set("/process/cwd", json!("/tmp")))["cwd"], "/tmp");
}

#[test]
fn a_missing_working_directory_is_made() {
    let report = report(Bundle::probe(&["report"]).set("/process/cwd", json!("/made/for/me")));
    assert_eq!(report["cwd"], "/made/for/me");
}

#[test]
fn a_working_directory_that_only_the_user_may_enter() {
    let bundle =
        Bundle::probe(&["report"]).set("/process/user/uid", json!(1000)).set("/process/cwd", json!("/home/mine"));
    let dir = bundle.rootfs().join("home/mine");
    std::fs::create_dir(&dir).unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700)).unwrap();
    std::os::unix::fs::chown(&dir, Some(1000), Some(1000)).unwrap();
    assert_eq!(report(bundle)["cwd"], "/home/mine");
}

#[test]
fn a_working_directory_outside_of_the_root_is_refused() {
    // CVE-2024-21626: a leaked descriptor as the way out.
    for fd in 3..12 {
        let container =
            Bundle::probe(&["report"]).set("/process/cwd", json!(format!("/proc/self/fd/{fd}"))).container();
        let output = container.run();
        if output.code == 0 {
            let cwd = output.json()["report"]["cwd"].clone();
            panic!("/proc/self/fd/{fd} led to {cwd}");
        }
        container.assert_nothing_left();
    }
}

#[test]
fn a_relative_working_directory_is_refused() {
    if skip_on(&["crun"], "not checked") {
        return;
    }
    let container = Bundle::idle().set("/process/cwd", json!("tmp")).container();
    container.create().fails();
    container.assert_nothing_left();
}

#[test]
fn resource_limits_are_set() {
    let limits = json!([
        { "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 },
        { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 },
        { "type": "RLIMIT_CPU", "soft": 1000, "hard": 2000 },
        { "type": "RLIMIT_STACK", "soft": 1_048_576, "hard": 2_097_152 },
        { "type": "RLIMIT_NPROC", "soft": 500, "hard": 501 },
        { "type": "RLIMIT_RTTIME", "soft": 7, "hard": 8 },
    ]);
    let report = report(Bundle::probe(&["report"]).set("/process/rlimits", limits));
    let limits = &report["limits"];
    assert_eq!(limits["Max open files"], json!(["100", "200"]));
    assert_eq!(limits["Max core file size"], json!(["0", "0"]));
    assert_eq!(limits["Max cpu time"], json!(["1000", "2000"]));
    assert_eq!(limits["Max stack size"], json!(["1048576", "2097152"]));
    assert_eq!(limits["Max processes"], json!(["500", "501"]));
    assert_eq!(limits["Max realtime timeout"], json!(["7", "8"]));
}

#[test]
fn all_sixteen_resource_limits_are_known() {
    let names = [
        "AS",
        "CORE",
        "CPU",
        "DATA",
        "FSIZE",
        "LOCKS",
        "MEMLOCK",
        "MSGQUEUE",
        "NICE",
        "NOFILE",
        "NPROC",
        "RSS",
        "RTPRIO",
        "RTTIME",
        "SIGPENDING",
        "STACK",
    ];
    let mut bundle = Bundle::new(&["/bin/true"]);
    for name in names {
        // What is already there: raising needs a capability, lowering some would kill the program.
        let (soft, hard) = host_limit(name);
        bundle =
            bundle.push("/process/rlimits", json!({ "type": format!("RLIMIT_{name}"), "soft": soft, "hard": hard }));
    }
    bundle.container().run().ok();
}

/// What is too little memory for any program is the program's to die of, not the runtime's to fail for.
#[test]
fn a_limit_that_no_program_fits_in_ends_the_program() {
    if skip_on(&["runc", "crun"], "they run under the limits themselves") {
        return;
    }
    for name in ["RLIMIT_DATA", "RLIMIT_AS", "RLIMIT_STACK"] {
        for bytes in [0, 2048] {
            let limit = json!({ "type": name, "soft": bytes, "hard": bytes });
            let container = Bundle::idle().push("/process/rlimits", limit).container();
            container.run().exits(128 + nix::libc::SIGSEGV);
            container.assert_nothing_left();
        }
    }
}

/// Soft and hard limit of the test process.
fn host_limit(name: &str) -> (u64, u64) {
    let row = match name {
        "AS" => "Max address space",
        "CORE" => "Max core file size",
        "CPU" => "Max cpu time",
        "DATA" => "Max data size",
        "FSIZE" => "Max file size",
        "LOCKS" => "Max file locks",
        "MEMLOCK" => "Max locked memory",
        "MSGQUEUE" => "Max msgqueue size",
        "NICE" => "Max nice priority",
        "NOFILE" => "Max open files",
        "NPROC" => "Max processes",
        "RSS" => "Max resident set",
        "RTPRIO" => "Max realtime priority",
        "RTTIME" => "Max realtime timeout",
        "SIGPENDING" => "Max pending signals",
        _ => "Max stack size",
    };
    let text = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = text.lines().find(|l| l.starts_with(row)).unwrap();
    let mut values = line[26..].split_whitespace().map(|v| v.parse().unwrap_or(u64::MAX));
    (values.next().unwrap(), values.next().unwrap())
}

#[test]
fn a_limit_may_be_infinite() {
    let container = Bundle::probe(&["report"])
        .push("/process/rlimits", json!({ "type": "RLIMIT_AS", "soft": u64::MAX, "hard": u64::MAX }))
        .container();
    let report = container.run().ok().json();
    assert_eq!(report["report"]["limits"]["Max address space"], json!(["unlimited", "unlimited"]));
}

#[test]
fn no_new_privileges() {
    assert_eq!(report(Bundle::probe(&["report"]))["status"]["NoNewPrivs"], "1");
    let bundle = Bundle::probe(&["report"]).set("/process/noNewPrivileges", json!(false));
    assert_eq!(report(bundle)["status"]["NoNewPrivs"], "0");
}

#[test]
fn oom_score_adj_is_set() {
    let bundle = Bundle::probe(&["report"]).set("/process/oomScoreAdj", json!(300));
    assert_eq!(report(bundle)["oom_score_adj"], "300");
}

#[test]
fn oom_score_adj_is_left_alone_when_unset() {
    let own = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    assert_eq!(report(Bundle::probe(&["report"]))["oom_score_adj"], own.trim());
}

#[test]
fn a_lower_oom_score_adj() {
    // 24 is CAP_SYS_RESOURCE.
    if skip_unless(
        Need::from(host::has_cap(24)),
        "lowering oom_score_adj needs CAP_SYS_RESOURCE, which this machine's root lacks",
    ) {
        return;
    }
    let bundle = Bundle::probe(&["report"]).set("/process/oomScoreAdj", json!(-100));
    assert_eq!(report(bundle)["oom_score_adj"], "-100");
}

#[test]
fn the_process_leads_a_session_and_has_no_pending_or_blocked_signals() {
    let report = report(Bundle::probe(&["report"]));
    assert_eq!(report["sid"], 1);
    assert_eq!(report["status"]["SigBlk"], "0000000000000000");
    assert_eq!(report["status"]["SigPnd"], "0000000000000000");
}

#[test]
fn ignored_signals_of_the_runtime_are_not_inherited() {
    let bundle = Bundle::new(&["/bin/cat", "/proc/self/status"]);
    let text = bundle.container().run().ok().stdout();
    let line = text.lines().find(|l| l.starts_with("SigIgn:")).unwrap();
    let ignored = u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
    // SIGPIPE (13) is what Go and Rust change.
    assert_eq!(ignored >> 12 & 1, 0, "SIGPIPE is ignored: {line}");
}

#[test]
fn signals_that_the_caller_ignores_are_not_ignored_by_the_program() {
    if skip_on(&["runc", "crun"], "they hand them on") {
        return;
    }
    let container = Bundle::new(&["/bin/cat", "/proc/self/status"]).container();
    let inner = container.command(&["run", "--bundle", container.bundle.dir.to_str().unwrap(), &container.id]);
    let text = process::run(process::in_shell("trap '' HUP USR1 TERM CHLD; exec \"$@\"", &inner)).ok().stdout();
    let line = text.lines().find(|l| l.starts_with("SigIgn:")).unwrap();
    assert_eq!(line.split_whitespace().nth(1), Some("0000000000000000"), "{line}");
}

#[test]
fn the_scheduler_is_set() {
    if skip_on(&["runc", "crun"], "came later") {
        return;
    }
    let bundle = Bundle::probe(&["report"]).set("/process/scheduler", json!({ "policy": "SCHED_BATCH", "nice": 7 }));
    let report = report(bundle);
    assert_eq!(report["scheduler"]["policy"], 3);
    assert_eq!(report["scheduler"]["nice"], 7);
}

#[test]
fn the_io_priority_is_set() {
    if skip_on(&["runc", "crun"], "came later") {
        return;
    }
    let value = json!({ "class": "IOPRIO_CLASS_BE", "priority": 5 });
    let report = report(Bundle::probe(&["report"]).set("/process/ioPriority", value));
    assert_eq!(report["ioprio"], json!({ "class": 2, "priority": 5 }));
}

#[test]
fn the_personality_is_set() {
    if skip_on(&["runc"], "came later") {
        return;
    }
    let bundle = Bundle::probe(&["report"]).set("/linux/personality", json!({ "domain": "LINUX32" }));
    // uname(2) of a 32-bit process: i686, and armv8l where arm64 has 32-bit programs at all (personality(2) fails elsewhere).
    let machine = if cfg!(target_arch = "aarch64") { "armv8l" } else { "i686" };
    assert_eq!(report(bundle)["machine"], machine);
}

#[test]
fn the_session_keyring_is_new_unless_asked_otherwise() {
    if skip_unless(Need::from(std::path::Path::new("/proc/keys").exists()), "no keyrings") {
        return;
    }
    let has_callers = |args: &[&str]| {
        let container = Bundle::probe(&["key:test"]).container();
        let dir = container.bundle.dir.to_str().unwrap();
        let mut command = container.command(&[&["run", "--bundle", dir], args, &[&container.id]].concat());
        keys::with_key(&mut command, None, "test");
        process::run(command).ok().json()["key:test"].is_string()
    };
    assert!(!has_callers(&[]));
    assert!(has_callers(&["--no-new-keyring"]));
}

#[test]
fn the_callers_weak_personality_is_not_inherited() {
    if skip_on(&["runc", "crun"], "theirs is") {
        return;
    }
    let run = |verb: &str| {
        let container = Bundle::idle().container();
        let mut command = process::under(&["setarch", "-RXL"], &container.command(&[verb]));
        if verb == "run" {
            let dir = container.bundle.dir.clone();
            let mut config = container.bundle.config.clone();
            config["process"]["args"] = json!(["/probe", "report"]);
            std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
            command.arg("--bundle").arg(dir).arg(&container.id);
        } else {
            container.up();
            command.arg(&container.id).args(["/probe", "report"]);
        }
        process::run(command).ok().json()["report"]["personality"].clone()
    };
    // Whatever else it has, as that of `setarch linux32`, stays.
    assert_eq!((run("run"), run("exec")), (json!("00000000"), json!("00000000")));
}

/// The user's own rights are those of the capabilities it keeps.
#[test]
fn a_program_that_only_its_capabilities_let_the_user_execute() {
    use std::os::unix::fs::PermissionsExt;
    let bundle = |caps: &[&str]| {
        let bundle = Bundle::new(&["/private/program", "report"])
            .set("/process/user", json!({ "uid": 1000, "gid": 1000 }))
            .set("/process/capabilities", json!({ "bounding": caps, "effective": caps, "permitted": caps }));
        let dir = bundle.rootfs().join("private");
        std::fs::create_dir(&dir).unwrap();
        std::fs::copy(bundle.rootfs().join("probe"), dir.join("program")).unwrap();
        bundle
    };
    let mode = |bundle: &Bundle, dir: u32, file: u32| {
        let at = bundle.rootfs().join("private");
        std::fs::set_permissions(at.join("program"), std::fs::Permissions::from_mode(file)).unwrap();
        std::fs::set_permissions(at, std::fs::Permissions::from_mode(dir)).unwrap();
    };
    for (caps, dir, file, runs) in [
        (&["CAP_DAC_OVERRIDE"][..], 0o700, 0o744, true),
        (&["CAP_DAC_READ_SEARCH"], 0o700, 0o755, true),
        (&["CAP_DAC_READ_SEARCH"], 0o700, 0o744, false),
        (&[], 0o755, 0o744, false),
        (&[], 0o700, 0o755, false),
    ] {
        let bundle = bundle(caps);
        mode(&bundle, dir, file);
        let out = bundle.container().run();
        assert_eq!(out.code == 0, runs, "{caps:?} {dir:o} {file:o}: {}", out.stderr());
    }
}

#[test]
fn exec_has_the_deadline_of_the_container() {
    if skip_on(&["runc", "crun"], "came later") {
        return;
    }
    let scheduler = json!({
        "policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 2_000_000, "period": 4_000_000,
        "flags": ["SCHED_FLAG_RESET_ON_FORK"],
    });
    let container = Bundle::idle().set("/process/scheduler", scheduler).container();
    container.up();
    let seen = container.exec_probe(&["report"])["report"]["scheduler"].clone();
    assert_eq!((&seen["policy"], &seen["flags"]), (&json!(6), &json!(1)), "{seen}");
}

/// Keys are charged to their owner (keyrings(7)): an id of the host that many containers map has room for 200.
#[test]
fn the_session_keyring_is_charged_to_the_caller() {
    if skip_unless(Need::from(fs::exists("/proc/key-users").unwrap()), "a kernel without keyrings")
        || skip_on(&["runc"], "charges the container's root")
    {
        return;
    }
    let keys_of = |id: &str| {
        let text = fs::read_to_string("/proc/key-users").unwrap();
        let line =
            text.lines().find_map(|line| line.trim_start().strip_prefix(id)?.strip_prefix(':').map(str::to_owned));
        line.map(|line| line.split_whitespace().next().unwrap().parse::<u32>().unwrap()).unwrap_or(0)
    };
    let bundle = Bundle::idle().userns();
    let id = bundle.config["linux"]["uidMappings"][0]["hostID"].to_string();
    let container = bundle.container();
    let before = keys_of(&id);
    container.up();
    assert_eq!(keys_of(&id), before, "keys of {id}");
}
