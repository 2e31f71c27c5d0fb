//! Containers of an ordinary user: no root anywhere on the way.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::MsFlags;
use serde_json::{Value, json};

use crate::common::container::{has, mount_at};
use crate::common::{Bundle, Container, Need, host, lacks, process, runtime, skip_on, skip_unless};

/// No user has this id, so nothing can depend on one.
pub const UID: u32 = 54_321;

/// A bundle that belongs to the user, mapped to root inside and nothing else.
pub fn bundle(args: &[&str]) -> Bundle {
    let uid = if host::is_root() { UID } else { nix::unistd::geteuid().as_raw() };
    let map = json!([{ "containerID": 0, "hostID": uid, "size": 1 }]);
    let bundle = Bundle::new(args)
        .ns("user")
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .unset("/linux/cgroupsPath")
        .without_mount("/dev/pts")
        .without_mount("/sys")
        .mount("devpts", "devpts", "/dev/pts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"])
        .mount("bind", "/sys", "/sys", &["rbind", "nosuid", "noexec", "nodev", "ro"]);
    give(&bundle);
    bundle
}

/// Root makes the bundle; the user gets it.
fn give(bundle: &Bundle) {
    if host::is_root() {
        crate::common::bundle::chown_tree(&bundle.rootfs(), UID);
        chown(&bundle.dir, Some(UID), Some(UID)).unwrap();
        fs::set_permissions(&bundle.dir, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// A bundle made for root: no user namespace, a new sysfs, a group of terminals.
fn roots_bundle(args: &[&str]) -> Bundle {
    let bundle = Bundle::new(args).unset("/linux/cgroupsPath");
    give(&bundle);
    bundle
}

/// The same command line as the user, with an empty environment but for PATH.
pub fn as_user(container: &Container, args: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    if host::is_root() {
        let id = UID.to_string();
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"]);
    } else {
        command = Command::new("env");
    }
    command.arg(reachable_runtime(container)).arg("--root").arg(container.bundle.state_root()).args(args);
    command.current_dir(&container.bundle.dir).env_remove("XDG_RUNTIME_DIR");
    command
}

/// The runtime, or a copy in the bundle where it is in a directory that an ordinary user cannot enter, like root's home.
pub fn reachable_runtime(container: &Container) -> PathBuf {
    let may_enter = |dir: &Path| fs::metadata(dir).is_ok_and(|m| m.permissions().mode() & 0o001 != 0);
    let program = host::resolve_program(&runtime());
    if program.ancestors().skip(1).filter(|dir| *dir != Path::new("")).all(may_enter) {
        return program;
    }
    let copy = container.bundle.dir.join(program.file_name().unwrap());
    if !copy.exists() {
        crate::common::bundle::copy(&program, &copy);
    }
    copy
}

/// True, with a loud word, where an ordinary user cannot have a user namespace.
pub fn not_here() -> bool {
    let limit = fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap_or_default();
    skip_unless(Need::from(limit.trim() != "0"), "user namespaces are off")
}

#[track_caller]
fn run(bundle: Bundle) -> (Container, process::Output) {
    let container = bundle.container();
    let dir = container.bundle.dir.to_str().unwrap().to_string();
    let id = container.id.clone();
    let output = process::run(as_user(&container, &["run", "--bundle", &dir, &id]));
    (container, output)
}

#[track_caller]
fn report(bundle: Bundle) -> Value {
    let (_container, output) = run(bundle);
    output.ok().json()["report"].clone()
}

#[test]
fn a_user_runs_a_container() {
    if not_here() {
        return;
    }
    let (container, output) = run(bundle(&["/bin/sh", "-c", "echo hello; exit 6"]));
    assert_eq!(output.exits(6).stdout(), "hello\n");
    container.assert_nothing_left();
}

#[test]
fn a_user_starts_a_template() {
    if crate::common::brisk_only("templates") || not_here() {
        return;
    }
    let container = bundle(&["/probe", "pause"])
        .set("/process/rlimits", json!([{ "type": "RLIMIT_CORE", "soft": 0, "hard": 0 }]))
        .container();
    let dir = container.bundle.dir.to_str().unwrap();
    let call = |args: &[&str]| process::run(as_user(&container, args));
    call(&["create", "--template", "--bundle", dir, &container.id]).ok();
    call(&["start", &container.id, "--", "/not/there"]).fails();
    assert!(call(&["start", "--user", "5", &container.id]).fails().contains("process.user.uid 5 is not mapped"));
    assert!(call(&["start", "--additional-gids", "0", &container.id]).fails().contains("groups"));
    let pid = call(&["state", &container.id]).ok().json()["pid"].as_i64().unwrap();
    let pidfd = process::pidfd_open(i32::try_from(pid).unwrap()).unwrap();
    // What is mounted is taken with the user's own rights.
    let shared = container.bundle.host_dir("shared");
    fs::write(shared.join("word"), "of the host").unwrap();
    let place = format!("{}:/mnt", shared.display());
    call(&["start", "--mount", &place, &container.id, "--", "/not/there"]).fails();
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    assert!(!mounts.contains(" /mnt "), "{mounts}");
    let program = ["/probe", "read:/mnt/word", "report"];
    let args = [&["start", "--cwd", "/tmp", "--mount", &place, &container.id, "--"][..], &program].concat();
    let start = call(&args).ok();
    assert!(process::wait_readable(std::os::fd::AsFd::as_fd(&pidfd), crate::common::time_limit()));
    assert_eq!(start.json()["read:/mnt/word"], json!("of the host"));
    let seen = start.json()["report"].take();
    assert_eq!((&seen["uid"], &seen["pid"], &seen["cwd"]), (&json!(0), &json!(1), &json!("/tmp")));
    assert_eq!(seen["limits"]["Max core file size"], json!(["0", "0"]));
    call(&["delete", &container.id]).ok();
    container.assert_nothing_left();
}

#[test]
fn the_user_is_root_inside() {
    if not_here() {
        return;
    }
    let report = report(bundle(&["/probe", "report"]));
    assert_eq!(report["uid"], 0);
    assert_eq!(report["pid"], 1);
    assert_eq!(report["hostname"], "testhost");
}

#[test]
fn devices_are_bound() {
    if not_here() {
        return;
    }
    let (_container, output) = run(bundle(&["/probe", "write:/dev/null", "read1:/dev/zero", "stat:/dev/null"]));
    let out = output.ok().json();
    assert_eq!(out["write:/dev/null"], "ok");
    assert_eq!(out["read1:/dev/zero"], 1);
    assert_eq!(out["stat:/dev/null"]["minor"], 3);
}

/// What stands in for a device of its own is not more than that.
#[test]
fn a_bound_device_is_a_device_only() {
    if not_here() || skip_on(&["runc"], "without those flags") {
        return;
    }
    let report = report(bundle(&["/probe", "report"]));
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
        let opts = &mount_at(&report, &format!("/dev/{name}"))["opts"];
        assert!(has(opts, "nosuid") && has(opts, "noexec"), "{name}: {opts}");
    }
}

/// An ordinary user may not come back from another pid namespace than his own.
#[test]
fn a_user_joins_namespaces_of_another_container() {
    if not_here() || skip_on(&["crun"], "EPERM for the pid namespace") {
        return;
    }
    let first = bundle(&["/probe", "pause"]).container();
    up(&first);
    let pid = process::run(as_user(&first, &["state", &first.id])).ok().json()["pid"].to_string();
    let of = |file: &str| format!("/proc/{pid}/ns/{file}");
    let expected = ["user", "pid", "net", "ipc", "uts"].map(|file| host::ns_of(&pid, file));
    for kinds in [&["user", "pid"][..], &["user", "pid", "network", "ipc", "uts"]] {
        let mut second = bundle(&["/probe", "report"]);
        for kind in kinds {
            let file = if *kind == "network" { "net" } else { kind };
            second = second.join(kind, &of(file));
        }
        if kinds.contains(&"uts") {
            second = second.unset("/hostname");
        }
        second.config["linux"].as_object_mut().unwrap().remove("uidMappings");
        second.config["linux"].as_object_mut().unwrap().remove("gidMappings");
        let report = report(second);
        for (file, expected) in ["user", "pid", "net", "ipc", "uts"].iter().zip(&expected) {
            let joined = kinds.iter().any(|kind| kind.starts_with(file));
            assert_eq!(report["ns"][file] == json!(expected), joined, "{file}: {report}");
        }
    }
    process::run(as_user(&first, &["delete", "--force", &first.id])).ok();
}

/// Creates and starts it as the user.
#[track_caller]
fn up(container: &Container) {
    let dir = container.bundle.dir.to_str().unwrap();
    process::run(as_user(container, &["create", "--bundle", dir, &container.id])).ok();
    process::run(as_user(container, &["start", &container.id])).ok();
}

#[test]
fn the_whole_life_as_a_user() {
    if not_here() {
        return;
    }
    let container = bundle(&["/probe", "pause"]).container();
    up(&container);
    let call = |args: &[&str]| process::run(as_user(&container, args));
    let state = call(&["state", &container.id]).ok().json();
    assert_eq!(state["status"], "running");
    let out = call(&["exec", &container.id, "/probe", "report"]).ok().json();
    assert_eq!(out["report"]["uid"], 0);
    call(&["delete", "--force", &container.id]).ok();
    container.assert_nothing_left();
}

#[test]
fn read_only_binds_of_mounts_with_locked_flags() {
    if not_here() {
        return;
    }
    if skip_on(&["runc"], "fixed later (runc#3967)") {
        return;
    }
    // The kernel lets nobody in a user namespace clear what the mount has on the host (mount_namespaces(7)).
    let mut bundle = bundle(&["/probe", "report"]);
    let place = if host::is_root() {
        let place = bundle.host_dir("locked");
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        bundle.mount_on_host(Path::new("tmpfs"), &place, "tmpfs", flags, "");
        place
    } else {
        // systemd mounts it so.
        PathBuf::from("/dev/shm")
    };
    let place = place.to_str().unwrap();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = mounts.lines().rev().find(|line| line.split(' ').nth(4) == Some(place)).unwrap();
    let locked: Vec<&str> =
        line.split(' ').nth(5).unwrap().split(',').filter(|o| ["nosuid", "nodev", "noexec"].contains(o)).collect();
    assert!(!locked.is_empty(), "{line}");
    let report = report(bundle.mount("bind", place, "/mnt", &["rbind", "ro"]));
    let options = &mount_at(&report, "/mnt")["opts"];
    for flag in locked.into_iter().chain(["ro"]) {
        assert!(has(options, flag), "{flag} is not in {options}");
    }
}

/// Whether this user may make a cgroup beside the one it is in.
fn may_make_cgroups() -> bool {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default().to_owned();
    let above = Path::new("/sys/fs/cgroup").join(own);
    nix::unistd::access(above.parent().unwrap(), nix::unistd::AccessFlags::W_OK).is_ok()
}

#[test]
fn a_configured_limit_that_cannot_be_set_is_refused() {
    if not_here() {
        return;
    }
    // Without delegation there is no cgroup to write to: to ignore the limit would be a lie.
    if lacks(&["pids"]) || skip_on(&["runc", "crun"], "they ignore it") || (!host::is_root() && may_make_cgroups()) {
        return;
    }
    for flags in [&[][..], &["--rootless", "auto"]] {
        let container = bundle(&["/bin/true"]).resources("pids", json!({ "limit": 10 })).container();
        let (dir, id) = (container.bundle.dir.to_str().unwrap(), container.id.as_str());
        let said = process::run(as_user(&container, &[flags, &["run", "--bundle", dir, id]].concat())).fails();
        assert!(
            said.contains("cannot set pids limit: container could not join or create cgroup"),
            "runc's words: {said}"
        );
        assert!(said.contains("pids.max") && said.contains("hint: delegate"), "{said}");
        container.assert_nothing_left();
    }
}

#[test]
fn a_cgroup_that_root_gave_is_used() {
    let v2 = host::Cgroups::detect() == host::Cgroups::V2;
    if not_here()
        || skip_unless(Need::from(v2 && host::is_root()), "root delegates a cgroup, of v2")
        || lacks(&["pids", "memory"])
    {
        return;
    }
    let container = bundle(&["/probe", "pause"])
        .resources("pids", json!({ "limit": 30 }))
        .resources("memory", json!({ "limit": 64 << 20 }))
        .container();
    // As systemd.resource-control(5) and cgroups(7) say: the directory and three of its files.
    let given = Path::new("/sys/fs/cgroup").join(host::unique_name());
    let login = given.join("login");
    for dir in [&given, &login] {
        fs::create_dir(dir).unwrap();
        for file in [".", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
            chown(dir.join(file), Some(UID), Some(UID)).unwrap();
        }
    }
    let call = |args: &[&str]| {
        let procs = login.join("cgroup.procs");
        let shell = ["sh", "-c", "echo $$ >\"$0\" && exec \"$@\"", procs.to_str().unwrap()];
        process::run(process::under(&shell, &as_user(&container, args)))
    };
    let dir = container.bundle.dir.to_str().unwrap();
    call(&["--rootless", "false", "create", "--bundle", dir, &container.id]).ok();
    call(&["start", &container.id]).ok();
    let cgroup = given.join(&container.id);
    let file = |name: &str| fs::read_to_string(cgroup.join(name)).unwrap().trim().to_owned();
    // Root does not read the state of another user.
    let state = || call(&["state", &container.id]).ok().json();
    assert_eq!(
        (file("pids.max"), file("memory.max"), file("cgroup.procs")),
        ("30".into(), "67108864".into(), state()["pid"].to_string())
    );
    call(&["pause", &container.id]).ok();
    assert_eq!(state()["status"], "paused");
    call(&["resume", &container.id]).ok();
    call(&["update", "--pids-limit", "40", &container.id]).ok();
    assert_eq!(file("pids.max"), "40");
    let inside = call(&["exec", &container.id, "/bin/cat", "/proc/self/cgroup"]).ok().stdout();
    assert!(inside.trim_end().ends_with(&container.id), "{inside}");
    call(&["delete", "--force", &container.id]).ok();
    container.assert_nothing_left();
    fs::remove_dir(login).unwrap();
    fs::remove_dir(given).unwrap();
}

/// What the error of a limit that cannot be set tells to do.
#[test]
fn limits_in_a_delegated_scope_of_the_users_own() {
    let manager = Command::new("systemctl").args(["--user", "is-system-running"]).output();
    let manager = manager.is_ok_and(|output| !output.stdout.starts_with(b"offline") && !output.stdout.is_empty());
    let user = !host::is_root() && host::Cgroups::detect() == host::Cgroups::V2;
    if not_here() || skip_unless(Need::from(user && manager), "no ordinary user with a service manager and cgroup v2") {
        return;
    }
    let container = bundle(&["/probe", "pause"]).resources("pids", json!({ "limit": 30 })).container();
    let (dir, id) = (container.bundle.dir.to_str().unwrap(), container.id.as_str());
    let user = as_user(&container, &["create", "--bundle", dir, id]);
    let scope = ["systemd-run", "--user", "--scope", "-q", "--collect", "-p", "Delegate=yes", "--"];
    process::run(process::under(&scope, &user)).ok();
    let cgroup = fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap();
    let cgroup = Path::new("/sys/fs/cgroup").join(cgroup.trim().trim_start_matches("0::/"));
    assert!(cgroup.ends_with(id), "{}", cgroup.display());
    assert_eq!(fs::read_to_string(cgroup.join("pids.max")).unwrap().trim(), "30");
    container.delete_force().ok();
    container.assert_nothing_left();
}

#[test]
fn without_the_helpers_there_is_one_id() {
    if not_here() || skip_on(&["runc", "crun"], "runc refuses such a bundle, crun fails without newuidmap") {
        return;
    }
    let container = roots_bundle(&["/bin/cat", "/proc/self/uid_map", "/proc/self/setgroups"]).container();
    let (dir, id) = (container.bundle.dir.to_str().unwrap(), container.id.as_str());
    let user = as_user(&container, &["run", "--bundle", dir, id]);
    let mut command = Command::new("/usr/bin/env");
    // By its path, for then it is found without PATH.
    let program = Path::new("/usr/bin").join(user.get_program());
    command.arg("PATH=/nowhere").arg(program).args(user.get_args()).current_dir(dir);
    let out = process::run(command).ok().stdout();
    let uid = if host::is_root() { UID } else { nix::unistd::geteuid().as_raw() };
    let words: Vec<&str> = out.split_whitespace().collect();
    assert_eq!(words, ["0", &uid.to_string(), "1", "deny"]);
}

#[test]
fn a_bundle_without_a_user_namespace_gets_one() {
    if not_here() || skip_on(&["runc", "crun"], "runc refuses such a bundle, crun a user without a name") {
        return;
    }
    let container = roots_bundle(&["/probe", "pause"]).container();
    up(&container);
    let call = |args: &[&str]| process::run(as_user(&container, args));
    let report = call(&["exec", &container.id, "/probe", "report"]).ok().json()["report"].clone();
    assert_eq!(report["uid"], 0);
    let uid = if host::is_root() { UID } else { nix::unistd::geteuid().as_raw() };
    let map = call(&["exec", &container.id, "/bin/cat", "/proc/self/uid_map"]).ok().stdout();
    let lines: Vec<Vec<u32>> =
        map.lines().map(|line| line.split_whitespace().map(|n| n.parse().unwrap()).collect()).collect();
    assert_eq!(lines[0], [0, uid, 1]);
    // Not by getpwuid(3), which loads NSS modules: this program is static.
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    let entry = passwd.lines().map(fields).find(|fields| fields.get(2) == Some(&uid.to_string()));
    let name = entry.map(|fields| fields[0].clone());
    let sub = fs::read_to_string("/etc/subuid").unwrap_or_default();
    let granted = sub.lines().any(|line| name.as_deref().is_some_and(|name| line.starts_with(&format!("{name}:"))));
    assert_eq!(lines.len() > 1, granted, "{map}");
    if granted {
        // A user of the image other than root.
        let out = call(&["exec", "--user", "1000:1000", &container.id, "/probe", "report"]).ok().json();
        assert_eq!(out["report"]["uid"], 1000);
    }
    call(&["delete", "--force", &container.id]).ok();
    container.assert_nothing_left();
}

#[test]
fn sysfs_is_bound_in_the_hosts_network() {
    if not_here() || skip_on(&["runc", "crun"], "runc refuses such a bundle, crun a user without a name") {
        return;
    }
    let (_container, output) = run(roots_bundle(&["/bin/ls", "/sys/class/net"]).without_ns("network"));
    assert!(output.ok().stdout().lines().any(|name| name == "lo"));
}

#[test]
fn limits_are_left_out_where_that_is_asked_for() {
    if lacks(&["pids"]) {
        return;
    }
    if not_here() || skip_on(&["runc", "crun"], "they leave them out unasked") {
        return;
    }
    let limited = |bundle: Bundle, args: &[&str]| {
        let container = bundle.resources("pids", json!({ "limit": 30 })).container();
        let (dir, id) = (container.bundle.dir.to_str().unwrap(), container.id.as_str());
        process::run(as_user(&container, &[args, &["run", "--bundle", dir, id]].concat()))
    };
    assert!(limited(roots_bundle(&["/bin/true"]), &[]).fails().contains("cgroup"));
    limited(roots_bundle(&["/bin/true"]), &["--rootless", "true"]).ok();
    let annotated = roots_bundle(&["/bin/true"]).set("/annotations", json!({ "run.brisk.cgroup_best_effort": "1" }));
    limited(annotated, &["--trust-annotations", "run.brisk.cgroup_best_effort"]).ok();
}

/// Nothing is measured there; who asks in a loop over all containers need not know.
#[test]
fn a_container_without_a_cgroup_has_numbers_of_zero() {
    if not_here() || skip_on(&["crun"], "has no such command") || !host::is_root() {
        return;
    }
    let container = bundle(&["/probe", "pause"]).container();
    let call = |args: &[&str]| process::run(as_user(&container, args));
    call(&["create", "--bundle", container.bundle.dir.to_str().unwrap(), &container.id]).ok();
    call(&["start", &container.id]).ok();
    let event = call(&["events", "--stats", &container.id]).ok().json();
    assert_eq!((&event["type"], &event["id"]), (&json!("stats"), &json!(container.id)), "{event}");
    assert_eq!(event["data"]["pids"], json!({}), "{event}");
    call(&["delete", "--force", &container.id]).ok();
}

/// Root whose cgroups are read-only, as in a container: device rules are left out where that is asked for, too.
#[test]
fn root_with_read_only_cgroups_does_without_where_that_is_asked_for() {
    if !host::is_root() || skip_on(&["runc", "crun"], "a cgroup that is named must be there; crun goes on unasked") {
        return;
    }
    if lacks(&["pids"]) {
        return;
    }
    let limits = json!([{ "allow": false, "access": "rwm" }]);
    let bundle = Bundle::probe(&["report"]).resources("devices", limits).resources("pids", json!({ "limit": 30 }));
    let container = bundle.container();
    let read_only = "for mount in $(busybox awk '$2 ~ /^.sys.fs.cgroup/ { print $2 }' /proc/self/mounts); do
            busybox mount -o remount,bind,ro $mount || exit 99; done; exec \"$@\"";
    let run = |args: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["-m", "--propagation", "private", "busybox", "sh", "-c", read_only, "sh"]);
        command.arg(host::resolve_program(&runtime())).arg("--root").arg(container.bundle.state_root()).args(args);
        command.args(["run", "--bundle", container.bundle.dir.to_str().unwrap(), &container.id]);
        process::run(command)
    };
    run(&[]).fails();
    run(&["--rootless", "true"]).ok();
}

