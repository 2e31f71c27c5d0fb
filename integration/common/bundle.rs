//! Bundles: a temporary directory with a small root file system and a config.json built by the test.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::mount::MsFlags;
use serde_json::{Value, json};

use super::host;

/// A bundle directory, removed with everything below it on drop.
pub struct Bundle {
    /// Holds `rootfs`, `config.json` and the runtime's root directory `state`.
    pub dir: PathBuf,
    /// Unique; the container id and the last part of the cgroup path unless the test decides otherwise.
    pub id: String,
    pub config: Value,
    /// Mount points below `dir` that the test itself made on the host.
    pub own_mounts: Vec<PathBuf>,
}

const RUNC_SPEC: &str = include_str!("../../fixtures/bench/default-spec.json");
const DOCKER_SECCOMP: &str = include_str!("../../fixtures/bench/docker-seccomp.json");
const APPLETS: &[&str] =
    &["sh", "cat", "sleep", "true", "false", "echo", "id", "ls", "mount", "env", "kill", "cut", "ps", "ln", "mkdir"];

impl Bundle {
    /// A container that runs `/probe` with these operations.
    pub fn probe(ops: &[&str]) -> Self {
        let mut args = vec!["/probe"];
        args.extend(ops);
        Self::new(&args)
    }

    /// A container that runs a shell script.
    pub fn sh(script: &str) -> Self {
        Self::new(&["/bin/sh", "-c", script])
    }

    /// A container whose program does nothing until it is killed.
    pub fn idle() -> Self {
        Self::probe(&["pause"])
    }

    pub fn new(args: &[&str]) -> Self {
        let id = host::unique_name();
        let bundle = Self::make(host::work_dir().join(&id), default_config(&id, args), id);
        copy(&host::probe(), &bundle.rootfs().join("probe"));
        bundle
    }

    /// What `runc spec` prints, without a terminal, at a place of its own: for measurements. Without the probe, which is large.
    pub fn of_runc_spec(dir: PathBuf, args: &[&str]) -> Self {
        let mut config: Value = serde_json::from_str(RUNC_SPEC).unwrap();
        config["process"]["args"] = json!(args);
        let bundle = Self::make(dir, config, host::unique_name());
        bundle.write();
        bundle
    }

