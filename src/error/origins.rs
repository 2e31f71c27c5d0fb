//! Who has said the fields that an error may be about, where that is not config.json: flags, and other files. Pure.

use super::{Cause, Error, Result};

/// The fields that somebody has said.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FieldOrigin {
    path: Box<str>,
    /// The flag or file.
    who: Box<str>,
    /// How much of the path is not theirs: the rest is a field of the file.
    above: usize,
}

/// Fields, and the flag or file that has put each of them into the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(Vec<FieldOrigin>);

impl Origins {
    /// What stands in a file, of which the whole is the field `above`.
    pub fn of_file(above: &str, file: impl Into<Box<str>>) -> Origins {
        Origins(vec![FieldOrigin { path: above.into(), who: file.into(), above: above.len() }])
    }

    /// What is at this path, and below it, `who` has said, unless somebody who was added before has.
    pub fn add(&mut self, path: impl Into<Box<str>>, who: impl Into<Box<str>>) {
        let path = path.into();
        self.0.push(FieldOrigin { above: path.len(), path, who: who.into() });
    }

    /// [`Origins::of_file`] for some fields alone.
    pub fn add_of_file(&mut self, above: &str, fields: &[(&str, bool)], file: &str) {
        for (field, _) in fields.iter().filter(|(_, given)| *given) {
            self.0.push(FieldOrigin { path: format!("{above}.{field}").into(), who: file.into(), above: above.len() });
        }
    }

    /// Rows of a path, who has said it, and whether that was given.
    pub fn add_given(&mut self, rows: &[(&str, &str, bool)]) {
        rows.iter().filter(|(.., given)| *given).for_each(|(path, who, _)| self.add(*path, *who));
    }

    /// The items of a list from this one on.
    pub fn add_items(&mut self, list: &str, items: std::ops::Range<usize>, who: &str) {
        items.for_each(|index| self.add(format!("{list}[{index}]"), who));
    }

    /// With what others have said.
    pub fn extend(&mut self, others: Origins) {
        self.0.extend(others.0);
    }

    /// This error as one of what somebody has said, if it is about a field of theirs: nobody has written the file whose field it is,
    /// nor the line of it that was shown.
    #[must_use]
    pub fn name(&self, mut error: Error) -> Error {
        if let Some(field) = &mut error.field {
            let is_of = |path: &str| {
                let rest = field.path.strip_prefix(path);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            };
            if let Some(FieldOrigin { who, above, .. }) = self.0.iter().find(|origin| is_of(&origin.path)) {
                field.said_by = Some((who.clone(), *above));
                error.excerpt = None;
            }
        } else if let Some(Cause::Error(inner)) = error.cause {
            error.cause = Some(Cause::Error(Box::new(self.name(*inner))));
        }
        error
    }
}

/// Says who has said what an error is about.
pub trait SaidBy {
    /// [`Origins::name`]; they are only asked for on failure.
    #[must_use]
    fn said_by(self, origins: impl FnOnce() -> Origins) -> Self;
}

impl<T> SaidBy for Result<T> {
    fn said_by(self, origins: impl FnOnce() -> Origins) -> Self {
        self.map_err(|error| origins().name(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Context, Stage};

    #[test]
    fn what_a_flag_has_said_has_no_line() {
        let of = |path: &str| {
            let error = Error::of_field(Stage::Cgroup, path, "too large").with_excerpt("1 | {}\n".to_owned());
            let error = Err::<(), _>(error).at(Stage::State, || "create web1").unwrap_err();
            let mut origins = Origins::default();
            origins.add("linux.resources.pids.limit", "--pids");
            origins.name(error)
        };
        let error = of("linux.resources.pids.limit");
        assert_eq!(
            (error.to_string().as_str(), error.excerpt()),
            ("state: create web1: cgroup: --pids: too large", None)
        );
        assert!(of("linux.resources.cpu").excerpt().is_some());
    }
}
