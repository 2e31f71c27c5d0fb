//! What lies in the directories that CRIU is sent to. It opens what is there with our rights and follows links: those that it
//! writes to, and those whose content becomes the memory of the container.
//!
//! Not trusted: the entries, which may have come from another machine (an archive keeps links). Who may write to a directory
//! while CRIU works there is trusted, and so is what the images say: CRIU gives each process the rights that they name.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use crate::error::{Context, Error, Result, Stage};
use crate::sys::{dir, fs};

/// What CRIU writes anew, in the work directory or else beside the images.
const WRITTEN: [&CStr; 4] = [c"dump.log", c"restore.log", c"stats-dump", c"stats-restore"];
/// The link to an earlier dump, which CRIU makes itself (`--parent-path`).
const PARENT: &CStr = c"parent";
/// More dumps one after the other nobody makes; a link may lead to its own directory.
const PARENTS_MAX: usize = 1000;

/// Refuses links, fifos and the like among the images and those of earlier dumps.
pub fn check_images(images: BorrowedFd<'_>, path: &Path) -> Result<()> {
    let what = || format!("look at the images in {}", path.display());
    let open = |at: BorrowedFd<'_>, name| fs::open(at, name, libc::O_RDONLY | libc::O_DIRECTORY, 0);
    let mut images = open(images, c".").at(Stage::Criu, what)?;
    for _ in 0..PARENTS_MAX {
        let (mut parent, mut strange) = (false, None);
        dir::each_typed(images.as_fd(), &mut |name, kind| {
            let kind = if kind == libc::DT_UNKNOWN { kind_of(&fs::stat_at(images.as_fd(), name)?) } else { kind };
            match kind {
                // Of `criu lazy-pages`; nothing is opened there.
                libc::DT_SOCK => {}
                libc::DT_REG | libc::DT_DIR => {}
                libc::DT_LNK if name == PARENT => parent = true,
                _ => strange = Some(name.to_owned()),
            }
            Ok::<(), Errno>(())
        })
        .at(Stage::Criu, what)?;
        if let Some(name) = strange {
            return Err(refused(&name, path, "is neither a file nor a directory"));
        }
        if !parent {
            return Ok(());
        }
        images = match open(images.as_fd(), PARENT) {
            // CRIU says what it misses.
            Err(Errno::ENOENT) => return Ok(()),
            earlier => earlier.at(Stage::Criu, what)?,
        };
    }
    Err(Errno::ELOOP).at(Stage::Criu, what)
}

/// Refuses to have CRIU write through what is there by the names of its own files.
pub fn check_written(dir: BorrowedFd<'_>, path: &Path) -> Result<()> {
    for name in WRITTEN {
        match fs::stat_at(dir, name) {
            Err(Errno::ENOENT) => {}
            stat => {
                let stat = stat.at(Stage::Criu, || format!("look at {}", path.display()))?;
                if fs::kind(&stat) != libc::S_IFREG || stat.st_nlink != 1 {
                    return Err(refused(name, path, "is no file with one name"));
                }
            }
        }
    }
    Ok(())
}

/// Writes a file of ours beside the images, a new one: what has the name may be a link.
pub fn write(images: BorrowedFd<'_>, name: &CStr, text: &[u8]) -> crate::sys::Result<()> {
    match fs::unlink(images, name, 0) {
        Err(Errno::ENOENT) => {}
        done => done?,
    }
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW;
    let file: OwnedFd = fs::open(images, name, flags, 0o644)?;
    fs::write_all(file.as_fd(), text)
}

fn kind_of(stat: &libc::stat) -> u8 {
    match fs::kind(stat) {
        libc::S_IFREG => libc::DT_REG,
        libc::S_IFDIR => libc::DT_DIR,
        libc::S_IFLNK => libc::DT_LNK,
        libc::S_IFSOCK => libc::DT_SOCK,
        _ => libc::DT_UNKNOWN,
    }
}

fn refused(name: &CStr, path: &Path, why: &str) -> Error {
    let name = CString::from(name).to_string_lossy().into_owned();
    Error::new(Stage::Criu, format!("{}: {name:?} {why}", path.display()))
        .with_hint("criu would open it with the caller's rights, wherever it leads: remove it, or take other images")
}
