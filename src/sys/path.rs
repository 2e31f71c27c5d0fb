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

/// Like [`resolve`], making what is missing with mode `mode` (parents 0755). Each step starts again from a
/// descriptor: the deepest part that exists is resolved, then one name is made below it, so a link that is
/// swapped in between can only lead to another place inside the root.
pub fn resolve_or_make(root: BorrowedFd<'_>, path: &CStr, missing: Missing, mode: u32, extra: i32) -> Result<OwnedFd> {
    match resolve(root, path, extra) {
        Err(Errno::ENOENT) if missing != Missing::Fail => {}
        result => return result,
    }
    let mut buf = [0u8; libc::PATH_MAX as usize];
    let bytes = path.to_bytes();
    if bytes.len() >= buf.len() {
        return Err(Errno::ENAMETOOLONG);
    }
    buf[..bytes.len()].copy_from_slice(bytes);
    let mut at = fs::open2(root, c".", libc::O_PATH | libc::O_DIRECTORY, 0, fs::IN_ROOT)?;
    let mut start = 0;
    // How far the prefix `buf[..start]` has been resolved; `at` is what it names.
    while start < bytes.len() {
        let end = bytes[start..].iter().position(|&b| b == b'/').map_or(bytes.len(), |n| start + n);
        if end == start {
            start = end + 1;
            continue;
        }
        let last = bytes[end..].iter().all(|&b| b == b'/');
        let prefix = terminated(&mut buf, end);
        at = match resolve(root, prefix, if last { extra } else { 0 }) {
            Ok(fd) => fd,
            Err(Errno::ENOENT) => {
                let name_end = end;
                let kind = if last { missing } else { Missing::Directory };
                let name = terminated_from(&mut buf, start, name_end);
                make(at.as_fd(), name, kind, if last { mode } else { 0o755 })?;
                let restored = end;
                restore(&mut buf, bytes, restored);
                let prefix = terminated(&mut buf, end);
                resolve(root, prefix, if last { extra } else { 0 })?
            }
            Err(errno) => return Err(errno),
        };
        restore(&mut buf, bytes, end);
        start = end + 1;
    }
    Ok(at)
}

fn make(dir: BorrowedFd<'_>, name: &CStr, kind: Missing, mode: u32) -> Result<()> {
    if name == c".." || name == c"." {
        return Err(Errno::EINVAL);
    }
    let made = match kind {
        Missing::File => {
            fs::open(dir, name, libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_WRONLY, mode).map(drop)
        }
        Missing::Directory | Missing::Fail => fs::mkdir(dir, name, mode),
    };
    match made {
        // A dangling link, or somebody else was faster: the lookup that follows decides.
        Err(Errno::EEXIST) => Ok(()),
        result => result,
    }
}

fn terminated(buf: &mut [u8], end: usize) -> &CStr {
    terminated_from(buf, 0, end)
}

fn terminated_from(buf: &mut [u8], start: usize, end: usize) -> &CStr {
    buf[end] = 0;
    CStr::from_bytes_until_nul(&buf[start..=end]).unwrap_or(c".")
}

fn restore(buf: &mut [u8], bytes: &[u8], end: usize) {
    buf[end] = bytes.get(end).copied().unwrap_or(0);
}
