//! The layers of an overlay over the root: whether they are there.

use std::path::Path;

use super::misfit::Misfit;
use crate::spec::annotations::{OVERLAY, OVERLAY_LOWER};
use crate::spec::overlay::{Overlay, Upper};

pub(super) fn misfits(overlay: &Overlay, bundle: &Path) -> Vec<Misfit> {
    let directory = match &overlay.upper {
        Upper::Dir(dir) => Some((OVERLAY, dir)),
        Upper::Tmpfs(_) => None,
    };
    let lower = overlay.lower.iter().map(|dir| (OVERLAY_LOWER, dir));
    lower.chain(directory).filter_map(|(key, dir)| misfit(key, &bundle.join(dir))).collect()
}

/// As it is taken: a link at the end is not followed.
fn misfit(key: &str, dir: &Path) -> Option<Misfit> {
    let what = match std::fs::symlink_metadata(dir) {
        Ok(found) if found.is_dir() => return None,
        Ok(_) => "is not a directory".to_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "does not exist".to_owned(),
        Err(error) => format!("cannot be looked at: {error}"),
    };
    let misfit = Misfit::error(format!("annotations.{key}"), format!("{} {what}, and is to be a layer", dir.display()));
    Some(misfit.hint("a path that does not begin with / is below the bundle"))
}

/// Whether the root alone says what the container will find: a layer below it, or one that an earlier container has written
/// to, may have more.
pub(super) fn hide_nothing(overlay: &Overlay) -> bool {
    overlay.lower.is_empty() && matches!(overlay.upper, Upper::Tmpfs(_))
}
