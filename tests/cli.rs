//! The command line: what engines and people type, and what it is read as.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::time::Duration;

use brisk::cli::args::{EventsArgs, GlobalFlags, ListArgs, MountsAction, PlanArgs, PlanFormat, SpecArgs};
use brisk::cli::filter::ListFormat;
use brisk::cli::flags::{self, Flag, FlagValue};
use brisk::cli::log::{self, Level};
use brisk::cli::verbs::{Request, VERBS, Verb};
use brisk::cli::{Parsed, parse, put, scan};
use brisk::container::options::{ExecUser, Kill, Selection};
use brisk::container::outline::{LimitChoice, NetworkChoice, Outline, OverlayChoice, SeccompChoice};
use brisk::container::signal;
use brisk::error::Stage;
use brisk::plan::cgroup::tolerance::Tolerance;
use brisk::plan::systemd::driver::CgroupDriver;
use brisk::spec::overlay::Upper;
use brisk::spec::size;
use brisk::sys::cred::Ids;

use crate::flag_tests::{FLAG_TESTS, scopes};

fn argv(line: &str) -> Vec<OsString> {
    line.split_ascii_whitespace().map(OsString::from).collect()
}

pub(crate) fn read(line: &str) -> (GlobalFlags, Request) {
    match parse(&argv(line)) {
        Ok(Parsed::Request(global, request)) => (global, *request),
        other => panic!("{line}: {other:?}"),
    }
}

pub(crate) fn request(line: &str) -> Request {
    read(line).1
}

pub(crate) fn text(line: &str) -> String {
    match parse(&argv(line)) {
        Ok(Parsed::Text(text)) => text,
        other => panic!("{line}: {other:?}"),
    }
}

pub(crate) fn refusal(line: &str) -> String {
    match parse(&argv(line)) {
        Err(error) => {
            assert_eq!(error.stage(), Stage::Args, "{line}");
            error.to_string()
        }
        other => panic!("{line}: {other:?}"),
    }
}

pub(crate) fn one(id: &str) -> Selection {
    Selection::one(id)
}

#[test]
fn people() {
    assert_eq!(request("list"), Request::List(ListArgs::default()));
    let json = ListArgs { format: ListFormat::Json, ..ListArgs::default() };
    assert_eq!(request("list -f json"), Request::List(json));
    assert_eq!(request("list -q"), Request::List(ListArgs { quiet: true, ..ListArgs::default() }));
    let seconds = |text: &str| match request(&format!("events {text} ID")) {
        Request::Events(EventsArgs { interval, .. }) => interval,
        other => panic!("{other:?}"),
    };
    assert_eq!(seconds(""), Duration::from_secs(5));
    assert_eq!(seconds("--interval=5s"), Duration::from_secs(5));
    assert_eq!(seconds("--interval 2"), Duration::from_secs(2));
    assert_eq!(seconds("--interval 1m30s"), Duration::from_secs(90));
    // Go takes the micro sign and the Greek letter.
    assert_eq!(seconds("--interval 3\u{b5}s"), Duration::from_micros(3));
    assert_eq!(seconds("--interval 3\u{3bc}s"), Duration::from_micros(3));
    assert_eq!(seconds("--interval 1.5h"), Duration::from_secs(5400));
    assert_eq!(seconds("--interval 250ms"), Duration::from_millis(250));
    for bad in ["0s", "-1s", "5x", "s", "1e9h", "9223372037s", "10000000000000000000"] {
        refusal(&format!("events --interval {bad} ID"));
    }
    assert_eq!(
        request("spec -b /b --rootless"),
        Request::Spec(SpecArgs {
            bundle: Some("/b".into()),
            outline: Outline { rootless: true, ..Outline::default() },
            ..SpecArgs::default()
        })
    );
    let Request::Mounts(mounts) = request("mounts remove ID /m.json") else { panic!() };
    assert_eq!((mounts.action, mounts.id.as_str()), (MountsAction::Remove, "ID"));
    assert!(matches!(request("plan /b --json"), Request::Plan(PlanArgs { format: PlanFormat::Json, .. })));
    assert!(matches!(request("kill -r ^web"), Request::Kill(Kill { which: Selection { regex: true, .. }, .. })));
    assert_eq!(refusal("kill"), "args: missing argument: ID");
    assert_eq!(refusal("state a b"), "args: unexpected argument: \"b\"");
    assert!(refusal("frobnicate").contains("unknown command \"frobnicate\""));
    assert!(refusal("create --nosuch x").contains("unknown flag \"--nosuch\""));
    assert!(refusal("create --bundle").contains("flag needs an argument: --bundle DIR"));
}

