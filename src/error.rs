//! The one error type: which stage failed, on what, and why.
//!
//! Decides nothing and touches nothing; library code returns these and never prints them. `main` prints
//! the chain once, on standard error and in the log (see [`Error::hint`] for the advice it adds).

use std::borrow::Cow;
use std::fmt;

use nix::errno::Errno;

/// The part of the work that failed. It is the first word of the printed error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Command line.
    Args,
    /// The bundle: config.json, process.json, the rootfs they name.
    Bundle,
    /// Facts about the kernel and this user.
    Host,
    /// Container state below the root directory.
    State,
    /// Control groups.
    Cgroup,
    /// Namespaces and id maps.
    Namespace,
    /// Mounts, devices, and everything else below the container's root.
    Rootfs,
    /// Credentials, limits and other attributes of the container's process.
    Process,
    /// Seccomp filters.
    Seccomp,
    /// AppArmor and SELinux.
    Lsm,
    /// Hooks.
    Hook,
    /// Terminals and console sockets.
    Console,
    /// Network devices.
    Network,
    /// The exchange between parent and child.
    Sync,
    /// Signals sent to a container.
    Signal,
    /// Checkpoint and restore.
    Criu,
    /// `execve` of the container's program.
    Exec,
}

impl Stage {
    /// The word used in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Args => "args",
            Stage::Bundle => "bundle",
            Stage::Host => "host",
            Stage::State => "state",
            Stage::Cgroup => "cgroup",
            Stage::Namespace => "namespace",
            Stage::Rootfs => "rootfs",
            Stage::Process => "process",
            Stage::Seccomp => "seccomp",
            Stage::Lsm => "lsm",
            Stage::Hook => "hook",
            Stage::Console => "console",
            Stage::Network => "network",
            Stage::Sync => "sync",
            Stage::Signal => "signal",
            Stage::Criu => "criu",
            Stage::Exec => "exec",
        }
    }
}

/// What lies below an [`Error`].
#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error("{}", errno_text(*.0))]
    Errno(Errno),
    #[error("{}", io_text(.0))]
    Io(std::io::Error),
    #[error("{0}")]
    Json(serde_json::Error),
    #[error("{0}")]
    Error(Box<Error>),
}

/// A failed operation: its stage, what was done to which object, and the cause.
#[derive(Debug)]
pub struct Error {
    stage: Stage,
    what: String,
    cause: Option<Cause>,
    hint: Option<Cow<'static, str>>,
}

/// The result of everything that is not a bare system call.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error that is its own cause. `what` is lower case, with no full stop.
    pub fn new(stage: Stage, what: impl Into<String>) -> Self {
        Error { stage, what: what.into(), cause: None, hint: None }
    }

    /// An error caused by a failed system call.
    pub fn errno(stage: Stage, what: impl Into<String>, errno: Errno) -> Self {
        Error { stage, what: what.into(), cause: Some(Cause::Errno(errno)), hint: None }
    }

    /// The same error with a piece of advice.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The stage that failed.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// The errno at the bottom of the chain, where there is one.
    pub fn root_errno(&self) -> Option<Errno> {
        match self.cause.as_ref()? {
            Cause::Errno(errno) => Some(*errno),
            Cause::Io(error) => error.raw_os_error().map(Errno::from_raw),
            Cause::Json(_) => None,
            Cause::Error(error) => error.root_errno(),
        }
    }

    /// Advice for the person who reads the error, if there is any.
    pub fn hint(&self) -> Option<&str> {
        if let Some(hint) = &self.hint {
            return Some(hint);
        }
        if let Some(Cause::Error(inner)) = &self.cause
            && let Some(hint) = inner.hint()
        {
            return Some(hint);
        }
        let errno = self.root_errno()?;
        HINTS
            .iter()
            .find(|(stage, e, word, _)| *stage == self.stage && *e == errno && self.what.contains(word))
            .map(|(.., hint)| *hint)
    }
}

const TOO_MANY_NAMESPACES: &str =
    "a limit on namespaces was reached: see sysctl user.max_*_namespaces, or namespaces are nested more than 32 deep";
const NO_SUCH_NAMESPACE: &str = "the kernel lacks one of the namespace types asked for: see /proc/self/ns";

