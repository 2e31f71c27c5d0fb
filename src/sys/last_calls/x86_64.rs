//! The walker for x86-64. Position-independent; it reads and writes nothing but the block, and uses no stack.
//!
//! | register | holds |
//! |---|---|
//! | rbx | the header |
//! | r12 | the call that is being made |
//! | r14d | the mode of the call |
//! | r15d | the errno of a failed call; then the exit status |
//! | rax | number of a system call, then its result |
//! | rdi, rsi, rdx, r10, r8, r9 | arguments of a system call |
//! | rcx, r11 | overwritten by each system call |

use std::arch::asm;

use super::assembly::walker_assembly;
use super::{END, Mode};

/// Pages of this architecture are of one size.
pub(super) const PAGE: usize = 4096;
/// What has to stand before an abort handler of restartable sequences; the kernel asks for it to unregister an area.
pub(super) const RSEQ_SIGNATURE: u64 = 0x5305_3053;

walker_assembly! {
    walks: [
        "mov rbx, rdi",
        "mov r12, rsi",
        ".Lbrisk_next_call:",
        "mov rax, [r12+{call_nr}]",
        "cmp rax, {END}",
        "je .Lbrisk_ended",
        "mov rdi, [r12+{call_args}]",
        "mov rsi, [r12+{call_args}+8]",
        "mov rdx, [r12+{call_args}+16]",
        "mov r10, [r12+{call_args}+24]",
        "mov r8, [r12+{call_args}+32]",
        "mov r9, [r12+{call_args}+40]",
        "mov r14d, [r12+{call_mode}]",
        "syscall",
        "cmp rax, -{MAX_ERRNO}",
        "jae .Lbrisk_failed",
        "test r14d, {SOME}",
        "jz .Lbrisk_answered",
        "test rax, rax",
        "jz .Lbrisk_gone",
        ".Lbrisk_answered:",
        "test r14d, {GO_ON}",
        "jnz .Lbrisk_go_on",
        "test r14d, {STORE}",
        "jz .Lbrisk_stored",
        "mov rdx, [r12+{call_args}+24]",
        "mov [rdx], eax",
        ".Lbrisk_stored:",
        "test r14d, {FORK}",
        "jz .Lbrisk_advance",
        "test rax, rax",
        "jnz .Lbrisk_report_child",
        ".Lbrisk_advance:",
        "add r12, {CALL}",
        "jmp .Lbrisk_next_call",
        ".Lbrisk_go_on:",
        "lea rbx, [rax+{HEADER_AT}]",
        "mov r12, [rbx+{header_calls}]",
        "jmp .Lbrisk_next_call",
        ".Lbrisk_gone:",
        "mov eax, -{EPIPE}",
        ".Lbrisk_failed:",
        "test r14d, {MAY}",
        "jnz .Lbrisk_advance",
        "neg eax",
        "mov r15d, eax",
        "test r14d, {SAY}",
        "jz .Lbrisk_fault",
        "mov rsi, [r12+{call_args}+24]",
        ".Lbrisk_next_complaint:",
        "mov rdx, [rsi+{complaint_errno}]",
        "test rdx, rdx",
        "jz .Lbrisk_say",
        "cmp edx, r15d",
        "je .Lbrisk_say",
        "add rsi, {COMPLAINT}",
        "jmp .Lbrisk_next_complaint",
        ".Lbrisk_say:",
        "mov edi, {STDERR}",
        "mov rdx, [rsi+{complaint_len}]",
        "mov rsi, [rsi+{complaint_text}]",
        "mov eax, {SYS_write}",
        "syscall",
        ".Lbrisk_fault:",
        "mov eax, [r12+{call_op}]",
        "mov [rbx+{fault_op}], eax",
        "mov [rbx+{fault_value}], r15d",
        "lea rsi, [rbx+{fault}]",
        "mov r15d, [rbx+{exit_status}]",
        "jmp .Lbrisk_send",
        ".Lbrisk_report_child:",
        "mov [rbx+{spare_value}], eax",
        "lea rsi, [rbx+{spare}]",
        "xor r15d, r15d",
        ".Lbrisk_send:",
        "mov rdi, [rbx+{wire}]",
        "mov edx, {RECORD}",
        "mov r10d, {MSG_NOSIGNAL}",
        "xor r8d, r8d",
        "xor r9d, r9d",
        "mov eax, [rbx+{send}]",
        "syscall",
        "mov edi, r15d",
        "jmp .Lbrisk_exit",
        ".Lbrisk_ended:",
        "mov edi, {ENDED}",
        ".Lbrisk_exit:",
        "mov eax, {SYS_exit_group}",
        "syscall",
        "hlt",
    ],
    signalled: [
        "add edi, {SIGNALLED}",
        "jmp .Lbrisk_exit",
    ],
    operands: [
        END = END.cast_signed(),
        MAY = Mode::MAY.0,
        STORE = Mode::STORE.0,
        FORK = Mode::FORK.0,
        SAY = Mode::SAY.0,
        GO_ON = Mode::GO_ON.0,
        SOME = Mode::SOME.0,
    ],
}

/// Jumps to the walker, with a stack for the frame of a signal.
///
/// # Safety
///
/// `code` is an executable copy of the walker, `header` and `call` are those of a finished block, which ends at `stack`.
pub(super) unsafe fn jump(code: usize, header: usize, call: usize, stack: usize) -> ! {
    // SAFETY: the caller's; the routine does not return.
    unsafe {
        asm!(
            "mov rsp, {stack}", "jmp {code}",
            code = in(reg) code, stack = in(reg) stack, in("rdi") header, in("rsi") call, options(noreturn));
    }
}

/// The thread pointer, from which the C library measures its restartable-sequences area.
pub(super) fn thread_pointer() -> usize {
    let pointer: usize;
    // SAFETY: the word at fs:0 is the thread pointer itself in the x86-64 ABI; reading it changes nothing.
    unsafe { asm!("mov {}, fs:0", out(reg) pointer, options(nostack, preserves_flags, readonly)) };
    pointer
}
