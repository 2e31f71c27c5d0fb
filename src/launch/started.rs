//! From `start`'s signal to the program: with startContainer hooks there is something between them that may fail.
//! Runs in `start`.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;

use crate::error::{Context, Error, Result, Stage};
use crate::plan::op::HookKind;
use crate::plan::text::hook_error;
use crate::sys::{fs, poll};
use crate::wire::{self, Fault, Message};

/// Waits until the container's process, which has been told by `fifo` to go on, runs its program. What it could not
/// do before that it has written to the fifo, which closes with execve or with the process.
pub fn await_program(fifo: BorrowedFd<'_>) -> Result<()> {
    poll::one(fifo, 0, -1).at(Stage::State, || "wait for the program to run")?;
    match report(fifo).at(Stage::State, || "read what the container's process says")? {
        Some(fault) => Err(worded(&fault)),
        None => Ok(()),
    }
}

/// The record in the fifo, of which we have the writing end only: it is opened once more.
fn report(fifo: BorrowedFd<'_>) -> nix::Result<Option<Fault>> {
    // A number has no NUL byte.
    let path = CString::new(format!("/proc/self/fd/{}", fifo.as_raw_fd())).map_err(|_| Errno::EINVAL)?;
    let fifo = fs::open(fs::CWD, &path, libc::O_RDONLY | libc::O_NONBLOCK, 0)?;
    let mut record = [0; wire::SIZE];
    match fs::read(fifo.as_fd(), &mut record) {
        // Empty, but for somebody else who has it open: a second `start` that came too late.
        Ok(0) | Err(Errno::EAGAIN) => Ok(None),
        Ok(len) => match wire::decode(&record[..len])? {
            Message::Fault(fault) => Ok(Some(fault)),
            Message::Sync(..) => Err(Errno::EBADMSG),
        },
        Err(errno) => Err(errno),
    }
}

/// The plan is not at hand any more, but what can fail here is mostly a hook.
fn worded(fault: &Fault) -> Error {
    let detail = String::from_utf8_lossy(fault.text());
    hook_error(HookKind::StartContainer, fault.errno, &detail).unwrap_or_else(|| {
        let what = "the container's process ended before its program ran";
        let what = if detail.is_empty() { what.to_owned() } else { format!("{what}: {detail}") };
        Error::errno(Stage::Process, what, fault.errno)
    })
}
