//! docs/FIELDS.md: a row for each JSON path of the specification and for each flag. The paths come from the bundle
//! that has them all, the flags from the parser's own table, the tests from the tests' source: a row without a
//! statement of what is done, or without a test, fails. `UPDATE_DOCS=1` writes the file anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use brisk::cli::flags::{self, Value as Takes};
use brisk::cli::verbs::VERBS;
use serde_json::Value;

use crate::fixture;

/// What is done with the fields below each path, and what it needs. The longest path that fits counts.
const FIELDS: &[(&str, &str, &str)] = &[
    ("ociVersion", "any version is accepted; shown by `state`", ""),
    ("annotations", "shown by `state`, given to hooks; some are instructions (docs/COMPAT.md)", ""),
    ("domainname", "setdomainname in the container's UTS namespace", ""),
    ("hostname", "sethostname in the container's UTS namespace", ""),
    ("hooks", "run in their namespaces with the state on standard input; killed after `timeout`", ""),
    ("mounts", "a detached mount, attached below the root", "5.12"),
    ("mounts[].uidMappings", "id-mapped mount", "5.12"),
    ("mounts[].gidMappings", "id-mapped mount", "5.12"),
    ("process", "given to execve", ""),
    ("process.apparmorProfile", "written to /proc/thread-self/attr; error without AppArmor", ""),
    ("process.capabilities", "capset, bounding and ambient sets; what cannot be granted is a warning", "4.3"),
    ("process.consoleSize", "size of the terminal", ""),
    ("process.cwd", "entered through a descriptor resolved below the root", "5.6"),
    ("process.execCPUAffinity", "sched_setaffinity before and after joining the cgroup (`exec`)", ""),
    ("process.ioPriority", "ioprio_set", ""),
    ("process.noNewPrivileges", "prctl PR_SET_NO_NEW_PRIVS", ""),
    ("process.oomScoreAdj", "written by the parent", ""),
    ("process.rlimits", "prlimit by the parent", ""),
    ("process.scheduler", "sched_setattr, deadline included", "3.14"),
    ("process.selinuxLabel", "written to /proc/thread-self/attr; error without SELinux", ""),
    ("process.terminal", "a pty of the container's devpts; the master goes to the console socket", "4.13"),
    ("process.user", "setgroups, setgid, setuid, umask", ""),
    ("root", "the root directory, made the container's with pivot_root", "5.12"),
    ("linux.cgroupsPath", "the cgroup: absolute, relative, or SLICE:PREFIX:NAME with systemd", ""),
    ("linux.devices", "mknod; bound from the host in a user namespace", ""),
    ("linux.gidMappings", "gid_map, written directly or by newgidmap", ""),
    ("linux.uidMappings", "uid_map, written directly or by newuidmap", ""),
    ("linux.intelRdt", "a resctrl group", "4.10"),
    ("linux.maskedPaths", "covered by /dev/null or an empty read-only directory", ""),
    ("linux.memoryPolicy", "set_mempolicy", ""),
    ("linux.mountLabel", "context= of the file systems that take one", ""),
    ("linux.namespaces", "clone3, unshare or setns", ""),
    ("linux.netDevices", "moved into the network namespace and renamed, addresses kept", ""),
    ("linux.personality", "personality", ""),
    ("linux.readonlyPaths", "mounted onto itself, read-only", "5.12"),
    ("linux.resources.blockIO", "v1 blkio, v2 io", ""),
    ("linux.resources.cpu", "v1 cpu and cpuset, v2 cpu and cpuset (shares become a weight)", ""),
    ("linux.resources.devices", "v1 devices, v2 an eBPF program", "4.15 (v2)"),
    ("linux.resources.hugepageLimits", "hugetlb", ""),
    (
        "linux.resources.memory",
        "memory, both versions; `kernel` and `kernelTCP` only where the kernel still has them",
        "",
    ),
    ("linux.resources.network", "v1 net_cls and net_prio; error on v2, which has neither", ""),
    ("linux.resources.pids", "pids, both versions", ""),
    ("linux.resources.rdma", "rdma, both versions", "4.11"),
    ("linux.resources.unified", "written to the named files of cgroup2; error on v1", ""),
    ("linux.rootfsPropagation", "propagation of the root mount", ""),
    ("linux.seccomp", "compiled by brisk, loaded before the program runs", "3.17"),
    ("linux.seccomp.listenerPath", "the listener's descriptor and the state are sent there", "5.0"),
    ("linux.seccomp.listenerMetadata", "sent with the listener", "5.0"),
    ("linux.sysctl", "written through a private proc, after a check of the namespace they belong to", ""),
    ("linux.timeOffsets", "timens_offsets of the new time namespace", "5.6"),
];

/// Every path of a document; elements of lists are `[]`, keys that the user chooses `*`.
fn paths(value: &Value, path: &str, found: &mut BTreeMap<String, ()>) {
    const FREE: &[&str] =
        &["annotations", "linux.sysctl", "linux.netDevices", "linux.resources.rdma", "linux.resources.unified"];
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let key = if FREE.contains(&path) { "*" } else { key };
                let below = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
                paths(value, &below, found);
            }
        }
        Value::Array(list) if list.iter().any(Value::is_object) => {
            list.iter().for_each(|value| paths(value, &format!("{path}[]"), found));
        }
        _ => drop(found.insert(path.to_owned(), ())),
    }
}

/// Whether `path` is `prefix` or below it.
fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// A test: its name, and its text.
struct Case {
    name: String,
    text: String,
}

