//! `diff`: the upper layer of an overlay, as lines and as JSON.

use std::path::{Path, PathBuf};

use nix::mount::MsFlags;
use serde_json::{Value, json};

use super::{call, cannot_look};
use crate::common::{Bundle, Container};

/// What a program changes in a root that has `keep`, `gone`, `old/` with `a` and `b`, and `tree/leaf`.
const CHANGES: &str = "echo more >> /keep; rm /gone; rm -r /old; mkdir /old; echo c > /old/c; mkdir -p /new/deep; \
    echo x > \"/new/$(printf 'bad\\033[2J\\nname')\"; ln -s /etc/passwd /new/deep/link; echo y > /tree/other";

/// A container whose shell script changes these.
fn writes(script: &str) -> Container {
    let bundle = Bundle::sh(script).set("/root/readonly", json!(false));
    for dir in ["old", "tree"] {
        std::fs::create_dir(bundle.rootfs().join(dir)).unwrap();
    }
    for (path, text) in [("keep", "k"), ("gone", "g"), ("old/a", "a"), ("old/b", "b"), ("tree/leaf", "l")] {
        bundle.file(path, text);
    }
    bundle.container()
}

/// A directory for layers: overlayfs lies on no overlay, which this machine's root may be.
fn layers_of(container: &mut Container) -> PathBuf {
    let layers = container.bundle.host_dir("layers");
    container.bundle.mount_on_host(Path::new("tmpfs"), &layers, "tmpfs", MsFlags::empty(), "mode=755");
    layers
}

/// One that has done so in an overlay of `--overlay DIR`, and that directory.
fn changed_by(script: &str) -> (Container, PathBuf) {
    let mut container = writes(script);
    let layers = layers_of(&mut container);
    let bundle = container.bundle.dir.to_str().unwrap().to_owned();
    container.call(&["create", "--overlay", layers.to_str().unwrap(), "--bundle", &bundle, &container.id]).ok();
    container.start_and_wait();
    (container, layers)
}

/// The changes but for the directories of the container's own mounts.
fn changes(container: &Container) -> Vec<(String, String)> {
    let list: Value = call(container, &["diff", "--json", &container.id]).ok().json();
    let own = ["/dev", "/proc", "/sys", "/tmp", "/run"];
    let told = list
        .as_array()
        .unwrap()
        .iter()
        .map(|change| (change["change"].as_str().unwrap().to_owned(), change["path"].as_str().unwrap().to_owned()));
    told.filter(|(_, path)| !own.iter().any(|own| Path::new(path).starts_with(own))).collect()
}

const TOLD: [(&str, &str); 11] = [
    ("deleted", "/gone"),
    ("changed", "/keep"),
    ("added", "/new"),
    ("added", "/new/bad\u{1b}[2J\nname"),
    ("added", "/new/deep"),
    ("added", "/new/deep/link"),
    ("changed", "/old"),
    ("deleted", "/old/a"),
    ("deleted", "/old/b"),
    ("added", "/old/c"),
    ("changed", "/tree"),
];

fn is_told(container: &Container) {
    let changes = changes(container);
    let told: Vec<(&str, &str)> = changes.iter().map(|(kind, path)| (kind.as_str(), path.as_str())).collect();
    let wanted: Vec<(&str, &str)> = TOLD.into_iter().chain([("added", "/tree/other")]).collect();
    assert_eq!(told, wanted);
    let lines = call(container, &["diff", &container.id]).ok().stdout();
    assert!(lines.contains("D /gone\n") && lines.contains("C /keep\n"), "{lines}");
    assert!(lines.contains("A /new/bad\\u{1b}[2J\\nname\n"), "{lines:?}");
    let json = call(container, &["diff", "--format", "json", &container.id]).ok().stdout();
    assert!(!json.contains('\u{1b}'), "{json:?}");
}

#[test]
fn what_was_written_is_told() {
    if cannot_look() {
        return;
    }
    let (container, _) = changed_by(CHANGES);
    is_told(&container);
    container.delete().ok();
}

/// It may go deep, and say with an attribute of its own that the root's files are gone; a kernel that has none for a tmpfs
/// (before Linux 6.6) lets nobody say it.
#[test]
fn a_container_hides_nothing_that_it_has_changed() {
    if cannot_look() {
        return;
    }
    let script = format!("echo x > /tree/other; mkdir -p /deep/{}; echo y > /last", "d/".repeat(600));
    let (container, layers) = changed_by(&script);
    let mut python = std::process::Command::new("python3");
    let set = "import os, sys; os.setxattr(sys.argv[1], 'user.overlay.opaque', b'y')";
    python.args(["-c", set]).arg(layers.join("upper/tree"));
    let set = crate::common::process::run(python);
    assert!(set.code == 0 || set.stderr().contains("not supported"), "{set:?}");
    let out = call(&container, &["diff", &container.id]).ok();
    let (lines, warnings) = (out.stdout(), out.stderr());
    assert!(lines.contains("A /last\n") && lines.contains("A /tree/other\n"), "{lines}");
    assert!(!lines.contains("D /tree"), "{lines}");
    assert!(warnings.contains("deeper than 500 levels are not looked into: 1"), "{warnings}");
    container.delete().ok();
}

#[test]
fn an_engines_overlay_is_found_and_others_are_refused() {
    if cannot_look() {
        return;
    }
    let mut container = writes(CHANGES);
    let said = {
        container.create().ok();
        let said = call(&container, &["diff", &container.id]).fails();
        container.delete_force().ok();
        said
    };
    assert!(said.contains("is no overlay with an upper layer"), "{said}");
    let layers = layers_of(&mut container);
    for name in ["upper", "work"] {
        std::fs::create_dir(layers.join(name)).unwrap();
    }
    let root = container.bundle.rootfs();
    let lower = container.bundle.host_dir("lower");
    std::fs::remove_dir(&lower).unwrap();
    std::fs::rename(&root, &lower).unwrap();
    std::fs::create_dir(&root).unwrap();
    let at = layers.display();
    let options = format!("lowerdir={},upperdir={at}/upper,workdir={at}/work", lower.display());
    container.bundle.mount_on_host(Path::new("overlay"), &root, "overlay", MsFlags::empty(), &options);
    container.create().ok();
    container.start_and_wait();
    is_told(&container);
    container.delete().ok();
}