    fn make(dir: PathBuf, config: Value, id: String) -> Self {
        fs::create_dir(&dir).unwrap();
        let bundle = Bundle { dir, config, id, own_mounts: vec![] };
        fs::create_dir(bundle.rootfs()).unwrap();
        for dir in ["bin", "dev", "etc", "proc", "sys", "tmp", "root", "home", "mnt", "run", "var"] {
            fs::create_dir(bundle.rootfs().join(dir)).unwrap();
        }
        fs::set_permissions(bundle.rootfs().join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        let busybox = ["/usr/bin/busybox", "/bin/busybox"].iter().find(|p| Path::new(p).exists());
        copy(Path::new(busybox.expect("busybox-static is not installed")), &bundle.rootfs().join("bin/busybox"));
        for applet in APPLETS {
            symlink("busybox", bundle.rootfs().join("bin").join(applet)).unwrap();
        }
        bundle.file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nsomeone:x:1000:1000::/home/someone:/bin/sh\n");
        bundle.file("etc/group", "root:x:0:\nsomeone:x:1000:\n");
        bundle
    }

    pub fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// The directory given to the runtime as `--root`.
    pub fn state_root(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// The container's cgroup path, as in config.json.
    pub fn cgroup(&self) -> String {
        format!("/{}", self.id)
    }

    /// Writes a file below the root file system.
    pub fn file(&self, path: &str, text: &str) -> PathBuf {
        let path = self.rootfs().join(path);
        fs::write(&path, text).unwrap();
        path
    }

    /// Makes an executable file; `path` is below the bundle.
    pub fn script(&self, path: &str, text: &str) -> PathBuf {
        let path = self.dir.join(path);
        let draft = self.dir.join("draft");
        fs::write(&draft, text).unwrap();
        copy(&draft, &path);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// Makes a directory beside the root file system.
    pub fn host_dir(&self, name: &str) -> PathBuf {
        let path = self.dir.join(name);
        fs::create_dir(&path).unwrap();
        path
    }

    /// Mounts something on the host for the length of the test.
    pub fn mount_on_host(&mut self, source: &Path, target: &Path, fs: &str, flags: MsFlags, data: &str) {
        nix::mount::mount(Some(source), target, Some(fs), flags, Some(data)).unwrap();
        if !flags.intersects(MsFlags::MS_REMOUNT | MsFlags::MS_SHARED) {
            self.own_mounts.push(target.to_path_buf());
        }
    }

    /// A directory beside the root file system with a tmpfs on its `sub`; `sub/file` says "below".
    pub fn host_dir_with_mount(&mut self) -> PathBuf {
        let source = self.host_dir("source");
        let sub = source.join("sub");
        fs::create_dir(&sub).unwrap();
        self.mount_on_host(Path::new("tmpfs"), &sub, "tmpfs", MsFlags::empty(), "");
        fs::write(sub.join("file"), "below").unwrap();
        source
    }

    /// Sets the value at `path` (`/process/user/uid`), making the objects on the way.
    pub fn set(mut self, path: &str, value: Value) -> Self {
        *at(&mut self.config, path) = value;
        self
    }

    /// Removes the member at `path`.
    pub fn unset(mut self, path: &str) -> Self {
        let (parent, key) = path.rsplit_once('/').unwrap();
        let parent = at(&mut self.config, parent);
        assert!(parent.as_object_mut().unwrap().remove(key).is_some(), "{path} is not set");
        self
    }

    /// Adds a value to the list at `path`.
    pub fn push(mut self, path: &str, value: Value) -> Self {
        let list = at(&mut self.config, path);
        if list.is_null() {
            *list = json!([]);
        }
        list.as_array_mut().unwrap().push(value);
        self
    }

    pub fn mount(self, fs: &str, source: &str, destination: &str, options: &[&str]) -> Self {
        self.push("/mounts", json!({ "type": fs, "source": source, "destination": destination, "options": options }))
    }

    pub fn without_mount(mut self, destination: &str) -> Self {
        let list = self.config["mounts"].as_array_mut().unwrap();
        let before = list.len();
        list.retain(|m| m["destination"] != destination);
        assert_ne!(list.len(), before, "no mount on {destination}");
        self
    }

    /// A new namespace.
    pub fn ns(self, kind: &str) -> Self {
        self.push("/linux/namespaces", json!({ "type": kind }))
    }

    /// An existing namespace; replaces a new one of the same kind.
    pub fn join(mut self, kind: &str, path: &str) -> Self {
        self.config["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != kind);
        self.push("/linux/namespaces", json!({ "type": kind, "path": path }))
    }

    pub fn without_ns(mut self, kind: &str) -> Self {
        let list = self.config["linux"]["namespaces"].as_array_mut().unwrap();
        let before = list.len();
        list.retain(|n| n["type"] != kind);
        assert_ne!(list.len(), before, "no {kind} namespace");
        self
    }

    /// A user namespace in which the container's root is host uid 100000 (the rootfs is given to it).
    pub fn userns(self) -> Self {
        chown_tree(&self.rootfs(), 100_000);
        fs::set_permissions(&self.dir, fs::Permissions::from_mode(0o755)).unwrap();
        let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
        self.ns("user").set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map)
    }

    pub fn hook(self, kind: &str, path: &str, args: &[&str]) -> Self {
        self.push(&format!("/hooks/{kind}"), json!({ "path": path, "args": args }))
    }

    /// A hook that runs a line of shell on the host; `$OUT` is a file to write to, see [`Bundle::hook_output`].
    pub fn sh_hook(self, kind: &str, script: &str) -> Self {
        let out = self.dir.join("hook.out");
        let script = format!("OUT={}; {script}", out.display());
        self.hook(kind, "/bin/sh", &["sh", "-c", &script])
    }

    pub fn hook_output(&self) -> String {
        fs::read_to_string(self.dir.join("hook.out")).unwrap_or_default()
    }

    pub fn resources(self, name: &str, value: Value) -> Self {
        self.set(&format!("/linux/resources/{name}"), value)
    }

    /// Adds Docker's default profile.
    pub fn with_docker_seccomp(self) -> Self {
        self.set("/linux/seccomp", serde_json::from_str(DOCKER_SECCOMP).unwrap())
    }

    pub fn write(&self) {
        fs::write(self.dir.join("config.json"), serde_json::to_vec_pretty(&self.config).unwrap()).unwrap();
    }

    /// Writes config.json, after the last change.
    pub fn written(self) -> Self {
        self.write();
        self
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        for point in self.own_mounts.iter().rev() {
            let gone = nix::mount::umount2(point, nix::mount::MntFlags::MNT_DETACH);
            // A second panic would end all the other tests.
            assert!(gone.is_ok() || std::thread::panicking(), "unmount {}: {gone:?}", point.display());
        }
        if std::env::var_os("BRISK_TEST_KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

fn at<'a>(value: &'a mut Value, path: &str) -> &'a mut Value {
    path.split('/').skip(1).fold(value, |value, key| match key.parse::<usize>() {
        Ok(index) if value.is_array() => &mut value[index],
        _ => &mut value[key],
    })
}

/// Copies a program. Done by another process: a child that another test thread forks meanwhile would inherit
/// our writing descriptor and keep the copy from being executed (ETXTBSY).
pub fn copy(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp").arg(from).arg(to).status().unwrap();
    assert!(status.success(), "cp {} {}", from.display(), to.display());
}

pub fn chown_tree(path: &Path, id: u32) {
    std::os::unix::fs::lchown(path, Some(id), Some(id)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path).unwrap() {
            chown_tree(&entry.unwrap().path(), id);
        }
    }
}

const CAPABILITIES: &[&str] = &["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];

fn default_config(id: &str, args: &[&str]) -> Value {
    let mount = |fs: &str, to: &str, options: &[&str]| json!({ "type": fs, "source": fs, "destination": to, "options": options });
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": args,
            "env": ["PATH=/usr/bin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": { "bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES },
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs" },
        "hostname": "testhost",
        "mounts": [
            mount("proc", "/proc", &[]),
            mount("tmpfs", "/dev", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("devpts", "/dev/pts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            mount("tmpfs", "/dev/shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("mqueue", "/dev/mqueue", &["nosuid", "noexec", "nodev"]),
            mount("sysfs", "/sys", &["nosuid", "noexec", "nodev", "ro"]),
        ],
        "linux": {
            "cgroupsPath": format!("/{id}"),
            "namespaces": [
                { "type": "pid" }, { "type": "network" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" },
            ],
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}
