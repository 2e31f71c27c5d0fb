//! Podman starts a system, and engines are started in one, with brisk as the runtime of both.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::{Driver, System, bundle, not_here, only_root, tree, with_user_namespace};
use crate::common::bundle::copy;
use crate::common::{Bundle, Need, host, process, runtime, skip_unless};

/// True, with a loud word, where the program is not installed.
fn lacks(program: &str) -> bool {
    let there = Path::new("/usr/bin").join(program).exists();
    skip_unless(Need::from(there), &format!("{program} is not installed"))
}

/// A container of Podman's, removed with it.
struct Podman {
    name: String,
    dir: PathBuf,
}

impl Podman {
    fn call(&self, args: &[&str]) -> process::Output {
        let mut command = Command::new("podman");
        command.arg("--runtime").arg(runtime()).args(["--cgroup-manager", "systemd"]).args(args);
        process::run(command)
    }

    #[track_caller]
    fn says(&self, script: &str, wanted: &str) {
        let said = self.call(&["exec", &self.name, "/bin/sh", "-c", script]).ok().stdout();
        assert_eq!(said.trim(), wanted, "{script}");
    }

    #[track_caller]
    fn look(&self, format: &str) -> String {
        self.call(&["inspect", "--format", format, &self.name]).ok().stdout().trim().to_owned()
    }

    #[track_caller]
    fn has_booted(&self) {
        let state = ["exec", &self.name, "systemctl", "is-system-running", "--wait"];
        let mut last = String::new();
        host::wait_until(|| {
            last = self.call(&state).stdout().trim().to_owned();
            matches!(&last[..], "running" | "degraded")
        });
        let failed = self.call(&["exec", &self.name, "systemctl", "--failed", "--plain", "--no-legend"]).stdout();
        assert_eq!((&last[..], &failed[..]), ("running", ""));
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let removed = self.call(&["rm", "--force", "--time", "0", &self.name]);
        let _ = fs::remove_dir_all(&self.dir);
        assert!(removed.code == 0 || std::thread::panicking(), "{removed:?}");
    }
}

/// What `--systemd=always` promises: systemd's own expectations of whoever starts it (its CONTAINER_INTERFACE.md).
#[test]
fn podman_starts_a_system() {
    if not_here() || lacks("podman") {
        return;
    }
    let name = host::unique_name();
    let podman = Podman { dir: host::work_dir().join(&name), name };
    fs::create_dir(&podman.dir).unwrap();
    tree(&podman.dir);
    let root = podman.dir.to_str().unwrap();
    let run = [
        "run",
        "--detach",
        "--name",
        &podman.name,
        "--systemd",
        "always",
        "--network",
        "none",
        "--stop-timeout",
        "120",
    ];
    let what = ["--memory", "512m", "--volume", "/usr:/usr:ro", "--rootfs", root, "/lib/systemd/systemd"];
    let id = podman.call(&[&run[..], &what].concat()).ok().stdout();
    podman.has_booted();
    podman.says("cat /proc/1/comm", "systemd");
    // systemd has understood who started it, and takes the name that it was given.
    podman.says("systemd-detect-virt --container", "podman");
    podman.says("cat /etc/machine-id", &id[..32]);
    for place in ["/run", "/run/lock", "/tmp", "/var/log/journal"] {
        podman.says(&format!("stat --file-system --format %T {place}"), "tmpfs");
    }
    podman.says("cat /sys/fs/cgroup/memory.max", &(512 << 20).to_string());
    let limited = "systemd-run --quiet --wait --pipe -p MemoryMax=64M sh -c \
         'cat /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/memory.max'";
    podman.says(limited, "67108864");
    // What it ends with says that nobody had to kill it. (Podman 4 says the signal's number.)
    let signal = podman.look("{{.Config.StopSignal}}");
    assert!(matches!(&signal[..], "SIGRTMIN+3" | "37"), "{signal}");
    podman.call(&["stop", &podman.name]).ok();
    assert_eq!(podman.look("{{.State.Status}} {{.State.ExitCode}}"), "exited 0");
    podman.call(&["start", &podman.name]).ok();
    podman.has_booted();
}

/// A system with brisk in it, and a root directory for a container: `/opt/brisk`, `/opt/box`.
fn with_brisk() -> Bundle {
    let bundle = bundle(&[]);
    let system = bundle.dir.join("system");
    let opt = system.join("opt");
    copy(&runtime(), &opt.join("brisk"));
    fs::rename(bundle.rootfs(), opt.join("box")).unwrap();
    fs::create_dir(bundle.rootfs()).unwrap();
    let etc = system.join("etc/docker");
    fs::create_dir(&etc).unwrap();
    let config = json!({
        "runtimes": { "brisk": { "path": "/opt/brisk" } },
        "default-runtime": "brisk",
        "storage-driver": "vfs",
        "exec-opts": ["native.cgroupdriver=systemd"],
    });
    fs::write(etc.join("daemon.json"), config.to_string()).unwrap();
    bundle
}

