//! Names, words and comments: one thing, one word, and one way to do it.

use std::collections::BTreeMap;

use super::{File, code_of, fail, sources, whole};

/// Names that several files have: Rust's own, and those of JSON in serde's traits.
const NAMED_TWICE: &[&str] = &["Result", "Error", "Value"];

/// Private ones, too: a reader who looks for a name should find one thing.
#[test]
fn no_type_has_the_name_of_another() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in sources() {
        for (_, line) in file.code() {
            let mut words = line.trim_start().split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let mut word = words.next();
            while let Some("pub" | "crate" | "super" | "in" | "plan" | "container" | "") = word {
                word = words.next();
            }
            if !matches!(word, Some("struct" | "enum" | "trait" | "union" | "type")) {
                continue;
            }
            // The shim is a program of its own, and knows no type of brisk's.
            let program = if file.module() == "shim" { "shim " } else { "" };
            let name = words.next().unwrap();
            if !NAMED_TWICE.contains(&name) && name.starts_with(|c: char| c.is_ascii_uppercase()) {
                places.entry(format!("{program}{name}")).or_default().push(file.name().to_string());
            }
        }
    }
    assert!(places.len() > 300, "only {} types found", places.len());
    let twice = places.iter().filter(|(_, files)| files.len() > 1);
    fail(
        &twice.map(|(name, files)| format!("{name}: src/{}", files.join(", src/"))).collect::<Vec<_>>(),
        "a type has one name, which says what only it is: give the new one another, or use the one there is",
    );
}

/// Words of the glossary that were once used for other things, too, and where each may be a name in code.
const WORDS: &[(&str, &[&str])] = &[
    // Where something is mounted or made.
    (
        "place",
        &[
            "child",
            "container/make/bundle.rs",
            "launch",
            "plan/op.rs",
            "plan/cgroup/join.rs",
            "plan/rootfs",
            "spec/mounts.rs",
            "container/caller/notify.rs",
            "container/verbs/restore.rs",
        ],
    ),
    ("places", &[]),
    // A tree that is cloned after the child was.
    ("late", &["child", "launch/steps.rs", "plan/draft.rs", "plan/op.rs", "plan/verbs/mounts.rs"]),
    // What the caller said; what the program gets is `preserved_fds`.
    ("preserve_fds", &["cli/flags.rs", "cli/validate.rs", "container"]),
];

/// The glossary of docs/DESIGN.md: each word has one row, the source uses it, and the types that explain it are there.
#[test]
fn the_glossary_is_of_this_source() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let design = std::fs::read_to_string(root.join("docs/DESIGN.md")).unwrap();
    let section = design.split("\n## Words\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let rows: Vec<(&str, &str)> = rows.filter(|(word, _)| *word != "word").collect();
    assert!(rows.len() > 35, "only {} rows", rows.len());
    let files = sources();
    let code = |name: &str| files.iter().any(|file| file.code().any(|(_, line)| whole(line, name)));
    let texts: Vec<String> = files.iter().map(|file| file.text.to_lowercase()).collect();
    let (mut found, mut seen) = (Vec::new(), Vec::new());
    for (words, meaning) in rows {
        for word in words.split(", ") {
            if seen.contains(&word) {
                found.push(format!("{word} has two rows"));
            }
            seen.push(word);
            // One or several, in a sentence, in a name, or as a type.
            let forms = [word.to_owned(), format!("{word}s"), word.replace(' ', "_"), word.replace(' ', "")];
            let used = |text: &String| forms.iter().any(|form| whole(text, form));
            if !texts.iter().any(used) {
                found.push(format!("{word} is in the glossary, and nowhere in the source"));
            }
        }
        let names = meaning.split('`').skip(1).step_by(2);
        let types = names.filter(|name| {
            name.chars().all(|c| c.is_ascii_alphanumeric()) && name.starts_with(|c: char| c.is_ascii_uppercase())
        });
        found.extend(types.filter(|name| !code(name)).map(|name| format!("{words}: there is no {name}")));
    }
    let words = WORDS.iter().map(|(word, _)| *word).filter(|word| !["places", "preserve_fds"].contains(word));
    let told = |word: &&str| section.contains(&format!("| {word} |")) || section.contains(&format!("*{word}*"));
    found.extend(words.filter(|word| !told(word)).map(|word| format!("{word} is kept to one meaning, and has no row")));
    fail(&found, "docs/DESIGN.md, Words: a row for each word that the source uses, and only for those");
}

