//! The container's cgroup on this host: makes it, writes its limits, moves processes in, freezes, kills,
//! measures and removes it. Runs in the parent; touches only the cgroup file systems.
//!
//! One directory descriptor per hierarchy is opened once and everything else is relative to it. The
//! systemd driver differs only in who makes the directories: once its scope exists, the same handle opens them.
//!
//! The modules, each of which uses only those above it: `file` and `walk` read and write below a descriptor, `saved` is what
//! state.json remembers; `cpuset`, `member` and `handle` open what is there; `devices`, `freeze`, `kill`, `limits`, `oom`,
//! `stats`, `totals`, `usage` and `levels` work on it; `systemd` has a scope made; `attach`, `controllers`, `make`, `remove` and `sub`
//! make the directories, fill and remove them. `rdt` is resctrl, a file system of its own.

mod file;
mod saved;
mod walk;

mod cpuset;
mod handle;
mod member;

mod devices;
mod freeze;
mod kill;
mod levels;
mod limits;
mod oom;
pub mod stats;
mod totals;
mod usage;

pub mod systemd;

mod attach;
mod controllers;
mod make;
mod remove;
mod sub;

pub mod rdt;

pub use handle::Cgroup;
pub use kill::Signal;
pub use levels::{Amount, Levels};
pub use limits::Applied;
pub use member::Absent;
pub use oom::{OomWatch, oom_cause};
pub use remove::Leftover;
pub use saved::{Saved, SavedDir, SavedScope};
pub use stats::Stats;
pub use systemd::scope::scope_manager;
pub use totals::Totals;
pub use usage::{Admission, LimitsToBe};
