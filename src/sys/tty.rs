//! Pseudo-terminals: opening them, their size, and raw mode for the foreground.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::descriptor;
use super::fs::{self, own};
use super::{Result, cvt, done, raw};
use super::{process, signal};

/// Opens a new pseudo-terminal through the `ptmx` at `path` below `root`; returns master and slave. The slave
/// comes from TIOCGPTPEER (Linux 4.13), so no name in the container is trusted (CVE-2025-52565).
pub fn open_pty(root: BorrowedFd<'_>, path: &CStr) -> Result<(OwnedFd, OwnedFd)> {
    let found = fs::open2(root, path, libc::O_PATH, 0, fs::IN_ROOT)?;
    check_ptmx(found.as_fd())?;
    let master = fs::open2(root, path, libc::O_RDWR | libc::O_NOCTTY | libc::O_NONBLOCK, 0, fs::IN_ROOT)?;
    // Looked at before, so that nothing else is opened if the image says so; and after, in case it was swapped.
    check_ptmx(master.as_fd())?;
    descriptor::set_blocking(master.as_fd())?;
    let unlock: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads one int.
    done(unsafe { raw!(SYS_ioctl, master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlock) })?;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes open flags by value.
    let slave = cvt(unsafe { raw!(SYS_ioctl, master.as_raw_fd(), libc::TIOCGPTPEER, flags) }).map(own)?;
    Ok((master, slave))
}

/// The multiplexer of some devpts: character device 5:2.
fn check_ptmx(fd: BorrowedFd<'_>) -> Result<()> {
    let stat = fs::stat(fd)?;
    let is = fs::kind(&stat) == libc::S_IFCHR && stat.st_rdev == libc::makedev(5, 2);
    if is { Ok(()) } else { Err(nix::errno::Errno::ENOTTY) }
}

/// TIOCSWINSZ.
pub fn set_size(tty: BorrowedFd<'_>, rows: u16, columns: u16) -> Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one winsize.
    done(unsafe { raw!(SYS_ioctl, tty.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) })
}

/// TIOCGWINSZ: rows and columns.
pub fn size(tty: BorrowedFd<'_>) -> Result<(u16, u16)> {
    let mut size = MaybeUninit::<libc::winsize>::zeroed();
    // SAFETY: TIOCGWINSZ fills one winsize.
    done(unsafe { raw!(SYS_ioctl, tty.as_raw_fd(), libc::TIOCGWINSZ, size.as_mut_ptr()) })?;
    // SAFETY: plain data that was zeroed and then filled by the kernel.
    let size = unsafe { size.assume_init() };
    Ok((size.ws_row, size.ws_col))
}

/// TIOCSCTTY: it becomes the controlling terminal of our session, whose leader we have to be.
pub fn set_controlling(tty: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: TIOCSCTTY takes a number by value.
    done(unsafe { raw!(SYS_ioctl, tty.as_raw_fd(), libc::TIOCSCTTY, 0) })
}

/// Whether we may use this terminal now, by the rules of jobs (TIOCGPGRP): our process group has it. They do not hold for what is no
/// terminal of our session, or is gone.
pub fn is_ours(tty: BorrowedFd<'_>) -> bool {
    let mut group: libc::pid_t = 0;
    // SAFETY: TIOCGPGRP fills one pid_t.
    let found = done(unsafe { raw!(SYS_ioctl, tty.as_raw_fd(), libc::TIOCGPGRP, &raw mut group) });
    found.is_err() || group == process::getpgrp()
}

/// Whose turn it is to use a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Ours.
    Ours,
    /// Nobody's any more: by this signal somebody has asked us to end while it was another's. It is still pending.
    Over(i32),
    /// Never: our process group is orphaned.
    Never,
}

/// Waits until these terminals are ours, for who has taken all signals: stopped, as the kernel stops who uses one in the background and
/// has not (SIGTTOU; termios(3), tcsetpgrp(3)).
pub fn await_turn(ttys: &[BorrowedFd<'_>]) -> Result<Turn> {
    while !ttys.iter().all(|tty| is_ours(*tty)) {
        signal::stop_group(libc::SIGTTOU)?;
        let pending = signal::pending_mask()?;
        let came = |signal: &i32| pending >> (signal - 1) & 1 == 1;
        if let Some(end) = signal::ASKS_TO_END.into_iter().find(came) {
            return Ok(Turn::Over(end));
        }
        if !came(&libc::SIGCONT) {
            return Ok(Turn::Never);
        }
    }
    Ok(Turn::Ours)
}

/// Whether the descriptor is a terminal.
pub fn is_tty(fd: BorrowedFd<'_>) -> bool {
    attributes(fd).is_ok()
}

/// Turns the translation of LF into CR LF off.
pub fn keep_newlines(tty: BorrowedFd<'_>) -> Result<()> {
    let mut termios = attributes(tty)?;
    termios.c_oflag &= !libc::ONLCR;
    set_attributes(tty, &termios)
}

/// tcgetattr(3).
pub fn attributes(tty: BorrowedFd<'_>) -> Result<libc::termios> {
    let mut termios = MaybeUninit::<libc::termios>::zeroed();
    // SAFETY: `termios` is writable memory of the right size.
    done(unsafe { libc::tcgetattr(tty.as_raw_fd(), termios.as_mut_ptr()) }.into())?;
    // SAFETY: plain data that was zeroed and then filled by the C library.
    Ok(unsafe { termios.assume_init() })
}

/// tcsetattr(3), at once.
pub fn set_attributes(tty: BorrowedFd<'_>, termios: &libc::termios) -> Result<()> {
    // SAFETY: `termios` is a whole termios.
    done(unsafe { libc::tcsetattr(tty.as_raw_fd(), libc::TCSANOW, termios) }.into())
}

/// cfmakeraw(3), but for the processing of output: what comes from the container's terminal ends its lines in LF
/// alone (`keep_newlines`), and it is ours that turns them into CR LF. Returns what to restore.
pub fn make_raw(tty: BorrowedFd<'_>) -> Result<libc::termios> {
    let before = attributes(tty)?;
    let mut raw = before;
    // SAFETY: `raw` is a whole termios.
    unsafe { libc::cfmakeraw(&raw mut raw) };
    raw.c_oflag |= before.c_oflag & libc::OPOST;
    set_attributes(tty, &raw)?;
    Ok(before)
}
