//! What one process has mapped, as /proc/PID/smaps has it: summed up by file.
//!
//! Not trusted: everything in it: how many mappings there are, and what their files and the process are called.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::ops::AddAssign;
use std::os::fd::AsFd;

use brisk::sys::fs;
use serde::{Deserialize, Serialize};

use crate::procdir::ProcDir;

/// The files of a process that are kept apart; what is mapped of more of them is summed up.
const MOST_FILES: usize = 10_000;
/// From so many pages at the beginning of a mapping, so many are noted of which the frame is known.
const LOOKED_AT: u64 = 512;
const NOTED: usize = 32;

/// Bytes that are mapped and there, in the kernel's words (proc_pid_smaps(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapped {
    pub rss: u64,
    /// Each page divided by the number of those who have it mapped.
    pub pss: u64,
    /// Pages that others have mapped, too, of the same container or not.
    pub shared: u64,
    pub private: u64,
    /// Of the resident: pages that are no file's (any more).
    pub anonymous: u64,
    pub swap: u64,
    /// Huge pages of hugetlbfs, which are in none of the others.
    pub hugetlb: u64,
}

impl Mapped {
    /// The share in pages of the file itself, at least: pages of its own are taken away as if nobody shared them.
    pub fn of_file(self) -> u64 {
        self.pss.saturating_sub(self.anonymous)
    }
}

impl AddAssign for Mapped {
    fn add_assign(&mut self, more: Mapped) {
        self.rss += more.rss;
        self.pss += more.pss;
        self.shared += more.shared;
        self.private += more.private;
        self.anonymous += more.anonymous;
        self.swap += more.swap;
        self.hugetlb += more.hugetlb;
    }
}

/// What is mapped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum MappedWhat {
    /// A file, by device and inode as the mapping has them.
    File(u64, u64),
    /// No file: the kernel's name for it.
    Area(String),
    /// Files that were too many.
    Others,
}

/// A file, or an area, of one process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MappedFile {
    pub what: MappedWhat,
    /// As the kernel shows it.
    pub path: String,
    pub mapped: Mapped,
    /// Where it is mapped first.
    pub range: (u64, u64),
    /// Whether the process may write to the file by it.
    pub written: bool,
    /// What is behind the mapping, where we may know.
    pub behind: Option<Behind>,
    /// Pages of the file and the frames of memory they are in, where we may know.
    pub frames: Vec<(u64, u64)>,
}

/// The file of a mapping as stat(2) has it. The device may be another one than the mapping's: that of an overlay, of a
/// subvolume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Behind {
    pub device: u64,
    pub inode: u64,
    pub bytes: u64,
    pub regular: bool,
}

impl Behind {
    /// Of an opened file.
    pub fn of_stat(stat: &libc::stat) -> Behind {
        Behind {
            device: device(libc::major(stat.st_dev).into(), libc::minor(stat.st_dev).into()),
            inode: stat.st_ino,
            bytes: u64::try_from(stat.st_size).unwrap_or(0),
            regular: fs::kind(stat) == libc::S_IFREG,
        }
    }
}

/// One line that begins a mapping.
#[derive(Debug, PartialEq, Eq)]
struct MappingHead<'a> {
    range: (u64, u64),
    written: bool,
    offset: u64,
    device: u64,
    inode: u64,
    path: &'a [u8],
}

/// `5617e1289000-5617e128b000 r--p 00000000 fe:00 247030                     /usr/bin/cat`
fn head(line: &[u8]) -> Option<MappingHead<'_>> {
    let mut rest = line;
    let mut word = || {
        let end = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
        let (word, more) = rest.split_at(end);
        rest = more.strip_prefix(b" ").unwrap_or(more);
        std::str::from_utf8(word).ok()
    };
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let (start, end) = word()?.split_once('-')?;
    let range = (hex(start)?, hex(end)?);
    let modes = word()?;
    let offset = hex(word()?)?;
    let (major, minor) = word()?.split_once(':')?;
    let device = device(hex(major)?, hex(minor)?);
    let inode = word()?.parse().ok()?;
    let path = rest.trim_ascii_start();
    Some(MappingHead { range, written: modes.contains('w') && modes.ends_with('s'), offset, device, inode, path })
}

/// Both numbers of a device as one.
pub fn device(major: u64, minor: u64) -> u64 {
    major << 32 | minor & 0xffff_ffff
}

