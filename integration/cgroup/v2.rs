//! cgroup v2 by the command line, where it is alone: which files a container's limits end up in, what its processes and
//! its root may do there, and by which of the kernel's means it is frozen and killed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::cgroup::limits::{misc_devices, node};
use crate::common::host::Cgroups;
use crate::common::{Bundle, Container, Need, brisk_only, host, lacks, process, skip_on, skip_unless};

const CGROUPS: &str = "/sys/fs/cgroup";

/// The controllers whose limits are set here.
const LIMITS: [&str; 4] = ["cpu", "io", "memory", "pids"];

/// True, with a loud word, where cgroup v2 is not alone or root's.
fn not_here() -> bool {
    skip_unless(Need::from(Cgroups::detect() == Cgroups::V2), "cgroup v2 is not mounted alone here")
        || skip_unless(Need::from(host::is_root()), "only root may make cgroups anywhere")
}

fn read(dir: &Path, file: &str) -> String {
    let path = dir.join(file);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).trim_end().to_owned()
}

/// A cgroup of the test's own, removed with those below it.
struct Tree(PathBuf);

impl Tree {
    fn new() -> Tree {
        let dir = Path::new(CGROUPS).join(host::unique_name());
        fs::create_dir(&dir).unwrap();
        Tree(dir)
    }

    fn below(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    /// As in linux.cgroupsPath.
    fn path(&self, below: &str) -> Value {
        json!(format!("/{}/{below}", self.0.file_name().unwrap().to_str().unwrap()))
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        fn remove(dir: &Path) {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    remove(&entry.path());
                }
            }
            let _ = fs::remove_dir(dir);
        }
        remove(&self.0);
    }
}

/// A process of the host, killed in the end.
struct Sleeper(Child);

