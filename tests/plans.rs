//! Golden plans: what brisk would do with each bundle of fixtures/ on each host of fixtures/hosts/, as text.
//!
//! `UPDATE_PLANS=1` writes fixtures/plans/ anew; the difference is then read as a list of operations.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use brisk::host::Host;
use brisk::plan::cgroup::Version;
use brisk::plan::cgroup::entry::IntoCgroup;
use brisk::plan::op::{SetupOp, Terminal};
use brisk::plan::process::inside::InsideOptions;
use brisk::plan::step::Step;
use brisk::plan::systemd::Owner;
use brisk::plan::systemd::driver::CgroupDriver;
use brisk::plan::verbs::create::create;
use brisk::plan::verbs::exec;
use brisk::plan::verbs::start;
use brisk::plan::{CreateOptions, ExecRefusal, Hold, Keyring, Orphan, Plan, ProgramStart};
use brisk::spec::annotations::{self, Trust};
use brisk::spec::{self, Spec};

use crate::plan_options::options;
use crate::{fixture, plans_with, refused};

/// What engines send is planned for these only: what depends on the host is in the bundles made by hand.
/// Rootless podman calls its runtime as root of a user namespace.
const ENGINE_HOST: &str = "v2-root";
const ROOTLESS_HOST: &str = "nested-root";

/// What an ordinary user can do is in these; every other bundle is refused like the first.
const OF_A_USER: &[&str] = &["default", "overlay", "rootless", "userns"];

/// The files of a directory below fixtures/ whose name ends so, sorted, without the ending.
fn names(dir: &str, ending: &str) -> Vec<String> {
    let entries = std::fs::read_dir(fixture(dir)).unwrap();
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(ending)?.to_owned()))
        .collect();
    names.sort();
    assert!(!names.is_empty(), "no {dir}/*{ending}");
    names
}

pub fn host(name: &str) -> Host {
    let text = std::fs::read(fixture(&format!("hosts/{name}.json"))).unwrap();
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("hosts/{name}.json: {error}"))
}

fn spec(path: &str) -> Spec {
    let text = std::fs::read(fixture(path)).unwrap();
    let mut spec: Spec = spec::parse(&text, path).unwrap();
    if path.starts_with("bundles/overlay") {
        Trust::parse("all", "test").unwrap().apply(&mut spec);
    }
    spec
}

/// The plan as a user sees it; a refusal is a plan, too.
fn text(spec: &Spec, host: &Host) -> String {
    match create(spec, host, &options(spec)) {
        Ok(plan) => printed(&plan),
        Err(error) => format!("refused: {error:#}\n"),
    }
}

/// The plan's text without the one number that depends on the architecture brisk was built for.
pub fn printed(plan: &Plan) -> String {
    let text = plan.to_string();
    let lines = text.lines().map(|line| match line.split_once("load the seccomp filter (") {
        Some((head, _)) => format!("{head}load the seccomp filter\n"),
        None => format!("{line}\n"),
    });
    lines.collect()
}

/// Compares with, or writes, one golden file. What differs is said line by line.
pub fn check(path: &Path, text: &str, wrong: &mut Vec<String>) {
    if std::env::var_os("UPDATE_PLANS").is_some() {
        std::fs::create_dir(path.parent().unwrap()).or_else(exists).unwrap();
        std::fs::write(path, text).unwrap();
        return;
    }
    let known = std::fs::read_to_string(path).unwrap_or_default();
    if known == text {
        return;
    }
    let line = known.lines().zip(text.lines()).position(|(a, b)| a != b);
    let line = line.unwrap_or(known.lines().count().min(text.lines().count()));
    let at = |text: &str| text.lines().nth(line).unwrap_or("(end)").to_owned();
    wrong.push(format!("{}:{}\n  known: {}\n  now:   {}", path.display(), line + 1, at(&known), at(text)));
}

fn exists(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) }
}

