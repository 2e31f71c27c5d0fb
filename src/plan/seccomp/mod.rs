//! Compiles `linux.seccomp` into the program that the kernel runs on every system call.
//!
//! Pure: the profile, the native architecture and what the kernel knows go in, a program comes out. The parent
//! compiles, the child loads (`sys::seccomp`). No libseccomp: its own compile takes milliseconds and its programs
//! are long, and the kernel's load time and memory grow with every instruction.
//!
//! A program chooses the architecture, then finds the call's number by a binary search over ranges of numbers with
//! equal verdict, then asks for arguments where rules have conditions. What a profile means is what runc (with
//! libseccomp) makes of it:
//!
//! - The native architecture is always included; a call of any other that is not listed kills the thread.
//! - Calls newer than all that the profile names get ENOSYS unless the default action lets them pass (`verdicts`).
//!   One difference: on architectures with socketcall(2), runc does not count the direct socket and ipc calls when
//!   it looks for the newest, and hides even calls that a rule allows.
//! - On those architectures a rule for `socket` and its kind, or for System V IPC, is also one for socketcall(2) or
//!   ipc(2) with that sub-call. Its arguments are behind a pointer, so conditions on the first are not checked there.
//! - On 32-bit ABIs only the low halves of argument and value are compared.
//! - Several conditions on one argument make every condition of the rule an alternative.
//! - The order among rules for one call is in `verdicts`.
//!
//! The modules, in the order of the work: `options` is what a profile does not say itself, `docker` a profile that brisk brings;
//! `words`, `arch` and `tables` know names and numbers, `profile` reads,
//! `verdicts` and `graph` decide, `ranges` groups, `assemble` writes, in the instructions of `machine`; `speech` asks the program what is
//! still allowed under it, and `filter` makes what a plan has of it all.

mod arch;
mod assemble;
pub mod docker;
pub mod filter;
mod graph;
pub mod machine;
mod options;
mod profile;
mod ranges;
mod speech;
mod tables;
mod verdicts;
mod words;

use crate::error::{Error, Result, Stage};
use crate::spec::seccomp::Seccomp;
use crate::sys::seccomp as sys;
use crate::sys::seccomp::Instruction;

pub use arch::{ALL as ALL_ARCHS, ARCHS, Arch, Endian, SyscallId, Width};
pub use options::{CompileOptions, Receiver, UnknownSyscalls};
pub use speech::{RECORD_SENT, Speech, halves, sender, speech};
pub use words::{ACTIONS, FLAGS, OPERATORS, action, flag};

/// `BPF_MAXINSNS` of linux/bpf_common.h.
const MAX_INSTRUCTIONS: usize = 4096;

/// What the child loads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The instructions, at most 4096.
    pub filter: Vec<Instruction>,
    /// `SECCOMP_FILTER_FLAG_*`, `NEW_LISTENER` included where a rule notifies.
    pub flags: u64,
    /// Where the listener goes, if there is one.
    pub receiver: Option<Receiver>,
    /// What the user may want to know.
    pub warnings: Vec<String>,
}

/// Whether there is a profile at all: runc takes one with neither default action nor rules for none.
pub fn is_enabled(profile: &Seccomp) -> bool {
    !(profile.default_action.is_empty() && profile.syscalls.is_empty())
}

/// Compiles a profile.
pub fn compile(profile: &Seccomp, options: &CompileOptions) -> Result<Program> {
    let profile = profile::parse(profile, options)?;
    let mut graph = graph::Graph::default();
    let tokens = verdicts::by_token(&profile, &mut graph)?;
    let foreign = graph.action(sys::RET_KILL_THREAD);
    let mut assembler = assemble::Assembler::new(&graph);
    let mut bodies = Vec::with_capacity(tokens.len());
    for (token, ranges) in tokens.iter().rev() {
        bodies.push((*token, assembler.numbers(&ranges::chunks(ranges))));
    }
    bodies.reverse();
    assembler.architectures(&bodies, foreign);
    let filter = assembler.finish();
    if filter.len() > MAX_INSTRUCTIONS {
        let what =
            format!("the profile takes {} instructions, the kernel has room for {MAX_INSTRUCTIONS}", filter.len());
        return Err(Error::new(Stage::Seccomp, what));
    }
    Ok(Program { filter, flags: profile.flags, receiver: profile.receiver, warnings: profile.warnings })
}
