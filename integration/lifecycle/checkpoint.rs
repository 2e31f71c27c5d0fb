//! Checkpoint and restore with CRIU, where CRIU can work: its 3.17 (Debian 12) knows no kernel after 6.x's change of
//! the vDSO. `integration/vm` with the `criu` package has a kernel it knows.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::sys::stat::Mode;
use serde_json::json;

use crate::common::{Bundle, Container, Need, brisk_only, host, process, skip_here, skip_on, skip_unless};

/// What CRIU says of this host; the configuration of somebody else might send its words to a file.
fn criu_check() -> std::io::Result<std::process::Output> {
    Command::new("criu").args(["--no-default-config", "check"]).output()
}

/// True if CRIU cannot work here; says so in CRIU's own words.
pub fn skip_without_criu() -> bool {
    let reason = match criu_check() {
        Ok(output) if output.status.success() => return false,
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
            let said: Vec<&str> = text.lines().filter(|line| line.contains("Error")).collect();
            match said.as_slice() {
                [] => format!("`criu check` fails without a word ({})", output.status),
                said => format!("`criu check` fails: {}", said.join("; ")),
            }
        }
        Err(error) => format!("criu: {error}"),
    };
    skip_unless(Need::Missing, &reason)
}

/// A container that counts in /tmp/count, with a directory of the host at /mnt.
fn counter() -> Container {
    let bundle = Bundle::sh(
        "i=0; while [ ! -e /mnt/stop ]; do i=$((i+1)); echo $i >/tmp/new; cat /tmp/new >/tmp/count; sleep 0.1; done; exit 7",
    );
    let shared = bundle.host_dir("shared");
    std::fs::write(shared.join("from-host"), "hello").unwrap();
    bundle
        .mount("bind", shared.to_str().unwrap(), "/mnt", &["rbind", "rw"])
        .mount("tmpfs", "tmpfs", "/tmp", &["nosuid"])
        .container()
}

fn count(container: &Container) -> u64 {
    // Nothing yet, or just emptied to be written anew.
    container.exec(&["cat", "/tmp/count"]).stdout().trim().parse().unwrap_or(0)
}

#[track_caller]
fn counts_beyond(container: &Container, number: u64) {
    host::wait_until(|| count(container) > number);
}

pub fn images(container: &Container) -> PathBuf {
    container.bundle.dir.join("images")
}

#[track_caller]
pub fn checkpoint(container: &Container, flags: &[&str]) {
    let images = images(container);
    let mut args = vec!["checkpoint", "--image-path", images.to_str().unwrap()];
    args.extend(flags);
    args.push(&container.id);
    container.call(&args).ok();
}

pub fn restore<'a>(container: &'a Container, images: &'a str, flags: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["restore", "--bundle", container.bundle.dir.to_str().unwrap(), "--image-path", images];
    args.extend(flags);
    args.push(&container.id);
    args
}

#[test]
fn a_container_goes_on_where_it_was() {
    if skip_without_criu() {
        return;
    }
    let container = counter();
    container.up();
    counts_beyond(&container, 3);
    let before = 3;
    checkpoint(&container, &[]);
    container.call(&["state", &container.id]).fails();
    container.assert_nothing_left();

    let images = images(&container);
    let pid_file = container.bundle.dir.join("pid");
    let flags = ["--detach", "--pid-file", pid_file.to_str().unwrap()];
    container.call(&restore(&container, images.to_str().unwrap(), &flags)).ok();
    assert_eq!(container.status(), "running");
    assert_eq!(std::fs::read_to_string(pid_file).unwrap(), container.pid().to_string());
    host::wait_until(|| count(&container) != 0);
    assert!(count(&container) > before, "it started again");
    counts_beyond(&container, count(&container) + 3);
    assert_eq!(container.exec(&["cat", "/mnt/from-host"]).ok().stdout(), "hello");
    let cgroup = std::fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap();
    assert!(cgroup.contains(&container.id), "{cgroup}");
    container.call(&["pause", &container.id]).ok();
    container.call(&["resume", &container.id]).ok();
    container.stop();
    container.delete().ok();
    container.assert_nothing_left();
}

