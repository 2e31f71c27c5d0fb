//! Who speaks nonsense to the shim, too much of it, or has no business with it.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use brisk_shim_tests::{Shim, bundle, context, directory, program, until};
use containerd_shim_protos::api;
use containerd_shim_protos::ttrpc::Code;

use crate::lifecycle::code;

fn path(shim: &Shim) -> &str {
    shim.address.strip_prefix("unix://").unwrap()
}

/// A frame: length, stream, type, flags.
fn frame(length: u32, kind: u8, payload: &[u8]) -> Vec<u8> {
    [&length.to_be_bytes()[..], &1u32.to_be_bytes(), &[kind, 0], payload].concat()
}

#[test]
fn nonsense_is_answered_or_ignored_and_hurts_nobody() {
    let dir = directory();
    let bundle = bundle(&dir, "nonsense", &["true"]);
    let shim = Shim::start(&dir, &bundle);
    let mut streams = Vec::new();
    let mut random = 12345u32;
    for round in 0..200 {
        let mut stream = UnixStream::connect(path(&shim)).unwrap();
        let bytes: Vec<u8> = (0..round)
            .map(|_| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (random >> 24) as u8
            })
            .collect();
        let sent = match round % 4 {
            0 => bytes,
            1 => frame(bytes.len() as u32, 1, &bytes),
            2 => frame(u32::MAX, 1, &bytes),
            _ => frame(bytes.len() as u32, 3, &bytes),
        };
        stream.write_all(&sent).unwrap();
        if round % 3 == 0 {
            streams.push(stream);
        }
    }
    assert_eq!(shim.run(&bundle), 0);
    shim.delete("nonsense", "").unwrap();
    let (_, _, _, anonymous) = shim.usage();
    assert!(anonymous < 1024, "{anonymous} kB");
    shim.shutdown();
}

#[test]
fn a_malformed_request_is_an_invalid_argument() {
    let dir = directory();
    let bundle = bundle(&dir, "malformed", &["true"]);
    let shim = Shim::start(&dir, &bundle);
    let mut stream = UnixStream::connect(path(&shim)).unwrap();
    stream.write_all(&frame(3, 1, &[0x0a, 0xff, 0x01])).unwrap();
    let mut header = [0; 10];
    stream.read_exact(&mut header).unwrap();
    assert_eq!(header[8], 2);
    let mut answer = vec![0; u32::from_be_bytes([header[0], header[1], header[2], header[3]]) as usize];
    stream.read_exact(&mut answer).unwrap();
    // Response.status.code is INVALID_ARGUMENT, 3.
    assert_eq!((answer[0], answer[2..4].to_vec()), (0x0a, vec![0x08, 3]));
    let oversized = api::StateRequest { id: "x".repeat(5 << 20), ..Default::default() };
    assert!(shim.client.state(context(), &oversized).is_err());
    assert_eq!(code(shim.state("nobody", "")), Code::NOT_FOUND);
    shim.shutdown();
}

#[test]
fn nobody_else_may_connect() {
    let dir = directory();
    let bundle = bundle(&dir, "private", &["true"]);
    let shim = Shim::start(&dir, &bundle);
    assert_eq!(std::fs::metadata(path(&shim)).unwrap().permissions().mode() & 0o777, 0o600);
    // Even when the mode is taken away, and whoever connects says nothing.
    std::fs::set_permissions(path(&shim), std::fs::Permissions::from_mode(0o666)).unwrap();
    let script =
        "alarm 10; my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or exit 2; exit(sysread($s, my $b, 1) == 0 ? 0 : 1)";
    let status = std::process::Command::new("setpriv")
        .args([
            "--reuid",
            "65534",
            "--regid",
            "65534",
            "--clear-groups",
            "perl",
            "-MIO::Socket::UNIX",
            "-e",
            script,
            path(&shim),
        ])
        .status()
        .unwrap();
    assert!(status.success(), "the connection was not closed");
    assert_eq!(shim.run(&bundle), 0);
    shim.delete("private", "").unwrap();
    shim.shutdown();
}

/// Whoever may run a copy with the set-user-ID bit would be root.
#[test]
fn a_copy_with_the_setuid_bit_is_refused() {
    let dir = directory();
    let copy = dir.join("shim");
    std::fs::copy(program("SHIM"), &copy).unwrap();
    for (mode, refused) in [(0o4755, true), (0o2755, true), (0o755, false)] {
        std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(mode)).unwrap();
        let user = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
        let said = std::process::Command::new("setpriv").args(user).arg(&copy).arg("-v").output().unwrap();
        assert_eq!(!said.status.success(), refused, "mode {mode:o}: {said:?}");
    }
}

