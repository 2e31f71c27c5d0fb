//! The architectures of the runtime spec: how the kernel names them, how they pass arguments and number calls.

use super::tables;

/// An architecture as seccomp sees it. x32 is one of its own in profiles, though the kernel gives it x86_64's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each is the SCMP_ARCH_ name in the table below")]
pub enum Arch {
    X86_64,
    X86,
    X32,
    Arm,
    Aarch64,
    Loongarch64,
    M68k,
    Mips,
    Mips64,
    Mips64n32,
    Mipsel,
    Mipsel64,
    Mipsel64n32,
    Parisc,
    Parisc64,
    Ppc,
    Ppc64,
    Ppc64le,
    Riscv64,
    S390,
    S390x,
    Sh,
    Sheb,
}

/// Whether the high half of an argument comes first in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endian {
    /// Low half first.
    Little,
    /// High half first.
    Big,
}

/// How much of an argument is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// The low half, as libseccomp does on 32-bit ABIs, x32 and n32 included: the kernel ignores the rest there.
    Half,
    /// Both halves.
    Full,
}

/// The old calls that carry a family of newer ones, the sub-call being their first argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Multiplexer {
    /// `socketcall(2)`.
    Socketcall,
    /// `ipc(2)`.
    Ipc,
}

struct Traits {
    name: &'static str,
    /// `AUDIT_ARCH_*` of linux/audit.h.
    token: u32,
    endian: Endian,
    width: Width,
    /// Index into [`tables::NUMBERS`].
    column: usize,
    /// Added to the numbers of the table.
    base: u32,
    multiplexed: bool,
}

/// Set in the number of every x32 call (asm/unistd.h: `__X32_SYSCALL_BIT`).
pub(super) const X32_BIT: u32 = 0x4000_0000;

const BITS_64: u32 = 0x8000_0000;
const LITTLE: u32 = 0x4000_0000;
const N32: u32 = 0x2000_0000;

const fn row(name: &'static str, token: u32, width: Width, column: usize, base: u32) -> Traits {
    let endian = if token & LITTLE == 0 { Endian::Big } else { Endian::Little };
    Traits { name, token, endian, width, column, base, multiplexed: false }
}

const fn muxed(row: Traits) -> Traits {
    Traits { multiplexed: true, ..row }
}

/// One row per [`Arch`], in its order. The machine numbers are those of linux/elf-em.h.
const ROWS: [Traits; 23] = [
    row("SCMP_ARCH_X86_64", 62 | BITS_64 | LITTLE, Width::Full, 0, 0),
    muxed(row("SCMP_ARCH_X86", 3 | LITTLE, Width::Half, 1, 0)),
    row("SCMP_ARCH_X32", 62 | BITS_64 | LITTLE, Width::Half, 2, X32_BIT),
    row("SCMP_ARCH_ARM", 40 | LITTLE, Width::Half, 3, 0),
    row("SCMP_ARCH_AARCH64", 183 | BITS_64 | LITTLE, Width::Full, 4, 0),
    row("SCMP_ARCH_LOONGARCH64", 258 | BITS_64 | LITTLE, Width::Full, 5, 0),
    muxed(row("SCMP_ARCH_M68K", 4, Width::Half, 6, 0)),
    muxed(row("SCMP_ARCH_MIPS", 8, Width::Half, 7, 4000)),
    row("SCMP_ARCH_MIPS64", 8 | BITS_64, Width::Full, 8, 5000),
    row("SCMP_ARCH_MIPS64N32", 8 | BITS_64 | N32, Width::Half, 9, 6000),
    muxed(row("SCMP_ARCH_MIPSEL", 8 | LITTLE, Width::Half, 7, 4000)),
    row("SCMP_ARCH_MIPSEL64", 8 | BITS_64 | LITTLE, Width::Full, 8, 5000),
    row("SCMP_ARCH_MIPSEL64N32", 8 | BITS_64 | LITTLE | N32, Width::Half, 9, 6000),
    row("SCMP_ARCH_PARISC", 15, Width::Half, 10, 0),
    row("SCMP_ARCH_PARISC64", 15 | BITS_64, Width::Full, 11, 0),
    muxed(row("SCMP_ARCH_PPC", 20, Width::Half, 12, 0)),
    muxed(row("SCMP_ARCH_PPC64", 21 | BITS_64, Width::Full, 13, 0)),
    muxed(row("SCMP_ARCH_PPC64LE", 21 | BITS_64 | LITTLE, Width::Full, 13, 0)),
    row("SCMP_ARCH_RISCV64", 243 | BITS_64 | LITTLE, Width::Full, 14, 0),
    muxed(row("SCMP_ARCH_S390", 22, Width::Half, 15, 0)),
    muxed(row("SCMP_ARCH_S390X", 22 | BITS_64, Width::Full, 16, 0)),
    muxed(row("SCMP_ARCH_SH", 42 | LITTLE, Width::Half, 17, 0)),
    muxed(row("SCMP_ARCH_SHEB", 42, Width::Half, 17, 0)),
];

