//! The layers of an overlay over the root: whether they are there.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::misfit::Misfit;
use crate::plan::rootfs::overlay::UPPER;
use crate::spec::annotations::{OVERLAY, OVERLAY_LOWER};
use crate::spec::overlay::{Overlay, Upper};
use crate::state::identity;

pub(super) fn misfits(overlay: &Overlay, root: &Path, bundle: &Path) -> Vec<Misfit> {
    let directory = match &overlay.upper {
        Upper::Dir(dir) => Some((OVERLAY, bundle.join(dir))),
        Upper::Tmpfs(_) => None,
    };
    let lower = overlay.lower.iter().map(|dir| (OVERLAY_LOWER, bundle.join(dir)));
    let named: Vec<(&str, PathBuf)> = lower.chain(directory).collect();
    let mut found: Vec<Misfit> = named.iter().filter_map(|(key, dir)| misfit(key, dir)).collect();
    if found.is_empty() {
        found.extend(entangled(root, &named));
    }
    found
}

/// Device and inode of a directory.
type Id = (u64, u64);

/// A layer that is named twice, or that is in another: the kernel takes neither.
fn entangled(root: &Path, named: &[(&str, PathBuf)]) -> Option<Misfit> {
    let mut before = vec![above(root)];
    for (key, dir) in named {
        let (chain, shown) = (above(dir), dir.display());
        let own = chain.first()?;
        // Of a directory that stays a part is the upper layer.
        let outer = if *key == OVERLAY { identity(&dir.join(OsStr::from_bytes(UPPER.to_bytes()))) } else { Some(*own) };
        for other in &before {
            let how = match other.first() {
                Some(others) if others == own => "is named twice",
                Some(others) if chain.contains(others) => "is in another layer",
                _ if outer.is_some_and(|outer| other.contains(&outer)) => "has another layer in it",
                _ => continue,
            };
            return Some(Misfit::error(format!("annotations.{key}"), format!("{shown} {how}")));
        }
        before.push(chain);
    }
    None
}

/// A directory and those above it in its file system, of which alone a layer is.
fn above(dir: &Path) -> Vec<Id> {
    let mut chain: Vec<Id> = Vec::new();
    let mut path = dir.to_path_buf();
    while let Some(found) = identity(&path) {
        // Above the topmost one is itself.
        if chain.last() == Some(&found) || chain.first().is_some_and(|first| first.0 != found.0) {
            break;
        }
        chain.push(found);
        path.push("..");
    }
    chain
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
