//! What an ordinary user's bundle is given, and what `check` says of a host.

use brisk::host::cgroup::{Hierarchy, Layout};
use brisk::host::check::{CheckFacts, CheckNeed, Feature};
use brisk::host::findings::{Finding, Verdict, findings};
use brisk::host::sub_ids::{SubIds, SubRange};
use brisk::host::{Host, Userns};
use brisk::plan::namespace::rootless::{Changed, adapt};
use brisk::proc::passwd;
use brisk::spec::Spec;
use brisk::sys::seccomp::Support;
use serde_json::{Value, json};

fn host(uid: u32, sub_ids: SubIds) -> Host {
    Host {
        personality: 0,
        uid,
        systemd_inside: false,
        gid: uid,
        userns: Userns::Initial,
        bounding: 0,
        known_caps: 0,
        ignored_signals: 0,
        cgroup: Layout::default(),
        crowded: false,
        returns: true,
        selinux: false,
        can_leave_runtime: true,
        sub_ids,
        seccomp: Support::ALL,
    }
}

fn some_ids() -> SubIds {
    let range = SubRange { start: 100_000, count: 65536 };
    SubIds { uids: vec![range], gids: vec![range], helpers: true }
}

fn bundle(namespaces: Value) -> Spec {
    let devpts = json!({ "destination": "/dev/pts", "type": "devpts", "options": ["mode=0620", "gid=5"] });
    let config = json!({ "ociVersion": "1.0.2", "mounts": [devpts], "linux": { "namespaces": namespaces } });
    serde_json::from_value(config).unwrap()
}

fn maps(spec: &Spec) -> Vec<(u32, u32, u32)> {
    let linux = spec.linux.as_ref().unwrap();
    assert_eq!(linux.uid_mappings, linux.gid_mappings);
    linux.uid_mappings.iter().map(|m| (m.container_id, m.host_id, m.size)).collect()
}

#[test]
fn a_user_with_sub_ids_gets_them_all() {
    let mut spec = bundle(json!([{ "type": "mount" }]));
    assert_eq!(adapt(&mut spec, &host(1000, some_ids())).unwrap(), Changed::Yes);
    assert_eq!(maps(&spec), [(0, 1000, 1), (1, 100_000, 65536)]);
    assert!(spec.linux.as_ref().unwrap().namespaces.iter().any(|ns| ns.kind == "user" && ns.path.is_none()));
    // The group of terminals is mapped, so it stays.
    assert_eq!(spec.mounts[0].options, ["mode=0620", "gid=5"]);
    // Once is enough.
    assert_eq!(adapt(&mut spec, &host(1000, some_ids())).unwrap(), Changed::No);
}

#[test]
fn a_user_without_sub_ids_or_helpers_is_alone() {
    let unmapped = SubIds { helpers: false, ..some_ids() };
    for sub_ids in [SubIds::default(), unmapped] {
        let mut spec = bundle(json!([]));
        adapt(&mut spec, &host(1000, sub_ids)).unwrap();
        assert_eq!(maps(&spec), [(0, 1000, 1)]);
        assert_eq!(spec.mounts[0].options, ["mode=0620"]);
    }
}

#[test]
fn what_the_bundle_says_stays() {
    let mut spec = bundle(json!([{ "type": "user", "path": "/proc/1/ns/user" }]));
    assert_eq!(adapt(&mut spec, &host(1000, some_ids())).unwrap(), Changed::No);
    assert_eq!(maps(&spec), []);
    let mut spec = bundle(json!([]));
    assert_eq!(adapt(&mut spec, &host(0, SubIds::default())).unwrap(), Changed::No);
    assert_eq!(spec.linux.unwrap().namespaces.len(), 0);
}

#[test]
fn login_names() {
    let users = b"root:x:0:0::/root:/bin/sh\n# broken\nme:x:1000:100::/:\n";
    assert_eq!(passwd::name_of(users, 1000), Some("me"));
    assert_eq!(passwd::name_of(users, 100), None);
}

