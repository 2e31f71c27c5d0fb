//! `brisk-insight`, which brisk executes for the commands that look at what is there.

mod diff;
mod inspect;
mod list;
mod program;
mod stats;
mod top;

use std::path::PathBuf;
use std::process::Command;

use crate::common::process::{self, Output};
use crate::common::{Container, brisk_only, host, skip};

/// Where the program is: beside the probe's directory, as they are built together.
fn directory() -> PathBuf {
    host::probe().parent().unwrap().parent().unwrap().to_path_buf()
}

/// Whether a test of it cannot be: of another runtime, or in a guest without it.
#[must_use]
fn cannot_look() -> bool {
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

/// A command of brisk that finds the program.
fn command(container: &Container, args: &[&str]) -> Command {
    let mut command = container.command(args);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", directory().display()));
    for name in ["LC_ALL", "LC_CTYPE", "LANG", "NO_COLOR", "TERM"] {
        command.env_remove(name);
    }
    command
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
