//! Which brisk this is.

pub use crate::spec::VERSION as SPEC_VERSION;

/// The version of brisk.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit brisk was built from; set by the Makefile.
pub const COMMIT: &str = match option_env!("BRISK_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// What `--version` prints.
pub(super) fn text() -> String {
    format!("brisk version {VERSION}\ncommit: {COMMIT}\nspec: {SPEC_VERSION}\n")
}