/// Every pair of a host and a bundle: the name of its golden file, and the path of its config.json.
fn pairs() -> Vec<(String, String, String)> {
    let mut pairs = Vec::new();
    for host in names("hosts", ".json") {
        let user = host.ends_with("-user");
        for bundle in names("bundles", "").into_iter().filter(|name| !user || OF_A_USER.contains(&name.as_str())) {
            pairs.push((host.clone(), bundle.clone(), format!("bundles/{bundle}/config.json")));
        }
    }
    for engine in names("engines", "-config.json") {
        let host = if engine.contains("rootless") { ROOTLESS_HOST } else { ENGINE_HOST };
        pairs.push((host.to_owned(), engine.clone(), format!("engines/{engine}-config.json")));
    }
    pairs
}

#[test]
fn every_bundle_on_every_host() {
    let mut wrong = Vec::new();
    for (host_name, name, config) in pairs() {
        let path = fixture(&format!("plans/{host_name}/{name}.txt"));
        check(&path, &text(&spec(&config), &host(&host_name)), &mut wrong);
    }
    assert!(wrong.is_empty(), "UPDATE_PLANS=1 accepts these:\n{}", wrong.join("\n"));
}

/// No machine of the tests has SELinux.
#[test]
fn the_mount_label_is_given_to_file_systems_that_take_one() {
    let spec = spec("bundles/fields/config.json");
    let label = spec.linux.as_ref().and_then(|linux| linux.mount_label.as_deref()).unwrap();
    let with = |selinux: bool| text(&spec, &Host { selinux, ..host("v2-root") });
    assert!(!with(false).contains("context="));
    let text = with(true);
    for kind in ["tmpfs", "devpts", "mqueue", "proc", "sysfs", "cgroup2"] {
        let mount = format!("mount {kind} ");
        for line in text.lines().filter(|line| line.contains(&mount)) {
            let takes = !matches!(kind, "proc" | "sysfs" | "cgroup2");
            assert_eq!(line.contains(&format!("context={label}")), takes, "{line}");
        }
    }
    assert!(text.contains(&format!("context={label}")), "{text}");
}

/// Texts of config.json make no line that could be taken for one of another operation.
#[test]
fn a_line_is_one_of_the_plan() {
    let mut spec = spec("bundles/fields/config.json");
    let before = text(&spec, &host("v2-root")).lines().count();
    let forged = "/mnt/a\nchild   99  drop all capabilities";
    spec.mounts[0].destination = forged.into();
    spec.mounts.push(spec.mounts[0].clone());
    let text = text(&spec, &host("v2-root"));
    assert!(text.contains(r"/mnt/a\nchild   99") && !text.contains(forged), "{text}");
    assert!(
        text.lines().count() > before && text.lines().all(|line| !line.starts_with("child   99  drop all")),
        "{text}"
    );
}

/// crun's `run.oci.mount_context_type`.
#[test]
fn what_the_mount_label_is_can_be_said() {
    let mut spec = spec("bundles/fields/config.json");
    let label = spec.linux.as_ref().and_then(|linux| linux.mount_label.clone()).unwrap();
    let host = Host { selinux: true, ..host("v2-root") };
    let mut with = |kind: &str| {
        spec.instructions.insert(annotations::MOUNT_CONTEXT_TYPE.to_owned(), kind.to_owned());
        create(&spec, &host, &options(&spec))
    };
    for kind in ["context", "fscontext", "defcontext", "rootcontext"] {
        let text = with(kind).unwrap().to_string();
        let tmpfs = text.lines().find(|line| line.contains("mount tmpfs ")).unwrap();
        assert!(tmpfs.contains(&format!("({kind}={label}")) || tmpfs.contains(&format!(",{kind}={label}")), "{tmpfs}");
    }
    assert!(refused(with("label")).contains("invalid mount context type"));
}

#[test]
fn no_golden_plan_without_a_bundle() {
    let wanted: BTreeSet<String> = pairs().into_iter().map(|(host, name, _)| format!("{host}/{name}")).collect();
    for host in names("plans", "") {
        for name in names(&format!("plans/{host}"), ".txt") {
            let found = format!("{host}/{name}");
            let of_its_own = ["exec-", "template-", "start-", "with-"].iter().any(|kind| name.starts_with(kind));
            assert!(wanted.contains(&found) || of_its_own, "plans/{found}.txt belongs to nothing");
        }
    }
}

