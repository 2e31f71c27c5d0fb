//! What settings come to, as it is collected.

use crate::error::{Error, Stage};
use crate::plan::cgroup::files::LimitFile;
use crate::plan::cgroup::write::{UsageCheck, WhenMissing, Write};

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

impl Limits {
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

    /// A file the kernel may lack.
    pub fn put_or(&mut self, file: &LimitFile, value: impl ToString, missing: WhenMissing) {
        self.named(file.controller(), file.name, value, missing);
    }

    /// A file that there is for each size of huge pages.
    pub fn put_sized(&mut self, file: &LimitFile, size: &str, value: impl ToString, missing: WhenMissing) {
        self.named(file.controller(), &file.sized(size), value, missing);
    }

    /// A file that `linux.resources.unified` names.
    pub fn put_unified(&mut self, controller: &str, file: &str, value: &str) {
        self.named(controller, file, value, WhenMissing::Fail);
    }

    fn named(&mut self, controller: &str, file: &str, value: impl ToString, missing: WhenMissing) {
        self.writes.push(Write {
            controller: controller.to_owned(),
            file: file.to_owned(),
            value: value.to_string(),
            missing,
        });
    }

    /// A setting that has no effect.
    pub fn warn(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }
}

/// The refusal of a value of `linux.resources`: `field` is its path there.
pub fn refuse(field: &str, what: impl Into<String>) -> Error {
    Error::of_field(Stage::Cgroup, format!("linux.resources.{field}"), what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::cgroup::files::{ALL, Zero};

    #[test]
    fn what_a_number_means_is_in_the_table() {
        for file in ALL {
            let put = |number: Option<i64>| {
                let mut limits = Limits::default();
                limits.put_number(file, number);
                limits.writes.pop().map(|write| write.value)
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
}
