//! What CRIU is asked, and by which names it knows the host.

use std::path::Path;

use brisk::container::criu::external::{self, Identity, Mounted, Rejoin, Source};
use brisk::container::criu::labels::{self, Module, WantedLabel};
use brisk::container::criu::opts::{self, CriuFacts, Dumped, Field, Opts, Restored};
use brisk::container::criu::protobuf::{self, FieldValue, Received};
use brisk::container::criu::streams::{OutsideFile, Stream, originals};
use brisk::container::options::{Checkpoint, Criu, Restore};
use brisk::plan::namespace::{JoinedNamespace, NamespaceKind, Namespaces};
use brisk::spec::Spec;
use serde_json::json;

use super::refused;

fn facts<'a>(instructions: &'a std::collections::BTreeMap<String, String>, externals: &'a [String]) -> CriuFacts<'a> {
    CriuFacts { images: 7, work: Some(8), root: "/b/rootfs", externals, config: "/etc/criu/brisk.conf", instructions }
}

fn dump(args: &Checkpoint) -> brisk::error::Result<Opts> {
    opts::dump(args, &facts(&Default::default(), &[]), &Dumped { pid: 42, freezer: Some(Path::new("/cg")) })
}

fn restore(args: &Restore, restored: &Restored<'_>) -> Opts {
    opts::restore(args, &facts(&Default::default(), &["mnt[brisk-mnt-0]:/a".to_owned()]), restored).unwrap()
}

#[track_caller]
fn has(opts: &Opts, field: Field, value: impl Into<FieldValue>) {
    assert_eq!(opts.get(field), [&value.into()], "{field:?}");
}

fn pair(first: impl Into<FieldValue>, second: impl Into<FieldValue>) -> FieldValue {
    FieldValue::Message(vec![(1, first.into()), (2, second.into())])
}

fn spec(mounts: serde_json::Value, namespaces: serde_json::Value) -> Spec {
    let spec = json!({"ociVersion": "1.2.0", "mounts": mounts, "linux": {"namespaces": namespaces}});
    serde_json::from_value(spec).unwrap()
}

fn identity(path: &str) -> Identity {
    Identity { device: "8:1".into(), path: path.into() }
}

fn mounted(id: u32, path: &str, point: &str) -> Mounted {
    Mounted { id, what: identity(path), point: point.into() }
}

/// Binds of /host/0 to `destinations[0]` and so on, with what they show.
fn binds(destinations: &[&str]) -> Vec<(Source, Identity)> {
    let source = |(index, destination): (usize, &&str)| {
        let path = format!("/host/{index}");
        let name = format!("brisk-mnt-{index}");
        (Source { name, path: path.clone().into(), destination: (*destination).into() }, identity(&path))
    };
    destinations.iter().enumerate().map(source).collect()
}

#[test]
fn a_plain_checkpoint() {
    let opts = dump(&Checkpoint::default()).unwrap();
    has(&opts, Field::Pid, 42);
    has(&opts, Field::ImagesDirFd, 7);
    has(&opts, Field::WorkDirFd, 8);
    has(&opts, Field::Root, "/b/rootfs");
    has(&opts, Field::FreezeCgroup, "/cg");
    has(&opts, Field::LeaveRunning, false);
    has(&opts, Field::ManageCgroupsMode, 3);
    has(&opts, Field::ConfigFile, "/etc/criu/brisk.conf");
    assert!(opts.get(Field::TrackMem).is_empty() && opts.get(Field::ParentImg).is_empty());
}

/// What both commands take.
fn shared() -> Criu {
    Criu {
        tcp_established: true,
        ext_unix_sk: true,
        shell_job: true,
        file_locks: true,
        lazy_pages: true,
        manage_cgroups_mode: Some("strict".into()),
        network_lock: Some("nftables".into()),
        empty_ns: vec!["network".into()],
        auto_dedup: true,
        ..Criu::default()
    }
}

fn has_shared(opts: &Opts) {
    let switches = [
        Field::TcpEstablished,
        Field::ExtUnixSk,
        Field::ShellJob,
        Field::FileLocks,
        Field::LazyPages,
        Field::AutoDedup,
    ];
    for field in switches {
        has(opts, field, true);
    }
    has(opts, Field::ManageCgroupsMode, 5);
    has(opts, Field::NetworkLock, 2);
    has(opts, Field::EmptyNs, libc::CLONE_NEWNET);
}

