//! The last system calls before `execve`, made by a few dozen instructions that need nothing of brisk.
//!
//! A [`Block`] is one mapping, an anonymous one: a page with a copy of the *walker*, position-independent code, and the *table*
//! of raw system calls with everything they point to. The parent writes it as a [`Table`]; the child (a copy of the parent) jumps into
//! it. From then on nothing of the runtime is needed: the first calls of the table *leave* it ([`leave`]), which unmaps
//! all of it and swaps `/proc/self/exe` for an empty memory file, so a container that is *parked* (waits for `start`)
//! costs a few kB and has no path to the runtime's binary (the CVE-2019-5736 class), without a second `execve` of
//! ourselves.
//!
//! What the walker does is said in assembly.rs in pseudo-code; its instructions are in x86_64.rs and aarch64.rs, each with its
//! registers. It takes every offset, size, flag and number from the types and constants here, so a field can be moved
//! without a look at it.
//! Where it is missing (other architectures) or not wanted, [`Block::run_op`] makes the same calls from Rust.
//!
//! A parked process may be brought its last calls only when it is started: a *second* block, which another process writes
//! into a memory file ([`Table::second`]), and which the walker goes on with when the first table has mapped it
//! ([`Mode::GO_ON`]). It is data, a mapping of that file whose first page is empty: the code stays the first block's.
//!
//! The modules: `assembly` is the walker, in the instructions of `machine`, a file for each architecture.

use std::arch::global_asm;
use std::mem::offset_of;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use std::sync::OnceLock;
use std::sync::atomic::AtomicU8;

use nix::errno::Errno;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod assembly;
#[cfg_attr(target_arch = "x86_64", path = "x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "aarch64.rs")]
#[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), path = "no_walker.rs")]
mod machine;

use super::shared::Progress;
use super::socket::{RECORD, WireRecord};
use super::{Result, cvt, done, memory, raw};
use machine::PAGE;

/// What to do with the result of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mode(u32);

impl Mode {
    /// An error is a fault: report it and exit.
    pub const MUST: Mode = Mode(0);
    /// An error is ignored.
    pub const MAY: Mode = Mode(1);
    /// The result is stored where the fourth argument says, as 32 bits.
    pub const STORE: Mode = Mode(2);
    /// A result other than 0 becomes the value of the spare record (see [`Table::set_spare`]), which is sent, and the
    /// process exits: the parent's side of a clone.
    pub const FORK: Mode = Mode(4);
    /// Before the fault is reported, say it on the standard error stream. The fourth argument is the address of
    /// [`Complaint`]s.
    pub const SAY: Mode = Mode(8);
    /// The result is the address of a second block: its header and its table are next.
    pub const GO_ON: Mode = Mode(16);
    /// A result of 0 is an error, EPIPE: whoever was to answer is gone.
    pub const SOME: Mode = Mode(32);

    /// Both.
    #[must_use]
    pub const fn and(self, other: Mode) -> Mode {
        Mode(self.0 | other.0)
    }

    const fn has(self, other: Mode) -> bool {
        self.0 & other.0 != 0
    }
}

/// One entry of the table.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Call {
    nr: u64,
    args: [u64; 6],
    /// [`Mode`].
    mode: u32,
    /// Index of the plan's operation.
    op: u32,
}

/// What is said of one errno. The list ends with one of errno 0, which is for all the others.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Complaint {
    /// The errno.
    pub errno: u64,
    /// Address of the text.
    pub text: u64,
    /// Its length.
    pub len: u64,
}

/// What stands before the calls and what they point to.
#[repr(C)]
#[derive(Clone, Copy)]
struct Header {
    /// Where the records go.
    wire: i32,
    /// The system call that sends them: sendto(2), or another that takes its arguments for a record.
    send: u32,
    /// Of a process whose call failed.
    exit_status: u32,
    reserved: u32,
    /// Address of the first call.
    calls: u64,
    /// Sent when a call fails, with operation and errno filled in.
    fault: [u8; RECORD],
    /// Its value is filled in by [`Mode::FORK`], which sends it.
    spare: [u8; RECORD],
}

