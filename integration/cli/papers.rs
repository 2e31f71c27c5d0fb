//! What is written for people is true: the examples of the manual pages and of README.md, run one after the other, and the demo.

use std::path::{Path, PathBuf};
use std::process::Command;

use brisk::cli::manual;
use brisk::cli::verbs::{VERBS, Verb};

use crate::common::{Bundle, Container, Need, brisk_only, host, lacks, process, runtime, skip_here, skip_unless};
use crate::insight::{self, cannot_look};

/// In the order of a container's life.
const ORDER: [Verb; 26] = [
    Verb::Spec,
    Verb::Check,
    Verb::Plan,
    Verb::Run,
    Verb::Trace,
    Verb::Record,
    Verb::Create,
    Verb::State,
    Verb::List,
    Verb::Start,
    Verb::Ps,
    Verb::Exec,
    Verb::Stats,
    Verb::Inspect,
    Verb::Memory,
    Verb::Events,
    Verb::Update,
    Verb::Pause,
    Verb::Resume,
    Verb::Mounts,
    Verb::Kill,
    Verb::Wait,
    Verb::Restart,
    Verb::Delete,
    Verb::Features,
    Verb::Completion,
];

/// Commands whose examples are not run here, and why.
const NOT_RUN: [(Verb, &str); 6] = [
    (Verb::Top, "it runs until q"),
    (Verb::Pool, "a bundle and a program of a judge's"),
    (Verb::Diff, "the root is no overlay"),
    (Verb::Checkpoint, "CRIU, see integration/lifecycle/checkpoint.rs"),
    (Verb::Restore, "CRIU, see integration/lifecycle/checkpoint.rs"),
    (Verb::Man, "help does not list it, and it has no page"),
];

#[test]
fn every_example_is_run_or_has_a_reason() {
    for row in VERBS {
        let reason = NOT_RUN.iter().any(|(verb, reason)| *verb == row.verb && reason.contains(' '));
        assert_ne!(ORDER.contains(&row.verb), reason, "{}: its place in ORDER, or a reason in NOT_RUN", row.name);
    }
}

#[test]
fn examples_of_the_manual_work() {
    if brisk_only("its own manual") {
        return;
    }
    if !host::is_root() || lacks(&["memory", "pids"]) {
        return skip_here("root, and controllers that the examples name");
    }
    // What of them is done by brisk-insight needs that beside it.
    let alone = cannot_look();
    let container =
        if alone { beside_a_root(|_| host::resolve_program(&runtime())) } else { beside_a_root(insight::brisk) };
    let dir = &container.bundle.dir;
    let web = dir.join("web");
    let source = container.bundle.host_dir("source");
    let mounts = serde_json::json!([{ "destination": "/mnt", "type": "bind", "source": source, "options": ["bind"] }]);
    std::fs::write(dir.join("mounts.json"), mounts.to_string()).unwrap();
    // Another one, to which the first may give of its limits.
    let green = Bundle::idle().resources("memory", serde_json::json!({ "limit": 64 << 20 })).container();
    container.call(&["create", "--bundle", green.bundle.dir.to_str().unwrap(), &green.id]).ok();
    use Verb::{Inspect, Memory, Plan, Record, Stats, Trace};
    let by_insight = |verb: &Verb| matches!(verb, Trace | Plan | Record | Stats | Inspect | Memory);
    for verb in ORDER.iter().copied().filter(|verb| !(alone && by_insight(verb))) {
        let mut config = container.bundle.config.clone();
        match verb {
            Verb::Check => config["process"]["args"] = serde_json::json!(["/bin/true"]),
            Verb::Create => {}
            _ => config = serde_json::Value::Null,
        }
        if !config.is_null() {
            std::fs::write(web.join("config.json"), config.to_string()).unwrap();
        }
        for (line, _) in manual::of(verb).examples {
            let line = line.replace("web1", &container.id).replace(" once", &format!(" {}", container.id));
            let line =
                [" green", " web2"].iter().fold(line, |line, name| line.replace(name, &format!(" {}", green.id)));
            // The trace's name was changed with the container's.
            let out = process::run(shell(&line, dir));
            let may_be_missing = line == "brisk check";
            let done = out.code == 0 || (may_be_missing && out.code == 1);
            if !done {
                container.call(&["delete", "--force", &green.id]);
            }
            assert!(done, "{line}: {out:?}");
        }
    }
    container.call(&["delete", "--force", &green.id]).ok();
}