#[test]
fn every_flag_of_checkpoint_reaches_criu() {
    let args = Checkpoint {
        criu: shared(),
        parent_path: Some("../before".into()),
        leave_running: true,
        tcp_skip_in_flight: true,
        link_remap: true,
        page_server: Some("fe80::1:99".into()),
        ..Checkpoint::default()
    };
    let opts = dump(&args).unwrap();
    has_shared(&opts);
    for field in [Field::LeaveRunning, Field::TcpSkipInFlight, Field::LinkRemap, Field::TrackMem] {
        has(&opts, field, true);
    }
    has(&opts, Field::ParentImg, "../before");
    has(&opts, Field::PageServer, pair("fe80::1", 99));
}

#[test]
fn every_flag_of_restore_reaches_criu() {
    let args = Restore {
        criu: shared(),
        tcp_close: true,
        lsm_profile: Some("apparmor:p".into()),
        lsm_mount_context: Some("c".into()),
        ..Restore::default()
    };
    let inherited = [("pipe:[5]".to_owned(), 9), ("extRootNetNS".to_owned(), 10)];
    let joined = [("ipc".to_owned(), "/proc/7/ns/ipc".to_owned())];
    let cgroups = [(String::new(), "/c1".to_owned())];
    let opts = restore(&args, &Restored { inherited: &inherited, joined: &joined, cgroups: &cgroups });
    has_shared(&opts);
    has(&opts, Field::TcpClose, true);
    has(&opts, Field::LsmProfile, "apparmor:p");
    has(&opts, Field::LsmMountContext, "c");
    has(&opts, Field::RstSibling, true);
    has(&opts, Field::External, "mnt[brisk-mnt-0]:/a");
    assert_eq!(opts.get(Field::InheritFd), [&pair("pipe:[5]", 9), &pair("extRootNetNS", 10)]);
    has(&opts, Field::JoinNs, pair("ipc", "/proc/7/ns/ipc"));
    has(&opts, Field::CgRoot, pair("", "/c1"));
}

#[test]
fn what_criu_would_not_understand_is_refused() {
    let criu = |criu: Criu| refused(dump(&Checkpoint { criu, ..Checkpoint::default() }));
    let mode = criu(Criu { manage_cgroups_mode: Some("loose".into()), ..Criu::default() });
    assert!(mode.contains("soft, full, strict or ignore"), "{mode}");
    assert!(criu(Criu { empty_ns: vec!["pid".into()], ..Criu::default() }).contains("--empty-ns"));
    assert!(criu(Criu { network_lock: Some("no".into()), ..Criu::default() }).contains("--network-lock"));
    for server in ["", "host", ":1", "host:", "host:0", "host:65536"] {
        let args = Checkpoint { page_server: Some(server.into()), ..Checkpoint::default() };
        assert!(refused(dump(&args)).contains("--page-server"), "{server}");
    }
    let args = Checkpoint { parent_path: Some("/abs".into()), ..Checkpoint::default() };
    assert!(refused(dump(&args)).contains("relative"));
}

#[test]
fn the_annotation_names_the_configuration_file() {
    for (value, wanted) in [("/c.conf", Some("/c.conf")), ("", None)] {
        let annotations = [("org.criu.config".to_owned(), value.to_owned())].into();
        let saved = Dumped { pid: 1, freezer: None };
        let opts = opts::dump(&Checkpoint::default(), &facts(&annotations, &[]), &saved).unwrap();
        let wanted: Vec<FieldValue> = wanted.into_iter().map(FieldValue::from).collect();
        assert_eq!(opts.get(Field::ConfigFile), wanted.iter().collect::<Vec<_>>());
    }
}

