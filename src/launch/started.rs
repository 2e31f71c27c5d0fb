//! From `start`'s signal to the program: with startContainer hooks there is something between them that may fail.
//! Runs in `start`.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;

use crate::error::{Context, Error, Result, Stage};
use crate::plan::text::start_hook_error;
use crate::sys::fs;
use crate::sys::poll::{self, PollFd, PollFlags};
use crate::wire::{self, Fault, Message};

/// How often it is looked whether the program runs although somebody keeps the fifo open.
const TICK: Duration = Duration::from_secs(1);

/// Waits until the container's process, which has been told by `fifo` to go on, runs its program. What it could not
/// do before that it has written to the fifo, which closes with execve or with the process.
///
/// A hook of the image that may trace the process can open the fifo, keep it and write to it. So a program that runs is
/// told by its file as well, and a fault only counts of a process that ends (without a pidfd it has ended).
pub fn await_program(fifo: BorrowedFd<'_>, pid: i32, pidfd: Option<BorrowedFd<'_>>) -> Result<()> {
    let read = || report(fifo).at(Stage::State, || "read what the container's process says");
    let Some(pidfd) = pidfd else { return read()?.map_or(Ok(()), |fault| Err(worded(fault))) };
    let what = || "wait for the program to run";
    let before = executable(pid);
    loop {
        let mut polled = [PollFd::new(fifo, PollFlags::empty()), PollFd::new(pidfd, PollFlags::POLLIN)];
        let something = poll::any(&mut polled, poll::within(TICK)).at(Stage::State, what)?;
        if !something && executable(pid) == before {
            continue;
        }
        let ended = || poll::one(pidfd, PollFlags::POLLIN, poll::within(TICK)).at(Stage::State, what);
        return match read()? {
            Some(fault) if ended()? => Err(worded(fault)),
            _ => Ok(()),
        };
    }
}

/// Which file a process runs; none when it is gone.
fn executable(pid: i32) -> Option<(u64, u64)> {
    let path = CString::new(format!("/proc/{pid}/exe")).ok()?;
    let file = fs::open(fs::CWD, &path, libc::O_PATH, 0).ok()?;
    fs::stat(file.as_fd()).ok().map(|stat| (stat.st_dev, stat.st_ino))
}

/// The record in the fifo, of which we have the writing end only: it is opened once more.
fn report(fifo: BorrowedFd<'_>) -> nix::Result<Option<(Fault, String)>> {
    let fifo = fs::reopen(fifo, libc::O_RDONLY | libc::O_NONBLOCK)?;
    let mut record: wire::LongRecord = [0; size_of::<wire::LongRecord>()];
    match fs::read(fifo.as_fd(), &mut record) {
        // Empty, but for somebody else who has it open: a second `start` that came too late.
        Ok(0) | Err(Errno::EAGAIN) => Ok(None),
        // Whatever else is in it, the container's process has not written.
        Ok(len) => match wire::decode(&record[..len]) {
            Ok(Message::Fault(fault)) => {
                Ok(Some((fault, String::from_utf8_lossy(wire::said(&record[..len])).into_owned())))
            }
            Ok(Message::Sync(..)) | Err(_) => Ok(None),
        },
        Err(errno) => Err(errno),
    }
}

/// The plan is not at hand any more, but what can fail here is mostly a hook.
fn worded((fault, said): (Fault, String)) -> Error {
    let detail = String::from_utf8_lossy(fault.text());
    start_hook_error(&detail, &said).unwrap_or_else(|| {
        let what = "the container's process ended before its program ran";
        let what = if detail.is_empty() { what.to_owned() } else { format!("{what}: {detail}") };
        Error::errno(Stage::Process, what, fault.errno)
    })
}
