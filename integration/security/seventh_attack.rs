//! What a seventh attack, by somebody who had not read the fixes, has found (docs/SECURITY.md).

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::common::process::{self, Output};
use crate::common::{Bundle, Container, brisk_only, host};

/// A file of the host that nobody may write to, and a CRIU that ends at once.
fn with_criu_that_ends(bundle: Bundle) -> (Container, PathBuf) {
    let container = bundle.container();
    let dir = &container.bundle.dir;
    let programs = container.bundle.host_dir("bin");
    fs::write(programs.join("criu"), "#!/bin/sh\nexit 3\n").unwrap();
    fs::set_permissions(programs.join("criu"), fs::Permissions::from_mode(0o755)).unwrap();
    let victim = dir.join("victim");
    fs::write(&victim, "of the host").unwrap();
    (container, victim)
}

/// Where that one is found, and what its script needs.
fn path_of(container: &Container) -> String {
    format!("{}:{}", container.bundle.dir.join("bin").display(), std::env::var("PATH").unwrap())
}

fn call(container: &Container, images: &Path, args: &[&str]) -> Output {
    let images = images.to_str().unwrap();
    let (verb, rest) = args.split_first().unwrap();
    let mut command: Command = container.command(&[&[verb, "--image-path", images], rest, &[&container.id]].concat());
    command.env("PATH", path_of(container));
    process::run(command)
}

/// CRIU opens what it finds as root and follows links: its log would be any file of the host, and the memory of the container
/// would have any file's content.
#[test]
fn links_beside_images_lead_nowhere() {
    if brisk_only("runc and crun leave it to criu, which follows them") {
        return;
    }
    let (container, victim) = with_criu_that_ends(Bundle::idle());
    let dir = container.bundle.dir.to_str().unwrap().to_owned();
    let restore = |images: &Path| call(&container, images, &["restore", "--detach", "--bundle", &dir]);
    type Trap<'a> = &'a dyn Fn(&Path);
    let link = |at: &Path| symlink(&victim, at).unwrap();
    let traps: [(&str, Trap); 6] = [
        ("restore.log", &link),
        ("stats-restore", &link),
        ("restore.log", &|at| fs::hard_link(&victim, at).unwrap()),
        ("restore.log", &|at| mkfifo(at, Mode::S_IRWXU).unwrap()),
        ("pages-1.img", &link),
        ("earlier/pages-1.img", &link),
    ];
    for (index, (name, trap)) in traps.iter().enumerate() {
        let images = container.bundle.host_dir(&format!("images{index}"));
        fs::write(images.join("descriptors.json"), "[]").unwrap();
        fs::create_dir(images.join("earlier")).unwrap();
        symlink("earlier", images.join("parent")).unwrap();
        // As they are without.
        assert!(restore(&images).fails().contains("criu ended"));
        trap(&images.join(name));
        let said = restore(&images).fails();
        assert!(said.contains(Path::new(name).file_name().unwrap().to_str().unwrap()), "{name}: {said}");
        assert!(!said.contains("criu ended"), "{name}: {said}");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "of the host", "{name}");
    }
    container.assert_nothing_left();
}

/// Into a directory that has been somebody else's before.
#[test]
fn a_checkpoint_is_written_through_no_link() {
    if brisk_only("runc and crun write through them") {
        return;
    }
    let (container, victim) = with_criu_that_ends(Bundle::idle());
    container.up();
    for (index, name) in ["descriptors.json", "brisk-streams.json", "dump.log", "inventory.img"].iter().enumerate() {
        let images = container.bundle.host_dir(&format!("images{index}"));
        symlink(&victim, images.join(name)).unwrap();
        let said = call(&container, &images, &["checkpoint"]).fails();
        assert!(said.contains(name), "{name}: {said}");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "of the host", "{name}");
    }
    // Another name of a file is no link, but what is written is new.
    let images = container.bundle.host_dir("images");
    for name in ["descriptors.json", "brisk-streams.json"] {
        fs::hard_link(&victim, images.join(name)).unwrap();
    }
    assert!(call(&container, &images, &["checkpoint"]).fails().contains("criu ended"));
    assert_eq!(fs::read_to_string(&victim).unwrap(), "of the host");
    assert!(fs::read_to_string(images.join("descriptors.json")).unwrap().starts_with('['));
}

