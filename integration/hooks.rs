//! The six kinds of hooks: order, namespaces, state on standard input, time-outs, failures.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::common::{Bundle, Container, brisk_only, host, process, runtime_name, skip_on};

const KINDS: [&str; 6] = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A line of shell that keeps the state JSON in the hook's output file.
const KEEP_STATE: &str = "cat >> $OUT; echo >> $OUT";

#[test]
fn hooks_run_in_order() {
    if skip_on(&["runc"], "runs poststart at create") {
        return;
    }
    let mut bundle = Bundle::sh("true");
    for kind in KINDS {
        if kind == "startContainer" {
            // Its path is resolved in the container, so the file it writes to is below the root.
            bundle = bundle.hook(kind, "/bin/sh", &["sh", "-c", "cat; echo startContainer > /tmp/hook.out"]);
            continue;
        }
        for n in 1..=2 {
            bundle = bundle.sh_hook(kind, &format!("cat > /dev/null; echo {kind}{n} >> $OUT"));
        }
    }
    let container = bundle.container();
    let words = || container.bundle.hook_output().split_whitespace().map(str::to_string).collect::<Vec<_>>();
    container.create().ok();
    let created =
        ["prestart1", "prestart2", "createRuntime1", "createRuntime2", "createContainer1", "createContainer2"];
    assert_eq!(words(), created);
    assert!(!container.bundle.rootfs().join("tmp/hook.out").exists(), "startContainer before start");
    container.start_and_wait();
    assert_eq!(words()[6..], ["poststart1", "poststart2"]);
    assert!(container.bundle.rootfs().join("tmp/hook.out").exists());
    container.delete_force().ok();
    assert_eq!(words()[8..], ["poststop1", "poststop2"]);
}

#[test]
fn hooks_get_the_state_on_standard_input() {
    let stage = |kind: &str| match kind {
        // runc says "creating".
        "prestart" if runtime_name() != "runc" => vec!["created"],
        "prestart" | "createRuntime" | "createContainer" => vec!["creating", "created"],
        "startContainer" => vec!["created"],
        "poststart" => vec!["running"],
        _ => vec!["stopped"],
    };
    for kind in KINDS {
        if kind == "poststart" && skip_on(&["runc", "crun"], "the status given to poststart") {
            continue;
        }
        let bundle = Bundle::idle().set("/annotations", json!({ "a.key": "with \"quotes\" and /slashes/" }));
        let bundle = if kind == "startContainer" {
            bundle.hook(kind, "/bin/sh", &["sh", "-c", "cat > /tmp/hook.out"])
        } else {
            bundle.sh_hook(kind, KEEP_STATE)
        };
        let container = bundle.container();
        container.up();
        let pid = container.pid();
        let inside = container.bundle.rootfs().join("tmp/hook.out");
        if kind == "startContainer" {
            // `start` gives the signal; the hook runs after it, in the container.
            host::wait_until(|| fs::read(&inside).is_ok_and(|text| text.ends_with(b"}")));
        }
        container.delete_force().ok();
        let text = match kind {
            "startContainer" => fs::read_to_string(inside).unwrap(),
            _ => container.bundle.hook_output(),
        };
        let state: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{kind}: {e}: {text}"));
        assert_eq!(state["id"], json!(container.id), "{kind}");
        if kind == "startContainer" && skip_on(&["crun"], "gives startContainer hooks a state of its own") {
            continue;
        }
        assert_eq!(state["bundle"], json!(container.bundle.dir), "{kind}");
        assert!(state["ociVersion"].is_string(), "{kind}: {state}");
        assert_eq!(state["annotations"]["a.key"], "with \"quotes\" and /slashes/", "{kind}");
        assert!(stage(kind).contains(&state["status"].as_str().unwrap()), "{kind}: {state}");
        if ["prestart", "createRuntime", "poststart"].contains(&kind) {
            assert_eq!(state["pid"], json!(pid), "{kind}");
        }
    }
}

