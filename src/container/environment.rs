//! What brisk's own environment asks for.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::error::{Error, Result, Stage};
use crate::plan::annotations;
use crate::spec::Spec;

/// The variables that change what is done to a container. They are read once, before anything is decided.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `NOTIFY_SOCKET` (sd_notify(3)): the supervisor's socket.
    pub notify_socket: Option<OsString>,
    /// `LISTEN_FDS` (sd_listen_fds(3)): how many sockets the caller passes on, from descriptor 3.
    pub listen_fds: u32,
    /// `RUN_OCI_PIDFD_RECEIVER`, crun's: the socket that gets a pidfd.
    pub pidfd_receiver: Option<PathBuf>,
    /// `RUN_OCI_SECCOMP_RECEIVER`, crun's: the socket that gets the seccomp listener.
    pub seccomp_receiver: Option<String>,
}

impl Environment {
    /// Reads it.
    pub fn read() -> Environment {
        let path = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Environment {
            notify_socket: path("NOTIFY_SOCKET"),
            listen_fds: std::env::var("LISTEN_FDS").ok().and_then(|n| n.parse().ok()).unwrap_or(0),
            pidfd_receiver: path("RUN_OCI_PIDFD_RECEIVER").map(PathBuf::from),
            seccomp_receiver: std::env::var("RUN_OCI_SECCOMP_RECEIVER").ok(),
        }
    }

    /// Tells the program of the sockets that are passed on: they are for pid 1 of the container.
    pub(super) fn tell_sockets(&self, spec: &mut Spec) {
        if let Some(process) = spec.process.as_mut().filter(|_| self.listen_fds != 0) {
            process.env.extend([format!("LISTEN_FDS={}", self.listen_fds), "LISTEN_PID=1".into()]);
        }
    }

    /// Names the socket of the seccomp listener, where neither profile nor annotation does.
    pub(super) fn name_receiver(&self, spec: &mut Spec) {
        let annotated = annotations::value(&spec.annotations, annotations::SECCOMP_RECEIVER).is_some();
        let Some(seccomp) = spec.linux.as_mut().and_then(|linux| linux.seccomp.as_mut()) else { return };
        if !annotated && seccomp.listener_path.as_deref().is_none_or(str::is_empty) {
            seccomp.listener_path.clone_from(&self.seccomp_receiver);
        }
    }

    /// How many descriptors after standard error are passed on, `asked` of them by `--preserve-fds`.
    pub(super) fn preserved(&self, asked: u32) -> u32 {
        asked.saturating_add(self.listen_fds)
    }

    /// Every descriptor that is to be passed on has to be there.
    pub(super) fn check_preserved(&self, asked: u32) -> Result<()> {
        let count = self.preserved(asked);
        for number in 3..count.saturating_add(3) {
            let path = format!("/proc/self/fd/{number}");
            if std::fs::symlink_metadata(&path).is_err() {
                let what = format!("descriptor {number} of the {count} to preserve is not open");
                return Err(Error::new(Stage::Args, what).with_hint("check --preserve-fds and LISTEN_FDS"));
            }
        }
        Ok(())
    }
}
