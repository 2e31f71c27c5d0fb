//! Every mount type and option of the specification's table.

use std::fs;
use std::path::Path;

use nix::mount::MsFlags;
use serde_json::{Value, json};

use crate::common::container::{has, mount_at};
use crate::common::{Bundle, brisk_only, skip_on, skip_unless};

fn run(bundle: Bundle) -> Value {
    bundle.container().run().ok().json()
}

/// Mount options of a tmpfs on /mnt with `options`.
fn tmpfs(options: &[&str]) -> Value {
    let out = run(Bundle::probe(&["report"]).mount("tmpfs", "tmpfs", "/mnt", options));
    mount_at(&out["report"], "/mnt").clone()
}

#[test]
fn flags_are_set() {
    for flag in ["ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "relatime"] {
        assert!(has(&tmpfs(&[flag])["opts"], flag), "{flag}");
    }
    let mount = tmpfs(&["strictatime"]);
    assert!(!has(&mount["opts"], "relatime") && !has(&mount["opts"], "noatime"), "{mount}");
}

#[test]
fn super_block_flags_are_set() {
    for (option, shown) in [("sync", "sync"), ("dirsync", "dirsync")] {
        let mount = tmpfs(&[option]);
        assert!(has(&mount["super"], shown), "{option}: {mount}");
    }
    if skip_on(&["crun"], "lazytime goes to the file system as data") {
        return;
    }
    let mount = tmpfs(&["lazytime"]);
    assert!(has(&mount["super"], "lazytime"), "{mount}");
}

#[test]
fn the_later_of_two_contrary_options_wins() {
    if skip_on(&["crun"], "the flag that sets wins") {
        return;
    }
    for (on, off) in [("nosuid", "suid"), ("nodev", "dev"), ("noexec", "exec"), ("ro", "rw")] {
        let mount = tmpfs(&[on, off]);
        assert!(!has(&mount["opts"], on), "{on},{off}: {mount}");
        let mount = tmpfs(&[off, on]);
        assert!(has(&mount["opts"], on), "{off},{on}: {mount}");
    }
}

#[test]
fn options_that_change_nothing_are_accepted() {
    let all = ["rw", "suid", "dev", "exec", "async", "atime", "diratime", "norelatime", "nostrictatime"];
    let _ = tmpfs(&all);
    if skip_on(&["runc", "crun"], "loud, silent, noiversion, nolazytime and mand came later") {
        return;
    }
    let _ = tmpfs(&["loud", "silent", "noiversion", "nolazytime", "nomand", "mand"]);
}

/// fsconfig(2) has no `silent`: such a mount takes another way, on which nothing else may be lost.
#[test]
fn what_only_mount_2_can_do_keeps_the_rest() {
    if brisk_only("mounts in two ways") {
        return;
    }
    let options = ["silent", "rnosuid", "noexec", "rro"];
    let bundle = Bundle::probe(&["report", "stat:/tmp", "create:/tmp/x"]).mount("tmpfs", "tmpfs", "/tmp", &options);
    let out = run(bundle);
    let mount = mount_at(&out["report"], "/tmp");
    for option in ["nosuid", "noexec", "ro"] {
        assert!(has(&mount["opts"], option), "{option}: {mount}");
    }
    assert_eq!(out["stat:/tmp"]["mode"], "1777");
    assert_eq!(out["create:/tmp/x"]["errno"], "EROFS");
}

#[test]
fn tmpfs_takes_its_data_options() {
    if skip_on(&["runc"], "the mode of the mount point wins (runc#3916)") {
        return;
    }
    let bundle = Bundle::probe(&["report", "stat:/mnt", "statfs:/mnt"]).mount(
        "tmpfs",
        "tmpfs",
        "/mnt",
        &["size=128k", "mode=1770", "uid=5", "gid=6", "nr_inodes=77"],
    );
    let out = run(bundle);
    assert_eq!(out["stat:/mnt"]["mode"], "1770");
    assert_eq!(out["stat:/mnt"]["uid"], 5);
    assert_eq!(out["stat:/mnt"]["gid"], 6);
    assert_eq!(out["statfs:/mnt"]["blocks"], 131_072);
    assert_eq!(out["statfs:/mnt"]["files"], 77);
}

