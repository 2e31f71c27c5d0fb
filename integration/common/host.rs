//! The machine: where to work, which cgroup layout it has, and what a container may have left on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// The directory all tests work below.
pub fn work_dir() -> PathBuf {
    std::env::var_os("BRISK_TEST_TMP").map_or_else(std::env::temp_dir, PathBuf::from)
}

/// A name no other test of any run on this machine has now.
pub fn unique_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("brisktest-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The statically built probe program.
pub fn probe() -> PathBuf {
    if let Some(path) = std::env::var_os("BRISK_PROBE") {
        return PathBuf::from(path);
    }
    let exe = std::env::current_exe().unwrap();
    let path = exe.parent().unwrap().parent().unwrap().join("examples/probe");
    assert!(
        path.exists(),
        "{} is missing: cargo build --example probe (see Makefile), or set BRISK_PROBE",
        path.display()
    );
    path
}

/// How the host mounts its cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cgroups {
    /// One hierarchy per controller (and maybe an empty cgroup2).
    V1,
    /// cgroup2 only.
    V2,
}

impl Cgroups {
    pub fn detect() -> Self {
        if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() { Cgroups::V2 } else { Cgroups::V1 }
    }
}

/// Every directory of a cgroup at `path` (absolute, from the mount's root) that exists.
pub fn cgroup_dirs(path: &str) -> Vec<PathBuf> {
    let relative = path.trim_start_matches('/');
    let top = Path::new("/sys/fs/cgroup");
    let mut roots: Vec<PathBuf> = vec![top.to_path_buf()];
    roots.extend(fs::read_dir(top).into_iter().flatten().filter_map(|e| Some(e.ok()?.path())));
    roots.into_iter().map(|root| root.join(relative)).filter(|dir| dir.is_dir()).collect()
}

/// The directory of `controller` for the cgroup at `path`.
pub fn cgroup_dir(controller: &str, path: &str) -> PathBuf {
    let relative = path.trim_start_matches('/');
    match Cgroups::detect() {
        Cgroups::V1 => Path::new("/sys/fs/cgroup").join(controller).join(relative),
        Cgroups::V2 => Path::new("/sys/fs/cgroup").join(relative),
    }
}

/// True if containers can have limits of this controller, by its name in cgroup v2.
pub fn has_controller(name: &str) -> bool {
    let offered = |file: &str| fs::read_to_string(file).is_ok_and(|text| text.split_whitespace().any(|c| c == name));
    match Cgroups::detect() {
        Cgroups::V1 => {
            let v1 = if name == "io" { "blkio" } else { name };
            // On a hybrid host cgroup2 has what no v1 hierarchy has taken.
            cgroup_dir(v1, "/").exists() || offered("/sys/fs/cgroup/unified/cgroup.controllers")
        }
        Cgroups::V2 => offered("/sys/fs/cgroup/cgroup.controllers"),
    }
}

/// The cgroup v2 of a process, seen from this process's cgroup namespace: the only line that counts there.
pub fn unified_path(proc_cgroup: &str) -> &str {
    proc_cgroup.lines().find_map(|line| line.strip_prefix("0::")).unwrap()
}

/// The host's own namespaces of this process, as `readlink /proc/self/ns/KIND` prints them.
pub fn ns(kind: &str) -> String {
    ns_of("self", kind)
}

pub fn ns_of(pid: &str, kind: &str) -> String {
    fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap().to_string_lossy().into_owned()
}

/// True if this process is root on the host.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// True if this process has the capability with this number.
pub fn has_cap(number: u32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(line.trim(), 16).unwrap() >> number & 1 == 1
}

/// Whatever on the host still names `id` or `dir`: mounts, cgroups, processes.
pub fn leftovers(id: &str, dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let dir_text = dir.to_string_lossy().into_owned();
    for line in fs::read_to_string("/proc/self/mountinfo").unwrap().lines() {
        if line.contains(&dir_text) {
            found.push(format!("mount: {line}"));
        }
    }
    found.extend(cgroups_named(Path::new("/sys/fs/cgroup"), id, 4).iter().map(|p| format!("cgroup: {}", p.display())));
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        if pid.bytes().all(|b| b.is_ascii_digit()) && pid != std::process::id().to_string() {
            let file = |name: &str| fs::read_to_string(entry.path().join(name)).unwrap_or_default();
            let command = file("cmdline").replace('\0', " ");
            // A zombie is its new parent's to reap, that is the host's init.
            let status = file("status");
            let is_zombie = status.lines().any(|line| line.starts_with("State:\tZ"));
            if !is_zombie && (file("cgroup").contains(id) || command.contains(&dir_text)) {
                found.push(format!("process {pid}: {command}"));
            }
        }
    }
    found
}

fn cgroups_named(dir: &Path, id: &str, depth: u32) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|t| t.is_dir()) {
            continue;
        }
        let path = entry.path();
        // crun without cgroup2 leaves plain directories with a plain cgroup.procs in the tmpfs; they are not cgroups.
        let is_cgroup = path.join("tasks").exists() || path.join("cgroup.controllers").exists();
        if is_cgroup && entry.file_name().to_string_lossy().contains(id) {
            found.push(path);
        } else if depth > 1 {
            found.extend(cgroups_named(&path, id, depth - 1));
        }
    }
    found
}

/// Polls a condition that has no descriptor to wait for; panics at the time limit.
#[track_caller]
pub fn wait_until(mut condition: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + super::time_limit();
    while !condition() {
        assert!(std::time::Instant::now() < end, "time limit");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// The file of a program that may be given by a name to be looked up in PATH.
pub fn resolve_program(program: &Path) -> PathBuf {
    if program.components().count() > 1 {
        return program.to_path_buf();
    }
    let path = std::env::var_os("PATH").unwrap();
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.exists()).unwrap()
}

/// Removes what [`leftovers`] found, so that one failure does not follow the machine around.
pub fn clean_up(found: &[String]) {
    for line in found {
        if let Some(rest) = line.strip_prefix("process ")
            && let Some(pid) = rest.split(':').next().and_then(|pid| pid.parse().ok())
        {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL);
        }
    }
    for line in found {
        if let Some(path) = line.strip_prefix("cgroup: ") {
            for _ in 0..100 {
                if fs::remove_dir(path).is_ok() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
    }
}
