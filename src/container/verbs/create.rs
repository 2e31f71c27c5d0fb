//! `create`: makes a container that waits for `start`.

use super::delete;
use crate::container::attend::attended::Attended;
use crate::container::attend::ended::Ended;
use crate::container::attend::signals;
use crate::container::attend::watch::ProgramCgroup;
use crate::container::caller::console::{Console, ConsoleRequest};
use crate::container::caller::files::{self, Receivers};
use crate::container::job::{self, JobRequest, Task};
use crate::container::make::bundle::Bundle;
use crate::container::make::planned::PlannedContainer;
use crate::container::make::{Created, NewContainer, image};
use crate::container::options::{Create, Global};
use crate::error::Result;
use crate::launch::{Running, Trace};
use crate::plan::ProgramStart;

/// Makes a container that waits for `start`; the exit status.
pub fn create(global: &Global, args: &Create) -> Result<u8> {
    global.environment.hold_gaps(args.preserve_fds)?;
    job::run(global, &JobRequest::in_background(global, args), |task| attempt(global, args, task))
}

fn attempt(global: &Global, args: &Create, mut task: Option<&mut Task<'_>>) -> Result<Option<Ended>> {
    let Create {
        id,
        console_socket,
        trace: file,
        job,
        template,
        // `create` and its request.
        preserve_fds: _,
        // `Bundle::load`.
        bundle: _,
        config: _,
        outline: _,
        // `Receivers::of_container`.
        pidfd_socket: _,
        pid_file: _,
        // `planned::options_of`.
        no_pivot: _,
        no_new_keyring: _,
    } = args;
    let bundle = Bundle::load(global, args)?;
    image::protect_from(bundle.spec())?;
    // A template has no streams and no terminal: those come with `start`.
    let request = ConsoleRequest {
        socket: console_socket.as_deref(),
        terminal: bundle.terminal() && !template,
        detach: true,
        relay: job::relay(job),
    };
    let (console, ours) = Console::choose(&request)?.open()?;
    let signals = if task.is_some() { Some(signals::take()?) } else { None };
    let mut trace = file.as_ref().map(|_| Trace::default());
    let start = if *template { ProgramStart::Brought } else { ProgramStart::OnSignal };
    let receivers = Receivers::of_container(global, args, bundle.spec())?;
    let planned = PlannedContainer::to_make(global, args, bundle, start, console.terminal, trace.as_mut())?;
    let new = NewContainer { global, args, planned, task: task.as_deref_mut(), member: None, receivers };
    let Created { container, running, lock, .. } = new.make(console, trace.as_mut())?;
    files::write_trace(global, file.as_deref(), trace);
    drop(lock);
    let (Some(signals), Some(task)) = (signals, &mut task) else { return Ok(None) };
    let Running { process, cgroup, overlay, .. } = running;
    let program = Attended { streams: ours.streams, ..Attended::of_child(process, signals, global.warn) };
    let ended = job::to_end(program, Some(task), ProgramCgroup::Own(cgroup), overlay);
    task.settle(global, &container, ended.map(Some), |dir| delete::own(global, id, dir))
}
