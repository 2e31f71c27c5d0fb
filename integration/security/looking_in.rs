//! What a process of the container sees of the runtime, while that has a process in the container that is not yet the
//! program: nothing of whoever called it, and no way into its memory.

use std::fs;

use serde_json::json;

use super::{ALL_CAPS, with_caps};
use crate::common::{Bundle, Container, host, process, skip_on};

/// A process that may open this may do anything to its owner (proc(5), PTRACE_MODE_ATTACH_FSCREDS).
const OPEN_MEMORY: &str = ": < /proc/1/mem";

/// Starts a container whose startContainer hook looks at the first process; what it saw.
fn seen_by_hook(bundle: Bundle) -> String {
    let look =
        format!("(cat /proc/1/environ; cat /proc/1/cmdline; ({OPEN_MEMORY}) && echo memory) > /tmp/seen; exit 0");
    let container = bundle.hook("startContainer", "/bin/sh", &["sh", "-c", &look]).container();
    let mut create = container.command(&["create", "--bundle", container.bundle.dir.to_str().unwrap(), &container.id]);
    create.env("TOKEN", "of-the-caller");
    process::run(create).ok();
    container.start().ok();
    let seen = container.bundle.rootfs().join("tmp/seen");
    host::wait_until(|| seen.exists() && container.status() == "running");
    String::from_utf8_lossy(&fs::read(seen).unwrap()).into_owned()
}

#[test]
fn a_start_container_hook_sees_nothing_of_the_caller() {
    for bundle in [Bundle::idle(), with_caps(Bundle::idle(), ALL_CAPS), Bundle::idle().userns()] {
        let dir = bundle.dir.to_str().unwrap().to_owned();
        let seen = seen_by_hook(bundle);
        assert!(!seen.contains("of-the-caller"), "{seen:?}");
        assert!(!seen.contains(&dir), "{seen:?}");
    }
}

#[test]
fn a_start_container_hook_does_not_reach_the_runtimes_memory() {
    if skip_on(&["runc", "crun"], "theirs does") {
        return;
    }
    for bundle in [Bundle::idle(), Bundle::idle().userns()] {
        let seen = seen_by_hook(bundle);
        assert!(!seen.contains("memory"), "{seen:?}");
    }
}

/// A container that waits for `start`, whose program may not gain privileges and will have a filter.
fn parked(bundle: Bundle) -> Container {
    let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO" }] });
    let container = bundle.set("/linux/seccomp", profile).set("/process/noNewPrivileges", json!(true)).container();
    container.create().ok();
    container
}

#[test]
fn a_process_that_waits_for_start_is_not_to_be_traced() {
    for bundle in [Bundle::idle(), Bundle::idle().userns()] {
        let container = parked(bundle);
        let tried =
            container.exec(&["/bin/sh", "-c", &format!("({OPEN_MEMORY}) 2> /dev/null && echo memory; exit 0")]).ok();
        assert_eq!(tried.stdout(), "");
        container.start().ok();
        let tried = container.exec(&["/bin/sh", "-c", &format!("({OPEN_MEMORY}) && echo memory")]).ok();
        assert_eq!(tried.stdout(), "memory\n", "that of its own program can");
    }
}

#[test]
fn a_process_that_waits_for_start_has_its_filter() {
    if skip_on(&["runc", "crun"], "they load it afterwards") {
        return;
    }
    let container = parked(with_caps(Bundle::idle(), ALL_CAPS));
    let status = fs::read_to_string(format!("/proc/{}/status", container.pid())).unwrap();
    assert!(status.contains("Seccomp:\t2\n"), "{status}");
}
