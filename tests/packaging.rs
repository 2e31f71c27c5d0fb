//! What is laid out for engines: files that they can read, and that say what the documents say.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::skip;

fn text(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// A file of TOML as JSON; Python has a reader of it since 3.11. `None` where there is none.
fn toml(path: &str) -> Option<Value> {
    const READ: &str = "import json, sys, tomllib; print(json.dumps(tomllib.loads(sys.stdin.read())))";
    let there = Command::new("python3").args(["-c", "import tomllib"]).output();
    if !there.is_ok_and(|out| out.status.success()) {
        skip("no python3 with tomllib");
        return None;
    }
    let file = std::fs::File::open(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let out = Command::new("python3").args(["-c", READ]).stdin(file).output().unwrap();
    assert!(out.status.success(), "{path}: {}", String::from_utf8_lossy(&out.stderr));
    Some(serde_json::from_slice(&out.stdout).unwrap())
}

#[test]
fn drop_ins_name_brisk_where_engines_look() {
    let docker: Value = serde_json::from_str(&text("contrib/docker/daemon.json")).unwrap();
    assert_eq!(docker["runtimes"]["brisk"]["path"], "/usr/bin/brisk");
    if let Some(containerd) = toml("contrib/containerd/brisk.toml") {
        assert_eq!(containerd["version"], 3);
        let runtime = &containerd["plugins"]["io.containerd.cri.v1.runtime"]["containerd"]["runtimes"]["brisk"];
        assert_eq!(runtime["runtime_type"], "io.containerd.runc.v2");
        assert_eq!(runtime["options"]["BinaryName"], "/usr/bin/brisk");
    }
    if let Some(crio) = toml("contrib/crio/20-brisk.conf") {
        let runtime = &crio["crio"]["runtime"]["runtimes"]["brisk"];
        assert_eq!((&runtime["runtime_path"], &runtime["runtime_type"]), (&"/usr/bin/brisk".into(), &"oci".into()));
    }
    if let Some(podman) = toml("contrib/containers.conf.d/brisk.conf") {
        let engine = &podman["engine"];
        assert_eq!(engine["runtimes"]["brisk"][0], "/usr/bin/brisk");
        let json = engine["runtime_supports_json"].as_array().unwrap();
        assert!(["brisk", "crun", "runc"].iter().all(|name| json.contains(&(*name).into())));
    }
}

#[test]
fn the_documents_show_what_is_laid_out() {
    let engines = text("docs/ENGINES.md");
    for path in ["contrib/docker/daemon.json", "contrib/containerd/brisk.toml", "contrib/crio/20-brisk.conf"] {
        assert!(engines.contains(&format!("(../{path})")), "docs/ENGINES.md does not name {path}");
        let code = |line: &&str| {
            !line.trim().is_empty() && !line.trim_start().starts_with('#') && !line.contains("monitor_env")
        };
        for line in text(path).lines().filter(code) {
            assert!(engines.contains(line.trim()), "docs/ENGINES.md does not show {path}: {line}");
        }
    }
}
