//! Where the terminal of a program goes: one rule for every command that starts one.

use std::os::fd::OwnedFd;
use std::path::Path;

use crate::error::{Context, Error, Result, Stage};
use crate::launch;
use crate::sys::socket;

/// What the caller said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// `--console-socket`.
    pub socket: Option<&'a Path>,
    /// Whether the program is to have a terminal.
    pub terminal: bool,
    /// Whether the command ends while the program runs.
    pub detach: bool,
}

/// Who gets the terminal.
#[derive(Debug)]
pub(super) enum Console {
    /// There is none.
    None,
    /// Whoever listens on this socket, which is connected.
    Socket(OwnedFd),
    /// The command itself.
    Ours,
}

impl Console {
    /// Chooses; the refusals are runc's, in its words.
    pub fn choose(asked: &Asked<'_>) -> Result<Console> {
        match *asked {
            Asked { socket: Some(path), terminal: true, detach: true } => {
                launch::connect(path, Stage::Console).map(Console::Socket)
            }
            Asked { socket: Some(_), .. } => {
                Err(Error::new(Stage::Console, "cannot use console socket if runc will not detach or allocate tty"))
            }
            Asked { socket: None, terminal: true, detach: true } => {
                let what = "cannot allocate tty if runc will detach without setting console socket";
                Err(Error::new(Stage::Console, what)
                    .with_hint("pass --console-socket, or set process.terminal to false"))
            }
            Asked { socket: None, terminal: true, detach: false } => Ok(Console::Ours),
            Asked { socket: None, terminal: false, .. } => Ok(Console::None),
        }
    }

    /// The socket that the terminal is sent to, and our end of it where it is to come here.
    pub fn open(self) -> Result<(Option<OwnedFd>, Option<OwnedFd>)> {
        match self {
            Console::None => Ok((None, None)),
            Console::Socket(socket) => Ok((Some(socket), None)),
            Console::Ours => {
                let (ours, theirs) = socket::pair().at(Stage::Console, || "make a socket pair")?;
                Ok((Some(theirs), Some(ours)))
            }
        }
    }
}
