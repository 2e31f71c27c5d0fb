//! The command line: what engines and people type, and what it is read as.

use std::ffi::OsString;
use std::time::Duration;

use brisk::cli::args::{EventsArgs, Format, Global, Listing, MountsAction, PsArgs, Request, SpecArgs};
use brisk::cli::flags::{FLAGS, On, Value};
use brisk::cli::verbs::{VERBS, Verb};
use brisk::cli::{Parsed, parse, scan, values};
use brisk::container::options::{
    CgroupManager, Checkpoint, Create, Criu, Delete, Exec, Kill, Restore, Rootless, Run, Selection, Start, User,
};
use brisk::container::signal;
use brisk::error::Stage;

fn argv(line: &str) -> Vec<OsString> {
    line.split_ascii_whitespace().map(OsString::from).collect()
}

fn read(line: &str) -> (Global, Request) {
    match parse(&argv(line)) {
        Ok(Parsed::Request(global, request)) => (global, *request),
        other => panic!("{line}: {other:?}"),
    }
}

fn request(line: &str) -> Request {
    read(line).1
}

fn text(line: &str) -> String {
    match parse(&argv(line)) {
        Ok(Parsed::Text(text)) => text,
        other => panic!("{line}: {other:?}"),
    }
}

fn refusal(line: &str) -> String {
    match parse(&argv(line)) {
        Err(error) => {
            assert_eq!(error.stage(), Stage::Args, "{line}");
            error.to_string()
        }
        other => panic!("{line}: {other:?}"),
    }
}

fn created(id: &str) -> Create {
    Create { id: id.into(), bundle: "/b".into(), pid_file: Some("/b/init.pid".into()), ..Create::default() }
}

fn one(id: &str) -> Selection {
    Selection::Id(id.into())
}

#[test]
fn containerd() {
    let globals = "--root /run/r --log /b/log.json --log-format json";
    let (global, request_) = read(&format!(
        "{globals} --systemd-cgroup --debug --rootless=true create --bundle /b --pid-file /b/init.pid --console-socket /tmp/pty1/pty.sock --no-pivot --no-new-keyring ID"
    ));
    assert_eq!(
        global,
        Global {
            root: Some("/run/r".into()),
            manager: CgroupManager::Systemd,
            rootless: Rootless::Yes,
            level: Some("debug".into()),
        }
    );
    assert_eq!(
        request_,
        Request::Create(Create {
            console_socket: Some("/tmp/pty1/pty.sock".into()),
            no_pivot: true,
            no_new_keyring: true,
            ..created("ID")
        })
    );
    let (global, _) = read(&format!("{globals} start ID"));
    assert_eq!((global.manager, global.rootless), (CgroupManager::Files, Rootless::Auto));
    assert_eq!(request(&format!("{globals} start ID")), Request::Start(Start { id: "ID".into(), trace: None }));
    for (line, force) in [("delete ID", false), ("delete --force ID", true)] {
        let delete = Delete { which: one("ID"), force, trace: None };
        assert_eq!(request(&format!("{globals} {line}")), Request::Delete(delete));
    }
    for (line, all) in [("kill ID 9", false), ("kill --all ID 9", true)] {
        let kill = Kill { which: one("ID"), signal: "9".into(), all };
        assert_eq!(request(&format!("{globals} {line}")), Request::Kill(kill));
    }
    assert_eq!(request(&format!("{globals} pause ID")), Request::Pause("ID".into()));
    assert_eq!(request(&format!("{globals} resume ID")), Request::Resume("ID".into()));
    let ps = PsArgs { id: "ID".into(), format: Format::Json, options: vec![] };
    assert_eq!(request(&format!("{globals} ps --format json ID")), Request::Ps(ps));
    let exec = Exec {
        id: "ID".into(),
        process: Some("/tmp/runc-process1".into()),
        console_socket: Some("/tmp/s".into()),
        detach: true,
        pid_file: Some("/b/e.pid".into()),
        ..Exec::default()
    };
    let line = "exec --process /tmp/runc-process1 --console-socket /tmp/s --detach --pid-file /b/e.pid ID";
    assert_eq!(request(&format!("{globals} {line}")), Request::Exec(exec));
    for line in ["update --resources=- ID", "update --resources - ID"] {
        let Request::Update(update) = request(&format!("{globals} {line}")) else { panic!("{line}") };
        assert_eq!((update.ids, update.files), (vec!["ID".to_owned()], vec!["-".into()]));
    }
    assert_eq!(request("features"), Request::Features);
    assert!(text("--version").starts_with("brisk version "));
}

