//! What the walker is on every architecture: what it does, its names for the linker, and what its instructions are told of the
//! block.
//!
//! The walker begins with the addresses of a header and of a call as its arguments.
//!
//! ```text
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

/// The walker of an architecture, as instructions: what walks, from `next_call` on, and what follows where a signal ends a
/// process that is parked. `operands` are those that only this architecture needs.
macro_rules! walker_assembly {
    (
        walks: [$($walks:literal),+ $(,)?],
        signalled: [$($signalled:literal),+ $(,)?],
        operands: [$($name:ident = $value:expr),+ $(,)?] $(,)?
    ) => {
        ::std::arch::global_asm!(
            ".pushsection .text.brisk_walker,\"ax\",@progbits",
            ".balign 64",
            ".globl brisk_walker_start",
            ".hidden brisk_walker_start",
            "brisk_walker_start:",
            $($walks,)+
            ".globl brisk_walker_signalled",
            ".hidden brisk_walker_signalled",
            "brisk_walker_signalled:",
            $($signalled,)+
            ".globl brisk_walker_end",
            ".hidden brisk_walker_end",
            "brisk_walker_end:",
            ".popsection",
            call_nr = const ::std::mem::offset_of!($crate::sys::last_calls::Call, nr),
            call_args = const ::std::mem::offset_of!($crate::sys::last_calls::Call, args),
            call_mode = const ::std::mem::offset_of!($crate::sys::last_calls::Call, mode),
            call_op = const ::std::mem::offset_of!($crate::sys::last_calls::Call, op),
            complaint_errno = const ::std::mem::offset_of!($crate::sys::last_calls::Complaint, errno),
            complaint_text = const ::std::mem::offset_of!($crate::sys::last_calls::Complaint, text),
            complaint_len = const ::std::mem::offset_of!($crate::sys::last_calls::Complaint, len),
            wire = const ::std::mem::offset_of!($crate::sys::last_calls::Header, wire),
            send = const ::std::mem::offset_of!($crate::sys::last_calls::Header, send),
            exit_status = const ::std::mem::offset_of!($crate::sys::last_calls::Header, exit_status),
            fault = const ::std::mem::offset_of!($crate::sys::last_calls::Header, fault),
            fault_op = const ::std::mem::offset_of!($crate::sys::last_calls::Header, fault) + ::std::mem::offset_of!($crate::sys::socket::WireRecord, op),
            fault_value = const ::std::mem::offset_of!($crate::sys::last_calls::Header, fault) + ::std::mem::offset_of!($crate::sys::socket::WireRecord, value),
            header_calls = const ::std::mem::offset_of!($crate::sys::last_calls::Header, calls),
            spare = const ::std::mem::offset_of!($crate::sys::last_calls::Header, spare),
            spare_value = const ::std::mem::offset_of!($crate::sys::last_calls::Header, spare) + ::std::mem::offset_of!($crate::sys::socket::WireRecord, value),
            CALL = const $crate::sys::last_calls::CALL,
            COMPLAINT = const $crate::sys::last_calls::COMPLAINT,
            RECORD = const ::std::mem::size_of::<$crate::sys::socket::WireRecord>(),
            ENDED = const $crate::sys::last_calls::ENDED,
            SIGNALLED = const $crate::sys::last_calls::SIGNALLED,
            MAX_ERRNO = const $crate::sys::last_calls::MAX_ERRNO,
            STDERR = const $crate::sys::last_calls::STDERR,
            HEADER_AT = const $crate::sys::last_calls::HEADER_AT,
            EPIPE = const ::libc::EPIPE,
            MSG_NOSIGNAL = const ::libc::MSG_NOSIGNAL,
            SYS_write = const ::libc::SYS_write,
            SYS_exit_group = const ::libc::SYS_exit_group,
            $($name = const $value,)+
        );
    };
}
pub(super) use walker_assembly;
