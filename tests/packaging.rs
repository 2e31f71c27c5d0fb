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

/// Runs contrib/static between a compiler, a rustup and a cargo of this directory; what was built for which target.
fn built_for(dir: &Path, libc: &str) -> String {
    let out = dir.join("target/x86_64-unknown-linux-gnu/release");
    let done = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/static"))
        .arg(&out)
        .args(["brisk", "x86_64-unknown-linux-gnu", "cargo", "build"])
        .env("PATH", format!("{}/bin:/usr/bin:/bin", dir.display()))
        .env("LIBC", libc)
        .env("CARGO_HOME", dir.join("crates"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    let built = std::fs::read_to_string(out.join("brisk")).unwrap();
    let told = said.contains("rustup target add x86_64-unknown-linux-musl");
    assert_eq!(told, libc == "musl" && built.ends_with("gnu\n"), "{built}: {said}");
    built.trim().rsplit('-').next().unwrap().to_owned()
}

/// With musl as soon as there is one; whoever is offline is not kept waiting by each `make`, nor without musl for ever.
#[test]
fn the_c_library_is_chosen_where_the_program_is_built() {
    let dir = std::env::temp_dir().join(format!("brisk-static-{}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    std::fs::create_dir(dir.join("bin")).unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    };
    let script =
        |name: &str, text: &str| write(&format!("bin/{name}"), &format!("#!/bin/sh\nhere={}\n{text}", dir.display()));
    script("rustc", "case $* in -vV) cat $here/version ;; *sysroot) echo $here ;; *) echo $here/lib/$4 ;; esac\n");
    script("rustup", "echo asked >> $here/asked\n[ -e $here/online ] && mkdir -p $here/lib/$3\n");
    script(
        "cargo",
        "echo $CARGO_ENCODED_RUSTFLAGS > $here/flags\nout=$here/target/$3/release/brisk\nmkdir -p $(dirname $out)\nrm -f $out\necho $3 > $out\n",
    );
    let asked = || std::fs::read_to_string(dir.join("asked")).unwrap_or_default().lines().count();
    write("version", "rustc 1.95.0\n");
    assert_eq!((&*built_for(&dir, "gnu"), asked()), ("gnu", 0));
    assert_eq!((&*built_for(&dir, "musl"), asked()), ("gnu", 1));
    assert_eq!((&*built_for(&dir, "musl"), asked()), ("gnu", 1));
    write("version", "rustc 1.96.0\n");
    assert_eq!((&*built_for(&dir, "musl"), asked()), ("gnu", 2));
    write("online", "");
    assert_eq!((&*built_for(&dir, "musl"), asked()), ("gnu", 2));
    let memory = std::fs::File::open(dir.join("target/no-x86_64-unknown-linux-musl")).unwrap();
    let days = std::time::Duration::from_secs(2 * 24 * 60 * 60);
    memory.set_modified(std::time::SystemTime::now() - days).unwrap();
    assert_eq!((&*built_for(&dir, "musl"), asked()), ("musl", 3));
    assert_eq!((&*built_for(&dir, "musl"), asked()), ("musl", 3));
    assert_eq!((&*built_for(&dir, "gnu"), asked()), ("gnu", 3));
    let flags = std::fs::read_to_string(dir.join("flags")).unwrap();
    let flags: Vec<&str> = flags.trim().split('\u{1f}').collect();
    // Whoever builds with cargo alone is told the same.
    let readme = text("README.md");
    assert!(readme.contains("-C target-feature=+crt-static -C relocation-model=static' BRISK_COMMIT="), "README.md");
    let remap = format!("--remap-path-prefix={}/crates=/cargo", dir.display());
    assert_eq!(flags, ["-Ctarget-feature=+crt-static", "-Crelocation-model=static", &remap]);
    // Without rustup nobody is asked.
    std::fs::remove_dir_all(dir.join("lib")).unwrap();
    std::fs::remove_file(dir.join("bin/rustup")).unwrap();
    assert_eq!((&*built_for(&dir, "musl"), asked()), ("gnu", 3));
    // Nor is anything built without a compiler.
    std::fs::remove_file(dir.join("bin/rustc")).unwrap();
    if !["/usr/bin/rustc", "/bin/rustc"].iter().any(|path| Path::new(path).exists()) {
        let none = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/static"))
            .args(["", "brisk", "", "cargo"])
            .env("PATH", format!("{}/bin:/usr/bin:/bin", dir.display()))
            .output()
            .unwrap();
        assert!(String::from_utf8_lossy(&none.stderr).contains("are not in PATH: https://rustup.rs"), "{none:?}");
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

/// What a program is made of depends on its C library, which is seen in the program itself; the SBOM is made for that target.
#[test]
fn notices_are_of_what_is_linked() {
    if !Command::new("python3").arg("--version").output().is_ok_and(|out| out.status.success()) {
        return skip("no python3");
    }
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = std::env::temp_dir().join(format!("brisk-notices-{}", std::process::id()));
    let notices = |program: &str, more: &[&str]| {
        std::fs::write(&path, program).unwrap();
        let out = Command::new(top.join("contrib/notices")).args(more).arg(&path).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    let (musl, glibc) = (notices("", &[]), notices("GLIBC_TUNABLES", &[]));
    let targets = [notices("", &["--target"]), notices("GLIBC_TUNABLES", &["--target"])];
    std::fs::remove_file(&path).unwrap();
    assert!(musl.contains("\ndlmalloc ") && musl.contains("\nmusl, linked statically\n"), "{musl}");
    assert!(!glibc.contains("\ndlmalloc ") && glibc.contains("\nThe GNU C Library, linked statically\n"), "{glibc}");
    for text in [musl, glibc] {
        assert!(text.contains("\nserde_json ") && text.contains("\nThe standard library of Rust 1."), "{text}");
    }
    assert!(targets[0].ends_with("-musl\n") && targets[1].ends_with("-gnu\n"), "{targets:?}");
    assert!(text("contrib/dist").contains("cargo cyclonedx --format json --target \"$target\""));
}
