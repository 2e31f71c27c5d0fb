//! Processes: namespaces, waiting, and the attributes a process carries into `execve`.

use std::ffi::CStr;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicI32, AtomicU8};

use nix::errno::Errno;

use super::poll::{self, PollFlags};
use super::signal::{self, ASKS_TO_END};
use super::{Result, cvt, done, raw};

/// unshare(2).
pub fn unshare(flags: i32) -> Result<()> {
    // SAFETY: no memory is passed.
    done(unsafe { raw!(SYS_unshare, flags) })
}

/// setns(2) on a namespace file, or on a pidfd with several types at once (Linux 5.8).
pub fn setns(fd: BorrowedFd<'_>, types: i32) -> Result<()> {
    // SAFETY: no memory is passed.
    done(unsafe { raw!(SYS_setns, fd.as_raw_fd(), types) })
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Exit {
    /// The status a shell would show: 128 + n for a signal.
    pub fn status(self) -> i32 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
        }
    }

    /// What ended a process that was waiting for `start`: no signal ends the first process of a pid namespace that does not
    /// catch it, so it catches those that ask for the end ([`super::signal::set_default_but`]) and exits as if by one.
    #[must_use]
    pub fn of_parked(self) -> Exit {
        match self {
            Exit::Code(code) if ASKS_TO_END.contains(&(code - 128)) => Exit::Signal(code - 128),
            exit => exit,
        }
    }
}

/// What a child has used, with those of its own children that it has waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChildUsage {
    /// CPU time in user mode, in nanoseconds.
    pub user_ns: u64,
    /// CPU time in the kernel.
    pub system_ns: u64,
    /// The largest resident set of one of them, in bytes.
    pub max_rss: u64,
}

/// waitpid(2) with `options`; `None` when `WNOHANG` finds nothing to reap.
pub fn wait(pid: i32, options: i32) -> Result<Option<(i32, Exit)>> {
    wait4(pid, options, ptr::null_mut())
}

/// The number of a process that has gone: it was reaped, or kill(2) has said so.
static GONE: AtomicI32 = AtomicI32::new(0);

/// Whether there is a process of this number that may be of a container of ours, whoever may look at it. An ordinary user may signal
/// those of his containers, and so another's is none. Once it has gone it is not asked for again: whoever has the number then is another.
pub fn is_there(pid: i32) -> bool {
    if GONE.load(Relaxed) == pid {
        return false;
    }
    let there = match signal::kill(pid, 0) {
        Err(Errno::EPERM) => geteuid() == 0,
        sent => sent != Err(Errno::ESRCH),
    };
    if !there {
        GONE.store(pid, Relaxed);
    }
    there
}

/// Reaps a child that has ended; how, and what it has used. `None`: it has not, or who traces it has not been told yet (ptrace(2)).
pub fn reap(pid: i32) -> Result<Option<(Exit, ChildUsage)>> {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    let Some((_, exit)) = wait4(pid, libc::WNOHANG, usage.as_mut_ptr())? else { return Ok(None) };
    GONE.store(pid, Relaxed);
    // SAFETY: plain data that was zeroed and then filled by the kernel.
    Ok(Some((exit, usage_of(&unsafe { usage.assume_init() }))))
}

fn usage_of(usage: &libc::rusage) -> ChildUsage {
    let ns = |time: libc::timeval| time.tv_sec as u64 * 1_000_000_000 + time.tv_usec as u64 * 1000;
    // ru_maxrss counts in units of 1024 bytes.
    let max_rss = usage.ru_maxrss as u64 * 1024;
    ChildUsage { user_ns: ns(usage.ru_utime), system_ns: ns(usage.ru_stime), max_rss }
}

/// What wait4(2) has told another process, as that process's memory has it: the status in eight bytes, and the usage.
pub type Reaped = [u8; REAPED];
/// Bytes of [`Reaped`].
pub const REAPED: usize = 8 + size_of::<libc::rusage>();

/// How a child of another process has ended, which that has reaped.
pub fn reaped(record: &Reaped) -> (Exit, ChildUsage) {
    let (status, usage) = record.split_at(8);
    // SAFETY: `usage` is as long as the type, which is plain data that any bytes are a value of.
    let usage: libc::rusage = unsafe { ptr::read_unaligned(usage.as_ptr().cast()) };
    let status = status.first_chunk().map_or(0, |status| i32::from_ne_bytes(*status));
    (exit_of(status), usage_of(&usage))
}