#[test]
fn nothing_of_the_shim_is_in_the_container() {
    let dir = directory();
    let list = "cd /proc/self/fd && echo *; cat /proc/1/environ";
    let bundle = bundle(&dir, "clean", &["sh", "-c", list]);
    let stdout = bundle.fifo("out");
    let leak = std::fs::File::open("/etc/hostname").unwrap();
    nix::fcntl::fcntl(&leak, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    let shim = Shim::start(&dir, &bundle);
    drop(leak);
    let out = brisk_shim_tests::reader(&stdout);
    shim.create(&bundle, |request| request.stdout = stdout.clone()).unwrap();
    brisk_shim_tests::only_the_shim_writes(&stdout);
    shim.start_process("clean", "").unwrap();
    shim.wait("clean", "").unwrap();
    let text = String::from_utf8(out.join().unwrap()).unwrap();
    let (fds, environment) = text.split_once('\n').unwrap();
    assert_eq!(fds, "0 1 2 3");
    // The shell's own, and what the bundle says.
    let names: Vec<&str> = environment.split_terminator('\0').map(|pair| pair.split('=').next().unwrap()).collect();
    assert!(names.iter().all(|name| ["SHLVL", "HOME", "OLDPWD", "PATH", "PWD"].contains(name)), "{names:?}");
    shim.delete("clean", "").unwrap();
    shim.shutdown();
}

/// The first mount of a root shows the image, whose links may name any directory of the host.
#[test]
fn a_link_of_the_image_leads_no_mount_of_the_root_out_of_it() {
    let dir = directory();
    let bundle = bundle(&dir, "links", &["cat", "/kept/mark"]);
    let (image, host, evil) = (dir.join("image"), dir.join("host"), dir.join("evil"));
    std::fs::rename(bundle.path.join("rootfs"), &image).unwrap();
    for made in [&host, &evil, &image.join("kept")] {
        std::fs::create_dir(made).unwrap();
    }
    std::fs::write(evil.join("mark"), "evil").unwrap();
    // What these lead to in the image is there, too, but for one.
    std::fs::create_dir_all(image.join(host.strip_prefix("/").unwrap())).unwrap();
    std::os::unix::fs::symlink(&host, image.join("absolute")).unwrap();
    std::os::unix::fs::symlink(dir.parent().unwrap(), image.join("above")).unwrap();
    std::os::unix::fs::symlink(dir.join("none"), image.join("nowhere")).unwrap();
    let bind = |source: &std::path::Path, target: &str, options: &[&str]| api::Mount {
        type_: "bind".into(),
        source: source.to_str().unwrap().into(),
        target: target.into(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        ..Default::default()
    };
    let shim = Shim::start(&dir, &bundle);
    let host_name = host.strip_prefix(dir.parent().unwrap()).unwrap().display();
    let (above, climbing) = (format!("/above/{host_name}"), format!("../../..{}", host.display()));
    for target in ["/absolute", &above, "/nowhere", &climbing] {
        for options in [&["rbind"][..], &["rbind", "ro", "rprivate"]] {
            let mounts = vec![bind(&image, "", &["rbind"]), bind(&evil, target, options)];
            let made = shim.create(&bundle, |request| request.rootfs = mounts);
            let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
            assert!(!host.join("mark").exists(), "{target} led out of the root:\n{table}");
            assert_eq!(made.is_ok(), target != "/nowhere", "{target}: {made:?}");
            if made.is_ok() {
                shim.kill("links", "", libc::SIGKILL).unwrap();
                shim.wait("links", "").unwrap();
                shim.delete("links", "").unwrap();
            }
            let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
            assert!(!table.contains(bundle.path.to_str().unwrap()), "{target}:\n{table}");
        }
    }
    // One that is there is mounted on, and with what was asked for.
    let mounts = vec![bind(&image, "", &["rbind"]), bind(&evil, "/kept", &["rbind", "ro"])];
    shim.create(&bundle, |request| request.rootfs = mounts).unwrap();
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let kept = bundle.path.join("rootfs/kept");
    let line = table.lines().find(|line| line.contains(kept.to_str().unwrap())).expect("no mount is there");
    assert!(line.split(' ').nth(5).unwrap().split(',').any(|option| option == "ro"), "{line}");
    shim.start_process("links", "").unwrap();
    assert_eq!(shim.wait("links", "").unwrap(), 0);
    shim.delete("links", "").unwrap();
    shim.shutdown();
}

#[test]
fn a_shim_without_descriptors_recovers() {
    let dir = directory();
    let bundle = bundle(&dir, "fds", &["sleep", "1000"]);
    let shim = Shim::start(&dir, &bundle);
    let limit = |limit: u64| {
        let set = std::process::Command::new("prlimit")
            .arg(format!("--pid={}", shim.pid))
            .arg(format!("--nofile={limit}:"))
            .status();
        assert!(set.unwrap().success());
    };
    let end = || {
        shim.kill("fds", "", libc::SIGKILL).unwrap();
        shim.wait("fds", "").unwrap();
        shim.delete("fds", "").unwrap();
    };
    // The first event opens the connection to containerd, which stays.
    shim.create(&bundle, |_| ()).unwrap();
    end();
    shim.events.first("/tasks/delete", |_| true);
    let (open, ..) = shim.usage();
    for spare in 0..14 {
        limit((open + spare) as u64);
        if shim.create(&bundle, |_| ()).is_ok() {
            limit(1024);
            end();
        }
    }
    limit(1024);
    brisk_shim_tests::until("descriptors are given back", || (shim.usage().0 <= open).then_some(()));
    let quick = shim.create(&bundle, |_| ());
    quick.unwrap();
    end();
    shim.shutdown();
}

/// A request as it is sent: its fields are texts or messages of less than 128 bytes.
fn request(method: &str, payload: &[u8]) -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8], bytes].concat();
    let message = [field(1, b"containerd.task.v2.Task"), field(2, method.as_bytes()), field(3, payload)].concat();
    frame(message.len() as u32, 1, &message)
}

