//! Flags that no other test happens to need: what each of them does, not only that it is taken.

use std::fs;
use std::os::unix::net::UnixListener;

use serde_json::{Value, json};

use crate::common::host::{self, Cgroups};
use crate::common::{Bundle, Container, brisk_only, lacks, process, skip_on};

use crate::spec::annotations::receive;

fn up() -> Container {
    let container = Bundle::idle().container();
    container.up();
    container
}

#[test]
fn a_regular_expression_names_containers() {
    if skip_on(&["runc"], "crun's flag") {
        return;
    }
    let container = up();
    let pattern = format!("^{}$", container.id);
    container.call(&["kill", "--regex", "no-such-name", "KILL"]).ok();
    assert_eq!(container.status(), "running");
    container.call(&["kill", "--regex", &pattern, "KILL"]).ok();
    host::wait_until(|| container.status() == "stopped");
    container.call(&["delete", "--regex", &pattern]).ok();
    container.assert_nothing_left();
}

#[test]
fn exec_ignores_a_pause_when_asked() {
    if skip_on(&["crun"], "has no such flag") {
        return;
    }
    let container = up();
    container.call(&["pause", &container.id]).ok();
    let mut exec = container.command(&["exec", "--ignore-paused", &container.id, "/bin/true"]).spawn().unwrap();
    // It is frozen with the others until they go on.
    assert!(exec.try_wait().unwrap().is_none());
    container.call(&["resume", &container.id]).ok();
    assert!(exec.wait().unwrap().success());
}

