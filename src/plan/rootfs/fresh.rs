//! What may be done by a name in a file system that this start has made, instead of by a path from the root.
//!
//! A tmpfs holds what was made in it and nothing else, and in a mount namespace of the container's own nobody else has been
//! there: a name that could be made is no link and has nothing mounted on it. So is a name at the top of a proc, but for
//! the links that are always there. That ends with whatever may have put another mount over it: one at its own path or
//! above, one whose path an image's links may have led there, a hook.

use std::ffi::CStr;

use super::mount_effect::{MountEffect, effect};
use crate::plan::op::SetupOp;
use crate::plan::rootfs::mount_op::{CopyUp, KeptIndex, MountKind, MountOp, NewFileSystem, TmpfsMode};
use crate::sys::mount_attr::{self, MountAttr};

/// A file system made by an operation of the plan.
struct Fresh {
    dest: Vec<u8>,
    /// Its operation.
    op: usize,
    kind: Kind,
}

/// Which operation works in a file system that which has made.
struct Use {
    user: usize,
    maker: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tmpfs,
    Proc,
    Sysfs,
}

/// What is at the top of proc and leads elsewhere.
const PROC_LINKS: &[&[u8]] = &[b".", b"..", b"self", b"thread-self", b"mounts", b"net", b"device-tree"];

/// More are not looked for: that would take time for nothing.
const MAX_FRESH: usize = 32;

/// Tells the operations that work in such file systems so; their makers keep a descriptor for them.
pub(super) fn settle(setup: &mut [SetupOp], mut keep: impl FnMut() -> KeptIndex) {
    let mut fresh: Vec<Fresh> = Vec::new();
    let mut uses: Vec<Use> = Vec::new();
    for (index, op) in setup.iter().enumerate() {
        match effect(op) {
            MountEffect::Mounts(mount) => {
                let dest = mount.dest.to_bytes();
                let inside = holder(&fresh, dest, Kind::Tmpfs);
                uses.extend(inside.filter(|_| by_name(mount)).map(|maker| Use { user: index, maker }));
                let stays = inside.is_some() || keeps_its_place(&fresh, mount);
                fresh.retain(|made| !is_at_or_below(&made.dest, dest) && (stays || made.kind == Kind::Proc));
                let room = fresh.len() < MAX_FRESH;
                fresh.extend(kind(mount).filter(|_| room).map(|kind| Fresh { dest: dest.to_vec(), op: index, kind }));
            }
            MountEffect::Covers(path) => {
                let path = path.to_bytes();
                let inside = holder(&fresh, path, Kind::Proc).filter(|_| !PROC_LINKS.contains(&name(path)));
                uses.extend(inside.map(|maker| Use { user: index, maker }));
                let below_sysfs = |made: &Fresh| made.kind == Kind::Sysfs && is_below(path, &made.dest);
                if inside.is_none() && !fresh.iter().any(below_sysfs) {
                    fresh.clear();
                }
            }
            MountEffect::LetsIn => fresh.clear(),
            MountEffect::None => {}
        }
    }
    for Use { user, maker } in uses {
        let Some(SetupOp::Mount(mount)) = setup.get_mut(maker) else { continue };
        let number = *mount.kept.get_or_insert_with(&mut keep);
        if let Some(SetupOp::Mount(mount)) = setup.get_mut(user) {
            mount.within = Some(number);
        }
        if let Some(SetupOp::Mask { within, .. } | SetupOp::ReadonlyPath { within, .. }) = setup.get_mut(user) {
            *within = Some(number);
        }
    }
}

/// The operation that made what `path` is directly in.
fn holder(fresh: &[Fresh], path: &[u8], kind: Kind) -> Option<usize> {
    let parent = &path[..path.len().checked_sub(name(path).len() + 1)?];
    fresh.iter().find(|made| made.kind == kind && made.dest == parent).map(|made| made.op)
}

fn name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

fn is_below(path: &[u8], dir: &[u8]) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.starts_with(b"/"))
}

fn is_at_or_below(path: &[u8], dir: &[u8]) -> bool {
    // Nothing stands for the root.
    path == dir || dir.is_empty() || is_below(path, dir)
}

/// Whether the mount needs no more than a name: mount(2) does all of a new file system at once, but cannot tell its
/// attributes from those of its superblock where it is read-only, and gives no descriptor for what follows.
fn by_name(mount: &MountOp) -> bool {
    match &mount.what {
        MountKind::New(new) => {
            new.copy_up == CopyUp::No
                && new.mode == TmpfsMode::AsGiven
                && mount.attr.set & mount_attr::RDONLY == 0
                && mount.recursive == MountAttr::default()
                && (mount.kept, mount.idmap) == (None, None)
                && mount.propagation.is_empty()
        }
        MountKind::Bind { .. } => true,
        MountKind::BindOrLink { .. } | MountKind::Remount { .. } => false,
    }
}

/// Whether no link of the image can have led the mount to one of ours: the only component of its path is not followed, or
/// the path goes on in a sysfs of ours, whose links stay in it.
fn keeps_its_place(fresh: &[Fresh], mount: &MountOp) -> bool {
    let dest = mount.dest.to_bytes();
    mount.no_follow && !dest.contains(&b'/')
        || fresh.iter().any(|made| made.kind == Kind::Sysfs && is_below(dest, &made.dest))
}

