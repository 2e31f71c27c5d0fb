//! An overlay over the root: where what is written goes, and who has a say in it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use serde_json::{Value, json};

use crate::common::process::Output;
use crate::common::{Bundle, Container, brisk_only, host, lacks, process, skip_here};
use crate::rootless;

const ONLY: &str = "no other runtime lays an overlay over the root";

/// True where there is nothing to test.
pub fn not_here() -> bool {
    let known = fs::read_to_string("/proc/filesystems").unwrap().contains("\toverlay\n");
    if !known {
        skip_here("this kernel has no overlayfs");
    }
    brisk_only(ONLY) || !known
}

/// Every file of a tree with its kind, its owner and its text.
fn tree(path: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        let size = if meta.is_dir() { 0 } else { meta.len() };
        all.push(format!("{} {:o} {} {size}", path.display(), meta.mode(), meta.uid()));
        if meta.is_dir() {
            all.extend(tree(&path));
        }
    }
    all.sort();
    all
}

/// Runs the bundle with these flags; its root is as it was before.
#[track_caller]
fn run(container: &Container, flags: &[&str]) -> Output {
    let before = tree(&container.bundle.rootfs());
    let output = container.run_with(flags);
    assert_eq!(tree(&container.bundle.rootfs()), before, "{output:?}");
    container.assert_nothing_left();
    output
}

const SCRIPT: &str = "cat /note 2>/dev/null; echo one >> /note; echo changed > /etc/group; cat /etc/group; mv /home /moved; \
    mkdir /home; ls /home; rm /etc/passwd; ls /etc; ln /note /linked && cat /linked";

#[test]
fn what_is_written_is_gone_with_the_container() {
    if not_here() {
        return;
    }
    let container = Bundle::sh(SCRIPT).container();
    fs::create_dir(container.bundle.rootfs().join("home/someone")).unwrap();
    for _ in 0..2 {
        assert_eq!(run(&container, &["--overlay", "tmpfs"]).ok().stdout(), "changed\ngroup\none\n");
    }
}

#[test]
fn what_is_written_stays_in_a_directory() {
    if not_here() {
        return;
    }
    let container = Bundle::sh("cat /note 2>/dev/null; echo one >> /note").container();
    fs::set_permissions(container.bundle.rootfs(), fs::Permissions::from_mode(0o1751)).unwrap();
    let kept = container.bundle.host_dir("kept,a:b\\c");
    for expected in ["", "one\n", "one\none\n"] {
        assert_eq!(run(&container, &["--overlay", kept.to_str().unwrap()]).ok().stdout(), expected);
    }
    assert_eq!(fs::read_to_string(kept.join("upper/note")).unwrap(), "one\none\none\n");
    // It looks like the root that it lies over.
    assert_eq!(fs::metadata(kept.join("upper")).unwrap().mode() & 0o7777, 0o1751);
    // As the directory of a shell, too.
    let other = container.bundle.host_dir("other");
    assert_eq!(run(&container, &["--overlay", "other"]).ok().stdout(), "");
    assert!(other.join("upper/note").exists());
}

#[test]
fn there_is_no_more_room_than_was_given() {
    if not_here() {
        return;
    }
    let container = Bundle::sh("cat /bin/busybox > /x || echo full; true > /y && echo empty").container();
    assert_eq!(run(&container, &["--overlay", "tmpfs:256k"]).ok().stdout(), "full\nempty\n");
    assert_eq!(run(&container, &["--overlay", "tmpfs:64m"]).ok().stdout(), "empty\n");
}

#[test]
fn what_is_written_is_the_containers_memory() {
    if not_here() || lacks(&["memory"]) {
        return;
    }
    let limit = json!({ "limit": 16 << 20, "swap": 16 << 20 });
    let container = Bundle::sh("exec cat /dev/zero > /x").resources("memory", limit).container();
    run(&container, &["--overlay", "tmpfs:64m"]).exits(128 + libc::SIGKILL);
}