#[test]
fn a_cgroup_that_must_be_there() {
    if not_here() || skip_on(&["runc", "crun"], "they go on") || !host::is_root() {
        return;
    }
    let container = roots_bundle(&["/bin/true"]).container();
    let (dir, id) = (container.bundle.dir.to_str().unwrap(), container.id.as_str());
    let said = process::run(as_user(&container, &["--rootless", "false", "run", "--bundle", dir, id])).fails();
    assert!(said.contains("hint: delegate a cgroup"), "{said}");
    let words = said.split_once("unable to apply cgroup configuration");
    assert!(words.is_some_and(|(_, rest)| rest.contains("permission denied")), "runc's words, in its order: {said}");
    process::run(as_user(&container, &["run", "--bundle", dir, id])).ok();
}

#[test]
fn the_bundle_that_spec_writes_runs() {
    if not_here() {
        return;
    }
    let container = roots_bundle(&["/bin/true"]).container();
    let config = container.bundle.dir.join("config.json");
    fs::remove_file(&config).unwrap();
    process::run(as_user(&container, &["spec", "--rootless"])).ok();
    let mut spec: Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    spec["process"]["terminal"] = json!(false);
    spec["process"]["args"] = json!(["/bin/sh", "-c", "id -u; ls /sys/class/net"]);
    fs::write(&config, spec.to_string()).unwrap();
    let dir = container.bundle.dir.to_str().unwrap();
    let out = process::run(as_user(&container, &["run", "--bundle", dir, &container.id])).ok().stdout();
    assert!(out.starts_with("0\n") && out.contains("lo"), "{out}");
}

