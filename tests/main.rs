//! Tests that need no root and change nothing: plans, formats, the shape of the source.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod dbus;
mod systemd_plan;