#[test]
fn another_file_than_config_json() {
    if skip_on(&["runc"], "crun's flag") {
        return;
    }
    let container = Bundle::sh("echo from the bundle").container();
    let text = fs::read_to_string(container.bundle.dir.join("config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    config["process"]["args"] = json!(["/bin/sh", "-c", "echo from the other file"]);
    let other = container.bundle.dir.join("other.json");
    fs::write(&other, config.to_string()).unwrap();
    let out = container.run_with(&["--config", other.to_str().unwrap()]).ok().stdout();
    assert_eq!(out, "from the other file\n");
    config["process"]["args"] = json!(["/bin/sh", "-c", "echo > /tmp/other; exec sleep 1000"]);
    fs::write(&other, config.to_string()).unwrap();
    container.create_with(&["--config", other.to_str().unwrap()]).ok();
    container.start().ok();
    host::wait_until(|| container.bundle.rootfs().join("tmp/other").exists());
    container.delete_force().ok();
}

#[test]
fn a_pidfd_goes_to_a_socket() {
    if brisk_only("runc has the flag since 1.3, crun has an annotation") {
        return;
    }
    let container = Bundle::idle().container();
    let path = container.bundle.dir.join("pidfd.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let path = path.to_str().unwrap();
    container.create_with(&["--pidfd-socket", path]).ok();
    let (payload, info) = receive(&listener);
    assert_eq!(payload, "pidfd");
    assert!(info.contains(&format!("Pid:\t{}\n", container.pid())), "{info}");
    container.start().ok();
    container.exec_with(&["--pidfd-socket", path], &["/bin/true"]).ok();
    assert_eq!(receive(&listener).0, "pidfd");
    container.stop();
    container.call(&["restart", "--pidfd-socket", path, &container.id]).ok();
    let (payload, info) = receive(&listener);
    assert_eq!(payload, "pidfd");
    assert!(info.contains(&format!("Pid:\t{}\n", container.pid())), "{info}");
    let other = Bundle::sh("true").container();
    other.run_with(&["--pidfd-socket", path]).ok();
    assert_eq!(receive(&listener).0, "pidfd");
    let template = Bundle::idle().container();
    template.create_with(&["--template"]).ok();
    template.call(&["start", "--pidfd-socket", path, &template.id]).ok();
    let (payload, info) = receive(&listener);
    assert_eq!(payload, "pidfd");
    assert!(info.contains(&format!("Pid:\t{}\n", template.pid())), "{info}");
}

#[test]
fn a_run_that_adopts_nobody() {
    let out = Bundle::sh("echo done").container().run_with(&["--no-subreaper"]).ok().stdout();
    assert_eq!(out, "done\n");
}

#[test]
fn labels_of_exec_need_a_security_module() {
    if brisk_only("the words differ") {
        return;
    }
    let container = up();
    let lsms = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    for (flag, value, module) in [("--apparmor", "unconfined", "apparmor"), ("--process-label", "a:b:c:d", "selinux")] {
        if lsms.contains(module) {
            crate::common::skip(&format!("{module} is there"));
            continue;
        }
        let error = container.exec_with(&[flag, value], &["/bin/true"]).fails();
        assert!(error.contains(module) || error.contains("lsm: "), "{error}");
    }
}

#[test]
fn how_much_is_logged() {
    if brisk_only("the levels differ") {
        return;
    }
    let container = Bundle::idle().push("/process/capabilities/bounding", json!("CAP_NO_SUCH")).container();
    let log = container.bundle.dir.join("log");
    let log = log.to_str().unwrap();
    let wrong = container.call(&["--log-level", "chatty", "list"]).fails();
    assert!(wrong.contains("chatty"), "{wrong}");
    // A capability that does not exist is a warning; `debug` shows what is about to be done.
    let bundle = container.bundle.dir.to_str().unwrap();
    let levels = |flags: &[&str]| -> Vec<String> {
        container.call(&[flags, &["--log", log, "create", "--bundle", bundle, &container.id]].concat()).ok();
        container.delete_force().ok();
        let text = fs::read_to_string(log).unwrap_or_default();
        let _ = fs::remove_file(log);
        let word = |line: &str| line.split("level=").nth(1).unwrap().split(' ').next().unwrap().to_owned();
        let mut levels: Vec<String> = text.lines().map(word).collect();
        levels.dedup();
        levels
    };
    assert_eq!(levels(&[]), ["warning"]);
    assert_eq!(levels(&["--log-level", "error"]), [""; 0]);
    assert_eq!(levels(&["--log-level", "info"]), ["warning", "info"]);
    assert_eq!(levels(&["--log-level", "debug"]), ["warning", "debug", "info"]);
    assert_eq!(levels(&["--debug"]), ["warning", "debug", "info"]);
    container.call(&["--debug", "--log", log, "create", "--bundle", bundle, &container.id]).ok();
    let text = fs::read_to_string(log).unwrap();
    assert!(text.contains("pivot_root") && text.contains("clone3"), "{text}");
}

#[test]
fn spec_writes_another_file() {
    if skip_on(&["runc", "crun"], "youki's flag") {
        return;
    }
    let container = Bundle::idle().container();
    let dir = container.bundle.dir.join("new");
    fs::create_dir(&dir).unwrap();
    let file = dir.join("mine.json");
    container.call(&["spec", "--file", file.to_str().unwrap()]).ok();
    let config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert!(config["ociVersion"].is_string());
}

#[test]
fn every_verb_that_takes_one_writes_a_trace() {
    if brisk_only("brisk's own flag") {
        return;
    }
    let container = Bundle::idle().container();
    let file = container.bundle.dir.join("trace.json");
    let path = file.to_str().unwrap().to_owned();
    let written = |verb: &str| {
        assert!(fs::metadata(&file).unwrap_or_else(|error| panic!("{verb}: {error}")).len() > 2, "{verb}");
        fs::remove_file(&file).unwrap();
    };
    container.create_with(&["--trace", &path]).ok();
    written("create");
    container.call(&["start", "--trace", &path, &container.id]).ok();
    written("start");
    container.exec_with(&["--trace", &path], &["/bin/true"]).ok();
    written("exec");
    container.call(&["delete", "--force", "--trace", &path, &container.id]).ok();
    written("delete");
    Bundle::sh("true").container().run_with(&["--trace", &path]).ok();
    written("run");
    // What it would show is done by then.
    let container = Bundle::sh("exit 3").container();
    let output = container.run_with(&["--trace", "/no/such/directory/trace"]).exits(3);
    assert!(output.stderr().contains("warning: state: --trace "), "{output:?}");
    container.assert_nothing_left();
}

#[test]
fn limits_by_single_flags() {
    if lacks(&["cpu"]) {
        return;
    }
    if skip_on(&["crun", "runc"], "flags of newer versions") {
        return;
    }
    let container = up();
    // Flag, value, and the file of each version that shows it.
    let table = [
        ("--cpu-share", "512", ["cpu.shares=512", "cpu.weight=59"]),
        ("--cpu-idle", "1", ["cpu.idle=1", "cpu.idle=1"]),
        ("--cpu-idle", "0", ["cpu.idle=0", "cpu.idle=0"]),
        ("--cpu-period", "50000", ["cpu.cfs_period_us=50000", "cpu.max=max 50000"]),
        ("--cpu-quota", "20000", ["cpu.cfs_quota_us=20000", "cpu.max=20000 50000"]),
        ("--cpu-burst", "10000", ["cpu.cfs_burst_us=10000", "cpu.max.burst=10000"]),
        ("--cpuset-cpus", "0", ["cpuset.cpus=0", "cpuset.cpus=0"]),
        ("--memory", "67108864", ["memory.limit_in_bytes=67108864", "memory.max=67108864"]),
        ("--memory-reservation", "33554432", ["memory.soft_limit_in_bytes=33554432", "memory.low=33554432"]),
        ("--pids-limit", "44", ["pids.max=44", "pids.max=44"]),
    ];
    for (flag, value, files) in table {
        let file = files[usize::from(Cgroups::detect() == Cgroups::V2)];
        let (name, shown) = file.split_once('=').unwrap();
        let controller = name.split('.').next().unwrap();
        container.call(&["update", flag, value, &container.id]).ok();
        assert_eq!(container.cgroup_file(controller, name), shown, "{flag}");
    }
    // Most machines have node 0 only, which is there from the start.
    let error = container.call(&["update", "--cpuset-mems", "900", &container.id]).fails();
    assert!(error.contains("cpuset.mems"), "{error}");
}

/// What a kernel does not have is refused by name, and nothing changes.
#[test]
fn limits_that_this_kernel_may_lack_name_what_is_missing() {
    if brisk_only("others ignore some") {
        return;
    }
    let container = up();
    // Flags, the file of each version, the value it shows, and a word of the error where it is not there.
    let table = [
        (&["--blkio-weight", "500"][..], ["blkio.bfq.weight", "io.bfq.weight"], ["500", "default 500"], "weight"),
        (
            &["--cpu-rt-period", "500000", "--cpu-rt-runtime", "0"],
            ["cpu.rt_period_us", "-"],
            ["500000", ""],
            "cpu.realtime",
        ),
        (
            &["--memory", "67108864", "--memory-swap", "134217728"],
            ["memory.memsw.limit_in_bytes", "memory.swap.max"],
            ["134217728", "67108864"],
            "mem",
        ),
    ];
    for (flags, files, shown, word) in table {
        let version = usize::from(Cgroups::detect() == Cgroups::V2);
        let controller = files[version].split('.').next().unwrap();
        let file = host::cgroup_dir(controller, &container.bundle.cgroup()).join(files[version]);
        let output = container.call(&[&["update"], flags, &[container.id.as_str()]].concat());
        // Without bfq weights go to other files: the golden plans have them.
        if file.exists() {
            output.ok();
            assert_eq!(fs::read_to_string(&file).unwrap().trim(), shown[version], "{flags:?}");
        } else if output.code != 0 {
            let error = output.fails();
            assert!(error.contains(word), "{flags:?}: {error}");
        }
    }
    // More than the cgroup above has.
    let error = container.call(&["update", "--cpu-rt-runtime", "100000000", &container.id]).fails();
    assert!(error.contains("cpu.rt_runtime_us") || error.contains("cpu.realtimeRuntime"), "{error}");
    // Obsolete: accepted, and of no effect on kernels without the file.
    container.call(&["update", "--kernel-memory", "1000000", "--pids-limit", "9", &container.id]);
    container.call(&["update", "--kernel-memory-tcp", "1000000", "--pids-limit", "9", &container.id]);
    assert_eq!(container.status(), "running");
}

#[test]
fn json_without_a_log_is_on_standard_error() {
    if brisk_only("the others print text") {
        return;
    }
    let container = Bundle::idle().container();
    let error = container.call(&["--log-format", "json", "state", "no-such-container"]).fails();
    let record: Value = serde_json::from_str(&error).unwrap();
    assert_eq!(record["msg"], "state no-such-container: state: container does not exist");
    assert_eq!((&record["stage"], &record["object"]), (&"state".into(), &"no-such-container".into()));
    assert!(record["hint"].as_str().unwrap().contains("--root"));
}

#[test]
fn what_is_wrong_with_a_configuration_is_shown() {
    if brisk_only("the others quote their parser") {
        return;
    }
    let container = Bundle::sh("true").container();
    let path = container.bundle.dir.join("config.json");
    let text = fs::read_to_string(&path).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    config["linux"]["resources"]["memmory"] = json!({"limit": 1});
    fs::write(&path, config.to_string()).unwrap();
    let warned = container.run().ok().stderr();
    assert!(warned.contains("the field \"memmory\" of linux.resources is unknown and ignored: did you mean memory?"));
    config["process"]["cwd"] = json!("srv");
    fs::write(&path, serde_json::to_string_pretty(&config).unwrap()).unwrap();
    let error = container.run().fails();
    assert!(error.contains("process.cwd \"srv\" must be an absolute path"), "{error}");
    assert_eq!(error.lines().count(), 1, "its line is shown on a terminal: {error}");
}

/// Neither the bundle's config.json nor a container's state, by whatever path.
#[test]
fn what_brisk_reads_is_not_written_over() {
    if brisk_only("runc writes it over, and crun") {
        return;
    }
    let container = up();
    let (id, bundle) = (&*container.id, &container.bundle.dir);
    let state = container.bundle.state_root().join(id);
    let around = bundle.join("around");
    std::os::unix::fs::symlink(&state, &around).unwrap();
    let kept = [bundle.join("config.json"), state.join("state.json"), state.join("config.json")];
    let texts = || kept.each_ref().map(|file| fs::read(file).unwrap());
    let before = texts();
    let [config, record, copy] = kept.each_ref().map(|file| file.to_str().unwrap());
    let fifo = around.join("exec.fifo");
    let (fifo, linked) = (fifo.to_str().unwrap(), around.join("state.json"));
    let (linked, dir) = (linked.to_str().unwrap(), bundle.to_str().unwrap());
    let hint = "what is read is not written over";
    for args in [
        &["run", "--bundle", dir, "--result", config, "other"][..],
        &["create", "--bundle", dir, "--pid-file", config, "other"],
        &["create", "--bundle", dir, "--pid-file", fifo, "other"],
        &["exec", "--pid-file", record, id, "true"],
        &["exec", "--result", copy, id, "true"],
        &["exec", "--pid-file", &format!("{dir}/.brisk-holder"), id, "true"],
        &["--log", &format!("{dir}/trusted-annotations"), "state", "nobody"],
        &["--log", config, "state", "nobody"],
        &["--log", &format!("file:{linked}"), "state", "nobody"],
    ] {
        let said = container.call(args).fails();
        assert!(said.contains(hint) && !said.contains("file exists"), "{args:?}: {said}");
        assert!(texts() == before && !std::path::Path::new(fifo).exists(), "{args:?}");
    }
    // What a timeline is of is done by then.
    for file in [config, linked, copy] {
        let out = container.call(&["exec", "--trace", file, id, "true"]);
        assert!(out.stderr().contains(hint) && texts() == before, "{out:?}");
        out.ok();
    }
}

/// By whatever links, which are followed to a log. And none that is read under a name of the caller's.
#[test]
fn a_log_is_nothing_that_is_read() {
    if brisk_only("runc writes to it, and crun") {
        return;
    }
    let container = up();
    let (id, bundle) = (&*container.id, &container.bundle.dir);
    let process = bundle.join("process.json");
    fs::write(&process, r#"{"cwd":"/","args":["true"]}"#).unwrap();
    let kept = [bundle.join("config.json"), container.record_file(), process];
    let texts = || kept.each_ref().map(|file| fs::read(file).unwrap());
    let before = texts();
    let (dir, named) = (bundle.to_str().unwrap(), kept[2].to_str().unwrap());
    let commands = [&["create", "--bundle", dir, "other"][..], &["state", id], &["exec", "--process", named, id]];
    for (file, command) in kept.iter().zip(commands) {
        let [soft, hard] = ["soft", "hard"].map(|name| bundle.join(name));
        std::os::unix::fs::symlink(file, &soft).unwrap();
        fs::hard_link(file, &hard).unwrap();
        for log in [&soft, &hard] {
            let said = container.call(&[&["--debug", "--log", log.to_str().unwrap()][..], command].concat()).fails();
            assert!(said.contains("what is read is not written "), "{said}");
            assert!(texts() == before, "{log:?} of {file:?}");
            fs::remove_file(log).unwrap();
        }
    }
    // Nor where the command reads it not.
    for file in &kept[..2] {
        let hard = bundle.join("hard");
        fs::hard_link(file, &hard).unwrap();
        let said = container.call(&["--debug", "--log", hard.to_str().unwrap(), "features"]).fails();
        assert!(said.contains("it is a hard link to what brisk reads") && texts() == before, "{said}");
        fs::remove_file(&hard).unwrap();
    }
    let (log, backup) = (bundle.join("log"), bundle.join("backup"));
    fs::write(&log, r#"{"level":"debug","msg":"{\"ociVersion\":1}"}"#).unwrap();
    fs::hard_link(&log, &backup).unwrap();
    container.call(&["--debug", "--log", log.to_str().unwrap(), "state", id]).ok();
    let other = bundle.join("other-log");
    std::os::unix::fs::symlink(bundle.join("log"), &other).unwrap();
    container.call(&["--debug", "--log", other.to_str().unwrap(), "state", id]).ok();
    assert!(fs::read_to_string(bundle.join("log")).unwrap().contains("state"), "a link is followed");
}

/// A text would be lost without a word.
#[test]
fn each_file_is_one_that_is_written_or_read() {
    if brisk_only("runc and crun write over what they have read") {
        return;
    }
    let container = up();
    let (id, bundle) = (&*container.id, &container.bundle.dir);
    let [config, process, other, link] =
        ["q.json", "process.json", "other", "link"].map(|name| bundle.join(name).to_str().unwrap().to_owned());
    fs::copy(bundle.join("config.json"), &config).unwrap();
    fs::write(&process, r#"{"cwd":"/","args":["true"]}"#).unwrap();
    fs::hard_link(&process, &other).unwrap();
    std::os::unix::fs::symlink(&config, &link).unwrap();
    let texts = || [&config, &process, &link].map(|file| fs::read(file).unwrap());
    let before = texts();
    let (dir, log) = (bundle.to_str().unwrap(), bundle.join("log"));
    let (free, around, log) = (format!("{dir}/x"), format!("{dir}/rootfs/../x"), log.to_str().unwrap());
    let run = |flags: &[&str]| [&["run", "--bundle", dir], flags, &["another"]].concat().join(" ");
    let exec = |flags: &[&str]| [&["exec"], flags, &[id, "true"]].concat().join(" ");
    for (args, said) in [
        (run(&["--config", &config, "--trace", &config]), "--trace is --config, "),
        (run(&["--config", &config, "--result", &config]), "--result is --config, "),
        (run(&["--config", &link, "--pid-file", &link]), "--pid-file is --config, "),
        (run(&["--seccomp", &config, "--pid-file", &config]), "--pid-file is --seccomp, "),
        (exec(&["--process", &process, "--result", &process]), "--result is --process, "),
        (exec(&["--process", &process, "--trace", &other]), "--trace is --process, "),
        (format!("start --process {process} --pid-file {process} {id}"), "--pid-file is --process, "),
        (run(&["--trace", &free, "--result", &around]), "--trace and --result are one file"),
        (exec(&["--pid-file", &free, "--result", &free]), "--result and --pid-file are one file"),
        (format!("restart --pid-file {free} --result {free} {id}"), "--result and --pid-file are one file"),
        (format!("--log {log} {}", exec(&["--result", log])), "it is the file that --log names"),
        (format!("--log {log} {}", exec(&["--pid-file", log])), "it is the file that --log names"),
    ] {
        let out = container.call(&args.split(' ').collect::<Vec<_>>()).fails();
        assert!(out.contains(said) && texts() == before && !std::path::Path::new(&free).exists(), "{args}: {out}");
    }
    fs::rename(bundle.join("config.json"), &config).unwrap();
    std::os::unix::fs::symlink(&config, bundle.join("config.json")).unwrap();
    let out = container.call(&["run", "--bundle", dir, "--trace", &config, "another"]).fails();
    assert!(out.contains("--trace is the configuration of the bundle"), "{out}");
    container.call(&["exec", "--trace", "/dev/null", "--result", "/dev/null", id, "true"]).ok();
}

/// crun's state has a name that a file of anybody's has, too.
#[test]
fn cruns_state_is_not_written_over() {
    if brisk_only("crun writes it over") {
        return;
    }
    let container = up();
    let status = container.bundle.dir.join("status");
    let text = r#"{"pid":1,"process-start-time":7,"bundle":"/b"}"#;
    let exec = || container.call(&["exec", "--pid-file", status.to_str().unwrap(), &container.id, "true"]);
    exec().ok();
    exec().ok();
    fs::write(&status, text).unwrap();
    assert!(exec().fails().contains("brisk reads files of this name"));
    assert_eq!(fs::read_to_string(status).unwrap(), text);
}

/// Which flag or field it was.
#[test]
fn errors_name_who_has_said_it() {
    if brisk_only("brisk's words") {
        return;
    }
    let container = Bundle::idle().container();
    let root = container.bundle.rootfs();
    for (flags, words) in [
        (["--network", "ns:/proc/self/ns/uts"], "--network: open the network namespace /proc/self/ns/uts: it is a uts"),
        (["--mount", "/no/such:/mnt"], "--mount: op "),
        (["--tmpfs", "/bin/busybox"], "--tmpfs: op "),
        (["--pid-file", "/proc/self/comm"], "--pid-file /proc/self/comm: "),
        (["--pidfd-socket", "/no/such"], "--pidfd-socket: connect to /no/such: "),
    ] {
        let said = container
            .call(&[&["run", "--rootfs", root.to_str().unwrap()], &flags[..], &["x", "--", "true"]].concat())
            .fails();
        assert!(said.contains(words) && !said.contains("of devices"), "{said}");
    }
    let container = Bundle::idle().mount("bind", "/no/such", "/mnt", &["bind"]).container();
    let said = container.run().fails();
    assert!(said.contains("mounts["), "{said}");
}

/// What a stack takes is known before anything is made.
#[test]
fn a_stack_that_is_too_small_is_told() {
    if brisk_only("others end in SIGSEGV, or make do") {
        return;
    }
    let container = Bundle::idle().container();
    let dir = container.bundle.dir.to_str().unwrap();
    for args in [
        &["create", "--bundle", dir, &container.id][..],
        &["create", "--timeout", "9s", "--bundle", dir, &container.id],
        &["run", "--detach", "--timeout", "9s", "--bundle", dir, &container.id],
    ] {
        let said = process::run(process::in_shell(r#"ulimit -s 128; exec "$@""#, &container.command(args))).fails();
        assert!(said.contains("RLIMIT_STACK allows a stack of 131072 bytes"), "{said}");
        container.assert_nothing_left();
        process::run(process::in_shell(r#"ulimit -s 256; exec "$@""#, &container.command(args))).ok();
        container.delete_force().ok();
    }
    container.up().ok();
    container.kill("KILL").ok();
    host::wait_until(|| container.status() == "stopped");
    let restart = container.command(&["restart", &container.id]);
    let said = process::run(process::in_shell(r#"ulimit -s 128; exec "$@""#, &restart)).fails();
    assert!(said.contains("RLIMIT_STACK allows a stack of 131072 bytes"), "{said}");
    assert_eq!(container.status(), "stopped");
}

#[test]
fn a_name_that_is_near_is_meant() {
    if brisk_only("brisk's words") {
        return;
    }
    let container = up();
    let near = format!("{}x", container.id);
    let hint = format!("did you mean {}?", container.id);
    for args in [&["state", &near][..], &["kill", &near], &["delete", &near], &["exec", &near, "true"]] {
        let said = container.call(args).fails();
        assert!(said.contains(&hint), "{said}");
    }
}
