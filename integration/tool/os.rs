//! The raw system calls that neither std nor nix offers; nothing else of these tools is unsafe.
#![allow(unsafe_code, reason = "wait4 and prctl have no safe wrapper in std or in the nix features this crate enables")]

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What wait4 said of one child.
#[derive(Clone, Copy, Debug)]
pub struct Reaped {
    pub pid: i32,
    pub status: i32,
    pub max_rss_kb: i64,
    pub minor_faults: i64,
    pub major_faults: i64,
}

/// Waits for one child (`-1`: any) and returns what it used.
pub fn wait4(pid: i32, options: i32) -> io::Result<Option<Reaped>> {
    let mut status = 0;
    // SAFETY: rusage is plain integers, for which all zeroes is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live locals of the types wait4 writes.
    let got = unsafe { libc::wait4(pid, &raw mut status, options, &raw mut usage) };
    match got {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => Ok(Some(Reaped {
            pid,
            status,
            max_rss_kb: usage.ru_maxrss,
            minor_faults: usage.ru_minflt,
            major_faults: usage.ru_majflt,
        })),
    }
}

/// Waits at most `limit` for `pid`; `None` when the time is over.
pub fn wait4_within(pid: i32, limit: Duration) -> io::Result<Option<Reaped>> {
    let end = Instant::now() + limit;
    let fd = pidfd(pid)?;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd, live for the call.
        let ready = unsafe { libc::poll(&raw mut poll, 1, left.as_millis() as i32) };
        if ready < 0 && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted {
            continue;
        }
        // SAFETY: fd was returned by pidfd_open above and is closed once.
        unsafe { libc::close(fd) };
        return if ready > 0 { wait4(pid, 0) } else { Ok(None) };
    }
}

fn pidfd(pid: i32) -> io::Result<i32> {
    // SAFETY: pidfd_open takes two integers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(fd as i32) }
}

/// Sends a signal; an error (the process is gone) is returned, not raised.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    assert!(pid > 1, "kill({pid}) would reach strangers");
    // SAFETY: kill takes two integers.
    if unsafe { libc::kill(pid, signal) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Orphans of the runtimes (containers' inits) become children of this process, as of a shim.
pub fn become_subreaper() -> io::Result<()> {
    // SAFETY: this prctl takes integers only.
    if unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

static ASKED_TO_STOP: AtomicBool = AtomicBool::new(false);

extern "C" fn ask_to_stop(_: i32) {
    ASKED_TO_STOP.store(true, Ordering::Relaxed);
}

/// From now on SIGINT and SIGTERM are only noted. What is executed begins with their default again.
pub fn note_interrupts() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let handler = ask_to_stop as extern "C" fn(i32);
        // SAFETY: the handler stores to an atomic, which is async-signal-safe.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}

/// Whether one has come.
pub fn interrupted() -> bool {
    ASKED_TO_STOP.load(Ordering::Relaxed)
}
