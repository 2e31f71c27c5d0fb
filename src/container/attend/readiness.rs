//! Who waits until the program is ready: whoever supervises it, and the command that was called.

use crate::container::caller::notify::{Heard, Notify};
use crate::error::Result;

/// Who listens to what the program has to say to our supervisor, until it is ready.
pub(super) struct Readiness<'a> {
    /// Where; none any more when there is no more to be heard.
    pub socket: Option<Notify>,
    /// The program, where it is what is supervised. Else that is us, and our own process id stands.
    pub survivor: Option<i32>,
    /// Lets the command end that was called, in the background not before the program is ready.
    pub release: Option<&'a mut dyn FnMut() -> Result<()>>,
}

impl Readiness<'_> {
    /// A supervisor that cannot be told is no reason to end a program that runs, as with runc.
    pub fn listen(&mut self, warn: &dyn Fn(&str)) {
        let Some(socket) = &self.socket else { return };
        let heard = socket.hear(self.survivor, warn).unwrap_or_else(|error| {
            warn(&error.to_string());
            Heard::Ready
        });
        if heard == Heard::Ready {
            self.socket = None;
        }
    }

    /// Lets the command go if it waits for nothing more.
    pub fn settle(&mut self) -> Result<()> {
        if self.holds() { Ok(()) } else { self.let_go() }
    }

    /// Lets the command go, if it has not gone.
    pub fn let_go(&mut self) -> Result<()> {
        self.release.take().map_or(Ok(()), |release| release())
    }

    /// Whether the command waits until the program is ready.
    fn holds(&self) -> bool {
        self.socket.is_some() && self.survivor.is_some()
    }
}
