//! Where the result of a job goes: whole, or not at all.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use nix::mount::MsFlags;
use serde_json::{Value, json};

use super::{ONLY, conforms, hook_that_waits, run, wake_of};
use crate::common::process::wait_readable;
use crate::common::{Bundle, brisk_only, host, process, time_limit};

#[test]
fn the_result_through_a_descriptor() {
    if brisk_only(ONLY) {
        return;
    }
    let container = Bundle::sh("ls /proc/self/fd; exit 4").container();
    container.bundle.write();
    let dir = container.bundle.dir.to_str().unwrap().to_owned();
    let file = container.bundle.dir.join("result.json");
    let with_file = |flags: &[&str]| {
        let run = container.command(&[&["run", "--bundle", &dir][..], flags, &[&container.id]].concat());
        let output = process::run(process::in_shell(&format!("exec \"$@\" 9>{}", file.display()), &run));
        (output, fs::read_to_string(&file).unwrap())
    };
    let (output, text) = with_file(&["--result", "fd:9"]);
    assert_eq!(output.code, 4);
    assert!(!output.stdout().contains('9'), "the program has the descriptor: {output:?}");
    let result: Value = serde_json::from_str(&text).unwrap();
    conforms(&result);
    assert_eq!(result["exitCode"], json!(4));
    let (output, text) = with_file(&["--result", "fd:8"]);
    assert!(output.fails().contains("--result fd:8"));
    assert_eq!(text, "");
    container.assert_nothing_left();
}

#[test]
fn a_result_that_nobody_could_get_is_refused_before_anything_is_made() {
    if brisk_only(ONLY) {
        return;
    }
    let mut bundle = Bundle::sh("echo ran");
    let sealed = bundle.host_dir("sealed");
    bundle.mount_on_host(Path::new("tmpfs"), &sealed, "tmpfs", MsFlags::MS_RDONLY, "");
    let container = bundle.container();
    container.bundle.write();
    for (flags, words) in [
        (&["--result", "/nonexistent/x"][..], "/nonexistent/x"),
        (&["--result", "/tmp"], "is a directory"),
        (&["--result", "/tmp/x/"], "is a directory"),
        (&["--result", sealed.join("x").to_str().unwrap()], "read-only file system"),
        (&["--result", ""], "fd: and a number"),
        (&["--timeout", ""], "a duration such as"),
        (&["--output-limit", ""], "a size such as"),
        (&["--result", "fd:x"], "fd: and a number"),
        (&["--timeout", "soon"], "a duration such as"),
        (&["--output-limit", "-1"], "a size such as"),
    ] {
        let output = container.run_with(flags);
        assert_eq!(output.stdout(), "");
        assert!(output.fails().contains(words), "{flags:?}");
    }
    container.assert_nothing_left();
}

/// What is not asked for is not there: the file of an earlier result is replaced as a whole, and a command that is killed
/// leaves none that is half.
#[test]
fn a_result_is_whole_or_not_there() {
    if brisk_only(ONLY) {
        return;
    }
    let container = Bundle::sh("echo ready; while :; do sleep 1; done").container();
    let file = container.bundle.dir.join("result.json");
    fs::write(&file, "of before").unwrap();
    let running = container.start_run(&["--die-with-parent", "--result", file.to_str().unwrap()]);
    let pid = running.pid();
    running.wait_for_stdout(|text| text.contains("ready"));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    running.wait().exits(137);
    assert_eq!(fs::read_to_string(&file).unwrap(), "of before");
    container.delete_force().ok();
    let (_, result) = run(&Bundle::sh("exit 1").container(), &[]);
    assert_eq!(result["exitCode"], json!(1));
}

/// A brisk in another pid namespace may have the same number, and write to the same directory at the same moment.
#[test]
fn what_another_is_writing_is_not_touched() {
    if brisk_only(ONLY) {
        return;
    }
    let container = Bundle::sh("exit 4").container();
    container.bundle.write();
    let results = container.bundle.host_dir("results");
    // As one does that is process 1 there, as this is here.
    let anothers = results.join(".brisk.1");
    fs::write(&anothers, "half of it").unwrap();
    let file = results.join("result.json");
    let dir = container.bundle.dir.to_str().unwrap();
    let line = ["run", "--bundle", dir, "--result", file.to_str().unwrap(), &container.id];
    let namespace = ["unshare", "--pid", "--fork", "--mount-proc"];
    process::run(process::under(&namespace, &container.command(&line))).exits(4);
    assert_eq!(fs::read_to_string(&anothers).unwrap(), "half of it");
    conforms(&serde_json::from_slice(&fs::read(&file).unwrap()).unwrap());
    assert_eq!(fs::read_dir(&results).unwrap().count(), 2, "something else is left");
    container.assert_nothing_left();
}