static TRAITS: [Traits; 23] = ROWS;

/// The architectures that a profile may name, in the order of the table.
pub const ARCHS: [&str; 23] = {
    let mut names = [""; 23];
    let mut i = 0;
    while i < names.len() {
        names[i] = ROWS[i].name;
        i += 1;
    }
    names
};

/// Every [`Arch`], in the order of the table.
pub const ALL: [Arch; 23] = [
    Arch::X86_64,
    Arch::X86,
    Arch::X32,
    Arch::Arm,
    Arch::Aarch64,
    Arch::Loongarch64,
    Arch::M68k,
    Arch::Mips,
    Arch::Mips64,
    Arch::Mips64n32,
    Arch::Mipsel,
    Arch::Mipsel64,
    Arch::Mipsel64n32,
    Arch::Parisc,
    Arch::Parisc64,
    Arch::Ppc,
    Arch::Ppc64,
    Arch::Ppc64le,
    Arch::Riscv64,
    Arch::S390,
    Arch::S390x,
    Arch::Sh,
    Arch::Sheb,
];

impl Arch {
    /// The architecture that this program was built for.
    pub const NATIVE: Arch = native();

    /// The architecture of an `SCMP_ARCH_*` name.
    pub fn from_name(name: &str) -> Option<Arch> {
        ALL.into_iter().find(|arch| arch.name() == name)
    }

    /// The `SCMP_ARCH_*` name.
    pub fn name(self) -> &'static str {
        self.traits().name
    }

    /// What the kernel puts into `seccomp_data.arch`.
    pub fn token(self) -> u32 {
        self.traits().token
    }

    /// The order of an argument's halves.
    pub fn endian(self) -> Endian {
        self.traits().endian
    }

    /// How much of an argument is compared.
    pub fn width(self) -> Width {
        self.traits().width
    }

    /// The number of a system call, where this architecture has it.
    pub fn number(self, id: SyscallId) -> Option<u32> {
        let number = u32::from(tables::NUMBERS[self.traits().column][usize::from(id.0)]);
        match number {
            0xffff => None,
            // arm's private calls (asm/unistd.h: __ARM_NR_BASE).
            0x8000.. => Some(0x000f_0000 + (number & 0x7fff)),
            _ => Some(number + self.traits().base),
        }
    }

    /// The number of the call that also carries this one, and the value of its first argument.
    pub fn multiplexed(self, id: SyscallId) -> Option<(u32, u32)> {
        if !self.traits().multiplexed {
            return None;
        }
        let (multiplexer, call) = sub_call(id.name())?;
        let number = match multiplexer {
            Multiplexer::Socketcall => 102,
            Multiplexer::Ipc => 117,
        };
        Some((number + self.traits().base, call))
    }

    fn traits(self) -> &'static Traits {
        &TRAITS[self as usize]
    }
}