#[test]
fn a_container_without_a_bundle() {
    let outline = |line: &str| match request(line) {
        Request::Run(args) => args.create.outline,
        Request::Create(args) => args.outline,
        Request::Spec(args) => args.outline,
        other => panic!("{other:?}"),
    };
    let expected = Outline {
        rootfs: Some("r".into()),
        terminal: Some(true),
        readonly: Some(false),
        limits: LimitChoice { memory: Some(64 << 20), pids: Some(20), cpu_quota: Some(150_000) },
        user: Some(Ids { uid: 5, gid: 5 }),
        env: vec!["A=B".into(), "C=D".into()],
        network: Some(NetworkChoice::Of("/n".into())),
        seccomp: Some(SeccompChoice::File("f".into())),
        args: vec!["sh".into(), "-c".into(), "--memory".into(), "--".into()],
        ..Outline::default()
    };
    let flags = "--rootfs r --tty --read-only=false --memory 64M --pids 20 --cpus 1.5 --user 5 --env A=B --env C=D --network ns:/n --seccomp f";
    // Flags are taken after the name as well, as they always were.
    for line in ["run FLAGS ID", "run ID FLAGS", "create FLAGS ID", "spec FLAGS"] {
        assert_eq!(outline(&format!("{} -- sh -c --memory --", line.replace("FLAGS", flags))), expected, "{line}");
    }
    assert_eq!(outline("run --rootfs r -- ID sh -c").args, ["sh", "-c"]);
    // An overlay is for bundles, too.
    let overlay = outline("create -b /b --overlay tmpfs:1m --lower /a --lower b --overlay-idmap ID").overlay;
    let lower = vec!["/a".into(), "b".into()];
    assert_eq!(overlay, OverlayChoice { upper: Some(Upper::Tmpfs(Some(1 << 20))), lower, idmap: true });
    let mounts = outline("spec --mount a:b:/c:ro --mount /x:/y:rw --tmpfs /t:1k --tmpfs /u").mounts;
    let pairs: Vec<_> = mounts.iter().map(|mount| (mount.source.as_deref().unwrap(), &*mount.destination)).collect();
    assert_eq!(pairs, [("a:b", "/c"), ("/x", "/y"), ("tmpfs", "/t"), ("tmpfs", "/u")]);
    for bad in [
        "--memory 0",
        "--memory -1",
        "--memory=",
        "--pids 0",
        "--pids -1",
        "--cpus 0",
        "--cpus 0.001",
        "--cpus 1e3",
        "--cpus inf",
        "--cpus -1",
        "--cpus 1..2",
        "--user app",
        "--user 1:",
        "--mount /a",
        "--mount /a:b",
        "--mount :/b",
        "--mount /a:/b:ro,z",
        "--mount /a:/b:RO",
        "--mount /a:/b:ro:ro",
        "--tmpfs t",
        "--tmpfs /t:x",
        "--tmpfs /t:0",
        "--network bridge",
        "--network ns:",
        "--seccomp=",
        "--overlay=",
        "--overlay tmpfs:x",
    ] {
        assert!(refusal(&format!("run --rootfs r {bad} ID -- sh")).contains("invalid value"), "{bad}");
    }
    for (line, why) in [
        ("create --lower /a ID", "need --overlay"),
        ("spec --overlay-idmap", "need --overlay"),
        ("spec --with /etc", "needs --program"),
        ("spec --rootfs r --program sh", "leave out --rootfs"),
        ("run --memory 64m ID", "need --rootfs"),
        ("run ID -- sh", "need --rootfs"),
        ("create --tty ID", "need --rootfs"),
        ("run --rootfs r ID", "needs a command"),
        ("run --rootfs r -b /b ID -- sh", "without a bundle"),
        ("create --rootfs r -f c.json ID -- sh", "without a bundle"),
        ("run --rootfs r ID sh", "unexpected argument: \"sh\""),
        ("run --rootfs r -- ", "missing argument: ID"),
        ("spec sh", "unexpected argument: \"sh\""),
    ] {
        assert!(refusal(line).contains(why), "{line}: {}", refusal(line));
    }
}

