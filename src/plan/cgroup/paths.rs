//! Where the container's cgroup is in each hierarchy: linux.cgroupsPath and the layout in, directories out.
//! Pure.

use crate::error::{Error, Result, Stage};
use crate::host::cgroup::{Hierarchy, Layout, LayoutKind};
// No component of a cgroup path can be a link, so resolving by name is exact.
// `cgroup` cleans its paths by the same rule, and may not name the specification.
pub use crate::spec::path::clean;

use crate::plan::cgroup::options::CgroupOptions;
use crate::plan::cgroup::write::{CgroupDir, Version};

/// The directories of a container, v1 hierarchies first.
///
/// As runc: an absolute path is below the mount point of each hierarchy; a relative one, and the id when
/// there is none, is below this process's own cgroup. On cgroup2 it is beside the own cgroup instead: that one has
/// processes in it (this one), and only a cgroup without any may enable controllers for its children.
pub fn dirs(layout: &Layout, options: &CgroupOptions) -> Result<Vec<CgroupDir>> {
    let wanted = Wanted::new(options)?;
    let mut dirs: Vec<CgroupDir> = layout
        .v1
        .iter()
        .map(|hierarchy| CgroupDir {
            mount_point: hierarchy.mount_point.clone(),
            path: wanted.below(&hierarchy.own),
            controllers: match &hierarchy.name {
                Some(name) => vec![format!("name={name}")],
                None => hierarchy.controllers.clone(),
            },
            version: Version::V1,
        })
        .collect();
    if let Some(unified) = &layout.unified {
        dirs.push(CgroupDir {
            mount_point: unified.mount_point.clone(),
            path: wanted.below(unified_parent(layout.kind(), unified)),
            controllers: unified.controllers.clone(),
            version: Version::V2,
        });
    }
    Ok(dirs)
}

fn unified_parent(kind: LayoutKind, unified: &Hierarchy) -> &str {
    // Without controllers there is nothing to enable, so the own cgroup is as good a parent as on v1.
    if kind == LayoutKind::Hybrid && unified.controllers.is_empty() {
        return &unified.own;
    }
    unified.own.rsplit_once('/').map_or("", |(parent, _)| parent)
}

struct Wanted {
    absolute: bool,
    path: String,
}

impl Wanted {
    fn new(options: &CgroupOptions) -> Result<Wanted> {
        let path = options.cgroups_path.filter(|path| !path.is_empty());
        let text = path.unwrap_or(options.id);
        let absolute = path.is_some_and(|path| path.starts_with('/'));
        let path = clean(text);
        if path.is_empty() {
            return Err(Error::new(
                Stage::Cgroup,
                format!("linux.cgroupsPath {text:?} names no cgroup of its own for the container"),
            ));
        }
        if path.bytes().any(|b| b == b'\n' || b == 0) {
            return Err(Error::new(
                Stage::Cgroup,
                format!("linux.cgroupsPath {text:?} has a character that no cgroup name may have"),
            ));
        }
        Ok(Wanted { absolute, path })
    }

    fn below(&self, parent: &str) -> String {
        if self.absolute || parent.is_empty() { self.path.clone() } else { format!("{parent}/{}", self.path) }
    }
}
