//! `brisk plan` against what really ran: without this comparison the printed plan would be decoration.

use std::os::unix::net::UnixListener;

use serde_json::{Value, json};

use crate::common::{Bundle, Container, brisk_only, lacks};

/// What the trace has besides the plan's steps: it begins before there is a plan.
const BEFORE_THE_PLAN: &[&str] = &["plan", "make the state directory"];

/// The last operation that brisk itself sees; what follows is done by the walker, which keeps no times.
const LAST_SEEN: &[&str] = &["unmap the runtime", "wait for start"];

fn lines(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect()
}

/// What `brisk plan --json` says will be done by the parent and by the child.
fn planned(container: &Container) -> (Vec<String>, Vec<String>) {
    let plan = container.call(&["plan", "--json", container.bundle.dir.to_str().unwrap()]).ok().json();
    // `plan` has no id to go by; the id is in the name of the keyring and, without a cgroupsPath, of the cgroup.
    let named = |list| lines(list).into_iter().map(|line| line.replace("_ses.ID", &format!("_ses.{}", container.id)));
    (named(&plan["parent"]).collect(), named(&plan["child"]).collect())
}

/// What the trace says was done, in the order in which it was begun.
fn done(container: &Container, side: &str) -> Vec<String> {
    let text = std::fs::read(container.bundle.dir.join("trace.json")).unwrap();
    let trace: Value = serde_json::from_slice(&text).unwrap();
    let mut events: Vec<&Value> =
        trace["traceEvents"].as_array().unwrap().iter().filter(|e| e["cat"] == side).collect();
    events.sort_by(|a, b| a["ts"].as_f64().unwrap().total_cmp(&b["ts"].as_f64().unwrap()));
    let names = events.into_iter().map(|event| event["name"].as_str().unwrap().to_owned());
    names.filter(|name| !BEFORE_THE_PLAN.contains(&name.as_str())).collect()
}

/// Creates the container with a trace and compares it with the plan made before.
#[track_caller]
fn plan_matches_trace(bundle: Bundle) {
    let container = bundle.container();
    let (parent, child) = planned(&container);
    let trace = container.bundle.dir.join("trace.json");
    let mut args = vec!["--trace", trace.to_str().unwrap()];
    let socket = container.bundle.dir.join("console.sock");
    // The connection waits in the listener's queue, and so does the terminal.
    let listener =
        (container.bundle.config["process"]["terminal"] == true).then(|| UnixListener::bind(&socket).unwrap());
    if listener.is_some() {
        args.extend(["--console-socket", socket.to_str().unwrap()]);
    }
    container.create_with(&args).ok();
    assert_eq!(done(&container, "parent"), parent, "the parent's steps");
    let last = child.iter().position(|line| LAST_SEEN.iter().any(|word| line.starts_with(word)));
    let last = last.unwrap_or_else(|| panic!("no operation in which the child waits: {child:#?}"));
    assert_eq!(done(&container, "child"), child[..=last], "the child's operations");
    container.delete_force().ok();
    drop(listener);
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
    let docker: Value = serde_json::from_str(include_str!("../fixtures/engines/docker-default-config.json")).unwrap();
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
