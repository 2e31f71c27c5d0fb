//! What a process on its way into a container brings along, and what it is given.

use std::fs;
use std::os::fd::AsRawFd;

use serde_json::{Value, json};

use super::{bag, hunting, secret};
use crate::common::{Bundle, Container, host, skip_on};

/// A container in which somebody hunts, and a secret beside it.
fn hunter(caps: &[&str]) -> Container {
    let bundle = hunting(caps);
    secret(&bundle);
    let container = bundle.container();
    container.up();
    container
}

/// The process is undumpable before it joins anything, holds no directory of the host, and enters the pid
/// namespace last; so even CAP_SYS_PTRACE, which ignores the first, finds nothing but the wire.
#[test]
fn cve_2016_9962_descriptors_of_the_entering_process() {
    for caps in [&["CAP_SYS_PTRACE"][..], &["CAP_KILL"]] {
        let container = hunter(caps);
        for _ in 0..20 {
            container.exec(&["/bin/true"]).ok();
        }
        let found = bag(&container);
        assert_eq!(found["entered"], json!([]), "{found:#}");
        let fds = found["fds"].as_array().unwrap();
        let harmless = |fd: &Value| {
            ["socket:", "pipe:", "anon_inode:", "/proc/", "/dev/null"]
                .iter()
                .any(|p| fd.as_str().unwrap().starts_with(p))
        };
        assert!(fds.iter().all(harmless), "{found:#}");
    }
}

/// The same for a container that joins the pid namespace of another one with ordinary capabilities.
#[test]
fn cve_2016_9962_descriptors_of_an_init_in_a_joined_pid_namespace() {
    let container = hunter(&["CAP_KILL", "CAP_DAC_OVERRIDE"]);
    let pid_ns = format!("/proc/{}/ns/pid", container.pid());
    for _ in 0..8 {
        let victim = Bundle::sh("true").join("pid", &pid_ns).container();
        victim.create().ok();
        victim.start_and_wait();
    }
    let found = bag(&container);
    assert_eq!(found["entered"], json!([]), "{found:#}");
}

