//! Id maps of user namespaces (user_namespaces(7)).

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;

use nix::errno::Errno;

use super::running::{destroy, sync_error};
use crate::error::{Context, Error, Result, Stage};
use crate::host::programs::find_program;
use crate::plan::rootfs::mount_op::MountIdMap;
use crate::plan::step::MapWriter;
use crate::sys::clone::{self, CloneArgs, Cloned};
use crate::sys::mount;
use crate::sys::{fs, process, socket};

/// Writes the maps of a process that waits in its new user namespace.
pub(super) fn write(pid: i32, uids: &str, gids: &str, writer: MapWriter) -> Result<()> {
    match writer {
        MapWriter::Direct => {
            put(pid, "gid_map", gids)?;
            put(pid, "uid_map", uids)
        }
        MapWriter::OwnId => {
            put(pid, "setgroups", "deny")?;
            put(pid, "gid_map", gids)?;
            put(pid, "uid_map", uids)
        }
        MapWriter::Helpers => {
            helper("newgidmap", pid, gids)?;
            helper("newuidmap", pid, uids)
        }
    }
}

fn put(pid: i32, file: &str, text: &str) -> Result<()> {
    // A map may be hundreds of lines.
    let what = || match text.lines().count() {
        lines @ 4.. => format!("write {lines} lines ({} bytes) to /proc/{pid}/{file}", text.len()),
        _ => format!("write {:?} to /proc/{pid}/{file}", text.trim_end()),
    };
    std::fs::write(format!("/proc/{pid}/{file}"), text).at(Stage::Namespace, what)
}

fn helper(program: &str, pid: i32, map: &str) -> Result<()> {
    let found = find_program(program).ok_or(Errno::ENOENT).at(Stage::Namespace, || format!("run {program}"));
    let found = found.map_err(|error| error.with_hint("install newuidmap and newgidmap (Debian: uidmap)"))?;
    let mut command = Command::new(found);
    command.arg(pid.to_string()).args(map.split_whitespace());
    let (status, said) = process::run(command).at(Stage::Namespace, || format!("run {program}"))?;
    if status.success() {
        return Ok(());
    }
    let error = Error::new(Stage::Namespace, format!("{program} {}: {}", map.trim_end(), said.trim()));
    Err(error.with_hint("the maps must lie within this user's ranges in /etc/subuid and /etc/subgid"))
}

/// Maps the owners in a copied tree by one of these user namespaces.
pub(super) fn apply(tree: &OwnedFd, path: &CStr, idmap: Option<MountIdMap>, maps: &[OwnedFd]) -> Result<()> {
    let Some(MountIdMap { userns, reach }) = idmap else { return Ok(()) };
    let map = maps.get(userns.0).ok_or_else(|| sync_error("the plan names an id map too many"))?;
    let what = || format!("id-map {}", path.to_string_lossy());
    mount::set_id_map(tree.as_fd(), reach.flag(), map.as_fd()).at(Stage::Rootfs, what)
}

/// A user namespace with these maps, for an id-mapped mount. A process holds it until it is open here.
pub(super) fn user_namespace(uids: &str, gids: &str) -> Result<OwnedFd> {
    let (ours, theirs) = socket::pair().at(Stage::Namespace, || "make a socket pair")?;
    let args = CloneArgs { flags: libc::CLONE_NEWUSER as u64, ..CloneArgs::default() };
    match clone::clone3(&args).at(Stage::Namespace, || "clone3 for an id-mapped mount")? {
        Cloned::Child => {
            drop(ours);
            // Ends with the parent's end of the pair, whatever becomes of the parent.
            let _ = fs::read(theirs.as_fd(), &mut [0]);
            process::exit(0)
        }
        Cloned::Parent(holder) => {
            let opened = write(holder.pid, uids, gids, MapWriter::Direct).and_then(|()| {
                let path = format!("/proc/{}/ns/user", holder.pid);
                fs::open_namespace(&path).at(Stage::Namespace, || format!("open {path}"))
            });
            drop(ours);
            destroy(&holder).ok_or_else(|| sync_error("reap the holder of a user namespace"))?;
            opened
        }
    }
}
