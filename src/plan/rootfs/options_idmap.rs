//! The option of an id-mapped mount: `idmap`, `ridmap`, and crun's form with ranges of its own. Pure; runs
//! in the parent.

use crate::error::{Error, Result, Stage};
use crate::plan::namespace::idmap::OptionRange;
use crate::plan::reach::Reach;

/// An id-mapped mount. Without ranges the mount's own mappings count, or the container's user namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdMapOption {
    /// `idmap` or `ridmap`.
    pub reach: Reach,
    /// Ranges of user ids.
    pub uids: Vec<OptionRange>,
    /// Ranges of group ids.
    pub gids: Vec<OptionRange>,
}

/// Reads `idmap=…` or `ridmap=…`; `None` for any other option.
pub(in crate::plan) fn parse(option: &str) -> Result<Option<IdMapOption>> {
    split(option).map(|(reach, ranges)| parse_idmap(option, reach, ranges)).transpose()
}

fn split(option: &str) -> Option<(Reach, &str)> {
    match option.strip_prefix("idmap=") {
        Some(ranges) => Some((Reach::One, ranges)),
        None => option.strip_prefix("ridmap=").map(|ranges| (Reach::Tree, ranges)),
    }
}

/// `uids=FROM-TO-SIZE#FROM-TO-SIZE;gids=…`; a range may start with `@`.
fn parse_idmap(option: &str, reach: Reach, text: &str) -> Result<IdMapOption> {
    let bad =
        || Error::new(Stage::Bundle, format!("mount option {option:?}: want uids=FROM-TO-SIZE;gids=FROM-TO-SIZE"));
    let mut idmap = IdMapOption { reach, uids: Vec::new(), gids: Vec::new() };
    for part in text.split(';').filter(|part| !part.is_empty()) {
        let (list, ranges) = match part.split_once('=') {
            Some(("uids", ranges)) => (&mut idmap.uids, ranges),
            Some(("gids", ranges)) => (&mut idmap.gids, ranges),
            _ => return Err(bad()),
        };
        for range in ranges.split('#') {
            list.push(parse_range(range).ok_or_else(bad)?);
        }
    }
    if idmap.uids.is_empty() && idmap.gids.is_empty() {
        return Err(bad());
    }
    Ok(idmap)
}

fn parse_range(text: &str) -> Option<OptionRange> {
    let (relative, text) = match text.strip_prefix('@') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let mut numbers = text.split('-').map(|number| number.parse::<u32>().ok());
    let range = OptionRange { from: numbers.next()??, to: numbers.next()??, size: numbers.next()??, relative };
    let fits = range.size > 0
        && range.from.checked_add(range.size).is_some()
        && range.to.checked_add(range.size).is_some()
        && numbers.next().is_none();
    fits.then_some(range)
}