/// What is read or made in one way, and where: a second one of the kind is a call of the first.
const ONE_HOME: &[(&str, &[&str])] = &[
    // Lists of CPUs and nodes; the others are a version and a range of an option's value, and the addresses of a mapping.
    ("split_once('-')", &["spec/number_list.rs", "spec/validate.rs", "insight/memory/smaps.rs"]),
    // New file systems, and who owns what is in a mount.
    ("fs_create(", &["sys/mount.rs"]),
    ("mount_attr::IDMAP", &["sys/mount.rs"]),
    ("{ RECURSIVE } else", &[]),
    // Into a mount namespace and back (`sys::namespace::MountView`); a list of all types of namespaces.
    ("CLONE_NEWNS", &["sys/namespace.rs", "plan/namespace/mod.rs"]),
    // The users of this host; a root that is put together has the file in it.
    ("\"/etc/passwd\"", &["proc/passwd.rs", "compose/gather.rs"]),
    // Files of limits: `plan::cgroup::files` has their names, fields and values. The statistics have an event of that name.
    ("\"max\"", &["plan/cgroup/files.rs", "cgroup/totals.rs", "cgroup/stats/v2.rs"]),
    // Whether a namespace is made or joined.
    (
        "kind == NamespaceKind",
        &["launch/skeleton.rs", "plan/verbs/create.rs", "plan/namespace", "plan/rootfs/idmap.rs"],
    ),
    ("kind != NamespaceKind", &["plan/namespace"]),
    ("namespaces[..]", &["spec/mod.rs"]),
    // What a container was made of, with the annotations that were followed (`Container::spec`).
    ("read(CONFIG)", &["state/dir.rs", "container/lookup/mod.rs"]),
    (
        "trust.apply(",
        &["spec/annotations.rs", "container/lookup/mod.rs", "container/make/bundle.rs", "container/make/trust.rs"],
    ),
    // A path to what a descriptor is of (`sys::fs::by_number`); `compose` knows no system calls.
    ("/proc/self/fd/{}", &["sys/fs.rs", "compose/gather.rs"]),
    // What musl has otherwise: the command line before `main` (`sys::arguments`), `O_PATH` among the access modes, which std takes out
    // of flags of its caller's (`sys::fs::open`, nix's), the first signal of the real time (`container::signal`).
    ("env::args", &[]),
    ("O_ACCMODE", &[]),
    ("custom_flags(libc::O_PATH", &[]),
    ("libc::SIGRT", &[]),
    // Files that others may have made, read up to a limit (`sys::fs::RegularFile`); documents are `spec::load`'s.
    (".take(LONGEST", &["spec/load.rs"]),
];

#[test]
fn there_is_one_way_to_do_a_thing() {
    let mut found = Vec::new();
    for file in sources().iter().filter(|file| file.module() != "shim") {
        for (number, line) in file.code() {
            let second = ONE_HOME
                .iter()
                .filter(|(text, homes)| line.contains(text) && !homes.iter().any(|home| file.path.starts_with(home)));
            found.extend(second.map(|(text, _)| format!("src/{}:{number}: {text} has a home", file.name())));
        }
    }
    fail(&found, "call what is in its home (ONE_HOME, tests/architecture/words.rs), or move the new one there");
}

/// Programs get no mask of signals (`sys::process::spawn`): std hands on the mask of who starts them, and the shim has all blocked.
#[test]
fn programs_are_started_in_one_way() {
    // The others are of tests.
    let homes = ["sys/process.rs", "state/process.rs", "cgroup/rdt.rs"];
    let mut found = Vec::new();
    for file in sources().iter().filter(|file| !homes.iter().any(|home| file.path.starts_with(home))) {
        let code = code_of(file);
        for (at, call) in [".spawn()", ".output()", ".status()"].iter().flat_map(|call| code.match_indices(call)) {
            // Containers have a status, too.
            let statement = code[..at].rsplit([';', '{', '}']).next().unwrap_or_default();
            if call != ".status()" || statement.contains("ommand") {
                let line = code[..at].matches('\n').count() + 1;
                found.push(format!("src/{}:{line}: starts a program by itself", file.name()));
            }
        }
    }
    fail(&found, "start it by `sys::process::spawn`, which gives it no mask of signals");
}

