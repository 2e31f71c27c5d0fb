//! A process that cannot be confused with a later one of the same pid.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::{LOOK_AGAIN, UNHEARD, identity};
use crate::error::{Context, Error, Result, Stage};
use crate::proc::{file, stat};
use crate::sys;
use crate::sys::poll::{self, PollFlags};

/// A pid and when its process started: together they name one process of this boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessId {
    /// Process id as brisk sees it.
    pub pid: i32,
    /// Field 22 of /proc/PID/stat: clock ticks since boot.
    pub start_time: u64,
}

/// Whether a process still runs. A zombie does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Life {
    Alive,
    Gone,
}

impl ProcessId {
    /// The process that has this pid now; the caller knows that it is the right one (its own child, itself).
    pub fn of(pid: i32) -> Result<ProcessId> {
        match read(pid)? {
            Some(stat) => Ok(ProcessId { pid, start_time: stat.start_time }),
            None => Err(Error::errno(Stage::State, format!("read the start time of process {pid}"), Errno::ESRCH)),
        }
    }

    /// Our own; an error where the /proc that is mounted has another number for us, as it has another process by ours: it is of
    /// another pid namespace, and what we would write down of our children would name strangers.
    pub fn own() -> Result<ProcessId> {
        let pid = sys::process::getpid();
        let own = stat::read_own().at(Stage::State, || "read /proc/self/stat")?;
        match own.filter(|own| own.pid == pid) {
            Some(own) => Ok(ProcessId { pid, start_time: own.start_time }),
            None => Err(Error::new(Stage::State, "/proc is not of this pid namespace").with_hint(OWN_PROC)),
        }
    }

    /// Whether this very process runs.
    pub fn life(self) -> Result<Life> {
        Ok(match read(self.pid)? {
            Some(stat) if stat.start_time == self.start_time && !stat.dead => Life::Alive,
            _ => Life::Gone,
        })
    }

    /// Whether it runs no more, or not for long: it was killed, or has begun to exit.
    pub fn is_leaving(self) -> Result<bool> {
        Ok(read(self.pid)?.is_none_or(|stat| stat.start_time != self.start_time || stat.dead || stat.dying))
    }

    /// A pidfd of this very process; `None` when it is gone. The start time is read after the pidfd was
    /// opened: if it matches then, the pidfd cannot be of a later process.
    pub fn pidfd(self) -> Result<Option<OwnedFd>> {
        self.pidfd_where(|stat| !stat.dead)
    }

    /// A pidfd of this very process, also when it has ended and nobody has reaped it yet: it will tell how.
    pub fn pidfd_until_reaped(self) -> Result<Option<OwnedFd>> {
        self.pidfd_where(|_| true)
    }

    fn pidfd_where(self, fits: impl FnOnce(&stat::Stat) -> bool) -> Result<Option<OwnedFd>> {
        let pidfd = match sys::pidfd::open(self.pid) {
            // EINVAL: no thread-group leader of this number (any more).
            Err(Errno::EINVAL) => return Ok(None),
            Err(Errno::ESRCH) if self.life()? == Life::Gone => return Ok(None),
            Err(Errno::ESRCH) => {
                let what = format!("process {} is there, and not in this pid namespace", self.pid);
                return Err(Error::new(Stage::State, what).with_hint(OWN_PROC));
            }
            result => result.at(Stage::Signal, || format!("open a pidfd of process {}", self.pid))?,
        };
        let there = read(self.pid)?.is_some_and(|stat| stat.start_time == self.start_time && fits(&stat));
        Ok(there.then_some(pidfd))
    }

    /// Whether it ends until then. Its pidfd says so once whoever traces one of its threads has heard of that, which may be never.
    pub fn ends(self, pidfd: BorrowedFd<'_>, by: Option<Instant>) -> Result<bool> {
        loop {
            let look = Instant::now() + UNHEARD;
            let last = by.filter(|by| *by <= look);
            let told = poll::one(pidfd, PollFlags::POLLIN, last.or(Some(look)));
            if told.at(Stage::Signal, || format!("wait for process {} to end", self.pid))? || self.life()? == Life::Gone
            {
                return Ok(true);
            }
            if last.is_some() {
                return Ok(false);
            }
        }
    }

    /// Pidfds of its children, without those it has made while we looked.
    pub fn children(self) -> Result<Vec<OwnedFd>> {
        self.children_where(|_, _| true)
    }

    /// Of those, without the daemons of other programs that it may have adopted, which are in a session that is not its own.
    pub fn children_at_work(self) -> Result<Vec<OwnedFd>> {
        let session = read(self.pid)?.map(|stat| stat.session);
        let own = program(self.pid);
        // What is being set up is a copy of it, and may let nobody look.
        let copy = |pid| program(pid).is_none_or(|found| own.is_none_or(|own| own == found));
        self.children_where(|pid, child| Some(child.session) == session || copy(pid))
    }

