//! Each wrong input: one clear line, an exit status other than 0, nothing left behind.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::common::{Bundle, Container, runtime_name, skip_on};

/// `create` must fail, say one of `words`, and leave nothing.
#[track_caller]
fn refused(container: &Container, words: &[&str]) -> String {
    let text = container.create().fails();
    said(&text, words);
    container.assert_nothing_left();
    text
}

/// `create` or `start` must fail: where the program is looked up is the runtime's choice.
#[track_caller]
fn refused_at_start(container: &Container, words: &[&str]) {
    let output = container.create();
    let text = if output.code == 0 { container.start().fails() } else { output.fails() };
    said(&text, words);
    container.delete_force().ok();
    container.assert_nothing_left();
}

#[track_caller]
fn said(text: &str, words: &[&str]) {
    // The peers' wording is their own; that they fail is what is compared.
    if runtime_name() == "brisk" {
        assert!(words.is_empty() || words.iter().any(|w| text.contains(w)), "none of {words:?} in: {text}");
        assert_eq!(text.lines().count(), 1, "one line: {text}");
    }
}

#[test]
fn no_bundle() {
    let container = Bundle::idle().container();
    let text = container.call(&["create", "--bundle", "/no/such/bundle", &container.id]).fails();
    said(&text, &["/no/such/bundle"]);
    container.assert_nothing_left();
}

#[test]
fn no_config() {
    let container = Bundle::idle().container();
    fs::remove_file(container.bundle.dir.join("config.json")).unwrap();
    refused(&container, &["config.json"]);
}

#[test]
fn invalid_json_names_line_and_column() {
    let container = Bundle::idle().container();
    fs::write(container.bundle.dir.join("config.json"), "{\n  \"ociVersion\": \"1.0.2\",\n  oops\n}").unwrap();
    refused(&container, &["line 3 column 3"]);
}

#[test]
fn truncated_and_empty_json() {
    let container = Bundle::idle().container();
    for text in ["", "{", "null", "[]", "\"x\""] {
        fs::write(container.bundle.dir.join("config.json"), text).unwrap();
        if ["null", "[]", "\"x\""].contains(&text) && skip_on(&["crun"], "dies of SIGSEGV") {
            continue;
        }
        refused(&container, &["config.json"]);
    }
}

#[test]
fn wrong_types() {
    for (path, value) in [
        ("/process/args", json!("true")),
        ("/process/args", json!([1])),
        ("/process/user/uid", json!("root")),
        ("/process/user/uid", json!(-1)),
        ("/root", json!("rootfs")),
        ("/mounts", json!({})),
        ("/linux/namespaces", json!(["pid"])),
        ("/process/env", json!([{}])),
    ] {
        if skip_on(&["crun"], "libocispec ignores some") {
            return;
        }
        refused(&Bundle::idle().set(path, value).container(), &["line "]);
    }
}

#[test]
fn missing_fields() {
    for path in ["/root/path", "/process/cwd", "/process/args"] {
        if path == "/process/cwd" && skip_on(&["runc", "crun"], "an absent cwd is /") {
            continue;
        }
        if path == "/root/path" && skip_on(&["runc", "crun"], "some take the bundle") {
            continue;
        }
        if path == "/process/args" && skip_on(&["crun"], "not checked") {
            continue;
        }
        refused(&Bundle::idle().unset(path).container(), &[]);
    }
}

#[test]
fn no_root() {
    if skip_on(&["runc", "crun"], "SIGSEGV in one of them") {
        return;
    }
    refused(&Bundle::idle().unset("/root").container(), &["root"]);
}

#[test]
fn an_unknown_namespace() {
    refused(&Bundle::idle().ns("nonsense").container(), &["nonsense"]);
}

#[test]
fn a_namespace_twice() {
    if skip_on(&["crun"], "not checked") {
        return;
    }
    refused(&Bundle::idle().ns("pid").container(), &["pid"]);
}

#[test]
fn a_namespace_path_of_another_type() {
    refused(&Bundle::idle().join("network", "/proc/self/ns/uts").container(), &["/proc/self/ns/uts"]);
}

#[test]
fn a_namespace_path_that_is_no_namespace() {
    refused(&Bundle::idle().join("network", "/etc/passwd").container(), &["/etc/passwd"]);
    refused(&Bundle::idle().join("network", "/no/such/file").container(), &["/no/such/file"]);
}

#[test]
fn a_hostname_without_a_uts_namespace() {
    let before = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    refused(&Bundle::idle().without_ns("uts").container(), &["UTS"]);
    assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), before);
}

