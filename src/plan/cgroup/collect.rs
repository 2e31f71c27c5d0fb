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
    /// A file the kernel must have.
    pub fn put(&mut self, file: &LimitFile, value: impl ToString) {
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

/// The refusal of a value.
pub fn refuse(what: impl Into<String>) -> Error {
    Error::new(Stage::Cgroup, what)
}
