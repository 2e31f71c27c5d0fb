//! What is said of mistakes: of the command line, of config.json, and of what a host cannot do. Each message, the line it
//! shows and its way out are in fixtures/mistakes.txt; `UPDATE_MISTAKES=1` writes it anew, and the difference is read like
//! code.

use std::ffi::OsString;
use std::fmt::Write;

use brisk::cli::parse;
use brisk::error::{Deed, Error, Stage};
use brisk::plan::verbs::create::create;
use brisk::spec::validate::{validate, validate_process};
use brisk::spec::{self, Spec};
use nix::errno::Errno;
use serde_json::{Value, json};

use crate::{fixture, plans};

/// Command lines, and what is wrong with them.
const LINES: &[&str] = &[
    "crate web1",
    "delet web1",
    "frobnicate",
    "logs web1",
    "help strat",
    "Run web1",
    "--rot /r list",
    "--bundle /b create web1",
    "--nosuch list",
    "-x list",
    "--log",
    "--log-level loud list",
    "--log-format xml list",
    "--cgroup-manager none list",
    "--rootless maybe list",
    "--systemd-cgroup=perhaps list",
    "create",
    "create --bundle",
    "create --bundel /b web1",
    "create --root /r web1",
    "create web1 web2",
    "create ../x",
    "create .x",
    "create a/b",
    "create --preserve-fds many web1",
    "create --preserve-fds -1 web1",
    "create -x web1",
    "run --detatch web1",
    "run --detach=perhaps web1",
    "run -dx web1",
    "start",
    "state",
    "state a b",
    "kill",
    "kill web1 TERM now",
    "delete --froce web1",
    "exec",
    "exec web1",
    "exec --user app web1 sh",
    "exec --user 1: web1 sh",
    "exec --user 4294967295 web1 sh",
    "exec --additional-gids wheel web1 sh",
    "exec --evn A=1 web1 sh",
    "list --format yaml",
    "list --all",
    "ps --format yaml web1",
    "events --interval 5x web1",
    "events --interval 0 web1",
    "update --memory 1x web1",
    "update --memmory 1m web1",
    "update --pids-limit abc web1",
    "update --cpu-share -1 web1",
    "update --blkio-weight 70000 web1",
    "update -r a -r b web1",
    "update",
    "mounts move web1 f",
    "mounts add web1",
    "completion tcsh",
    "completion",
    "trace",
    "checkpoint --manage-cgroups-mode hard web1",
    "restore --network-lock no web1",
    "restore --lsm-mount-context",
    "check --jason",
    "plan /b /c",
    "ls",
    "rm web1",
    "stop web1",
    "stat web1",
    "kill -9 web1",
    "kill -KILL web1",
    "kill --signal 9 web1",
    "exec web1 -- sh",
    "exec web1 --cwd / sh",
    // What one types who comes from Docker or Podman.
    "version",
    "pull busybox",
    "container ls",
    "volume create x",
    "attach web1",
    "status web1",
    "list -a",
    "kill --signal=TERM web1",
    "exec -it web1 sh",
    "exec --privileged web1 sh",
    "run -it web1 sh",
    "run --rm web1",
    "run --name web1 busybox",
    "run -v /a:/b web1",
    "run --volume=/a:/b web1",
    "run -e A=1 web1",
    "run --workdir /x web1",
    "run --cap-add NET_ADMIN web1",
    "run --pids-limit 5 web1",
    "run --publish 80:80 web1",
    "run --entrypoint sh web1",
    "state -v /a:/b web1",
    // A command or a bundle where a name stands.
    "run web1 sh",
    "run --rootfs r web1 id",
    "run ./web",
    "create web/",
    "start web1 sh",
    "spec web",
    "state ./web",
    "pool create",
    "pool fill",
    // Values that can never be right.
    "run --rootfs r --env NOVALUE web1 -- id",
    "run --rootfs r --env =x web1 -- id",
    "run --rootfs r --cwd tmp web1 -- id",
    "spec --cwd ../x",
    "exec --env NOVALUE web1 sh",
    "exec --cwd tmp web1 sh",
    "start --env NOVALUE web1 -- id",
    "run --rootfs r --memory 64x web1 -- id",
    "run --rootfs r --memory -1 web1 -- id",
    "run --rootfs r --memory 99999999999999999999 web1 -- id",
    "run --rootfs r --cpus 0 web1 -- id",
    "run --rootfs r --pids 0 web1 -- id",
    "run --rootfs r --mount type=bind,src=/a,dst=/b web1 -- id",
    "run --rootfs r --user root web1 -- id",
    "run --rootfs r --network bridge web1 -- id",
    "run --rootfs r --overlay tmpfs:big web1 -- id",
    "run --rootfs r --timeout soon web1 -- id",
    "run --bundle b --memory 64m web1",
    "run --rootfs r web1",
];

