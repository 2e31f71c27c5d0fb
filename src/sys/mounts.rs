//! What is mounted on the entries of a directory, from statx(2) and statmount(2) (Linux 6.8): a few calls where mountinfo
//! is a line for every mount of the machine, and listmount(2) looks at each. Runs in the parent.

use std::ffi::CStr;
use std::mem::size_of_val;
use std::os::fd::AsFd;

use nix::errno::Errno;

use super::{Result, cvt, fs};

/// One mount, its texts escaped as in mountinfo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// The directory of the file system that is visible.
    pub root: String,
    /// Where it is.
    pub point: String,
    /// The file system's type.
    pub fs_type: String,
    /// The options of the file system.
    pub options: String,
}

const SYS_STATMOUNT: libc::c_long = 457;
const SYS_LISTMOUNT: libc::c_long = 458;
/// Size of struct mnt_id_req up to `param`.
const REQUEST: u64 = 24;

/// listmount(2): the ids of the mounts below the mount `id`, as many as there is room for.
pub(super) fn list(id: u64, ids: &mut [u64]) -> Result<usize> {
    // struct mnt_id_req: size and reserved, mnt_id, param (the last id seen).
    let request = [REQUEST, id, 0];
    let room = ids.len();
    // SAFETY: the request is a whole mnt_id_req of the size it names; `ids` has room for `room` ids.
    let found = unsafe { libc::syscall(SYS_LISTMOUNT, request.as_ptr(), ids.as_mut_ptr(), room, 0) };
    cvt(found).map(|found| found as usize)
}

/// The mounts on the directories in `path`. E2BIG when there are more than 64: then mountinfo is the better source.
/// EOPNOTSUPP where the kernel does not tell all of it (options: Linux 6.11).
pub fn in_dir(path: &CStr) -> Result<Vec<Mounted>> {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let dir = fs::open(fs::CWD, path, flags, 0)?;
    let own = fs::mount_id(dir.as_fd(), c"")?;
    let mut mounts = Vec::new();
    super::dir::each(dir.as_fd(), &mut |name| {
        let id = fs::mount_id(dir.as_fd(), name)?;
        if id != own {
            mounts.push(stat(id)?);
        }
        if mounts.len() > 64 { Err(Errno::E2BIG) } else { Ok(()) }
    })?;
    Ok(mounts)
}

fn stat(id: u64) -> Result<Mounted> {
    const MNT_ROOT: u64 = 0x8;
    const MNT_POINT: u64 = 0x10;
    const FS_TYPE: u64 = 0x20;
    const MNT_OPTS: u64 = 0x80;
    const WANTED: u64 = MNT_ROOT | MNT_POINT | FS_TYPE | MNT_OPTS;
    /// Where the strings of struct statmount begin.
    const STRINGS: usize = 512;
    let request = [REQUEST, id, WANTED];
    let mut answer = [0u64; 512];
    let size = size_of_val(&answer);
    // SAFETY: the request is a whole mnt_id_req of the size it names; `answer` is writable for `size` bytes.
    let done = unsafe { libc::syscall(SYS_STATMOUNT, request.as_ptr(), answer.as_mut_ptr(), size, 0) };
    cvt(done)?;
    let word = |offset: usize| -> u32 {
        let both = answer.get(offset / 8).copied().unwrap_or_default().to_ne_bytes();
        let at = offset % 8;
        u32::from_ne_bytes([both[at], both[at + 1], both[at + 2], both[at + 3]])
    };
    if answer[1] & WANTED & !MNT_OPTS != WANTED & !MNT_OPTS {
        return Err(Errno::EOPNOTSUPP);
    }
    let bytes: Vec<u8> = answer.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let text = |offset: usize| -> Result<String> {
        let tail = bytes.get(STRINGS + word(offset) as usize..).ok_or(Errno::EBADMSG)?;
        let text = CStr::from_bytes_until_nul(tail).map_err(|_| Errno::EBADMSG)?;
        text.to_str().map(str::to_owned).map_err(|_| Errno::EILSEQ)
    };
    // A file system without options has no such field; a kernel that does not know it says the same.
    let options = if answer[1] & MNT_OPTS == 0 { String::new() } else { text(4)? };
    Ok(Mounted { root: text(104)?, point: text(108)?, fs_type: text(36)?, options })
}
