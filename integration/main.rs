//! Tests of the real binary on the real kernel.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stderr, reason = "a skip is loud")]

mod cgroup;
mod systemd;
