//! What the caller chose on the command line, as a plan takes it.

use std::path::PathBuf;

use super::cgroup::tolerance::Tolerance;
use super::op::{Enter, Terminal};
use super::systemd::driver::CgroupDriver;

/// What the caller chose on the command line.
#[derive(Clone, Debug)]
pub struct CreateOptions {
    /// The container's id.
    pub id: String,
    /// The bundle's directory, absolute.
    pub bundle: PathBuf,
    /// How the root is entered.
    pub enter: Enter,
    /// A new session keyring, or the caller's.
    pub keyring: Keyring,
    /// When the program starts.
    pub start: ProgramStart,
    /// What becomes of the program when the runtime dies.
    pub orphan: Orphan,
    /// Descriptors 3 to 3 + n - 1 stay open in the container.
    pub preserved_fds: u32,
    /// Which cgroup driver.
    pub cgroups: CgroupDriver,
    /// What is done about cgroups that cannot be written.
    pub tolerance: Tolerance,
    /// The program's terminal.
    pub terminal: Terminal,
    /// The directory with the notify socket, where the container gets one: in the runtime's state.
    pub notify: Option<PathBuf>,
    /// Namespaces (`CLONE_NEW*`) whose path in config.json is that of the runtime's own: joining them gives the
    /// container nothing of its own.
    pub joined_own: u64,
    /// Whether somebody wants to know how large the overlay has become.
    pub overlay_size: OverlaySize,
    /// Whether the runtime has something to do before the program is let go.
    pub hold: Hold,
    /// What is odd about the text of config.json.
    pub oddities: Vec<String>,
}

/// Whether the child hands out a descriptor by which the upper layer of its overlay can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum OverlaySize {
    NotAsked,
    Asked,
}

/// Whether a process that is set up waits until the runtime looks after it ([`super::step::Step::TakeCharge`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Hold {
    No,
    Yes,
}

/// The session keyring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Keyring {
    New,
    Inherit,
}

/// When the program starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgramStart {
    /// At `start`.
    OnSignal,
    /// At `start`, which brings what the program is: a template.
    Brought,
    /// At once (`run`, `exec`).
    Now(ExecRefusal),
}

impl ProgramStart {
    /// Who is told of a refusal. After `create` has returned nobody reads the wire any more.
    pub const fn refusal(self) -> ExecRefusal {
        match self {
            ProgramStart::OnSignal | ProgramStart::Brought => ExecRefusal::Said,
            ProgramStart::Now(refusal) => refusal,
        }
    }
}

/// How the caller learns that execve(2) refused the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExecRefusal {
    /// By an error: who asked for a result is told that the program never ran.
    Error,
    /// By the program's own standard error and its status, as after `start`, detached or not.
    #[default]
    Said,
}

/// What becomes of a program when the runtime that started it dies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Orphan {
    /// The container runs on.
    #[default]
    LivesOn,
    /// The kernel kills it (`PR_SET_PDEATHSIG`).
    Dies,
}
