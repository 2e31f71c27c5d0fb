//! What an eleventh attack, by whom others' words were read but no source, has found (docs/SECURITY.md).

use crate::common::{Bundle, Need, brisk_only, host, process, skip_unless};

/// A number of the one and a start time of the other are a stranger: `kill` and `delete --force` killed him.
#[test]
fn a_proc_of_another_pid_namespace_is_refused() {
    if brisk_only("runc and crun write a stranger down") || skip_unless(Need::from(host::is_root()), "root: namespaces")
    {
        return;
    }
    let container = Bundle::idle().container();
    container.bundle.write();
    let bundle = container.bundle.dir.to_str().unwrap();
    for verb in [&["create"][..], &["run"], &["run", "--detach"], &["create", "--template"]] {
        let call = container.command(&[verb, &["--bundle", bundle, &container.id]].concat());
        let said = process::run(process::under(&["unshare", "--pid", "--fork"], &call)).fails();
        assert!(said.contains("/proc is not of this pid namespace"), "{verb:?}: {said}");
        container.assert_nothing_left();
    }
}

/// No number is told of them, and they were taken for nobody.
#[test]
fn what_another_pid_namespace_has_is_not_called_killed() {
    if skip_unless(Need::from(host::is_root()), "root: namespaces") {
        return;
    }
    let container = Bundle::idle().container();
    container.up();
    let elsewhere = |args: &[&str], kill: &[&str]| {
        let unshare = [&["unshare", "--pid", "--fork"], args].concat();
        process::run(process::under(&unshare, &container.command(kill)))
    };
    let ours = crate::common::runtime_name() == "brisk";
    // With the other's /proc it is seen that it runs.
    let said = elsewhere(&[], &["kill", &container.id, "TERM"]).fails();
    assert!(said.contains("not in this pid namespace") || !ours, "{said}");
    for signal in ["TERM", "KILL"] {
        let said = elsewhere(&["--mount-proc"], &["kill", "--all", &container.id, signal]);
        // They are indeed where cgroup.kill is.
        assert!(!ours || (said.code == 0) == (container.status() == "stopped"), "{signal}: {said:?}");
    }
}
