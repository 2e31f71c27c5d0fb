//! Removes a container's cgroups, sub-cgroups included, and waits for processes that are on their way out.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::error::{Context, Error, Result, Stage};
use crate::plan::reach::Reach;
use crate::proc::pid_namespace;
use crate::sys::poll::{self, PollFlags};
use crate::sys::{fs, pidfd};

use super::file::{FileAccess, lookup, read_all, remove_dir};
use super::handle::Cgroup;
use super::member::{Member, UNSEEN};
use super::saved::Saved;
use super::walk::{Visitor, walk};

/// What to do with processes that are still in the cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftover {
    /// Wait until they have ended.
    Wait,
    /// Kill them first.
    Kill,
    /// Kill those of our own pid namespace first, whom somebody has put there, and wait for the others.
    KillOurs,
}

/// How long processes may take to end once they have been killed.
const LIMIT: Duration = Duration::from_secs(10);

impl Saved {
    /// Removes what is there of the cgroups. Directories that are gone already are no error, so it can be repeated
    /// after any interruption. The parents stay: they may be shared.
    pub fn remove(&self, leftover: Leftover) -> Result<()> {
        // The usual case: everything has ended and nothing was made below, so there is nothing to open.
        let left: Vec<_> = self.dirs.iter().filter(|dir| !gone(remove_dir(&dir.path))).cloned().collect();
        if left.is_empty() && self.scope.is_none() {
            return Ok(());
        }
        Cgroup::open(&Saved { dirs: left, scope: self.scope.clone() })?.remove(leftover)
    }
}

impl Cgroup {
    /// Removes cgroups that are open already.
    pub fn remove(&self, leftover: Leftover) -> Result<()> {
        self.remove_dirs(leftover)?;
        // After its processes: stopping a unit that still has some asks them to end, and waits.
        self.stop_scope()
    }

    fn remove_dirs(&self, leftover: Leftover) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        // The usual case: everything has ended and nothing was made below.
        let stuck: Vec<&Member> = self.members.iter().filter(|m| !gone(remove_dir(&m.dir.path))).collect();
        if stuck.is_empty() {
            return Ok(());
        }
        match leftover {
            Leftover::Wait => {}
            Leftover::Kill => self.kill(libc::SIGKILL)?,
            Leftover::KillOurs => stuck.iter().try_for_each(|member| kill_ours(member))?,
        }
        stuck.into_iter().try_for_each(|member| remove_tree(member, deadline))
    }
}

fn kill_ours(member: &Member) -> Result<()> {
    let Ok(own) = pid_namespace::of("self") else { return Ok(()) };
    let is_ours = |pid: &i32| pid_namespace::of(pid).is_ok_and(|namespace| namespace == own);
    let mut pids = Vec::new();
    member.collect_pids(Reach::Tree, &mut pids)?;
    for pid in pids.into_iter().filter(is_ours) {
        let Ok(process) = pidfd::open(pid) else { continue };
        // Still the one that was looked at.
        if is_ours(&pid) {
            pidfd::signal(process.as_fd(), libc::SIGKILL).at(Stage::Cgroup, || format!("kill process {pid}"))?;
        }
    }
    Ok(())
}

fn gone(outcome: crate::sys::Result<()>) -> bool {
    matches!(outcome, Ok(()) | Err(Errno::ENOENT))
}

/// Children first. EBUSY has three causes: children, processes, and processes that have ended but not quite.
fn remove_tree(member: &Member, deadline: Instant) -> Result<()> {
    let mut delay = Duration::from_millis(1);
    loop {
        match remove_dir(&member.dir.path) {
            Ok(()) | Err(Errno::ENOENT) => return Ok(()),
            Err(Errno::EBUSY | Errno::ENOTEMPTY | Errno::EINTR) => {}
            Err(errno) => return Err(errno).at(Stage::Cgroup, || format!("rmdir {}", member.path())),
        }
        remove_below(member)?;
        let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
            return Err(still_used(member));
        };
        if !wait_for_end(member, left)? {
            // Nothing to wait on: the last task is between its exit and its release.
            poll::pause(delay.min(left)).at(Stage::Cgroup, || format!("wait for {}", member.path()))?;
            delay = (delay * 2).min(Duration::from_millis(50));
        }
    }
}

/// Removes what can be removed of the cgroups below, the deepest first.
fn remove_below(member: &Member) -> Result<()> {
    struct Remove;
    impl Visitor for Remove {
        fn leave(&mut self, parent: BorrowedFd<'_>, name: &CStr) -> crate::sys::Result<()> {
            match fs::unlink(parent, name, libc::AT_REMOVEDIR) {
                Err(Errno::EBUSY | Errno::ENOTEMPTY) => Ok(()),
                result => result,
            }
        }
    }
    match member.fd().and_then(|fd| walk(fd, &mut Remove)) {
        Err(Errno::ENOENT | Errno::ENODEV) => Ok(()),
        result => result.at(Stage::Cgroup, || format!("remove the cgroups in {}", member.path())),
    }
}

fn still_used(member: &Member) -> Error {
    let mut pids = Vec::new();
    let listed = member.collect_pids(Reach::Tree, &mut pids);
    let who = match (listed, pids.as_slice()) {
        (Ok(()), [UNSEEN, ..]) => format!("{} process(es) are left in it, some of another pid namespace", pids.len()),
        (Ok(()), [first, ..]) => format!("{} process(es) are left in it, such as {first}", pids.len()),
        _ => "it is busy".to_owned(),
    };
    Error::errno(Stage::Cgroup, format!("rmdir {}: {who}", member.path()), Errno::EBUSY)
}

/// Waits until a process of the cgroup ends, or all of them; false when there is nothing to wait on.
fn wait_for_end(member: &Member, left: Duration) -> Result<bool> {
    let what = || format!("wait for the processes of {}", member.path());
    if member.is_v2() {
        let events = match member.open("cgroup.events", FileAccess::Read) {
            Ok(events) => events,
            Err(Errno::ENOENT | Errno::ENODEV) => return Ok(false),
            Err(errno) => return Err(errno).at(Stage::Cgroup, what),
        };
        let text = match read_all(events.as_fd()) {
            Err(Errno::ENODEV) => return Ok(false),
            other => other.at(Stage::Cgroup, what)?,
        };
        if lookup(&text, "populated") != Some(1) {
            return Ok(false);
        }
        poll::one(events.as_fd(), PollFlags::POLLPRI, poll::within(left)).at(Stage::Cgroup, what)?;
        return Ok(true);
    }
    let mut pids = Vec::new();
    member.collect_pids(Reach::Tree, &mut pids)?;
    for pid in pids {
        match pidfd::open(pid) {
            Ok(process) => {
                // A process that has ended is readable at once until it is reaped.
                let ended = poll::one(process.as_fd(), PollFlags::POLLIN, poll::now()).at(Stage::Cgroup, what)?;
                if !ended {
                    poll::one(process.as_fd(), PollFlags::POLLIN, poll::within(left)).at(Stage::Cgroup, what)?;
                    return Ok(true);
                }
            }
            // ENOSYS: Linux before 5.3. Then pauses have to do.
            Err(Errno::ESRCH | Errno::ENOSYS | Errno::EINVAL) => {}
            Err(errno) => return Err(errno).at(Stage::Cgroup, what),
        }
    }
    Ok(false)
}
