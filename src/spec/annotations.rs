//! The annotations that are instructions: crun's `run.oci.*` that brisk follows, systemd's and CRIU's that runc follows,
//! and one of brisk's own (docs/COMPAT.md lists them). All others are data and only handed on.
//!
//! Not trusted: annotations. Whoever builds an image writes those of its manifest, and Podman copies them into
//! config.json. What weakens the container or reaches the host is followed only where the caller says so: the rest of
//! brisk looks at [`Spec::instructions`], which [`Trust::apply`] fills in.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Spec;
use super::overlay::{self, Overlay, Upper};
use crate::error::{Error, Result, Stage};

/// Absolute path of the socket that gets the seccomp listener where the profile names none.
pub const SECCOMP_RECEIVER: &str = "run.oci.seccomp.receiver";
/// Other than `0`: a profile with a system call that does not exist is an error.
pub const FAIL_UNKNOWN_SYSCALL: &str = "run.oci.seccomp_fail_unknown_syscall";
/// A seccomp filter in base64, loaded instead of the compiled profile.
pub const SECCOMP_BPF_DATA: &str = "run.oci.seccomp_bpf_data";
/// Other than `0`: no setgroups(2).
pub const KEEP_ORIGINAL_GROUPS: &str = "run.oci.keep_original_groups";
/// File that standard output of hooks is added to.
pub const HOOKS_STDOUT: &str = "run.oci.hooks.stdout";
/// File that standard error of hooks is added to.
pub const HOOKS_STDERR: &str = "run.oci.hooks.stderr";
/// Socket that gets a pidfd of the container's process.
pub const PIDFD_RECEIVER: &str = "run.oci.pidfd_receiver";
/// What `linux.mountLabel` is to a file system, in place of its `context` (mount(8), "The SELinux context").
pub const MOUNT_CONTEXT_TYPE: &str = "run.oci.mount_context_type";
/// Sub-cgroup that the process moves to and may manage (v2).
pub const DELEGATE_CGROUP: &str = "run.oci.delegate-cgroup";
/// Other than `0`: limits are set where this user may set them, and left out elsewhere. brisk's own.
pub const CGROUP_BEST_EFFORT: &str = "run.brisk.cgroup_best_effort";
/// An overlay over the root: `tmpfs[:SIZE]`, or the directory that keeps what is written. brisk's own, as the next two.
pub const OVERLAY: &str = "run.brisk.overlay";
/// More layers below the root, the uppermost first, apart by colons; a backslash takes the meaning of what follows.
pub const OVERLAY_LOWER: &str = "run.brisk.overlay.lower";
/// Other than `0`: the owners of the files in all layers are those of the container's user namespace.
pub const OVERLAY_IDMAP: &str = "run.brisk.overlay.idmap";
/// A configuration file for CRIU, which can name programs that it runs with root's rights; empty: none.
pub const CRIU_CONFIG: &str = "org.criu.config";
/// What begins with this sets a property of the systemd scope. Some reach other units (`Conflicts`, `OnFailure`).
pub const SYSTEMD_PROPERTY: &str = "org.systemd.property.";

/// Annotations that are followed whoever wrote them: they can only make a container refuse to start.
const HARMLESS: [&str; 1] = [FAIL_UNKNOWN_SYSCALL];

/// Annotations that are followed where the caller says so, besides those that begin with [`SYSTEMD_PROPERTY`].
const NEED_TRUST: [&str; 13] = [
    SECCOMP_BPF_DATA,
    SECCOMP_RECEIVER,
    KEEP_ORIGINAL_GROUPS,
    HOOKS_STDOUT,
    HOOKS_STDERR,
    PIDFD_RECEIVER,
    MOUNT_CONTEXT_TYPE,
    DELEGATE_CGROUP,
    CGROUP_BEST_EFFORT,
    OVERLAY,
    OVERLAY_LOWER,
    OVERLAY_IDMAP,
    CRIU_CONFIG,
];