#[test]
fn containerd_checkpoints() {
    let criu = Criu {
        image_path: Some("/i".into()),
        work_path: Some("/w".into()),
        tcp_established: true,
        ext_unix_sk: true,
        shell_job: true,
        file_locks: true,
        manage_cgroups_mode: Some("soft".into()),
        empty_ns: vec!["network".into()],
        ..Criu::default()
    };
    let flags = "--image-path /i --work-path /w --tcp-established --ext-unix-sk --shell-job --file-locks --manage-cgroups-mode soft --empty-ns network";
    let checkpoint = Checkpoint { id: "ID".into(), criu: criu.clone(), leave_running: true, ..Checkpoint::default() };
    assert_eq!(request(&format!("checkpoint {flags} --leave-running ID")), Request::Checkpoint(checkpoint));
    assert!(matches!(request("checkpointt ID"), Request::Checkpoint(_)), "youki's spelling");
    let restore = Restore {
        id: "ID".into(),
        criu,
        bundle: "/b".into(),
        pid_file: Some("/p".into()),
        console_socket: Some("/s".into()),
        detach: true,
        no_subreaper: true,
        no_pivot: true,
        ..Restore::default()
    };
    let line =
        format!("restore {flags} --bundle /b --pid-file /p --console-socket /s --detach --no-pivot -no-subreaper ID");
    assert_eq!(request(&line), Request::Restore(restore));
    assert!(refusal("checkpoint --manage-cgroups-mode hard ID").contains("soft, full, strict or ignore"));
}

#[test]
fn conmon_and_podman() {
    let (global, create) = read(
        "--log-format=json --log /run/oci-log --root=/r --cgroup-manager disabled create --bundle /b --pid-file /b/init.pid --console-socket /tmp/conmon-term.X --preserve-fds 2 --no-pivot --no-new-keyring ID",
    );
    assert_eq!((global.manager, global.root), (CgroupManager::Disabled, Some("/r".into())));
    assert_eq!(
        create,
        Request::Create(Create {
            console_socket: Some("/tmp/conmon-term.X".into()),
            preserve_fds: 2,
            no_pivot: true,
            no_new_keyring: true,
            ..created("ID")
        })
    );
    let restore = request("restore --bundle /b --pid-file /p --detach --image-path /i --work-path /w --tcp-close ID");
    let Request::Restore(restore) = restore else { panic!("{restore:?}") };
    assert!(restore.tcp_close && restore.detach);
    let exec = Exec {
        id: "ID".into(),
        pid_file: Some("/p".into()),
        process: Some("/f".into()),
        detach: true,
        tty: true,
        preserve_fds: 1,
        console_socket: Some("/s".into()),
        ..Exec::default()
    };
    let line = "--log-format=json --log /e/oci-log exec --pid-file /p --process /f --detach --tty --console-socket /s --preserve-fds 1 ID";
    assert_eq!(request(line), Request::Exec(exec));
    let Request::Update(update) = request("update --resources=/var/tmp/podman1 ID") else { panic!() };
    assert_eq!(update.files, vec![std::path::PathBuf::from("/var/tmp/podman1")]);
    let line = "checkpoint --image-path /i --work-path /w --pre-dump --parent-path ../p ID";
    let Request::Checkpoint(checkpoint) = request(line) else { panic!() };
    assert_eq!((checkpoint.pre_dump, checkpoint.parent_path), (true, Some("../p".into())));
    assert!(text("checkpoint --help").contains("--tcp-established"), "podman probes this way");
}

#[test]
fn buildah_and_buildkit() {
    assert_eq!(
        request("--systemd-cgroup create --bundle /b --pid-file /b/init.pid --console-socket /s buildah-buildah1"),
        Request::Create(Create { console_socket: Some("/s".into()), ..created("buildah-buildah1") })
    );
    assert_eq!(request("state ID"), Request::State("ID".into()));
    assert_eq!(request("kill ID TERM"), Request::Kill(Kill { which: one("ID"), signal: "TERM".into(), all: false }));
    let (_, run) = read("--log /l --log-format json run --bundle /b --no-pivot --keep ID");
    assert_eq!(
        run,
        Request::Run(Run {
            create: Create { pid_file: None, no_pivot: true, ..created("ID") },
            keep: true,
            ..Run::default()
        })
    );
}

