//! Signals: what a process does on them, and reading them from a descriptor (signalfd(2)) in the foreground.

use std::mem::offset_of;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use nix::errno::Errno;

use super::fs::own;
use super::{Result, cvt, done, raw};

/// Blocks every signal and returns a descriptor, non-blocking, that they are read from.
pub fn take_all() -> Result<OwnedFd> {
    let all = u64::MAX;
    // SAFETY: the mask is 8 readable bytes.
    done(unsafe { raw!(SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const all, ptr::null_mut::<u64>(), 8) })?;
    descriptor(all)
}

/// signalfd(2).
fn descriptor(mask: u64) -> Result<OwnedFd> {
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: the mask is 8 readable bytes.
    cvt(unsafe { raw!(SYS_signalfd4, -1, &raw const mask, 8, flags) }).map(own)
}

/// The signals that are pending, as a mask whose bit 0 is signal 1; none of them is taken away (rt_sigpending(2)).
pub(super) fn pending_mask() -> Result<u64> {
    let mut mask = 0u64;
    // SAFETY: the mask is 8 writable bytes.
    done(unsafe { raw!(SYS_rt_sigpending, &raw mut mask, 8) })?;
    Ok(mask)
}

/// How many signals [`pending`] reads at most.
pub const AT_ONCE: usize = 8;

/// The signal by which another command of ours announces something ([`super::pidfd::announce`]); without
/// [`ANNOUNCEMENT_CODE`] it is one like others.
pub(super) const ANNOUNCEMENT: i32 = 64;
/// `si_code` of an announcement: below 0, as the kernel wants what a process says (rt_sigqueueinfo(2)), and nobody else's.
pub(super) const ANNOUNCEMENT_CODE: i32 = -0x42;

/// `si_code` of a signal that a command of ours has got and hands on to the process that does its work ([`forward`]).
pub(super) const FORWARDED_CODE: i32 = -0x43;

/// `si_code` of what the kernel sends (sigaction(2)).
const SI_KERNEL: i32 = 0x80;

/// What is read from the descriptor of [`take_all`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending {
    /// This signal.
    Signal(i32),
    /// This signal, which the kernel has sent: as a rule to a whole process group, because of its terminal.
    OfKernel(i32),
    /// This signal, which was sent to the command whose work we do. Whoever sent it to the process group, as a terminal does, has
    /// sent it to us as well.
    Forwarded(i32),
    /// The number of what is announced.
    Announcement(u64),
}

impl Pending {
    /// The signal that it came by.
    pub fn signal(self) -> i32 {
        match self {
            Pending::Signal(signal) | Pending::OfKernel(signal) | Pending::Forwarded(signal) => signal,
            Pending::Announcement(_) => ANNOUNCEMENT,
        }
    }
}

/// What is pending; as much as there is room for, and there may be more.
pub fn pending(fd: BorrowedFd<'_>) -> Result<[Option<Pending>; AT_ONCE]> {
    const SIZE: usize = size_of::<libc::signalfd_siginfo>();
    let mut info = [0u8; AT_ONCE * SIZE];
    // SAFETY: `info` is writable for its length, which is that of some whole signalfd_siginfo.
    let read = match cvt(unsafe { raw!(SYS_read, fd.as_raw_fd(), info.as_mut_ptr(), info.len()) }) {
        Err(Errno::EAGAIN | Errno::EINTR) => 0,
        read => read? as usize,
    };
    let mut arrivals = [None; AT_ONCE];
    for (arrival, info) in arrivals.iter_mut().zip(info[..read].chunks_exact(SIZE)) {
        let word = |at: usize| i32::from_ne_bytes([info[at], info[at + 1], info[at + 2], info[at + 3]]);
        let signal = word(offset_of!(libc::signalfd_siginfo, ssi_signo));
        let code = word(offset_of!(libc::signalfd_siginfo, ssi_code));
        let number = || {
            let at = offset_of!(libc::signalfd_siginfo, ssi_ptr);
            let bytes = info[at..].first_chunk().copied().unwrap_or_default();
            Pending::Announcement(u64::from_ne_bytes(bytes))
        };
        *arrival = Some(match (signal, code) {
            (ANNOUNCEMENT, ANNOUNCEMENT_CODE) => number(),
            (_, FORWARDED_CODE) => Pending::Forwarded(signal),
            (_, SI_KERNEL) => Pending::OfKernel(signal),
            _ => Pending::Signal(signal),
        });
    }
    Ok(arrivals)
}

