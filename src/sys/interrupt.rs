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
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

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
/// Of each signal, what has come one way and may yet come the other.
static UNPAIRED: [Unpaired; 65] = [const { Unpaired::new() }; 65];
/// When the first came.
static FIRST: OnceLock<Instant> = OnceLock::new();
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
        if is_another(pending) {
            BY.store(pending.signal(), Relaxed);
            heard = Err(Errno::EINTR);
        }
    }
    heard
}

/// Whether this is another signal than one that has come the other way just before: to us, or to the command whose work we do, which
/// hands them on. What is sent to the process group, as by a terminal, comes both ways, and is one.
pub fn is_another(pending: Pending) -> bool {
    let step = if matches!(pending, Pending::Forwarded(_)) { -1 } else { 1 };
    let of_signal = usize::try_from(pending.signal()).ok().and_then(|signal| UNPAIRED.get(signal));
    of_signal.is_none_or(|unpaired| unpaired.count(step, FIRST.get_or_init(Instant::now).elapsed()))
}

/// How much more often a signal has come one way than the other.
struct Unpaired {
    /// To us, less those that were handed on.
    balance: AtomicI32,
    /// When the last of them came, in milliseconds since [`FIRST`].
    last: AtomicU64,
}

impl Unpaired {
    /// What is handed on comes at once, but for a machine that is busy. It may never come: the kernel keeps one signal of a number
    /// (signal(7)), so that both are one where we have not read the first yet; and a signal may be sent to us alone.
    const TOGETHER_MS: u64 = 2_000;

    const fn new() -> Unpaired {
        Unpaired { balance: AtomicI32::new(0), last: AtomicU64::new(0) }
    }

    /// Takes note of one, by which the balance changes so; false where it is the other half of one that was counted.
    fn count(&self, step: i32, now: Duration) -> bool {
        let now = now.as_millis() as u64;
        let expired = now.saturating_sub(self.last.load(Relaxed)) > Unpaired::TOGETHER_MS;
        let before = if expired { 0 } else { self.balance.load(Relaxed) };
        self.balance.store(before.saturating_add(step), Relaxed);
        let another = before.signum() != -step;
        if another {
            self.last.store(now, Relaxed);
        }
        another
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: i32 = 1;
    const FORWARDED: i32 = -1;

    /// What comes, as seconds and way, and which of it is another one.
    fn others(comes: &[(u64, i32)]) -> Vec<bool> {
        let unpaired = Unpaired::new();
        comes.iter().map(|(at, step)| unpaired.count(*step, Duration::from_secs(*at))).collect()
    }

    #[test]
    fn what_comes_both_ways_is_one() {
        assert_eq!(others(&[(9, SENT), (9, FORWARDED), (9, FORWARDED), (9, SENT)]), [true, false, true, false]);
        // Twice at once, in any order.
        assert_eq!(others(&[(9, SENT), (9, SENT), (10, FORWARDED), (10, FORWARDED)]), [true, true, false, false]);
        assert_eq!(others(&[(9, FORWARDED), (10, SENT), (10, SENT), (10, FORWARDED)]), [true, false, true, false]);
    }

    #[test]
    fn what_came_one_way_only_takes_nothing_from_later_ones() {
        assert_eq!(others(&[(9, SENT), (12, FORWARDED), (12, SENT)]), [true, true, false]);
        assert_eq!(others(&[(9, FORWARDED), (9, FORWARDED), (12, SENT), (15, SENT)]), [true; 4]);
        // Each signal is counted for itself.
        assert!(is_another(Pending::Signal(libc::SIGUSR1)) && is_another(Pending::Forwarded(libc::SIGUSR2)));
        assert!(!is_another(Pending::Forwarded(libc::SIGUSR1)) && !is_another(Pending::Signal(libc::SIGUSR2)));
    }
}