#[test]
fn update_flags() {
    let Request::Update(update) = request(
        "update --memory 512m --memory-swap -1 --memory-reservation 1.5GiB --cpu-quota -1 --cpu-period 100000 --cpu-share=512 --cpu-burst 5 --cpu-idle 1 --cpuset-cpus 0-1 --pids-limit -1 --blkio-weight 100 a b",
    ) else {
        panic!()
    };
    assert_eq!(update.ids, ["a", "b"]);
    let resources = update.resources();
    let memory = resources.memory.unwrap();
    assert_eq!((memory.limit, memory.swap, memory.reservation), (Some(512 << 20), Some(-1), Some(3 << 29)));
    let cpu = resources.cpu.unwrap();
    assert_eq!((cpu.quota, cpu.period, cpu.shares), (Some(-1), Some(100_000), Some(512)));
    assert_eq!((cpu.burst, cpu.idle, cpu.cpus.as_deref()), (Some(5), Some(1), Some("0-1")));
    assert_eq!(resources.pids.unwrap().limit, Some(-1));
    assert_eq!(resources.block_io.unwrap().weight, Some(100));
    assert!(refusal("update --memory 1x ID").contains("must be a size"));
    assert!(refusal("update --cpu-share -1 ID").contains("must be a whole number from 0 to 18446744073709551615"));
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
        ("64Mi", 64 << 20),
        ("-1", -1),
        ("1 g", 1 << 30),
        ("0.5k", 512),
        ("3b", 3),
    ] {
        assert_eq!(size::size(text).unwrap(), bytes, "{text}");
    }
    for text in ["", "k", "1kk", "ib", "1i", "-2", "1e3", "9999999p", "0x10"] {
        assert!(size::size(text).is_none(), "{text}");
    }
}

#[test]
fn exec_passes_the_command_on_untouched() {
    let Request::Exec(exec) = request("exec --env A=1 -e B=2 -u 1:2 --cwd / -t ID sh -c --env -- -x") else { panic!() };
    assert_eq!(exec.program.args, ["sh", "-c", "--env", "--", "-x"]);
    assert_eq!(exec.program.env, ["A=1", "B=2"]);
    assert!(exec.program.tty && !exec.detach);
    let Request::Exec(exec) = request("exec -td -g 5 -g 6 -cCAP_KILL --cgroup cpu,memory:a --cgroup b ID ls --help")
    else {
        panic!()
    };
    assert!(exec.program.tty && exec.detach);
    assert_eq!((exec.program.additional_gids, exec.program.caps), (vec![5, 6], vec!["CAP_KILL".to_owned()]));
    assert_eq!(
        (exec.cgroup, exec.program.args),
        (vec!["cpu,memory:a".to_owned(), "b".to_owned()], vec!["ls".into(), "--help".into()])
    );
    let Request::Exec(exec) = request("exec --tty=/dev/pts/0 ID sh") else { panic!() };
    assert!(exec.program.tty);
    assert_eq!(refusal("exec ID"), "args: exec needs a command or --process FILE");
    let Request::Ps(ps) = request("ps ID -o pid,args --sort pid") else { panic!() };
    assert_eq!(ps.options, ["-o", "pid,args", "--sort", "pid"]);
}

/// CVE-2026-30892: a user that was not understood became root.
#[test]
fn exec_user_is_read_strictly() {
    for (text, user) in [
        ("1", ExecUser { uid: 1, gid: None }),
        ("1:2", ExecUser { uid: 1, gid: Some(2) }),
        ("0001", ExecUser { uid: 1, gid: None }),
        ("4294967294:0", ExecUser { uid: u32::MAX - 1, gid: Some(0) }),
    ] {
        assert_eq!(put::user(text).unwrap(), user, "{text}");
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
        assert!(put::user(text).is_none(), "{text:?}");
    }
    assert!(refusal("exec --user app ID sh").contains("invalid value \"app\" for --user"));
}

