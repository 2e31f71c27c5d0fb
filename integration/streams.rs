//! The caller's standard streams in the foreground: what the program gets of them, and that nothing is lost between.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::{Winsize, openpty};
use serde_json::json;

use crate::common::process::{pidfd_open, temp_file, wait_readable};
use crate::common::{Bundle, Container, brisk_only, host, process, skip_on, time_limit};

fn idle() -> Container {
    let container = Bundle::idle().container();
    container.up();
    container
}

fn exec(container: &Container, flags: &[&str], script: &str) -> Command {
    let mut all = vec!["exec"];
    all.extend(flags);
    all.extend([container.id.as_str(), "/bin/sh", "-c", script]);
    container.command(&all)
}

/// Runs the command on a terminal of this size, with what is not set elsewhere; what it wrote there. The first line asks for
/// nothing before it is typed.
fn on_terminal(mut command: Command, stdin: Option<Stdio>, typed: &[u8]) -> (String, i32) {
    let size = Winsize { ws_row: 33, ws_col: 77, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(&size, None).unwrap();
    let slave = || Stdio::from(pty.slave.try_clone().unwrap());
    command.stdin(stdin.unwrap_or_else(slave)).stdout(slave()).stderr(slave());
    let mut child = command.spawn().unwrap();
    drop(command);
    drop(pty.slave);
    let mut master = File::from(pty.master);
    master.write_all(typed).unwrap();
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        assert!(wait_readable(master.as_fd(), time_limit()), "time limit, so far: {}", String::from_utf8_lossy(&text));
        match master.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(len) => text.extend_from_slice(&buffer[..len]),
        }
    }
    let code = child.wait().unwrap().code().unwrap_or(-1);
    (String::from_utf8_lossy(&text).into_owned(), code)
}

/// Waits for a process with a limit; its exit status.
fn end_of(child: &mut std::process::Child) -> Option<i32> {
    let pidfd = pidfd_open(child.id().cast_signed()).unwrap();
    if !wait_readable(pidfd.as_fd(), time_limit()) {
        child.kill().unwrap();
        child.wait().unwrap();
        panic!("time limit");
    }
    child.wait().unwrap().code()
}

#[test]
fn a_terminal_is_not_handed_over() {
    let container = idle();
    let script = "ls -l /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2; read line; echo got $line";
    let (text, code) = on_terminal(exec(&container, &[], script), None, b"hello\n");
    assert_eq!(code, 0, "{text}");
    assert!(!text.contains("pts"), "{text}");
    assert_eq!(text.matches("pipe:").count(), 3, "{text}");
    assert!(text.contains("got hello"), "{text}");
}

#[test]
fn what_stays_behind_does_not_read_what_is_typed_later() {
    let container = idle();
    let script = "(read line; echo stolen $line > /tmp/stolen) & echo left one";
    let (text, code) = on_terminal(exec(&container, &[], script), None, b"");
    assert_eq!((code, text.contains("left one")), (0, true), "{text}");
    // The one that was left has read the end of its input: nobody types for it any more.
    let stolen = container.bundle.rootfs().join("tmp/stolen");
    host::wait_until(|| std::fs::read_to_string(&stolen).is_ok_and(|text| text.ends_with('\n')));
    assert_eq!(std::fs::read_to_string(stolen).unwrap(), "stolen\n");
}

#[test]
fn a_file_opened_for_reading_is_not_written() {
    let container = idle();
    let path = container.bundle.file("../input", "of the caller\n");
    let mut command = exec(&container, &[], "cat; echo pwned > /proc/self/fd/0 || true");
    command.stdin(File::open(&path).unwrap());
    let output = command.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "of the caller\n");
    assert_eq!(std::fs::read_to_string(path).unwrap(), "of the caller\n");
}

#[test]
fn files_and_devices_keep_their_owner() {
    for verb in ["run", "create"] {
        let container = Bundle::sh("echo to a file").set("/process/user/uid", json!(1000)).container();
        let path = container.bundle.file("../output", "");
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let dir = container.bundle.dir.to_str().unwrap();
        let mut command = container.command(&[verb, "--bundle", dir, &container.id]);
        command
            .stdin(Stdio::null())
            .stdout(File::options().write(true).open(&path).unwrap())
            .stderr(File::open("/dev/full").unwrap());
        assert!(command.status().unwrap().success());
        if verb == "create" {
            container.start_and_wait();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "to a file\n");
        assert_eq!(std::fs::metadata(&path).unwrap().uid(), 0, "{verb}");
        assert_eq!(std::fs::metadata("/dev/full").unwrap().uid(), 0, "{verb}");
    }
}

/// A pipe's number, as `ls -l /proc/self/fd` shows it.
fn number(fd: &impl AsFd) -> String {
    use std::os::fd::AsRawFd;
    let link = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())).unwrap();
    link.to_string_lossy().into_owned()
}

