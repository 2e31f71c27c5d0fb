//! Which brisk this is.

use crate::spec::VERSION as SPEC_VERSION;
use crate::state::COMMIT;

/// The version of brisk.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What `--version` prints.
pub(super) fn text() -> String {
    format!("brisk version {VERSION}\ncommit: {COMMIT}\nspec: {SPEC_VERSION}\n")
}