/// What a status of wait(2) says.
pub fn exit_of(status: i32) -> Exit {
    if libc::WIFSIGNALED(status) { Exit::Signal(libc::WTERMSIG(status)) } else { Exit::Code(libc::WEXITSTATUS(status)) }
}

fn wait4(pid: i32, options: i32, usage: *mut libc::rusage) -> Result<Option<(i32, Exit)>> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is writable; `usage` is NULL or writable memory of the right size.
        match cvt(unsafe { raw!(SYS_wait4, pid, &raw mut status, options, usage) }) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
            Ok(0) => return Ok(None),
            Ok(pid) => return Ok(Some((pid as i32, exit_of(status)))),
        }
    }
}

/// waitid(2) for any child, leaving it to be reaped; `None` when none has ended.
pub fn peek_dead(options: i32) -> Result<Option<i32>> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: `info` is writable memory of the right size; no rusage is asked for.
    let ret = unsafe { raw!(SYS_waitid, libc::P_ALL, 0, info.as_mut_ptr(), options, ptr::null_mut::<libc::rusage>()) };
    done(ret)?;
    // SAFETY: plain data that was zeroed and then filled by the kernel.
    let info = unsafe { info.assume_init() };
    // SAFETY: waitid fills the pid of a child, and leaves it zero where none has ended.
    let pid = unsafe { info.si_pid() };
    Ok((pid != 0).then_some(pid))
}

/// waitid(2) without reaping: ECHILD unless the process is a child of ours.
pub fn is_child(pid: i32) -> Result<()> {
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
    let (info, usage) = (ptr::null_mut::<libc::siginfo_t>(), ptr::null_mut::<libc::rusage>());
    // SAFETY: the kernel takes NULL for both results as "not wanted".
    done(unsafe { raw!(SYS_waitid, libc::P_PID, pid, info, options, usage) })
}

/// Leaves the process without running anything else.
pub fn exit(status: i32) -> ! {
    // SAFETY: does not return; nothing in this process is used afterwards.
    unsafe { libc::_exit(status) }
}

/// Whether two of our descriptors are one open file description (kcmp(2)). A kernel that does not say knows none that are.
pub fn is_same_description(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> bool {
    /// linux/kcmp.h.
    const KCMP_FILE: libc::c_int = 0;
    let pid = getpid();
    // SAFETY: no memory is passed.
    cvt(unsafe { raw!(SYS_kcmp, pid, pid, KCMP_FILE, one.as_raw_fd(), other.as_raw_fd()) })
        .is_ok_and(|order| order == 0)
}

/// getpid(2), not cached.
pub fn getpid() -> i32 {
    // SAFETY: no memory is passed.
    (unsafe { raw!(SYS_getpid) }) as i32
}

/// getpgid(2): our process group; 0 where that is of a pid namespace above ours.
pub fn getpgrp() -> i32 {
    // SAFETY: no memory is passed.
    (unsafe { raw!(SYS_getpgid, 0) }) as i32
}

/// getppid(2); 0 when the parent is in another pid namespace.
pub fn getppid() -> i32 {
    // SAFETY: no memory is passed.
    (unsafe { raw!(SYS_getppid) }) as i32
}

/// geteuid(2).
pub fn geteuid() -> u32 {
    // SAFETY: no memory is passed.
    (unsafe { raw!(SYS_geteuid) }) as u32
}

/// getegid(2).
pub fn getegid() -> u32 {
    // SAFETY: no memory is passed.
    (unsafe { raw!(SYS_getegid) }) as u32
}

/// prctl(2) with numbers only.
fn prctl(option: i32, a: u64, b: u64) -> Result<i32> {
    // SAFETY: used with the options below, which take numbers, never pointers.
    cvt(unsafe { raw!(SYS_prctl, option, a, b, 0, 0) }).map(|n| n as i32)
}

/// `PR_SET_DUMPABLE` 0: nobody without CAP_SYS_PTRACE over our user namespace may look into this process.
pub fn set_undumpable() -> Result<()> {
    prctl(libc::PR_SET_DUMPABLE, 0, 0).map(drop)
}

/// `PR_SET_PDEATHSIG`: the signal sent to this process when its parent dies.
pub fn set_parent_death_signal(signal: i32) -> Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, signal as u64, 0).map(drop)
}

/// The kernel kills this process when its parent dies; ESRCH where that has died before.
pub fn die_with(parent: i32) -> Result<()> {
    set_parent_death_signal(libc::SIGKILL)?;
    if getppid() == parent { Ok(()) } else { Err(Errno::ESRCH) }
}