#[test]
fn pipes_sockets_and_null_are_handed_over() {
    if skip_on(&["runc"], "it relays every stream") {
        return;
    }
    let container = idle();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let (_other, socket) = std::os::unix::net::UnixStream::pair().unwrap();
    let expected = [number(&writer), number(&socket)];
    let mut command = exec(&container, &[], "ls -l /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2");
    command.stdin(Stdio::null()).stdout(writer).stderr(OwnedFd::from(socket));
    assert!(command.status().unwrap().success());
    drop(command);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert!(text.contains("/dev/null") && expected.iter().all(|link| text.contains(link)), "{expected:?}: {text}");
}

/// Bytes of every value, more than any pipe holds.
fn bytes() -> Vec<u8> {
    (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn file_of(dir: &Path, content: &[u8]) -> File {
    let mut file = temp_file(dir);
    file.write_all(content).unwrap();
    file.rewind().unwrap();
    file
}

#[test]
fn every_byte_arrives_from_file_to_file() {
    let container = Bundle::new(&["/bin/cat"]).container();
    let (input, mut output) = (file_of(&container.bundle.dir, &bytes()), temp_file(&container.bundle.dir));
    let dir = container.bundle.dir.to_str().unwrap();
    let mut command = container.command(&["run", "--bundle", dir, &container.id]);
    command.stdin(input).stdout(output.try_clone().unwrap());
    assert_eq!(end_of(&mut command.spawn().unwrap()), Some(0));
    output.rewind().unwrap();
    let mut text = Vec::new();
    output.read_to_end(&mut text).unwrap();
    assert!(text == bytes(), "{} bytes of {}", text.len(), bytes().len());
}

#[test]
fn standard_output_and_error_stay_apart() {
    let container = idle();
    let mut command = exec(&container, &[], "echo out; echo err >&2; exit 3");
    let (mut out, mut err) = (temp_file(&container.bundle.dir), temp_file(&container.bundle.dir));
    command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(err.try_clone().unwrap());
    assert_eq!(end_of(&mut command.spawn().unwrap()), Some(3));
    let mut texts = [String::new(), String::new()];
    for (file, text) in [&mut out, &mut err].into_iter().zip(&mut texts) {
        file.rewind().unwrap();
        file.read_to_string(text).unwrap();
    }
    assert_eq!(texts, ["out\n", "err\n"]);
}

#[test]
fn what_the_program_does_not_read_of_a_file_is_left() {
    if skip_on(&["runc"], "it reads ahead") {
        return;
    }
    // `while read line; do brisk exec …; done < list` must not lose the rest of the list.
    let container = idle();
    let mut file = file_of(&container.bundle.dir, b"first\nsecond\nthird\n");
    for line in ["first", "second"] {
        let mut command = exec(&container, &[], "read line; echo $line");
        command.stdin(file.try_clone().unwrap());
        assert_eq!(String::from_utf8_lossy(&command.output().unwrap().stdout).trim(), line);
    }
    let mut rest = String::new();
    file.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "third\n");
}

#[test]
fn a_process_left_behind_does_not_keep_the_command() {
    let container = idle();
    let mut command = exec(&container, &[], "echo done; sleep 1000 &");
    let mut output = temp_file(&container.bundle.dir);
    command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(Stdio::null());
    assert_eq!(end_of(&mut command.spawn().unwrap()), Some(0));
    output.rewind().unwrap();
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert_eq!(text, "done\n");
}

#[test]
fn a_reader_that_goes_away_ends_the_program() {
    let container = idle();
    for flags in [&["-t"][..], &[]] {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut command = exec(&container, flags, "while echo y; do :; done 2>/dev/null");
        command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        drop(command);
        reader.read_exact(&mut [0; 100]).unwrap();
        drop(reader);
        assert_ne!(end_of(&mut child), Some(0), "{flags:?}");
    }
}

#[test]
fn a_full_device_ends_the_program_too() {
    let container = idle();
    let mut command = exec(&container, &[], "while echo y; do :; done 2>/dev/null");
    let full = File::options().write(true).open("/dev/full").unwrap();
    command.stdin(Stdio::null()).stdout(full).stderr(Stdio::null());
    end_of(&mut command.spawn().unwrap());
}

/// What brisk itself says: one that cannot be written to is an error, and one that somebody wants not to wait is waited for.
#[test]
fn what_brisk_prints_is_printed_or_that_is_an_error() {
    if brisk_only("runc and crun have their own ways") {
        return;
    }
    let container = idle();
    let list = || container.command(&["list"]);
    let output = list().stdout(File::open("/dev/null").unwrap()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("write standard output: bad file descriptor"), "{said}");
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let mut filling = 0;
    while let Ok(more) = writer.write(&[b'.'; 4096]) {
        filling += more;
    }
    let mut child = list().stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    // It waits for a reader by then.
    let pid = i32::try_from(child.id()).unwrap();
    host::wait_until(|| process::waits_in(pid, process::POLLS));
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert!(text.len() > filling && text.contains("BUNDLE"), "{text:?}");
    assert_eq!(end_of(&mut child), Some(0));
}

#[test]
fn a_terminal_with_nobody_at_it_has_an_end_of_input() {
    if skip_on(&["runc", "crun"], "an error, or a wait for ever") {
        return;
    }
    for (input, expected) in [("", "end\n"), ("a line\n", "a line\nend\n"), ("half", "half")] {
        let container = Bundle::sh("cat; echo end").set("/process/terminal", json!(true)).container();
        let dir = container.bundle.dir.to_str().unwrap();
        let mut command = container.command(&["run", "--bundle", dir, &container.id]);
        let input = file_of(&container.bundle.dir, input.as_bytes());
        let mut output = temp_file(&container.bundle.dir);
        command.stdin(input).stdout(output.try_clone().unwrap());
        assert_eq!(end_of(&mut command.spawn().unwrap()), Some(0));
        output.rewind().unwrap();
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        // The terminal echoes what it is given, so a whole line is there twice; no line ends in CR LF.
        assert!(text.contains(expected) && text.ends_with("end\n") && !text.contains('\r'), "{text:?}");
    }
}

#[test]
fn lines_end_as_the_program_ends_them() {
    let container = idle();
    for flags in [&["-t"][..], &[]] {
        let mut command = exec(&container, flags, "echo one; echo two");
        let mut output = temp_file(&container.bundle.dir);
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap());
        assert_eq!(end_of(&mut command.spawn().unwrap()), Some(0));
        output.rewind().unwrap();
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        assert_eq!(text, "one\ntwo\n", "{flags:?}");
    }
}

