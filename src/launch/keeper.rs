//! The parent of a pool's member: the process that has made it becomes one of two pages, which waits for the member's end and
//! says how that was.
//!
//! Only a parent is told how a process has ended, by every kernel and whatever happens, and who claims the member is not its
//! parent. What is left of the runtime here is the walker and a table of a few calls (`sys::last_calls`).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;

use crate::error::{Context, Error, Result, Stage};
use crate::sys::last_calls::{self, Mode, Table};
use crate::sys::poll::{self, PollFlags};
use crate::sys::process::{self, ChildUsage, Exit, REAPED, Reaped};
use crate::sys::{Result as SysResult, descriptor, fs, interrupt};
use crate::wire::{self, Fault, Message};

/// Where what was learnt goes, and where it is told that the member is there.
const END: i32 = 0;
const COMMAND: i32 = 1;

/// Becomes the keeper of `member`, a child: `end` gets how it ended, `command` a byte now. Every other descriptor is
/// closed, and with it every lock that this process has. Returns only where it cannot be.
pub fn keep(member: i32, end: &OwnedFd, command: &OwnedFd) -> Error {
    let errno = become_keeper(member, end, command).unwrap_or_else(|errno| errno);
    Error::errno(Stage::Process, "become the keeper of a member", errno)
}

fn become_keeper(member: i32, end: &OwnedFd, command: &OwnedFd) -> SysResult<Errno> {
    fs::chdir(c"/")?;
    // Neither has the number of the other: what brisk opens begins with 3.
    descriptor::dup_onto(end.as_fd(), END)?;
    descriptor::dup_onto(command.as_fd(), COMMAND)?;
    process::forget_caller(b"brisk: keeper");
    interrupt::cease()?;
    let fault = wire::encode(&Message::Fault(Fault::new(0, Errno::EIO)));
    let mut table = Table::new(fs::STDIN, fault, 16, 512)?;
    let (byte, record) = (table.bytes(&[0]), table.reserve(REAPED));
    last_calls::unmap_rest(&mut table, 0);
    table.call(0, Mode::MUST, libc::SYS_close_range, &[2, u64::from(u32::MAX), 0]);
    // Who has asked for the member may be gone, and it is there all the same.
    table.call(0, Mode::MAY, libc::SYS_write, &[COMMAND as u64, byte, 1]);
    table.call(0, Mode::MUST, libc::SYS_close, &[COMMAND as u64]);
    table.call(0, Mode::MUST, libc::SYS_wait4, &[member as u64, record, libc::__WALL as u64, record + 8]);
    table.call(0, Mode::MUST, libc::SYS_write, &[END as u64, record, REAPED as u64]);
    table.call(0, Mode::MUST, libc::SYS_exit_group, &[0]);
    Ok(table.finish().walk())
}

/// How a member ended, when its first process has; `None` where its keeper is gone and nobody will say it.
pub fn end_of(end: BorrowedFd<'_>, patience: Duration) -> Result<Option<(Exit, ChildUsage)>> {
    let what = || "read how the program has ended";
    if !poll::one(end, PollFlags::POLLIN, poll::within(patience)).at(Stage::Signal, what)? {
        return Ok(None);
    }
    let mut record: Reaped = [0; REAPED];
    match fs::read(end, &mut record).at(Stage::Signal, what)? {
        REAPED => Ok(Some(process::reaped(&record))),
        _ => Ok(None),
    }
}
