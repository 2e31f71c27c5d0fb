//! What an ELF file asks of its loader (elf(5), ld.so(8)).
//!
//! Not trusted: the file. Every read has a bound, and what it names is only a name.

use std::io::{Error, ErrorKind, Result};

use elf::abi::{
    DT_NEEDED, DT_NULL, DT_RPATH, DT_RUNPATH, DT_STRTAB, EI_NIDENT, ELFMAGIC, PT_DYNAMIC, PT_INTERP, PT_LOAD,
};
use elf::dynamic::DynamicTable;
use elf::endian::AnyEndian;
use elf::file::{Class, ELF32_EHDR_TAILSIZE, ELF64_EHDR_TAILSIZE, FileHeader, parse_ident};
use elf::parse::{ParseAt, ParseError};
use elf::segment::{ProgramHeader, SegmentTable};

/// As long as a path may be.
const NAME_MAX: usize = 4096;
/// Bytes of the table of segments, as in the kernel.
const SEGMENTS_MAX: usize = 65536;
/// The linker writes some fifty entries of 16 bytes.
const DYNAMIC_MAX: u64 = 1 << 20;
/// The largest desktop programs ask for two hundred.
const NEEDED_MAX: usize = 4096;

/// Which processors a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    class: Class,
    number: u16,
}

impl Machine {
    /// e_machine of elf(5).
    pub fn number(self) -> u16 {
        self.number
    }

    /// Whether this kernel runs it without an emulator.
    pub fn runs_here(self) -> bool {
        use elf::abi::{EM_386, EM_AARCH64, EM_ARM, EM_X86_64};
        match std::env::consts::ARCH {
            "x86_64" => matches!(self.number, EM_X86_64 | EM_386),
            "aarch64" => matches!(self.number, EM_AARCH64 | EM_ARM),
            _ => true,
        }
    }

    /// Its name, for people.
    pub fn name(self) -> String {
        use elf::abi::{EM_386, EM_AARCH64, EM_ARM, EM_RISCV, EM_X86_64};
        let bits = if self.class == Class::ELF32 { 32 } else { 64 };
        match self.number {
            EM_X86_64 => format!("x86_64 ({bits} bits)"),
            EM_386 => "i386".to_owned(),
            EM_AARCH64 => "aarch64".to_owned(),
            EM_ARM => "arm".to_owned(),
            EM_RISCV => format!("riscv{bits}"),
            other => format!("processor {other} of elf.h ({bits} bits)"),
        }
    }
}

/// A program or library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// For which processors.
    pub machine: Machine,
    /// The loader that the kernel starts in its place (PT_INTERP).
    pub interpreter: Option<String>,
    /// Libraries, by name (DT_NEEDED).
    pub needed: Vec<String>,
    /// Where its libraries and theirs are looked for (DT_RPATH), between colons.
    pub rpath: Option<String>,
    /// Where its own are (DT_RUNPATH); then DT_RPATH does not count.
    pub runpath: Option<String>,
}

/// How bytes are had from an offset on, as by pread(2).
pub type ReadAt<'a> = dyn Fn(&mut [u8], u64) -> Result<usize> + 'a;

/// What the kernel looks at.
#[derive(Debug)]
pub struct ElfHead {
    /// For which processors.
    pub machine: Machine,
    /// The loader that the kernel starts in its place (PT_INTERP).
    pub interpreter: Option<String>,
    endianness: AnyEndian,
    segments: Vec<ProgramHeader>,
}

impl ElfHead {
    /// Where in the file what is loaded at an address is.
    fn offset_of(&self, address: u64) -> Option<u64> {
        self.segments.iter().filter(|segment| segment.p_type == PT_LOAD).find_map(|segment| {
            let into = address.checked_sub(segment.p_vaddr).filter(|into| *into < segment.p_filesz)?;
            segment.p_offset.checked_add(into)
        })
    }

    fn find(&self, kind: u32) -> Option<&ProgramHeader> {
        self.segments.iter().find(|segment| segment.p_type == kind)
    }
}

