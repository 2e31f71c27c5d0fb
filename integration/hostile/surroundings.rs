//! What happens around a runtime rather than in it: it is killed, the disk is read-only, the state is of another boot,
//! the host has thousands of mounts, descriptors are few, a hook hangs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::common::host::{self, wait_until};
use crate::common::{Bundle, Container, brisk_only, process, skip_on};

fn slay(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
}

/// The last status there is; a container that is not there (yet) has none.
fn status_or_none(container: &Container) -> Option<String> {
    let output = container.call(&["state", &container.id]);
    (output.code == 0).then(|| output.json()["status"].as_str().unwrap().to_owned())
}

#[test]
fn a_foreground_run_that_is_killed_leaves_a_container_that_can_be_managed() {
    let container = Bundle::idle().container();
    let run = container.start_run(&[]);
    // Until its program runs it dies with the runtime that sets it up. And what the program says comes by way of the run: afterwards
    // it would have nobody to say it to, and end by that.
    run.wait_for_stdout(|text| !text.is_empty());
    slay(run.pid());
    run.wait();
    assert_eq!(container.status(), "running");
    container.exec(&["/bin/true"]).ok();
    container.delete_force().ok();
    container.assert_nothing_left();
    container.create().ok();
}

#[test]
fn a_foreground_exec_that_is_killed_harms_nothing() {
    let container = Bundle::idle().container();
    container.up();
    let marker = container.bundle.rootfs().join("tmp/inside");
    let script = "echo > /tmp/inside; exec /bin/sleep 1000000";
    let exec = process::start(container.command(&["exec", &container.id, "/bin/sh", "-c", script]), Stdio::null());
    wait_until(|| marker.exists());
    slay(exec.pid());
    exec.wait();
    assert_eq!(container.status(), "running");
    container.delete_force().ok();
    container.assert_nothing_left();
}

/// In a container whose proc has no `sys` the boot has no name.
#[test]
fn a_proc_without_sys_is_enough() {
    if skip_on(&["crun", "runc"], "only brisk asks for the boot's name") {
        return;
    }
    let container = Bundle::idle().container();
    let dir = container.bundle.dir.to_str().unwrap();
    let hidden = |args: &[&str]| {
        let unshare = ["unshare", "-m", "--propagation", "private"];
        let hide = "mount -t tmpfs none /proc/sys && exec \"$@\"";
        process::run(process::under(&unshare, &process::in_shell(hide, &container.command(args))))
    };
    hidden(&["create", "--bundle", dir, &container.id]).ok();
    hidden(&["start", &container.id]).ok();
    assert_eq!(container.status(), "running");
    assert_eq!(hidden(&["state", &container.id]).ok().json()["status"], "running");
    hidden(&["delete", "--force", &container.id]).ok();
    container.assert_nothing_left();
    container.up();
    assert_eq!(hidden(&["state", &container.id]).ok().json()["status"], "running");
}

#[test]
fn a_create_killed_while_its_hook_hangs_leaves_nothing_after_delete() {
    if skip_on(&["crun", "runc"], "the hook goes on") {
        return;
    }
    let container = Bundle::idle().sh_hook("createRuntime", "echo > $OUT; exec sleep 1000000").container();
    let dir = container.bundle.dir.to_str().unwrap();
    let create = process::start(container.command(&["create", "--bundle", dir, &container.id]), Stdio::null());
    wait_until(|| !container.bundle.hook_output().is_empty());
    assert_eq!(container.status(), "creating");
    slay(create.pid());
    create.wait();
    wait_until(|| status_or_none(&container).as_deref() == Some("stopped"));
    container.start().fails();
    container.delete().ok();
    wait_until(|| container.leftovers().is_empty());
}

#[test]
fn a_hook_that_does_not_read_a_long_state_is_ended_by_its_timeout() {
    if skip_on(&["crun", "runc"], "they wait for ever") {
        return;
    }
    // More than a pipe holds.
    let mut bundle = Bundle::idle().sh_hook("createRuntime", "exec sleep 1000000");
    bundle.config["hooks"]["createRuntime"][0]["timeout"] = json!(1);
    let container = bundle.set("/annotations/long", json!("x".repeat(300_000))).container();
    let text = container.create().fails();
    assert!(text.contains("timed out"), "{text}");
    container.assert_nothing_left();
}

/// state.json of a container, changed.
fn edit_state(container: &Container, edit: impl FnOnce(&mut Value)) {
    let path = container.record_file();
    let mut state: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    edit(&mut state);
    fs::write(&path, serde_json::to_vec(&state).unwrap()).unwrap();
}