#[test]
fn several_layers() {
    if not_here() {
        return;
    }
    let container = Bundle::sh("cat /etc/one /etc/two /etc/three; echo new > /etc/three").container();
    fs::write(container.bundle.rootfs().join("etc/one"), "root ").unwrap();
    let layers = ["a:b", "c,d\\", "e f"].map(|name| container.bundle.host_dir(name));
    for (number, layer) in layers.iter().enumerate() {
        fs::create_dir(layer.join("etc")).unwrap();
        let names = if number == 0 { &["one", "two"][..] } else { &["one", "two", "three"] };
        for name in names {
            fs::write(layer.join("etc").join(name), format!("{number} ")).unwrap();
        }
    }
    let [first, second, third] = layers.each_ref().map(|layer| layer.to_str().unwrap());
    let before = tree(&container.bundle.dir.join("a:b"));
    let flags = ["--overlay", "tmpfs", "--lower", first, "--lower", second, "--lower", third];
    assert_eq!(run(&container, &flags).ok().stdout(), "root 0 1 ");
    assert_eq!(tree(&container.bundle.dir.join("a:b")), before);
    let nine = ["--lower", first].repeat(9);
    let why = container.run_with(&[&["--overlay", "tmpfs"], &nine[..]].concat()).fails();
    assert!(why.contains("more than 8"), "{why}");
}

#[test]
fn an_annotation_says_it_too() {
    if not_here() {
        return;
    }
    let bundle = |value: &str| Bundle::sh("echo > /new").set("/annotations/run.brisk.overlay", json!(value));
    run(&bundle("tmpfs:1m").container(), &[]).ok();
    // A directory of the host is not for an image to name.
    let container = bundle("kept").container();
    let kept = container.bundle.host_dir("kept");
    let log = container.bundle.dir.join("log");
    container.call(&["--log", log.to_str().unwrap(), "run", &container.id]).ok();
    assert!(fs::read_to_string(&log).unwrap().contains("run.brisk.overlay is not followed"));
    assert!(container.bundle.rootfs().join("new").exists() && tree(&kept).is_empty());
    fs::remove_file(container.bundle.rootfs().join("new")).unwrap();
    let container = container.trusting();
    run(&container, &[]).ok();
    assert!(kept.join("upper/new").exists());
    // The same from a bundle that `spec` writes.
    let container = Bundle::sh("true").container();
    fs::remove_file(container.bundle.dir.join("config.json")).unwrap();
    let flags = ["--no-terminal", "--read-only=false", "--overlay", "tmpfs", "--lower", "a:b", "--overlay-idmap"];
    let line = [&["spec"], &flags[..], &["--", "/bin/sh", "-c", "echo > /x"]].concat();
    container.call(&line).ok();
    let text = fs::read(container.bundle.dir.join("config.json")).unwrap();
    let config: Value = serde_json::from_slice(&text).unwrap();
    let lower = container.bundle.dir.join("a\\:b");
    let expected = json!({
        "run.brisk.overlay": "tmpfs", "run.brisk.overlay.lower": lower, "run.brisk.overlay.idmap": "1"
    });
    assert_eq!(config["annotations"], expected);
}

/// A container described on the command line, and with a bundle: made by `create` as well.
#[test]
fn created_and_entered() {
    if not_here() {
        return;
    }
    let container = Bundle::idle().container();
    let before = tree(&container.bundle.rootfs());
    container.create_with(&["--overlay", "tmpfs"]).ok();
    container.start().ok();
    assert_eq!(container.exec(&["/bin/sh", "-c", "echo more > /more; cat /more"]).ok().stdout(), "more\n");
    assert_eq!(container.exec(&["/bin/cat", "/more"]).ok().stdout(), "more\n");
    assert_eq!(container.state()["rootfs"].as_str(), container.bundle.rootfs().to_str());
    assert_eq!(container.state()["annotations"]["run.brisk.overlay"], json!("tmpfs"));
    let refused = container.call(&["checkpoint", &container.id]).fails();
    assert!(refused.contains("overlay"), "{refused}");
    container.delete_force().ok();
    container.assert_nothing_left();
    assert_eq!(tree(&container.bundle.rootfs()), before);
    for verb in ["create", "run"] {
        let line =
            [verb, "--rootfs", "rootfs", "--overlay", "tmpfs", &container.id, "--", "/bin/sh", "-c", "echo > /x"];
        container.call(&line).ok();
        if verb == "create" {
            container.start_and_wait();
            container.delete().ok();
        }
        container.assert_nothing_left();
    }
    assert_eq!(tree(&container.bundle.rootfs()), before);
}