#[test]
fn spellings_of_the_peers() {
    let run = |line: &str| match request(line) {
        Request::Run(run) => run,
        other => panic!("{other:?}"),
    };
    assert!(run("run -no-subreaper -bundle=/x ID").no_subreaper, "Go's single dash");
    assert_eq!(run("run -bundle=/x ID").create.bundle, Some("/x".into()));
    assert!(run("run --detach=true ID").detach);
    assert!(!run("run --detach=false ID").detach);
    assert!(
        refusal("run --detach=perhaps ID").contains("invalid value \"perhaps\" for --detach: must be true or false")
    );
    assert!(run("run -d -b/x -p /p ID").detach, "attached short value");
    assert!(run("run ID -d").detach, "flags after the name");
    assert_eq!(run("run --bundle /x --bundle /y ID").create.bundle, Some("/y".into()), "the last one counts");
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
    assert_eq!(read("--systemd-cgroup list").0.cgroups(), CgroupDriver::Systemd);
    assert_eq!(read("-s --cgroup-manager=cgroupfs list").0.cgroups(), CgroupDriver::Files);
    assert_eq!(read("--rootless auto list").0.tolerance, Tolerance::Auto);
    assert_eq!(read("--rootless=F list").0.tolerance, Tolerance::Nothing);
    assert_eq!(read("--criu /usr/sbin/criu list").1, Request::List(ListArgs::default()));
    refusal("--rootless maybe list");
    refusal("--cgroup-manager x list");
    // What is wrong is reported where it is said, before and after the mistake.
    for line in
        ["--nosuch --log=/l --log-format json create --log x", "--log-level x --log=/l --log-format json --nosuch"]
    {
        let line = argv(line);
        let head = scan::head(&line);
        assert_eq!((&head.global.log, head.global.log_format), (&Some("/l".into()), log::LogFormat::Json));
        assert!(head.parse().is_err());
    }
    let destination = |line: &str| scan::head(&argv(line)).global.log_destination();
    assert_eq!(destination("--systemd-log list"), Some("journald:brisk".into()));
    assert_eq!(destination("exec --log /x ID"), None);
    assert_eq!(read("--log-level warn list").0.level(), Level::Warning);
    assert_eq!(read("--log-level error --debug list").0.level(), Level::Debug);
}

#[test]
fn container_names() {
    for id in ["a", "-a", "+", "_", "a.b", "0", "A-b_c+d.e", &"x".repeat(255)] {
        assert!(brisk::state::check_id(id).is_ok(), "{id}");
    }
    for id in ["", ".", "..", ".a", "a/b", "a b", "ä", "a\n", "a:b", "../a", &"x".repeat(256)] {
        assert!(brisk::state::check_id(id).is_err(), "{id:?}");
    }
    assert!(refusal("create ../x").contains("invalid container ID format: \"../x\""));
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
        let help = text(&format!("{} --help", row.name)).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(help.starts_with(&format!("NAME: brisk {} - {} USAGE: ", row.name, row.about)), "{help}");
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

/// A value that is taken.
pub fn sample(flag: &Flag) -> &'static str {
    match (flag.long, flag.value) {
        (_, FlagValue::Word(_, words)) => words[0],
        ("interval", _) => "5s",
        ("user", _) => "1:2",
        ("cwd", _) => "/w",
        ("env", _) => "A=B",
        ("mount", _) => "/a:/b",
        ("stdio", _) => "0,1,null",
        ("tmpfs", _) => "/t",
        ("cap", _) => "CAP_KILL",
        ("network", _) => "host",
        ("move", _) => "memory=1m,cpus=0.5,pids=2",
        ("memory" | "memory-swap" | "memory-reservation" | "kernel-memory" | "kernel-memory-tcp", _) => "1m",
        _ => "1",
    }
}

/// Positional arguments with which a command is complete.
fn rest(verb: Verb) -> &'static str {
    match verb {
        Verb::List | Verb::Spec | Verb::Check | Verb::Features => "",
        Verb::Exec => "ID true",
        Verb::Mounts => "add ID FILE",
        Verb::Pool => "create ID",
        Verb::Completion => "bash",
        _ => "ID",
    }
}

