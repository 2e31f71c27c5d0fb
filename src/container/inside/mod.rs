//! A process that begins in a container which is there already: that of `exec`, and the program of a template.
//!
//! Runs in the parent.

pub(in crate::container) mod program;

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::cgroup::Cgroup;
use crate::container::attend::ended::{EndCause, Ended};
use crate::container::caller::console::ProgramConsole;
use crate::container::caller::files::Receivers;
use crate::container::options::Global;
use crate::error::{Context, Error, Result, Stage};
use crate::launch::{self, HookOutput, Launch, Moment, Running, TellAgain, Trace, Waiting};
use crate::plan::Plan;
use crate::sys::signal::{self, Pending};

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
    /// When this can be read, too.
    pub interrupt: Option<BorrowedFd<'a>>,
}

/// Who asks us to end while a program is set up, of the signals that were taken.
pub(in crate::container) struct AskedToEnd {
    fd: OwnedFd,
    /// The signal that has.
    by: Cell<Option<i32>>,
}

impl AskedToEnd {
    pub(in crate::container) fn listen() -> Result<AskedToEnd> {
        let fd = signal::asks_to_end().at(Stage::Signal, || "take the signals")?;
        Ok(AskedToEnd { fd, by: Cell::new(None) })
    }

    /// Looks whether somebody has; an error then.
    pub(in crate::container) fn look(&self) -> Result<()> {
        let arrivals = signal::pending(self.fd.as_fd()).at(Stage::Signal, || "read the signals")?;
        let Some(signal) = arrivals.into_iter().flatten().next().map(Pending::signal) else { return Ok(()) };
        self.by.set(Some(signal));
        Err(Error::new(Stage::Signal, format!("asked to end: {}", signal::words(signal))))
    }

    /// How what was set up has ended of it, if that was so.
    pub(in crate::container) fn ended(&self) -> Option<Ended> {
        self.by.get().map(|signal| Ended::before_it_began(EndCause::Passed(signal)))
    }
}

impl AsFd for AskedToEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Has it begin. `tell` hears how far it is, and says when it wants to hear again; then the receivers of its pid and pidfd are
/// told. Of one that comes to nothing the pid file is taken back.
pub(in crate::container) fn begin(
    global: &Global,
    Beginning { plan, console, init, waiting, cgroup, trace, due, interrupt }: Beginning<'_>,
    mut receivers: Receivers<'_>,
    tell: &mut dyn FnMut(Moment<'_>) -> Result<TellAgain>,
) -> Result<Running> {
    let mut tell = |moment: Moment<'_>| -> Result<TellAgain> {
        let due = tell(moment)?;
        if let Moment::Ready(running) = moment {
            receivers.tell(running.pid, running.pidfd.as_fd())?;
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
        interrupt,
    });
    launched.inspect_err(|_| receivers.withdraw(global))
}
