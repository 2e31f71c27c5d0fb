//! System containers: systemd is the first process of the container and manages what is in it, on cgroup v2. Its root is the
//! guest's own /usr, bound, and a few files of /etc.

mod engines;
mod first_process;

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::cgroup::systemd;
use crate::common::bundle::chown_tree;
use crate::common::{Bundle, Container, Need, host, process, runtime, skip_outside_guests, skip_unless};

/// What programs of the distribution ask of /etc.
const ETC: &str = "alternatives containers/policy.json containers/registries.conf default group host.conf ld.so.cache ld.so.conf \
    ld.so.conf.d login.defs nsswitch.conf pam.conf pam.d passwd profile protocols security/limits.conf security/pam_env.conf \
    services subgid subuid";

/// Those of podman's default, and what it takes to be a system: mounts, devices, network.
const CAPABILITIES: &str = "CHOWN DAC_OVERRIDE FOWNER FSETID KILL NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID SYS_CHROOT \
    AUDIT_WRITE MKNOD NET_ADMIN NET_RAW SYS_ADMIN SYS_PTRACE SYS_RESOURCE";

/// True, with a loud word, where there is no systemd, or the machine is not to be spent.
fn not_here() -> bool {
    systemd::not_here() || skip_outside_guests("the machine's own /usr is started as a second system")
}

/// True, with a loud word, for an ordinary user.
fn only_root() -> bool {
    not_here() || skip_unless(Need::from(host::is_root()), "root")
}

/// True, with a loud word, for root, who has none of the cgroups that a user's systemd delegates.
fn only_user() -> bool {
    not_here() || skip_unless(Need::from(!host::is_root()), "an ordinary user")
}

/// A root directory in which nothing but /usr is missing. Its files belong to whoever runs this.
fn tree(dir: &Path) {
    let dirs = "usr etc proc sys dev run tmp root home mnt opt var/lib var/log/journal var/tmp";
    let mut mkdir = Command::new("mkdir");
    mkdir.current_dir(dir).arg("-p").args(dirs.split(' '));
    process::run(mkdir).ok();
    for name in ["bin", "sbin", "lib", "lib64"] {
        std::os::unix::fs::symlink(format!("usr/{name}"), dir.join(name)).unwrap();
    }
    std::os::unix::fs::symlink("/run", dir.join("var/run")).unwrap();
    let there = ETC.split_whitespace().filter(|name| Path::new("/etc").join(name).exists());
    // Without owners: all belongs to whoever starts the system.
    let mut cp = Command::new("cp");
    cp.current_dir("/etc").args(["-r", "--parents", "--preserve=mode,links"]).args(there).arg(dir.join("etc"));
    process::run(cp).ok();
    // Empty: systemd makes an id, and this is not the first boot, at which it would ask questions.
    fs::write(dir.join("etc/machine-id"), "").unwrap();
}

/// A bundle of a system, with the user namespace that its starter needs.
fn bundle(args: &[&str]) -> Bundle {
    let bundle = systemd::bundle(&[&["/lib/systemd/systemd"], args].concat());
    let root = bundle.host_dir("system");
    tree(&root);
    let capabilities: Vec<String> = CAPABILITIES.split_whitespace().map(|name| format!("CAP_{name}")).collect();
    let mut bundle = bundle
        .set("/root/path", json!(root))
        .set("/process/env", json!(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "container=oci"]))
        .set("/process/noNewPrivileges", json!(false))
        .set(
            "/process/capabilities",
            json!({ "bounding": capabilities, "effective": capabilities, "permitted": capabilities }),
        )
        .ns("cgroup")
        .mount("cgroup2", "cgroup", "/sys/fs/cgroup", &["nosuid", "noexec", "nodev"])
        .mount("bind", "/usr", "/usr", &["rbind", "ro"]);
    for place in ["/run", "/run/lock", "/tmp", "/var/log/journal"] {
        bundle = bundle.mount("tmpfs", "tmpfs", place, &["nosuid", "nodev", "mode=755"]);
    }
    if host::is_root() {
        return bundle;
    }
    // All ids that the user has: a system has more users than root.
    let map = |own: u32| {
        json!([
            { "containerID": 0, "hostID": own, "size": 1 },
            { "containerID": 1, "hostID": 100_000, "size": 65536 },
        ])
    };
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    // Its own network, and with that a /sys that shows it.
    bundle
        .set("/linux/uidMappings", map(uid))
        .set("/linux/gidMappings", map(gid))
        .without_mount("/sys/fs/cgroup")
        .without_mount("/sys")
        .mount("sysfs", "sysfs", "/sys", &["nosuid", "noexec", "nodev", "ro"])
        .mount("cgroup2", "cgroup", "/sys/fs/cgroup", &["nosuid", "noexec", "nodev"])
}

