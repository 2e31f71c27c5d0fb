//! What the bundle of an ordinary user lacks: a user namespace, made of this user and its subordinate ids, as crun does it.
//! Pure; runs in the parent.

use crate::error::Result;
use crate::host::Host;
use crate::plan::namespace::NamespaceKind;
use crate::plan::namespace::idmap;
use crate::plan::namespace::idmap::{IdKind, IdMap};
use crate::spec::Spec;
use crate::spec::linux::{IdMapping, Linux, Namespace};
use crate::spec::mounts::Mount;

/// Whether the specification was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Changed {
    Yes,
    No,
}

/// Gives an ordinary user's bundle the user namespace it cannot do without.
pub fn adapt(spec: &mut Spec, host: &Host) -> Result<Changed> {
    let linux = spec.linux.get_or_insert_default();
    if host.uid == 0 || linux.namespace(NamespaceKind::User.name()).is_some() {
        return Ok(Changed::No);
    }
    linux.namespaces.push(Namespace { kind: NamespaceKind::User.name().to_owned(), path: None });
    if linux.uid_mappings.is_empty() && linux.gid_mappings.is_empty() {
        let (uids, gids) = automatic(host)?;
        give(linux, &uids, &gids);
        // The group of terminals in every default configuration; the kernel refuses a group that is not mapped.
        spec.mounts.iter_mut().filter(|m| m.kind.as_deref() == Some("devpts")).for_each(|m| drop_gid(m, &gids));
    }
    Ok(Changed::Yes)
}

/// The user as root and its sub-ids from 1 on; the user alone where it has none or nothing can map them.
fn automatic(host: &Host) -> Result<(IdMap, IdMap)> {
    let (uids, gids): (&[_], &[_]) =
        if host.sub_ids.usable() { (&host.sub_ids.uids, &host.sub_ids.gids) } else { (&[], &[]) };
    Ok((idmap::automatic(IdKind::Uid, host.uid, uids)?, idmap::automatic(IdKind::Gid, host.gid, gids)?))
}

fn give(linux: &mut Linux, uids: &IdMap, gids: &IdMap) {
    let list = |map: &IdMap| {
        let ranges = map.ranges().iter();
        ranges.map(|map| IdMapping { container_id: map.container, host_id: map.host, size: map.size }).collect()
    };
    linux.uid_mappings = list(uids);
    linux.gid_mappings = list(gids);
}

fn drop_gid(mount: &mut Mount, gids: &IdMap) {
    mount.options.retain(|option| {
        let gid = option.strip_prefix("gid=").and_then(|gid| gid.parse().ok());
        gid.is_none_or(|gid| gids.to_host(gid).is_some())
    });
}
