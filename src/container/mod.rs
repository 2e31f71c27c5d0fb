//! The verbs: what can be done to a container. Each takes options as values and returns data.
//!
//! Runs in the parent. Prints nothing and never exits; warnings go to the caller's [`options::Global::warn`].

mod delete;
mod events;
mod freeze;
mod kill;
mod lifecycle;
mod lookup;
pub mod options;
mod ps;
mod select;
pub mod signal;
mod update;
mod view;

pub use delete::{Poststop, delete};
pub use events::{Event, events, stats};
pub use freeze::{pause, resume};
pub use kill::kill;
pub use lifecycle::{checkpoint, create, exec, poststop, restore, run, start};
pub use lookup::Container;
pub use ps::{pids, ps};
pub use update::update;
pub use view::{View, list, state};
