//! The container's namespaces among the steps and operations of a start: how the child gets into them, and what they are
//! given. Pure; runs in the parent.

use std::ffi::CString;

use super::NamespaceKind;
use crate::error::{Error, Result, Stage};
use crate::plan::draft::{Draft, Input, Keyring, c_string};
use crate::plan::op::SetupOp;
use crate::plan::step::{MapWriter, Step};
use crate::wire::SyncPoint;

/// The namespaces that are joined, and those that clone3 does not make.
pub(in crate::plan) fn enter(input: &Input<'_>, draft: &mut Draft) -> Result<()> {
    // Before a user namespace: keys are charged to who makes them, and an id of the host that many containers map has
    // room for 200.
    if input.options.keyring == Keyring::New {
        draft.setup.push(SetupOp::Keyring(c_string(format!("_ses.{}", input.options.id), "id")?));
    }
    for (index, (kind, path)) in input.namespaces.join.iter().enumerate() {
        draft.before_clone.push(Step::OpenNamespace(*kind, path.clone()));
        if *kind != NamespaceKind::Pid {
            draft.setup.push(SetupOp::Join(index, *kind));
            if *kind == NamespaceKind::User {
                draft.setup.push(SetupOp::BecomeRoot);
            }
        }
    }
    if input.new_userns() {
        draft.setup.push(SetupOp::Wait(SyncPoint::IdMaps));
        draft.setup.push(SetupOp::BecomeRoot);
    }
    draft.setup.push(SetupOp::NewSession);
    let rest = input.namespaces.new & !input.clone_flags;
    let cgroup = rest & NamespaceKind::Cgroup.flag();
    let joined_user = input.namespaces.joined(NamespaceKind::User).is_some();
    let pid = if joined_user { rest & NamespaceKind::Pid.flag() } else { 0 };
    let unshare = rest & !(cgroup | pid | NamespaceKind::Time.flag());
    if unshare != 0 {
        draft.setup.push(SetupOp::Unshare(unshare));
    }
    if rest & NamespaceKind::Time.flag() != 0 && !time_in_parent(input) {
        draft.setup.push(SetupOp::Unshare(NamespaceKind::Time.flag()));
        if let Some(text) = time_offsets(input)? {
            draft.setup.push(SetupOp::TimeOffsets(text));
        }
    }
    if pid != 0 {
        draft.setup.push(SetupOp::Fork(pid));
    }
    Ok(())
}

/// A time namespace whose offsets the parent writes, so that the child is born in it: on every kernel the
/// child would otherwise enter it at execve only (Linux 6.3) or never. Needs rights an ordinary user lacks.
pub(in crate::plan) fn time_in_parent(input: &Input<'_>) -> bool {
    input.namespaces.is_new(NamespaceKind::Time) && input.host.uid == 0
}

/// The text for timens_offsets, where there are any.
pub(in crate::plan) fn time_offsets(input: &Input<'_>) -> Result<Option<CString>> {
    let mut text = String::new();
    for (clock, offset) in &input.linux.time_offsets {
        if !matches!(clock.as_str(), "monotonic" | "boottime") {
            return Err(Error::new(Stage::Bundle, format!("linux.timeOffsets: clock {clock:?} has no offset")));
        }
        text.push_str(&format!("{clock} {} {}\n", offset.secs, offset.nanosecs));
    }
    if text.is_empty() { Ok(None) } else { c_string(text, "linux.timeOffsets").map(Some) }
}

/// What the new namespaces are given: names, and a loopback device that is up.
pub(in crate::plan) fn furnish(input: &Input<'_>, draft: &mut Draft) -> Result<()> {
    let spec = input.spec;
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
pub(in crate::plan) fn id_maps(input: &Input<'_>) -> Step {
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