/// A shell that lets a line be edited reads keys, and what was typed before it came to that is lost: it ends all the same.
#[test]
fn a_shell_with_nobody_at_its_terminal_ends() {
    if skip_on(&["runc", "crun"], "an error, and waits") {
        return;
    }
    let container = Bundle::new(&["/bin/busybox", "sh"]).set("/process/terminal", json!(true)).container();
    let bundle = container.bundle.dir.to_str().unwrap().to_owned();
    let mut command = container.command(&["run", "--timeout", "30s", "--bundle", &bundle, &container.id]);
    command.stdin(Stdio::null());
    process::run(command).ok();
    container.assert_nothing_left();
}

#[test]
fn the_terminal_is_found_on_any_stream() {
    if skip_on(&["crun"], "only standard input is looked at") {
        return;
    }
    let container = idle();
    let (text, code) = on_terminal(exec(&container, &["-t"], "busybox stty size"), Some(Stdio::null()), b"");
    assert_eq!(code, 0, "{text}");
    assert_eq!(text, "33 77\r\n");
    let (text, _) = on_terminal(exec(&container, &["-t"], "busybox stty size"), None, b"");
    assert_eq!(text, "33 77\r\n");
}

#[test]
fn a_reader_that_stops_does_not_hold_signals_back() {
    let container = idle();
    for flags in [&["-t"][..], &[]] {
        let (reader, writer) = std::io::pipe().unwrap();
        let script = "trap 'echo told > /tmp/told; exit 7' TERM; while echo y; do :; done";
        let mut command = exec(&container, flags, script);
        command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        drop(command);
        // It writes until nothing goes any more.
        let mut before = 0;
        host::wait_until(|| {
            let there = readable(&reader);
            std::mem::replace(&mut before, there) == there && there >= 4096
        });
        let told = container.bundle.rootfs().join("tmp/told");
        let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        if flags.is_empty() {
            // The shell itself is in write(2), and takes the signal when that is over.
            drop(reader);
            end_of(&mut child);
            continue;
        }
        // A terminal's writer is woken by it; what was written already waits for the reader, or for one more signal.
        host::wait_until(|| {
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
            told.exists() || matches!(child.try_wait(), Ok(Some(_)))
        });
        host::wait_until(|| {
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
            matches!(child.try_wait(), Ok(Some(_)))
        });
        drop(reader);
    }
}

/// How much a pipe holds.
fn readable(pipe: &impl AsFd) -> i32 {
    use std::os::fd::AsRawFd;
    let mut count = 0;
    #[allow(unsafe_code, reason = "nix has no FIONREAD")]
    // SAFETY: FIONREAD fills one int.
    let result = unsafe { libc::ioctl(pipe.as_fd().as_raw_fd(), libc::FIONREAD, &raw mut count) };
    assert_eq!(result, 0);
    count
}

#[test]
fn a_directory_for_input_is_an_end_of_input() {
    let container = idle();
    let mut command = exec(&container, &[], "cat; echo end");
    command.stdin(File::open("/").unwrap());
    let output = command.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "end\n");
}

#[test]
fn an_error_goes_to_the_callers_own_stream() {
    let container = idle();
    let missing = container.call(&["exec", &container.id, "/no/such/program"]);
    assert!(missing.fails().contains("no such file or directory"));
    process::run(exec(&container, &[], "exit 0")).ok();
}
