//! SELinux labels of processes, mounts and keys, where the kernel enforces them: in a guest with Debian's policy and the types
//! of integration/vm/guest/container.cil.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::make_dirs;
use crate::common::{Bundle, Container, Need, host, process, skip_outside_guests, skip_unless};
use crate::lifecycle::checkpoint::{checkpoint, images, restore, skip_without_criu};

const PROCESS: &str = "system_u:system_r:container_t:s0:c1,c2";
const OTHER: &str = "system_u:system_r:container_t:s0:c3,c4";
const FILES: &str = "system_u:object_r:container_file_t:s0:c1,c2";
const ENFORCE: &str = "/sys/fs/selinux/enforce";

/// The policy is enforced as long as this lives: for the whole guest.
struct Enforced;

impl Enforced {
    /// `None` where the kernel has not the module, or its policy not the types.
    fn now() -> Option<Enforced> {
        let known = |label: &str| fs::write("/sys/fs/selinux/context", label).is_ok();
        let there = Path::new(ENFORCE).exists() && known(PROCESS) && known(FILES);
        if skip_unless(Need::from(there), "no SELinux here, or no type container_t") {
            return None;
        }
        if skip_outside_guests("a policy is enforced for everybody") {
            return None;
        }
        fs::write(ENFORCE, "1").unwrap();
        Some(Enforced)
    }
}

impl Drop for Enforced {
    fn drop(&mut self) {
        fs::write(ENFORCE, "0").unwrap();
    }
}

fn chcon(path: &Path) {
    let mut chcon = Command::new("chcon");
    chcon.args(["--recursive", "--no-dereference", FILES]).arg(path);
    process::run(chcon).ok();
}

/// As an engine prepares it: the image is labelled, and the container's mounts and processes are to be.
fn labelled(bundle: Bundle) -> Bundle {
    chcon(&bundle.rootfs());
    bundle.set("/process/selinuxLabel", json!(PROCESS)).set("/linux/mountLabel", json!(FILES))
}

/// The label of the first process, from outside: nothing that the container mounts can forge it.
fn label_of(container: &Container) -> String {
    label_of_process(container.pid())
}

fn label_of_process(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/attr/current")).unwrap().trim_end_matches('\0').to_owned()
}

/// The label of a file of the container, from outside.
fn file_label(container: &Container, path: &str) -> String {
    let mut stat = Command::new("stat");
    stat.args(["--format", "%C"]).arg(format!("/proc/{}/root{path}", container.pid()));
    process::run(stat).ok().stdout().trim().to_owned()
}

#[test]
fn a_label_confines_the_container() {
    let Some(_enforced) = Enforced::now() else { return };
    let script = "cat /proc/self/attr/current; echo; echo x > /tmp/x && echo written; echo x > /dev/shm/x && echo shared; \
                  : > /dev/null && echo null; \
                  cat /ours/x; cat /theirs/x || echo refused";
    for (privileges, user_namespace) in [(false, false), (true, false), (false, true)] {
        let bundle = labelled(Bundle::sh(script)).set("/root/readonly", json!(false));
        let bundle = if user_namespace { bundle.userns() } else { bundle };
        // One volume is relabelled, as for `-v …:z`, which is the engine's to do; the other keeps what it has.
        let (ours, theirs) = (bundle.host_dir("ours"), bundle.host_dir("theirs"));
        for dir in [&ours, &theirs] {
            fs::write(dir.join("x"), "content\n").unwrap();
        }
        chcon(&ours);
        let container = bundle
            .mount("bind", ours.to_str().unwrap(), "/ours", &["bind"])
            .mount("bind", theirs.to_str().unwrap(), "/theirs", &["bind"])
            .mount("tmpfs", "tmpfs", "/tmp", &[])
            .set("/process/noNewPrivileges", json!(privileges))
            .container();
        let output = container.run().ok().stdout().replace('\0', "");
        let want = [PROCESS, "written", "shared", "null", "content", "refused"];
        assert_eq!(output.lines().collect::<Vec<_>>(), want, "no_new_privs {privileges}, userns {user_namespace}");
    }
}

