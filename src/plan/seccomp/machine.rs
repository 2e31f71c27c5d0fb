//! The few instructions of classic BPF that our compiler writes, carried out one at a time: on words that are known, or on such as are
//! not.

use crate::sys::seccomp::Instruction;

/// `BPF_LD | BPF_W | BPF_ABS` (linux/bpf_common.h), of `struct seccomp_data`.
pub const LOAD: u16 = 0x20;
/// `BPF_ALU | BPF_AND | BPF_K`.
pub const AND: u16 = 0x54;
/// `BPF_JMP | BPF_JA`.
pub const JUMP: u16 = 0x05;
/// `BPF_JMP | BPF_JEQ | BPF_K`.
pub const JUMP_EQ: u16 = 0x15;
/// `BPF_JMP | BPF_JGT | BPF_K`.
pub const JUMP_GT: u16 = 0x25;
/// `BPF_JMP | BPF_JGE | BPF_K`.
pub const JUMP_GE: u16 = 0x35;
/// `BPF_JMP | BPF_JSET | BPF_K`.
pub const JUMP_SET: u16 = 0x45;
/// `BPF_RET | BPF_K`.
pub const RETURN: u16 = 0x06;

/// The action of an answer (`SECCOMP_RET_ACTION_FULL`); the low half is its data.
pub const ACTION: u32 = 0xffff_0000;

/// Where a program goes from an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// On there, with this word loaded where that is known.
    On(usize, Option<u32>),
    /// Where a comparison with a word that is not known holds, and where it does not.
    Either(usize, usize),
    /// The end, with this answer.
    Answer(u32),
    /// No instruction of ours, or none at all.
    Strange,
}

/// The instruction at `pc`; `word` is what is known of `struct seccomp_data` at an offset.
pub fn course(program: &[Instruction], pc: usize, loaded: Option<u32>, word: impl Fn(u32) -> Option<u32>) -> Course {
    let Some(Instruction { code, jt, jf, k }) = program.get(pc).copied() else { return Course::Strange };
    let compared = |holds: fn(u32, u32) -> bool| {
        let (yes, no) = (pc + 1 + usize::from(jt), pc + 1 + usize::from(jf));
        loaded.map_or(Course::Either(yes, no), |value| Course::On(if holds(value, k) { yes } else { no }, loaded))
    };
    match code {
        LOAD => Course::On(pc + 1, word(k)),
        AND => Course::On(pc + 1, loaded.map(|value| value & k)),
        JUMP => Course::On(pc + 1 + k as usize, loaded),
        JUMP_EQ => compared(|value, k| value == k),
        JUMP_GT => compared(|value, k| value > k),
        JUMP_GE => compared(|value, k| value >= k),
        JUMP_SET => compared(|value, k| value & k != 0),
        RETURN => Course::Answer(k),
        _ => Course::Strange,
    }
}
