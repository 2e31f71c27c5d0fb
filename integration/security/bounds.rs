//! What the image, a volume or a hook of the image holds may be endless, or never come: nothing of it is read without a
//! bound, and nobody waits for it.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::while_swapping;
use crate::common::process::{self, Output, pidfd_open, wait_readable};
use crate::common::{Bundle, Container, brisk_only, skip_on, time_limit};

/// Far more than any of this takes.
fn bound() -> Duration {
    time_limit() / 3
}

/// Runs it to its end; kills it and fails at the bound.
#[track_caller]
fn bounded(command: Command, what: &str) -> Output {
    let running = process::start(command, Stdio::null());
    let pidfd = pidfd_open(running.pid()).unwrap();
    if !wait_readable(pidfd.as_fd(), bound()) {
        let pid = nix::unistd::Pid::from_raw(running.pid());
        nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL).unwrap();
        running.wait();
        panic!("{what} never ends");
    }
    running.wait()
}

fn create(container: &Container) -> Command {
    container.command(&["create", "--bundle", container.bundle.dir.to_str().unwrap(), &container.id])
}

/// A sparse file of 8 TiB costs the image nothing.
#[test]
fn a_passwd_without_end_is_not_read_to_its_end() {
    if skip_on(&["runc", "crun"], "read it to its end") {
        return;
    }
    let endless = |container: &Container| {
        let passwd = container.bundle.rootfs().join("etc/passwd");
        fs::remove_file(&passwd).unwrap();
        File::create_new(passwd).unwrap().set_len(8 << 40).unwrap();
    };
    let container = Bundle::idle().container();
    endless(&container);
    bounded(create(&container), "create with an endless passwd");
    let container = Bundle::idle().container();
    container.up();
    endless(&container);
    bounded(container.command(&["exec", &container.id, "/bin/true"]), "exec with an endless passwd");
    // One line without end.
    let container = Bundle::idle().container();
    container.up();
    let text = vec![b'x'; 64 << 20];
    fs::write(container.bundle.rootfs().join("etc/passwd"), text).unwrap();
    bounded(container.command(&["exec", &container.id, "/bin/true"]), "exec with an endless line");
}

/// It was a file when it was looked at.
#[test]
fn a_file_that_becomes_a_fifo_is_not_waited_for() {
    if skip_on(&["runc", "crun"], "copy by path") {
        return;
    }
    let bundle = Bundle::idle();
    let volume = bundle.host_dir("volume");
    fs::create_dir(volume.join("a")).unwrap();
    let (file, fifo) = (volume.join("a/file"), volume.join("fifo"));
    fs::write(&file, "text").unwrap();
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut bundle = bundle.mount("bind", volume.to_str().unwrap(), "/volume", &["bind"]);
    for _ in 0..16 {
        bundle = bundle.mount("tmpfs", "tmpfs", "/volume/a", &["tmpcopyup"]);
        // Away again, so that the next one finds the file.
        bundle = bundle.mount("bind", volume.to_str().unwrap(), "/volume", &["bind"]);
    }
    let container = bundle.container();
    let mut creates = 0;
    while_swapping(&file, &fifo, || {
        creates += 1;
        let output = bounded(create(&container), &format!("create number {creates} with a fifo"));
        if output.code == 0 {
            container.delete_force().ok();
        }
    });
}

/// A hook of the image opens the fifo through the process that runs it, and keeps it.
const KEEP: &str = "for f in /proc/1/fd/*; do if [ -p $f ]; then \
    (exec 9<>$f; : > /tmp/kept; exec /bin/sleep 1000) </dev/null >/dev/null 2>&1 & fi; done; \
    i=0; until [ -e /tmp/kept ] || [ $i = 2000 ]; do i=$((i+1)); done; exit 0";