/// Gives the signals of the mask, whose bit 0 is signal 1, their default action: those that are ignored.
/// `CLONE_CLEAR_SIGHAND` does it for handled signals, not for ignored ones, and both we and some engines ignore some.
pub fn set_default(ignored: u64) -> Result<()> {
    set_default_but(ignored, None)
}

/// The signals by which somebody asks a process to end.
pub const ASKS_TO_END: [i32; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];

/// Blocks the signals by which somebody asks us to end, unless they are ignored, and opens a descriptor, non-blocking, that they are
/// read from. One that is blocked would be read although it is ignored (signal(7)).
pub(super) fn take_those_that_ask_to_end() -> Result<RawFd> {
    let mut mask = 0u64;
    for signal in ASKS_TO_END {
        let mut action = [0u64; 4];
        // SAFETY: `action` has room for a kernel sigaction with a mask of 8 bytes.
        done(unsafe { raw!(SYS_rt_sigaction, signal, ptr::null::<u64>(), action.as_mut_ptr(), 8) })?;
        if action[0] != libc::SIG_IGN as u64 {
            mask |= 1 << (signal - 1);
        }
    }
    let fd = descriptor(mask)?.into_raw_fd();
    // SAFETY: the mask is 8 readable bytes.
    done(unsafe { raw!(SYS_rt_sigprocmask, libc::SIG_BLOCK, &raw const mask, ptr::null_mut::<u64>(), 8) })?;
    Ok(fd)
}

/// [`set_default`], but those signals which ask for the end go to a handler that does not return.
pub fn set_default_but(ignored: u64, end: Option<u64>) -> Result<()> {
    /// asm/signal.h; x86 does not call a handler without it.
    const SA_RESTORER: u64 = 0x0400_0000;
    // The kernel's struct: handler, flags, restorer, mask; all zeros is SIG_DFL.
    let default = [0u64; 4];
    let ends = end.map(|handler| [handler, SA_RESTORER, handler, u64::MAX]);
    for signal in 1..=64 {
        let wanted = ends.as_ref().filter(|_| ASKS_TO_END.contains(&signal));
        if wanted.is_some() || ignored & (1 << (signal - 1)) != 0 {
            let action = wanted.unwrap_or(&default);
            // SAFETY: `action` is a whole kernel sigaction with a mask of 8 bytes: SIG_DFL, or a handler of the caller's that
            // ends the process.
            done(unsafe { raw!(SYS_rt_sigaction, signal, action.as_ptr(), ptr::null_mut::<u64>(), 8) })?;
        }
    }
    Ok(())
}

/// What a signal that ends a process is called, as Go prints it.
pub const fn words(signal: i32) -> &'static str {
    match signal {
        libc::SIGHUP => "hangup",
        libc::SIGINT => "interrupt",
        libc::SIGQUIT => "quit",
        libc::SIGILL => "illegal instruction",
        libc::SIGTRAP => "trace/breakpoint trap",
        libc::SIGABRT => "aborted",
        libc::SIGBUS => "bus error",
        libc::SIGFPE => "floating point exception",
        libc::SIGKILL => "killed",
        libc::SIGSEGV => "segmentation fault",
        libc::SIGPIPE => "broken pipe",
        libc::SIGALRM => "alarm clock",
        libc::SIGTERM => "terminated",
        libc::SIGXCPU => "CPU time limit exceeded",
        libc::SIGXFSZ => "file size limit exceeded",
        libc::SIGSYS => "bad system call",
        _ => "another one",
    }
}

/// The signal of [`interrupted_after`]: one that nobody else sends.
const ALARM: i32 = 63;

