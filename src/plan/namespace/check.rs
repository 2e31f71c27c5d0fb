//! Whether namespaces and id maps fit together. Pure; runs in the parent.

use super::idmap::IdMap;
use super::{NamespaceKind, Namespaces};
use crate::error::{Error, Result, Stage};
use crate::host::Host;
use crate::spec::Spec;
use crate::spec::process::User;

/// Refuses namespaces and maps that do not fit together, or that this user cannot have.
pub(in crate::plan) fn check(spec: &Spec, host: &Host, ns: &Namespaces, uids: &IdMap, gids: &IdMap) -> Result<()> {
    if ns.is_new(NamespaceKind::User) && (uids.is_empty() || gids.is_empty()) {
        let missing = if uids.is_empty() { "linux.uidMappings" } else { "linux.gidMappings" };
        let what = "a new user namespace needs linux.uidMappings and linux.gidMappings";
        return Err(Error::of_field(Stage::Bundle, missing, what));
    }
    if host.uid != 0 && !ns.contains(NamespaceKind::User) {
        let error = Error::of_field(
            Stage::Namespace,
            "linux.namespaces",
            "an ordinary user needs a user namespace in linux.namespaces",
        );
        return Err(error.with_hint("`brisk spec --rootless` writes a bundle for an ordinary user"));
    }
    let user = spec.process.as_ref().map(|process| &process.user);
    user.map_or(Ok(()), |user| mapped(user, uids, gids)).map_err(|error| match host.uid {
        0 => error
            .with_hint("a range of linux.uidMappings or linux.gidMappings must have it as one of its container ids"),
        _ => error.with_hint("`brisk check` tells which ids this user may map, and how to get some"),
    })
}

/// The user's ids must exist in the container.
pub(in crate::plan) fn mapped(user: &User, uids: &IdMap, gids: &IdMap) -> Result<()> {
    let missing = |name: &str, id: u32| {
        let what = format!("process.user.{name} {id} is not mapped in the user namespace");
        Err(Error::of_field(Stage::Bundle, format!("process.user.{name}"), what))
    };
    if !uids.is_empty() && uids.to_host(user.uid).is_none() {
        return missing("uid", user.uid);
    }
    if gids.is_empty() {
        return Ok(());
    }
    match std::iter::once(&user.gid).chain(&user.additional_gids).find(|gid| gids.to_host(**gid).is_none()) {
        Some(gid) if *gid == user.gid => missing("gid", *gid),
        Some(gid) => missing("additionalGids", *gid),
        None => Ok(()),
    }
}
