//! Which containers are shown (`--filter`), and what of them (`list --format`).

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
/// What stands before the name of an annotation.
pub const ANNOTATION: &str = "annotation.";

impl ListFilter {
    /// `FIELD=VALUE`, `FIELD~PART`, or a part of an id. An empty text, which a script has that means one container, is none: it would be
    /// a part of every id.
    pub fn parse(text: &str) -> Option<ListFilter> {
        let parted = text.find(['=', '~']).map(|at| (&text[..at], &text[at..=at], &text[at + 1..]));
        let (field, how, value) = parted.unwrap_or(("id", "~", text));
        let known = (FIELDS.contains(&field) || is_annotation(field)) && !(value.is_empty() && how == "~");
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

/// How `list` prints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListFormat {
    /// runc's table.
    #[default]
    Table,
    /// JSON.
    Json,
    /// A table of these fields.
    Fields(Vec<String>),
}

impl ListFormat {
    /// What completions offer.
    pub const WORDS: &'static [&'static str] = &[
        "table", "json", "id", "pid", "status", "age", "exit", "reason", "owner", "bundle", "rootfs", "created",
        "finished",
    ];
}

impl Put for &mut ListFormat {
    fn put(self, value: &OsStr) -> PutResult {
        let wanted = "table, json, or fields such as id,status,age,annotation.NAME";
        *self = match value.to_str().ok_or(wanted)? {
            "table" => ListFormat::Table,
            "json" => ListFormat::Json,
            list => {
                let known = |field: &str| ListFormat::WORDS[2..].contains(&field) || is_annotation(field);
                let fields: Vec<String> = list.split(',').map(str::to_owned).collect();
                if !fields.iter().all(|field| known(field)) {
                    return Err(wanted.into());
                }
                ListFormat::Fields(fields)
            }
        };
        Ok(())
    }
}

fn is_annotation(field: &str) -> bool {
    field.strip_prefix(ANNOTATION).is_some_and(|name| !name.is_empty())
}

impl Put for &mut Vec<ListFilter> {
    fn put(self, value: &OsStr) -> PutResult {
        let wanted =
            "FIELD=VALUE or FIELD~PART, with id, status, bundle, owner, runtime or annotation.NAME, or a part of an id";
        self.push(value.to_str().and_then(ListFilter::parse).ok_or(wanted)?);
        Ok(())
    }
}
