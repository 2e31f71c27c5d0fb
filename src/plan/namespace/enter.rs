//! The container's namespaces among the steps and operations of a start: how the child gets into them, and what they are
//! given. Pure; runs in the parent.

use std::ffi::CString;

use super::{JoinedNamespace, NamespaceKind};
use crate::error::Result;
use crate::host::Host;
use crate::plan::draft::Draft;
use crate::plan::input::Input;
use crate::plan::namespace::NamespaceFs;
use crate::plan::op::{Refusal, SetupOp};
use crate::plan::options::Keyring;
use crate::plan::step::{MapWriter, Step};
use crate::plan::strings::c_string;
use crate::spec::mounts::Mount;
use crate::spec::process::Process;
use crate::wire::SyncPoint;

/// The namespaces that are joined, and those that clone3 does not make.
///
/// A namespace may be joined by whoever has authority over the user namespace that it belongs to (setns(2)). Where the
/// container has a user namespace, others that it joins may belong to the caller's, to that one, or to a third: so they are
/// joined with the caller's rights first, then the user namespace is entered, then the rest is joined.
pub(in crate::plan) fn enter(input: &Input<'_>, draft: &mut Draft) -> Result<()> {
    // Before a user namespace: keys are charged to whoever makes them, and an id of the host that many containers map has
    // room for 200.
    if input.options.keyring == Keyring::New {
        let label = key_label(input.spec.process.as_ref(), input.host)?;
        draft.setup.push(SetupOp::Keyring(label));
    }
    let namespaces = &input.namespaces;
    if namespaces.join.iter().any(|joined| input.launches() || joined.kind != NamespaceKind::Pid) {
        // Whoever is in there already has no business with our memory and descriptors (CVE-2016-9962).
        draft.setup.push(SetupOp::Undumpable);
    }
    for JoinedNamespace { kind, path } in &namespaces.join {
        draft.open_namespace(*kind, path.clone());
    }
    let joined_user = namespaces.joined(NamespaceKind::User).is_some();
    let mut rest = namespaces.new & !input.clone_flags;
    if input.launches() {
        let refusal = if joined_user { Refusal::TryAgain } else { Refusal::Error };
        join(draft, refusal, |kind| kind != NamespaceKind::User);
        if joined_user {
            join(draft, Refusal::Error, |kind| kind == NamespaceKind::User);
            make_time(input, draft)?;
            draft.setup.push(SetupOp::BecomeRoot);
            join(draft, Refusal::Error, |kind| kind != NamespaceKind::User);
        }
        // The new user namespace will have no authority over a namespace that is older.
        for made in [NamespaceFs::Sysfs, NamespaceFs::Mqueue] {
            let foreign = input.new_userns() && namespaces.joined(made.namespace()).is_some() && input.host.uid == 0;
            let shows =
                |mount: &Mount| mount.kind.as_ref().is_some_and(|kind| kind.as_bytes() == made.kind().to_bytes());
            if foreign && input.spec.mounts.iter().any(shows) {
                draft.setup.push(SetupOp::MakeNamespaceFs(made));
                draft.namespace_fs.push(made);
            }
        }
        draft.setup.extend(fork(input).map(SetupOp::Fork));
        rest &= !FORKED;
    } else {
        // The parent has joined the pid namespace around the clone.
        join(draft, Refusal::Error, |kind| kind != NamespaceKind::Pid);
    }
    if input.new_userns() {
        draft.setup.push(SetupOp::Wait(SyncPoint::IdMaps));
        make_time(input, draft)?;
        draft.setup.push(SetupOp::BecomeRoot);
    }
    draft.setup.push(SetupOp::NewSession);
    let unshare = rest & !(NamespaceKind::Cgroup.flag() | NamespaceKind::Time.flag());
    if unshare != 0 {
        draft.setup.push(SetupOp::Unshare(unshare));
    }
    Ok(())
}

/// The namespaces that a first process can make for a second one alone, or has to leave its own id for.
const FORKED: u64 = NamespaceKind::User.flag() | NamespaceKind::Pid.flag();

