//! Writes and mounts meant for proc that end up elsewhere, and the other way round.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use serde_json::json;

use super::{ALL_CAPS, while_swapping, with_caps};
use crate::common::{Bundle, Container, skip_on};

/// What is mounted where in the container: (point, file system, root within it).
fn mounts(container: &Container) -> Vec<(String, String, String)> {
    let text = container.mountinfo();
    let split = |line: &str| {
        let (left, right) = line.split_once(" - ").unwrap();
        let left: Vec<&str> = left.split(' ').collect();
        (left[4].to_owned(), right.split(' ').next().unwrap().to_owned(), left[3].to_owned())
    };
    text.lines().map(split).collect()
}

/// Deletes a container that a race may or may not have let be made.
fn made(container: &Container, check: impl FnOnce()) {
    if container.create().code == 0 {
        check();
        container.delete_force().ok();
    }
}

fn without_dev(bundle: Bundle) -> Bundle {
    bundle.without_mount("/dev").without_mount("/dev/pts").without_mount("/dev/shm").without_mount("/dev/mqueue")
}

/// The mask is the container's /dev/null only if that is device 1:3 (by descriptor); also CVE-2025-62161 (youki).
/// Here the image's /dev/null changes all the time between the device and a link to a file of proc.
#[test]
fn cve_2025_31133_null_changes_while_paths_are_masked() {
    let bundle = without_dev(with_caps(Bundle::idle(), ALL_CAPS)).push("/linux/maskedPaths", json!("/proc/version"));
    let (null, link) = (bundle.rootfs().join("dev/null"), bundle.rootfs().join("dev/other"));
    let node = nix::sys::stat::SFlag::S_IFCHR;
    nix::sys::stat::mknod(&null, node, nix::sys::stat::Mode::from_bits_truncate(0o666), libc::makedev(1, 3)).unwrap();
    symlink("/proc/sys/kernel/core_pattern", &link).unwrap();
    let container = bundle.container();
    while_swapping(&null, &link, || {
        made(&container, || {
            for (point, fs, root) in mounts(&container) {
                assert!(!(fs == "proc" && root.contains("core_pattern")), "{root} is on {point}");
            }
            // By what it is: its name may have changed since.
            let mask = fs::metadata(format!("/proc/{}/root/proc/version", container.pid())).unwrap();
            assert_eq!(mask.rdev(), libc::makedev(1, 3));
        });
    });
}

/// proc and sysfs are attached to a descriptor that was opened without following a link. CVE-2019-19921 is the
/// race between two containers with a volume in common, CVE-2023-27561, CVE-2023-28642 and CVE-2025-54867 are
/// the plain link (see `mount::links::proc_that_is_a_link_is_refused`).
#[test]
fn cve_2019_19921_proc_changes_into_a_link() {
    for name in ["proc", "sys"] {
        let bundle = Bundle::idle();
        let (place, link) = (bundle.rootfs().join(name), bundle.rootfs().join("link"));
        fs::create_dir(bundle.rootfs().join("elsewhere")).unwrap();
        symlink("elsewhere", &link).unwrap();
        let container = bundle.container();
        while_swapping(&place, &link, || {
            made(&container, || {
                let kind = if name == "proc" { "proc" } else { "sysfs" };
                let mounts = mounts(&container);
                let point = format!("/{name}");
                let whole: Vec<_> = mounts.iter().filter(|(_, fs, root)| fs == kind && root == "/").collect();
                assert!(whole.iter().all(|(at, ..)| *at == point || *at == "/link"), "{mounts:?}");
                assert!(!mounts.iter().any(|(at, fs, _)| fs == kind && at.starts_with("/elsewhere")), "{mounts:?}");
            });
        });
    }
}

/// Labels and sysctls are written through a proc mounted for nobody else, so nothing that the image or a mount
/// puts over the container's own is ever written to. Also CVE-2025-62596 (youki), CVE-2019-16884. There is no LSM
/// here, so the writes are those of sysctl; labels take the same way.
#[test]
fn cve_2025_52881_sysctl_writes_are_not_redirected() {
    for dest in ["/proc/sys/net/ipv4", "/proc/sys", "/link/net/ipv4", "/link"] {
        let bundle = Bundle::probe(&["read:/proc/sys/net/ipv4/ip_forward"]);
        let fake = bundle.host_dir("fake");
        for dir in ["net", "net/ipv4"] {
            fs::create_dir(fake.join(dir)).unwrap();
        }
        for file in ["ip_forward", "net/ipv4/ip_forward"] {
            fs::write(fake.join(file), "untouched").unwrap();
        }
        symlink("/proc/sys", bundle.rootfs().join("link")).unwrap();
        let source = fake.to_str().unwrap().to_owned();
        let container = bundle
            .mount("bind", &source, dest, &["bind"])
            .set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1" }))
            .container();
        let output = container.run();
        for file in ["ip_forward", "net/ipv4/ip_forward"] {
            assert_eq!(fs::read_to_string(fake.join(file)).unwrap(), "untouched", "{dest}: {output:?}");
        }
    }
}

/// CVE-2022-0811 (CRI-O): a separator in a value or a name sets more than was checked.
#[test]
fn cve_2022_0811_sysctl_smuggling() {
    let before = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let names = [
        "kernel.core_pattern",
        "kernel/core_pattern",
        "net.ipv4.ip_forward+kernel.core_pattern",
        "net.ipv4/../../kernel/core_pattern",
        "net/../kernel/core_pattern",
        "net..kernel.core_pattern",
        "net.ipv4.ip_forward ",
        "/kernel/core_pattern",
        "../kernel/core_pattern",
        "net.",
        "",
    ];
    for name in names {
        let container = Bundle::sh("true").set("/linux/sysctl", json!({ name: "|/evil" })).container();
        container.run().fails();
        assert_eq!(fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(), before, "{name:?}");
    }
    if skip_on(&["runc", "crun"], "the kernel takes the number and leaves the rest") {
        return;
    }
    let smuggled = "1+kernel.core_pattern=|/evil #";
    let container = Bundle::sh("true").set("/linux/sysctl", json!({ "kernel.shm_rmid_forced": smuggled })).container();
    container.run();
    assert_eq!(fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(), before);
}
