//! `mounts add` and `mounts remove`: mounts of a container that runs. Pure; runs in the parent.
//!
//! A process of ours joins the container's mount namespace and does the same operations as at creation. What
//! it binds the parent has cloned on the host before, so no path of the host is looked up in the container.
//!
//! Not trusted: where a destination leads to, which the container may have changed since it was added.

use std::ffi::CString;

use crate::error::{Error, Result, Stage};
use crate::host::Host;
use crate::plan::Plan;
use crate::plan::cgroup::entry::IntoCgroup;
use crate::plan::draft::{CreateOptions, Draft, Input, c_string, linux};
use crate::plan::namespace::{NamespaceKind, Namespaces};
use crate::plan::op::SetupOp;
use crate::plan::rootfs::mounts;
use crate::plan::rootfs::options;
use crate::plan::step::{ComeBack, Mounts, Step};
use crate::spec::Spec;
use crate::spec::mounts::Mount;
use crate::spec::path::clean;
use crate::sys::mount_attr::{self, MountAttr};

/// Plans new mounts in the container that `spec` describes, whose first process is `init`.
pub fn add(list: &[Mount], spec: &Spec, host: &Host, options: &CreateOptions, init: i32) -> Result<Plan> {
    // The child does not see the host's mounts: the parent clones what is bound before there is a child.
    let mut input = Input { mounts: Mounts::Skeleton, ..Input::new(spec, host, options)? };
    let mut draft = enter(&input.namespaces)?;
    if input.namespaces.joined(NamespaceKind::User).is_some() {
        // Mounts without maps of their own get its: the container's, for what its path leads to now nobody knows.
        let path = format!("/proc/{init}/ns/user");
        draft.before_clone.push(Step::OpenNamespace(NamespaceKind::User, path.clone()));
        input.namespaces.join = vec![(NamespaceKind::User, path)];
    }
    let mut late: Vec<(CString, MountAttr)> = Vec::new();
    for mount in list {
        check(mount, &input)?;
        mounts::plan(&input, mount, &mut draft, &mut late)?;
    }
    draft.setup.extend(mounts::set_late(late));
    Ok(finish(draft))
}

/// Plans the end of mounts; `added` are the numbers of those that [`add`] has made.
pub fn remove(list: &[Mount], spec: &Spec, added: &[u64]) -> Result<Plan> {
    let mut draft = enter(&Namespaces::parse(&linux(spec).namespaces)?)?;
    for mount in list {
        let path = mount.destination.trim_matches('/');
        let (dir, name) = path.rsplit_once('/').unwrap_or((".", path));
        if matches!(name, "" | "." | "..") {
            return Err(Error::new(Stage::Args, format!("mount {:?}: not the place of a mount", mount.destination)));
        }
        let (dir, name) = (c_string(dir, "destination")?, c_string(name, "destination")?);
        draft.setup.push(SetupOp::Unmount { dir, name, added: added.to_vec() });
    }
    Ok(finish(draft))
}

fn enter(namespaces: &Namespaces) -> Result<Draft> {
    if !namespaces.is_new(NamespaceKind::Mount) {
        let what = "the container has no mount namespace of its own: its mounts are somebody else's";
        return Err(Error::new(Stage::Namespace, what));
    }
    let mut draft = Draft::default();
    let user = if namespaces.contains(NamespaceKind::User) { NamespaceKind::User.flag() } else { 0 };
    // As with `exec` (CVE-2016-9962).
    draft.setup.push(SetupOp::Undumpable);
    draft.setup.push(SetupOp::JoinInit(NamespaceKind::Mount.flag() | user));
    if user != 0 {
        draft.setup.push(SetupOp::BecomeRoot);
    }
    draft.setup.push(SetupOp::RootHere(c"/".into()));
    Ok(draft)
}

/// What can be mounted from outside so that it is what it says.
fn check(mount: &Mount, input: &Input<'_>) -> Result<()> {
    let refuse = |why: &str| Err(Error::new(Stage::Args, format!("mount {}: {why}", mount.destination)));
    let bind = mounts::is_bind(mount);
    if !bind && mount.kind.as_deref() != Some("tmpfs") {
        // proc, sysfs and mqueue show the namespaces of who mounts them, which are the host's here.
        return refuse("a container that runs can be given binds and tmpfs only");
    }
    if clean(&mount.destination).is_empty() {
        return refuse("what runs in the container would stay in the root below it");
    }
    let options = options::parse(&mount.options)?;
    if options.remount || options.copy_symlink || options.src_nofollow || options.tmpcopyup {
        return refuse("remount, copy-symlink, src-nofollow and tmpcopyup work at creation only");
    }
    let readonly = (options.attr_set | options.rec_set) & mount_attr::RDONLY != 0;
    if bind && readonly && input.in_userns() {
        // Only the copy that a new mount namespace of a user namespace makes has its flags locked
        // (lock_mnt_tree() in fs/namespace.c).
        return refuse("the container's root could make it writable, for it is root of a user namespace");
    }
    Ok(())
}

fn finish(mut draft: Draft) -> Plan {
    draft.setup.push(SetupOp::End);
    let mut steps = std::mem::take(&mut draft.before_clone);
    steps.push(Step::Clone {
        flags: 0,
        into_cgroup: IntoCgroup::No,
        join_pid: None,
        mounts: Mounts::Copy,
        back: ComeBack::May,
        time_offsets: None,
    });
    steps.push(Step::AwaitExec);
    Plan::new(steps, draft)
}
