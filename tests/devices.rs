//! Device nodes.

use brisk::plan::rootfs::devices;
use brisk::plan::rootfs::devices::NodeKind;
use brisk::spec::linux::Device;

use crate::refused;

fn device(kind: &str, path: &str, major: i64, minor: i64) -> Device {
    let (kind, path) = (kind.to_owned(), path.to_owned());
    Device { kind, path, major: Some(major), minor: Some(minor), ..Device::default() }
}

#[test]
fn the_default_devices() {
    let nodes = devices::all(&[]).expect("valid");
    let list: Vec<_> = nodes.iter().map(|node| (node.path.as_str(), node.major, node.minor)).collect();
    let want = [
        ("/dev/null", 1, 3),
        ("/dev/zero", 1, 5),
        ("/dev/full", 1, 7),
        ("/dev/random", 1, 8),
        ("/dev/urandom", 1, 9),
        ("/dev/tty", 5, 0),
    ];
    assert_eq!(list, want);
    assert!(nodes.iter().all(|node| node.full_mode() == 0o020_666 && node.uid == 0 && node.gid == 0));
    assert_eq!((nodes[0].rdev(), nodes[0].relative()), (0x103, "dev/null"));
}

#[test]
fn a_configured_device_replaces_the_default_at_its_path() {
    let mine = Device { file_mode: Some(0o020_600), uid: Some(7), ..device("c", "/dev//./null", 1, 3) };
    let nodes = devices::all(&[mine]).expect("valid");
    assert_eq!(nodes.len(), 6);
    let null = nodes.iter().find(|node| node.path == "/dev/null").expect("null");
    assert_eq!((null.mode, null.uid, null.gid), (0o600, 7, 0));
}

#[test]
fn kinds() {
    for (letter, kind, mode) in
        [("c", NodeKind::Char, 0o020_666), ("u", NodeKind::Char, 0o020_666), ("b", NodeKind::Block, 0o060_666)]
    {
        let nodes = devices::parse(&[device(letter, "/dev/x", 4095, 1_048_575)]).expect("valid");
        assert_eq!((nodes[0].kind, nodes[0].full_mode()), (kind, mode));
        assert_eq!(nodes[0].rdev(), libc::makedev(4095, 1_048_575));
    }
    let fifo = Device { kind: "p".to_owned(), path: "/dev/pipe".to_owned(), ..Device::default() };
    let nodes = devices::parse(&[fifo]).expect("valid");
    assert_eq!((nodes[0].kind, nodes[0].full_mode(), nodes[0].rdev()), (NodeKind::Fifo, 0o010_666, 0));
}

#[test]
fn the_same_device_twice_counts_once() {
    let list = [device("c", "/dev/x", 1, 3), device("c", "/dev/x", 1, 3)];
    assert_eq!(devices::parse(&list).expect("valid").len(), 1);
}

#[test]
fn refusals() {
    let missing = Device { minor: None, ..device("c", "/dev/x", 1, 3) };
    let table = [
        (vec![device("x", "/dev/x", 1, 3)], "type \"x\" is none of c, b, u, p"),
        (vec![device("", "/dev/x", 1, 3)], "type \"\""),
        (vec![device("c", "dev/x", 1, 3)], "path is not absolute"),
        (vec![device("c", "", 1, 3)], "path is not absolute"),
        (vec![device("c", "/dev/../etc/x", 1, 3)], "path contains .."),
        (vec![device("c", "//", 1, 3)], "path is the root"),
        (vec![device("c", "/dev/x", -1, 3)], "major -1 is out of range"),
        (vec![device("c", "/dev/x", 4096, 3)], "major 4096 is out of range"),
        (vec![device("b", "/dev/x", 1, 1_048_576)], "minor 1048576 is out of range"),
        (vec![missing], "minor is missing"),
        (vec![device("c", "/dev/x", 1, 3), device("c", "/dev/x", 1, 5)], "another device has this path"),
    ];
    for (list, want) in table {
        let text = refused(devices::parse(&list));
        assert!(text.contains(want), "{text}");
    }
}
