//! The one resolver: names from outside, resolved below a root descriptor, and made when missing.
//!
//! A path is never trusted twice: what comes back is a descriptor, and whatever is done to the object is done
//! through it. Every component is looked up with openat2(2) `RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS`, so a
//! symbolic link in the image can lead anywhere inside the root and nowhere else (CVE-2021-30465,
//! CVE-2024-45310 and their kin).

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::{Result, fs};

/// What to make at the end of a path that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Fail with ENOENT.
    Fail,
    /// Make a directory, and every one above it.
    Directory,
    /// Make an empty file, and every directory above it.
    File,
}

/// Resolves `path` below `root` to an `O_PATH` descriptor. `extra` adds open flags such as `O_NOFOLLOW`.
pub fn resolve(root: BorrowedFd<'_>, path: &CStr, extra: i32) -> Result<OwnedFd> {
    let path = if path.to_bytes().is_empty() { c"." } else { path };
    fs::open2(root, path, libc::O_PATH | extra, 0, fs::IN_ROOT)
}

/// Links that lead to something missing, and those that are the last name, are followed this often.
const MAX_LINKS: u32 = 40;

/// The directory that holds what `path` leads to below `root`, and its name there, which is no link.
pub fn resolve_last<'a>(
    root: BorrowedFd<'_>,
    path: &CStr,
    buffer: &'a mut [u8; libc::PATH_MAX as usize],
) -> Result<(OwnedFd, &'a CStr)> {
    let (mut at, mut joined): (PathBuffer, PathBuffer) = ([0; libc::PATH_MAX as usize], [0; libc::PATH_MAX as usize]);
    let mut length = terminated(&mut at, &[path.to_bytes()])?.count_bytes();
    for _ in 0..MAX_LINKS {
        let start = at[..length].iter().rposition(|&b| b == b'/').map_or(0, |slash| slash + 1);
        let dir = resolve(root, terminated(&mut joined, &[&at[..start]])?, libc::O_DIRECTORY)?;
        let target = match fs::readlink(dir.as_fd(), terminated(&mut joined, &[&at[start..length]])?, buffer) {
            // EINVAL: it is no link.
            Err(Errno::EINVAL) => return Ok((dir, terminated(buffer, &[&at[start..length]])?)),
            target => target?,
        };
        let before: &[u8] = if target.starts_with(b"/") { b"" } else { &at[..start] };
        length = terminated(&mut joined, &[before, target])?.count_bytes();
        at = joined;
    }
    Err(Errno::ELOOP)
}

/// Like [`resolve`], making what is missing with mode `mode` (parents 0755). Each step starts again from a
/// descriptor: the deepest part that exists is resolved, then one name is made below it, so a link that is
/// swapped in between can only lead to another place inside the root. A link that leads to something missing
/// has its target made, inside the root as well.
pub fn resolve_or_make(root: BorrowedFd<'_>, path: &CStr, missing: Missing, mode: u32, extra: i32) -> Result<OwnedFd> {
    match resolve(root, path, extra) {
        Err(Errno::ENOENT) if missing != Missing::Fail => make_missing(root, path, missing, mode, extra),
        result => result,
    }
}

/// [`resolve_or_make`] for a path that was missing a moment ago.
pub fn make_missing(root: BorrowedFd<'_>, path: &CStr, missing: Missing, mode: u32, extra: i32) -> Result<OwnedFd> {
    let make = Make { root, missing, mode, extra };
    match make.last(path) {
        Err(Errno::ENOENT | Errno::EEXIST) => make.walk(path.to_bytes(), MAX_LINKS),
        result => result,
    }
}

struct Make<'a> {
    root: BorrowedFd<'a>,
    missing: Missing,
    mode: u32,
    extra: i32,
}

type PathBuffer = [u8; libc::PATH_MAX as usize];