pub fn inside(terminal: Terminal) -> InsideOptions {
    InsideOptions { id: "web1".to_owned(), bundle: PathBuf::from("/bundle"), terminal, refusal: ExecRefusal::Error }
}

/// The engines whose `exec` has a golden plan, and the host of each.
const EXECS: [(&str, &str); 3] =
    [("docker", "v2-root"), ("podman-rootful", "v1-root"), ("podman-rootless", "nested-root")];

fn exec_plan(engine: &str, host_name: &str) -> Plan {
    exec_plan_with(engine, host_name, |_| {})
}

pub fn exec_plan_with(engine: &str, host_name: &str, choose: impl Fn(&mut exec::ExecOptions)) -> Plan {
    let text = std::fs::read(fixture(&format!("engines/{engine}-exec-process.json"))).unwrap();
    let process = spec::parse::<spec::process::Process>(&text, "process.json").unwrap();
    let mut options = exec::ExecOptions {
        keyring: Keyring::New,
        inside: inside(Terminal::None),
        preserved_fds: 0,
        orphan: Orphan::LivesOn,
        hold: Hold::No,
        cgroup: Some(exec::CgroupToJoin { versions: vec![Version::V2], owner: None }),
        cgroups: CgroupDriver::Files,
        gained_namespaces: 0,
        rdt: Vec::new(),
    };
    choose(&mut options);
    let spec = spec(&format!("engines/{engine}-default-config.json"));
    exec::exec(&process, &spec, &host(host_name), &options).unwrap()
}

#[test]
fn exec_in_each_engine_container() {
    let mut wrong = Vec::new();
    for (engine, host_name) in EXECS {
        let path = fixture(&format!("plans/{host_name}/exec-{engine}.txt"));
        check(&path, &printed(&exec_plan(engine, host_name)), &mut wrong);
    }
    assert!(wrong.is_empty(), "UPDATE_PLANS=1 accepts these:\n{}", wrong.join("\n"));
}

#[test]
fn an_exec_gets_into_the_cgroup_by_the_quick_way_that_is_allowed() {
    let hybrid = [Version::V1, Version::V2];
    // Host, versions, owner of the scope, driver; how it gets into cgroup2, and whether the child joins the others.
    type Case<'a> = (&'a str, &'a [Version], Option<Owner>, CgroupDriver, &'a str, bool);
    let cases: [Case; 8] = [
        ("v2-root", &[Version::V2], None, CgroupDriver::Files, "cgroup", false),
        ("v2-root", &[Version::V2], Some(Owner::System), CgroupDriver::Systemd, "cgroup", false),
        ("v2-user", &[Version::V2], Some(Owner::User), CgroupDriver::Systemd, "attach", false),
        ("v1-root", &[Version::V1], None, CgroupDriver::Files, "", true),
        ("v1-root", &hybrid, None, CgroupDriver::Files, "cgroup", true),
        ("v2-user", &hybrid, None, CgroupDriver::Files, "attach", false),
        ("v2-root", &[Version::V2], None, CgroupDriver::Disabled, "", false),
        ("v2-root", &[], None, CgroupDriver::Files, "", false),
    ];
    for (host_name, versions, owner, cgroups, way, joins) in cases {
        let plan = exec_plan_with("docker", host_name, |options| {
            options.cgroup = Some(exec::CgroupToJoin { versions: versions.to_vec(), owner });
            options.cgroups = cgroups;
        });
        let clones =
            plan.steps.iter().any(|step| matches!(step, Step::Clone(clone) if clone.into_cgroup == IntoCgroup::Yes));
        let attaches = plan.steps.iter().any(|step| matches!(step, Step::AttachCgroup));
        let joined = plan.setup.iter().any(|op| matches!(op, SetupOp::JoinCgroup));
        assert_eq!(
            (clones, attaches, joined),
            (way == "cgroup", way == "attach", joins),
            "{host_name} {versions:?} {owner:?}"
        );
    }
}

/// The bundles of which a template has golden plans, and the host of each.
const TEMPLATES: [(&str, &str); 5] = [
    ("default", "v1-root"),
    ("rootless", "v2-user"),
    ("fields", "v2-root"),
    ("userns", "v2-root"),
    ("terminal", "v2-root"),
];

