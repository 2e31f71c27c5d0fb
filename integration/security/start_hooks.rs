//! startContainer hooks are programs of the image: they run under everything that the container's own program will.

use std::fs;

use serde_json::json;

use crate::common::{Bundle, host, skip_on};

/// Where startContainer hooks run the runtime is still there with the filter loaded, and says what it has to say by a call
/// that the filter lets pass.
#[test]
fn the_runtime_speaks_under_a_filter_that_refuses_sockets() {
    for action in ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS"] {
        let names = ["sendto", "sendmsg", "recvfrom", "recvmsg"];
        let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": names, "action": action }] });
        for no_new_privileges in [true, false] {
            let bundle = |script: &str| {
                Bundle::idle()
                    .set("/linux/seccomp", profile.clone())
                    .set("/process/noNewPrivileges", json!(no_new_privileges))
                    .hook("startContainer", "/bin/sh", &["sh", "-c", script])
            };
            let container = bundle("echo > /tmp/made").container();
            container.up();
            assert!(container.bundle.rootfs().join("tmp/made").exists(), "{action} {no_new_privileges}");
            if skip_on(&["runc", "crun"], "run does not tell how a hook failed") {
                continue;
            }
            // In the foreground nobody waits at the fifo: it goes over the wire.
            let error = bundle("exit 3").container().run().fails();
            assert!(
                error.contains("startContainer hook #0: /bin/sh: exit status 3"),
                "{action} {no_new_privileges}: {error}"
            );
        }
    }
}

#[test]
fn a_start_container_hook_runs_under_the_filter() {
    let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO" }] });
    for no_new_privileges in [true, false] {
        let script = "/bin/mkdir /tmp/made; cat /proc/self/status > /tmp/status; exit 0";
        let container = Bundle::idle()
            .set("/linux/seccomp", profile.clone())
            .set("/process/noNewPrivileges", json!(no_new_privileges))
            .hook("startContainer", "/bin/sh", &["sh", "-c", script])
            .container();
        container.up();
        let tmp = container.bundle.rootfs().join("tmp");
        host::wait_until(|| fs::read_to_string(tmp.join("status")).is_ok_and(|text| text.contains("Seccomp:")));
        let status = fs::read_to_string(tmp.join("status")).unwrap();
        assert!(status.contains("Seccomp:\t2\n"), "noNewPrivileges {no_new_privileges}: {status}");
        assert!(!tmp.join("made").exists(), "noNewPrivileges {no_new_privileges}: it did what is forbidden");
    }
}

/// Where its output was the program's, a pipe of ours that is read when the program runs (its output goes to a file here), a hook
/// that wrote more than there is room in a pipe kept `run` for ever, and what it wrote was outside of every limit.
#[test]
fn what_a_hook_of_the_container_prints_is_not_the_programs() {
    for kind in ["createContainer", "startContainer"] {
        let script = format!("i=0; while [ $i -lt 1000 ]; do echo {}; i=$((i+1)); done", "x".repeat(100));
        let hooked = Bundle::new(&["/bin/echo", "program"]).hook(kind, "/bin/sh", &["sh", "-c", &script]);
        let container = hooked.container();
        assert_eq!(container.start_run(&[]).wait().ok().stdout(), "program\n", "{kind}");
    }
}