/// The life of a container of an engine that runs in a system: `engine` is how it is called, `root` names what is run.
fn lives_inside(system: &System, engine: &str, root: &str) {
    let run = "run --network none --memory 64m";
    system.says(&format!("{engine} {run} --rm {root} /bin/cat /sys/fs/cgroup/memory.max"), "67108864\n");
    assert_eq!(system.inside(&format!("{engine} {run} --rm {root} /bin/sh -c 'exit 7'")).code, 7);
    system.inside(&format!("{engine} {run} --detach --name box --pids-limit 20 {root} /bin/sleep 1000")).ok();
    system.says(&format!("{engine} exec box /bin/cat /sys/fs/cgroup/pids.max"), "20\n");
    system.inside(&format!("{engine} pause box && {engine} unpause box")).ok();
    system.says(&format!("{engine} exec box /bin/echo inside"), "inside\n");
    system.inside(&format!("{engine} kill box && {engine} wait box && {engine} rm box")).ok();
}

fn podman_inside(bundle: Bundle) {
    let system = System::new(bundle, Driver::Systemd).up();
    system.has_booted();
    let podman = "podman --log-level error --runtime /opt/brisk --cgroup-manager";
    lives_inside(&system, &format!("{podman} systemd"), "--rootfs /opt/box");
    system.says("systemctl list-units --all --plain --no-legend 'libpod-*'", "");
    let by_files = format!("{podman} cgroupfs run --network none --memory 64m --rm --rootfs /opt/box");
    system.says(&format!("{by_files} /bin/cat /sys/fs/cgroup/memory.max"), "67108864\n");
    system.switch_off();
}

#[test]
fn podman_in_a_system() {
    if only_root() || lacks("podman") {
        return;
    }
    podman_inside(with_brisk());
}

#[test]
fn podman_in_a_system_with_a_user_namespace() {
    if only_root() || lacks("podman") {
        return;
    }
    podman_inside(with_user_namespace(with_brisk()));
}

#[test]
fn podman_in_a_system_of_an_ordinary_user() {
    if super::only_user() || lacks("podman") {
        return;
    }
    podman_inside(with_brisk());
}

/// An ordinary user of the system has a manager of his own, cgroups from that, and podman. The kernel lets him mount a new
/// proc only where nothing hides parts of the one that he has.
#[test]
fn podman_of_a_user_in_a_system_with_a_user_namespace() {
    if only_root() || lacks("podman") {
        return;
    }
    let bundle = with_brisk();
    let etc = bundle.dir.join("system/etc");
    for file in ["subuid", "subgid"] {
        fs::write(etc.join(file), "tester:10000:50000\n").unwrap();
    }
    // His session asks whether his account has expired; the guest's own file is root's to read.
    fs::write(etc.join("shadow"), "root:*:1::::::\ntester:*:1::::::\n").unwrap();
    let hidden = ["/linux/maskedPaths", "/linux/readonlyPaths"];
    let bundle = hidden.iter().fold(bundle, |bundle, list| bundle.set(list, json!([])));
    let system = System::new(with_user_namespace(bundle), Driver::Systemd).up();
    system.has_booted();
    system.inside("mkdir -p /home/tester && chown -R 1000:1000 /home/tester /opt/box").ok();
    system.inside("systemctl start user@1000.service").ok();
    let user = "cd /home/tester && setpriv --reuid 1000 --regid 1000 --init-groups env HOME=/home/tester \
        XDG_RUNTIME_DIR=/run/user/1000 DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus";
    for manager in ["systemd", "cgroupfs"] {
        let podman = format!("{user} podman --log-level error --runtime /opt/brisk --cgroup-manager {manager}");
        let run = format!("{podman} run --network none --memory 64m --rm --rootfs /opt/box");
        system.says(&format!("{run} /bin/cat /sys/fs/cgroup/memory.max"), "67108864\n");
    }
    system.switch_off();
}

fn docker_inside(bundle: Bundle) {
    // It writes to /proc/sys: packets are to be forwarded.
    let system = System::new(bundle.set("/linux/readonlyPaths", json!([])), Driver::Systemd).up();
    system.has_booted();
    system.inside("systemctl start docker").ok();
    system.inside("tar -C /opt/box -c . | docker import - box").ok();
    lives_inside(&system, "docker", "box");
    system.switch_off();
}

#[test]
fn docker_in_a_system() {
    if only_root() || lacks("docker") {
        return;
    }
    docker_inside(with_brisk());
}

#[test]
fn docker_in_a_system_with_a_user_namespace() {
    if only_root() || lacks("docker") {
        return;
    }
    docker_inside(with_user_namespace(with_brisk()));
}