/// Every flag of the peers, in both forms; and each of them changes what is asked for.
#[test]
fn every_flag_is_taken_in_both_forms() {
    // Words that mean what is so without them, and what is taken for nothing.
    let means_nothing = |flag: &Flag| !flag.listed || flag.help.contains("(default");
    // What each makes of what is said without it.
    let mut made: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for scope in std::iter::once(None).chain(VERBS.iter().map(|row| Some(row.verb))) {
        for flag in flags::of(scope).filter(|flag| flag.long != "version") {
            let spelled = |separator: &str| match flag.value {
                FlagValue::Switch | FlagValue::Maybe(_) => format!("--{}", flag.long),
                _ => format!("--{}{separator}{}", flag.long, sample(flag)),
            };
            let describes = flags::OUTLINE.iter().any(|row| row.flag.long == flag.long);
            for given in [spelled(" "), spelled("=")] {
                let line = |given: &str| match scope {
                    None => format!("{given} list"),
                    Some(Verb::Run) if ["process", "additional-gids", "no-new-privs"].contains(&flag.long) => {
                        format!("run --pool p {given} ID")
                    }
                    Some(Verb::Pool) if flag.long == "format" => format!("pool {given} list"),
                    Some(verb @ (Verb::Create | Verb::Run)) if describes => {
                        format!("{} --rootfs /r --overlay /o {given} ID -- true", verb.row().name)
                    }
                    Some(Verb::Update) if ["steps", "interval", "dry-run", "format", "json"].contains(&flag.long) => {
                        format!("update --move pids=1 {given} ID OTHER")
                    }
                    Some(Verb::Update) if flag.long == "move" => format!("update {given} ID OTHER"),
                    Some(Verb::Spec) if flag.long == "with" => format!("spec --program sh {given}"),
                    Some(Verb::Spec) if describes => format!("spec --overlay /o {given}"),
                    Some(verb) => format!("{} {given} {}", verb.row().name, rest(verb)),
                };
                let (with, without) = (read(&line(&given)), read(&line("")));
                assert!(with != without || means_nothing(flag), "{given} changes nothing of {scope:?}");
                if flag.value == FlagValue::Switch && flag.listed {
                    let said = |word: &str| line(&format!("--{}={word}", flag.long));
                    // Which of these was given counts: config.json has the field, too.
                    let kept = ["read-only", "tty", "no-terminal"].contains(&flag.long);
                    assert!(read(&said("false")) == without || kept, "--{}=false of {scope:?}", flag.long);
                    assert!(
                        parse(&argv(&said("banana"))).is_err(),
                        "--{}=banana of {scope:?} is taken for a yes or no",
                        flag.long
                    );
                }
                if with != without {
                    made.entry(format!("{scope:?} {with:?} {without:?}")).or_default().insert(flag.long);
                }
            }
        }
    }
    // A row that was copied, and puts its value where the other does.
    let alike = made.into_values().filter(|flags| flags.len() > 1);
    for flags in alike {
        let flags: Vec<&str> = flags.into_iter().collect();
        assert!(
            SYNONYMS.contains(&&flags[..]),
            "{flags:?} say the same: in src/cli/flags.rs each names a field of its own"
        );
    }
}

/// Flags of one meaning.
const SYNONYMS: &[&[&str]] = &[&["ext-unix", "ext-unix-sk"]];

#[test]
fn one_sentence_for_every_value_that_cannot_be_read() {
    for (line, sentence) in [
        ("--log-level loud list", "invalid value \"loud\" for --log-level: must be error, warning, info or debug"),
        ("--log-format xml list", "invalid value \"xml\" for --log-format: must be text or json"),
        ("--cgroup-manager x list", "invalid value \"x\" for --cgroup-manager: must be cgroupfs, systemd or disabled"),
        ("--rootless maybe list", "invalid value \"maybe\" for --rootless: must be true, false or auto"),
        ("completion tcsh", "invalid value \"tcsh\" for SHELL: must be bash, zsh or fish"),
        ("mounts move ID f", "invalid value \"move\" for ACTION: must be add or remove"),
        (
            "list --format yaml",
            "invalid value \"yaml\" for --format: must be table, json, or fields such as id,status,age,annotation.NAME",
        ),
        (
            "create --preserve-fds many ID",
            "invalid value \"many\" for --preserve-fds: must be a whole number from 0 to 4294967295",
        ),
        (
            "update --pids-limit abc ID",
            "invalid value \"abc\" for --pids-limit: must be a whole number from -9223372036854775808 to \
             9223372036854775807",
        ),
        ("events --interval 5x ID", "invalid value \"5x\" for --interval: must be a duration such as 5s or 500ms"),
        ("update --memory 1x ID", "invalid value \"1x\" for --memory: must be a size such as 512m, or -1"),
        ("exec -u app ID sh", "invalid value \"app\" for --user: must be UID or UID:GID in numbers"),
        ("restore --network-lock no ID", "invalid value \"no\" for --network-lock: must be iptables, nftables or skip"),
    ] {
        assert_eq!(refusal(line), format!("args: {sentence}"));
    }
}

