//! Which brisk this is.

pub use crate::spec::VERSION as SPEC_VERSION;
pub use crate::state::COMMIT;

/// The version of brisk.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What `--version` prints.
pub(super) fn text() -> String {
    format!("brisk version {VERSION}\ncommit: {COMMIT}\nspec: {SPEC_VERSION}\n")
}