/// The root cannot be written, and what a container needs of directories is made in the overlay.
#[test]
fn a_read_only_root() {
    if not_here() {
        return;
    }
    let container = Bundle::sh("true").container();
    fs::remove_dir(container.bundle.rootfs().join("mnt")).unwrap();
    let before = tree(&container.bundle.rootfs());
    let script = "echo > /x || echo no; echo yes > /new/place/x && cat /new/place/x";
    let flags = ["--read-only", "--overlay", "tmpfs", "--tmpfs", "/new/place"];
    let line = [&["run", "--rootfs", "rootfs"], &flags[..], &[&container.id, "--", "/bin/sh", "-c", script]].concat();
    assert_eq!(container.call(&line).ok().stdout(), "no\nyes\n");
    assert_eq!(tree(&container.bundle.rootfs()), before);
}

#[test]
fn a_user_has_overlays_too() {
    if not_here() || rootless::not_here() {
        return;
    }
    let container = rootless::bundle(&["/bin/sh", "-c", SCRIPT]).container();
    let before = tree(&container.bundle.rootfs());
    let kept = container.bundle.host_dir("kept");
    if host::is_root() {
        chown(&kept, Some(rootless::UID), Some(rootless::UID)).unwrap();
    }
    let dir = container.bundle.dir.to_str().unwrap();
    for (upper, first) in [("tmpfs", ""), ("tmpfs:1m", ""), ("kept", ""), ("kept", "one\n")] {
        let line = ["run", "--bundle", dir, "--overlay", upper, &container.id];
        let output = process::run(rootless::as_user(&container, &line));
        // The second time there is a link already.
        let note = if first.is_empty() { "one\n" } else { "" };
        assert_eq!(output.stdout(), format!("{first}changed\ngroup\n{note}"), "{upper}: {output:?}");
        assert_eq!(tree(&container.bundle.rootfs()), before, "{upper}");
        container.assert_nothing_left();
    }
}

#[test]
fn in_a_user_namespace_of_roots() {
    if not_here() || rootless::not_here() || !host::is_root() {
        return;
    }
    // A tree that was given to the user of the namespace.
    let container = Bundle::sh(SCRIPT).userns().container();
    assert_eq!(run(&container, &["--overlay", "tmpfs"]).ok().stdout(), "changed\ngroup\none\n");
    // One that belongs to root, mapped: its files are those of the container's root, which may change them.
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    let script = "id -u; ls -ln /etc/secret; cat /etc/secret; echo changed > /etc/secret; cat /etc/secret /etc/below";
    let bundle = Bundle::sh(script).ns("user").set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
    let container = bundle.container();
    let secret = container.bundle.file("etc/secret", "secret\n");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(&container.bundle.dir, fs::Permissions::from_mode(0o700)).unwrap();
    let lower = container.bundle.host_dir("lower");
    fs::create_dir(lower.join("etc")).unwrap();
    fs::write(lower.join("etc/below"), "below\n").unwrap();
    fs::set_permissions(lower.join("etc/below"), fs::Permissions::from_mode(0o600)).unwrap();
    let kept = container.bundle.host_dir("kept");
    for upper in ["tmpfs", "kept"] {
        let out = run(&container, &["--overlay", upper, "--lower", "lower", "--overlay-idmap"]).ok().stdout();
        assert!(out.starts_with("0\n-rw-------") && out.contains(" 0        0 "), "{upper}: {out}");
        assert!(out.ends_with("secret\nchanged\nbelow\n"), "{upper}: {out}");
    }
    // On the disk it belongs to whom it belonged before.
    let written = kept.join("upper/etc/secret");
    assert_eq!((fs::metadata(&written).unwrap().uid(), fs::read_to_string(written).unwrap()), (0, "changed\n".into()));
    // Without the map root's directory is nobody's there.
    let why = container.run_with(&["--overlay", "kept"]).fails();
    assert!(why.contains("must belong to the container's root"), "{why}");
    let why = Bundle::sh("true").container().run_with(&["--overlay", "tmpfs", "--overlay-idmap"]).fails();
    assert!(why.contains("user namespace"), "{why}");
}