#[test]
fn people() {
    assert_eq!(request("list"), Request::List(Listing::Table));
    assert_eq!(request("list -f json"), Request::List(Listing::Json));
    assert_eq!(request("list -q"), Request::List(Listing::Names));
    let seconds = |text: &str| match request(&format!("events {text} ID")) {
        Request::Events(EventsArgs { interval, .. }) => interval,
        other => panic!("{other:?}"),
    };
    assert_eq!(seconds(""), Duration::from_secs(5));
    assert_eq!(seconds("--interval=5s"), Duration::from_secs(5));
    assert_eq!(seconds("--interval 2"), Duration::from_secs(2));
    assert_eq!(seconds("--interval 1m30s"), Duration::from_secs(90));
    assert_eq!(seconds("--interval 1.5h"), Duration::from_secs(5400));
    assert_eq!(seconds("--interval 250ms"), Duration::from_millis(250));
    for bad in ["0s", "-1s", "5x", "s", "1e9h", "9223372037s", "10000000000000000000"] {
        refusal(&format!("events --interval {bad} ID"));
    }
    assert_eq!(
        request("spec -b /b --rootless"),
        Request::Spec(SpecArgs { bundle: Some("/b".into()), file: None, rootless: true })
    );
    let Request::Mounts(mounts) = request("mounts remove ID /m.json") else { panic!() };
    assert_eq!((mounts.action, mounts.id.as_str()), (MountsAction::Remove, "ID"));
    assert!(matches!(request("plan /b --json"), Request::Plan { json: true, .. }));
    assert!(matches!(request("kill -r ^web"), Request::Kill(Kill { which: Selection::Regex(_), .. })));
    assert_eq!(refusal("kill"), "args: missing argument: ID");
    assert_eq!(refusal("state a b"), "args: unexpected argument: \"b\"");
    assert!(refusal("frobnicate").contains("unknown command \"frobnicate\""));
    assert!(refusal("create --nosuch x").contains("unknown flag \"--nosuch\""));
    assert!(refusal("create --bundle").contains("--bundle needs a value"));
}

#[test]
fn update_flags() {
    let Request::Update(update) = request(
        "update --memory 512m --memory-swap -1 --memory-reservation 1.5GiB --cpu-quota -1 --cpu-period 100000 --cpu-share=512 --cpu-burst 5 --cpu-idle 1 --cpuset-cpus 0-1 --pids-limit -1 --blkio-weight 100 a b",
    ) else {
        panic!()
    };
    assert_eq!(update.ids, ["a", "b"]);
    let memory = update.resources.memory.unwrap();
    assert_eq!((memory.limit, memory.swap, memory.reservation), (Some(512 << 20), Some(-1), Some(3 << 29)));
    let cpu = update.resources.cpu.unwrap();
    assert_eq!((cpu.quota, cpu.period, cpu.shares), (Some(-1), Some(100_000), Some(512)));
    assert_eq!((cpu.burst, cpu.idle, cpu.cpus.as_deref()), (Some(5), Some(1), Some("0-1")));
    assert_eq!(update.resources.pids.unwrap().limit, Some(-1));
    assert_eq!(update.resources.block_io.unwrap().weight, Some(100));
    assert!(refusal("update --memory 1x ID").contains("must be a size"));
    assert!(refusal("update --cpu-share -1 ID").contains("not a number in range"));
    assert!(refusal("update -r a -r b ID").contains("once for each"));
    let Request::Update(update) = request("update -r a -r b x y") else { panic!() };
    assert_eq!(update.files.len(), 2);
}

#[test]
fn sizes() {
    for (text, bytes) in [
        ("0", 0),
        ("17", 17),
        ("1k", 1024),
        ("1KB", 1024),
        ("2MiB", 2 << 20),
        ("-1", -1),
        ("1 g", 1 << 30),
        ("0.5k", 512),
        ("3b", 3),
    ] {
        assert_eq!(values::size("memory", text).unwrap(), bytes, "{text}");
    }
    for text in ["", "k", "1kk", "ib", "1i", "-2", "1e3", "9999999p", "0x10"] {
        assert!(values::size("memory", text).is_err(), "{text}");
    }
}

