//! The process that stays beside a program in the background, because its result or its limits were asked for: its parent,
//! who waits as the foreground does, while the command that was called has ended.
//!
//! The monitor is a copy of that command, made before anything else is, so that it does the work itself and is the parent of what it
//! starts. Until all is set up both are one to whoever called: one dies with the other, and with both what was to be started.
//! Before the program is let go the monitor becomes a session of its own, which lives without the command; when the program
//! runs it lets go of everything else that is the caller's, and the command ends.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;

use crate::error::{Context, Deed, Doing, Error, Result, Stage};
use crate::sys::poll::{self, PollFlags};
use crate::sys::process::{self, Exit};
use crate::sys::{clone, descriptor, fs, interrupt, signal};

/// The monitor, in itself.
#[derive(Debug)]
pub(in crate::container) struct Monitor {
    /// Where the command waits for it.
    command: OwnedFd,
    /// The command.
    parent: i32,
}

/// The command that was called, in itself. It has nothing left to do but to exit as the monitor says.
#[derive(Debug)]
pub(in crate::container) struct Follower {
    monitor: i32,
    /// What the monitor says.
    said: OwnedFd,
}

/// Which of the two processes this is, after the fork.
pub(in crate::container) enum Role {
    /// The command that was called.
    Command(Follower),
    /// The monitor.
    Monitor(Monitor),
}

/// What is to be the stack's at the least: a container is planned and made in 160 kB.
const STACK: u64 = 256 << 10;

/// Whoever makes something says so before: a stack that ends in the middle of it is SIGSEGV.
pub(in crate::container) fn needs_stack() -> Result<()> {
    let (soft, _) = process::rlimit(libc::RLIMIT_STACK as _).at(Stage::Host, || "read the limit of the stack")?;
    if soft >= STACK {
        return Ok(());
    }
    let what = format!("RLIMIT_STACK allows a stack of {soft} bytes, and brisk needs {STACK}");
    Err(Error::new(Stage::Host, what).with_hint("`ulimit -s` shows and sets it, in kB"))
}

impl Monitor {
    /// Divides the command in two.
    pub fn begin() -> Result<Role> {
        needs_stack()?;
        let (reader, writer) = descriptor::pipe().at(Stage::Sync, || "make a pipe")?;
        let command = process::getpid();
        match clone::fork().at(Stage::Process, || "fork the monitor").doing(Deed::Clone, || "")? {
            None => Ok(Role::Monitor(Monitor { command: writer, parent: command })),
            Some(monitor) => Ok(Role::Command(Follower { monitor, said: reader })),
        }
    }

    /// Until it stands alone it ends with the command.
    pub fn die_with_command(&self) -> Result<()> {
        process::die_with(self.parent).at(Stage::Process, || "die with the command")
    }

    /// [`Monitor::die_with_command`], but it hears of it and does what it has to do first. It has taken the signals.
    pub fn end_with_command(&self) -> Result<()> {
        process::set_parent_death_signal(libc::SIGTERM).at(Stage::Process, || "end with the command")
    }

    /// Whatever becomes of the command: what is let go now has somebody who looks after it.
    pub fn stand_alone(&self) -> Result<()> {
        process::new_session().at(Stage::Process, || "leave the caller's session")?;
        process::set_parent_death_signal(0).at(Stage::Process, || "outlive the command")
    }

    /// Where the command is told: a byte lets it end.
    pub fn into_command(self) -> OwnedFd {
        self.command
    }

    /// The program runs, and the command may end. `streams` says what of the caller's standard streams is still needed.
    pub fn release(self, streams: KeptStreams) -> Result<()> {
        fs::chdir(c"/").at(Stage::Process, || "leave the caller's directory")?;
        descriptor::close_inherited().at(Stage::Process, || "close the caller's descriptors")?;
        let null = fs::open(fs::CWD, c"/dev/null", libc::O_RDWR, 0).at(Stage::Process, || "open /dev/null")?;
        let foreign: &[i32] = if streams == KeptStreams::Outputs { &[0] } else { &[0, 1, 2] };
        for stream in foreign {
            descriptor::dup_onto(null.as_fd(), *stream).at(Stage::Process, || "let go of the caller's streams")?;
        }
        // The program has its own by now. What other commands announce are signals that are queued, and who queues as many to himself as
        // his user may have would keep them from us.
        match process::set_rlimit(0, libc::RLIMIT_SIGPENDING as _, libc::RLIM_INFINITY, libc::RLIM_INFINITY) {
            // Without CAP_SYS_RESOURCE he does.
            Err(Errno::EPERM) => {}
            set => set.at(Stage::Process, || "let signals be queued")?,
        }
        match fs::write_all(self.command.as_fd(), &[0]) {
            // Killed meanwhile: as if a moment later.
            Err(Errno::EPIPE) => Ok(()),
            told => told.at(Stage::Sync, || "tell the command that the program runs"),
        }
    }
}

/// What a monitor keeps of the caller's standard streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::container) enum KeptStreams {
    /// None of them.
    None,
    /// Standard output and error, which it passes on to.
    Outputs,
}

impl Follower {
    /// Waits until the program runs, or for the monitor's end, which has said then what went wrong; the command's status.
    pub fn follow(self) -> Result<u8> {
        let what = || "wait for the monitor";
        // Who asks the command to end has it ask the monitor, who has something to undo, unless that stands alone.
        while let Err(errno) = poll::one(self.said.as_fd(), PollFlags::POLLIN, None) {
            let signal = interrupt::by().filter(|_| errno == Errno::EINTR).ok_or(errno).at(Stage::Sync, what)?;
            if process::leads_session(self.monitor) {
                return Err(Error::errno(Stage::Sync, what(), errno).with_hint("the monitor stays with the program"));
            }
            signal::forward(self.monitor, signal).at(Stage::Signal, || "ask the monitor to end")?;
        }
        if fs::read(self.said.as_fd(), &mut [0]).at(Stage::Sync, what)? != 0 {
            return Ok(0);
        }
        match process::wait(self.monitor, 0).at(Stage::Process, what)? {
            Some((_, Exit::Code(status))) => Ok(status as u8),
            Some((_, Exit::Signal(number))) => {
                let what = format!("the monitor was ended by a signal: {}", signal::words(number));
                Err(Error::new(Stage::Process, what)
                    .with_hint("`run --replace` and `delete --force` of the same name end whoever is making it"))
            }
            None => Err(Error::errno(Stage::Process, "wait for the monitor", Errno::ECHILD)),
        }
    }
}
