//! What a fourth attack, by somebody who had not read the code, has found (docs/SECURITY.md).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::mount::MsFlags;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use serde_json::json;

use super::rounds;
use crate::common::process::{self, Running};
use crate::common::{Bundle, Container, brisk_only, host, skip_here, skip_on};
use crate::rootless;

const ONLY: &str = "no other runtime lays an overlay over the root";

/// True where there is no overlay to test.
fn without_overlay() -> bool {
    let known = fs::read_to_string("/proc/filesystems").unwrap().contains("\toverlay\n");
    if !known {
        skip_here("this kernel has no overlayfs");
    }
    brisk_only(ONLY) || !known
}

/// A volume at a name that the image made a link to /dev: the default devices and links were made in it, on the host.
#[test]
fn a_volume_that_a_link_leads_over_dev_gets_no_devices() {
    if skip_on(&["crun", "runc"], "they make their devices in it") || !host::is_root() {
        return;
    }
    type Links<'a> = &'a [(&'a str, &'a str)];
    let ways: [(Links<'_>, &str); 10] = [
        (&[("data", "dev")], "/data"),
        (&[("data", "/dev/.")], "/data"),
        (&[("data", "other"), ("other", "dev")], "//data/"),
        (&[("top", "/")], "/top/dev"),
        (&[("top", ".")], "/top/./dev"),
        (&[("dev", "/data")], "/data"),
        (&[("dev", "data/../data")], "/data/."),
        (&[("data", "/dev/net")], "/data"),
        (&[("data", "dev/./net")], "/data/"),
        (&[("data", "/devices/mine")], "/data"),
    ];
    for (links, place) in ways {
        for dev in [true, false] {
            // A new file system is the container's own; the check is the same.
            let kinds = [("bind", &["rbind", "rw"][..]), ("tmpfs", &[])];
            for (kind, options) in kinds.into_iter().take(if place == "/top/dev" { 2 } else { 1 }) {
                let device = |path| json!({ "path": path, "type": "c", "major": 1, "minor": 3 });
                let devices = json!([device("/dev/net/mine"), device("/devices/mine/null")]);
                let mut bundle =
                    Bundle::sh("true").set("/process/user/uid", json!(1000)).set("/linux/devices", devices);
                if !dev {
                    for below in ["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"] {
                        bundle = bundle.without_mount(below);
                    }
                }
                let volume = bundle.host_dir("volume");
                let container = bundle.mount(kind, volume.to_str().unwrap(), place, options).container();
                let root = container.bundle.rootfs();
                for (name, target) in links {
                    let _ = fs::remove_dir(root.join(name));
                    symlink(target, root.join(name)).unwrap();
                }
                // Where it is no link.
                let _ = fs::create_dir(root.join("data"));
                let output = container.run();
                let made: Vec<_> = fs::read_dir(&volume).unwrap().map(|entry| entry.unwrap().file_name()).collect();
                assert_eq!(made, [""; 0], "{links:?} {place} {kind} {options:?}: {output:?}");
                let why = output.fails();
                assert!(why.contains("leads to where devices are made"), "{links:?} {place} {kind} {options:?}: {why}");
                container.assert_nothing_left();
            }
        }
    }
    // What the configuration itself says is done, and links to elsewhere are followed.
    let bundle = Bundle::sh("cat /real/file");
    let volume = bundle.host_dir("volume");
    fs::write(volume.join("file"), "volume").unwrap();
    let container = bundle.mount("bind", volume.to_str().unwrap(), "/data", &["rbind"]).container();
    fs::create_dir(container.bundle.rootfs().join("real")).unwrap();
    symlink("real", container.bundle.rootfs().join("data")).unwrap();
    assert_eq!(container.run().ok().stdout(), "volume");
}

/// A container that has the directory `kept` of the bundle as its own, when it runs.
fn tenant(container: &Container, kept: &Path) {
    let (dir, kept) = (container.bundle.dir.to_str().unwrap(), kept.to_str().unwrap());
    container.call(&["create", "--bundle", dir, "--overlay", kept, &container.id]).ok();
}

/// The kernel takes two overlays over one upper layer and promises nothing of them.
#[test]
fn a_directory_is_one_containers_at_a_time() {
    if without_overlay() {
        return;
    }
    let first = Bundle::idle().container();
    let kept = first.bundle.host_dir("kept");
    let second = Bundle::sh("true").container();
    let refused = || {
        let why = second.run_with(&["--overlay", kept.to_str().unwrap()]).fails();
        assert!(why.contains("one container's at a time") && why.contains(&first.id), "{why}");
        second.assert_nothing_left();
    };
    let taken = || second.run_with(&["--overlay", kept.to_str().unwrap()]).ok();
    tenant(&first, &kept);
    refused();
    first.start().ok();
    refused();
    // Under another state root as well, and by another name.
    let link = second.bundle.dir.join("link");
    symlink(&kept, &link).unwrap();
    let by_link = format!("{}/.", link.display());
    second.run_with(&["--overlay", &by_link]).fails();
    first.delete_force().ok();
    taken();
    // Killed, and nobody has cleaned up.
    tenant(&first, &kept);
    kill(Pid::from_raw(first.pid()), Signal::SIGKILL).unwrap();
    host::wait_until(|| first.status() == "stopped");
    taken();
    first.delete_force().ok();
    // A note of another boot, one that was cut short, and one whose number is somebody else's.
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let start: u64 = stat.rsplit(')').next().unwrap().split_whitespace().nth(19).unwrap().parse().unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let note = |boot: &str, start: u64| {
        json!({ "id": first.id, "bootId": boot, "init": { "pid": std::process::id(), "startTime": start } }).to_string()
    };
    let note_is = |text: &str| fs::write(kept.join(".brisk-holder"), text).unwrap();
    for text in ["", "{", &note("of another time", start), &note(boot.trim(), start - 1)] {
        note_is(text);
        taken();
    }
    note_is(&note(boot.trim(), start));
    refused();
}

/// Of several that come at once some have to go away, and no two ever meet.
#[test]
fn nobody_is_met_in_the_directory() {
    if without_overlay() {
        return;
    }
    let script = "mkdir /here || echo met; sleep 0.05; rmdir /here || echo met";
    let all: Vec<Container> = (0..4).map(|_| Bundle::sh(script).container()).collect();
    let kept = all[0].bundle.host_dir("kept");
    let mut done = 0;
    for _ in 0..rounds(5) {
        let at_once: Vec<Running> =
            all.iter().map(|container| container.start_run(&["--overlay", kept.to_str().unwrap()])).collect();
        for running in at_once {
            let output = running.wait();
            assert_eq!(output.stdout(), "", "two containers have met");
            if output.code == 0 {
                done += 1;
            } else {
                assert!(output.stderr().contains("one container's at a time"), "{output:?}");
            }
        }
    }
    assert!(done >= rounds(5), "only {done}");
    // One after the other nobody is kept out.
    for _ in 0..rounds(20) {
        all[0].run_with(&["--overlay", kept.to_str().unwrap()]).ok();
    }
}

/// The file that tells who has the directory leads nowhere else.
#[test]
fn traps_at_the_holders_name() {
    if without_overlay() || !host::is_root() {
        return;
    }
    let container = Bundle::sh("true").container();
    let victim = container.bundle.host_dir("victim").join("file");
    fs::write(&victim, "untouched").unwrap();
    type Trap<'a> = (&'a str, &'a dyn Fn(&Path));
    let traps: [Trap<'_>; 6] = [
        ("link", &|at| symlink(&victim, at).unwrap()),
        ("dangling", &|at| symlink(victim.with_file_name("new"), at).unwrap()),
        ("hard link", &|at| fs::hard_link(&victim, at).unwrap()),
        ("fifo", &|at| mkfifo(at, Mode::from_bits_truncate(0o600)).unwrap()),
        ("directory", &|at| fs::create_dir(at).unwrap()),
        ("another's", &|at| {
            fs::write(at, "").unwrap();
            std::os::unix::fs::chown(at, Some(1000), None).unwrap();
        }),
    ];
    for (what, set) in traps {
        let kept = container.bundle.host_dir(&format!("kept {what}"));
        set(&kept.join(".brisk-holder"));
        let why = container.run_with(&["--overlay", kept.to_str().unwrap()]).fails();
        assert!(why.contains("kept"), "{what}: {why}");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched", "{what}");
        assert!(!victim.with_file_name("new").exists(), "{what}");
        container.assert_nothing_left();
    }
}

/// The kernel makes an overlay that cannot be written, and says so in its log alone.
#[test]
fn an_overlay_that_cannot_be_written_is_an_error() {
    if without_overlay() {
        return;
    }
    let container = Bundle::sh("echo ran").container();
    let kept = container.bundle.host_dir("kept");
    for dir in
        [".brisk-work", ".brisk-work/work", ".brisk-work/work/a", ".brisk-work/work/a/b", ".brisk-work/work/a/b/c"]
    {
        fs::create_dir(kept.join(dir)).unwrap();
    }
    let output = container.run_with(&["--overlay", kept.to_str().unwrap()]);
    assert_eq!(output.stdout(), "", "{output:?}");
    let why = output.fails();
    assert!(why.contains(".brisk-work cannot be used"), "{why}");
    // As it says.
    fs::remove_dir_all(kept.join(".brisk-work")).unwrap();
    assert_eq!(container.run_with(&["--overlay", kept.to_str().unwrap()]).ok().stdout(), "ran\n");
}

#[test]
fn layers_that_are_not_apart_are_refused() {
    if without_overlay() {
        return;
    }
    let container = Bundle::sh("ls /").container();
    let [kept, lower] = ["kept", "lower"].map(|name| container.bundle.host_dir(name));
    fs::create_dir(kept.join("upper")).unwrap();
    let [kept, lower] = [&kept, &lower].map(|path| path.to_str().unwrap());
    let (again, upper) = (format!("{lower}/../lower"), format!("{kept}/upper"));
    for flags in [
        &["--overlay", "tmpfs", "--lower", lower, "--lower", lower][..],
        &["--overlay", "tmpfs", "--lower", lower, "--lower", &again],
        &["--overlay", "tmpfs", "--lower", "rootfs"],
        &["--overlay", kept, "--lower", kept],
        &["--overlay", kept, "--lower", &upper],
        &["--overlay", "rootfs"],
    ] {
        let why = container.run_with(flags).fails();
        assert!(why.contains("directories of their own") && !why.contains("stands where"), "{flags:?}: {why}");
        container.assert_nothing_left();
    }
}

/// The file system of the root is mounted so that no program of it gets more rights: neither does one through the overlay.
#[test]
fn what_the_mount_of_the_root_forbids_the_overlay_does() {
    if without_overlay() || !host::is_root() {
        return;
    }
    let mut bundle = Bundle::sh("sed -n 's/^[^ ]* [^ ]* [^ ]* [^ ]* \\/ \\([^ ]*\\) .*/\\1/p' /proc/self/mountinfo");
    let tree = bundle.host_dir("tree");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    bundle.mount_on_host(Path::new("tmpfs"), &tree, "tmpfs", flags, "");
    let copied = Command::new("cp").arg("-a").arg(bundle.rootfs()).arg(tree.join("root")).status().unwrap();
    assert!(copied.success());
    let container = bundle.set("/root/path", json!("tree/root")).container();
    container.bundle.host_dir("kept");
    for flags in [&[][..], &["--overlay", "tmpfs"], &["--overlay", "kept"]] {
        let out = container.run_with(flags).ok().stdout();
        assert!(out.contains("nosuid") && out.contains("nodev") && !out.contains("noexec"), "{flags:?}: {out}");
    }
}

/// A program whose output is relayed has written it all by its own account; the disk is full all the same.
#[test]
fn output_that_is_lost_is_told() {
    if brisk_only("no other runtime relays a file") {
        return;
    }
    for flags in [&[][..], &["--output-limit", "1m"]] {
        let container = Bundle::sh("echo lost; exit 3").container();
        container.bundle.write();
        let dir = container.bundle.dir.to_str().unwrap();
        let line = [&["run", "--bundle", dir], flags, &[&container.id]].concat();
        let mut command = container.command(&line);
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = command.stdin(Stdio::null()).stdout(full).stderr(Stdio::piped()).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains("standard output") && told.contains("no space left"), "{flags:?}: {told}");
        assert_eq!(output.status.code(), Some(3), "{flags:?}: {told}");
    }
}

