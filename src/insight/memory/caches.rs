//! Whose files are the same: by the frames that their pages are in, and by their content.
//!
//! Device and inode of a mapping do not say it. Each overlay has a device of its own over layers that are the same files, and the
//! subvolumes of a file system may have one device and the same inodes. So a file is known by what stat(2) says behind its mapping,
//! and two of them are one where a page of both is in one frame of memory.
//!
//! Not trusted: the files. They are read by the kernel's links to what is mapped, regular ones only, up to a number of bytes and for
//! a limited time.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use brisk::error::Result;
use brisk::proc::mountinfo::parse;
use brisk::state::ProcessId;
use brisk::sys::fs;

use super::aside::{Aside, aside};
use super::smaps::{Behind, MappedFile, MappedWhat, device, map_file};
use crate::procdir::ProcDir;
use crate::sha256::Digest;

/// Larger files are not compared.
const LARGEST: u64 = 256 << 20;
/// All that is read of all files.
const READ_AT_MOST: u64 = 1 << 30;
/// How long that may take: one of them, and all.
const TIME_OF_ONE: Duration = Duration::from_secs(5);
const TIME_OF_ALL: Duration = Duration::from_secs(20);
/// A container may have mounted as much as the kernel allows it.
const LONGEST_MOUNTINFO: usize = 64 << 20;

/// A file whose pages are in memory once, whatever devices and inodes it is known by.
#[derive(Clone, Debug, PartialEq)]
pub struct PageCache {
    /// Device and inode as stat(2) has them, ascending.
    pub inodes: Vec<(u64, u64)>,
    /// What it is called where it was seen first.
    pub path: String,
    /// Its size, where that is known: of a regular file behind a mapping.
    pub bytes: Option<u64>,
    /// The containers that have it mapped, by their position, ascending.
    pub users: Vec<usize>,
    /// What they have of its pages, by shares.
    pub pss: u64,
    /// Of that pages of the file itself, at least.
    pub of_file: u64,
    /// Somebody may write to it: what is the same now need not stay so.
    pub written: bool,
    /// A mapping of it.
    seen: (ProcessId, (u64, u64)),
}

/// Files that are the same, and in memory more than once.
#[derive(Clone, Debug, PartialEq)]
pub struct CopySet {
    pub bytes: u64,
    pub sha256: String,
    /// Positions in [`Caches::all`].
    pub caches: Vec<usize>,
    /// Memory that one file in the place of all would not take: all pages but those of the one that has most.
    pub saves: u64,
}

/// All files that were seen.
#[derive(Debug, Default)]
pub struct Caches {
    pub all: Vec<PageCache>,
    /// By device and inode: its position in `all`.
    known: BTreeMap<(u64, u64), usize>,
    /// By size, number of a page and frame: a position in `all`.
    frames: BTreeMap<(u64, u64, u64), usize>,
    /// For each of `all`: one that is the same, or itself.
    same: Vec<usize>,
}

impl Caches {
    /// Notes a file of a process of a container; its position, which [`Self::settle`] makes final. `None` for what is no file.
    pub fn note(&mut self, file: &MappedFile, user: usize, process: ProcessId) -> Option<usize> {
        let inode = match (&file.what, file.behind) {
            (MappedWhat::File(..), Some(behind)) => (behind.device, behind.inode),
            (MappedWhat::File(device, inode), None) => (*device, *inode),
            (MappedWhat::Area(_) | MappedWhat::Others, _) => return None,
        };
        let bytes = file.behind.filter(|behind| behind.regular).map(|behind| behind.bytes);
        let at = *self.known.entry(inode).or_insert_with(|| {
            self.same.push(self.all.len());
            self.all.push(PageCache {
                inodes: vec![inode],
                path: file.path.clone(),
                bytes,
                users: Vec::new(),
                pss: 0,
                of_file: 0,
                written: false,
                seen: (process, file.range),
            });
            self.all.len() - 1
        });
        let cache = &mut self.all[at];
        if !cache.users.contains(&user) {
            cache.users.push(user);
        }
        cache.pss += file.mapped.pss;
        cache.of_file += file.mapped.of_file();
        cache.written |= file.written;
        for (page, frame) in &file.frames {
            let first = *self.frames.entry((bytes.unwrap_or(0), *page, *frame)).or_insert(at);
            let (one, other) = (self.root(first), self.root(at));
            self.same[one.max(other)] = one.min(other);
        }
        Some(at)
    }

    fn root(&self, mut at: usize) -> usize {
        while self.same[at] != at {
            at = self.same[at];
        }
        at
    }

