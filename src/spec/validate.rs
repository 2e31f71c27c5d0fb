//! Checks of config.json that need nothing but config.json. Reads no file; runs in the parent.
//!
//! What needs a table of names (options, capabilities, limits, devices, …) is checked by `plan`, where the
//! table is.

use super::hooks::{HookKind, Hooks};
use super::linux::{Linux, NAMESPACES};
use super::mounts::Mount;
use super::process::Process;
use super::{Root, Spec};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result, Stage};

/// uname(2): __NEW_UTS_LEN.
const UTS_MAX: usize = 64;
/// The id that setresuid(2) and chown(2) take as "leave unchanged".
const NO_ID: u32 = u32::MAX;

/// `path` is the field's, as `mounts[2].destination`.
fn bad<T>(path: impl Into<String>, what: impl Into<String>) -> Result<T> {
    Err(invalid(path, what))
}

fn invalid(path: impl Into<String>, what: impl Into<String>) -> Error {
    Error::of_field(Stage::Bundle, path, what)
}

impl Spec {
    /// The root, which no container can do without.
    ///
    /// # Errors
    /// config.json has no root.
    pub fn required_root(&self) -> Result<&Root> {
        self.root.as_ref().ok_or_else(|| invalid("root", "root must be specified"))
    }

    /// Where the root is on the host, for a bundle in this directory; nowhere, the empty path, where there is none.
    pub fn root_dir(&self, bundle: &Path) -> PathBuf {
        self.root.as_ref().map(|root| bundle.join(&root.path)).unwrap_or_default()
    }
}

/// Checks a whole config.json. A missing process is allowed: `create` needs none.
pub fn validate(spec: &Spec) -> Result<()> {
    // An empty one is a warning of `load`.
    if !spec.oci_version.is_empty() && !is_semver(&spec.oci_version) {
        return bad("ociVersion", format!("ociVersion {:?} is not a semantic version", spec.oci_version));
    }
    if spec.required_root()?.path.is_empty() {
        return bad("root.path", "root.path must not be empty");
    }
    if let Some(process) = &spec.process {
        validate_process(process)?;
    }
    spec.mounts.iter().enumerate().try_for_each(|(index, mount)| check_mount(index, mount))?;
    if let Some(hooks) = &spec.hooks {
        check_hooks(hooks)?;
    }
    if spec.annotations.contains_key("") {
        return bad("annotations", "annotations: a key must not be empty");
    }
    // The plan refuses a type that there is not: to miss one that is misspelled would lead astray.
    if spec.namespaces().iter().any(|namespace| !NAMESPACES.contains(&&*namespace.kind)) {
        return Ok(());
    }
    check_uts(spec)?;
    spec.linux.as_ref().map_or(Ok(()), check_linux)
}

/// Checks a process: config.json's, or process.json of `exec`.
pub fn validate_process(process: &Process) -> Result<()> {
    if process.args.is_empty() {
        return bad("process.args", "process.args must not be empty");
    }
    if process.cwd.is_empty() {
        return bad("process.cwd", "process.cwd must not be empty");
    }
    if !process.cwd.starts_with(b"/") {
        return bad("process.cwd", format!("process.cwd {:?} must be an absolute path", process.cwd));
    }
    let user = &process.user;
    let ids = [("uid".to_owned(), user.uid), ("gid".to_owned(), user.gid)].into_iter();
    let more = user.additional_gids.iter().enumerate().map(|(index, gid)| (format!("additionalGids[{index}]"), *gid));
    if let Some((name, _)) = ids.chain(more).find(|(_, id)| *id == NO_ID) {
        return bad(format!("process.user.{name}"), format!("process.user: {NO_ID} is not an id"));
    }
    if user.umask.is_some_and(|umask| umask > 0o777) {
        return bad("process.user.umask", "process.user.umask is above 0777");
    }
    match process.oom_score_adj {
        Some(score) if !(-1000..=1000).contains(&score) => {
            bad("process.oomScoreAdj", format!("process.oomScoreAdj {score} is not between -1000 and 1000"))
        }
        _ => Ok(()),
    }
}

