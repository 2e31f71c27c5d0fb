//! Why something is in a composed root, or is not.

/// Why something is in the root, or is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Bound.
    Bind,
    /// A link.
    Link,
    /// Not there, though something may ask for it.
    Absent,
}

impl Taken {
    /// Its word in a report.
    pub fn word(self) -> &'static str {
        match self {
            Taken::Bind => "bind",
            Taken::Link => "link",
            Taken::Absent => "absent",
        }
    }
}

/// A line of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportRow {
    /// What became of it.
    pub taken: Taken,
    /// The path, or the name of a library.
    pub what: String,
    /// Why, or where to.
    pub why: String,
}
