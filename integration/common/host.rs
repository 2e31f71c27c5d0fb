//! The machine: where to work, which cgroup layout it has.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// The directory all tests work below.
pub fn work_dir() -> PathBuf {
    std::env::var_os("BRISK_TEST_TMP").map_or_else(std::env::temp_dir, PathBuf::from)
}

/// A name no other test of any run on this machine has now, and that no other name begins with.
pub fn unique_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("brisktest-{}-{:05}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
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

/// What is written for people: in the checkout, or with the fixtures, where only those were brought.
pub fn paper(path: &str) -> PathBuf {
    match std::env::var_os("BRISK_FIXTURES") {
        Some(dir) => Path::new(&dir).join(Path::new(path).file_name().unwrap()),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join(path),
    }
}

/// Whether the kernel is of this version or a later one.
pub fn kernel_is_at_least(major: u32, minor: u32) -> bool {
    let release = nix::sys::utsname::uname().unwrap().release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse::<u32>().ok());
    (numbers.next().unwrap(), numbers.next().unwrap()) >= (major, minor)
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

/// True if containers can have limits of this controller, by its name in cgroup v2; what it counts or freezes by itself is
/// called as on v1.
pub fn has_controller(name: &str) -> bool {
    let offered = |file: &str| fs::read_to_string(file).is_ok_and(|text| text.split_whitespace().any(|c| c == name));
    match Cgroups::detect() {
        Cgroups::V1 => {
            let v1 = if name == "io" { "blkio" } else { name };
            // On a hybrid host cgroup2 has what no v1 hierarchy has taken.
            cgroup_dir(v1, "/").exists() || offered("/sys/fs/cgroup/unified/cgroup.controllers")
        }
        Cgroups::V2 => ["cpuacct", "freezer"].contains(&name) || offered("/sys/fs/cgroup/cgroup.controllers"),
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