/// Its requests are read together with its end, before any of them is looked at.
#[test]
fn a_client_that_asks_and_goes_at_once_leaves_nothing() {
    let dir = directory();
    let bundle = bundle(&dir, "gone", &["sleep", "1000"]);
    let shim = Shim::start(&dir, &bundle);
    shim.create(&bundle, |_| ()).unwrap();
    shim.events.first("/tasks/create", |_| true);
    let (open, ..) = shim.usage();
    for waits in 1..8 {
        let mut stream = UnixStream::connect(path(&shim)).unwrap();
        stream.write_all(&request("Wait", b"\x0a\x04gone").repeat(waits)).unwrap();
    }
    shim.state("gone", "").unwrap();
    until("its descriptors are closed", || (shim.usage().0 <= open).then_some(()));
    shim.kill("gone", "", libc::SIGKILL).unwrap();
    shim.wait("gone", "").unwrap();
    shim.delete("gone", "").unwrap();
    shim.shutdown();
}

#[test]
fn what_a_large_request_took_is_given_back() {
    let dir = directory();
    let bundle = bundle(&dir, "large", &["true"]);
    let shim = Shim::start(&dir, &bundle);
    let mut streams = Vec::new();
    let (.., before) = shim.usage();
    for _ in 0..4 {
        let mut stream = UnixStream::connect(path(&shim)).unwrap();
        let large = frame(4 << 20, 1, &vec![0xff; 4 << 20]);
        stream.write_all(&large).unwrap();
        // The next has begun to come, so that something is left to be kept.
        stream.write_all(&large[..5]).unwrap();
        let mut header = [0; 10];
        stream.read_exact(&mut header).unwrap();
        streams.push(stream);
    }
    // What is large in good order is kept until it runs.
    shim.create(&bundle, |_| ()).unwrap();
    let word = "x".repeat(3 << 20);
    for id in ["e1", "e2"] {
        shim.exec("large", id, &["true", &word], |_| ()).unwrap();
        shim.start_process("large", id).unwrap();
        // A word is 128 kB at most (execve(2)).
        assert_eq!(shim.wait("large", id).unwrap(), 255);
        shim.delete("large", id).unwrap();
    }
    shim.kill("large", "", libc::SIGKILL).unwrap();
    shim.wait("large", "").unwrap();
    shim.delete("large", "").unwrap();
    let small = || Some(shim.usage().3).filter(|after| *after <= before + 256);
    let after = until(&format!("it has little more than the {before} kB of anonymous memory"), small);
    println!("{before} kB of anonymous memory before, {after} kB after");
    shim.shutdown();
}

