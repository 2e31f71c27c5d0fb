//! The last system calls before `execve`, walked by a few dozen instructions that need nothing of brisk.
//!
//! A [`Block`] is one anonymous mapping: a page of position-independent code and a table of raw system calls
//! with everything they point to. The parent builds it; the child (a copy of the parent) jumps into it. From
//! then on nothing of the runtime is needed: the first calls of the table unmap all of it and swap
//! `/proc/self/exe` for an empty memory file, so a container that waits for `start` costs a few kB and has no
//! path to the runtime's binary (the CVE-2019-5736 class), without a second `execve` of ourselves.
//!
//! Where the machine code is missing (other architectures) or not wanted, [`Block::run_op`] makes the same
//! calls from Rust.

use std::arch::global_asm;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use nix::errno::Errno;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod code;

use super::socket::RECORD;
use super::{Result, cvt, raw};

/// What to do with the result of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mode(u64);

impl Mode {
    /// An error is a fault: report it and exit.
    pub const MUST: Mode = Mode(0);
    /// An error is ignored.
    pub const MAY: Mode = Mode(1);
    /// The first argument is the last result.
    pub const USE_LAST: Mode = Mode(2);
    /// The result is stored in the value of the spare record (see [`Block::set_record`]).
    pub const STORE: Mode = Mode(4);
    /// A result other than 0 is stored, the spare record is sent and the process exits: the parent's side of
    /// a clone.
    pub const FORK: Mode = Mode(8);
    /// Before the fault is reported, say it on the standard error stream. The fourth argument is the address of
    /// (errno, text, length) triples; one with errno 0 is for all the others and ends them.
    pub const SAY: Mode = Mode(16);

    /// Both.
    #[must_use]
    pub const fn and(self, other: Mode) -> Mode {
        Mode(self.0 | other.0)
    }
}

/// One entry of the table. The layout is known to the machine code (`code`).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Call {
    nr: u64,
    args: [u64; 6],
    /// [`Mode`] in the low half, index of the plan's operation in the high half.
    mode: u64,
}

/// Start of the data part. The layout is known to the machine code (`code`).
#[repr(C)]
struct Header {
    wire: u64,
    exit_status: u64,
    /// Fault record: op at +20, errno at +24.
    fault: [u8; RECORD],
    /// Spare record: value at +152.
    spare: [u8; RECORD],
}

const HEADER: usize = size_of::<Header>();
const CALL: usize = size_of::<Call>();
/// The largest page a kernel of the architecture may have; on arm64 they are of 4, 16 (Raspberry Pi 5) or 64 KiB. The
/// code's page must become executable without the header, which is written to, and the ends of the block are where
/// munmap(2) starts and stops.
const PAGE: usize = if cfg!(target_arch = "aarch64") { 65536 } else { 4096 };
const END: u64 = u64::MAX;
/// Exit status of a process whose call failed; the fault record says why.
const EXIT_FAULT: u64 = 255;

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
    static brisk_rseq_symbols: [usize; 2];
}

/// Whether this build has the machine code.
pub const HAS_CODE: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));

/// The mapping. It is never unmapped by its owner: the child's copy outlives everything else.
#[derive(Debug)]
pub struct Block {
    base: usize,
    len: usize,
    calls: usize,
    next_call: usize,
    next_data: usize,
}

