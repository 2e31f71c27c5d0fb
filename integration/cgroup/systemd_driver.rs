//! The systemd driver against a real systemd, as root (the system's manager) and as an ordinary user (the
//! user's own). Uses the library directly: what a whole container does with it is tested with the others.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use brisk::cgroup::systemd::Manager;
use brisk::cgroup::systemd::endpoints::Endpoints;
use brisk::dbus::address::Peer;
use brisk::host::cgroup::Layout;
use brisk::plan::cgroup::update::{DeviceRules, update};
use brisk::plan::cgroup::{self, CgroupOptions, Privilege};
use brisk::plan::systemd::{self, Owner, ScopePlan, Unit};
use brisk::spec::resources::Resources;
use serde_json::json;

use crate::common::host::wait_until;
use crate::common::skip_here;

const CGROUPS: &str = "/sys/fs/cgroup";

/// The manager of whoever runs the tests.
struct Host {
    privilege: Privilege,
    uid: u32,
}

impl Host {
    /// `None`, with the reason printed, where there is no systemd with cgroup v2.
    fn new() -> Option<Host> {
        let uid = nix::unistd::geteuid().as_raw();
        let why = if !Path::new("/run/systemd/system").is_dir() {
            "systemd is not running here"
        } else if !Path::new(CGROUPS).join("cgroup.controllers").exists() {
            "cgroup v2 is not mounted alone here"
        } else {
            let privilege = if uid == 0 { Privilege::Root } else { Privilege::Rootless };
            return Some(Host { privilege, uid });
        };
        skip_here(why);
        None
    }

    fn endpoints(&self) -> Endpoints {
        let var = |name| std::env::var(name).ok();
        match self.privilege {
            Privilege::Root => Endpoints::system(None, self.uid),
            Privilege::Rootless => {
                Endpoints::user(var("XDG_RUNTIME_DIR").as_deref(), var("DBUS_SESSION_BUS_ADDRESS").as_deref(), self.uid)
            }
        }
    }

    fn owner(&self) -> Owner {
        match self.privilege {
            Privilege::Root => Owner::System,
            Privilege::Rootless => Owner::User,
        }
    }

    fn manager(&self) -> Manager {
        Manager::connect(self.endpoints()).unwrap()
    }

    /// The cgroup of this host's manager.
    fn root(&self) -> String {
        match self.privilege {
            Privilege::Root => String::new(),
            Privilege::Rootless => systemd::user_manager_path("", self.uid),
        }
    }

    fn systemctl(&self, args: &[&str]) -> String {
        let user = (self.privilege == Privilege::Rootless).then_some("--user");
        let output = Command::new("systemctl").args(user).args(args).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn plan(&self, name: &str, resources: serde_json::Value, annotations: &[(&str, &str)]) -> Planned {
        let resources: Resources = serde_json::from_value(resources).unwrap();
        let path = format!(":brisktest:{name}");
        let unit = Unit::parse(Some(&path), name, self.owner()).unwrap();
        let cgroup = PathBuf::from("/").join(self.root()).join(unit.path().unwrap());
        let options = CgroupOptions { cgroups_path: cgroup.to_str(), id: name, privilege: self.privilege };
        let limits = cgroup::plan(&resources, &Layout::read().unwrap(), &options).unwrap();
        let annotations: BTreeMap<String, String> =
            annotations.iter().map(|(k, v)| (format!("org.systemd.property.{k}"), (*v).to_owned())).collect();
        let (_, plan) = systemd::scope(unit, name, &annotations, limits).unwrap();
        Planned { plan, cgroup: PathBuf::from(format!("{CGROUPS}{}", cgroup.display())) }
    }
}

struct Planned {
    plan: ScopePlan,
    cgroup: PathBuf,
}

impl Planned {
    fn name(&self) -> &str {
        &self.plan.unit.name
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.cgroup.join(name)).unwrap_or_else(|e| panic!("{name}: {e}")).trim().to_owned()
    }

    fn pids(&self) -> Vec<u32> {
        self.file("cgroup.procs").lines().map(|line| line.parse().unwrap()).collect()
    }
}

/// A process that does nothing, killed in the end.
struct Sleeper(Child);

