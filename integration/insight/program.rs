//! How brisk finds the program.

use std::path::Path;

use super::{cannot_look, directory};
use crate::common::{Bundle, host, process, runtime};

fn lay(from: &Path, to: &Path) {
    if std::fs::hard_link(from, to).is_err() {
        std::fs::copy(from, to).unwrap();
    }
}

#[test]
fn it_is_found_beside_brisk_and_missed_with_advice() {
    if cannot_look() {
        return;
    }
    let container = Bundle::idle().container();
    let dir = container.bundle.host_dir("programs");
    // What is under test may be a script that stands for brisk.
    lay(&host::resolve_program(&runtime()), &dir.join("brisk"));
    let call = || {
        let mut command = std::process::Command::new(dir.join("brisk"));
        command.arg("--root").arg(host::work_dir()).args(["stats", "nobody"]).env("PATH", "/nowhere");
        process::run(command).fails()
    };
    let said = call();
    assert!(said.contains("brisk-insight is neither beside brisk nor in PATH"), "{said}");
    assert!(said.contains("make insight"), "{said}");
    lay(&directory().join("brisk-insight"), &dir.join("brisk-insight"));
    let said = call();
    assert!(said.contains("stats nobody"), "{said}");
    assert!(!said.contains("brisk-insight"), "{said}");
}
