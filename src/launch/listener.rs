//! Hands the listener of `SCMP_ACT_NOTIFY` to its agent.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use super::connect::connect;
use crate::error::{Context, Result, Stage};
use crate::sys::{process, socket};

/// Fetches descriptor `number` of the child and sends it with the container process state (runtime-spec,
/// "containerProcessState") to the socket at `path`.
pub(super) fn send(pidfd: &OwnedFd, number: i32, path: &str, metadata: &str, state: &[u8], pid: i32) -> Result<()> {
    let listener = process::pidfd_getfd(pidfd.as_fd(), number).at(Stage::Seccomp, || "fetch the seccomp listener")?;
    let socket =
        connect(Path::new(path), Stage::Seccomp).at(Stage::Seccomp, || "failed to connect with seccomp agent")?;
    let container: serde_json::Value =
        serde_json::from_slice(state).at(Stage::Seccomp, || "parse the state for the listener")?;
    let version = container.get("ociVersion").cloned().unwrap_or_default();
    let message = serde_json::json!({
        "ociVersion": version, "fds": ["seccompFd"], "pid": pid, "metadata": metadata, "state": container,
    });
    socket::send_fds(socket.as_fd(), message.to_string().as_bytes(), &[listener.as_fd()])
        .at(Stage::Seccomp, || format!("send the listener to {path}"))
}
