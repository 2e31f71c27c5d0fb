//! What the standard streams of the container's first process are: at a restore others take their place. Runs in the
//! parent.
//!
//! Not trusted: the links in /proc/PID/fd, some of whose names a container chooses, and the files behind them, which it may serve itself.

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::external::{self, Mounted};
use crate::cgroup::Cgroup;
use crate::error::{Context, Result, Stage};
use crate::sys::fs;

/// An open file, as far as CRIU must be told about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// What its link in /proc says; empty if it is closed.
    pub name: String,
    /// If it is a file outside of the container.
    pub file: Option<OutsideFile>,
}

/// A file of the host's that a stream leads to, as the checkpoint has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "SavedFile")]
pub struct OutsideFile {
    /// CRIU's key, in which its inode has a number.
    pub key: String,
    /// The device that its file system is on; none in a checkpoint of a brisk that did not note it.
    pub device: Option<u64>,
}

/// As it was written by one that noted the key alone, and as it is.
#[derive(Deserialize)]
#[serde(untagged)]
enum SavedFile {
    Key(String),
    Whole { key: String, device: Option<u64> },
}

impl From<SavedFile> for OutsideFile {
    fn from(saved: SavedFile) -> OutsideFile {
        match saved {
            SavedFile::Key(key) => OutsideFile { key, device: None },
            SavedFile::Whole { key, device } => OutsideFile { key, device },
        }
    }
}

impl OutsideFile {
    /// Whether that is the file of this device with this inode number.
    pub fn is(&self, device: u64, inode: u64) -> bool {
        external::inode_of(&self.key) == Some(inode) && self.device.is_none_or(|noted| noted == device)
    }
}

impl Stream {
    /// Whether it is a file of the container's own, so that what was there from the start must be elsewhere.
    fn is_inside(&self) -> bool {
        self.name.starts_with('/') && self.file.is_none()
    }
}

/// The streams of process `pid`, whose mounts are `container`. The container is frozen meanwhile, where it can be.
pub fn of(pid: i32, container: &[Mounted], cgroup: Option<&Cgroup>) -> Result<[Stream; 3]> {
    let froze = match cgroup {
        Some(cgroup) if !cgroup.frozen()? => cgroup.freeze().is_ok(),
        _ => false,
    };
    let others = numbers(pid);
    let streams = others.map(|others| {
        let others: Vec<Stream> = others.into_iter().map(|fd| stream(pid, fd, container)).collect();
        originals([0, 1, 2].map(|fd| stream(pid, fd, container)), &others)
    });
    match cgroup {
        Some(cgroup) if froze => cgroup.thaw().and(streams),
        _ => streams,
    }
}

/// The streams as the program got them: a shell that redirects one for a command of its own keeps the original under
/// another number until the command is done. (Not looked for among pipes: most are the container's own.)
pub fn originals(mut streams: [Stream; 3], others: &[Stream]) -> [Stream; 3] {
    for other in others.iter().filter(|other| other.file.is_some()) {
        let known = streams.iter().any(|stream| stream.name == other.name);
        // Output is what is redirected most.
        if let Some(slot) = [1, 2, 0].into_iter().find(|slot| !known && streams[*slot].is_inside()) {
            streams[slot] = other.clone();
        }
    }
    streams
}

/// The other descriptors, in order.
fn numbers(pid: i32) -> Result<Vec<i32>> {
    let dir = format!("/proc/{pid}/fd");
    let entries = std::fs::read_dir(&dir).at(Stage::Criu, || format!("read {dir}"))?;
    let number = |entry: std::io::Result<std::fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    let mut numbers: Vec<i32> = entries.filter_map(number).filter(|fd| *fd > 2).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn stream(pid: i32, fd: i32, container: &[Mounted]) -> Stream {
    let path = format!("/proc/{pid}/fd/{fd}");
    // A stream that was closed has no name.
    let name = std::fs::read_link(&path).map(|link| link.to_string_lossy().into_owned()).unwrap_or_default();
    let info = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).unwrap_or_default();
    // The file may be of a server that is frozen with the container.
    let known = std::ffi::CString::new(path).map_err(|_| Errno::EINVAL).and_then(|path| fs::stat_known(&path));
    let file = match (external::mount_id(&info), known) {
        (Some(mount), Ok(stat)) => external::open_file(mount, &stat, container).map(|key| {
            let device = libc::makedev(stat.stx_dev_major, stat.stx_dev_minor);
            OutsideFile { key, device: Some(device) }
        }),
        _ => None,
    };
    Stream { name, file }
}
