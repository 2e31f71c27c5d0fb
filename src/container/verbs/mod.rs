//! What can be done to a container: a file for each command, and in it a function that takes the command's options apart. Runs in the
//! parent.
//!
//! The modules: of its life `create`, `start`, `run`, `restart`, `kill`, `delete` and `wait`; inside of it `exec` and `mounts`; to look at it
//! `view` (`state` and `list`), `ps` and `events`; to change it `freeze` (`pause` and `resume`), `update` and `transfer`
//! (`update --move`), `checkpoint` and `restore`; before it `plan` and `spec`. `check BUNDLE` is a folder of its own (`fit`), and so are
//! pools.

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
