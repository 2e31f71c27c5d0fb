//! Seccomp programs against a BPF evaluator, an interpreter of the profile, libseccomp and seccompiler.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests: they panic, and say why they skip and what they counted"
)]

mod bpf;
mod engines;
mod errors;
mod interpreter;
mod libseccomp;
mod random;
mod size;
