//! Standard streams: fifos and their readers, files, programs and terminals.

use std::fs;
use std::io::{Read, Write};
use std::time::Duration;

use brisk_shim_tests::{
    Shim, any, bundle, context, directory, only_the_shim_writes, open_reader, process, reader, script, until,
};
use containerd_shim_protos::api;
use containerd_shim_protos::ttrpc::Code;

use crate::lifecycle::code;

fn finish(shim: Shim, id: &str) {
    shim.delete(id, "").unwrap();
    shim.shutdown();
}

#[test]
fn output_goes_to_fifos_and_input_comes_from_one() {
    let dir = directory();
    let bundle = bundle(&dir, "io", &["sh", "-c", "read line; echo out-$line; echo err-$line >&2; cat"]);
    let (stdin, stdout, stderr) = (bundle.fifo("in"), bundle.fifo("out"), bundle.fifo("err"));
    let shim = Shim::start(&dir, &bundle);
    let (out, err) = (reader(&stdout), reader(&stderr));
    shim.create(&bundle, |request| {
        request.stdin = stdin.clone();
        request.stdout = stdout.clone();
        request.stderr = stderr.clone();
    })
    .unwrap();
    let state = shim.state("io", "").unwrap();
    assert_eq!((&state.stdin, &state.stdout, &state.stderr), (&stdin, &stdout, &stderr));
    only_the_shim_writes(&stdout);
    only_the_shim_writes(&stderr);
    shim.start_process("io", "").unwrap();
    let mut input = fs::OpenOptions::new().write(true).open(&stdin).unwrap();
    input.write_all(b"word\nrest").unwrap();
    drop(input);
    // The client's end is closed, but it has not said that it is done.
    assert_eq!(shim.state("io", "").unwrap().status.unwrap(), api::Status::RUNNING);
    shim.client
        .close_io(context(), &api::CloseIORequest { id: "io".into(), stdin: true, ..Default::default() })
        .unwrap();
    assert_eq!(shim.wait("io", "").unwrap(), 0);
    assert_eq!(out.join().unwrap(), b"out-word\nrest");
    assert_eq!(err.join().unwrap(), b"err-word\n");
    finish(shim, "io");
}

#[test]
fn a_reader_that_comes_late_misses_nothing() {
    let dir = directory();
    let bundle = bundle(&dir, "late", &["echo", "early word"]);
    let stdout = bundle.fifo("out");
    let shim = Shim::start(&dir, &bundle);
    let creating = std::thread::scope(|scope| {
        let create = scope.spawn(|| shim.create(&bundle, |request| request.stdout = stdout.clone()));
        // The runtime has made it, but the answer waits for the reader.
        until("the container is made", || bundle.path.join("init.pid").exists().then_some(()));
        // Long enough for an answer that waits for nothing.
        (0..500).for_each(|_| drop(shim.client.connect(context(), &api::ConnectRequest::new()).unwrap()));
        assert!(!create.is_finished());
        let out = reader(&stdout);
        create.join().unwrap().unwrap();
        out
    });
    only_the_shim_writes(&stdout);
    shim.start_process("late", "").unwrap();
    shim.wait("late", "").unwrap();
    assert_eq!(creating.join().unwrap(), b"early word\n");
    finish(shim, "late");
}

#[test]
fn a_reader_may_wait_for_a_writer() {
    // What containerd's clients do: an open(2) that returns when there is a writer.
    let dir = directory();
    let bundle = bundle(&dir, "blocked", &["echo", "word"]);
    let stdout = bundle.fifo("out");
    let shim = Shim::start(&dir, &bundle);
    let text = std::thread::scope(|scope| {
        let create = scope.spawn(|| shim.create(&bundle, |request| request.stdout = stdout.clone()));
        until("the container is made", || bundle.path.join("init.pid").exists().then_some(()));
        (0..500).for_each(|_| drop(shim.client.connect(context(), &api::ConnectRequest::new()).unwrap()));
        let read = scope.spawn(|| fs::read_to_string(&stdout).unwrap());
        create.join().unwrap().unwrap();
        shim.start_process("blocked", "").unwrap();
        read.join().unwrap()
    });
    assert_eq!(text, "word\n");
    assert_eq!(shim.wait("blocked", "").unwrap(), 0);
    finish(shim, "blocked");
}

