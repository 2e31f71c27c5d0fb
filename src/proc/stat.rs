//! /proc/PID/stat (proc_pid_stat(5)).

use std::io::{ErrorKind, Result};
use std::path::Path;

use super::file::{self, is_gone};

/// The fields that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Field 1: its number in the pid namespace of this proc.
    pub pid: i32,
    /// Field 4: its parent.
    pub parent: i32,
    /// Field 6.
    pub session: i32,
    /// Field 22: clock ticks since boot.
    pub start_time: u64,
    /// A zombie, or less, and no other thread of it runs.
    pub dead: bool,
    /// The first thread has ended, and others have not been reaped.
    outlived: bool,
    /// By a signal or a tracer.
    pub stopped: bool,
    /// By a tracer.
    pub held: bool,
    /// Whether execve(2) has made a program of what was forked.
    pub executed: bool,
    /// On its way out: it has SIGKILL before it, or has begun to exit.
    pub dying: bool,
}

/// `PF_EXITING` of include/linux/sched.h, of field 9.
const EXITING: u64 = 0x4;
/// `PF_FORKNOEXEC`, of the same.
const FORKED: u64 = 0x40;
/// SIGKILL among the pending signals, field 31. complete_signal() of kernel/signal.c gives it to every thread.
const KILLED: u64 = 1 << (libc::SIGKILL - 1);

/// Reads that of a process; `None` when there is no such process.
pub fn read(pid: i32) -> Result<Option<Stat>> {
    let Some(mut stat) = read_file(format!("/proc/{pid}/stat"))? else { return Ok(None) };
    if stat.outlived && !any_thread_runs(pid)? {
        (stat.dead, stat.dying) = (true, true);
    }
    Ok(Some(stat))
}

/// Reads our own; `None` where this proc does not have us.
pub fn read_own() -> Result<Option<Stat>> {
    read_file("/proc/self/stat")
}

/// Whether a thread of a process runs. One that has ended is there until whoever traces it has heard of that, and the process with it:
/// no pidfd says until then that it has ended (ptrace(2)).
fn any_thread_runs(pid: i32) -> Result<bool> {
    let threads = match std::fs::read_dir(format!("/proc/{pid}/task")) {
        Err(error) if is_gone(&error) => return Ok(false),
        threads => threads?,
    };
    for thread in threads {
        let thread = match thread {
            Err(error) if is_gone(&error) => return Ok(false),
            thread => thread?.path().join("stat"),
        };
        // This file is about one thread, but for the number of them.
        if read_file(thread)?.is_some_and(|stat| !stat.dead && !stat.outlived) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn read_file(path: impl AsRef<Path>) -> Result<Option<Stat>> {
    match file::read_record(path) {
        Err(error) if is_gone(&error) => Ok(None),
        text => parse(&text?).map(Some).ok_or_else(|| ErrorKind::InvalidData.into()),
    }
}

/// The children of a process, whose numbers hold until it has reaped them. None of one that has ended, and none where the
/// kernel was built without CONFIG_PROC_CHILDREN.
pub fn children(pid: i32) -> Result<Vec<i32>> {
    match file::read_text(format!("/proc/{pid}/task/{pid}/children")) {
        Err(error) if is_gone(&error) => Ok(Vec::new()),
        text => Ok(text?.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()),
    }
}

/// How a process has ended whom its parent has not reaped, as wait(2) has it: field 52. `None` where nobody tells us.
pub fn exit_status(pid: i32) -> Result<Option<i32>> {
    let text = match file::read_record(format!("/proc/{pid}/stat")) {
        Err(error) if is_gone(&error) => return Ok(None),
        text => text?,
    };
    let last = text.trim_ascii_end().rsplit(|byte| *byte == b' ').next();
    let status = last.and_then(|word| std::str::from_utf8(word).ok()?.parse().ok()).ok_or(ErrorKind::InvalidData)?;
    // 0 is also what they are told who may not look (ptrace(2), "Ptrace access mode checking"), and they may not read this link.
    let told = status != 0 || std::fs::read_link(format!("/proc/{pid}/ns/user")).is_ok();
    Ok(told.then_some(status))
}

/// Fields 1, 3, 4, 6, 9, 20, 22 and 31. The second field is the program's name in parentheses, which may itself contain anything.
fn parse(text: &[u8]) -> Option<Stat> {
    let pid = std::str::from_utf8(text.split(|byte| *byte == b' ').next()?).ok()?.parse().ok()?;
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(&text[end + 1..]).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let (stopped, held) = (matches!(state, "T" | "t"), state == "t");
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    let mut number = |skipped: usize| fields.nth(skipped)?.parse::<u64>().ok();
    let (flags, threads, start_time, pending) = (number(2)?, number(10)?, number(1)?, number(8)?);
    // A process is there as long as one of its threads runs; this is the first one's state, which may have ended before.
    let outlived = state == "Z" && threads > 1;
    let dead = matches!(state, "Z" | "X" | "x") && !outlived;
    let dying = flags & EXITING != 0 && !outlived || pending & KILLED != 0;
    let executed = flags & FORKED == 0;
    Some(Stat { pid, parent, session, start_time, dead, outlived, stopped, held, executed, dying })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_name_may_contain_anything() {
        let rest = "S 1 2 3 4 5 0 7 8 9 10 11 12 13 14 15 16 1 18 4242 20 21 22 23 24 25 26 27 0 29 30";
        let stat = parse(format!("77 (a) Z 1 (b) {rest}").as_bytes()).unwrap();
        assert_eq!((stat.pid, stat.parent, stat.session, stat.start_time), (77, 1, 3, 4242));
        assert!(!stat.dead && !stat.stopped && !stat.dying);
        assert!(
            stat.executed
                && !parse(format!("77 (x) {}", rest.replace(" 5 0 7", " 5 64 7")).as_bytes()).unwrap().executed
        );
        assert!(parse(b"77 (x) Z 1").is_none());
        assert!(parse(format!("77 (x) {}", rest.replace('S', "Z")).as_bytes()).unwrap().dead);
        assert!(parse(format!("77 (x) {}", rest.replace('S', "T")).as_bytes()).unwrap().stopped);
        // The first thread has ended (its flags say so), another has not.
        let outlived = rest.replace('S', "Z").replace(" 5 0 7", " 5 4 7").replace(" 16 1 18", " 16 2 18");
        let stat = parse(format!("77 (x) {outlived}").as_bytes()).unwrap();
        assert!(!stat.dead && !stat.dying);
        for dying in [rest.replace(" 5 0 7", " 5 4 7"), rest.replace(" 27 0 29", " 27 256 29")] {
            assert!(parse(format!("77 (x) {dying}").as_bytes()).unwrap().dying);
        }
    }
}