#[test]
fn exec_passes_the_command_on_untouched() {
    let Request::Exec(exec) = request("exec --env A=1 -e B=2 -u 1:2 --cwd / -t ID sh -c --env -- -x") else { panic!() };
    assert_eq!(exec.args, ["sh", "-c", "--env", "--", "-x"]);
    assert_eq!(exec.env, ["A=1", "B=2"]);
    assert!(exec.tty && !exec.detach);
    let Request::Exec(exec) = request("exec -td -g 5 -g 6 -cCAP_KILL --cgroup cpu,memory:a --cgroup b ID ls --help")
    else {
        panic!()
    };
    assert!(exec.tty && exec.detach);
    assert_eq!((exec.additional_gids, exec.caps), (vec![5, 6], vec!["CAP_KILL".to_owned()]));
    assert_eq!(
        (exec.cgroup, exec.args),
        (vec!["cpu,memory:a".to_owned(), "b".to_owned()], vec!["ls".to_owned(), "--help".to_owned()])
    );
    let Request::Exec(exec) = request("exec --tty=/dev/pts/0 ID sh") else { panic!() };
    assert!(exec.tty);
    assert_eq!(refusal("exec ID"), "args: exec needs a command or --process FILE");
    let Request::Ps(ps) = request("ps ID -o pid,args --sort pid") else { panic!() };
    assert_eq!(ps.options, ["-o", "pid,args", "--sort", "pid"]);
}

/// CVE-2026-30892: a user that was not understood became root.
#[test]
fn exec_user_is_read_strictly() {
    for (text, user) in [
        ("1", User { uid: 1, gid: None }),
        ("1:2", User { uid: 1, gid: Some(2) }),
        ("0001", User { uid: 1, gid: None }),
        ("4294967294:0", User { uid: u32::MAX - 1, gid: Some(0) }),
    ] {
        assert_eq!(values::user(text).unwrap(), user, "{text}");
    }
    for text in [
        "",
        ":",
        "1:",
        ":1",
        "app",
        "1app",
        "1:app",
        "-1",
        "+1",
        "4294967295",
        "4294967296",
        "1:4294967296",
        "1:2:3",
        " 1",
        "0x1",
    ] {
        assert!(values::user(text).is_err(), "{text:?}");
    }
    assert!(refusal("exec --user app ID sh").contains("--user \"app\""));
}

#[test]
fn spellings_of_the_peers() {
    let run = |line: &str| match request(line) {
        Request::Run(run) => run,
        other => panic!("{other:?}"),
    };
    assert!(run("run -no-subreaper -bundle=/x ID").no_subreaper, "Go's single dash");
    assert_eq!(run("run -bundle=/x ID").create.bundle, std::path::Path::new("/x"));
    assert!(run("run --detach=true ID").detach);
    assert!(!run("run --detach=false ID").detach);
    assert!(refusal("run --detach=perhaps ID").contains("neither true nor false"));
    assert!(run("run -d -b/x -p /p ID").detach, "attached short value");
    assert!(run("run ID -d").detach, "flags after the name");
    assert_eq!(run("run --bundle /x --bundle /y ID").create.bundle, std::path::Path::new("/y"), "the last one counts");
    assert_eq!(run("run -- -id").create.id, "-id");
    let unset = parse(&["run".into(), "--pid-file".into(), OsString::new(), "ID".into()]);
    let Ok(Parsed::Request(_, unset)) = unset else { panic!("{unset:?}") };
    assert!(matches!(*unset, Request::Run(run) if run.create.pid_file.is_none()));
    let version = text("--version");
    assert_eq!([text("-v"), text("-V")], [version.clone(), version.clone()]);
    let lines: Vec<&str> = version.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(lines, ["brisk", "commit:", "spec:"]);
    let all = text("");
    assert!(all.contains("checkpoint") && !all.contains(" man "));
    for line in ["help", "h", "--help", "-h", "-?", "--usage", "--root /r --help"] {
        assert_eq!(text(line), all, "{line}");
    }
    let create = text("create --help");
    for line in ["help create", "create -h", "create -?", "create --usage", "create --bundle /b --help ID"] {
        assert_eq!(text(line), create, "{line}");
    }
}

