//! Who stays with a program up to its end, in the foreground of `run` and `exec` or as a monitor: signals are passed on, streams
//! are relayed, children are reaped, limits are looked after.
//!
//! `attended` is such a program, and `relaying` the loop that stays with it. `watch` are the limits, and `announcement` is what other commands say of them; `signals` are
//! those that are sent to us; `readiness` is who waits until the program is ready; `ended` is how it ended.

pub(in crate::container) mod announcement;
pub(in crate::container) mod attended;
pub(in crate::container) mod ended;
mod readiness;
mod relaying;
pub(in crate::container) mod signals;
pub(in crate::container) mod watch;

use attended::Attended;
use ended::Ended;
use readiness::Readiness;
use relaying::Relaying;
use watch::{ProgramCgroup, Watch};

use crate::cgroup::Cgroup;
use crate::container::caller::flows::Flows;
use crate::container::caller::terminal::CallersTerminal;
use crate::error::Result;
use crate::sys::interrupt;

/// Waits for the program of a command that knows no limits; how it ended.
pub(in crate::container) fn to_end(attended: Attended) -> Result<Ended> {
    to_end_within(attended, None, ProgramCgroup::Own(None), &mut || Ok(()))
}

/// Waits for the program, and looks after its limits; how it ended. `release` lets the command
/// end that was called, where we are another process: once the program is ready, if somebody wants to be told of that.
pub(in crate::container) fn to_end_within(
    mut attended: Attended,
    watch: Option<&mut Watch>,
    cgroup: ProgramCgroup<&Cgroup>,
    release: &mut dyn FnMut() -> Result<()>,
) -> Result<Ended> {
    interrupt::hand_over();
    let own = attended.master.is_some().then(CallersTerminal::take);
    let mut flows = Flows::of(attended.master.take(), std::mem::take(&mut attended.streams))?;
    let survivor = watch.as_deref().is_some_and(Watch::in_background).then_some(attended.process.pid);
    let readiness = Readiness { socket: attended.notify.take(), survivor, release: Some(release) };
    let mut relaying = Relaying::new(&attended, attended.program(cgroup), &mut flows, readiness);
    (relaying.terminal, relaying.watch) = (own.as_ref(), watch);
    let ended = relaying.run();
    drop(own);
    flows.tell_lost(attended.warn);
    ended
}
