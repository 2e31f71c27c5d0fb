//! The architectures of the runtime spec: how the kernel names them, how they pass arguments and number calls.

use super::tables;

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

struct Traits {
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

const fn row(token: u32, width: Width, column: usize, base: u32) -> Traits {
    let endian = if token & LITTLE == 0 { Endian::Big } else { Endian::Little };
    Traits { token, endian, width, column, base, multiplexed: false }
}

const fn muxed(row: Traits) -> Traits {
    Traits { multiplexed: true, ..row }
}

macro_rules! archs {
    ($($arch:ident $name:literal: $traits:expr;)*) => {
        /// An architecture as seccomp sees it. x32 is one of its own in profiles, though the kernel gives it x86_64's token.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "each is the SCMP_ARCH_ name of its row")]
        pub enum Arch {
            $($arch),*
        }

        /// The architectures that a profile may name, in the order of the table.
        pub const ARCHS: [&str; [$($name),*].len()] = [$($name),*];

        /// Every [`Arch`], in the order of the table.
        pub const ALL: [Arch; ARCHS.len()] = [$(Arch::$arch),*];

        impl Arch {
            /// The `SCMP_ARCH_*` name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Arch::$arch => $name),*
                }
            }

            const fn traits(self) -> Traits {
                match self {
                    $(Arch::$arch => $traits),*
                }
            }
        }
    };
}

// The machine numbers are those of linux/elf-em.h.
archs! {
    X86_64 "SCMP_ARCH_X86_64": row(62 | BITS_64 | LITTLE, Width::Full, 0, 0);
    X86 "SCMP_ARCH_X86": muxed(row(3 | LITTLE, Width::Half, 1, 0));
    X32 "SCMP_ARCH_X32": row(62 | BITS_64 | LITTLE, Width::Half, 2, X32_BIT);
    Arm "SCMP_ARCH_ARM": row(40 | LITTLE, Width::Half, 3, 0);
    Aarch64 "SCMP_ARCH_AARCH64": row(183 | BITS_64 | LITTLE, Width::Full, 4, 0);
    Loongarch64 "SCMP_ARCH_LOONGARCH64": row(258 | BITS_64 | LITTLE, Width::Full, 5, 0);
    M68k "SCMP_ARCH_M68K": muxed(row(4, Width::Half, 6, 0));
    Mips "SCMP_ARCH_MIPS": muxed(row(8, Width::Half, 7, 4000));
    Mips64 "SCMP_ARCH_MIPS64": row(8 | BITS_64, Width::Full, 8, 5000);
    Mips64n32 "SCMP_ARCH_MIPS64N32": row(8 | BITS_64 | N32, Width::Half, 9, 6000);
    Mipsel "SCMP_ARCH_MIPSEL": muxed(row(8 | LITTLE, Width::Half, 7, 4000));
    Mipsel64 "SCMP_ARCH_MIPSEL64": row(8 | BITS_64 | LITTLE, Width::Full, 8, 5000);
    Mipsel64n32 "SCMP_ARCH_MIPSEL64N32": row(8 | BITS_64 | LITTLE | N32, Width::Half, 9, 6000);
    Parisc "SCMP_ARCH_PARISC": row(15, Width::Half, 10, 0);
    Parisc64 "SCMP_ARCH_PARISC64": row(15 | BITS_64, Width::Full, 11, 0);
    Ppc "SCMP_ARCH_PPC": muxed(row(20, Width::Half, 12, 0));
    Ppc64 "SCMP_ARCH_PPC64": muxed(row(21 | BITS_64, Width::Full, 13, 0));
    Ppc64le "SCMP_ARCH_PPC64LE": muxed(row(21 | BITS_64 | LITTLE, Width::Full, 13, 0));
    Riscv64 "SCMP_ARCH_RISCV64": row(243 | BITS_64 | LITTLE, Width::Full, 14, 0);
    S390 "SCMP_ARCH_S390": muxed(row(22, Width::Half, 15, 0));
    S390x "SCMP_ARCH_S390X": muxed(row(22 | BITS_64, Width::Full, 16, 0));
    Sh "SCMP_ARCH_SH": muxed(row(42 | LITTLE, Width::Half, 17, 0));
    Sheb "SCMP_ARCH_SHEB": muxed(row(42, Width::Half, 17, 0));
}

impl Arch {
    /// The architecture that this program was built for.
    pub const NATIVE: Arch = native();

    /// Every `SCMP_ARCH_*` name.
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        ALL.into_iter().map(Arch::name)
    }

    /// The architecture of an `SCMP_ARCH_*` name.
    pub fn from_name(name: &str) -> Option<Arch> {
        ALL.into_iter().find(|arch| arch.name() == name)
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
        let traits = self.traits();
        match tables::SUB_CALLS[usize::from(id.0)] {
            0 => None,
            _ if !traits.multiplexed => None,
            // socketcall(2) and ipc(2) have the same number wherever they exist.
            call @ 0x80.. => Some((117 + traits.base, u32::from(call & 0x7f))),
            call => Some((102 + traits.base, u32::from(call))),
        }
    }
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