    fn children_where(self, fits: impl Fn(i32, &stat::Stat) -> bool) -> Result<Vec<OwnedFd>> {
        let mut children = Vec::new();
        for pid in stat::children(self.pid).at(Stage::State, || format!("find the children of process {}", self.pid))? {
            let child = ProcessId { pid, start_time: read(pid)?.map_or(0, |stat| stat.start_time) };
            let Some(pidfd) = child.pidfd()? else { continue };
            // Still its child, and itself still the process that we mean, after the pidfd was opened.
            let is_meant = read(pid)?.is_some_and(|stat| stat.parent == self.pid && fits(pid, &stat));
            if is_meant && self.life()? == Life::Alive {
                children.push(pidfd);
            }
        }
        Ok(children)
    }

    /// Stops it, so that it does nothing more while we look at what it has done. What is in a system call that no signal ends
    /// is waited for no longer than `patience`.
    pub fn stop(self, patience: Duration) -> Result<()> {
        self.signal(libc::SIGSTOP)?;
        let end = Instant::now() + patience;
        while self.life()? == Life::Alive && read(self.pid)?.is_some_and(|stat| !stat.stopped) && Instant::now() < end {
            poll::pause(LOOK_AGAIN).at(Stage::State, || "wait for a process to stop")?;
        }
        Ok(())
    }

    /// Sends `signal`; `Gone` when the process does not run any more.
    pub fn signal(self, signal: i32) -> Result<Life> {
        let Some(pidfd) = self.pidfd()? else { return Ok(Life::Gone) };
        let what = || format!("send signal {signal} to process {}", self.pid);
        let there = sys::pidfd::signal(pidfd.as_fd(), signal).at(Stage::Signal, what)?;
        Ok(if there { Life::Alive } else { Life::Gone })
    }
}

/// What to do where /proc is of another pid namespace.
const OWN_PROC: &str = "mount the proc of this pid namespace: `unshare --pid --fork --mount-proc` does";

/// The file of its program, as (device, inode).
fn program(pid: i32) -> Option<(u64, u64)> {
    identity(Path::new(&format!("/proc/{pid}/exe")))
}

/// `None` where there is no such process, which proc alone does not tell: it is not mounted everywhere, and may hide those of others.
fn read(pid: i32) -> Result<Option<stat::Stat>> {
    // Between the first two questions another one may have begun, with the number of one that has ended.
    for _ in 0..2 {
        let found = stat::read(pid).at(Stage::State, || format!("read /proc/{pid}/stat"))?;
        if found.is_some() || pid <= 0 || !sys::process::is_there(pid) {
            return Ok(found);
        }
    }
    let hidden = Error::new(Stage::State, format!("process {pid} is there, and /proc does not show it"));
    Err(hidden
        .told(Errno::EACCES)
        .with_hint("a proc of this pid namespace must be mounted, and without hidepid: see proc(5)"))
}

/// The identity of this boot: start times of another boot mean nothing. Empty where a proc without `sys` does not tell
/// (`subset=pid`, or in a container that hides it).
pub fn boot_id() -> Result<&'static str> {
    static OURS: OnceLock<String> = OnceLock::new();
    if let Some(known) = OURS.get() {
        return Ok(known);
    }
    let path = "/proc/sys/kernel/random/boot_id";
    let read = match file::read_record_text(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        text => text.at(Stage::State, || format!("read {path}"))?.trim_end().to_owned(),
    };
    Ok(OURS.get_or_init(|| read))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_its_own() {
        use std::io::Read;
        let mut shell = std::process::Command::new("sh")
            .args(["-c", "sleep 60 & setsid sh -c 'echo x; exec sleep 60' & wait"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        shell.stdout.as_mut().unwrap().read_exact(&mut [0; 2]).unwrap();
        let parent = ProcessId::of(shell.id().cast_signed()).unwrap();
        let found = parent.children().unwrap();
        assert_eq!(found.len(), 2);
        let stranger = ProcessId { start_time: parent.start_time + 1, ..parent };
        assert!(stranger.children().unwrap().is_empty());
        // A daemon, once it is another program.
        let end = Instant::now() + Duration::from_secs(10);
        let mut at_work = parent.children_at_work().unwrap();
        while at_work.len() > 1 && Instant::now() < end {
            at_work = parent.children_at_work().unwrap();
        }
        assert_eq!(at_work.len(), 1);
        sys::pidfd::kill(at_work[0].as_fd(), libc::SIGKILL).unwrap();
        found.iter().for_each(|child| sys::pidfd::signal(child.as_fd(), libc::SIGKILL).map(drop).unwrap());
        shell.wait().unwrap();
        assert!(parent.children().unwrap().is_empty());
    }

    #[test]
    fn a_stopped_process_is_stopped_when_we_know_of_it() {
        let mut sleeper = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = ProcessId::of(sleeper.id().cast_signed()).unwrap();
        process.stop(Duration::from_secs(10)).unwrap();
        assert!(read(process.pid).unwrap().unwrap().stopped);
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        process.stop(Duration::from_secs(10)).unwrap();
    }

    #[test]
    fn another_start_time_is_another_process() {
        let me = ProcessId::of(sys::process::getpid()).unwrap();
        assert_eq!(me.life().unwrap(), Life::Alive);
        let later = ProcessId { start_time: me.start_time + 1, ..me };
        assert_eq!(later.life().unwrap(), Life::Gone);
        assert!(later.pidfd().unwrap().is_none());
        assert_eq!(later.signal(libc::SIGKILL).unwrap(), Life::Gone);
    }
}
