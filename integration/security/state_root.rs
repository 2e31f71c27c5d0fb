//! The state root is root's alone, or the user's who calls: whoever may write there writes hooks that run on the host.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Command, Stdio};

use crate::common::{Bundle, Container, host, process, skip_on};

const OTHER: u32 = 54_321;

/// Whose the root is, and who may write there.
const BAD: [(u32, u32, u32); 4] = [(OTHER, 0, 0o711), (OTHER, OTHER, 0o700), (0, 0, 0o777), (0, OTHER, 0o770)];

fn give(container: &Container, (uid, gid, mode): (u32, u32, u32)) {
    let root = container.bundle.state_root();
    chown(&root, Some(uid), Some(gid)).unwrap();
    fs::set_permissions(&root, fs::Permissions::from_mode(mode)).unwrap();
}

/// His poststop hook at `delete`, his config.json at `exec`, his process at `kill`.
#[test]
fn a_state_root_of_somebody_else_is_refused() {
    if skip_on(&["runc", "crun"], "do not look") {
        return;
    }
    for bad in BAD {
        let bundle = Bundle::idle().sh_hook("poststop", "cat > /dev/null; echo his > $OUT");
        let container = bundle.container();
        container.up();
        let (id, dir) = (&container.id, container.bundle.dir.to_str().unwrap());
        give(&container, bad);
        let other = format!("{id}-other");
        let verbs: [&[&str]; 10] = [
            &["exec", id, "/bin/true"],
            &["state", id],
            &["list"],
            &["kill", id, "0"],
            &["ps", id],
            &["pause", id],
            &["update", "--pids-limit", "100", id],
            &["create", "--bundle", dir, &other],
            &["run", "--detach", "--bundle", dir, &other],
            &["delete", "--force", id],
        ];
        let outputs: Vec<_> = verbs.iter().map(|args| (args[0], container.call(args))).collect();
        // So that it can be cleaned up.
        let _ = container.call(&["delete", "--force", &other]);
        let ran = container.bundle.hook_output();
        give(&container, (0, 0, 0o711));
        let _ = container.call(&["delete", "--force", &other]);
        assert_eq!(ran, "", "{bad:?}: the hook ran");
        for (verb, output) in outputs {
            assert_ne!(output.code, 0, "{bad:?}: {verb} took a state root of somebody else: {output:?}");
        }
    }
}

/// The default root of an ordinary user is below XDG_RUNTIME_DIR, which may be another user's, as after su(1).
#[test]
fn a_runtime_directory_of_somebody_else_is_refused() {
    if skip_on(&["runc", "crun"], "do not look") || crate::rootless::not_here() {
        return;
    }
    let container = Bundle::idle().container();
    fs::set_permissions(&container.bundle.dir, fs::Permissions::from_mode(0o755)).unwrap();
    let dir = container.bundle.host_dir("runtime");
    let root = dir.join("brisk");
    for path in [&dir, &root] {
        let _ = fs::create_dir(path);
        chown(path, Some(OTHER + 1), Some(OTHER + 1)).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let mut command = Command::new("setpriv");
    let id = OTHER.to_string();
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"]).arg(&container.program[0]);
    command.arg("list").env("XDG_RUNTIME_DIR", &dir).current_dir("/");
    process::run(command).fails();
}

/// Without a readable record and config.json nothing is known of the container: what has a cgroup of its name may be
/// anybody's.
#[test]
fn delete_by_force_kills_nobody_by_the_name_alone() {
    if skip_on(&["runc", "crun"], "another state") {
        return;
    }
    let container = Bundle::idle().container();
    container.create().ok();
    container.delete_force().ok();
    // Somebody else's, of that name.
    let name = container.bundle.cgroup();
    let mut bystander = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
    let top = host::cgroup_dirs("/").into_iter().filter(|dir| dir.join("cgroup.procs").exists());
    let dirs: Vec<_> = top.map(|dir| dir.join(name.trim_start_matches('/'))).collect();
    for dir in &dirs {
        fs::create_dir(dir).unwrap();
        // A cpuset without CPUs takes nobody.
        let _ = fs::write(dir.join("cgroup.procs"), bystander.id().to_string());
    }
    let state = container.bundle.state_root().join(&container.id);
    fs::create_dir(&state).unwrap();
    for file in ["state.json", "config.json"] {
        fs::write(state.join(file), "unreadable").unwrap();
    }
    let output = container.delete_force();
    let lives = bystander.try_wait().unwrap().is_none();
    let _ = bystander.kill();
    bystander.wait().unwrap();
    host::wait_until(|| dirs.iter().all(|dir| !dir.exists() || fs::remove_dir(dir).is_ok()));
    assert!(lives, "a process that was never the container's was killed: {output:?}");
}
