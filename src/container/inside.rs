//! A process that begins in a container which is there already: that of `exec`, and the program of a template.
//!
//! Runs in the parent.

use std::os::fd::{AsFd, OwnedFd};

use super::console::ProgramConsole;
use super::files::Receivers;
use super::options::Global;
use crate::cgroup::Cgroup;
use crate::error::Result;
use crate::launch::{self, HookOutput, Launch, Moment, Running, TellAgain, Trace, Waiting};
use crate::plan::Plan;

/// What begins, and with what.
pub(super) struct Beginning<'a> {
    pub plan: &'a Plan,
    pub console: ProgramConsole,
    /// The pidfd of the container's first process.
    pub init: OwnedFd,
    /// That process, where it is what becomes the program.
    pub waiting: Option<Waiting>,
    /// What the new process joins.
    pub cgroup: Option<Cgroup>,
    pub trace: Option<&'a mut Trace>,
}

/// Has it begin. `tell` hears how far it is, and then the receivers of its pid and pidfd do; of one that comes to nothing
/// the pid file is taken back.
pub(super) fn begin(
    global: &Global,
    Beginning { plan, console, init, waiting, cgroup, trace }: Beginning<'_>,
    mut receivers: Receivers<'_>,
    tell: &mut dyn FnMut(Moment) -> Result<()>,
) -> Result<Running> {
    let mut tell = |moment: Moment, running: Option<&Running>| -> Result<TellAgain> {
        tell(moment)?;
        if let Some(running) = running.filter(|_| moment == Moment::Ready) {
            receivers.tell(running.pid, running.pidfd.as_fd())?;
        }
        // No code of the container's runs before the program.
        Ok(None)
    };
    let launched = launch::launch(Launch {
        plan,
        hook_output: HookOutput::default(),
        warn: global.warn,
        tell: &mut tell,
        streams: console.streams,
        console: console.socket,
        fifo: None,
        init: Some(init),
        waiting,
        cgroup: Some(cgroup.unwrap_or_default()),
        trace,
    });
    launched.inspect_err(|_| receivers.withdraw(global))
}
