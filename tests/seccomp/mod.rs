//! Seccomp programs against a BPF evaluator, an interpreter of the profile, libseccomp and seccompiler.
#![allow(clippy::unwrap_used, reason = "tests")]

mod bpf;
mod engines;
mod errors;
mod interpreter;
mod libseccomp;
mod random;
mod size;
