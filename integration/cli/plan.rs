//! `brisk plan` against what really ran: without this comparison the printed plan would be decoration.

use std::os::unix::net::UnixListener;

use serde_json::{Value, json};

use crate::common::plan::Lists;
use crate::common::{Bundle, brisk_only, lacks, process};

/// Creates the container with a trace and compares it with the plan made before.
#[track_caller]
fn plan_matches_trace(bundle: Bundle) {
    plan_matches_trace_in(bundle, &[]);
}

/// The same with these variables in brisk's environment; the plan is returned.
#[track_caller]
fn plan_matches_trace_in(bundle: Bundle, environment: &[(&str, &str)]) -> Lists {
    let container = bundle.container();
    let plan = Lists::planned_in(&container, environment).unwrap();
    let trace = container.bundle.dir.join("trace.json");
    let mut args = vec!["--trace", trace.to_str().unwrap()];
    let socket = container.bundle.dir.join("console.sock");
    // The connection waits in the listener's queue, and so does the terminal.
    let listener =
        (container.bundle.config["process"]["terminal"] == true).then(|| UnixListener::bind(&socket).unwrap());
    if listener.is_some() {
        args.extend(["--console-socket", socket.to_str().unwrap()]);
    }
    args.extend(["--bundle", container.bundle.dir.to_str().unwrap(), &container.id]);
    args.insert(0, "create");
    // With a socket to pass on, as LISTEN_FDS may say.
    let create = container.command(&args);
    let mut command = process::in_shell(r#"exec "$@" 3</dev/null"#, &create);
    for name in ["NOTIFY_SOCKET", "LISTEN_FDS", "XDG_RUNTIME_DIR"] {
        command.env_remove(name);
    }
    command.envs(environment.iter().copied());
    process::run(command).ok();
    plan.was_done(&Lists::done(&trace).unwrap());
    container.delete_force().ok();
    drop(listener);
    plan
}

#[test]
fn plan_matches_trace_of_the_default_spec() {
    if brisk_only("plan and --trace") {
        return;
    }
    plan_matches_trace(Bundle::idle());
}

#[test]
fn plan_matches_trace_of_a_container_as_docker_makes_it() {
    if lacks(&["pids"]) {
        return;
    }
    if brisk_only("plan and --trace") {
        return;
    }
    let docker: Value =
        serde_json::from_str(include_str!("../../fixtures/engines/docker-default-config.json")).unwrap();
    let bundle = Bundle::idle()
        .ns("cgroup")
        .mount("cgroup", "cgroup", "/sys/fs/cgroup", &["ro", "nosuid", "noexec", "nodev"])
        .set("/process/noNewPrivileges", json!(false))
        .set("/process/oomScoreAdj", json!(0))
        .set("/linux/seccomp", docker["linux"]["seccomp"].clone())
        .resources("pids", json!({ "limit": 100 }))
        .push(
            "/linux/devices",
            json!({ "type": "c", "path": "/dev/fuse", "major": 10, "minor": 229, "fileMode": 438 }),
        );
    plan_matches_trace(bundle);
}

#[test]
fn plan_matches_trace_in_a_user_namespace() {
    if brisk_only("plan and --trace") {
        return;
    }
    plan_matches_trace(Bundle::idle().userns());
}

#[test]
fn plan_matches_trace_with_hooks() {
    if brisk_only("plan and --trace") {
        return;
    }
    let kinds = ["prestart", "createRuntime", "createContainer"];
    let bundle = kinds.iter().fold(Bundle::idle(), |bundle, kind| bundle.sh_hook(kind, "exit 0"));
    plan_matches_trace(bundle);
}

#[test]
fn plan_matches_trace_with_a_start_container_hook() {
    if brisk_only("plan and --trace") {
        return;
    }
    plan_matches_trace(Bundle::idle().hook("startContainer", "/bin/true", &["true"]));
}

#[test]
fn plan_matches_trace_with_a_terminal() {
    if brisk_only("plan and --trace") {
        return;
    }
    plan_matches_trace(Bundle::idle().set("/process/terminal", json!(true)));
}

#[test]
fn plan_matches_trace_with_a_supervisor() {
    if brisk_only("plan and --trace") {
        return;
    }
    for bundle in [Bundle::idle(), Bundle::idle().userns()] {
        let inside = bundle.state_root().join(&bundle.id).join("notify");
        let plan = plan_matches_trace_in(bundle, &[("NOTIFY_SOCKET", "/nobody/listens")]);
        // The container's part of it is the parent's to clone, for a child that may not be able to reach it.
        let inside = format!("{} (this mount)", inside.display());
        assert!(plan.mentions(&inside), "{plan:?}");
    }
}

#[test]
fn plan_matches_trace_with_sockets_passed_on() {
    if brisk_only("plan and --trace") {
        return;
    }
    let plan = plan_matches_trace_in(Bundle::idle(), &[("LISTEN_FDS", "1")]);
    assert!(plan.has("close descriptors from 4"), "{plan:?}");
}

#[test]
fn plan_matches_trace_of_mounts_limits_and_joined_namespaces() {
    if brisk_only("plan and --trace") {
        return;
    }
    let source = std::env::temp_dir();
    let bundle = Bundle::idle()
        .mount("bind", source.to_str().unwrap(), "/mnt", &["rbind", "rslave", "rro"])
        .mount("tmpfs", "tmpfs", "/tmp", &["tmpcopyup", "size=1m"])
        .ns("time")
        .set("/linux/timeOffsets", json!({ "monotonic": { "secs": 100 } }))
        .set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1" }))
        .push("/process/rlimits", json!({ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 }))
        .join("ipc", "/proc/self/ns/ipc");
    plan_matches_trace(bundle);
}