/// Message queues are older than their mount and are labelled by attribute, everything else as it is made.
#[test]
fn mounts_have_the_mount_label() {
    let Some(_enforced) = Enforced::now() else { return };
    let own = "system_u:object_r:container_file_t:s0:c7";
    let quoted = format!("context=\"{own}\"");
    for user_namespace in [false, true] {
        let bundle = labelled(Bundle::idle())
            .mount("tmpfs", "tmpfs", "/mnt", &["tmpcopyup"])
            .mount("tmpfs", "tmpfs", "/run", &[&quoted, "size=64k"])
            .push("/linux/maskedPaths", json!("/proc/sys/dev"));
        let container = if user_namespace { bundle.userns() } else { bundle }.container();
        container.up();
        for path in ["/", "/dev", "/dev/null", "/dev/shm", "/dev/mqueue", "/dev/pts", "/mnt", "/proc/sys/dev"] {
            assert_eq!(file_label(&container, path), FILES, "{path}");
        }
        assert_eq!(file_label(&container, "/run"), own);
        assert_ne!(file_label(&container, "/proc/self"), FILES);
        container.delete_force().ok();
    }
}

#[test]
fn exec_has_the_containers_label_or_its_own() {
    let Some(_enforced) = Enforced::now() else { return };
    for bundle in [Bundle::idle(), Bundle::idle().userns()] {
        let container = labelled(bundle).container();
        container.up();
        let current = ["/bin/cat", "/proc/self/attr/current"];
        let label = |output: process::Output| output.ok().stdout().trim_end_matches('\0').to_owned();
        assert_eq!(label(container.exec(&current)), PROCESS);
        assert_eq!(label(container.exec_with(&["--process-label", OTHER], &current)), OTHER);
        let process = json!({ "args": current, "cwd": "/", "user": { "uid": 0, "gid": 0 }, "selinuxLabel": OTHER });
        let file = container.bundle.file("process.json", &process.to_string());
        assert_eq!(label(container.exec_with(&["--process", file.to_str().unwrap()], &[])), OTHER);
        container.delete_force().ok();
    }
}

/// With the runtime's label the container could not use its own session keyring.
#[test]
fn the_session_keyring_has_the_label_of_the_process() {
    let Some(_enforced) = Enforced::now() else { return };
    for bundle in [Bundle::probe(&["key-label", "pause"]), Bundle::probe(&["key-label", "pause"]).userns()] {
        let container = labelled(bundle).container();
        let running = container.start_run(&[]);
        running.wait_for_stdout(|text| text.contains('}'));
        let said: serde_json::Value = serde_json::from_str(running.stdout().trim()).unwrap();
        assert_eq!(said["key-label"], PROCESS);
        let exec = container.exec_with(&["--process-label", OTHER], &["/probe", "key-label"]).ok().json();
        assert_eq!(exec["key-label"], OTHER);
        container.delete_force().ok();
        running.wait();
    }
}

#[test]
fn a_label_that_the_policy_does_not_know_is_named() {
    let Some(_enforced) = Enforced::now() else { return };
    let unknown = "system_u:system_r:no_such_t:s0";
    for field in ["/process/selinuxLabel", "/linux/mountLabel"] {
        let container = labelled(Bundle::idle()).set(field, json!(unknown)).container();
        let error = container.create().fails();
        assert!(error.contains("invalid argument") && error.contains("no_such_t"), "{error}");
        container.assert_nothing_left();
    }
    let container = labelled(Bundle::idle()).container();
    container.up();
    let error = container.exec_with(&["--process-label", unknown], &["/bin/true"]).fails();
    assert!(error.contains("no_such_t"), "{error}");
    container.exec(&["/bin/true"]).ok();
    // One that the policy knows and will not let the runtime start.
    let forbidden = "system_u:system_r:sshd_t:s0";
    container.exec_with(&["--process-label", forbidden], &["/bin/true"]).fails();
    container.exec(&["/bin/true"]).ok();
}