#[test]
fn a_foreground_restore_returns_the_status() {
    if skip_without_criu() {
        return;
    }
    let container = counter();
    container.bundle.write();
    // Not to files, which pipes could not stand in for.
    let mut run =
        container.command(&["run", "--detach", "--bundle", container.bundle.dir.to_str().unwrap(), &container.id]);
    assert!(run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    counts_beyond(&container, 1);
    checkpoint(&container, &[]);
    std::fs::write(container.bundle.dir.join("shared/stop"), "").unwrap();
    let images = images(&container);
    container.call(&restore(&container, images.to_str().unwrap(), &[])).exits(7);
    container.assert_nothing_left();
}

/// CRIU wants back the length and the position of a file, which a pipe in its place does not have.
#[test]
fn a_foreground_restore_goes_on_in_the_file_it_wrote_to() {
    if skip_on(&["runc", "crun"], "its CRIU knows no file of the host") || skip_without_criu() {
        return;
    }
    let bundle =
        Bundle::sh("i=0; while [ ! -e /mnt/stop ]; do i=$((i+1)); echo $i; sleep 0.05; done; echo end; exit 7");
    let shared = bundle.host_dir("shared");
    let container = bundle.mount("bind", shared.to_str().unwrap(), "/mnt", &["rbind", "rw"]).container();
    container.bundle.write();
    let file = container.bundle.dir.join("output");
    let written = || std::fs::read_to_string(&file).unwrap();
    let with_file = |args: &[&str]| {
        let output = || File::options().create(true).append(true).open(&file).unwrap();
        container.command(args).stdin(Stdio::null()).stdout(output()).stderr(output()).status().unwrap()
    };
    let bundle = container.bundle.dir.to_str().unwrap();
    assert!(with_file(&["run", "--detach", "--bundle", bundle, &container.id]).success());
    host::wait_until(|| written().lines().count() > 2);
    checkpoint(&container, &[]);
    let before = written();
    std::fs::write(shared.join("stop"), "").unwrap();
    let images = images(&container);
    let error = container.call(&restore(&container, images.to_str().unwrap(), &[])).fails();
    assert!(error.contains("give the same file"), "another file is relayed, and not given to the container: {error}");
    assert_eq!(with_file(&restore(&container, images.to_str().unwrap(), &[])).code(), Some(7), "{}", written());
    let after = written();
    assert!(after.starts_with(&before) && after.ends_with("end\n"), "{before:?}, {after:?}");
    container.assert_nothing_left();
}

#[test]
fn the_container_may_run_on() {
    if skip_without_criu() {
        return;
    }
    let container = counter();
    container.up();
    counts_beyond(&container, 1);
    let pid = container.pid();
    let images = images(&container);
    let first = images.join("first");
    let args = ["checkpoint", "--pre-dump", "--image-path", first.to_str().unwrap(), &container.id];
    nix::unistd::mkdir(&images, Mode::S_IRWXU).unwrap();
    let output = container.call(&args);
    let untracked = output.stderr().contains("lacks tracking of changed memory");
    if untracked && skip_unless(Need::Missing, "this kernel does not track changed memory (CONFIG_MEM_SOFT_DIRTY)") {
        return;
    }
    output.ok();
    let second = images.join("second");
    let args = [
        "checkpoint",
        "--leave-running",
        "--parent-path",
        "../first",
        "--image-path",
        second.to_str().unwrap(),
        &container.id,
    ];
    container.call(&args).ok();
    assert_eq!((container.status().as_str(), container.pid()), ("running", pid));
    assert!(second.join("parent").exists(), "no link to the first images");
    counts_beyond(&container, count(&container));
    container.delete_force().ok();
    container.call(&restore(&container, second.to_str().unwrap(), &["--detach"])).ok();
    counts_beyond(&container, count(&container));
}

/// Told before CRIU is asked, which would save everything without a word.
#[test]
fn a_parent_path_that_is_not_there_is_refused() {
    let container = Bundle::idle().container();
    container.up();
    let images = images(&container);
    let path = images.to_str().unwrap();
    for parent in ["/absolute", "../no-such-directory", "no-such-directory"] {
        let args = ["checkpoint", "--parent-path", parent, "--image-path", path, &container.id];
        let said = container.call(&args).fails();
        assert!(said.contains("--parent-path"), "{said}");
    }
    assert_eq!(container.status(), "running");
}

/// Podman, which writes config.json anew when it imports a checkpoint, has another order of mounts and devices then.
#[test]
fn mounts_and_devices_come_back_in_any_order() {
    if skip_without_criu() {
        return;
    }
    let device = |minor: i64| json!({ "path": format!("/dev/extra{minor}"), "type": "c", "major": 1, "minor": minor });
    let bundle =
        Bundle::sh("while :; do sleep 0.1; done").push("/linux/devices", device(3)).push("/linux/devices", device(5));
    for name in ["first", "second"] {
        std::fs::write(bundle.host_dir(name).join("file"), name).unwrap();
    }
    let (first, second) = (bundle.dir.join("first"), bundle.dir.join("second"));
    let mut container = bundle
        .mount("bind", first.to_str().unwrap(), "/mnt/first", &["rbind", "ro"])
        .mount("bind", second.to_str().unwrap(), "/mnt/second", &["rbind", "rw"])
        .container();
    container.up();
    checkpoint(&container, &[]);
    for list in ["/mounts", "/linux/devices"] {
        container.bundle.config.pointer_mut(list).unwrap().as_array_mut().unwrap().reverse();
    }
    container.bundle.write();
    let images = images(&container);
    container.call(&restore(&container, images.to_str().unwrap(), &["--detach"])).ok();
    for name in ["first", "second"] {
        assert_eq!(container.exec(&["cat", &format!("/mnt/{name}/file")]).ok().stdout(), name);
    }
    container.exec(&["/bin/sh", "-c", "echo changed >/mnt/first/file"]).fails();
    container.exec(&["/bin/sh", "-c", "echo changed >/mnt/second/file"]).ok();
}

#[test]
fn links_of_the_container_do_not_exchange_mounts() {
    if skip_without_criu() || brisk_only("runc and crun of this age name mounts by path (CVE-2026-119101)") {
        return;
    }
    let bundle = Bundle::sh("while :; do sleep 0.1; done");
    for (name, text) in [("secret", "secret"), ("open", "open")] {
        std::fs::write(bundle.host_dir(name).join("file"), text).unwrap();
    }
    for dir in ["a", "b"] {
        for path in [bundle.rootfs().join(dir), bundle.rootfs().join(dir).join("x")] {
            std::fs::create_dir(path).unwrap();
        }
    }
    std::os::unix::fs::symlink("a", bundle.rootfs().join("link")).unwrap();
    let (secret, open) = (bundle.dir.join("secret"), bundle.dir.join("open"));
    let container = bundle
        .mount("bind", secret.to_str().unwrap(), "/link/x", &["bind", "ro"])
        .mount("bind", open.to_str().unwrap(), "/b/x", &["bind", "rw"])
        .container();
    container.up();
    // The container leads the first name to where the second mount is.
    container.exec(&["ln", "-sfn", "b", "/link"]).ok();
    checkpoint(&container, &[]);
    let images = images(&container);
    container.call(&restore(&container, images.to_str().unwrap(), &["--detach"])).ok();
    assert_eq!(container.exec(&["cat", "/a/x/file"]).ok().stdout(), "secret");
    assert_eq!(container.exec(&["cat", "/b/x/file"]).ok().stdout(), "open");
    container.exec(&["/bin/sh", "-c", "echo changed >/a/x/file"]).fails();
    assert_eq!(std::fs::read_to_string(secret.join("file")).unwrap(), "secret");
}

#[test]
fn a_mount_point_that_criu_would_misread_is_refused() {
    if skip_without_criu() || brisk_only("crun of this age hands it to CRIU (CVE-2026-115520)") {
        return;
    }
    let bundle = Bundle::idle();
    let open = bundle.host_dir("open");
    // For CRIU this is the point `/mnt`, named `/etc]:x`: another directory of the host.
    let container = bundle.mount("bind", open.to_str().unwrap(), "/mnt]:/etc]:x", &["bind", "rw"]).container();
    container.up();
    let images = images(&container);
    let said = container.call(&["checkpoint", "--image-path", images.to_str().unwrap(), &container.id]).fails();
    assert!(said.contains("cannot be told to criu unmistakably"), "{said}");
    assert_eq!(container.status(), "running");
    container.delete_force().ok();
    container.call(&restore(&container, images.to_str().unwrap(), &["--detach"])).fails();
    container.assert_nothing_left();
}

/// `create` had made them, and whoever moves a container to another host does not move what is bound.
#[test]
fn mount_points_in_bound_directories_are_made_again() {
    if skip_without_criu() {
        return;
    }
    let bundle = Bundle::idle();
    let (outer, inner) = (bundle.host_dir("outer"), bundle.host_dir("inner"));
    std::fs::write(inner.join("inner"), "inner\n").unwrap();
    // A source that is counted from the bundle.
    std::fs::write(bundle.dir.join("source"), "file\n").unwrap();
    let container = bundle
        .mount("bind", outer.to_str().unwrap(), "/outer", &["rbind", "rw"])
        .mount("bind", inner.to_str().unwrap(), "/outer/a/b", &["bind"])
        .mount("bind", "source", "/outer/file", &["bind"])
        .container();
    container.up();
    let images = images(&container);
    checkpoint(&container, &[]);
    std::fs::remove_dir_all(outer.join("a")).unwrap();
    std::fs::remove_file(outer.join("file")).unwrap();
    let mut command = container.command(&restore(&container, images.to_str().unwrap(), &["--detach"]));
    command.current_dir("/");
    process::run(command).ok();
    assert_eq!(container.exec(&["cat", "/outer/a/b/inner", "/outer/file"]).ok().stdout(), "inner\nfile\n");
}

/// CRIU gives what it restores a time namespace, whatever config.json says.
#[test]
fn an_added_process_is_in_the_namespaces_that_criu_has_made() {
    if skip_without_criu() {
        return;
    }
    let container = counter();
    container.up();
    counts_beyond(&container, 1);
    let images = images(&container);
    checkpoint(&container, &[]);
    container.call(&restore(&container, images.to_str().unwrap(), &["--detach"])).ok();
    let first = container.pid().to_string();
    let script = "cd /proc/self/ns; for kind in cgroup ipc mnt net pid time user uts; do readlink $kind; done";
    let added = container.exec(&["/bin/sh", "-c", script]).ok().stdout();
    let kinds = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];
    let own = kinds.map(|kind| std::fs::read_link(format!("/proc/{first}/ns/{kind}")).unwrap());
    assert_eq!(added.lines().map(PathBuf::from).collect::<Vec<_>>(), own);
}

