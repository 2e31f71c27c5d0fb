//! The skeleton mount namespace is pinned at a name below /run: nothing is taken from there that root did not put there,
//! and what cannot be used costs no container.

use std::path::PathBuf;

use crate::common::{Bundle, Container, brisk_only, process};

/// Runs the runtime in a mount namespace with so many mounts that it wants the skeleton, after `prepare` has made
/// /run/brisk-skeleton. /run is its own.
fn prepared(container: &mut Container, prepare: &str) {
    let script = format!(
        "#!/bin/sh\nset -e\nmount -t tmpfs -o mode=755 run /run\nmkdir /run/crowd\n\
         seq -f '/run/crowd/%g' 150 | xargs mkdir\n\
         seq -f 'crowd /run/crowd/%g tmpfs defaults 0 0' 150 > /run/fstab\nmount --all --fstab /run/fstab\n\
         {prepare}\nexec \"$@\"\n"
    );
    let script = container.bundle.script("prepare", &script);
    let start = ["unshare", "--mount", "--propagation", "private"].map(PathBuf::from);
    container.program.splice(0..0, start.into_iter().chain([script]));
}

// A mount namespace is bound into one with a smaller number alone, and on Linux 6.18 the numbers come in batches for each
// CPU: EINVAL says to take another.
const CASES: [(&str, &str); 7] = [
    ("a fifo", "mkdir -m 700 /run/brisk-skeleton; mkfifo /run/brisk-skeleton/mnt"),
    ("somebody's directory", "mkdir -m 700 /run/brisk-skeleton; chown 54321 /run/brisk-skeleton"),
    ("a directory all may write", "mkdir /run/brisk-skeleton; chmod 777 /run/brisk-skeleton"),
    ("a link", "mkdir /run/other; ln -s /run/other /run/brisk-skeleton"),
    ("a file", ": > /run/brisk-skeleton"),
    ("a link as the pin", "mkdir -m 700 /run/brisk-skeleton; ln -s /etc/shadow /run/brisk-skeleton/mnt"),
    (
        "another namespace in somebody's directory",
        "mkdir -m 777 /run/brisk-skeleton; chown 54321 /run/brisk-skeleton; : > /run/brisk-skeleton/mnt; \
         mkdir /run/ns; mount -t tmpfs ns /run/ns; mount --make-private /run/ns; : > /run/ns/mnt; \
         until unshare --mount=/run/ns/mnt --propagation private mount -t tmpfs evil /root 2>/run/why; do \
         grep -q 'Invalid argument' /run/why || { cat /run/why >&2; exit 1; }; done; \
         mount --bind /run/ns/mnt /run/brisk-skeleton/mnt",
    ),
];

#[test]
fn nothing_at_the_pin_keeps_a_container_from_being_made() {
    if brisk_only("the skeleton") {
        return;
    }
    let mut wrong = Vec::new();
    for (what, prepare) in CASES {
        let mut container = Bundle::probe(&["stat:/probe", "report"]).container();
        prepared(&mut container, prepare);
        let dir = container.bundle.dir.to_str().unwrap();
        let command = container.command(&["run", "--bundle", dir, &container.id]);
        let running = process::start(command, std::process::Stdio::null());
        let pidfd = process::pidfd_open(running.pid()).unwrap();
        use std::os::fd::AsFd;
        if !process::wait_readable(pidfd.as_fd(), crate::common::time_limit()) {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(running.pid()), nix::sys::signal::SIGKILL).unwrap();
            running.wait();
            wrong.push(format!("{what}: run never ends"));
            continue;
        }
        let output = running.wait();
        if output.code != 0 {
            wrong.push(format!("{what}: {}", output.stderr()));
            continue;
        }
        let out = output.json();
        assert_eq!(out["stat:/probe"]["type"], "file", "{what}");
        if out["report"]["mounts"].to_string().contains("evil") {
            wrong.push(format!("{what}: somebody else's namespace was used"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
