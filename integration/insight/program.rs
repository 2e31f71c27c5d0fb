//! How brisk finds the program.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::{cannot_look, directory, lay};
use crate::common::{Bundle, host, process, runtime};

#[test]
fn it_is_found_beside_brisk_and_missed_with_advice() {
    if cannot_look() {
        return;
    }
    let container = Bundle::idle().container();
    let dir = container.bundle.host_dir("programs");
    // What is under test may be a script that stands for brisk.
    lay(&host::resolve_program(&runtime()), &dir.join("brisk"));
    // What has the name in a directory of PATH is somebody else's.
    let elsewhere = container.bundle.host_dir("elsewhere");
    lay(Path::new("/bin/true"), &elsewhere.join("brisk-insight"));
    let call = || {
        let mut command = std::process::Command::new(dir.join("brisk"));
        command.arg("--root").arg(host::work_dir()).args(["stats", "nobody"]).env("PATH", &elsewhere);
        process::run(command).fails()
    };
    let said = call();
    assert!(said.contains("brisk-insight is not beside brisk"), "{said}");
    assert!(said.contains("make insight"), "{said}");
    lay(&directory().join("brisk-insight"), &dir.join("brisk-insight"));
    let said = call();
    assert!(said.contains("stats nobody"), "{said}");
    assert!(!said.contains("brisk-insight"), "{said}");
}

/// Beside a brisk that lies where everybody may put something.
#[test]
fn it_belongs_to_whoever_runs_it() {
    if cannot_look() {
        return;
    }
    let container = Bundle::idle().container();
    let dir = container.bundle.host_dir("programs");
    std::fs::copy(host::resolve_program(&runtime()), dir.join("brisk")).unwrap();
    let program = dir.join("brisk-insight");
    std::fs::copy(directory().join("brisk-insight"), &program).unwrap();
    let call = || {
        let mut command = std::process::Command::new(dir.join("brisk"));
        command.arg("--root").arg(host::work_dir()).args(["stats", "nobody"]);
        process::run(command).fails()
    };
    assert!(call().contains("stats nobody"));
    for (owner, mode) in [(1000, 0o755), (0, 0o777)] {
        std::os::unix::fs::chown(&program, Some(owner), None).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(mode)).unwrap();
        let said = call();
        assert!(said.contains("it belongs to somebody else"), "{owner} {mode:o}: {said}");
    }
}

/// By each that prints: the container is looked at, and nobody gets to see it.
#[test]
fn what_cannot_be_written_is_told() {
    if cannot_look() {
        return;
    }
    let container = Bundle::idle().container();
    container.create().ok();
    let (bundle, id) = (container.bundle.dir.to_str().unwrap(), &*container.id);
    let trace = container.bundle.dir.join("a.trace");
    let trace = trace.to_str().unwrap();
    std::fs::write(trace, r#"{"traceEvents":[{"ph":"X","ts":0,"dur":5,"cat":"child","name":"x"}]}"#).unwrap();
    let views: &[&[&str]] = &[
        &["top", "--interval", "1ms"],
        &["top", "--json", "--interval", "1ms"],
        &["top", "--once", "--interval", "1ms"],
        &["stats"],
        &["stats", "--json"],
        &["stats", "--format", "openmetrics"],
        &["memory"],
        &["memory", "--json"],
        &["memory", "--svg", "-"],
        &["inspect", id],
        &["trace", trace],
        &["trace", "--json", trace],
        &["trace", "--html", "-", trace],
        &["plan", bundle],
        &["plan", "--json", bundle],
        &["plan", "--format", "tree", bundle],
        &["plan", "--diff", bundle, bundle],
        &["plan", "--diff", bundle, "--json", bundle],
        &["list"],
        &["list", "--format", "json"],
        &["list", "--format", "id,age"],
        &["state", id],
        &["ps", id],
        &["ps", "--format", "json", id],
        &["check", bundle],
        &["features"],
        &["help"],
        &["--version"],
        &["events", "--stats", id],
    ];
    for view in views {
        for to in [">&-", "> /dev/full", "1< /dev/null"] {
            let command = super::command(&container, view);
            let out = process::run(process::in_shell(&format!("exec \"$@\" {to}"), &command));
            let said = out.fails();
            assert!(said.contains("write standard output"), "{view:?} {to}: {said}");
        }
    }
    // Nobody reads any more: that is the end, and no error.
    let events = &["events", "--interval", "1ms", id][..];
    // Who waits hears of it.
    for view in [&["top", "--interval", "9h"], events, &["top", "--json", "--interval", "9h"], &["stats"]] {
        let command = super::command(&container, view);
        process::run(process::in_shell("exec 3>&1; { { \"$@\"; echo $? >&3; } | true; }", &command)).ok();
    }
}

/// Nor is anything put beside it, which would be taken for a container or for a part of one.
#[test]
fn the_state_of_containers_is_not_written_over() {
    if cannot_look() {
        return;
    }
    let container = Bundle::idle().container();
    container.up().ok();
    let (id, root) = (&*container.id, container.bundle.state_root());
    let around = container.bundle.dir.join("around");
    std::os::unix::fs::symlink(&root, &around).unwrap();
    let names = || {
        let names = |dir: &Path| std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        [&root, &root.join(id)].map(|dir| names(dir)) as [std::collections::BTreeSet<_>; 2]
    };
    let before = (names(), std::fs::read(root.join(id).join("state.json")).unwrap());
    let trace = container.bundle.dir.join("a.trace");
    let trace = trace.to_str().unwrap();
    std::fs::write(trace, r#"{"traceEvents":[{"ph":"X","ts":0,"dur":5,"cat":"child","name":"x"}]}"#).unwrap();
    for place in [&root, &around] {
        for name in [&*format!("{id}/state.json"), &format!("{id}/exec.fifo"), &format!("{id}/picture"), "picture"] {
            let file = place.join(name);
            let file = file.to_str().unwrap();
            for view in [
                &["memory", "--svg", file][..],
                &["trace", "--svg", file, trace],
                &["trace", "--html", file, trace],
                &["record", "--output", file, "other"],
                &["record", "--report", file, "other"],
            ] {
                let said = super::call(&container, view).fails();
                let refused = said.contains("brisk reads files of this name")
                    || said.contains("the state of containers is kept in");
                assert!(refused, "{view:?}: {said}");
                assert!(before == (names(), std::fs::read(root.join(id).join("state.json")).unwrap()), "{view:?}");
            }
        }
    }
    // Whoever says of another root that it is theirs.
    let mut elsewhere = Command::new(super::brisk(&container));
    let picture = around.join(id).join("picture");
    elsewhere
        .arg("--root")
        .arg(container.bundle.host_dir("elsewhere"))
        .args(["trace", "--svg"])
        .arg(picture)
        .arg(trace);
    let said = process::run(elsewhere).fails();
    assert!(said.contains("the state of containers is kept in"), "{said}");
    let near = format!("{id}x");
    for view in ["stats", "inspect", "diff", "memory"] {
        let said = super::call(&container, &[view, &near]).fails();
        assert!(said.contains(&format!("did you mean {id}?")), "{said}");
    }
}