/// Has the command killed when this process dies, however it dies. (A program with raised privileges loses that at
/// its execve.)
pub fn die_with_parent(command: &mut std::process::Command) -> &mut std::process::Command {
    use std::os::unix::process::CommandExt;
    let parent = getpid();
    // SAFETY: two system calls, and neither allocates nor takes a lock.
    unsafe { command.pre_exec(move || die_with(parent).map_err(Into::into)) }
}

/// Neither the command nor what it starts gains rights by an execve (`PR_SET_NO_NEW_PRIVS`).
pub fn never_gains(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    // SAFETY: one system call, which neither allocates nor takes a lock.
    unsafe { command.pre_exec(|| prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).map(drop).map_err(Into::into)) };
}

/// Starts a program. No signal is blocked in it: std hands on the mask, and those that we have blocked are for us to read.
pub fn spawn(command: &mut std::process::Command) -> std::io::Result<std::process::Child> {
    use std::os::unix::process::CommandExt;
    // SAFETY: one system call, which neither allocates nor takes a lock.
    unsafe { command.pre_exec(|| signal::unblock().map_err(Into::into)) }.spawn()
}

/// Runs a program to its end, or to ours (it is killed, and EINTR); all that it says, on both streams, is one text. (std's `output` panics where it cannot read.)
pub fn run(mut command: std::process::Command) -> std::io::Result<(std::process::ExitStatus, String)> {
    use std::io::Read;
    let (mut said, writer) = std::io::pipe()?;
    command.stdin(std::process::Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = spawn(&mut command)?;
    // The command holds the writing ends, too.
    drop(command);
    let mut text = Vec::new();
    let mut read = || loop {
        poll::one(said.as_fd(), PollFlags::POLLIN, None)?;
        let mut some = [0; 4096];
        match said.read(&mut some)? {
            0 => return Ok(()),
            len => text.extend_from_slice(&some[..len]),
        }
    };
    let read: std::io::Result<()> = read();
    if read.is_err() {
        // It has ended, or nobody hears it any more.
        let _ = child.kill();
    }
    let status = child.wait()?;
    read.map(|()| (status, String::from_utf8_lossy(&text).into_owned()))
}

/// Whether a process has begun a session of its own (getsid(2)).
pub fn leads_session(pid: i32) -> bool {
    // SAFETY: no memory is passed.
    unsafe { libc::getsid(pid) == pid }
}

/// `PR_SET_CHILD_SUBREAPER`.
pub fn set_subreaper() -> Result<()> {
    prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0).map(drop)
}

/// Whether we have rights that our caller has not, by a set-user-ID or set-group-ID bit or capabilities of the file.
/// getauxval(3) tells without a system call; AT_SECURE alone does not, which a transition of SELinux sets as well. Of an
/// ordinary user whose execve made it secure all capabilities but the ambient ones, the caller's, are the file's (capabilities(7)).
pub fn is_setuid() -> bool {
    // SAFETY: no memory is passed.
    let value = |kind| unsafe { libc::getauxval(kind) };
    if value(libc::AT_UID) != value(libc::AT_EUID) || value(libc::AT_GID) != value(libc::AT_EGID) {
        return true;
    }
    if value(libc::AT_SECURE) == 0 || value(libc::AT_EUID) == 0 {
        return false;
    }
    let ambient = |cap| prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_IS_SET as u64, cap) == Ok(1);
    // What cannot be told is not ours to use.
    super::cred::caps().map_or(true, |caps| (0..64).any(|cap| caps.permitted >> cap & 1 == 1 && !ambient(cap)))
}

/// A bit for each standard stream that was closed when we began.
static CLOSED: AtomicU8 = AtomicU8::new(0);

/// Whether this standard stream was closed when we began ([`prepare`]): who writes to it is to hear of that, and not write to /dev/null.
pub fn was_closed(stream: BorrowedFd<'_>) -> bool {
    CLOSED.load(Relaxed).checked_shr(stream.as_raw_fd().cast_unsigned()).is_some_and(|bits| bits & 1 == 1)
}

/// Has each standard stream that was closed when we began closed for the program that takes our place.
pub fn close_again() -> Result<()> {
    let mut streams = [0, 1, 2].into_iter().filter(|stream| CLOSED.load(Relaxed) >> stream & 1 == 1);
    streams.try_for_each(|stream| super::descriptor::set_cloexec(stream, libc::FD_CLOEXEC))
}