/// Those of the host have the runtime's label; those of the image that of the container.
#[test]
fn hooks_have_the_label_of_whose_program_they_are() {
    let Some(_enforced) = Enforced::now() else { return };
    let own = fs::read_to_string("/proc/self/attr/current").unwrap().trim_end_matches('\0').to_owned();
    let note = |kind: &str| format!("printf '{kind} %s\\n' $(tr -d '\\0' < /proc/self/attr/current) >> $OUT");
    let mut bundle = labelled(Bundle::idle()).set("/root/readonly", json!(false));
    for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        bundle = bundle.sh_hook(kind, &note(kind));
    }
    let script = "cat /proc/self/attr/current > /tmp/label";
    let container = bundle.hook("startContainer", "/bin/sh", &["sh", "-c", script]).container();
    container.up();
    let of_image = fs::read_to_string(container.bundle.rootfs().join("tmp/label")).unwrap();
    assert_eq!(of_image.trim_end_matches('\0'), PROCESS);
    container.delete_force().ok();
    let said = container.bundle.hook_output();
    for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        assert!(said.lines().any(|line| line == format!("{kind} {own}")), "{kind}: {said}");
    }
}

/// CVE-2019-16884, CVE-2019-19921 and their kin: the image and its volumes put files of their own where labels are written.
/// Either nothing runs, or what runs is confined.
#[test]
fn a_false_proc_takes_no_label_away() {
    let Some(_enforced) = Enforced::now() else { return };
    let mut confined = 0;
    let places =
        ["/proc", "/proc/self", "/proc/self/attr", "/proc/thread-self", "/proc/1/attr", "/link", "/link/self/attr"];
    for place in places {
        let bundle = labelled(Bundle::idle());
        symlink("/proc", bundle.rootfs().join("link")).unwrap();
        let fake = bundle.host_dir("fake");
        for dir in ["attr", "self/attr", "thread-self/attr", "1/attr"] {
            make_dirs(&fake.join(dir));
            for file in ["exec", "current", "keycreate"] {
                fs::write(fake.join(dir).join(file), "untouched").unwrap();
            }
        }
        chcon(&fake);
        let container = bundle.mount("bind", fake.to_str().unwrap(), place, &["bind"]).container();
        if container.create().code == 0 {
            container.start().ok();
            host::wait_until(|| label_of(&container) == PROCESS);
            container.exec(&["/bin/true"]);
            container.delete_force().ok();
            confined += 1;
        }
        for dir in ["attr", "self/attr", "thread-self/attr", "1/attr"] {
            for file in ["exec", "current", "keycreate"] {
                assert_eq!(
                    fs::read_to_string(fake.join(dir).join(file)).unwrap(),
                    "untouched",
                    "{place}: {dir}/{file}"
                );
            }
        }
    }
    // Not all of them are refused: a directory that no link leads to proc is like any other.
    assert!(confined > 0);
}

