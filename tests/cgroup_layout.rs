//! Layouts of real hosts, and where a container's cgroup goes on them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use brisk::host::cgroup::{Layout, LayoutKind, probe, unified_only};
use brisk::plan::cgroup::paths::dirs;
use brisk::plan::cgroup::{CgroupDir, CgroupOptions, Privilege, Version};
use brisk::spec::path::clean;

pub fn host(name: &str) -> Layout {
    let read = |kind: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/hosts/{name}.{kind}"));
        std::fs::read_to_string(path).unwrap()
    };
    probe(read("mountinfo").as_bytes(), &read("cgroup")).unwrap()
}

pub fn v2() -> Layout {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hosts/v2.cgroup");
    unified_only(&std::fs::read_to_string(path).unwrap(), "cpuset cpu io memory hugetlb pids rdma misc\n").unwrap()
}

fn options<'a>(cgroups_path: Option<&'a str>) -> CgroupOptions<'a> {
    CgroupOptions { cgroups_path, id: "web1", privilege: Privilege::Root }
}

fn path_of(dirs: &[CgroupDir], controller: &str) -> String {
    let dir = dirs.iter().find(|d| d.controllers.iter().any(|c| c == controller)).unwrap();
    dir.full_path().display().to_string()
}

#[test]
fn v1_controllers_come_from_the_mount_options() {
    let layout = host("v1");
    assert_eq!(layout.kind(), LayoutKind::V1);
    assert_eq!(layout.v1.len(), 11);
    let cpu = layout.v1_with("cpuacct").unwrap();
    assert_eq!(cpu.controllers, ["cpu", "cpuacct"]);
    assert_eq!(cpu.own, "system.slice/ssh.service");
    // Listed in /proc/self/cgroup, but not mounted.
    assert!(!layout.has("perf_event"));
    // An option that is no controller.
    assert_eq!(layout.v1_with("cpuset").unwrap().controllers, ["cpuset"]);
    let named = layout.v1.iter().find(|h| h.name.is_some()).unwrap();
    assert_eq!((named.name.as_deref(), named.controllers.len()), (Some("systemd"), 0));
    assert_eq!(named.own, "user.slice/user-0.slice/session-1.scope");
}

#[test]
fn hybrid_has_both() {
    let layout = host("hybrid");
    assert_eq!(layout.kind(), LayoutKind::Hybrid);
    let unified = layout.unified.unwrap();
    assert_eq!(unified.mount_point, Path::new("/sys/fs/cgroup/unified"));
    assert_eq!(unified.own, "init.scope");
}

#[test]
fn a_nested_container_sees_its_own_part_and_prefers_a_whole_mount() {
    let layout = host("nested");
    let memory = layout.v1_with("memory").unwrap();
    assert_eq!((memory.mount_point.as_path(), memory.root.as_str()), (Path::new("/host/cgroup/memory"), "/"));
    assert_eq!(memory.own, "docker/4f1c");
    let pids = layout.v1_with("pids").unwrap();
    assert_eq!((pids.root.as_str(), pids.own.as_str()), ("/docker/4f1c", "inner"));
    let cpu = layout.v1_with("cpu").unwrap();
    assert_eq!((cpu.mount_point.as_path(), cpu.own.as_str()), (Path::new("/sys/fs/cgroup/cpu,cpuacct"), ""));
    assert!(!layout.has("devices"));
}

#[test]
fn a_foreign_cgroup_namespace_shows_no_own_path() {
    let line = "34 30 0:32 /../.. /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
    let layout = probe(line.as_bytes(), "4:memory:/../other\n").unwrap();
    assert_eq!(layout.v1_with("memory").unwrap().own, "");
}

#[test]
fn garbage_in_self_cgroup_is_an_error() {
    assert!(probe(b"", "nonsense\n").unwrap_err().to_string().contains("/proc/self/cgroup"));
    assert_eq!(probe(b"", "").unwrap().kind(), LayoutKind::None);
}

#[test]
fn a_layout_survives_json() {
    let layout = host("hybrid");
    let text = serde_json::to_string(&layout).unwrap();
    assert_eq!(serde_json::from_str::<Layout>(&text).unwrap(), layout);
}

#[test]
fn absolute_paths_are_below_the_mount() {
    let dirs = dirs(&host("v1"), &options(Some("/docker/abc"))).unwrap();
    assert_eq!(dirs.len(), 11);
    assert_eq!(path_of(&dirs, "cpuacct"), "/sys/fs/cgroup/cpu,cpuacct/docker/abc");
    assert_eq!(path_of(&dirs, "name=systemd"), "/sys/fs/cgroup/systemd/docker/abc");
}

#[test]
fn relative_and_absent_paths_are_below_the_own_cgroup_on_v1() {
    let layout = host("v1");
    let relative = dirs(&layout, &options(Some("a/b"))).unwrap();
    assert_eq!(path_of(&relative, "memory"), "/sys/fs/cgroup/memory/system.slice/ssh.service/a/b");
    assert_eq!(path_of(&relative, "cpuset"), "/sys/fs/cgroup/cpuset/a/b");
    for absent in [None, Some("")] {
        let absent = dirs(&layout, &options(absent)).unwrap();
        assert_eq!(path_of(&absent, "memory"), "/sys/fs/cgroup/memory/system.slice/ssh.service/web1");
    }
}

#[test]
fn relative_and_absent_paths_are_beside_the_own_cgroup_on_v2() {
    let dirs = dirs(&v2(), &options(None)).unwrap();
    assert_eq!(dirs.len(), 1);
    assert_eq!(dirs[0].version, Version::V2);
    assert_eq!(
        dirs[0].full_path(),
        Path::new("/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice/web1")
    );
}

#[test]
fn hybrid_without_controllers_goes_below_the_own_cgroup() {
    let dirs = dirs(&host("hybrid"), &options(None)).unwrap();
    let unified = dirs.last().unwrap();
    assert_eq!(unified.full_path(), Path::new("/sys/fs/cgroup/unified/init.scope/web1"));
}

#[test]
fn no_path_escapes() {
    for (path, cleaned) in
        [("/../../etc", "etc"), ("../../x/./y//z", "x/y/z"), ("a/../../b", "b"), ("/a/b/..", "a"), ("a:b:c", "a:b:c")]
    {
        assert_eq!(clean(path), cleaned);
    }
    for path in ["/", "..", "/a/..", "a\nb"] {
        let error = dirs(&v2(), &options(Some(path))).unwrap_err();
        assert!(error.to_string().contains("cgroupsPath"), "{error}");
    }
}

#[test]
fn this_host_is_told_alike_by_statmount_and_mountinfo() {
    let text = |path| std::fs::read_to_string(path).unwrap();
    let sorted = |mut layout: Layout| {
        layout.v1.sort_by(|a, b| a.mount_point.cmp(&b.mount_point));
        // Not in mountinfo.
        layout.unified.iter_mut().for_each(|unified| unified.controllers.clear());
        layout
    };
    let whole = probe(text("/proc/self/mountinfo").as_bytes(), &text("/proc/self/cgroup")).unwrap();
    assert_eq!(sorted(Layout::read().unwrap()), sorted(whole));
}
