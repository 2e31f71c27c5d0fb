//! Reading config.json and process.json.

use std::path::PathBuf;

use brisk::spec::{self, Spec, process::Process, resources::Resources};

use crate::{fixture, refused};

/// A bundle directory with this config.json, removed at the end.
struct ConfigDir(PathBuf);

impl ConfigDir {
    fn new(name: &str, config: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("brisk-load-{}-{name}", std::process::id()));
        std::fs::create_dir(&dir).expect("make a bundle");
        std::fs::write(dir.join(spec::CONFIG), config).expect("write config.json");
        ConfigDir(dir)
    }
}

impl Drop for ConfigDir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).expect("remove the bundle");
    }
}

const MINIMAL: &str = r#"{"ociVersion":"1.0.2","root":{"path":"rootfs"},"process":{"args":["true"],"cwd":"/"}}"#;

#[test]
fn a_minimal_bundle() {
    let bundle = ConfigDir::new("minimal", MINIMAL);
    let spec = spec::load(&bundle.0).expect("valid");
    assert_eq!(spec.process.expect("a process").args, ["true"]);
}

#[test]
fn a_linked_config_is_read() {
    let (real, link) = (ConfigDir::new("real", MINIMAL), ConfigDir::new("link", ""));
    std::fs::remove_file(link.0.join(spec::CONFIG)).expect("remove");
    std::os::unix::fs::symlink(real.0.join(spec::CONFIG), link.0.join(spec::CONFIG)).expect("link");
    assert!(spec::load(&link.0).is_ok());
}

#[test]
fn no_bundle_and_no_config() {
    let text = refused(spec::load(&fixture("nowhere")));
    assert!(text.contains("read ") && text.contains("nowhere/config.json: no such file or directory"), "{text}");
    let bundle = fixture("bundles");
    let text = refused(spec::load(&bundle));
    assert!(text.contains(&format!("config.json not found in bundle {}", bundle.display())), "{text}");
}

#[test]
fn invalid_json_is_located() {
    let table = [
        ("", "at line 1 column 0"),
        ("{", "at line 1 column 1"),
        ("{\n \"ociVersion\": 1\n}", "invalid type: integer `1`, expected a string at line 2 column 16"),
        ("{\n}", "root must be specified"),
        ("{\"ociVersion\":\"1.0.0\"} x", "trailing characters at line 1 column 24"),
        ("{\"ociVersion\":\"1.0.0\",\n\"process\":{\"args\":\"sh\"}}", "at line 2 column 22"),
        ("{\"ociVersion\":\"1.0.0\",\n\"hostname\":\"a\\u0000b\"}", "NUL byte in a string at line 2 column 14"),
    ];
    for (number, (config, want)) in table.into_iter().enumerate() {
        let bundle = ConfigDir::new(&format!("json{number}"), config);
        let text = refused(spec::load(&bundle.0));
        assert!(text.contains(want), "{config:?}: {text}");
        assert!(text.contains("config.json: "), "{text}");
    }
}

/// Derived deserializers take the items of a list for the fields in their order.
#[test]
fn a_list_is_no_object() {
    let root = r#""ociVersion":"1.0.2","root":{"path":"rootfs"}"#;
    let table = [
        (r#"["1.0.2"]"#.to_owned(), "expected an object at line 1 column 0"),
        (format!("{{{root},\n\"process\":[false]}}"), "expected an object at line 2 column 10"),
        (format!("{{{root},\"process\":{{\"args\":[\"a\"],\"cwd\":\"/\",\"user\":[0,0]}}}}"), "expected an object"),
        (r#"{"ociVersion":"1.0.2","root":["rootfs"]}"#.to_owned(), "expected an object"),
        (format!("{{{root},\"mounts\":[[\"/tmp\"]]}}"), "expected an object"),
        (format!("{{{root},\"hooks\":[]}}"), "expected an object"),
        (format!("{{{root},\"hooks\":{{\"poststop\":[[\"/bin/true\"]]}}}}"), "expected an object"),
        (format!("{{{root},\"linux\":[]}}"), "expected an object"),
        (format!("{{{root},\"linux\":{{\"namespaces\":[[\"pid\"]]}}}}"), "expected an object"),
        (format!("{{{root},\"linux\":{{\"resources\":{{\"memory\":[1000]}}}}}}"), "expected an object"),
        (format!("{{{root},\"linux\":{{\"netDevices\":{{\"eth0\":[]}}}}}}"), "expected an object"),
        (format!("{{{root},\"annotations\":[]}}"), "expected an object"),
    ];
    for (config, want) in table {
        let text = refused(spec::parse::<Spec>(config.as_bytes(), "config.json"));
        assert!(
            text.contains("parse config.json: ") && text.contains("invalid type: ") && text.contains(want),
            "{config}: {text}"
        );
    }
    let text = refused(spec::parse::<Process>(br#"[false]"#, "process.json"));
    assert!(text.contains("expected an object"), "{text}");
    let text = refused(spec::parse::<Resources>(br#"{"pids":[5]}"#, "resources"));
    assert!(text.contains("expected an object"), "{text}");
}

#[test]
fn an_escaped_backslash_is_not_a_nul() {
    let text = br#"{"ociVersion":"1.0.0\\u0000\\\\u0000"}"#;
    let spec: Spec = spec::parse(text, "x").expect("valid");
    assert_eq!(spec.oci_version, r"1.0.0\u0000\\u0000");
    assert!(spec::parse::<Spec>(br#"{"ociVersion":"\\\u0000"}"#, "x").is_err());
}

#[test]
fn a_process_file() {
    let process = spec::load_process(&fixture("engines/docker-exec-process.json"), &|_| {}).expect("valid");
    assert!(!process.args.is_empty());
    let text = refused(spec::load_process(&fixture("nowhere.json"), &|_| {}));
    assert!(text.contains("nowhere.json: no such file or directory"), "{text}");
    let text = refused(spec::read_json::<Process>(&b"[]"[..], "standard input", &|_| {}));
    assert!(text.contains("parse standard input"), "{text}");
}

#[test]
fn every_sample_of_an_engine_is_valid() {
    let mut seen = 0;
    for entry in std::fs::read_dir(fixture("engines")).expect("fixtures") {
        let path = entry.expect("an entry").path();
        let name = path.to_string_lossy().into_owned();
        let text = std::fs::read(&path).expect("read");
        if name.ends_with("-config.json") {
            let spec: Spec = spec::parse(&text, &name).expect("parse");
            spec::validate::validate(&spec).expect(&name);
            seen += 1;
        } else if name.ends_with("-process.json") {
            spec::load_process(&path, &|_| {}).expect(&name);
            seen += 1;
        }
    }
    assert!(seen >= 30, "only {seen} samples");
    spec::load(&fixture("bundles/everything")).expect("valid");
}
