//! create, start, state, delete, run and list.

use std::fs;
use std::process::{Child, Stdio};

use brisk::cli::verbs::{Arity, VERBS, Verb};
use serde_json::{Value, json};

use crate::common::{Bundle, Container, brisk_only, host, process, runtime_name, skip_on};
use crate::insight::{self, cannot_look};

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

/// A command that names a container and finds none says so, whatever it would have done.
#[test]
fn a_container_that_is_not_there_is_missed_by_every_command() {
    if brisk_only("all its commands") || cannot_look() {
        return;
    }
    let container = Bundle::idle().container();
    container.create().ok();
    let file = container.bundle.dir.join("list.json");
    fs::write(&file, "[]").unwrap();
    let makes_one = |verb| matches!(verb, Verb::Create | Verb::Run | Verb::Restore | Verb::Record);
    let mut seen = 0;
    for row in VERBS.iter().filter(|row| !makes_one(row.verb)) {
        if !row.positionals.iter().any(|argument| argument.name == "ID") {
            continue;
        }
        let mut words = vec![row.name];
        words.extend(if row.verb == Verb::Update { &["--pids-limit=5"][..] } else { &[] });
        let needed = |arity| !matches!(arity, Arity::Optional | Arity::Command);
        words.extend(row.positionals.iter().filter(|argument| needed(argument.arity)).map(
            |argument| match argument.name {
                "ID" => "no-such-container",
                "ACTION" => "add",
                "FILE" => file.to_str().unwrap(),
                _ => "true",
            },
        ));
        let text = insight::call(&container, &words).fails();
        assert!(text.contains("no-such-container") && text.contains("does not exist"), "{words:?}: {text}");
        seen += 1;
    }
    assert!(seen > 18, "only {seen} commands");
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

/// As one that was killed a moment ago, or has just said its last word: the kernel may not have ended it yet.
#[test]
fn delete_waits_a_moment_for_a_program_that_ends() {
    let container = Bundle::idle().container();
    container.up();
    let waits = |delete: &Child| {
        let open = std::fs::read_dir(format!("/proc/{}/fd", delete.id()));
        open.is_ok_and(|open| {
            open.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok())
                .any(|link| link.ends_with("anon_inode:[pidfd]"))
        })
    };
    // On a busy machine we may be too late, or not see it.
    let deleted = (0..20).any(|_| {
        let mut delete = container.command(&["delete", &container.id]).stderr(Stdio::null()).spawn().unwrap();
        while !waits(&delete) {
            if delete.try_wait().unwrap().is_some() {
                return false;
            }
        }
        container.kill("KILL").ok();
        if delete.wait().unwrap().success() {
            return true;
        }
        container.delete_force().ok();
        container.up();
        false
    });
    assert!(deleted, "it is refused at once");
    container.assert_nothing_left();
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
fn run_reaps_the_orphans_of_a_container_without_a_pid_namespace() {
    let container = Bundle::sh("(sleep 0 &) ; (sleep 0 &) ; exit 4").without_ns("pid").container();
    container.run().exits(4);
    container.assert_nothing_left();
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
fn version_has_three_lines() {
    let container = Bundle::idle().container();
    let text = container.call(&["--version"]).ok().stdout();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].contains(" version "), "{text}");
    assert!(lines[1].starts_with("commit: "), "{text}");
    assert!(lines.iter().any(|l| l.starts_with("spec: 1.")), "{text}");
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