#[test]
fn a_failure_leaves_the_container_or_nothing() {
    if brisk_only("the texts are its own") {
        return;
    }
    let container = counter();
    container.up();
    // A PATH without criu.
    let without = |args: &[&str]| {
        let mut command = container.command(args);
        command.env("PATH", "/nonexistent");
        process::run(command).fails()
    };
    let images = images(&container);
    let error = without(&["checkpoint", "--image-path", images.to_str().unwrap(), &container.id]);
    assert!(error.contains("criu: executable file not found"), "{error}");
    assert_eq!(container.status(), "running");
    container.delete_force().ok();
    let error = without(&restore(&container, images.to_str().unwrap(), &["--detach"]));
    assert!(error.contains("criu: executable file not found"), "{error}");
    container.assert_nothing_left();
}

#[test]
fn what_criu_says_is_quoted() {
    if brisk_only("the texts are its own") {
        return;
    }
    match criu_check() {
        Ok(output) if output.status.success() => return crate::common::skip("CRIU has nothing to say here: it works"),
        Ok(_) => {}
        Err(error) => return skip_here(&format!("criu: {error}")),
    }
    let container = counter();
    container.up();
    let images = images(&container);
    let flags = ["--image-path", images.to_str().unwrap(), "--work-path", "work"];
    let error = container.call(&[&["checkpoint"], &flags[..], &[&container.id]].concat()).fails();
    assert!(error.contains("criu failed: type dump") && error.contains("Error ("), "{error}");
    assert!(container.bundle.dir.join("work/dump.log").exists() && !images.join("dump.log").exists());
    assert_eq!(container.status(), "running");
    container.delete_force().ok();
    let error = container.call(&restore(&container, images.to_str().unwrap(), &["--detach"])).fails();
    assert!(error.contains("criu failed: type restore") && error.contains("Error ("), "{error}");
    container.assert_nothing_left();
}