/// A file that the caller opened to be read could be opened to be written, as with `run` and `exec`.
#[test]
fn restore_hands_over_no_file_of_its_caller() {
    if brisk_only("the list of streams is brisk's") {
        return;
    }
    let (container, victim) = with_criu_that_ends(Bundle::idle());
    let images = container.bundle.host_dir("images");
    fs::write(images.join("descriptors.json"), r#"["a", "b", "c"]"#).unwrap();
    fs::write(images.join("brisk-streams.json"), r#"["file[1:1]", "file[1:2]", "file[1:3]"]"#).unwrap();
    // The names of the descriptors that CRIU has for the container.
    let seen = container.bundle.dir.join("seen");
    let script = format!(
        "#!/bin/sh\nfor fd in /proc/$$/fd/*; do case $fd in */[012]) ;; *) readlink $fd ;; esac; done > {}\nexit 3\n",
        seen.display()
    );
    fs::write(container.bundle.dir.join("bin/criu"), script).unwrap();
    let dir = container.bundle.dir.to_str().unwrap();
    let restore = |detach: &[&str]| {
        let args = ["restore", "--bundle", dir, "--image-path", images.to_str().unwrap()];
        let mut command = container.command(&[&args, detach, &[&container.id]].concat());
        command.env("PATH", path_of(&container)).stdin(fs::File::open(&victim).unwrap());
        command.stdout(fs::File::options().append(true).open(&victim).unwrap());
        command.stderr(fs::File::options().append(true).open(&victim).unwrap());
        assert!(!command.status().unwrap().success());
        fs::read_to_string(&seen).unwrap()
    };
    // In the background they are whoever's who makes it; that is how it is known that this test can fail.
    assert_eq!(restore(&["--detach"]).matches("victim").count(), 3);
    let seen = restore(&[]);
    assert!(!seen.contains("victim"), "{seen}");
    assert_eq!(seen.matches("pipe:").count(), 3, "{seen}");
}

/// In a v1 cgroup what is frozen does not die, and a command that waits for its end has the lock. (CRIU here; a file system that the
/// container serves, under `mounts add`, as well.)
#[test]
fn what_is_frozen_keeps_no_delete_by_force() {
    if brisk_only("runc has no lock, crun's is another") {
        return;
    }
    let (container, _) = with_criu_that_ends(Bundle::idle());
    container.up().ok();
    let here = container.bundle.dir.join("here");
    let script = format!(
        "#!/bin/sh\n: > {}\nwhile grep -q '^State:.[^XZ]' /proc/{}/status; do sleep 0.02; done\nexit 3\n",
        here.display(),
        container.pid()
    );
    fs::write(container.bundle.dir.join("bin/criu"), script).unwrap();
    let mut command = container.command(&["checkpoint", &container.id]);
    command.env("PATH", path_of(&container));
    let checkpoint = process::start(command, Stdio::null());
    host::wait_until(|| here.exists());
    let record: serde_json::Value = serde_json::from_slice(&fs::read(container.record_file()).unwrap()).unwrap();
    for dir in record["cgroup"]["dirs"].as_array().unwrap() {
        for (name, word, told) in [("freezer.state", "FROZEN", "FROZEN\n"), ("cgroup.freeze", "1", "1\n")] {
            let file = Path::new(dir["path"].as_str().unwrap()).join(name);
            if file.exists() {
                fs::write(&file, word).unwrap();
                host::wait_until(|| fs::read_to_string(&file).unwrap() == told);
            }
        }
    }
    container.delete_force().ok();
    assert!(checkpoint.wait().fails().contains("criu ended"));
    container.assert_nothing_left();
}
