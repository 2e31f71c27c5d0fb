//! The start of a template: its program, and all that is only known now.
//!
//! What can fail is tried before the container's process wakes: limits are written, mounts made, the program is looked for.
//! What was changed until then is put back, and the template waits on. From the moment that it has taken its last
//! operations there is no way back: what fails then ends it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use super::protected::ProtectedPaths;
use crate::container::attend::announcement::Announcement;
use crate::container::caller::console::{Console, ConsoleRequest, OurConsole, ProgramConsole};
use crate::container::caller::files::Receivers;
use crate::container::caller::notify::{self, Notify};
use crate::container::caller::streams::Relay;
use crate::container::inside::program::{self, Fallback};
use crate::container::inside::{self, Beginning};
use crate::container::lookup::Container;
use crate::container::make::facts::host_for;
use crate::container::options::{Global, Start, StreamChoice};
use crate::container::verbs::mounts;
use crate::container::verbs::update::{self, Undone, Updated};
use crate::error::{Context, Error, Origins, Result, SaidBy, Stage};
use crate::host::Host;
use crate::launch::{Moment, Running, TellAgain, Trace, Waiting};
use crate::plan::ExecRefusal;
use crate::plan::process::inside::InsideOptions;
use crate::plan::verbs;
use crate::spec::Spec;
use crate::spec::mounts::Mount;
use crate::spec::process::Process;
use crate::spec::resources::Resources;
use crate::state;
use crate::sys::pidfd::ProcessHandle;
use crate::sys::{descriptor, fs};

/// A template that was started.
pub(in crate::container) struct StartedTemplate {
    pub spec: Spec,
    pub running: Running,
    pub notify: Option<Notify>,
    pub ours: OurConsole,
}

/// How far the start of a template is.
#[derive(Clone, Copy, Debug)]
pub(in crate::container) enum StartMoment<'a> {
    /// The program is about to be let go: all that can be tried before is there.
    Held,
    /// The program does not run yet, and the time that was asked for has come.
    Due(&'a Running),
}

/// Told how far it is; says when it wants to be told again.
pub(in crate::container) type Tell<'a> = dyn FnMut(StartMoment<'_>) -> Result<TellAgain> + 'a;

/// Who starts a template.
pub(in crate::container) struct Starter<'a> {
    /// Whether the command ends while the program runs.
    pub detach: bool,
    /// What is done with the caller's streams.
    pub relay: Relay,
    /// Whether somebody wants to be told how it ended, though it never ran.
    pub is_job: bool,
    /// Told how far it is.
    pub tell: &'a mut Tell<'a>,
}

/// Whether what waits is what this brisk can start.
fn can_be_started(container: &Container) -> Result<()> {
    let record = &container.record;
    let this = state::build();
    let what = if record.build != this {
        format!("the template was made by brisk {}, and this is {this}", record.build)
    } else if record.furnishing {
        "an earlier start of the template was interrupted: its mounts, limits and terminal may still be there"
            .to_owned()
    } else {
        return Ok(());
    };
    Err(Error::new(Stage::State, what).with_hint("delete the template, and create it again"))
}

/// Starts a template that waits. The caller has its lock.
pub(in crate::container) fn start(
    global: &Global,
    args: &Start,
    container: &mut Container,
    starter: Starter<'_>,
    trace: Option<&mut Trace>,
) -> Result<StartedTemplate> {
    can_be_started(container)?;
    let Starter { detach, relay, is_job, tell } = starter;
    let (spec, (mut process, origins)) = wanted(global, args, container)?;
    let socket = args.console_socket.as_deref();
    let request = ConsoleRequest { socket, terminal: process.terminal, detach, relay };
    let (mut console, ours) = Console::choose(&request)?.open()?;
    if is_job || detach {
        // `start` tells what it has started.
        console.refusal = ExecRefusal::Error;
    }
    ours.size_terminal(&mut process);
    if let Some(choice) = &args.streams {
        if process.terminal {
            return Err(Error::new(Stage::Console, "--stdio: the standard streams are the terminal"));
        }
        console.streams = streams(choice)?;
    }
    // Before the program runs: what it sends must not get lost.
    let notify = Notify::open(global, &container.dir)?;
    if notify.is_some() {
        notify::tell(&mut process);
    }
    let receivers = Receivers::find(args.pid_file.as_deref(), args.pidfd_socket.as_deref())?;
    let changed = furnish(global, args, (&spec, &process), container).said_by(|| args.origins(0))?;
    let begun = begin(global, container, (&spec, &process), console, receivers, tell, trace);
    match begun.said_by(|| origins) {
        Ok(running) => Ok(StartedTemplate { spec, running, notify, ours }),
        Err(error) => Err(changed.take_back(global, container, error)),
    }
}

/// What the template is, and what is to run in it.
fn wanted(global: &Global, args: &Start, container: &Container) -> Result<(Spec, (Process, Origins))> {
    let mut spec = container.spec()?;
    global.environment.name_receiver(&mut spec);
    let nothing = spec.process.as_ref().is_none_or(|process| process.args.is_empty());
    if nothing && args.program.args.is_empty() && args.program.process.is_none() {
        return Err(Error::new(Stage::Args, "the template has no program: start needs a command or --process FILE"));
    }
    let process = program::chosen(global, &args.program, &spec, Fallback::Template)?;
    Ok((spec, process))
}