/// Has a system call that waits, and takes no time to wait for, fail with EINTR after this time. For who has taken all signals.
pub fn interrupted_after<T>(time: Duration, wait: impl FnOnce() -> Result<T>) -> Result<T> {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: all zeros is a value of both, plain C structures.
    let (mut action, mut event): (libc::sigaction, libc::sigevent) = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
    // SAFETY: the handler does nothing, and the action outlives the call.
    done(unsafe { libc::sigaction(ALARM, &raw const action, ptr::null_mut()) }.into())?;
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = ALARM;
    let mut timer: libc::c_int = 0;
    // SAFETY: both are of the kernel's layout and outlive the call; it writes the number of a timer.
    done(unsafe { raw!(SYS_timer_create, libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer) })?;
    let time = libc::timespec { tv_sec: 0, tv_nsec: time.subsec_nanos().into() };
    // Again and again: the first may come before there is a wait.
    let times = libc::itimerspec { it_interval: time, it_value: time };
    let mask = 1u64 << (ALARM - 1);
    // SAFETY: the mask is 8 readable bytes.
    let change =
        |how: libc::c_int| done(unsafe { raw!(SYS_rt_sigprocmask, how, &raw const mask, ptr::null_mut::<u64>(), 8) });
    // SAFETY: `times` outlives the call.
    let set = done(unsafe { raw!(SYS_timer_settime, timer, 0, &raw const times, ptr::null_mut::<libc::itimerspec>()) });
    let waited = set.and_then(|()| change(libc::SIG_UNBLOCK)).and_then(|()| wait());
    // While it is unblocked: what has come by now goes to the handler.
    // SAFETY: a number.
    let deleted = done(unsafe { raw!(SYS_timer_delete, timer) });
    change(libc::SIG_BLOCK).and(deleted).and(waited)
}

/// Unblocks every signal.
pub fn unblock() -> Result<()> {
    let none = 0u64;
    // SAFETY: the mask is 8 readable bytes.
    done(unsafe { raw!(SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const none, ptr::null_mut::<u64>(), 8) })
}

/// siginfo_t of asm-generic/siginfo.h, with the fields of its `_rt`. The value is as large as a pointer, which it may be, and the
/// whole has at least the 128 bytes that the kernel reads.
#[repr(C)]
pub(super) struct QueuedInfo {
    signal: i32,
    errno: i32,
    code: i32,
    rt: QueuedPart,
    rest: [u64; 14],
}

#[repr(C)]
struct QueuedPart {
    pid: i32,
    uid: u32,
    value: u64,
}

impl QueuedInfo {
    pub(super) fn new(signal: i32, code: i32, value: u64) -> QueuedInfo {
        QueuedInfo { signal, errno: 0, code, rt: QueuedPart { pid: 0, uid: 0, value }, rest: [0; 14] }
    }
}

/// Hands a signal that was sent to us on to a child that does our work (rt_sigqueueinfo(2)), which hears that it is no other one than
/// what it may have got itself.
pub fn forward(child: i32, signal: i32) -> Result<()> {
    let info = QueuedInfo::new(signal, FORWARDED_CODE, 0);
    // SAFETY: `info` is readable for the size of a siginfo_t.
    done(unsafe { raw!(SYS_rt_sigqueueinfo, child, signal, &raw const info) })
}

/// Stops our process group by this signal, as a terminal does, for who has taken all signals. Nobody could continue a
/// group that is orphaned (setpgid(2)), so the kernel stops none. For who was stopped SIGCONT is pending then, which has
/// taken away any that was before (kill(2) of a signal that stops).
pub fn stop_group(signal: i32) -> Result<()> {
    let mask = 1u64 << (signal - 1);
    set_default(mask)?;
    kill(0, signal)?;
    // SAFETY: the mask is 8 readable bytes.
    let change =
        |how: libc::c_int| done(unsafe { raw!(SYS_rt_sigprocmask, how, &raw const mask, ptr::null_mut::<u64>(), 8) });
    // Between these two we are stopped.
    change(libc::SIG_UNBLOCK)?;
    change(libc::SIG_BLOCK)
}

/// kill(2): for processes that no pidfd can be had of, and for those listed in a frozen cgroup.
pub fn kill(pid: i32, signal: i32) -> Result<()> {
    // SAFETY: no memory is passed.
    done(unsafe { raw!(SYS_kill, pid, signal) })
}