#[test]
fn a_container_of_a_later_version_is_named_and_can_be_deleted_by_force() {
    if brisk_only("the state files differ") {
        return;
    }
    let container = Bundle::idle().container();
    container.up();
    edit_state(&container, |state| state["version"] = json!(4711));
    let text = container.call(&["state", &container.id]).fails();
    assert!(text.contains("4711"), "{text}");
    container.call(&["list"]);
    container.delete().fails();
    container.delete_force().ok();
    container.assert_nothing_left();
}

#[test]
fn a_container_of_another_boot_is_stopped_and_its_id_is_free_after_delete() {
    if brisk_only("the state files differ") {
        return;
    }
    let container = Bundle::idle().container();
    container.up();
    let pid = container.pid();
    edit_state(&container, |state| state["bootId"] = json!("00000000-0000-0000-0000-000000000000"));
    // A process of that pid lives and even started at that time, but it cannot be the container's.
    assert!(Path::new(&format!("/proc/{pid}")).exists());
    assert_eq!(container.status(), "stopped");
    container.kill("KILL").fails();
    container.start().fails();
    // After a boot its cgroup would not be there.
    container.delete().fails();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    container.delete().ok();
    container.assert_nothing_left();
    container.create().ok();
}

#[test]
fn a_state_directory_that_becomes_read_only() {
    if skip_on(&["crun", "runc"], "start or delete fail otherwise") {
        return;
    }
    let mut bundle = Bundle::idle();
    let state = bundle.state_root();
    fs::create_dir(&state).unwrap();
    bundle.mount_on_host(Path::new("tmpfs"), &state, "tmpfs", MsFlags::empty(), "size=1m,mode=700");
    let container = bundle.container();
    container.create().ok();
    let remount = |flags: MsFlags| mount(None::<&str>, &state, None::<&str>, MsFlags::MS_REMOUNT | flags, None::<&str>);
    remount(MsFlags::MS_RDONLY).unwrap();
    assert_eq!(container.status(), "created");
    container.start().ok();
    // The fifo cannot be removed; it means nothing once its reader has closed it.
    wait_until(|| container.status() == "running");
    container.exec(&["/bin/true"]).ok();
    container.stop();
    assert_eq!(container.status(), "stopped");
    let text = container.delete().fails();
    assert!(text.contains("remove"), "{text}");
    remount(MsFlags::empty()).unwrap();
    container.delete().ok();
    container.assert_nothing_left();
}

#[test]
fn a_full_state_directory_refuses_before_anything_is_made_and_recovers() {
    if skip_on(&["crun", "runc"], "may leave the process") {
        return;
    }
    let mut bundle = Bundle::idle();
    let state = bundle.state_root();
    fs::create_dir(&state).unwrap();
    bundle.mount_on_host(Path::new("tmpfs"), &state, "tmpfs", MsFlags::empty(), "size=4k,mode=700");
    fs::write(state.join("filler"), [0; 4096]).unwrap();
    let container = bundle.container();
    let text = container.create().fails();
    assert!(text.to_lowercase().contains("no space left"), "{text}");
    assert_eq!(fs::read_dir(&state).unwrap().count(), 1, "something was left in the state root");
    assert_eq!(status_or_none(&container), None);
    fs::remove_file(state.join("filler")).unwrap();
    let grow = mount(None::<&str>, &state, None::<&str>, MsFlags::MS_REMOUNT, Some("size=1m"));
    grow.unwrap();
    container.create().ok();
}

