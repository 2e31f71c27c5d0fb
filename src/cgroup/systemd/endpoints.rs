//! Where a systemd manager listens. Pure: the caller reads the environment and the id maps.

use std::path::{Path, PathBuf};

use crate::dbus::address::{Address, Peer, addresses};

/// The sockets that lead to one manager, in the order they are tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// The addresses.
    pub list: Vec<(Address, Peer)>,
    /// This user as the other end sees it.
    pub uid: u32,
    /// What to tell a person when there is no one at any of them.
    pub hint: &'static str,
}

impl Endpoints {
    /// The system's manager. `bus` is `$DBUS_SYSTEM_BUS_ADDRESS`.
    pub fn system(bus: Option<&str>, uid: u32) -> Endpoints {
        // systemd's own socket is for root; it needs no bus daemon, which may be busy, restarting or absent.
        let mut list = vec![(Address::Path("/run/systemd/private".into()), Peer::Service)];
        let default = "unix:path=/run/dbus/system_bus_socket";
        list.extend(addresses(bus.filter(|b| !b.is_empty()).unwrap_or(default)).into_iter().map(|a| (a, Peer::Bus)));
        let hint =
            "the systemd cgroup driver needs systemd as pid 1 of this host; without it use --cgroup-manager cgroupfs";
        Endpoints { list, uid, hint }
    }

    /// The manager of a user. `runtime_dir` is `$XDG_RUNTIME_DIR`, `bus` is `$DBUS_SESSION_BUS_ADDRESS`;
    /// `uid` is the user's id outside of any user namespace.
    pub fn user(runtime_dir: Option<&str>, bus: Option<&str>, uid: u32) -> Endpoints {
        let dir = match runtime_dir.filter(|dir| !dir.is_empty()) {
            Some(dir) => PathBuf::from(dir),
            None => Path::new("/run/user").join(uid.to_string()),
        };
        let mut list = vec![(Address::Path(dir.join("systemd/private")), Peer::Service)];
        match bus.filter(|b| !b.is_empty()) {
            Some(bus) => list.extend(addresses(bus).into_iter().map(|a| (a, Peer::Bus))),
            None => list.push((Address::Path(dir.join("bus")), Peer::Bus)),
        }
        let hint = "a user's service manager is started by a login or by `loginctl enable-linger USER`; \
                    XDG_RUNTIME_DIR must name its directory";
        Endpoints { list, uid, hint }
    }
}
