//! The standard streams of a foreground program: which of the caller's it gets as they are, and which by a pipe.
//!
//! A terminal, a file or a device is not handed over: whoever has the descriptor may read what is typed later, open
//! /proc/self/fd/0 for writing although the caller opened it for reading, and keep all of it when the command is over.
//! Pipes, sockets and /dev/null give nothing of that kind away: pipes and sockets go as they are, and the child puts the
//! container's /dev/null in the place of ours (`SetupOp::NullStreams`). (runc relays every stream.)

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::error::{Context, Result, Stage};
use crate::sys::{descriptor, fs, process, tty};

/// How long after the end of the program somebody may take to read what it wrote, or what there is to say of it.
pub(in crate::container) use crate::sys::destination::FLUSH;

/// The caller's streams, by number.
pub(in crate::container) const CALLERS: [BorrowedFd<'static>; 3] = [fs::STDIN, fs::STDOUT, fs::STDERR];

/// Our ends of the pipes that stand in for the caller's streams.
#[derive(Debug, Default)]
pub(in crate::container) struct Relayed {
    /// Written by us: the program's standard input.
    pub input: Option<InputPipe>,
    /// Read by us.
    pub outputs: Vec<OutputPipe>,
}

/// A pipe from the program's standard output, error or both.
#[derive(Debug)]
pub(in crate::container) struct OutputPipe {
    pub reader: OwnedFd,
    /// The caller's stream that it goes to.
    pub to: BorrowedFd<'static>,
    /// Another of the caller's streams that is the same: what goes to both keeps the order in which it was written.
    pub twin: Option<BorrowedFd<'static>>,
}

/// The pipe to the program's standard input.
#[derive(Debug)]
pub(in crate::container) struct InputPipe {
    pub writer: OwnedFd,
    /// Kept where the caller's stream can be sought in: it tells how much of it the program has not read.
    pub reader: Option<OwnedFd>,
}

/// What the program gets in place of the caller's streams, by number; `None` is the caller's own.
pub(in crate::container) type ForProgram = [Option<OwnedFd>; 3];

/// Which of the caller's streams go through us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::container) enum Relay {
    /// The streams that are not handed over.
    #[default]
    Needed,
    /// Both outputs as well, for they are counted.
    Outputs,
    /// Both outputs alone: of a program in the background, which reads its input without us.
    OutputsAlone,
    /// What `Needed` relays, except for the output file that the program had when it was saved, where the caller's stream is that:
    /// CRIU looks for the length and the position of then, which no pipe has, and the file is no news to the program.
    Restored([bool; 3]),
}

/// Makes pipes for those of the caller's streams that are not handed over.
pub(in crate::container) fn relay(which: Relay) -> Result<(Relayed, ForProgram)> {
    let mut ours = Relayed::default();
    let mut program: ForProgram = [None, None, None];
    for (number, caller) in CALLERS.into_iter().enumerate() {
        let stat = fs::stat(caller).at(Stage::Console, || format!("look at standard stream {number}"))?;
        let stays = match which {
            Relay::Needed => is_harmless(&stat),
            Relay::Outputs => is_harmless(&stat) && number == 0,
            Relay::OutputsAlone => number == 0,
            Relay::Restored(same) => is_harmless(&stat) || number != 0 && same[number],
        };
        if stays {
            continue;
        }
        if number == 2
            && let ([_, Some(writer), _], Some(output)) = (&program, ours.outputs.last_mut())
            && process::is_same_description(output.to, caller)
        {
            output.twin = Some(caller);
            program[number] = Some(descriptor::dup(writer.as_fd(), 3).at(Stage::Console, || "copy a descriptor")?);
            continue;
        }
        let (reader, writer) = descriptor::pipe().at(Stage::Console, || "make a pipe")?;
        // Only our end: the program's is an open file description of its own.
        let end = if number == 0 { &writer } else { &reader };
        descriptor::set_nonblocking(end.as_fd()).at(Stage::Console, || "make a pipe non-blocking")?;
        if number == 0 {
            let regular = fs::kind(&stat) == libc::S_IFREG;
            let copy = regular.then(|| descriptor::dup(reader.as_fd(), 3)).transpose();
            ours.input = Some(InputPipe { writer, reader: copy.at(Stage::Console, || "copy a descriptor")? });
            program[number] = Some(reader);
        } else {
            ours.outputs.push(OutputPipe { reader, to: caller, twin: None });
            program[number] = Some(writer);
        }
    }
    Ok((ours, program))
}

fn is_harmless(stat: &libc::stat) -> bool {
    match fs::kind(stat) {
        libc::S_IFIFO | libc::S_IFSOCK => true,
        _ => fs::is_null_device(stat),
    }
}

/// How a program has its terminal read (termios(3)).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::container) enum TerminalReading {
    /// Line by line.
    Lines,
    /// Key by key, as shells do that let a line be edited; what they write is still made lines.
    Keys,
    /// As it comes.
    Raw,
}

/// Types the character that ends the input, as somebody at the terminal would, unless it was typed for this way of reading; where
/// the program has made the terminal raw there is none. One in the middle of a line only ends that, so there are two.
pub(in crate::container) fn end_of_input(
    master: BorrowedFd<'_>,
    typed: Option<TerminalReading>,
) -> Option<TerminalReading> {
    let Ok(termios) = tty::attributes(master) else { return typed };
    let reading = match (termios.c_lflag & libc::ICANON != 0, termios.c_oflag & libc::OPOST != 0) {
        (true, _) => TerminalReading::Lines,
        (false, true) => TerminalReading::Keys,
        (false, false) => TerminalReading::Raw,
    };
    if typed != Some(reading) {
        let end = termios.c_cc[libc::VEOF];
        let times = match reading {
            TerminalReading::Lines => 2,
            TerminalReading::Keys => 1,
            TerminalReading::Raw => 0,
        };
        // The program's side may be gone.
        let _ = fs::write(master, &[end, end][..times]);
    }
    Some(reading)
}