#[test]
fn what_is_no_identifier_or_no_bundle_is_refused() {
    let dir = directory();
    let bundle = bundle(&dir, "names", &["true"]);
    let shim = Shim::start(&dir, &bundle);
    let text = bundle.path.to_str().unwrap();
    let relative = text.strip_prefix('/').unwrap();
    for bad in ["", "/", "relative", relative, "/no/such", &format!("{text}/rootfs"), &format!("{text}/config.json")] {
        assert_eq!(
            code(shim.create(&bundle, |request| request.bundle = bad.into())),
            Code::INVALID_ARGUMENT,
            "{bad:?}"
        );
    }
    for written in ["/options.json", "/runtime", "/log.json", &format!("{text}/rootfs/options.json")] {
        assert!(std::fs::remove_file(written).is_err(), "{written}");
    }
    for bad in ["", "-x", "--help", "..", "a/b", "a..b", "a+b", &"x".repeat(77)] {
        assert_eq!(code(shim.create(&bundle, |request| request.id = bad.into())), Code::INVALID_ARGUMENT, "{bad:?}");
        for (namespace, id) in [("names", bad), (bad, "names")] {
            for action in ["start", "delete"] {
                let mut command = std::process::Command::new(program("SHIM"));
                command.args(["-namespace", namespace, "-address", "/none", "-id", id, "-bundle", text, action]);
                let output = command.current_dir(&bundle.path).stdin(std::process::Stdio::null()).output().unwrap();
                assert!(!output.status.success(), "{action} {namespace:?} {id:?}");
            }
        }
    }
    assert_eq!(shim.run(&bundle), 0);
    shim.delete("names", "").unwrap();
    shim.shutdown();
}

/// An answer's length, from its header, and the rest of it.
fn pass_over_an_answer(stream: &mut UnixStream) -> usize {
    let mut header = [0; 10];
    stream.read_exact(&mut header).unwrap();
    let mut answer = vec![0; u32::from_be_bytes([header[0], header[1], header[2], header[3]]) as usize];
    stream.read_exact(&mut answer).unwrap();
    answer.len()
}

#[test]
fn a_client_that_takes_no_answers_is_read_no_further() {
    let dir = directory();
    let bundle = bundle(&dir, "mute", &["sleep", "1000"]);
    let shim = Shim::start(&dir, &bundle);
    shim.create(&bundle, |_| ()).unwrap();
    shim.start_process("mute", "").unwrap();
    // A short question with a long answer.
    shim.exec("mute", "e", &["true"], |request| request.stdout = "x".repeat(60_000)).unwrap();
    let mut stream = UnixStream::connect(path(&shim)).unwrap();
    let question = request("State", b"\x0a\x04mute\x12\x01e");
    stream.set_write_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
    let (mut asked, mut part) = (0, 0);
    while asked < 20_000 {
        match stream.write(&question[part..]) {
            Ok(count) => part += count,
            Err(_) => break,
        }
        asked += part / question.len();
        part %= question.len();
    }
    let held = shim.usage().3;
    println!("{asked} questions, {held} kB of anonymous memory");
    assert!(held < 32 << 10, "{asked} questions, {held} kB of anonymous memory");
    // Others are answered meanwhile.
    assert_eq!(shim.state("mute", "").unwrap().status.unwrap(), api::Status::RUNNING);
    // And so is this one, when it reads.
    for number in 0..asked {
        assert!(pass_over_an_answer(&mut stream) > 60_000, "{number}");
    }
    drop(stream);
    // One that goes without having read leaves nothing.
    let (open, ..) = shim.usage();
    let mut stream = UnixStream::connect(path(&shim)).unwrap();
    stream.set_write_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
    while stream.write_all(&question.repeat(100)).is_ok() {}
    drop(stream);
    until("its connection is closed", || (shim.usage().0 <= open).then_some(()));
    shim.delete("mute", "e").unwrap();
    shim.kill("mute", "", libc::SIGKILL).unwrap();
    shim.wait("mute", "").unwrap();
    shim.delete("mute", "").unwrap();
    shim.shutdown();
}

/// What they are to run is kept until they are started.
#[test]
fn added_processes_that_are_never_started_are_bounded() {
    let dir = directory();
    let bundle = bundle(&dir, "specs", &["sleep", "1000"]);
    let shim = Shim::start(&dir, &bundle);
    shim.create(&bundle, |_| ()).unwrap();
    shim.start_process("specs", "").unwrap();
    let large = "x".repeat(3 << 20);
    let add = |number: usize| shim.exec("specs", &format!("e{number}"), &["true", &large], |_| ());
    let refused = (0..20).find(|number| add(*number).is_err()).unwrap();
    assert_eq!(refused, 5);
    shim.delete("specs", "e0").unwrap();
    add(refused).unwrap();
    shim.kill("specs", "", libc::SIGKILL).unwrap();
    shim.wait("specs", "").unwrap();
    shim.delete("specs", "").unwrap();
    shim.shutdown();
}