#[test]
fn a_container_is_deleted_when_its_output_has_been_read() {
    // A client gives up reading when the container is deleted, however far it has come.
    let dir = directory();
    let bundle = bundle(&dir, "read", &["dd", "if=/dev/zero", "bs=4k", "count=10"]);
    let stdout = bundle.fifo("out");
    let shim = Shim::start(&dir, &bundle);
    let mut out = open_reader(&stdout);
    shim.create(&bundle, |request| request.stdout = stdout.clone()).unwrap();
    only_the_shim_writes(&stdout);
    shim.start_process("read", "").unwrap();
    assert_eq!(shim.wait("read", "").unwrap(), 0);
    std::thread::scope(|scope| {
        let delete = scope.spawn(|| shim.delete("read", "").unwrap());
        let mut half = vec![0; 20 << 10];
        out.read_exact(&mut half).unwrap();
        (0..500).for_each(|_| drop(shim.client.connect(context(), &api::ConnectRequest::new()).unwrap()));
        assert!(!delete.is_finished());
        let mut rest = Vec::new();
        out.read_to_end(&mut rest).unwrap();
        assert_eq!(rest.len(), 20 << 10);
        delete.join().unwrap();
    });
    shim.shutdown();
}

#[test]
fn output_faster_than_its_reader_is_kept() {
    let dir = directory();
    let bundle = bundle(&dir, "big", &["dd", "if=/dev/zero", "bs=64k", "count=256"]);
    let stdout = bundle.fifo("out");
    let shim = Shim::start(&dir, &bundle);
    let mut out = open_reader(&stdout);
    shim.create(&bundle, |request| request.stdout = stdout.clone()).unwrap();
    only_the_shim_writes(&stdout);
    shim.start_process("big", "").unwrap();
    let mut total = 0;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = out.read(&mut buffer).unwrap();
        if count == 0 {
            break;
        }
        total += count;
    }
    assert_eq!(total, 256 << 16);
    assert_eq!(shim.wait("big", "").unwrap(), 0);
    let (_, _, _, anonymous) = shim.usage();
    assert!(anonymous < 1024, "{anonymous} kB");
    finish(shim, "big");
}

#[test]
fn a_reader_may_go_and_another_come() {
    let dir = directory();
    let bundle = bundle(&dir, "gone", &["sh", "-c", "echo one; read x; echo two; read x; echo three"]);
    let (stdin, stdout) = (bundle.fifo("in"), bundle.fifo("out"));
    let shim = Shim::start(&dir, &bundle);
    let mut first = open_reader(&stdout);
    shim.create(&bundle, |request| {
        request.stdin = stdin.clone();
        request.stdout = stdout.clone();
    })
    .unwrap();
    only_the_shim_writes(&stdout);
    shim.start_process("gone", "").unwrap();
    let mut word = [0; 4];
    first.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"one\n");
    drop(first);
    let mut input = fs::OpenOptions::new().write(true).open(&stdin).unwrap();
    // With nobody there to read it, it is neither lost nor an error for whoever writes.
    input.write_all(b"\n\n").unwrap();
    assert_eq!(shim.wait("gone", "").unwrap(), 0);
    finish(shim, "gone");
}

#[test]
fn a_reader_that_never_reads_holds_up_nobody_else() {
    let dir = directory();
    let bundle = bundle(&dir, "stuck", &["sh", "-c", "while :; do echo 0123456789; done"]);
    let stdout = bundle.fifo("out");
    let shim = Shim::start(&dir, &bundle);
    let _never = open_reader(&stdout);
    shim.create(&bundle, |request| request.stdout = stdout.clone()).unwrap();
    shim.start_process("stuck", "").unwrap();
    for number in 0..5 {
        let id = format!("e{number}");
        shim.exec("stuck", &id, &["true"], |_| ()).unwrap();
        shim.start_process("stuck", &id).unwrap();
        assert_eq!(shim.wait("stuck", &id).unwrap(), 0);
        shim.delete("stuck", &id).unwrap();
    }
    shim.kill("stuck", "", libc::SIGKILL).unwrap();
    assert_eq!(shim.wait("stuck", "").unwrap(), 137);
    finish(shim, "stuck");
}

#[test]
fn output_goes_to_a_file() {
    let dir = directory();
    let bundle = bundle(&dir, "file", &["sh", "-c", "echo out; echo err >&2"]);
    let file = dir.join("logs/of/it");
    let shim = Shim::start(&dir, &bundle);
    shim.create(&bundle, |request| {
        request.stdout = format!("file://{}", file.display());
        request.stderr = request.stdout.clone();
    })
    .unwrap();
    shim.start_process("file", "").unwrap();
    shim.wait("file", "").unwrap();
    shim.delete("file", "").unwrap();
    let text = fs::read_to_string(&file).unwrap();
    assert!(text == "out\nerr\n" || text == "err\nout\n", "{text}");
    shim.shutdown();
}

