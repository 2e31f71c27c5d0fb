//! What users can notice is told where they look: the changelog, and the page of brisk-insight's commands. (docs/FIELDS.md, help and the
//! manual pages come from the tables.)

use std::path::Path;

use brisk::cli::flags::Flag;
use brisk::cli::verbs::VERBS;

use crate::flag_tests::scopes;
use crate::verb_tests::done_by_insight;

/// Flags of runc, crun and youki, which one line of the changelog speaks of. One of brisk's own is told there by its name.
const OF_OTHERS: &str = "additional-gids all apparmor auto-dedup blkio-weight cgroup-manager config cpu-burst cpu-idle cpu-period cpu-quota \
    cpu-rt-period cpu-rt-runtime cpu-share cpuset-cpus cpuset-mems empty-ns ext-unix-sk file file-locks image-path \
    lazy-pages leave-running link-remap lsm-mount-context lsm-profile manage-cgroups-mode \
    memory-reservation memory-swap network-lock no-new-keyring no-new-privs no-pivot no-subreaper page-server pidfd-socket pids-limit \
    pre-dump process-label quiet regex shell-job status-fd systemd-log tcp-close tcp-established tcp-skip-in-flight version work-path";

/// What is said of `word` is said of all of it: `--log` is not told by `--log-level`.
fn names(text: &str, word: &str) -> bool {
    text.match_indices(word)
        .any(|(at, _)| !text[at + word.len()..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-'))
}

fn document(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The flags that help lists, each with its command.
fn listed() -> impl Iterator<Item = (&'static str, &'static Flag)> {
    let all = scopes().into_iter().flat_map(|(verb, flags)| flags.into_iter().map(move |flag| (verb, flag)));
    all.filter(|(_, flag)| flag.listed)
}

#[test]
fn the_changelog_tells_of_every_command_and_flag() {
    let changelog = document("CHANGELOG.md");
    let mut missing = Vec::new();
    for row in VERBS.iter().filter(|row| row.listed()) {
        let told = [format!("`{}", row.name), format!("`brisk {}", row.name)];
        if !told.iter().any(|told| names(&changelog, told)) {
            missing.push(format!("CHANGELOG.md does not tell of `{}`: a line below Unreleased, Added", row.name));
        }
    }
    for (verb, flag) in listed() {
        let flag = flag.long;
        if !OF_OTHERS.split(' ').any(|other| other == flag) && !names(&changelog, &format!("--{flag}")) {
            let next = "a line below Unreleased, Added; one that runc or crun has belongs into OF_OTHERS";
            missing.push(format!("CHANGELOG.md does not tell of --{flag} of {verb}: {next}"));
        }
    }
    for flag in OF_OTHERS.split(' ') {
        if !listed().any(|(_, other)| other.long == flag) {
            missing.push(format!("OF_OTHERS names --{flag}, which no command takes"));
        }
    }
    assert!(missing.is_empty(), "\n{}\n", missing.join("\n"));
}

#[test]
fn the_page_of_insight_tells_of_its_commands_and_flags() {
    let page = document("docs/INSIGHT.md");
    // `plan` is brisk's own but for some of its flags.
    let own: Vec<&str> =
        done_by_insight().into_iter().map(|verb| verb.row().name).filter(|name| *name != "plan").collect();
    let told = |name: &&&str| names(&page, &format!("| `{name}"));
    let untold = own.iter().filter(|name| !told(name));
    let mut missing: Vec<String> =
        untold.map(|name| format!("docs/INSIGHT.md has no row of `{name}` in its first table")).collect();
    for (verb, flag) in listed().filter(|(verb, _)| own.contains(verb)) {
        if !names(&page, &format!("--{}", flag.long)) {
            missing
                .push(format!("docs/INSIGHT.md does not tell of --{} of {verb}: a word below its heading", flag.long));
        }
    }
    assert!(missing.is_empty(), "\n{}\n", missing.join("\n"));
}

/// An annotation that is followed is one of the interfaces, and who trusts what is a question of each.
#[test]
fn the_annotations_are_told() {
    let compat = document("docs/COMPAT.md");
    let source = document("src/spec/annotations.rs");
    let code = source.split("#[cfg(test)]").next().unwrap();
    let of = ["run.", "org.", "io."];
    let all = code.split('"').skip(1).step_by(2).filter(|text| of.iter().any(|start| text.starts_with(start)));
    let all: Vec<&str> = all.collect();
    assert!(all.len() > 12, "only {} annotations", all.len());
    let missing: Vec<&&str> = all.iter().filter(|name| !compat.contains(&format!("`{name}"))).collect();
    assert!(missing.is_empty(), "docs/COMPAT.md does not tell of {missing:?}: what it does, and whether it is trusted");
}

#[test]
fn every_page_is_found_from_the_first() {
    let first = document("README.md");
    let pages = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")).unwrap();
    let pages =
        pages.map(|entry| entry.unwrap().file_name().into_string().unwrap()).filter(|name| name.ends_with(".md"));
    let lost: Vec<String> = pages.filter(|name| !first.contains(&format!("docs/{name}"))).collect();
    assert!(lost.is_empty(), "README.md has no link to {lost:?}");
}

/// A crate is code that runs as root: it is chosen, and the reason is written down.
#[test]
fn every_crate_has_its_reason() {
    let design = document("docs/DESIGN.md");
    let reasons = design.split("\n## Crates\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let manifest = document("Cargo.toml");
    let mut seen = 0;
    for section in manifest.split("\n[").skip(1) {
        let Some((_, rows)) = section.split_once("dependencies]\n") else { continue };
        for name in rows.lines().filter(|row| !row.starts_with('#')).filter_map(|row| Some(row.split_once(" = ")?.0)) {
            seen += 1;
            let what = "docs/DESIGN.md, Crates, does not say what it is for, and why that is not done without";
            assert!(reasons.contains(&format!("`{name}`")), "{name}: {what}");
        }
    }
    assert!(seen > 8, "only {seen} crates");
}