    /// Puts together those that are one; for each position that was told, the final one.
    pub fn settle(&mut self) -> Vec<usize> {
        let roots: Vec<usize> = (0..self.all.len()).map(|at| self.root(at)).collect();
        let mut finals: BTreeMap<usize, usize> = BTreeMap::new();
        let mut settled: Vec<PageCache> = Vec::new();
        for (cache, root) in std::mem::take(&mut self.all).into_iter().zip(&roots) {
            match finals.get(root) {
                None => {
                    finals.insert(*root, settled.len());
                    settled.push(cache);
                }
                Some(at) => {
                    let first = &mut settled[*at];
                    first.inodes.extend(cache.inodes);
                    first.users.extend(cache.users);
                    first.pss += cache.pss;
                    first.of_file += cache.of_file;
                    first.written |= cache.written;
                }
            }
        }
        for cache in &mut settled {
            cache.inodes.sort_unstable();
            cache.users.sort_unstable();
            cache.users.dedup();
        }
        self.all = settled;
        self.frames.clear();
        roots.iter().map(|root| finals[root]).collect()
    }

    /// Which of them have the same content, and how many could not be compared. `None`: we may not look at any.
    pub fn copies(&self) -> Result<(Option<Vec<CopySet>>, usize)> {
        if !self.all.is_empty() && self.all.iter().all(|cache| cache.bytes.is_none()) {
            return Ok((None, 0));
        }
        let mut by_size: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (at, cache) in self.all.iter().enumerate() {
            if let Some(bytes) = cache.bytes.filter(|bytes| *bytes > 0 && !cache.written && cache.of_file > 0) {
                by_size.entry(bytes).or_default().push(at);
            }
        }
        let end = Instant::now() + TIME_OF_ALL;
        let mut fuse = FuseDevices::default();
        let (mut left, mut unseen) = (READ_AT_MOST, 0);
        let mut sets = Vec::new();
        for (bytes, candidates) in by_size.into_iter().rev().filter(|(_, candidates)| candidates.len() > 1) {
            let mut by_content: BTreeMap<String, Vec<usize>> = BTreeMap::new();
            for at in candidates {
                let digest =
                    if bytes > LARGEST.min(left) { None } else { digest(&self.all[at], bytes, end, &mut fuse)? };
                left = left.saturating_sub(bytes);
                match digest {
                    Some(digest) => by_content.entry(digest).or_default().push(at),
                    None => unseen += 1,
                }
            }
            sets.extend(by_content.into_iter().filter(|(_, caches)| caches.len() > 1).map(|(sha256, caches)| {
                let of_file = caches.iter().map(|at| self.all[*at].of_file);
                let saves = of_file.clone().sum::<u64>() - of_file.max().unwrap_or(0);
                CopySet { bytes, sha256, caches, saves }
            }));
        }
        sets.sort_by(|one, other| (other.saves, &one.sha256).cmp(&(one.saves, &other.sha256)));
        Ok((Some(sets), unseen))
    }
}

/// The devices of FUSE file systems that a process sees, by its number and when it began: looked up once for each. `None`: unknown.
#[derive(Default)]
struct FuseDevices(BTreeMap<(i32, u64), Option<Vec<u64>>>);

impl FuseDevices {
    fn of(&mut self, process: ProcessId, by: Instant) -> Result<Option<&[u64]>> {
        let known = match self.0.entry((process.pid, process.start_time)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(missing) => {
                let look = || match mountinfo(process) {
                    Some(text) => serde_json::to_vec(&fuse_devices(&text)).unwrap_or_default(),
                    None => Vec::new(),
                };
                let Aside::Done(told) = aside(by, LONGEST_MOUNTINFO, look)? else { return Ok(None) };
                missing.insert(serde_json::from_slice(&told).ok())
            }
        };
        Ok(known.as_deref())
    }
}

fn mountinfo(process: ProcessId) -> Option<Vec<u8>> {
    ProcDir::open(process).ok()??.read("mountinfo", LONGEST_MOUNTINFO).ok()?
}

/// The digest of a file of so many bytes; `None` where it cannot be read, or is another one by now.
fn digest(cache: &PageCache, bytes: u64, end: Instant, fuse: &mut FuseDevices) -> Result<Option<String>> {
    let by = end.min(Instant::now() + TIME_OF_ONE);
    // To open a file of FUSE may throw away what is cached of it, from under whoever has it mapped.
    match fuse.of(cache.seen.0, by)? {
        Some(fuse) if cache.inodes.iter().all(|(device, _)| !fuse.contains(device)) => {}
        Some(_) | None => return Ok(None),
    }
    let done = aside(by, 64, || content(cache, bytes).unwrap_or_default().into_bytes())?;
    Ok(match done {
        Aside::Done(digest) if digest.len() == 64 => String::from_utf8(digest).ok(),
        Aside::Done(_) | Aside::TooLate | Aside::TooMuch | Aside::Killed => None,
    })
}

