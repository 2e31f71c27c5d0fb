//! Capability sets.

use brisk::plan::process::caps;
use brisk::plan::process::caps::CapSets;
use brisk::spec::process::Capabilities;

use crate::strings;

const CHOWN: u64 = 1 << 0;
const NET_ADMIN: u64 = 1 << 12;
const ALL: u64 = (1 << 41) - 1;

fn every_set(names: &[&str]) -> Capabilities {
    let names = strings(names);
    Capabilities {
        bounding: names.clone(),
        effective: names.clone(),
        inheritable: names.clone(),
        permitted: names.clone(),
        ambient: names,
    }
}

#[test]
fn names_become_masks() {
    let (sets, warnings) = caps::parse(&every_set(&["CAP_CHOWN", "CAP_NET_ADMIN", "CAP_CHOWN"]), ALL);
    let mask = CHOWN | NET_ADMIN;
    let want = CapSets { bounding: mask, effective: mask, inheritable: mask, permitted: mask, ambient: mask };
    assert_eq!(sets, want);
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(caps::parse(&Capabilities::default(), ALL).0, CapSets::default());
}

#[test]
fn a_name_that_does_not_exist_is_left_out_with_one_warning() {
    let advised = |near: &str| format!(": did you mean {near}?");
    for (name, advice) in [
        ("CAP_NOPE", String::new()),
        ("chown", advised("CAP_CHOWN")),
        ("cap_chown", advised("CAP_CHOWN")),
        ("CAP_NET_AMIN", advised("CAP_NET_ADMIN")),
        ("", String::new()),
    ] {
        let (sets, warnings) = caps::parse(&every_set(&[name, "CAP_CHOWN"]), ALL);
        assert_eq!((sets.bounding, sets.permitted), (CHOWN, CHOWN));
        assert_eq!(warnings, [format!("ignoring unknown or unavailable capabilities: [{name}]{advice}")]);
    }
}

#[test]
fn what_cannot_be_granted_is_left_out_with_one_warning() {
    let (sets, warnings) = caps::parse(&every_set(&["CAP_CHOWN", "CAP_NET_ADMIN"]), CHOWN);
    assert_eq!((sets.bounding, sets.ambient), (CHOWN, CHOWN));
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("CAP_NET_ADMIN"), "{warnings:?}");
}

#[test]
fn ambient_and_effective_are_kept_within_what_the_kernel_allows() {
    let mut list = every_set(&["CAP_CHOWN"]);
    list.inheritable.clear();
    let (sets, warnings) = caps::parse(&list, ALL);
    assert_eq!((sets.ambient, sets.permitted), (0, CHOWN));
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].starts_with("can't raise ambient capability CAP_CHOWN: "), "{warnings:?}");

    let mut list = every_set(&["CAP_CHOWN"]);
    list.permitted.clear();
    let (sets, warnings) = caps::parse(&list, ALL);
    assert_eq!((sets.ambient, sets.effective), (0, 0));
    assert_eq!(warnings.len(), 2, "{warnings:?}");
}

#[test]
fn every_capability_of_the_kernel_has_a_name() {
    let names = caps::names();
    assert_eq!(names.len(), 41);
    assert_eq!((names[0].as_str(), names[40].as_str()), ("CAP_CHOWN", "CAP_CHECKPOINT_RESTORE"));
    let list = Capabilities { bounding: names, ..Capabilities::default() };
    assert_eq!(caps::parse(&list, ALL).0.bounding, ALL);
    assert_eq!(caps::names_of(CHOWN | 1 << 50), ["CAP_CHOWN", "CAP_50"]);
}