/// A file that a limit is written to is named in the registry of those files, and nowhere else.
#[test]
fn files_of_limits_are_named_in_one_place() {
    use brisk::plan::cgroup::files;
    let mut found = Vec::new();
    let sources = sources();
    let others = |file: &&File| file.module() != "shim" && file.path != std::path::Path::new("plan/cgroup/files.rs");
    for limit in files::ALL {
        let field = limit.field.unwrap_or_default().replace('/', ".");
        // The field of config.json that has the name of its file is named where it is refused.
        if field == limit.name {
            continue;
        }
        let text = format!("\"{}", limit.name.split('*').next().unwrap_or_default());
        let text = if limit.name.contains('*') { text } else { text + "\"" };
        for file in sources.iter().filter(others) {
            // Statistics of huge pages are in files beside.
            let stats = file.path.starts_with("cgroup/stats") && limit.name.contains('*');
            let lines = file.code().filter(|(_, line)| line.contains(&text) && !stats);
            found.extend(lines.map(|(number, _)| format!("src/{}:{number}: {} has a home", file.name(), limit.name)));
        }
    }
    for throttle in files::THROTTLES {
        let text = format!("\"{}", throttle.key);
        let named = sources.iter().filter(others).filter(|file| file.code().any(|(_, line)| line.contains(&text)));
        found.extend(named.map(|file| format!("src/{}: {} has a home", file.name(), throttle.key)));
    }
    fail(&found, "name the file by its constant of src/plan/cgroup/files.rs");
}

/// How a comment begins that cannot be read without the line above it.
const LEANING: [&str; 9] = ["The same", "Those ", "That of", "They ", "It ", "Also", "Likewise", "As above", "Ditto"];

#[test]
fn a_word_means_one_thing_and_a_comment_stands_alone() {
    let mut found = Vec::new();
    let mut comments = 0;
    for file in sources() {
        for (number, line) in file.code() {
            for (word, may) in WORDS.iter().filter(|(word, _)| whole(line, word)) {
                // A text that is printed is no name.
                if file.module() != "shim" && !line.contains('"') && !may.iter().any(|may| file.path.starts_with(may)) {
                    found.push(format!("src/{}:{number}: {word} is another thing (docs/DESIGN.md)", file.name()));
                }
            }
        }
        let mut inside = false;
        for (index, line) in file.text.lines().enumerate() {
            let comment = line.trim_start().strip_prefix("/// ").filter(|_| !inside);
            comments += usize::from(comment.is_some());
            inside = line.trim_start().starts_with("///");
            if comment.is_some_and(|text| LEANING.iter().any(|start| text.starts_with(start))) {
                found.push(format!("src/{}:{}: leans on what is above: {}", file.name(), index + 1, line.trim()));
            }
        }
    }
    assert!(comments > 3000, "only {comments} comments found");
    fail(
        &found,
        "another word for a thing that is not the glossary's (docs/DESIGN.md, Words); a comment that begins with what it is about",
    );
}

/// Longer than this and a file holds more than one noun.
const MAX_LINES: usize = 620;

#[test]
fn every_file_says_what_it_is_and_is_short() {
    let mut found = Vec::new();
    for file in sources() {
        let mut lines = file.text.lines().skip_while(|line| line.starts_with("// Generated by "));
        if !lines.next().is_some_and(|line| line.starts_with("//! ")) {
            found.push(format!("src/{}: no module documentation", file.name()));
        }
        let generated = file.text.starts_with("// Generated by ");
        let lines = if generated { 0 } else { file.text.lines().count() };
        if lines > MAX_LINES {
            found.push(format!("src/{}: {lines} lines, more than {MAX_LINES}", file.name()));
        }
    }
    fail(&found, "a head (`//!`) that says what the file is; two nouns are two files");
}

