//! The verbs: what can be done to a container. Each takes options as values and returns data.
//!
//! Runs in the parent. Prints nothing and never exits; warnings go to the caller's [`options::Global::warn`].

mod checkpoint;
mod console;
mod create;
pub mod criu;
mod delete;
pub mod environment;
mod events;
mod exec;
mod facts;
mod files;
mod fit;
mod foreground;
mod freeze;
mod holder;
mod host_mounts;
mod image;
pub mod job;
mod kill;
mod lookup;
mod mounts;
mod notify;
pub mod options;
pub mod outline;
mod ps;
mod restart;
mod restore;
mod run;
mod select;
pub mod signal;
mod stages;
mod start;
mod streams;
mod trust;
mod update;
mod view;
mod wait;

pub use checkpoint::checkpoint;
pub use create::{create, plan};
pub use delete::delete;
pub use events::{Event, events, stats};
pub use exec::exec;
pub use fit::{Misfit, Needs, Severity, misfits, needs};
pub use freeze::{pause, resume};
pub use kill::kill;
pub use lookup::Container;
pub use mounts::{add_mounts, remove_mounts};
pub use ps::{pids, ps};
pub use restart::restart;
pub use restore::restore;
pub use run::run;
pub use start::start;
pub use update::update;
pub use view::{View, list, names, state};
pub use wait::wait;
