//! A tracer that follows a runtime's processes, names every system call site, and lets an observer fail or kill at any.
//!
//! A site is (process, call, how many of that call before): processes are named by the order in which their parent made
//! them ("0", "0.1", …), so that a site means the same thing in the next run, even when timing adds a wait somewhere. The container's own program is let go at its execve.

use super::Res;
use super::os::{self, Reaped};
use super::process::Deadline;
use super::ptrace::{self, Stop};
use crate::common::leftovers;
use std::collections::HashMap;
use std::process::Command;
use std::time::{Duration, Instant};

/// One system call about to be made.
#[derive(Clone, Debug)]
pub struct Site {
    pub process: String,
    pub ordinal: u32,
    /// Which of the process's calls of this number it is, from 1.
    pub nth: u32,
    pub nr: u64,
    pub args: [u64; 6],
}

/// What is to happen at a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Injection {
    Go,
    Fail(i32),
    Kill,
}

/// Sees every call; the results of the calls that ran come to `result`.
pub trait Observer {
    fn entry(&mut self, site: &Site) -> Injection;
    fn result(&mut self, _site: &Site, _result: i64) {}
}

/// How the traced command ended; `None`: it did not within the time and was killed.
#[derive(Debug)]
pub struct Traced {
    pub main: Option<Reaped>,
    pub processes: u32,
}

struct Tracee {
    name: String,
    calls: u32,
    calls_of: HashMap<u64, u32>,
    children: u32,
    site: Option<Site>,
    inject: Option<i32>,
    stage: Stage,
}

/// A new child's first stop is a SIGSTOP of the kernel's making, which must not be delivered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    New,
    Runs,
}

struct Tracer<'a> {
    tracees: HashMap<i32, Tracee>,
    /// Children whose first stop came before their parent's fork event.
    early: Vec<i32>,
    observer: &'a mut dyn Observer,
    main: i32,
    ended: Option<Reaped>,
    processes: u32,
}

/// How long all remaining processes must be quiet, after the command has ended, to be taken as settled.
const SETTLED: Duration = Duration::from_millis(15);

/// Runs a command under the observer until it has ended and whatever it leaves behind waits quietly.
pub fn trace(command: &mut Command, limit: Duration, observer: &mut dyn Observer) -> Res<Traced> {
    let child = ptrace::trace_me(command).spawn()?;
    let main = child.id() as i32;
    let first = os::wait4(main, libc::__WALL)?.ok_or("no first stop")?;
    if !libc::WIFSTOPPED(first.status) {
        return Err(format!("the command ended before it was traced: {:#x}", first.status).into());
    }
    ptrace::follow(main)?;
    let mut tracer = Tracer { tracees: HashMap::new(), early: Vec::new(), observer, main, ended: None, processes: 1 };
    tracer.tracees.insert(main, Tracee::named("0".into(), Stage::Runs));
    ptrace::resume(main, 0)?;
    tracer.serve(limit)
}

impl Tracee {
    fn named(name: String, stage: Stage) -> Self {
        Self { name, calls: 0, calls_of: HashMap::new(), children: 0, site: None, inject: None, stage }
    }
}

