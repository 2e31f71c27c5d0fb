//! The five capability sets.

use serde_json::{Value, json};

use crate::common::{Bundle, Container, runtime_name, skip_on};

const KILL: u64 = 1 << 5;
const NET_BIND: u64 = 1 << 10;
const CHOWN: u64 = 1;

fn sets(out: &Value) -> [u64; 5] {
    ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]
        .map(|name| u64::from_str_radix(out["report"]["status"][name].as_str().unwrap(), 16).unwrap())
}

fn run(container: &Container) -> [u64; 5] {
    sets(&container.run().ok().json())
}

fn with(caps: Value) -> Container {
    Bundle::probe(&["report"]).set("/process/capabilities", caps).container()
}

#[test]
fn the_sets_are_what_the_config_says() {
    let container = with(json!({
        "bounding": ["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_CHOWN"],
        "permitted": ["CAP_KILL", "CAP_NET_BIND_SERVICE"],
        "effective": ["CAP_KILL"],
    }));
    // execve of root gives it all of bounding, but with no_new_privs no more than it had: capabilities(7).
    let [inheritable, permitted, effective, bounding, ambient] = run(&container);
    assert_eq!(bounding, KILL | NET_BIND | CHOWN);
    assert_eq!(permitted, KILL | NET_BIND);
    assert_eq!(effective, permitted);
    assert_eq!((inheritable, ambient), (0, 0));
}

/// execve gives root the effective set anew, but needs the old one: for a program that only its owner may execute.
#[test]
fn the_effective_set_is_in_force_when_the_program_is_executed() {
    for (effective, works) in [(json!(["CAP_DAC_OVERRIDE"]), true), (json!([]), false)] {
        let caps = json!({
            "bounding": ["CAP_DAC_OVERRIDE"], "permitted": ["CAP_DAC_OVERRIDE"], "effective": effective });
        let container = Bundle::sh("true").set("/process/capabilities", caps).container();
        // What /bin/sh leads to.
        let shell = container.bundle.rootfs().join("bin/busybox");
        std::os::unix::fs::chown(&shell, Some(1000), Some(1000)).unwrap();
        std::fs::set_permissions(&shell, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let output = container.run();
        if works {
            output.ok();
        } else {
            output.fails();
        }
    }
}

#[test]
fn no_capabilities_means_none() {
    for caps in
        [json!({}), json!({ "bounding": [], "effective": [], "permitted": [], "inheritable": [], "ambient": [] })]
    {
        assert_eq!(run(&with(caps)), [0; 5]);
    }
    let container = Bundle::probe(&["report"]).unset("/process/capabilities").container();
    let [inheritable, .., ambient] = run(&container);
    assert_eq!((inheritable, ambient), (0, 0));
}

#[test]
fn a_user_keeps_only_the_ambient_ones() {
    let all = ["CAP_KILL", "CAP_NET_BIND_SERVICE"];
    let caps =
        json!({ "bounding": all, "permitted": all, "effective": all, "inheritable": all, "ambient": ["CAP_KILL"] });
    let container =
        Bundle::probe(&["report"]).set("/process/capabilities", caps).set("/process/user/uid", json!(1000)).container();
    let [inheritable, permitted, effective, bounding, ambient] = run(&container);
    assert_eq!(ambient, KILL);
    assert_eq!(permitted, KILL);
    assert_eq!(effective, KILL);
    assert_eq!(bounding, KILL | NET_BIND);
    assert_eq!(inheritable, KILL | NET_BIND);
}

#[test]
fn a_user_without_ambient_capabilities_has_none() {
    let container = Bundle::probe(&["report"]).set("/process/user/uid", json!(1000)).container();
    let [_, permitted, effective, bounding, _] = run(&container);
    assert_eq!((permitted, effective), (0, 0));
    assert_ne!(bounding, 0);
}

#[test]
fn inheritable_is_empty_unless_asked_for() {
    // CVE-2022-29162 and its kin.
    let container = Bundle::idle().container();
    container.up();
    assert_eq!(sets(&container.exec_probe(&["report"]))[0], 0);
}

#[test]
fn a_capability_that_cannot_be_granted_is_a_warning() {
    // CAP_SYS_RESOURCE is not in every test machine's bounding set; where it is, there is nothing to warn of.
    let all = ["CAP_KILL", "CAP_SYS_RESOURCE"];
    let container = with(json!({ "bounding": all, "permitted": all, "effective": all }));
    if skip_on(&["crun", "runc"], "they fail") {
        return;
    }
    assert_eq!(run(&container)[3] & KILL, KILL);
}

#[test]
fn in_a_user_namespace_the_sets_hold_as_well() {
    let all = ["CAP_KILL", "CAP_CHOWN"];
    let caps = json!({ "bounding": all, "permitted": all, "effective": all });
    let container = Bundle::probe(&["report"]).set("/process/capabilities", caps).userns().container();
    let [inheritable, permitted, effective, bounding, ambient] = run(&container);
    assert_eq!([permitted, effective, bounding], [KILL | CHOWN; 3]);
    assert_eq!((inheritable, ambient), (0, 0));
}

#[test]
fn capabilities_really_are_gone() {
    let container =
        Bundle::probe(&["chown:/etc/passwd", "mknod:/tmp/node"]).set("/process/capabilities", json!({})).container();
    let out = container.run().ok().json();
    assert_eq!(out["chown:/etc/passwd"]["errno"], "EPERM");
    assert_eq!(out["mknod:/tmp/node"]["errno"], "EPERM");
}

/// runtime-spec, config.md: what cannot be granted is a warning.
#[test]
fn an_unknown_capability_is_left_out() {
    let names = ["CAP_NO_SUCH_THING", "CAP_KILL"];
    let container = with(json!({ "bounding": names, "permitted": names, "effective": names }));
    let output = container.run().ok();
    let [_, permitted, _, bounding, _] = sets(&output.json());
    if runtime_name() == "brisk" {
        assert!(output.stderr().contains("CAP_NO_SUCH_THING"), "{}", output.stderr());
    }
    assert_eq!((permitted, bounding), (KILL, KILL));
}
