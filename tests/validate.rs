//! Checks of config.json that need no table.

use brisk::error::Result;
use brisk::spec::validate::validate;
use brisk::spec::{self, Spec};
use serde_json::{Value, json};

use crate::{fixture, refused};

/// The fixture with everything, changed at one JSON pointer, read again.
fn change(pointer: &str, value: Value) -> Result<()> {
    let text = std::fs::read(fixture("bundles/everything/config.json")).expect("the fixture");
    let mut config: Value = serde_json::from_slice(&text).expect("JSON");
    *config.pointer_mut(pointer).expect(pointer) = value;
    let spec: Spec = spec::parse(config.to_string().as_bytes(), "changed")?;
    validate(&spec)
}

#[test]
fn versions() {
    change("/ociVersion", json!("")).expect("a warning of load");
    let good = "1.0.0 1.3.0 1.4.0 2.0.0 1.3.0-dev 1.0.2+build.7 1.0.0-rc.1+dirty 0.5.0-dev 10.20.30 1.0.0--";
    for version in good.split(' ') {
        change("/ociVersion", json!(version)).expect(version);
    }
    for version in
        ["1", "1.0", "1.0.0.0", "v1.0.0", "1.0.x", "01.0.0", "1.0.0-", "1.0.0+", "1.0.0-a..b", "1.0.0-ä", " 1.0.0"]
    {
        let text = refused(change("/ociVersion", json!(version)));
        assert!(text.contains("is not a semantic version"), "{text}");
    }
}

#[test]
fn refusals() {
    let no_uts = json!([{"type": "user"}, {"type": "mount"}, {"type": "network"}, {"type": "time"}]);
    let long = "x".repeat(65);
    let table = [
        ("/root", json!(null), "root must be specified"),
        ("/root/path", json!(""), "root.path must not be empty"),
        ("/process/args", json!([]), "process.args must not be empty"),
        ("/process/args", json!(null), "process.args must not be empty"),
        ("/process/cwd", json!(""), "process.cwd must not be empty"),
        ("/process/cwd", json!("srv"), "process.cwd \"srv\" must be an absolute path"),
        ("/process/user/uid", json!(u32::MAX), "is not an id"),
        ("/process/user/additionalGids", json!([1, u32::MAX]), "is not an id"),
        ("/process/user/umask", json!(0o1000), "umask is above 0777"),
        ("/process/oomScoreAdj", json!(1001), "oomScoreAdj 1001"),
        ("/process/oomScoreAdj", json!(-1001), "oomScoreAdj -1001"),
        ("/mounts/0/destination", json!(""), "a destination must not be empty"),
        ("/mounts/2/uidMappings", json!([]), "mount /srv: uidMappings and gidMappings need each other"),
        ("/mounts/2/gidMappings", json!(null), "mount /srv: uidMappings and gidMappings need each other"),
        ("/hooks/prestart/0/path", json!("bin/x"), "hooks.prestart: path \"bin/x\" is not absolute"),
        ("/hooks/poststop/0/path", json!(""), "hooks.poststop: path \"\" is not absolute"),
        ("/hooks/createContainer/0/timeout", json!(0), "hooks.createContainer: timeout of /usr/bin/create-container"),
        ("/hooks/startContainer/0/timeout", json!(-1), "must be greater than zero"),
        ("/linux/namespaces", no_uts, "unable to set hostname without a private UTS namespace"),
        ("/linux", json!(null), "unable to set hostname without a private UTS namespace"),
        ("/hostname", json!(long), "hostname is longer than 64 bytes"),
        ("/domainname", json!(long), "domainname is longer than 64 bytes"),
        ("/hostname", json!("a\0b"), "NUL byte in a string"),
        ("/annotations", json!({"a\0b": ""}), "NUL byte in a string"),
        ("/linux/timeOffsets", json!({"realtime": {"secs": 1}}), "clock \"realtime\" does not exist"),
        ("/linux/timeOffsets", json!({"boottime": {"nanosecs": 1_000_000_000}}), "is a second or more"),
    ];
    for (pointer, value, want) in table {
        let text = refused(change(pointer, value));
        assert!(text.contains(want), "{pointer}: {text}");
    }
}

#[test]
fn fields_that_need_a_namespace() {
    let all = ["uts", "user", "mount", "time", "network"];
    let table = [("mount", "maskedPaths"), ("network", "netDevices")];
    for (kind, field) in table {
        let others: Vec<_> = all.iter().filter(|other| **other != kind).map(|other| json!({"type": other})).collect();
        let text = refused(change("/linux/namespaces", json!(others)));
        assert!(text.contains(&format!("linux.{field} needs a {kind} namespace")), "{text}");
    }
    // Clocks are set before anybody is in the namespace.
    for time in [json!({"type": "uts"}), json!({"type": "time", "path": "/proc/1/ns/time"})] {
        let mut namespaces: Vec<_> =
            all.iter().filter(|kind| **kind != "time").map(|kind| json!({"type": kind})).collect();
        namespaces.push(time);
        let text = refused(change("/linux/namespaces", json!(namespaces)));
        assert!(text.contains("linux.timeOffsets need a new time namespace"), "{text}");
    }
}

#[test]
fn what_may_be_left_out() {
    for (pointer, value) in [
        ("/process", json!(null)),
        ("/hostname", json!("")),
        ("/hostname", json!("x".repeat(64))),
        ("/hooks", json!(null)),
        ("/mounts", json!(null)),
        ("/annotations", json!(null)),
        ("/process/oomScoreAdj", json!(-1000)),
        ("/hooks/prestart/0/timeout", json!(null)),
    ] {
        change(pointer, value).expect(pointer);
    }
}
