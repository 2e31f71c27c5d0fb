//! What one command tells whoever stays with a program, before it does it.

use crate::sys::process::monotonic_ns;

/// What another command says to whoever waits for the program ([`crate::sys::pidfd::announce`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::container) enum Announcement {
    /// The program is about to be started, now: nanoseconds of the monotonic clock.
    Started(u64),
    /// The start that was announced has failed.
    NotStarted,
    /// This signal is about to be sent to the program.
    Signal(i32),
    /// The program is about to be killed, and nothing of its container will stay.
    Deleted,
}

impl Announcement {
    /// Beyond every signal.
    const DELETED: u64 = 65;
    const NOT_STARTED: u64 = 66;
    /// What is more is a time: no machine has started a program so soon.
    const TIMES: u64 = 1 << 16;

    /// The program is about to be started.
    pub fn started() -> Announcement {
        Announcement::Started(monotonic_ns())
    }

    /// As a number.
    pub fn number(self) -> u64 {
        match self {
            Announcement::Started(at) => at.max(Announcement::TIMES),
            Announcement::NotStarted => Announcement::NOT_STARTED,
            Announcement::Signal(signal) => u64::from(signal.unsigned_abs()),
            Announcement::Deleted => Announcement::DELETED,
        }
    }

    /// The inverse; `None` for what a later brisk may say.
    pub fn of(number: u64) -> Option<Announcement> {
        match number {
            1..Announcement::DELETED => Some(Announcement::Signal(number as i32)),
            Announcement::DELETED => Some(Announcement::Deleted),
            Announcement::NOT_STARTED => Some(Announcement::NotStarted),
            Announcement::TIMES.. => Some(Announcement::Started(number)),
            _ => None,
        }
    }
}
