//! The limits of a program that no cgroup has: time, CPU time, output, and that its caller lives. Whoever waits for the program looks
//! after them, in the foreground or as its monitor.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::announcement::Announcement;
use super::ended::{Ended, Ending};
use crate::cgroup::Cgroup;
use crate::container::caller::streams::FLUSH;
use crate::container::options::Job;
use crate::error::{Context, Error, Result, Stage};
use crate::launch::{Meanwhile, Running};
use crate::proc;
use crate::spec::number_list;
use crate::state::Attendance;
use crate::sys::pidfd::{self, ProcessHandle};
use crate::sys::poll::{self, PollFlags};
use crate::sys::process::{self, Exit, monotonic_ns};

/// How long a program that heeds SIGTERM may take to end, unless told.
const GRACE: Duration = Duration::from_secs(2);

/// How soon what was killed, and is still there, is killed again.
const KILL_AGAIN: Duration = Duration::from_secs(2);

/// How long what was killed may take to end: that of much memory takes the kernel a while.
const GIVE_UP: Duration = Duration::from_secs(5);

/// How often it is looked, while something else is waited for, whether our parent is gone.
const PARENT_STEP: Duration = Duration::from_millis(200);

/// CPU time is looked at no more often.
const CPU_STEP: Duration = Duration::from_millis(5);

/// Looks after the limits of one program.
pub(in crate::container) struct Watch {
    /// When the program was started; none while it waits for that.
    started: Option<Instant>,
    /// When it is to be set up at the latest, where that is not ours alone.
    set_up_by: Option<Instant>,
    /// Who waits for the program.
    attendance: Attendance,
    /// How long it may run.
    timeout: Option<Duration>,
    cpu: Option<CpuWatch>,
    /// How many bytes it may write.
    output_limit: Option<u64>,
    /// Whoever called us.
    parent: Option<OwnedFd>,
    grace: Duration,
    /// Why it is being ended.
    cause: Option<Ending>,
    /// The signals that the caller has sent: bit 0 is signal 1.
    passed: u64,
    /// Whether the container is being deleted.
    deleted: bool,
    /// When SIGTERM has had its time.
    kill_at: Option<Instant>,
    /// When the program was killed first.
    killed_at: Option<Instant>,
    /// When another command has said that it kills it.
    told_at: Option<Instant>,
    /// When the program ended.
    ended_at: Option<Instant>,
    /// Since when what it wrote is passed on to the last of it.
    flushed_from: Option<Instant>,
}

struct CpuWatch {
    limit: u64,
    /// Until then the limit cannot have been reached, with every CPU at work.
    next: Instant,
    /// How many there are; `None` where nobody tells.
    cpus: Option<u64>,
}

impl CpuWatch {
    fn new(limit: Duration) -> CpuWatch {
        CpuWatch { limit: nanoseconds(limit), next: Instant::now(), cpus: online_cpus() }
    }
}

/// The CPUs of the machine. Those that we may use ourselves, and our own cgroup's quota, say nothing of the container.
fn online_cpus() -> Option<u64> {
    let list = proc::file::read_text("/sys/devices/system/cpu/online").ok()?;
    let mask = number_list::mask(list.trim()).ok()?;
    Some(mask.iter().map(|word| u64::from(word.count_ones())).sum()).filter(|cpus| *cpus > 0)
}

/// A descriptor of our parent, taken before anything is made.
pub(in crate::container) fn parent() -> Result<OwnedFd> {
    let pid = process::getppid();
    let what = || "--die-with-parent: find the parent";
    if pid == 0 {
        return Err(Error::new(Stage::Signal, "--die-with-parent: the parent is in another pid namespace"));
    }
    let parent = pidfd::open(pid).at(Stage::Signal, what)?;
    // The parent may have died before, and its number may be somebody else's.
    if process::getppid() == pid { Ok(parent) } else { Err(Error::errno(Stage::Signal, what(), Errno::ESRCH)) }
}

impl Watch {
    /// The program's time counts from [`Watch::begin`], or from [`Watch::hear`].
    pub fn new(job: &Job, parent: Option<OwnedFd>, attendance: Attendance) -> Watch {
        Watch {
            started: None,
            set_up_by: None,
            attendance,
            timeout: job.timeout,
            cpu: job.cpu_time.map(CpuWatch::new),
            output_limit: job.output_limit.map(i64::unsigned_abs),
            parent,
            grace: job.grace.unwrap_or(GRACE),
            cause: None,
            passed: 0,
            deleted: false,
            kill_at: None,
            killed_at: None,
            told_at: None,
            ended_at: None,
            flushed_from: None,
        }
    }

