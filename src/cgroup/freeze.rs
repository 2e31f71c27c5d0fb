//! Freezes and thaws a container: the v1 freezer where it is mounted (other tools look there), else
//! cgroup.freeze (Linux 5.2).

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::error::{Context, Error, Result, Stage};
use crate::sys::fs;
use crate::sys::poll::{self, PollFlags};

use super::file::{self, FileAccess, lookup, read_all};
use super::handle::Cgroup;
use super::member::Member;
use super::walk::{Visitor, walk};

/// How long a container may take to freeze. A process in uninterruptible sleep can hold it up.
const LIMIT: Duration = Duration::from_secs(10);

impl Cgroup {
    fn v1_freezer(&self) -> Option<&Member> {
        self.members.iter().find(|m| m.has("freezer"))
    }

    /// Freezes all processes; returns when all are frozen. On failure they are thawed again.
    pub fn freeze(&self) -> Result<()> {
        self.freeze_within(LIMIT)
    }

    /// [`Self::freeze`] with another patience.
    pub(super) fn freeze_within(&self, limit: Duration) -> Result<()> {
        if let Some(member) = self.v1_freezer() {
            return freeze_v1(member, limit).or_else(|error| self.thaw().and(Err(error)));
        }
        match self.v2() {
            Some(member) => freeze_v2(member, limit).or_else(|error| self.thaw().and(Err(error))),
            None => Err(Error::new(Stage::Cgroup, "cannot freeze: the container has no cgroup with a freezer")),
        }
    }

    /// Thaws all processes; once more if that fails, for nobody else would where it is what we have frozen ourselves.
    pub fn thaw(&self) -> Result<()> {
        let (member, file, value) = match (self.v1_freezer(), self.v2()) {
            (Some(member), _) => (member, "freezer.state", "THAWED"),
            (None, Some(member)) => (member, "cgroup.freeze", "0"),
            (None, None) => {
                return Err(Error::new(Stage::Cgroup, "cannot thaw: the container has no cgroup with a freezer"));
            }
        };
        let thawed = member.write(file, value).or_else(|_| member.write(file, value));
        thawed.at(Stage::Cgroup, || format!("write {value} to {}/{file}", member.path()))
    }

    /// Thaws all processes, those too that the container itself has frozen in a cgroup below: a v1 freezer keeps a killed
    /// process from ending. Whether it may have done so, and may go on with it.
    pub(super) fn thaw_tree(&self) -> Result<bool> {
        #[derive(Default)]
        struct Thaw {
            cgroups: usize,
            frozen: bool,
        }
        impl Visitor for Thaw {
            fn enter(&mut self, cgroup: BorrowedFd<'_>) -> crate::sys::Result<()> {
                self.cgroups += 1;
                if file::read_below(cgroup, "freezer.self_freezing")?.trim() == "1" {
                    self.frozen = true;
                    file::write_below(cgroup, "freezer.state", "THAWED")?;
                }
                Ok(())
            }
        }
        let mut thaw = Thaw::default();
        match self.v1_freezer() {
            Some(member) => match member.fd().and_then(|fd| walk(fd, &mut thaw)) {
                Err(Errno::ENOENT | Errno::ENODEV) => {}
                result => result.at(Stage::Cgroup, || format!("thaw {}", member.path()))?,
            },
            // On cgroup2 SIGKILL reaches a frozen process; only what is shown of the container is left.
            None if self.frozen()? => self.thaw()?,
            None => {}
        }
        Ok(thaw.frozen || thaw.cgroups > 1)
    }

