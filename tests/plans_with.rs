//! Golden plans of what no bundle of fixtures/bundles/ has alone: what the caller chooses, what is joined, and what comes later.

use brisk::plan::op::Terminal;
use brisk::plan::systemd::driver::CgroupDriver;
use brisk::plan::verbs::create::create;
use brisk::plan::verbs::exec::ExecOptions;
use brisk::plan::verbs::{mounts, start};
use brisk::plan::{CreateOptions, ExecRefusal, Hold, Orphan, OverlaySize, Plan, ProgramStart};
use brisk::spec::annotations::Trust;
use brisk::spec::mounts::Mount;
use brisk::spec::{self, Spec};
use serde_json::{Value, json};

use crate::fixture;
use crate::plan_options::options;
use crate::plans::{check, exec_plan_with, host, inside, printed};

/// A bundle, changed: each value is set at its path, or added to the end of a list (`/-`).
fn changed(bundle: &str, changes: &[(&str, &str)]) -> Spec {
    let text = std::fs::read(fixture(&format!("bundles/{bundle}/config.json"))).unwrap();
    let mut config: Value = serde_json::from_slice(&text).unwrap();
    for (path, value) in changes {
        let value: Value = serde_json::from_str(value).unwrap();
        let (parent, name) = path.rsplit_once('/').unwrap();
        match config.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent} in {bundle}")) {
            Value::Array(list) if name == "-" => list.push(value),
            parent => parent[name] = value,
        }
    }
    let mut spec: Spec = spec::parse(config.to_string().as_bytes(), bundle).unwrap();
    Trust::parse("all", "test").unwrap().apply(&mut spec);
    spec
}

/// The plan of a changed bundle.
struct With {
    name: &'static str,
    host: &'static str,
    bundle: &'static str,
    changes: &'static [(&'static str, &'static str)],
    choose: fn(&mut CreateOptions),
}

