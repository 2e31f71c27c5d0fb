//! Hands the listener of `SCMP_ACT_NOTIFY` to its agent.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use super::connect::connect;
use crate::error::{Context, Result, Stage};
use crate::sys::{pidfd, socket};

/// The specification's "containerProcessState".
pub(super) fn message(pid: i32, oci_version: &str, metadata: &str, state: &[u8]) -> Vec<u8> {
    let quote = |text: &str| serde_json::Value::from(text).to_string();
    let head = format!(
        "{{\"ociVersion\":{},\"fds\":[\"seccompFd\"],\"pid\":{pid},\"metadata\":{},\"state\":",
        quote(oci_version),
        quote(metadata)
    );
    [head.as_bytes(), state, b"}"].concat()
}

/// Fetches descriptor `number` of the child and sends it with this message to the socket at `path`.
pub(super) fn send(pidfd: &OwnedFd, number: i32, path: &str, message: &[u8]) -> Result<()> {
    let listener = pidfd::getfd(pidfd.as_fd(), number).at(Stage::Seccomp, || "fetch the seccomp listener")?;
    let socket =
        connect(Path::new(path), Stage::Seccomp).at(Stage::Seccomp, || "failed to connect with seccomp agent")?;
    socket::send_fds(socket.as_fd(), message, &[listener.as_fd()])
        .at(Stage::Seccomp, || format!("send the listener to {path}"))
}
