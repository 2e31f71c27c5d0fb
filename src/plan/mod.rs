//! What will be done, as data: pure functions of the bundle, the host's facts and the options.
//!
//! Touches nothing: no system call, no file, no environment, no clock. Runs in the parent. The tables turn what the
//! specification writes as text into the numbers the kernel takes.
//!
//! The modules, in the order of the work: `verbs` puts a plan together, for each command from top to bottom in the order in which
//! it is done. It makes an `Input` (`input`) of the bundle, the host and the `options` (for a process in a container
//! which is there an `Inside`, of `process::inside`), and lets
//! `namespace`, `cgroup` with `systemd`, `rootfs` and `process` with `seccomp` fill a `Draft` (`draft`) with what the parent does
//! (`step`) and what the child does (`op`; `reach` says how far, `strings` are its words). `text` says it in words, for people and for errors.

pub mod cgroup;
mod draft;
mod input;
pub mod namespace;
pub mod op;
mod options;
pub mod process;
pub mod reach;
pub mod rootfs;
pub mod seccomp;
pub mod step;
mod strings;
pub mod systemd;
pub mod text;
pub mod verbs;

use std::ffi::CString;

use cgroup::CgroupPlan;
use draft::Draft;
use namespace::NamespaceKind;
use op::{ChildOp, LastOp, SetupOp};
use step::Step;
use systemd::ScopePlan;

use crate::spec::Spec;

pub use options::{CreateOptions, ExecRefusal, Hold, Keyring, Orphan, OverlaySize, ProgramStart};

/// Everything that will be done to create a container, or to run one more process in it.
#[derive(Debug)]
pub struct Plan {
    /// What the parent does.
    pub steps: Vec<Step>,
    /// What the child does while it sets the container up.
    pub setup: Vec<SetupOp>,
    /// What it does last.
    pub last: Vec<LastOp>,
    /// How many trees the child gets while it works.
    pub late_trees: usize,
    /// How many mounts it keeps, to set their attributes later or to work in them.
    pub kept_mounts: usize,
    /// The program's argv, NUL-terminated strings.
    pub args: Vec<CString>,
    /// The program's environment without HOME, where the container's passwd decides it.
    pub env: Vec<CString>,
    /// Signals that the runtime ignores and the program does not, as a mask whose bit 0 is signal 1.
    pub ignored_signals: u64,
    /// Where it waits for `start`.
    pub parks: Parks,
    /// Who is told when the program cannot be executed.
    pub refusal: ExecRefusal,
    /// The cgroup, where the container gets one.
    pub cgroup: Option<CgroupPlan>,
    /// The systemd scope that the cgroup belongs to, with the systemd driver.
    pub scope: Option<ScopePlan>,
    /// What was asked for and will not be done, with the reason.
    pub warnings: Vec<String>,
}

/// Where a process waits for `start`. One that waits can be asked to end by a signal; a program that runs at once begins with
/// what is the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parks {
    /// Nowhere: the program runs at once.
    No,
    /// In the walker of the last calls.
    InWalker,
    /// In the runtime's own code.
    InRuntime,
}

impl Parks {
    fn of(last: &[LastOp]) -> Parks {
        match (last.iter().any(LastOp::awaits_start), last.contains(&LastOp::LeaveRuntime)) {
            (false, _) => Parks::No,
            (true, true) => Parks::InWalker,
            (true, false) => Parks::InRuntime,
        }
    }
}

/// Whether a process of the container can meet one that is still brisk, whatever its last operations do.
pub fn is_met_inside(spec: &Spec) -> bool {
    // The child is born among the processes of a pid namespace that it joins.
    let joins = spec.namespace(NamespaceKind::Pid.name()).is_some_and(|namespace| namespace.joined().is_some());
    // startContainer hooks are programs of the image, run by a process that is still brisk.
    joins || spec.hooks.as_ref().is_some_and(|hooks| !hooks.start_container.is_empty())
}

impl Plan {
    /// What a draft has come to, without a program and without a cgroup.
    fn new(steps: Vec<Step>, draft: Draft) -> Plan {
        Plan {
            steps,
            late_trees: draft.late_trees(),
            kept_mounts: draft.kept_mounts(),
            setup: draft.setup,
            parks: Parks::of(&draft.last),
            last: draft.last,
            args: Vec::new(),
            env: Vec::new(),
            ignored_signals: 0,
            refusal: ExecRefusal::Error,
            cgroup: None,
            scope: None,
            warnings: draft.warnings,
        }
    }

    /// What the child does, in order. Errors and traces count from its first operation.
    pub fn child_ops(&self) -> impl Iterator<Item = ChildOp<'_>> {
        self.setup.iter().map(ChildOp::Setup).chain(self.last.iter().map(ChildOp::Last))
    }

    /// Descriptors from this number on are not the program's.
    pub fn first_fd(&self) -> u32 {
        let first = self.last.iter().find_map(|op| if let LastOp::CloseFrom(first) = op { Some(*first) } else { None });
        first.unwrap_or(3)
    }
}