    /// The program is let go now.
    pub fn begin(&mut self) {
        self.started = Some(Instant::now());
    }

    /// The program is being set up in a container that is there already, where somebody may keep it from that.
    pub fn begin_set_up(&mut self) {
        self.set_up_by = self.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    }

    /// The program is set up: what has ended until now, or was killed, was a process that launched it.
    pub fn launched(&mut self) {
        self.ended_at = None;
        self.kill_at = self.kill_at.map(|_| Instant::now());
    }

    /// How a program ended that we have killed while it was set up.
    pub fn ended_before_it_began(&self) -> Option<Ended> {
        self.cause.map(|cause| Ended::before_it_began(cause, libc::SIGKILL))
    }

    /// A signal was passed on to the program.
    pub fn passed(&mut self, signal: i32) {
        if signal == libc::SIGKILL {
            self.told_at.get_or_insert_with(Instant::now);
        }
        self.passed |= 1u64.checked_shl((signal - 1).cast_unsigned()).unwrap_or(0);
    }

    /// Another command has something to say.
    pub fn hear(&mut self, said: Announcement) {
        match said {
            Announcement::Started(at) => {
                let ago = Duration::from_nanos(monotonic_ns().saturating_sub(at));
                self.started = self.started.or_else(|| Instant::now().checked_sub(ago));
            }
            Announcement::NotStarted => self.started = None,
            Announcement::Signal(signal) => self.passed(signal),
            Announcement::Deleted => {
                self.deleted = true;
                self.passed(libc::SIGKILL);
            }
        }
    }

    /// Whether the program has ended while it waited for `start`, or on the way from there to its own first instruction. The kernel
    /// knows until its process is reaped.
    pub fn was_parked(&self, pid: i32) -> bool {
        let executed = || proc::stat::read(pid).ok().flatten().is_none_or(|stat| stat.executed);
        self.in_background() && (self.started.is_none() || !executed())
    }

    /// How it has ended then.
    pub fn never_began(&mut self, exit: Exit) -> Exit {
        self.started = None;
        exit.of_parked()
    }

    /// Whether the container is being deleted.
    pub fn is_deleted(&self) -> bool {
        self.deleted
    }

    /// When the program was started.
    pub fn started(&self) -> Option<Instant> {
        self.started
    }

    /// When it must be over.
    fn deadline(&self) -> Option<Instant> {
        self.started.map_or(self.set_up_by, |started| started.checked_add(self.timeout?))
    }

