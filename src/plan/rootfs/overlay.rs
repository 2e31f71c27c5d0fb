//! An overlay over the root: the root becomes a layer that nothing is written to, and the overlay the root. Pure.

use std::ffi::CStr;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;

use crate::error::{Error, Result, Stage};
use crate::plan::draft::Draft;
use crate::plan::input::{Input, Taker};
use crate::plan::namespace::NamespaceKind;
use crate::plan::op::{Enter, InUse, OverlayOp, SetupOp};
use crate::plan::options::OverlaySize;
use crate::plan::reach::Reach;
use crate::plan::rootfs::idmap;
use crate::plan::rootfs::mount_op::{EndLink, HostTree, MountSource};
use crate::plan::rootfs::options::IdMapOption;
use crate::plan::strings::{c_string, host_path};
use crate::spec::annotations::{OVERLAY, OVERLAY_IDMAP, OVERLAY_LOWER};
use crate::spec::mounts::Mount;
use crate::spec::overlay::Upper;
use crate::sys::cred::CAP_DAC_READ_SEARCH;

/// The names of layers, one digit each, and descriptors are few.
pub const MAX_LOWER: usize = 8;

/// The upper layer in a directory that stays.
pub const UPPER: &CStr = c"upper";
/// The work directory beside it. overlayfs empties what is in it: nobody has anything else of this name.
pub const WORK: &CStr = c".brisk-work";
/// Who has the directory, which the runtime makes before.
pub const HOLDER: &CStr = c".brisk-holder";
/// What is in a directory that is there for nothing else than an overlay. A file system that was made for it has the last.
pub const OURS: [&CStr; 3] = [WORK, HOLDER, c"lost+found"];

/// Whether others than its owner may write to a directory of this mode: they could change the layer under the kernel, and put
/// links in the place of what is in it.
pub const fn others_write(mode: u32) -> bool {
    mode & 0o022 != 0
}

/// Whether others than its owner may enter a directory of this mode. A program with the set-user-ID bit that a container
/// leaves below would make whoever runs it on the host its owner, which is root (CVE-2021-41091 of Docker's own directory).
pub const fn others_enter(mode: u32) -> bool {
    mode & 0o077 != 0
}

/// What is said of a directory that [`others_write`] to, or that is not the container's root's.
pub const NOT_THEIRS_ALONE: &str = "the directory must belong to the container's root, and others not write to it";

/// What is said of a directory that [`others_enter`] for something else: /home, / itself. It is not closed to them.
pub const IS_USED: &str =
    "the directory has other files: one that only its owner may enter, or an empty one, is needed";

/// What is mounted in a namespace that is not the container's own would stay there.
pub(super) fn check(input: &Input<'_>) -> Result<()> {
    if input.overlay.is_some() && !input.namespaces.is_new(NamespaceKind::Mount) {
        return Err(Error::of_field(
            Stage::Bundle,
            "annotations",
            format!("{OVERLAY} needs a mount namespace of the container's own"),
        ));
    }
    Ok(())
}

/// Plans the overlay, if one is asked for. `root` is the path of the root.
pub(super) fn plan(input: &Input<'_>, draft: &mut Draft, root: &str) -> Result<()> {
    let Some(overlay) = &input.overlay else { return Ok(()) };
    let refuse = |what: String| Err(Error::of_field(Stage::Bundle, "annotations", what));
    if input.options.enter == Enter::Move {
        // The root that it covers would stay (`mounts::plan`).
        return refuse(format!("{OVERLAY} cannot be had with --no-pivot"));
    }
    if overlay.lower.len() > MAX_LOWER {
        return refuse(format!("{OVERLAY_LOWER} has {} paths, more than {MAX_LOWER}", overlay.lower.len()));
    }
    if overlay.idmap && input.takes != Taker::ParentInCopy {
        return refuse(format!("{OVERLAY_IDMAP} needs root, and a user namespace"));
    }
    let idmap =
        if overlay.idmap { Some(IdMapOption { reach: Reach::One, uids: Vec::new(), gids: Vec::new() }) } else { None };
    let idmap = idmap.map(|idmap| idmap::open(input, &Mount::default(), &idmap, draft)).transpose()?;
    let mut layer = |path: &str, field: &str| -> Result<MountSource> {
        let path = host_path(&input.options.bundle, path);
        let path = c_string(path.as_os_str().as_bytes(), field)?;
        Ok(draft.layer(input, HostTree { path, reach: Reach::One, end: EndLink::Keep, idmap }))
    };
    // As it is on the disk its files would belong to nobody.
    let mapped_root = if overlay.idmap { Some(layer(root, "root.path")?) } else { None };
    let lower = overlay.lower.iter().map(|path| layer(path, OVERLAY_LOWER)).collect::<Result<Vec<_>>>()?;
    let (upper, size, text) = match &overlay.upper {
        Upper::Tmpfs(None) => (None, None, "a tmpfs".to_owned()),
        Upper::Tmpfs(Some(bytes)) => {
            (None, Some(c_string(bytes.to_string(), OVERLAY)?), format!("a tmpfs of {bytes} bytes"))
        }
        Upper::Dir(path) => (Some(layer(path, OVERLAY)?), None, path.clone()),
    };
    // From inside the upper layer: nothing that anybody else has named is looked up, and no name needs escapes.
    let up = if upper.is_some() { "../.." } else { ".." };
    let mut layers = format!("{up}/0");
    for number in 1..=lower.len() {
        write!(layers, ":{up}/{number}").map_err(|_| Error::new(Stage::Bundle, OVERLAY_LOWER))?;
    }
    let below: String = overlay.lower.iter().map(|path| format!(", {path}")).collect();
    let mapped = if overlay.idmap { ", id-mapped" } else { "" };
    let may_index = !input.in_userns() && input.host.bounding & CAP_DAC_READ_SEARCH != 0;
    let in_use = match (may_index, &upper) {
        (true, None) => InUse::Itself,
        (true, Some(_)) => InUse::Another,
        (false, Some(_)) => InUse::ItselfUpper,
        (false, None) => InUse::NotAsked,
    };
    draft.setup.push(SetupOp::Overlay(Box::new(OverlayOp {
        mapped_root,
        lower,
        upper,
        size,
        all_layers: c_string(format!(".:{layers}"), OVERLAY)?,
        layers: c_string(layers, OVERLAY)?,
        in_use,
        userxattr: input.in_userns(),
        size_asked: input.options.overlay_size == OverlaySize::Asked,
        text: format!("{text} over the root{below}{mapped}"),
    })));
    Ok(())
}
