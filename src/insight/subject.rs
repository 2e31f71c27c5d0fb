//! A container, whoever has made it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use brisk::cgroup::{Cgroup, Saved};
use brisk::cli::filter::ListFilter;
use brisk::error::Result;
use brisk::spec::status::Status;
use brisk::state::ProcessId;

/// Who has made a container, as its state tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuntimeKind {
    Brisk,
    Runc,
    Crun,
}

impl RuntimeKind {
    pub fn name(self) -> &'static str {
        match self {
            RuntimeKind::Brisk => "brisk",
            RuntimeKind::Runc => "runc",
            RuntimeKind::Crun => "crun",
        }
    }
}

/// A container, as far as its state tells.
#[derive(Clone, Debug)]
pub struct Subject {
    pub id: String,
    pub maker: RuntimeKind,
    /// The directory that its state is in.
    pub root: PathBuf,
    pub status: Status,
    /// Its first process, while that runs.
    pub init: Option<ProcessId>,
    pub created: String,
    pub bundle: String,
    /// The path of its root.
    pub rootfs: PathBuf,
    pub owner: String,
    pub annotations: BTreeMap<String, String>,
    pub cgroup: Option<Saved>,
}

impl Subject {
    /// Its cgroup; `None` where it has none, or none any more.
    pub fn open_cgroup(&self) -> Result<Option<Cgroup>> {
        let opened = self.cgroup.as_ref().map(Cgroup::open).transpose()?;
        Ok(opened.filter(|cgroup| !cgroup.is_empty()))
    }

    pub fn is_wanted(&self, filters: &[ListFilter]) -> bool {
        let field = |name: &str| {
            Some(Cow::Borrowed(match name {
                "id" => self.id.as_str(),
                "status" => self.status.name(),
                "bundle" => &self.bundle,
                "owner" => &self.owner,
                "runtime" => self.maker.name(),
                _ => return None,
            }))
        };
        let annotation = |name: &str| self.annotations.get(name).map(String::as_str);
        filters.iter().all(|filter| filter.holds(field, annotation))
    }
}
