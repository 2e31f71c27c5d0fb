//! The machine code, walked by a forked child. Also runs under qemu-user, which has no clone3 and no namespaces.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::mem::offset_of;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use super::super::socket::{self, RECORD, WireRecord};
use super::super::{descriptor, fs};
use super::{Block, Complaint, HEADER_AT, Mode, SECOND_AT, Table};

const WRITTEN: usize = 4096;

/// Forks a child that enters the block; what it wrote to the pipe, and its exit status.
fn walk(block: &Block, pipe: (OwnedFd, OwnedFd)) -> (String, i32) {
    // SAFETY: the child makes raw system calls only.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        block.walk();
        // SAFETY: ends the child, which must not return into the test.
        unsafe { libc::_exit(99) };
    }
    assert!(pid > 0, "fork");
    drop(pipe.1);
    let mut status = 0;
    // SAFETY: `status` is an int that outlives the call.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    // To the end: what the child launched may still be writing.
    let (mut text, mut some) = (Vec::new(), [0; 256]);
    loop {
        match nix::unistd::read(&pipe.0, &mut some).unwrap() {
            0 => break,
            length => text.extend(&some[..length]),
        }
    }
    (String::from_utf8(text).unwrap(), libc::WEXITSTATUS(status))
}

fn pipe() -> (OwnedFd, OwnedFd) {
    nix::unistd::pipe().unwrap()
}

fn number(record: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(record[at..at + 4].try_into().unwrap())
}

fn kind(record: &[u8]) -> u32 {
    number(record, offset_of!(WireRecord, kind))
}

fn op(record: &[u8]) -> u32 {
    number(record, offset_of!(WireRecord, op))
}

/// An errno, or the number that goes with the kind.
fn value(record: &[u8]) -> u32 {
    number(record, offset_of!(WireRecord, value))
}

#[test]
fn a_program_that_cannot_be_executed_is_said_and_reported() {
    for (path, errno, said) in
        [(&b"/does/not/exist\0"[..], libc::ENOENT, "not there\n"), (b"/\0", libc::EACCES, "anything else\n")]
    {
        let (ours, theirs) = socket::pair().unwrap();
        let pipe = pipe();
        let mut table = Table::new(theirs.as_fd(), [7; RECORD], 8, WRITTEN).unwrap();
        let path = table.bytes(path);
        let none = table.words(&[0]);
        let texts: [&[u8]; 3] = [b"not a program\n", b"not there\n", b"anything else\n"];
        let [first, second, last] = texts.map(|text| (table.bytes(text), text.len() as u64));
        let complaints = [(libc::ENOEXEC, first), (libc::ENOENT, second), (0, last)];
        let complaints =
            table.complaints(&complaints.map(|(errno, (text, len))| Complaint { errno: errno as u64, text, len }));
        table.call(1, Mode::MUST, libc::SYS_dup3, &[pipe.1.as_raw_fd() as u64, 2, 0]);
        table.call(2, Mode::MAY, libc::SYS_close, &[u64::from(u32::MAX)]);
        table.call(3, Mode::MUST.and(Mode::SAY), libc::SYS_execve, &[path, none, none, complaints]);
        let (text, status) = walk(&table.finish(), pipe);
        assert_eq!((text.as_str(), status), (said, 255));
        let mut record = [0; RECORD];
        let (length, _) = socket::receive(ours.as_fd(), &mut record).unwrap();
        assert_eq!((length, op(&record), value(&record)), (RECORD, 3, errno as u32));
        assert_eq!(kind(&record), u32::from_ne_bytes([7; 4]), "the kind of the record stays");
    }
}

#[test]
fn results_are_stored_and_the_launcher_reports_its_child() {
    const COPY: u64 = b'd' as u64;
    let (ours, theirs) = socket::pair().unwrap();
    let pipe = pipe();
    let mut table = Table::new(theirs.as_fd(), [7; RECORD], 8, WRITTEN).unwrap();
    table.set_spare(&[9; RECORD]);
    let text = table.bytes(b"through a copy\n");
    table.call(0, Mode::FORK, libc::SYS_clone, &[libc::SIGCHLD as u64]);
    let stored = table.reserve(8);
    table.call(1, Mode::STORE, libc::SYS_dup3, &[pipe.1.as_raw_fd() as u64, COPY, 0, stored]);
    table.call(1, Mode::MUST, libc::SYS_write, &[COPY, text, 15]);
    table.call(1, Mode::MUST, libc::SYS_write, &[pipe.1.as_raw_fd() as u64, stored, 1]);
    // The launcher ends with 0; its child goes on to the end of the table.
    let (written, status) = walk(&table.finish(), pipe);
    let mut record = [0; RECORD];
    let (length, _) = socket::receive(ours.as_fd(), &mut record).unwrap();
    assert_eq!((status, length), (0, RECORD));
    assert_eq!(written, "through a copy\nd", "the text, and the stored number of the copy");
    assert!(value(&record) > 1, "the pid of the launched: {}", value(&record));
    assert_eq!(kind(&record), u32::from_ne_bytes([9; 4]));
}