const HEADER: usize = size_of::<Header>();
const CALL: usize = size_of::<Call>();
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const COMPLAINT: usize = size_of::<Complaint>();
/// The number of a call that is none: the table ends here.
const END: u64 = u64::MAX;
/// Where a second block is mapped, by whoever writes it and by whoever goes on with it: far from what a program is given that is
/// not position-independent, and from where the kernel maps what asks for no address, on every architecture with 36 bits
/// or more of them.
const SECOND_AT: usize = 0x8_0000_0000;
/// Bytes of a `struct cmsghdr`.
const CONTROL_HEADER: usize = size_of::<libc::cmsghdr>();
/// Exit status of a process whose call failed; the fault record says why.
const EXIT_FAULT: u32 = 255;
/// Exit status of a process that came to the end of the table, which no plan's table lets it do.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const ENDED: u32 = 125;
/// Exit status of a process that a signal ends while it is parked is this and the number, as a shell has it.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const SIGNALLED: u32 = 128;
/// A result from -4095 on is an errno (MAX_ERRNO of include/linux/err.h).
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const MAX_ERRNO: u32 = 4095;
const STDERR: i32 = libc::STDERR_FILENO;

const HEADER_AT: usize = PAGE;
const DATA_AT: usize = (HEADER_AT + HEADER).next_multiple_of(8);
/// Where a record has the number that goes with its kind.
const VALUE: usize = offset_of!(WireRecord, value);

/// Whether this build has a walker.
pub const HAS_WALKER: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));

// Where the C library registered a restartable-sequences area: glibc 2.35 and later export the offset from
// the thread pointer and the size. A weak reference reads as address 0 where there is none.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
global_asm!(
    ".weak __rseq_offset",
    ".weak __rseq_size",
    ".pushsection .data.rel.ro.brisk_rseq,\"aw\",@progbits",
    ".balign 8",
    ".globl brisk_rseq_symbols",
    ".hidden brisk_rseq_symbols",
    "brisk_rseq_symbols:",
    ".quad __rseq_offset",
    ".quad __rseq_size",
    ".popsection",
);

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
unsafe extern "C" {
    static brisk_walker_start: u8;
    static brisk_walker_signalled: u8;
    static brisk_walker_end: u8;
    static brisk_rseq_symbols: [usize; 2];
}

/// The walker: where it is in this program, and its length in bytes.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn walker() -> (*const u8, usize) {
    let (start, end) = (&raw const brisk_walker_start, &raw const brisk_walker_end);
    (start, end as usize - start as usize)
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn walker() -> (*const u8, usize) {
    (ptr::null(), 0)
}

/// What handles the signals that ask a process to end while it is parked, in this program: as the first process of a pid
/// namespace it would not get them otherwise (pid_namespaces(7)). It ends the process, and needs nothing but room for its
/// frame. execve(2) takes it away.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub fn on_signal() -> Option<u64> {
    Some((&raw const brisk_walker_signalled) as u64)
}

/// No handler: only the walker's architectures have one.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub fn on_signal() -> Option<u64> {
    None
}

/// A block that is being written. Its calls come behind what they point to, whose size is known when all of it is there.
#[derive(Debug)]
pub struct Table {
    base: usize,
    len: usize,
    /// What is mapped behind that, for [`Table::progress`].
    tail: usize,
    next_data: usize,
    calls: Vec<Call>,
    /// Where the address of a call's second argument has to be written, and which call that is.
    second_argument: Option<(usize, usize)>,
}

impl Table {
    /// How many calls it has so far.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// Maps a block with room for `calls` calls and `data` bytes of what they point to (each item is aligned to 8, which the
    /// caller counts). Room that is not used is no memory: nobody touches it.
    pub fn new(wire: BorrowedFd<'_>, fault: [u8; RECORD], calls: usize, data: usize) -> Result<Table> {
        let len = (DATA_AT + data + (calls + 1) * CALL).next_multiple_of(PAGE);
        let base = memory::map(len + PAGE, libc::MAP_PRIVATE)?;
        let mut table = Table { tail: PAGE, ..Table::at(base as usize, len, wire.as_raw_fd(), fault) };
        table.copy_walker();
        Ok(table)
    }