/// Reads as much of it as the kernel does; `None` for another kind of file.
pub fn head(file: &ReadAt<'_>) -> Result<Option<ElfHead>> {
    let head = bytes_at(file, 0, EI_NIDENT + ELF64_EHDR_TAILSIZE)?;
    if !head.starts_with(&ELFMAGIC) {
        return Ok(None);
    }
    let short = || Error::new(ErrorKind::InvalidData, "it ends within its header");
    let (ident, tail) = head.split_at_checked(EI_NIDENT).ok_or_else(short)?;
    let ident = parse_ident::<AnyEndian>(ident).map_err(broken)?;
    let size = if ident.1 == Class::ELF32 { ELF32_EHDR_TAILSIZE } else { ELF64_EHDR_TAILSIZE };
    let header = FileHeader::parse_tail(ident, tail.get(..size).ok_or_else(short)?).map_err(broken)?;
    let machine = Machine { class: header.class, number: header.e_machine };
    let mut head = ElfHead { machine, interpreter: None, endianness: header.endianness, segments: Vec::new() };
    // What a compiler leaves for the linker has none, and no size of them.
    if header.e_phnum > 0 {
        // The kernel takes no more, either: PN_XNUM, which says that their number is elsewhere, is too many for it
        // (load_elf_phdrs() of fs/binfmt_elf.c).
        if usize::from(header.e_phnum) * usize::from(header.e_phentsize) > SEGMENTS_MAX {
            return Err(Error::new(ErrorKind::InvalidData, "it has more segments than the kernel loads"));
        }
        let one = ProgramHeader::validate_entsize(header.class, header.e_phentsize.into()).map_err(broken)?;
        let table = bytes_at(file, header.e_phoff, one * usize::from(header.e_phnum))?;
        head.segments = SegmentTable::new(header.endianness, header.class, &table).iter().collect();
        head.interpreter = head.find(PT_INTERP).map(|segment| name(file, segment.p_offset)).transpose()?;
    }
    Ok(Some(head))
}

/// Reads what a loader does; `None` for what no loader takes.
pub fn read(file: &ReadAt<'_>) -> Result<Option<Object>> {
    let Some(head) = head(file)?.filter(|head| !head.segments.is_empty()) else { return Ok(None) };
    let mut object = Object {
        machine: head.machine,
        interpreter: head.interpreter.clone(),
        needed: Vec::new(),
        rpath: None,
        runpath: None,
    };
    let invalid = |what| Error::new(ErrorKind::InvalidData, what);
    let Some(dynamic) = head.find(PT_DYNAMIC) else { return Ok(Some(object)) };
    // A loader finds it in memory; where it says that it is in the file may be somewhere else.
    let offset = head.offset_of(dynamic.p_vaddr).ok_or_else(|| invalid("what it asks of its loader is not loaded"))?;
    let size = usize::try_from(dynamic.p_filesz.min(DYNAMIC_MAX)).unwrap_or(0);
    let table = bytes_at(file, offset, size)?;
    let entries = DynamicTable::new(head.endianness, head.machine.class, &table);
    let strings = entries.iter().find(|entry| entry.d_tag == DT_STRTAB).map(|entry| entry.d_ptr());
    let string = |offset: u64| {
        let address = strings.and_then(|strings| strings.checked_add(offset));
        let offset = address.and_then(|address| head.offset_of(address));
        name(file, offset.ok_or_else(|| Error::new(ErrorKind::InvalidData, "a name is outside of it"))?)
    };
    // Where it ends a loader is told by the entry alone.
    if !entries.iter().any(|entry| entry.d_tag == DT_NULL) {
        return Err(invalid("what it asks of its loader has no end"));
    }
    for entry in entries.iter().take_while(|entry| entry.d_tag != DT_NULL) {
        match entry.d_tag {
            DT_NEEDED if object.needed.len() == NEEDED_MAX => {
                return Err(Error::new(ErrorKind::InvalidData, "it needs more libraries than any program does"));
            }
            DT_NEEDED => object.needed.push(string(entry.d_val())?),
            DT_RPATH => object.rpath = Some(string(entry.d_val())?),
            DT_RUNPATH => object.runpath = Some(string(entry.d_val())?),
            _ => {}
        }
    }
    Ok(Some(object))
}

/// A text that ends with a NUL.
fn name(file: &ReadAt<'_>, offset: u64) -> Result<String> {
    let wrong = || Error::new(ErrorKind::InvalidData, "a name in it has no end, or is not UTF-8");
    let bytes = bytes_at(file, offset, NAME_MAX)?;
    let end = bytes.iter().position(|byte| *byte == 0).ok_or_else(wrong)?;
    bytes.get(..end).and_then(|name| std::str::from_utf8(name).ok()).map(str::to_owned).ok_or_else(wrong)
}

/// What is at that place, less at the end of the file.
pub fn bytes_at(file: &ReadAt<'_>, offset: u64, size: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; size];
    let mut have = 0;
    while have < size {
        let rest = bytes.get_mut(have..).unwrap_or_default();
        match file(rest, offset.saturating_add(have as u64)) {
            Ok(0) => break,
            Ok(more) => have += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(have);
    Ok(bytes)
}

fn broken(error: ParseError) -> Error {
    Error::new(ErrorKind::InvalidData, error.to_string())
}
