//! The one error type: which stage failed, on what, and why.
//!
//! Decides nothing and touches nothing; library code returns these and never prints them. `main` prints
//! the chain once, on standard error and in the log (see [`Error::hint`] for the advice it adds).

mod hints;
mod nearest;

use std::borrow::Cow;
use std::fmt;

use nix::errno::Errno;

pub use nearest::nearest;

/// What a terminal obeys instead of showing it: control characters, and those that change the direction of the text around
/// them or break its line (Unicode's bidirectional controls, CVE-2021-42574).
pub fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

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

macro_rules! deeds {
    ($($(#[doc = $doc:literal])? $deed:ident $name:literal;)*) => {
        /// What was being done, where advice depends on it or log records have it as a field.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the words say it")]
        pub enum Deed { $($(#[doc = $doc])? $deed),* }

        impl Deed {
            /// The word of log records.
            pub const fn name(self) -> &'static str {
                match self { $(Deed::$deed => $name),* }
            }
        }
    };
}

deeds! {
    ReadConfig "read the configuration";
    FindContainer "find the container";
    MakeState "make the state directory";
    Delete "delete";
    Clone "clone3";
    Unshare "unshare";
    Join "setns";
    TakeRoot "take the root";
    /// A file system of the kernel's.
    Mount "mount";
    MountProc "mount proc";
    MountSysfs "mount sysfs";
    Bind "bind mount";
    Overlay "mount overlay";
    PivotRoot "pivot_root";
    Sysctl "write a sysctl";
    Label "set a label";
    Rlimit "setrlimit";
    OomScoreAdj "set oom_score_adj";
    FindProgram "find the program";
    Execve "execve";
    WriteLimit "write a limit";
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
    deed: Option<Deed>,
    object: Option<Box<str>>,
    what: String,
    cause: Option<Cause>,
    /// What `what` tells in words already.
    told: Option<Errno>,
    hint: Option<Cow<'static, str>>,
    excerpt: Option<Box<str>>,
}

/// The result of everything that is not a bare system call.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error that is its own cause. `what` is lower case, with no full stop.
    pub fn new(stage: Stage, what: impl Into<String>) -> Self {
        Error { stage, deed: None, object: None, what: what.into(), cause: None, told: None, hint: None, excerpt: None }
    }

    /// An error caused by a failed system call.
    pub fn errno(stage: Stage, what: impl Into<String>, errno: Errno) -> Self {
        Error { cause: Some(Cause::Errno(errno)), ..Error::new(stage, what) }
    }

    /// The same error with the errno that its words have told.
    #[must_use]
    pub fn told(mut self, errno: Errno) -> Self {
        self.told = Some(errno);
        self
    }

    /// The same error with a piece of advice.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error of something that was done to an object; both are fields of log records, and advice is looked
    /// for by what was done.
    #[must_use]
    pub fn doing(mut self, deed: Deed, object: impl Into<String>) -> Self {
        self.deed = Some(deed);
        self.object = Some(object.into().into_boxed_str()).filter(|object| !object.is_empty());
        self
    }

    /// What was being done, and to what: the innermost error that says so.
    pub fn deed(&self) -> Option<(Deed, Option<&str>)> {
        match &self.cause {
            Some(Cause::Error(inner)) => inner.deed().or_else(|| self.own_deed()),
            _ => self.own_deed(),
        }
    }

    fn own_deed(&self) -> Option<(Deed, Option<&str>)> {
        Some((self.deed?, self.object.as_deref()))
    }

    /// The same error with the lines of a text that it is about, each with a newline.
    #[must_use]
    pub fn with_excerpt(mut self, excerpt: String) -> Self {
        self.excerpt = Some(excerpt.into_boxed_str());
        self
    }

    /// Lines of a text that the error is about.
    pub fn excerpt(&self) -> Option<&str> {
        match (&self.excerpt, &self.cause) {
            (Some(excerpt), _) => Some(excerpt),
            (None, Some(Cause::Error(inner))) => inner.excerpt(),
            (None, _) => None,
        }
    }

    /// The stage that failed.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// The errno at the bottom of the chain, where there is one.
    pub fn root_errno(&self) -> Option<Errno> {
        match &self.cause {
            Some(Cause::Errno(errno)) => Some(*errno),
            Some(Cause::Io(error)) => error.raw_os_error().map(Errno::from_raw),
            Some(Cause::Error(error)) => error.root_errno(),
            Some(Cause::Json(_)) | None => self.told,
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
        hints::find(self.stage, self.deed, self.root_errno()?)
    }
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

/// Says what was being done ([`Error::doing`]); `object` is only evaluated on failure.
pub trait Doing {
    /// Names it.
    #[must_use]
    fn doing<S: Into<String>>(self, deed: Deed, object: impl FnOnce() -> S) -> Self;
}

impl<T> Doing for Result<T> {
    fn doing<S: Into<String>>(self, deed: Deed, object: impl FnOnce() -> S) -> Self {
        self.map_err(|error| error.doing(deed, object()))
    }
}

macro_rules! context {
    ($source:ty, $cause:ident, $wrap:expr) => {
        impl<T> Context<T> for std::result::Result<T, $source> {
            fn at<S: Into<String>>(self, stage: Stage, what: impl FnOnce() -> S) -> Result<T> {
                self.map_err(|error| Error { cause: Some(Cause::$cause($wrap(error))), ..Error::new(stage, what()) })
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
    fn a_known_errno_has_advice() {
        let error = Error::errno(Stage::Namespace, "clone3 (user, pid)", Errno::EPERM).doing(Deed::Clone, "");
        assert!(error.hint().unwrap().contains("unprivileged_userns_clone"));
        assert!(Error::new(Stage::Args, "x").hint().is_none());
    }
}