impl Block {
    /// Maps a block with room for `calls` calls and `data` bytes of what they point to (each item is aligned
    /// to 8, which the caller counts).
    pub fn new(wire: BorrowedFd<'_>, fault: [u8; RECORD], calls: usize, data: usize) -> Result<Block> {
        let calls_at = PAGE + HEADER;
        let data_at = calls_at + (calls + 1) * CALL;
        let len = (data_at + data).next_multiple_of(PAGE);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no other memory.
        let base = unsafe { libc::mmap(ptr::null_mut(), len, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        let mut block = Block { base: base as usize, len, calls: calls_at, next_call: calls_at, next_data: data_at };
        let header = Header { wire: wire.as_raw_fd() as u64, exit_status: EXIT_FAULT, fault, spare: [0; RECORD] };
        block.store(PAGE, &header);
        block.copy_code();
        Ok(block)
    }

    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    fn copy_code(&mut self) {
        let (start, len) = code::walker();
        assert!(len <= PAGE, "the walker fits its page");
        // SAFETY: source is the whole routine above, destination the first page of our own mapping.
        unsafe { ptr::copy_nonoverlapping(start, self.base as *mut u8, len) };
    }

    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    fn copy_code(&mut self) {}

    fn store<T>(&mut self, offset: usize, value: &T) {
        assert!(offset + size_of::<T>() <= self.len && offset.is_multiple_of(8), "within the block");
        // SAFETY: the destination is inside our own mapping and aligned, as was just checked; T is plain data.
        unsafe { ptr::copy_nonoverlapping(ptr::from_ref(value), (self.base + offset) as *mut T, 1) };
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

    /// Writes bytes into memory that [`Block::reserve`] returned.
    pub fn fill(&mut self, address: u64, bytes: &[u8]) {
        let at = address as usize - self.base;
        assert!(at + bytes.len() <= self.len, "within the block");
        // SAFETY: the destination is inside our own mapping, as was just checked.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), (self.base + at) as *mut u8, bytes.len()) };
    }

    /// Puts a NULL-terminated array of addresses into the block; returns its address.
    pub fn words(&mut self, words: &[u64]) -> u64 {
        let at = self.next_data;
        for (i, word) in words.iter().enumerate() {
            self.store(at + 8 * i, word);
        }
        self.next_data = at + 8 * words.len();
        (self.base + at) as u64
    }

    /// Adds a call to the table. Missing arguments are 0.
    pub fn call(&mut self, op: u32, mode: Mode, nr: libc::c_long, args: &[u64]) {
        let mut all = [0; 6];
        all[..args.len()].copy_from_slice(args);
        let at = self.next_call;
        let mode = mode.0 | (u64::from(op) << 32);
        self.store(at, &Call { nr: nr as u64, args: all, mode });
        self.next_call += CALL;
        self.store(self.next_call, &Call { nr: END, args: [0; 6], mode: 0 });
    }

    /// Fills the spare record.
    pub fn set_record(&mut self, record: &[u8; RECORD]) {
        let at = PAGE + 16 + RECORD;
        self.store(at, record);
    }

    /// Address and length of the spare record.
    pub fn record(&self) -> (u64, u64) {
        ((self.base + PAGE + 16 + RECORD) as u64, RECORD as u64)
    }

    /// First and last address of the mapping, for the calls that unmap everything around it.
    pub fn bounds(&self) -> (u64, u64) {
        (self.base as u64, (self.base + self.len) as u64)
    }

    /// Address of the machine code and of the header and first call.
    fn entry(&self) -> (usize, usize, usize) {
        (self.base, self.base + PAGE, self.base + self.calls)
    }

    /// Jumps into the block. Returns only if its code page may not be made executable (an LSM may refuse it).
    #[cfg(target_arch = "x86_64")]
    pub fn enter(&self) -> Errno {
        if let Err(errno) = self.make_executable() {
            return errno;
        }
        let (code, header, calls) = self.entry();
        // SAFETY: the code page holds the walker and is executable, the table ends with END, and every
        // pointer in it was put there through this type or refers to memory that the table does not unmap
        // before its use. The routine does not return.
        unsafe {
            std::arch::asm!("jmp {code}", code = in(reg) code, in("rdi") header, in("rsi") calls, options(noreturn));
        }
    }

    /// Jumps into the block. Returns only if its code page may not be made executable (an LSM may refuse it).
    #[cfg(target_arch = "aarch64")]
    pub fn enter(&self) -> Errno {
        if let Err(errno) = self.make_executable() {
            return errno;
        }
        let (code, header, calls) = self.entry();
        let (_, len) = code::walker();
        for_each_line(code, len, |line| {
            // SAFETY: cleans a cache line of our own code page; no memory changes.
            unsafe { std::arch::asm!("dc cvau, {}", in(reg) line, options(nostack, preserves_flags)) }
        });
        // SAFETY: a barrier: what was cleaned is seen by what fetches instructions.
        unsafe { std::arch::asm!("dsb ish", options(nostack, preserves_flags)) };
        for_each_line(code, len, |line| {
            // SAFETY: drops a line of the instruction cache; no memory changes.
            unsafe { std::arch::asm!("ic ivau, {}", in(reg) line, options(nostack, preserves_flags)) }
        });
        // SAFETY: the code page holds the walker, is executable and was synchronised with the
        // instruction cache; the table ends with END, and every pointer in it was put there through this type
        // or refers to memory that the table does not unmap before its use. The routine does not return.
        unsafe {
            std::arch::asm!(
                "dsb ish", "isb", "br {code}",
                code = in(reg) code, in("x0") header, in("x1") calls, options(noreturn));
        }
    }

    /// This architecture has no machine code.
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    pub fn enter(&self) -> Errno {
        Errno::ENOSYS
    }

    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    fn make_executable(&self) -> Result<()> {
        // SAFETY: changes the protection of the first page of our own mapping, which holds only code.
        super::done(unsafe { raw!(SYS_mprotect, self.base, PAGE, libc::PROT_READ | libc::PROT_EXEC) })
    }

    /// Makes the calls of one operation from Rust.
    pub fn run_op(&mut self, op: u32) -> Result<()> {
        let mut at = self.calls;
        let mut last = 0u64;
        loop {
            // SAFETY: `at` walks the table inside our own mapping, which ends with END.
            let mut call = unsafe { ptr::read((self.base + at) as *const Call) };
            if call.nr == END {
                return Ok(());
            }
            at += CALL;
            if call.mode >> 32 != u64::from(op) {
                continue;
            }
            let mode = Mode(call.mode & u64::from(u32::MAX));
            if mode.0 & Mode::USE_LAST.0 != 0 {
                call.args[0] = last;
            }
            let [a, b, c, d, e, f] = call.args;
            // SAFETY: the same calls with the same arguments as the machine code would make; the block's
            // builder vouches for the pointers.
            let result = cvt(unsafe { libc::syscall(call.nr as libc::c_long, a, b, c, d, e, f) });
            match result {
                Ok(value) => {
                    last = value as u64;
                    let forked = mode.0 & Mode::FORK.0 != 0 && value != 0;
                    if forked || mode.0 & Mode::STORE.0 != 0 {
                        self.store_value(value as i32);
                    }
                    if forked {
                        self.send_spare();
                        super::process::exit(0);
                    }
                }
                Err(_) if mode.0 & Mode::MAY.0 != 0 => {}
                Err(errno) => {
                    if mode.0 & Mode::SAY.0 != 0 {
                        say(d, errno);
                    }
                    return Err(errno);
                }
            }
        }
    }

    fn store_value(&mut self, value: i32) {
        let at = PAGE + 16 + RECORD + 8;
        self.store(at, &value);
    }

    fn send_spare(&self) {
        let record = self.base + PAGE + 16 + RECORD;
        // SAFETY: the header, inside our own mapping, starts with the wire's descriptor.
        let wire = unsafe { ptr::read((self.base + PAGE) as *const u64) };
        // SAFETY: the header holds the whole spare record. A failure means that the parent is gone, and nobody
        // is left to tell.
        unsafe { raw!(SYS_sendto, wire, record, RECORD, libc::MSG_NOSIGNAL, 0usize, 0) };
    }
}

/// What the machine code does for [`Mode::SAY`].
fn say(list: u64, errno: Errno) {
    let mut at = list as *const [u64; 3];
    loop {
        // SAFETY: the builder of the call vouches for the list, which ends with an entry for all errors.
        let [found, text, len] = unsafe { ptr::read(at) };
        if found == 0 || found == errno as u64 {
            // SAFETY: text and length are of one entry of the list. Nobody is left to be told of a failure.
            unsafe { raw!(SYS_write, 2, text, len) };
            return;
        }
        at = at.wrapping_add(1);
    }
}

/// The first calls of a table that leaves brisk behind: unregister the C library's rseq area (its memory is
/// about to go, and the kernel kills a process whose area faults), unmap everything but the block, and make
/// `exe` what `/proc/self/exe` names (prctl(2) `PR_SET_MM_MAP`; needs CAP_SYS_ADMIN or
/// CAP_CHECKPOINT_RESTORE in the user namespace).
pub fn leave_runtime(block: &mut Block, op: u32, exe: BorrowedFd<'_>, title: &[u8]) {
    const PR_SET_MM_MAP: u64 = 14;
    if let Some((area, len)) = rseq_area() {
        const RSEQ_FLAG_UNREGISTER: u64 = 1;
        #[cfg(target_arch = "aarch64")]
        const SIGNATURE: u64 = 0xd428_bc00;
        #[cfg(not(target_arch = "aarch64"))]
        const SIGNATURE: u64 = 0x5305_3053;
        // There is an area only where the registration succeeded. Going on with it registered would be a SIGSEGV.
        block.call(op, Mode::MUST, libc::SYS_rseq, &[area, len, RSEQ_FLAG_UNREGISTER, SIGNATURE]);
    }
    let (low, high) = block.bounds();
    block.call(op, Mode::MUST, libc::SYS_munmap, &[0, low]);
    // How much address space a process has differs (39 to 57 bits); a range beyond its end is EINVAL, so the
    // sizes are tried from the largest down and the first that fits clears everything.
    for bits in [56u32, 48, 47, 42, 39] {
        let top = (1u64 << bits) - PAGE as u64;
        if top > high {
            block.call(op, Mode::MAY, libc::SYS_munmap, &[high, top - high]);
        }
    }
    let title_at = block.bytes(title);
    let title_end = title_at + title.len() as u64;
    let (code_end, data) = (low + PAGE as u64, low + PAGE as u64);
    // struct prctl_mm_map: code, data, brk, stack, arguments, environment, auxv, and {auxv_size, exe_fd}.
    let exe = (exe.as_raw_fd() as u64) << 32;
    let map = [low, code_end, data, high, high, high, high, title_at, title_end, title_end, title_end, 0, exe];
    let map = block.words(&map);
    block.call(op, Mode::MUST, libc::SYS_prctl, &[libc::PR_SET_MM as u64, PR_SET_MM_MAP, map, 13 * 8, 0]);
}

/// The cache lines of a range, in steps of the smallest that the architecture knows (CTR_EL0: four words).
#[cfg(target_arch = "aarch64")]
fn for_each_line(start: usize, len: usize, act: impl FnMut(usize)) {
    (start..start + len).step_by(16).for_each(act);
}

/// Whether the kernel can swap `/proc/self/exe` (CONFIG_CHECKPOINT_RESTORE): `PR_SET_MM_MAP_SIZE` answers.
pub fn can_leave_runtime() -> bool {
    const PR_SET_MM_MAP_SIZE: u64 = 15;
    let mut size: libc::c_uint = 0;
    // SAFETY: the option writes one unsigned int through the pointer.
    let ret = unsafe { raw!(SYS_prctl, libc::PR_SET_MM, PR_SET_MM_MAP_SIZE, &raw mut size, 0, 0) };
    HAS_CODE && ret == 0 && size as usize == 13 * 8
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
    (size > 0).then(|| ((thread_pointer() as isize + offset) as u64, u64::from(size.max(32))))
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn rseq_area() -> Option<(u64, u64)> {
    None
}

#[cfg(target_arch = "x86_64")]
fn thread_pointer() -> usize {
    let pointer: usize;
    // SAFETY: the word at fs:0 is the thread pointer itself in the x86-64 ABI; reading it changes nothing.
    unsafe { std::arch::asm!("mov {}, fs:0", out(reg) pointer, options(nostack, preserves_flags, readonly)) };
    pointer
}

#[cfg(target_arch = "aarch64")]
fn thread_pointer() -> usize {
    let pointer: usize;
    // SAFETY: reading the thread pointer register changes nothing.
    unsafe { std::arch::asm!("mrs {}, tpidr_el0", out(reg) pointer, options(nostack, preserves_flags, nomem)) };
    pointer
}

#[cfg(all(test, any(target_arch = "x86_64", target_arch = "aarch64")))]
mod tests;
