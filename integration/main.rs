//! Tests of the real binary on the real kernel.
//!
//! `RUNTIME` names the runtime under test (default: the brisk of this build), so the same tests run on
//! runc and crun, which is how a wrong test is found. `MUST_RUN=1` turns a skip caused by the machine into a
//! failure; `BRISK_TEST_TMP` is the directory to work in, `BRISK_PROBE` the statically built probe program.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::print_stderr, reason = "a skip is loud")]

mod adversity;
mod annotations;
mod bad_input;
mod capabilities;
mod cgroup;
mod cgroup2;
mod check;
mod clock;
mod common;
mod complaints;
mod conformance;
mod criu;
mod devices;
mod each_flag;
mod exec;
mod fields;
mod flags;
mod hard_cases;
mod hooks;
mod lifecycle;
mod mount_options;
mod mounts;
mod namespaces;
mod netdev;
mod notify;
mod paths;
mod pause_update;
mod plan;
mod process;
mod resources;
mod rootfs;
mod rootless;
mod security;
mod systemd;
mod systemd_life;
mod terminal;
mod update;