#[test]
fn a_hook_that_keeps_the_start_fifo_does_not_keep_start() {
    if skip_on(&["runc", "crun"], "waits for it") {
        return;
    }
    let container = Bundle::idle().hook("startContainer", "/bin/sh", &["sh", "-c", KEEP]).container();
    container.create().ok();
    bounded(container.command(&["start", &container.id]), "start with a hook that keeps the fifo").ok();
    assert_eq!(container.status(), "running");
}

/// What is in the fifo is what the runtime's own process says. A hook cannot speak for it.
#[test]
fn a_hook_does_not_speak_for_the_runtime() {
    // Type, errno and text of a fault are anywhere in it: each record is tried, with every first byte.
    for first in 0..4u8 {
        let container = Bundle::idle().container();
        let mut record = vec![first, 0, 0, 0, 13, 0, 0, 0];
        record.resize(128, b'F');
        fs::write(container.bundle.rootfs().join("record"), record).unwrap();
        let script = "for f in /proc/1/fd/*; do [ -p $f ] && cat /record 1<>$f; done 2>/dev/null; exit 0";
        let mut container = container;
        container.bundle.config["hooks"] =
            serde_json::json!({ "startContainer": [{ "path": "/bin/sh", "args": ["sh", "-c", script] }] });
        container.bundle.write();
        container.create().ok();
        let output = bounded(container.command(&["start", &container.id]), "start with a hook that writes");
        assert_eq!(output.code, 0, "the hook's words were taken for the runtime's: {output:?}");
    }
}

/// At rest, in the places that are looked at.
#[test]
fn fifos_in_place_of_what_is_looked_for_are_not_waited_for() {
    if skip_on(&["runc", "crun"], "waits for it") {
        return;
    }
    for name in ["etc/passwd", "etc/group", "dev/null", "dev/ptmx", "dev/console", "bin/true", "sbin"] {
        let container = Bundle::new(&["true"]).container();
        let path = container.bundle.rootfs().join(name);
        let _ = fs::remove_file(&path);
        let c_name = std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap();
        nix::unistd::mkfifo(&*c_name, nix::sys::stat::Mode::from_bits_truncate(0o755)).unwrap();
        let output = bounded(create(&container), &format!("create with a fifo as {name}"));
        if output.code == 0 {
            bounded(container.command(&["start", &container.id]), &format!("start with a fifo as {name}"));
        }
    }
}

/// Sparse files, pipes and devices in the place of JSON: an error, and no memory filled.
#[test]
fn documents_without_end_are_refused() {
    if brisk_only("they read to the end") {
        return;
    }
    let container = Bundle::idle().container();
    container.up();
    let sparse = container.bundle.file("sparse.json", "");
    endless(&sparse);
    let other = Bundle::idle().container();
    endless(&other.bundle.dir.join("config.json"));
    let (id, bundle) = (container.id.as_str(), other.bundle.dir.to_str().unwrap());
    for file in [sparse.to_str().unwrap(), "/dev/zero"] {
        let commands: [&[&str]; 7] = [
            &["exec", "--process", file, id],
            &["update", "--resources", file, id],
            &["mounts", "add", id, file],
            &["create", "--bundle", container.bundle.dir.to_str().unwrap(), "--config", file, "other"],
            &["create", "--bundle", bundle, "other"],
            &["check", bundle],
            &["plan", bundle],
        ];
        for args in commands {
            let mut command = container.command(args);
            limit_memory(&mut command);
            let output = bounded(command, args[0]);
            assert!(output.stderr().contains("is longer than"), "{args:?}: {output:?}");
        }
    }
    container.exec(&["/bin/true"]).ok();
}

/// Makes a file sparse, and longer than there is memory.
fn endless(file: &std::path::Path) {
    File::options().write(true).open(file).unwrap().set_len(1 << 42).unwrap();
}

/// Far more than brisk needs, and less than what would be read.
#[allow(unsafe_code, reason = "a closure runs between fork and exec")]
fn limit_memory(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    let limit = || {
        nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_AS, 1 << 30, 1 << 30)?;
        Ok(())
    };
    // SAFETY: the closure makes one system call.
    unsafe { command.pre_exec(limit) };
}