#[test]
fn output_goes_to_a_program() {
    let dir = directory();
    let bundle = bundle(&dir, "logger", &["sh", "-c", "echo out; echo err >&2"]);
    let (program, log) = (dir.join("log-program"), dir.join("log file"));
    script(
        &program,
        "#!/bin/sh\nexec 5>&-\n{ echo \"$CONTAINER_ID $CONTAINER_NAMESPACE $# $1\"; cat <&3; cat <&4; env | grep -c LEAK; } >\"$2\"\n",
    );
    let shim = Shim::start(&dir, &bundle);
    let uri = format!("binary://{}?to={}", program.display(), log.display().to_string().replace(' ', "+"));
    shim.create(&bundle, |request| {
        request.stdout = uri.clone();
        request.stderr = uri.clone();
    })
    .unwrap();
    shim.start_process("logger", "").unwrap();
    assert_eq!(shim.wait("logger", "").unwrap(), 0);
    shim.delete("logger", "").unwrap();
    assert_eq!(fs::read_to_string(&log).unwrap(), "logger brisk-shim-tests 2 to\nout\nerr\n0\n");
    shim.shutdown();
}

#[test]
fn a_program_that_is_not_there_is_an_error() {
    let dir = directory();
    let bundle = bundle(&dir, "none", &["true"]);
    let shim = Shim::start(&dir, &bundle);
    let failed = shim.create(&bundle, |request| request.stdout = "binary:///no/such/logger".into());
    assert!(failed.unwrap_err().to_string().contains("logging binary"));
    let failed = shim.create(&bundle, |request| request.stdout = "nonsense://x".into());
    assert!(failed.unwrap_err().to_string().contains("unknown STDIO scheme nonsense"));
    shim.shutdown();
}

#[test]
fn a_terminal_has_its_size_and_its_end() {
    let dir = directory();
    let bundle = bundle(&dir, "tty", &["sh", "-c", "read x; stty size; tty"])
        .with(|config| config["process"]["terminal"] = true.into());
    let (stdin, stdout) = (bundle.fifo("in"), bundle.fifo("out"));
    let shim = Shim::start(&dir, &bundle);
    let out = reader(&stdout);
    shim.create(&bundle, |request| {
        request.stdin = stdin.clone();
        request.stdout = stdout.clone();
        request.terminal = true;
    })
    .unwrap();
    only_the_shim_writes(&stdout);
    let size = api::ResizePtyRequest { id: "tty".into(), width: 123, height: 45, ..Default::default() };
    shim.client.resize_pty(context(), &size).unwrap();
    shim.start_process("tty", "").unwrap();
    fs::OpenOptions::new().write(true).open(&stdin).unwrap().write_all(b"go\n").unwrap();
    assert_eq!(shim.wait("tty", "").unwrap(), 0);
    let text = String::from_utf8(out.join().unwrap()).unwrap();
    assert_eq!(text, "go\r\n45 123\r\n/dev/pts/0\r\n");
    let left: Vec<_> = fs::read_dir("/run/containerd/s")
        .unwrap()
        .filter(|entry| {
            entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(&format!("console-{}-", shim.pid))
        })
        .collect();
    assert!(left.is_empty(), "{left:?}");
    finish(shim, "tty");
}

#[test]
fn an_added_process_has_a_terminal_when_the_request_says_so() {
    let dir = directory();
    let bundle = bundle(&dir, "etty", &["sleep", "1000"]);
    let stdout = bundle.fifo("out");
    let shim = Shim::start(&dir, &bundle);
    shim.create(&bundle, |_| ()).unwrap();
    shim.start_process("etty", "").unwrap();
    let out = reader(&stdout);
    shim.exec("etty", "e", &["tty"], |request| {
        request.stdout = stdout.clone();
        request.terminal = true;
        let mut spec = process(&["tty"]);
        spec["terminal"] = false.into();
        request.spec = Some(any("x", spec.to_string().into_bytes())).into();
    })
    .unwrap();
    shim.start_process("etty", "e").unwrap();
    only_the_shim_writes(&stdout);
    assert_eq!(shim.wait("etty", "e").unwrap(), 0);
    shim.delete("etty", "e").unwrap();
    assert_eq!(out.join().unwrap(), b"/dev/pts/0\r\n");
    shim.kill("etty", "", libc::SIGKILL).unwrap();
    shim.wait("etty", "").unwrap();
    finish(shim, "etty");
}