    /// A second block, in a memory file, for a process that is parked: what is written to it goes to the file. `wire` is
    /// the number that the wire will have there. EEXIST where something of ours has its address.
    pub fn second(file: BorrowedFd<'_>, wire: i32, fault: [u8; RECORD], calls: usize, data: usize) -> Result<Table> {
        let len = (DATA_AT + data + (calls + 1) * CALL).next_multiple_of(PAGE);
        // SAFETY: no memory is passed.
        done(unsafe { raw!(SYS_ftruncate, file.as_raw_fd(), len) })?;
        let flags = libc::MAP_SHARED | libc::MAP_FIXED_NOREPLACE;
        let (at, rights) = (SECOND_AT as *mut libc::c_void, libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: MAP_FIXED_NOREPLACE maps nothing over what is there.
        let base = unsafe { libc::mmap(at, len, rights, flags, file.as_raw_fd(), 0) };
        if base == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        Ok(Table::at(SECOND_AT, len, wire, fault))
    }

    fn at(base: usize, len: usize, wire: i32, fault: [u8; RECORD]) -> Table {
        let calls = Vec::with_capacity(32);
        let mut table = Table { base, len, tail: 0, next_data: DATA_AT, calls, second_argument: None };
        let header = Header {
            wire,
            send: libc::SYS_sendto as u32,
            exit_status: EXIT_FAULT,
            reserved: 0,
            calls: 0,
            fault,
            spare: [0; RECORD],
        };
        table.store(HEADER_AT, header);
        table
    }

    /// How far the process is, behind the block, so that it is told of when the runtime is unmapped. Of a first block.
    pub fn progress(&self) -> Result<&'static Progress> {
        assert!(self.tail > 0, "a first block");
        // SAFETY: the page behind the block is part of its mapping, and in no other use.
        unsafe { Progress::at(self.base + self.len) }
    }

    fn copy_walker(&mut self) {
        let (start, len) = walker();
        assert!(len <= PAGE, "the walker fits its page");
        if len > 0 {
            // SAFETY: source is the whole routine, destination the first page of our own mapping.
            unsafe { ptr::copy_nonoverlapping(start, self.base as *mut u8, len) };
        }
    }

    fn store<T: Copy>(&mut self, offset: usize, value: T) {
        assert!(offset + size_of::<T>() <= self.len, "within the block");
        // SAFETY: the destination is inside our own mapping, as was just checked; T is plain data.
        unsafe { ptr::write_unaligned((self.base + offset) as *mut T, value) };
    }

    /// Puts bytes into the block; returns their address.
    pub fn bytes(&mut self, bytes: &[u8]) -> u64 {
        let at = self.next_data;
        let end = at + bytes.len();
        assert!(end <= self.len, "within the block");
        // SAFETY: the destination is inside our own mapping, as was just checked.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), (self.base + at) as *mut u8, bytes.len()) };
        self.next_data = end.next_multiple_of(8);
        (self.base + at) as u64
    }

    /// Reserves zeroed bytes; returns their address.
    pub fn reserve(&mut self, len: usize) -> u64 {
        let at = self.next_data;
        assert!(at + len <= self.len, "within the block");
        self.next_data = (at + len).next_multiple_of(8);
        (self.base + at) as u64
    }

    /// Puts a NULL-terminated array of addresses into the block; returns its address.
    pub fn words(&mut self, words: &[u64]) -> u64 {
        let at = self.next_data;
        for (i, word) in words.iter().enumerate() {
            self.store(at + 8 * i, *word);
        }
        self.next_data = at + 8 * words.len();
        (self.base + at) as u64
    }

    /// Puts a list for [`Mode::SAY`] into the block; returns its address.
    pub fn complaints(&mut self, list: &[Complaint]) -> u64 {
        let at = self.next_data;
        for complaint in list {
            self.store(self.next_data, *complaint);
            self.next_data += size_of::<Complaint>();
        }
        (self.base + at) as u64
    }

    /// Adds a call. Missing arguments are 0.
    pub fn call(&mut self, op: u32, mode: Mode, nr: libc::c_long, args: &[u64]) {
        let mut all = [0; 6];
        all[..args.len()].copy_from_slice(args);
        self.calls.push(Call { nr: nr as u64, args: all, mode: mode.0, op });
    }

