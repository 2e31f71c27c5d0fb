//! Pools: templates that are made before anybody asks, claimed by one rename, used once and thrown away.
//!
//! Runs in the parent. `store` is what is kept, `inherited` what a caller brings along, `fill` makes members and takes them away, `claim` makes one a container, `run`
//! runs a program in it; `verbs` are what is asked about a pool. There is no daemon: whoever comes does what is due.

mod claim;
mod fill;
mod inherited;
mod run;
mod store;
mod verbs;

pub use run::run;
pub use verbs::{PoolStats, PoolView, create, delete, drain, fill, list, stats};
