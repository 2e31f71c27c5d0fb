//! A file system that a user namespace may not mount anew is bound from the host in its place (sysfs without a network
//! namespace, proc without a pid namespace): read-only then means everything below it, or what is mounted on the
//! host's /sys/fs/cgroup stays writable (CVE-2023-25809).

use std::fs;

use serde_json::{Value, json};

use crate::common::{Bundle, Container, process, runtime_name, skip_on};
use crate::rootless;

/// Everything mounted at `top` and below is read-only.
#[track_caller]
fn all_read_only(report: &Value, top: &str) {
    let below = format!("{top}/");
    let mounts = report["mounts"].as_array().unwrap().iter();
    let of_it: Vec<&Value> =
        mounts.filter(|mount| mount["point"] == top || mount["point"].as_str().unwrap().starts_with(&below)).collect();
    assert!(!of_it.is_empty(), "nothing is mounted at {top}");
    for mount in of_it {
        assert!(mount["opts"].as_array().unwrap().contains(&json!("ro")), "writable below {top}: {mount}");
    }
}

/// Root of a user namespace of root's; and of an ordinary user's. Whatever is refused is not there.
fn reports(change: impl Fn(Bundle) -> Bundle, args: &[&str]) -> Vec<(Container, Value)> {
    let mut all = Vec::new();
    let take = |container: Container, output: process::Output, all: &mut Vec<(Container, Value)>| {
        if output.code == 0 {
            let out = output.json();
            all.push((container, out));
        }
    };
    let container = change(Bundle::new(args).userns()).container();
    let output = container.run();
    take(container, output, &mut all);
    if !rootless::not_here() {
        let container = change(rootless::bundle(args).without_mount("/sys").mount(
            "sysfs",
            "sysfs",
            "/sys",
            &["nosuid", "noexec", "nodev", "ro"],
        ))
        .container();
        let dir = container.bundle.dir.to_str().unwrap().to_owned();
        let output = process::run(rootless::as_user(&container, &["run", "--bundle", &dir, &container.id]));
        take(container, output, &mut all);
    }
    all
}

#[test]
fn sysfs_of_the_host_is_read_only_below_too() {
    if skip_on(&["crun"], "binds it writable") {
        return;
    }
    let reports = reports(|bundle| bundle.without_ns("network"), &["/probe", "report"]);
    assert!(runtime_name() != "brisk" || !reports.is_empty(), "docs/COMPAT: sysfs is bound");
    for (_container, out) in reports {
        all_read_only(&out["report"], "/sys");
    }
}

/// What was done with it: a cgroup that belongs to the user outside is root's inside, who makes one below it.
#[test]
fn no_cgroup_is_made_through_the_hosts_sysfs() {
    let mut dirs = crate::common::host::cgroup_dirs("/");
    dirs.retain(|dir| dir.join("cgroup.procs").exists());
    let name = crate::common::host::unique_name();
    let own: Vec<_> = dirs.iter().map(|dir| dir.join(&name)).filter(|dir| fs::create_dir(dir).is_ok()).collect();
    assert!(!own.is_empty());
    let owner = if crate::common::host::is_root() { 54_321 } else { nix::unistd::geteuid().as_raw() };
    for dir in &own {
        let _ = std::os::unix::fs::chown(dir, Some(owner), Some(owner));
    }
    let ops: Vec<String> = own.iter().map(|dir| format!("mkdir:{}/made", dir.display())).collect();
    let mut args = vec!["/probe"];
    args.extend(ops.iter().map(String::as_str));
    let all = reports(|bundle| bundle.without_ns("network"), &args);
    let made: Vec<String> = own
        .iter()
        .map(|dir| dir.join("made"))
        .filter(|dir| dir.exists())
        .map(|dir| dir.display().to_string())
        .collect();
    for dir in &own {
        let _ = fs::remove_dir(dir.join("made"));
        fs::remove_dir(dir).unwrap();
    }
    assert!(
        made.is_empty(),
        "made by the container: {made:?}: {:?}",
        all.iter().map(|(_, out)| out).collect::<Vec<_>>()
    );
}

/// proc in the host's pid namespace, with what is mounted below (binfmt_misc).
#[test]
fn proc_of_the_host_is_read_only_below_too() {
    let change = |bundle: Bundle| {
        let bundle = bundle.without_ns("pid").without_mount("/proc").set("/linux/maskedPaths", json!([]));
        let bundle = bundle.set("/linux/readonlyPaths", json!([]));
        let mut mounts = vec![json!({ "type": "proc", "source": "proc", "destination": "/proc", "options": ["ro"] })];
        mounts.extend(bundle.config["mounts"].as_array().unwrap().clone());
        bundle.set("/mounts", json!(mounts))
    };
    for (_container, out) in reports(change, &["/probe", "report"]) {
        all_read_only(&out["report"], "/proc");
    }
}