/// A device or a fifo stays what it is and gets the result; a link is nobody's to replace; the user's own files stay.
#[test]
fn what_is_there_is_not_replaced_by_a_result() {
    if brisk_only(ONLY) {
        return;
    }
    let container = Bundle::sh("exit 2").container();
    let dir = container.bundle.dir.clone();
    let fifo = dir.join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let refused = container.run_with(&["--result", fifo.to_str().unwrap()]);
    assert!(refused.fails().contains("no such device or address"), "a fifo that nobody reads");
    let reader = fs::File::options().read(true).write(true).open(&fifo).unwrap();
    container.run_with(&["--result", fifo.to_str().unwrap()]).exits(2);
    assert!(wait_readable(reader.as_fd(), time_limit()));
    let mut text = [0; 8192];
    let len = std::io::Read::read(&mut &reader, &mut text).unwrap();
    conforms(&serde_json::from_slice(&text[..len]).unwrap());
    std::os::unix::fs::symlink("elsewhere", dir.join("link")).unwrap();
    assert!(container.run_with(&["--result", dir.join("link").to_str().unwrap()]).fails().contains("it is a link"));
    let said = container.run_with(&["--trace", dir.join("link").to_str().unwrap()]).exits(2).stderr();
    assert!(said.contains("--trace ") && said.contains("it is a link"), "{said}");
    assert_eq!(fs::read_link(dir.join("link")).unwrap(), std::path::Path::new("elsewhere"));
    fs::write(dir.join(".r.json"), "mine").unwrap();
    container.run_with(&["--result", dir.join("r.json").to_str().unwrap()]).exits(2);
    assert_eq!(fs::read_to_string(dir.join(".r.json")).unwrap(), "mine");
    if host::is_root() {
        let null = dir.join("null");
        let mode = nix::sys::stat::Mode::from_bits_truncate(0o666);
        nix::sys::stat::mknod(&null, nix::sys::stat::SFlag::S_IFCHR, mode, nix::sys::stat::makedev(1, 3)).unwrap();
        for flag in ["--result", "--pid-file", "--trace"] {
            container.run_with(&[flag, null.to_str().unwrap()]).exits(2);
            assert!(
                std::os::unix::fs::FileTypeExt::is_char_device(&fs::metadata(&null).unwrap().file_type()),
                "{flag}"
            );
        }
    }
    container.assert_nothing_left();
}

/// The directory is looked up once: whoever moves it during the job moves the result with it.
#[test]
fn the_result_goes_to_the_directory_that_was_named() {
    if brisk_only(ONLY) {
        return;
    }
    let container = Bundle::sh("echo ready; read line < /wake").container();
    let wake = wake_of(&container.bundle);
    let [dir, moved, evil] = ["results", "moved", "evil"].map(|name| container.bundle.dir.join(name));
    fs::create_dir(&dir).unwrap();
    fs::create_dir(&evil).unwrap();
    let running = container.start_run(&["--result", dir.join("r.json").to_str().unwrap()]);
    running.wait_for_stdout(|text| text.contains("ready"));
    fs::rename(&dir, &moved).unwrap();
    std::os::unix::fs::symlink(&evil, &dir).unwrap();
    fs::write(wake, "\n").unwrap();
    running.wait().ok();
    assert!(moved.join("r.json").exists() && !evil.join("r.json").exists());
}

/// The program's status counts for more than a result that cannot be written any more.
#[test]
fn a_result_that_cannot_be_written_is_a_warning() {
    if brisk_only(ONLY) {
        return;
    }
    let container = Bundle::sh("echo ready; read line < /wake; exit 5").container();
    let wake = wake_of(&container.bundle);
    let dir = container.bundle.dir.join("results");
    fs::create_dir(&dir).unwrap();
    let running = container.start_run(&["--result", dir.join("r.json").to_str().unwrap()]);
    running.wait_for_stdout(|text| text.contains("ready"));
    fs::remove_dir(&dir).unwrap();
    fs::write(wake, "\n").unwrap();
    let output = running.wait().exits(5);
    assert!(output.stderr().contains("write the result"), "{output:?}");
    container.assert_nothing_left();
}

/// The program has ended, and brisk is killed before it has told so.
#[test]
fn a_result_that_was_not_told_is_not_there() {
    if brisk_only(ONLY) {
        return;
    }
    let (bundle, wake) = hook_that_waits(Bundle::sh("exit 3"), "poststop");
    let container = bundle.container();
    let file = container.bundle.dir.join("result.json");
    fs::write(&file, "of before").unwrap();
    let running = container.start_run(&["--result", file.to_str().unwrap()]);
    host::wait_until(|| container.bundle.hook_output().contains("hook"));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(running.pid()), nix::sys::signal::Signal::SIGKILL).unwrap();
    running.wait().exits(137);
    assert_eq!(fs::read_to_string(&file).unwrap(), "of before");
    // The hook goes on where it was not killed with brisk, and `delete` runs it once more.
    let mut words = fs::File::options().read(true).write(true).open(&wake).unwrap();
    std::io::Write::write_all(&mut words, b"\n\n").unwrap();
    container.delete_force().ok();
    host::wait_until(|| container.leftovers().is_empty());
    let names = fs::read_dir(&container.bundle.dir).unwrap().map(|entry| entry.unwrap().file_name());
    let of_ours: Vec<_> = names.filter(|name| name.to_string_lossy().contains("result")).collect();
    assert_eq!(of_ours, ["result.json"]);
}
