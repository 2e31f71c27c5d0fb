//! Whole plans, a file for each command that has one, each from top to bottom in the order in which it is done: `create` makes a
//! container, `exec` runs one more process in it, `start` brings a template its program, `mounts` changes the mounts of a container
//! that runs. Pure; runs in the parent.

pub mod create;
pub mod exec;
pub mod mounts;
pub mod start;
