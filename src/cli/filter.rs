//! `--filter`: which containers are shown.

use std::borrow::Cow;
use std::ffi::OsStr;

use super::put::{Put, PutResult};

/// One condition; where several are given all of them have to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListFilter {
    field: String,
    matching: Matching,
    value: String,
}

/// How the text of a field is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Matching {
    Equal,
    Contains,
}

/// What may be asked for; any annotation besides.
const FIELDS: [&str; 5] = ["id", "status", "bundle", "owner", "runtime"];
/// What the name of an annotation stands behind.
const ANNOTATION: &str = "annotation.";

impl ListFilter {
    /// `FIELD=VALUE`, `FIELD~PART`, or a part of an id.
    pub fn parse(text: &str) -> Option<ListFilter> {
        let parted = text.find(['=', '~']).map(|at| (&text[..at], &text[at..=at], &text[at + 1..]));
        let (field, how, value) = parted.unwrap_or(("id", "~", text));
        let known = FIELDS.contains(&field) || field.strip_prefix(ANNOTATION).is_some_and(|name| !name.is_empty());
        let matching = if how == "=" { Matching::Equal } else { Matching::Contains };
        known.then(|| ListFilter { field: field.to_owned(), matching, value: value.to_owned() })
    }

    /// Whether it holds of what `get` has under the name of a field, and `annotation` under that of an annotation.
    pub fn holds<'a>(
        &self,
        get: impl Fn(&str) -> Option<Cow<'a, str>>,
        annotation: impl Fn(&str) -> Option<&'a str>,
    ) -> bool {
        let found = match self.field.strip_prefix(ANNOTATION) {
            Some(name) => annotation(name).map(Cow::Borrowed),
            None => get(&self.field),
        };
        found.is_some_and(|found| match self.matching {
            Matching::Equal => found == self.value,
            Matching::Contains => found.contains(&self.value),
        })
    }
}

impl Put for &mut Vec<ListFilter> {
    fn put(self, value: &OsStr) -> PutResult {
        let wanted =
            "FIELD=VALUE or FIELD~PART, with id, status, bundle, owner, runtime or annotation.NAME, or a part of an id";
        self.push(value.to_str().and_then(ListFilter::parse).ok_or(wanted)?);
        Ok(())
    }
}