/// Others who may write to the directory, or to what is in it, get nothing of the host written or shown.
#[test]
fn a_directory_with_traps() {
    if not_here() || !host::is_root() {
        return;
    }
    let container = Bundle::sh("echo > /written; cat /secret").container();
    let victim = container.bundle.host_dir("victim");
    fs::write(victim.join("secret"), "secret").unwrap();
    let untouched = tree(&victim);
    type Trap<'a> = (&'a str, &'a dyn Fn(&Path));
    let traps: [Trap<'_>; 8] = [
        ("upper is a link", &|dir| symlink(&victim, dir.join("upper")).unwrap()),
        ("work is a link", &|dir| symlink(&victim, dir.join(".brisk-work")).unwrap()),
        ("both are", &|dir| {
            symlink(&victim, dir.join("upper")).unwrap();
            symlink(&victim, dir.join(".brisk-work")).unwrap();
        }),
        ("upper is a file", &|dir| fs::write(dir.join("upper"), "").unwrap()),
        ("work is a file", &|dir| fs::write(dir.join(".brisk-work"), "").unwrap()),
        ("it is another's", &|dir| chown(dir, Some(1000), None).unwrap()),
        ("anybody may write", &|dir| fs::set_permissions(dir, fs::Permissions::from_mode(0o777)).unwrap()),
        ("it is a link", &|dir| {
            fs::remove_dir(dir).unwrap();
            symlink(&victim, dir).unwrap();
        }),
    ];
    for (number, (what, set)) in traps.iter().enumerate() {
        let kept = container.bundle.host_dir(&format!("kept{number}"));
        set(&kept);
        let output = container.run_with(&["--overlay", kept.to_str().unwrap()]);
        let why = output.fails();
        assert!(why.contains("overlay"), "{what}: {why}");
        assert_eq!(tree(&victim), untouched, "{what}");
        container.assert_nothing_left();
    }
}

/// What a container writes to is no layer of another's while it lives, under whatever name; afterwards it is.
#[test]
fn what_another_writes_to_is_no_layer() {
    if not_here() {
        return;
    }
    let writer = Bundle::idle().container();
    let kept = writer.bundle.host_dir("kept");
    fs::create_dir(kept.join("beside")).unwrap();
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o700)).unwrap();
    writer.run_with(&["--detach", "--overlay", kept.to_str().unwrap()]).ok();
    let container = Bundle::sh("true").container();
    let [dir, upper, beside] = ["kept", "kept/upper", "kept/beside"].map(|name| writer.bundle.dir.join(name));
    let upper_of = |layer: &Path| container.run_with(&["--overlay", "tmpfs", "--lower", layer.to_str().unwrap()]);
    for layer in [&dir, &upper] {
        let why = upper_of(layer).fails();
        assert!(why.contains("cannot be a layer") && why.contains(&writer.id), "{why}");
        let root = ["run", "--rootfs", layer.to_str().unwrap(), "--overlay", "tmpfs", &container.id, "--", "true"];
        let why = container.call(&root).fails();
        assert!(why.contains("cannot be a layer"), "{why}");
        container.assert_nothing_left();
    }
    // What lies beside it nobody writes to.
    upper_of(&beside).ok();
    // A container that is to be replaced writes nothing any more.
    let replaced =
        writer.run_with(&["--replace", "--detach", "--overlay", "tmpfs", "--lower", upper.to_str().unwrap()]);
    replaced.ok();
    upper_of(&upper).ok();
    writer.delete_force().ok();
    upper_of(&dir).ok();
    writer.assert_nothing_left();
}

