//! Container names.

use crate::error::{Error, Result, Stage};

/// Refuses a name that is not `[A-Za-z0-9_+-][A-Za-z0-9_+.-]*` (runc's rule, crun's since 1.28). What passes
/// is a single path component that is neither `.` nor `..` and fits a directory entry.
pub fn check_id(id: &str) -> Result<()> {
    if !is_plain(id) {
        return Err(Error::new(Stage::Args, format!("invalid container ID format: {id:?}"))
            .with_hint("an id is made of letters, digits and _ + - . and does not start with a dot"));
    }
    if id.len() > 255 {
        return Err(Error::new(Stage::Args, format!("container id of {} bytes is longer than 255", id.len())));
    }
    Ok(())
}
/// Refuses a pool's name where that of a member, which begins with it, could not be a container's.
pub fn check_pool_name(name: &str) -> Result<()> {
    if !is_plain(name) {
        return Err(Error::new(Stage::Args, format!("invalid pool name: {name:?}"))
            .with_hint("a name is made of letters, digits and _ + - . and does not start with a dot"));
    }
    if name.len() > 200 {
        return Err(Error::new(Stage::Args, format!("pool name of {} bytes is longer than 200", name.len())));
    }
    Ok(())
}

fn is_plain(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-".contains(&byte);
    match id.as_bytes() {
        [first, rest @ ..] => plain(*first) && rest.iter().all(|byte| plain(*byte) || *byte == b'.'),
        [] => false,
    }
}
