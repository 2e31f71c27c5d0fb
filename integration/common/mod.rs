//! What the tests share: the runtime under test, bundles, containers, and looking at what is left behind. The measuring
//! and fault-injecting programs make their bundles here and look here for what is left, too.
#![allow(dead_code, reason = "several programs include this module and none but the integration tests uses all of it")]

pub mod bundle;
pub mod container;
pub mod host;
pub mod keys;
pub mod leases;
pub mod leftovers;
pub mod plan;
pub mod process;

pub use bundle::Bundle;
pub use container::Container;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

/// The program under test.
pub fn runtime() -> PathBuf {
    std::env::var_os("RUNTIME")
        .or_else(|| std::env::var_os("BRISK"))
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_brisk")), PathBuf::from)
}

/// Its name: `brisk`, `runc`, `crun`, …
pub fn runtime_name() -> String {
    runtime().file_name().unwrap().to_string_lossy().into_owned()
}

/// How long a command may take before the test gives up; `BRISK_TEST_SLOW` multiplies it (emulated guests).
pub fn time_limit() -> Duration {
    let factor = std::env::var("BRISK_TEST_SLOW").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    Duration::from_secs(30 * factor)
}

/// Says why a test does not run. libtest captures only the print macros, so this is always seen. `integration/all` reads it.
pub fn skip(reason: &str) {
    let name = std::thread::current().name().unwrap_or("?").to_string();
    let line = format!("SKIP {name}: {reason}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// True if a peer under test is known not to have what the test is about. Never true for brisk.
#[must_use]
pub fn skip_on(peers: &[&str], reason: &str) -> bool {
    let name = runtime_name();
    let lacks = peers.contains(&name.as_str());
    if lacks {
        skip(&format!("{name}: {reason}"));
    }
    lacks
}

/// True if the test is about something only brisk has and another runtime is under test.
#[must_use]
pub fn brisk_only(reason: &str) -> bool {
    let other = runtime_name() != "brisk";
    if other {
        skip(&format!("only brisk: {reason}"));
    }
    other
}

/// True outside of the throw-away guests of `integration/vm`: what the test does, nobody may do to a real machine.
#[must_use]
pub fn skip_outside_guests(reason: &str) -> bool {
    let outside = std::env::var_os("BRISK_GUEST").is_none();
    if outside {
        skip(&format!("only in a guest: {reason}"));
    }
    outside
}

/// True if the machine lacks what the test needs; fails instead with `MUST_RUN=1`.
#[must_use]
pub fn skip_unless(condition: Need, reason: &str) -> bool {
    if condition == Need::Missing {
        skip_here(reason);
    }
    condition == Need::Missing
}

/// A skip because of what this machine lacks; a failure with `MUST_RUN=1`.
pub fn skip_here(reason: &str) {
    skip(reason);
    assert!(std::env::var("MUST_RUN").as_deref() != Ok("1"), "MUST_RUN=1: {reason}");
}

/// True if the host has not all of these cgroup controllers (named as in cgroup v2).
#[must_use]
pub fn lacks(controllers: &[&str]) -> bool {
    let missing = controllers.iter().find(|name| !host::has_controller(name));
    skip_unless(Need::from(missing.is_none()), &format!("no {} controller", missing.unwrap_or(&"")))
}

/// Whether the machine has what a test needs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// It has.
    Met,
    /// It has not.
    Missing,
}

impl From<bool> for Need {
    fn from(met: bool) -> Self {
        if met { Need::Met } else { Need::Missing }
    }
}