/// The name of what is no file. A program may name its own, and as many as it has mappings.
fn area(path: &[u8]) -> String {
    match path {
        b"" => "[anon]".to_owned(),
        path if path.starts_with(b"[anon") => "[anon]".to_owned(),
        path => String::from_utf8_lossy(path).into_owned(),
    }
}

/// Takes the lines of smaps.
#[derive(Default)]
struct Summing {
    files: BTreeMap<MappedWhat, MappedFile>,
    /// The mapping that the lines are of.
    current: Option<MappedWhat>,
    /// Of it, and what its pages' frames are looked up by.
    page: u64,
    at: ((u64, u64), u64),
}

impl Summing {
    fn begin(&mut self, head: &MappingHead<'_>) {
        let what = match head.inode {
            0 => MappedWhat::Area(area(head.path)),
            inode => MappedWhat::File(head.device, inode),
        };
        let full = self.files.len() >= MOST_FILES && !self.files.contains_key(&what);
        let what = if full { MappedWhat::Others } else { what };
        let new = || MappedFile {
            path: match &what {
                MappedWhat::Area(name) => name.clone(),
                MappedWhat::File(..) => String::from_utf8_lossy(head.path).into_owned(),
                MappedWhat::Others => "[others]".to_owned(),
            },
            what: what.clone(),
            mapped: Mapped::default(),
            range: head.range,
            written: false,
            behind: None,
            frames: Vec::new(),
        };
        let file = self.files.entry(what.clone()).or_insert_with(new);
        file.written |= head.written;
        self.current = Some(what);
        self.at = (head.range, head.offset);
        self.page = 0;
    }

    /// A line of a mapping; true at the one after which its frames can be looked up.
    fn field(&mut self, line: &[u8]) -> bool {
        let Some((name, value)) = std::str::from_utf8(line).ok().and_then(|line| line.split_once(':')) else {
            return false;
        };
        let kib = value.split_ascii_whitespace().next().and_then(|number| number.parse::<u64>().ok());
        let Some(bytes) = kib.map(|kib| kib.saturating_mul(1024)) else { return false };
        let Some(file) = self.current.as_ref().and_then(|what| self.files.get_mut(what)) else { return false };
        let mapped = &mut file.mapped;
        match name {
            "KernelPageSize" => self.page = bytes,
            "Rss" => mapped.rss += bytes,
            "Pss" => mapped.pss += bytes,
            "Shared_Clean" | "Shared_Dirty" => mapped.shared += bytes,
            "Private_Clean" | "Private_Dirty" => mapped.private += bytes,
            "Anonymous" => mapped.anonymous += bytes,
            "Swap" => mapped.swap += bytes,
            "Shared_Hugetlb" | "Private_Hugetlb" => mapped.hugetlb += bytes,
            _ => {}
        }
        name == "Anonymous" && self.page > 0
    }
}

/// Reads it, and looks behind its mappings; `None` where the process has ended or is not ours to read.
pub fn read(proc: &ProcDir) -> Option<Vec<MappedFile>> {
    let text = BufReader::new(File::from(proc.open_file("smaps").ok()??));
    let frames = proc.open_file("pagemap").ok().flatten();
    let mut sums = Summing::default();
    for line in text.split(b'\n') {
        // ESRCH: it has ended meanwhile.
        let line = line.ok()?;
        if line.first().is_some_and(u8::is_ascii_uppercase) {
            let known = sums.field(&line);
            if known
                && let Some(pagemap) = &frames
                && let Some(file) = sums.current.as_ref().and_then(|what| sums.files.get_mut(what))
                && matches!(file.what, MappedWhat::File(..))
            {
                note_frames(pagemap, sums.at, sums.page, &mut file.frames);
            }
        } else if let Some(head) = head(&line) {
            sums.begin(&head);
        }
    }
    let mut files: Vec<MappedFile> = sums.files.into_values().collect();
    for file in files.iter_mut().filter(|file| matches!(file.what, MappedWhat::File(..))) {
        file.behind = behind(proc, file.range);
    }
    Some(files)
}

