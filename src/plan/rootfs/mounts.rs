//! One entry of `mounts`: what it stands for, and whether it may be. Pure; runs in the parent.

use std::ffi::CStr;

use super::cgroup;
use super::one_mount::{OneMount, recursively};
use crate::error::{Error, Result, Stage};
use crate::plan::draft::Draft;
use crate::plan::input::Input;
use crate::plan::namespace::NamespaceKind;
use crate::plan::op::Enter;
use crate::plan::reach::Reach;
use crate::plan::rootfs::options::MountOptions;
use crate::plan::strings::c_string;
use crate::spec::mounts::Mount;

/// Plans one entry.
pub(in crate::plan) fn plan(
    input: &Input<'_>,
    (mount, options): (&Mount, &MountOptions),
    draft: &mut Draft,
) -> Result<()> {
    let dest = c_string(mount.place(&input.spec.root_dir(&input.options.bundle)), "mounts.destination")?;
    let mut one = OneMount { input, mount, options: options.clone(), dest };
    check(&one)?;
    if one.options.tmpcopyup && (one.kind() != "tmpfs" || mount.is_bind()) {
        draft.warnings.push(format!("mount {}: tmpcopyup is for tmpfs only, and left out", mount.destination));
        one.options.tmpcopyup = false;
    }
    match one.kind() {
        _ if options.remount => one.remount(draft),
        // Whatever type is given with it, as with runc.
        _ if mount.is_bind() => one.bind_source(draft),
        "cgroup" => cgroup::v1(&one, draft),
        // Options of the file system that are named are meant.
        "cgroup2" if options.data.is_empty() => cgroup::v2(&one, draft),
        "sysfs" if input.in_userns() && !input.namespaces.contains(NamespaceKind::Network) => {
            // A new sysfs shows the network namespace, which must belong to our user namespace: the host's does not.
            one.with(recursively(options)).bind(c"/sys".into(), Reach::Tree, draft)
        }
        "" => Err(Error::new(Stage::Bundle, format!("mount {}: the type is missing", mount.destination))),
        kind => match draft.take_namespace_fs(kind) {
            Some(made) => {
                one.attach(made, draft);
                Ok(())
            }
            None => one.new_file_system(kind, draft),
        },
    }
}

/// Refuses what does not go together, and what may not be.
fn check(one: &OneMount<'_>) -> Result<()> {
    let OneMount { input, mount, options, dest } = one;
    if options.copy_symlink && (options.src_nofollow || options.dest_nofollow) {
        let what = format!("mount {}: copy-symlink excludes src-nofollow and dest-nofollow", mount.destination);
        return Err(Error::new(Stage::Bundle, what));
    }
    if dest.is_empty() && !options.remount && input.options.enter == Enter::Move {
        // The root that it covers would stay, and a whole proc in it would let a new one be mounted (`child::reveal`).
        let what = format!("mount {}: a mount on the root itself cannot be had with --no-pivot", mount.destination);
        return Err(Error::new(Stage::Bundle, what));
    }
    check_proc(mount, dest)
}

/// What may be mounted below /proc, as in runc: files that lxcfs emulates, and a few that programs need to see.
/// Anything else there could stand in for the files that labels and parameters are written to
/// (CVE-2019-16884).
pub const OVER_PROC: &[&str] = &[
    "proc/cpuinfo",
    "proc/diskstats",
    "proc/loadavg",
    "proc/meminfo",
    "proc/net/dev",
    "proc/slabinfo",
    "proc/stat",
    "proc/swaps",
    "proc/sys/crypto/fips_enabled",
    "proc/sys/kernel/ns_last_pid",
    "proc/uptime",
];

/// Refuses a destination below /proc that is not on the list.
fn check_proc(mount: &Mount, dest: &CStr) -> Result<()> {
    let dest = dest.to_string_lossy();
    if !dest.starts_with("proc/") || OVER_PROC.contains(&dest.as_ref()) {
        return Ok(());
    }
    let what = format!("mount {}: nothing may be mounted inside of /proc", mount.destination);
    Err(Error::new(Stage::Bundle, what))
}
