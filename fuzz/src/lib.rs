//! The fuzz targets as a library; `make test` compiles `targets` into the unit tests.
#![allow(clippy::unwrap_used, reason = "a target fails by panicking")]

#[path = "../../tests/seccomp/bpf.rs"]
pub mod bpf;
#[path = "../../tests/seccomp/interpreter.rs"]
pub mod interpreter;
pub mod targets;
