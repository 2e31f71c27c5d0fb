//! The eBPF program that enforces a device policy on cgroup v2 (BPF_PROG_TYPE_CGROUP_DEVICE, Linux 4.15). Pure.
//!
//! The kernel calls it with a `struct bpf_cgroup_dev_ctx {u32 access_type; u32 major; u32 minor}`; the low
//! half of access_type is the kind of the device, the high half what is asked. 1 allows, 0 denies.
//!
//! The rules are tried from the last to the first and each decides the access bits it names: r3 holds the bits
//! that no rule has allowed yet. A program is a straight line with short forward jumps, some five
//! instructions a rule.

use std::collections::BTreeSet;

use crate::plan::cgroup::devices::{Access, DeviceEntry, DeviceKind, DevicePolicy, DeviceSet, DeviceVerdict, wider};

/// One instruction, as in bpf(2) and Documentation/bpf/standardization/instruction-set.rst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of struct bpf_insn")]
pub struct Insn {
    pub code: u8,
    pub dst: u8,
    pub src: u8,
    pub off: i16,
    pub imm: i32,
}

impl Insn {
    /// The instruction as the kernel reads it.
    pub fn encode(self) -> [u8; 8] {
        let regs = if cfg!(target_endian = "big") { self.dst << 4 | self.src } else { self.src << 4 | self.dst };
        let ([o0, o1], [i0, i1, i2, i3]) = (self.off.to_ne_bytes(), self.imm.to_ne_bytes());
        [self.code, regs, o0, o1, i0, i1, i2, i3]
    }
}

/// `dst = *(u32 *)(src + off)`: BPF_LDX | BPF_MEM | BPF_W.
pub const LOAD: u8 = 0x61;
/// `dst = imm`: BPF_ALU64 | BPF_MOV | BPF_K.
pub const MOV: u8 = 0xb7;
/// `dst = src`: BPF_ALU64 | BPF_MOV | BPF_X.
pub const MOV_REG: u8 = 0xbf;
/// `dst &= imm` on 32 bits: BPF_ALU | BPF_AND | BPF_K.
pub const AND: u8 = 0x54;
/// `dst >>= imm` on 32 bits: BPF_ALU | BPF_RSH | BPF_K.
pub const SHIFT_RIGHT: u8 = 0x74;
/// Jump when `dst == imm`: BPF_JMP | BPF_JEQ | BPF_K.
pub const JUMP_EQUAL: u8 = 0x15;
/// Jump when `dst != imm`: BPF_JMP | BPF_JNE | BPF_K.
pub const JUMP_NOT_EQUAL: u8 = 0x55;
/// Return r0: BPF_JMP | BPF_EXIT.
pub const EXIT: u8 = 0x95;

const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ASKED: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 6;

/// BPF_DEVCG_DEV_BLOCK and BPF_DEVCG_DEV_CHAR.
const fn kind_number(kind: DeviceKind) -> i32 {
    match kind {
        DeviceKind::Block => 1,
        DeviceKind::Char => 2,
    }
}

fn insn(code: u8, dst: u8, imm: i32) -> Insn {
    Insn { code, dst, src: 0, off: 0, imm }
}

fn load(dst: u8, off: i16) -> Insn {
    Insn { code: LOAD, dst, src: CONTEXT, off, imm: 0 }
}

fn answer(verdict: DeviceVerdict) -> [Insn; 2] {
    [insn(MOV, RESULT, i32::from(verdict == DeviceVerdict::Allow)), insn(EXIT, 0, 0)]
}

/// The program of `policy`.
pub fn program(policy: &DevicePolicy) -> Vec<Insn> {
    let mut code = vec![
        load(KIND, 0),
        insn(AND, KIND, 0xffff),
        load(ASKED, 0),
        insn(SHIFT_RIGHT, ASKED, 16),
        load(MAJOR, 4),
        load(MINOR, 8),
    ];
    // A later rule that says the last word on all of these devices leaves nothing to say.
    let mut said: BTreeSet<DeviceSet> = BTreeSet::new();
    for rule in policy.rules.iter().rev() {
        let own = rule.devices();
        if !said.contains(&own) && !wider(own).any(|devices| said.contains(&devices)) {
            code.extend(block(rule));
        }
        if rule.access == Access::ALL {
            said.insert(own);
        }
    }
    code.extend(answer(policy.default));
    code
}

/// The instructions of one rule; falls through when it does not decide.
fn block(rule: &DeviceEntry) -> Vec<Insn> {
    // No device has numbers this large, and a comparison sign-extends its 32-bit operand.
    let number = |value: Option<u32>| value.map(i32::try_from).transpose();
    let (Ok(major), Ok(minor)) = (number(rule.major), number(rule.minor)) else {
        return Vec::new();
    };
    let mut code = vec![insn(JUMP_NOT_EQUAL, KIND, kind_number(rule.kind))];
    code.extend(major.map(|major| insn(JUMP_NOT_EQUAL, MAJOR, major)));
    code.extend(minor.map(|minor| insn(JUMP_NOT_EQUAL, MINOR, minor)));
    let access = i32::from(rule.access.0);
    match (rule.verdict, rule.access) {
        (_, Access::ALL) => {}
        (DeviceVerdict::Allow, _) => {
            code.push(insn(AND, ASKED, !access));
            code.push(insn(JUMP_NOT_EQUAL, ASKED, 0));
        }
        (DeviceVerdict::Deny, _) => {
            code.push(Insn { code: MOV_REG, dst: SCRATCH, src: ASKED, off: 0, imm: 0 });
            code.push(insn(AND, SCRATCH, access));
            code.push(insn(JUMP_EQUAL, SCRATCH, 0));
        }
    }
    code.extend(answer(rule.verdict));
    let end = code.len();
    for (at, insn) in code.iter_mut().enumerate() {
        if matches!(insn.code, JUMP_EQUAL | JUMP_NOT_EQUAL) {
            // A block has at most eight instructions.
            insn.off = i16::try_from(end - at - 1).unwrap_or(i16::MAX);
        }
    }
    code
}