/// Which frames the first pages of a mapping are in: who has the same has the same page, whatever device and inode say.
fn note_frames(pagemap: &impl AsFd, (range, offset): ((u64, u64), u64), page: u64, frames: &mut Vec<(u64, u64)>) {
    /// Present, and of a file or shared memory (Documentation/admin-guide/mm/pagemap.rst).
    const OF_FILE: u64 = 1 << 63 | 1 << 61;
    /// The number of the frame, which is 0 for those who may not know it.
    const FRAME: u64 = (1 << 55) - 1;
    let count = ((range.1 - range.0) / page).min(LOOKED_AT);
    if frames.len() >= NOTED || count == 0 {
        return;
    }
    let mut entries = vec![0; usize::try_from(count * 8).unwrap_or(0)];
    let Ok(length) = fs::pread(pagemap.as_fd(), &mut entries, range.0 / page * 8) else { return };
    for (index, entry) in (0..).zip(entries[..length].as_chunks::<8>().0) {
        let entry = u64::from_ne_bytes(*entry);
        if entry & OF_FILE == OF_FILE && entry & FRAME != 0 && frames.len() < NOTED {
            frames.push((offset / page + index, entry & FRAME));
        }
    }
}

/// The name of a mapping in `map_files`.
pub fn map_file((start, end): (u64, u64)) -> String {
    format!("map_files/{start:x}-{end:x}")
}

/// What is behind a mapping: never by the path that it shows, which is the container's, and without asking a server.
fn behind(proc: &ProcDir, range: (u64, u64)) -> Option<Behind> {
    let stat = proc.stat_behind(&map_file(range)).ok()?;
    Some(Behind {
        device: device(stat.stx_dev_major.into(), stat.stx_dev_minor.into()),
        inode: stat.stx_ino,
        bytes: stat.stx_size,
        regular: u32::from(stat.stx_mode) & libc::S_IFMT == libc::S_IFREG,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(text: &str) -> Summing {
        let mut sums = Summing::default();
        for line in text.lines() {
            match head(line.as_bytes()) {
                Some(head) => sums.begin(&head),
                None => drop(sums.field(line.as_bytes())),
            }
        }
        sums
    }

    #[test]
    fn mappings_are_summed_up_by_file() {
        let sums = sum("5617e1289000-5617e128b000 r--p 00000000 fe:00 247030        /a b\\012c (deleted)\n\
            Size:                  8 kB\nKernelPageSize:        4 kB\nRss:                   8 kB\nPss:                   4 kB\n\
            Shared_Clean:          8 kB\nShared_Dirty:          0 kB\nPrivate_Clean:         0 kB\n\
            Anonymous:             0 kB\nVmFlags: rd mr mw me sd \n\
            5617e128b000-5617e1290000 rw-s 00002000 fe:00 247030        /a b\\012c (deleted)\n\
            Rss:                   4 kB\nPss:                   4 kB\nPrivate_Dirty:         4 kB\nSwap:                 12 kB\n\
            7f0000000000-7f0000001000 rw-p 00000000 00:00 0 \nRss:                   4 kB\n\
            7f0000001000-7f0000002000 rw-p 00000000 00:00 0             [anon:\u{1b}x]\nRss:                   4 kB\n\
            7ffc00000000-7ffc00001000 rw-p 00000000 00:00 0             [stack]\nRss:                   4 kB\n");
        let file = &sums.files[&MappedWhat::File(device(0xfe, 0), 247_030)];
        assert_eq!((file.path.as_str(), file.written), ("/a b\\012c (deleted)", true));
        let kib = |kib: u64| kib * 1024;
        let whole =
            Mapped { rss: kib(12), pss: kib(8), shared: kib(8), private: kib(4), swap: kib(12), ..Mapped::default() };
        assert_eq!(file.mapped, whole);
        assert_eq!(sums.files[&MappedWhat::Area("[anon]".to_owned())].mapped.rss, kib(8), "one for all names");
        assert_eq!(sums.files[&MappedWhat::Area("[stack]".to_owned())].mapped.rss, kib(4));
        assert_eq!(sums.files.len(), 3);
    }

    #[test]
    fn thousands_of_files_are_no_more_than_so_many() {
        let mut sums = Summing::default();
        for inode in 1..2 * MOST_FILES as u64 {
            sums.begin(&MappingHead { range: (0, 4096), written: false, offset: 0, device: 1, inode, path: b"/x" });
            sums.field(b"Rss:                   4 kB");
        }
        assert_eq!(sums.files.len(), MOST_FILES + 1);
        assert_eq!(sums.files.values().map(|file| file.mapped.rss).sum::<u64>(), (2 * MOST_FILES as u64 - 1) * 4096);
    }

    #[test]
    fn lines_that_are_none_are_left_out() {
        for line in ["", "x", "1-2", "1-2 r--p 0 0:0", "g-2 r--p 0 0:0 0", "1-2 r--p 0 00 0", "1-2 r--p 0 0:0 -1"] {
            assert_eq!(head(line.as_bytes()), None, "{line}");
        }
    }
}