    /// Adds the calls by which a parked process takes the second block from the socket `from`: a message of its length,
    /// with a memory file and `more` descriptors. They get the lowest numbers that are free, of which `file` is the first.
    pub fn go_on(&mut self, op: u32, from: i32, file: i32, more: usize) {
        let room = CONTROL_HEADER + 4 * (1 + more);
        let control = self.reserve(room);
        // The length is received where the next call has it.
        let iov = self.words(&[0, 8]);
        self.second_argument = Some((iov as usize - self.base, self.calls.len() + 1));
        // struct msghdr: name and its length, vectors and their number, control data and its length, flags.
        let message = self.words(&[0, 0, iov, 1, control, room as u64, 0]);
        self.call(op, Mode::SOME, libc::SYS_recvmsg, &[from as u64, message, 0]);
        let (rights, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_FIXED_NOREPLACE);
        let map = [SECOND_AT as u64, 0, rights as u64, flags as u64, file as u64, 0];
        self.call(op, Mode::GO_ON, libc::SYS_mmap, &map);
    }

    /// Fills the spare record.
    pub fn set_spare(&mut self, record: &[u8; RECORD]) {
        self.store(HEADER_AT + offset_of!(Header, spare), *record);
    }

    /// Sends every record by this system call: a filter that is loaded on the way may not let sendto(2) pass.
    pub fn send_by(&mut self, nr: libc::c_long) {
        self.store(HEADER_AT + offset_of!(Header, send), nr as u32);
    }

    /// First and last address of the mapping, for the calls that unmap everything around it.
    pub fn bounds(&self) -> (u64, u64) {
        (self.base as u64, (self.base + self.len + self.tail) as u64)
    }

    /// Puts the calls behind what they point to.
    pub fn finish(mut self) -> Block {
        let calls_at = self.next_data;
        let end = Call { nr: END, args: [0; 6], mode: 0, op: 0 };
        if let Some((iov, call)) = self.second_argument {
            let argument = self.base + calls_at + call * CALL + offset_of!(Call, args) + 8;
            self.store(iov, argument as u64);
        }
        self.store(HEADER_AT + offset_of!(Header, calls), (self.base + calls_at) as u64);
        let mut at = calls_at;
        for call in std::mem::take(&mut self.calls).into_iter().chain([end]) {
            self.store(at, call);
            at += CALL;
        }
        Block { base: self.base, len: self.len, calls_at }
    }
}

/// The finished mapping. It is never unmapped by its owner: the child's copy of a first block, and the file of a second one,
/// outlive everything else.
#[derive(Debug)]
pub struct Block {
    base: usize,
    len: usize,
    calls_at: usize,
}

impl Block {
    /// Writes bytes into memory that [`Table::reserve`] returned.
    pub fn fill(&mut self, address: u64, bytes: &[u8]) {
        let at = address as usize - self.base;
        assert!(at + bytes.len() <= self.len, "within the block");
        // SAFETY: the destination is inside our own mapping, as was just checked.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), (self.base + at) as *mut u8, bytes.len()) };
    }

    /// The bytes of it that are used.
    pub fn used_len(&self) -> usize {
        let mut at = self.calls_at;
        while self.call_at(at).nr != END {
            at += CALL;
        }
        at + CALL
    }

    fn call_at(&self, at: usize) -> Call {
        assert!(at + CALL <= self.len, "within the block");
        // SAFETY: `at` is that of a call of the table, which is inside our own mapping.
        unsafe { ptr::read_unaligned((self.base + at) as *const Call) }
    }

    /// Makes the calls of an operation do nothing.
    pub fn leave_out(&mut self, op: u32) {
        let mut at = self.calls_at;
        loop {
            let call = self.call_at(at);
            if call.nr == END {
                return;
            }
            if call.op == op {
                let nothing = Call { nr: libc::SYS_getpid as u64, args: [0; 6], mode: 0, op };
                // SAFETY: `at` is that of a call of the table, which is inside our own mapping.
                unsafe { ptr::write_unaligned((self.base + at) as *mut Call, nothing) };
            }
            at += CALL;
        }
    }

    /// Jumps to the walker, which the first block has. Returns only where there is none, or where its page may not be made executable (an LSM may
    /// refuse it).
    pub fn walk(&self) -> Errno {
        if !HAS_WALKER {
            return Errno::ENOSYS;
        }
        // SAFETY: changes the protection of the first page of our own mapping, which holds only code.
        let executable = unsafe { raw!(SYS_mprotect, self.base, PAGE, libc::PROT_READ | libc::PROT_EXEC) };
        if let Err(errno) = done(executable) {
            return errno;
        }
        // SAFETY: the first page holds the walker and is executable, the table ends with END, and every pointer in it
        // was put there through this type or refers to memory that the table does not unmap before its use.
        unsafe { machine::jump(self.base, self.base + HEADER_AT, self.base + self.calls_at, self.base + self.len) }
    }