fn content(cache: &PageCache, bytes: u64) -> Option<String> {
    let (process, range) = cache.seen;
    let proc = ProcDir::open(process).ok()??;
    let file = proc.open_behind(&map_file(range)).ok()??;
    let stat = fs::stat(file.as_fd()).ok()?;
    let still = Behind::of_stat(&stat);
    if !cache.inodes.contains(&(still.device, still.inode)) || still.bytes != bytes {
        return None;
    }
    let mut digest = Digest::default();
    let mut part = vec![0; 256 << 10];
    let mut left = bytes;
    while left > 0 {
        let room = usize::try_from(left).unwrap_or(usize::MAX).min(part.len());
        match fs::read(file.as_fd(), &mut part[..room]).ok()? {
            0 => return None,
            count => {
                digest.update(&part[..count]);
                left -= count as u64;
            }
        }
    }
    Some(digest.hex())
}

/// Which devices are FUSE file systems, as far as mountinfo tells: to ask one of them would be to ask its server.
fn fuse_devices(mountinfo: &[u8]) -> Vec<u64> {
    let fuse = parse(mountinfo).filter(|line| line.fs_type.starts_with(b"fuse"));
    let number = |part: &[u8]| std::str::from_utf8(part).ok()?.parse::<u64>().ok();
    let mut devices: Vec<u64> = fuse
        .filter_map(|line| {
            let colon = line.device.iter().position(|byte| *byte == b':')?;
            Some(device(number(&line.device[..colon])?, number(&line.device[colon + 1..])?))
        })
        .collect();
    devices.sort_unstable();
    devices.dedup();
    devices
}

#[cfg(test)]
mod tests {
    use super::super::smaps::Mapped;
    use super::*;

    fn file(inode: u64, behind: Option<(u64, u64)>, frames: &[(u64, u64)]) -> MappedFile {
        MappedFile {
            what: MappedWhat::File(1, inode),
            path: format!("/{inode}"),
            mapped: Mapped { rss: 8192, pss: 4096, ..Mapped::default() },
            range: (0, 8192),
            written: false,
            behind: behind.map(|(device, inode)| Behind { device, inode, bytes: 100, regular: true }),
            frames: frames.to_vec(),
        }
    }

    #[test]
    fn fuse_is_told_by_its_mount() {
        let text = b"36 1 0:44 / /srv/a rw - fuse.sshfs a rw\n37 1 8:1 / / rw - ext4 fuse rw\n38 1 0:4 / /b rw - fuseblk b rw\n";
        assert_eq!(fuse_devices(text), [device(0, 4), device(0, 44)]);
        // One look for all files of a process, however many mounts it has.
        let me = ProcessId::of(brisk::sys::process::getpid()).unwrap();
        let mut devices = FuseDevices::default();
        let soon = Instant::now() + Duration::from_secs(60);
        let first = devices.of(me, soon).unwrap().map(<[u64]>::to_vec);
        assert!(first.is_some());
        assert_eq!(devices.of(me, Instant::now()).unwrap().map(<[u64]>::to_vec), first, "it was looked up again");
    }

    #[test]
    fn files_are_one_where_a_page_is_in_one_frame() {
        let mut caches = Caches::default();
        let me = ProcessId { pid: 1, start_time: 1 };
        let mut note = |file: &MappedFile, user| caches.note(file, user, me).unwrap();
        // Two overlays over one layer, of which the mappings and stat(2) say different devices.
        let one = note(&file(5, Some((40, 5)), &[(0, 77), (1, 78)]), 0);
        let other = note(&file(6, Some((41, 5)), &[(1, 78), (2, 79)]), 1);
        // Two subvolumes, of which the mappings have one device and one inode.
        let left = note(&file(9, Some((50, 9)), &[(0, 1)]), 0);
        let right = note(&file(9, Some((51, 9)), &[(0, 2)]), 1);
        // The same frame of another page is by chance: one was read later.
        let chance = note(&file(10, Some((60, 1)), &[(3, 77)]), 1);
        let unknown = note(&file(11, None, &[]), 0);
        let finals = caches.settle();
        assert_eq!(finals[one], finals[other]);
        let distinct: std::collections::BTreeSet<usize> =
            [one, left, right, chance, unknown].map(|at| finals[at]).into();
        assert_eq!(distinct.len(), 5);
        let cache = &caches.all[finals[one]];
        assert_eq!((cache.inodes.as_slice(), cache.users.as_slice()), (&[(40, 5), (41, 5)][..], &[0, 1][..]));
        assert_eq!((cache.pss, cache.bytes), (8192, Some(100)));
        assert_eq!(caches.all[finals[unknown]].bytes, None);
    }
}
