//! `inspect`: all of a container in one JSON.

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};

use super::{call, cannot_look};
use crate::common::{Bundle, container::mount_at, host, lacks};

#[test]
fn all_of_a_container() {
    if cannot_look() || lacks(&["memory", "pids"]) {
        return;
    }
    // What the container chooses must not reach a terminal as it is.
    let bad = "x\u{1b}[2J\u{9b}2J";
    let bundle = Bundle::idle()
        .set("/annotations", json!({ "bad": bad }))
        .set("/process/noNewPrivileges", json!(true))
        .set("/process/rlimits", json!([{ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 }]))
        .resources("pids", json!({ "limit": 20 }))
        .mount("tmpfs", "none", &format!("/mnt/{bad} y"), &["nosuid", "size=1m"]);
    let container = bundle.container();
    container.up().ok();
    let out = call(&container, &["inspect", &container.id]).ok();
    let text = out.stdout();
    assert!(!text.contains(['\u{1b}', '\u{9b}']), "{text}");
    let all: Value = out.json();
    assert_eq!(all["annotations"]["bad"], bad);
    assert_eq!((&all["state"]["id"], &all["config"]["annotations"]["bad"]), (&json!(container.id), &json!(bad)));
    let mount = mount_at(&all, &format!("/mnt/{bad} y"));
    assert_eq!((&mount["type"], &mount["source"]), (&json!("tmpfs"), &json!("none")), "{mount}");
    assert!(mount["attributes"].as_array().unwrap().contains(&json!("nosuid")), "{mount}");
    let pid = container.pid().to_string();
    for kind in ["mnt", "pid", "net", "user"] {
        let theirs = host::ns_of(&pid, kind);
        let shown = &all["namespaces"][kind];
        assert!(theirs.contains(&shown["inode"].to_string()), "{kind}: {theirs} {shown}");
        assert_eq!(shown["shared"], theirs == host::ns(kind), "{kind}");
    }
    let process = &all["process"];
    assert_eq!(process["arguments"], container.bundle.config["process"]["args"]);
    assert_eq!(process["rlimits"]["Max open files"], json!({ "soft": 100, "hard": 200 }));
    assert_eq!((&process["noNewPrivileges"], &process["pid"]), (&json!(true), &json!(container.pid())));
    assert_eq!(process["pidsInNamespaces"].as_array().unwrap().last(), Some(&json!(1)));
    // In the kernel's order, whatever the bundle's is.
    let sorted = |list: &Value| {
        let mut names: Vec<String> = serde_json::from_value(list.clone()).unwrap();
        names.sort();
        names
    };
    let asked = &container.bundle.config["process"]["capabilities"]["bounding"];
    assert_eq!(sorted(&process["capabilities"]["bounding"]), sorted(asked));
    assert_eq!(all["pids"]["limit"], 20);
    let limits: Vec<&Value> =
        all["cgroups"].as_array().unwrap().iter().map(|cgroup| &cgroup["limits"]["pids.max"]).collect();
    assert!(limits.contains(&&json!("20")), "{limits:?}");
    container.stop();
    let ended = call(&container, &["inspect", &container.id]).ok().json();
    assert_eq!(
        (&ended["status"], &ended["process"], &ended["mounts"]),
        (&json!("stopped"), &Value::Null, &Value::Null)
    );
}

/// A container may have as many arguments as the kernel takes; whoever asks for the rest gets it.
#[test]
fn a_part_that_cannot_be_read_is_null() {
    if cannot_look() {
        return;
    }
    let long = "x".repeat(100_000);
    let mut args = vec!["/bin/sh", "-c", "while :; do sleep 1000; done"];
    args.extend([long.as_str(); 12]);
    let container = Bundle::new(&args).container();
    container.up().ok();
    let out = call(&container, &["inspect", &container.id]).ok();
    let all: Value = out.json();
    assert_eq!((&all["status"], &all["process"]["arguments"]), (&json!("running"), &Value::Null));
    assert_eq!(all["process"]["pid"], json!(container.pid()));
    assert!(out.stderr().contains("cmdline: more than 1048576 bytes"), "{}", out.stderr());
    container.stop();
}

#[test]
fn a_copy_of_the_configuration_that_is_damaged_is_null() {
    if cannot_look() {
        return;
    }
    let container = Bundle::idle().container();
    container.up();
    let copy = container.bundle.state_root().join(&container.id).join("config.json");
    let whole = std::fs::read(&copy).unwrap();
    std::fs::write(&copy, "{").unwrap();
    let out = call(&container, &["inspect", &container.id]).ok();
    let all: Value = out.json();
    assert_eq!((&all["config"], &all["state"]["id"]), (&Value::Null, &json!(container.id)));
    assert!(out.stderr().contains("parse the copy of config.json"), "{out:?}");
    std::fs::write(copy, whole).unwrap();
}

/// Its name is that of its directory, and nobody's who wrote something else there.
#[test]
fn a_state_with_another_name_is_not_shown() {
    if cannot_look() {
        return;
    }
    let container = Bundle::idle().container();
    container.up();
    let state = container.bundle.state_root().join(&container.id).join("state.json");
    let whole = std::fs::read_to_string(&state).unwrap();
    let id = format!("\"id\":\"{}\"", container.id);
    assert!(whole.contains(&id));
    std::fs::write(&state, whole.replace(&id, "\"id\":\"\\u001b[31m\"")).unwrap();
    let out = container.call(&["list"]);
    assert!(!out.stdout().contains('\u{1b}') && !out.stderr().contains('\u{1b}'), "{out:?}");
    assert!(out.stderr().contains("that of another container"), "{out:?}");
    std::fs::write(state, whole).unwrap();
}

/// A state names the paths of its cgroups, and what is there now is looked at, not waited for.
#[test]
fn a_fifo_where_a_cgroup_is_said_to_be_is_not_waited_for() {
    if cannot_look() || lacks(&["memory", "pids"]) {
        return;
    }
    let container = Bundle::idle().container();
    container.up().ok();
    let file = container.record_file();
    let text = std::fs::read_to_string(&file).unwrap();
    let mut state: Value = serde_json::from_str(&text).unwrap();
    for (index, dir) in state["cgroup"]["dirs"].as_array_mut().unwrap().iter_mut().enumerate() {
        let false_dir = container.bundle.host_dir(&format!("cgroup{index}"));
        for entry in std::fs::read_dir(dir["path"].as_str().unwrap()).unwrap() {
            mkfifo(&false_dir.join(entry.unwrap().file_name()), Mode::S_IRWXU).unwrap();
        }
        dir["path"] = json!(false_dir);
    }
    std::fs::write(&file, state.to_string()).unwrap();
    for args in [&["state", &container.id][..], &["inspect", &container.id], &["stats", &container.id], &["stats"]] {
        // That it ends; the call has a limit of time.
        call(&container, args);
    }
    std::fs::write(&file, text).unwrap();
}
