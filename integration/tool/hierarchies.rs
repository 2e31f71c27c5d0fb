//! The cgroup v1 mounts in the tool's private mount namespace.

use super::Res;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::path::{Path, PathBuf};

const BASE: &str = "/sys/fs/cgroup";

/// crun 1.8 refuses a v1 host that also has a cgroup2 mount with controllers ("hybrid mode not supported"), and peers
/// make plain directories in an unmounted `unified`: put the v1 hierarchies on a tmpfs of this namespace without it.
/// On a pure cgroup2 host nothing is done. Call only in a private mount namespace.
pub fn without_unified(scratch: &Path) -> Res<()> {
    let unified = Path::new(BASE).join("unified");
    if !unified.join("cgroup.controllers").exists() {
        return Ok(());
    }
    umount2(&unified, MntFlags::MNT_DETACH)?;
    let none: Option<&str> = None;
    let names = mounted()?;
    let parking = scratch.join("cgroup");
    std::fs::create_dir(&parking)?;
    for name in &names {
        let parked = parking.join(name);
        std::fs::create_dir(&parked)?;
        mount(Some(&Path::new(BASE).join(name)), &parked, none, MsFlags::MS_MOVE, none)?;
    }
    umount2(BASE, MntFlags::MNT_DETACH)?;
    mount(Some("tmpfs"), BASE, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))?;
    for name in &names {
        let home = Path::new(BASE).join(name);
        std::fs::create_dir(&home)?;
        mount(Some(&parking.join(name)), &home, none, MsFlags::MS_MOVE, none)?;
    }
    Ok(())
}

/// Puts a cgroup2 mount where the v1 hierarchies were, as on a host of cgroup v2 alone. Controllers that a v1 hierarchy
/// holds stay there. Call only in a private mount namespace.
pub fn only_v2() -> Res<()> {
    let none: Option<&str> = None;
    umount2(BASE, MntFlags::MNT_DETACH)?;
    mount(Some("cgroup2"), BASE, Some("cgroup2"), MsFlags::empty(), none)?;
    Ok(())
}

/// Whether cgroup v2 is alone here, and without a controller.
pub fn v2_without(controller: &str) -> bool {
    let controllers = std::fs::read_to_string(Path::new(BASE).join("cgroup.controllers"));
    controllers.is_ok_and(|list| list.split_whitespace().all(|name| name != controller))
}

/// The names under /sys/fs/cgroup that are hierarchies.
pub fn mounted() -> Res<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(BASE)? {
        let entry = entry?;
        if entry.path().join("cgroup.procs").exists() {
            names.push(entry.file_name().into());
        }
    }
    Ok(names)
}
