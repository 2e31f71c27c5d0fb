//! Work that may never end, done by a child that can be ended: to read the maps of a process waits for whoever holds them, and to
//! read a file for the server of its file system, and both may be the container's.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use brisk::error::{Context, Result, Stage};
use brisk::sys::poll::{self, PollFlags};
use brisk::sys::process::{self, Exit};
use brisk::sys::{clone, descriptor, fs, pidfd};

/// What a killed process may take to end: whoever waits for a page or for a server does at once.
const TO_END: Duration = Duration::from_secs(1);

/// What has come of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aside {
    Done(Vec<u8>),
    /// The time was over first.
    TooLate,
    /// More than may be taken.
    TooMuch,
    /// Somebody has killed it.
    Killed,
}

/// Does it in a copy of this process, which has one thread; what it gives is taken until `by`, and no more than `most` bytes.
pub fn aside(by: Instant, most: usize, work: impl FnOnce() -> Vec<u8>) -> Result<Aside> {
    let what = || "work in a process of its own";
    let (from, to) = descriptor::pipe().at(Stage::Process, what)?;
    let parent = process::getpid();
    let Some(pid) = clone::fork().at(Stage::Process, what)? else {
        drop(from);
        // Without it an interrupted command would leave it where it waits.
        let alone = process::die_with(parent);
        let status = alone.and_then(|()| fs::write_all(to.as_fd(), &work()));
        process::exit(status.is_err().into());
    };
    drop(to);
    let mut given = Vec::new();
    let mut part = vec![0; 64 << 10];
    let end = loop {
        match poll::one(from.as_fd(), PollFlags::POLLIN, Some(by)) {
            Ok(true) => {}
            Ok(false) => break Ok(Aside::TooLate),
            Err(errno) => break Err(errno),
        }
        match fs::read(from.as_fd(), &mut part) {
            Ok(0) => break Ok(Aside::Done(given)),
            Ok(count) if given.len() + count > most => break Ok(Aside::TooMuch),
            Ok(count) => given.extend(&part[..count]),
            Err(errno) => break Err(errno),
        }
    };
    let child = pidfd::open(pid).at(Stage::Process, what)?;
    pidfd::kill(child.as_fd(), libc::SIGKILL).at(Stage::Process, what)?;
    // One that is in a system call which no signal ends is nobody's when we have ended.
    let mut exit = None;
    if poll::one(child.as_fd(), PollFlags::POLLIN, poll::within(TO_END)).at(Stage::Process, what)? {
        exit = process::wait(pid, libc::WNOHANG).at(Stage::Process, what)?.map(|(_, exit)| exit);
    }
    match end {
        // Half of it may be missing. Our own SIGKILL comes to one that is ending and has its status.
        Ok(Aside::Done(_)) if exit != Some(Exit::Code(0)) => Ok(Aside::Killed),
        end => end.at(Stage::Process, what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_end_or_is_endless_is_ended() {
        let soon = |ms| Instant::now() + Duration::from_millis(ms);
        assert_eq!(aside(soon(60_000), 10, || b"ten bytes.".to_vec()).unwrap(), Aside::Done(b"ten bytes.".to_vec()));
        assert_eq!(aside(soon(60_000), 9, || b"ten bytes.".to_vec()).unwrap(), Aside::TooMuch);
        let endless = || -> Vec<u8> {
            loop {
                let _ = poll::pause(Duration::from_secs(60));
            }
        };
        assert_eq!(aside(soon(1), 9, endless).unwrap(), Aside::TooLate);
        let killed = || {
            let me = pidfd::open(process::getpid()).unwrap();
            let _ = pidfd::kill(me.as_fd(), libc::SIGKILL);
            endless()
        };
        assert_eq!(aside(soon(60_000), 9, killed).unwrap(), Aside::Killed);
    }
}