#[test]
fn a_status_descriptor_that_tells_nobody_is_refused() {
    if brisk_only("the others look when CRIU has its pages") {
        return;
    }
    let container = counter();
    container.up();
    let images = images(&container);
    // Descriptor 0 is /dev/null, opened to be read.
    for (fd, why) in [("0", "not writable"), ("99", "no such file")] {
        let flags = ["checkpoint", "--status-fd", fd, "--image-path", images.to_str().unwrap()];
        let error = container.call(&[&flags[..], &[&container.id]].concat()).fails();
        assert!(error.contains(&format!("--status-fd {fd}")) && error.contains(why), "{error}");
        assert!(!images.exists(), "before anything is made");
    }
    assert_eq!(container.status(), "running");
}

#[test]
fn flags_of_restore_that_criu_is_not_told() {
    if brisk_only("the texts are its own") {
        return;
    }
    let mut bundle = Bundle::idle();
    let images = bundle.host_dir("images");
    let socket = bundle.dir.join("socket");
    let root = json!({ "destination": "/", "type": "tmpfs", "source": "tmpfs", "options": [] });
    bundle.config["mounts"].as_array_mut().unwrap().push(root);
    let container = bundle.container();
    container.bundle.write();
    let said = |flags: &[&str]| container.call(&restore(&container, images.to_str().unwrap(), flags)).fails();
    assert!(said(&["--no-pivot"]).contains("cannot be had with --no-pivot"));
    assert!(said(&["--console-socket", socket.to_str().unwrap()]).contains("cannot use console socket"));
    container.assert_nothing_left();
}

