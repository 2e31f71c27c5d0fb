//! Tests of the real binary on the real kernel.
//!
//! `RUNTIME` names the runtime under test (default: the brisk of this build), so the same tests run on
//! runc and crun, which is how a wrong test is found. `MUST_RUN=1` turns a skip caused by the machine into a
//! failure; `BRISK_TEST_TMP` is the directory to work in, `BRISK_PROBE` the statically built probe program.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::print_stderr, reason = "a skip is loud")]

mod cgroup;
mod cli;
mod common;
mod exec;
mod held;
mod hooks;
mod hostile;
mod insight;
mod jobs;
mod lifecycle;
mod mount;
mod namespace;
mod prepared;
mod process;
mod rootless;
mod security;
mod spec;
mod streams;
mod system;
mod terminal;
