//! How brisk finds the program.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

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