/// Texts that are no configuration.
const TEXTS: &[&str] = &[
    "",
    "{",
    "[]",
    "{}",
    "{\"ociVersion\": 1}",
    "{\"ociVersion\": \"1.0.0\",}",
    "{\"ociVersion\": \"1.0.0\", \"process\": {\"args\": \"sh\"}}",
    "{\"ociVersion\": \"1.0.0\", \"root\": {}}",
    "{\"ociVersion\": \"1.0.0\"} x",
    "{\n  \"ociVersion\": \"1.0.0\",\n  \"linux\": {\n    \"resources\": {\"memory\": {\"limit\": \"64m\"}}\n  }\n}",
    "{\"ociVersion\": \"1.0.0\", \"hostname\": \"a\\u0000b\"}",
];

/// Changes of the bundle that has everything, at a JSON pointer.
fn changes() -> Vec<(&'static str, Value)> {
    vec![
        ("/ociVersion", json!("1.0")),
        ("/root", json!(null)),
        ("/root/path", json!("")),
        ("/root/readonly", json!("yes")),
        ("/process/args", json!([])),
        ("/process/args/0", json!(5)),
        ("/process/cwd", json!("srv")),
        ("/process/cwd", json!("")),
        ("/process/env/0", json!("NOVALUE")),
        ("/process/user/uid", json!(-1)),
        ("/process/user/uid", json!("root")),
        ("/process/user/uid", json!(4_294_967_295_u32)),
        ("/process/user/umask", json!(512)),
        ("/process/oomScoreAdj", json!(2000)),
        ("/process/rlimits/0/type", json!("RLIMIT_NOFILES")),
        ("/process/rlimits/0/soft", json!("unlimited")),
        ("/process/scheduler/policy", json!("SCHED_FAST")),
        ("/process/ioPriority/class", json!("IOPRIO_CLASS_FAST")),
        ("/hostname", json!("x".repeat(65))),
        ("/mounts/0/destination", json!("")),
        ("/mounts/0", json!("/data")),
        ("/mounts/2/uidMappings", json!([])),
        ("/hooks/prestart/0/path", json!("bin/hook")),
        ("/hooks/createContainer/0/timeout", json!(0)),
        ("/linux/namespaces", json!([{"type": "mount"}])),
        ("/linux/namespaces/0/type", json!("mounts")),
        ("/linux/namespaces/1/path", json!("ns/mnt")),
        ("/linux/timeOffsets", json!({"realtime": {"secs": 1}})),
        ("/linux/timeOffsets", json!({"boottime": {"secs": 1, "nanosecs": 1_000_000_000_u32}})),
        ("/linux/devices/0/type", json!("x")),
        ("/linux/devices/0/path", json!("dev/x")),
        ("/linux/rootfsPropagation", json!("open")),
        ("/linux/sysctl", json!({"kernel.nosuch": "1"})),
        ("/linux/sysctl", json!({"net.ipv4.ip_forward": 1})),
        ("/linux/resources/memory/limit", json!("64m")),
        ("/linux/resources/cpu/shares", json!(-5)),
        ("/linux/resources/pids/limit", json!(1.5)),
        ("/linux/resources/devices/0/access", json!("x")),
        ("/linux/seccomp/defaultAction", json!("SCMP_ACT_FORBID")),
        ("/linux/seccomp/architectures/0", json!("SCMP_ARCH_VAX")),
        ("/linux/personality/domain", json!("BSD")),
        ("/linux/personality/flags", json!(["ADDR_NO_RANDOMIZE"])),
        ("/process/env/1", json!("=x")),
        ("/process/user/additionalGids", json!([4_294_967_295_u32])),
        ("/process/capabilities", json!(["CAP_KILL"])),
        ("/process/rlimits/0/hard", json!(-1)),
        ("/process/rlimits/1/type", json!("RLIMIT_NOFILE")),
        ("/process/scheduler/nice", json!(99)),
        ("/process/scheduler/flags", json!(["SCHED_FLAG_RESET_ON_FRK"])),
        ("/process/ioPriority/priority", json!(14)),
        ("/process/execCPUAffinity/initial", json!("0-")),
        ("/mounts/0/options", json!("ro")),
        ("/linux/namespaces/0/type", json!("net")),
        ("/linux/uidMappings/0/size", json!(0)),
        ("/linux/gidMappings", json!([])),
        ("/linux/devices/0/major", json!(-1)),
        ("/linux/netDevices", json!({"eth0": {"name": "a-name-that-is-too-long"}})),
        ("/linux/memoryPolicy/mode", json!("MPOL_BIN")),
        ("/linux/memoryPolicy/nodes", json!("x")),
        ("/linux/resources/cpu/shares", json!(1)),
        ("/linux/resources/memory", json!({"limit": 1 << 26, "swap": 1 << 25})),
        ("/linux/resources/devices/0/type", json!("d")),
        ("/linux/resources/unified", json!({"memory.high": "1000"})),
        ("/linux/seccomp/flags", json!(["SECCOMP_FILTER_FLAG_TSYNCC"])),
        ("/linux/seccomp/syscalls", json!([{"names": ["open"], "action": "SCMP_ACT_ERNO"}])),
        (
            "/linux/seccomp/syscalls",
            json!([{"names": ["open"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 7, "value": 1, "op": "SCMP_CMP_EQ"}]}]),
        ),
        (
            "/linux/seccomp/syscalls",
            json!([{"names": ["open"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EEQ"}]}]),
        ),
        ("/linux/seccomp/defaultErrnoRet", json!(99_999)),
    ]
}

/// Nothing, and things of other kinds and sizes, where a value stands.
fn odd_values() -> Vec<(&'static str, Value)> {
    vec![
        ("/linux/maskedPaths", json!(["/proc/kcore", ""])),
        ("/linux/maskedPaths", json!(["/.."])),
        ("/linux/maskedPaths", json!([null])),
        ("/linux/namespaces/0", json!(null)),
        ("/linux/namespaces/2", json!({})),
        ("/mounts/1", json!(null)),
        ("/process/rlimits/0", json!(null)),
        ("/hooks/poststop", json!([null])),
        (
            "/process/scheduler",
            json!({"policy": "SCHED_DEADLINE", "runtime": 10, "deadline": 100_000, "period": 100_000}),
        ),
        (
            "/process/scheduler",
            json!({"policy": "SCHED_DEADLINE", "runtime": 5000, "deadline": 9000, "period": u64::MAX}),
        ),
        ("/process/user/additionalGids/0", json!(1e300)),
        ("/linux/resources/memory/limit", json!(1e300)),
        ("/linux/resources/memory/limit", json!(18_446_744_073_709_551_615_u64)),
        ("/process/args", json!(null)),
        ("/process/cwd", json!(null)),
        ("/root/path", json!(null)),
        ("/mounts/0/options", json!([{"ro": true}])),
        ("/linux/seccomp/syscalls/0/names", json!("read")),
        ("/linux/uidMappings/0", json!([0, 0, 1])),
        ("/annotations", json!({"a": 1})),
    ]
}

/// What the kernel may say.
fn failures() -> Vec<Error> {
    let all = [
        (Stage::Namespace, Deed::Clone, Errno::EPERM),
        (Stage::Namespace, Deed::Clone, Errno::ENOSPC),
        (Stage::Namespace, Deed::Clone, Errno::EINVAL),
        (Stage::Namespace, Deed::Clone, Errno::ENOMEM),
        (Stage::Namespace, Deed::Clone, Errno::EAGAIN),
        (Stage::Namespace, Deed::Unshare, Errno::ENOSPC),
        (Stage::Rootfs, Deed::TakeRoot, Errno::ENOENT),
        (Stage::Rootfs, Deed::TakeRoot, Errno::ENOTDIR),
        (Stage::Rootfs, Deed::MountProc, Errno::EPERM),
        (Stage::Rootfs, Deed::MountSysfs, Errno::EPERM),
        (Stage::Rootfs, Deed::Mount, Errno::ENODEV),
        (Stage::Rootfs, Deed::Mount, Errno::EINVAL),
        (Stage::Rootfs, Deed::Bind, Errno::ENOENT),
        (Stage::Rootfs, Deed::Bind, Errno::ELOOP),
        (Stage::Rootfs, Deed::PivotRoot, Errno::EINVAL),
        (Stage::Rootfs, Deed::MakeNode, Errno::EEXIST),
        (Stage::Rootfs, Deed::Overlay, Errno::ENOENT),
        (Stage::Rootfs, Deed::Overlay, Errno::ELOOP),
        (Stage::Console, Deed::Connect, Errno::ENOENT),
        (Stage::Console, Deed::Connect, Errno::ECONNREFUSED),
        (Stage::Process, Deed::Sysctl, Errno::EINVAL),
        (Stage::Process, Deed::Sysctl, Errno::ENOENT),
        (Stage::Process, Deed::Schedule, Errno::EPERM),
        (Stage::Process, Deed::Schedule, Errno::EBUSY),
        (Stage::Process, Deed::MemoryPolicy, Errno::EINVAL),
        (Stage::Process, Deed::MemoryPolicy, Errno::ENOSYS),
        (Stage::Process, Deed::Rlimit, Errno::EPERM),
        (Stage::Process, Deed::OomScoreAdj, Errno::EACCES),
        (Stage::Lsm, Deed::Label, Errno::ENOENT),
        (Stage::Lsm, Deed::Label, Errno::EINVAL),
        (Stage::State, Deed::MakeState, Errno::EACCES),
        (Stage::Cgroup, Deed::WriteLimit, Errno::EBUSY),
        (Stage::Cgroup, Deed::WriteLimit, Errno::ENOENT),
        (Stage::Cgroup, Deed::WriteLimit, Errno::EACCES),
        (Stage::Exec, Deed::Execve, Errno::ENOENT),
        (Stage::Exec, Deed::Execve, Errno::EACCES),
        (Stage::Exec, Deed::Execve, Errno::ENOEXEC),
    ];
    all.into_iter().map(|(stage, deed, errno)| Error::errno(stage, deed.name(), errno).doing(deed, "")).collect()
}

const NO_MISTAKE: &str = "(nothing is said)";

/// What standard error shows.
fn told(error: &Error) -> String {
    brisk::cli::log::told(&error.to_string(), error, brisk::cli::log::Reader::Person) + "\n"
}

fn config_error(text: &str) -> Option<Error> {
    let dir = std::env::temp_dir().join(format!("brisk-mistakes-{}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("config.json"), text).unwrap();
    let loaded = spec::load_text(&dir);
    std::fs::remove_dir_all(&dir).unwrap();
    let planned = loaded.and_then(|loaded| {
        let planned =
            create(&loaded.spec, &plans::host("v1-root"), &crate::plan_options::options(&loaded.spec)).map(drop);
        planned.map_err(|error| spec::shown(error, &loaded.text))
    });
    planned.err()
}

fn all() -> (String, usize) {
    let mut out = String::new();
    let mut count = 0;
    let mut add = |title: &str, error: Option<Error>| {
        count += 1;
        let Some(error) = error else {
            let _ = writeln!(out, "{title}\n{NO_MISTAKE}\n");
            return;
        };
        let dir = std::env::temp_dir().join(format!("brisk-mistakes-{}", std::process::id()));
        let _ = writeln!(out, "{title}\n{}", told(&error).replace(&format!("{}/", dir.display()), ""));
    };
    for line in LINES {
        let argv: Vec<OsString> = line.split_ascii_whitespace().map(OsString::from).collect();
        add(&format!("$ brisk {line}"), parse(&argv).err());
    }
    for text in TEXTS {
        add(&format!("config.json: {text}"), config_error(text));
    }
    let text = std::fs::read(fixture("bundles/everything/config.json")).unwrap();
    let mut everything: Value = serde_json::from_slice(&text).unwrap();
    // The rest of its limits no one host has all of.
    let resources = everything["linux"]["resources"].as_object_mut().unwrap();
    resources.retain(|field, _| ["devices", "memory", "cpu", "pids"].contains(&field.as_str()));
    resources["memory"].as_object_mut().unwrap().retain(|field, _| field == "limit");
    resources["cpu"].as_object_mut().unwrap().retain(|field, _| ["shares", "cpus"].contains(&field.as_str()));
    if let Some(error) = config_error(&everything.to_string()) {
        panic!("without a mistake: {error}");
    }
    for (pointer, value) in changes().into_iter().chain(odd_values()) {
        let mut config = everything.clone();
        let (above, last) = pointer.rsplit_once('/').unwrap();
        match config.pointer_mut(above).unwrap_or_else(|| panic!("{pointer}")) {
            Value::Object(map) => drop(map.insert(last.to_owned(), value.clone())),
            list => *list.pointer_mut(&format!("/{last}")).unwrap_or_else(|| panic!("{pointer}")) = value.clone(),
        }
        let shown: String = value.to_string().chars().take(60).collect();
        let error = config_error(&serde_json::to_string_pretty(&config).unwrap());
        // Wherever it was noticed: in reading, in looking at it, or in planning.
        if let Some(error) = &error {
            let Some((Deed::ReadConfig, Some(field))) = error.deed() else { panic!("{pointer}: no field: {error}") };
            let told = error.to_string();
            assert!(told.contains(field), "{pointer}: {field} is not named: {told}");
            assert!(error.excerpt().is_some_and(|lines| lines.contains('^')), "{pointer}: no line: {told}");
        }
        add(&format!("{pointer} = {shown}"), error);
    }
    for error in failures() {
        add("the kernel says", Some(error));
    }
    (out, count)
}

#[test]
fn every_mistake_is_told_with_a_way_out() {
    let (text, count) = all();
    assert!(count >= 120, "only {count}");
    let path = fixture("mistakes.txt");
    if std::env::var_os("UPDATE_MISTAKES").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert!(!text.contains(NO_MISTAKE), "{text}");
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    let first = known.lines().zip(text.lines()).find(|(a, b)| a != b);
    assert!(known == text, "fixtures/mistakes.txt: UPDATE_MISTAKES=1 writes it anew; first difference: {first:?}");
}

#[test]
fn every_error_of_the_kernel_that_is_known_has_advice() {
    for error in failures() {
        assert!(error.hint().is_some(), "{error}");
    }
}

/// A field that is misspelled is not left out without a word; one of a later version is.
#[test]
fn misspelled_fields_are_told() {
    let warnings = |change: &dyn Fn(&mut Value)| {
        let text = std::fs::read(fixture("bundles/everything/config.json")).unwrap();
        let mut config: Value = serde_json::from_slice(&text).unwrap();
        change(&mut config);
        let dir = std::env::temp_dir().join(format!("brisk-misspelled-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
        let loaded = spec::load_text(&dir).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
        loaded
            .warnings
            .into_iter()
            .map(|text| text.split("config.json: ").last().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(warnings(&|_| {}), Vec::<String>::new());
    let told = warnings(&|config| {
        config["linux"]["resources"]["memmory"] = json!({"limit": 5});
        config["linux"]["resources"]["devices"][0]["acess"] = json!("rwm");
        config["hostnme"] = json!("x");
        config["linux"]["netDevices"]["eth0"] = json!({"nam": "x"});
        // Of a later version.
        config["linux"]["frobnicate"] = json!({"memmory": 1});
        config["windows"] = json!({});
    });
    let expected = [
        "the field \"hostnme\" is unknown and ignored: did you mean hostname?",
        "the field \"nam\" of linux.netDevices.* is unknown and ignored: did you mean name?",
        "the field \"acess\" of linux.resources.devices[] is unknown and ignored: did you mean access?",
        "the field \"memmory\" of linux.resources is unknown and ignored: did you mean memory?",
    ];
    let mut told = told;
    told.sort();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(told, expected);
}

/// Nor in the other documents.
#[test]
fn misspelled_fields_of_other_documents_are_told() {
    use brisk::spec::mounts::Mount;
    use brisk::spec::resources::Resources;

    let told = std::cell::RefCell::new(Vec::new());
    let warn = |text: &str| told.borrow_mut().push(text.to_owned());
    let path = std::env::temp_dir().join(format!("brisk-documents-{}", std::process::id()));
    let name = path.display().to_string();
    std::fs::write(&path, r#"[{"destination": "/x", "option": ["ro"]}]"#).unwrap();
    spec::load_json::<Vec<Mount>>(&path, &warn).unwrap();
    std::fs::write(&path, r#"{"cwd": "/", "args": ["a"], "usr": {"uid": 5}}"#).unwrap();
    spec::load_process(&path, &warn).unwrap();
    std::fs::remove_file(&path).unwrap();
    spec::read_json::<Resources>(&br#"{"memory": {"limt": 1}, "later": 1}"#[..], "standard input", &warn).unwrap();
    let said = |of: &str, text: &str| format!("{of}: the field {text}?");
    let expected = [
        said(&name, "\"option\" is unknown and ignored: did you mean options"),
        said(&name, "\"usr\" is unknown and ignored: did you mean user"),
        said("standard input", "\"limt\" of memory is unknown and ignored: did you mean limit"),
    ];
    assert_eq!(told.into_inner(), expected);
}

/// process.json is shown as well, by its own lines.
#[test]
fn a_process_shows_its_line() {
    let path = std::env::temp_dir().join(format!("brisk-process-{}", std::process::id()));
    std::fs::write(&path, "{\n  \"cwd\": \"x\",\n  \"args\": [\"a\"]\n}").unwrap();
    let error = spec::load_process(&path, &|_| {}).unwrap_err();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(error.excerpt(), Some("     2 |   \"cwd\": \"x\",\n       |          ^^^\n"));
    assert!(validate_process(&Default::default()).is_err() && validate(&Spec::default()).is_err());
}