/// What others enter for something else is not closed to them.
#[test]
fn a_directory_that_is_there_for_something_else() {
    if not_here() {
        return;
    }
    let container = Bundle::sh("true").container();
    let kept = container.bundle.host_dir("kept");
    fs::write(kept.join("note"), "").unwrap();
    let set = |mode| fs::set_permissions(&kept, fs::Permissions::from_mode(mode)).unwrap();
    set(0o711);
    let why = container.run_with(&["--overlay", kept.to_str().unwrap()]).fails();
    assert!(why.contains("the directory has other files"), "{why}");
    assert_eq!(fs::metadata(&kept).unwrap().mode() & 0o7777, 0o711);
    assert_eq!(fs::read_dir(&kept).unwrap().count(), 1, "{:?}", tree(&kept));
    set(0o700);
    container.run_with(&["--overlay", kept.to_str().unwrap()]).ok();
    assert!(kept.join("note").exists());
}

/// overlayfs empties its work directory, whatever it is.
#[test]
fn what_was_in_the_directory_stays() {
    if not_here() {
        return;
    }
    let container = Bundle::sh("true").container();
    let kept = container.bundle.host_dir("kept");
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o700)).unwrap();
    fs::create_dir(kept.join("work")).unwrap();
    for dir in ["work/work", "work/index", "work/incompat"] {
        fs::create_dir(kept.join(dir)).unwrap();
        fs::write(kept.join(dir).join("precious"), "").unwrap();
    }
    let before = tree(&kept.join("work"));
    container.run_with(&["--overlay", kept.to_str().unwrap()]).ok();
    assert_eq!(tree(&kept.join("work")), before);
}

#[test]
fn where_it_cannot_be() {
    if not_here() {
        return;
    }
    let container = Bundle::sh("true").container();
    for (flags, why) in [
        (&["--overlay", "tmpfs", "--no-pivot"][..], "--no-pivot"),
        (&["--overlay", "missing"], "no such file"),
        (&["--overlay", "config.json"], "a layer"),
        (&["--overlay", "tmpfs", "--lower", "missing"], "no such file"),
    ] {
        let told = container.run_with(flags).fails();
        assert!(told.contains(why), "{flags:?}: {told}");
        container.assert_nothing_left();
    }
    let without = || Bundle::sh("true").without_ns("mount").unset("/linux/maskedPaths").unset("/linux/readonlyPaths");
    for bundle in [without(), without().set("/mounts", json!([]))] {
        let told = bundle.container().run_with(&["--overlay", "tmpfs"]).fails();
        assert!(told.contains("mount namespace"), "{told}");
    }
}

/// What is read of the layers below is in memory once, whoever reads it: by a hundred containers at the same time, too.
#[test]
fn containers_over_one_tree_share_what_is_read() {
    if not_here() || lacks(&["memory"]) {
        return;
    }
    const SIZE: u64 = 8 << 20;
    let container = Bundle::idle().container();
    fs::write(container.bundle.rootfs().join("big"), vec![7; SIZE as usize]).unwrap();
    let root = container.bundle.rootfs();
    let ids: Vec<String> = (0..100).map(|number| format!("{}-{number}", container.id)).collect();
    let script = "cat /big >/dev/null; echo read; exec /probe pause";
    let cached = ids.iter().map(|id| -> u64 {
        let flags = ["--detach", "--rootfs", root.to_str().unwrap(), "--overlay", "tmpfs", "--memory", "64m"];
        let line = [&["run"], &flags[..], &[id, "--", "/bin/sh", "-c", script]].concat();
        let output = container.call(&line).ok();
        host::wait_until(|| output.stdout().starts_with("read"));
        let pid = container.call(&["state", id]).ok().json()["pid"].as_i64().unwrap();
        let own = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let path = own.lines().find_map(|line| line.split_once(":memory:")).map(|(_, path)| path);
        let path = path.unwrap_or_else(|| host::unified_path(&own));
        let stat = fs::read_to_string(host::cgroup_dir("memory", path).join("memory.stat")).unwrap();
        let field = |name: &str| stat.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        field("total_cache ").or_else(|| field("file ")).unwrap()
    });
    let cached: Vec<u64> = cached.collect();
    for id in &ids {
        container.call(&["delete", "--force", id]).ok();
    }
    assert!(cached[1..].iter().all(|bytes| *bytes < SIZE / 4), "{cached:?}");
    container.assert_nothing_left();
}
