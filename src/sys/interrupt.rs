//! Being asked to end while something is waited for: SIGHUP, SIGINT, SIGQUIT and SIGTERM.
//!
//! Until a wait lasts ([`WAIT`]) these signals have their own action, which ends us where we are: nothing that a command does in
//! so short a time is worth a system call to each that does it. From then on they are taken, for the rest of the command, and
//! whatever waits ([`super::poll`]) fails with EINTR when one has come, by which the command fails as by any other error: what it
//! has done is undone, and the error is told. Nothing else fails with EINTR.
//!
//! What undoes it may wait, too ([`undo`]): a wait that has an end of its own is not cut short any more, one that has none is by
//! the next signal. Once a program runs in our foreground the signals are for that ([`hand_over`]).

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use nix::errno::Errno;

use super::Result;
use super::signal::{self, Pending};

/// A wait of this length is one that somebody may want to end.
pub const WAIT: Duration = Duration::from_millis(50);

/// The descriptor that the signals are read from; or one of these. It stays open.
static SIGNALS: AtomicI32 = AtomicI32::new(NOT_YET);
const NOT_YET: i32 = -1;
/// A child, which ends with its parent; or they are somebody else's.
const NEVER: i32 = -2;
/// The signal that has come; 0 for none.
static BY: AtomicI32 = AtomicI32::new(0);
/// How many have come: to us, and to the command whose work we do, which hands them on. What a terminal sends to the process group comes
/// both ways, and is one.
static SENT: AtomicU32 = AtomicU32::new(0);
static FORWARDED: AtomicU32 = AtomicU32::new(0);
/// What was done is being undone.
static UNDOES: AtomicBool = AtomicBool::new(false);
/// Milliseconds that were spent in short waits.
static PAUSED: AtomicU64 = AtomicU64::new(0);

/// Takes the signals, but for those that the caller has us ignore. Where that fails they keep their own action.
pub fn listen() {
    if SIGNALS.load(Relaxed) == NOT_YET {
        SIGNALS.store(signal::take_those_that_ask_to_end().unwrap_or(NEVER), Relaxed);
    }
}

/// Leaves them to somebody else: in a new child to its parent; for the rest of a command to who passes them on to a program, so that
/// no wait is cut short any more and none of them is taken from the program. They stay as they are, blocked or not.
pub fn hand_over() {
    SIGNALS.store(NEVER, Relaxed);
}

/// What follows undoes what was done, for whatever reason.
pub fn undo() {
    UNDOES.store(true, Relaxed);
}

/// Gives them back, for a process that becomes something else.
pub fn cease() -> Result<()> {
    if SIGNALS.swap(NEVER, Relaxed) < 0 { Ok(()) } else { signal::unblock() }
}

/// Whether [`listen`] has yet to be called.
pub(super) fn may_listen() -> bool {
    SIGNALS.load(Relaxed) == NOT_YET
}

/// Whether [`listen`] was called.
pub fn listens() -> bool {
    SIGNALS.load(Relaxed) >= 0
}

/// The signal that has ended a wait.
pub fn by() -> Option<i32> {
    Some(BY.load(Relaxed)).filter(|signal| *signal != 0)
}

/// What that signal is called.
pub fn words() -> Option<&'static str> {
    by().map(signal::words)
}

/// What becomes readable when one comes, for a wait that has no end of its own.
pub(super) fn source() -> Option<BorrowedFd<'static>> {
    let fd = SIGNALS.load(Relaxed);
    // SAFETY: it was opened by `listen`, and nobody closes it.
    (fd >= 0).then(|| unsafe { BorrowedFd::borrow_raw(fd) })
}

/// [`source`] for one that has.
pub(super) fn source_of_bounded() -> Option<BorrowedFd<'static>> {
    if by().is_none() && !UNDOES.load(Relaxed) { source() } else { None }
}

/// Takes what has come: EINTR then, if it is not what has come the other way before.
pub(super) fn heed(source: BorrowedFd<'_>) -> Result<()> {
    let mut heard = Ok(());
    for pending in signal::pending(source)?.into_iter().flatten() {
        let (this, other) = match pending {
            Pending::Forwarded(_) => (&FORWARDED, &SENT),
            Pending::Signal(_) | Pending::Announcement(_) => (&SENT, &FORWARDED),
        };
        if this.fetch_add(1, Relaxed) >= other.load(Relaxed) {
            BY.store(pending.signal(), Relaxed);
            heard = Err(Errno::EINTR);
        }
    }
    heard
}

/// For who waits in short pieces: EINTR when one has come.
pub fn look() -> Result<()> {
    listen();
    source_of_bounded().map_or(Ok(()), heed)
}

/// Somebody whom we waited for has been ended by this signal. What is sent to the process group ends him, too, and may be seen so first:
/// EINTR then, and it is not heard once more.
pub fn shared(signal: i32) -> Result<()> {
    let source = if signal::ASKS_TO_END.contains(&signal) { source() } else { None };
    source.map_or(Ok(()), heed)
}

/// So much time goes by in one of many short waits.
pub(super) fn paused(time: Duration) {
    let before = PAUSED.fetch_add(time.as_millis() as u64, Relaxed);
    if Duration::from_millis(before) >= WAIT {
        listen();
    }
}