#[test]
fn nothing_is_left_to_do() {
    let mut found = Vec::new();
    for file in sources() {
        for (index, line) in file.text.lines().enumerate() {
            if ["TODO", "FIXME", "XXX", "todo!", "unimplemented!"].iter().any(|word| whole(line, word)) {
                found.push(format!("src/{}:{}: {}", file.name(), index + 1, line.trim()));
            }
        }
    }
    fail(&found, "do it, or say in an issue what is left");
}

/// A folder opens with a map: what is in it, each module by its name.
#[test]
fn a_folder_says_what_each_of_its_modules_is() {
    let mut found = Vec::new();
    let mut folders = 0;
    let is_head = |file: &&File| file.path.ends_with("mod.rs") || file.path.ends_with("main.rs");
    for file in sources().iter().filter(is_head) {
        let (heads, rest): (Vec<&str>, Vec<&str>) = file.text.lines().partition(|line| line.starts_with("//!"));
        let head = heads.join(" ");
        let names = rest.iter().filter_map(|line| {
            let (before, name) = line.strip_suffix(';')?.rsplit_once("mod ")?;
            (before.is_empty() || before.starts_with("pub")).then_some(name)
        });
        let names: Vec<&str> = names.filter(|name| *name != "tests").collect();
        folders += usize::from(!names.is_empty());
        let missing = names.iter().filter(|name| !head.contains(&format!("`{name}`")));
        found.extend(missing.map(|name| format!("src/{}: the head does not say what `{name}` is", file.name())));
    }
    assert!(folders > 40, "only {folders} folders found");
    fail(&found, "a word for each module in the head of its folder");
}

/// Files of tests that sleep, and how often: to look again, to be late on purpose, or because time itself is what is tested.
const SLEEPS: &[(&str, usize)] = &[
    ("integration/bench/engines.rs", 1),
    ("integration/bench/latency.rs", 1),
    ("integration/cli/each_flag.rs", 1),
    ("integration/common/host.rs", 1),
    ("integration/common/leftovers.rs", 1),
    ("integration/faults/questions.rs", 1),
    ("integration/jobs/background.rs", 1),
    ("integration/jobs/background/killed.rs", 1),
    ("integration/lifecycle/hard_cases.rs", 1),
    ("integration/lifecycle/verbs.rs", 1),
    ("integration/probe.rs", 1),
    ("integration/security/cgroup_names.rs", 1),
    ("integration/shim/lib.rs", 1),
    ("integration/tool/trace.rs", 2),
];

/// Who sleeps until something ought to have happened fails on a busy machine, brisk itself too; a test that is left out tells nobody.
#[test]
fn tests_wait_for_what_happens() {
    let mut found = Vec::new();
    let ours = super::sources().into_iter().map(|file| (format!("src/{}", file.name()), file.text));
    for (file, text) in crate::test_files().into_iter().chain(ours) {
        let lines = || text.lines().map(super::before_comment);
        // By whatever name it is imported.
        let by_itself = |line: &str| ["thread::sleep", "park_timeout"].iter().any(|name| line.contains(name));
        // What is not waited for may be a program that sleeps.
        let by_another =
            |line: &str| file.starts_with("src/") && line.contains("\"sleep\"") && !line.contains(".spawn()");
        let sleeps = lines().filter(|line| by_itself(line) && !line.contains('"') || by_another(line)).count();
        let may = SLEEPS.iter().find(|(name, _)| *name == file).map_or(0, |(_, count)| *count);
        if sleeps != may {
            found.push(format!("{file}: {sleeps} sleeps, not {may}"));
        }
        if lines().any(|line| line.trim_start().starts_with("#[ignore")) {
            found.push(format!("{file}: a test is ignored"));
        }
    }
    fail(
        &found,
        "wait for the thing itself (`host::wait_until`, `process::wait_readable`, `process::waits_in`), or say in SLEEPS \
         (tests/architecture/words.rs) that time is what is meant; what cannot run says so by `skip_unless` and its kin",
    );
}

/// What a test says by: itself, or what it calls of its file or of `integration/common`.
const SAYS: &[&str] =
    &["assert", "panic!", "unwrap", "expect", ".ok()", ".fails", "refused(", ".exits(", "fail(", "check("];