/// Whether it needs nobody's trust: what is written to a tmpfs is the container's memory, and takes nothing of the host's.
fn is_harmless(key: &str, value: &str) -> bool {
    HARMLESS.contains(&key) || key == OVERLAY && matches!(Upper::parse(value), Some(Upper::Tmpfs(_)))
}

/// Whether an annotation is an instruction that not everybody may give.
pub fn needs_trust(key: &str) -> bool {
    NEED_TRUST.contains(&key) || key.starts_with(SYSTEMD_PROPERTY)
}

/// Which annotations are followed although an image may have brought them: names, `org.systemd.property.*`, or `all`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Trust(Vec<String>);

impl Trust {
    const ALL: &str = "all";

    /// Reads names that `source` has, apart by commas or blanks. A name that means nothing is a mistake of the caller's.
    pub fn parse(list: &str, source: &str) -> Result<Trust> {
        let names = list.split([',', ' ', '\t', '\n']).filter(|name| !name.is_empty());
        let known = |name: &str| name == Trust::ALL || needs_trust(name);
        let checked = |name: &str| match known(name) {
            true => Ok(name.to_owned()),
            false => Err(Error::new(Stage::Args, format!("{source}: {name:?} is not an annotation that needs trust"))
                .with_hint("docs/COMPAT.md lists them; `all` is all of them")),
        };
        names.map(checked).collect::<Result<_>>().map(Trust)
    }

    /// The trust that a configuration was given: what of its annotations is followed on the caller's word.
    pub fn given(spec: &Spec) -> Trust {
        Trust(spec.instructions.keys().filter(|key| needs_trust(key)).cloned().collect())
    }

    /// Whether nothing is trusted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds what somebody else trusts.
    pub fn extend(&mut self, other: Trust) {
        self.0.extend(other.0);
    }

    /// Decides which annotations are followed.
    pub fn apply(&self, spec: &mut Spec) {
        let followed =
            |(key, value): &(&String, &String)| is_harmless(key, value) || (needs_trust(key) && self.allows(key));
        let listed = spec.annotations.iter().filter(followed);
        spec.instructions = listed.map(|(key, value)| (key.clone(), value.clone())).collect();
    }

    /// The annotations that are not followed for want of trust.
    pub fn left_out<'a>(&self, spec: &'a Spec) -> Vec<&'a str> {
        let refused =
            |(key, value): &(&String, &String)| needs_trust(key) && !self.allows(key) && !is_harmless(key, value);
        spec.annotations.iter().filter(refused).map(|(key, _)| key.as_str()).collect()
    }

    fn allows(&self, key: &str) -> bool {
        let allowed = |name: &String| {
            name == Trust::ALL
                || name == key
                || name.strip_suffix('*').is_some_and(|stem| stem == SYSTEMD_PROPERTY && key.starts_with(stem))
        };
        self.0.iter().any(allowed)
    }
}

/// A value that is there and not empty.
pub fn value<'a>(instructions: &'a BTreeMap<String, String>, key: &str) -> Option<&'a str> {
    instructions.get(key).map(String::as_str).filter(|value| !value.is_empty())
}

/// A switch: on when it is there with any value but `0`.
pub fn is_on(instructions: &BTreeMap<String, String>, key: &str) -> bool {
    instructions.get(key).is_some_and(|value| value != "0")
}

/// The mount option that `linux.mountLabel` is given by.
pub fn mount_context(spec: &Spec) -> Result<&'static str> {
    const KINDS: [&str; 4] = ["context", "fscontext", "defcontext", "rootcontext"];
    let Some(wanted) = value(&spec.instructions, MOUNT_CONTEXT_TYPE) else { return Ok(KINDS[0]) };
    KINDS.into_iter().find(|kind| *kind == wanted).ok_or_else(|| {
        let what =
            format!("invalid mount context type {wanted:?}: {MOUNT_CONTEXT_TYPE} is one of {}", KINDS.join(", "));
        Error::new(Stage::Rootfs, what)
    })
}