/// A container in whose directory are a root, in `web`, and a `brisk` that keeps what it makes there.
pub(super) fn beside_a_root(brisk: impl Fn(&Container) -> PathBuf) -> Container {
    let container = Bundle::idle().container();
    let dir = &container.bundle.dir;
    let web = dir.join("web");
    std::fs::create_dir(&web).unwrap();
    let copied = Command::new("cp").arg("-a").arg(container.bundle.rootfs()).arg(&web).status().unwrap();
    assert!(copied.success());
    std::fs::create_dir(dir.join("bin")).unwrap();
    let brisk = brisk(&container);
    let state = container.bundle.state_root();
    let text = format!("#!/bin/sh\nexec {} --root {} \"$@\"\n", brisk.display(), state.display());
    container.bundle.script("bin/brisk", &text);
    container
}

/// Whoever begins types what README.md says, line by line; a script does, too, with nobody at the terminal.
#[test]
fn what_the_readme_begins_with_works() {
    if cannot_look() {
        return;
    }
    if !host::is_root() || lacks(&["memory", "pids"]) {
        return skip_here("root, and controllers that the examples name");
    }
    let readme = std::fs::read_to_string(host::paper("README.md")).unwrap();
    let (_, begin) = readme.split_once("\n## Begin\n").unwrap();
    let (begin, _) = begin.split_once("\n## ").unwrap();
    let lines: Vec<&str> = begin.lines().filter_map(|line| line.strip_prefix("# ")).collect();
    assert!(lines.len() >= 8, "{lines:?}");
    let container = beside_a_root(insight::brisk);
    let names = ["web1", "web2", "job1"].map(|name| (name, format!("{}-{name}", container.id)));
    for line in lines.into_iter().filter(|line| *line != "brisk top") {
        let line = names.iter().fold(line.to_owned(), |line, (name, own)| line.replace(name, own));
        let mut command = shell(&line, &container.bundle.dir);
        command.stdin(std::process::Stdio::null());
        let out = process::run(command);
        let may_be_missing = line.starts_with("brisk check  ");
        let done = out.code == 0 || (may_be_missing && out.code == 1);
        if !done {
            names.iter().for_each(|(_, own)| drop(container.call(&["delete", "--force", own])));
        }
        assert!(done, "{line}: {out:?}");
    }
    for (_, own) in names {
        container.call(&["delete", "--force", &own]).ok();
    }
}

pub(super) fn shell(line: &str, dir: &Path) -> Command {
    let path = std::env::var("PATH").unwrap();
    let mut command = Command::new("sh");
    command.args(["-ec", line]).current_dir(dir).env("PATH", format!("{}/bin:{path}", dir.display()));
    command
}

#[test]
fn the_demo_shows_what_runs() {
    if brisk_only("its own demo") || lacks(&["memory"]) {
        return;
    }
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/demo");
    if skip_unless(Need::from(demo.exists() && host::is_root()), "root, and a checkout") {
        return;
    }
    let mut command = Command::new(demo);
    command.arg(host::resolve_program(&runtime()));
    let text = process::run(command).ok().stdout();
    // A file gets no escape codes, and nothing that runs is hidden.
    assert!(!text.contains('\x1b') && !text.contains("--root "), "{text}");
    for words in
        ["execve\n", "\nhello from demo\n", "hint: ", "3 errors would keep it from starting here", "$ brisk list\n"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
    let oom = text.contains("OOM");
    assert_eq!(oom, text.contains("wants more than its 16 MiB"), "{text}");
}

fn contrib(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib").join(name)
}

/// What a tool says that takes as long as it needs.
#[track_caller]
fn said(program: impl AsRef<Path>, args: &[&Path]) -> String {
    let out = Command::new(program.as_ref()).args(args).output().unwrap();
    assert!(out.status.success(), "{}: {out:?}", program.as_ref().display());
    String::from_utf8(out.stdout).unwrap()
}

/// All files below a directory, with their contents.
fn files(dir: &Path) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
    let mut found = std::collections::BTreeMap::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(next) = todo.pop() {
        for entry in std::fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                todo.push(entry);
            } else {
                found.insert(entry.strip_prefix(dir).unwrap().to_owned(), std::fs::read(&entry).unwrap_or_default());
            }
        }
    }
    found
}

