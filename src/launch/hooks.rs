//! Hooks in the runtime's namespaces.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::error::{Context, Error, Result, Stage};
use crate::plan::step::{HostHook, HostHooks};
use crate::plan::text::failed_hook;
use crate::sys::poll::{self, PollFd, PollFlags};
use crate::sys::{descriptor, fs, interrupt, pidfd, process, signal};

/// Files that hooks write to (`run.oci.hooks.stdout`, `run.oci.hooks.stderr`).
#[derive(Debug, Default)]
pub struct HookOutput {
    stdout: Option<File>,
    stderr: Option<File>,
}

impl HookOutput {
    /// Opens the files to add to them; they are made when missing.
    pub fn open(stdout: Option<&str>, stderr: Option<&str>) -> Result<HookOutput> {
        let open = |path: Option<&str>| {
            path.map(|path| {
                let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
                file.at(Stage::Hook, || format!("open {path} for the output of hooks"))
            })
            .transpose()
        };
        Ok(HookOutput { stdout: open(stdout)?, stderr: open(stderr)? })
    }

    /// Copies for the hooks that the child runs.
    pub(super) fn for_child(&self) -> Result<[Option<OwnedFd>; 2]> {
        let copy = |file: &Option<File>| {
            file.as_ref()
                .map(|file| descriptor::dup(file.as_fd(), 3).at(Stage::Hook, || "copy a descriptor"))
                .transpose()
        };
        Ok([copy(&self.stdout)?, copy(&self.stderr)?])
    }
}

/// How much of a failed hook's standard error an error quotes.
const QUOTED: usize = 1024;

/// Runs the hooks in order, with the state of process `pid` on their standard input; the first failure ends it.
pub fn run_hooks(list: &HostHooks, pid: i32, output: &HookOutput) -> Result<()> {
    run_all(list, pid, output, None).collect()
}

/// Runs the hooks in order for as long as they are wanted: the one that is at work when they are not is killed.
pub fn run_hooks_while(
    list: &HostHooks,
    pid: i32,
    output: &HookOutput,
    while_they_run: WhileHooksRun<'_, '_>,
) -> Result<()> {
    run_all(list, pid, output, Some(while_they_run)).collect()
}

/// What is looked after while somebody else is waited for: a hook, or the word that a program is ready.
pub trait Meanwhile {
    /// What wakes it.
    fn fd(&self) -> Option<BorrowedFd<'_>>;
    /// When it looks again, whatever else happens.
    fn next(&self) -> Option<Instant>;
    /// Looks.
    fn look(&mut self);
}

/// What is done while hooks run.
pub struct WhileHooksRun<'a, 'm> {
    /// Whether they are still wanted, which is asked every now and then.
    pub wanted: &'a dyn Fn() -> Result<bool>,
    /// What else is to be looked after.
    pub meanwhile: Option<&'m mut dyn Meanwhile>,
}

/// How often it is asked whether hooks are still wanted.
const NEXT_LOOK: Duration = Duration::from_millis(200);

/// Runs every hook; failures are returned, and stop nothing (poststop, runtime-spec "Lifecycle").
pub fn run_each_hook(list: &HostHooks, pid: i32, output: &HookOutput) -> Vec<Error> {
    run_all(list, pid, output, None).filter_map(Result::err).collect()
}

fn run_all(
    list: &HostHooks,
    pid: i32,
    output: &HookOutput,
    mut while_they_run: Option<WhileHooksRun<'_, '_>>,
) -> impl Iterator<Item = Result<()>> {
    let state = list.state.with(pid);
    list.hooks.iter().enumerate().map(move |(index, hook)| {
        run_one(hook, list.dir.as_deref(), &state, output, while_they_run.as_mut())
            .at(Stage::Hook, || format!("{}: {}", failed_hook(list.kind, index), hook.path))
    })
}

