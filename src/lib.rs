//! brisk, a daemonless OCI container runtime. See docs/DESIGN.md for the map of these modules.
//!
//! The modules are listed from the bottom up; each may use only those above it in this list
//! (`tests/architecture.rs` checks it).

pub mod error;
pub mod plan;
pub mod spec;
pub mod sys;