/// Root of a container, with every capability, covers proc and links attr elsewhere; whoever enters afterwards is confined
/// all the same. So is what enters through joined namespaces.
#[test]
fn whoever_enters_a_hostile_container_is_confined() {
    let Some(_enforced) = Enforced::now() else { return };
    // What matters is the label; a policy that lets the container do all this makes it the stronger.
    fs::write(ENFORCE, "0").unwrap();
    let script = "mount -t tmpfs fake /proc && mkdir -p /proc/self/attr /proc/thread-self/attr && \
                  echo done > /proc/self/attr/exec && : > /proc/thread-self/attr/exec && echo covered; exec /probe pause";
    let bundle = crate::security::with_caps(labelled(Bundle::sh(script)), crate::security::ALL_CAPS);
    let container = bundle.set("/linux/maskedPaths", json!([])).set("/linux/readonlyPaths", json!([])).container();
    let running = container.start_run(&[]);
    running.wait_for_stdout(|text| text.contains("covered"));
    let exec = process::start(
        container.command(&["exec", "--process-label", OTHER, &container.id, "/probe", "pause"]),
        std::process::Stdio::null(),
    );
    exec.wait_for_stdout(|text| text.contains('}'));
    let procs = container.cgroup_file("pids", "cgroup.procs");
    let labels: Vec<String> = procs.lines().map(|pid| label_of_process(pid.parse().unwrap())).collect();
    assert_eq!(labels.iter().filter(|label| *label == OTHER).count(), 1, "{labels:?}");
    assert!(labels.iter().all(|label| label == OTHER || label == PROCESS), "{labels:?}");
    // A second container in its namespaces, with a label of its own.
    let pid = container.pid();
    let joined =
        labelled(Bundle::idle()).set("/process/selinuxLabel", json!(OTHER)).without_ns("pid").without_ns("ipc");
    let joined = joined.join("pid", &format!("/proc/{pid}/ns/pid")).join("ipc", &format!("/proc/{pid}/ns/ipc"));
    let second = joined.container();
    second.up();
    host::wait_until(|| label_of(&second) == OTHER);
    second.delete_force().ok();
    container.delete_force().ok();
    exec.wait();
    running.wait();
}

#[test]
fn features_and_check_know_selinux() {
    let Some(_enforced) = Enforced::now() else { return };
    let container = labelled(Bundle::idle()).container();
    assert_eq!(container.call(&["features"]).ok().json()["linux"]["selinux"]["enabled"], true);
    assert!(container.call(&["check"]).stdout().contains("selinux"));
    let dir = container.bundle.dir.to_str().unwrap();
    let said = container.call(&["check", dir]);
    assert!(!said.stdout().contains("selinuxLabel"), "{said:?}");
}

/// Debian's CRIU is built without SELinux: it saves no label and sets none. Either the label is there or nothing has run.
#[test]
fn no_restore_without_the_label() {
    let Some(_enforced) = Enforced::now() else { return };
    // What CRIU does, the policy of the guest does not allow.
    fs::write(ENFORCE, "0").unwrap();
    if skip_without_criu() {
        return;
    }
    let bundle = labelled(Bundle::sh(
        "(while :; do echo other; sleep 0.01; done >>/mnt/other) & while :; do echo; sleep 0.01; done >>/mnt/first",
    ));
    let shared = bundle.host_dir("shared");
    // The kernel writes the categories in their order, which the configuration need not have.
    let bundle = bundle.set("/process/selinuxLabel", json!("system_u:system_r:container_t:s0:c2,c1"));
    let container = bundle.mount("bind", shared.to_str().unwrap(), "/mnt", &["rbind", "rw"]).container();
    container.up();
    let written = || ["first", "other"].map(|name| fs::metadata(shared.join(name)).map_or(0, |file| file.len()));
    host::wait_until(|| !written().contains(&0));
    assert_eq!(label_of(&container), PROCESS);
    checkpoint(&container, &[]);
    let (images, before) = (images(&container), written());
    let restored = container.call(&restore(&container, images.to_str().unwrap(), &["--detach"]));
    if restored.code == 0 {
        assert_eq!(label_of(&container), PROCESS);
    } else {
        let error = restored.fails();
        assert!(error.contains("lsm: process.selinuxLabel is ") && error.contains("has the label "), "{error}");
        assert!(error.contains("unconfined_t") && error.contains("criu with SELinux"), "{error}");
        container.assert_nothing_left();
        assert_eq!(written(), before, "it has run");
        // Whoever asks for none gets none.
        let flags = ["--detach", "--lsm-profile", "none:"];
        container.call(&restore(&container, images.to_str().unwrap(), &flags)).ok();
        host::wait_until(|| written().iter().zip(&before).all(|(now, before)| now > before));
    }
    container.delete_force().ok();
}
