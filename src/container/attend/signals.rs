//! Signals that are sent to us are the program's.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::announcement::Announcement;
use super::watch::{Watch, WatchedProgram};
use crate::error::{Context, Result, Stage};
use crate::sys::signal::{self, Pending};
use crate::sys::{interrupt, pidfd, process};

/// From now on signals are read from a descriptor. Before the clone, so that none is lost.
pub(in crate::container) fn take() -> Result<OwnedFd> {
    signal::take_all().at(Stage::Signal, || "take the signals")
}

/// What of the signals concerns us.
#[derive(Default)]
pub(super) struct News {
    /// The window has another size.
    pub resized: bool,
    /// We were stopped.
    pub continued: bool,
    /// One was passed on, or could not be since nobody is there any more.
    pub passed: bool,
}

/// Passes pending signals on and reaps whoever else was adopted.
pub(super) fn pass(
    program: WatchedProgram<'_>,
    signals: BorrowedFd<'_>,
    mut watch: Option<&mut Watch>,
) -> Result<News> {
    let mut heard = News::default();
    let mut more = true;
    while more {
        let arrivals = signal::pending(signals).at(Stage::Signal, || "read the signals")?;
        more = !arrivals.contains(&None);
        for arrival in arrivals.into_iter().flatten() {
            match (arrival, arrival.signal()) {
                (Pending::Announcement(number), _) => {
                    // Only who has a watch is told something.
                    if let Some(watch) = &mut watch {
                        Announcement::of(number).into_iter().for_each(|said| watch.hear(said));
                    }
                }
                (_, libc::SIGCHLD) => reap_others(program.process.pid),
                // It is of the caller's terminal; the program hears of its own, and without one of none, as with runc and crun.
                (_, libc::SIGWINCH) => heard.resized = true,
                // Of what we have written ourselves.
                (_, libc::SIGPIPE | libc::SIGXFSZ) => {}
                (_, signal) if interrupt::is_another(arrival) => {
                    heard.continued |= signal == libc::SIGCONT;
                    // To one that has ended, too: its status is about to be read.
                    let what = || format!("pass signal {signal} on");
                    pidfd::signal(program.process.pidfd.as_fd(), signal).at(Stage::Signal, what)?;
                    if let Some(watch) = &mut watch {
                        watch.passed(signal);
                    }
                    heard.passed = true;
                }
                _ => {}
            }
        }
    }
    Ok(heard)
}

/// Orphans of the container that came to us as their subreaper.
fn reap_others(init: i32) {
    let peek = libc::WNOHANG | libc::WEXITED | libc::WNOWAIT;
    while let Ok(Some(pid)) = process::peek_dead(peek) {
        // The one that is waited for is reaped where its status is wanted.
        if pid == init || process::wait(pid, libc::WNOHANG).is_err() {
            return;
        }
    }
}
