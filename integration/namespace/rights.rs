//! Whose rights a container in a user namespace is made with: the caller's, for everything that is named by a path of the
//! host; and in which order namespaces are joined.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::common::{Bundle, Container, Need, brisk_only, host, skip_on, skip_unless};

/// A directory of the host that only the caller may look into, with a file of root's and one of the container's user 1000.
fn private(bundle: &Bundle) -> PathBuf {
    let dir = bundle.host_dir("private");
    fs::create_dir(dir.join("data")).unwrap();
    for (name, owner) in [("root", 0), ("user", 1000)] {
        let file = dir.join("data").join(name);
        fs::write(&file, name).unwrap();
        std::os::unix::fs::chown(&file, Some(owner), Some(owner)).unwrap();
    }
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
    dir.join("data")
}

fn mappings() -> Value {
    json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }])
}

#[test]
fn a_source_that_only_the_caller_may_reach_is_bound() {
    let bundle = Bundle::probe(&["read:/data/root", "read:/file"]).userns();
    let data = private(&bundle);
    let file = data.join("user");
    let bundle = bundle.mount("bind", data.to_str().unwrap(), "/data", &["rbind", "ro"]).mount(
        "bind",
        file.to_str().unwrap(),
        "/file",
        &["bind"],
    );
    let out = bundle.container().run().ok().json();
    assert_eq!((&out["read:/data/root"], &out["read:/file"]), (&json!("root"), &json!("user")), "{out}");
}

#[test]
fn a_source_that_only_the_caller_may_reach_is_bound_in_a_joined_user_namespace() {
    let first = Bundle::idle().userns().container();
    first.up();
    let path = format!("/proc/{}/ns/user", first.pid());
    let bundle = Bundle::probe(&["read:/data/root"]).userns();
    let data = private(&bundle);
    let mut bundle = bundle.without_ns("user").join("user", &path);
    bundle = bundle.mount("bind", data.to_str().unwrap(), "/data", &["rbind"]);
    bundle.config["linux"].as_object_mut().unwrap().remove("uidMappings");
    bundle.config["linux"].as_object_mut().unwrap().remove("gidMappings");
    let out = bundle.container().run().ok().json();
    assert_eq!(out["read:/data/root"], "root", "{out}");
}

/// Volumes of kubelet and containerd lie below such directories.
#[test]
fn directories_on_the_way_to_a_source_may_be_for_a_group_only() {
    let bundle = Bundle::probe(&["read:/data/root", "create:/data/new"]).userns();
    let data = private(&bundle);
    fs::set_permissions(data.parent().unwrap(), fs::Permissions::from_mode(0o750)).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o777)).unwrap();
    let bundle = bundle.mount("bind", data.to_str().unwrap(), "/data", &["rbind", "rro"]);
    let out = bundle.container().run().ok().json();
    assert_eq!(
        (&out["read:/data/root"], &out["create:/data/new"]["errno"]),
        (&json!("root"), &json!("EROFS")),
        "{out}"
    );
}