#[test]
fn a_full_disk_stops_no_container() {
    let dir = directory();
    let small = dir.join("small");
    fs::create_dir(&small).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "small"])
        .arg(&small)
        .status()
        .unwrap();
    assert!(mounted.success());
    let bundle = bundle(&dir, "full", &["dd", "if=/dev/zero", "bs=64k", "count=64"]);
    let shim = Shim::start(&dir, &bundle);
    shim.create(&bundle, |request| request.stdout = format!("file://{}/log", small.display())).unwrap();
    shim.start_process("full", "").unwrap();
    assert_eq!(shim.wait("full", "").unwrap(), 0);
    let began = std::time::Instant::now();
    shim.delete("full", "").unwrap();
    assert!(began.elapsed() < Duration::from_secs(8));
    shim.shutdown();
    assert!(std::process::Command::new("umount").arg(&small).status().unwrap().success());
}

/// Neither a fifo that nobody opens nor a logger that never says that it is there.
#[test]
fn a_start_that_waits_for_its_streams_holds_up_no_other() {
    let dir = directory();
    let bundle = bundle(&dir, "held", &["sleep", "1000"]);
    let logger = dir.join("logger");
    script(&logger, "#!/bin/sh\nexec sleep 1000\n");
    let shim = Shim::start(&dir, &bundle);
    for (round, stdout) in [bundle.fifo("out"), format!("binary://{}", logger.display())].iter().enumerate() {
        shim.create(&bundle, |_| ()).unwrap();
        shim.start_process("held", "").unwrap();
        let (.., children, _) = shim.usage();
        shim.exec("held", "slow", &["sleep", "1000"], |request| request.stdout = stdout.clone()).unwrap();
        let began = std::time::Instant::now();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| shim.start_process("held", "slow"));
            let pid_file = bundle.path.join("slow.pid");
            until("the start waits", || (pid_file.exists() || round == 1 && shim.usage().2 > children).then_some(()));
            shim.exec("held", "quick", &["true"], |_| ()).unwrap();
            shim.start_process("held", "quick").unwrap();
            assert_eq!(shim.wait("held", "quick").unwrap(), 0);
            shim.delete("held", "quick").unwrap();
            shim.kill("held", "", libc::SIGKILL).unwrap();
            assert_eq!(shim.wait("held", "").unwrap(), 137);
            assert_eq!(code(waits.join().unwrap()), Code::FAILED_PRECONDITION);
        });
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        shim.delete("held", "slow").unwrap();
        shim.delete("held", "").unwrap();
        until("no logger is left", || (shim.usage().2 == 0).then_some(()));
    }
    shim.shutdown();
}

#[test]
fn a_fifo_in_the_place_of_a_file_stops_nobody() {
    let dir = directory();
    let bundle = bundle(&dir, "nofile", &["true"]);
    let fifo = bundle.fifo("out");
    let shim = Shim::start(&dir, &bundle);
    let failed = shim.create(&bundle, |request| request.stdout = format!("file://{fifo}"));
    assert!(failed.unwrap_err().to_string().contains(&fifo));
    assert_eq!(shim.run(&bundle), 0);
    finish(shim, "nofile");
}

/// What fits into a fifo stays there while its reader has it open, whenever he comes to read it.
#[test]
fn a_deletion_does_not_wait_long_for_what_a_fifo_holds() {
    let dir = directory();
    let bundle = bundle(&dir, "unread", &["sleep", "1000"]);
    let shim = Shim::start(&dir, &bundle);
    shim.create(&bundle, |_| ()).unwrap();
    shim.start_process("unread", "").unwrap();
    // In hundredths of a second.
    let time = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", shim.pid)).unwrap();
        let words: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        words[11].parse::<u64>().unwrap() + words[12].parse::<u64>().unwrap()
    };
    // One page, some, and as many as fill what has room for as many.
    for pages in [1, 3, 4] {
        let (stdout, exec) = (bundle.fifo(&format!("out{pages}")), format!("e{pages}"));
        let mut out = open_reader(&stdout);
        let args = ["dd", "if=/dev/zero", "bs=4k", &format!("count={pages}")];
        shim.exec("unread", &exec, &args, |request| request.stdout = stdout.clone()).unwrap();
        shim.start_process("unread", &exec).unwrap();
        only_the_shim_writes(&stdout);
        shim.wait("unread", &exec).unwrap();
        let (began, before) = (std::time::Instant::now(), time());
        shim.delete("unread", &exec).unwrap();
        assert!(began.elapsed() < Duration::from_secs(7), "{pages}: {:?}", began.elapsed());
        assert!(time() < before + 50, "{pages}: it looks again and again");
        let mut text = Vec::new();
        out.read_to_end(&mut text).unwrap();
        assert_eq!(text.len(), pages * 4096);
    }
    shim.kill("unread", "", libc::SIGKILL).unwrap();
    shim.wait("unread", "").unwrap();
    finish(shim, "unread");
}

