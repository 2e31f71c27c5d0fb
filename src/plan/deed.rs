//! What an operation of the child does and to what, as advice and log records know it. Pure.

use super::op::{ChildOp, Enter, LastOp, MountOp, SetupOp, What};
use crate::error::Deed;

/// What it does, and its object; `None` where neither advice nor a record depends on it.
pub(super) fn deed(op: &ChildOp<'_>) -> Option<(Deed, String)> {
    match op {
        ChildOp::Setup(op) => of_setup(op),
        ChildOp::Last(LastOp::Exec) => Some((Deed::Execve, String::new())),
        ChildOp::Last(LastOp::Fork) => Some((Deed::Clone, String::new())),
        ChildOp::Last(LastOp::Rlimit(_)) => Some((Deed::Rlimit, String::new())),
        ChildOp::Last(
            LastOp::LeaveRuntime
            | LastOp::CloseFrom(_)
            | LastOp::NewSession
            | LastOp::ControllingTerminal
            | LastOp::Scheduler(_)
            | LastOp::NoNewPrivileges
            | LastOp::Seccomp(_)
            | LastOp::KeepCaps
            | LastOp::DropBounding(_)
            | LastOp::Ids(..)
            | LastOp::Caps(_)
            | LastOp::Ambient(_)
            | LastOp::DieWithRuntime
            | LastOp::Park
            | LastOp::AwaitStart
            | LastOp::AwaitBlock
            | LastOp::Taken
            | LastOp::AwaitLimits
            | LastOp::TakeStreams
            | LastOp::Cwd
            | LastOp::CwdAs(..)
            | LastOp::Umask(_)
            | LastOp::Groups(_)
            | LastOp::IoPriority(_)
            | LastOp::Undumpable
            | LastOp::Hook(..),
        ) => None,
    }
}

fn of_setup(op: &SetupOp) -> Option<(Deed, String)> {
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    Some(match op {
        SetupOp::Unshare(_) => (Deed::Unshare, String::new()),
        SetupOp::Fork(_) => (Deed::Clone, String::new()),
        SetupOp::Join(..) | SetupOp::JoinInit(_) => (Deed::Join, String::new()),
        SetupOp::Root { path, .. } | SetupOp::RootHere(path) => (Deed::TakeRoot, text(path)),
        SetupOp::Overlay(_) => (Deed::Overlay, "/".to_owned()),
        SetupOp::Mount(mount) => (of_mount(mount), format!("/{}", text(&mount.dest))),
        SetupOp::Enter(Enter::Pivot) => (Deed::PivotRoot, String::new()),
        SetupOp::Sysctl(path, _) => (Deed::Sysctl, format!("/proc/{}", text(path))),
        SetupOp::Label(label) => (Deed::Label, text(&label.value)),
        SetupOp::Keyring(Some(label)) => (Deed::Label, text(label)),
        SetupOp::Rlimit(_) => (Deed::Rlimit, String::new()),
        SetupOp::Program { name, .. } => (Deed::FindProgram, text(name)),
        SetupOp::End
        | SetupOp::Sync(_)
        | SetupOp::Wait(_)
        | SetupOp::JoinCgroup
        | SetupOp::TakeTrees(_)
        | SetupOp::AskForHost(_)
        | SetupOp::AskForOne
        | SetupOp::CloneTree { .. }
        | SetupOp::BecomeRoot
        | SetupOp::TimeOffsets(_)
        | SetupOp::EnterTime
        | SetupOp::OfJoined(_)
        | SetupOp::Keyring(None)
        | SetupOp::Undumpable
        | SetupOp::Hostname(_)
        | SetupOp::Domainname(_)
        | SetupOp::Loopback
        | SetupOp::HostPropagation(_)
        | SetupOp::OpenDir(_)
        | SetupOp::OpenDeviceDir(_)
        | SetupOp::Mknod { .. }
        | SetupOp::BindDevice { .. }
        | SetupOp::Symlink { .. }
        | SetupOp::Unmount { .. }
        | SetupOp::SetAttr { .. }
        | SetupOp::Mask { .. }
        | SetupOp::ReadonlyPath { .. }
        | SetupOp::ReadonlyRoot
        | SetupOp::RootPropagation(..)
        | SetupOp::Procfs
        | SetupOp::Hook(_)
        | SetupOp::Enter(Enter::Chroot | Enter::Move)
        | SetupOp::Console { .. }
        | SetupOp::OwnStreams(_)
        | SetupOp::NullStreams
        | SetupOp::Umask(_)
        | SetupOp::Groups(_)
        | SetupOp::Cwd { .. }
        | SetupOp::Home(_)
        | SetupOp::IoPriority(_)
        | SetupOp::Scheduler(_)
        | SetupOp::MemoryPolicy(..)
        | SetupOp::Personality(_)
        | SetupOp::NewSession
        | SetupOp::ControllingTerminal
        | SetupOp::HandOver => return None,
    })
}

fn of_mount(mount: &MountOp) -> Deed {
    match &mount.what {
        What::New { kind, .. } if kind.as_c_str() == c"proc" => Deed::MountProc,
        What::New { kind, .. } if kind.as_c_str() == c"sysfs" => Deed::MountSysfs,
        What::Bind { .. } | What::BindOrLink { .. } => Deed::Bind,
        What::New { .. } | What::Remount { .. } => Deed::Mount,
    }
}
