//! The verbs: what can be done to a container. Each takes options as values and returns data.
//!
//! Runs in the parent. Prints nothing and never exits; warnings go to the caller's [`options::Global::warn`].
//!
//! The folders, each of which uses only those before it: `caller` is what the caller has handed over and is told; `attend` stays with
//! a program up to its end; `lookup` finds containers that are there; `job` answers for what becomes of a program; `make` is how one comes to be, from the
//! bundle to its process; `inside` begins a process in one that is there already; `fit` is `check BUNDLE`; `criu` is how a
//! checkpoint speaks to CRIU; `verbs` has a file for each command; `pool` keeps containers that were made before anybody asked.
//!
//! Flat lies what all of them are asked with: `options` and `outline` are what was asked, `environment` what the caller's variables
//! add, `signal` has the names of signals, and `runc_log` the words of runc's debug log.

mod attend;
mod caller;
pub mod criu;
pub mod environment;
mod fit;
mod inside;
pub mod job;
mod lookup;
mod make;
pub mod options;
pub mod outline;
pub mod pool;
mod runc_log;
pub mod signal;
mod verbs;

pub use fit::{Misfit, Needs, Severity, misfits, needs};
pub use lookup::Container;
pub use verbs::checkpoint::checkpoint;
pub use verbs::create::create;
pub use verbs::delete::delete;
pub use verbs::events::{Event, events, stats};
pub use verbs::exec::exec;
pub use verbs::freeze::{pause, resume};
pub use verbs::kill::kill;
pub use verbs::mounts::{add_mounts, remove_mounts};
pub use verbs::plan::{PlanOf, plan};
pub use verbs::ps::{pids, ps};
pub use verbs::restart::restart;
pub use verbs::restore::restore;
pub use verbs::run::run;
pub use verbs::spec::{compose_bundle, write_spec};
pub use verbs::start::start;
pub use verbs::transfer::{TransferRow, move_limits};
pub use verbs::update::update;
pub use verbs::view::{View, list, names, state};
pub use verbs::wait::wait;