/// What a program needs before it opens anything: /dev/null for every closed standard stream, or the next file
/// opened would be taken for one (CVE-2002-0572 is what that leads to), and no SIGPIPE and no SIGXFSZ (RLIMIT_FSIZE), that writes fail
/// with instead. They are blocked, not ignored, which a program would inherit.
pub fn prepare() -> Result<()> {
    let mut streams = [0, 1, 2].map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    // SAFETY: three pollfds, as said.
    done(unsafe { libc::poll(streams.as_mut_ptr(), 3, 0) }.into())?;
    // The lowest number is taken first, so each lands where it is missing.
    for stream in streams.iter().filter(|stream| stream.revents & libc::POLLNVAL != 0) {
        CLOSED.fetch_or(1 << stream.fd, Relaxed);
        // SAFETY: the path ends in NUL.
        done(unsafe { raw!(SYS_openat, libc::AT_FDCWD, c"/dev/null".as_ptr(), libc::O_RDWR, 0) })?;
    }
    // A caller that ignores SIGCHLD hands that down, and the children of such a process are not there to be waited for
    // (wait(2), ECHILD).
    let action = [libc::SIG_DFL as u64, 0, 0, 0];
    // SAFETY: a whole kernel sigaction with a mask of 8 bytes; the action is no address to call.
    done(unsafe { raw!(SYS_rt_sigaction, libc::SIGCHLD, action.as_ptr(), ptr::null_mut::<u64>(), 8) })?;
    let mask = 1u64 << (libc::SIGPIPE - 1) | 1 << (libc::SIGXFSZ - 1);
    // SAFETY: the mask is 8 readable bytes.
    done(unsafe { raw!(SYS_rt_sigprocmask, libc::SIG_BLOCK, &raw const mask, ptr::null_mut::<u64>(), 8) })
}

unsafe extern "C" {
    /// The environment (environ(7)).
    static environ: *const *mut libc::c_char;
    /// `argv[0]` (program_invocation_name(3)).
    static program_invocation_name: *mut libc::c_char;
}

/// Overwrites the caller's arguments and environment, which are in `/proc/PID/cmdline` and `/proc/PID/environ`, with
/// `title`. For the child, which needs neither: they are at the end of the stack, one string after the other
/// (environment after arguments, execve(2)).
pub fn forget_caller(title: &[u8]) {
    /// What the kernel takes at most for both (execve(2), "Limits on size of arguments and environment").
    const LONGEST: usize = 6 << 20;
    // SAFETY: the C library has set it before `main`; nothing here changes the environment.
    let mut variable = unsafe { environ };
    // SAFETY: the C library has set both before `main`, and nothing here changes them.
    let (mut start, mut end) = unsafe { (program_invocation_name, program_invocation_name) };
    if variable.is_null() || start.is_null() {
        return;
    }
    loop {
        // SAFETY: the array ends in NULL, and the loop ends there.
        let text = unsafe { *variable };
        if text.is_null() {
            break;
        }
        // Started without arguments, a program has a name that is not on the stack.
        start = if (text as usize).checked_sub(start as usize).is_none_or(|len| len > LONGEST) { text } else { start };
        // SAFETY: a string of the environment ends in NUL.
        let len = unsafe { libc::strlen(text) };
        // SAFETY: a string of the environment ends in NUL, and one byte more is its end.
        end = end.max(unsafe { text.add(len + 1) });
        // SAFETY: not past the NULL at the end.
        variable = unsafe { variable.add(1) };
    }
    let len = end as usize - start as usize;
    // SAFETY: from the first argument or variable to the end of the last, all of it this process's own stack.
    unsafe { ptr::write_bytes(start, 0, len) };
    let title = &title[..title.len().min(len)];
    // SAFETY: not longer than what was just overwritten.
    unsafe { ptr::copy_nonoverlapping(title.as_ptr(), start.cast(), title.len()) };
}

/// setsid(2): EPERM where this process leads a process group already.
pub fn new_session() -> Result<()> {
    // SAFETY: no pointers.
    done(unsafe { raw!(SYS_setsid) })
}

/// sethostname(2).
pub fn set_hostname(name: &CStr) -> Result<()> {
    let bytes = name.to_bytes();
    // SAFETY: the pointer is readable for the length given.
    done(unsafe { raw!(SYS_sethostname, bytes.as_ptr(), bytes.len()) })
}

