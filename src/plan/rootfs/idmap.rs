//! The user namespaces by which mounts are id-mapped. Pure; runs in the parent.

use super::mount_op::MountIdMap;
use super::options::{IdMapOption, MountOptions};
use crate::error::{Error, Result, Stage};
use crate::plan::draft::Draft;
use crate::plan::input::Input;
use crate::plan::namespace::NamespaceKind;
use crate::plan::namespace::idmap::{IdKind, IdMap, OptionRange};
use crate::plan::reach::Reach;
use crate::plan::step::Step;
use crate::spec::mounts::Mount;

/// The id map of a mount that has mappings, or an option that asks for them.
pub(super) fn of_mount(
    input: &Input<'_>,
    mount: &Mount,
    options: &MountOptions,
    draft: &mut Draft,
) -> Result<Option<MountIdMap>> {
    // The mounts below are other file systems, which `ridmap` asks for.
    let plain = IdMapOption { reach: Reach::One, uids: Vec::new(), gids: Vec::new() };
    match (&options.idmap, mount.uid_mappings.is_empty()) {
        (Some(idmap), _) => open(input, mount, idmap, draft).map(Some),
        (None, false) => open(input, mount, &plain, draft).map(Some),
        (None, true) => Ok(None),
    }
}

/// Has the parent open the user namespace of an id-mapped mount.
pub(super) fn open(input: &Input<'_>, mount: &Mount, idmap: &IdMapOption, draft: &mut Draft) -> Result<MountIdMap> {
    if input.host.uid != 0 {
        // mount_setattr(2) asks for CAP_SYS_ADMIN in the user namespace that the file system belongs to. For the host's that is the
        // host's, where an ordinary user has none; one that the container mounts is the container's own, which cannot be the map
        // as well. Nor could such a user write a map of other ids than the own one. The words are runc's.
        let what = format!("mount {}: id-mapped mounts are not supported for rootless containers", mount.destination);
        let error = Error::of_value(Stage::Bundle, what);
        return Err(error.with_hint("an ordinary user's files are the container's root's without a map"));
    }
    let own = |kind, list: &[_], ranges: &[OptionRange], container: &IdMap| -> Result<String> {
        if !ranges.is_empty() {
            return Ok(container.compose(kind, ranges)?.text());
        }
        if list.is_empty() { Ok(container.text()) } else { Ok(IdMap::parse(kind, list)?.text()) }
    };
    let uids = own(IdKind::Uid, &mount.uid_mappings, &idmap.uids, &input.uids)?;
    let gids = own(IdKind::Gid, &mount.gid_mappings, &idmap.gids, &input.gids)?;
    if uids.is_empty()
        && gids.is_empty()
        && let Some(joined) = draft.opened_of(NamespaceKind::User)
    {
        // Its maps are those of the joined namespace.
        return Ok(MountIdMap { userns: draft.open_idmap(Step::JoinedIdMap(joined)), reach: idmap.reach });
    }
    if uids.is_empty() || gids.is_empty() {
        let what = format!("mount {}: idmap needs uidMappings and gidMappings", mount.destination);
        return Err(Error::of_value(Stage::Bundle, what));
    }
    Ok(MountIdMap { userns: draft.open_idmap(Step::OpenIdMap { uids, gids }), reach: idmap.reach })
}
