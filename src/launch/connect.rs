//! Connects to sockets of whoever called.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;

use crate::error::{Context, Deed, Doing, Error, Result, Stage};
use crate::sys::{fs, socket};

/// Connects to a console or pidfd socket. A path longer than a socket address takes is reached through a
/// descriptor of its directory.
pub fn connect(path: &Path, stage: Stage) -> Result<OwnedFd> {
    reach(path, stage).doing(Deed::Connect, || path.to_string_lossy())
}

fn reach(path: &Path, stage: Stage) -> Result<OwnedFd> {
    let what = || format!("connect to {}", path.display());
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() < 108 {
        return socket::connect(bytes).at(stage, what);
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::errno(stage, what(), Errno::ENAMETOOLONG));
    };
    let dir = fs::open_file(parent).at(stage, what)?;
    let short = fs::by_number(dir.as_fd()).join(name);
    socket::connect(short.as_os_str().as_bytes()).at(stage, what)
}