    /// A process that was sent SIGKILL ends now, although a v1 freezer holds it and the others stay frozen: it is moved to the
    /// nearest cgroup above that is not frozen. What is pending is dealt with before it runs another instruction of its program. On
    /// cgroup2 SIGKILL reaches a frozen process.
    pub fn let_end(&self, pid: i32) -> Result<()> {
        let Some(member) = self.v1_freezer() else { return Ok(()) };
        let moved = || -> crate::sys::Result<()> {
            let mut cgroup = file::open_dir(&member.dir.path)?;
            let hierarchy = fs::stat(cgroup.as_fd())?.st_dev;
            loop {
                // The topmost cgroup has no such file.
                match file::read_below(cgroup.as_fd(), "freezer.state") {
                    Ok(state) if state.trim() != "THAWED" => {}
                    Ok(_) | Err(Errno::ENOENT) => break,
                    Err(errno) => return Err(errno),
                }
                cgroup = file::open_dir_at(cgroup.as_fd(), "..")?;
                if fs::stat(cgroup.as_fd())?.st_dev != hierarchy {
                    // Only a part of the hierarchy is mounted here, and all of it is frozen.
                    return Err(Errno::EBUSY);
                }
            }
            file::write_below(cgroup.as_fd(), "cgroup.procs", &pid.to_string())
        };
        match moved() {
            // The process is gone, or the container's cgroup.
            Ok(()) | Err(Errno::ESRCH | Errno::ENODEV | Errno::ENOENT) => Ok(()),
            Err(errno) => {
                Err(errno).at(Stage::Cgroup, || format!("take process {pid}, which is to end, out of the freezer"))
            }
        }
    }

    /// Whether the container was frozen by itself, not with a parent of its cgroup. False when it has no freezer
    /// or its cgroup is gone.
    pub fn frozen(&self) -> Result<bool> {
        if let Some(member) = self.v1_freezer() {
            return Ok(member.read_if_any("freezer.self_freezing")?.is_some_and(|text| text.trim() == "1"));
        }
        match self.v2() {
            Some(member) => Ok(member.read_if_any("cgroup.freeze")?.is_some_and(|text| text.trim() == "1")),
            None => Ok(false),
        }
    }
}

fn timed_out(member: &Member, limit: Duration) -> Error {
    Error::errno(Stage::Cgroup, format!("freeze {} within {limit:?}", member.path()), Errno::ETIMEDOUT)
}

/// The v1 freezer reports FREEZING until every task has stopped, and reading the state is what advances it. It
/// announces nothing, and a task forked in the meantime can escape it, so FROZEN is written again each time
/// (freezer-subsystem.rst asked for that until its text changed; kernels with the old behaviour live on).
fn freeze_v1(member: &Member, limit: Duration) -> Result<()> {
    const FILE: &str = "freezer.state";
    let what = || format!("freeze {}", member.path());
    let state = member.open(FILE, FileAccess::ReadWrite).at(Stage::Cgroup, what)?;
    let start = Instant::now();
    let mut delay = Duration::ZERO;
    loop {
        file::write(state.as_fd(), "FROZEN").at(Stage::Cgroup, what)?;
        if read_all(state.as_fd()).at(Stage::Cgroup, what)?.trim() == "FROZEN" {
            return Ok(());
        }
        if start.elapsed() > limit {
            return Err(timed_out(member, limit));
        }
        poll::pause(delay).at(Stage::Cgroup, what)?;
        delay = (delay * 2).clamp(Duration::from_millis(1), Duration::from_millis(16));
    }
}

fn freeze_v2(member: &Member, limit: Duration) -> Result<()> {
    let what = || format!("freeze {}", member.path());
    let events = member.open("cgroup.events", FileAccess::Read).at(Stage::Cgroup, what)?;
    member.write("cgroup.freeze", "1").at(Stage::Cgroup, what)?;
    let start = Instant::now();
    while lookup(&read_all(events.as_fd()).at(Stage::Cgroup, what)?, "frozen") != Some(1) {
        let left = limit.checked_sub(start.elapsed()).ok_or_else(|| timed_out(member, limit))?;
        poll::one(events.as_fd(), PollFlags::POLLPRI, poll::within(left)).at(Stage::Cgroup, what)?;
    }
    Ok(())
}
