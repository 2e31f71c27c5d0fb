//! What can be done to a container, a file for each command. `state` and `list` are in `view`, `pause` and `resume` in `freeze`,
//! `update --move` in `transfer`;
//! `check BUNDLE` is a folder of its own (`fit`), and so are pools.

pub(in crate::container) mod checkpoint;
pub(in crate::container) mod create;
pub(in crate::container) mod delete;
pub(in crate::container) mod events;
pub(in crate::container) mod exec;
pub(in crate::container) mod freeze;
pub(in crate::container) mod kill;
pub(in crate::container) mod mounts;
pub(in crate::container) mod plan;
pub(in crate::container) mod ps;
pub(in crate::container) mod restart;
pub(in crate::container) mod restore;
pub(in crate::container) mod run;
pub(in crate::container) mod spec;
pub(in crate::container) mod start;
pub(in crate::container) mod transfer;
pub(in crate::container) mod update;
pub(in crate::container) mod view;
pub(in crate::container) mod wait;
