//! Tells when a container runs out of memory.

use std::ffi::CString;
use std::fmt::Display;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use crate::error::{Context, Error, Result, Stage};
use crate::plan::cgroup::files;
use crate::sys::poll;

use super::file::FileAccess;
use super::handle::Cgroup;
use super::member::{Absent, Member};

/// A watch on a container's memory cgroup. Its descriptor becomes readable (POLLIN) when there is something to
/// [`drain`](OomWatch::drain).
#[derive(Debug)]
pub struct OomWatch {
    events: OwnedFd,
    memory: Member,
    /// v1: the file the eventfd is bound to.
    _control: Option<OwnedFd>,
    seen: u64,
    /// v1: memory ran out, and no kill was counted since.
    announced: Option<Instant>,
}

/// How long a kill may come after its announcement. One that never comes is none: memory was found after all, or the
/// container has no OOM killer.
const ANNOUNCED: Duration = Duration::from_secs(2);

impl Cgroup {
    /// Watches for the OOM killer. v1: an eventfd on memory.oom_control; v2: inotify on memory.events.
    /// `None`: the container has no cgroup with the memory controller.
    pub fn oom_watch(&self) -> Result<Option<OomWatch>> {
        let Some(member) = self.with("memory") else { return Ok(None) };
        let memory = member.below("", Absent::Refuse)?;
        let (events, control) = if member.is_v2() { (watch_v2(member)?, None) } else { watch_v1(member)? };
        let seen = oom_kills(&memory)?.unwrap_or(0);
        Ok(Some(OomWatch { events, memory, _control: control, seen, announced: None }))
    }

    /// How many processes of this cgroup the kernel has killed for want of memory, whoever set the limit. `None` where
    /// that is not counted.
    pub fn oom_kills(&self) -> Result<Option<u64>> {
        match self.with("memory") {
            Some(member) => oom_kills(&member.below("", Absent::Refuse)?),
            None => Ok(None),
        }
    }
}

/// What has run out where the kernel has killed for want of memory: a limit by its name, in bytes, or what nobody here has set.
pub fn oom_cause(limit: Option<(&str, &dyn Display)>) -> String {
    match limit {
        Some((name, bytes)) => format!("{name} is {bytes} bytes"),
        None => "a cgroup above or the machine is out of memory".to_owned(),
    }
}

fn watch_v1(member: &Member) -> Result<(OwnedFd, Option<OwnedFd>)> {
    let what = || format!("watch {}/memory.oom_control", member.path());
    let events = poll::eventfd().at(Stage::Cgroup, what)?;
    let control = member.open(files::OOM_CONTROL.name, FileAccess::Read).at(Stage::Cgroup, what)?;
    let line = format!("{} {}", events.as_raw_fd(), control.as_raw_fd());
    member.write("cgroup.event_control", &line).at(Stage::Cgroup, what)?;
    Ok((events, Some(control)))
}

fn watch_v2(member: &Member) -> Result<OwnedFd> {
    const EVENTS: &str = "memory.events";
    let events = poll::inotify().at(Stage::Cgroup, || "make an inotify instance")?;
    let what = || format!("watch {}/{EVENTS}", member.path());
    let path = CString::new(member.dir.path.join(EVENTS).as_os_str().as_bytes())
        .map_err(|_| Error::new(Stage::Cgroup, what()))?;
    poll::inotify_modified(events.as_fd(), &path).at(Stage::Cgroup, what)?;
    Ok(events)
}

/// The kernel's own count; v1 has it since 4.13. `None` when the cgroup is gone or the count is missing.
fn oom_kills(memory: &Member) -> Result<Option<u64>> {
    let file = if memory.is_v2() { "memory.events" } else { files::OOM_CONTROL.name };
    memory.keyed(file, "oom_kill")
}

impl OomWatch {
    /// How many times the kernel has killed for want of memory since the last call; on kernels that do not count (v1 before 4.13) at
    /// least 1 when it did. Never blocks.
    pub fn drain(&mut self) -> Result<u64> {
        let signalled = poll::drain(self.events.as_fd()).at(Stage::Cgroup, || "read memory events")?;
        let counted = oom_kills(&self.memory)?;
        let kills = match counted {
            Some(total) => total.saturating_sub(self.seen),
            // A kernel that does not count.
            None if self.exists()? => u64::from(signalled && !self.memory.is_v2()),
            // The cgroup went with the container: what was announced is what it died of.
            None => u64::from(self.announced.take().is_some()),
        };
        // The removal of the cgroup is a signal as well.
        if signalled && counted.is_some() && !self.memory.is_v2() {
            self.announced = Some(Instant::now());
        }
        self.seen = counted.unwrap_or(self.seen);
        if kills > 0 || self.announced.is_some_and(|since| since.elapsed() > ANNOUNCED) {
            self.announced = None;
        }
        Ok(kills)
    }

    /// When to look again without a signal. v1 announces that memory has run out before the kernel has chosen whom to
    /// kill, and counts the kill a moment later, of which it says nothing more.
    pub fn look_again(&self) -> Option<Duration> {
        self.announced.map(|_| Duration::from_millis(5))
    }

    fn exists(&self) -> Result<bool> {
        Ok(self.memory.read_if_any(files::OOM_CONTROL.name)?.is_some())
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }
}
