//! A host with v1 hierarchies, and a controller that none of them has on cgroup2.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::common::host::Cgroups;
use crate::common::{Bundle, Need, host, skip_on, skip_unless};

/// What is given to the cgroups below keeps processes out of a cgroup (cgroups(7), "no internal processes").
#[test]
fn no_controller_is_switched_on_that_nothing_was_asked_of() {
    let unified = Path::new("/sys/fs/cgroup/unified");
    let offered = fs::read_to_string(unified.join("cgroup.controllers")).unwrap_or_default();
    let hybrid = Cgroups::detect() == Cgroups::V1 && !offered.trim().is_empty();
    if skip_unless(Need::from(hybrid), "no controller on a cgroup2 beside v1")
        || skip_on(&["crun"], "refuses such a host")
    {
        return;
    }
    let parent = host::unique_name();
    let path = |name: &str| json!(format!("/{parent}/{name}"));
    let first = Bundle::idle().set("/linux/cgroupsPath", path("first")).container();
    first.up();
    let file = unified.join(&parent).join("cgroup.subtree_control");
    // A runtime may leave that hierarchy alone altogether.
    assert_eq!(fs::read_to_string(file).unwrap_or_default().trim(), "");
    // So the parent takes processes; it is the other's own cgroup.
    first.delete_force().ok();
    let second = Bundle::sh("true").set("/linux/cgroupsPath", json!(format!("/{parent}"))).container();
    // The kernel takes a v1 device rule for everything only where no cgroup is below, and one that was removed is there until
    // a worker has taken it away: EINVAL, for anybody's first try.
    host::wait_until(|| {
        let output = second.run();
        assert!(output.code == 0 || output.stderr().contains("devices.deny: invalid argument"), "{output:?}");
        output.code == 0
    });
    for dir in host::cgroup_dirs(&parent) {
        let _ = fs::remove_dir(dir);
    }
}