/// As with the peers, but not without a word.
#[test]
fn what_means_nothing_without_a_namespace_or_version_is_no_reason_to_refuse() {
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 10 }]);
    let mapped = Bundle::sh("id -u").set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map).container();
    let output = mapped.run().ok();
    assert_eq!(output.stdout(), "0\n");
    if runtime_name() == "brisk" {
        assert!(output.stderr().contains("have no effect without a user namespace"), "{output:?}");
    }
    if skip_on(&["crun"], "refuses it") {
        return;
    }
    let output = Bundle::sh("true").unset("/ociVersion").container().run().ok();
    if runtime_name() == "brisk" {
        assert!(output.stderr().contains("ociVersion is missing"), "{output:?}");
    }
    let paths = Bundle::sh("cat /etc/passwd; echo > /etc/group")
        .set("/linux/maskedPaths", json!(["etc/passwd"]))
        .set("/linux/readonlyPaths", json!(["etc/group"]));
    let output = paths.container().run().exits(1);
    assert_eq!(output.stdout(), "", "a relative path counts from the root");
    assert!(output.stderr().contains("Read-only file system"), "{output:?}");
}

#[test]
fn a_user_namespace_without_mappings() {
    if skip_on(&["crun"], "runs with the overflow id") {
        return;
    }
    refused(&Bundle::idle().ns("user").container(), &["uidMappings", "mapping"]);
}

#[test]
fn overlapping_id_mappings() {
    let map = json!([
        { "containerID": 0, "hostID": 100_000, "size": 10 },
        { "containerID": 5, "hostID": 200_000, "size": 10 },
    ]);
    refused(&Bundle::idle().userns().set("/linux/uidMappings", map).container(), &["map"]);
}

#[test]
fn a_user_that_is_not_mapped() {
    let container = Bundle::idle().userns().set("/process/user/uid", json!(70_000)).container();
    refused_at_start(&container, &["70000"]);
}

#[test]
fn time_offsets_without_a_time_namespace() {
    if skip_on(&["runc", "crun"], "came later") {
        return;
    }
    refused(&Bundle::idle().set("/linux/timeOffsets", json!({ "monotonic": { "secs": 1 } })).container(), &["time"]);
}

#[test]
fn no_arguments() {
    let container = Bundle::idle().set("/process/args", json!([])).container();
    refused(&container, &["args"]);
}

#[test]
fn an_empty_program_name() {
    let container = Bundle::idle().set("/process/args", json!([""])).container();
    refused_at_start(&container, &["executable file not found in $PATH", "args"]);
}

#[test]
fn a_missing_program() {
    refused_at_start(&Bundle::new(&["no-such-program"]).container(), &["executable file not found in $PATH"]);
    refused_at_start(&Bundle::new(&["/no/such/program"]).container(), &["no such file or directory"]);
    refused_at_start(&Bundle::new(&[""]).container(), &["exec: \"\": executable file not found in $PATH"]);
}

#[test]
fn a_program_that_is_not_executable() {
    let bundle = Bundle::new(&["/etc/passwd"]);
    refused_at_start(&bundle.container(), &["permission denied"]);
    refused_at_start(&Bundle::new(&["/etc"]).container(), &["exec: \"/etc\": is a directory: permission denied"]);
}

#[test]
fn a_program_that_is_no_program() {
    let bundle = Bundle::new(&["/garbage"]);
    bundle.script("rootfs/garbage", "\x01\x02\x03\n");
    // execve fails after start has opened the way: start may or may not still hear of it, the container must end.
    let container = bundle.container();
    container.create().ok();
    let started = container.start();
    if started.code == 0 {
        crate::common::host::wait_until(|| container.status() == "stopped");
        return;
    }
    said(&started.fails(), &["exec format error"]);
}

#[test]
fn a_rootfs_that_is_missing() {
    refused(&Bundle::idle().set("/root/path", json!("no-such-dir")).container(), &["no-such-dir"]);
}

#[test]
fn a_rootfs_that_is_a_file() {
    let bundle = Bundle::idle().set("/root/path", json!("a-file"));
    fs::write(bundle.dir.join("a-file"), "").unwrap();
    refused(&bundle.container(), &["a-file"]);
}

#[test]
fn a_rootfs_that_is_a_link() {
    if skip_on(&["runc", "crun"], "one resolves it") {
        return;
    }
    let bundle = Bundle::idle().set("/root/path", json!("link"));
    symlink("rootfs", bundle.dir.join("link")).unwrap();
    refused(&bundle.container(), &["link"]);
}

#[test]
fn a_mount_destination_under_a_file() {
    refused(&Bundle::idle().mount("tmpfs", "tmpfs", "/etc/passwd/below", &[]).container(), &["/etc/passwd"]);
}

#[test]
fn a_mount_of_a_directory_on_a_file() {
    let bundle = Bundle::idle();
    let source = bundle.host_dir("source").to_str().unwrap().to_string();
    refused(&bundle.mount("bind", &source, "/etc/passwd", &["bind"]).container(), &["/etc/passwd"]);
}

#[test]
fn a_mount_source_that_is_missing() {
    refused(&Bundle::idle().mount("bind", "/no/such/source", "/mnt", &["bind"]).container(), &["/no/such/source"]);
}

