//! What each mount option does that can be seen, one by one: what sets alone, what clears after what it clears.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::common::container::{has, mount_at};
use crate::common::{Bundle, skip_on};

fn run(bundle: Bundle) -> Value {
    bundle.container().run().ok().json()
}

/// Words of a mount's own options, of its superblock's, and its propagation.
fn shows(mount: &Value, word: &str) -> bool {
    let tagged = |tag: &Value| tag.as_str().is_some_and(|tag| tag.starts_with(word));
    has(&mount["opts"], word) || has(&mount["super"], word) || mount["tags"].as_array().unwrap().iter().any(tagged)
}

/// The options of a tmpfs, and what is shown with the last one and not without it.
const SETS: &[(&[&str], &str)] = &[
    (&["nosymfollow"], "nosymfollow"),
    (&["rnosymfollow"], "nosymfollow"),
    (&["sync"], "sync"),
    (&["rsync"], "sync"),
    (&["dirsync"], "dirsync"),
    (&["rdirsync"], "dirsync"),
    (&["lazytime"], "lazytime"),
    (&["noatime", "relatime"], "relatime"),
    (&["noatime", "rrelatime"], "relatime"),
    (&["strictatime", "nostrictatime"], "relatime"),
    (&["rstrictatime", "rnostrictatime"], "relatime"),
    (&["nodiratime"], "nodiratime"),
    (&["rnodiratime"], "nodiratime"),
    (&["shared"], "shared"),
    (&["unbindable"], "unbindable"),
];

/// The options of a tmpfs, and what is shown without the last one and not with it.
const CLEARS: &[(&[&str], &str)] = &[
    (&["nosymfollow", "symfollow"], "nosymfollow"),
    (&["rnosymfollow", "rsymfollow"], "nosymfollow"),
    (&["sync", "async"], "sync"),
    (&["sync", "rasync"], "sync"),
    (&["lazytime", "nolazytime"], "lazytime"),
    (&["noatime", "atime"], "noatime"),
    (&["rnoatime", "ratime"], "noatime"),
    (&["nodiratime", "diratime"], "nodiratime"),
    (&["rnodiratime", "rdiratime"], "nodiratime"),
    (&["strictatime"], "relatime"),
    (&["rstrictatime"], "relatime"),
    (&["shared", "private"], "shared"),
    (&["rshared", "rprivate"], "shared"),
    (&["shared", "slave"], "shared"),
    (&["rshared", "rslave"], "shared"),
];

/// All of `cases` in one container, each on a mount point of its own.
fn tmpfs(cases: &[(&[&str], &str)]) -> Value {
    let bundle = cases.iter().enumerate().fold(Bundle::probe(&["report"]), |bundle, (index, (options, _))| {
        bundle.mount("tmpfs", "tmpfs", &format!("/mnt/{index}"), options)
    });
    run(bundle)["report"].clone()
}

#[test]
fn each_option_that_sets() {
    if skip_on(&["runc", "crun"], "some are missing") {
        return;
    }
    let report = tmpfs(SETS);
    for (index, (options, word)) in SETS.iter().enumerate() {
        let mount = mount_at(&report, &format!("/mnt/{index}"));
        assert!(shows(mount, word), "{options:?}: {mount}");
    }
}

#[test]
fn each_option_that_clears() {
    if skip_on(&["runc", "crun"], "some are missing") {
        return;
    }
    let report = tmpfs(CLEARS);
    for (index, (options, word)) in CLEARS.iter().enumerate() {
        let mount = mount_at(&report, &format!("/mnt/{index}"));
        assert!(!shows(mount, word), "{options:?}: {mount}");
    }
}

#[test]
fn bind_without_a_type() {
    let bundle = Bundle::probe(&["read:/mnt/file"]);
    let source = bundle.host_dir("source");
    fs::write(source.join("file"), "words").unwrap();
    let out = run(bundle.mount("none", source.to_str().unwrap(), "/mnt", &["bind"]));
    assert_eq!(out["read:/mnt/file"], "words");
}

#[test]
fn a_remount_changes_what_is_there() {
    let bundle = Bundle::probe(&["report"]).mount("tmpfs", "tmpfs", "/mnt", &["nosuid"]);
    let out = run(bundle.mount("tmpfs", "tmpfs", "/mnt", &["remount", "nosuid", "noexec"]));
    let mounts = out["report"]["mounts"].as_array().unwrap();
    assert_eq!(mounts.iter().filter(|mount| mount["point"] == "/mnt").count(), 1);
    assert!(shows(mount_at(&out["report"], "/mnt"), "noexec"));
}

#[test]
fn links_are_followed_copied_or_meant() {
    if skip_on(&["runc"], "crun's options") {
        return;
    }
    // A link as source: what it leads to, or a link of the same target.
    let bundle = Bundle::probe(&["stat:/followed", "stat:/copied"]);
    let source = bundle.host_dir("source");
    fs::write(source.join("file"), "words").unwrap();
    symlink("file", source.join("link")).unwrap();
    let link = source.join("link");
    let link = link.to_str().unwrap();
    let out = run(bundle.mount("bind", link, "/followed", &["bind"]).mount(
        "bind",
        link,
        "/copied",
        &["bind", "copy-symlink"],
    ));
    assert_eq!(out["stat:/followed"]["size"], 5, "{out}");
    assert_eq!(out["stat:/copied"]["link"], "file", "{out}");
}

/// A link is copied as it is, so there is nothing to follow or not.
#[test]
fn options_that_contradict_each_other_are_refused() {
    if skip_on(&["runc"], "crun's options") {
        return;
    }
    for other in ["src-nofollow", "dest-nofollow"] {
        let bundle =
            Bundle::probe(&["report"]).mount("bind", "/etc/passwd", "/copied", &["bind", "copy-symlink", other]);
        assert!(bundle.container().run().fails().contains("copy-symlink"));
    }
}

/// Ranges in the option itself, as crun has them.
#[test]
fn an_id_mapping_in_the_option() {
    if skip_on(&["runc", "crun"], "came later, or in another form") {
        return;
    }
    for option in ["idmap", "ridmap"] {
        let bundle = Bundle::probe(&["stat:/mnt/file"]);
        let source = bundle.host_dir("source");
        fs::write(source.join("file"), "").unwrap();
        let option = format!("{option}=uids=0-5000-10;gids=0-5000-10");
        let entry = json!({ "type": "bind", "source": source, "destination": "/mnt", "options": ["bind", option] });
        assert_eq!(run(bundle.push("/mounts", entry))["stat:/mnt/file"]["uid"], 5000);
    }
}

#[test]
fn a_destination_that_is_a_link_is_not_followed_where_that_is_asked_for() {
    if skip_on(&["runc"], "crun's option") {
        return;
    }
    for (options, followed) in [(&["bind"][..], true), (&["bind", "dest-nofollow"], false)] {
        let bundle = Bundle::probe(&["read:/real"]);
        let source = bundle.file("source", "of the host");
        fs::write(bundle.rootfs().join("real"), "of the image").unwrap();
        symlink("/real", bundle.rootfs().join("link")).unwrap();
        let container = bundle.mount("bind", source.to_str().unwrap(), "/link", options).container();
        let output = container.run();
        // Linux refuses some mounts on links; what it leads to must stay as it is.
        if output.code == 0 {
            let wanted = if followed { "of the host" } else { "of the image" };
            assert_eq!(output.json()["read:/real"], wanted, "{options:?}");
        } else {
            assert!(!followed, "{output:?}");
        }
    }
}