/// Where the links of a document lead, but for those to other machines and to places in itself.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
    targets.filter(|target| !target.is_empty() && !target.contains("://"))
}

#[test]
fn what_is_installed_is_what_is_taken_away() {
    if brisk_only("its own files") || skip_unless(Need::from(contrib("install").exists()), "a checkout") {
        return;
    }
    let bundle = Bundle::idle();
    let root = bundle.host_dir("installed");
    let brisk = host::resolve_program(&runtime());
    let call = |what: &str| said(contrib(what), &[&brisk, &root, Path::new("/usr")]);
    call("install");
    let there = files(&root);
    for file in ["usr/bin/brisk", "usr/share/man/man8/brisk-run.8", "usr/share/doc/brisk/examples/daemon.json"] {
        assert!(there.contains_key(Path::new(file)), "{file}: {:?}", there.keys());
    }
    // What the administrator has changed is his.
    let drop_in = "etc/containers/containers.conf.d/brisk.conf";
    std::fs::write(root.join(drop_in), "changed").unwrap();
    assert!(call("uninstall").contains(drop_in));
    assert_eq!(files(&root).into_keys().collect::<Vec<_>>(), [Path::new(drop_in)]);
}

#[test]
fn the_package_is_clean_and_the_same_each_time() {
    if brisk_only("its own package") || skip_unless(Need::from(contrib("deb/build").exists()), "a checkout") {
        return;
    }
    let has = |program: &str| {
        Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap().status.success()
    };
    if skip_unless(Need::from(has("dpkg-deb") && has("cargo")), "dpkg-deb and cargo") {
        return;
    }
    let bundle = Bundle::idle();
    let [one, other, unpacked] = ["one", "other", "unpacked"].map(|name| bundle.host_dir(name));
    let brisk = host::resolve_program(&runtime());
    for dir in [&one, &other] {
        said(contrib("deb/build"), &[&brisk, dir]);
    }
    assert!(files(&one) == files(&other), "two builds differ");
    let package = one.join(files(&one).into_keys().next().unwrap());
    said("dpkg-deb", &[Path::new("-x"), &package, &unpacked]);
    let doc = unpacked.join("usr/share/doc/brisk");
    for (path, bytes) in files(&doc).into_iter().filter(|(path, _)| path.extension().is_some_and(|end| end == "md")) {
        for link in links(&String::from_utf8(bytes).unwrap()) {
            let target = doc.join(&path).parent().unwrap().join(link);
            assert!(target.symlink_metadata().is_ok(), "{} of the package: {link}", path.display());
        }
    }
    let notices = said("zcat", &[&doc.join("NOTICES.gz")]);
    let program = std::fs::read(&brisk).unwrap();
    let glibc = program.windows(14).any(|part| part == b"GLIBC_TUNABLES");
    let library = if glibc { "The GNU C Library" } else { "musl, linked statically" };
    for name in ["serde_json ", "The standard library of Rust 1.", library] {
        assert!(notices.contains(&format!("\n{name}")), "{name}");
    }
    if !has("lintian") {
        return crate::common::skip("lintian is not installed");
    }
    // It leaves files there. The brisk of `make quick` keeps its names.
    let place = format!("TMPDIR={}", bundle.host_dir("lintian").display());
    let quick = [&*place, "lintian", "--allow-root", "--suppress-tags", "unstripped-binary-or-object"].map(Path::new);
    assert_eq!(said("env", &[&quick[..], &[&package]].concat()), "");
}
