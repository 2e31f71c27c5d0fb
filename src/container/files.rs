//! The files and sockets a caller names: pid files, pidfd sockets, traces.

use std::os::fd::BorrowedFd;
use std::path::Path;

use crate::error::{Context, Error, Result, Stage};
use crate::launch::{self, Trace};
use crate::sys::socket;

/// Writes a pid file whole: whoever watches for it never reads a part.
pub(super) fn write_pid(path: &Path, pid: i32) -> Result<()> {
    write(path, pid.to_string().as_bytes(), "pid file")
}

fn write(path: &Path, text: &[u8], kind: &str) -> Result<()> {
    let what = || format!("write the {kind} {}", path.display());
    let name = path.file_name().ok_or_else(|| Error::new(Stage::State, what()))?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    let temporary = path.with_file_name(temporary);
    std::fs::write(&temporary, text).at(Stage::State, what)?;
    std::fs::rename(&temporary, path).at(Stage::State, what)
}

/// Sends a pidfd to the socket at `path`, as runc's `--pidfd-socket` (payload `pidfd`) and
/// crun's annotation (payload of one space).
pub(super) fn send_pidfd(path: &Path, pidfd: BorrowedFd<'_>, payload: &[u8]) -> Result<()> {
    let socket = launch::connect(path, Stage::State)?;
    socket::send_fds(std::os::fd::AsFd::as_fd(&socket), payload, &[pidfd])
        .at(Stage::State, || format!("send the pidfd to {}", path.display()))
}

/// Writes the timeline, where one was asked for.
pub(super) fn write_trace(path: Option<&Path>, trace: Option<Trace>) -> Result<()> {
    match (path, trace) {
        (Some(path), Some(mut trace)) => write(path, trace.to_json().to_string().as_bytes(), "trace"),
        _ => Ok(()),
    }
}
