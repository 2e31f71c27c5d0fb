//! seccomp(2): load a filter, and ask what the running kernel knows of it.

use nix::errno::Errno;

use super::{Result, done, raw};

/// One instruction of a classic BPF program, laid out as the kernel's `struct sock_filter`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What it does: `BPF_LD | BPF_W | BPF_ABS` and so on.
    pub code: u16,
    /// Instructions to skip when a comparison holds.
    pub jt: u8,
    /// Instructions to skip when it does not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// `SECCOMP_FILTER_FLAG_TSYNC` (linux 3.17): the filter is for every thread of the process.
pub const FLAG_TSYNC: u64 = 1 << 0;
/// `SECCOMP_FILTER_FLAG_LOG` (linux 4.14): every action but allow is logged.
pub const FLAG_LOG: u64 = 1 << 1;
/// `SECCOMP_FILTER_FLAG_SPEC_ALLOW` (linux 4.17): no mitigation of Speculative Store Bypass.
pub const FLAG_SPEC_ALLOW: u64 = 1 << 2;
/// `SECCOMP_FILTER_FLAG_NEW_LISTENER` (linux 5.0): return a descriptor for `RET_USER_NOTIF`.
pub const FLAG_NEW_LISTENER: u64 = 1 << 3;
/// `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV` (linux 5.19): only fatal signals interrupt a received notification.
pub const FLAG_WAIT_KILLABLE_RECV: u64 = 1 << 5;

/// `SECCOMP_RET_KILL_PROCESS` (linux 4.14).
pub const RET_KILL_PROCESS: u32 = 0x8000_0000;
/// `SECCOMP_RET_KILL_THREAD`.
pub const RET_KILL_THREAD: u32 = 0;
/// `SECCOMP_RET_TRAP`.
pub const RET_TRAP: u32 = 0x0003_0000;
/// `SECCOMP_RET_ERRNO`; the low half is the errno.
pub const RET_ERRNO: u32 = 0x0005_0000;
/// `SECCOMP_RET_USER_NOTIF` (linux 5.0).
pub const RET_USER_NOTIF: u32 = 0x7fc0_0000;
/// `SECCOMP_RET_TRACE`; the low half is the tracer's message.
pub const RET_TRACE: u32 = 0x7ff0_0000;
/// `SECCOMP_RET_LOG` (linux 4.14).
pub const RET_LOG: u32 = 0x7ffc_0000;
/// `SECCOMP_RET_ALLOW`.
pub const RET_ALLOW: u32 = 0x7fff_0000;

const ALL_ACTIONS: [u32; 8] =
    [RET_KILL_PROCESS, RET_KILL_THREAD, RET_TRAP, RET_ERRNO, RET_USER_NOTIF, RET_TRACE, RET_LOG, RET_ALLOW];
const ALL_FLAGS: u64 = FLAG_TSYNC | FLAG_LOG | FLAG_SPEC_ALLOW | FLAG_NEW_LISTENER | FLAG_WAIT_KILLABLE_RECV;

/// Operations of seccomp(2) that libc has no names for on every target.
const SET_MODE_FILTER: libc::c_uint = 1;
const GET_ACTION_AVAIL: libc::c_uint = 2;

/// The actions and flags that a kernel knows, as plain data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Support {
    actions: u8,
    flags: u64,
}

impl Default for Support {
    fn default() -> Support {
        Support::ALL
    }
}

impl Support {
    /// A kernel that knows everything brisk does (linux 5.19).
    pub const ALL: Support = Support { actions: u8::MAX, flags: ALL_FLAGS };
    /// A kernel without seccomp filters.
    pub const NONE: Support = Support { actions: 0, flags: 0 };

    /// Whether the kernel knows the action (a `RET_*`, its data ignored). `RET_KILL_PROCESS` is the one with the
    /// sign bit.
    pub fn has_action(self, ret: u32) -> bool {
        ALL_ACTIONS.iter().position(|&known| known == ret & 0xffff_0000).is_some_and(|i| self.actions & (1 << i) != 0)
    }

    /// Whether the kernel knows all these flags.
    pub fn has_flags(self, flags: u64) -> bool {
        self.flags & flags == flags
    }

    /// And one action more.
    #[must_use]
    pub fn with_action(self, ret: u32) -> Self {
        let bit = ALL_ACTIONS.iter().position(|&known| known == ret & 0xffff_0000).map_or(0, |i| 1 << i);
        Support { actions: self.actions | bit, ..self }
    }

    /// And these flags.
    #[must_use]
    pub fn with_flags(self, flags: u64) -> Self {
        Support { flags: self.flags | flags, ..self }
    }
}

/// Loads a filter of `len` instructions, as bytes, for this thread. Allocates nothing.
pub fn load(program: &[u8], len: u16, flags: u64) -> Result<()> {
    if program.len() != usize::from(len) * size_of::<Instruction>() {
        return Err(Errno::EINVAL);
    }
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: `program` points to `len` instructions, which the kernel copies and does not write to.
    done(unsafe { raw!(SYS_seccomp, SET_MODE_FILTER, flags, &raw const program) })
}

/// Asks the running kernel what it knows; [`Support::NONE`] where there are no filters at all.
///
/// Before linux 4.14 there was nothing to ask: a kernel that does not know `GET_ACTION_AVAIL` has the five actions
/// of linux 3.5.
pub fn probe() -> Support {
    let mut support = Support::NONE;
    for ret in ALL_ACTIONS {
        support = match action_available(ret) {
            Ok(()) => support.with_action(ret),
            // FALLBACK(linux < 4.14)
            Err(Errno::EINVAL) if [RET_KILL_THREAD, RET_TRAP, RET_ERRNO, RET_TRACE, RET_ALLOW].contains(&ret) => {
                support.with_action(ret)
            }
            Err(_) => support,
        }
    }
    for bit in 0..u64::BITS {
        let flag = 1 << bit;
        if ALL_FLAGS & flag != 0 && flag_available(flag) {
            support = support.with_flags(flag);
        }
    }
    support
}

fn action_available(ret: u32) -> Result<()> {
    // SAFETY: the kernel reads 4 bytes at `&ret`, which lives on this stack frame until the call returns, and
    // writes nothing.
    done(unsafe { raw!(SYS_seccomp, GET_ACTION_AVAIL, 0, &raw const ret) })
}

/// The kernel checks the flags before it reads the program: EFAULT for a null program means that it knows them.
fn flag_available(flag: u64) -> bool {
    // WAIT_KILLABLE_RECV is refused without a listener.
    let flags = if flag == FLAG_WAIT_KILLABLE_RECV { flag | FLAG_NEW_LISTENER } else { flag };
    let program = std::ptr::null::<libc::sock_fprog>();
    // SAFETY: a null program is answered with EFAULT; nothing is read, written or installed.
    done(unsafe { raw!(SYS_seccomp, SET_MODE_FILTER, flags as libc::c_ulong, program) }) == Err(Errno::EFAULT)
}