impl Make<'_> {
    /// The usual case: nothing but the last name is missing.
    fn last(&self, path: &CStr) -> Result<OwnedFd> {
        let bytes = path.to_bytes();
        let start = bytes.iter().rposition(|&b| b == b'/').map_or(0, |at| at + 1);
        let mut buf = [0; libc::PATH_MAX as usize];
        let parent = resolve(self.root, terminated(&mut buf, &[&bytes[..start]])?, libc::O_DIRECTORY)?;
        if start == bytes.len() {
            return Err(Errno::ENOENT);
        }
        make(parent.as_fd(), &bytes[start..], self.missing, self.mode)?;
        resolve(self.root, path, self.extra)
    }

    fn walk(&self, path: &[u8], links: u32) -> Result<OwnedFd> {
        let mut at = fs::open2(self.root, c".", libc::O_PATH | libc::O_DIRECTORY, 0, fs::IN_ROOT)?;
        let mut start = 0;
        // `path[..start]` has been resolved; `at` is what it names.
        while start < path.len() {
            let end = path[start..].iter().position(|&b| b == b'/').map_or(path.len(), |n| start + n);
            if end > start {
                let last = path[end..].iter().all(|&b| b == b'/');
                let mut buf = [0; libc::PATH_MAX as usize];
                let prefix = terminated(&mut buf, &[&path[..end]])?;
                let (extra, what, mode) =
                    if last { (self.extra, self.missing, self.mode) } else { (0, Missing::Directory, 0o755) };
                at = match resolve(self.root, prefix, extra) {
                    Err(Errno::ENOENT) => match make(at.as_fd(), &path[start..end], what, mode) {
                        // Somebody else was faster, or a link leads to something missing.
                        Err(Errno::EEXIST) => match resolve(self.root, prefix, extra) {
                            Err(Errno::ENOENT) => return self.follow(at.as_fd(), path, start, end, links),
                            result => result?,
                        },
                        result => {
                            result?;
                            resolve(self.root, prefix, extra)?
                        }
                    },
                    result => result?,
                };
            }
            start = end + 1;
        }
        Ok(at)
    }

    /// Goes on where the link `path[start..end]` in `dir` leads.
    fn follow(&self, dir: BorrowedFd<'_>, path: &[u8], start: usize, end: usize, links: u32) -> Result<OwnedFd> {
        if links == 0 {
            return Err(Errno::ELOOP);
        }
        let (mut name, mut target, mut joined): (PathBuffer, PathBuffer, PathBuffer) =
            ([0; libc::PATH_MAX as usize], [0; libc::PATH_MAX as usize], [0; libc::PATH_MAX as usize]);
        let name = terminated(&mut name, &[&path[start..end]])?;
        let target = fs::readlink(dir, name, &mut target)?;
        let before: &[u8] = if target.starts_with(b"/") { b"" } else { &path[..start] };
        let joined = terminated(&mut joined, &[before, target, &path[end..]])?;
        self.walk(joined.to_bytes(), links - 1)
    }
}

fn make(dir: BorrowedFd<'_>, name: &[u8], what: Missing, mode: u32) -> Result<()> {
    let mut buf = [0; libc::PATH_MAX as usize];
    let name = terminated(&mut buf, &[name])?;
    if name == c".." || name == c"." {
        return Err(Errno::EINVAL);
    }
    if what == Missing::File {
        let flags = libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_WRONLY;
        return fs::open(dir, name, flags, mode).map(drop);
    }
    fs::mkdir(dir, name, mode)
}

/// The parts as one C string in `buf`.
fn terminated<'a>(buf: &'a mut PathBuffer, parts: &[&[u8]]) -> Result<&'a CStr> {
    let mut at = 0;
    for part in parts {
        let end = at + part.len();
        if end >= buf.len() {
            return Err(Errno::ENAMETOOLONG);
        }
        buf[at..end].copy_from_slice(part);
        at = end;
    }
    buf[at] = 0;
    CStr::from_bytes_with_nul(&buf[..=at]).map_err(|_| Errno::EINVAL)
}
