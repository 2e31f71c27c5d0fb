//! Text and paths of config.json as the kernel takes them.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result, Stage};
use crate::spec::Spec;

/// Text as a C string; a NUL byte is refused with the name of the field.
pub(super) fn c_string(text: impl Into<Vec<u8>>, field: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::new(Stage::Bundle, format!("{field} contains a NUL byte")))
}

/// The container's root on the host.
pub(super) fn host_root(spec: &Spec, bundle: &Path) -> PathBuf {
    spec.root.as_ref().map(|root| host_path(bundle, &root.path)).unwrap_or_default()
}

/// A path of the host: absolute, or counted from the bundle.
pub(super) fn host_path(bundle: &Path, path: &str) -> PathBuf {
    bundle.join(path)
}
