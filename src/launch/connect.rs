//! Connects to sockets of whoever called. Here are the words of the errors, for which `sys::socket` knows no stages.

use std::os::fd::OwnedFd;
use std::path::Path;

use crate::error::{Context, Deed, Doing, Result, Stage};
use crate::sys::socket;

/// Connects to the console socket, that of a pidfd, or a seccomp agent's.
pub fn connect(path: &Path, stage: Stage) -> Result<OwnedFd> {
    let connected = socket::connect(path).at(stage, || format!("connect to {}", path.display()));
    connected.doing(Deed::Connect, || path.to_string_lossy())
}
