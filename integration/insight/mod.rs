//! `brisk-insight`, which brisk executes for the commands that look at what is there.

mod diff;
mod inspect;
mod list;
mod memory;
mod program;
mod stats;
mod top;
mod trace;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::process::{self, Output};
use crate::common::{Container, brisk_only, host, runtime, skip};

/// Where the program is: beside the probe's directory, as they are built together.
fn directory() -> PathBuf {
    host::probe().parent().unwrap().parent().unwrap().to_path_buf()
}

/// Whether a test of it cannot be: of another runtime, or in a guest without it.
#[must_use]
pub(crate) fn cannot_look() -> bool {
    if brisk_only("it looks at what brisk has made") {
        return true;
    }
    let there = directory().join("brisk-insight").is_file();
    if !there {
        assert!(std::env::var_os("BRISK_GUEST").is_some(), "brisk-insight is not built");
        skip("brisk-insight is not in the guest");
    }
    !there
}

/// A brisk that has the program beside it.
pub(crate) fn brisk(container: &Container) -> PathBuf {
    let dir = container.bundle.dir.join("programs");
    if !dir.exists() {
        container.bundle.host_dir("programs");
        // What is under test may be a script that stands for brisk.
        lay(&host::resolve_program(&runtime()), &dir.join("brisk"));
        lay(&directory().join("brisk-insight"), &dir.join("brisk-insight"));
    }
    dir.join("brisk")
}

/// A command of it.
fn command(container: &Container, args: &[&str]) -> Command {
    let usual = container.command(args);
    let mut command = Command::new(brisk(container));
    command.args(usual.get_args()).current_dir(&container.bundle.dir);
    for (name, value) in usual.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    for name in ["LC_ALL", "LC_CTYPE", "LANG", "NO_COLOR", "TERM"] {
        command.env_remove(name);
    }
    command
}

fn lay(from: &Path, to: &Path) {
    if std::fs::hard_link(from, to).is_err() {
        std::fs::copy(from, to).unwrap();
    }
}

#[track_caller]
fn call(container: &Container, args: &[&str]) -> Output {
    process::run(command(container, args))
}

/// The one container of a JSON text.
fn only(value: &serde_json::Value) -> &serde_json::Value {
    assert_eq!(value["containers"].as_array().unwrap().len(), 1, "{value}");
    assert_eq!(value["problems"], serde_json::json!([]), "{value}");
    &value["containers"][0]
}