    /// Becomes readable when our parent is gone.
    pub fn parent(&self) -> Option<BorrowedFd<'_>> {
        self.parent.as_ref().filter(|_| self.kill_at.is_none()).map(AsFd::as_fd)
    }

    /// How many more bytes of output are let through.
    pub fn output_left(&self, written: u64) -> u64 {
        self.output_limit.map_or(u64::MAX, |limit| limit.saturating_sub(written))
    }

    fn is_too_much(&self, written: u64) -> bool {
        self.output_limit.is_some_and(|limit| written > limit)
    }

    /// The program has ended just now; what it wrote may take longer to get where it goes.
    pub fn has_ended(&mut self) {
        let now = Instant::now();
        self.ended_at.get_or_insert(now);
        self.flushed_from = Some(now);
    }

    /// How long ago the program ended.
    pub fn ended_ago(&self) -> Duration {
        self.ended_at.map(|at| at.elapsed()).unwrap_or_default()
    }

    /// All is over: why, and how much it has written where that is counted.
    pub fn end(&self, exit: Exit, written: u64) -> (Option<Ending>, Option<u64>) {
        (self.cause(exit, written), self.output_limit.map(|_| written))
    }

    fn cause(&self, exit: Exit, written: u64) -> Option<Ending> {
        match (self.cause, exit) {
            // What it wrote last may come after its end.
            _ if self.kill_at.is_none() && self.is_too_much(written) => Some(Ending::OutputLimit),
            // One that it has not died of it may have taken for what it is to it.
            (None, Exit::Signal(signal)) if self.was_passed(signal) => Some(Ending::Killed),
            (cause, _) => cause,
        }
    }

    fn was_passed(&self, signal: i32) -> bool {
        (1..=64).contains(&signal) && self.passed & (1 << (signal - 1)) != 0
    }

    /// Until when what it wrote is passed on to somebody who does not read it; for ever where the caller waits and knows no
    /// limit that could have ended it, as with runc.
    pub fn flush_by(&self, exit: Exit, written: u64) -> Option<Instant> {
        let flushed = self.flushed_from?.checked_add(FLUSH);
        match (self.attendance, self.cause(exit, written)) {
            (Attendance::Monitor, _) | (_, Some(_)) => flushed,
            (Attendance::Foreground, None) => self.deadline().max(flushed).filter(|_| self.timeout.is_some()),
        }
    }

    /// Who waits for the program.
    pub fn attendance(&self) -> Attendance {
        self.attendance
    }

    /// Whether the caller's command has ended.
    pub fn in_background(&self) -> bool {
        self.attendance == Attendance::Monitor
    }

    /// When to look again, whatever else happens.
    pub fn next(&self) -> Option<Instant> {
        let cpu = self.cpu.as_ref().filter(|_| self.started.is_some()).map(|cpu| cpu.next);
        [self.kill_at.or(self.deadline()), cpu].into_iter().flatten().min()
    }

    /// [`Watch::next`], while something else is waited for.
    pub fn next_meanwhile(&self) -> Option<Instant> {
        let parent = self.parent().map(|_| Instant::now() + PARENT_STEP);
        [self.next(), parent].into_iter().flatten().min()
    }

    /// Our parent is gone, so the program goes too.
    pub fn orphaned(&mut self, program: WatchedProgram<'_>) -> Result<()> {
        if self.kill_at.is_some() { Ok(()) } else { self.stop(program, Ending::Killed, Instant::now()) }
    }

    /// Looks at every limit and ends the program when one is reached.
    pub fn look(&mut self, program: WatchedProgram<'_>, written: u64) -> Result<()> {
        let now = Instant::now();
        let hard = if self.is_too_much(written) {
            Some(Ending::OutputLimit)
        } else if self.cpu_is_used_up(program.cgroup.own(), now)? {
            Some(Ending::CpuLimit)
        } else {
            None
        };
        match (self.kill_at, hard) {
            // Its grace is over, or it uses it for more than to end.
            (Some(at), _) if now >= at || hard.is_some() => {
                self.kill_at = Some(now + KILL_AGAIN);
                self.kill(program, now)
            }
            (None, Some(cause)) => self.stop(program, cause, now),
            (None, None) if self.deadline().is_some_and(|deadline| now >= deadline) => {
                self.stop(program, Ending::Timeout, now)
            }
            _ => Ok(()),
        }
    }

    fn stop(&mut self, program: WatchedProgram<'_>, cause: Ending, now: Instant) -> Result<()> {
        self.cause = Some(cause);
        // What is used up is used up. A program that does not catch the signal either dies of it at once or, as the first
        // process of a pid namespace, never hears of it.
        let may_ask = matches!(cause, Ending::Timeout | Ending::Killed) && !self.grace.is_zero();
        // One of which that cannot be known has ended.
        let asks = may_ask && catches_term(program.process.pid).unwrap_or(false);
        self.kill_at = Some(now + if asks { self.grace } else { KILL_AGAIN });
        if asks { deliver(program, libc::SIGTERM) } else { self.kill(program, now) }
    }

    fn kill(&mut self, program: WatchedProgram<'_>, now: Instant) -> Result<()> {
        self.killed_at.get_or_insert(now);
        kill(program)
    }

    /// Whether the program has had the time to die of it.
    pub fn was_killed(&self) -> bool {
        self.killed_at.is_some_and(|at| at.elapsed() >= KILL_AGAIN)
    }

    /// Whether all that it may have been busy with at its end has had the time to end as well.
    pub fn is_given_up(&self) -> bool {
        [self.killed_at, self.told_at].into_iter().flatten().any(|at| at.elapsed() >= GIVE_UP)
    }

    fn cpu_is_used_up(&mut self, cgroup: Option<&Cgroup>, now: Instant) -> Result<bool> {
        let (Some(cpu), Some(cgroup)) = (&mut self.cpu, cgroup) else { return Ok(false) };
        if self.started.is_none() || now < cpu.next {
            return Ok(false);
        }
        let used = match cgroup.cpu_ns() {
            Ok(used) => used.unwrap_or(0),
            Err(error) => {
                // The cgroup is gone, and somebody has killed who was in it: it is said once.
                self.cpu = None;
                return Err(error);
            }
        };
        let left = cpu.limit.saturating_sub(used);
        cpu.next = now + cpu.cpus.map_or(CPU_STEP, |cpus| Duration::from_nanos(left / cpus).max(CPU_STEP));
        Ok(left == 0)
    }
}