/// Copies of what the caller has open, numbered as they will be.
fn streams(choice: &[StreamChoice; 3]) -> Result<[Option<OwnedFd>; 3]> {
    let mut found = [None, None, None];
    for (stream, choice) in found.iter_mut().zip(choice) {
        *stream = Some(match choice {
            StreamChoice::Descriptor(number) => descriptor::dup_inherited(*number)
                .at(Stage::Args, || format!("--stdio: descriptor {number}, which must be open"))?,
            // The container gets its own in its place.
            StreamChoice::Null => {
                fs::open(fs::CWD, c"/dev/null", libc::O_RDWR, 0).at(Stage::Console, || "open /dev/null")?
            }
        });
    }
    Ok(found)
}

/// What was changed for a program that does not run yet.
struct Furnished<'a> {
    mounts: &'a [Mount],
    /// What there was before they were mounted.
    protected: Option<ProtectedPaths>,
    limits: Option<Updated>,
    /// Whether all that is not in here is as it was.
    whole: bool,
}

fn furnish<'a>(
    global: &Global,
    args: &'a Start,
    (spec, process): (&Spec, &Process),
    container: &mut Container,
) -> Result<Furnished<'a>> {
    let (mounts, limits) = (&args.mounts, &args.limits);
    let mut done = Furnished { mounts: &[], protected: None, limits: None, whole: true };
    // A terminal is mounted on /dev/console.
    let mounts_something = !mounts.is_empty() || process.terminal;
    if !mounts_something && !limits.is_some() {
        return Ok(done);
    }
    if mounts_something {
        done.protected = Some(ProtectedPaths::check(spec, container, mounts)?);
    }
    // Before the first change: what a start leaves that is interrupted must not be the next one's.
    container.record.furnishing = true;
    container.dir.save(&container.record)?;
    if let Some(protected) = done.protected.as_ref().filter(|_| !mounts.is_empty()) {
        // Of a list of which a part failed, too.
        done.mounts = mounts;
        let mounted = mounts::add(global, container, mounts).and_then(|()| protected.check_again(container));
        if let Err(error) = mounted {
            return Err(done.take_back(global, container, error));
        }
    }
    if limits.is_some() {
        let mut resources = Resources::default();
        limits.set(&mut resources);
        let limited = Container::load(&global.root, &container.record.id)
            .map_err(Undone::from)
            .and_then(|again| update::limit(global, again, &resources));
        match limited {
            Ok(limits) => done.limits = Some(limits),
            Err(Undone { error, whole }) => {
                done.whole = whole;
                return Err(done.take_back(global, container, error));
            }
        }
    }
    Ok(done)
}

impl Furnished<'_> {
    fn take_back(self, global: &Global, container: &mut Container, mut error: Error) -> Error {
        let mut whole = self.whole;
        if let Some(limits) = self.limits {
            let undone = limits.take_back(error);
            whole &= undone.whole;
            error = undone.error;
        }
        // A container that has ended meanwhile has no mounts any more.
        if !container.record.furnishing || container.must_run().is_err() {
            return error;
        }
        if !self.mounts.is_empty()
            && !container.record.added_mounts.is_empty()
            && let Err(failure) = mounts::remove(global, container, self.mounts)
        {
            (global.warn)(&format!("a mount stays in the template: {failure}"));
        }
        if whole && self.protected.is_none_or(|protected| protected.is_as_before(container)) {
            container.record.furnishing = false;
            if let Err(failure) = container.dir.save(&container.record) {
                (global.warn)(&format!("the template cannot be started any more: {failure}"));
            }
        }
        error
    }
}

/// Has the program run; an error leaves the template waiting, unless it had taken its last operations.
fn begin(
    global: &Global,
    container: &Container,
    (spec, process): (&Spec, &Process),
    console: ProgramConsole,
    receivers: Receivers<'_>,
    tell: &mut Tell<'_>,
    trace: Option<&mut Trace>,
) -> Result<Running> {
    let init = container.first_process()?;
    let host = host_for(spec, Host::probe_for_exec()?)?;
    let options = InsideOptions {
        id: container.record.id.clone(),
        bundle: PathBuf::from(&container.record.bundle),
        terminal: console.terminal,
        refusal: console.refusal,
    };
    let plan = verbs::start::start(process, spec, &host, &options)?;
    global.tell_plan(&plan);
    let again = descriptor::dup(init.pidfd.as_fd(), 3).at(Stage::Signal, || "copy a descriptor")?;
    let waiting = Some(Waiting::find(ProcessHandle { pid: init.pid, pidfd: again })?);
    // Its time counts from here: nobody could tell whoever waits for it once the process has taken its last operations.
    let due = tell(StartMoment::Held)?;
    container.announce(Announcement::started)?;
    let beginning = Beginning { plan: &plan, console, init: init.pidfd, waiting, cgroup: None, trace, due };
    let begun = inside::begin(global, beginning, receivers, &mut |moment| {
        // Whoever has the program's file open, or serves its file system, keeps it from running.
        if let Moment::Due(running) = moment {
            return tell(StartMoment::Due(running));
        }
        container.waits_no_more(global);
        Ok(None)
    });
    begun.inspect_err(|_| {
        // Whoever waits for it hears of nothing else that fails here.
        if let Err(failure) = container.announce(|| Announcement::NotStarted) {
            (global.warn)(&failure.to_string());
        }
    })
}
