//! What settings come to, as it is collected.

use crate::error::{Error, Result, Stage};
use crate::plan::cgroup::files::{Elsewhere, LimitFile};
use crate::plan::cgroup::write::{UsageCheck, Version, WhenMissing, Write};

/// What a group of settings comes to.
#[derive(Debug, Default)]
pub struct Limits {
    /// The writes, in order.
    pub writes: Vec<Write>,
    /// What must hold before they are made.
    pub checks: Vec<UsageCheck>,
    /// Settings without effect here.
    pub warnings: Vec<String>,
}

/// Gathers what the settings of one controller come to, where a version has it.
#[derive(Debug)]
pub struct Collector {
    version: Version,
    limits: Limits,
    refused: Option<Error>,
}

impl Collector {
    /// For this version.
    pub fn new(version: Version) -> Collector {
        Collector { version, limits: Limits::default(), refused: None }
    }

    /// What it has come to, or the first error.
    pub fn done(self) -> Result<Limits> {
        self.refused.map_or(Ok(self.limits), Err)
    }

    /// The number that config.json asks for, if it asks for any: what 0 and no limit mean is in the table of files. A file the
    /// kernel must have.
    pub fn put_number<N>(&mut self, file: &LimitFile, number: Option<N>)
    where
        N: Copy + PartialEq + From<u8> + Into<i128>,
    {
        if let Some(number) = file.given(number) {
            self.put_text(file, file.text(number));
        }
    }

    /// A value as the file has it. A file the kernel must have.
    pub fn put_text(&mut self, file: &LimitFile, value: impl ToString) {
        self.put_or(file, value, WhenMissing::Fail);
    }

    /// A file the kernel may lack. Where the other version has the controller, the table says what becomes of the value. Of two files that
    /// are twins the caller puts the one of this version; the other is written as it is, and the kernel knows none of that name.
    pub fn put_or(&mut self, file: &LimitFile, value: impl ToString, missing: WhenMissing) {
        match file.elsewhere(self.version) {
            Elsewhere::Ignored(warning) => self.warn(warning),
            Elsewhere::Refused(field, what) => drop(self.refused.get_or_insert_with(|| refuse(field, what))),
            Elsewhere::Nowhere | Elsewhere::Twin(_) | Elsewhere::ByName => {
                self.write(file.controller(), file.name, value, missing);
            }
        }
    }

    /// A file that there is for each size of huge pages.
    pub fn put_sized(&mut self, file: &LimitFile, size: &str, value: impl ToString, missing: WhenMissing) {
        self.write(file.controller(), &file.sized(size), value, missing);
    }

    /// A file that `linux.resources.unified` names.
    pub fn put_unified(&mut self, controller: &str, file: &str, value: &str) {
        self.write(controller, file, value, WhenMissing::Fail);
    }

    fn write(&mut self, controller: &str, file: &str, value: impl ToString, missing: WhenMissing) {
        self.limits.writes.push(Write {
            controller: controller.to_owned(),
            file: file.to_owned(),
            value: value.to_string(),
            missing,
        });
    }

    /// What must hold before the writes are made.
    pub fn check(&mut self, check: UsageCheck) {
        self.limits.checks.push(check);
    }

    /// A setting that has no effect: said once.
    pub fn warn(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.limits.warnings.contains(&text) {
            self.limits.warnings.push(text);
        }
    }
}

/// The refusal of a value of `linux.resources`: `field` is its path there.
pub fn refuse(field: &str, what: impl Into<String>) -> Error {
    Error::of_field(Stage::Cgroup, format!("linux.resources.{field}"), what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::cgroup::files::{ALL, BLKIO_BFQ_WEIGHT_DEVICE, BLKIO_WEIGHT_DEVICE, CFS_PERIOD, Zero};

    #[test]
    fn what_a_number_means_is_in_the_table() {
        for file in ALL {
            let put = |number: Option<i64>| {
                let mut out = Collector::new(file.version.unwrap_or(Version::V2));
                out.put_number(file, number);
                out.done().unwrap().writes.pop().map(|write| write.value)
            };
            let zero = match file.zero {
                Zero::Unset => None,
                Zero::One => Some("1"),
                Zero::Itself => Some("0"),
                Zero::NoLimit => file.unlimited,
            };
            assert_eq!(put(Some(0)).as_deref(), zero, "{}", file.name);
            assert_eq!(put(Some(-1)).as_deref(), file.unlimited.or(Some("-1")), "{}", file.name);
            assert_eq!(put(Some(7)).as_deref(), Some("7"), "{}", file.name);
            assert_eq!(put(None), None, "{}", file.name);
        }
    }

    /// A value that one version has no file for is neither lost nor written to nothing: another file has it, or it is told.
    #[test]
    fn a_value_is_told_where_the_other_version_has_no_file_for_it() {
        for file in ALL {
            let Some(own) = file.version else { continue };
            let other = if own == Version::V1 { Version::V2 } else { Version::V1 };
            let mut out = Collector::new(other);
            out.put_text(file, 7);
            let twin = |name: &str| ALL.iter().find(|twin| twin.name == name);
            match file.elsewhere(other) {
                Elsewhere::Ignored(warning) => {
                    let limits = out.done().unwrap();
                    assert_eq!((limits.writes, limits.warnings), (vec![], vec![warning.to_owned()]), "{}", file.name);
                }
                Elsewhere::Refused(field, _) => {
                    let error = out.done().unwrap_err();
                    assert_eq!(error.field(), Some(format!("linux.resources.{field}").as_str()), "{}", file.name);
                }
                Elsewhere::Twin(name) => {
                    let twin = twin(name).unwrap_or_else(|| panic!("{}: there is no row of {name}", file.name));
                    assert_eq!(twin.version, Some(other), "{}: {name} is not of the other version", file.name);
                    // Files of v2 that have in one what v1 has in two.
                    let part = [CFS_PERIOD, BLKIO_WEIGHT_DEVICE, BLKIO_BFQ_WEIGHT_DEVICE].contains(file);
                    assert!(part || twin.field == file.field, "{} and {name} are of two fields", file.name);
                }
                Elsewhere::ByName => assert_eq!((own, file.field), (Version::V2, None), "{}", file.name),
                Elsewhere::Nowhere => panic!("{} is of both versions", file.name),
            }
        }
    }
}
