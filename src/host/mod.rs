//! Facts about this machine and this user, as plain data. Reads, never changes anything; runs in the parent.
//!
//! The modules: `cgroup` is the layout of the hierarchies, `sub_ids` what newuidmap(1) would allow, `programs` where helpers are;
//! `check` asks everything that `brisk check` tells, and `findings` is what that means.

pub mod cgroup;
pub mod check;
pub mod findings;
pub mod programs;
pub mod sub_ids;

use std::os::unix::fs::MetadataExt;

use serde::{Deserialize, Serialize};

use crate::error::{Context, Result, Stage};
use crate::proc::status::{self, SelfStatus};
use crate::sys::{cred, last_calls, mount, namespace, process, seccomp};

/// What the plan depends on besides the bundle and the options.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Host {
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// The user namespace we are in.
    pub userns: Userns,
    /// We are root of a user namespace, and so is process 1's manager: this is a system container.
    #[serde(default)]
    pub systemd_inside: bool,
    /// Capabilities in our bounding set, as a mask.
    pub bounding: u64,
    /// Every capability the kernel knows: what a new user namespace starts with.
    pub known_caps: u64,
    /// Signals that we ignore, as a mask whose bit 0 is signal 1: a container's process would, too.
    #[serde(default)]
    pub ignored_signals: u64,
    /// Where the cgroup controllers are.
    pub cgroup: cgroup::Layout,
    /// The mount namespace holds so many mounts that copying it for a container costs more than going without, for
    /// which there are descriptors enough.
    pub crowded: bool,
    /// We may come back from another mount namespace: ours belongs to our user namespace, or we are root of the machine.
    #[serde(default = "yes")]
    pub returns: bool,
    /// SELinux labels files here.
    #[serde(default)]
    pub selinux: bool,
    /// Our own personality(2), which a container's process starts with.
    #[serde(default)]
    pub personality: u64,
    /// `/proc/self/exe` can be swapped (CONFIG_CHECKPOINT_RESTORE and a known architecture).
    pub can_leave_runtime: bool,
    /// What an ordinary user may map into a user namespace; root may map anything and has none here.
    #[serde(default)]
    pub sub_ids: sub_ids::SubIds,
    /// What the kernel knows of seccomp; everything unless it was asked (see `plan::seccomp::filter::is_unusual`).
    #[serde(skip)]
    pub seccomp: seccomp::Support,
}

fn yes() -> bool {
    true
}

/// Which user namespace a process is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Userns {
    /// The one the machine booted with.
    Initial,
    /// One below it, as under rootless podman.
    Nested,
}

/// From this many mounts on the skeleton namespace is used. Copying a mount and throwing it away again takes
/// about 3 µs; the skeleton's own cost is that of some ten mounts.
const CROWDED: usize = 128;

/// With fewer descriptors allowed it is not: each mount that comes from the host is one until it is attached.
const ROOMY: u64 = 512;

/// Inode of the initial user namespace (PROC_USER_INIT_INO of the kernel), the same on every machine.
const INITIAL_USERNS: u64 = 0xEFFF_FFFD;

impl Host {
    /// Asks the kernel.
    pub fn probe() -> Result<Host> {
        let cgroup = cgroup::Layout::read()?;
        let crowded = mount::holds_mounts(CROWDED).unwrap_or(false) && process::descriptor_limit() >= ROOMY;
        Ok(Host { cgroup, crowded, ..Host::probe_for_exec()? })
    }

    /// What a process in a container that is there depends on, which is neither the hierarchies nor the mounts of the
    /// host.
    pub fn probe_for_exec() -> Result<Host> {
        let userns = std::fs::metadata("/proc/self/ns/user").at(Stage::Host, || "stat /proc/self/ns/user")?;
        let SelfStatus { uid, gid, bounding, ignored } = status::read().at(Stage::Host, || "read /proc/self/status")?;
        let userns = if userns.ino() == INITIAL_USERNS { Userns::Initial } else { Userns::Nested };
        Ok(Host {
            returns: userns == Userns::Initial || namespace::mounts_are_ours(),
            uid,
            gid,
            userns,
            systemd_inside: uid == 0 && userns == Userns::Nested && systemd_is_ours(),
            bounding,
            known_caps: cred::known_caps(bounding),
            ignored_signals: ignored,
            cgroup: cgroup::Layout::default(),
            crowded: false,
            selinux: has_selinux(),
            personality: process::personality().at(Stage::Host, || "read the personality")?,
            can_leave_runtime: last_calls::can_leave_runtime(),
            sub_ids: if uid == 0 { sub_ids::SubIds::default() } else { sub_ids::SubIds::read(uid)? },
            seccomp: seccomp::Support::ALL,
        })
    }

    /// Root with authority over the machine, not only over a user namespace.
    pub fn is_real_root(&self) -> bool {
        self.uid == 0 && self.userns == Userns::Initial
    }

    /// The manager of the whole system takes orders from us, and not only one of our user.
    pub fn owns_systemd(&self) -> bool {
        self.is_real_root() || self.systemd_inside
    }
}

/// SELinux is in force, or would be but for its permissive mode.
pub fn has_selinux() -> bool {
    std::path::Path::new("/sys/fs/selinux/enforce").exists()
}

/// systemd's own socket belongs to our root. Under rootless podman it is the machine's, whose root is nobody there.
fn systemd_is_ours() -> bool {
    std::fs::metadata("/run/systemd/private").is_ok_and(|socket| socket.uid() == 0)
}