/// Who tells that a test does not run: `skip_unless` and its kin, and functions of files that call them.
const SKIPS: &[&str] =
    &["skip", "lacks(", "_only(", "only_", "not_here(", "cannot_", "without_", "no_", "misc_devices("];

/// Whether who does not go on by this statement has said why: `skip_unless` and its kin, or a function of the file that asks them.
fn tells(text: &str, statement: &str) -> bool {
    // With "not", who has told goes on and who has not is silent.
    let turned = ["!brisk_only(", "!skip_", "!lacks("].iter().any(|word| statement.contains(word));
    let by_name = |statement: &str| SKIPS.iter().any(|word| statement.contains(word));
    let called = || {
        let names = statement
            .match_indices('(')
            .map(|(at, _)| statement[..at].rsplit(|c: char| !c.is_alphanumeric() && c != '_'));
        names.filter_map(|mut words| words.next()).any(|name| by_name(&crate::flag_tests::reached(text, name)))
    };
    !turned && (by_name(statement) || called())
}

/// Whether a test of this file that returns after this has said nothing: neither has it claimed anything, nor told why it does not.
fn is_silent(text: &str, before: &str) -> bool {
    let starts = [" if ", " let "].iter().filter_map(|word| before.rfind(word)).max();
    !crate::flag_tests::claims(before) && !starts.is_some_and(|at| tells(text, &before[at..]))
}

/// What is before each return of a test, which has no value: one with a value is a closure's.
fn returns(body: &str) -> impl Iterator<Item = &str> {
    let ends = |at: usize| body[at + "return".len()..].trim_start().starts_with([';', '}', ',']);
    body.match_indices("return").filter(move |(at, _)| ends(*at)).map(|(at, _)| &body[..at])
}

/// A test without what it does only if a pattern fits, and nobody tells where it does not.
fn without_if_let(text: &str, body: &str) -> String {
    let mut left = String::new();
    let mut lines = body.lines();
    while let Some(line) = lines.next() {
        let indent = line.len() - line.trim_start().len();
        if line.trim_start().starts_with("if let ") && !tells(text, line) {
            if !line.ends_with('}') {
                lines.find(|line| line.len() - line.trim_start().len() == indent && line.trim_start().starts_with('}'));
            }
            continue;
        }
        left.push_str(line);
        left.push('\n');
    }
    left
}

/// A test that nothing can make fail is taken for one.
#[test]
fn every_test_can_fail() {
    let (mut found, mut seen) = (Vec::new(), 0);
    for (file, text) in crate::test_files() {
        let mut parts = text.split("#[test]\n");
        let mut last = parts.next().unwrap();
        for part in parts {
            let before = std::mem::replace(&mut last, part);
            let name = part.split_once("fn ").map_or("", |(_, rest)| rest.split('(').next().unwrap_or_default());
            // Macros have names of their own.
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                continue;
            }
            seen += 1;
            let off = part.lines().take_while(|line| !line.contains("fn ")).chain(before.lines().last());
            if off.into_iter().any(|line| ["cfg", "ignore"].iter().any(|word| whole(line, word))) {
                found.push(format!("{file}: {name} is switched off"));
            }
            let body = part.split("\n}\n").next().unwrap_or_default();
            if returns(body).any(|before| is_silent(&text, before)) {
                found.push(format!("{file}: {name} returns before it claims anything, and nobody hears of it"));
            }
            let source = match body.contains("if let ") {
                true => crate::flag_tests::reached(&text.replace(body, &without_if_let(&text, body)), name),
                false => crate::flag_tests::reached(&text, name),
            };
            if !SAYS.iter().any(|word| source.lines().any(|line| super::before_comment(line).contains(word))) {
                found.push(format!("{file}: {name} asserts nothing, or only if a pattern fits"));
            }
        }
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for pair in lines.windows(2).filter(|pair| pair[0].starts_with("#[cfg")) {
            if pair[1].starts_with("mod ") || pair[1].starts_with("pub mod ") {
                found.push(format!("{file}: `{}` is switched off", pair[1]));
            }
        }
    }
    assert!(seen > 1400, "only {seen} tests");
    fail(
        &found,
        "compare what was done with what is to be, by `assert_eq!` or what `Output` has for it; a test that cannot run says so by `skip_unless`",
    );
}