impl Tracer<'_> {
    fn serve(mut self, limit: Duration) -> Res<Traced> {
        let mut deadline = Deadline::new(limit);
        let mut quiet: Option<Instant> = None;
        while !self.tracees.is_empty() {
            match os::wait4(-1, libc::__WALL | libc::WNOHANG) {
                Ok(Some(reaped)) => {
                    quiet = None;
                    deadline.left();
                    self.events_of_others(reaped.pid)?;
                    self.event(reaped)?;
                }
                Ok(None) => {
                    let since = *quiet.get_or_insert_with(Instant::now);
                    if self.ended.is_some() && since.elapsed() > SETTLED && self.sleep() {
                        break;
                    }
                    if deadline.left().is_zero() {
                        return self.give_up();
                    }
                    pause(since.elapsed());
                }
                Err(error) if error.raw_os_error() == Some(libc::ECHILD) => break,
                Err(error) => return Err(error.into()),
            }
        }
        self.release()?;
        Ok(Traced { main: self.ended, processes: self.processes })
    }

    /// Whoever traces a process hears of its end before its parent can reap it: a parent that a pidfd has told of the end, and
    /// that the kernel lets us hear of first, would wait for it in vain.
    fn events_of_others(&mut self, first: i32) -> Res<()> {
        let others: Vec<i32> = self.tracees.keys().copied().filter(|pid| *pid != first).collect();
        for pid in others {
            if let Ok(Some(reaped)) = os::wait4(pid, libc::__WALL | libc::WNOHANG) {
                self.event(reaped)?;
            }
        }
        Ok(())
    }

    /// Whether nobody is running or waiting for a CPU: on a loaded machine quiet alone does not mean settled.
    fn sleep(&self) -> bool {
        self.tracees.keys().all(|pid| leftovers::run_state(*pid) != Some('R'))
    }

    fn event(&mut self, reaped: Reaped) -> Res<()> {
        let Reaped { pid, status, .. } = reaped;
        if !libc::WIFSTOPPED(status) {
            self.tracees.remove(&pid);
            self.early.retain(|early| *early != pid);
            if pid == self.main {
                self.ended = Some(reaped);
            }
            return Ok(());
        }
        let signal = libc::WSTOPSIG(status);
        let outcome = match (signal, status >> 16) {
            (libc::SIGTRAP, libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE) => {
                self.forked(pid)
            }
            (libc::SIGTRAP, libc::PTRACE_EVENT_EXEC) => self.executed(pid),
            (libc::SIGTRAP, _) => ptrace::resume(pid, 0),
            _ if signal == libc::SIGTRAP | 0x80 => self.call(pid),
            _ => self.signalled(pid, signal),
        };
        gone_is_fine(outcome)
    }

    fn forked(&mut self, pid: i32) -> std::io::Result<()> {
        let new = ptrace::event_message(pid)?;
        self.processes += 1;
        if let Some(parent) = self.tracees.get_mut(&pid) {
            let name = format!("{}.{}", parent.name, parent.children);
            parent.children += 1;
            let early = self.early.iter().position(|early| *early == new).map(|index| self.early.swap_remove(index));
            let stage = if early.is_some() { Stage::Runs } else { Stage::New };
            self.tracees.insert(new, Tracee::named(name, stage));
            if early.is_some() {
                ptrace::resume(new, 0)?;
            }
        }
        ptrace::resume(pid, 0)
    }

    /// The payload is busybox; everything else that is executed belongs to the runtime.
    fn executed(&mut self, pid: i32) -> std::io::Result<()> {
        let exe = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        if exe.ends_with("busybox") {
            self.tracees.remove(&pid);
            return ptrace::detach(pid);
        }
        // Of a multi-threaded process only the leader's pid remains after execve; the other threads' exits are seen.
        self.tracees.entry(pid).or_insert_with(|| Tracee::named("exec".into(), Stage::Runs)).site = None;
        ptrace::resume(pid, 0)
    }

    fn signalled(&mut self, pid: i32, signal: i32) -> std::io::Result<()> {
        match self.tracees.get_mut(&pid) {
            None => {
                self.early.push(pid);
                Ok(())
            }
            Some(tracee) if tracee.stage == Stage::New && signal == libc::SIGSTOP => {
                tracee.stage = Stage::Runs;
                ptrace::resume(pid, 0)
            }
            Some(_) => ptrace::resume(pid, signal),
        }
    }

    fn call(&mut self, pid: i32) -> std::io::Result<()> {
        let Some(tracee) = self.tracees.get_mut(&pid) else { return ptrace::resume(pid, 0) };
        match ptrace::syscall_stop(pid)? {
            Stop::Entry { nr, args } => {
                tracee.calls += 1;
                let nth = tracee.calls_of.entry(nr).or_default();
                *nth += 1;
                let site = Site { process: tracee.name.clone(), ordinal: tracee.calls, nth: *nth, nr, args };
                let verdict = self.observer.entry(&site);
                tracee.site = Some(site);
                match verdict {
                    Injection::Go => {}
                    Injection::Kill => return os::kill(pid, libc::SIGKILL),
                    Injection::Fail(errno) => {
                        tracee.inject = Some(errno);
                        if !acts_all_the_same(nr) {
                            ptrace::skip_call(pid)?;
                        }
                    }
                }
            }
            Stop::Exit { result } => {
                if let Some(errno) = tracee.inject.take() {
                    ptrace::set_result(pid, i64::from(-errno))?;
                    tracee.site = None;
                } else if let Some(site) = tracee.site.take() {
                    self.observer.result(&site, result);
                }
            }
            Stop::Other => {}
        }
        ptrace::resume(pid, 0)
    }

    /// Detaches what still lives: a stop by SIGSTOP, which the detach then takes back.
    fn release(&mut self) -> Res<()> {
        let pids: Vec<i32> = self.tracees.keys().copied().collect();
        for pid in pids {
            if os::kill(pid, libc::SIGSTOP).is_err() {
                continue;
            }
            let end = Instant::now() + Duration::from_secs(2);
            while Instant::now() < end {
                match os::wait4(pid, libc::__WALL | libc::WNOHANG) {
                    Ok(None) => std::thread::sleep(Duration::from_micros(50)),
                    Ok(Some(reaped)) if libc::WIFSTOPPED(reaped.status) => {
                        if libc::WSTOPSIG(reaped.status) == libc::SIGSTOP {
                            gone_is_fine(ptrace::detach(pid))?;
                            break;
                        }
                        gone_is_fine(ptrace::resume(pid, 0))?;
                    }
                    Ok(Some(_)) | Err(_) => break,
                }
            }
        }
        Ok(())
    }

    fn give_up(self) -> Res<Traced> {
        for pid in self.tracees.keys() {
            gone_is_fine(os::kill(*pid, libc::SIGKILL))?;
        }
        for pid in self.tracees.keys() {
            while os::wait4(*pid, libc::__WALL).is_ok_and(|got| got.is_some_and(|got| libc::WIFSTOPPED(got.status))) {}
        }
        Ok(Traced { main: None, processes: self.processes })
    }
}

/// close(2): "Linux always releases the descriptor", whatever error it then returns.
fn acts_all_the_same(nr: u64) -> bool {
    nr == libc::SYS_close as u64
}

/// The next stop is usually microseconds away: give way first, sleep only when it stays quiet.
fn pause(quiet: Duration) {
    if quiet < Duration::from_millis(1) {
        std::thread::yield_now();
    } else {
        std::thread::sleep(Duration::from_micros(500));
    }
}

/// A tracee that was killed meanwhile answers ESRCH; its end is reported by wait4.
fn gone_is_fine(outcome: std::io::Result<()>) -> Res<()> {
    match outcome {
        Err(error) if error.raw_os_error() != Some(libc::ESRCH) => Err(error.into()),
        _ => Ok(()),
    }
}