/// The first table takes the second block from a socket; what that says is done, and told by its own wire.
#[test]
fn a_second_block_is_gone_on_with() {
    let (ours, theirs) = socket::pair().unwrap();
    let (sender, receiver) = socket::pair().unwrap();
    let pipe = pipe();
    let spare = descriptor::dup(receiver.as_fd(), 100).unwrap();
    // The lowest numbers that are free are known where everything from one on is closed.
    let mut first = Table::new(theirs.as_fd(), [7; RECORD], 8, WRITTEN).unwrap();
    first.call(0, Mode::MUST, libc::SYS_close_range, &[3, 99, 0]);
    // The child is a copy of the process that has written the second block; one that has left the runtime has no mapping there.
    first.call(0, Mode::MUST, libc::SYS_munmap, &[SECOND_AT as u64, 1 << 20]);
    first.go_on(1, spare.as_raw_fd(), 3, 2);

    let file = fs::memfd(c"test").unwrap();
    let mut second = Table::second(file.as_fd(), 5, [9; RECORD], 8, WRITTEN).unwrap();
    let text = second.bytes(b"from the second block\n");
    second.call(4, Mode::MUST, libc::SYS_write, &[0, text, 1]);
    second.call(5, Mode::MUST, libc::SYS_write, &[4, text, 22]);
    second.call(6, Mode::MUST, libc::SYS_close, &[u64::from(u32::MAX)]);
    let mut second = second.finish();
    second.leave_out(4);
    let length = second.used_len() as u64;
    let (our_wire, their_wire) = socket::pair().unwrap();
    socket::send_fds(sender.as_fd(), &length.to_ne_bytes(), &[file.as_fd(), pipe.1.as_fd(), their_wire.as_fd()])
        .unwrap();
    let (text, status) = walk(&first.finish(), pipe);
    assert_eq!((text.as_str(), status), ("from the second block\n", 255));
    let mut record = [0; RECORD];
    let (length, _) = socket::receive(our_wire.as_fd(), &mut record).unwrap();
    assert_eq!((length, op(&record), value(&record)), (RECORD, 6, libc::EBADF as u32));
    assert_eq!(kind(&record), u32::from_ne_bytes([9; 4]), "the second block's own record");
    drop(ours);
}

#[test]
fn an_answer_that_does_not_come_is_a_fault() {
    let (ours, theirs) = socket::pair().unwrap();
    let (asked, answers) = socket::pair().unwrap();
    let pipe = pipe();
    let mut table = Table::new(theirs.as_fd(), [7; RECORD], 8, WRITTEN).unwrap();
    let room = table.reserve(8);
    drop(answers);
    table.call(1, Mode::SOME, libc::SYS_read, &[asked.as_raw_fd() as u64, room, 8]);
    let (_, status) = walk(&table.finish(), pipe);
    let mut record = [0; RECORD];
    socket::receive(ours.as_fd(), &mut record).unwrap();
    assert_eq!((status, op(&record), value(&record)), (255, 1, libc::EPIPE as u32));
}

#[test]
fn the_runtime_also_takes_an_answer_that_does_not_come_for_a_fault() {
    let (_ours, theirs) = socket::pair().unwrap();
    let (asked, answers) = socket::pair().unwrap();
    let mut table = Table::new(theirs.as_fd(), [7; RECORD], 8, WRITTEN).unwrap();
    let room = table.reserve(8);
    drop(answers);
    table.call(1, Mode::SOME, libc::SYS_read, &[asked.as_raw_fd() as u64, room, 8]);
    assert_eq!(table.finish().run_op(1), Err(nix::errno::Errno::EPIPE));
}

#[test]
fn the_block_is_made_of_whole_pages_of_this_kernel() {
    let page = usize::try_from(nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).unwrap().unwrap()).unwrap();
    let (_ours, theirs) = socket::pair().unwrap();
    let table = Table::new(theirs.as_fd(), [7; RECORD], 8, WRITTEN).unwrap();
    let (low, high) = table.bounds();
    let (code, header) = (low as usize, low as usize + HEADER_AT);
    for address in [low as usize, high as usize, code, header] {
        assert_eq!(address % page, 0, "{address:#x} with pages of {page}");
    }
    // Whatever page size this machine has, an arm64 kernel may have one of 64 KiB.
    assert!(cfg!(not(target_arch = "aarch64")) || header - code == 64 << 10, "{code:#x} {header:#x}");
}