/// The working directory is entered through a descriptor that was resolved below the root without magic
/// links, must have a path from there, and every other descriptor is closed.
#[test]
fn cve_2024_21626_working_directory_is_a_leaked_descriptor() {
    let ops = ["stat:SECRET", "stat:../SECRET", "stat:../../SECRET", "report"];
    let missing = |out: &Value| {
        for op in &ops[..3] {
            assert_eq!(out[*op]["errno"], "ENOENT", "{out:#}");
        }
    };
    // What an engine leaks: without close-on-exec.
    let leak = Bundle::idle();
    secret(&leak);
    let dir = fs::File::open(&leak.dir).unwrap();
    nix::fcntl::fcntl(&dir, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    let held = leak.container();
    held.up();
    let numbers = (3..14).chain([dir.as_raw_fd()]);
    for number in numbers {
        let cwd = format!("/proc/self/fd/{number}");
        let container = Bundle::probe(&ops).set("/process/cwd", json!(cwd)).container();
        let output = container.run();
        if output.code == 0 {
            missing(&output.json());
        }
        let output = held.exec_with(&["--cwd", &cwd], &[&["/probe"][..], &ops].concat());
        if output.code == 0 {
            missing(&output.json());
        }
    }
    // Closed also where the working directory is an ordinary one.
    let fds = Bundle::probe(&["report"]).container().run().ok().json()["report"]["fds"].clone();
    if !skip_on(&["crun"], "passes what it was given without close-on-exec") {
        assert_eq!(fds.as_object().unwrap().len(), 3, "{fds}");
    }
    drop(dir);
}

fn capability_sets(container: &Container, args: &[&str]) -> Vec<(String, u64)> {
    let out = container.exec_with(args, &["/probe", "report"]).ok().json();
    let status = out["report"]["status"].as_object().unwrap();
    let sets = status.iter().filter(|(name, _)| name.starts_with("Cap"));
    sets.map(|(name, value)| (name.clone(), u64::from_str_radix(value.as_str().unwrap(), 16).unwrap())).collect()
}

/// CVE-2022-29162 (runc), 27650 (crun), 27649 (Podman), 27651 (Buildah), 24769 (Moby), CVE-2025-27612 (youki).
#[test]
fn cve_2022_29162_exec_with_cap_leaves_the_inheritable_set_empty() {
    let container = Bundle::idle().container();
    container.up();
    for args in [&["--cap", "CAP_NET_RAW"][..], &["--cap", "CAP_NET_RAW", "--user", "1000:1000"], &[]] {
        for (name, set) in capability_sets(&container, args) {
            if matches!(name.as_str(), "CapInh" | "CapAmb") {
                if name == "CapAmb" && args.len() == 4 && skip_on(&["runc", "crun"], "gives ambient capabilities") {
                    continue;
                }
                assert_eq!(set, 0, "{name} with {args:?}");
            }
        }
    }
}

/// CVE-2026-30892: `exec --user 1` became 0:0.
#[test]
fn cve_2026_30892_exec_user_is_parsed_whole() {
    let container = Bundle::idle().container();
    container.up();
    for (text, uid) in [("1", 1), ("1:2", 1), ("1000", 1000)] {
        let report = container.exec_with(&["--user", text], &["/probe", "report"]).ok().json()["report"].clone();
        assert_eq!(report["uid"], uid, "{text}");
        if let Some((_, gid)) = text.split_once(':') {
            assert_eq!(report["gid"].to_string(), gid, "{text}");
        }
    }
    if skip_on(&["runc", "crun"], "take what strtol or Atoi takes") {
        return;
    }
    let leading = container.exec_with(&["--user", "0001"], &["/probe", "report"]);
    assert!(leading.code != 0 || leading.json()["report"]["uid"] == 1, "{leading:?}");
    for text in ["-1", "4294967296", "4294967295", "1:4294967296", "1:", ":1", "root", "1x", "1:2:3", " 1", "0x1", "+1"]
    {
        container.exec_with(&["--user", text], &["/bin/true"]).fails();
    }
}

/// The number is the number, whatever the image's passwd calls by that name. (In an engine: CVE-2026-46680.)
#[test]
fn cve_2016_3697_a_numeric_name_in_passwd_is_no_user() {
    let bundle = Bundle::idle();
    bundle.file("etc/passwd", "1000:x:0:0:root:/root:/bin/sh\n1000:x:0:0::/:\n");
    let container = bundle.set("/process/user", json!({ "uid": 1000, "gid": 1000 })).container();
    container.up();
    for args in [&[][..], &["--user", "1000"]] {
        assert_eq!(container.exec_with(args, &["/probe", "report"]).ok().json()["report"]["uid"], 1000);
    }
    assert!(fs::read_to_string(format!("/proc/{}/loginuid", container.pid())).is_ok());
}

/// runc 1.5.2, crun 1.29: `exec --cgroup` took a sibling whose name begins with the container's.
#[test]
fn exec_cgroup_stays_below_the_containers() {
    let container = Bundle::idle().container();
    container.up();
    let sibling = format!("{}-sibling", container.bundle.cgroup());
    let mut made = Vec::new();
    for dir in host::cgroup_dirs(&container.bundle.cgroup()) {
        let dir = dir.parent().unwrap().join(sibling.trim_start_matches('/'));
        fs::create_dir(&dir).unwrap();
        made.push(dir);
    }
    let name = sibling.trim_start_matches('/');
    let paths = [
        format!("../{name}"),
        "..".into(),
        "../..".into(),
        format!("/../{name}"),
        format!("sub/../../{name}"),
        "-sibling".into(),
    ];
    let outputs: Vec<_> =
        paths.iter().map(|path| container.exec_with(&["--cgroup", path], &["/probe", "report"])).collect();
    for dir in made {
        fs::remove_dir(dir).unwrap();
    }
    for (path, output) in paths.iter().zip(outputs) {
        if output.code == 0 {
            let cgroups = output.json()["report"]["cgroup"].to_string();
            assert!(!cgroups.contains("-sibling") && cgroups.contains(&container.id), "{path}: {cgroups}");
        }
    }
}

/// Docker's default: without noNewPrivileges the filter needs CAP_SYS_ADMIN, so it is loaded before capset; with
/// it, last. Either way it is there when the program runs, and no_new_privs is what was asked for.
#[test]
fn seccomp_is_loaded_whatever_no_new_privileges_says() {
    let filter = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
        "syscalls": [{ "names": ["mkdirat", "mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95 }],
    });
    for no_new_privileges in [false, true] {
        let bundle = Bundle::probe(&["mkdir:/tmp/x", "report"])
            .set("/linux/seccomp", filter.clone())
            .set("/process/noNewPrivileges", json!(no_new_privileges));
        let out = bundle.container().run().ok().json();
        assert_eq!(out["mkdir:/tmp/x"]["errno"], "EOPNOTSUPP");
        assert_eq!(out["report"]["status"]["Seccomp"], "2");
        assert_eq!(out["report"]["status"]["NoNewPrivs"], if no_new_privileges { "1" } else { "0" });
    }
}
