//! Sends a signal to every process of a container.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::error::{Context, Error, Result, Stage};
use crate::plan::reach::Reach;
use crate::sys::{poll, signal};

use super::handle::Cgroup;
use super::member::UNSEEN;

/// A signal to send.
pub type Signal = i32;

/// How often the list of processes is read again for forks that were faster.
const ROUNDS: usize = 64;

/// How long a freeze that only serves a signal may take: the signal does not need it, and a process that waits for a
/// dead device would keep all others from being killed.
const FREEZE_LIMIT: Duration = Duration::from_millis(500);

/// How long processes that were killed are kept thawed. One that has not ended by then waits for something else.
const THAWED_LIMIT: Duration = Duration::from_secs(2);

impl Cgroup {
    /// Sends `signal` to all processes, descendants' cgroups included, so that none forked meanwhile is left out.
    /// SIGKILL reaches a frozen container too: it ends up thawed.
    pub fn kill(&self, signal: Signal) -> Result<()> {
        if signal == libc::SIGKILL && self.kill_at_once()? {
            // The kernel sends it to first threads, and to no process whose first thread has ended before the others (seen with Linux 6.18).
            let _unseen = self.signal_all(libc::SIGKILL)?;
            return self.kill_thawed();
        }
        let was_frozen = self.frozen()?;
        // Frozen processes neither fork nor end, so the list stays true while it is worked through. Without a
        // freezer, or when one process cannot be frozen, repeating the list has to do.
        let froze = !was_frozen && self.freeze_within(FREEZE_LIMIT).is_ok();
        let outcome = self.signal_all(signal);
        if froze {
            self.thaw()?;
        }
        let unseen = outcome?;
        if signal == libc::SIGKILL {
            self.kill_thawed()?;
        }
        if unseen { Err(not_seen()) } else { Ok(()) }
    }

    /// Kills all processes, thawed, until they are gone: a v1 freezer keeps who was sent SIGKILL, and the first one of a pid namespace
    /// ends after all others. One that is not frozen may write to the freezer again until it dies itself.
    pub fn kill_thawed(&self) -> Result<()> {
        let end = Instant::now() + THAWED_LIMIT;
        let mut delay = Duration::from_millis(1);
        while self.thaw_tree()? && !self.pids(Reach::Tree)?.is_empty() && Instant::now() < end {
            let _unseen = self.signal_all(libc::SIGKILL)?;
            poll::pause(delay).at(Stage::Cgroup, || "wait for processes to end")?;
            delay = (delay * 2).min(Duration::from_millis(16));
        }
        Ok(())
    }

    /// cgroup.kill (Linux 5.14): one write, and no fork escapes. False where there is none.
    fn kill_at_once(&self) -> Result<bool> {
        let Some(member) = self.v2() else { return Ok(false) };
        match member.write("cgroup.kill", "1") {
            Ok(()) => Ok(true),
            // ENODEV: removed meanwhile. EOPNOTSUPP: a threaded cgroup.
            Err(Errno::ENOENT | Errno::ENODEV | Errno::EOPNOTSUPP) => Ok(false),
            Err(errno) => Err(errno).at(Stage::Cgroup, || format!("write 1 to {}/cgroup.kill", member.path())),
        }
    }

    /// Whether there are processes that no signal of ours reaches: they are not in our pid namespace.
    fn signal_all(&self, signal: Signal) -> Result<bool> {
        let mut done = BTreeSet::new();
        for _ in 0..ROUNDS {
            let new: Vec<i32> = self.listed_pids(Reach::Tree)?.into_iter().filter(|pid| !done.contains(pid)).collect();
            if new.is_empty() {
                return Ok(done.contains(&UNSEEN));
            }
            for pid in new {
                // To the kernel 0 is our own process group.
                let sent = if pid == UNSEEN { Ok(()) } else { signal::kill(pid, signal) };
                match sent {
                    Ok(()) | Err(Errno::ESRCH) => {}
                    Err(errno) => return Err(errno).at(Stage::Signal, || format!("signal process {pid}")),
                }
                done.insert(pid);
            }
        }
        Err(Error::new(Stage::Signal, "signal all processes: new ones appear faster than they can be signalled"))
    }
}

fn not_seen() -> Error {
    Error::new(Stage::Signal, "processes of its cgroup are not in this pid namespace, and no signal reaches them")
        .with_hint("the pid namespace in which the container was made has them")
}
