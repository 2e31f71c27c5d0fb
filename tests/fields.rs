//! docs/FIELDS.md: a row for each JSON path of the specification and for each flag. The paths come from the bundle
//! that has them all, the flags from the parser's own table; the tests of fields are named in `field_tests`, those of flags
//! in `flag_tests`: a row without a statement of what is done, or whose test does not exist, fails. `UPDATE_DOCS=1` writes
//! the file anew. `integration/deaf` checks that the tests notice when the field or flag is not seen.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use brisk::cli::features;
use brisk::cli::flags::FlagValue;
use brisk::sys::seccomp::Support;
use serde_json::Value;

use crate::feature_tests::FEATURE_TESTS;
use crate::field_tests::FIELDS;
use crate::{
    fixture,
    flag_tests::{FLAG_TESTS, OPTION_TESTS, claims, reached, scopes},
    test_files,
};

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
        let row = row_of(path);
        let (_, how, since, test) = row.unwrap_or_else(|| {
            panic!("FIELDS says nothing of {path}: a row of tests/field_tests.rs, with the name of its test")
        });
        assert!(cases.iter().any(|case| case == test), "{path}: there is no test {test}: write it");
        rows.push_str(&format!("| `{path}` | {how} | {since} | {test} |\n"));
    }
    for (prefix, ..) in FIELDS {
        assert!(found.keys().any(|path| is_below(path, prefix)), "no field is {prefix}");
    }
    rows
}

/// Fields that a test says by a function of its bench, or of which it has what is made of them.
const SAID_OTHERWISE: &[&str] = &[
    "linux.gidMappings[]",
    "linux.intelRdt",
    "linux.namespaces[].type",
    "linux.uidMappings[]",
    "mounts[].destination",
    "mounts[].type",
    "root.path",
];