fn kind(mount: &MountOp) -> Option<Kind> {
    let MountKind::New(NewFileSystem { kind, copy_up: CopyUp::No, .. }) = &mount.what else { return None };
    let known: &[(&CStr, Kind)] = &[(c"tmpfs", Kind::Tmpfs), (c"proc", Kind::Proc), (c"sysfs", Kind::Sysfs)];
    // What was attached elsewhere by a link of the image is none of ours.
    let here = kind.as_c_str() == c"tmpfs" || mount.no_follow && !mount.dest.to_bytes().contains(&b'/');
    known.iter().find(|(name, _)| **name == **kind).map(|(_, kind)| *kind).filter(|_| here)
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;

    use super::*;
    use crate::plan::reach::Reach;
    use crate::plan::rootfs::mount_op::{EndLink, MountSource};
    use crate::plan::rootfs::options::Propagation;

    fn mount(dest: &str, what: MountKind) -> SetupOp {
        let no_follow = matches!(&what, MountKind::New(new) if *new.kind != *c"tmpfs");
        SetupOp::Mount(Box::new(MountOp { no_follow, ..MountOp::new(CString::new(dest).unwrap(), what) }))
    }

    fn new(dest: &str, kind: &CStr) -> SetupOp {
        let (params, data) = (Vec::new(), c"".into());
        let (copy_up, mode) = (CopyUp::No, TmpfsMode::AsGiven);
        let (kind, source) = (kind.into(), kind.into());
        mount(dest, MountKind::New(NewFileSystem { kind, source, params, flags: 0, data, copy_up, mode, label: None }))
    }

    fn bind(dest: &str) -> SetupOp {
        mount(
            dest,
            MountKind::Bind {
                source: MountSource::Path(c"/x".into()),
                reach: Reach::One,
                end: EndLink::Follow,
                host: None,
            },
        )
    }

    fn mask(path: &str) -> SetupOp {
        SetupOp::Mask { path: CString::new(path).unwrap(), within: None, label: None }
    }

    /// Which of the operations work by a name.
    fn by_name(mut setup: Vec<SetupOp>) -> Vec<bool> {
        let mut kept = 0..;
        settle(&mut setup, || KeptIndex(kept.next().unwrap()));
        let within = |op: &SetupOp| match op {
            SetupOp::Mount(mount) => mount.within,
            SetupOp::Mask { within, .. } | SetupOp::ReadonlyPath { within, .. } => *within,
            _ => None,
        };
        setup.iter().map(|op| within(op).is_some()).collect()
    }

    #[test]
    fn names_are_enough_in_what_was_just_made() {
        let ops = vec![new("proc", c"proc"), new("dev", c"tmpfs"), new("dev/pts", c"devpts"), new("sys", c"sysfs")];
        let more = [new("sys/fs/cgroup", c"tmpfs"), bind("sys/fs/cgroup/cpu"), bind("dev/log"), mask("proc/keys")];
        let all: Vec<_> = ops.into_iter().chain(more).collect();
        assert_eq!(by_name(all), [false, false, true, false, false, true, true, true]);
    }

    #[test]
    fn not_where_another_mount_may_have_come_over_it() {
        // By its own path, by one above, by a link of the image.
        for over in [bind("dev"), new("dev", c"ramfs"), bind("data"), bind("")] {
            assert_eq!(by_name(vec![new("dev", c"tmpfs"), over, bind("dev/x")]), [false, false, false]);
        }
        assert_eq!(
            by_name(vec![new("sys", c"sysfs"), bind("d"), new("sys/x", c"tmpfs"), bind("dev/x")])[2..],
            [false; 2]
        );
        let hooks = SetupOp::Sync(crate::wire::SyncPoint::Hooks);
        assert_eq!(by_name(vec![new("proc", c"proc"), hooks, mask("proc/keys")]), [false, false, false]);
        assert_eq!(by_name(vec![new("proc", c"proc"), bind("proc"), mask("proc/keys")]), [false, false, false]);
        // Read-only, a link may have put a copy over proc.
        assert_eq!(by_name(vec![new("proc", c"proc"), mask("link"), mask("proc/keys")]), [false, false, false]);
    }

    #[test]
    fn proc_is_covered_by_nothing_of_the_image() {
        let ops = vec![new("proc", c"proc"), bind("data"), bind("proc/cpuinfo"), mask("proc/keys"), mask("proc/self")];
        assert_eq!(by_name(ops), [false, false, false, true, false]);
        assert_eq!(by_name(vec![new("proc", c"proc"), mask("proc/.."), mask("proc/keys")]), [false, false, false]);
    }

    #[test]
    fn what_mount_cannot_say_at_once_is_made_the_long_way() {
        let mut shared = new("dev/x", c"tmpfs");
        if let SetupOp::Mount(mount) = &mut shared {
            mount.propagation.push(Propagation { flag: libc::MS_SHARED, reach: Reach::One });
        }
        assert_eq!(by_name(vec![new("dev", c"tmpfs"), shared]), [false, false]);
    }
}