#[test]
fn what_was_meant_is_told() {
    let hint = |line: &str| parse(&argv(line)).unwrap_err().hint().unwrap_or_default().to_owned();
    for (line, meant) in [
        ("crate x", "did you mean create? `brisk help` lists the commands"),
        ("delet x", "did you mean delete? `brisk help` lists the commands"),
        ("help strat", "did you mean start? `brisk help` lists the commands"),
        ("frobnicate", "`brisk help` lists the commands"),
        ("create --bundel /b x", "did you mean --bundle? `brisk create --help` lists its flags"),
        ("update --memmory=1m x", "did you mean --memory? `brisk update --help` lists its flags"),
        ("run -detatch x", "did you mean --detach? `brisk run --help` lists its flags"),
        ("--rot /r list", "did you mean --root? `brisk help` lists the flags before the command"),
        ("create --root /r x", "it is taken before the command: brisk --root … create"),
        ("--bundle /b create x", "it is taken after the command: see `brisk help COMMAND`"),
        ("kill", "usage: brisk kill [FLAGS] ID [SIGNAL]"),
        ("state a b", "usage: brisk state ID"),
    ] {
        assert_eq!(hint(line), meant, "{line}");
    }
}

#[test]
fn help_tells_where_to_begin() {
    let all = text("");
    for words in ["Where to begin:", "brisk check", "The life of a container:", "Flags, before the command:"] {
        assert!(all.contains(words), "{words}");
    }
    for row in VERBS.iter().filter(|row| row.listed()) {
        assert_eq!(
            all.matches(&format!("\n  {:<11} {}", row.name, row.about.get(..20).unwrap_or(row.about))).count(),
            1,
            "{}",
            row.name
        );
        let own = text(&format!("{} --help", row.name));
        let words: Vec<&str> = own.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').collect();
        for flag in flags::of(Some(row.verb)) {
            let is_there = words.iter().any(|word| word.strip_prefix("--") == Some(flag.long));
            assert_eq!(is_there, flag.listed, "{} --{}", row.name, flag.long);
        }
        assert!(own.lines().chain(all.lines()).all(|line| line.chars().count() <= 80), "{own}");
    }
}

/// Errors name the container, and every id is checked, by what `ids` gives.
#[test]
fn a_command_that_takes_an_id_gives_it() {
    for row in VERBS {
        let takes = row.positionals.iter().any(|positional| positional.name == "ID");
        let words = row.positionals.iter().map(|positional| match positional.name {
            "ID" => "some-id",
            "ACTION" if row.verb == Verb::Pool => "create",
            "NAME" => "x",
            "ACTION" => "add",
            "SHELL" => "bash",
            "SIGNAL" => "TERM",
            // A command belongs to a root.
            "COMMAND" if row.verb != Verb::Exec && row.verb != Verb::Ps => "",
            _ => "/x",
        });
        let line = [row.name].into_iter().chain(words).collect::<Vec<_>>().join(" ");
        let expected: &[&str] = if takes { &["some-id"] } else { &[] };
        let next = "the row of src/cli/verbs.rs says which containers are named: `of |args| vec![&args.id]` where it has an ID";
        assert_eq!(request(&line).ids(), expected, "brisk {line}: {next}");
    }
}

/// FLAG_TESTS of tests/flag_tests.rs names nothing that is not there.
#[test]
fn no_flag_is_tested_that_does_not_exist() {
    let scopes = scopes();
    for (verbs, names, test) in FLAG_TESTS {
        let taken = |verb: &str, name: &str| {
            let (_, flags) = scopes.iter().find(|(of, _)| *of == verb).unwrap_or_else(|| panic!("{test}: no {verb}"));
            flags.iter().any(|flag| flag.long == name)
        };
        for verb in verbs.split(' ') {
            assert!(names.split(' ').any(|name| taken(verb, name)), "{test}: {verb} takes none of {names}");
        }
        for name in names.split(' ') {
            assert!(verbs.split(' ').any(|verb| taken(verb, name)), "{test}: no command of {verbs:?} takes --{name}");
        }
    }
}

/// Of a command that only brisk has, no script writes a flag with a variable that may be unset.
#[test]
fn a_view_takes_no_empty_value() {
    for row in VERBS.iter().filter(|row| row.verb.is_of_brisk()) {
        for flag in flags::of(Some(row.verb)) {
            if matches!(flag.value, FlagValue::Switch | FlagValue::Maybe(_)) {
                continue;
            }
            for given in [format!("--{}=", flag.long), format!("--{}", flag.long)] {
                let mut line = argv(&format!("{} {given}", row.name));
                if !given.ends_with('=') {
                    line.push(OsString::new());
                }
                line.extend(argv(rest(row.verb)));
                let error = parse(&line).unwrap_err().to_string();
                assert_eq!(
                    error,
                    format!("args: invalid value \"\" for --{}: must be something", flag.long),
                    "{line:?}"
                );
            }
        }
    }
    assert_eq!(request("create --pid-file= a"), request("create a"), "as with runc");
}
