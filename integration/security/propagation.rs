//! Nothing of a container's mounts reaches the host, unless `shared` was asked for: neither those of config.json nor what
//! the container mounts itself, below a volume whose mount is shared on the host.

use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::MsFlags;
use serde_json::json;

use super::with_caps;
use crate::common::{Bundle, Container, skip_on};

/// A shared mount of the host with another one below it.
fn shared(bundle: &mut Bundle) -> PathBuf {
    let volume = bundle.host_dir("volume");
    bundle.mount_on_host(Path::new("tmpfs"), &volume, "tmpfs", MsFlags::empty(), "size=64k");
    bundle.mount_on_host(Path::new("none"), &volume, "", MsFlags::MS_SHARED, "");
    for name in ["nested", "planned", "own"] {
        fs::create_dir(volume.join(name)).unwrap();
    }
    let nested = volume.join("nested");
    bundle.mount_on_host(Path::new("tmpfs"), &nested, "tmpfs", MsFlags::empty(), "size=64k");
    bundle.mount_on_host(Path::new("none"), &nested, "", MsFlags::MS_SHARED, "");
    for name in ["planned", "own"] {
        fs::create_dir(nested.join(name)).unwrap();
    }
    volume
}

/// The mounts that the host has below the volume.
fn on_host(volume: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points = table.lines().map(|line| line.split(' ').nth(4).unwrap().to_owned());
    points.filter(|point| Path::new(point).starts_with(volume)).collect()
}

/// With `create`, so that the container is there, then with its program, which mounts for itself.
fn attempt(propagation: Option<&str>, volume_option: &str, sub: &str) -> Vec<String> {
    let script = format!(
        "mount -t tmpfs own /volume{sub}/own 2>/dev/null; mount --bind /tmp /volume{sub}/own 2>/dev/null; exit 0"
    );
    let mut bundle = with_caps(Bundle::sh(&script), &["CAP_SYS_ADMIN"]);
    let volume = shared(&mut bundle);
    let mut bundle = bundle.mount("bind", volume.to_str().unwrap(), "/volume", &[volume_option]).mount(
        "tmpfs",
        "planned",
        &format!("/volume{sub}/planned"),
        &[],
    );
    if let Some(propagation) = propagation {
        bundle = bundle.set("/linux/rootfsPropagation", json!(propagation));
    }
    let before = on_host(&volume);
    let container: Container = bundle.container();
    container.run();
    let mut found = on_host(&volume);
    for known in before {
        let at = found.iter().position(|point| *point == known).unwrap();
        found.remove(at);
    }
    for point in found.iter().rev() {
        nix::mount::umount2(&**point, nix::mount::MntFlags::MNT_DETACH).unwrap();
    }
    found
}

#[test]
fn no_mount_of_a_container_appears_on_the_host() {
    for propagation in [None, Some("private"), Some("slave"), Some("rprivate"), Some("rslave"), Some("unbindable")] {
        if !matches!(propagation, None | Some("rprivate" | "rslave")) && skip_on(&["runc", "crun"], "not recursive") {
            continue;
        }
        for (option, sub) in [("bind", ""), ("rbind", ""), ("rbind", "/nested")] {
            let found = attempt(propagation, option, sub);
            assert!(found.is_empty(), "rootfsPropagation {propagation:?}, {option}, {sub:?}: on the host: {found:?}");
        }
    }
}

/// Known to be able to fail: where it was asked for, the mounts are there.
#[test]
fn shared_is_shared() {
    if skip_on(&["crun", "runc"], "another notion of shared") {
        return;
    }
    assert!(!attempt(Some("rshared"), "rbind", "").is_empty());
}
