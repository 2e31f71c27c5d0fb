//! A volume that somebody else changes while the container is made: what was mounted is never looked up by its path
//! again, for its modes and owners, what is copied into it, or its flags.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::{exchange, race};
use crate::common::{Bundle, Container, skip_on};

/// Places in the volume. Fewer change more often, more are tried by one container.
const PLACES: usize = 4;

/// Does `body` again and again while another thread does `work` again and again.
fn against(work: impl Fn() + Sync, mut body: impl FnMut()) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                work();
            }
        });
        let _stop = super::Stop(&done);
        let end = Instant::now() + race();
        while Instant::now() < end {
            body();
        }
    });
}

fn c_string(path: &Path) -> std::ffi::CString {
    std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap()
}

/// The volume is bound at /volume, and a mount with these options goes to each of its places.
fn with_places(mut bundle: Bundle, volume: &Path, source: &str, options: &[&str]) -> Bundle {
    bundle = bundle.mount("bind", volume.to_str().unwrap(), "/volume", &["bind"]);
    for place in 0..PLACES {
        bundle = bundle.mount("tmpfs", source, &format!("/volume/{place}/a"), options);
    }
    bundle
}

/// `a` has a file that `tmpcopyup` copies, `b` is empty, and `link` leads to a file of the host. What is copied to the
/// wrong directory becomes the link before its owner and mode are set.
fn copied(options: &[&str]) {
    let bundle = Bundle::idle();
    let volume = bundle.host_dir("volume");
    let victim = bundle.dir.join("victim");
    fs::write(&victim, "of the host").unwrap();
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).unwrap();
    let (mut names, mut empty, mut links) = (Vec::new(), Vec::new(), Vec::new());
    for place in 0..PLACES {
        let dir = volume.join(place.to_string());
        for name in ["", "a", "b"] {
            fs::create_dir(dir.join(name)).unwrap();
        }
        fill(&dir.join("a/file"));
        symlink(&victim, dir.join("link")).unwrap();
        names.push((c_string(&dir.join("a")), c_string(&dir.join("b"))));
        // Whatever it is called later.
        empty.push(fs::File::open(dir.join("b")).unwrap());
        links.push(dir.join("link"));
    }
    let trap = |(dir, link): (&fs::File, &PathBuf)| {
        (c_string(&Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join("file")), c_string(link))
    };
    let traps: Vec<_> = empty.iter().zip(&links).map(trap).collect();
    let container = with_places(bundle, &volume, "tmpfs", options).container();
    let (gate, paused) = (Mutex::new(()), AtomicBool::new(false));
    let work = || {
        if paused.load(Ordering::Acquire) {
            return std::thread::yield_now();
        }
        let _closed = gate.lock().unwrap();
        names.iter().for_each(|(a, b)| exchange(a, b));
        traps.iter().for_each(|(file, link)| exchange(file, link));
    };
    let mut creates = 0;
    against(work, || {
        if container.create_with(&[]).code == 0 {
            container.delete_force().ok();
        }
        creates += 1;
        let meta = fs::metadata(&victim).unwrap();
        let (mode, uid) = (meta.mode() & 0o7777, meta.uid());
        assert_eq!(
            (mode, uid),
            (0o600, 0),
            "a file of the host was changed after {creates} creates: {mode:o} of {uid}"
        );
        paused.store(true, Ordering::Release);
        let closed = gate.lock().unwrap();
        for ((file, _), link) in traps.iter().zip(&links) {
            let file = Path::new(std::ffi::OsStr::from_bytes(file.as_bytes()));
            if file.symlink_metadata().is_ok() {
                // What was copied here by mistake, or the link that took its place.
                fs::remove_file(file).unwrap();
                let _ = fs::remove_file(link);
                symlink(&victim, link).unwrap();
            }
        }
        drop(closed);
        paused.store(false, Ordering::Release);
    });
}

/// A file that takes a while to copy, with a mode and an owner that the host's file must not get.
fn fill(path: &Path) {
    let file = fs::File::create_new(path).unwrap();
    file.set_len(1024 * 1024).unwrap();
    file.set_permissions(fs::Permissions::from_mode(0o777)).unwrap();
    std::os::unix::fs::lchown(path, Some(1000), Some(1000)).unwrap();
}