#[test]
fn a_tmpfs_keeps_the_mode_of_its_mount_point() {
    let bundle = Bundle::probe(&["stat:/tmp"]).mount("tmpfs", "tmpfs", "/tmp", &["nosuid"]);
    assert_eq!(run(bundle)["stat:/tmp"]["mode"], "1777");
}

#[test]
fn tmpcopyup_copies_what_was_there() {
    let bundle = Bundle::probe(&[
        "read:/data/file",
        "stat:/data/sub/deep",
        "stat:/data/link",
        "create:/data/new",
        "stat:/data",
        "report",
    ]);
    let data = bundle.rootfs().join("data");
    fs::create_dir(&data).unwrap();
    fs::create_dir(data.join("sub")).unwrap();
    fs::write(data.join("file"), "copied").unwrap();
    fs::write(data.join("sub/deep"), "x").unwrap();
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(data.join("sub/deep"), fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::chown(data.join("sub/deep"), Some(12), Some(13)).unwrap();
    std::os::unix::fs::symlink("file", data.join("link")).unwrap();
    let container = bundle.mount("tmpfs", "tmpfs", "/data", &["tmpcopyup", "nosuid", "rnodev"]).container();
    let out = container.run().ok().json();
    assert_eq!(out["read:/data/file"], "copied");
    assert_eq!(out["stat:/data/sub/deep"]["mode"], "640");
    assert_eq!(out["stat:/data/sub/deep"]["uid"], 12);
    assert_eq!(out["stat:/data/sub/deep"]["gid"], 13);
    assert_eq!(out["stat:/data/link"]["link"], "file");
    assert_eq!(out["create:/data/new"], "ok");
    assert_eq!(mount_at(&out["report"], "/data")["fs"], "tmpfs");
    assert!(!container.bundle.rootfs().join("data/new").exists());
}

#[test]
fn a_copy_in_a_read_only_tmpfs() {
    if skip_on(&["runc", "crun"], "rro comes before the copy") {
        return;
    }
    for readonly in ["ro", "rro"] {
        let bundle = Bundle::probe(&["read:/data/file", "create:/data/new"]);
        fs::create_dir(bundle.rootfs().join("data")).unwrap();
        fs::write(bundle.rootfs().join("data/file"), "copied").unwrap();
        let out = run(bundle.mount("tmpfs", "tmpfs", "/data", &["tmpcopyup", readonly]));
        assert_eq!(out["read:/data/file"], "copied", "{readonly}");
        assert_eq!(out["create:/data/new"]["errno"], "EROFS", "{readonly}");
    }
}

#[test]
fn a_directory_is_bound() {
    let bundle = Bundle::probe(&["read:/mnt/file", "create:/mnt/new"]);
    let source = bundle.host_dir("source");
    fs::write(source.join("file"), "of the host").unwrap();
    let container = bundle.mount("bind", source.to_str().unwrap(), "/mnt", &["bind"]).container();
    let out = container.run().ok().json();
    assert_eq!(out["read:/mnt/file"], "of the host");
    assert!(source.join("new").exists());
}

#[test]
fn a_file_is_bound_and_its_mount_point_made() {
    let bundle = Bundle::probe(&["read:/made/by/runtime"]);
    let source = bundle.dir.join("file");
    fs::write(&source, "words").unwrap();
    let bundle = bundle.mount("bind", source.to_str().unwrap(), "/made/by/runtime", &["bind", "ro"]);
    assert_eq!(run(bundle)["read:/made/by/runtime"], "words");
}

#[test]
fn a_bind_source_is_relative_to_the_bundle() {
    let bundle = Bundle::probe(&["read:/mnt/file"]);
    fs::write(bundle.host_dir("source").join("file"), "words").unwrap();
    let container = bundle.mount("bind", "source", "/mnt", &["bind"]).container();
    let mut command = container.command(&["run", "--bundle", container.bundle.dir.to_str().unwrap(), &container.id]);
    command.current_dir("/");
    let out = crate::common::process::run(command).ok().json();
    assert_eq!(out["read:/mnt/file"], "words");
}

#[test]
fn a_bind_mount_takes_flags() {
    for flag in ["ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime"] {
        let bundle = Bundle::probe(&["report", "create:/mnt/x"]);
        let source = bundle.host_dir("source");
        let out = run(bundle.mount("bind", source.to_str().unwrap(), "/mnt", &["bind", flag]));
        assert!(has(&mount_at(&out["report"], "/mnt")["opts"], flag), "{flag}");
        if flag == "ro" {
            assert_eq!(out["create:/mnt/x"]["errno"], "EROFS");
        }
    }
}

#[test]
fn noexec_and_nodev_bind_mounts_really_are() {
    let bundle = Bundle::probe(&["exec:/mnt/probe", "exec:/bin/true"]);
    let source = bundle.host_dir("source");
    crate::common::bundle::copy(&crate::common::host::probe(), &source.join("probe"));
    let out = run(bundle.mount("bind", source.to_str().unwrap(), "/mnt", &["bind", "noexec"]));
    assert_eq!(out["exec:/mnt/probe"]["errno"], "EACCES");
    assert_eq!(out["exec:/bin/true"], 0);
}

#[test]
fn bind_is_not_recursive_and_rbind_is() {
    for (option, expect) in [("bind", json!({ "errno": "ENOENT" })), ("rbind", json!("below"))] {
        let mut bundle = Bundle::probe(&["read:/mnt/sub/file"]);
        let source = bundle.host_dir_with_mount();
        let out = run(bundle.mount("bind", source.to_str().unwrap(), "/mnt", &[option]));
        assert_eq!(out["read:/mnt/sub/file"], expect, "{option}");
    }
}

#[test]
fn read_only_is_not_recursive_and_rro_is() {
    let mut bundle = Bundle::probe(&["create:/mnt/x", "create:/mnt/sub/x"]);
    let source = bundle.host_dir_with_mount();
    let out = run(bundle.mount("bind", source.to_str().unwrap(), "/mnt", &["rbind", "ro"]));
    assert_eq!(out["create:/mnt/x"]["errno"], "EROFS");
    assert_eq!(out["create:/mnt/sub/x"], "ok");
    let mut bundle = Bundle::probe(&["create:/mnt/x", "create:/mnt/sub/x"]);
    let source = bundle.host_dir_with_mount();
    let out = run(bundle.mount("bind", source.to_str().unwrap(), "/mnt", &["rbind", "rro"]));
    assert_eq!(out["create:/mnt/x"]["errno"], "EROFS");
    assert_eq!(out["create:/mnt/sub/x"]["errno"], "EROFS");
}

#[test]
fn recursive_attributes_reach_every_mount_below() {
    for (option, flag) in [
        ("rnosuid", "nosuid"),
        ("rnodev", "nodev"),
        ("rnoexec", "noexec"),
        ("rnoatime", "noatime"),
        ("rnodiratime", "nodiratime"),
    ] {
        if option == "rnoatime" && skip_on(&["crun"], "EINVAL for the access time attributes") {
            return;
        }
        let mut bundle = Bundle::probe(&["report"]);
        let source = bundle.host_dir_with_mount();
        let out = run(bundle.mount("bind", source.to_str().unwrap(), "/mnt", &["rbind", option]));
        for point in ["/mnt", "/mnt/sub"] {
            assert!(has(&mount_at(&out["report"], point)["opts"], flag), "{option} on {point}");
        }
    }
}

#[test]
fn recursive_attributes_are_cleared() {
    let mut bundle = Bundle::probe(&["report"]);
    let source = bundle.host_dir("source");
    let sub = source.join("sub");
    fs::create_dir(&sub).unwrap();
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    bundle.mount_on_host(Path::new("tmpfs"), &sub, "tmpfs", flags, "");
    let out = run(bundle.mount("bind", source.to_str().unwrap(), "/mnt", &["rbind", "rsuid", "rdev", "rexec"]));
    let opts = &mount_at(&out["report"], "/mnt/sub")["opts"];
    assert!(!["nosuid", "nodev", "noexec"].iter().any(|flag| has(opts, flag)), "{opts}");
}

#[test]
fn the_later_of_two_contrary_recursive_options_wins() {
    if skip_on(&["runc", "crun"], "the one that sets wins") {
        return;
    }
    let mut bundle = Bundle::probe(&["report"]);
    let source = bundle.host_dir_with_mount();
    let out = run(bundle.mount("bind", source.to_str().unwrap(), "/mnt", &["rbind", "rnosuid", "rsuid", "rro", "rrw"]));
    for point in ["/mnt", "/mnt/sub"] {
        let opts = &mount_at(&out["report"], point)["opts"];
        assert!(has(opts, "rw") && !has(opts, "nosuid"), "{point}: {opts}");
    }
}

#[test]
fn propagation_of_a_mount() {
    if skip_on(&["crun"], "shared has no effect") {
        return;
    }
    for (option, word) in
        [("shared", "shared:"), ("rshared", "shared:"), ("unbindable", "unbindable"), ("runbindable", "unbindable")]
    {
        let bundle = Bundle::probe(&["report"]).mount("tmpfs", "tmpfs", "/mnt", &[option]);
        let out = run(bundle);
        let tags = mount_at(&out["report"], "/mnt")["tags"].clone();
        assert!(tags.as_array().unwrap().iter().any(|t| t.as_str().unwrap().starts_with(word)), "{option}: {tags}");
    }
    for option in ["private", "rprivate", "slave", "rslave"] {
        let bundle = Bundle::probe(&["report"]).mount("tmpfs", "tmpfs", "/mnt", &[option]);
        let out = run(bundle);
        let tags = mount_at(&out["report"], "/mnt")["tags"].clone();
        assert!(
            !tags.as_array().unwrap().iter().any(|t| t.as_str().unwrap().starts_with("shared")),
            "{option}: {tags}"
        );
    }
}

#[test]
fn a_slave_mount_receives_from_the_host() {
    let mut bundle = Bundle::idle();
    let source = bundle.host_dir("source");
    let sub = source.join("sub");
    fs::create_dir(&sub).unwrap();
    bundle.mount_on_host(&source, &source, "", MsFlags::MS_BIND, "");
    bundle.mount_on_host(&source, &source, "", MsFlags::MS_SHARED, "");
    let mut container = bundle
        .set("/linux/rootfsPropagation", json!("slave"))
        .mount("bind", source.to_str().unwrap(), "/mnt", &["rbind", "rslave"])
        .container();
    container.up();
    container.bundle.mount_on_host(Path::new("tmpfs"), &sub, "tmpfs", MsFlags::empty(), "");
    fs::write(sub.join("file"), "plugged in later").unwrap();
    assert_eq!(container.exec(&["/bin/cat", "/mnt/sub/file"]).ok().stdout(), "plugged in later");
}

#[test]
fn mounts_are_made_in_order() {
    let bundle = Bundle::probe(&["readdir:/mnt", "readdir:/mnt/b"])
        .mount("tmpfs", "first", "/mnt", &[])
        .mount("tmpfs", "second", "/mnt/b", &[])
        .mount("tmpfs", "third", "/mnt/b/c", &[]);
    let out = run(bundle);
    assert_eq!(out["readdir:/mnt"], json!(["b"]));
    assert_eq!(out["readdir:/mnt/b"], json!(["c"]));
}

#[test]
fn a_later_mount_covers_an_earlier_one() {
    let bundle = Bundle::probe(&["report"]).mount("tmpfs", "first", "/mnt", &[]).mount("tmpfs", "second", "/mnt", &[]);
    assert_eq!(mount_at(&run(bundle)["report"], "/mnt")["source"], "second");
}

#[test]
fn a_mount_without_a_type_but_with_bind_is_a_bind_mount() {
    let bundle = Bundle::probe(&["readdir:/mnt"]);
    let source = bundle.host_dir("source");
    fs::write(source.join("file"), "").unwrap();
    let entry = json!({ "source": source, "destination": "/mnt", "options": ["rbind"] });
    assert_eq!(run(bundle.push("/mounts", entry))["readdir:/mnt"], json!(["file"]));
}

#[test]
fn a_relative_destination_is_below_the_root() {
    let out = run(Bundle::probe(&["report"]).mount("tmpfs", "tmpfs", "mnt", &[]));
    mount_at(&out["report"], "/mnt");
}

#[test]
fn a_destination_that_is_a_link_is_followed_inside_the_root() {
    if skip_on(&["crun"], "does not make what a dangling link points to") {
        return;
    }
    let bundle = Bundle::probe(&["report"]);
    std::os::unix::fs::symlink("/run/real", bundle.rootfs().join("link")).unwrap();
    let out = run(bundle.mount("tmpfs", "tmpfs", "/link", &[]));
    mount_at(&out["report"], "/run/real");
}

#[test]
fn a_destination_with_dots_stays_inside() {
    if skip_on(&["crun"], "does not make what a dangling link points to") {
        return;
    }
    let bundle = Bundle::probe(&["report"]);
    std::os::unix::fs::symlink("../../../../../../../tmp/inside", bundle.rootfs().join("up")).unwrap();
    let container = bundle.mount("tmpfs", "tmpfs", "/up", &[]).container();
    let out = container.run().ok().json();
    mount_at(&out["report"], "/tmp/inside");
    assert!(container.bundle.rootfs().join("tmp/inside").is_dir());
}

#[test]
fn proc_sysfs_devpts_mqueue_and_shm_are_what_they_should_be() {
    let out = run(Bundle::probe(&["report", "stat:/dev/pts/ptmx"]));
    for (point, kind) in [
        ("/proc", "proc"),
        ("/sys", "sysfs"),
        ("/dev", "tmpfs"),
        ("/dev/pts", "devpts"),
        ("/dev/mqueue", "mqueue"),
        ("/dev/shm", "tmpfs"),
    ] {
        assert_eq!(mount_at(&out["report"], point)["fs"], kind, "{point}");
    }
    assert_eq!(out["stat:/dev/pts/ptmx"]["mode"], "666");
    assert!(has(&mount_at(&out["report"], "/sys")["opts"], "ro"));
}

#[test]
fn proc_shows_only_the_container() {
    let out = run(Bundle::probe(&["readdir:/proc"]));
    let pids: Vec<&str> = out["readdir:/proc"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|n| n.as_str())
        .filter(|n| n.bytes().all(|b| b.is_ascii_digit()))
        .collect();
    assert_eq!(pids, ["1"]);
}

/// What is to be bound is bound, whatever type is given with it.
#[test]
fn an_option_makes_a_bind_mount_of_any_type() {
    for kind in ["cgroup", "cgroup2", "tmpfs", "proc", "sysfs", "none"] {
        let bundle = Bundle::probe(&["readdir:/shown"]);
        let dir = bundle.host_dir("of-the-host");
        fs::write(dir.join("file"), "").unwrap();
        let out = run(bundle.mount(kind, dir.to_str().unwrap(), "/shown", &["rbind", "ro"]));
        assert_eq!(out["readdir:/shown"], json!(["file"]), "{kind}");
    }
}

#[test]
fn a_cgroup_mount_shows_the_containers_cgroups() {
    for bundle in [
        Bundle::probe(&["readdir:/sys/fs/cgroup", "report"]),
        Bundle::probe(&["readdir:/sys/fs/cgroup", "report"]).ns("cgroup"),
    ] {
        let id = bundle.id.clone();
        let out =
            run(bundle.mount("cgroup", "cgroup", "/sys/fs/cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]));
        let names = &out["readdir:/sys/fs/cgroup"];
        if crate::common::host::Cgroups::detect() == crate::common::host::Cgroups::V2 {
            assert!(has(names, "cgroup.procs"), "{names}");
            continue;
        }
        for controller in ["memory", "pids", "devices"] {
            assert!(has(names, controller), "{controller}: {names}");
            let mount = mount_at(&out["report"], &format!("/sys/fs/cgroup/{controller}"));
            assert!(has(&mount["opts"], "ro"), "{mount}");
            let root = mount["root"].as_str().unwrap();
            assert!(root == "/" || root.ends_with(&id), "the container sees more than itself: {root}");
        }
    }
}

#[test]
fn an_overlay_is_mounted() {
    let bundle = Bundle::probe(&["readdir:/mnt", "create:/mnt/new"]);
    let [lower, upper, work] = ["lower", "upper", "work"].map(|name| bundle.host_dir(name));
    fs::write(lower.join("from-below"), "").unwrap();
    let options = [
        format!("lowerdir={}", lower.display()),
        format!("upperdir={}", upper.display()),
        format!("workdir={}", work.display()),
    ];
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let container = bundle.mount("overlay", "overlay", "/mnt", &options).container();
    let out = container.run().ok().json();
    assert_eq!(out["readdir:/mnt"], json!(["from-below"]));
    assert_eq!(out["create:/mnt/new"], "ok");
    assert!(upper.join("new").exists());
}

#[test]
fn bind_mounts_in_a_user_namespace_keep_locked_flags() {
    if skip_on(&["runc", "crun"], "runc 1.1 fails (runc#3967), crun 1.8 clears them") {
        return;
    }
    let mut bundle = Bundle::probe(&["report"]).userns();
    let source = bundle.host_dir("source");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    bundle.mount_on_host(Path::new("tmpfs"), &source, "tmpfs", flags, "mode=755");
    let container = bundle.mount("bind", source.to_str().unwrap(), "/mnt", &["bind", "ro"]).container();
    let out = container.run().ok().json();
    for flag in ["ro", "nosuid", "nodev", "noexec"] {
        assert!(has(&mount_at(&out["report"], "/mnt")["opts"], flag), "{flag}");
    }
}

#[test]
fn a_hundred_mounts() {
    let mut bundle = Bundle::probe(&["report"]);
    for n in 0..100 {
        bundle = bundle.mount("tmpfs", "tmpfs", &format!("/mnt/{n}"), &["size=4k"]);
    }
    let out = run(bundle);
    mount_at(&out["report"], "/mnt/0");
    mount_at(&out["report"], "/mnt/99");
}

#[test]
fn id_mapped_mounts() {
    if skip_on(&["runc", "crun"], "came later, or in another form") {
        return;
    }
    let bundle = Bundle::probe(&["stat:/mnt/file"]);
    let source = bundle.host_dir("source");
    fs::write(source.join("file"), "").unwrap();
    let map = json!([{ "containerID": 0, "hostID": 5000, "size": 1000 }]);
    let entry = json!({ "type": "bind", "source": source, "destination": "/mnt", "options": ["bind", "idmap"],
                        "uidMappings": map, "gidMappings": map });
    let out = run(bundle.push("/mounts", entry));
    assert_eq!(out["stat:/mnt/file"]["uid"], 5000);
}

#[test]
fn data_of_a_bind_mount_is_left_out() {
    let bundle = Bundle::probe(&["report"]);
    let source = bundle.host_dir("source");
    let source = source.to_str().unwrap();
    let out = run(bundle.mount("bind", source, "/mnt", &["bind", "mode=755", "size=1k", "ro"]));
    let mount = mount_at(&out["report"], "/mnt");
    assert!(has(&mount["opts"], "ro"), "{mount}");
}

#[test]
fn a_mount_label_needs_selinux() {
    let absent = !Path::new("/sys/fs/selinux/enforce").exists();
    if skip_unless(absent.into(), "SELinux is there") {
        return;
    }
    if skip_on(&["runc"], "a label without SELinux is an error") {
        return;
    }
    let label = json!("system_u:object_r:svirt_sandbox_file_t:s0:c1,c2");
    let bundle = Bundle::probe(&["report"]).set("/linux/mountLabel", label);
    mount_at(&run(bundle.mount("tmpfs", "tmpfs", "/mnt", &[]))["report"], "/mnt");
}

/// fsconfig(2) takes 255 bytes at most, and mount(2) a page.
#[test]
fn a_source_may_be_long() {
    let source = "s".repeat(1000);
    let out = run(Bundle::probe(&["report"]).mount("tmpfs", &source, "/mnt", &[]));
    let mounts = out["report"]["mounts"].as_array().unwrap();
    assert!(mounts.iter().any(|mount| mount["point"] == "/mnt" && mount["source"] == *source), "{mounts:?}");
}
