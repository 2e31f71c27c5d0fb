//! A hook that the child runs, as data. Pure.

use std::ffi::CString;
use std::time::Duration;

use crate::spec::hooks::HookKind;

/// A hook the child runs in the container's namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildHook {
    /// Which list it is from.
    pub kind: HookKind,
    /// Its place there.
    pub index: usize,
    /// The program.
    pub path: CString,
    /// argv.
    pub args: Vec<CString>,
    /// The whole environment; `None` takes the container process's.
    pub env: Option<Vec<CString>>,
    /// After which it is killed.
    pub timeout: Option<Duration>,
    /// The state written to its standard input.
    pub state: StateText,
    /// Where it is started.
    pub dir: HookDir,
}

/// The working directory of a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookDir {
    /// The container's root, which is not entered yet.
    Root,
    /// What the child has.
    Own,
}

/// The state document of a container, around its pid: hooks in the container get the pid they see there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateText {
    /// What comes before the pid.
    pub before: Vec<u8>,
    /// What comes after it.
    pub after: Vec<u8>,
}

impl StateText {
    /// The document.
    pub fn with(&self, pid: i32) -> Vec<u8> {
        [&self.before[..], pid.to_string().as_bytes(), &self.after[..]].concat()
    }
}
