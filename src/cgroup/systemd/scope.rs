//! A container's cgroup that belongs to a systemd scope is changed and removed together with its unit.

use std::time::Instant;

use crate::error::{Context, Result, Stage};
use crate::plan::systemd::{Owner, Property};

use crate::cgroup::handle::Cgroup;
use crate::cgroup::member::Member;
use crate::cgroup::saved::SavedScope;
use crate::cgroup::systemd::endpoints::Endpoints;
use crate::cgroup::systemd::{Manager, TIMEOUT};
use crate::proc::idmap::ProcIdMap;

/// Connects to the manager of the system, or of the user this process belongs to.
pub fn scope_manager(owner: Owner) -> Result<Manager> {
    let var = |name| std::env::var(name).ok();
    let euid = crate::sys::process::geteuid();
    Manager::connect(match owner {
        // In the same user namespace, where that is not the machine's own.
        Owner::System => Endpoints::system(var("DBUS_SYSTEM_BUS_ADDRESS").as_deref(), euid),
        Owner::User => {
            // systemd compares what a client claims with what the kernel tells it of the client: the id outside.
            let map = ProcIdMap::of_users().at(Stage::Cgroup, || "read /proc/self/uid_map")?;
            let uid = map.outside(euid).unwrap_or(euid);
            Endpoints::user(var("XDG_RUNTIME_DIR").as_deref(), var("DBUS_SESSION_BUS_ADDRESS").as_deref(), uid)
        }
    })
}

impl Cgroup {
    /// The systemd unit the cgroup belongs to.
    pub fn scope(&self) -> Option<&SavedScope> {
        self.scope.as_ref()
    }

    /// Tells systemd of limits that were written, so that it does not take them back. The names of those it does not
    /// know: they hold until it writes the files again.
    ///
    /// systemd writes the files of the properties it was given, and of others that are in the same file, a moment after its
    /// answer; but before it looks at the next message.
    pub fn set_unit_properties(&self, properties: &[Property]) -> Result<Vec<String>> {
        match &self.scope {
            Some(scope) if !properties.is_empty() => {
                let mut manager = scope_manager(scope.owner)?;
                let dropped = manager.set_properties(&scope.unit, properties)?;
                manager.active_state(&scope.unit, Instant::now() + TIMEOUT)?;
                Ok(dropped)
            }
            _ => Ok(Vec::new()),
        }
    }

    pub(in crate::cgroup) fn stop_scope(&self) -> Result<()> {
        match &self.scope {
            Some(scope) => scope_manager(scope.owner)?.stop_unit(&scope.unit),
            None => Ok(()),
        }
    }

    /// Moves a process into `member`, which is the scope's cgroup or one below it.
    pub(in crate::cgroup) fn attach_by_systemd(&self, member: &Member, pid: i32) -> Result<()> {
        let Some(scope) = &self.scope else { return Ok(()) };
        let path = member.path();
        let mut parts = path.split('/').skip_while(|part| *part != scope.unit).skip(1).peekable();
        let below =
            if parts.peek().is_some() { parts.map(|part| format!("/{part}")).collect() } else { "/".to_owned() };
        scope_manager(scope.owner)?.attach(&scope.unit, &below, pid)
    }
}