/// With which of the namespaces the process that joins those of others clones the container's, if it does: the session's leader
/// has to be the last of the processes.
pub(in crate::plan) fn fork(input: &Input<'_>) -> Option<u64> {
    let made = input.namespaces.new & FORKED;
    let forks = input.launches() && (made != 0 || input.namespaces.joined(NamespaceKind::Pid).is_some());
    forks.then_some(made)
}

/// Makes the time namespace that the parent does not make. Before the process takes the user's ids: afterwards the file
/// with the offsets is not its own (proc(5), "dumpable").
fn make_time(input: &Input<'_>, draft: &mut Draft) -> Result<()> {
    if input.namespaces.is_new(NamespaceKind::Time) && !time_in_parent(input) {
        draft.setup.push(SetupOp::Unshare(NamespaceKind::Time.flag()));
        draft.setup.extend(time_offsets(input)?.map(SetupOp::TimeOffsets));
        draft.setup.push(SetupOp::EnterTime);
    }
    Ok(())
}

/// Joins these of the opened namespaces.
fn join(draft: &mut Draft, refusal: Refusal, which: impl Fn(NamespaceKind) -> bool) {
    let chosen = draft.opened().filter(|(_, kind)| which(*kind));
    let joins: Vec<_> = chosen.map(|(index, kind)| SetupOp::Join(index, kind, refusal)).collect();
    draft.setup.extend(joins);
}

/// A time namespace whose offsets the parent writes, so that the child is born in it: on every kernel the
/// child would otherwise enter it at execve only (Linux 6.3) or by one more call. It belongs to the parent's user namespace,
/// so a container with its own makes it itself: others that join both could not join it otherwise.
pub(in crate::plan) fn time_in_parent(input: &Input<'_>) -> bool {
    input.namespaces.is_new(NamespaceKind::Time)
        && input.host.uid == 0
        && !input.namespaces.contains(NamespaceKind::User)
}

/// The text for timens_offsets, where there are any.
pub(in crate::plan) fn time_offsets(input: &Input<'_>) -> Result<Option<CString>> {
    let mut text = String::new();
    for (clock, offset) in &input.linux.time_offsets {
        text.push_str(&format!("{clock} {} {}\n", offset.secs, offset.nanosecs));
    }
    if text.is_empty() { Ok(None) } else { c_string(text, "linux.timeOffsets").map(Some) }
}

/// What the new namespaces are given: names, and a loopback device that is up.
pub(in crate::plan) fn furnish(input: &Input<'_>, draft: &mut Draft) -> Result<()> {
    let spec = input.spec;
    // Where there is a name there is a uts namespace (`spec::validate`): the host would get it otherwise.
    if let Some(name) = spec.hostname.as_ref().filter(|name| !name.is_empty()) {
        draft.setup.push(SetupOp::Hostname(c_string(name.as_str(), "hostname")?));
    }
    if let Some(name) = spec.domainname.as_ref().filter(|name| !name.is_empty()) {
        draft.setup.push(SetupOp::Domainname(c_string(name.as_str(), "domainname")?));
    }
    if input.namespaces.is_new(NamespaceKind::Network) {
        draft.setup.push(SetupOp::Loopback);
    }
    Ok(())
}

/// How the maps of the new user namespace are written. Whether the helpers may write them they say themselves.
pub(in crate::plan) fn idmaps(input: &Input<'_>) -> Step {
    let (uids, gids, host) = (&input.uids, &input.gids, input.host);
    let writer = if host.uid == 0 {
        MapWriter::Direct
    } else if uids.is_only(host.uid) && gids.is_only(host.gid) {
        MapWriter::OwnId
    } else {
        MapWriter::Helpers
    };
    Step::WriteIdMaps { uids: uids.text(), gids: gids.text(), writer }
}

/// The SELinux label that the container's keys are made with. Without one they would have that of the runtime's process,
/// and the program, whose label may do nothing with the runtime's keys, could not use its own session keyring.
pub(in crate::plan) fn key_label(process: Option<&Process>, host: &Host) -> Result<Option<CString>> {
    let label = process.and_then(|process| process.selinux_label.as_deref()).filter(|label| !label.is_empty());
    label.filter(|_| host.selinux).map(|label| c_string(label, "selinuxLabel")).transpose()
}