/// The options that fsconfig(2) has no names for: a file system that is mounted in the old way.
#[test]
fn what_is_copied_up_goes_to_the_new_file_system_alone_mounted_in_the_old_way() {
    if skip_on(&["runc", "crun"], "copy by path") {
        return;
    }
    copied(&["tmpcopyup", "silent"]);
}

#[test]
fn what_is_copied_up_goes_to_the_new_file_system_alone() {
    if skip_on(&["runc", "crun"], "copy by path") {
        return;
    }
    copied(&["tmpcopyup"]);
    copied(&["tmpcopyup", "ro"]);
}

/// Flags and source of each mount in the container.
fn mounts(container: &Container) -> Vec<(String, String, String)> {
    let text = container.mountinfo();
    let split = |line: &str| {
        let (left, right) = line.split_once(" - ").unwrap();
        let left: Vec<&str> = left.split(' ').collect();
        (left[4].to_owned(), left[5].to_owned(), right.split(' ').nth(1).unwrap().to_owned())
    };
    text.lines().map(split).collect()
}

/// Read-only comes late, for there may be mount points to make below: still on the mount that it was said of. The
/// other directory of each pair has a mount too, which has to stay writable.
fn read_only(kind: &str, options: &[&str]) {
    let bundle = Bundle::idle();
    let volume = bundle.host_dir("volume");
    let mut swaps = Vec::new();
    for place in 0..PLACES {
        let dir = volume.join(place.to_string());
        for name in ["", "a", "b"] {
            fs::create_dir(dir.join(name)).unwrap();
        }
        swaps.push((c_string(&dir.join("a")), c_string(&dir.join("b"))));
    }
    let mut bundle = with_places(bundle, &volume, "read-only", options);
    for place in 0..PLACES {
        bundle = bundle.mount(kind, "writable", &format!("/volume/{place}/b"), &["rw"]);
    }
    let container = bundle.container();
    let (mut creates, mut failed) = (0, 0);
    against(
        || swaps.iter().for_each(|(a, b)| exchange(a, b)),
        || {
            creates += 1;
            if container.create_with(&[]).code != 0 {
                failed += 1;
                return;
            }
            let mounts = mounts(&container);
            container.delete_force().ok();
            let is_ro = |options: &str| options.split(',').any(|option| option == "ro");
            let odd: Vec<_> = mounts
                .iter()
                .filter(|(_, options, source)| match &**source {
                    "read-only" => !is_ro(options),
                    "writable" => is_ro(options),
                    _ => false,
                })
                .collect();
            assert!(odd.is_empty(), "after {creates} creates, {failed} of which failed: {odd:?}");
        },
    );
    assert!(creates > failed, "no container was made: {creates}");
}

#[test]
fn late_read_only_is_of_the_mount_that_it_was_said_of() {
    if skip_on(&["runc", "crun"], "remount by path") {
        return;
    }
    read_only("tmpfs", &["ro"]);
}

/// The volume's own mount, by the path that the container was told.
#[test]
fn the_volume_itself_stays_as_it_was_mounted() {
    if skip_on(&["runc", "crun"], "remount by path") {
        return;
    }
    let bundle = Bundle::idle();
    let (volume, other): (PathBuf, PathBuf) = (bundle.host_dir("volume"), bundle.host_dir("other"));
    let place = volume.join("a");
    for dir in [&place, &volume.join("b")] {
        fs::create_dir(dir).unwrap();
    }
    let names = (c_string(&place), c_string(&volume.join("b")));
    let container = bundle
        .mount("bind", volume.to_str().unwrap(), "/volume", &["bind"])
        .mount("bind", other.to_str().unwrap(), "/volume/b", &["bind"])
        .mount("tmpfs", "read-only", "/volume/a", &["ro"])
        .container();
    against(
        || exchange(&names.0, &names.1),
        || {
            if container.create_with(&[]).code == 0 {
                let mounts = mounts(&container);
                container.delete_force().ok();
                for (point, options, source) in mounts.iter().filter(|(point, ..)| point.starts_with("/volume")) {
                    let read_only = options.split(',').any(|option| option == "ro");
                    assert_eq!(read_only, source == "read-only", "{point}: {mounts:?}");
                }
            }
        },
    );
}
