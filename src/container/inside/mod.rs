//! A process that begins in a container which is there already: that of `exec`, and the program of a template.
//!
//! Runs in the parent.
//!
//! `program` says what is to run; then it is begun here: the process is made, put into the cgroup and told of, up to its program.

pub(in crate::container) mod program;

use std::os::fd::OwnedFd;

use crate::cgroup::Cgroup;
use crate::container::caller::console::ProgramConsole;
use crate::container::caller::files::Receivers;
use crate::container::options::Global;
use crate::error::Result;
use crate::launch::{self, HookOutput, Launch, Moment, Running, TellAgain, Trace, Waiting};
use crate::plan::Plan;

/// What begins, and with what.
pub(in crate::container) struct Beginning<'a> {
    pub plan: &'a Plan,
    pub console: ProgramConsole,
    /// The pidfd of the container's first process.
    pub init: OwnedFd,
    /// That process, where it is what becomes the program.
    pub waiting: Option<Waiting>,
    /// What the new process joins.
    pub cgroup: Option<Cgroup>,
    pub trace: Option<&'a mut Trace>,
    /// When `tell` wants to hear of it although it is not set up yet.
    pub due: TellAgain,
}

/// Has it begin. `tell` hears how far it is, and says when it wants to hear again; then the receivers of its pid and pidfd are
/// told. Of one that comes to nothing the pid file is taken back.
pub(in crate::container) fn begin(
    global: &Global,
    Beginning { plan, console, init, waiting, cgroup, trace, due }: Beginning<'_>,
    mut receivers: Receivers<'_>,
    tell: &mut dyn FnMut(Moment<'_>) -> Result<TellAgain>,
) -> Result<Running> {
    let mut tell = |moment: Moment<'_>| -> Result<TellAgain> {
        let due = tell(moment)?;
        if let Moment::Ready(running) = moment {
            receivers.tell(&running.process)?;
        }
        Ok(due)
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
        due,
    });
    launched.inspect_err(|_| receivers.withdraw(global))
}
