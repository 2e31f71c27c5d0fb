//! `inspect`: all of a container in one JSON.

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