#[test]
fn a_key_may_be_written_with_escapes() {
    if skip_on(&["runc"], "runs poststart at create") {
        return;
    }
    let bundle = Bundle::idle().sh_hook("poststart", "echo ran > $OUT");
    bundle.write();
    let file = bundle.dir.join("config.json");
    let text = fs::read_to_string(&file).unwrap().replace("\"poststart\"", r#""post\u0073tart""#);
    assert!(text.contains("u0073"));
    fs::write(file, text).unwrap();
    let container = Container::new(bundle);
    container.up();
    assert_eq!(container.bundle.hook_output(), "ran\n");
}

#[test]
fn hooks_run_in_their_namespaces() {
    // Runtime hooks in the namespaces of the runtime, container hooks in those of the container.
    let line = "readlink /proc/self/ns/mnt /proc/self/ns/net /proc/self/ns/uts > $OUT";
    for kind in ["prestart", "createRuntime", "poststart", "poststop"] {
        let container = Bundle::sh("true").sh_hook(kind, line).container();
        container.run().ok();
        let found = container.bundle.hook_output();
        for ns in ["mnt", "net", "uts"] {
            assert!(found.contains(&host::ns(ns)), "{kind} is not in the runtime's {ns} namespace: {found}");
        }
    }
    for kind in ["createContainer"] {
        let container = Bundle::sh("true").sh_hook(kind, line).container();
        container.run().ok();
        let found = container.bundle.hook_output();
        for ns in ["mnt", "net", "uts"] {
            assert!(!found.contains(&host::ns(ns)), "{kind} is in the runtime's {ns} namespace: {found}");
        }
    }
}

#[test]
fn create_container_hook_may_be_a_dynamic_program_of_the_host() {
    // The rootfs has neither this program nor a loader: GPU and CDI hooks are of this kind.
    let container = Bundle::sh("true").container();
    assert!(!container.bundle.rootfs().join("usr/bin/env").exists());
    let out = container.bundle.dir.join("hook.out");
    let touch = "/usr/bin/touch";
    let mut container = container;
    container.bundle.config["hooks"] = json!({ "createContainer": [{ "path": touch, "args": ["touch", out] }] });
    container.bundle.write();
    container.run().ok();
    assert!(out.exists());
}

#[test]
fn create_container_hook_may_be_a_script_of_the_host() {
    let bundle = Bundle::sh("true");
    let out = bundle.dir.join("hook.out");
    let script = bundle.script("hook.sh", &format!("#!/bin/sh\necho \"$1\" > {}\n", out.display()));
    let container = bundle.hook("createContainer", script.to_str().unwrap(), &["hook.sh", "an argument"]).container();
    container.run().ok();
    assert_eq!(container.bundle.hook_output(), "an argument\n");
}

#[test]
fn create_container_hook_can_change_the_containers_mounts() {
    let bundle = Bundle::new(&["/bin/cat", "/mnt/file"]);
    let source = bundle.host_dir("source");
    fs::write(source.join("file"), "mounted by a hook\n").unwrap();
    let target = bundle.rootfs().join("mnt");
    let line = format!("mount --bind {} {}", source.display(), target.display());
    let container = bundle.sh_hook("createContainer", &line).container();
    assert_eq!(container.run().ok().stdout(), "mounted by a hook\n");
    container.assert_nothing_left();
}

#[test]
fn create_container_hook_runs_before_the_root_is_read_only() {
    if skip_on(&["crun"], "fixed in crun 1.26") {
        return;
    }
    let bundle = Bundle::new(&["/bin/cat", "/tmp/file"]).set("/root/readonly", json!(true));
    let target = bundle.rootfs().join("tmp/file");
    let container = bundle.sh_hook("createContainer", &format!("echo written > {}", target.display())).container();
    assert_eq!(container.run().ok().stdout(), "written\n");
}

/// Those that brisk has blocked are for itself to read. No shell is asked: some unblock signals as they begin.
#[test]
fn hooks_of_the_host_have_no_signal_blocked() {
    if skip_on(&["runc"], "crun's annotation") {
        return;
    }
    for kind in ["prestart", "createRuntime", "poststart", "poststop"] {
        let bundle = Bundle::sh("true").hook(kind, "/usr/bin/grep", &["grep", "-H", "SigBlk", "/proc/self/status"]);
        let out = bundle.dir.join("hook.out");
        let bundle = bundle.set("/annotations/run.oci.hooks.stdout", out.to_str().unwrap().into());
        let container = bundle.container().trusting();
        container.run().ok();
        let blocked = container.bundle.hook_output();
        assert!(blocked.ends_with("SigBlk:\t0000000000000000\n"), "{kind}: {blocked:?}");
    }
}

/// Where nothing is mounted, and the root stays where it is.
#[test]
fn create_container_hook_runs_without_a_mount_namespace() {
    let mut bundle = Bundle::sh("pwd").sh_hook("createContainer", "cat > /dev/null; echo ran > $OUT");
    bundle.config["mounts"] = json!([]);
    bundle.config["linux"] = json!({ "namespaces": [{ "type": "pid" }] });
    bundle.config["hostname"] = json!(null);
    bundle.config["process"]["cwd"] = "/made/for/it".into();
    let container = bundle.container();
    assert_eq!(container.run().ok().stdout(), "/made/for/it\n");
    assert_eq!(container.bundle.hook_output(), "ran\n");
}

#[test]
fn create_runtime_hook_sees_the_containers_namespaces_through_its_pid() {
    let bundle = Bundle::probe(&["report"]).sh_hook(
        "createRuntime",
        r#"pid=$(sed -n 's/.*"pid": *\([0-9]*\).*/\1/p'); readlink /proc/$pid/ns/net > $OUT"#,
    );
    let container = bundle.container();
    let report = container.run().ok().json();
    assert_eq!(json!(container.bundle.hook_output().trim()), report["report"]["ns"]["net"]);
}

#[test]
fn start_container_hook_runs_inside_with_the_root_changed() {
    let container = Bundle::new(&["/bin/cat", "/tmp/hook.out"])
        .hook("startContainer", "/bin/sh", &["sh", "-c", "cat /etc/passwd > /tmp/hook.out"])
        .container();
    assert!(container.run().ok().stdout().contains("someone:x:1000"));
}

#[test]
fn hooks_get_their_arguments_and_only_their_environment() {
    let bundle = Bundle::sh("true").push(
        "/hooks/createRuntime",
        json!({ "path": "/bin/sh", "args": ["my-name", "-c", "echo $0 $1 $A; env | grep -c HOST_ONLY; true", "zero", "one"],
                "env": ["A=b"] }),
    );
    let out = bundle.dir.join("hook.out");
    let mut bundle = bundle;
    let line = format!("(echo $0 $1 $A $HOST_ONLY; env) > {}", out.display());
    bundle.config["hooks"]["createRuntime"][0]["args"][2] = json!(line);
    let container = bundle.container();
    let mut command = container.command(&["run", "--bundle", container.bundle.dir.to_str().unwrap(), &container.id]);
    command.env("HOST_ONLY", "secret");
    crate::common::process::run(command).ok();
    let text = container.bundle.hook_output();
    assert!(text.starts_with("zero one b\n"), "{text}");
    assert!(!text.contains("secret"), "{text}");
}

/// The runtime's for those of the host; that of the program, and its HOME, for those of the container. createContainer
/// hooks, which other processes of a joined pid namespace can see, get nothing of the caller.
#[test]
fn hooks_without_an_environment_have_one() {
    if skip_on(&["crun"], "the runtime's for all of them") {
        return;
    }
    let kinds = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"];
    for kind in kinds {
        let container = Bundle::sh("true").sh_hook(kind, "echo \"<$OF_HOST>\" > $OUT").container();
        let mut command =
            container.command(&["run", "--bundle", container.bundle.dir.to_str().unwrap(), &container.id]);
        command.env("OF_HOST", "yes");
        process::run(command).ok();
        let wanted = if kind == "createContainer" { "<>\n" } else { "<yes>\n" };
        assert_eq!(container.bundle.hook_output(), wanted, "{kind}");
    }
    let container = Bundle::sh("cat /tmp/out")
        .push("/process/env", json!("ONE=two"))
        .hook("startContainer", "/bin/sh", &["sh", "-c", "echo $ONE $HOME > /tmp/out"])
        .container();
    if !skip_on(&["runc"], "HOME since 1.3") {
        assert_eq!(container.run().ok().stdout(), "two /root\n");
    }
    if brisk_only("they pass on what is no variable") {
        return;
    }
    let hook = json!({ "path": "/bin/true", "env": ["A=b", "no variable"] });
    let error = Bundle::idle().push("/hooks/prestart", hook).container().create().fails();
    assert!(error.contains("environment variable \"no variable\" of /bin/true has no ="), "{error}");
}

/// createContainer hooks are written for runc with paths below the root, others with paths below the bundle.
#[test]
fn hooks_run_in_the_root_or_the_bundle() {
    if skip_on(&["crun"], "the bundle for all of them") {
        return;
    }
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let container = Bundle::sh("true").sh_hook(kind, "pwd > $OUT").container();
        let bundle = container.bundle.dir.to_str().unwrap();
        let mut command = container.command(&["run", "--bundle", bundle, &container.id]);
        process::run({
            command.current_dir("/");
            command
        })
        .ok();
        let wanted = if kind == "createContainer" { format!("{bundle}/rootfs\n") } else { format!("{bundle}\n") };
        assert_eq!(container.bundle.hook_output(), wanted, "{kind}");
    }
}

