//! The root itself as the place of something: a mount over it, read-only and masked paths that lead to it, in every
//! spelling.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::mount::MsFlags;
use serde_json::{Value, json};

use crate::common::container::mount_at;
use crate::common::{Bundle, Container, brisk_only, skip_on};

/// A bundle whose root can be covered: a second copy of it, with a file that says so.
fn with_cover(bundle: Bundle) -> (Bundle, PathBuf) {
    let cover = bundle.dir.join("cover");
    let status = std::process::Command::new("cp").arg("-a").arg(bundle.rootfs()).arg(&cover).status().unwrap();
    assert!(status.success());
    fs::write(bundle.rootfs().join("which"), "below").unwrap();
    fs::write(cover.join("which"), "above").unwrap();
    (bundle, cover)
}

/// The mount at `/` has to be the first: those of the root below it are covered.
fn cover(mut bundle: Bundle, kind: &str, source: &str, destination: &str, options: &[&str]) -> Bundle {
    let entry = json!({ "type": kind, "source": source, "destination": destination, "options": options });
    bundle.config["mounts"].as_array_mut().unwrap().insert(0, entry);
    bundle
}

const OPS: [&str; 5] = ["read:/which", "read:/../which", "create:/new", "report", "write:/dev/null"];

#[test]
fn a_mount_over_the_root_is_the_root() {
    if skip_on(&["runc", "crun"], "not in runc, nor in crun before 1.21") {
        return;
    }
    for userns in [false, true] {
        for destination in ["/", "//", "/.", "/etc/..", ""] {
            let (bundle, above) = with_cover(Bundle::probe(&OPS));
            let bundle = if userns { bundle.userns() } else { bundle };
            if userns {
                crate::common::bundle::chown_tree(&above, 100_000);
            }
            let destination = match destination {
                "" => bundle.rootfs().to_str().unwrap().to_owned(),
                spelt => spelt.to_owned(),
            };
            let bundle = cover(bundle, "bind", above.to_str().unwrap(), &destination, &["rbind"]);
            let out = bundle.container().run().ok().json();
            assert_eq!((&out["read:/which"], &out["read:/../which"]), (&json!("above"), &json!("above")), "{out}");
            assert_eq!((&out["create:/new"], &out["write:/dev/null"]), (&json!("ok"), &json!("ok")), "{out}");
            // What was below has gone with the host's.
            let roots = out["report"]["mounts"].as_array().unwrap().iter().filter(|mount| mount["point"] == "/");
            assert_eq!(roots.count(), 1, "{out}");
        }
    }
}

/// What the image has is not written to, with an overlay whose lower directory is the root.
#[test]
fn an_overlay_over_the_root() {
    if skip_on(&["runc", "crun"], "not in runc, nor in crun before 1.21") {
        return;
    }
    let bundle = Bundle::probe(&OPS);
    fs::write(bundle.rootfs().join("which"), "below").unwrap();
    let (upper, work) = (bundle.host_dir("upper"), bundle.host_dir("work"));
    let options = [
        format!("lowerdir={}", bundle.rootfs().display()),
        format!("upperdir={}", upper.display()),
        format!("workdir={}", work.display()),
    ];
    let bundle = cover(bundle, "overlay", "overlay", "/", &options.each_ref().map(String::as_str));
    let container = bundle.container();
    let out = container.run().ok().json();
    assert_eq!((&out["read:/which"], &out["create:/new"]), (&json!("below"), &json!("ok")), "{out}");
    assert_eq!(mount_at(&out["report"], "/")["fs"], "overlay", "{out}");
    assert!(upper.join("new").exists() && !container.bundle.rootfs().join("new").exists());
}

