//! Hooks in the runtime's namespaces.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};

use nix::errno::Errno;

use crate::error::{Context, Error, Result, Stage};
use crate::spec::hooks::Hook;
use crate::sys::{fs, process};

/// Files that hooks write to (`run.oci.hooks.stdout`, `run.oci.hooks.stderr`).
#[derive(Debug, Default)]
pub struct Output {
    stdout: Option<File>,
    stderr: Option<File>,
}

impl Output {
    /// Opens the files to add to them; they are made when missing.
    pub fn open(stdout: Option<&str>, stderr: Option<&str>) -> Result<Output> {
        let open = |path: Option<&str>| {
            path.map(|path| {
                let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
                file.at(Stage::Hook, || format!("open {path} for the output of hooks"))
            })
            .transpose()
        };
        Ok(Output { stdout: open(stdout)?, stderr: open(stderr)? })
    }

    /// Copies for the hooks that the child runs.
    pub(super) fn for_child(&self) -> Result<[Option<OwnedFd>; 2]> {
        let copy = |file: &Option<File>| {
            file.as_ref().map(|file| fs::dup(file.as_fd(), 3).at(Stage::Hook, || "copy a descriptor")).transpose()
        };
        Ok([copy(&self.stdout)?, copy(&self.stderr)?])
    }
}

/// How much of a failed hook's standard error an error quotes.
const QUOTED: usize = 1024;

/// Runs the hooks of one list in order, with `state` on their standard input; the first failure ends it.
pub fn run(kind: &str, hooks: &[Hook], state: &[u8], output: &Output) -> Result<()> {
    for (index, hook) in hooks.iter().enumerate() {
        one(hook, state, output).at(Stage::Hook, || format!("{kind} hook #{index}: {}", hook.path))?;
    }
    Ok(())
}

/// Runs every hook of one list; failures are returned, and stop nothing (poststop, runtime-spec "Lifecycle").
pub fn run_each(kind: &str, hooks: &[Hook], state: &[u8], output: &Output) -> Vec<Error> {
    let what = |index: usize, hook: &Hook| format!("{kind} hook #{index}: {}", hook.path);
    let failed = |(i, hook)| one(hook, state, output).at(Stage::Hook, || what(i, hook)).err();
    hooks.iter().enumerate().filter_map(failed).collect()
}

fn one(hook: &Hook, state: &[u8], output: &Output) -> Result<()> {
    let errors = fs::memfd(c"brisk-hook-stderr").at(Stage::Hook, || "make a memory file")?;
    let mut command = Command::new(&hook.path);
    if let Some((name, rest)) = hook.args.split_first() {
        command.arg0(name).args(rest);
    }
    command.env_clear();
    command.envs(hook.env.iter().flatten().filter_map(|variable| variable.split_once('=')));
    let [stdout, stderr] = output.for_child()?;
    let stderr = stderr.map_or_else(|| errors.try_clone().at(Stage::Hook, || "copy a descriptor"), Ok)?;
    command.stdin(Stdio::piped()).stdout(stdout.map_or_else(Stdio::null, Stdio::from)).stderr(stderr);
    let mut child = command.spawn().at(Stage::Hook, || "start it")?;
    let pid = child.id() as i32;
    let pidfd = process::pidfd_open(pid).at(Stage::Hook, || "open a pidfd")?;
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(state) {
            // It need not read its state.
            Err(error) if error.raw_os_error() == Some(Errno::EPIPE as i32) => {}
            result => result.at(Stage::Hook, || "write the state to it")?,
        }
    }
    let timeout = hook.timeout.map_or(-1, |s| i32::try_from(s.saturating_mul(1000)).unwrap_or(i32::MAX));
    let in_time = process::poll(pidfd.as_fd(), libc::POLLIN, timeout).at(Stage::Hook, || "wait for it")? != 0;
    if !in_time {
        process::pidfd_kill(pidfd.as_fd(), libc::SIGKILL).at(Stage::Hook, || "kill it")?;
    }
    let status = child.wait().at(Stage::Hook, || "reap it")?;
    if !in_time {
        return Err(Error::new(Stage::Hook, format!("timed out after {} s and was killed", timeout / 1000)));
    }
    if status.success() {
        return Ok(());
    }
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, signal) => format!("killed by signal {}", signal.unwrap_or(0)),
    };
    let mut buf = [0; QUOTED];
    let len = fs::pread(errors.as_fd(), &mut buf, 0).at(Stage::Hook, || "read what it said")?;
    let said = String::from_utf8_lossy(&buf[..len]);
    let said = said.trim();
    Err(Error::new(Stage::Hook, if said.is_empty() { how } else { format!("{how}, stderr: {said}") }))
}
