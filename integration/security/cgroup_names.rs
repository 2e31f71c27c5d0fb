//! A container that may write to its cgroup makes cgroups below it with names of its choice: bytes that are no text, paths
//! longer than PATH_MAX, more levels than a stack has frames. Nobody gets out of sight by that.

use std::ffi::{CString, OsStr};
use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::common::process::{pidfd_open, wait_readable};
use crate::common::{Bundle, Container, host, runtime_name, skip_on, time_limit};

/// A name that is no UTF-8, one with a newline, one that is an octal escape in mountinfo.
const NAMES: &[&[u8]] = &[b"\xff", b"a\nb", b"sp ace", b"\\040", b"...", b"\xc3\x28-\xf0\x9f"];

/// The container's cgroup in every hierarchy; what was made below goes in the end, whatever the runtime did.
struct Cgroups(Vec<PathBuf>);

impl Cgroups {
    fn of(container: &Container) -> Self {
        let mut dirs = host::cgroup_dirs(&container.bundle.cgroup());
        dirs.retain(|dir| dir.join("cgroup.procs").exists());
        assert!(!dirs.is_empty());
        Cgroups(dirs)
    }

    /// Makes directories, one below the other, in each hierarchy; the last ones.
    fn make(&self, names: &[&[u8]]) -> Vec<OwnedFd> {
        let below = |dir: &PathBuf| {
            names.iter().fold(OwnedFd::from(File::open(dir).unwrap()), |at, name| {
                let name = CString::new(*name).unwrap();
                match mkdirat(&at, &*name, Mode::S_IRWXU) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    // A hierarchy may limit its depth, or be particular about names.
                    Err(Errno::EAGAIN | Errno::EINVAL) => return at,
                    Err(errno) => panic!("{}: mkdir: {errno}", dir.display()),
                }
                openat(&at, &*name, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).unwrap()
            })
        };
        self.0.iter().map(below).collect()
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for dir in &self.0 {
            if let Ok(top) = File::open(dir) {
                empty(&top.into());
                let _ = fs::remove_dir(dir);
            }
        }
    }
}

