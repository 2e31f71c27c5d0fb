//! The caller's keys stay the caller's: whatever runs in a container has a session keyring of its own, which has no name
//! that another could have made first, or join.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::common::keys::with_key;
use crate::common::{Bundle, Container, Need, process, skip_on, skip_unless};

fn no_keyrings() -> bool {
    skip_unless(Need::from(std::path::Path::new("/proc/keys").exists()), "no keyrings")
}

/// What the container finds of a key: whoever has it in the session keyring may use it.
fn found(report: &Value) -> bool {
    match &report["key:brisk-secret"] {
        Value::String(payload) => {
            assert_eq!(payload, "of the caller");
            true
        }
        other => {
            assert_eq!(other, &json!({ "errno": "ENOKEY" }));
            false
        }
    }
}

fn with_callers_key(container: &Container, args: &[&str]) -> bool {
    let mut command = container.command(args);
    with_key(&mut command, None, "brisk-secret");
    found(&process::run(command).ok().json())
}

#[test]
fn the_callers_keys_are_not_in_the_container() {
    if no_keyrings() {
        return;
    }
    let run = |flags: &[&str], bundle: Bundle| {
        let container = bundle.container();
        let dir = container.bundle.dir.to_str().unwrap().to_owned();
        with_callers_key(&container, &[&["run", "--bundle", &dir], flags, &[&container.id]].concat())
    };
    let bundle = || Bundle::probe(&["key:brisk-secret"]);
    assert!(!run(&[], bundle()));
    assert!(!run(&[], bundle().userns()));
    assert!(run(&["--no-new-keyring"], bundle()), "the key is there to be found");
}

#[test]
fn exec_does_not_bring_the_callers_keys() {
    if no_keyrings() || skip_on(&["crun"], "its exec keeps the caller's session keyring") {
        return;
    }
    for bundle in [Bundle::idle(), Bundle::idle().userns()] {
        let container = bundle.container();
        container.up();
        assert!(!with_callers_key(&container, &["exec", &container.id, "/probe", "key:brisk-secret"]));
    }
    let container = Bundle::idle().container();
    container.create_with(&["--no-new-keyring"]).ok();
    container.start().ok();
    assert!(
        with_callers_key(&container, &["exec", &container.id, "/probe", "key:brisk-secret"]),
        "as the container was made"
    );
}

#[test]
fn a_keyring_that_somebody_made_first_is_not_the_containers() {
    if no_keyrings() || skip_on(&["runc", "crun"], "their keyrings are named after the container") {
        return;
    }
    let container = Bundle::probe(&["key:brisk-secret"]).container();
    for name in [format!("_ses.{}", container.id), container.id.clone()] {
        let mut attacker = Command::new("sleep");
        attacker.arg("1000").stdin(Stdio::null());
        with_key(&mut attacker, Some(&name), "brisk-secret");
        let mut attacker = attacker.spawn().unwrap();
        let out = container.run();
        attacker.kill().unwrap();
        attacker.wait().unwrap();
        assert!(!found(&out.ok().json()), "the keyring {name}");
    }
}
