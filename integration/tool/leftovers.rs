//! What a runtime left behind: cgroups, mounts, processes and files that carry the name of one test container.

use super::Res;
use std::fs;
use std::path::{Path, PathBuf};

/// Directories under the cgroup mounts whose name contains `mark`, deepest first.
pub fn cgroups(mark: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    if Path::new("/sys/fs/cgroup/cgroup.procs").exists() {
        walk(Path::new("/sys/fs/cgroup"), mark, 0, &mut found);
        found.reverse();
        return found;
    }
    for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
        if hierarchy.path().join("cgroup.procs").exists() {
            walk(&hierarchy.path(), mark, 0, &mut found);
        }
    }
    found.reverse();
    found
}

fn walk(dir: &Path, mark: &str, depth: usize, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = entry.path();
        if path.to_string_lossy().contains(mark) {
            found.push(path.clone());
        }
        if depth < 4 {
            walk(&path, mark, depth + 1, found);
        }
    }
}

/// Removes them; the ones that would not go (busy) are returned.
pub fn remove_cgroups(mark: &str) -> Vec<PathBuf> {
    cgroups(mark).into_iter().filter(|path| fs::remove_dir(path).is_err()).collect()
}

/// Lines of this namespace's mount table that contain `mark`.
pub fn mounts(mark: &str) -> Res<Vec<String>> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(table.lines().filter(|line| line.contains(mark)).map(str::to_owned).collect())
}

/// How many mounts there are in all: catches those that carry no mark.
pub fn mount_count() -> Res<usize> {
    Ok(fs::read_to_string("/proc/self/mountinfo")?.lines().count())
}

/// Direct children of this process (as a subreaper: also every orphan of a runtime), zombies not counted.
pub fn children() -> Res<Vec<i32>> {
    Ok(all_children()?.into_iter().filter(|pid| !is_zombie(*pid)).collect())
}

/// Direct children of this process that have ended and were not reaped yet.
pub fn zombies() -> Res<Vec<i32>> {
    Ok(all_children()?.into_iter().filter(|pid| is_zombie(*pid)).collect())
}

fn all_children() -> Res<Vec<i32>> {
    let own = std::process::id();
    let list = fs::read_to_string(format!("/proc/{own}/task/{own}/children"))?;
    Ok(list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect())
}

fn is_zombie(pid: i32) -> bool {
    run_state(pid).is_none_or(|state| state == 'Z' || state == 'X')
}

/// The letter of proc_pid_stat(5); `None` when there is no such process.
pub fn run_state(pid: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next())
}

/// Entries below `dir`, relative, sorted.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![dir.to_path_buf()];
    while let Some(next) = todo.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                todo.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    found.sort();
    found
}
