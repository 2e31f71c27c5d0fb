//! A terminal that shows one picture after the other: it is as it was before when this ends, however that is.

use std::io::{IsTerminal, stdin, stdout};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use brisk::error::{Context, Error, Result, Stage};
use brisk::sys::fs;
use brisk::sys::poll::{self, PollFd, PollFlags};
use brisk::sys::tty::{self, Turn};
use nix::errno::Errno;

use crate::looks::{Audience, write};

/// The other screen, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// How high and wide a terminal is that does not say.
const USUAL: (usize, usize) = (24, 80);

/// Held while the terminal is ours.
pub struct Screen<'a> {
    /// How the terminal that keys come from was before; `None` where none come.
    before: Option<libc::termios>,
    /// What is written to waits for nobody. It is the terminal opened once more, since whoever has given us standard output has it, too;
    /// where that may not be, as after su(1), standard output it is.
    out: Option<OwnedFd>,
    /// Where signals come from.
    signals: &'a OwnedFd,
}

impl Screen<'_> {
    /// Whether the terminal is ours: nothing is written to it in the background, nor read from it.
    pub fn is_ours() -> bool {
        tty::is_ours(stdin().as_fd()) && tty::is_ours(stdout().as_fd())
    }

    /// Waits until it is; the signal by which somebody has ended us instead.
    pub fn await_turn() -> Result<Option<i32>> {
        match tty::await_turn(&[stdin().as_fd(), stdout().as_fd()]).at(Stage::Signal, || "wait for the terminal")? {
            Turn::Ours => Ok(None),
            Turn::Over(signal) => Ok(Some(signal)),
            Turn::Never => {
                Err(Error::new(Stage::Console, "the terminal is another job's, and nobody could give it to this one")
                    .with_hint("in the background: --json or --once, or standard output that is a file"))
            }
        }
    }

    /// Takes the screen of a terminal that is ours.
    pub fn enter(signals: &OwnedFd) -> Result<Screen<'_>> {
        let keys = stdin().is_terminal();
        let out = fs::reopen(stdout().as_fd(), libc::O_WRONLY | libc::O_NONBLOCK | libc::O_NOCTTY).ok();
        let screen = Screen { before: keys.then(raw).transpose()?, out, signals };
        screen.write(ENTER)?;
        Ok(screen)
    }

    /// Takes the terminal again, which somebody else has had meanwhile, as soon as it is ours; the signal by which somebody has ended us instead.
    pub fn resume(&self) -> Result<Option<i32>> {
        let over = Screen::await_turn()?;
        if over.is_none() && self.has_keys() {
            raw()?;
        }
        Ok(over)
    }

    /// Whether keys come.
    pub fn has_keys(&self) -> bool {
        self.before.is_some()
    }

    /// Lines and columns.
    pub fn size() -> (usize, usize) {
        let size = tty::size(stdout().as_fd()).ok().filter(|(rows, columns)| *rows > 0 && *columns > 0);
        size.map_or(USUAL, |(rows, columns)| (rows.into(), columns.into()))
    }

    /// Shows these lines, which fit.
    pub fn show(&self, lines: &[String]) -> Result<Audience> {
        // Erased before it is written: behind a line that is full, the cursor still stands on its last character.
        let picture = lines.iter().map(|line| format!("\x1b[K{line}")).collect::<Vec<_>>().join("\r\n");
        self.write(&format!("\x1b[H{picture}"))
    }

    /// Writes what the terminal takes. One that takes nothing (stopped by Ctrl-S, at the end of a line that is dead) is waited for until
    /// there is something else to do; the next picture begins anew.
    fn write(&self, text: &str) -> Result<Audience> {
        let Some(out) = &self.out else { return write(text) };
        let mut left = text.as_bytes();
        while !left.is_empty() {
            match fs::write(out.as_fd(), left) {
                Ok(written) => left = left.get(written..).unwrap_or_default(),
                Err(Errno::EAGAIN) if self.takes_more(out)? => {}
                Err(Errno::EAGAIN) => break,
                Err(Errno::EIO) => return Ok(Audience::Gone),
                Err(errno) => return Err(errno).at(Stage::Args, || "write standard output"),
            }
        }
        Ok(Audience::There)
    }

    /// Waits until it does, or until a signal or a key comes.
    fn takes_more(&self, out: &OwnedFd) -> Result<bool> {
        let stdin = stdin();
        let mut fds =
            vec![PollFd::new(out.as_fd(), PollFlags::POLLOUT), PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        if self.has_keys() {
            fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
        }
        poll::undisturbed(&mut fds, None).at(Stage::Console, || "wait for the terminal")?;
        Ok(fds.first().and_then(PollFd::any) == Some(true))
    }
}

/// Has the keys come as they are typed; what it was before.
fn raw() -> Result<libc::termios> {
    tty::make_raw(stdin().as_fd()).at(Stage::Console, || "set the terminal to raw mode")
}