/// The two plans of a template: that of its process, which waits, and that of its start.
fn template_plans(bundle: &str, host_name: &str) -> [(&'static str, Plan); 2] {
    let mut spec = spec(&format!("bundles/{bundle}/config.json"));
    let host = host(host_name);
    // The runtime's own code is gone by then, which these would need.
    spec.hooks.iter_mut().for_each(|hooks| hooks.start_container.clear());
    let options = CreateOptions { start: ProgramStart::Brought, terminal: Terminal::None, ..options(&spec) };
    let waiting = create(&spec, &host, &options).unwrap();
    let process = spec.process.as_ref().unwrap();
    let options = inside(Terminal::of(Some(process), Terminal::Socket));
    [("template", waiting), ("start", start::start(process, &spec, &host, &options).unwrap())]
}

#[test]
fn templates_and_their_starts() {
    let mut wrong = Vec::new();
    for (bundle, host_name) in TEMPLATES {
        for (kind, plan) in template_plans(bundle, host_name) {
            check(&fixture(&format!("plans/{host_name}/{kind}-{bundle}.txt")), &printed(&plan), &mut wrong);
        }
    }
    assert!(wrong.is_empty(), "UPDATE_PLANS=1 accepts these:\n{}", wrong.join("\n"));
}

/// All of them, with the names of their hosts.
pub fn every_plan() -> Vec<(String, Plan)> {
    let created = pairs().into_iter().filter_map(|(host_name, _, config)| {
        let spec = spec(&config);
        Some((host_name.clone(), create(&spec, &host(&host_name), &options(&spec)).ok()?))
    });
    let execs = EXECS.into_iter().map(|(engine, host)| (host.to_owned(), exec_plan(engine, host)));
    let templates = TEMPLATES
        .into_iter()
        .flat_map(|(bundle, host)| template_plans(bundle, host).map(|(_, plan)| (host.to_owned(), plan)));
    let others = plans_with::all().into_iter().map(|(host, _, plan)| (host.to_owned(), plan));
    created.chain(execs).chain(templates).chain(others).collect()
}

/// An operation that no plan has would be dead code which the compiler cannot see: each is matched by the tables of text, child
/// and effects.
#[test]
fn every_step_and_operation_is_in_a_golden_plan() {
    let mut seen = BTreeSet::new();
    for (_, plan) in every_plan() {
        seen.extend(plan.steps.iter().map(|step| named("Step", step)));
        seen.extend(plan.setup.iter().map(|op| named("SetupOp", op)));
        seen.extend(plan.last.iter().map(|op| named("LastOp", op)));
    }
    let op = include_str!("../src/plan/op.rs");
    let known =
        [variants("Step", include_str!("../src/plan/step.rs")), variants("SetupOp", op), variants("LastOp", op)];
    let known: BTreeSet<String> = known.concat().into_iter().collect();
    let unseen: Vec<&String> = known.difference(&seen).collect();
    assert!(unseen.is_empty(), "a bundle in fixtures/ or a row of plans_with.rs should have {unseen:?}");
}

/// Two ways of one thing, whose difference is nothing to who reads: to wait for start, and to ask for what is the host's.
const ALIKE: [[&str; 2]; 2] = [["op::AwaitStart", "op::Park"], ["op::AskForHost", "op::AskForOne"]];

/// Who reads a plan, or where one failed, is to know which operation that was.
#[test]
fn no_two_operations_are_told_alike() {
    let mut told: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (_, plan) in every_plan() {
        // Of either list, or done by the runtime in place of the table: it is one thing then.
        let of_child = |op: &dyn std::fmt::Debug| {
            let text = format!("{op:?}");
            named("op", &format_args!("{}", text.strip_prefix("ByRuntime(").unwrap_or(&text)))
        };
        let steps = plan.steps.iter().map(|step| named("step", step));
        let setup = plan.setup.iter().map(|op| of_child(op));
        let child = setup.chain(plan.last.iter().map(|op| of_child(op)));
        let items = plan.items();
        for (side, items, names) in
            [("parent", items.parent, steps.collect::<Vec<_>>()), ("child", items.child, child.collect())]
        {
            assert_eq!(items.len(), names.len(), "an item for each operation");
            for (item, name) in items.iter().zip(names) {
                for key in ["op", "text"] {
                    told.entry(format!("{side}: {key} {}", item[key])).or_default().insert(name.clone());
                }
            }
        }
    }
    let mut alike: Vec<_> = told.iter().filter(|(_, names)| names.len() > 1).collect();
    let one_thing = |names: &BTreeSet<String>| ALIKE.iter().find(|pair| names.iter().eq(pair.iter()));
    let used: BTreeSet<_> = alike.iter().filter_map(|(_, names)| one_thing(names)).collect();
    assert_eq!(used.len(), ALIKE.len(), "ALIKE has a needless row");
    alike.retain(|(_, names)| one_thing(names).is_none());
    let next = "src/plan/text/describe.rs has the lines, src/plan/text/fields the names";
    assert!(alike.is_empty(), "{alike:#?}\nname each by what only it does: {next}");
}

/// The variant of this value, by its name in the source.
fn named(kind: &str, value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    let end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
    format!("{kind}::{}", &text[..end])
}

/// The variants that the source of an enumeration has.
fn variants(kind: &str, source: &str) -> Vec<String> {
    let body = source.split_once(&format!("pub enum {kind} {{")).unwrap().1.split("\n}").next().unwrap();
    let names =
        body.lines().filter_map(|line| line.strip_prefix("    ").filter(|name| name.starts_with(char::is_uppercase)));
    let found: Vec<String> = names.map(|name| named(kind, &format_args!("{name}"))).collect();
    assert!(found.len() > 20, "{kind}: {found:?}");
    found
}

/// The same input gives the same plan: nothing of the clock, the environment or a hash table's order is in it.
#[test]
fn a_plan_is_a_function_of_its_input() {
    for (host_name, _, config) in pairs() {
        let (spec, host) = (spec(&config), host(&host_name));
        assert_eq!(text(&spec, &host), text(&spec, &host), "{config}");
    }
}

#[test]
fn the_cgroup_belongs_to_the_user_who_may_write_it_from_inside() {
    let chown = |bundle: &str, host_name: &str, change: &dyn Fn(&mut Spec)| {
        let mut spec = spec(&format!("bundles/{bundle}/config.json"));
        change(&mut spec);
        let plan = create(&spec, &host(host_name), &options(&spec)).unwrap();
        plan.steps.iter().find_map(|step| if let Step::ChownCgroup(uid) = step { Some(*uid) } else { None })
    };
    let writable = |spec: &mut Spec| {
        let mount = spec.mounts.iter_mut().find(|mount| mount.destination == "/sys/fs/cgroup").unwrap();
        mount.options.push("rw".to_owned());
        let own = serde_json::from_value(serde_json::json!({ "type": "cgroup" })).unwrap();
        spec.linux.as_mut().unwrap().namespaces.push(own);
    };
    let as_user = |spec: &mut Spec| {
        writable(spec);
        spec.process.as_mut().unwrap().user.uid = 1000;
    };
    let without_namespace = |spec: &mut Spec| {
        as_user(spec);
        spec.linux.as_mut().unwrap().namespaces.retain(|ns| ns.kind != "cgroup");
    };
    let mapped = spec("bundles/userns/config.json").linux.unwrap().uid_mappings[0].host_id;
    assert_ne!(mapped, 0);
    // Of the specification, "Cgroup ownership": read-only, v1, or without a namespace of its own it stays root's.
    assert_eq!(chown("userns", "v2-root", &|_| {}), None);
    assert_eq!(chown("userns", "v2-root", &writable), Some(mapped));
    assert_eq!(chown("userns", "v2-root", &as_user), Some(mapped + 1000));
    assert_eq!(chown("userns", "v1-root", &writable), None);
    assert_eq!(chown("userns", "v2-user", &writable), None, "an ordinary user gives nothing away");
    assert_eq!(chown("default", "v2-root", &writable), None, "it is root's");
    assert_eq!(chown("default", "v2-root", &as_user), Some(1000));
    assert_eq!(chown("default", "v2-root", &without_namespace), None);
}