/// A user on a host where everything works.
fn facts() -> CheckFacts {
    let unified = Hierarchy { mount_point: "/sys/fs/cgroup".into(), root: "/".into(), ..Hierarchy::default() };
    let controllers: Vec<String> = ["cpu", "cpuset", "io", "memory", "pids"].map(str::to_owned).into();
    CheckFacts {
        uid: 1000,
        name: "me".into(),
        real_root: false,
        owns_systemd: false,
        release: "6.1.0".into(),
        features: vec![Feature { name: "openat2", since: "5.6", gives: "x", need: CheckNeed::Speed, there: true }],
        seccomp: Support::ALL,
        userns: Ok(()),
        userns_switch: None,
        lsms: vec!["apparmor".into()],
        layout: Layout { unified: Some(Hierarchy { controllers: controllers.clone(), ..unified }), v1: Vec::new() },
        own_controllers: Some(controllers.clone()),
        user_manager: Some(controllers),
        systemd: true,
        sub_ids: some_ids(),
        programs: ["newuidmap", "newgidmap", "criu"].map(|name| (name, Some(name.into()))).into(),
        runtime_dir: Some("/run/user/1000".into()),
    }
}

fn troubles(facts: &CheckFacts) -> Vec<Finding> {
    let mut rows = findings(facts);
    for row in &rows {
        assert_eq!(row.verdict == Verdict::No, row.trouble.is_some(), "{row:?}");
    }
    rows.retain(|row| row.trouble.is_some());
    rows
}

#[track_caller]
fn one_fix(facts: &CheckFacts, name: &str, fix: &str) {
    let found = troubles(facts);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].name.as_str(), found[0].fix.as_deref()), (name, Some(fix)));
}

#[test]
fn a_host_where_everything_works_has_no_trouble() {
    assert_eq!(troubles(&facts()), []);
}

#[test]
fn each_trouble_has_its_command() {
    let with = |change: fn(&mut CheckFacts)| {
        let mut facts = facts();
        change(&mut facts);
        facts
    };
    let ids = "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 me";
    one_fix(&with(|f| f.sub_ids.uids.clear()), "subordinate ids", ids);
    one_fix(&with(|f| f.programs[0].1 = None), "subordinate ids", "apt-get install uidmap");
    one_fix(&with(|f| f.programs[2].1 = None), "criu", "apt-get install criu");
    one_fix(&with(|f| f.user_manager = None), "systemd driver", "loginctl enable-linger me");
    let switched = with(|f| {
        f.userns = Err(nix::errno::Errno::EPERM);
        f.userns_switch = Some("kernel.unprivileged_userns_clone=1");
    });
    one_fix(&switched, "user namespace", "sysctl -w kernel.unprivileged_userns_clone=1");
    let fewer = with(|f| f.user_manager = Some(vec!["memory".into(), "pids".into()]));
    let found = troubles(&fewer);
    assert!(found[0].fix.as_ref().unwrap().contains("Delegate=cpu cpuset io memory pids"), "{found:?}");
    assert!(found[0].trouble.as_ref().unwrap().contains("cpu, cpuset, io"), "{found:?}");
}

#[test]
fn what_is_only_slower_is_no_trouble() {
    let mut facts = facts();
    facts.features[0].there = false;
    assert_eq!(troubles(&facts), []);
    facts.features[0].need = CheckNeed::Everything;
    assert_eq!(troubles(&facts).len(), 1);
}

#[test]
fn root_is_asked_nothing_of_users() {
    let mut facts = CheckFacts {
        real_root: true,
        owns_systemd: true,
        uid: 0,
        sub_ids: SubIds::default(),
        runtime_dir: None,
        ..facts()
    };
    facts.user_manager = None;
    assert_eq!(troubles(&facts), []);
}
