//! Kernel parameters.

use std::collections::BTreeMap;

use brisk::error::Result;
use brisk::plan::namespace::sysctl;
use brisk::plan::namespace::sysctl::{OwnNamespaces, Sysctl};
use brisk::plan::namespace::{NamespaceKind, Namespaces};
use brisk::spec::linux::Namespace;

use crate::refused;

fn parse_in(kinds: &[NamespaceKind], name: &str, value: &str) -> Result<Vec<Sysctl>> {
    let scope = OwnNamespaces { flags: kinds.iter().fold(0, |flags, kind| flags | kind.flag()) };
    sysctl::parse(&BTreeMap::from([(name.to_owned(), value.to_owned())]), scope)
}

#[test]
fn parameters_of_the_containers_own_namespaces() {
    let table: &[(NamespaceKind, &str, &str)] = &[
        (NamespaceKind::Ipc, "kernel.msgmax", "kernel/msgmax"),
        (NamespaceKind::Ipc, "kernel.msgmnb", "kernel/msgmnb"),
        (NamespaceKind::Ipc, "kernel.msgmni", "kernel/msgmni"),
        (NamespaceKind::Ipc, "kernel.sem", "kernel/sem"),
        (NamespaceKind::Ipc, "kernel.shmall", "kernel/shmall"),
        (NamespaceKind::Ipc, "kernel.shmmax", "kernel/shmmax"),
        (NamespaceKind::Ipc, "kernel.shmmni", "kernel/shmmni"),
        (NamespaceKind::Ipc, "kernel/shm_rmid_forced", "kernel/shm_rmid_forced"),
        (NamespaceKind::Ipc, "fs.mqueue.msg_max", "fs/mqueue/msg_max"),
        (NamespaceKind::Network, "net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        (NamespaceKind::Network, "net/ipv4/ip_forward", "net/ipv4/ip_forward"),
        (NamespaceKind::Network, "net.ipv4.conf.eno2/100.rp_filter", "net/ipv4/conf/eno2.100/rp_filter"),
        (NamespaceKind::Network, "net/ipv4/conf/eno2.100/rp_filter", "net/ipv4/conf/eno2.100/rp_filter"),
        (NamespaceKind::Uts, "kernel.domainname", "kernel/domainname"),
        (NamespaceKind::User, "user.max_net_namespaces", "user/max_net_namespaces"),
    ];
    for (kind, name, path) in table {
        let want = Sysctl { path: (*path).to_owned(), value: "1".to_owned() };
        assert_eq!(parse_in(&[*kind], name, "1").expect(name), [want]);
        let others: Vec<_> = NamespaceKind::ALL.into_iter().filter(|other| other != kind).collect();
        let text = refused(parse_in(&others, name, "1"));
        assert!(text.contains("is not allowed without"), "{text}");
    }
}

#[test]
fn parameters_of_the_host() {
    let table = [
        ("kernel.core_pattern", "does not belong to a namespace"),
        ("kernel.shm_next_id", "does not belong to a namespace"),
        ("kernel.shmmaxx", "does not belong to a namespace"),
        ("vm.swappiness", "does not belong to a namespace"),
        ("fs.file-max", "does not belong to a namespace"),
        ("fs.mqueue", "does not belong to a namespace"),
        ("fs.mqueuex.msg_max", "does not belong to a namespace"),
        ("net", "does not belong to a namespace"),
        ("kernel.hostname", "conflicts with the field hostname"),
        ("netx.ipv4", "does not belong to a namespace"),
        ("kernel.shmmax+kernel.core_pattern", "does not belong to a namespace"),
        ("kernel.shmmax\nkernel.core_pattern", "is not a valid name"),
        ("net/../kernel/core_pattern", "is not a valid name"),
        ("net/./ipv4", "is not a valid name"),
        ("net.//.kernel.core_pattern", "is not a valid name"),
        ("net//ipv4", "is not a valid name"),
        ("/net/ipv4", "is not a valid name"),
        ("net.ipv4.", "is not a valid name"),
        ("", "is not a valid name"),
        ("net.\0", "is not a valid name"),
    ];
    for (name, want) in table {
        let text = refused(parse_in(&NamespaceKind::ALL, name, "1"));
        assert!(text.contains(want), "{text}");
    }
}

/// CVE-2022-0811: what follows a separator in a value was taken for another parameter.
#[test]
fn a_value_stays_a_value() {
    let smuggled = "1+kernel.core_pattern=|/bin/evil";
    let writes = parse_in(&[NamespaceKind::Ipc], "kernel.shmmax", smuggled).expect("valid");
    assert_eq!(writes, [Sysctl { path: "kernel/shmmax".to_owned(), value: smuggled.to_owned() }]);
    for value in ["1\nkernel.core_pattern=x", "1\0", "\n\n"] {
        assert!(refused(parse_in(&[NamespaceKind::Ipc], "kernel.shmmax", value)).contains("more than one line"));
    }
    let writes = parse_in(&[NamespaceKind::Network], "net.ipv4.ip_local_port_range", "1024\t2048\n").expect("valid");
    assert_eq!(writes[0].value, "1024\t2048");
}

#[test]
fn one_parameter_under_two_names() {
    let names = ["net.ipv4.ip_forward", "net/ipv4/ip_forward"];
    let list = names.into_iter().map(|name| (name.to_owned(), "1".to_owned())).collect();
    assert!(
        refused(sysctl::parse(&list, OwnNamespaces { flags: NamespaceKind::Network.flag() })).contains("listed twice")
    );
}

#[test]
fn a_joined_namespace_may_be_the_runtimes_own() {
    let joined = Namespace { kind: "network".to_owned(), path: Some("/run/netns/a".to_owned()) };
    let namespaces = Namespaces::parse(&[joined]).expect("valid");
    assert_eq!(OwnNamespaces::new(&namespaces, 0).flags, NamespaceKind::Network.flag());
    assert_eq!(OwnNamespaces::new(&namespaces, NamespaceKind::Network.flag()).flags, 0);
}
