//! `mounts add` and `mounts remove`: mounts of a container that runs. Pure; runs in the parent.
//!
//! A process of ours joins the container's mount namespace and does the same operations as at creation. What
//! it binds is taken on the host before (`plan::input::Taker`), so no path of the host is looked up in the container. With a user
//! namespace it is cloned in a copy of the host's mounts that belongs to that, which locks their flags and places
//! (mount_namespaces(7)): as at creation, the container's root may not loosen them.
//!
//! Not trusted: where a destination leads to, which the container may have changed since it was added.

use crate::error::{Below, Error, Result, Stage};
use crate::host::Host;
use crate::plan::Plan;
use crate::plan::cgroup::entry::IntoCgroup;
use crate::plan::draft::Draft;
use crate::plan::input::{Input, Taker};
use crate::plan::namespace::{NamespaceKind, Namespaces};
use crate::plan::op::{Refusal, SetupOp};
use crate::plan::options::CreateOptions;
use crate::plan::process::caps;
use crate::plan::rootfs::mounts;
use crate::plan::rootfs::options::{self, MountOptions};
use crate::plan::step::{CloneStep, Step};
use crate::plan::strings::c_string;
use crate::spec::Spec;
use crate::spec::mounts::Mount;
use crate::spec::path::clean;
use crate::sys::mount_attr;

/// Plans new mounts in the container that `spec` describes, whose first process is `init`.
pub fn add(list: &[Mount], spec: &Spec, host: &Host, options: &CreateOptions, init: i32) -> Result<Plan> {
    let input = Input::for_mounts(spec, host, options)?;
    let mut draft = own_namespace(&input.namespaces)?;
    if input.namespaces.joined(NamespaceKind::User).is_some() {
        // Mounts without maps of their own get its: the container's, for what its path leads to now nobody knows.
        draft.open_namespace(NamespaceKind::User, format!("/proc/{init}/ns/user"));
    }
    if input.takes == Taker::ParentBefore {
        enter(&input.namespaces, &mut draft);
    } else {
        copy_mounts(&input, &mut draft, init);
    }
    // Planned first: what of it is taken in the copy comes before the way into the container.
    let way = std::mem::take(&mut draft.setup);
    for (index, mount) in list.iter().enumerate() {
        let planned = options::parse(&mount.options).and_then(|options| {
            check((mount, &options), &input)?;
            mounts::plan(&input, (mount, &options), &mut draft)
        });
        planned.below(|| format!("mounts[{index}]"))?;
    }
    draft.set_now();
    let mut mounts = std::mem::replace(&mut draft.setup, way);
    if input.takes != Taker::ParentBefore {
        leave_copy(&mut draft);
    }
    draft.setup.append(&mut mounts);
    Ok(finish(draft))
}

/// Plans the end of mounts; `added` are the numbers of those that [`add`] has made.
pub fn remove(list: &[Mount], spec: &Spec, added: &[u64]) -> Result<Plan> {
    let namespaces = Namespaces::parse(spec.namespaces())?;
    let mut draft = own_namespace(&namespaces)?;
    enter(&namespaces, &mut draft);
    for (index, mount) in list.iter().enumerate() {
        let path = clean(&mount.destination);
        if path.is_empty() {
            let what = format!("mount {:?}: not the place of a mount", mount.destination);
            return Err(Error::of_field(Stage::Args, format!("mounts[{index}].destination"), what));
        }
        draft.setup.push(SetupOp::Unmount { path: c_string(path, "destination")?, added: added.to_vec() });
    }
    Ok(finish(draft))
}

fn own_namespace(namespaces: &Namespaces) -> Result<Draft> {
    if !namespaces.is_new(NamespaceKind::Mount) {
        let what = "the container has no mount namespace of its own: its mounts are somebody else's";
        return Err(Error::new(Stage::Namespace, what));
    }
    let mut draft = Draft::default();
    // As with `exec` (CVE-2016-9962).
    draft.setup.push(SetupOp::Undumpable);
    Ok(draft)
}

/// A copy of our mounts that belongs to the container's user namespace, where what is bound is taken.
fn copy_mounts(input: &Input<'_>, draft: &mut Draft, init: i32) {
    // By a descriptor that is opened with the caller's rights: root of the user namespace may not look at every first process.
    draft.open_namespace(NamespaceKind::Mount, format!("/proc/{init}/ns/mnt"));
    let user = NamespaceKind::User.flag();
    let copy = [SetupOp::JoinInit(user), SetupOp::BecomeRoot, SetupOp::Unshare(NamespaceKind::Mount.flag())];
    draft.setup.extend(copy);
    if input.asks() {
        draft.ask_all_here();
    }
}

/// Takes what the child is to take in the copy, and goes into the container's mount namespace.
fn leave_copy(draft: &mut Draft) {
    draft.setup.append(&mut draft.taken_in_copy);
    let joins = draft.opened_of(NamespaceKind::Mount);
    draft.setup.extend(joins.map(|index| SetupOp::Join(index, NamespaceKind::Mount, Refusal::Error)));
    draft.setup.push(SetupOp::RootHere(c"/".into()));
}

/// The container's mount namespace, with its user namespace.
fn enter(namespaces: &Namespaces, draft: &mut Draft) {
    let user = if namespaces.contains(NamespaceKind::User) { NamespaceKind::User.flag() } else { 0 };
    draft.setup.push(SetupOp::JoinInit(NamespaceKind::Mount.flag() | user));
    if user != 0 {
        draft.setup.push(SetupOp::BecomeRoot);
    }
    draft.setup.push(SetupOp::RootHere(c"/".into()));
}

/// Whether the program may change mounts of its own.
fn may_mount(input: &Input<'_>) -> bool {
    let caps = input.spec.process.as_ref().and_then(|process| process.capabilities.as_ref());
    caps.is_some_and(|caps| caps.bounding.iter().any(|cap| caps::is_same(cap, "CAP_SYS_ADMIN")))
}

/// What can be mounted from outside so that it is what it says.
fn check((mount, options): (&Mount, &MountOptions), input: &Input<'_>) -> Result<()> {
    let refuse = |why: &str| Err(Error::new(Stage::Args, format!("mount {}: {why}", mount.destination)));
    let bind = mount.is_bind();
    if !bind && mount.kind.as_deref() != Some("tmpfs") {
        // proc, sysfs and mqueue show the namespaces of whoever mounts them, which are the host's here.
        return refuse("a container that runs can be given binds and tmpfs only");
    }
    if clean(&mount.destination).is_empty() {
        return refuse("what runs in the container would stay in the root below it");
    }
    if options.remount || options.copy_symlink || options.src_nofollow || options.tmpcopyup {
        return refuse("remount, copy-symlink, src-nofollow and tmpcopyup work at creation only");
    }
    let readonly = (options.attr_set | options.rec_set) & mount_attr::RDONLY != 0;
    if bind && readonly && input.in_userns() && may_mount(input) {
        // Only the copy that a new mount namespace of a user namespace makes has its flags locked
        // (lock_mnt_tree() in fs/namespace.c). A user namespace that the program makes gets such a copy.
        return refuse("the container's root could make it writable, for it is root of a user namespace");
    }
    Ok(())
}

fn finish(mut draft: Draft) -> Plan {
    draft.setup.push(SetupOp::End);
    let mut steps = std::mem::take(&mut draft.before_clone);
    steps.push(Step::Clone(CloneStep::here(IntoCgroup::No)));
    steps.extend(draft.take_asked());
    steps.push(Step::AwaitExec);
    Plan::new(steps, draft)
}
