//! What each operation does to what is mounted: what `fresh` may do by name follows from it. Pure.

use std::ffi::CStr;

use crate::plan::op::SetupOp;
use crate::plan::rootfs::mount_op::MountOp;

/// What an operation may do to what is mounted.
pub enum MountEffect<'a> {
    /// Mounts something.
    Mounts(&'a MountOp),
    /// Puts a mount over what is at a path.
    Covers(&'a CStr),
    /// Somebody else may have mounted after it, or the root is another one, in which nothing was made yet.
    LetsIn,
    /// Mounts nothing, or only on what the runtime has made itself there.
    None,
}

/// What an operation does to what is mounted.
pub fn effect(op: &SetupOp) -> MountEffect<'_> {
    match op {
        SetupOp::Mount(mount) => MountEffect::Mounts(mount),
        SetupOp::Mask { path, .. } | SetupOp::ReadonlyPath { path, .. } => MountEffect::Covers(path),
        SetupOp::Hook(_)
        | SetupOp::Sync(_)
        | SetupOp::Enter(_)
        | SetupOp::Unmount { .. }
        | SetupOp::Root { .. }
        | SetupOp::RootHere(_)
        | SetupOp::Overlay(_) => MountEffect::LetsIn,
        // The parent answers, and lets nobody in: hooks have a point of their own (`Sync`).
        SetupOp::Wait(_)
        | SetupOp::End
        | SetupOp::JoinCgroup
        | SetupOp::TakeTrees
        | SetupOp::AskForHost
        | SetupOp::CloneTree { .. }
        | SetupOp::AskForOne
        | SetupOp::Join(..)
        | SetupOp::MakeNamespaceFs(_)
        | SetupOp::JoinInit(_)
        | SetupOp::Unshare(_)
        | SetupOp::BecomeRoot
        | SetupOp::TimeOffsets(_)
        | SetupOp::EnterTime
        | SetupOp::Fork(_)
        | SetupOp::Keyring(_)
        | SetupOp::Undumpable
        | SetupOp::Hostname(_)
        | SetupOp::Domainname(_)
        | SetupOp::Loopback
        | SetupOp::HostPropagation(_)
        | SetupOp::OpenDir(..)
        | SetupOp::Mknod { .. }
        | SetupOp::BindDevice { .. }
        | SetupOp::Symlink { .. }
        | SetupOp::SetAttr { .. }
        | SetupOp::ReadonlyRoot
        | SetupOp::RootPropagation(..)
        | SetupOp::Procfs
        | SetupOp::Sysctl(..)
        | SetupOp::Label(..)
        | SetupOp::Console { .. }
        | SetupOp::OwnStreams(_)
        | SetupOp::NullStreams
        | SetupOp::Umask(_)
        | SetupOp::Rlimit(..)
        | SetupOp::Groups(_)
        | SetupOp::Cwd { .. }
        | SetupOp::Home(..)
        | SetupOp::Program { .. }
        | SetupOp::IoPriority(_)
        | SetupOp::Scheduler(_)
        | SetupOp::MemoryPolicy(..)
        | SetupOp::Personality(_)
        | SetupOp::NewSession
        | SetupOp::ControllingTerminal
        | SetupOp::HandOver => MountEffect::None,
    }
}