/// Puts this script in the place of CRIU, in a bundle with images of nothing; the PATH that finds it.
fn in_place_of_criu(bundle: &Bundle, script: &str) -> String {
    let (images, programs) = (bundle.host_dir("images"), bundle.host_dir("programs"));
    std::fs::write(images.join("descriptors.json"), "[]").unwrap();
    let criu = programs.join("criu");
    std::fs::write(&criu, format!("#!/bin/sh\ncd \"${{0%/*}}\" || exit\n{script}\n")).unwrap();
    std::fs::set_permissions(&criu, std::fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", programs.display(), std::env::var("PATH").unwrap())
}

/// In place of CRIU: a program that leaves an orphan behind, which says whose child it has become.
#[test]
fn a_restore_adopts_orphans_unless_told_not_to() {
    if brisk_only("the texts are its own")
        || skip_unless(Need::from(host::is_root()), "root: its cgroups are made by then")
    {
        return;
    }
    let bundle = Bundle::idle();
    let path = in_place_of_criu(&bundle, "sh -c 'sh ./look $$ $1 &' sh $PPID\nwhile [ ! -s ../parent ]; do :; done");
    let look =
        "while read -r _ _ _ parent _ </proc/$$/stat && [ $parent = $1 ]; do :; done; echo $parent $2 >../parent";
    std::fs::write(bundle.dir.join("programs/look"), look).unwrap();
    let container = bundle.container();
    container.bundle.write();
    let images = images(&container);
    for (flags, adopts) in [(&[][..], true), (&["--no-subreaper"], false)] {
        let mut command = container.command(&restore(&container, images.to_str().unwrap(), flags));
        command.env("PATH", &path);
        process::run(command).fails();
        let file = container.bundle.dir.join("parent");
        let told = std::fs::read_to_string(&file).unwrap();
        let (parent, brisk) = told.trim().split_once(' ').unwrap();
        assert_eq!(parent == brisk, adopts, "{told}");
        std::fs::remove_file(file).unwrap();
    }
    container.assert_nothing_left();
}

/// A CRIU that does not know of no_new_privs gives what it restores its own.
#[test]
fn what_restores_has_no_new_privs_as_the_container() {
    if brisk_only("runc's CRIU restores it or not, by its version")
        || skip_unless(Need::from(host::is_root()), "root: its cgroups are made by then")
    {
        return;
    }
    for no_new_privs in [true, false] {
        let bundle = Bundle::idle().set("/process/noNewPrivileges", json!(no_new_privs));
        let path = in_place_of_criu(&bundle, "grep NoNewPrivs /proc/self/status >../said");
        let container = bundle.container();
        container.bundle.write();
        let images = images(&container);
        let mut command = container.command(&restore(&container, images.to_str().unwrap(), &[]));
        command.env("PATH", &path);
        process::run(command).fails();
        let said = std::fs::read_to_string(container.bundle.dir.join("said")).unwrap();
        assert_eq!(said, format!("NoNewPrivs:\t{}\n", u8::from(no_new_privs)));
        container.assert_nothing_left();
    }
}

/// The lines of /proc/PID/status that bound what a process may do.
fn bounds(container: &Container) -> Vec<String> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", container.pid())).unwrap();
    let bounding = |line: &&str| {
        ["Uid", "Gid", "Groups", "Cap", "NoNewPrivs", "Seccomp"].iter().any(|field| line.starts_with(field))
    };
    status.lines().filter(bounding).map(str::to_owned).collect()
}