/// The same for a container that runs, with owners mapped: only the caller may do either.
#[test]
fn added_mounts_are_opened_and_mapped_with_the_callers_rights() {
    if brisk_only("mounts add")
        || skip_unless(Need::from(host::kernel_is_at_least(6, 3)), "no id-mapped tmpfs before Linux 6.3")
    {
        return;
    }
    let first = Bundle::idle().userns().container();
    first.up();
    for joined in [false, true] {
        let mut bundle = Bundle::idle().userns();
        if joined {
            bundle = bundle.without_ns("user").join("user", &format!("/proc/{}/ns/user", first.pid()));
            bundle.config["linux"].as_object_mut().unwrap().remove("uidMappings");
            bundle.config["linux"].as_object_mut().unwrap().remove("gidMappings");
        }
        let data = private(&bundle);
        let below = data.join("below");
        fs::create_dir(&below).unwrap();
        bundle.mount_on_host(Path::new("none"), &below, "tmpfs", nix::mount::MsFlags::empty(), "");
        fs::write(below.join("root"), "").unwrap();
        let container = bundle.container();
        container.up();
        let options: &[(&str, &[&str], Option<Value>)] = &[
            ("plain", &["rbind"], None),
            ("idmap", &["rbind", "idmap"], None),
            ("ridmap", &["rbind", "ridmap"], None),
            ("mappings", &["rbind"], Some(mappings())),
        ];
        let list: Vec<Value> = options
            .iter()
            .map(|(name, options, maps)| {
                let mut mount = json!({ "destination": format!("/mnt/{name}"), "type": "bind", "source": data,
                                        "options": options });
                if let Some(maps) = maps {
                    mount["uidMappings"] = maps.clone();
                    mount["gidMappings"] = maps.clone();
                }
                mount
            })
            .collect();
        let file = container.bundle.dir.join("list.json");
        fs::write(&file, json!(list).to_string()).unwrap();
        container.call(&["mounts", "add", &container.id, file.to_str().unwrap()]).ok();
        let paths =
            options.iter().flat_map(|(name, ..)| [format!("/mnt/{name}/user"), format!("/mnt/{name}/below/root")]);
        let paths: Vec<String> = paths.map(|path| format!("stat:{path}")).collect();
        let args: Vec<&str> = std::iter::once("/probe").chain(paths.iter().map(String::as_str)).collect();
        let out = container.exec(&args).ok().json();
        let found: Vec<u64> = paths.iter().map(|path| out[path]["uid"].as_u64().unwrap()).collect();
        // What the namespace does not map is nobody's; the mount below is another file system.
        assert_eq!(found, [65_534, 65_534, 1000, 65_534, 1000, 0, 1000, 65_534], "joined {joined}: {out}");
    }
}

#[test]
fn a_mount_gets_the_maps_of_a_joined_user_namespace() {
    let first = Bundle::idle().userns().container();
    first.up();
    let bundle = Bundle::probe(&["stat:/data/user"]).userns();
    let data = private(&bundle);
    let mut bundle = bundle.without_ns("user").join("user", &format!("/proc/{}/ns/user", first.pid()));
    bundle.config["linux"].as_object_mut().unwrap().remove("uidMappings");
    bundle.config["linux"].as_object_mut().unwrap().remove("gidMappings");
    let out = bundle.mount("bind", data.to_str().unwrap(), "/data", &["bind", "idmap"]).container().run().ok().json();
    assert_eq!(out["stat:/data/user"]["uid"], 1000, "{out}");
}

#[test]
fn mounts_of_the_host_stay_locked() {
    // Read-only on the host: the container's root may not make it writable, nor take away what covers another mount.
    let script =
        "mount -o remount,rw,bind /data 2>&1 && echo loosened; busybox umount /data/data 2>&1 && echo uncovered; true";
    let mut bundle = Bundle::sh(script).userns();
    let place = bundle.host_dir("locked");
    fs::create_dir(place.join("data")).unwrap();
    bundle.mount_on_host(&place, &place, "", nix::mount::MsFlags::MS_BIND, "");
    bundle.mount_on_host(Path::new("none"), &place.join("data"), "tmpfs", nix::mount::MsFlags::empty(), "");
    let flags = nix::mount::MsFlags::MS_BIND | nix::mount::MsFlags::MS_REMOUNT | nix::mount::MsFlags::MS_RDONLY;
    nix::mount::mount(None::<&str>, &place, None::<&str>, flags, None::<&str>).unwrap();
    let caps = json!(["CAP_SYS_ADMIN"]);
    for set in ["bounding", "effective", "permitted"] {
        bundle = bundle.set(&format!("/process/capabilities/{set}"), caps.clone());
    }
    let bundle = bundle.mount("bind", place.to_str().unwrap(), "/data", &["rbind"]);
    let text = bundle.container().run().ok().stdout();
    assert!(!text.contains("loosened") && !text.contains("uncovered"), "{text}");
}

#[test]
fn a_mount_is_id_mapped_in_a_user_namespace() {
    let bundle = Bundle::probe(&["stat:/data/root", "stat:/data/user"]).userns();
    let data = private(&bundle);
    let mut bundle = bundle.mount("bind", data.to_str().unwrap(), "/data", &["rbind"]);
    let mount = bundle.config["mounts"].as_array_mut().unwrap().last_mut().unwrap();
    mount["uidMappings"] = mappings();
    mount["gidMappings"] = mappings();
    let out = bundle.container().run().ok().json();
    assert_eq!((&out["stat:/data/root"]["uid"], &out["stat:/data/user"]["uid"]), (&json!(0), &json!(1000)), "{out}");
}