#[test]
fn few_open_files_are_enough_or_leave_nothing() {
    // On cgroup v1 every hierarchy takes a descriptor.
    for limit in (4..20).chain([64]) {
        let container = Bundle::new(&["/bin/true"]).container();
        let runtime = container.command(&["run", "--bundle", container.bundle.dir.to_str().unwrap(), &container.id]);
        let output = process::run(process::in_shell(&format!(r#"ulimit -n {limit}; exec "$@""#), &runtime));
        if skip_on(&["crun", "runc"], "leave things behind") {
            crate::common::leftovers::clean_up(&container.leftovers());
            return;
        }
        if output.code == 0 || limit == 64 {
            output.ok();
        } else {
            let text = output.fails();
            assert!(text.to_lowercase().contains("too many open files"), "limit {limit}: {text}");
        }
        container.assert_nothing_left();
    }
}

#[test]
fn who_may_not_look_is_not_told_that_nothing_is_there() {
    if brisk_only("others say stopped, or nothing") {
        return;
    }
    let container = Bundle::idle().set("/process/user/uid", json!(1000)).container();
    container.up();
    let called = |script: &str, args: &[&str]| {
        process::run(process::under(&["unshare", "-m"], &process::in_shell(script, &container.command(args))))
    };
    // 1000 is not the caller, who has no capability: nothing but proc tells him of it.
    let hidden = r#"mount -t proc -o hidepid=2,gid=4711 proc /proc && exec setpriv --bounding-set=-all "$@""#;
    for script in [r#"mount -t tmpfs none /proc && exec "$@""#, hidden] {
        for args in [&["state", &container.id][..], &["list"], &["delete", &container.id]] {
            let said = called(script, args).fails();
            assert!(said.contains("is there, and /proc does not show it"), "{script} {args:?}: {said}");
        }
    }
    assert_eq!(container.status(), "running");
    let few: Vec<_> = (4..9).map(|limit| called(&format!(r#"ulimit -n {limit}; exec "$@""#), &["list"])).collect();
    assert!(few.iter().all(|out| out.stdout().contains(&container.id) == (out.code == 0)), "{few:?}");
    assert!(few.iter().any(|out| out.stderr().contains("cannot be read") && out.code == 1), "{few:?}");
}

#[test]
fn cgroups_below_the_containers_go_with_it() {
    let container = Bundle::idle().container();
    container.up();
    let own: PathBuf = host::cgroup_dir("pids", &container.bundle.cgroup());
    for name in ["a", "a/b", "a/b/c", "a/b/d"] {
        fs::create_dir(own.join(name)).unwrap();
    }
    let deep = own.join("a/b/c");
    // On cgroup2 the container's own cgroup still has processes, which its children without controllers may have too.
    fs::write(deep.join("cgroup.procs"), container.pid().to_string()).unwrap();
    container.delete_force().ok();
    container.assert_nothing_left();
}

/// Mounts of this thread's own mount namespace, which is not that of the process.
/// Without the one mount that brisk keeps: it comes with the first container that finds its lock free.
fn own_mounts() -> Vec<String> {
    let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let lines = table.lines().filter(|line| !line.contains(" /run/brisk-skeleton/mnt "));
    lines.map(|line| line.split(' ').skip(3).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn the_skeleton_is_kept_in_any_mount_namespace() {
    if brisk_only("others have no skeleton mount namespace") {
        return;
    }
    const PIN: &str = "/run/brisk-skeleton/mnt";
    let container = Bundle::idle().container();
    let place = container.bundle.host_dir("crowd");
    let none = None::<&str>;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
            mount(Some("tmpfs"), &place, Some("tmpfs"), MsFlags::empty(), none).unwrap();
            for n in 0..200 {
                let dir = place.join(n.to_string());
                fs::create_dir(&dir).unwrap();
                mount(Some(&dir), &dir, none, MsFlags::MS_BIND, none).unwrap();
            }
            // Since Linux 6.18 which of two mount namespaces is the older depends on the CPUs they were made on.
            for _ in 0..6 {
                unshare(CloneFlags::CLONE_NEWNS).unwrap();
                let _ = umount2(PIN, MntFlags::MNT_DETACH);
                container.up();
                container.delete_force().ok();
                let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
                let kept = table.lines().any(|line| line.contains(&format!(" {PIN} ")));
                assert!(kept || !on_skeleton(&container), "the skeleton is not kept");
            }
        });
    });
    container.assert_nothing_left();
}

/// What brisk would start from here.
fn on_skeleton(container: &Container) -> bool {
    let plan = container.call(&["plan", container.bundle.dir.to_str().unwrap()]).ok().stdout();
    plan.contains("from the skeleton mount namespace")
}

#[test]
fn five_thousand_mounts_on_the_host() {
    let container = Bundle::idle().container();
    let place = container.bundle.host_dir("crowd");
    // A thread may have a mount namespace of its own, and what it starts is in it.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
            mount(Some("tmpfs"), &place, Some("tmpfs"), MsFlags::empty(), none).unwrap();
            for n in 0..5000 {
                let dir = place.join(n.to_string());
                fs::create_dir(&dir).unwrap();
                mount(Some(&dir), &dir, none, MsFlags::MS_BIND, none).unwrap();
            }
            container.run_with(&["--detach"]).ok();
            container.delete_force().ok();
            let before = own_mounts();
            for _ in 0..3 {
                container.up();
                assert_eq!(container.exec(&["/bin/echo", "here"]).ok().stdout(), "here\n");
                // The program sees its own mounts, not the host's.
                let seen = container.exec(&["/bin/cat", "/proc/self/mountinfo"]).ok().stdout().lines().count();
                assert!(seen < 100, "{seen} mounts in the container");
                container.delete_force().ok();
            }
            assert_eq!(own_mounts(), before);
        });
    });
    container.assert_nothing_left();
}
