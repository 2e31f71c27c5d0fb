//! Values of which only some are taken, whatever type the field is of.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::put::{Put, PutResult};

/// A variable of an environment, each time one more.
pub struct Variable<'a, T>(pub &'a mut Vec<T>);

impl<'a, T> Put for Variable<'a, T>
where
    &'a mut Vec<T>: Put,
{
    fn put(self, value: &OsStr) -> PutResult {
        if value.as_bytes().iter().position(|byte| *byte == b'=').is_none_or(|end| end == 0) {
            return Err("NAME=VALUE".into());
        }
        self.0.put(value)
    }
}

/// A path in the container, where nothing says what another one would count from.
pub struct AbsolutePath<'a, T>(pub &'a mut Option<T>);

impl<'a, T> Put for AbsolutePath<'a, T>
where
    &'a mut Option<T>: Put,
{
    fn put(self, value: &OsStr) -> PutResult {
        if !value.is_empty() && !value.as_bytes().starts_with(b"/") {
            return Err("an absolute path".into());
        }
        self.0.put(value)
    }
}