/// The same with the container's root somebody else outside, to whom everything is given.
fn with_user_namespace(bundle: Bundle) -> Bundle {
    chown_tree(&bundle.dir.join("system"), 100_000);
    let bundle = bundle.userns().without_mount("/usr");
    bundle.mount("bind", "/usr", "/usr", &["rbind", "ro", "idmap"])
}

/// Who makes the container's cgroup.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Driver {
    Systemd,
    Files,
}

/// A container with a system in it.
struct System {
    container: Container,
    driver: Driver,
}

impl System {
    fn new(bundle: Bundle, driver: Driver) -> Self {
        let mut container = match driver {
            Driver::Systemd => bundle,
            Driver::Files => {
                let path = delegated().join(&bundle.id);
                bundle.set("/linux/cgroupsPath", json!(path))
            }
        }
        .container();
        if !host::is_root() && driver == Driver::Files {
            // An ordinary user moves processes between cgroups of his own only, and a login is in one of root's.
            let runtime_dir = format!("XDG_RUNTIME_DIR=/run/user/{}", nix::unistd::geteuid());
            let scope = ["env", &runtime_dir, "systemd-run", "--user", "--scope", "--quiet", "--collect", "--"];
            container.program = scope.iter().map(|word| (*word).into()).chain([runtime()]).collect();
        }
        System { container, driver }
    }

    fn call(&self, args: &[&str]) -> process::Output {
        let driver: &[&str] = if self.driver == Driver::Systemd { &["--systemd-cgroup"] } else { &[] };
        self.container.call(&[driver, args].concat())
    }

    fn up(self) -> Self {
        let dir = self.container.bundle.dir.to_str().unwrap();
        self.call(&["create", "--bundle", dir, &self.container.id]).ok();
        self.call(&["start", &self.container.id]).ok();
        self
    }

    /// A line of shell in the container.
    fn inside(&self, script: &str) -> process::Output {
        self.call(&["exec", &self.container.id, "/bin/sh", "-c", script])
    }

    #[track_caller]
    fn says(&self, script: &str, wanted: &str) {
        assert_eq!(self.inside(script).ok().stdout(), wanted, "{script}");
    }

    /// Waits until the system has reached its target, without one unit that has failed.
    #[track_caller]
    fn has_booted(&self) {
        let mut state = String::new();
        host::wait_until(|| {
            state = self.inside("systemctl is-system-running --wait 2>&1").stdout().trim().to_owned();
            matches!(&state[..], "running" | "degraded")
        });
        let failed = self.inside("systemctl --failed --plain --no-legend").ok().stdout();
        assert_eq!((&state[..], &failed[..]), ("running", ""), "{:?}", self.inside("journalctl -b -p warning"));
        self.says("cat /proc/1/comm", "systemd\n");
    }

    /// The end by the signal that stands for a poweroff, and no unit nor cgroup outlives it.
    #[track_caller]
    fn switch_off(self) {
        self.call(&["kill", &self.container.id, "SIGRTMIN+3"]).ok();
        host::wait_until(|| self.container.status() == "stopped");
        self.call(&["delete", &self.container.id]).ok();
        assert_eq!(systemd::units(), "");
        self.container.assert_nothing_left();
    }
}

/// The cgroup below which whoever runs this may make some.
fn delegated() -> std::path::PathBuf {
    if host::is_root() {
        return "/".into();
    }
    let uid = nix::unistd::geteuid();
    format!("/user.slice/user-{uid}.slice/user@{uid}.service/app.slice").into()
}
