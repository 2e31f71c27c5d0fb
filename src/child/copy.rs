//! `tmpcopyup`: copies what a new tmpfs will hide into it, by descriptors only.
//!
//! Not trusted: what is copied, which a volume's other users may change meanwhile: every name is opened once, and no
//! link is followed.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;

use super::state::{Done, Trouble};
use crate::sys::{dir, fs};

/// Deeper trees are refused: each level holds two descriptors and a frame.
const MAX_DEPTH: u32 = 128;

/// Copies the directory `from` with everything below it into the directory `to`. `buf` is room to read into.
pub(super) fn tree(from: BorrowedFd<'_>, to: BorrowedFd<'_>, buf: &mut [u8]) -> Done {
    // An O_PATH descriptor cannot be listed.
    let from = fs::open(from, c".", libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    level(from.as_fd(), to, buf, MAX_DEPTH)
}

fn level(from: BorrowedFd<'_>, to: BorrowedFd<'_>, buf: &mut [u8], depth: u32) -> Done {
    if depth == 0 {
        return Err(Trouble::from(Errno::ELOOP).with(b"tmpcopyup: too deep"));
    }
    dir::each(from, &mut |name| -> Done {
        let stat = fs::stat_at(from, name)?;
        match fs::kind(&stat) {
            libc::S_IFDIR => {
                fs::mkdir(to, name, 0o700)?;
                let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;
                let below = fs::open(from, name, flags, 0)?;
                let made = fs::open(to, name, flags, 0)?;
                level(below.as_fd(), made.as_fd(), buf, depth - 1)?;
            }
            libc::S_IFREG => file(from, to, name, buf)?,
            libc::S_IFLNK => {
                let mut target = [0; libc::PATH_MAX as usize];
                let len = fs::readlink(from, name, &mut target[..libc::PATH_MAX as usize - 1])?.len();
                let target = CStr::from_bytes_until_nul(&target[..=len]).map_err(|_| Errno::ENAMETOOLONG)?;
                fs::symlink(target, to, name)?;
            }
            // Sockets have nobody behind them in a new file system.
            libc::S_IFSOCK => return Ok(()),
            _ => fs::mknod(to, name, stat.st_mode, stat.st_rdev)?,
        }
        fs::chown(to, name, stat.st_uid, stat.st_gid)?;
        if fs::kind(&stat) != libc::S_IFLNK {
            fs::chmod_at(to, name, stat.st_mode & 0o7777)?;
        }
        Ok(())
    })
}

/// What is copied may be changed meanwhile by another container with the same volume: a fifo in the file's place is not
/// waited for, and a file that grows is copied as far as it was there.
fn file(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, buf: &mut [u8]) -> Done {
    let source = fs::open(from, name, libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY, 0)?;
    let stat = fs::stat(source.as_fd())?;
    if fs::kind(&stat) != libc::S_IFREG {
        return Err(Trouble::from(Errno::ESTALE).with(b"tmpcopyup: a file was replaced while it was copied"));
    }
    let mut left = stat.st_size as u64;
    let target = fs::open(to, name, libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW, 0o600)?;
    while left > 0 {
        let room = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        match fs::read(source.as_fd(), &mut buf[..room])? {
            0 => break,
            len => {
                fs::write_all(target.as_fd(), &buf[..len])?;
                left -= len as u64;
            }
        }
    }
    Ok(())
}