/// What is mistyped does not become something weaker.
#[test]
fn what_is_mistyped_is_refused() {
    if brisk_only("these flags are brisk's") {
        return;
    }
    let container = Bundle::sh("true").container();
    container.bundle.write();
    let volume = container.bundle.host_dir("volume");
    let volume = volume.to_str().unwrap();
    for (flag, value) in [
        ("--mount", format!("{volume}:/mnt,ro")),
        ("--mount", format!("{volume}:/mnt,readonly:rw")),
        ("--tmpfs", "/mnt,size=4k".into()),
        ("--tmpfs", "/mnt,ro:4k".into()),
        ("--cap", "CAP_SYS_ADMN".into()),
        ("--cap", "ALL".into()),
        ("--cap", "-CHOWN".into()),
    ] {
        let value = format!("{flag}={value}");
        for verb in [&["run", "--rootfs", "rootfs"][..], &["spec", "--bundle", volume]] {
            let line = match verb[0] {
                "run" => [verb, &[&value, &container.id, "--", "/bin/true"]].concat(),
                _ => [verb, &[&value]].concat(),
            };
            let why = container.call(&line).fails();
            assert!(why.contains("invalid value") && why.contains(flag), "{line:?}: {why}");
        }
    }
}

/// Whoever wants to be rid of a container does not wait for a hook that hangs. (A `run` at its end does, as runc does.)
#[test]
fn delete_by_force_has_an_end_whatever_poststop_hooks_do() {
    if skip_on(&["crun", "runc"], "they wait for ever") {
        return;
    }
    let container = Bundle::idle()
        .sh_hook("poststop", "trap '' TERM; echo first >> $OUT; exec sleep 1000000")
        .sh_hook("poststop", "echo second >> $OUT")
        .container();
    container.create().ok();
    let begin = Instant::now();
    let output = container.delete_force().ok();
    assert!(begin.elapsed() < Duration::from_secs(25), "{:?}", begin.elapsed());
    assert!(output.stderr().contains("timed out after 10 s"), "{output:?}");
    assert_eq!(container.bundle.hook_output(), "first\nsecond\n", "later hooks still run");
}

/// An ordinary user's are no other.
#[test]
fn a_users_directory_is_one_containers_at_a_time() {
    if without_overlay() || rootless::not_here() {
        return;
    }
    let [first, second] =
        [["/bin/sleep", "1000"], ["/bin/echo", "ran"]].map(|args| rootless::bundle(&args).container());
    let kept = first.bundle.host_dir("kept");
    if host::is_root() {
        std::os::unix::fs::chown(&kept, Some(rootless::UID), Some(rootless::UID)).unwrap();
    }
    let line = |container: &Container, verb: &str| {
        let dir = container.bundle.dir.to_str().unwrap().to_owned();
        let line = [verb, "--bundle", &dir, "--overlay", kept.to_str().unwrap(), &container.id];
        process::run(rootless::as_user(container, &line))
    };
    line(&first, "create").ok();
    let why = line(&second, "run").fails();
    assert!(why.contains("one container's at a time"), "{why}");
    process::run(rootless::as_user(&first, &["delete", "--force", &first.id])).ok();
    assert_eq!(line(&second, "run").ok().stdout(), "ran\n");
}
