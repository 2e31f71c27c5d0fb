//! The annotations that are instructions: crun's `run.oci.*` that brisk follows and one of its own (docs/COMPAT.md
//! lists them). All others are data and only handed on.

use std::collections::BTreeMap;

use crate::error::{Error, Result, Stage};
use crate::spec::Spec;

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
/// Sub-cgroup that the process moves to and may manage (v2).
pub const DELEGATE_CGROUP: &str = "run.oci.delegate-cgroup";
/// Other than `0`: limits are set where this user may set them, and left out elsewhere. brisk's own.
pub const CGROUP_BEST_EFFORT: &str = "run.brisk.cgroup_best_effort";

/// All of them.
pub const ALL: [&str; 9] = [
    SECCOMP_BPF_DATA,
    SECCOMP_RECEIVER,
    FAIL_UNKNOWN_SYSCALL,
    KEEP_ORIGINAL_GROUPS,
    HOOKS_STDOUT,
    HOOKS_STDERR,
    PIDFD_RECEIVER,
    DELEGATE_CGROUP,
    CGROUP_BEST_EFFORT,
];

/// A value that is there and not empty.
pub fn value<'a>(annotations: &'a BTreeMap<String, String>, key: &str) -> Option<&'a str> {
    annotations.get(key).map(String::as_str).filter(|value| !value.is_empty())
}

/// A switch: on when it is there with any value but `0`.
pub fn is_on(annotations: &BTreeMap<String, String>, key: &str) -> bool {
    annotations.get(key).is_some_and(|value| value != "0")
}

/// The socket of [`SECCOMP_RECEIVER`].
pub(super) fn seccomp_receiver(spec: &Spec) -> Result<Option<String>> {
    match value(&spec.annotations, SECCOMP_RECEIVER) {
        Some(path) if !path.starts_with('/') => {
            Err(Error::new(Stage::Seccomp, format!("{SECCOMP_RECEIVER} {path:?} is not an absolute path")))
        }
        path => Ok(path.map(str::to_owned)),
    }
}

/// The path of [`DELEGATE_CGROUP`], below the container's cgroup.
pub(super) fn delegate_cgroup(spec: &Spec) -> Result<Option<&str>> {
    let Some(path) = value(&spec.annotations, DELEGATE_CGROUP) else { return Ok(None) };
    if path.split('/').any(|part| part == "..") {
        return Err(Error::new(Stage::Cgroup, format!("{DELEGATE_CGROUP} {path:?} contains `..`")));
    }
    Ok(Some(path))
}
