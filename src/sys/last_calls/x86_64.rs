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
//!
//! ```text
//! header = rdi; call = rsi
//! next_call:
//!     if call.nr == END: exit_group(ENDED)
//!     result = syscall(call.nr, call.args)
//!     if result is an error: goto failed
//!     if mode & SOME and result == 0: result = -EPIPE; goto failed
//!     if mode & GO_ON: header = result + HEADER_AT; call = header.calls; goto next_call
//!     if mode & STORE: *call.args[3] = result
//!     if mode & FORK and result != 0: goto report_child
//! advance:
//!     call += 1; goto next_call
//! failed:
//!     if mode & MAY: goto advance
//!     if mode & SAY: for complaint in call.args[3]..:
//!         if complaint.errno == errno or complaint.errno == 0: write(2, complaint.text, complaint.len); break
//!     header.fault.op = call.op; header.fault.value = errno
//!     record = header.fault; status = header.exit_status; goto send
//! report_child:
//!     header.spare.value = result; record = header.spare; status = 0
//! send:
//!     header.send(header.wire, record, size of a record, MSG_NOSIGNAL, 0, 0); exit_group(status)
//! signalled:
//!     exit_group(SIGNALLED + number)
//! ```

use std::arch::{asm, global_asm};
use std::mem::{offset_of, size_of};

use super::super::socket::WireRecord;
use super::{CALL, COMPLAINT, Call, Complaint, END, ENDED, HEADER_AT, Header, MAX_ERRNO, Mode, SIGNALLED, STDERR};

/// Pages of this architecture are of one size.
pub(super) const PAGE: usize = 4096;
/// What has to stand before an abort handler of restartable sequences; the kernel asks for it to unregister an area.
pub(super) const RSEQ_SIGNATURE: u64 = 0x5305_3053;

global_asm!(
    ".pushsection .text.brisk_walker,\"ax\",@progbits",
    ".balign 64",
    ".globl brisk_walker_start",
    ".hidden brisk_walker_start",
    "brisk_walker_start:",
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
    ".globl brisk_walker_signalled",
    ".hidden brisk_walker_signalled",
    "brisk_walker_signalled:",
    "add edi, {SIGNALLED}",
    "jmp .Lbrisk_exit",
    ".globl brisk_walker_end",
    ".hidden brisk_walker_end",
    "brisk_walker_end:",
    ".popsection",
    call_nr = const offset_of!(Call, nr),
    call_args = const offset_of!(Call, args),
    call_mode = const offset_of!(Call, mode),
    call_op = const offset_of!(Call, op),
    complaint_errno = const offset_of!(Complaint, errno),
    complaint_text = const offset_of!(Complaint, text),
    complaint_len = const offset_of!(Complaint, len),
    wire = const offset_of!(Header, wire),
    send = const offset_of!(Header, send),
    exit_status = const offset_of!(Header, exit_status),
    fault = const offset_of!(Header, fault),
    fault_op = const offset_of!(Header, fault) + offset_of!(WireRecord, op),
    fault_value = const offset_of!(Header, fault) + offset_of!(WireRecord, value),
    header_calls = const offset_of!(Header, calls),
    spare = const offset_of!(Header, spare),
    spare_value = const offset_of!(Header, spare) + offset_of!(WireRecord, value),
    CALL = const CALL,
    COMPLAINT = const COMPLAINT,
    RECORD = const size_of::<WireRecord>(),
    END = const END.cast_signed(),
    ENDED = const ENDED,
    SIGNALLED = const SIGNALLED,
    MAX_ERRNO = const MAX_ERRNO,
    STDERR = const STDERR,
    MAY = const Mode::MAY.0,
    STORE = const Mode::STORE.0,
    FORK = const Mode::FORK.0,
    SAY = const Mode::SAY.0,
    GO_ON = const Mode::GO_ON.0,
    SOME = const Mode::SOME.0,
    HEADER_AT = const HEADER_AT,
    EPIPE = const libc::EPIPE,
    MSG_NOSIGNAL = const libc::MSG_NOSIGNAL,
    SYS_write = const libc::SYS_write,
    SYS_exit_group = const libc::SYS_exit_group,
);

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
