//! `brisk-insight`, which brisk executes for the commands that look at what is there.

mod diff;
mod inspect;
mod list;
mod memory;
mod plan;
mod program;
mod record;
mod stats;
mod top;
mod trace;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::common::process::{self, Output};
use crate::common::{Bundle, Container, Need, brisk_only, host, runtime, skip, skip_unless};

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
pub(crate) fn call(container: &Container, args: &[&str]) -> Output {
    process::run(command(container, args))
}

/// The one container of a JSON text.
fn only(value: &serde_json::Value) -> &serde_json::Value {
    assert_eq!(value["containers"].as_array().unwrap().len(), 1, "{value}");
    assert_eq!(value["problems"], serde_json::json!([]), "{value}");
    &value["containers"][0]
}

/// How another runtime is called here; nothing where it is not installed, which is told.
fn program_of(runtime: &str) -> Option<Vec<PathBuf>> {
    let there = Command::new(runtime).arg("--version").stdout(Stdio::null()).status();
    if skip_unless(Need::from(there.is_ok_and(|status| status.success())), &format!("no {runtime}")) {
        return None;
    }
    // crun gives up on a host with cgroup2 beside v1 (see integration/run), so it gets one without.
    let hybrid = runtime == "crun" && Path::new("/sys/fs/cgroup/unified").exists();
    let on_hybrid = "umount -l /sys/fs/cgroup/unified; mount -t tmpfs none /sys/fs/cgroup/unified";
    let script = format!("{}; exec {runtime} \"$@\"", if hybrid { on_hybrid } else { ":" });
    Some(["unshare", "-m", "--propagation", "private", "sh", "-c", &script, runtime].map(Into::into).to_vec())
}

/// Looks at a container of this bundle that runc runs, and at one that crun does, below their own roots as here: with its runtime
/// and its first process.
fn of_others(bundle: impl Fn() -> Bundle, look: impl Fn(&str, &Container, i32)) {
    for runtime in ["runc", "crun"] {
        let Some(program) = program_of(runtime) else { continue };
        let mut bundle = bundle();
        bundle.config["ociVersion"] = json!("1.0.2");
        let mut container = bundle.container();
        drop(brisk(&container));
        let brisk = std::mem::replace(&mut container.program, program);
        container.create_with(&[]).ok();
        container.start().ok();
        let pid = container.pid();
        let theirs = std::mem::replace(&mut container.program, brisk);
        look(runtime, &container, pid);
        container.program = theirs;
        container.delete_force().ok();
    }
}
