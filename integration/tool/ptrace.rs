//! The raw ptrace requests the tracer needs, x86_64 and aarch64.
#![allow(unsafe_code, reason = "ptrace has no safe wrapper in the nix features this crate enables")]

use std::ffi::c_void;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What a tracee stopped for.
#[derive(Clone, Copy, Debug)]
pub enum Stop {
    Entry { nr: u64, args: [u64; 6] },
    Exit { result: i64 },
    Other,
}

/// `struct ptrace_syscall_info` (linux/ptrace.h, Linux 5.3); libc's declaration has no aarch64 form everywhere.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct SyscallInfo {
    op: u8,
    pad: [u8; 3],
    arch: u32,
    instruction_pointer: u64,
    stack_pointer: u64,
    data: [u64; 7],
}

const PTRACE_GET_SYSCALL_INFO: u32 = 0x420e;
const ENTRY: u8 = 1;
const EXIT: u8 = 2;

/// The command stops at its execve, traced by the caller, and ignores no signal: each that it does costs a runtime calls.
pub fn trace_me(command: &mut Command) -> &mut Command {
    let hook = || {
        // Not by signal(2) of the C library, which keeps 32 and 33 for itself: make has them ignored.
        let default = [0u64; 4];
        for signal in 1..=64 {
            // SAFETY: a kernel's sigaction that is all zeros is the default; the numbers that cannot be set are refused.
            unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), 0, 8) };
        }
        let nothing: *mut c_void = std::ptr::null_mut();
        // SAFETY: PTRACE_TRACEME ignores its other arguments.
        match unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, nothing, nothing) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    };
    // SAFETY: the hook makes async-signal-safe system calls alone and does not allocate.
    unsafe { command.pre_exec(hook) }
}

fn request(what: u32, pid: i32, address: usize, data: usize) -> io::Result<i64> {
    // SAFETY: only requests that take integers, or pointers to live buffers made by the callers below, get here.
    let result = unsafe { libc::ptrace(what, pid, address as *mut c_void, data as *mut c_void) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Follows every kind of fork and marks system call stops.
pub fn follow(pid: i32) -> io::Result<()> {
    let options = libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEEXEC;
    request(libc::PTRACE_SETOPTIONS, pid, 0, options as usize).map(drop)
}

/// Marks system call stops, and follows nobody.
pub fn mark_calls(pid: i32) -> io::Result<()> {
    request(libc::PTRACE_SETOPTIONS, pid, 0, libc::PTRACE_O_TRACESYSGOOD as usize).map(drop)
}

/// On to the next system call stop, with a signal or none (0).
pub fn resume(pid: i32, signal: i32) -> io::Result<()> {
    request(libc::PTRACE_SYSCALL, pid, 0, signal as usize).map(drop)
}

/// Lets a stopped tracee go.
pub fn detach(pid: i32) -> io::Result<()> {
    request(libc::PTRACE_DETACH, pid, 0, 0).map(drop)
}

/// The new process's pid at a fork stop.
pub fn event_message(pid: i32) -> io::Result<i32> {
    let mut message: libc::c_ulong = 0;
    request(libc::PTRACE_GETEVENTMSG, pid, 0, &raw mut message as usize)?;
    Ok(message as i32)
}

/// Whether this is an entry or an exit, and of what.
pub fn syscall_stop(pid: i32) -> io::Result<Stop> {
    let mut info = SyscallInfo::default();
    request(PTRACE_GET_SYSCALL_INFO, pid, size_of::<SyscallInfo>(), &raw mut info as usize)?;
    let [first, args @ ..] = info.data;
    Ok(match info.op {
        ENTRY => Stop::Entry { nr: first, args },
        EXIT => Stop::Exit { result: first as i64 },
        _ => Stop::Other,
    })
}

/// At an entry: the kernel runs no system call at all.
#[cfg(target_arch = "x86_64")]
pub fn skip_call(pid: i32) -> io::Result<()> {
    let offset = std::mem::offset_of!(libc::user_regs_struct, orig_rax);
    request(libc::PTRACE_POKEUSER, pid, offset, usize::MAX).map(drop)
}

/// At the exit: what the program sees as the result.
#[cfg(target_arch = "x86_64")]
pub fn set_result(pid: i32, result: i64) -> io::Result<()> {
    let offset = std::mem::offset_of!(libc::user_regs_struct, rax);
    request(libc::PTRACE_POKEUSER, pid, offset, result as usize).map(drop)
}

/// At an entry: the kernel runs no system call at all (NT_ARM_SYSTEM_CALL).
#[cfg(target_arch = "aarch64")]
pub fn skip_call(pid: i32) -> io::Result<()> {
    const NT_ARM_SYSTEM_CALL: usize = 0x404;
    let mut number: i32 = -1;
    let mut vector = libc::iovec { iov_base: (&raw mut number).cast(), iov_len: size_of::<i32>() };
    request(libc::PTRACE_SETREGSET, pid, NT_ARM_SYSTEM_CALL, &raw mut vector as usize).map(drop)
}

/// At the exit: what the program sees as the result (x0).
#[cfg(target_arch = "aarch64")]
pub fn set_result(pid: i32, result: i64) -> io::Result<()> {
    const NT_PRSTATUS: usize = 1;
    let mut registers = [0u64; 34];
    let mut vector = libc::iovec { iov_base: registers.as_mut_ptr().cast(), iov_len: size_of_val(&registers) };
    request(libc::PTRACE_GETREGSET, pid, NT_PRSTATUS, &raw mut vector as usize)?;
    registers[0] = result as u64;
    request(libc::PTRACE_SETREGSET, pid, NT_PRSTATUS, &raw mut vector as usize).map(drop)
}