#[test]
fn a_container_comes_back_with_no_more_rights() {
    if skip_on(&["runc", "crun"], "CRIU before 3.19 loses no_new_privs")
        || skip_without_criu()
        || skip_unless(host::has_cap(24).into(), "CRIU reads the limits of another user's process: CAP_SYS_RESOURCE")
    {
        return;
    }
    let filter = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["acct"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1 }],
    });
    let container = Bundle::sh("while :; do sleep 0.1; done")
        .set("/process/noNewPrivileges", json!(true))
        .set("/process/user", json!({ "uid": 5, "gid": 6, "additionalGids": [7] }))
        .set("/linux/seccomp", filter)
        .container();
    container.up();
    let before = bounds(&container);
    assert!(before.contains(&"NoNewPrivs:\t1".to_owned()) && before.contains(&"Seccomp:\t2".to_owned()), "{before:?}");
    checkpoint(&container, &[]);
    let images = images(&container);
    container.call(&restore(&container, images.to_str().unwrap(), &["--detach"])).ok();
    assert_eq!(bounds(&container), before);
}

#[test]
fn help_is_there_for_engines_that_ask() {
    if skip_on(&["crun"], "Debian's is built without CRIU") {
        return;
    }
    let container = counter();
    for verb in ["checkpoint", "restore"] {
        let output = container.call(&[verb, "--help"]).ok();
        assert!((output.stdout() + &output.stderr()).contains("image-path"), "{output:?}");
    }
}