/// The number of a sub-call in linux/net.h (`SYS_*`) or linux/ipc.h.
pub(super) fn sub_call(name: &str) -> Option<(Multiplexer, u32)> {
    const SOCKETCALL: [&str; 20] = [
        "socket",
        "bind",
        "connect",
        "listen",
        "accept",
        "getsockname",
        "getpeername",
        "socketpair",
        "send",
        "recv",
        "sendto",
        "recvfrom",
        "shutdown",
        "setsockopt",
        "getsockopt",
        "sendmsg",
        "recvmsg",
        "accept4",
        "recvmmsg",
        "sendmmsg",
    ];
    const IPC: [(&str, u32); 12] = [
        ("semop", 1),
        ("semget", 2),
        ("semctl", 3),
        ("semtimedop", 4),
        ("msgsnd", 11),
        ("msgrcv", 12),
        ("msgget", 13),
        ("msgctl", 14),
        ("shmat", 21),
        ("shmdt", 22),
        ("shmget", 23),
        ("shmctl", 24),
    ];
    if let Some(index) = SOCKETCALL.iter().position(|call| *call == name) {
        return Some((Multiplexer::Socketcall, index as u32 + 1));
    }
    IPC.iter().find(|(call, _)| *call == name).map(|(_, number)| (Multiplexer::Ipc, *number))
}

/// A system call known by name; it need not exist on every architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SyscallId(u16);

impl SyscallId {
    /// Every system call that some architecture has, by name.
    pub fn all() -> impl Iterator<Item = SyscallId> {
        (0..tables::COUNT as u16).map(SyscallId)
    }

    /// Looks a name up.
    pub fn from_name(name: &str) -> Option<SyscallId> {
        let (mut low, mut high) = (0, tables::COUNT as u16);
        while low < high {
            let middle = SyscallId(low.midpoint(high));
            match middle.name().cmp(name) {
                std::cmp::Ordering::Less => low = middle.0 + 1,
                std::cmp::Ordering::Greater => high = middle.0,
                std::cmp::Ordering::Equal => return Some(middle),
            }
        }
        None
    }

    /// The name.
    pub fn name(self) -> &'static str {
        let index = usize::from(self.0);
        &tables::NAMES[usize::from(tables::OFFSETS[index])..usize::from(tables::OFFSETS[index + 1])]
    }
}

const fn native() -> Arch {
    let big = cfg!(target_endian = "big");
    let long = cfg!(target_pointer_width = "64");
    match () {
        () if cfg!(target_arch = "x86_64") => Arch::X86_64,
        () if cfg!(target_arch = "x86") => Arch::X86,
        () if cfg!(target_arch = "arm") => Arch::Arm,
        () if cfg!(target_arch = "aarch64") => Arch::Aarch64,
        () if cfg!(target_arch = "loongarch64") => Arch::Loongarch64,
        () if cfg!(target_arch = "m68k") => Arch::M68k,
        () if cfg!(target_arch = "mips") => {
            if big {
                Arch::Mips
            } else {
                Arch::Mipsel
            }
        }
        () if cfg!(target_arch = "mips64") => match (long, big) {
            (true, true) => Arch::Mips64,
            (true, false) => Arch::Mipsel64,
            (false, true) => Arch::Mips64n32,
            (false, false) => Arch::Mipsel64n32,
        },
        () if cfg!(target_arch = "powerpc") => Arch::Ppc,
        () if cfg!(target_arch = "powerpc64") => {
            if big {
                Arch::Ppc64
            } else {
                Arch::Ppc64le
            }
        }
        () if cfg!(target_arch = "riscv64") => Arch::Riscv64,
        () if cfg!(target_arch = "s390x") => Arch::S390x,
        () => panic!("seccomp filters are not implemented for this architecture"),
    }
}