/// `root.readonly` is of the root that the container sees, and `exec` enters that, too.
#[test]
fn a_covered_root_is_read_only_and_entered() {
    if skip_on(&["runc", "crun"], "not in runc, nor in crun before 1.21") {
        return;
    }
    let (bundle, above) = with_cover(Bundle::idle());
    let bundle = cover(bundle, "bind", above.to_str().unwrap(), "/", &["bind", "rw"]);
    let container = bundle.set("/root/readonly", json!(true)).container();
    container.up();
    assert_eq!(container.exec(&["/bin/cat", "/which"]).ok().stdout(), "above");
    container.exec(&["/bin/sh", "-c", ": > /new"]).fails();
    // To what runs it could be shown no more.
    if !brisk_only("mounts add") {
        let list = container.bundle.dir.join("list.json");
        fs::write(&list, json!([{ "destination": "/", "type": "tmpfs", "source": "tmpfs" }]).to_string()).unwrap();
        let error = container.call(&["mounts", "add", &container.id, list.to_str().unwrap()]).fails();
        assert!(error.contains("would stay in the root"), "{error}");
    }
}

/// Without pivot_root the covered root would stay.
#[test]
fn no_mount_over_the_root_without_pivot_root() {
    if brisk_only("a mount over the root") {
        return;
    }
    let (bundle, above) = with_cover(Bundle::probe(&OPS));
    let container = cover(bundle, "bind", above.to_str().unwrap(), "/", &["bind"]).container();
    let error = container.run_with(&["--no-pivot"]).fails();
    assert!(error.contains("--no-pivot"), "{error}");
}

/// The image cannot make a volume the root.
#[test]
fn a_link_to_the_root_is_no_place_for_a_mount() {
    if skip_on(&["crun"], "it mounts over the root") {
        return;
    }
    for (kind, options) in [("bind", &["rbind"][..]), ("tmpfs", &[])] {
        for (link, target) in [("link", "/"), ("bin/link", ".."), ("etc/link", "/bin/../.")] {
            let (bundle, above) = with_cover(Bundle::probe(&OPS));
            symlink(target, bundle.rootfs().join(link)).unwrap();
            let container: Container =
                bundle.mount(kind, above.to_str().unwrap(), &format!("/{link}"), options).container();
            let error = container.run().fails();
            assert!(error.contains("root"), "{link} -> {target}: {error}");
        }
    }
    // The same directory in another mount is another place.
    let (bundle, above) = with_cover(Bundle::probe(&["read:/mnt/which"]));
    let rootfs = bundle.rootfs();
    let bundle = bundle.mount("bind", rootfs.to_str().unwrap(), "/mnt", &["bind"]);
    let out = bundle.mount("bind", above.to_str().unwrap(), "/mnt", &["bind"]).container().run().ok().json();
    assert_eq!(out["read:/mnt/which"], "above", "{out}");
}

fn read_only(bundle: Bundle, path: &str) -> Value {
    bundle.push("/linux/readonlyPaths", json!(path)).container().run().ok().json()
}

/// The root's own mount; /dev and volumes keep what their options say.
#[test]
fn a_read_only_path_may_be_the_root() {
    if skip_on(&["crun"], "it covers what is mounted below") {
        return;
    }
    for userns in [false, true] {
        for path in ["/", "//", "/.", "/etc/..", "/link", "/proc/.."] {
            if userns && path != "/" && path != "/link" {
                continue;
            }
            if path.ends_with("..") && skip_on(&["runc"], "it misses this spelling") {
                continue;
            }
            let bundle = Bundle::probe(&["create:/new", "create:/etc/new", "create:/mnt/new", "write:/dev/null"]);
            symlink("/", bundle.rootfs().join("link")).unwrap();
            let bundle = if userns { bundle.userns() } else { bundle };
            let out = read_only(bundle.mount("tmpfs", "tmpfs", "/mnt", &[]), path);
            assert_eq!(
                (&out["create:/new"]["errno"], &out["create:/etc/new"]["errno"]),
                (&json!("EROFS"), &json!("EROFS"))
            );
            assert_eq!(
                (&out["create:/mnt/new"], &out["write:/dev/null"]),
                (&json!("ok"), &json!("ok")),
                "{path}: {out}"
            );
        }
    }
}

