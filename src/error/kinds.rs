//! What failed and what was being done, as kinds: advice and log records depend on these and never on words.

/// The part of the work that failed. It is the first word of the printed error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Command line.
    Args,
    /// The bundle: config.json, process.json, the rootfs they name.
    Bundle,
    /// Facts about the kernel and this user.
    Host,
    /// Container state below the root directory.
    State,
    /// Control groups.
    Cgroup,
    /// Namespaces and id maps.
    Namespace,
    /// Mounts, devices, and everything else below the container's root.
    Rootfs,
    /// Credentials, limits and other attributes of the container's process.
    Process,
    /// Seccomp filters.
    Seccomp,
    /// AppArmor and SELinux.
    Lsm,
    /// Hooks.
    Hook,
    /// Terminals and console sockets.
    Console,
    /// Network devices.
    Network,
    /// The exchange between parent and child.
    Sync,
    /// Signals sent to a container.
    Signal,
    /// Checkpoint and restore.
    Criu,
    /// `execve` of the container's program.
    Exec,
}

impl Stage {
    /// The word used in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Args => "args",
            Stage::Bundle => "bundle",
            Stage::Host => "host",
            Stage::State => "state",
            Stage::Cgroup => "cgroup",
            Stage::Namespace => "namespace",
            Stage::Rootfs => "rootfs",
            Stage::Process => "process",
            Stage::Seccomp => "seccomp",
            Stage::Lsm => "lsm",
            Stage::Hook => "hook",
            Stage::Console => "console",
            Stage::Network => "network",
            Stage::Sync => "sync",
            Stage::Signal => "signal",
            Stage::Criu => "criu",
            Stage::Exec => "exec",
        }
    }
}

macro_rules! deeds {
    ($($(#[doc = $doc:literal])? $deed:ident $name:literal;)*) => {
        /// What was being done, where advice depends on it or log records have it as a field.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the words say it")]
        pub enum Deed { $($(#[doc = $doc])? $deed),* }

        impl Deed {
            /// The word of log records.
            pub const fn name(self) -> &'static str {
                match self { $(Deed::$deed => $name),* }
            }
        }
    };
}

deeds! {
    ReadConfig "read the configuration";
    FindBundle "find the bundle";
    FindContainer "find the container";
    MakeState "make the state directory";
    Delete "delete";
    Clone "clone3";
    Unshare "unshare";
    Join "setns";
    ReadMounts "read the mounts";
    Connect "connect";
    TakeRoot "take the root";
    /// A file system of the kernel's.
    Mount "mount";
    MountProc "mount proc";
    MountSysfs "mount sysfs";
    Bind "bind mount";
    Overlay "mount overlay";
    MakeNode "mknod";
    PivotRoot "pivot_root";
    Sysctl "write a sysctl";
    Label "set a label";
    Rlimit "setrlimit";
    OomScoreAdj "set oom_score_adj";
    Schedule "set the scheduler";
    MemoryPolicy "set the memory policy";
    FindProgram "find the program";
    Execve "execve";
    WriteLimit "write a limit";
}