const OWN_CGROUP_NAMESPACE: (&str, &str) =
    ("/linux/namespaces", r#"[{ "type": "mount" }, { "type": "pid" }, { "type": "uts" }, { "type": "cgroup" }]"#);
const START_HOOK: (&str, &str) = ("/hooks", r#"{ "startContainer": [{ "path": "/hook" }] }"#);

const CREATED: &[With] = &[
    With {
        name: "systemd",
        host: "v2-root",
        bundle: "default",
        changes: &[],
        choose: |options| options.cgroups = CgroupDriver::Systemd,
    },
    With {
        name: "job",
        host: "v2-root",
        bundle: "default",
        changes: &[],
        choose: |options| {
            (options.orphan, options.hold, options.overlay_size) = (Orphan::Dies, Hold::Yes, OverlaySize::Asked);
            options.start = ProgramStart::Now(ExecRefusal::Error);
        },
    },
    With {
        name: "hooks-and-trees",
        host: "v1-root-crowded",
        bundle: "default",
        changes: &[("/hooks", r#"{ "createRuntime": [{ "path": "/usr/bin/hook" }] }"#)],
        choose: |_| {},
    },
    With {
        name: "rdt",
        host: "v2-root",
        bundle: "default",
        changes: &[(
            "/linux/intelRdt",
            r#"{ "closID": "guaranteed", "schemata": ["L3:0=f"], "enableMonitoring": true }"#,
        )],
        choose: |_| {},
    },
    With {
        name: "listener",
        host: "v2-root",
        bundle: "default",
        changes: &[(
            "/linux/seccomp",
            r#"{ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent.sock", "listenerMetadata": "m",
                "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" }] }"#,
        )],
        choose: |_| {},
    },
    With {
        name: "writable-cgroup",
        host: "v2-root",
        bundle: "default",
        changes: &[
            (
                "/mounts/-",
                r#"{ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw"] }"#,
            ),
            OWN_CGROUP_NAMESPACE,
            ("/process/user/uid", "1000"),
        ],
        choose: |_| {},
    },
    With {
        name: "delegated-cgroup",
        host: "v2-root",
        bundle: "default",
        changes: &[OWN_CGROUP_NAMESPACE, ("/annotations", r#"{ "run.oci.delegate-cgroup": "inner" }"#)],
        choose: |_| {},
    },
    With {
        name: "joined-net-and-ipc",
        host: "v2-root",
        bundle: "userns",
        changes: &[(
            "/linux/namespaces",
            r#"[{ "type": "mount" }, { "type": "pid" }, { "type": "uts" }, { "type": "user" },
                { "type": "network", "path": "/run/netns/a" }, { "type": "ipc", "path": "/proc/7/ns/ipc" }]"#,
        )],
        choose: |_| {},
    },
    With {
        name: "joined-userns",
        host: "v2-root",
        bundle: "default",
        changes: &[
            (
                "/linux/namespaces",
                r#"[{ "type": "mount" }, { "type": "uts" }, { "type": "user", "path": "/proc/7/ns/user" }]"#,
            ),
            (
                "/mounts/-",
                r#"{ "destination": "/mnt", "type": "bind", "source": "/srv", "options": ["bind", "idmap"] }"#,
            ),
        ],
        choose: |_| {},
    },
    With {
        name: "bind-of-the-root",
        host: "v2-root",
        bundle: "userns",
        changes: &[(
            "/mounts/-",
            r#"{ "destination": "/mnt", "type": "bind", "source": "rootfs/etc", "options": ["bind"] }"#,
        )],
        choose: |_| {},
    },
    With { name: "start-hook", host: "v2-root", bundle: "default", changes: &[START_HOOK], choose: |_| {} },
    With { name: "start-hook", host: "v2-user", bundle: "rootless", changes: &[START_HOOK], choose: |_| {} },
    With {
        name: "scheduler-template",
        host: "v2-root",
        bundle: "default",
        changes: SCHEDULER,
        choose: |options| (options.start, options.terminal) = (ProgramStart::Brought, Terminal::None),
    },
];

const SCHEDULER: &[(&str, &str)] =
    &[("/process/scheduler", r#"{ "policy": "SCHED_BATCH", "nice": 5 }"#), ("/process/rlimits", "[]")];

/// What comes to a container that is there: its host, its name, and the plan.
fn later() -> Vec<(&'static str, &'static str, Plan)> {
    let scheduled = changed("default", SCHEDULER);
    let process = scheduled.process.as_ref().unwrap();
    let start = start::start(process, &scheduled, &host("v2-root"), &inside(Terminal::None));
    let rdt = |options: &mut ExecOptions| options.rdt = vec!["/sys/fs/resctrl/guaranteed/tasks".into()];
    let mount: [Mount; 1] = [serde_json::from_value(
        json!({ "destination": "/mnt", "type": "bind", "source": "/srv", "options": ["bind", "ro"] }),
    )
    .unwrap()];
    let add = |host_name: &str, bundle: &str| {
        let spec = changed(bundle, &[]);
        mounts::add(&mount, &spec, &host(host_name), &options(&spec), 7).unwrap()
    };
    vec![
        ("v2-root", "scheduler-start", start.unwrap()),
        ("v2-root", "exec-rdt", exec_plan_with("docker", "v2-root", rdt)),
        ("v2-root", "mounts-add", add("v2-root", "default")),
        ("v2-root", "mounts-add-userns", add("v2-root", "userns")),
        ("v2-user", "mounts-add-userns", add("v2-user", "rootless")),
        ("v2-root", "mounts-remove", mounts::remove(&mount, &changed("default", &[]), &[3]).unwrap()),
    ]
}

/// The host, the name, and the plan.
pub fn all() -> Vec<(&'static str, &'static str, Plan)> {
    let created = CREATED.iter().map(|row| {
        let spec = changed(row.bundle, row.changes);
        let mut options = options(&spec);
        (row.choose)(&mut options);
        (row.host, row.name, create(&spec, &host(row.host), &options).unwrap())
    });
    created.chain(later()).collect()
}

#[test]
fn what_no_bundle_has() {
    let mut wrong = Vec::new();
    for (host_name, name, plan) in all() {
        check(&fixture(&format!("plans/{host_name}/with-{name}.txt")), &printed(&plan), &mut wrong);
    }
    assert!(wrong.is_empty(), "UPDATE_PLANS=1 accepts these:\n{}", wrong.join("\n"));
}