fn kill(program: WatchedProgram<'_>) -> Result<()> {
    let everybody = match program.cgroup.own() {
        Some(cgroup) if !cgroup.is_empty() => cgroup.kill(libc::SIGKILL),
        _ => Ok(()),
    };
    let killed = deliver(program, libc::SIGKILL).and(everybody);
    match program.cgroup {
        // It may be paused, and goes on to be.
        ProgramCgroup::Containers(Some(cgroup)) => killed.and(cgroup.let_end(program.process.pid)),
        ProgramCgroup::Containers(None) | ProgramCgroup::Own(_) => killed,
    }
}

/// Looks after the program while something else is waited for. What it writes is read by nobody meanwhile.
pub(in crate::container) struct WatchMeanwhile<'a> {
    pub watch: &'a mut Watch,
    pub program: WatchedProgram<'a>,
    pub warn: &'a dyn Fn(&str),
}

impl WatchMeanwhile<'_> {
    fn attempt(&mut self) -> Result<()> {
        let (watch, program) = (&mut *self.watch, self.program);
        if watch.ended_at.is_some() {
            return Ok(());
        }
        let readable =
            |fd| poll::one(fd, PollFlags::POLLIN, poll::now()).at(Stage::Signal, || "look whether somebody has ended");
        if readable(program.process.pidfd.as_fd())? {
            watch.ended_at = Some(Instant::now());
            return Ok(());
        }
        if watch.parent().map_or(Ok(false), readable)? {
            return watch.orphaned(program);
        }
        watch.look(program, 0)
    }
}

impl Meanwhile for WatchMeanwhile<'_> {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.watch.ended_at.is_none().then_some(self.program.process.pidfd.as_fd())
    }

    fn next(&self) -> Option<Instant> {
        if self.watch.ended_at.is_some() {
            return None;
        }
        self.watch.next_meanwhile()
    }

    fn look(&mut self) {
        self.attempt().unwrap_or_else(|error| (self.warn)(&error.to_string()));
    }
}

fn catches_term(pid: i32) -> Result<bool> {
    proc::status::catches(pid, libc::SIGTERM).at(Stage::Signal, || "ask whether the program catches SIGTERM")
}

/// The program whose limits are looked after.
#[derive(Clone, Copy)]
pub(in crate::container) struct WatchedProgram<'a> {
    /// Its names.
    pub process: &'a ProcessHandle,
    /// Its cgroup.
    pub cgroup: ProgramCgroup<&'a Cgroup>,
}

impl<'a> WatchedProgram<'a> {
    /// The first process of a container.
    pub fn first(running: &'a Running) -> WatchedProgram<'a> {
        WatchedProgram { process: &running.process, cgroup: ProgramCgroup::Own(running.cgroup.as_ref()) }
    }

    /// One more of a container with this cgroup.
    pub fn added(running: &'a Running, cgroup: Option<&'a Cgroup>) -> WatchedProgram<'a> {
        WatchedProgram { process: &running.process, cgroup: ProgramCgroup::Containers(cgroup) }
    }
}

/// Whose cgroup the program is in.
#[derive(Clone, Copy)]
pub(in crate::container) enum ProgramCgroup<C> {
    /// Its own, and everybody there ends with it.
    Own(Option<C>),
    /// The container's, which goes on.
    Containers(Option<C>),
}

impl<C> ProgramCgroup<C> {
    /// Whose it is stays, and the cgroup is borrowed.
    pub fn as_ref(&self) -> ProgramCgroup<&C> {
        match self {
            ProgramCgroup::Own(cgroup) => ProgramCgroup::Own(cgroup.as_ref()),
            ProgramCgroup::Containers(cgroup) => ProgramCgroup::Containers(cgroup.as_ref()),
        }
    }

    fn own(self) -> Option<C> {
        match self {
            ProgramCgroup::Own(cgroup) => cgroup,
            ProgramCgroup::Containers(_) => None,
        }
    }
}

fn deliver(program: WatchedProgram<'_>, signal: i32) -> Result<()> {
    pidfd::signal(program.process.pidfd.as_fd(), signal).at(Stage::Signal, || format!("send signal {signal}")).map(drop)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::affinity;

    /// The container may use more CPUs than whoever waits for it.
    #[test]
    fn cpus_are_those_of_the_machine() {
        let stat = std::fs::read_to_string("/proc/stat").unwrap();
        let numbered = |line: &&str| line.strip_prefix("cpu").is_some_and(|rest| !rest.starts_with(' '));
        let all = stat.lines().filter(numbered).count() as u64;
        // Of this thread.
        affinity::stay_on_cpu(affinity::allowed_cpus().next().unwrap()).unwrap();
        assert_eq!(online_cpus(), Some(all));
    }
}
