//! Which containers a name or a regular expression means.

use std::ffi::CString;

use nix::errno::Errno;

use crate::container::options::Selection;
use crate::error::{Error, Result, Stage};
use crate::state::StateRoot;
use crate::sys::regex::Regex;

/// The names that are meant. Those of an expression may be none.
pub fn select(root: &StateRoot, which: &Selection) -> Result<Vec<String>> {
    let Selection { name: pattern, regex } = which;
    if !regex {
        return Ok(vec![pattern.clone()]);
    }
    let invalid = || Error::new(Stage::Args, format!("{pattern:?} is not a POSIX extended regular expression"));
    let regex = CString::new(pattern.as_str()).ok().and_then(|pattern| Regex::new(&pattern)).ok_or_else(invalid)?;
    // A valid name has no NUL byte.
    let matches = |id: &String| CString::new(id.as_str()).is_ok_and(|id| regex.is_match(&id));
    let ids = match root.ids() {
        Err(error) if error.root_errno() == Some(Errno::ENOENT) => Vec::new(),
        ids => ids?,
    };
    Ok(ids.into_iter().filter(matches).collect())
}

/// Does `work` on each; goes on after a failure and returns the first.
pub fn each(ids: &[String], warn: &dyn Fn(&str), mut work: impl FnMut(&str) -> Result<()>) -> Result<()> {
    let mut first = Ok(());
    for id in ids {
        match (work(id), &first) {
            (Err(error), Ok(())) => first = Err(error),
            (Err(error), Err(_)) => warn(&format!("{id}: {error}")),
            (Ok(()), _) => {}
        }
    }
    first
}
