//! The container's cgroup among the steps and operations of a start: what is made of it before the child and what
//! after, where the child has to be in it, and whose it becomes. Pure; runs in the parent.

use super::CgroupPlan;
use super::entry::{Entry, IntoCgroup, Part, Remaining};
use crate::error::{Error, Result, Stage};
use crate::plan::input::Input;
use crate::plan::namespace::NamespaceKind;
use crate::plan::namespace::idmap::IdMap;
use crate::plan::op::SetupOp;
use crate::plan::step::{MountsFrom, Step};
use crate::spec::annotations;
use crate::sys::cred::Ids;
use crate::wire::SyncPoint;

/// How the child gets into its cgroup, and makes the namespace of it.
pub(in crate::plan) fn enter(input: &Input<'_>) -> Vec<SetupOp> {
    let mut ops = Vec::new();
    if input.joins_cgroup() {
        ops.push(SetupOp::JoinCgroup);
    } else if waits(input) {
        ops.push(SetupOp::Wait(SyncPoint::Cgroup));
    }
    let flag = input.namespaces.new & !input.clone_flags & NamespaceKind::Cgroup.flag();
    if flag != 0 {
        ops.push(SetupOp::Unshare(flag));
    }
    ops
}

/// Whether the child waits until it has been put into its cgroup: what follows depends on that, by the cgroup's namespace,
/// mounts of it, or memory that is charged.
pub(in crate::plan) fn waits(input: &Input<'_>) -> bool {
    let depends = || {
        input.namespaces.is_new(NamespaceKind::Cgroup)
            || input.mounts().any(|(mount, options)| mount.is_cgroup() || options.tmpcopyup)
    };
    input.enters_cgroup_after_clone && !input.joins_cgroup() && depends()
}

/// What of the cgroup is made before the child, which is cloned into it, and what while the child mounts. One that is
/// moved into it does not wait for trees of it.
pub(in crate::plan) fn parts(input: &Input<'_>) -> (Option<Part>, Option<Part>) {
    if input.cgroup.is_none() || input.has_scope() {
        return (None, None);
    }
    match input.entry {
        Entry { remaining: Remaining::ParentMoves, .. } if input.mounts_from == MountsFrom::Skeleton => {
            (Some(Part::All), None)
        }
        Entry { remaining: Remaining::Nothing, .. } => (Some(Part::All), None),
        Entry { clone: IntoCgroup::Yes, .. } => (Some(Part::V2), Some(Part::V1)),
        _ => (None, Some(Part::All)),
    }
}

/// The trees that the child gets of a cgroup which is made after it.
pub(in crate::plan) fn trees(mut trees: Vec<Step>) -> Vec<Step> {
    if !trees.is_empty() {
        trees.push(Step::OfferTrees);
    }
    trees
}

/// The cgroup belongs to the container's user where it can be written from inside ("Cgroup ownership" of the
/// specification): cgroup v2 only, a new cgroup namespace, and a writable mount of it. Only root can give away files.
pub(in crate::plan) fn ownership(input: &Input<'_>) -> Option<Step> {
    let only_v2 = input.cgroup.as_ref().is_some_and(CgroupPlan::is_v2_alone);
    let root = input.spec.root_dir(&input.options.bundle);

    let wanted = only_v2
        && input.host.uid == 0
        && input.namespaces.is_new(NamespaceKind::Cgroup)
        && input.mounts().any(|(mount, options)| {
            mount.is_cgroup() && mount.place(&root) == "sys/fs/cgroup" && !options.is_read_only()
        });
    let uid = input.spec.process.as_ref().map_or(0, |process| process.user.uid);
    let owner = match (input.uids.is_empty(), input.namespaces.contains(NamespaceKind::User)) {
        (false, _) => input.uids.to_host(uid),
        // Whose ids are not known.
        (true, true) => None,
        (true, false) => Some(uid),
    };
    owner.filter(|owner| wanted && *owner != input.host.uid).map(Step::ChownCgroup)
}

/// The sub-cgroup of `run.oci.delegate-cgroup`. After the cgroup namespace is made, whose root stays the cgroup
/// above it, as with crun.
pub(in crate::plan) fn delegation(input: &Input<'_>) -> Result<Option<Step>> {
    let Some(path) = annotations::delegate_cgroup(input.spec)? else { return Ok(None) };
    let only_v2 = input.cgroup.as_ref().is_some_and(CgroupPlan::is_v2_alone);
    if !only_v2 {
        let what = format!("{} needs a cgroup of the container's own on cgroup v2", annotations::DELEGATE_CGROUP);
        return Err(Error::new(Stage::Cgroup, what).with_hint("a v1 hierarchy cannot be delegated safely"));
    }
    let root = |map: &IdMap| if map.is_empty() { Some(0) } else { map.to_host(0) };
    let (Some(uid), Some(gid)) = (root(&input.uids), root(&input.gids)) else {
        let what = format!("{}: the container has no root to delegate to", annotations::DELEGATE_CGROUP);
        return Err(Error::new(Stage::Cgroup, what));
    };
    Ok(Some(Step::DelegateCgroup { path: path.to_owned(), owner: Ids { uid, gid } }))
}
