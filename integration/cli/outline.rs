//! A container described on the command line: what each flag says in config.json, and that it is so.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::{Value, json};

use crate::common::process::Output;
use crate::common::{Bundle, Container, brisk_only, host, lacks, process};
use crate::rootless;

const ONLY: &str = "no other runtime takes a container on the command line";

/// A root and no config.json.
fn root() -> Container {
    let container = Bundle::new(&["true"]).container();
    fs::remove_file(container.bundle.dir.join("config.json")).unwrap();
    container
}

fn line<'a>(container: &'a Container, verb: &'a str, flags: &[&'a str], command: &[&'a str]) -> Vec<&'a str> {
    let mut all = [&[verb, "--rootfs", "rootfs"], flags].concat();
    all.extend((verb != "spec").then_some(container.id.as_str()));
    [&all[..], &["--"], command].concat()
}

#[track_caller]
fn run(container: &Container, flags: &[&str], command: &[&str]) -> Output {
    container.call(&line(container, "run", flags, command))
}

#[track_caller]
fn shell(flags: &[&str], script: &str) -> String {
    let container = root();
    let output = run(&container, flags, &["/bin/sh", "-c", script]);
    container.assert_nothing_left();
    output.ok().stdout()
}

/// What each of the three commands makes of the flags, beside its name.
fn configs(flags: &[&str]) -> Vec<(&'static str, Value)> {
    ["spec", "create", "run"].into_iter().map(|verb| (verb, config(verb, flags))).collect()
}

#[track_caller]
fn config(verb: &str, flags: &[&str]) -> Value {
    let container = root();
    let flags = if verb == "run" { &[flags, &["--detach"]].concat() } else { flags };
    container.call(&line(&container, verb, flags, &["/probe", "pause"])).ok();
    let file = match verb {
        "spec" => container.bundle.dir.join("config.json"),
        _ => container.bundle.state_root().join(&container.id).join("config.json"),
    };
    let config: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    assert_eq!(config["process"]["args"], json!(["/probe", "pause"]), "{verb}");
    assert_eq!(config["root"]["path"].as_str(), container.bundle.rootfs().to_str(), "{verb}");
    config
}

#[test]
fn each_flag_says_something() {
    if brisk_only(ONLY) {
        return;
    }
    let profile = std::env::temp_dir().join(host::unique_name());
    fs::write(&profile, r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[]}"#).unwrap();
    let flags = [
        "--read-only",
        "--no-terminal",
        "--user",
        "1000:100",
        "--env",
        "A=B",
        "--env=PATH=/bin",
        "--env",
        "A=C",
        "--cwd",
        "/tmp",
        "--hostname",
        "judge",
        "--cap",
        "CAP_CHOWN",
        "--mount",
        "/etc:/mnt:ro",
        "--tmpfs",
        "/var:1m",
        "--mount",
        "/usr:/home",
        "--network",
        "host",
        "--seccomp",
        profile.to_str().unwrap(),
    ];
    for (verb, config) in configs(&flags) {
        assert_eq!(config["root"]["readonly"], json!(true), "{verb}");
        let process = &config["process"];
        assert_eq!(process["terminal"], json!(false), "{verb}");
        assert_eq!(process["user"], json!({ "uid": 1000, "gid": 100 }), "{verb}");
        assert_eq!(process["env"], json!(["TERM=xterm", "PATH=/bin", "A=C"]), "{verb}");
        assert_eq!((&process["cwd"], &config["hostname"]), (&json!("/tmp"), &json!("judge")), "{verb}");
        for set in ["bounding", "effective", "permitted", "ambient"] {
            assert!(process["capabilities"][set].as_array().unwrap().contains(&json!("CAP_CHOWN")), "{verb} {set}");
        }
        let mounts: Vec<&Value> = config["mounts"].as_array().unwrap().iter().rev().take(3).collect();
        assert_eq!(mounts[2]["source"], json!("/etc"), "{verb}");
        assert_eq!(mounts[2]["options"], json!(["rbind", "rprivate", "rro"]), "{verb}");
        assert_eq!(mounts[1]["options"], json!(["nosuid", "nodev", "mode=1777", "size=1048576"]), "{verb}");
        assert_eq!(
            (&mounts[0]["destination"], &mounts[0]["options"]),
            (&json!("/home"), &json!(["rbind", "rprivate"]))
        );
        let namespaces = config["linux"]["namespaces"].as_array().unwrap();
        assert!(namespaces.iter().all(|namespace| namespace["type"] != "network"), "{verb}");
        assert_eq!(config["linux"]["seccomp"]["defaultAction"], json!("SCMP_ACT_ALLOW"), "{verb}");
    }
    fs::remove_file(profile).unwrap();
}

#[test]
fn limits_are_in_the_forms_that_people_write() {
    if brisk_only(ONLY) || lacks(&["memory", "pids", "cpu"]) {
        return;
    }
    for (verb, config) in configs(&["--memory", "64m", "--pids", "20", "--cpus", "0.5"]) {
        let limits = &config["linux"]["resources"];
        assert_eq!(limits["memory"], json!({ "limit": 64 << 20, "swap": 64 << 20 }), "{verb}");
        assert_eq!(limits["pids"], json!({ "limit": 20 }), "{verb}");
        assert_eq!(limits["cpu"], json!({ "quota": 50_000, "period": 100_000 }), "{verb}");
        assert!(!limits["devices"].as_array().unwrap().is_empty(), "{verb}");
    }
    let container = root();
    let hungry = run(&container, &["--memory", "32m", "--exit-codes"], &["/probe", "alloc:200000000"]);
    hungry.exits(120);
    let forks = "i=0; while [ $i -lt 9 ]; do sleep 1 & i=$((i+1)); done";
    let refused = run(&root(), &["--pids", "5"], &["/bin/sh", "-c", forks]).fails();
    assert!(refused.contains("fork"), "{refused}");
}

#[test]
fn what_each_command_begins_with() {
    if brisk_only(ONLY) {
        return;
    }
    for (verb, config) in configs(&[]) {
        let file = verb == "spec";
        assert_eq!(config["process"]["terminal"], json!(file), "{verb}");
        assert_eq!(config["root"]["readonly"], json!(file), "{verb}");
        assert_eq!(config["linux"].get("seccomp").is_none(), file, "{verb}");
        assert_eq!(config["process"]["noNewPrivileges"], json!(true), "{verb}");
    }
    // The later counts, and a switch may say no.
    let spec = config("spec", &["--read-only=false", "--no-terminal", "--tty"]);
    assert_eq!((&spec["root"]["readonly"], &spec["process"]["terminal"]), (&json!(false), &json!(true)));
    for verb in ["create", "run"] {
        assert_eq!(config(verb, &["--tty", "--no-terminal"])["process"]["terminal"], json!(false), "{verb}");
    }
    // A terminal of a created container goes to a socket.
    for verb in ["spec", "run"] {
        let container = root();
        let probe = if verb == "spec" { "pause" } else { "report" };
        let output = container.call(&line(&container, verb, &["--tty"], &["/probe", probe])).ok();
        match verb {
            "spec" => drop(output),
            _ => assert_eq!(output.json()["report"]["terminal"], json!([true, true, true])),
        }
    }
    let container = root();
    assert!(container.call(&line(&container, "create", &["--tty"], &["/bin/sh"])).fails().contains("terminal"));
}

/// Who has typed flags has no config.json to look into.
#[test]
fn an_error_of_a_flag_names_it() {
    if brisk_only(ONLY) {
        return;
    }
    let container = root();
    let dir = &container.bundle.dir;
    fs::write(dir.join("profile.json"), r#"{"defaultAction":"SCMP_ACT_WRONG"}"#).unwrap();
    fs::write(dir.join("process.json"), r#"{"args":["x"],"cwd":"x"}"#).unwrap();
    let long = "x".repeat(65);
    for (flags, said) in [
        (&["--hostname", &long][..], "--hostname: hostname is longer than 64 bytes"),
        (&["--tmpfs", "/proc/x"], "--tmpfs: mount /proc/x: nothing may be mounted inside of /proc"),
        (&["--mount", "/tmp:/proc/x"], "--mount: mount /proc/x: nothing may be mounted inside of /proc"),
        (&["--network", "ns:/not/there"], "--network: look at the namespace /not/there"),
        (&["--seccomp", "profile.json"], "--seccomp: defaultAction: unknown action \"SCMP_ACT_WRONG\""),
        (&["--rootless", "--user", "5"], "--user: process.user.uid 5 is not mapped"),
    ] {
        let error = run(&container, flags, &["/bin/true"]).fails();
        assert!(error.contains(said), "{error}");
    }
    container.call(&line(&container, "create", &["--template", "--rootless"], &[])).ok();
    let start =
        |flag: [&str; 2]| container.call(&[&["start"], &flag[..], &[&container.id, "--", "true"]].concat()).fails();
    let error = start(["--user", "9999999"]);
    assert!(error.contains("--user: process.user.uid 9999999 is not mapped"), "{error}");
    let error = start(["--cap", "CAP_SYS_BOOT"]);
    assert!(error.contains("--cap: process.capabilities: CAP_SYS_BOOT is not in the template's"), "{error}");
    let error = start(["--process", "process.json"]);
    assert!(error.contains("process.json: process.cwd \"x\"") && !error.contains("--"), "{error}");
    for (flag, said) in [
        (["--mount", "/tmp:/proc/x"], "--mount: mount /proc/x"),
        (["--memory", "1"], "--memory: refuse memory."),
        (["--pids", "99999999999"], "--pids: write 99999999999 to "),
    ] {
        let error = start(flag);
        assert!(error.contains(said), "{error}");
    }
    container.delete_force().ok();
}

/// Of a limit, too, that the kernel alone refuses, or the container itself: `run`, `update` and a container of a pool.
#[test]
fn an_error_of_a_limit_names_the_flag() {
    if brisk_only(ONLY) {
        return;
    }
    let container = root();
    for (flags, said) in [
        (&["--pids", "99999999999"][..], "--pids: write 99999999999 to "),
        (&["--memory", "1"], "--memory: the container's process was killed while it was set up"),
        (&["--replace", "--pids", "99999999999"], "--pids: pids.max = 99999999999: there are never more than "),
    ] {
        let error = run(&container, flags, &["/bin/true"]).fails();
        assert!(error.contains(said) && !error.contains("linux."), "{error}");
    }
    run(&container, &["--detach"], &["/bin/sleep", "1000"]).ok();
    let file = container.bundle.dir.join("r.json");
    let file = file.to_str().unwrap();
    fs::write(file, r#"{"pids":{"limit":99999999999}}"#).unwrap();
    for (flags, said) in [
        (&["--pids-limit", "99999999999"][..], "--pids-limit: write 99999999999 to "),
        (&["--memory", "1"], "--memory: "),
        (&["--memory-swap", "1"], "--memory-swap: "),
        (&["--cpu-quota", "5"], "--cpu-quota: write 5"),
        (&["--cpu-period", "1"], "--cpu-period: write "),
        (&["--cpuset-cpus", "x"], "--cpuset-cpus: "),
        (&["--cpuset-mems", "x"], "--cpuset-mems: "),
        (&["--cpu-idle", "2"], "--cpu-idle: linux.resources.cpu.idle 2 is neither 0 nor 1"),
        (&["--blkio-weight", "5"], "--blkio-weight: "),
        (&["--resources", file], "r.json: pids.limit: write 99999999999 to "),
    ] {
        let error = container.call(&[&["update"], flags, &[&container.id]].concat()).fails();
        assert!(error.contains(said), "{said}: {error}");
    }
    fs::write(file, r#"{"pids":{"limit":50}}"#).unwrap();
    let output = container.call(&["update", "--resources", file, "--cpu-share", "1", &container.id]).ok();
    assert!(output.stderr().contains("others on the command line are left out"), "{output:?}");
    container.delete_force().ok();
}

/// What a flag has added to process.json is the flag's, and what stands there is the file's.
#[test]
fn an_error_of_a_process_names_the_file_or_the_flag() {
    if brisk_only(ONLY) {
        return;
    }
    let container = root();
    run(&container, &["--detach"], &["/bin/sleep", "1000"]).ok();
    let file = container.bundle.dir.join("p.json");
    let file = file.to_str().unwrap();
    let exec = |process: Value, flags: &[&str], said: &str| {
        let mut whole = json!({ "user": { "uid": 0, "gid": 0 }, "args": ["/bin/true"], "cwd": "/" });
        whole.as_object_mut().unwrap().extend(process.as_object().unwrap().clone());
        fs::write(file, whole.to_string()).unwrap();
        let error = container.call(&[&["exec", "--process", file], flags, &[&container.id]].concat()).fails();
        assert!(error.contains(said), "{said}: {error}");
    };
    exec(json!({ "env": ["A"] }), &["--env", "B=c"], "p.json: env[0]: environment variable \"A\" has no =");
    exec(json!({ "rlimits": [{ "type": "X", "soft": 1, "hard": 1 }] }), &[], "p.json: rlimits[0].type: ");
    exec(json!({ "ioPriority": { "class": "X" } }), &["--user", "0"], "p.json: ioPriority.class: ");
    let group = json!({ "user": { "uid": 0, "gid": 0, "additionalGids": [u32::MAX] } });
    exec(group, &["--additional-gids", "5"], "p.json: user.additionalGids[0]: ");
    exec(json!({ "user": { "uid": u32::MAX, "gid": 0 } }), &[], "p.json: user.uid: ");
    exec(json!({}), &["--cwd", "/not/there"], "/not/there");
    container.delete_force().ok();
}

#[test]
fn a_container_is_as_safe_as_dockers() {
    if brisk_only(ONLY) {
        return;
    }
    let container = root();
    let report = run(&container, &["--hostname", "judge", "--env", "A=B", "--user", "1000"], &["/probe", "report"]);
    let report = report.ok().json()["report"].clone();
    assert_eq!((&report["uid"], &report["gid"]), (&json!(1000), &json!(1000)));
    assert_eq!((&report["hostname"], &report["env"]["A"]), (&json!("judge"), &json!("B")));
    assert_eq!((&report["status"]["NoNewPrivs"], &report["status"]["Seccomp"]), (&json!("1"), &json!("2")));
    assert_eq!(report["status"]["CapEff"], json!("0000000000000000"));
    for kind in ["pid", "net", "ipc", "uts", "mnt"] {
        assert_ne!(report["ns"][kind], json!(host::ns(kind)), "{kind}");
    }
    for path in ["/proc/kcore", "/proc/interrupts", "/sys/firmware"] {
        let hidden = report["mounts"].as_array().unwrap().iter().any(|mount| mount["point"] == path);
        assert!(hidden || !std::path::Path::new(path).exists(), "{path}");
    }
    // Docker's filter says no where the kernel would have said yes.
    let user = "/bin/busybox unshare -U true 2>&1; true";
    assert!(shell(&[], user).contains("not permitted"));
    let report = run(&root(), &["--seccomp", "unconfined"], &["/probe", "report"]).ok().json()["report"].clone();
    assert_eq!(report["status"]["Seccomp"], json!("0"));
}

#[test]
fn what_the_flags_say_is_so() {
    if brisk_only(ONLY) {
        return;
    }
    assert_eq!(shell(&["--cwd", "/new/dir"], "pwd"), "/new/dir\n");
    assert_eq!(shell(&["--read-only"], "echo > /x || echo no"), "no\n");
    assert_eq!(shell(&[], "echo > /x && echo yes"), "yes\n");
    // A whole page is more than is left.
    assert_eq!(
        shell(&["--tmpfs", "/mnt:64k"], "cat /bin/busybox > /mnt/x || echo full; true > /mnt/y && echo empty"),
        "full\nempty\n"
    );
    assert_eq!(
        shell(&["--mount", "/proc/sys/kernel:/mnt:ro"], "cat /mnt/ostype; echo > /mnt/hostname || echo no"),
        "Linux\nno\n"
    );
    assert_eq!(shell(&[], "ls /sys/class/net"), "lo\n");
    let net = |flag: &str| {
        let container = root();
        run(&container, &["--network", flag], &["/probe", "report"]).ok().json()["report"]["ns"]["net"].clone()
    };
    assert_eq!(net("host"), json!(host::ns("net")));
    assert_eq!(net("ns:/proc/self/ns/net"), json!(host::ns("net")));
    assert_ne!(net("none"), json!(host::ns("net")));
    let sources = root();
    let odd = sources.bundle.dir.join("a:b");
    fs::write(&odd, "odd").unwrap();
    assert_eq!(shell(&["--mount", &format!("{}:/mnt/f", odd.display())], "cat /mnt/f"), "odd");
}

/// Without a bundle the state directory is it, as long as the container is there.
#[test]
fn every_command_knows_the_container() {
    if brisk_only(ONLY) || lacks(&["pids"]) {
        return;
    }
    let container = root();
    run(&container, &["--detach"], &["/probe", "pause"]).ok();
    let state = container.state();
    assert_eq!(state["status"], json!("running"));
    assert_eq!(state["rootfs"].as_str(), container.bundle.rootfs().to_str());
    let bundle = container.bundle.state_root().join(&container.id);
    assert_eq!(state["bundle"].as_str(), bundle.to_str());
    assert!(bundle.join("config.json").exists());
    assert!(container.call(&["list", "--quiet"]).ok().stdout().contains(&container.id));
    assert_eq!(container.exec(&["/bin/echo", "more"]).ok().stdout(), "more\n");
    container.call(&["update", "--pids-limit", "30", &container.id]).ok();
    container.call(&["pause", &container.id]).ok();
    container.call(&["resume", &container.id]).ok();
    container.delete_force().ok();
    container.assert_nothing_left();
    assert!(!bundle.exists());

    container.call(&line(&container, "create", &[], &["/bin/sh", "-c", "echo made > /made"])).ok();
    container.start_and_wait();
    assert_eq!(fs::read_to_string(container.bundle.rootfs().join("made")).unwrap(), "made\n");
    container.delete().ok();
    container.assert_nothing_left();
}

/// The file that `spec` writes is a bundle as any.
#[test]
fn a_bundle_of_one_line() {
    let container = root();
    let script = "echo $WHO; id -u; echo > /x || echo read-only";
    if !brisk_only(ONLY) {
        container
            .call(&["spec", "--no-terminal", "--user", "7", "--env", "WHO=me", "--", "/bin/sh", "-c", script])
            .ok();
        assert_eq!(container.run().ok().stdout(), "me\n7\nread-only\n");
    }
}

#[test]
fn a_user_needs_no_bundle_either() {
    if brisk_only(ONLY) || rootless::not_here() {
        return;
    }
    let container = root();
    let give = |path: &std::path::Path| crate::common::bundle::chown_tree(path, rootless::UID);
    if host::is_root() {
        give(&container.bundle.dir);
        fs::set_permissions(&container.bundle.dir, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let as_user = |flags: &[&str]| -> Output {
        let words = line(&container, "run", flags, &["/probe", "report"]);
        let command: Command = rootless::as_user(&container, &words);
        process::run(command)
    };
    for flags in [&[][..], &["--rootless"], &["--network", "host"], &["--network", "none", "--rootless"]] {
        let report = as_user(flags).ok().json()["report"].clone();
        assert_eq!(report["uid"], json!(0), "{flags:?}");
        assert_ne!(report["ns"]["user"], json!(host::ns("user")), "{flags:?}");
        let shared = report["ns"]["net"] == json!(host::ns("net"));
        let wanted = match flags {
            ["--network", which, ..] => *which == "host",
            flags => flags.contains(&"--rootless"),
        };
        assert_eq!(shared, wanted, "{flags:?}");
        container.assert_nothing_left();
    }
    // `spec` for the user writes what `run` takes.
    let mut spec = rootless::as_user(&container, &["spec", "--rootless", "--no-terminal", "--", "/bin/echo", "mine"]);
    spec.current_dir(&container.bundle.dir);
    process::run(spec).ok();
    let dir = container.bundle.dir.to_str().unwrap();
    let ran = process::run(rootless::as_user(&container, &["run", "--bundle", dir, &container.id]));
    assert_eq!(ran.ok().stdout(), "mine\n");
}

#[test]
fn a_user_namespace_where_it_is_asked_for() {
    if brisk_only(ONLY) {
        return;
    }
    for (verb, config) in configs(&["--rootless"]) {
        let kinds: Vec<&Value> = config["linux"]["namespaces"].as_array().unwrap().iter().map(|n| &n["type"]).collect();
        assert!(kinds.contains(&&json!("user")) && !kinds.contains(&&json!("network")), "{verb}: {kinds:?}");
    }
}

#[test]
fn profiles_of_dockers_own_form_are_refused() {
    if brisk_only(ONLY) {
        return;
    }
    let container = root();
    let file = container.bundle.dir.join("docker.json");
    for condition in [
        r#""archMap":[{}]"#,
        r#""syscalls":[{"names":["bpf"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_BPF"]}}]"#,
    ] {
        fs::write(&file, format!("{{\"defaultAction\":\"SCMP_ACT_ERRNO\",{condition}}}")).unwrap();
        let why = run(&container, &["--seccomp", "docker.json"], &["/bin/true"]).fails();
        assert!(why.contains("conditions") && why.contains("--seccomp docker"), "{why}");
    }
    container.assert_nothing_left();
}
