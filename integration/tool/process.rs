//! One process from spawn to exit, timed. Called from one thread with nothing else running in this process.

use super::Res;
use super::os::{self, Reaped};
use crate::common::leftovers;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A finished process.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    pub ms: f64,
    pub reaped: Reaped,
}

impl Done {
    pub fn ok(&self) -> bool {
        self.reaped.status == 0
    }
}

/// std uses posix_spawn (clone with CLONE_VM|CLONE_VFORK) as long as no hook is set, which keeps this process's size out.
pub fn timed(command: &mut Command) -> Res<Done> {
    let start = Instant::now();
    let child = command.spawn()?;
    let reaped = wait(child.id() as i32)?;
    Ok(Done { ms: start.elapsed().as_secs_f64() * 1e3, reaped })
}

/// Like `timed`, but `None`, with the process killed, when it takes longer than `limit`.
pub fn bounded(command: &mut Command, limit: Duration) -> Res<Option<Done>> {
    let start = Instant::now();
    let child = command.spawn()?;
    let pid = child.id() as i32;
    if let Some(reaped) = wait_within(pid, &[], limit)? {
        return Ok(Some(Done { ms: start.elapsed().as_secs_f64() * 1e3, reaped }));
    }
    os::kill(pid, libc::SIGKILL)?;
    wait(pid)?;
    Ok(None)
}

/// Waits at most `limit` for a child, and reaps orphans meanwhile as every shim does: a pid namespace ends only when
/// all of its processes have been reaped, so a container whose `exec` was killed ends only then. `siblings` are
/// children whose status somebody else wants.
pub fn wait_within(pid: i32, siblings: &[i32], limit: Duration) -> Res<Option<Reaped>> {
    const SLICE: Duration = Duration::from_millis(20);
    let mut deadline = Deadline::new(limit);
    loop {
        let left = deadline.left();
        if let Some(reaped) = os::wait4_within(pid, left.min(SLICE))? {
            return Ok(Some(reaped));
        }
        if left.is_zero() {
            return Ok(None);
        }
        for zombie in leftovers::zombies()? {
            if zombie != pid && !siblings.contains(&zombie) {
                os::wait4(zombie, libc::WNOHANG)?;
            }
        }
    }
}

/// A limit of time that does not run while this process is stopped (as when somebody else measures on the machine).
/// It must be asked at least every half second.
pub struct Deadline {
    end: Instant,
    asked: Instant,
}

impl Deadline {
    /// From now.
    pub fn new(limit: Duration) -> Self {
        let now = Instant::now();
        Self { end: now + limit, asked: now }
    }

    /// How much there is left of it.
    pub fn left(&mut self) -> Duration {
        const STOPPED: Duration = Duration::from_secs(1);
        let now = Instant::now();
        let pause = now - self.asked;
        if pause > STOPPED {
            self.end += pause;
        }
        self.asked = now;
        self.end.saturating_duration_since(now)
    }
}

/// Waits for a child whatever it takes.
pub fn wait(pid: i32) -> Res<Reaped> {
    os::wait4(pid, 0)?.ok_or_else(|| "wait4 without WNOHANG returned nothing".into())
}

/// Collects every zombie there is now, without waiting.
pub fn reap_all() {
    while let Ok(Some(_)) = os::wait4(-1, libc::WNOHANG) {}
}

/// Silent streams: the terminal must not be part of what is measured.
pub fn quiet(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}
