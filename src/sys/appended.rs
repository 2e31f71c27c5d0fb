//! The one file that messages are appended to, as nobody may read it for something else: what is written there would be in it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use nix::errno::Errno;

use super::Result;

/// Device and inode.
static APPENDED: OnceLock<(u64, u64)> = OnceLock::new();
/// Whether it turned out to be one that was to be read.
static WAS_TO_BE_READ: AtomicBool = AtomicBool::new(false);

/// Messages are appended to this file from here on. The first one counts.
pub(super) fn is(stat: &libc::stat) {
    APPENDED.get_or_init(|| (stat.st_dev, stat.st_ino));
}

/// Whether fstat(2) says this of it.
pub(super) fn is_it(stat: &libc::stat) -> bool {
    APPENDED.get() == Some(&(stat.st_dev, stat.st_ino))
}

/// Whether there is one.
pub(super) fn is_known() -> bool {
    APPENDED.get().is_some()
}

/// Whether messages may be appended to it.
pub fn may_append() -> bool {
    !WAS_TO_BE_READ.load(Relaxed)
}

/// For whoever reads a file of which fstat(2) says this: ETXTBSY where messages are appended to it, of which it gets no more.
pub(super) fn refuse(stat: &libc::stat) -> Result<()> {
    if !is_it(stat) {
        return Ok(());
    }
    WAS_TO_BE_READ.store(true, Relaxed);
    Err(Errno::ETXTBSY)
}