/// The socket of [`SECCOMP_RECEIVER`].
pub fn seccomp_receiver(spec: &Spec) -> Result<Option<String>> {
    match value(&spec.instructions, SECCOMP_RECEIVER) {
        Some(path) if !path.starts_with('/') => {
            Err(Error::new(Stage::Seccomp, format!("{SECCOMP_RECEIVER} {path:?} is not an absolute path")))
        }
        path => Ok(path.map(str::to_owned)),
    }
}

/// The path of [`DELEGATE_CGROUP`], below the container's cgroup.
pub fn delegate_cgroup(spec: &Spec) -> Result<Option<&str>> {
    let Some(path) = value(&spec.instructions, DELEGATE_CGROUP) else { return Ok(None) };
    if path.split('/').any(|part| part == "..") {
        return Err(Error::new(Stage::Cgroup, format!("{DELEGATE_CGROUP} {path:?} contains `..`")));
    }
    Ok(Some(path))
}

/// The overlay that a configuration asks for, as far as it is followed.
pub fn overlay(spec: &Spec) -> Result<Option<Overlay>> {
    let list = &spec.instructions;
    let Some(text) = value(list, OVERLAY) else {
        return match [OVERLAY_LOWER, OVERLAY_IDMAP].into_iter().find(|key| list.contains_key(*key)) {
            Some(key) => Err(Error::new(Stage::Bundle, format!("{key} means nothing without {OVERLAY}"))),
            None => Ok(None),
        };
    };
    let upper = Upper::parse(text).ok_or_else(|| {
        Error::new(Stage::Bundle, format!("{OVERLAY} {text:?} is neither tmpfs, tmpfs:SIZE nor a directory"))
    })?;
    let lower = value(list, OVERLAY_LOWER).map(overlay::split).unwrap_or_default();
    if lower.iter().any(String::is_empty) {
        return Err(Error::new(Stage::Bundle, format!("{OVERLAY_LOWER} has an empty path")));
    }
    Ok(Some(Overlay { upper, lower, idmap: is_on(list, OVERLAY_IDMAP) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followed(list: &str) -> (Vec<String>, Vec<String>) {
        let mut spec = Spec::default();
        for key in [SECCOMP_BPF_DATA, FAIL_UNKNOWN_SYSCALL, "org.systemd.property.TasksMax", "a.key", "run.oci.handler"]
        {
            spec.annotations.insert(key.to_owned(), "1".to_owned());
        }
        let trust = Trust::parse(list, "test").expect("a list");
        trust.apply(&mut spec);
        let left_out = trust.left_out(&spec).into_iter().map(str::to_owned).collect();
        let again = Trust::given(&spec);
        let keys: Vec<String> = spec.instructions.keys().cloned().collect();
        // What is kept of the decision decides the same.
        again.apply(&mut spec);
        assert_eq!(spec.instructions.keys().cloned().collect::<Vec<_>>(), keys);
        (keys, left_out)
    }

    #[test]
    fn only_what_is_trusted_is_followed() {
        let property = "org.systemd.property.TasksMax";
        assert_eq!(followed("").0, [FAIL_UNKNOWN_SYSCALL]);
        assert_eq!(followed("").1, [property, SECCOMP_BPF_DATA]);
        assert_eq!(followed("all").0, [property, SECCOMP_BPF_DATA, FAIL_UNKNOWN_SYSCALL]);
        assert!(followed("all").1.is_empty());
        for list in [property, "org.systemd.property.*", " run.oci.hooks.stdout,\norg.systemd.property.*"] {
            assert_eq!(
                followed(list),
                ([property, FAIL_UNKNOWN_SYSCALL].map(String::from).into(), vec![SECCOMP_BPF_DATA.to_owned()])
            );
        }
    }

    #[test]
    fn a_name_that_means_nothing_is_refused() {
        for name in ["*", "run.oci.*", "run.oci.seccomp", "All", FAIL_UNKNOWN_SYSCALL] {
            assert!(Trust::parse(name, "test").is_err(), "{name}");
        }
    }
}
