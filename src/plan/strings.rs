//! Text and paths of config.json as the kernel takes them.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result, Stage};

/// Text as a C string; a NUL byte is refused with the name of the field.
pub(super) fn c_string(text: impl Into<Vec<u8>>, field: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::new(Stage::Bundle, format!("{field} contains a NUL byte")))
}

/// A path of the host: absolute, or counted from the bundle.
pub(super) fn host_path(bundle: &Path, path: &str) -> PathBuf {
    bundle.join(path)
}