/// In runc's words, with what the hook has said, wherever it ran and whatever the program's standard error is.
#[test]
fn the_error_of_a_hook_says_which_how_and_why() {
    if brisk_only("the words of runc 1.5, and start waits") {
        return;
    }
    let script = "echo what is wrong >&2; exit 9";
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart"] {
        for how in ["run", "create and start"] {
            let first = if kind == "startContainer" { "/bin/busybox" } else { "/bin/true" };
            let container = Bundle::sh("true")
                .hook(kind, first, &["true"])
                .hook(kind, "/bin/sh", &["sh", "-c", script])
                .container();
            let failed = match how {
                "run" => container.run(),
                _ => match container.create() {
                    created if created.code == 0 => container.start(),
                    failed => failed,
                },
            };
            let text = failed.fails();
            assert!(text.contains(&format!("error running {kind} hook #1: /bin/sh: ")), "{text}");
            assert!(text.contains("exit status 9, stderr: what is wrong") && text.lines().count() == 1, "{text}");
        }
    }
    let container = Bundle::idle().hook("createContainer", "/no/such/hook", &["x"]).container();
    let text = container.create().fails();
    assert!(
        text.contains("hook #0: /no/such/hook: exit status 127, stderr: cannot be executed: No such file"),
        "{text}"
    );
    // The filter is on by then: what it kills is told with the signal's name.
    let rule = json!([{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS" }]);
    let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": rule });
    for no_new_privs in [true, false] {
        let container = Bundle::sh("true")
            .set("/linux/seccomp", profile.clone())
            .set("/process/noNewPrivileges", json!(no_new_privs))
            .hook("startContainer", "/bin/busybox", &["mkdir", "/dev/shm/foo"])
            .container();
        let text = container.run().fails();
        assert!(text.contains("startContainer hook #0") && text.contains("(bad system call)"), "{text}");
    }
}

/// EREMOTEIO and ETIMEDOUT are what the kernel says, too.
#[test]
fn a_fault_around_a_hook_is_not_taken_for_the_hooks() {
    if brisk_only("its wire") {
        return;
    }
    use brisk::plan::text::hook_error;
    use brisk::spec::hooks::HookKind;
    assert!(hook_error(HookKind::StartContainer, "", "").is_none());
    assert!(hook_error(HookKind::StartContainer, "/bin/true", "words").is_none());
    let error = hook_error(HookKind::StartContainer, "\u{1}3 /bin/x: exit status 1", "why\n").unwrap();
    assert_eq!(error.to_string(), "hook: error running startContainer hook #3: /bin/x: exit status 1, stderr: why");
}

#[test]
fn a_failing_create_hook_fails_create_and_nothing_stays() {
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let container = Bundle::idle().sh_hook(kind, "echo from the hook >&2; exit 9").container();
        container.create().fails();
        if !(kind == "createContainer" && skip_on(&["crun"], "leaves the container")) {
            container.assert_nothing_left();
        }
        container.delete_force().ok();
    }
}

#[test]
fn poststop_hooks_run_when_create_fails_in_a_hook() {
    let container =
        Bundle::idle().sh_hook("createRuntime", "exit 1").sh_hook("poststop", "echo poststop >> $OUT").container();
    container.create().fails();
    if skip_on(&["crun", "runc"], "runtime-spec 1.1 and later ask for it") {
        return;
    }
    assert_eq!(container.bundle.hook_output(), "poststop\n");
}

#[test]
fn a_failing_start_container_hook_stops_the_container_before_its_program() {
    let container = Bundle::sh("echo > /tmp/ran")
        .hook("startContainer", "/bin/sh", &["sh", "-c", "exit 3"])
        .sh_hook("poststart", "echo poststart >> $OUT")
        .sh_hook("poststop", "echo poststop >> $OUT")
        .container();
    container.create().ok();
    // The error surfaces at start, or in the container's exit: never in a running program.
    let start = container.start();
    host::wait_until(|| container.status() == "stopped");
    assert!(!container.bundle.rootfs().join("tmp/ran").exists());
    if skip_on(&["runc", "crun"], "start does not wait for the hook, and poststart hooks run") {
        return;
    }
    let error = start.fails();
    assert!(error.contains("error running startContainer hook #0: /bin/sh: exit status 3"), "{error}");
    assert_eq!(container.bundle.hook_output(), "");
    container.delete().ok();
    assert_eq!(container.bundle.hook_output(), "poststop\n");
    container.assert_nothing_left();
}

#[test]
fn a_start_container_hook_that_succeeds_comes_before_the_poststart_hooks() {
    let script = "sleep 0.2; echo > /tmp/hook.out";
    let bundle = Bundle::idle().hook("startContainer", "/bin/sh", &["sh", "-c", script]);
    let inside = bundle.rootfs().join("tmp/hook.out");
    let check = format!("test -e {} && echo poststart > $OUT", inside.display());
    let container = bundle.sh_hook("poststart", &check).container();
    container.create().ok();
    let start = container.start();
    if skip_on(&["runc", "crun"], "start does not wait for startContainer hooks") {
        return;
    }
    start.ok();
    assert_eq!((container.bundle.hook_output(), container.status()), ("poststart\n".into(), "running".into()));
}

/// Who waits for them.
const WAITED_FOR: [&str; 2] = ["startContainer", "poststart"];

/// A container whose hook of this kind hangs.
fn hanging(kind: &str) -> Container {
    let bundle = match kind {
        "startContainer" => Bundle::idle().hook(kind, "/bin/sh", &["sh", "-c", "echo > /tmp/in; exec sleep 1000000"]),
        _ => Bundle::idle().sh_hook(kind, "echo > $OUT; exec sleep 1000000"),
    };
    bundle.container()
}

/// A command, when the hook that it waits for has begun.
fn hung(container: &Container, args: &[&str]) -> process::Running {
    let command = process::start(container.command(args), Stdio::null());
    let inside = container.bundle.rootfs().join("tmp/in");
    host::wait_until(|| inside.exists() || !container.bundle.hook_output().is_empty());
    command
}

/// The hook of the host goes with the command that runs it.
fn end(container: &Container, command: process::Running) {
    let _ = kill(Pid::from_raw(command.pid()), Signal::SIGKILL);
    command.wait();
    host::wait_until(|| container.leftovers().is_empty());
}

/// `start` waits for both kinds, `run` for the second. Whoever wants to be rid of the container need not.
#[test]
fn a_container_whose_start_hangs_in_a_hook_can_be_deleted() {
    if skip_on(&["crun", "runc"], "their hooks go on") {
        return;
    }
    for kind in WAITED_FOR {
        let container = hanging(kind);
        container.create().ok();
        let start = hung(&container, &["start", &container.id]);
        container.delete().fails();
        container.delete_force().ok();
        end(&container, start);
    }
}

/// The command that starts it has the lock meanwhile.
#[test]
fn a_container_whose_run_hangs_in_a_hook_can_be_deleted() {
    if skip_on(&["crun", "runc"], "their hooks go on") {
        return;
    }
    for kind in WAITED_FOR {
        let container = hanging(kind);
        let dir = container.bundle.dir.to_str().unwrap();
        let run = hung(&container, &["run", "--detach", "--bundle", dir, &container.id]);
        let begin = std::time::Instant::now();
        container.delete_force().ok();
        assert!(begin.elapsed().as_secs() < 9, "{kind}: not at once");
        end(&container, run);
    }
}

/// A foreground `run` adopts what its hooks leave. Whoever ends it ends its own work, and no daemon that a hook has started.
#[test]
fn a_daemon_of_a_hook_outlives_the_run_that_hangs_in_the_next_one() {
    if skip_on(&["crun", "runc"], "their hooks go on") {
        return;
    }
    let wait = "echo $$ > $OUT; read word < $OUT.in; echo $word > $OUT";
    let shell = format!("setsid sh -c '{wait}' &");
    // A copy of who was started, as most daemons are.
    let copy = r#"perl -e 'use POSIX; exit if fork; POSIX::setsid(); sub say { open O, ">", $ENV{OUT}; print O "@_\n"; close O }
        say $$; open I, "<", "$ENV{OUT}.in"; $_ = <I>; chomp; say $_'"#;
    for daemon in [shell.as_str(), copy] {
        let daemon = format!("exec >&- 2>&-; export OUT; mkfifo $OUT.in; {daemon}");
        let hang = "until [ -s $OUT ]; do :; done; exec sleep 1000000";
        let container = Bundle::idle().sh_hook("createRuntime", &daemon).sh_hook("createRuntime", hang).container();
        let dir = &container.bundle.dir;
        let run = hung(&container, &["run", "--bundle", dir.to_str().unwrap(), &container.id]);
        let said = || container.bundle.hook_output();
        host::wait_until(|| said().ends_with('\n'));
        let stat = format!("/proc/{}/stat", said().trim());
        let parent = || fs::read_to_string(&stat).unwrap().split(' ').nth(3).map(str::to_owned);
        host::wait_until(|| parent() == Some(run.pid().to_string()));
        container.delete_force().ok();
        run.wait();
        // Nobody reads from it who was killed.
        let open = || fs::OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(dir.join("hook.out.in"));
        host::wait_until(|| open().is_ok_and(|mut word| word.write_all(b"alive\n").is_ok()));
        host::wait_until(|| said() == "alive\n");
    }
}

#[test]
fn a_failing_poststop_hook_does_not_keep_the_container() {
    let container = Bundle::idle().sh_hook("poststop", "exit 1").sh_hook("poststop", "echo second >> $OUT").container();
    container.create().ok();
    container.delete_force();
    container.assert_nothing_left();
    if skip_on(&["runc"], "stops at the first that fails") {
        return;
    }
    assert_eq!(container.bundle.hook_output(), "second\n", "later hooks still run");
}

#[test]
fn a_hook_that_hangs_is_ended_by_its_timeout() {
    if skip_on(&["runc", "crun"], "startContainer and poststart hooks run beside start, or before") {
        return;
    }
    for kind in KINDS {
        let hook = json!({ "path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1 });
        let container = Bundle::idle().push(&format!("/hooks/{kind}"), hook).container();
        let before = std::time::Instant::now();
        let text = match kind {
            "startContainer" | "poststart" => {
                container.create().ok();
                container.start().fails()
            }
            "poststop" => {
                container.create().ok();
                container.delete().ok().stderr()
            }
            _ => container.create().fails(),
        };
        assert!(before.elapsed() >= std::time::Duration::from_secs(1), "{kind}: {text}");
        assert!(text.contains(kind) && text.contains("/bin/sleep") && text.contains("timed out"), "{kind}: {text}");
        container.delete_force().ok();
        container.assert_nothing_left();
    }
}

#[test]
fn a_hook_whose_program_is_missing_fails_and_is_named() {
    let container = Bundle::idle().hook("createRuntime", "/no/such/hook", &["hook"]).container();
    let text = container.create().fails();
    assert!(text.contains("/no/such/hook") || skip_on(&["crun"], "says only the errno"), "{text}");
    container.assert_nothing_left();
}

#[test]
fn a_hook_path_must_be_absolute() {
    if skip_on(&["runc", "crun"], "they run it relative to where they are") {
        return;
    }
    let container = Bundle::idle().hook("createRuntime", "true", &["true"]).container();
    container.create().fails();
    container.assert_nothing_left();
}

#[test]
fn a_hook_that_does_not_read_its_input_is_no_error() {
    if skip_on(&["crun"], "dies of SIGPIPE") {
        return;
    }
    let long = "x".repeat(200_000);
    let container = Bundle::sh("true")
        .set("/annotations", json!({ "long": long }))
        .hook("createRuntime", "/bin/true", &["true"])
        .hook("poststart", "/bin/true", &["true"])
        .hook("poststop", "/bin/true", &["true"])
        .container();
    container.run().ok();
}

#[test]
fn poststart_runs_after_the_program_was_started() {
    if skip_on(&["runc"], "runs it before (runc#4347)") {
        return;
    }
    let bundle = Bundle::idle().sh_hook(
        "poststart",
        r#"pid=$(sed -n 's/.*"pid": *\([0-9]*\).*/\1/p'); tr '\0' ' ' < /proc/$pid/cmdline > $OUT"#,
    );
    let container = bundle.container();
    container.up();
    if skip_on(&["crun"], "may be a moment too early") {
        return;
    }
    assert_eq!(container.bundle.hook_output(), "/probe pause ");
}