impl Sleeper {
    fn new() -> Sleeper {
        Sleeper(Command::new("sleep").arg("1000").stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
    }

    fn pid(&self) -> i32 {
        self.0.id() as i32
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(manager: &mut Manager, planned: &Planned, pid: i32) -> Result<(), String> {
    let starting = manager.start_scope(&planned.plan, pid).map_err(|e| e.to_string())?;
    manager.wait_scope(starting).map_err(|e| e.to_string())
}

#[test]
fn a_scope_has_its_limits_and_keeps_them() {
    let Some(host) = Host::new() else { return };
    let resources = json!({
        "devices": [{ "allow": false, "access": "rwm" }],
        "memory": { "limit": 64 << 20, "reservation": 1 << 20 },
        "cpu": { "shares": 512, "quota": 12345, "period": 50000, "cpus": "0" },
        "pids": { "limit": 77 },
        "unified": { "memory.high": "33554432" },
    });
    let planned = host.plan("limits", resources, &[("TimeoutStopSec", "uint64 7")]);
    let mut manager = host.manager();
    let first = Sleeper::new();
    start(&mut manager, &planned, first.pid()).unwrap();

    let files = || {
        ["memory.max", "memory.low", "memory.high", "pids.max", "cpu.weight", "cpu.max", "cpuset.cpus"]
            .map(|f| planned.file(f))
    };
    let before = files();
    // 12345/50000 is 24.69 %, rounded up to 25 %.
    assert_eq!(before, ["67108864", "1048576", "33554432", "77", "59", "12500 50000", "0"]);
    assert_eq!(planned.pids(), [first.0.id()]);
    assert!(host.systemctl(&["show", "-p", "TimeoutStopUSec", planned.name()]).contains("7s"));

    host.systemctl(&["daemon-reload"]);
    assert_eq!(files(), before);
    if host.privilege == Privilege::Root {
        assert!(host.systemctl(&["show", "-p", "DeviceAllow", planned.name()]).contains("/dev/char/1:3 rwm"));
        assert!(host.systemctl(&["show", "-p", "DevicePolicy", planned.name()]).contains("strict"));
    }

    let second = Sleeper::new();
    manager.attach(planned.name(), "/", second.pid()).unwrap();
    assert_eq!(planned.pids().len(), 2);

    let resources = serde_json::from_value(
        json!({ "memory": { "limit": 32 << 20 }, "cpu": { "quota": 30000, "period": 100_000 } }),
    );
    let layout = Layout::read().unwrap();
    let update = update(&Resources::default(), &resources.unwrap(), &layout, DeviceRules::Keep).unwrap();
    manager.set_properties(planned.name(), &systemd::update(update).1).unwrap();
    assert_eq!((planned.file("memory.max").as_str(), planned.file("cpu.max").as_str()), ("33554432", "30000 100000"));

    manager.stop_unit(planned.name()).unwrap();
    wait_until(|| !planned.cgroup.exists());
    assert_eq!(host.systemctl(&["list-units", "--all", "--plain", "--no-legend", planned.name()]), "");
    // Stopping what is gone is no error: delete may come twice.
    manager.stop_unit(planned.name()).unwrap();
}

#[test]
fn a_name_that_is_taken_is_refused_and_a_failed_one_is_not() {
    let Some(host) = Host::new() else { return };
    let mut manager = host.manager();
    let planned = host.plan("taken", json!({}), &[]);
    let (one, two) = (Sleeper::new(), Sleeper::new());
    start(&mut manager, &planned, one.pid()).unwrap();
    let error = start(&mut manager, &planned, two.pid()).unwrap_err();
    let words = ["container's cgroup is not empty", "brisktest-taken.scope"];
    assert!(words.iter().all(|word| error.contains(word)), "{error}");
    assert_eq!(planned.pids(), [one.0.id()]);
    manager.stop_unit(planned.name()).unwrap();

    let failing = host.plan("failed", json!({}), &[("RuntimeMaxUSec", "uint64 100000"), ("CollectMode", "'inactive'")]);
    let three = Sleeper::new();
    start(&mut manager, &failing, three.pid()).unwrap();
    wait_until(|| host.systemctl(&["is-failed", failing.name()]).trim() == "failed");
    let again = host.plan("failed", json!({}), &[]);
    let four = Sleeper::new();
    start(&mut manager, &again, four.pid()).unwrap();
    assert_eq!(again.pids(), [four.0.id()]);
    manager.stop_unit(again.name()).unwrap();
}

#[test]
fn a_bus_does_as_well() {
    let Some(host) = Host::new() else { return };
    let mut endpoints = host.endpoints();
    endpoints.list.retain(|(_, peer)| *peer == Peer::Bus);
    let mut manager = Manager::connect(endpoints).unwrap();
    let planned = host.plan("bus", json!({ "pids": { "limit": 5 } }), &[]);
    let sleeper = Sleeper::new();
    start(&mut manager, &planned, sleeper.pid()).unwrap();
    assert_eq!(planned.file("pids.max"), "5");
    let soon = Instant::now() + Duration::from_secs(30);
    assert_eq!(manager.active_state(planned.name(), soon).unwrap(), "active");
    manager.stop_unit(planned.name()).unwrap();
}

#[test]
fn a_property_nobody_knows_is_an_error() {
    let Some(host) = Host::new() else { return };
    let planned = host.plan("unknown", json!({}), &[("Nonsense", "true")]);
    let sleeper = Sleeper::new();
    let error = start(&mut host.manager(), &planned, sleeper.pid()).unwrap_err();
    assert!(error.contains("Nonsense"), "{error}");
    assert!(!planned.cgroup.exists());
}

#[test]
fn two_hundred_scopes_leave_nothing() {
    let Some(host) = Host::new() else { return };
    for round in 0..200 {
        let planned = host.plan(&format!("many{}", round % 7), json!({ "pids": { "limit": 9 } }), &[]);
        let mut manager = host.manager();
        let mut sleeper = Sleeper::new();
        start(&mut manager, &planned, sleeper.pid()).unwrap_or_else(|e| panic!("round {round}: {e}"));
        assert_eq!(planned.pids(), [sleeper.0.id()], "round {round}");
        // Every second one dies first, as a container does: systemd then removes the scope by itself, or is about to.
        if round % 2 == 0 {
            sleeper.0.kill().unwrap();
            sleeper.0.wait().unwrap();
        }
        manager.stop_unit(planned.name()).unwrap_or_else(|e| panic!("round {round}: {e}"));
    }
    wait_until(|| host.systemctl(&["list-units", "--all", "--plain", "--no-legend", "brisktest-*"]).is_empty());
}