impl Sleeper {
    fn in_cgroup(dir: &Path) -> Sleeper {
        let child = Command::new("sleep").arg("1000").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let sleeper = Sleeper(child);
        fs::write(dir.join("cgroup.procs"), sleeper.0.id().to_string()).unwrap();
        sleeper
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn disk() -> String {
    let disk = fs::read_dir("/sys/block").unwrap().flatten().map(|entry| entry.path());
    read(&disk.into_iter().next().expect("a block device"), "dev")
}

#[test]
fn huge_pages_and_io_weight() {
    if not_here() || lacks(&LIMITS) || skip_on(&["runc", "crun"], "other conversions, and no limit on reservations") {
        return;
    }
    let container = Bundle::idle()
        .resources("hugepageLimits", json!([{ "pageSize": "2MB", "limit": 4 << 20 }]))
        .resources("blockIO", json!({ "weight": 500 }))
        .container();
    container.create().ok();
    assert_eq!(container.cgroup_file("hugetlb", "hugetlb.2MB.max"), "4194304");
    assert_eq!(container.cgroup_file("hugetlb", "hugetlb.2MB.rsvd.max"), "4194304");
    let dir = host::cgroup_dir("io", &container.bundle.cgroup());
    if dir.join("io.bfq.weight").exists() {
        assert_eq!(read(&dir, "io.bfq.weight"), "default 500");
    } else {
        assert_eq!(read(&dir, "io.weight"), "default 4950");
    }
}

#[test]
fn unified_is_written_line_by_line() {
    if not_here() || lacks(&LIMITS) || skip_on(&["runc", "crun"], "they write the whole value at once") {
        return;
    }
    let disk = disk();
    let container = Bundle::idle()
        .resources(
            "unified",
            json!({
                "memory.high": "104857600", "memory.low": "1048576", "memory.oom.group": "1", "pids.max": "33",
                "cpu.weight": "77", "cgroup.max.descendants": "5", "cpuset.cpus": "0",
                "io.max": format!("{disk} rbps=1048576\n{disk} wiops=2000\n"),
            }),
        )
        .container();
    container.create().ok();
    for (controller, file, value) in [
        ("memory", "memory.high", "104857600"),
        ("memory", "memory.low", "1048576"),
        ("memory", "memory.oom.group", "1"),
        ("pids", "pids.max", "33"),
        ("cpu", "cpu.weight", "77"),
        ("cgroup", "cgroup.max.descendants", "5"),
        ("cpuset", "cpuset.cpus", "0"),
        ("io", "io.max", &format!("{disk} rbps=1048576 wbps=max riops=max wiops=2000")),
    ] {
        assert_eq!(container.cgroup_file(controller, file), value, "{file}");
    }
}

#[test]
fn a_wrong_unified_line_is_refused() {
    if not_here() || skip_on(&["runc", "crun"], "they take some of these") {
        return;
    }
    for (file, value, word) in [
        ("memory.nonsense", "1", "memory.nonsense"),
        ("memory.max", "much", "memory.max"),
        ("nonsense.max", "1", "no controller nonsense"),
        ("nodot", "1", "CONTROLLER.PARAMETER"),
        ("memory.max/../x", "1", "not the name of a file"),
        ("cgroup.procs", "1", "not a limit"),
        ("cgroup.kill", "1", "not a limit"),
        ("cgroup.freeze", "1", "not a limit"),
    ] {
        let container = Bundle::idle().resources("unified", json!({ file: value })).container();
        let said = container.create().fails();
        assert!(said.contains(word), "{file}: {said}");
        container.assert_nothing_left();
    }
}

#[test]
fn controllers_are_enabled_on_the_way_down_only() {
    if not_here() || lacks(&LIMITS) {
        return;
    }
    let tree = Tree::new();
    fs::create_dir(tree.below("other")).unwrap();
    let container = Bundle::idle()
        .set("/linux/cgroupsPath", tree.path("way/down"))
        .resources("pids", json!({ "limit": 20 }))
        .resources("memory", json!({ "limit": 64 << 20 }))
        .container();
    container.create().ok();
    for above in ["", "way"] {
        let enabled = read(&tree.below(above), "cgroup.subtree_control");
        assert!(enabled.contains("pids") && enabled.contains("memory"), "{above}: {enabled}");
    }
    for beside in ["other", "way/down"] {
        assert_eq!(read(&tree.below(beside), "cgroup.subtree_control"), "", "{beside}");
    }
    assert_eq!(read(&tree.below("way/down"), "memory.max"), "67108864");
    assert_eq!(read(&tree.below("way/down"), "pids.max"), "20");
    container.delete_force().ok();
    assert!(!tree.below("way/down").exists());
}

#[test]
fn a_domain_controller_is_not_had_below_processes() {
    if not_here() || lacks(&LIMITS) || skip_on(&["runc", "crun"], "the texts are brisk's") {
        return;
    }
    let tree = Tree::new();
    let _internal = Sleeper::in_cgroup(&tree.0);
    let container = Bundle::idle()
        .set("/linux/cgroupsPath", tree.path("inner"))
        .resources("memory", json!({ "limit": 64 << 20 }))
        .container();
    let said = container.create().fails();
    assert!(said.contains("memory") && said.contains("hint: ") && said.contains("process"), "{said}");
    container.assert_nothing_left();
    assert!(!tree.below("inner").exists());
    // Nor is anything on the way changed for it.
    assert_eq!((read(&tree.0, "cgroup.type"), read(&tree.0, "cgroup.subtree_control")), ("domain".into(), "".into()));
    // Without a limit there is no need for a controller, and it is a domain as any other.
    let container = Bundle::idle().set("/linux/cgroupsPath", tree.path("inner")).container();
    container.up();
    assert_eq!(read(&tree.below("inner"), "cgroup.type"), "domain");
    assert_eq!(read(&tree.below("inner"), "cgroup.procs"), container.pid().to_string());
}

#[test]
fn a_threaded_cgroup_below_processes() {
    if not_here() || lacks(&LIMITS) || skip_on(&["runc", "crun"], "they do not make it threaded") {
        return;
    }
    let tree = Tree::new();
    let _internal = Sleeper::in_cgroup(&tree.0);
    let container = Bundle::idle()
        .set("/linux/cgroupsPath", tree.path("inner"))
        .resources("pids", json!({ "limit": 20 }))
        .container();
    container.up();
    let dir = tree.below("inner");
    assert_eq!((read(&dir, "cgroup.type"), read(&dir, "pids.max")), ("threaded".into(), "20".into()));
    assert_eq!(read(&dir, "cgroup.threads"), container.pid().to_string());
    let inside = container.exec(&["/bin/sh", "-c", "cat /proc/self/cgroup"]).ok().stdout();
    assert!(inside.trim_end().ends_with("/inner"), "{inside}");
    container.call(&["pause", &container.id]).ok();
    assert_eq!(container.status(), "paused");
    container.call(&["resume", &container.id]).ok();
    container.call(&["update", "--pids-limit", "30", &container.id]).ok();
    assert_eq!(read(&dir, "pids.max"), "30");
    container.stop();
    container.delete().ok();
    assert!(!dir.exists());
}

#[test]
fn all_die_together_where_that_is_asked_for() {
    if not_here() || lacks(&LIMITS) {
        return;
    }
    let limits = json!({ "limit": 32 << 20, "swap": 32 << 20 });
    let run = |group: &str| {
        let bundle = Bundle::sh("/probe alloc:200000000; echo survived").resources("memory", limits.clone());
        bundle.resources("unified", json!({ "memory.oom.group": group })).container().run()
    };
    assert_eq!(run("0").ok().stdout(), "survived\n");
    assert_eq!(run("1").exits(128 + 9).stdout(), "");
}

#[test]
fn events_tell_pressure_and_io() {
    if not_here() || lacks(&LIMITS) || brisk_only("runc 1.1 and crun tell no pressure") {
        return;
    }
    let container = Bundle::sh("/bin/busybox dd if=/dev/zero of=/file bs=64k count=64 2>/dev/null; sync; sleep 1000")
        .resources("memory", json!({ "limit": 64 << 20 }))
        .container();
    // The shell finds no `sync` in the image's PATH but for this one.
    std::os::unix::fs::symlink("busybox", container.bundle.rootfs().join("bin/sync")).unwrap();
    container.up();
    let dir = host::cgroup_dir("io", &container.bundle.cgroup());
    host::wait_until(|| read(&dir, "io.stat").contains("wbytes="));
    let stats = container.call(&["events", "--stats", &container.id]).ok().json()["data"].clone();
    let bytes = stats["blkio"]["ioServiceBytesRecursive"].as_array().cloned().unwrap_or_default();
    assert!(bytes.iter().any(|e| e["op"] == "Write" && e["value"].as_u64().is_some_and(|n| n > 0)), "{stats}");
    if skip_unless(Need::from(fs::read_to_string(dir.join("cpu.pressure")).is_ok()), "the kernel tells no pressure") {
        return;
    }
    for resource in ["cpu", "memory", "blkio"] {
        let psi = &stats[resource]["psi"];
        assert!(psi["some"]["total"].is_u64() && psi["full"]["avg10"].is_number(), "{resource}: {stats}");
    }
}

#[test]
fn a_delegated_cgroup_is_the_containers() {
    if not_here()
        || lacks(&LIMITS)
        || skip_on(&["runc", "crun"], "runc has no such annotation; crun 1.8 leaves the controllers off")
    {
        return;
    }
    let script = "cd /sys/fs/cgroup/payload && mkdir own below && echo $$ >own/cgroup.procs && \
                  echo +pids +memory >cgroup.subtree_control && echo 9 >below/pids.max && cat below/pids.max; sleep 1000";
    let container = Bundle::sh(script)
        .userns()
        .ns("cgroup")
        .mount("cgroup", "cgroup", "/sys/fs/cgroup", &["nosuid", "noexec", "nodev"])
        .set("/annotations", json!({ "run.oci.delegate-cgroup": "payload" }))
        .container()
        .trusting();
    container.up();
    let dir = host::cgroup_dir("pids", &container.bundle.cgroup());
    host::wait_until(|| dir.join("payload/below/pids.max").exists());
    host::wait_until(|| read(&dir, "payload/below/pids.max") == "9");
    // Given away: the directory and what is named in /sys/kernel/cgroup/delegate, but never a limit.
    let owner = |file: &str| fs::metadata(dir.join(file)).unwrap().uid();
    assert_eq!((owner("payload"), owner("payload/cgroup.procs")), (100_000, 100_000));
    assert_eq!((owner("payload/pids.max"), owner("payload/memory.max")), (0, 0));
    container.exec(&["/bin/sh", "-c", "echo 9 >/sys/fs/cgroup/payload/pids.max"]).fails();
}

/// The system calls of the runtime with these arguments, with paths for descriptors.
fn traced(container: &Container, calls: &str, args: &[&str]) -> String {
    let file = container.bundle.dir.join("trace");
    let calls = format!("trace={calls}");
    let strace = ["strace", "-y", "-s", "200", "-e", &calls, "-o", file.to_str().unwrap()];
    process::run(process::under(&strace, &container.command(args))).ok();
    fs::read_to_string(file).unwrap()
}

#[test]
fn the_kernels_own_means_are_used() {
    let strace = Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success());
    if not_here() || brisk_only("how it is done") || skip_unless(Need::from(strace), "strace is not installed") {
        return;
    }
    let container = Bundle::idle().container();
    let dir = container.bundle.dir.to_str().unwrap().to_owned();
    let cgroup = host::cgroup_dir("pids", &container.bundle.cgroup());
    let into = |text: &str| text.lines().any(|l| l.contains("clone3(") && l.contains("CLONE_INTO_CGROUP"));
    let wrote = |text: &str, file: &str, value: &str| {
        let file = format!("<{}>, \"{value}", cgroup.join(file).display());
        text.lines().any(|line| line.contains("write(") && line.contains(&file))
    };
    let create = traced(&container, "clone3,write", &["create", "--bundle", &dir, &container.id]);
    assert!(into(&create), "{create}");
    // Nobody is moved, so the lock of all moves is not taken.
    assert!(!wrote(&create, "cgroup.procs", ""), "{create}");
    container.start().ok();
    let exec = traced(&container, "clone3,write", &["exec", &container.id, "/bin/true"]);
    assert!(into(&exec), "{exec}");
    let pause = traced(&container, "write", &["pause", &container.id]);
    assert!(wrote(&pause, "cgroup.freeze", "1"), "{pause}");
    assert_eq!(read(&cgroup, "cgroup.freeze"), "1");
    let resume = traced(&container, "write", &["resume", &container.id]);
    assert!(wrote(&resume, "cgroup.freeze", "0"), "{resume}");
    let kill = traced(&container, "write", &["kill", "--all", &container.id, "KILL"]);
    assert!(wrote(&kill, "cgroup.kill", "1"), "{kill}");
}

#[test]
fn new_device_rules_leave_no_gap() {
    if not_here() || brisk_only("runc never replaces them") {
        return;
    }
    let Some((denied, other)) = misc_devices() else { return };
    let script = "while :; do if true </dev/denied; then echo >/leaked; fi; echo >/tried; done 2>/dev/null";
    let rules = |access: &str| {
        json!([
            { "allow": false, "access": "rwm" },
            { "allow": true, "type": "c", "major": 10, "minor": other, "access": access },
        ])
    };
    let container = Bundle::sh(script)
        .resources("devices", rules("rw"))
        .set("/linux/devices", json!([node("/dev/denied", denied), node("/dev/other", other)]))
        .container();
    container.up();
    let rootfs = container.bundle.rootfs();
    host::wait_until(|| rootfs.join("tried").exists());
    for round in 0..30 {
        let resources = json!({ "devices": rules(if round % 2 == 0 { "r" } else { "rw" }) });
        let args = ["update", "--resources", "-", "--device-rules", &container.id];
        container.call_with_input(&args, &resources.to_string()).ok();
        assert!(!rootfs.join("leaked").exists(), "round {round}");
    }
    // The script would have seen it.
    let all = json!({ "devices": [{ "allow": true, "access": "rwm" }] });
    container.call_with_input(&["update", "--resources", "-", "--device-rules", &container.id], &all.to_string()).ok();
    host::wait_until(|| rootfs.join("leaked").exists());
}

/// A new mount in the host's cgroup namespace takes options away from everybody's file system, and with `nsdelegate` what keeps
/// containers with cgroups of their own apart.
#[test]
fn the_hosts_cgroup2_keeps_its_options() {
    if skip_on(&["runc", "crun"], "they mount it anew") || !host::is_root() {
        return;
    }
    let of_host = || {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let all = mounts.lines().filter_map(|line| line.split_once(" - cgroup2 ")).map(|(_, rest)| rest.to_owned());
        all.collect::<Vec<_>>()
    };
    let before = of_host();
    let has_any =
        before.iter().any(|options| options.contains("nsdelegate") || options.contains("memory_recursiveprot"));
    if skip_unless(Need::from(has_any), "the host's cgroup2 has no options to lose") {
        return;
    }
    for kind in ["cgroup", "cgroup2"] {
        let mut bundle = Bundle::sh("test -e /sys/fs/cgroup/cgroup.controllers");
        let mounts = bundle.config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
        let container = bundle.mount(kind, "cgroup", "/sys/fs/cgroup", &["ro", "nosuid"]).container();
        container.run().ok();
        assert_eq!(of_host(), before, "{kind}");
    }
}
