//! The ends of processes: SIGCHLD says that there are some, wait4(2) which.
//!
//! A shim is the subreaper of its containers: besides the processes it knows there come orphans of containers without a
//! pid namespace, which are only reaped. A container's first process may end before its pid has been read from the pid file,
//! so ends of unknown processes are kept while a runtime is about to make one.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;

use super::os::{self, Exit, Moment};
use super::reactor::{self, Event, IN};

/// How and when a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// As a shell shows it: 128 + n for a signal.
    pub status: u32,
    pub at: Moment,
}

thread_local! {
    static KNOWN: RefCell<BTreeMap<i32, Event<Ended>>> = const { RefCell::new(BTreeMap::new()) };
    static UNKNOWN: RefCell<BTreeMap<i32, Ended>> = const { RefCell::new(BTreeMap::new()) };
    static MAKERS: Cell<u32> = const { Cell::new(0) };
}

/// Ends of unknown processes are kept while this lives.
#[derive(Debug)]
pub struct Maker(());

impl Maker {
    pub fn new() -> Maker {
        MAKERS.set(MAKERS.get() + 1);
        Maker(())
    }

    /// The end of a process that a runtime has just made and left to us. Its number may have been that of an orphan a moment
    /// ago: only when it is no child of ours any more is what was kept under it this process.
    pub fn end_of(&self, pid: i32) -> Result<Event<Ended>, Errno> {
        match os::is_child(pid) {
            Ok(()) => Ok(know(pid)),
            Err(errno) => {
                let ended = UNKNOWN.with_borrow_mut(|unknown| unknown.remove(&pid)).ok_or(errno)?;
                let event = Event::new();
                event.set(ended);
                Ok(event)
            }
        }
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        MAKERS.set(MAKERS.get() - 1);
        if MAKERS.get() == 0 {
            UNKNOWN.take();
        }
    }
}

/// The end of a child that has been started in this turn of the loop, so that it cannot have been reaped.
pub fn know(pid: i32) -> Event<Ended> {
    let event = Event::new();
    KNOWN.with_borrow_mut(|known| known.insert(pid, event.clone()));
    event
}

/// The end of a child that has been started in this turn of the loop. It is killed when it is `late`.
pub async fn end_of(pid: i32, late: &Event<()>) -> Ended {
    let ended = know(pid);
    if let Some(ended) = reactor::unless(late, ended.wait()).await {
        return ended;
    }
    kill(pid, &ended);
    ended.wait().await
}

/// Kills a child, unless it has ended.
pub fn kill(pid: i32, ended: &Event<Ended>) {
    if ended.get().is_none()
        && let Err(errno) = os::kill(pid, libc::SIGKILL)
    {
        os::log("warning", &format!("process {pid}: {errno}"));
    }
}

/// Kills who is left of the process group that a child led, and waits for their ends: they are our orphans.
pub async fn end_group(leader: i32) {
    /// One of them may be kept from its end by the file system that does not answer.
    const PATIENCE: Duration = Duration::from_secs(10);
    let ends = async {
        while os::kill(-leader, libc::SIGKILL).is_ok() {
            reactor::turn().await;
        }
    };
    if reactor::within(PATIENCE, ends).await.is_none() {
        os::log("warning", &format!("process group {leader} is killed, and does not end"));
    }
}

/// Reaps until SIGTERM or SIGINT.
pub async fn run(signals: OwnedFd) {
    loop {
        let pending = match os::signal::pending(signals.as_fd()) {
            Ok(pending) => pending.map(|arrival| arrival.map_or(0, os::signal::Pending::signal)),
            Err(errno) => return os::log("error", &format!("signals cannot be read: {errno}")),
        };
        if pending.contains(&libc::SIGCHLD) {
            reap();
        }
        if pending.contains(&libc::SIGTERM) || pending.contains(&libc::SIGINT) {
            return;
        }
        if pending.iter().all(|signal| *signal == 0)
            && let Err(errno) = reactor::ready(signals.as_fd(), IN).await
        {
            return os::log("error", &format!("signals cannot be waited for: {errno}"));
        }
    }
}

fn reap() {
    // Signals of one number are merged, so one of them may stand for many ends.
    while let Ok(Some((pid, exit))) = os::wait(-1, libc::WNOHANG | libc::__WALL) {
        let ended = Ended { status: status_of(exit), at: Moment::now() };
        match KNOWN.with_borrow_mut(|known| known.remove(&pid)) {
            Some(event) => event.set(ended),
            None if MAKERS.get() > 0 => {
                UNKNOWN.with_borrow_mut(|unknown| unknown.insert(pid, ended));
            }
            None => {}
        }
    }
}

fn status_of(exit: Exit) -> u32 {
    u32::try_from(exit.status()).unwrap_or(255)
}