/// Writes the last of it to whoever reads, in a while.
fn leave(out: BorrowedFd<'_>) {
    const PATIENCE: Duration = Duration::from_secs(1);
    let end = poll::within(PATIENCE);
    let mut left = LEAVE.as_bytes();
    while !left.is_empty() && poll::undisturbed(&mut [PollFd::new(out, PollFlags::POLLOUT)], end) == Ok(true) {
        match fs::write(out, left) {
            Ok(written) => left = left.get(written..).unwrap_or_default(),
            Err(Errno::EAGAIN) => {}
            Err(_) => return,
        }
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        // A terminal that takes neither is gone.
        match &self.out {
            Some(out) => leave(out.as_fd()),
            None => drop(write(LEAVE)),
        }
        // In the background it is as others want it.
        if let Some(before) = self.before.as_ref().filter(|_| Screen::is_ours()) {
            let _gone = tty::set_attributes(stdin().as_fd(), before);
        }
    }
}

/// What somebody has typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keystroke {
    Char(char),
    Enter,
    Escape,
    Erase,
    Up,
    Down,
    PageUp,
    PageDown,
    /// Ctrl-C and Ctrl-D.
    Quit,
    /// Ctrl-Z.
    Stop,
}

/// The keys that are there; `None` when there will be none any more.
pub fn keys() -> Result<Option<Vec<Keystroke>>> {
    // What comes after an escape comes soon, even over a slow line; who types does not. Once it is a sequence, no key was typed.
    const AFTER_ESCAPE: Duration = Duration::from_millis(50);
    const REST: Duration = Duration::from_secs(1);
    let stdin = stdin();
    let (mut typed, mut buffer) = (Vec::new(), [0; 256]);
    loop {
        match fs::read(stdin.as_fd(), &mut buffer) {
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Ok(0) | Err(Errno::EIO) => return Ok(None),
            read => typed.extend_from_slice(&buffer[..read.at(Stage::Console, || "read the keyboard")?]),
        }
        let mut more = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        let patience = if typed.ends_with(b"\x1b") { AFTER_ESCAPE } else { REST };
        let waits = is_cut_off(&typed)
            && poll::undisturbed(&mut more, poll::within(patience)).at(Stage::Console, || "wait for keys")?;
        if !waits {
            return Ok(Some(parse(&typed)));
        }
    }
}

/// Whether the last sequence may go on.
fn is_cut_off(typed: &[u8]) -> bool {
    // None that a terminal sends is as long.
    const LONGEST: usize = 32;
    let last = typed.rsplitn(2, |byte| *byte == 0x1b).next().unwrap_or_default();
    typed.len() > last.len()
        && last.len() < LONGEST
        && match last {
            [] | [b'O'] => true,
            [b'[', sequence @ ..] => !sequence.iter().any(|byte| (0x40..=0x7e).contains(byte)),
            _ => false,
        }
}

/// What the bytes of a terminal mean (console_codes(4), xterm's sequences). What means nothing here is left out.
fn parse(mut bytes: &[u8]) -> Vec<Keystroke> {
    let mut keys = Vec::new();
    while let [first, rest @ ..] = bytes {
        bytes = rest;
        keys.push(match first {
            0x03 | 0x04 => Keystroke::Quit,
            0x1a => Keystroke::Stop,
            b'\r' | b'\n' => Keystroke::Enter,
            0x7f | 0x08 => Keystroke::Erase,
            0x1b => match rest {
                [b'[' | b'O', sequence @ ..] => {
                    let end = sequence.iter().position(|byte| (0x40..=0x7e).contains(byte)).unwrap_or(sequence.len());
                    let name = &sequence[..sequence.len().min(end + 1)];
                    bytes = &sequence[name.len()..];
                    match name {
                        b"A" => Keystroke::Up,
                        b"B" => Keystroke::Down,
                        b"5~" => Keystroke::PageUp,
                        b"6~" => Keystroke::PageDown,
                        _ => continue,
                    }
                }
                _ => Keystroke::Escape,
            },
            byte if byte.is_ascii_graphic() || *byte == b' ' => Keystroke::Char(char::from(*byte)),
            _ => continue,
        });
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_keys() {
        let keys = parse(b"q\x1b[A\x1bOB\x1b[5~\x1b[6~\x1b[1;5C\x1b\x7f\r\xc3\xa4/");
        let known = [
            Keystroke::Char('q'),
            Keystroke::Up,
            Keystroke::Down,
            Keystroke::PageUp,
            Keystroke::PageDown,
            Keystroke::Escape,
            Keystroke::Erase,
            Keystroke::Enter,
            Keystroke::Char('/'),
        ];
        assert_eq!(keys, known);
        assert_eq!(parse(b"\x03\x04\x1a"), [Keystroke::Quit, Keystroke::Quit, Keystroke::Stop]);
        assert_eq!(parse(b"\x1b["), [], "a sequence that is cut off");
        let cut_off: [&[u8]; 5] = [b"\x1b", b"q\x1b[", b"\x1b[A\x1b", b"\x1bO", b"\x1b[5"];
        assert!(cut_off.into_iter().all(is_cut_off));
        assert!(!is_cut_off(&[b"\x1b[".as_slice(), &[b'0'; 40]].concat()));
        assert!(![b"".as_slice(), b"q", b"\x1b[A", b"\x1bq", b"\x1b[5~", b"[5"].into_iter().any(is_cut_off));
    }
}