/// A row of many fields, and a new one below it of which its test knows nothing.
#[test]
fn the_test_of_a_field_uses_it() {
    let files = test_files();
    let text = |file: &str| files.iter().find(|(other, _)| other == file).map_or("", |(_, text)| text.as_str());
    let mut found = BTreeMap::new();
    paths(
        &serde_json::from_slice(&std::fs::read(fixture("bundles/everything/config.json")).unwrap()).unwrap(),
        "",
        &mut found,
    );
    let mut wrong = Vec::new();
    for path in found.keys().filter(|path| !SAID_OTHERWISE.iter().any(|prefix| is_below(path, prefix))) {
        let Some((_, _, _, test)) = row_of(path) else { continue };
        let (file, name) = test.split_once(": ").unwrap();
        let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        let shared = [text(&format!("{folder}/mod.rs")), text(&format!("{folder}.rs"))].concat();
        let source = reached(&[text(file), &shared].concat(), name);
        if !claims(&source) {
            wrong.push(format!("{test} claims nothing but that nothing fails: what does {path} do?"));
        }
        // As config.json spells it, or as a function of the bench may be called.
        let field = path.rsplit('.').find(|part| *part != "*").unwrap().trim_end_matches("[]");
        let snake = field.chars().fold(String::new(), |name, c| match c.is_ascii_uppercase() {
            true => name + "_" + &c.to_ascii_lowercase().to_string(),
            false => name + &c.to_string(),
        });
        let source = source.to_lowercase();
        if !source.contains(&field.to_lowercase()) && !source.contains(&snake) {
            wrong.push(format!("{test} does not use {path}: a row of tests/field_tests.rs names the test that does"));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// An error of a field that nobody can write leads nowhere: the line of config.json is not found, nor the flag that said it.
#[test]
fn errors_name_fields_that_there_are() {
    let mut known = BTreeMap::new();
    let everything = std::fs::read(fixture("bundles/everything/config.json")).unwrap();
    paths(&serde_json::from_slice(&everything).unwrap(), "", &mut known);
    let there = |path: &str| known.keys().any(|known| is_below(&known.replace("[]", ""), path));
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for file in crate::architecture::sources() {
        let code = crate::architecture::code_of(&file);
        let words: Vec<&str> = code.split("#[cfg(test)]").next().unwrap().split_whitespace().collect();
        let code = words.join(" ").replace("( ", "(");
        // `refuse` of the limits says what is below them.
        let limits = if file.is_in("plan/cgroup") { "refuse(" } else { "Refused(" };
        let calls = [(limits, "linux.resources."), ("of_field(Stage::Bundle, ", ""), ("at_field(", "")];
        for (call, above) in calls {
            let literals = code.split(call).skip(1).filter_map(|rest| rest.strip_prefix('"')?.split('"').next());
            for field in literals.filter(|field| !field.contains('{')) {
                seen += 1;
                if !there(&format!("{above}{field}")) {
                    wrong.push(format!("src/{}: there is no field {above}{field}", file.name()));
                }
            }
        }
    }
    assert!(seen > 20, "only {seen} fields");
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// Who has said a field is found by its path: with another, the error is one of a file that nobody wrote; and a flag that there is
/// not helps nobody.
#[test]
fn origins_name_fields_and_flags_that_there_are() {
    let mut known = BTreeMap::new();
    let everything = std::fs::read(fixture("bundles/everything/config.json")).unwrap();
    paths(&serde_json::from_slice(&everything).unwrap(), "", &mut known);
    let there = |path: &str| known.keys().any(|known| is_below(&known.replace("[]", ""), path));
    let flags: BTreeSet<&str> =
        crate::flag_tests::scopes().into_iter().flat_map(|(_, flags)| flags).map(|flag| flag.long).collect();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for file in crate::architecture::sources().into_iter().filter(|file| file.name().to_string() != "error/origins.rs")
    {
        let code = crate::architecture::code_of(&file).split_whitespace().collect::<Vec<_>>().join(" ");
        // Rows are `"path", "--flag"`, of `UpdateArgs` below the limits.
        for (before, rest) in code.match_indices("\", \"--").map(|(at, found)| (&code[..at], &code[at + found.len()..]))
        {
            if !code.contains("Origins") {
                break;
            }
            let path = before.rsplit('"').next().unwrap_or_default();
            let flag = rest.split('"').next().unwrap_or_default();
            seen += 1;
            if !there(path) && !there(&format!("linux.resources.{path}")) {
                wrong.push(format!("src/{}: there is no field {path}, which --{flag} is to have said", file.name()));
            }
            if !flags.contains(flag) {
                wrong.push(format!("src/{}: there is no --{flag}, which is to have said {path}", file.name()));
            }
        }
    }
    assert!(seen > 40, "only {seen} rows");
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// The row of a field: that of the longest path that it is below.
fn row_of(path: &str) -> Option<&'static (&'static str, &'static str, &'static str, &'static str)> {
    FIELDS.iter().filter(|(prefix, ..)| is_below(path, prefix)).max_by_key(|(prefix, ..)| prefix.len())
}

fn options(cases: &[String]) -> String {
    let mut rows = String::new();
    for option in brisk::plan::rootfs::options::names() {
        let mut tests =
            OPTION_TESTS.iter().filter(|(list, _)| list.split_ascii_whitespace().any(|item| item == option));
        let (_, test) = tests
            .next()
            .unwrap_or_else(|| panic!("OPTION_TESTS says nothing of {option}: a row of tests/flag_tests.rs"));
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
        assert!(
            FEATURE_TESTS.iter().any(|(feature, ..)| feature == path),
            "FEATURE_TESTS says nothing of {path}: a row of tests/feature_tests.rs"
        );
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
    for (verb, flags) in scopes() {
        for flag in flags {
            let value = match flag.value {
                FlagValue::Switch => String::new(),
                FlagValue::One(name) | FlagValue::Many(name) | FlagValue::Word(name, _) => format!(" {name}"),
                FlagValue::Maybe(name) => format!("[={name}]"),
            };
            let words = verb.replace("--", " --");
            let name = format!("brisk {words} --{}{value}", flag.long).replace("  ", " ").replace('|', "\\|");
            let of = |(verbs, flags, _): &&(&str, &str, &str)| {
                let has = |list: &str, word: &str| list.split(' ').any(|item| item == word);
                has(verbs, verb) && has(flags, flag.long)
            };
            let mut tests = FLAG_TESTS.iter().filter(of).map(|(.., test)| *test);
            let test = tests.next().unwrap_or_else(|| {
                panic!("FLAG_TESTS says nothing of {name}: a row of tests/flag_tests.rs, with the name of its test")
            });
            assert_eq!(tests.next(), None, "{name} is twice in FLAG_TESTS");
            assert!(cases.iter().any(|case| case == test), "{name}: there is no test {test}: write it");
            let how = flag.help.replace('|', "\\|");
            let how = if flag.listed { how } else { format!("accepted, {how}") };
            rows.push_str(&format!("| `{name}` | {how} | {test} |\n"));
        }
    }
    rows
}

/// Fields of the bundle `everything`, which no host can keep whole, that are in no other bundle either: limits of few
/// hosts, which tests/cgroup_limits.rs and the tests of `plan::cgroup::rdt` compute, and what is gone from kernels.
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
    let head = "# Fields and flags\n\nGenerated by `UPDATE_DOCS=1 make unit TEST=fields` from the bundle that has every \
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
