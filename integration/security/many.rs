//! Long lists in config.json are planned in a time that grows with their length.

use serde_json::json;

use crate::common::{Bundle, brisk_only, process};

/// Seconds of the processor: 23 and 11 while it was quadratic; a tenth of one when not.
const BOUND: u32 = 5;

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
        let plan = container.command(&["plan", container.bundle.dir.to_str().unwrap()]);
        let output = process::run(process::under(&["prlimit", &format!("--cpu={BOUND}")], &plan));
        assert!(output.code < 128, "{what}: killed for its time: {output:?}");
    }
}