/// As containerd's own shim, which waits for 2 s.
#[test]
fn a_deletion_does_not_wait_long_for_who_was_left_with_the_output() {
    let dir = directory();
    let bundle = bundle(&dir, "daemon", &["sleep", "1000"]);
    let shim = Shim::start(&dir, &bundle);
    shim.create(&bundle, |_| ()).unwrap();
    shim.start_process("daemon", "").unwrap();
    let stdout = bundle.fifo("out");
    let mut out = open_reader(&stdout);
    shim.exec("daemon", "exec", &["sh", "-c", "echo said; sleep 1000 &"], |request| request.stdout = stdout.clone())
        .unwrap();
    shim.start_process("daemon", "exec").unwrap();
    only_the_shim_writes(&stdout);
    shim.wait("daemon", "exec").unwrap();
    let began = std::time::Instant::now();
    shim.delete("daemon", "exec").unwrap();
    assert!(began.elapsed() < Duration::from_secs(7), "{:?}", began.elapsed());
    shim.kill("daemon", "", libc::SIGKILL).unwrap();
    shim.wait("daemon", "").unwrap();
    finish(shim, "daemon");
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    assert_eq!(text, "said\n");
}

#[test]
fn a_process_that_has_ended_keeps_no_descriptor() {
    let dir = directory();
    let bundle = bundle(&dir, "ends", &["sleep", "1000"]);
    let shim = Shim::start(&dir, &bundle);
    shim.create(&bundle, |_| ()).unwrap();
    shim.start_process("ends", "").unwrap();
    shim.events.first("/tasks/start", |_| true);
    let (open, ..) = shim.usage();
    for (name, terminal) in [("pipes", false), ("terminal", true)] {
        let (stdin, stdout) = (bundle.fifo(&format!("{name}-in")), bundle.fifo(&format!("{name}-out")));
        let out = reader(&stdout);
        shim.exec("ends", name, &["echo", "word"], |request| {
            request.stdin = stdin.clone();
            request.stdout = stdout.clone();
            request.terminal = terminal;
        })
        .unwrap();
        shim.start_process("ends", name).unwrap();
        only_the_shim_writes(&stdout);
        assert_eq!(shim.wait("ends", name).unwrap(), 0);
        assert_eq!(String::from_utf8(out.join().unwrap()).unwrap().trim_end(), "word");
        until(&format!("its descriptors are closed ({name})"), || (shim.usage().0 <= open).then_some(()));
    }
    for name in ["pipes", "terminal"] {
        shim.delete("ends", name).unwrap();
    }
    shim.kill("ends", "", libc::SIGKILL).unwrap();
    shim.wait("ends", "").unwrap();
    finish(shim, "ends");
}

/// Both wait for the same reader.
#[test]
fn two_streams_with_one_target_are_both_kept() {
    let dir = directory();
    let fill = "dd if=/dev/zero bs=64k count=32";
    let bundle = bundle(&dir, "both", &["sh", "-c", &format!("{fill} 2>/dev/null & {fill} >&2 2>/dev/null; wait")]);
    let stdout = bundle.fifo("out");
    let shim = Shim::start(&dir, &bundle);
    let mut out = open_reader(&stdout);
    shim.create(&bundle, |request| {
        request.stdout = stdout.clone();
        request.stderr = stdout.clone();
    })
    .unwrap();
    only_the_shim_writes(&stdout);
    shim.start_process("both", "").unwrap();
    let reads = std::thread::spawn(move || {
        let (mut total, mut buffer) = (0, vec![0; 4096]);
        loop {
            match out.read(&mut buffer).unwrap() {
                0 => return total,
                count => total += count,
            }
        }
    });
    assert_eq!(shim.wait("both", "").unwrap(), 0);
    finish(shim, "both");
    assert_eq!(reads.join().unwrap(), 2 * (32 << 16));
}
