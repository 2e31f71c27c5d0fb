//! What is said of a bundle that does not fit.

use serde::Serialize;

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// `create` or `start` fails.
    Error,
    /// Something is otherwise than asked, or may be.
    Warning,
}

/// Something of a bundle that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Misfit {
    /// How bad it is.
    pub severity: Severity,
    /// The field of config.json, as `mounts[2].source`; empty where it is about no single one.
    pub field: String,
    /// Its line in config.json.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// What is wrong.
    pub what: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Misfit {
    pub(super) fn new(severity: Severity, field: impl Into<String>, what: impl Into<String>) -> Misfit {
        Misfit { severity, field: field.into(), line: None, what: what.into(), hint: None }
    }

    pub(super) fn error(field: impl Into<String>, what: impl Into<String>) -> Misfit {
        Misfit::new(Severity::Error, field, what)
    }

    pub(super) fn warning(field: impl Into<String>, what: impl Into<String>) -> Misfit {
        Misfit::new(Severity::Warning, field, what)
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Misfit {
        Misfit { hint: Some(hint.into()), ..self }
    }
}