/// Advice by stage, errno and a word of the operation; the first match wins.
const HINTS: &[(Stage, Errno, &str, &str)] = &[
    (
        Stage::Namespace,
        Errno::EPERM,
        "clone",
        "without CAP_SYS_ADMIN only user namespaces can be made, and those may be off: see sysctl kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns and user.max_user_namespaces",
    ),
    (Stage::Namespace, Errno::ENOSPC, "clone", TOO_MANY_NAMESPACES),
    (Stage::Namespace, Errno::ENOSPC, "unshare", TOO_MANY_NAMESPACES),
    (Stage::Namespace, Errno::EINVAL, "clone", NO_SUCH_NAMESPACE),
    (Stage::Namespace, Errno::EINVAL, "unshare", NO_SUCH_NAMESPACE),
    (
        Stage::Rootfs,
        Errno::EPERM,
        "mount proc",
        "a fresh proc needs a proc that nothing covers in the parent namespace, and a pid namespace of the container's own",
    ),
    (
        Stage::Rootfs,
        Errno::EPERM,
        "mount sysfs",
        "a fresh sysfs needs a network namespace owned by the container's user namespace; bind /sys instead",
    ),
    (Stage::Rootfs, Errno::ELOOP, "", "a symbolic link stands where a directory or file is needed"),
    (Stage::Rootfs, Errno::ENODEV, "mount", "the kernel does not know this file system type: see /proc/filesystems"),
    (
        Stage::Cgroup,
        Errno::EBUSY,
        "write",
        "the limit is below what is in use, or processes sit in an inner node of the cgroup tree",
    ),
    (
        Stage::Cgroup,
        Errno::ENOSPC,
        "",
        "cpuset.cpus and cpuset.mems must be set before a process may join, and there is a limit on the number of cgroups",
    ),
    (
        Stage::Cgroup,
        Errno::EACCES,
        "",
        "this user may not write there: the cgroup must be delegated (see systemd.resource-control(5), Delegate=)",
    ),
    (Stage::Cgroup, Errno::EROFS, "", "the cgroup file system is mounted read-only here"),
    (Stage::Process, Errno::EPERM, "rlimit", "raising a hard limit needs CAP_SYS_RESOURCE"),
    (Stage::Process, Errno::EACCES, "oom_score_adj", "lowering oom_score_adj needs CAP_SYS_RESOURCE"),
    (Stage::Exec, Errno::ENOEXEC, "", "the file is not a program for this machine, or a script without a #! line"),
    (
        Stage::Exec,
        Errno::ENOENT,
        "exec",
        "the program's interpreter (its #! line or ELF loader) may be missing in the rootfs",
    ),
];

/// The one of `known` that `typed` may have been meant for: at most a third of its letters differ, and at most three.
pub fn nearest<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = (typed.chars().count() / 3).clamp(1, 3);
    let near = known.map(|word| (distance(typed, word), word)).min_by_key(|(distance, _)| *distance);
    near.filter(|(distance, _)| *distance <= most).map(|(_, word)| word)
}

/// How many letters have to be added, removed, exchanged or swapped with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) =
        (a.chars().flat_map(char::to_lowercase).collect(), b.chars().flat_map(char::to_lowercase).collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let exchanged = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            let swapped = if swapped { rows[i - 2][j - 2] + 1 } else { usize::MAX };
            row.push((rows[i - 1][j] + 1).min(row[j - 1] + 1).min(exchanged).min(swapped));
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

/// The C library's text for `errno` in lower case, as Go prints it: engines match these texts. (nix has texts of its
/// own, "Try again" for EAGAIN.)
pub fn errno_text(errno: Errno) -> String {
    let mut text = std::io::Error::from_raw_os_error(errno as i32).to_string();
    // What std adds: " (os error 34)".
    text.truncate(text.rfind(" (").unwrap_or(text.len()));
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

fn io_text(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(raw) => errno_text(Errno::from_raw(raw)),
        None => error.to_string(),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.stage.name(), self.what)?;
        match &self.cause {
            Some(cause) => write!(f, ": {cause}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// Turns the error of a lower layer into an [`Error`].
pub trait Context<T> {
    /// Names the stage and the operation; `what` is only evaluated on failure.
    fn at<S: Into<String>>(self, stage: Stage, what: impl FnOnce() -> S) -> Result<T>;
}

macro_rules! context {
    ($source:ty, $cause:ident, $wrap:expr) => {
        impl<T> Context<T> for std::result::Result<T, $source> {
            fn at<S: Into<String>>(self, stage: Stage, what: impl FnOnce() -> S) -> Result<T> {
                self.map_err(|error| Error {
                    stage,
                    what: what().into(),
                    cause: Some(Cause::$cause($wrap(error))),
                    hint: None,
                })
            }
        }
    };
}

context!(Errno, Errno, std::convert::identity);
context!(std::io::Error, Io, std::convert::identity);
context!(serde_json::Error, Json, std::convert::identity);
context!(Error, Error, Box::new);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_is_printed_once_in_lower_case() {
        let low: Result<()> = Err(Errno::ENOENT).at(Stage::Cgroup, || "open memory.max");
        let high = low.at(Stage::State, || "create web1").unwrap_err();
        assert_eq!(high.to_string(), "state: create web1: cgroup: open memory.max: no such file or directory");
        assert_eq!(high.root_errno(), Some(Errno::ENOENT));
    }

    #[test]
    fn errnos_have_the_texts_of_the_c_library() {
        assert_eq!(errno_text(Errno::ERANGE), "numerical result out of range");
        assert_eq!(errno_text(Errno::EAGAIN), "resource temporarily unavailable");
        assert_eq!(errno_text(Errno::EOPNOTSUPP), "operation not supported");
    }

    #[test]
    fn typos_are_near_to_what_was_meant() {
        let known = || ["create", "delete", "memory", "access", "start", "state"].into_iter();
        for (typed, meant) in
            [("crate", "create"), ("memmory", "memory"), ("acess", "access"), ("satrt", "start"), ("Delete", "delete")]
        {
            assert_eq!(nearest(typed, known()), Some(meant));
        }
        for typed in ["", "x", "frobnicate", "inspect"] {
            assert_eq!(nearest(typed, known()), None, "{typed}");
        }
    }

    #[test]
    fn a_known_errno_has_advice() {
        let error = Error::errno(Stage::Namespace, "clone3 (user, pid)", Errno::EPERM);
        assert!(error.hint().unwrap().contains("unprivileged_userns_clone"));
        assert!(Error::new(Stage::Args, "x").hint().is_none());
    }
}
