//! What the container's process has: ids, capabilities, limits, labels.

mod apparmor;
mod attributes;
mod capabilities;
mod selinux;

/// A directory and what is above it.
fn make_dirs(dir: &std::path::Path) {
    let mut mkdir = std::process::Command::new("mkdir");
    mkdir.arg("--parents").arg(dir);
    crate::common::process::run(mkdir).ok();
}