/// Every test function of integration/ and tests/ (this file left out), in this order.
fn cases() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<PathBuf> = Vec::new();
    for dir in ["integration", "tests", "tests/seccomp"] {
        let mut here: Vec<PathBuf> = std::fs::read_dir(root.join(dir)).unwrap().map(|e| e.unwrap().path()).collect();
        here.retain(|path| path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests/fields.rs"));
        here.sort();
        files.extend(here);
    }
    let mut cases = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let file = path.strip_prefix(root).unwrap().display().to_string();
        for part in text.split("#[test]\n").skip(1) {
            let name = part.split("fn ").nth(1).and_then(|rest| rest.split('(').next()).unwrap_or_default();
            cases.push(Case { name: format!("{file}: {name}"), text: part.to_owned() });
        }
    }
    assert!(cases.len() > 300, "only {} tests found", cases.len());
    cases
}

/// The first test that has one of these words.
fn test_with<'a>(cases: &'a [Case], words: &[String]) -> Option<&'a str> {
    cases.iter().find(|case| words.iter().any(|word| case.text.contains(word.as_str()))).map(|case| &*case.name)
}

/// The test of a field: one that names it, or else the golden plans, which have every field.
fn test_of_field<'a>(cases: &'a [Case], path: &str) -> &'a str {
    let keys: Vec<&str> = path.split('.').map(|key| key.trim_end_matches("[]")).filter(|key| *key != "*").collect();
    let pointer = keys.join("/");
    let last = keys.last().copied().unwrap_or_default();
    let parent = keys.len().checked_sub(2).map_or("", |at| keys[at]);
    let exact = [format!("/{pointer}\""), format!("\"{parent}/{last}\""), format!("\"{path}\"")];
    let named = [format!("\"{last}\""), format!("/{last}\"")];
    test_with(cases, &exact)
        .or_else(|| (last.len() > 4).then(|| test_with(cases, &named)).flatten())
        .unwrap_or("tests/plans.rs: every_bundle_on_every_host")
}

fn fields(cases: &[Case]) -> String {
    let text = std::fs::read(fixture("bundles/everything/config.json")).unwrap();
    let mut found = BTreeMap::new();
    paths(&serde_json::from_slice(&text).unwrap(), "", &mut found);
    assert!(found.len() > 150, "only {} paths", found.len());
    let mut rows = String::new();
    for path in found.keys() {
        let row = FIELDS.iter().filter(|(prefix, ..)| is_below(path, prefix)).max_by_key(|(prefix, ..)| prefix.len());
        let (_, how, since) = row.unwrap_or_else(|| panic!("FIELDS says nothing of {path}"));
        rows.push_str(&format!("| `{path}` | {how} | {since} | {} |\n", test_of_field(cases, path)));
    }
    for (prefix, ..) in FIELDS {
        assert!(found.keys().any(|path| is_below(path, prefix)), "no field is {prefix}");
    }
    rows
}

fn commands(cases: &[Case]) -> String {
    let mut rows = String::new();
    let scopes = std::iter::once(None).chain(VERBS.iter().map(|row| Some(row.verb)));
    for scope in scopes {
        let verb = scope.map_or("", |verb| verb.row().name);
        for flag in flags::of(scope) {
            let value = match flag.value {
                Takes::Switch => String::new(),
                Takes::One(name) | Takes::Many(name) => format!(" {name}"),
                Takes::Maybe(name) => format!("[={name}]"),
            };
            let name = format!("brisk {verb} --{}{value}", flag.long).replace("  ", " ").replace('|', "\\|");
            let long = format!("\"--{}", flag.long);
            let with_verb = format!("\"{verb}\"");
            let both = cases.iter().find(|case| case.text.contains(&long) && case.text.contains(&with_verb));
            // The fields of options that a test fills in are named like the flags.
            let field = format!("{}: ", flag.long.replace('-', "_"));
            let of_criu = || {
                let case =
                    cases.iter().find(|case| case.name.starts_with("tests/criu.rs") && case.text.contains(&field));
                case.map(|case| &*case.name)
            };
            let test = both.map(|case| &*case.name).or_else(|| test_with(cases, &[long])).or_else(of_criu);
            let test = test.unwrap_or("tests/cli.rs: every_flag_is_taken_in_both_forms");
            let how = flag.help.replace('|', "\\|");
            let how = if flag.listed { how } else { format!("accepted, {how}") };
            rows.push_str(&format!("| `{name}` | {how} | {test} |\n"));
        }
    }
    rows
}

#[test]
fn the_document_has_every_field_and_flag() {
    let cases = cases();
    let head = "# Fields and flags\n\nGenerated by `UPDATE_DOCS=1 cargo test --test unit fields` from the bundle that has every \
        field of\nruntime-spec 1.3, from brisk's table of flags, and from the tests. Nothing here is ignored: what cannot be done \
        is an\nerror, or a warning where the specification asks for one. `kernel` is empty where every kernel that brisk runs on \
        \n(docs/KERNEL.md) has it.\n\n";
    let text = format!(
        "{head}## config.json\n\n| field | what is done | kernel | test |\n|---|---|---|---|\n{}\n## Commands\n\n\
         | flag | what it does | test |\n|---|---|---|\n{}",
        fields(&cases),
        commands(&cases)
    )
    .replace(" \n", "\n");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/FIELDS.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    // Which test is named first may change with every new test; what is supported may not.
    let without_tests = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.rsplit_once(" | ").map_or(line, |(head, _)| head).to_owned()).collect()
    };
    let (known, now) = (without_tests(&known), without_tests(&text));
    let first = known.iter().zip(&now).find(|(a, b)| a != b);
    assert!(known == now, "docs/FIELDS.md: UPDATE_DOCS=1 writes it anew; first difference: {first:?}");
}