/// setdomainname(2).
pub fn set_domainname(name: &CStr) -> Result<()> {
    let bytes = name.to_bytes();
    // SAFETY: the pointer is readable for the length given.
    done(unsafe { raw!(SYS_setdomainname, bytes.as_ptr(), bytes.len()) })
}

/// personality(2) of this process.
pub fn personality() -> Result<u64> {
    // SAFETY: no memory is passed; this value changes nothing.
    cvt(unsafe { raw!(SYS_personality, u64::from(u32::MAX)) }).map(|persona| persona as u64)
}

/// personality(2).
pub fn set_personality(persona: u64) -> Result<()> {
    // SAFETY: no memory is passed.
    done(unsafe { raw!(SYS_personality, persona) })
}

/// ioprio_set(2) for this process.
pub fn set_io_priority(value: u32) -> Result<()> {
    const IOPRIO_WHO_PROCESS: u32 = 1;
    // SAFETY: no memory is passed.
    done(unsafe { raw!(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, value) })
}

/// sched_setattr(2) of this thread, with the kernel's struct.
pub fn set_scheduler(attr: &[u8]) -> Result<()> {
    // The kernel reads as much as the struct says that it is long, which is its first word.
    if attr.len() < 4 || attr[..4] != (attr.len() as u32).to_ne_bytes() {
        return Err(Errno::EINVAL);
    }
    // SAFETY: `attr` is as long as it says, and outlives the call.
    done(unsafe { raw!(SYS_sched_setattr, 0, attr.as_ptr(), 0) })
}

/// set_mempolicy(2).
pub fn set_memory_policy(mode: u32, mask: &[u64]) -> Result<()> {
    let bits = size_of_val(mask) * 8;
    let at = if mask.is_empty() { ptr::null() } else { mask.as_ptr() };
    // The kernel reads one bit less than it is told.
    let bits = if mask.is_empty() { 0 } else { bits + 1 };
    // SAFETY: `at` is NULL or readable for the number of bits given.
    done(unsafe { raw!(SYS_set_mempolicy, mode, at, bits) })
}

/// How many descriptors this process may have (`RLIMIT_NOFILE`); 0 where that cannot be told.
pub fn descriptor_limit() -> u64 {
    rlimit(libc::RLIMIT_NOFILE as _).map_or(0, |(soft, _)| soft)
}

/// prlimit(2): the soft and the hard limit of this process.
pub fn rlimit(resource: u32) -> Result<(u64, u64)> {
    let mut limit = [0u64; 2];
    let none = ptr::null::<u64>();
    // SAFETY: `limit` has the layout of rlimit64; no new limit is set.
    done(unsafe { raw!(SYS_prlimit64, 0, resource, none, limit.as_mut_ptr()) })?;
    Ok((limit[0], limit[1]))
}

/// prlimit(2): sets a limit of a process; 0 is this one.
pub fn set_rlimit(pid: i32, resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = [soft, hard];
    // SAFETY: `limit` has the layout of rlimit64.
    done(unsafe { raw!(SYS_prlimit64, pid, resource, limit.as_ptr(), ptr::null_mut::<u64>()) })
}

/// keyctl(2) `KEYCTL_JOIN_SESSION_KEYRING` without a name: a new session keyring that nobody can join.
pub fn new_session_keyring() -> Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: i32 = 1;
    // SAFETY: NULL stands for no name.
    done(unsafe { raw!(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, ptr::null::<libc::c_char>()) })
}

/// execve(2) with arrays of pointers that end in NULL. Returns only on failure.
///
/// The pointers come from C strings of the plan, which this process (a copy of the one that built the arrays)
/// never frees.
pub fn exec_pointers(path: &CStr, argv: &[*const libc::c_char], envp: &[*const libc::c_char]) -> Errno {
    let terminated = |list: &[*const libc::c_char]| list.last().is_some_and(|last| last.is_null());
    if !terminated(argv) || !terminated(envp) {
        return Errno::EINVAL;
    }
    // SAFETY: `path` is NUL-terminated; both arrays end in NULL, and their strings live as long as the plan.
    unsafe { raw!(SYS_execve, path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    Errno::last()
}

/// CLOCK_MONOTONIC in nanoseconds.
pub fn monotonic_ns() -> u64 {
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: `time` is writable; CLOCK_MONOTONIC always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, time.as_mut_ptr()) };
    // SAFETY: plain data that was zeroed and then filled by the kernel.
    let time = unsafe { time.assume_init() };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
