//! The files and sockets a caller names: pid files, pidfd sockets, traces.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::fd::BorrowedFd;
use std::path::Path;

use super::options::Global;
use crate::error::{Context, Error, Result, Stage};
use crate::launch::{self, Trace};
use crate::sys::socket;

/// Writes a pid file whole: whoever watches for it never reads a part.
pub(super) fn write_pid(path: &Path, pid: i32) -> Result<()> {
    write(path, pid.to_string().as_bytes(), "pid file")
}

/// Takes back what [`write_pid`] wrote for a process that did not become what was asked for: nobody may take the
/// number, which is free again, for it. A file with another number is somebody else's.
pub(super) fn withdraw_pid(global: &Global, path: &Path, pid: i32) {
    let gone = match std::fs::read(path) {
        Ok(text) if text == pid.to_string().as_bytes() => std::fs::remove_file(path),
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    };
    match gone {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            (global.warn)(&format!("remove the pid file {}: {error}", path.display()));
        }
        _ => {}
    }
}

/// Writes a file whole, or not at all.
pub(super) fn write(path: &Path, text: &[u8], kind: &str) -> Result<()> {
    let what = || format!("write the {kind} {}", path.display());
    let name = path.file_name().ok_or_else(|| Error::new(Stage::State, what()))?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    let temporary = path.with_file_name(temporary);
    // Never through a link that somebody else has put there.
    let make = || OpenOptions::new().write(true).create_new(true).open(&temporary);
    let file = match make() {
        // Of a command that was cut short.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            std::fs::remove_file(&temporary).and_then(|()| make())
        }
        result => result,
    };
    let mut file = file.at(Stage::State, what)?;
    file.write_all(text).and_then(|()| std::fs::rename(&temporary, path)).at(Stage::State, what).inspect_err(|_| {
        // The error is what counts; this is only tidy.
        let _ = std::fs::remove_file(&temporary);
    })
}

/// Sends a pidfd to the socket at `path`, as runc's `--pidfd-socket` (payload `pidfd`) and
/// crun's annotation (payload of one space).
pub(super) fn send_pidfd(path: &Path, pidfd: BorrowedFd<'_>, payload: &[u8]) -> Result<()> {
    let socket = launch::connect(path, Stage::State)?;
    socket::send_fds(std::os::fd::AsFd::as_fd(&socket), payload, &[pidfd])
        .at(Stage::State, || format!("send the pidfd to {}", path.display()))
}

/// Writes the timeline, where one was asked for. What it is about is done: that cannot fail any more.
pub(super) fn write_trace(global: &Global, path: Option<&Path>, trace: Option<Trace>) {
    if let (Some(path), Some(mut trace)) = (path, trace)
        && let Err(error) = write(path, trace.to_json().to_string().as_bytes(), "trace")
    {
        (global.warn)(&error.to_string());
    }
}