#[test]
fn global_values() {
    assert_eq!(read("--systemd-cgroup list").0.manager, CgroupManager::Systemd);
    assert_eq!(read("-s --cgroup-manager=cgroupfs list").0.manager, CgroupManager::Files);
    assert_eq!(read("--rootless auto list").0.rootless, Rootless::Auto);
    assert_eq!(read("--rootless=F list").0.rootless, Rootless::No);
    assert_eq!(read("--criu /usr/sbin/criu list").1, Request::List(Listing::Table));
    refusal("--rootless maybe list");
    refusal("--cgroup-manager x list");
    let (log, format) = scan::log_flags(&argv("--nosuch --log=/l --log-format json create --log x"));
    assert_eq!((log, format), (Some("/l".into()), Some("json".into())));
    assert_eq!(scan::log_flags(&argv("--systemd-log list")).0, Some("journald:brisk".into()));
    assert_eq!(scan::log_flags(&argv("exec --log /x ID")).0, None);
}

#[test]
fn container_names() {
    for id in ["a", "-a", "+", "_", "a.b", "0", "A-b_c+d.e", &"x".repeat(255)] {
        assert!(brisk::state::check_id(id).is_ok(), "{id}");
    }
    for id in ["", ".", "..", ".a", "a/b", "a b", "ä", "a\n", "a:b", "../a", &"x".repeat(256)] {
        assert!(brisk::state::check_id(id).is_err(), "{id:?}");
    }
    assert!(refusal("create ../x").contains("invalid container id \"../x\""));
}

#[test]
fn signals() {
    for (text, number) in [
        ("9", 9),
        ("KILL", 9),
        ("SIGKILL", 9),
        ("sigterm", 15),
        ("0", 0),
        ("64", 64),
        ("IOT", 6),
        ("CLD", 17),
        ("POLL", 29),
        ("RTMIN", 34),
        ("SIGRTMIN+3", 37),
        ("rtmax", 64),
        ("RTMAX-1", 63),
    ] {
        assert_eq!(signal::parse(text).unwrap(), number, "{text}");
    }
    for text in ["", "65", "-9", "SIG", "FOO", "RTMIN+31", "RTMIN-1", "RTMAX+1", "RT", "SIGSIGKILL", "9x"] {
        assert!(signal::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn every_verb_has_a_row_and_parses() {
    for row in VERBS {
        assert_eq!(row.verb.row().name, row.name);
        assert_eq!(Verb::named(row.name), Some(row.verb));
        assert!(text(&format!("{} --help", row.name)).contains(row.about), "{}", row.name);
    }
}

#[test]
fn no_command_has_two_flags_of_one_name() {
    for scope in std::iter::once(None).chain(VERBS.iter().map(|row| Some(row.verb))) {
        let flags: Vec<_> = brisk::cli::flags::of(scope).collect();
        for (at, flag) in flags.iter().enumerate() {
            for other in &flags[at + 1..] {
                assert_ne!(flag.long, other.long, "{scope:?}");
                assert!(flag.short.is_none() || flag.short != other.short, "{scope:?}: -{:?}", flag.short);
            }
        }
    }
}

/// Every flag of the peers, in both forms.
#[test]
fn every_flag_is_taken_in_both_forms() {
    let sample = |flag: &str| match flag {
        "log-format" | "format" => "json",
        "log-level" => "debug",
        "cgroup-manager" => "systemd",
        "rootless" => "true",
        "interval" => "5s",
        "manage-cgroups-mode" => "soft",
        "user" => "1:2",
        "memory" | "memory-swap" | "memory-reservation" | "kernel-memory" | "kernel-memory-tcp" => "1m",
        _ => "1",
    };
    for flag in FLAGS.iter().filter(|flag| flag.long != "version") {
        let takes = matches!(flag.value, Value::One(_) | Value::Many(_));
        let given = |separator: &str| {
            if takes { format!("--{}{separator}{}", flag.long, sample(flag.long)) } else { format!("--{}", flag.long) }
        };
        for flag_text in [given(" "), given("=")] {
            match flag.on {
                On::Global => drop(read(&format!("{flag_text} list"))),
                On::Verbs(verbs) => {
                    for verb in verbs {
                        let rest = match verb {
                            Verb::List | Verb::Spec | Verb::Check => "",
                            Verb::Exec => "ID true",
                            _ => "ID",
                        };
                        read(&format!("{} {flag_text} {rest}", verb.row().name));
                    }
                }
            }
        }
    }
}