#[test]
fn an_unknown_file_system() {
    refused(&Bundle::idle().mount("nosuchfs", "none", "/mnt", &[]).container(), &["nosuchfs"]);
}

#[test]
fn a_mount_option_the_file_system_refuses() {
    refused(&Bundle::idle().mount("tmpfs", "tmpfs", "/mnt", &["no-such-option=1"]).container(), &["no-such-option"]);
}

#[test]
fn a_mount_without_a_destination() {
    if skip_on(&["runc", "crun"], "taken as the root") {
        return;
    }
    let mount = json!({ "type": "tmpfs", "source": "tmpfs" });
    refused(&Bundle::idle().push("/mounts", mount).container(), &["destination"]);
}

#[test]
fn a_rlimit_twice() {
    let limit = json!({ "type": "RLIMIT_CORE", "soft": 0, "hard": 0 });
    if skip_on(&["runc", "crun"], "the last wins") {
        return;
    }
    refused(&Bundle::idle().set("/process/rlimits", json!([limit, limit])).container(), &["RLIMIT_CORE"]);
}

#[test]
fn an_unknown_rlimit() {
    let limit = json!([{ "type": "RLIMIT_NONSENSE", "soft": 0, "hard": 0 }]);
    refused_at_start(&Bundle::idle().set("/process/rlimits", limit).container(), &["RLIMIT_NONSENSE"]);
}

#[test]
fn a_soft_rlimit_above_the_hard_one() {
    let limit = json!([{ "type": "RLIMIT_CORE", "soft": 10, "hard": 5 }]);
    refused_at_start(&Bundle::idle().set("/process/rlimits", limit).container(), &["RLIMIT_CORE"]);
}

#[test]
fn an_oom_score_out_of_range() {
    refused(&Bundle::idle().set("/process/oomScoreAdj", json!(5000)).container(), &["oom"]);
}

#[test]
fn a_newer_version_of_the_specification_is_accepted() {
    if skip_on(&["crun"], "checked until 1.14.2, and its state has its own") {
        return;
    }
    for version in ["1.0.0", "1.3.0", "1.99.0", "1.0.2-dev", "1.2.0+build"] {
        let container = Bundle::idle().set("/ociVersion", json!(version)).container();
        container.create().ok();
        assert_eq!(container.state()["ociVersion"], version);
        container.start().ok();
    }
}

#[test]
fn unknown_properties_are_ignored() {
    let container = Bundle::sh("true")
        .set("/someNewThing", json!({ "a": 1 }))
        .set("/process/someNewThing", json!(true))
        .set("/linux/someNewThing", json!([1]))
        .container();
    container.run().ok();
}

#[test]
fn null_lists_are_empty_lists() {
    let container = Bundle::sh("true")
        .set("/process/rlimits", Value::Null)
        .set("/hooks", json!({ "prestart": null }))
        .set("/linux/devices", Value::Null)
        .set("/annotations", Value::Null)
        .container();
    container.run().ok();
}

#[test]
fn a_used_cgroup_is_refused() {
    // Two containers in one cgroup cannot be limited, frozen or killed apart.
    if skip_on(&["runc", "crun"], "a warning in runc 1.1") {
        return;
    }
    let first = Bundle::idle().container();
    first.up();
    let second = Bundle::idle().set("/linux/cgroupsPath", json!(first.bundle.cgroup())).container();
    second.create().fails();
    assert_eq!(first.status(), "running");
    second.assert_nothing_left();
}

#[test]
fn strings_with_nul_are_refused() {
    for (path, value) in [
        ("/process/args", json!(["/bin/true", "a\u{0}b"])),
        ("/process/env", json!(["A=\u{0}"])),
        ("/process/cwd", json!("/\u{0}x")),
        ("/hostname", json!("a\u{0}b")),
    ] {
        if skip_on(&["crun", "runc"], "C strings end there") {
            return;
        }
        refused(&Bundle::idle().set(path, value).container(), &[]);
    }
}

#[test]
fn a_list_of_cpus_that_is_none() {
    let bundle = Bundle::idle().set("/process/execCPUAffinity", json!({ "initial": "0", "final": "one" }));
    refused(&bundle.container(), &["execCPUAffinity.final", "one"]);
}

#[test]
fn more_descriptors_than_there_are() {
    let container = Bundle::idle().container();
    said(&container.create_with(&["--preserve-fds", "4294967295"]).fails(), &["too many open files"]);
    container.assert_nothing_left();
}

#[test]
fn an_unknown_seccomp_action() {
    let seccomp = json!({ "defaultAction": "SCMP_ACT_NONSENSE" });
    refused(&Bundle::idle().set("/linux/seccomp", seccomp).container(), &["SCMP_ACT_NONSENSE", "seccomp"]);
}
