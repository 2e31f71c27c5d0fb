//! What a runtime left behind: cgroups, mounts, processes and files that carry the name of one test container.

use std::fs;
use std::io::Result;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Cgroups whose name contains `mark`, and what is below them, deepest first.
pub fn cgroups(mark: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(Path::new("/sys/fs/cgroup"), mark, 0, &mut found);
    found.reverse();
    found
}

/// A machine may have thousands of cgroups with forty files each: whatever has no directory in it is not read.
fn walk(dir: &Path, mark: &str, depth: usize, found: &mut Vec<PathBuf>) {
    // Of a cgroup, as of a tmpfs, the links count the directories in it: its name, its `.`, and each one's `..`.
    if depth > 5 || fs::metadata(dir).is_ok_and(|dir| dir.nlink() == 2) {
        return;
    }
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = entry.path();
        // crun without cgroup2 leaves plain directories with a plain cgroup.procs in the tmpfs; they are not cgroups.
        let is_cgroup = || path.join("tasks").exists() || path.join("cgroup.controllers").exists();
        if path.to_string_lossy().contains(mark) && is_cgroup() {
            found.push(path.clone());
        }
        walk(&path, mark, depth + 1, found);
    }
}

/// Removes them; the ones that would not go (busy) are returned.
pub fn remove_cgroups(mark: &str) -> Vec<PathBuf> {
    cgroups(mark).into_iter().filter(|path| fs::remove_dir(path).is_err()).collect()
}

/// Whatever on the host still names `id` or `dir`: mounts, cgroups, processes.
pub fn of(id: &str, dir: &Path) -> Vec<String> {
    let dir = dir.to_string_lossy();
    let mut found: Vec<String> = mounts(&dir).unwrap().iter().map(|line| format!("mount: {line}")).collect();
    found.extend(cgroups(id).iter().map(|path| format!("cgroup: {}", path.display())));
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let file = |name: &str| fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        let command = file("cmdline").replace('\0', " ");
        // A zombie is its new parent's to reap, that is the host's init.
        let names = file("cgroup").contains(id) || command.contains(&*dir);
        if names && pid.cast_unsigned() != std::process::id() && !is_zombie(pid) {
            found.push(format!("process {pid}: {command}"));
        }
    }
    found
}

/// Removes what [`of`] found, so that one failure does not follow the machine around.
pub fn clean_up(found: &[String]) {
    for line in found {
        if let Some(rest) = line.strip_prefix("process ")
            && let Some(pid) = rest.split(':').next().and_then(|pid| pid.parse().ok())
        {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    for path in found.iter().filter_map(|line| line.strip_prefix("cgroup: ")) {
        // A process that was killed is in it until it has ended.
        for _ in 0..100 {
            if fs::remove_dir(path).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Lines of this namespace's mount table that contain `mark`.
pub fn mounts(mark: &str) -> Result<Vec<String>> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(table.lines().filter(|line| line.contains(mark)).map(str::to_owned).collect())
}

/// How many mounts there are in all: catches those that carry no mark.
pub fn mount_count() -> Result<usize> {
    Ok(fs::read_to_string("/proc/self/mountinfo")?.lines().count())
}

/// Direct children of this process (as a subreaper: also every orphan of a runtime), zombies not counted.
pub fn children() -> Result<Vec<i32>> {
    Ok(all_children()?.into_iter().filter(|pid| !is_zombie(*pid)).collect())
}

/// Direct children of this process that have ended and were not reaped yet.
pub fn zombies() -> Result<Vec<i32>> {
    Ok(all_children()?.into_iter().filter(|pid| is_zombie(*pid)).collect())
}

fn all_children() -> Result<Vec<i32>> {
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