    /// What handles the signals that ask a process to end, once the walker runs: see [`on_signal`].
    pub fn on_signal(&self) -> Option<u64> {
        on_signal().map(|here| here - walker().0 as u64 + self.base as u64)
    }

    /// Makes the calls of one operation from Rust; ENOSYS for one that has none. There is no second block then: a process that is to
    /// be brought one has left the runtime.
    pub fn run_op(&mut self, op: u32) -> Result<()> {
        let mut at = self.calls_at;
        let mut found = false;
        loop {
            let call = self.call_at(at);
            if call.nr == END {
                return if found { Ok(()) } else { Err(Errno::ENOSYS) };
            }
            at += CALL;
            if call.op != op {
                continue;
            }
            found = true;
            let mode = Mode(call.mode);
            let [a, b, c, d, e, f] = call.args;
            // SAFETY: call and arguments are those that the machine code would make; whoever built the block vouches for the
            // pointers.
            let result = cvt(unsafe { libc::syscall(call.nr as libc::c_long, a, b, c, d, e, f) });
            match result {
                Ok(0) if mode.has(Mode::SOME) => return Err(Errno::EPIPE),
                Ok(value) => {
                    if mode.has(Mode::STORE) {
                        // SAFETY: the builder of the call vouches for the address.
                        unsafe { ptr::write_unaligned(d as *mut i32, value as i32) };
                    }
                    if mode.has(Mode::FORK) && value != 0 {
                        let mut record = self.header().spare;
                        record[VALUE..VALUE + 4].copy_from_slice(&(value as i32).to_ne_bytes());
                        // A failure means that the parent is gone, and nobody is left to tell.
                        let _ = self.send(&record);
                        super::process::exit(0);
                    }
                }
                Err(_) if mode.has(Mode::MAY) => {}
                Err(errno) => {
                    if mode.has(Mode::SAY) {
                        say(d, errno);
                    }
                    return Err(errno);
                }
            }
        }
    }

    /// Sends a record as the walker does: by the call that a filter, should it be loaded by now, lets pass
    /// ([`Table::send_by`]).
    pub fn send(&self, record: &[u8]) -> Result<()> {
        let Header { wire, send, .. } = self.header();
        let (at, len) = (record.as_ptr() as u64, record.len() as u64);
        // SAFETY: the record is readable for its length. sendto(2) gets no address, and write(2) takes the first three only.
        done(unsafe {
            libc::syscall(send.into(), u64::from(wire as u32), at, len, libc::MSG_NOSIGNAL as u64, 0u64, 0u64)
        })
    }

    fn header(&self) -> Header {
        // SAFETY: `Table::at` has put a header there, inside our own mapping.
        unsafe { ptr::read_unaligned((self.base + HEADER_AT) as *const Header) }
    }
}

/// What the walker does for [`Mode::SAY`].
fn say(list: u64, errno: Errno) {
    let mut at = list as *const Complaint;
    loop {
        // SAFETY: the builder of the call vouches for the list, which ends with an entry for all errors.
        let complaint = unsafe { ptr::read_unaligned(at) };
        if complaint.errno == 0 || complaint.errno == errno as u64 {
            // SAFETY: text and length are of one entry of the list. Nobody is left to be told of a failure.
            unsafe { raw!(SYS_write, STDERR, complaint.text, complaint.len) };
            return;
        }
        at = at.wrapping_add(1);
    }
}

/// The calls that unregister the C library's rseq area (its memory is about to go, and the kernel kills a process whose area
/// faults) and unmap everything but the block.
pub fn unmap_rest(table: &mut Table, op: u32) {
    if let Some((area, len)) = rseq_area() {
        const RSEQ_FLAG_UNREGISTER: u64 = 1;
        // There is an area only where the registration succeeded. Going on with it registered would be a SIGSEGV.
        table.call(op, Mode::MUST, libc::SYS_rseq, &[area, len, RSEQ_FLAG_UNREGISTER, machine::RSEQ_SIGNATURE]);
    }
    let (low, high) = table.bounds();
    table.call(op, Mode::MUST, libc::SYS_munmap, &[0, low]);
    // How much address space a process has differs (39 to 57 bits), and a range beyond its end is EINVAL. The stack is at
    // the end of what mmap(2) gives to whoever names no address (on x86_64 with 57 bits that is 47), so its own has as many.
    let on_stack = 0u8;
    let bits = u64::BITS - (&raw const on_stack as u64).leading_zeros();
    let top = (1u64 << bits) - PAGE as u64;
    table.call(op, Mode::MUST, libc::SYS_munmap, &[high, top - high]);
}

