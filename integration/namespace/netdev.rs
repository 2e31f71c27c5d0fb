//! linux.netDevices: devices of the host that move into the container.

use std::process::Command;

use serde_json::json;

use crate::common::{Bundle, Need, skip_on, skip_unless};

/// One end of a veth pair on the host; the other end goes with it. Removed on drop where it is still there.
struct Device(String);

impl Device {
    /// `None` where the kernel or this user cannot make one.
    fn new(suffix: &str) -> Option<Device> {
        let name = format!("bt{}{suffix}", std::process::id() % 1_000_000);
        let peer = format!("{name}p");
        ip(&["link", "add", &name, "type", "veth", "peer", "name", &peer]).then_some(Device(name))
    }

    fn here(&self) -> bool {
        std::path::Path::new("/sys/class/net").join(&self.0).exists()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if self.here() {
            ip(&["link", "del", &self.0]);
        }
    }
}

fn ip(args: &[&str]) -> bool {
    Command::new("ip").args(args).output().is_ok_and(|output| output.status.success())
}

/// A device, or why the test does not run.
fn device(suffix: &str) -> Option<Device> {
    let found = Device::new(suffix);
    if skip_unless(Need::from(found.is_some()), "no veth devices here (ip link add type veth)") {
        return None;
    }
    found
}

const OLD: &[&str] = &["runc", "crun"];
const WHY: &str = "netDevices are newer than Debian's version";

#[test]
fn a_device_moves_with_its_name_and_addresses() {
    let Some(device) = device("a") else { return };
    if skip_on(OLD, WHY) {
        return;
    }
    for address in ["192.0.2.7/24", "2001:db8::7/64"] {
        assert!(ip(&["addr", "add", address, "dev", &device.0]), "{address}");
    }
    assert!(ip(&["addr", "add", "192.0.2.8/32", "dev", &device.0, "valid_lft", "1000", "preferred_lft", "1000"]));
    assert!(ip(&["link", "set", &device.0, "up"]));
    let script = "busybox ip addr show eth7";
    let container =
        Bundle::sh(script).set(&format!("/linux/netDevices/{}", device.0), json!({ "name": "eth7" })).container();
    let out = container.run().ok().stdout();
    assert!(out.contains("192.0.2.7/24"), "{out}");
    assert!(out.contains("2001:db8::7/64"), "{out}");
    assert!(!out.contains("192.0.2.8"), "an address with a lease: {out}");
    assert!(out.contains(",UP"), "{out}");
    assert!(!device.here());
}

#[test]
fn a_template_takes_the_first_free_number() {
    let (Some(first), Some(second)) = (device("b"), device("c")) else { return };
    if skip_on(OLD, WHY) {
        return;
    }
    let container = Bundle::sh("ls /sys/class/net")
        .set(&format!("/linux/netDevices/{}", first.0), json!({ "name": "eth%d" }))
        .set(&format!("/linux/netDevices/{}", second.0), json!({ "name": "eth%d" }))
        .container();
    let out = container.run().ok().stdout();
    for name in ["eth0", "eth1"] {
        assert!(out.contains(name), "{name}: {out}");
    }
}

#[test]
fn a_device_moves_into_a_user_namespace() {
    let Some(device) = device("d") else { return };
    if skip_on(OLD, WHY) {
        return;
    }
    let container =
        Bundle::sh("ls /sys/class/net").userns().set(&format!("/linux/netDevices/{}", device.0), json!({})).container();
    let out = container.run().ok().stdout();
    assert!(out.contains(&device.0), "{out}");
}

#[test]
fn what_cannot_be_is_refused_and_the_device_stays() {
    let Some(device) = device("e") else { return };
    if skip_on(OLD, WHY) {
        return;
    }
    let path = format!("/linux/netDevices/{}", device.0);
    let refused = |bundle: Bundle, word: &str| {
        let error = bundle.container().create().fails();
        assert!(error.contains(word), "{error}");
        assert!(device.here(), "{word}");
    };
    refused(Bundle::idle().set(&path, json!({ "name": "lo" })), "file exists");
    refused(Bundle::idle().set(&path, json!({ "name": "sixteen-letters-" })), "15");
    refused(Bundle::idle().set(&path, json!({ "name": "a%d%d" })), "%d");
    refused(Bundle::idle().set(&path, json!({ "name": "a/b" })), "white space");
    refused(Bundle::idle().without_ns("network").set(&path, json!({})), "network namespace");
    refused(Bundle::idle().join("network", "/proc/self/ns/net").set(&path, json!({})), "host");
    refused(Bundle::idle().set("/linux/netDevices/no-such-device0", json!({})), "no-such-device0");
}

#[test]
fn a_joined_namespace_that_is_the_hosts_allows_no_parameters() {
    if skip_on(&["crun"], "does not look which namespace it is") {
        return;
    }
    let bundle =
        Bundle::idle().join("network", "/proc/self/ns/net").set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1" }));
    let error = bundle.container().create().fails();
    assert!(error.contains("ip_forward"), "{error}");
}
