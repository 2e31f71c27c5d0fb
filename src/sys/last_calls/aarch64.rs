//! The walker for AArch64. Position-independent; it reads and writes nothing but the block, and uses no stack.
//!
//! | register | holds |
//! |---|---|
//! | x19 | the header |
//! | x20 | the call that is being made |
//! | w22 | the mode of the call |
//! | w23 | the errno of a failed call; then the exit status |
//! | w9 | between two instructions |
//! | x8 | number of a system call |
//! | x0 to x5 | arguments of a system call; x0 its result |

use std::arch::asm;

use super::assembly::walker_assembly;
use super::{END, Mode};

/// The largest page: a kernel's are of 4, 16 (Raspberry Pi 5) or 64 KiB.
pub(super) const PAGE: usize = 65536;
/// What has to stand before an abort handler of restartable sequences; the kernel asks for it to unregister an area.
pub(super) const RSEQ_SIGNATURE: u64 = 0xd428_bc00;

walker_assembly! {
    walks: [
        "mov x19, x0",
        "mov x20, x1",
        ".Lbrisk_next_call:",
        "ldr x8, [x20, #{call_nr}]",
        "cmn x8, #{minus_END}",
        "b.eq .Lbrisk_ended",
        "ldp x0, x1, [x20, #{call_args}]",
        "ldp x2, x3, [x20, #{call_args}+16]",
        "ldp x4, x5, [x20, #{call_args}+32]",
        "ldr w22, [x20, #{call_mode}]",
        "svc #0",
        "cmn x0, #{MAX_ERRNO}",
        "b.hs .Lbrisk_failed",
        "tbz w22, #{SOME_bit}, .Lbrisk_answered",
        "cbz x0, .Lbrisk_gone",
        ".Lbrisk_answered:",
        "tbnz w22, #{GO_ON_bit}, .Lbrisk_go_on",
        "tbz w22, #{STORE_bit}, .Lbrisk_stored",
        "ldr x1, [x20, #{call_args}+24]",
        "str w0, [x1]",
        ".Lbrisk_stored:",
        "tbz w22, #{FORK_bit}, .Lbrisk_advance",
        "cbnz x0, .Lbrisk_report_child",
        ".Lbrisk_advance:",
        "add x20, x20, #{CALL}",
        "b .Lbrisk_next_call",
        ".Lbrisk_go_on:",
        "add x19, x0, #{HEADER_AT}",
        "ldr x20, [x19, #{header_calls}]",
        "b .Lbrisk_next_call",
        ".Lbrisk_gone:",
        "mov w0, #-{EPIPE}",
        ".Lbrisk_failed:",
        "tbnz w22, #{MAY_bit}, .Lbrisk_advance",
        "neg w23, w0",
        "tbz w22, #{SAY_bit}, .Lbrisk_fault",
        "ldr x1, [x20, #{call_args}+24]",
        ".Lbrisk_next_complaint:",
        "ldr x2, [x1, #{complaint_errno}]",
        "cbz x2, .Lbrisk_say",
        "cmp w2, w23",
        "b.eq .Lbrisk_say",
        "add x1, x1, #{COMPLAINT}",
        "b .Lbrisk_next_complaint",
        ".Lbrisk_say:",
        "ldr x2, [x1, #{complaint_len}]",
        "ldr x1, [x1, #{complaint_text}]",
        "mov x0, #{STDERR}",
        "mov x8, #{SYS_write}",
        "svc #0",
        ".Lbrisk_fault:",
        "ldr w9, [x20, #{call_op}]",
        "str w9, [x19, #{fault_op}]",
        "str w23, [x19, #{fault_value}]",
        "add x1, x19, #{fault}",
        "ldr w23, [x19, #{exit_status}]",
        "b .Lbrisk_send",
        ".Lbrisk_report_child:",
        "str w0, [x19, #{spare_value}]",
        "add x1, x19, #{spare}",
        "mov w23, #0",
        ".Lbrisk_send:",
        "ldr w0, [x19, #{wire}]",
        "mov x2, #{RECORD}",
        "mov x3, #{MSG_NOSIGNAL}",
        "mov x4, #0",
        "mov x5, #0",
        "ldr w8, [x19, #{send}]",
        "svc #0",
        "mov w0, w23",
        "b .Lbrisk_exit",
        ".Lbrisk_ended:",
        "mov x0, #{ENDED}",
        ".Lbrisk_exit:",
        "mov x8, #{SYS_exit_group}",
        "svc #0",
        "brk #1",
    ],
    signalled: [
        "add w0, w0, #{SIGNALLED}",
        "b .Lbrisk_exit",
    ],
    operands: [
        minus_END = END.wrapping_neg(),
        MAY_bit = Mode::MAY.0.trailing_zeros(),
        STORE_bit = Mode::STORE.0.trailing_zeros(),
        FORK_bit = Mode::FORK.0.trailing_zeros(),
        SAY_bit = Mode::SAY.0.trailing_zeros(),
        GO_ON_bit = Mode::GO_ON.0.trailing_zeros(),
        SOME_bit = Mode::SOME.0.trailing_zeros(),
    ],
}

/// Jumps to the walker, after the instruction cache has seen the copy of it, with a stack for the frame of a signal.
///
/// # Safety
///
/// `code` is an executable copy of the walker, `header` and `call` are those of a finished block, which ends at `stack`.
pub(super) unsafe fn jump(code: usize, header: usize, call: usize, stack: usize) -> ! {
    let (_, len) = super::walker();
    for_each_line(code, len, |line| {
        // SAFETY: cleans a cache line of our own code page; no memory changes.
        unsafe { asm!("dc cvau, {}", in(reg) line, options(nostack, preserves_flags)) }
    });
    // SAFETY: a barrier: what was cleaned is seen by what fetches instructions.
    unsafe { asm!("dsb ish", options(nostack, preserves_flags)) };
    for_each_line(code, len, |line| {
        // SAFETY: drops a line of the instruction cache; no memory changes.
        unsafe { asm!("ic ivau, {}", in(reg) line, options(nostack, preserves_flags)) }
    });
    // SAFETY: the caller's; the code was synchronised with the instruction cache, and does not return.
    unsafe {
        asm!(
            "dsb ish", "isb", "mov sp, {stack}", "br {code}",
            code = in(reg) code, stack = in(reg) stack, in("x0") header, in("x1") call, options(noreturn));
    }
}

/// The cache lines of a range, in steps of the smallest that the architecture knows (CTR_EL0: four words).
fn for_each_line(start: usize, len: usize, act: impl FnMut(usize)) {
    (start..start + len).step_by(16).for_each(act);
}

/// The thread pointer, from which the C library measures its restartable-sequences area.
pub(super) fn thread_pointer() -> usize {
    let pointer: usize;
    // SAFETY: reading the thread pointer register changes nothing.
    unsafe { asm!("mrs {}, tpidr_el0", out(reg) pointer, options(nostack, preserves_flags, nomem)) };
    pointer
}