/// Removes everything below, however deep: always the deepest of the first branch.
fn empty(top: &OwnedFd) {
    loop {
        let mut at = top.try_clone().unwrap();
        let mut name = first(&at);
        let Some(mut found) = name.take() else { return };
        loop {
            let below = openat(&at, &*found, OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty()).unwrap();
            match first(&below) {
                Some(deeper) => (at, found) = (below, deeper),
                None => break,
            }
        }
        let end = std::time::Instant::now() + time_limit();
        while unlinkat(&at, &*found, UnlinkatFlags::RemoveDir).is_err() {
            kill_all(&at, &found);
            if std::time::Instant::now() > end {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}

fn kill_all(at: &OwnedFd, name: &CString) {
    let path = Path::new("/proc/self/fd").join(at.as_raw_fd().to_string()).join(OsStr::from_bytes(name.as_bytes()));
    let _ = fs::write(path.join("freezer.state"), "THAWED");
    for pid in fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default().lines() {
        let pid = nix::unistd::Pid::from_raw(pid.parse().unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL);
    }
}

fn first(dir: &OwnedFd) -> Option<CString> {
    let path = Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string());
    let mut entries = fs::read_dir(path).unwrap().map(Result::unwrap);
    let found = entries.find(|entry| entry.file_type().unwrap().is_dir())?;
    Some(CString::new(found.file_name().as_bytes()).unwrap())
}

fn put(pid: i32, dirs: &[OwnedFd]) {
    for dir in dirs {
        let file = openat(dir, "cgroup.procs", OFlag::O_WRONLY, Mode::empty()).unwrap();
        // A cpuset without CPUs takes nobody.
        match nix::unistd::write(&file, pid.to_string().as_bytes()) {
            Ok(_) | Err(Errno::ENOSPC) => {}
            Err(errno) => panic!("{pid} does not go into a cgroup: {errno}"),
        }
    }
}

/// One more process in the container, by its number on the host.
fn another(container: &Container) -> i32 {
    let file = container.bundle.dir.join("another.pid");
    container.exec_with(&["--detach", "--pid-file", file.to_str().unwrap()], &["/probe", "pause"]).ok();
    fs::read_to_string(file).unwrap().trim().parse().unwrap()
}

#[track_caller]
fn gone(pid: i32, what: &str) {
    match pidfd_open(pid) {
        Err(Errno::ESRCH) => {}
        Err(errno) => panic!("{pid}: {errno}"),
        Ok(pidfd) => assert!(wait_readable(pidfd.as_fd(), std::time::Duration::from_secs(5)), "{what}: {pid} lives on"),
    }
}

#[track_caller]
fn deleted(container: &Container, cgroups: &Cgroups, what: &str) {
    let output = container.delete_force();
    assert_eq!(output.code, 0, "{what}: {output:?}");
    for dir in &cgroups.0 {
        let left = dir.join("cgroup.procs").exists();
        assert!(!left || runtime_name() != "brisk", "{what}: {} is left: {output:?}", dir.display());
    }
}

#[test]
fn names_that_are_no_text_do_not_keep_a_container() {
    for names in [NAMES, &[b"\xff"]] {
        let container = Bundle::idle().container();
        container.up();
        let cgroups = Cgroups::of(&container);
        for name in names {
            cgroups.make(&[b"plain", name, name]);
            cgroups.make(&[name]);
        }
        deleted(&container, &cgroups, &format!("{names:?}"));
    }
}

/// `ps`, and what an engine does when a container is to end.
#[test]
fn processes_below_such_a_name_are_seen_and_killed() {
    if skip_on(&["crun"], "needs every hierarchy, and has not all of them here") {
        return;
    }
    for own_pid in [true, false] {
        for name in NAMES {
            let bundle = if own_pid { Bundle::idle() } else { Bundle::idle().without_ns("pid") };
            let container = bundle.container();
            container.up();
            let cgroups = Cgroups::of(&container);
            let pid = another(&container);
            put(pid, &cgroups.make(&[name]));
            let what = format!("own pid namespace {own_pid}, {:?}", String::from_utf8_lossy(name));
            let pids = container.call(&["ps", "--format", "json", &container.id]).ok().json();
            assert!(
                pids.as_array().unwrap().iter().any(|known| *known == pid),
                "{what}: ps does not know {pid}: {pids}"
            );
            container.call(&["kill", "--all", &container.id, "KILL"]);
            gone(pid, &format!("{what}: kill --all"));
            deleted(&container, &cgroups, &what);
        }
    }
}

#[test]
fn delete_by_force_leaves_no_process_below_such_a_name() {
    if skip_on(&["runc", "crun"], "leave a frozen one") {
        return;
    }
    for frozen in [false, true] {
        let container = Bundle::idle().without_ns("pid").container();
        container.up();
        let cgroups = Cgroups::of(&container);
        let pid = another(&container);
        let dirs = cgroups.make(&[b"\xff", b"below"]);
        put(pid, &dirs);
        if frozen {
            // A container that freezes its own process on v1.
            for dir in &dirs {
                if let Ok(file) = openat(dir, "freezer.state", OFlag::O_WRONLY, Mode::empty()) {
                    nix::unistd::write(&file, b"FROZEN").unwrap();
                }
            }
        }
        deleted(&container, &cgroups, &format!("frozen {frozen}"));
        gone(pid, &format!("delete --force, frozen {frozen}"));
    }
}

/// Longer than PATH_MAX, so that no path leads there.
#[test]
fn paths_longer_than_the_kernel_takes_do_not_keep_a_container() {
    if skip_on(&["runc", "crun"], "go by paths") {
        return;
    }
    let container = Bundle::idle().without_ns("pid").container();
    container.up();
    let cgroups = Cgroups::of(&container);
    let pid = another(&container);
    put(pid, &cgroups.make(&[&[b'a'; 200][..]; 25]));
    let pids = container.call(&["ps", "--format", "json", &container.id]).ok().json();
    assert!(pids.as_array().unwrap().iter().any(|known| *known == pid), "ps does not know {pid}: {pids}");
    deleted(&container, &cgroups, "25 names of 200 bytes");
    gone(pid, "delete --force");
}

/// More levels than open files or frames.
#[test]
fn many_levels_do_not_keep_a_container() {
    if skip_on(&["runc", "crun"], "go by paths") {
        return;
    }
    let mut container = Bundle::idle().container();
    container.up();
    let mut cgroups = Cgroups::of(&container);
    // One hierarchy is enough, and making so many takes its time.
    cgroups.0.truncate(1);
    cgroups.make(&[&b"d"[..]; 200]);
    container.program.splice(0..0, ["prlimit".into(), PathBuf::from("--nofile=128:128")]);
    deleted(&container, &cgroups, "200 levels");
}
