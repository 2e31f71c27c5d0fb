//! docs/FIELDS.md: a row for each JSON path of the specification and for each flag. The paths come from the bundle
//! that has them all, the flags from the parser's own table; the tests of fields are named here, those of flags in
//! `flag_tests`: a row without a statement of what is done, or whose test does not exist, fails. `UPDATE_DOCS=1` writes
//! the file anew. `integration/deaf` checks that the tests notice when the field or flag is not seen.

use std::collections::BTreeMap;
use std::path::Path;

use brisk::cli::features;
use brisk::cli::flags::{self, FlagValue};
use brisk::cli::verbs::VERBS;
use brisk::sys::seccomp::Support;
use serde_json::Value;

use crate::feature_tests::FEATURE_TESTS;
use crate::{
    fixture,
    flag_tests::{FLAG_TESTS, OPTION_TESTS},
    test_files,
};

/// What is done with the fields below each path, the kernel it needs, and the test that shows it: on the real kernel
/// where this hardware has what the field is about. The longest path that fits counts.
const FIELDS: &[(&str, &str, &str, &str)] = &[
    (
        "ociVersion",
        "any version is accepted; shown by `state`",
        "",
        "integration/hostile/bad_input.rs: a_newer_version_of_the_specification_is_accepted",
    ),
    (
        "annotations",
        "shown by `state`, given to hooks; some are instructions (docs/COMPAT.md), and most of those need the caller's trust",
        "",
        "integration/hooks.rs: hooks_get_the_state_on_standard_input",
    ),
    (
        "domainname",
        "setdomainname in the container's UTS namespace",
        "",
        "integration/namespace/kinds.rs: hostname_and_domainname_are_set",
    ),
    (
        "hostname",
        "sethostname in the container's UTS namespace",
        "",
        "integration/namespace/kinds.rs: hostname_and_domainname_are_set",
    ),
    (
        "hooks",
        "run in their namespaces with the state on standard input; killed after `timeout`",
        "",
        "integration/spec/fields.rs: hooks_have_the_arguments_and_environment_of_their_own",
    ),
    (
        "hooks.prestart[].timeout",
        "killed after so many seconds, and failed",
        "",
        "integration/hooks.rs: a_hook_that_hangs_is_ended_by_its_timeout",
    ),
    (
        "hooks.createRuntime[].timeout",
        "killed after so many seconds, and failed",
        "",
        "integration/hooks.rs: a_hook_that_hangs_is_ended_by_its_timeout",
    ),
    (
        "hooks.createContainer[].timeout",
        "killed after so many seconds, and failed",
        "",
        "integration/hooks.rs: a_hook_that_hangs_is_ended_by_its_timeout",
    ),
    (
        "hooks.startContainer[].timeout",
        "killed after so many seconds, and failed",
        "",
        "integration/hooks.rs: a_hook_that_hangs_is_ended_by_its_timeout",
    ),
    (
        "hooks.poststart[].timeout",
        "killed after so many seconds, and failed",
        "",
        "integration/hooks.rs: a_hook_that_hangs_is_ended_by_its_timeout",
    ),
    (
        "hooks.poststop[].timeout",
        "killed after so many seconds, and failed",
        "",
        "integration/hooks.rs: a_hook_that_hangs_is_ended_by_its_timeout",
    ),
    ("mounts", "a detached mount, attached below the root", "5.12", "integration/mount/types.rs: a_directory_is_bound"),
    (
        "mounts[].options",
        "a detached mount, attached below the root",
        "5.12",
        "integration/mount/types.rs: flags_are_set",
    ),
    (
        "mounts[].type",
        "a detached mount, attached below the root",
        "5.12",
        "integration/mount/types.rs: proc_sysfs_devpts_mqueue_and_shm_are_what_they_should_be",
    ),
    ("mounts[].uidMappings", "id-mapped mount", "5.12", "integration/mount/types.rs: id_mapped_mounts"),
    ("mounts[].gidMappings", "id-mapped mount", "5.12", "integration/mount/types.rs: id_mapped_mounts"),
    ("process.args", "given to execve", "", "integration/process/attributes.rs: arguments_are_passed_unchanged"),
    ("process.env", "given to execve", "", "integration/process/attributes.rs: the_environment_is_the_configured_one"),
    (
        "process.apparmorProfile",
        "written to /proc/thread-self/attr; error without AppArmor",
        "",
        "integration/spec/fields.rs: what_this_host_cannot_serve_is_named",
    ),
    (
        "process.capabilities",
        "capset, bounding and ambient sets; what cannot be granted is a warning",
        "4.3",
        "integration/process/capabilities.rs: the_sets_are_what_the_config_says",
    ),
    (
        "process.capabilities.ambient",
        "capset, bounding and ambient sets; what cannot be granted is a warning",
        "4.3",
        "integration/process/capabilities.rs: a_user_keeps_only_the_ambient_ones",
    ),
    (
        "process.capabilities.inheritable",
        "capset, bounding and ambient sets; what cannot be granted is a warning",
        "4.3",
        "integration/process/capabilities.rs: a_user_keeps_only_the_ambient_ones",
    ),
    (
        "process.capabilities.effective",
        "capset, bounding and ambient sets; what cannot be granted is a warning",
        "4.3",
        "integration/process/capabilities.rs: the_effective_set_is_in_force_when_the_program_is_executed",
    ),
    ("process.consoleSize", "size of the terminal", "", "integration/terminal.rs: the_console_has_the_configured_size"),
    (
        "process.cwd",
        "entered through a descriptor resolved below the root",
        "5.6",
        "integration/process/attributes.rs: the_working_directory",
    ),
    (
        "process.execCPUAffinity",
        "sched_setaffinity before and after joining the cgroup (`exec`)",
        "",
        "integration/exec.rs: exec_cpu_affinity",
    ),
    ("process.ioPriority", "ioprio_set", "", "integration/process/attributes.rs: the_io_priority_is_set"),
    (
        "process.noNewPrivileges",
        "prctl PR_SET_NO_NEW_PRIVS",
        "",
        "integration/process/attributes.rs: no_new_privileges",
    ),
    ("process.oomScoreAdj", "written by the parent", "", "integration/process/attributes.rs: oom_score_adj_is_set"),
    (
        "process.rlimits",
        "prlimit by the child, in a new user namespace by the parent",
        "",
        "integration/process/attributes.rs: resource_limits_are_set",
    ),
    ("process.scheduler", "sched_setattr, deadline included", "3.14", "integration/spec/fields.rs: a_deadline_is_set"),
    (
        "process.scheduler.nice",
        "sched_setattr, deadline included",
        "3.14",
        "integration/process/attributes.rs: the_scheduler_is_set",
    ),
    (
        "process.scheduler.priority",
        "sched_setattr, deadline included",
        "3.14",
        "integration/spec/fields.rs: real_time_limits_let_a_real_time_policy_run",
    ),
    (
        "process.selinuxLabel",
        "written to /proc/thread-self/attr; error without SELinux",
        "",
        "integration/spec/fields.rs: what_this_host_cannot_serve_is_named",
    ),
    (
        "process.terminal",
        "a pty of the container's devpts; the master goes to the console socket",
        "4.13",
        "integration/terminal.rs: the_master_is_sent_over_the_console_socket",
    ),
    ("process.user", "setgroups, setgid, setuid, umask", "", "integration/process/attributes.rs: user_and_groups"),
    ("process.user.umask", "setgroups, setgid, setuid, umask", "", "integration/process/attributes.rs: umask"),
    (
        "root.path",
        "the root directory, made the container's with pivot_root",
        "5.12",
        "integration/mount/rootfs.rs: the_root_is_the_configured_directory",
    ),
    (
        "root.readonly",
        "the root directory, made the container's with pivot_root",
        "5.12",
        "integration/mount/rootfs.rs: a_read_only_root_cannot_be_written",
    ),
    (
        "linux.cgroupsPath",
        "the cgroup: absolute, relative, or SLICE:PREFIX:NAME with systemd",
        "",
        "integration/cgroup/limits.rs: a_nested_cgroup_path_is_made_and_removed",
    ),
    (
        "linux.devices",
        "mknod; bound from the host in a user namespace",
        "",
        "integration/mount/devices.rs: configured_devices_are_made",
    ),
    (
        "linux.gidMappings",
        "gid_map, written directly or by newgidmap",
        "",
        "integration/namespace/kinds.rs: a_user_namespace_maps_ids",
    ),
    (
        "linux.uidMappings",
        "uid_map, written directly or by newuidmap",
        "",
        "integration/namespace/kinds.rs: a_user_namespace_maps_ids",
    ),
    (
        "linux.intelRdt",
        "a resctrl group; error where resctrl is not mounted",
        "4.10",
        "src/cgroup/rdt.rs: a_group_of_its_own_is_made_joined_and_removed",
    ),
    (
        "linux.maskedPaths",
        "covered by /dev/null or an empty read-only directory",
        "",
        "integration/mount/rootfs.rs: masked_paths_are_empty_and_cannot_be_written",
    ),
    ("linux.memoryPolicy", "set_mempolicy", "", "integration/spec/fields.rs: the_memory_policy_is_set"),
    (
        "linux.mountLabel",
        "context= of the file systems that take one; message queues by attribute",
        "",
        "tests/plans.rs: the_mount_label_is_given_to_file_systems_that_take_one",
    ),
    (
        "linux.namespaces[].path",
        "clone3, unshare or setns",
        "",
        "integration/namespace/kinds.rs: namespaces_are_joined_by_path",
    ),
    (
        "linux.namespaces[].type",
        "clone3, unshare or setns",
        "",
        "integration/namespace/kinds.rs: every_combination_of_new_namespaces_works",
    ),
    (
        "linux.netDevices",
        "moved into the network namespace and renamed, addresses kept",
        "",
        "integration/namespace/netdev.rs: a_device_moves_with_its_name_and_addresses",
    ),
    ("linux.personality", "personality", "", "integration/process/attributes.rs: the_personality_is_set"),
    (
        "linux.personality.flags",
        "none is defined, so any is an error",
        "",
        "integration/spec/fields.rs: what_this_host_cannot_serve_is_named",
    ),
    (
        "linux.readonlyPaths",
        "mounted onto itself, read-only; the root's own mount where the path leads there",
        "5.12",
        "integration/mount/rootfs.rs: read_only_paths_are_read_only",
    ),
    ("linux.resources.blockIO", "v1 blkio, v2 io", "", "integration/cgroup/limits.rs: block_io"),
    ("linux.resources.blockIO.leafWeight", "v1 blkio; a warning on v2", "", "tests/cgroup_limits.rs: block_io"),
    ("linux.resources.blockIO.weight", "v1 blkio, v2 io", "", "tests/cgroup_limits.rs: block_io"),
    ("linux.resources.blockIO.weightDevice", "v1 blkio, v2 io", "", "tests/cgroup_limits.rs: block_io"),
    ("linux.resources.cpu.burst", "v1 and v2 cpu", "", "integration/cgroup/limits.rs: cpu_idle_and_burst"),
    ("linux.resources.cpu.cpus", "v1 and v2 cpuset", "", "integration/cgroup/limits.rs: cpu_set"),
    ("linux.resources.cpu.idle", "v1 and v2 cpu", "", "integration/cgroup/limits.rs: cpu_idle_and_burst"),
    ("linux.resources.cpu.mems", "v1 and v2 cpuset", "", "integration/cgroup/limits.rs: cpu_set"),
    ("linux.resources.cpu.period", "v1 and v2 cpu", "", "integration/cgroup/limits.rs: cpu_quota_and_period"),
    ("linux.resources.cpu.quota", "v1 and v2 cpu", "", "integration/cgroup/limits.rs: cpu_quota_and_period"),
    (
        "linux.resources.cpu.realtimePeriod",
        "v1 cpu",
        "",
        "integration/spec/fields.rs: real_time_limits_let_a_real_time_policy_run",
    ),
    (
        "linux.resources.cpu.realtimeRuntime",
        "v1 cpu",
        "",
        "integration/spec/fields.rs: real_time_limits_let_a_real_time_policy_run",
    ),
    ("linux.resources.cpu.shares", "v1 cpu, v2 cpu as a weight", "", "integration/cgroup/limits.rs: cpu_shares"),
    (
        "linux.resources.devices",
        "v1 devices, v2 an eBPF program",
        "4.15 (v2)",
        "integration/cgroup/limits.rs: devices_are_denied_and_allowed",
    ),
    ("linux.resources.hugepageLimits", "hugetlb", "", "tests/cgroup_limits.rs: pids_hugetlb_rdma_network"),
    (
        "linux.resources.memory.checkBeforeUpdate",
        "`update` to less than what is in use is refused on v2; v1 refuses by itself",
        "",
        "tests/cgroup_limits.rs: check_before_update_is_a_check_of_updates_on_v2",
    ),
    (
        "linux.resources.memory.disableOOMKiller",
        "v1 memory",
        "",
        "integration/cgroup/limits.rs: memory_swappiness_and_oom_killer",
    ),
    (
        "linux.resources.memory.kernel",
        "a warning: it is part of the limit",
        "",
        "integration/spec/fields.rs: limits_that_mean_nothing_any_more_are_told",
    ),
    (
        "linux.resources.memory.kernelTCP",
        "v1 memory; a warning on v2, where it is part of the limit",
        "",
        "integration/cgroup/limits.rs: memory_of_tcp_is_limited_on_v1",
    ),
    ("linux.resources.memory.limit", "memory, both versions", "", "integration/cgroup/limits.rs: memory"),
    ("linux.resources.memory.reservation", "memory, both versions", "", "integration/cgroup/limits.rs: memory"),
    ("linux.resources.memory.swap", "memory, both versions", "", "integration/cgroup/limits.rs: memory_and_swap"),
    (
        "linux.resources.memory.swappiness",
        "v1 memory",
        "",
        "integration/cgroup/limits.rs: memory_swappiness_and_oom_killer",
    ),
    (
        "linux.resources.memory.useHierarchy",
        "kernels have no other way",
        "",
        "tests/cgroup_limits.rs: what_is_ignored_is_told",
    ),
    (
        "linux.resources.network.classID",
        "v1 net_cls; error on v2, which has none",
        "",
        "integration/cgroup/limits.rs: huge_pages_rdma_and_network_classes",
    ),
    (
        "linux.resources.network.priorities",
        "v1 net_prio; error on v2, which has none",
        "",
        "tests/cgroup_limits.rs: pids_hugetlb_rdma_network",
    ),
    ("linux.resources.pids", "pids, both versions", "", "integration/cgroup/limits.rs: pids"),
    ("linux.resources.rdma", "rdma, both versions", "4.11", "tests/cgroup_limits.rs: pids_hugetlb_rdma_network"),
    (
        "linux.resources.unified",
        "written to the named files of cgroup2; error on v1",
        "",
        "integration/cgroup/limits.rs: unified",
    ),
    (
        "linux.rootfsPropagation",
        "propagation of the root mount",
        "",
        "integration/mount/rootfs.rs: the_root_mount_has_the_configured_propagation",
    ),
    (
        "linux.seccomp",
        "compiled by brisk, loaded before the program runs",
        "3.17",
        "integration/spec/fields.rs: seccomp_rules_with_arguments_and_errnos",
    ),
    (
        "linux.seccomp.architectures",
        "compiled by brisk, loaded before the program runs",
        "3.17",
        "tests/seccomp/engines.rs: every_architecture_alone",
    ),
    (
        "linux.seccomp.defaultErrnoRet",
        "compiled by brisk, loaded before the program runs",
        "3.17",
        "integration/spec/fields.rs: the_default_errno_of_a_seccomp_profile",
    ),
    (
        "linux.seccomp.flags",
        "compiled by brisk, loaded before the program runs",
        "3.17",
        "integration/spec/fields.rs: a_seccomp_flag_that_does_not_exist_is_refused",
    ),
    (
        "linux.seccomp.listenerPath",
        "the listener's descriptor and the state are sent there",
        "5.0",
        "integration/spec/fields.rs: the_seccomp_listener_comes_with_state_and_metadata",
    ),
    (
        "linux.seccomp.listenerMetadata",
        "sent with the listener",
        "5.0",
        "integration/spec/fields.rs: the_seccomp_listener_comes_with_state_and_metadata",
    ),
    (
        "linux.sysctl",
        "written through a private proc, after a check of the namespace they belong to",
        "",
        "integration/namespace/kinds.rs: sysctls_are_set_in_the_containers_namespaces",
    ),
    (
        "linux.timeOffsets",
        "timens_offsets of the new time namespace",
        "5.6",
        "integration/namespace/kinds.rs: time_offsets_are_applied",
    ),
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

/// Every test function of integration/ and tests/ (this file left out), in this order, and those of Intel RDT.
fn cases() -> Vec<String> {
    // Its tests are about a tree that looks like resctrl.
    let rdt = ("src/cgroup/rdt.rs".to_owned(), include_str!("../src/cgroup/rdt.rs").to_owned());
    let mut cases = Vec::new();
    for (file, text) in test_files().into_iter().chain([rdt]).filter(|(file, _)| file != "tests/fields.rs") {
        for part in text.split("#[test]\n").skip(1) {
            let name = part.split("fn ").nth(1).and_then(|rest| rest.split('(').next()).unwrap_or_default();
            cases.push(format!("{file}: {name}"));
        }
    }
    assert!(cases.len() > 300, "only {} tests found", cases.len());
    cases
}

fn fields(cases: &[String]) -> String {
    let text = std::fs::read(fixture("bundles/everything/config.json")).unwrap();
    let mut found = BTreeMap::new();
    paths(&serde_json::from_slice(&text).unwrap(), "", &mut found);
    // It has no valid value, so no bundle that works has it.
    found.insert("linux.personality.flags".into(), ());
    assert!(found.len() > 150, "only {} paths", found.len());
    let mut rows = String::new();
    for path in found.keys() {
        let row = FIELDS.iter().filter(|(prefix, ..)| is_below(path, prefix)).max_by_key(|(prefix, ..)| prefix.len());
        let (_, how, since, test) = row.unwrap_or_else(|| panic!("FIELDS says nothing of {path}"));
        assert!(cases.iter().any(|case| case == test), "{path}: there is no {test}");
        rows.push_str(&format!("| `{path}` | {how} | {since} | {test} |\n"));
    }
    for (prefix, ..) in FIELDS {
        assert!(found.keys().any(|path| is_below(path, prefix)), "no field is {prefix}");
    }
    rows
}

fn options(cases: &[String]) -> String {
    let mut rows = String::new();
    for option in brisk::plan::rootfs::options::names() {
        let mut tests =
            OPTION_TESTS.iter().filter(|(list, _)| list.split_ascii_whitespace().any(|item| item == option));
        let (_, test) = tests.next().unwrap_or_else(|| panic!("OPTION_TESTS says nothing of {option}"));
        assert_eq!(tests.next(), None, "{option} is twice in OPTION_TESTS");
        assert!(cases.iter().any(|case| case == test), "{option}: there is no {test}");
        rows.push_str(&format!("| `option {option}` | {test} |\n"));
    }
    rows
}

/// The members of the document that say something: those of `linux` down to what is no object.
fn features(cases: &[String]) -> String {
    fn members(value: &Value, path: &str, found: &mut Vec<String>) {
        let within =
            matches!(path, "" | "linux" | "linux.cgroup" | "linux.seccomp" | "linux.mountExtensions" | "annotations");
        match value.as_object().filter(|_| within) {
            Some(object) => {
                let dot = if path.is_empty() { "" } else { "." };
                object.iter().for_each(|(name, value)| members(value, &format!("{path}{dot}{name}"), found));
            }
            None => found.push(path.to_owned()),
        }
    }
    let mut found = Vec::new();
    members(&features::document(Support::ALL), "", &mut found);
    // Who it is; and the options have a section of their own.
    found.retain(|path| path != "mountOptions" && !path.starts_with("annotations.brisk."));
    for path in &found {
        assert!(FEATURE_TESTS.iter().any(|(feature, ..)| feature == path), "FEATURE_TESTS says nothing of {path}");
    }
    let mut rows = String::new();
    for (path, how, test) in FEATURE_TESTS {
        assert!(found.iter().any(|feature| feature == path), "no feature is {path}");
        assert!(cases.iter().any(|case| case == test), "{path}: there is no {test}");
        rows.push_str(&format!("| `feature {path}` | {how} | {test} |\n"));
    }
    rows
}

fn commands(cases: &[String]) -> String {
    let mut rows = String::new();
    let scopes = std::iter::once(None).chain(VERBS.iter().map(|row| Some(row.verb)));
    for scope in scopes {
        let verb = scope.map_or("", |verb| verb.row().name);
        for flag in flags::of(scope) {
            let value = match flag.value {
                FlagValue::Switch => String::new(),
                FlagValue::One(name) | FlagValue::Many(name) | FlagValue::Word(name, _) => format!(" {name}"),
                FlagValue::Maybe(name) => format!("[={name}]"),
            };
            let name = format!("brisk {verb} --{}{value}", flag.long).replace("  ", " ").replace('|', "\\|");
            let of = |(verbs, flags, _): &&(&str, &str, &str)| {
                let has = |list: &str, word: &str| list.split(' ').any(|item| item == word);
                has(verbs, verb) && has(flags, flag.long)
            };
            let mut tests = FLAG_TESTS.iter().filter(of).map(|(.., test)| *test);
            let test = tests.next().unwrap_or_else(|| panic!("FLAG_TESTS says nothing of {name}"));
            assert_eq!(tests.next(), None, "{name} is twice in FLAG_TESTS");
            assert!(cases.iter().any(|case| case == test), "{name}: there is no {test}");
            let how = flag.help.replace('|', "\\|");
            let how = if flag.listed { how } else { format!("accepted, {how}") };
            rows.push_str(&format!("| `{name}` | {how} | {test} |\n"));
        }
    }
    rows
}

/// Fields of the bundle `everything`, which no host can keep whole, that are in no other bundle either: limits of few
/// hosts, which tests/cgroup_limits.rs and tests/rdt in `plan` compute, and what is gone from kernels.
const NOT_PLANNED: &[&str] = &[
    "linux.intelRdt",
    "linux.resources.blockIO.leafWeight",
    "linux.resources.blockIO.weight",
    "linux.resources.blockIO.weightDevice",
    "linux.resources.cpu.idle",
    "linux.resources.cpu.realtimePeriod",
    "linux.resources.cpu.realtimeRuntime",
    "linux.resources.hugepageLimits",
    "linux.resources.memory.checkBeforeUpdate",
    "linux.resources.memory.disableOOMKiller",
    "linux.resources.memory.kernel",
    "linux.resources.memory.kernelTCP",
    "linux.resources.memory.swappiness",
    "linux.resources.memory.useHierarchy",
    "linux.resources.network",
    "linux.resources.rdma",
    "linux.resources.unified",
];

/// A field that is in a bundle of the golden plans changes one of them when what is done with it changes.
#[test]
fn every_field_is_in_a_golden_plan() {
    let (mut everything, mut planned) = (BTreeMap::new(), BTreeMap::new());
    for entry in std::fs::read_dir(fixture("bundles")).unwrap() {
        let dir = entry.unwrap().path();
        let Ok(text) = std::fs::read(dir.join("config.json")) else { continue };
        let found = if dir.ends_with("everything") { &mut everything } else { &mut planned };
        paths(&serde_json::from_slice(&text).unwrap(), "", found);
    }
    let missing = everything.keys().filter(|path| !planned.contains_key(*path));
    let missing: Vec<_> = missing.filter(|path| !NOT_PLANNED.iter().any(|prefix| is_below(path, prefix))).collect();
    assert!(missing.is_empty(), "put them into fixtures/bundles/fields: {missing:?}");
}

#[test]
fn the_document_has_every_field_and_flag() {
    let cases = cases();
    let head = "# Fields and flags\n\nGenerated by `UPDATE_DOCS=1 cargo test --test unit fields` from the bundle that has every \
        field of\nruntime-spec 1.3, from brisk's table of flags, and from the tests. Nothing here is ignored: what cannot be done \
        is an\nerror, or a warning where the specification asks for one. `kernel` is empty where every kernel that brisk runs on \
        \n(docs/KERNEL.md) has it. `make test-deaf` runs the tests with a brisk that does not see the field or the flag: they \
        have to fail. Every field of `fixtures/bundles/everything` but those of NOT_PLANNED is in\nthe golden plans of `fixtures/plans` as well.\n\n\
        `process.commandLine` and `process.user.username` are not here: they are for Windows. `intelRdt.enableCMT` and\n\
        `enableMBM` were in version 1.2 of the specification.\n\n";
    let text = format!(
        "{head}## config.json\n\n| field | what is done | kernel | test |\n|---|---|---|---|\n{}\n## Mount options\n\n\
         What each does is in mount(8) and the specification's table.\n\n| option | test |\n|---|---|\n{}\n## Features\n\n\
         What `features` says, and what shows it.\n\n| member | with | test |\n|---|---|---|\n{}\n## Commands\n\n\
         | flag | what it does | test |\n|---|---|---|\n{}",
        fields(&cases),
        options(&cases),
        features(&cases),
        commands(&cases)
    )
    .replace(" \n", "\n");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/FIELDS.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    let first = known.lines().zip(text.lines()).find(|(a, b)| a != b);
    assert!(known == text, "docs/FIELDS.md: UPDATE_DOCS=1 writes it anew; first difference: {first:?}");
}
