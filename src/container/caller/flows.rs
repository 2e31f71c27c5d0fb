//! The bytes on their way between the caller's streams and a program's, where a stream is not handed over or where what is written is
//! counted.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::streams::{FLUSH, OutputPipe, Relayed, TerminalReading, end_of_input};
use crate::error::{Context, Error, Result, Stage};
use crate::sys::poll::{self, PollFlags};
use crate::sys::tty::{self, Turn};
use crate::sys::{descriptor, fs};

/// How much is read before it has to be written: a reader that stops makes the writer wait, not us grow.
const ROOM: usize = 32 * 1024;

/// What poll(2) promises of a pipe that can be written (PIPE_BUF, pipe(7)): more could keep us from hearing signals.
const AT_ONCE: usize = 4096;

/// Bytes on their way between one of the caller's streams and our end of the program's.
pub(in crate::container) struct Flow {
    pub direction: Direction,
    caller: BorrowedFd<'static>,
    /// The caller's other stream, where that is the same.
    twin: Option<BorrowedFd<'static>>,
    /// Our end; none when one side has hung up.
    ours: Option<OwnedFd>,
    pub buffer: Vec<u8>,
    from: State,
    /// How many bytes have come.
    pub seen: u64,
    /// Why what came could not be passed on.
    lost: Option<LostOutput>,
    /// Whether the caller's stream is no longer ours.
    let_go: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LostOutput {
    /// No disk has room for ever.
    Failed(Errno),
    /// Nobody has read it for [`FLUSH`].
    Unread,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::container) enum Direction {
    ToProgram,
    ToCaller,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Ended,
}

impl Flow {
    fn new(direction: Direction, caller: BorrowedFd<'static>, ours: OwnedFd) -> Flow {
        Flow {
            direction,
            caller,
            twin: None,
            ours: Some(ours),
            buffer: Vec::with_capacity(ROOM),
            from: State::Open,
            seen: 0,
            lost: None,
            let_go: false,
        }
    }

    /// Where the next bytes come from, while there is room for them.
    pub fn source(&self) -> Option<BorrowedFd<'_>> {
        let ours = self.ours.as_ref().filter(|_| self.from == State::Open && self.buffer.len() < ROOM)?;
        Some(if self.direction == Direction::ToProgram { self.caller } else { ours.as_fd() })
    }

    /// Where they go, while there are any.
    pub fn sink(&self) -> Option<BorrowedFd<'_>> {
        let ours = self.ours.as_ref().filter(|_| !self.buffer.is_empty())?;
        Some(if self.direction == Direction::ToProgram { ours.as_fd() } else { self.caller })
    }

    /// Takes what has come; `room` bytes of it are passed on.
    pub fn fill(&mut self, room: u64) {
        let mut chunk = [0; AT_ONCE];
        let Some(from) = self.source() else { return };
        match fs::read(from, &mut chunk) {
            Err(Errno::EAGAIN) => {}
            // The caller's terminal is another job's now: we are stopped until we may read it.
            Err(Errno::EIO) if self.direction == Direction::ToProgram && may_read_later(from) => {}
            // EIO: the last slave of the terminal was closed.
            Ok(0) | Err(_) => self.from = State::Ended,
            Ok(len) => {
                self.seen += len as u64;
                self.buffer.extend_from_slice(&chunk[..len.min(usize::try_from(room).unwrap_or(len))]);
            }
        }
    }

    /// Whoever reads may be gone (EPIPE, EIO, ENOSPC): then the writer has to learn of it, which it does when our end is
    /// closed: by SIGPIPE, or by the hang-up of its terminal.
    pub fn drain(&mut self) {
        let Some(to) = self.sink() else { return };
        match fs::write(to, &self.buffer[..self.buffer.len().min(AT_ONCE)]) {
            Ok(len) => drop(self.buffer.drain(..len)),
            Err(Errno::EAGAIN) => {}
            // A reader has gone, or the program.
            Err(Errno::EPIPE) => self.hang_up(),
            Err(errno) => {
                self.lost = (self.direction == Direction::ToCaller).then_some(LostOutput::Failed(errno));
                self.hang_up();
            }
        }
    }

    fn hang_up(&mut self) {
        self.ours = None;
        self.buffer.clear();
    }

    /// Everything that will come has come, and was passed on.
    pub fn is_done(&self) -> bool {
        self.ours.is_none() || self.from == State::Ended && self.buffer.is_empty()
    }
}

/// Whether the caller's terminal could not be read because it was another job's, and we may read it now or are asked to end.
fn may_read_later(terminal: BorrowedFd<'_>) -> bool {
    !tty::is_ours(terminal) && matches!(tty::await_turn(&[terminal]), Ok(Turn::Ours | Turn::Over(_)))
}

/// All flows of one program.
pub(in crate::container) struct Flows {
    pub list: Vec<Flow>,
    /// The master side of the program's terminal.
    pub master: Option<OwnedFd>,
    /// How the program reads its terminal, which the end of the caller's input was typed for.
    typed_end: Option<TerminalReading>,
    /// The reading end of the program's input, where what it leaves is given back.
    unread: Option<OwnedFd>,
}

