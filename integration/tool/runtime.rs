//! A runtime under test: its path, its own state root, and its command lines.

use super::{Res, process};
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A runtime by name and path, with a state root of its own.
#[derive(Clone, Debug)]
pub struct Runtime {
    pub name: String,
    pub path: PathBuf,
    pub root: PathBuf,
}

impl Runtime {
    /// `RUNTIME --root ROOT ARGS…`; standard error goes to a file, for `must` to quote, the other streams to /dev/null.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.path);
        command.arg("--root").arg(&self.root).args(args);
        process::quiet(&mut command);
        let log = OpenOptions::new().create(true).write(true).truncate(true).open(self.stderr());
        if let Ok(file) = log {
            command.stderr(file);
        }
        command
    }

    /// Runs it and demands success.
    pub fn must(&self, args: &[&str]) -> Res<process::Done> {
        self.judge(args, process::timed(&mut self.command(args))?)
    }

    /// An error that quotes the last command's standard error, unless `done` was a success.
    pub fn judge(&self, args: &[&str], done: process::Done) -> Res<process::Done> {
        if done.ok() {
            return Ok(done);
        }
        let text = std::fs::read_to_string(self.stderr())?;
        let (name, verb) = (&self.name, args.join(" "));
        Err(format!("{name} {verb}: wait status {:#x}: {}", done.reaped.status, text.trim()).into())
    }

    /// Where the last command's standard error is.
    pub fn stderr(&self) -> PathBuf {
        self.root.with_extension("stderr")
    }

    /// create; the pid of the container's init.
    pub fn create(&self, bundle: &Path, id: &str) -> Res<i32> {
        let pid_file = self.pid_file(id);
        self.must(&["create", "--bundle", text(bundle)?, "--pid-file", text(&pid_file)?, id])?;
        self.pid(id)
    }

    /// Where `create` is told to write the pid.
    pub fn pid_file(&self, id: &str) -> PathBuf {
        self.root.with_extension(format!("{id}.pid"))
    }

    /// The pid in that file.
    pub fn pid(&self, id: &str) -> Res<i32> {
        Ok(std::fs::read_to_string(self.pid_file(id))?.trim().parse()?)
    }

    /// Best effort: the container and its pid file go away whatever state they are in.
    pub fn force_delete(&self, id: &str) -> Res<()> {
        let limit = std::time::Duration::from_secs(10);
        process::bounded(&mut self.command(&["delete", "--force", id]), limit)?;
        std::fs::remove_file(self.pid_file(id)).or_else(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
        Ok(())
    }
}

/// brisk as built by `make`: `$BRISK`, or the static release build.
pub fn built() -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let brisk = std::env::var_os("BRISK").map_or_else(|| target.join(triple).join("release/brisk"), PathBuf::from);
    brisk.exists().then_some(brisk)
}

/// Paths of these tools are made by these tools and are UTF-8.
pub fn text(path: &Path) -> Res<&str> {
    path.to_str().ok_or_else(|| format!("{} is not UTF-8", path.display()).into())
}