#[test]
fn names_are_places_whatever_the_order() {
    let mounts = json!([
        {"destination": "/proc", "type": "proc"},
        {"destination": "/data", "type": "bind", "source": "/host/0", "options": ["rbind"]},
        {"destination": "rel/", "source": "sub", "options": ["bind"]},
        {"destination": "//data/.", "type": "bind", "source": "/host/1", "options": ["rbind"]},
    ]);
    let sources = external::sources(&spec(mounts, json!([])), Path::new("/b"), &[]).unwrap();
    let source = |name: &str, path: &str, destination: &str| Source {
        name: name.into(),
        path: path.into(),
        destination: destination.into(),
    };
    assert_eq!(
        sources[..4],
        [
            source("brisk-mnt-/data", "/host/0", "/data"),
            source("brisk-mnt-/rel", "/b/sub", "/rel"),
            source("brisk-mnt-/data#1", "/host/1", "/data"),
            source("brisk-dev-/dev/null", "/dev/null", "/dev/null"),
        ]
    );
    assert_eq!(external::restored(&sources)[..2], ["mnt[brisk-mnt-/data]:/host/0", "mnt[brisk-mnt-/rel]:/b/sub"]);
    let over = json!([{"destination": "/.", "type": "bind", "source": "/host/0"}]);
    let error = refused(external::sources(&spec(over, json!([])), Path::new("/b"), &[]));
    assert!(error.contains("root itself"), "{error}");
}

#[test]
fn a_destination_that_would_be_misread_is_refused() {
    let mounts = json!([{"destination": "/a]:/etc", "type": "bind", "source": "/host/0"}]);
    let error = refused(external::sources(&spec(mounts, json!([])), Path::new("/b"), &[]));
    assert!(error.contains("unmistakably"), "{error}");
    // The container made it, or a link led there.
    let error = refused(external::saved(&binds(&["/a"]), &[mounted(1, "/host/0", "/x]:y")]));
    assert!(error.contains("unmistakably"), "{error}");
}

#[test]
fn a_mount_is_known_by_what_it_shows() {
    // Links in the image lead /one to where /two is said to be, and the other way round.
    let container = [mounted(1, "/host/0", "/two"), mounted(2, "/host/1", "/one"), mounted(3, "/other", "/three")];
    let saved = external::saved(&binds(&["/one", "/two"]), &container).unwrap();
    assert_eq!(saved, ["mnt[/two]:brisk-mnt-0", "mnt[/one]:brisk-mnt-1"]);
    // The same source twice: each where it is said to be.
    let mut twice = binds(&["/one", "/two"]);
    twice[1].1 = identity("/host/0");
    let container = [mounted(1, "/host/0", "/two"), mounted(2, "/host/0", "/one")];
    assert_eq!(external::saved(&twice, &container).unwrap(), ["mnt[/two]:brisk-mnt-1", "mnt[/one]:brisk-mnt-0"]);
    // One over the other.
    let container = [mounted(1, "/host/0", "/same"), mounted(2, "/host/1", "/same")];
    assert!(refused(external::saved(&binds(&["/one", "/two"]), &container)).contains("told apart"));
}

#[test]
fn mountinfo_is_read_with_its_escapes() {
    let text = "36 35 98:0 /mnt\\0401 /a\\134b\\011c rw,noatime master:1 - ext3 /dev/root rw\nnonsense\n";
    let what = Identity { device: "98:0".into(), path: "/mnt 1".into() };
    assert_eq!(external::parse(text.as_bytes()), [Mounted { id: 36, what, point: "/a\\b\tc".into() }]);
}

#[test]
fn what_a_path_of_the_host_shows() {
    let host = external::mounts_of("self").unwrap();
    let proc = external::identify(Path::new("/proc/sys/kernel"), &host).unwrap().unwrap();
    let root = host.iter().rev().find(|mount| mount.point == "/proc").unwrap();
    assert_eq!((proc.device, proc.path.as_str()), (root.what.device.clone(), "/sys/kernel"));
    assert_eq!(external::identify(Path::new("/proc/none"), &host).unwrap(), None);
}

#[test]
fn open_files_of_the_host_have_a_key() {
    let known = |path| brisk::sys::fs::stat_known(path).unwrap();
    let null = known(c"/dev/null");
    let key = external::open_file(0x1f, &null, &[mounted(2, "/", "/")]);
    assert_eq!(key, Some(format!("file[1f:{:x}]", null.stx_ino)));
    assert_eq!(external::open_file(2, &null, &[mounted(2, "/", "/")]), None, "inside");
    assert_eq!(external::open_file(3, &known(c"/dev/ptmx"), &[]), None, "a terminal");
    assert_eq!(external::open_file(3, &known(c"/"), &[]), None, "a directory");
    assert_eq!(external::mount_id("pos:\t0\nflags:\t02\nmnt_id:\t27\n"), Some(27));
}