#[test]
fn the_root_cannot_be_masked() {
    if skip_on(&["runc", "crun"], "it has no effect there") {
        return;
    }
    for path in ["/", "/etc/..", "/link"] {
        let bundle = Bundle::probe(&["report"]);
        symlink("/", bundle.rootfs().join("link")).unwrap();
        let error = bundle.push("/linux/maskedPaths", json!(path)).container().run().fails();
        assert!(error.contains("the root itself"), "{path}: {error}");
    }
}

#[test]
fn a_path_that_is_named_twice_is_masked_once() {
    if skip_on(&["crun"], "it masks twice") {
        return;
    }
    let bundle =
        Bundle::probe(&["report"]).set("/linux/maskedPaths", json!(["/etc", "/proc/keys", "/etc", "/proc/keys"]));
    let out = bundle.container().run().ok().json();
    for point in ["/etc", "/proc/keys"] {
        let mounts = out["report"]["mounts"].as_array().unwrap().iter().filter(|mount| mount["point"] == point);
        assert_eq!(mounts.count(), 1, "{point}: {out}");
    }
}

/// On a host whose mounts are shared: what is mounted below the root on the host arrives where the container asked for a
/// slave, and nowhere else.
#[test]
fn a_slave_root_is_a_slave_of_the_hosts() {
    if skip_on(&["runc", "crun"], "newer than runc 1.5") {
        return;
    }
    for (option, slave) in [(None, false), (Some("private"), false), (Some("slave"), true), (Some("rslave"), true)] {
        let mut bundle = Bundle::idle();
        let place = bundle.host_dir("shared");
        bundle.mount_on_host(Path::new("tmpfs"), &place, "tmpfs", MsFlags::empty(), "");
        bundle.mount_on_host(Path::new("none"), &place, "", MsFlags::MS_SHARED, "");
        let rootfs = place.join("rootfs");
        let status = std::process::Command::new("cp").arg("-a").arg(bundle.rootfs()).arg(&rootfs).status().unwrap();
        assert!(status.success());
        bundle = bundle.set("/root/path", json!(rootfs));
        if let Some(option) = option {
            bundle = bundle.set("/linux/rootfsPropagation", json!(option));
        }
        let mut container = bundle.container();
        container.up();
        let report: Value = serde_json::from_str(&container.exec(&["/probe", "report"]).ok().stdout()).unwrap();
        let tags = mount_at(&report["report"], "/")["tags"].clone();
        let shared = tags.as_array().unwrap().iter().any(|tag| tag.as_str().unwrap().starts_with("shared:"));
        let master = tags.as_array().unwrap().iter().any(|tag| tag.as_str().unwrap().starts_with("master:"));
        assert_eq!((shared, master), (false, slave), "{option:?}: {tags}");
        container.bundle.mount_on_host(Path::new("tmpfs"), &rootfs.join("mnt"), "tmpfs", MsFlags::empty(), "");
        fs::write(rootfs.join("mnt/arrived"), "").unwrap();
        let arrived = container.exec(&["/bin/ls", "/mnt"]).ok().stdout().contains("arrived");
        assert_eq!(arrived, slave, "{option:?}");
    }
}

/// Volumes keep the propagation of their own.
#[test]
fn a_private_root_leaves_volumes_as_they_are() {
    if skip_on(&["crun"], "shared has no effect") {
        return;
    }
    let bundle = Bundle::probe(&["report"]).mount("tmpfs", "tmpfs", "/mnt", &["rshared"]);
    let out = bundle.set("/linux/rootfsPropagation", json!("rprivate")).container().run().ok().json();
    let tags = mount_at(&out["report"], "/mnt")["tags"].clone();
    assert!(tags.as_array().unwrap().iter().any(|tag| tag.as_str().unwrap().starts_with("shared:")), "{tags}");
    assert_eq!(mount_at(&out["report"], "/")["tags"], json!([]), "{out}");
}
