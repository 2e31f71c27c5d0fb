//! Kernel parameters of the container: only those that belong to one of its own namespaces.
//!
//! A parameter outside them would change the host (kernel.core_pattern runs a program there: CVE-2022-0811
//! smuggled it in through a value). Names are compared whole after conversion to a path, and each parameter
//! goes to the kernel in a write of its own. Pure; runs in the parent.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Result, Stage};
use crate::plan::input::Input;
use crate::plan::namespace::{NamespaceKind, Namespaces};
use crate::plan::op::SetupOp;
use crate::plan::strings::c_string;

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysctl {
    /// Relative to /proc/sys; no component is empty, `.` or `..`.
    pub path: String,
    /// One line, without its newline.
    pub value: String,
}

/// Namespaces of its own that the container has, new or joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnNamespaces {
    /// CLONE_NEW* flags.
    pub flags: u64,
}

impl OwnNamespaces {
    /// All namespaces of config.json but those whose `path` is the runtime's own, which only a look at the
    /// files can tell: the caller gives their flags.
    pub fn new(namespaces: &Namespaces, joined_own: u64) -> Self {
        OwnNamespaces { flags: namespaces.named() & !joined_own }
    }

    fn has(self, kind: NamespaceKind) -> bool {
        self.flags & kind.flag() != 0
    }
}

/// Parameters of the IPC namespace, besides fs/mqueue.
const IPC: &[&str] = &[
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shm_rmid_forced",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
];

/// The writes of `linux.sysctl`.
pub(in crate::plan) fn ops(input: &Input<'_>) -> Result<Vec<SetupOp>> {
    let own = OwnNamespaces::new(&input.namespaces, input.options.joined_own);
    let text = |text: String| c_string(text, "linux.sysctl");
    let write = |sysctl: Sysctl| Ok(SetupOp::Sysctl(text(format!("sys/{}", sysctl.path))?, text(sysctl.value)?));
    parse(&input.linux.sysctl, own)?.into_iter().map(write).collect()
}

/// Reads `linux.sysctl`.
pub fn parse(list: &BTreeMap<String, String>, own: OwnNamespaces) -> Result<Vec<Sysctl>> {
    let mut writes: Vec<Sysctl> = Vec::with_capacity(list.len());
    let mut paths = BTreeSet::new();
    for (name, value) in list {
        let bad = |why: &str| {
            Error::of_field(Stage::Bundle, format!("linux.sysctl.{name}"), format!("sysctl {name:?} {why}"))
        };
        let path = to_path(name).ok_or_else(|| bad("is not a valid name"))?;
        check(&path, own).map_err(|why| bad(&why))?;
        let value = value.strip_suffix('\n').unwrap_or(value);
        if value.contains(['\n', '\0']) {
            return Err(bad("has a value of more than one line"));
        }
        if !paths.insert(path.clone()) {
            return Err(bad("is listed twice"));
        }
        writes.push(Sysctl { path, value: value.to_owned() });
    }
    Ok(writes)
}

/// sysctl(8): the first separator decides. After `.` first, dots separate and a slash stands for a dot in a
/// component (`net.ipv4.conf.eth0/1.forwarding`); after `/` first, the name is a path.
fn to_path(name: &str) -> Option<String> {
    let path: String = match name.chars().find(|c| matches!(c, '.' | '/')) {
        Some('.') => name
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect(),
        _ => name.to_owned(),
    };
    let plain = |component: &str| !matches!(component, "" | "." | "..") && !component.contains(['\0', '\n']);
    path.split('/').all(plain).then_some(path)
}

fn check(path: &str, own: OwnNamespaces) -> std::result::Result<(), String> {
    let kind = match path.split_once('/') {
        Some(("net", _)) => NamespaceKind::Network,
        Some(("user", _)) => NamespaceKind::User,
        Some(("fs", below)) if below.starts_with("mqueue/") => NamespaceKind::Ipc,
        Some(("kernel", "domainname")) => NamespaceKind::Uts,
        Some(("kernel", "hostname")) => return Err("conflicts with the field hostname".to_owned()),
        _ if IPC.contains(&path) => NamespaceKind::Ipc,
        _ => return Err("does not belong to a namespace".to_owned()),
    };
    if own.has(kind) {
        return Ok(());
    }
    Err(format!("is not allowed without a {} namespace of the container's own", kind.name()))
}
