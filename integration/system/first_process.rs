//! systemd starts, manages, and ends: who may have started it, what holds meanwhile, what the end looks like from outside.

use serde_json::json;

use super::{Driver, System, bundle, only_root, only_user, with_user_namespace};
use crate::common::{Bundle, host, process, skip_on};

/// A memory limit for the whole, too.
const WHOLE: u64 = 512 << 20;

/// Boots, starts a unit with a limit of its own, which holds, and is switched off.
fn lives(bundle: Bundle, driver: Driver) {
    if skip_on(&["runc", "crun"], "an `exec` during the boot keeps systemd from giving out controllers") {
        return;
    }
    let limits = json!({ "memory": { "limit": WHOLE }, "pids": { "limit": 200 } });
    let system = System::new(bundle.set("/linux/resources", limits), driver).up();
    system.has_booted();
    system.says("cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max", &format!("{WHOLE}\n200\n"));
    let limited = "systemd-run --quiet --wait --pipe -p MemoryMax=64M -p TasksMax=7 sh -c \
         'cd /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup) && cat memory.max pids.max'";
    system.says(limited, "67108864\n7\n");
    let killed =
        "systemd-run --quiet --wait -p MemoryMax=16M tail /dev/zero; systemctl show --value -p Result run-*.service";
    assert!(system.inside(killed).stdout().contains("oom-kill"), "{:?}", system.inside("journalctl -b -n 20"));
    // Of everything, wherever systemd has put it.
    system.call(&["pause", &system.container.id]).ok();
    assert_eq!(system.container.status(), "paused");
    system.call(&["resume", &system.container.id]).ok();
    system.says("systemctl is-active dbus.service", "active\n");
    system.switch_off();
}

#[test]
fn of_root() {
    if only_root() {
        return;
    }
    lives(bundle(&[]), Driver::Systemd);
}

#[test]
fn of_root_in_a_cgroup_of_files() {
    if only_root() {
        return;
    }
    lives(bundle(&[]), Driver::Files);
}

#[test]
fn with_a_user_namespace_of_its_own() {
    if only_root() {
        return;
    }
    lives(with_user_namespace(bundle(&[])), Driver::Systemd);
}

#[test]
fn of_an_ordinary_user() {
    if only_user() {
        return;
    }
    lives(bundle(&[]), Driver::Systemd);
}

#[test]
fn of_a_user_in_a_cgroup_of_files() {
    if only_user() {
        return;
    }
    lives(bundle(&[]), Driver::Files);
}

/// What `run` ends with when the system has ended itself by `end`.
#[track_caller]
fn ends(bundle: Bundle, end: &str, status: i32) {
    let system = System::new(bundle, Driver::Systemd);
    let dir = system.container.bundle.dir.to_str().unwrap();
    let run = system.container.command(&["--systemd-cgroup", "run", "--bundle", dir, &system.container.id]);
    let run = process::start(run, std::process::Stdio::null());
    host::wait_until(|| system.container.call(&["state", &system.container.id]).code == 0);
    system.has_booted();
    // It may end before it is answered.
    let _ = system.inside(end);
    run.wait().exits(status);
    system.container.assert_nothing_left();
}

/// With CAP_SYS_BOOT it is reboot(2), after which the kernel says that process 1 of a pid namespace was ended by SIGHUP or
/// SIGINT (reboot(2), since Linux 3.4).
#[test]
fn reboot_and_poweroff_from_inside_are_told_apart() {
    if super::not_here() {
        return;
    }
    for (end, status) in [("systemctl reboot", 128 + 1), ("systemctl poweroff", 128 + 2)] {
        let mut bundle = bundle(&[]);
        for set in ["bounding", "effective", "permitted"] {
            bundle = bundle.push(&format!("/process/capabilities/{set}"), json!("CAP_SYS_BOOT"));
        }
        ends(bundle, end, status);
    }
}

/// Without, systemd ends itself.
#[test]
fn poweroff_and_exit_without_the_capability() {
    if super::not_here() {
        return;
    }
    ends(bundle(&[]), "systemctl poweroff", 0);
    ends(bundle(&[]), "systemctl exit 7", 7);
}

/// Whatever systemd has started, in whichever cgroup below.
#[test]
fn a_running_system_is_deleted() {
    if super::not_here() || skip_on(&["runc"], "leaves the processes of a busy system to end by themselves") {
        return;
    }
    let system = System::new(bundle(&[]), Driver::Systemd).up();
    system.has_booted();
    system.inside("systemd-run --quiet sleep 1000; systemd-run --quiet --slice a-b.slice sleep 1000").ok();
    let id = &system.container.id;
    let pids = system.call(&["ps", "--format", "json", id]).ok().json();
    assert!(pids.as_array().unwrap().len() >= 5, "{pids}");
    system.call(&["delete", "--force", id]).ok();
    system.container.assert_nothing_left();
}
