//! What a root that is moved over `/` leaves behind in its mount namespace.
//!
//! A process that makes a user namespace of its own may mount proc and sysfs anew, if one that hides nothing is in its mount
//! namespace already (mount_too_revealing, fs/namespace.c). With pivot_root(2) the host's are gone with the old root;
//! with `--no-pivot` they stay below the container's root, where nobody can reach them but the kernel counts them. So each is
//! unmounted, or covered where it may not be, before the root moves.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;

use super::state::{Child, Done, Trouble, empty_directory};
use crate::proc::mountinfo;
use crate::sys::{fs, mount};

/// A mount point as a path; longer ones than PATH_MAX there are not.
type Point = [u8; libc::PATH_MAX as usize];

impl Child<'_> {
    pub(super) fn conceal_host(&mut self) -> Done {
        let mut own: Point = [0; libc::PATH_MAX as usize];
        let own_len = fs::path_of(self.root()?, &mut own)?.len();
        // Opened once: the proc that it belongs to is among what goes.
        let table = fs::open(fs::CWD, c"/proc/self/mountinfo", libc::O_RDONLY, 0)?;
        let scratch = std::mem::take(&mut self.inherited.scratch);
        let done = conceal(table.as_fd(), &own[..own_len], scratch);
        self.inherited.scratch = scratch;
        done
    }
}

fn conceal(table: BorrowedFd<'_>, own: &[u8], scratch: &mut [u8]) -> Done {
    let mut covered = 0;
    let mut point: Point = [0; libc::PATH_MAX as usize];
    // The table changes with each that goes.
    while whole(table, own, covered, scratch, &mut point)? {
        let path = CStr::from_bytes_until_nul(&point).map_err(|_| Errno::ENAMETOOLONG)?;
        match mount::umount(path, libc::MNT_DETACH | libc::UMOUNT_NOFOLLOW) {
            Ok(()) => {}
            // In a user namespace it is locked to what it lies on.
            Err(Errno::EINVAL | Errno::EPERM) => {
                let place = fs::open(fs::CWD, path, libc::O_PATH | libc::O_NOFOLLOW | libc::O_DIRECTORY, 0)?;
                mount::attach(empty_directory(None)?.as_fd(), place.as_fd())?;
                covered += 1;
            }
            Err(errno) => return Err(Trouble::from(errno).with(path.to_bytes())),
        }
    }
    Ok(())
}

/// Finds a proc or sysfs of which all can be seen, outside of the container's root, after so many others; its path goes to
/// `point`.
fn whole(
    table: BorrowedFd<'_>,
    own: &[u8],
    skip: usize,
    scratch: &mut [u8],
    point: &mut Point,
) -> Result<bool, Trouble> {
    fs::rewind(table)?;
    let (mut held, mut seen) = (0, 0);
    loop {
        let len = fs::read(table, &mut scratch[held..])?;
        let text = &scratch[..held + len];
        let lines = if len == 0 { text.len() } else { text.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1) };
        for line in mountinfo::parse(&text[..lines]) {
            let bare = matches!(line.fs_type, b"proc" | b"sysfs") && line.root == b"/";
            if !bare || mountinfo::unescape_into(line.point, point).is_none_or(|len| is_below(&point[..len], own)) {
                continue;
            }
            if seen == skip {
                return Ok(true);
            }
            seen += 1;
        }
        if len == 0 {
            return Ok(false);
        }
        if lines == 0 && held + len == scratch.len() {
            return Err(Errno::ENAMETOOLONG.into());
        }
        scratch.copy_within(lines..held + len, 0);
        held = held + len - lines;
    }
}

fn is_below(path: &[u8], dir: &[u8]) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest[0] == b'/' || dir.ends_with(b"/"))
}