fn run_one(
    hook: &HostHook,
    dir: Option<&Path>,
    state: &[u8],
    output: &HookOutput,
    while_they_run: Option<&mut WhileHooksRun<'_, '_>>,
) -> Result<()> {
    // However short each of several is.
    interrupt::listen();
    let errors = fs::memfd(c"brisk-hook-stderr").at(Stage::Hook, || "make a memory file")?;
    let mut command = Command::new(&hook.path);
    if let Some((name, rest)) = hook.args.split_first() {
        command.arg0(name).args(rest);
    }
    if let Some(env) = &hook.env {
        // `spec::validate` refuses what is no variable.
        command.env_clear().envs(env.iter().filter_map(|variable| variable.split_once('=')));
    }
    if let Some(dir) = dir {
        command.current_dir(dir);
    }
    let [stdout, stderr] = output.for_child()?;
    let stderr = stderr.map_or_else(|| errors.try_clone().at(Stage::Hook, || "copy a descriptor"), Ok)?;
    command.stdin(input(state)?).stdout(stdout.map_or_else(Stdio::null, Stdio::from)).stderr(stderr);
    let mut child = process::spawn(process::die_with_parent(&mut command)).at(Stage::Hook, || "start it")?;
    match attend(&mut child, hook, while_they_run) {
        Ok(status) => judge(status, &errors),
        Err(error) => {
            // The hook must not go on after the failure; a second kill or wait of one that has ended does nothing.
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
    }
}

/// The state on a hook's standard input: a file, since a pipe would make us wait for a hook that does not read more
/// than fits into it, whatever its timeout.
fn input(state: &[u8]) -> Result<OwnedFd> {
    let file = fs::memfd(c"brisk-hook-state").at(Stage::Hook, || "make a memory file")?;
    fs::write_all(file.as_fd(), state).and_then(|()| fs::rewind(file.as_fd())).at(Stage::Hook, || "write the state")?;
    Ok(file)
}

/// Waits for its end, at most until its timeout, and no longer than it is wanted.
fn attend(
    child: &mut Child,
    hook: &HostHook,
    mut while_they_run: Option<&mut WhileHooksRun<'_, '_>>,
) -> Result<ExitStatus> {
    let pidfd = pidfd::open(child.id() as i32).at(Stage::Hook, || "open a pidfd")?;
    let end = hook.timeout.and_then(poll::within);
    loop {
        let meanwhile = while_they_run.as_deref().and_then(|while_they_run| while_they_run.meanwhile.as_deref());
        let look = while_they_run.as_ref().map(|_| Instant::now() + NEXT_LOOK);
        let next = [end, look, meanwhile.and_then(Meanwhile::next)].into_iter().flatten().min();
        let mut polled = vec![PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        polled.extend(meanwhile.and_then(Meanwhile::fd).map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        poll::any(&mut polled, next).at(Stage::Hook, || "wait for it")?;
        if polled[0].any() == Some(true) {
            let status = child.wait().at(Stage::Hook, || "reap it")?;
            status.signal().map_or(Ok(()), interrupt::shared).at(Stage::Hook, || "wait for it")?;
            return Ok(status);
        }
        if end.is_some_and(|end| Instant::now() >= end) {
            let seconds = hook.timeout.unwrap_or_default().as_secs();
            return Err(Error::new(Stage::Hook, format!("timed out after {seconds} s and was killed")));
        }
        let Some(while_they_run) = &mut while_they_run else { continue };
        if let Some(meanwhile) = &mut while_they_run.meanwhile {
            meanwhile.look();
        }
        if !(while_they_run.wanted)()? {
            return Err(Error::new(Stage::Hook, "the container was deleted, and it was killed"));
        }
    }
}

fn judge(status: ExitStatus, errors: &OwnedFd) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, number) => {
            let number = number.unwrap_or(0);
            format!("killed by signal {number} ({})", signal::words(number))
        }
    };
    let mut buf = [0; QUOTED];
    let len = fs::pread(errors.as_fd(), &mut buf, 0).at(Stage::Hook, || "read what it said")?;
    let said = String::from_utf8_lossy(&buf[..len]);
    let said = said.trim();
    Err(Error::new(Stage::Hook, if said.is_empty() { how } else { format!("{how}, stderr: {said}") }))
}