impl Flows {
    pub fn of(master: Option<OwnedFd>, streams: Relayed) -> Result<Flows> {
        let mut flows = Flows { list: Vec::new(), master: None, typed_end: None, unread: None };
        if let Some(input) = streams.input {
            flows.list.push(Flow::new(Direction::ToProgram, fs::STDIN, input.writer));
            flows.unread = input.reader;
        }
        for OutputPipe { reader, to, twin } in streams.outputs {
            flows.list.push(Flow { twin, ..Flow::new(Direction::ToCaller, to, reader) });
        }
        if let Some(master) = master {
            descriptor::set_nonblocking(master.as_fd()).at(Stage::Console, || "make the terminal non-blocking")?;
            let copy = || descriptor::dup(master.as_fd(), 3).at(Stage::Console, || "copy a descriptor");
            flows.list.push(Flow::new(Direction::ToProgram, fs::STDIN, copy()?));
            flows.list.push(Flow::new(Direction::ToCaller, fs::STDOUT, copy()?));
            flows.master = Some(master);
        }
        Ok(flows)
    }

    /// How many bytes the program has written so far.
    pub fn written(&self) -> u64 {
        self.list.iter().filter(|flow| flow.direction == Direction::ToCaller).map(|flow| flow.seen).sum()
    }

    /// What the program wrote and the caller does not get. The program itself may never learn of it.
    pub fn tell_lost(&self, warn: &dyn Fn(&str)) {
        for flow in &self.list {
            let Some(lost) = flow.lost else { continue };
            let name = match flow.caller.as_raw_fd() == fs::STDERR.as_raw_fd() {
                true => "error",
                false if flow.twin.is_some() => "output and error",
                false => "output",
            };
            let what = format!("pass standard {name} on: the rest of it is lost");
            let error = match lost {
                LostOutput::Failed(errno) => Error::errno(Stage::Console, what, errno),
                LostOutput::Unread => {
                    let seconds = FLUSH.as_secs();
                    Error::new(
                        Stage::Console,
                        format!("{what}: nobody read it for {seconds} s after the program's end"),
                    )
                }
            };
            warn(&error.to_string());
        }
    }

    fn outputs(&mut self) -> impl Iterator<Item = &mut Flow> {
        self.list.iter_mut().filter(|flow| flow.direction == Direction::ToCaller)
    }

    /// Nobody reads what the program wrote, which has ended. A warning on the same stream would not be read either.
    pub fn give_up(&mut self) -> Result<()> {
        let what = || "let go of a stream that nobody reads";
        let mut stuck = false;
        for flow in self.outputs().filter(|flow| !flow.is_done() && !flow.buffer.is_empty()) {
            flow.lost = Some(LostOutput::Unread);
            stuck = true;
        }
        if !stuck {
            return Ok(());
        }
        let null = fs::open(fs::CWD, c"/dev/null", libc::O_WRONLY, 0).at(Stage::Console, what)?;
        for stream in [fs::STDOUT, fs::STDERR] {
            if !poll::one(stream, PollFlags::POLLOUT, poll::now()).at(Stage::Console, what)? {
                descriptor::dup_onto(null.as_fd(), stream.as_raw_fd()).at(Stage::Console, what)?;
            }
        }
        Ok(())
    }

    /// Of a program in the background: whoever reads what it wrote learns of the end when it closes its stream. Standard input
    /// is /dev/null there.
    pub fn let_go(&mut self) -> Result<()> {
        self.outputs().filter(|flow| flow.is_done() && !flow.let_go).try_for_each(|flow| {
            flow.let_go = true;
            let what = || "let go of a stream that the program has closed";
            let mut streams = [Some(flow.caller), flow.twin].into_iter().flatten();
            streams.try_for_each(|stream| descriptor::dup_onto(fs::STDIN, stream.as_raw_fd()).at(Stage::Console, what))
        })
    }

    /// After something was read or written: ends are passed on.
    pub fn settle(&mut self) {
        let gone = self.list.iter().any(|flow| flow.direction == Direction::ToCaller && flow.ours.is_none());
        for flow in self.list.iter_mut().filter(|flow| flow.direction == Direction::ToProgram) {
            match &self.master {
                // A terminal has one end for both directions.
                Some(_) if gone => flow.hang_up(),
                // The terminal stays open for the output: its end of input is a character. Whatever turns to reading it in
                // another way has it typed once more, for what was typed in the old way is lost with that.
                Some(master) if flow.from == State::Ended && flow.buffer.is_empty() => {
                    self.typed_end = end_of_input(master.as_fd(), self.typed_end);
                    flow.hang_up();
                }
                None if flow.is_done() => flow.hang_up(),
                _ => {}
            }
        }
        if gone {
            self.master = None;
        }
    }

    /// The program has ended: what it did not read of a file is there for whoever reads next, as it would be without us.
    pub fn close_input(&mut self) {
        for flow in self.list.iter_mut().filter(|flow| flow.direction == Direction::ToProgram) {
            if let Some(unread) = self.unread.take() {
                let left = flow.buffer.len() + descriptor::readable(unread.as_fd()).unwrap_or(0);
                // The file was sought in by the same call before it was read.
                let _ = fs::seek_by(flow.caller, -(left as i64));
            }
            flow.hang_up();
        }
    }
}
