//! The shim as a program, with containerd's own types speaking to it. `integration/shim/run` says how.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod abuse;
mod death;
mod events;
mod late;
mod lifecycle;
mod load;
mod streams;