#[test]
fn a_redirected_stream_is_found_where_the_shell_keeps_it() {
    let file = |key: &str| OutsideFile { key: key.to_owned(), device: None };
    let stream = |name: &str, key: Option<&str>| Stream { name: name.into(), file: key.map(file) };
    let (null, log) = (stream("/dev/null", Some("file[1:2]")), stream("/log", Some("file[1:3]")));
    let (pipe, inside, closed) = (stream("pipe:[7]", None), stream("/tmp/new", None), stream("", None));
    let plain = [null.clone(), log.clone(), pipe.clone()];
    assert_eq!(originals(plain.clone(), &[inside.clone(), log.clone()]), plain);
    assert_eq!(originals([null.clone(), inside.clone(), pipe.clone()], &[inside.clone(), log.clone()]), plain);
    let own = [null.clone(), log.clone(), inside.clone()];
    assert_eq!(originals(own.clone(), &[log.clone(), pipe.clone()]), own);
    // What was opened beside streams that are as they were is none of ours.
    let closed = [closed.clone(), log.clone(), closed];
    assert_eq!(originals(closed.clone(), &[stream("/other", Some("file[1:4]"))]), closed);
}

/// A file of another file system may have its number.
#[test]
fn the_file_of_a_stream_is_known_by_device_and_inode() {
    let read = |text: &str| serde_json::from_str::<Option<OutsideFile>>(text).unwrap();
    let noted = OutsideFile { key: "file[7:1f]".to_owned(), device: Some(2049) };
    assert!(noted.is(2049, 0x1f) && !noted.is(2050, 0x1f) && !noted.is(2049, 0x1e));
    assert_eq!(read(&serde_json::to_string(&noted).unwrap()), Some(noted));
    // As it was written before.
    let old = read("\"file[7:1f]\"").unwrap();
    assert!(old.is(2049, 0x1f) && old.is(2050, 0x1f) && !old.is(2049, 0x1e));
    assert_eq!(read("null"), None);
}

#[test]
fn joined_namespaces_have_fixed_names() {
    let list = json!([
        {"type": "network", "path": "/n"}, {"type": "pid", "path": "/p"}, {"type": "ipc", "path": "/i"}, {"type": "uts"},
    ]);
    let spec = spec(json!([]), list);
    let namespaces = Namespaces::parse(&spec.linux.unwrap().namespaces).unwrap();
    let saved = external::saved_namespaces(&namespaces, |path| Ok(path.len() as u64)).unwrap();
    assert_eq!(saved, ["net[2]:extRootNetNS", "pid[2]:extRootPidNS"]);
    let restored = external::restored_namespaces(&namespaces).unwrap();
    assert!(restored.contains(&Rejoin::Descriptor { key: "extRootNetNS", path: "/n".into() }), "{restored:?}");
    assert!(restored.contains(&Rejoin::Path("ipc", "/i".into())) && restored.len() == 3, "{restored:?}");
    let cgroup = Namespaces {
        join: vec![JoinedNamespace { kind: NamespaceKind::Cgroup, path: "/c".into() }],
        ..Namespaces::default()
    };
    assert!(refused(external::restored_namespaces(&cgroup)).contains("cgroup namespace"));
}

#[test]
fn messages_are_protocol_buffers() {
    // The examples of the format's own description: 150 is 96 01, "testing" is 12 07 and the letters.
    let fields = [
        (1, FieldValue::Number(150)),
        (2, FieldValue::from("testing")),
        (3, FieldValue::Message(vec![(1, 150.into())])),
    ];
    let bytes = protobuf::encode(&fields);
    assert_eq!(bytes, b"\x08\x96\x01\x12\x07testing\x1a\x03\x08\x96\x01");
    let received = protobuf::decode(&bytes).unwrap();
    let wanted = [(1, Received::Number(150)), (2, Received::Block(b"testing")), (3, Received::Block(b"\x08\x96\x01"))];
    assert_eq!(received, wanted);
    // -1 takes ten bytes; what is fixed in size is passed over.
    let bytes = protobuf::encode(&[(64, FieldValue::Number(-1))]);
    assert_eq!((bytes.len(), protobuf::decode(&bytes).unwrap()[0].1.number()), (12, -1));
    assert_eq!(protobuf::decode(b"\x0d....\x10\x05").unwrap(), [(2, Received::Number(5))]);
    for broken in [&b"\x08"[..], b"\x12\x05abc", b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x0b"] {
        assert!(refused(protobuf::decode(broken)).contains("cannot be parsed"));
    }
}

