//! startContainer hooks are programs of the image: they run under everything that the container's own program will.

use std::fs;

use serde_json::json;

use crate::common::{Bundle, host};

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
