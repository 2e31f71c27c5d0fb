//! brisk, a daemonless OCI container runtime. See docs/DESIGN.md for the map of these modules and for which
//! of them may use which (`tests/architecture` checks it).

pub mod cgroup;
pub mod child;
pub mod cli;
pub mod compose;
pub mod container;
pub mod dbus;
pub mod error;
pub mod host;
pub mod launch;
pub mod plan;
pub mod proc;
pub mod spec;
pub mod state;
pub mod sys;
pub mod wire;
