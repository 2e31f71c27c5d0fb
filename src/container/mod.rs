//! The verbs: what can be done to a container. Each takes options as values and returns data.
//!
//! Runs in the parent. Prints nothing and never exits; warnings go to the caller's [`options::Global::warn`].
//!
//! A verb is in the file of its name; `state` and `list` are in `view`, `pause` and `resume` in `freeze`, `check BUNDLE` in
//! `fit`. What they share, in the order of a start: `options` and `outline` are what was asked, `bundle` what config.json says; `environment`, `trust` and
//! `facts` what the plan rests on beside that, `planned` is what it comes to (`stages` its words in a debug log), `trial` tries its limits, and `make` does it; `lookup` and `select` find containers that are
//! there; `files`, `console`, `streams`, `notify`, `program`, `holder`, `host_mounts` and `image` see to what a program and its
//! caller need; `inside` begins one in a container that is there already, `template` one for `start` (`protected` is what such
//! a container keeps from it); `foreground` and `job` stay with it, `signal` has its names; `host_hooks` are what comes after the
//! end. `criu` is how `checkpoint` and `restore` speak to CRIU.

mod bundle;
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
mod host_hooks;
mod host_mounts;
mod image;
mod inside;
pub mod job;
mod kill;
mod lookup;
mod make;
mod mounts;
mod notify;
pub mod options;
pub mod outline;
mod plan;
mod planned;
pub mod pool;
mod program;
mod protected;
mod ps;
mod restart;
mod restore;
mod run;
mod select;
pub mod signal;
mod spec;
mod stages;
mod start;
mod streams;
mod template;
mod trial;
mod trust;
mod update;
mod view;
mod wait;

pub use checkpoint::checkpoint;
pub use create::create;
pub use delete::delete;
pub use events::{Event, events, stats};
pub use exec::exec;
pub use fit::{Misfit, Needs, Severity, misfits, needs};
pub use freeze::{pause, resume};
pub use kill::kill;
pub use lookup::Container;
pub use mounts::{add_mounts, remove_mounts};
pub use plan::{PlanOf, plan};
pub use ps::{pids, ps};
pub use restart::restart;
pub use restore::restore;
pub use run::run;
pub use spec::{compose_bundle, write_spec};
pub use start::start;
pub use update::update;
pub use view::{View, list, names, state};
pub use wait::wait;
