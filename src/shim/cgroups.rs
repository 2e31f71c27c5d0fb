//! Where a container's cgroups are, from what the kernel says of its first process while that lives.

use std::io;
use std::path::{Path, PathBuf};

use super::os;

/// The cgroups of a container.
#[derive(Clone, Debug, Default)]
pub struct Cgroups {
    /// /proc/PID/cgroup: a line `number:controllers:path` for each hierarchy.
    table: String,
    v2: bool,
}

impl Cgroups {
    /// The cgroups of a process.
    pub fn of(pid: u32) -> io::Result<Cgroups> {
        let table = os::read_names(&format!("/proc/{pid}/cgroup"))?;
        // Where v1 hierarchies are mounted too, the controllers are theirs: containerd calls only the pure layout v2.
        let v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        Ok(Cgroups { table, v2 })
    }

    pub fn is_v2(&self) -> bool {
        self.v2
    }

    /// The directory of a controller; on v2 that of all.
    pub fn controller(&self, name: &str) -> Option<PathBuf> {
        let path = self.table.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            let found = if self.v2 {
                controllers.is_empty()
            } else {
                controllers.split(',').any(|controller| controller == name)
            };
            found.then_some(path)
        })?;
        if self.v2 {
            return Some(Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/')));
        }
        let mounts = os::read_names("/proc/self/mountinfo").ok()?;
        mounts.lines().find_map(|line| mounted(line, name, path))
    }
}

/// The directory of cgroup `path` when this line of mountinfo is the controller's hierarchy.
fn mounted(line: &str, controller: &str, path: &str) -> Option<PathBuf> {
    let (mount, fs) = line.split_once(" - ")?;
    let mut fs = fs.split(' ');
    let (kind, _source, options) = (fs.next()?, fs.next()?, fs.next()?);
    if kind != "cgroup" || !options.split(',').any(|option| option == controller) {
        return None;
    }
    let mut fields = mount.split(' ').skip(3);
    let (root, point) = (fields.next()?, fields.next()?);
    // A hierarchy of which only a part is mounted shows paths below that part.
    let below = Path::new(path).strip_prefix(root).ok()?;
    let directory = Path::new(point).join(below);
    directory.is_dir().then_some(directory)
}

/// A file of a cgroup as a number; `max` and what is not there count as `absent`.
pub fn number(directory: &Path, file: &str, absent: u64) -> u64 {
    let text = std::fs::read_to_string(directory.join(file)).unwrap_or_default();
    match text.trim() {
        "max" => u64::MAX,
        text => text.parse().unwrap_or(absent),
    }
}

/// A file of lines `key value`; empty when it is not there.
#[derive(Debug, Default)]
pub struct Table(String);

impl Table {
    pub fn read(directory: &Path, file: &str) -> Option<Table> {
        std::fs::read_to_string(directory.join(file)).ok().map(Table)
    }

    pub fn get(&self, key: &str) -> u64 {
        let value = self.0.lines().find_map(|line| line.split_once(' ').filter(|(name, _)| *name == key));
        value.and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0)
    }

    pub fn lines(&self) -> std::str::Lines<'_> {
        self.0.lines()
    }
}

/// Names of the hugetlb files' sizes, as `2MB`, from the files of a cgroup.
pub fn page_sizes(directory: &Path, usage: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let size = |name: String| Some(name.strip_prefix("hugetlb.")?.strip_suffix(usage)?.to_owned());
    let mut sizes: Vec<String> = names.filter_map(size).filter(|size| !size.contains('.')).collect();
    sizes.sort();
    sizes
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Table, mounted};

    #[test]
    fn a_hierarchy_is_found_by_its_controller() {
        let line = "33 25 0:28 / /proc rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct";
        assert_eq!(mounted(line, "cpu", "/self"), Some(Path::new("/proc/self").to_owned()));
        assert_eq!(mounted(line, "memory", "/self"), None);
        assert_eq!(
            mounted(&line.replace(" / ", " /docker "), "cpu", "/docker/self"),
            Some(Path::new("/proc/self").to_owned())
        );
        assert_eq!(mounted(&line.replace(" / ", " /docker "), "cpu", "/other"), None);
    }

    #[test]
    fn tables_are_read_by_key() {
        let table = Table("a 1\nab 22\nb x\n".to_owned());
        assert_eq!((table.get("a"), table.get("ab"), table.get("b"), table.get("c")), (1, 22, 0, 0));
    }
}
