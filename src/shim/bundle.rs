//! A container's bundle, and what the shim reads in it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use serde::Deserialize;

use super::fault::{Answer, Code, Fault};
use super::os;
use super::protobuf::Message;

/// The part of config.json that the shim goes by.
#[derive(Deserialize)]
struct ConfigPart {
    linux: Option<Linux>,
}

#[derive(Deserialize)]
struct Linux {
    #[serde(default)]
    namespaces: Vec<Namespace>,
}

#[derive(Deserialize)]
struct Namespace {
    r#type: String,
    #[serde(default)]
    path: String,
}

/// Whether the container's processes may outlive its first one. If it cannot be told they may.
pub fn shares_pids(bundle: &Path) -> bool {
    let Ok(text) = os::read_file(&bundle.join("config.json"), 64 << 20) else { return true };
    let Ok(config) = serde_json::from_slice::<ConfigPart>(&text) else { return true };
    let namespaces = config.linux.map(|linux| linux.namespaces).unwrap_or_default();
    !namespaces.iter().any(|namespace| namespace.r#type == "pid" && namespace.path.is_empty())
}

pub fn read_pid(path: &Path) -> Answer<i32> {
    let text = std::fs::read_to_string(path).map_err(Fault::doing("failed to retrieve OCI runtime container pid"))?;
    text.trim().parse().map_err(Fault::doing("failed to retrieve OCI runtime container pid"))
}

/// A bundle that is a container's own while this lives: another one in it would be mounted over the first, and unmount it.
#[derive(Debug)]
pub struct Bundle {
    pub path: PathBuf,
    _lock: OwnedFd,
}

impl Bundle {
    /// Nothing is written into a directory that is no bundle, or another container's (of whichever shim).
    pub fn of(request: Message<'_>) -> Answer<Bundle> {
        let path = os::path(request.text(2)?);
        if !path.is_absolute() || !path.join("config.json").is_file() {
            let text = format!("{path:?} is no absolute path of a directory with a config.json");
            return Err(Fault::new(Code::InvalidArgument, text));
        }
        let lock = os::open(request.text(2)?, libc::O_DIRECTORY).map_err(Fault::doing(path.display()))?;
        match os::lock(lock.as_fd(), libc::LOCK_EX | libc::LOCK_NB) {
            Err(Errno::EWOULDBLOCK) => {
                Err(Fault::new(Code::FailedPrecondition, format!("bundle {path:?} is another container's")))
            }
            locked => locked.map(|()| Bundle { path, _lock: lock }).map_err(Fault::doing("lock of the bundle")),
        }
    }
}