/// `MAJOR.MINOR.PATCH[-PRERELEASE][+BUILD]`. Any version will do: engines are often ahead of runtimes, and the
/// specification keeps a major version compatible.
fn is_semver(version: &str) -> bool {
    let (version, build) = version.split_once('+').map_or((version, None), |(v, build)| (v, Some(build)));
    let (core, pre) = version.split_once('-').map_or((version, None), |(core, pre)| (core, Some(pre)));
    let numbers = || core.split('.');
    let numeric = |n: &str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()) && (n == "0" || !n.starts_with('0'));
    let word = |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let suffix = |text: Option<&str>| text.is_none_or(|text| text.split('.').all(word));
    numbers().count() == 3 && numbers().all(numeric) && suffix(pre) && suffix(build)
}

fn check_mount(index: usize, mount: &Mount) -> Result<()> {
    if mount.destination.is_empty() {
        return bad(format!("mounts[{index}].destination"), "mounts: a destination must not be empty");
    }
    if mount.uid_mappings.is_empty() != mount.gid_mappings.is_empty() {
        return bad(
            format!("mounts[{index}]"),
            format!("mount {}: uidMappings and gidMappings need each other", mount.destination),
        );
    }
    Ok(())
}

fn check_hooks(hooks: &Hooks) -> Result<()> {
    for kind in HookKind::ALL {
        let name = kind.name();
        for (index, hook) in hooks.list(kind).iter().enumerate() {
            if !hook.path.starts_with('/') {
                return bad(
                    format!("hooks.{name}[{index}].path"),
                    format!("hooks.{name}: path {:?} is not absolute", hook.path),
                );
            }
            if let Some(variable) = hook.env.iter().flatten().find(|variable| !variable.contains('=')) {
                return bad(
                    format!("hooks.{name}[{index}].env"),
                    format!("hooks.{name}: environment variable {variable:?} of {} has no =", hook.path),
                );
            }
            if hook.timeout.is_some_and(|timeout| timeout <= 0) {
                return bad(
                    format!("hooks.{name}[{index}].timeout"),
                    format!("hooks.{name}: timeout of {} must be greater than zero", hook.path),
                );
            }
        }
    }
    Ok(())
}

fn check_uts(spec: &Spec) -> Result<()> {
    let uts = spec.namespace("uts").is_some();
    for (name, value) in [("hostname", &spec.hostname), ("domainname", &spec.domainname)] {
        let value = value.as_deref().unwrap_or_default();
        if !value.is_empty() && !uts {
            let error = invalid(name, format!("unable to set {name} without a private UTS namespace"));
            return Err(error.with_hint("linux.namespaces needs {\"type\": \"uts\"}"));
        }
        if value.len() > UTS_MAX {
            return bad(name, format!("{name} is longer than {UTS_MAX} bytes"));
        }
    }
    Ok(())
}

/// Fields that make no sense, or would act on the host, without a namespace of their own. Without a mount namespace a
/// container can be given mounts and another root directory, read-only too, for its root is a mount of its own; but what is
/// hidden or made read-only in the host's proc and sysfs would be so for the whole host.
fn check_linux(linux: &Linux) -> Result<()> {
    let needs = [
        ("maskedPaths", linux.masked_paths.is_empty(), "mount"),
        ("readonlyPaths", linux.readonly_paths.is_empty(), "mount"),
        ("rootfsPropagation", linux.rootfs_propagation.is_none(), "mount"),
        ("netDevices", linux.net_devices.is_empty(), "network"),
    ];
    for (field, absent, kind) in needs {
        if !absent && linux.namespace(kind).is_none() {
            return bad(format!("linux.{field}"), format!("linux.{field} needs a {kind} namespace"));
        }
    }
    let new_time = linux.namespace("time").is_some_and(|namespace| namespace.joined().is_none());
    if !linux.time_offsets.is_empty() && !new_time {
        return bad("linux.timeOffsets", "linux.timeOffsets need a new time namespace".to_owned());
    }
    for (clock, offset) in &linux.time_offsets {
        if !matches!(clock.as_str(), "monotonic" | "boottime") {
            return bad(
                format!("linux.timeOffsets.{clock}"),
                format!("linux.timeOffsets: clock {clock:?} does not exist"),
            );
        }
        if offset.nanosecs >= 1_000_000_000 {
            return bad(
                format!("linux.timeOffsets.{clock}.nanosecs"),
                format!("linux.timeOffsets.{clock}: nanosecs {} is a second or more", offset.nanosecs),
            );
        }
    }
    Ok(())
}
