//! `mounts remove` takes away what `mounts add` has mounted, and nothing that the container has put in its way.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::with_caps;
use crate::common::{Bundle, Container, brisk_only};

fn list(container: &Container, destination: &str) -> PathBuf {
    let path = container.bundle.dir.join("list.json");
    let mounts = json!([{ "destination": destination, "type": "tmpfs", "source": "added", "options": ["size=4k"] }]);
    fs::write(&path, mounts.to_string()).unwrap();
    path
}

fn has(container: &Container, point: &str, source: Option<&str>) -> bool {
    let table = container.mountinfo();
    table.lines().any(|line| {
        let (left, right) = line.split_once(" - ").unwrap();
        left.split(' ').nth(4) == Some(point) && source.is_none_or(|source| right.split(' ').nth(1) == Some(source))
    })
}

/// The directory becomes a link to proc, so that the mount with the same name there is the mask.
#[test]
fn a_link_does_not_take_a_mask_away() {
    if brisk_only("mounts remove") {
        return;
    }
    for (dir, name) in [("/proc", "keys"), ("/proc", "sys"), ("/sys", "firmware"), ("/dev", "shm")] {
        let container = Bundle::idle().container();
        container.up();
        let masked = format!("{dir}/{name}");
        assert!(has(&container, &masked, None), "{masked} is not a mount");
        let list = list(&container, &format!("/data/{name}"));
        container.call(&["mounts", "add", &container.id, list.to_str().unwrap()]).ok();
        container.exec(&["/bin/sh", "-c", &format!("/bin/busybox mv /data /old && ln -s {dir} /data")]).ok();
        let output = container.call(&["mounts", "remove", &container.id, list.to_str().unwrap()]);
        assert!(has(&container, &masked, None), "{masked} was uncovered: {output:?}");
    }
}

/// What lies on top now is the container's, not what was added.
#[test]
fn only_what_was_added_is_removed() {
    if brisk_only("mounts remove") {
        return;
    }
    let container = with_caps(Bundle::idle(), &["CAP_SYS_ADMIN"]).container();
    container.up();
    let added = list(&container, "/data");
    container.call(&["mounts", "add", &container.id, added.to_str().unwrap()]).ok();
    container.exec(&["/bin/mount", "-t", "tmpfs", "own", "/data"]).ok();
    let output = container.call(&["mounts", "remove", &container.id, added.to_str().unwrap()]);
    let gone = !has(&container, "/data", Some("added"));
    assert!(output.code != 0 || gone, "said to be removed, and still there: {output:?}");
}

/// `mounts add` follows links of the image, and `mounts remove` as well.
#[test]
fn what_a_link_of_the_image_leads_to_is_removed() {
    if brisk_only("mounts remove") {
        return;
    }
    let bundle = Bundle::idle();
    for (link, target) in [("there", "data"), ("way", "/there"), ("name", "data/file"), ("far", "there/../name")] {
        std::os::unix::fs::symlink(target, bundle.rootfs().join(link)).unwrap();
    }
    let container = bundle.container();
    let data = container.bundle.rootfs().join("data");
    if !data.exists() {
        fs::create_dir(&data).unwrap();
    }
    fs::write(container.bundle.rootfs().join("data/file"), "").unwrap();
    fs::write(container.bundle.dir.join("source"), "").unwrap();
    container.up();
    let source = container.bundle.dir.join("source");
    let file = container.bundle.dir.join("file.json");
    for (place, point) in [("/there", "/data"), ("/way", "/data"), ("/name", "/data/file"), ("/far", "/data/file")] {
        let list = if point == "/data" {
            list(&container, place)
        } else {
            let mounts = json!([{ "destination": place, "type": "bind", "source": source, "options": ["bind"] }]);
            fs::write(&file, mounts.to_string()).unwrap();
            file.clone()
        };
        container.call(&["mounts", "add", &container.id, list.to_str().unwrap()]).ok();
        assert!(has(&container, point, None), "{place}: nothing at {point}");
        container.call(&["mounts", "remove", &container.id, list.to_str().unwrap()]).ok();
        assert!(!has(&container, point, None), "{place}: still at {point}");
    }
}
