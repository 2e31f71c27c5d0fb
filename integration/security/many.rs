//! Long lists in config.json are planned in a time that grows with their length.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::{Bundle, brisk_only};

/// 23 and 11 seconds while it was quadratic; a tenth of a second when not.
const BOUND: Duration = Duration::from_secs(8);

#[test]
fn long_lists_of_devices_are_planned_at_once() {
    if brisk_only("brisk plan") {
        return;
    }
    let devices: Vec<_> = (0..50_000u32)
        .map(|i| json!({ "path": format!("/dev/many/{i}"), "type": "c", "major": 10, "minor": i, "fileMode": 438 }))
        .collect();
    let rules: Vec<_> = (0..20_000u32)
        .map(|i| json!({ "allow": i % 2 == 0, "type": "c", "major": 10 + i / 1000, "minor": i, "access": "rw" }))
        .collect();
    let plain = Bundle::sh("true");
    let cases = [
        ("devices", plain.set("/linux/devices", json!(devices))),
        ("rules", Bundle::sh("true").resources("devices", json!(rules))),
    ];
    for (what, bundle) in cases {
        let container = bundle.container();
        let start = Instant::now();
        container.call(&["plan", container.bundle.dir.to_str().unwrap()]);
        let took = start.elapsed();
        assert!(took < BOUND, "{what}: {took:?}");
    }
}
