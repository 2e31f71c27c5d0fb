//! Seccomp programs against a BPF evaluator, an interpreter of the profile, libseccomp and seccompiler.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::print_stderr, reason = "skips are loud, and figures are for whoever asks with --nocapture")]

pub mod bpf;
mod engines;
mod errors;
pub mod interpreter;
mod kernel;
mod libseccomp;
mod random;
mod seccompiler;
mod size;