#[test]
fn namespaces_of_the_host_are_joined_beside_a_new_user_namespace() {
    let path = |kind: &str| format!("/proc/self/ns/{kind}");
    let holder = std::process::Command::new("unshare").args(["-n", "-i", "-u", "sleep", "1000"]).spawn().unwrap();
    let holder = Holder(holder);
    let theirs = |kind: &str| format!("/proc/{}/ns/{kind}", holder.0.id());
    crate::common::host::wait_until(|| {
        ["net", "ipc", "uts"].iter().all(|kind| {
            let of = |path: &str| fs::metadata(path).map(|meta| meta.ino()).unwrap_or(0);
            of(&theirs(kind)) != of(&path(kind)) && of(&theirs(kind)) != 0
        })
    });
    let mut bundle = Bundle::probe(&["report"]).userns();
    for (kind, file) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts")] {
        bundle = bundle.without_ns(kind).join(kind, &theirs(file));
    }
    let bundle = bundle.unset("/hostname").without_mount("/sys").without_mount("/dev/mqueue");
    let inode = |file: &str| fs::metadata(theirs(file)).unwrap().ino();
    let expected = ["net", "ipc", "uts"].map(inode);
    let out = bundle.container().run().ok().json();
    let found = ["net", "ipc", "uts"].map(|file| {
        let text = out["report"]["ns"][file].as_str().unwrap_or_default().to_owned();
        text.trim_start_matches(|c: char| !c.is_ascii_digit()).trim_end_matches(']').parse().unwrap_or(0)
    });
    assert_eq!(found, expected, "{out}");
}

/// What shows a joined namespace shows that, not the host's, though the new user namespace has no authority over it.
#[test]
fn sysfs_and_mqueue_are_of_the_joined_namespaces() {
    if skip_on(&["runc", "crun"], "runc fails, crun shows the host's devices") {
        return;
    }
    let holder = std::process::Command::new("unshare").args(["-n", "-i", "sleep", "1000"]).spawn().unwrap();
    let holder = Holder(holder);
    let theirs = |file: &str| format!("/proc/{}/ns/{file}", holder.0.id());
    crate::common::host::wait_until(|| {
        ["net", "ipc"].iter().all(|file| {
            let of = |path: &str| fs::metadata(path).map(|meta| meta.ino()).unwrap_or(0);
            of(&theirs(file)) != of(&format!("/proc/self/ns/{file}")) && of(&theirs(file)) != 0
        })
    });
    let script = "echo x >/sys/kernel/profiling 2>/dev/null && echo written; busybox ls /sys/class/net /dev/mqueue; cat /proc/self/mounts";
    let bundle = Bundle::sh(script).userns().join("network", &theirs("net")).join("ipc", &theirs("ipc"));
    let text = bundle.container().run().ok().stdout();
    assert!(!text.contains("written") && text.contains("/sys/class/net:\nlo\n"), "{text}");
    let line = |place: &str| text.lines().find(|line| line.contains(place)).unwrap().to_owned();
    assert!(line(" /sys ").starts_with("sysfs /sys sysfs ro,nosuid,nodev,noexec"), "{text}");
    assert!(line(" /dev/mqueue ").contains("mqueue"), "{text}");
}

