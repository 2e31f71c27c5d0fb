//! Where the terminal of a program goes: one rule for every command that starts one.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use super::streams::{self, ForProgram, Relay, Relayed};
use super::terminal::own_size;
use crate::error::{Context, Error, Result, Stage};
use crate::launch;
use crate::plan::ExecRefusal;
use crate::plan::op::Terminal;
use crate::spec::process::{ConsoleSize, Process};
use crate::sys::socket;

/// What the caller said.
#[derive(Clone, Copy, Debug)]
pub(in crate::container) struct ConsoleRequest<'a> {
    /// `--console-socket`.
    pub socket: Option<&'a Path>,
    /// Whether the program is to have a terminal.
    pub terminal: bool,
    /// Whether the command ends while the program runs.
    pub detach: bool,
    /// What is done with the caller's streams.
    pub relay: Relay,
}

/// Where the standard streams lead.
#[derive(Debug)]
pub(in crate::container) enum Console {
    /// The caller's own streams.
    Callers,
    /// To the caller's, as far as those can be handed over, by us where they cannot.
    Relayed(Relay),
    /// Whoever listens on this socket, which is connected.
    Socket(OwnedFd),
    /// The command itself.
    Foreground,
}

impl Console {
    /// Chooses; the refusals are runc's, in its words.
    pub fn choose(request: &ConsoleRequest<'_>) -> Result<Console> {
        match *request {
            ConsoleRequest { terminal: true, detach: true, relay: Relay::Outputs, .. } => Err(Error::new(
                Stage::Console,
                "--output-limit: the terminal of a program in the background is another's",
            )
            .with_hint("whoever has the other end of --console-socket can count")),
            ConsoleRequest { socket: Some(path), terminal: true, detach: true, .. } => {
                launch::connect(path, Stage::Console).map(Console::Socket)
            }
            ConsoleRequest { socket: Some(_), .. } => {
                Err(Error::new(Stage::Console, "cannot use console socket if brisk will not detach or allocate tty"))
            }
            ConsoleRequest { socket: None, terminal: true, detach: true, .. } => {
                let what = "cannot allocate tty if brisk will detach without setting console socket";
                Err(Error::new(Stage::Console, what)
                    .with_hint("pass --console-socket, or set process.terminal to false"))
            }
            ConsoleRequest { socket: None, terminal: true, detach: false, .. } => Ok(Console::Foreground),
            ConsoleRequest { socket: None, terminal: false, detach: true, relay: Relay::Outputs } => {
                Ok(Console::Relayed(Relay::OutputsAlone))
            }
            ConsoleRequest { socket: None, terminal: false, detach: true, .. } => Ok(Console::Callers),
            ConsoleRequest { socket: None, terminal: false, detach: false, relay } => Ok(Console::Relayed(relay)),
        }
    }

    /// The program's part of it, and ours.
    pub fn open(self) -> Result<(ProgramConsole, OurConsole)> {
        let (mut program, mut ours) = (ProgramConsole::default(), OurConsole::default());
        match self {
            Console::Callers => {}
            Console::Relayed(which) => {
                (ours.streams, program.streams) = streams::relay(which)?;
            }
            Console::Socket(socket) => (program.socket, program.terminal) = (Some(socket), Terminal::Socket),
            Console::Foreground => {
                let (here, there) = socket::pair().at(Stage::Console, || "make a socket pair")?;
                ours.socket = Some(here);
                (program.socket, program.terminal) = (Some(there), Terminal::Foreground);
            }
        }
        Ok((program, ours))
    }
}

/// What the program gets.
#[derive(Debug, Default)]
pub(in crate::container) struct ProgramConsole {
    /// Its terminal, for the plan.
    pub terminal: Terminal,
    /// Where it sends the terminal's master.
    pub socket: Option<OwnedFd>,
    /// What takes the place of the caller's streams.
    pub streams: ForProgram,
    /// How the caller learns that it cannot be executed.
    pub refusal: ExecRefusal,
}

/// What we keep, who stay with the program.
#[derive(Debug, Default)]
pub(in crate::container) struct OurConsole {
    /// Where the terminal's master comes.
    pub socket: Option<OwnedFd>,
    /// Our ends of what takes the place of the caller's streams.
    pub streams: Relayed,
}

impl OurConsole {
    /// The terminal of a program in our foreground has the size of our own before the program could ask.
    pub fn size_terminal(&self, process: &mut Process) {
        if let Some((height, width)) = self.socket.as_ref().and_then(|_| own_size()) {
            process.console_size = Some(ConsoleSize { height: height.into(), width: width.into() });
        }
    }

    /// The terminal's master, which the child has sent.
    pub fn master(&self) -> Result<Option<OwnedFd>> {
        let Some(socket) = &self.socket else { return Ok(None) };
        let mut name = [0; 64];
        let (_, fd) = socket::receive(socket.as_fd(), &mut name).at(Stage::Console, || "receive the terminal")?;
        fd.map(Some).ok_or_else(|| Error::new(Stage::Console, "the child sent no terminal"))
    }
}