/// The calls that leave the runtime: [`unmap_rest`], and make `exe` what `/proc/self/exe` names (prctl(2) `PR_SET_MM_MAP`;
/// needs CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE in the user namespace).
pub fn leave(table: &mut Table, op: u32, exe: BorrowedFd<'_>, title: &[u8]) {
    const PR_SET_MM_MAP: u64 = 14;
    unmap_rest(table, op);
    let (low, high) = table.bounds();
    let title_at = table.bytes(title);
    let title_end = title_at + title.len() as u64;
    let code_end = low + PAGE as u64;
    // struct prctl_mm_map: code, data, brk, stack, arguments, environment, auxv, and {auxv_size, exe_fd}. Data and brk are empty,
    // for the kernel refuses more of them than RLIMIT_DATA allows, which may be 0.
    let exe = (exe.as_raw_fd() as u64) << 32;
    let map = [low, code_end, high, high, high, high, high, title_at, title_end, title_end, title_end, 0, exe];
    let map = table.words(&map);
    table.call(op, Mode::MUST, libc::SYS_prctl, &[libc::PR_SET_MM as u64, PR_SET_MM_MAP, map, 13 * 8, 0]);
}

/// A page of .bss, as anonymous as a block, that nobody looks at: not memory until it is touched.
#[cfg_attr(target_arch = "aarch64", repr(align(65536)))]
#[cfg_attr(not(target_arch = "aarch64"), repr(align(4096)))]
struct Untouched([AtomicU8; PAGE]);
static UNTOUCHED: Untouched = Untouched([const { AtomicU8::new(0) }; PAGE]);

/// Whether memory that was written may become code. SELinux may refuse it (`execmem`), and so does a service with
/// MemoryDenyWriteExecute (prctl(2) `PR_SET_MDWE`, or a filter that knows mprotect(2)).
fn may_make_code() -> bool {
    let page = UNTOUCHED.0.as_ptr();
    // SAFETY: changes the protection of one whole page of ours, which stays readable and which nothing else is in.
    done(unsafe { raw!(SYS_mprotect, page, PAGE, libc::PROT_READ | libc::PROT_EXEC) }).is_ok()
}

/// Whether the walker may run, and the kernel can swap `/proc/self/exe` (CONFIG_CHECKPOINT_RESTORE): `PR_SET_MM_MAP_SIZE`
/// answers.
pub fn can_leave_runtime() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        const PR_SET_MM_MAP_SIZE: u64 = 15;
        let mut size: libc::c_uint = 0;
        // SAFETY: the option writes one unsigned int through the pointer.
        let ret = unsafe { raw!(SYS_prctl, libc::PR_SET_MM, PR_SET_MM_MAP_SIZE, &raw mut size, 0, 0) };
        HAS_WALKER && ret == 0 && size as usize == 13 * 8 && may_make_code()
    })
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn rseq_area() -> Option<(u64, u64)> {
    // SAFETY: a constant table of two addresses that the linker filled, 0 where the symbol is missing.
    let [offset, size] = unsafe { brisk_rseq_symbols };
    if offset == 0 || size == 0 {
        return None;
    }
    // SAFETY: a non-zero address is that of the C library's `const ptrdiff_t __rseq_offset`.
    let offset = unsafe { *(offset as *const isize) };
    // SAFETY: a non-zero address is that of the C library's `const unsigned int __rseq_size`.
    let size = unsafe { *(size as *const u32) };
    // The size is 0 when registration is switched off; the kernel wants the length given at registration,
    // which glibc makes at least 32.
    (size > 0).then(|| ((machine::thread_pointer() as isize + offset) as u64, u64::from(size.max(32))))
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn rseq_area() -> Option<(u64, u64)> {
    None
}

#[cfg(all(test, any(target_arch = "x86_64", target_arch = "aarch64")))]
mod tests;
