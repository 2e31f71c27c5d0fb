//! What brisk's own environment asks for, and the descriptors it has inherited.
//!
//! Trusted: the caller's environment, but for sockets that it says are another process's (`LISTEN_PID`). Not taken for
//! the caller's: descriptors that brisk itself has opened.

use std::ffi::OsString;
use std::os::fd::IntoRawFd;
use std::path::PathBuf;

use crate::error::{Context, Result, Stage};
use crate::spec::Spec;
use crate::spec::annotations;
use crate::sys::process;

/// The variable of [`Environment::pidfd_receiver`].
pub const PIDFD_RECEIVER: &str = "RUN_OCI_PIDFD_RECEIVER";

/// The variables that change what is done to a container. They are read once, before anything is decided.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `NOTIFY_SOCKET` (sd_notify(3)): the supervisor's socket.
    pub notify_socket: Option<OsString>,
    /// `LISTEN_FDS` (sd_listen_fds(3)): how many sockets the caller passes on, from descriptor 3. None if `LISTEN_PID`
    /// says that they are another process's.
    pub listen_fds: u32,
    /// `RUN_OCI_PIDFD_RECEIVER`, crun's: the socket that gets a pidfd.
    pub pidfd_receiver: Option<PathBuf>,
    /// `RUN_OCI_SECCOMP_RECEIVER`, crun's: the socket that gets the seccomp listener.
    pub seccomp_receiver: Option<String>,
    /// `BRISK_TRUST_ANNOTATIONS`: what `--trust-annotations` says.
    pub trust_annotations: Option<String>,
}

impl Environment {
    /// Reads it.
    pub fn read() -> Environment {
        let path = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Environment {
            notify_socket: path("NOTIFY_SOCKET"),
            listen_fds: listen_fds(),
            pidfd_receiver: path(PIDFD_RECEIVER).map(PathBuf::from),
            seccomp_receiver: std::env::var("RUN_OCI_SECCOMP_RECEIVER").ok(),
            trust_annotations: std::env::var("BRISK_TRUST_ANNOTATIONS").ok(),
        }
    }

    /// Tells the program of the sockets that are passed on: they are for pid 1 of the container.
    pub(super) fn tell_sockets(&self, spec: &mut Spec) {
        if let Some(process) = spec.process.as_mut().filter(|_| self.listen_fds != 0) {
            process.env.extend([format!("LISTEN_FDS={}", self.listen_fds).into(), "LISTEN_PID=1".into()]);
        }
    }

    /// Names the socket of the seccomp listener, where neither profile nor annotation does.
    pub(super) fn name_receiver(&self, spec: &mut Spec) {
        let annotated = annotations::value(&spec.instructions, annotations::SECCOMP_RECEIVER).is_some();
        let Some(seccomp) = spec.linux.as_mut().and_then(|linux| linux.seccomp.as_mut()) else { return };
        if !annotated && seccomp.listener_path.as_deref().is_none_or(str::is_empty) {
            seccomp.listener_path.clone_from(&self.seccomp_receiver);
        }
    }

    /// How many descriptors after standard error are passed on, `by_flag` of them by `--preserve-fds`.
    pub(super) fn preserved(&self, by_flag: u32) -> u32 {
        by_flag.saturating_add(self.listen_fds)
    }

    /// Of the descriptors that are to be passed on some may not be open. What brisk opens must not take their numbers:
    /// something that closes with execve(2) does so first. Before anything else is opened.
    pub(super) fn hold_gaps(&self, by_flag: u32) -> Result<()> {
        let end = self.preserved(by_flag).saturating_add(3);
        let what = || format!("open descriptors up to {end}, as --preserve-fds or LISTEN_FDS asks");
        if end == 3 {
            return Ok(());
        }
        // The lowest number that is free, each time.
        while std::fs::File::open("/dev/null").at(Stage::Args, what)?.into_raw_fd().cast_unsigned() < end {}
        Ok(())
    }
}

/// crun's callers set `LISTEN_FDS` alone; systemd and conmon say for whom it is.
fn listen_fds() -> u32 {
    let Some(count) = std::env::var("LISTEN_FDS").ok().and_then(|n| n.parse().ok()) else { return 0 };
    match std::env::var_os("LISTEN_PID") {
        Some(pid) if pid != *process::getpid().to_string() => 0,
        _ => count,
    }
}