/// An ordinary user may signal the processes of his containers: one that proc hides from him, and that he may not, is none.
#[test]
fn a_hidden_process_of_somebody_else_keeps_no_container() {
    if not_here() || !host::is_root() || skip_on(&["runc", "crun"], "state is their own") {
        return;
    }
    let container = bundle(&["/bin/true"]).container();
    container.bundle.write();
    let call = |args: &[&str]| {
        let hidden = r#"mount -t proc -o hidepid=2 proc /proc && exec "$@""#;
        process::run(process::under(&["unshare", "-m"], &process::in_shell(hidden, &as_user(&container, args))))
    };
    let dir = container.bundle.dir.to_str().unwrap();
    process::run(as_user(&container, &["run", "--keep", "--bundle", dir, &container.id])).ok();
    // The number is another's by now.
    let file = container.record_file();
    let mut record: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    record["init"]["pid"] = json!(std::process::id());
    fs::write(&file, record.to_string()).unwrap();
    assert_eq!(call(&["state", &container.id]).ok().json()["status"], "stopped");
    call(&["delete", &container.id]).ok();
}

#[test]
fn state_is_kept_below_the_runtime_directory() {
    if not_here() || skip_on(&["runc", "crun"], "the directory has their name") {
        return;
    }
    let container = roots_bundle(&["/probe", "pause"]).container();
    let runtime_dir = container.bundle.host_dir("runtime");
    if host::is_root() {
        chown(&runtime_dir, Some(UID), Some(UID)).unwrap();
    }
    let call = |args: &[&str]| {
        let mut command = Command::new("setpriv");
        if host::is_root() {
            let id = UID.to_string();
            command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"]);
        } else {
            command = Command::new("env");
        }
        command.arg(reachable_runtime(&container)).args(args).env("XDG_RUNTIME_DIR", &runtime_dir);
        command.current_dir(&container.bundle.dir);
        process::run(command)
    };
    call(&["create", &container.id]).ok();
    assert!(runtime_dir.join("brisk").join(&container.id).join("state.json").exists());
    assert!(call(&["list"]).ok().stdout().contains(&container.id));
    call(&["delete", "--force", &container.id]).ok();
}

/// The kernel refuses each step of it, with a bare EPERM at the first that names no mount.
#[test]
fn an_id_mapped_mount_is_refused_by_its_name() {
    if not_here() || skip_on(&["runc", "crun"], "runc 1.1 knows none, crun has words of its own") {
        return;
    }
    let map = json!([{ "containerID": 0, "hostID": 0, "size": 1 }]);
    for (fs, options) in [("bind", &["bind"][..]), ("bind", &["bind", "idmap"]), ("tmpfs", &[])] {
        let mut bundle = bundle(&["/bin/true"]).mount(fs, "/etc", "/mnt", options);
        let mounts = bundle.config["mounts"].as_array_mut().unwrap();
        let field = format!("mounts[{}]", mounts.len() - 1);
        let mount = mounts.last_mut().unwrap();
        if !options.contains(&"idmap") {
            mount["uidMappings"] = map.clone();
            mount["gidMappings"] = map.clone();
        }
        let said = run(bundle).1.fails();
        let wanted = "mount /mnt: id-mapped mounts are not supported for rootless containers";
        assert!(said.contains(wanted) && said.contains(&field), "{fs} {options:?}: {said}");
    }
}
