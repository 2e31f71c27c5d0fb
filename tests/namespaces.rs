//! Namespaces.

use brisk::plan::namespace::{NamespaceKind, Namespaces};
use brisk::spec::linux::{NAMESPACES, Namespace};

use crate::refused;

fn entry(kind: &str, path: Option<&str>) -> Namespace {
    Namespace { kind: kind.to_owned(), path: path.map(str::to_owned) }
}

#[test]
fn names_flags_and_files() {
    // include/uapi/linux/sched.h and namespaces(7).
    let table = [
        ("user", 0x1000_0000, "user"),
        ("pid", 0x2000_0000, "pid"),
        ("network", 0x4000_0000, "net"),
        ("mount", 0x0002_0000, "mnt"),
        ("ipc", 0x0800_0000, "ipc"),
        ("uts", 0x0400_0000, "uts"),
        ("cgroup", 0x0200_0000, "cgroup"),
        ("time", 0x0000_0080, "time"),
    ];
    assert_eq!(table.len(), NamespaceKind::ALL.len());
    assert_eq!(table.map(|(name, _, _)| name), NAMESPACES);
    for (name, flag, file) in table {
        let kind = NamespaceKind::from_name(name).expect(name);
        assert_eq!((kind.name(), kind.flag(), kind.proc_name()), (name, flag, file));
        assert_eq!(Namespaces::parse(&[entry(name, None)]).expect("valid").new, flag);
    }
}

#[test]
fn new_and_joined() {
    let list = [
        entry("network", Some("/run/netns/a")),
        entry("pid", None),
        entry("user", Some("/proc/1/ns/user")),
        entry("uts", Some("")),
    ];
    let namespaces = Namespaces::parse(&list).expect("valid");
    assert_eq!(namespaces.new, NamespaceKind::Pid.flag() | NamespaceKind::Uts.flag());
    let joined: Vec<_> = namespaces.join.iter().map(|joined| joined.kind).collect();
    assert_eq!(joined, [NamespaceKind::User, NamespaceKind::Network], "the user namespace is joined first");
    assert!(
        namespaces.is_new(NamespaceKind::Pid)
            && !namespaces.is_new(NamespaceKind::User)
            && namespaces.contains(NamespaceKind::User)
    );
    assert_eq!(namespaces.joined(NamespaceKind::Network), Some("/run/netns/a"));
    assert!(!namespaces.contains(NamespaceKind::Mount));
}

#[test]
fn refusals() {
    let table = [
        (vec![entry("nope", None)], "namespace \"nope\" does not exist"),
        (vec![entry("net", None)], "namespace \"net\" does not exist"),
        (vec![entry("", None)], "does not exist"),
        (vec![entry("pid", None), entry("pid", None)], "namespace pid is listed twice"),
        (vec![entry("pid", Some("/a")), entry("pid", None)], "namespace pid is listed twice"),
        (vec![entry("ipc", Some("proc/1/ns/ipc"))], "is not absolute"),
    ];
    for (list, want) in table {
        let text = refused(Namespaces::parse(&list));
        assert!(text.contains(want), "{text}");
    }
}