#[test]
fn the_configuration_is_brisks_or_else_runcs() {
    let dir = std::env::temp_dir().join(format!("brisk-criu-{}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    let chosen = || opts::configuration(dir.to_str().unwrap()).rsplit_once('/').unwrap().1.to_owned();
    assert_eq!(chosen(), "brisk.conf");
    std::fs::write(dir.join("runc.conf"), "").unwrap();
    assert_eq!(chosen(), "runc.conf");
    std::fs::write(dir.join("brisk.conf"), "").unwrap();
    assert_eq!(chosen(), "brisk.conf");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn the_labels_that_a_restored_process_must_have() {
    let process = |apparmor: &str, selinux: &str| {
        let spec = json!({"ociVersion": "1.2.0", "process": {"cwd": "/", "args": ["x"], "user": {"uid": 0, "gid": 0},
            "apparmorProfile": apparmor, "selinuxLabel": selinux}});
        serde_json::from_value::<Spec>(spec).unwrap().process.unwrap()
    };
    let wanted = |apparmor, selinux, flag| labels::wanted(Some(&process(apparmor, selinux)), flag);
    let label = |module, said_by, label: &str| WantedLabel { module, said_by, label: label.to_owned() };
    let (profile, context) =
        (label(Module::AppArmor, "process.apparmorProfile", "p"), label(Module::SeLinux, "process.selinuxLabel", "c"));
    assert_eq!(wanted("p", "c", None), [profile.clone(), context.clone()]);
    assert_eq!(wanted("p", "", None), std::slice::from_ref(&profile));
    assert_eq!(wanted("unconfined", "c", None), std::slice::from_ref(&context));
    assert_eq!(wanted("", "", None), []);
    assert_eq!(labels::wanted(None, None), []);
    let (other_profile, other_context) =
        (label(Module::AppArmor, "--lsm-profile", ":n:p"), label(Module::SeLinux, "--lsm-profile", "u:r:t:s0"));
    assert_eq!(wanted("p", "c", Some("apparmor::n:p")), [other_profile.clone(), context]);
    assert_eq!(wanted("p", "c", Some("selinux:u:r:t:s0")), [profile, other_context]);
    assert_eq!(labels::wanted(None, Some("apparmor::n:p")), [other_profile]);
    assert_eq!(wanted("p", "c", Some("none:")), []);
}

#[test]
fn what_apparmor_says_of_a_process_against_its_profile() {
    for (wanted, found) in [
        ("p", "p (enforce)"),
        ("p", "p (complain)"),
        ("p", "p"),
        ("p", "p//child (enforce)"),
        ("p", "a//&p (mixed)"),
        ("p//&a", "a//&p (enforce)"),
        ("a (b)", "a (b) (enforce)"),
        (":n:p", ":n://p (enforce)"),
        (":n://p", ":n://p (enforce)"),
        ("/usr/bin/x", "/usr/bin/x (enforce)"),
    ] {
        assert!(labels::confines(wanted, found), "{wanted}, {found}");
    }
    for (wanted, found) in [
        ("p", "unconfined"),
        ("p", ""),
        ("p", "pp (enforce)"),
        ("p", "a//p (enforce)"),
        ("p//child", "p (enforce)"),
        ("p//&a", "p (enforce)"),
        (":n:p", "p (enforce)"),
        ("p", ":n://p (enforce)"),
    ] {
        assert!(!labels::confines(wanted, found), "{wanted}, {found}");
    }
}

#[test]
fn a_lost_label_is_told_with_its_field() {
    let label = |said_by| WantedLabel { module: Module::SeLinux, said_by, label: "c".into() };
    let error = label("process.selinuxLabel").lost("has the label \"d\"");
    assert_eq!(error.to_string(), "lsm: process.selinuxLabel is \"c\", and the restored process has the label \"d\"");
    assert_eq!(error.field(), Some("process.selinuxLabel"));
    assert!(error.hint().unwrap().contains("criu with SELinux"));
    assert_eq!(label("--lsm-profile").lost("x").field(), None);
    let other = WantedLabel { module: Module::AppArmor, ..label("process.apparmorProfile") };
    for error in [error, other.lost("x")] {
        assert!(error.hint().unwrap().contains("none:`"), "a way out: {error}");
    }
}