struct Holder(std::process::Child);

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// What another container has, user namespace and all, is joined.
#[test]
fn everything_of_another_container_is_joined() {
    let first = Bundle::idle().userns().ns("time").container();
    first.up();
    let of = |file: &str| format!("/proc/{}/ns/{file}", first.pid());
    let mut bundle = Bundle::probe(&["report"]).userns();
    for (kind, file) in
        [("user", "user"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid"), ("time", "time")]
    {
        bundle = if kind == "time" { bundle } else { bundle.without_ns(kind) }.join(kind, &of(file));
    }
    bundle.config["linux"].as_object_mut().unwrap().remove("uidMappings");
    bundle.config["linux"].as_object_mut().unwrap().remove("gidMappings");
    let bundle = bundle.unset("/hostname");
    let expected = fs::read_link(of("time")).unwrap().to_string_lossy().into_owned();
    let out = bundle.container().run().ok().json();
    assert_eq!(out["report"]["ns"]["time"], json!(expected), "{out}");
}

#[test]
fn devices_have_the_mode_and_the_owner_that_were_asked_for() {
    if skip_on(&["runc"], "it binds the host's node as it is") {
        return;
    }
    let device = json!({ "path": "/dev/nothing-the-host-has", "type": "c", "major": 1, "minor": 3,
                         "fileMode": 0o640, "uid": 1000, "gid": 1001 });
    let bundle = Bundle::probe(&["stat:/dev/nothing-the-host-has", "write:/dev/nothing-the-host-has"]).userns();
    let bundle = bundle
        .set("/process/user/uid", json!(1000))
        .push("/linux/devices", device)
        .resources("devices", json!([{ "allow": true, "access": "rwm" }]));
    let out = bundle.container().run().ok().json();
    let stat = &out["stat:/dev/nothing-the-host-has"];
    let found = (&stat["mode"], &stat["uid"], &stat["gid"], &stat["minor"]);
    assert_eq!(found, (&json!("640"), &json!(1000), &json!(1001), &json!(3)), "{out}");
    assert_eq!(out["write:/dev/nothing-the-host-has"], "ok", "{out}");
}

#[test]
fn ptmx_among_the_devices_stays_a_link() {
    let device = json!({ "path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2 });
    for bundle in [Bundle::probe(&["stat:/dev/ptmx"]), Bundle::probe(&["stat:/dev/ptmx"]).userns()] {
        let out = bundle.push("/linux/devices", device.clone()).container().run().ok().json();
        assert_eq!(out["stat:/dev/ptmx"]["type"], "link", "{out}");
    }
}

#[test]
fn mappings_without_idmap_are_of_the_mount_alone() {
    let mut bundle = Bundle::probe(&["stat:/data/root", "stat:/data/below/root"]);
    let data = private(&bundle);
    fs::create_dir(data.join("below")).unwrap();
    bundle.mount_on_host(Path::new("none"), &data.join("below"), "tmpfs", nix::mount::MsFlags::empty(), "");
    let file = data.join("below/root");
    fs::write(&file, "").unwrap();
    let mut bundle = bundle.mount("bind", data.to_str().unwrap(), "/data", &["rbind"]);
    let mount = bundle.config["mounts"].as_array_mut().unwrap().last_mut().unwrap();
    mount["uidMappings"] = mappings();
    mount["gidMappings"] = mappings();
    let out = bundle.container().run().ok().json();
    let uids = (&out["stat:/data/root"]["uid"], &out["stat:/data/below/root"]["uid"]);
    assert_eq!(uids, (&json!(100_000), &json!(0)), "{out}");
}

#[test]
fn a_terminal_in_a_joined_user_namespace_and_a_new_pid_namespace() {
    if skip_on(&["runc", "crun"], "a terminal for a caller who has none") {
        return;
    }
    let first = Bundle::idle().userns().container();
    first.up();
    let path = format!("/proc/{}/ns/user", first.pid());
    let mut bundle = Bundle::sh("test -t 0 && exec sh -c ': < /dev/tty && echo controlled'").userns();
    bundle = bundle.without_ns("user").join("user", &path).set("/process/terminal", json!(true));
    bundle.config["linux"].as_object_mut().unwrap().remove("uidMappings");
    bundle.config["linux"].as_object_mut().unwrap().remove("gidMappings");
    let container: Container = bundle.container();
    let output = container.run_with(&[]).ok();
    assert!(output.stdout().contains("controlled"), "{output:?}");
}

/// The place of a source may be made by the mounts before it.
#[test]
fn a_source_in_the_containers_own_root_is_what_was_mounted_there() {
    if skip_on(&["crun"], "all sources are opened beforehand") {
        return;
    }
    for userns in [false, true] {
        let bundle = Bundle::probe(&["read:/mnt/again/data/root"]);
        let bundle = if userns { bundle.userns() } else { bundle };
        let data = private(&bundle);
        let inside = bundle.rootfs().join("mnt/once");
        fs::DirBuilder::new().recursive(true).create(&inside).unwrap();
        let parent = data.parent().unwrap();
        let bundle = bundle.mount("bind", parent.to_str().unwrap(), "/mnt/once", &["rbind"]).mount(
            "bind",
            inside.to_str().unwrap(),
            "/mnt/again",
            &["rbind"],
        );
        if userns {
            fs::set_permissions(parent, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let out = bundle.container().run().ok().json();
        assert_eq!(out["read:/mnt/again/data/root"], "root", "{out}");
    }
}