#[test]
fn many_waits_are_bounded_and_end_with_their_client() {
    let dir = directory();
    let bundle = bundle(&dir, "wait", &["sleep", "1000"]);
    let shim = Shim::start(&dir, &bundle);
    shim.create(&bundle, |_| ()).unwrap();
    let waits = request("Wait", b"\x0a\x04wait").repeat(1000);
    let mut stream = UnixStream::connect(path(&shim)).unwrap();
    stream.set_write_timeout(Some(std::time::Duration::from_secs(1))).unwrap();
    let mut asked = 0;
    while asked < 200_000 && stream.write_all(&waits).is_ok() {
        asked += 1000;
    }
    println!("{asked} waits, {} kB of anonymous memory", shim.usage().3);
    assert!((60_000..100_000).contains(&asked), "{asked} waits");
    let began = std::time::Instant::now();
    drop(stream);
    shim.state("wait", "").unwrap();
    println!("answered {:?} after they were given up", began.elapsed());
    shim.kill("wait", "", libc::SIGKILL).unwrap();
    shim.wait("wait", "").unwrap();
    shim.delete("wait", "").unwrap();
    shim.shutdown();
}

/// It says so once, waits for a descriptor of its own, and takes the connections when there is one.
#[test]
fn a_shim_without_a_descriptor_for_a_client_waits_for_one() {
    let dir = directory();
    let bundle = bundle(&dir, "few", &["sleep", "1000"]);
    let log = bundle.fifo("log");
    let mut log = brisk_shim_tests::open_reader(&log);
    let shim = Shim::start(&dir, &bundle);
    let mut held = vec![UnixStream::connect(path(&shim)).unwrap()];
    shim.client.connect(context(), &api::ConnectRequest::new()).unwrap();
    until("it is taken", || (shim.usage().0 >= 9).then_some(()));
    let (open, ..) = shim.usage();
    let limited = std::process::Command::new("prlimit")
        .args([format!("--pid={}", shim.pid), format!("--nofile={open}:{open}")])
        .status();
    assert!(limited.unwrap().success());
    let mut waits = UnixStream::connect(path(&shim)).unwrap();
    waits.write_all(&request("Connect", b"")).unwrap();
    // And works no more than who waits, also when a second is over.
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", shim.pid)).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let before = ticks();
    waits.set_read_timeout(Some(std::time::Duration::from_secs(3))).unwrap();
    assert!(waits.read(&mut [0]).is_err(), "somebody has taken it");
    let worked = ticks() - before;
    assert!(worked < 20, "{worked} hundredths of a second in three");
    // Its own clients are answered meanwhile.
    let end = std::time::Instant::now() + std::time::Duration::from_millis(1500);
    while std::time::Instant::now() < end {
        shim.client.connect(context(), &api::ConnectRequest::new()).unwrap();
    }
    held.clear();
    waits.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    assert!(pass_over_an_answer(&mut waits) > 0);
    let mut text = vec![0; 65536];
    let count = log.read(&mut text).unwrap();
    let text = String::from_utf8_lossy(&text[..count]);
    assert_eq!(text.lines().filter(|line| line.contains("EMFILE")).count(), 1, "{text}");
    shim.shutdown();
}

/// Go's ttrpc sends what is left of the client's time, which is negative where it is over.
#[test]
fn what_is_asked_for_too_late_is_not_begun() {
    let dir = directory();
    let bundle = bundle(&dir, "over", &["sleep", "1000"]);
    let shim = Shim::start(&dir, &bundle);
    shim.create(&bundle, |_| ()).unwrap();
    let kill = request("Kill", b"\x0a\x04over\x18\x09");
    // Field 4 is -1.
    let message = [&kill[10..], &[0x20], &[0xff; 9], &[0x01]].concat();
    let mut stream = UnixStream::connect(path(&shim)).unwrap();
    stream.write_all(&frame(message.len() as u32, 1, &message)).unwrap();
    let mut answer = [0; 14];
    stream.read_exact(&mut answer).unwrap();
    // Response.status.code is DEADLINE_EXCEEDED, 4.
    assert_eq!((answer[10], &answer[12..]), (0x0a, &[0x08, 4][..]));
    assert_eq!(shim.state("over", "").unwrap().status.unwrap(), api::Status::CREATED);
    shim.delete("over", "").unwrap();
    shim.shutdown();
}
