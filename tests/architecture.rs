//! The shape of the source: which module may use which, where unsafe code is, what the child must not do.
//! The map is in docs/DESIGN.md; these tests keep it true.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Every top-level module and those of the others it may use. A row names only rows above it, so there is no
/// cycle.
const LAYERS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("sys", &[]),
    // Readers of small files of proc; errors are the system's.
    ("proc", &[]),
    ("wire", &["sys"]),
    // Whom it speaks to, and of what, is others' business (FORBIDDEN).
    ("dbus", &["error"]),
    ("spec", &["error"]),
    ("compose", &["error", "spec"]),
    ("host", &["error", "sys", "proc"]),
    // Of `sys` only plain data: masks, tables of numbers, instructions. `pure_modules_touch_nothing` checks it.
    ("plan", &["error", "sys", "wire", "dbus", "spec", "host"]),
    ("child", &["sys", "proc", "wire", "plan"]),
    ("cgroup", &["error", "sys", "proc", "dbus", "plan"]),
    ("launch", &["error", "sys", "wire", "host", "plan", "child", "cgroup"]),
    ("state", &["error", "sys", "proc", "spec"]),
    ("container", &["error", "sys", "proc", "spec", "compose", "host", "plan", "cgroup", "launch", "state"]),
    ("cli", &["error", "sys", "spec", "compose", "host", "plan", "state", "container"]),
    ("main", &["cli"]),
    ("lib", &[]),
    // A program of its own, whose `crate` is itself; of brisk it knows what `shim/os.rs` lets in.
    ("shim", &[]),
];

/// The folders of plan/ and those of the others they may use; a row names only rows above it. The files that lie flat in
/// plan/ are what all of them are written with, and what puts them together.
const PLAN_FOLDERS: &[(&str, &[&str])] = &[
    ("namespace", &[]),
    ("cgroup", &["namespace"]),
    ("systemd", &["cgroup"]),
    ("seccomp", &[]),
    ("process", &["namespace", "cgroup", "seccomp"]),
    ("rootfs", &["namespace", "cgroup", "systemd", "process"]),
];

/// More than this flat in plan/ and it is a heap again.
const MAX_FLAT: usize = 8;

/// Longer than this and a file holds more than one noun.
const MAX_LINES: usize = 620;

struct File {
    path: PathBuf,
    text: String,
}

impl File {
    fn name(&self) -> std::path::Display<'_> {
        self.path.display()
    }

    /// The first part of its path below src/: `plan` for plan/op.rs, `wire` for wire.rs.
    fn module(&self) -> &str {
        let first = self.path.components().next().unwrap().as_os_str().to_str().unwrap();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// Its module as a path: `plan`, `op` for plan/op.rs, `plan` for plan/mod.rs.
    fn path_of_module(&self) -> Vec<String> {
        let path = self.path.with_extension("");
        let parts = path.components().map(|part| part.as_os_str().to_str().unwrap().to_owned());
        let mut parts: Vec<String> = parts.collect();
        parts.pop_if(|last| last == "mod");
        parts
    }

    /// Its lines with their numbers, without comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, before_comment(line)))
    }

    /// Whether it is, or is inside, `module`, as `child` or `sys/last_calls`.
    fn is_in(&self, module: &str) -> bool {
        self.path.starts_with(module) || self.path == Path::new(&format!("{module}.rs"))
    }
}

/// A line up to its comment. A `//` inside a text is none.
fn before_comment(line: &str) -> &str {
    let mut quoted = false;
    let mut bytes = line.bytes().enumerate().peekable();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' => quoted = !quoted,
            b'/' if !quoted && bytes.peek().is_some_and(|(_, next)| *next == b'/') => return &line[..at],
            _ => {}
        }
    }
    line
}

fn sources() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut dirs = vec![root.clone()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                files.push(File { path: path.strip_prefix(&root).unwrap().to_owned(), text });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(files.len() > 100, "only {} files found", files.len());
    files
}

/// The module names after each `prefix` in a line: `crate::plan::op` gives `plan`, `crate::{plan, spec}` both.
fn named(line: &str, prefix: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in line.match_indices(prefix) {
        let rest = &line[at + prefix.len()..];
        let list = rest.strip_prefix('{').map_or(rest, |rest| rest.split('}').next().unwrap_or(rest));
        let parts: Vec<&str> = if rest.starts_with('{') { list.split(',').collect() } else { vec![list] };
        for part in parts {
            let name: String = part.trim().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            if !name.is_empty() {
                names.push(name);
            }
        }
    }
    names
}

/// Whether a line of code begins a match arm of one of these enumerations.
fn is_arm_of(line: &str, enums: &[&str]) -> bool {
    let pattern = line.trim_start().trim_start_matches("| ").trim_start_matches("Some(");
    enums.iter().any(|name| pattern.strip_prefix(name).is_some_and(|rest| rest.starts_with("::")))
        && line.split("=>").next().is_some_and(|before| !before.contains('='))
}

fn fail(found: &[String]) {
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn the_table_has_every_module_and_no_cycle() {
    let there: BTreeSet<String> = sources().iter().map(|file| file.module().to_owned()).collect();
    let listed: BTreeSet<String> = LAYERS.iter().map(|(module, _)| (*module).to_owned()).collect();
    assert_eq!(there, listed);
    for (row, (module, uses)) in LAYERS.iter().enumerate() {
        for used in *uses {
            let above = LAYERS[..row].iter().any(|(name, _)| name == used) || (*module == "main" && *used == "cli");
            assert!(above, "{module} may use {used}, which is not above it");
        }
    }
}

#[test]
fn modules_use_only_those_above_them() {
    let mut found = Vec::new();
    for file in sources() {
        let (_, allowed) = LAYERS.iter().find(|(module, _)| *module == file.module()).unwrap();
        for (number, line) in file.code() {
            for used in named(line, "crate::") {
                let known = LAYERS.iter().any(|(module, _)| *module == used);
                if known && used != file.module() && !allowed.contains(&used.as_str()) {
                    found.push(format!("src/{}:{number}: {} may not use {used}", file.name(), file.module()));
                }
            }
        }
    }
    fail(&found);
}

#[test]
fn the_folders_of_the_plan_use_only_those_above_them() {
    let files = sources();
    let flat = files.iter().filter(|file| file.module() == "plan" && file.path.components().count() == 2).count();
    assert!(flat <= MAX_FLAT, "{flat} files lie flat in src/plan");
    let mut found = Vec::new();
    let mut used = BTreeSet::new();
    for (file, imports) in imports(&files) {
        let folder = |path: &[String]| match path {
            [plan, folder, ..] if plan == "plan" => PLAN_FOLDERS.iter().position(|(name, _)| name == folder),
            _ => None,
        };
        let Some(own) = folder(&file) else { continue };
        for import in imports {
            let Some(other) = folder(&import).filter(|other| *other != own) else { continue };
            let (name, allowed) = PLAN_FOLDERS[own];
            used.insert((name, PLAN_FOLDERS[other].0));
            if other > own || !allowed.contains(&PLAN_FOLDERS[other].0) {
                found.push(format!("{} may not use {}", file.join("::"), import.join("::")));
            }
        }
    }
    for (name, allowed) in PLAN_FOLDERS {
        found.extend(
            allowed
                .iter()
                .filter(|other| !used.contains(&(*name, **other)))
                .map(|o| format!("{name} does not use {o}")),
        );
    }
    fail(&found);
}

#[test]
fn no_file_uses_one_that_uses_it() {
    let graph = imports(&sources());
    // What nothing left in the graph uses, or what uses nothing of it, is in no circle.
    let mut left: BTreeSet<&Vec<String>> = graph.keys().collect();
    loop {
        let before = left.len();
        let used = |file: &Vec<String>| left.iter().any(|other| graph[*other].contains(file));
        let uses = |file: &Vec<String>| graph[file].iter().any(|import| left.contains(import));
        left = left.iter().copied().filter(|file| used(file) && uses(file)).collect();
        if left.len() == before {
            break;
        }
    }
    let inside = |file: &Vec<String>| -> Vec<String> {
        graph[file].iter().filter(|import| left.contains(import)).map(|import| import.join("::")).collect()
    };
    fail(&left.iter().map(|file| format!("{} uses {}", file.join("::"), inside(file).join(", "))).collect::<Vec<_>>());
}

/// What each file imports of the others, both as paths of modules. A `pub use` of a folder's own file is a name that the
/// folder gives it, and no import.
fn imports(files: &[File]) -> BTreeMap<Vec<String>, BTreeSet<Vec<String>>> {
    let modules: BTreeSet<Vec<String>> = files.iter().map(File::path_of_module).collect();
    let mut graph = BTreeMap::new();
    for file in files {
        let own = file.path_of_module();
        let code: Vec<&str> = file.code().map(|(_, line)| line).take_while(|line| *line != "#[cfg(test)]").collect();
        let code = code.join("\n");
        let mut names = BTreeSet::new();
        for statement in code.split(';') {
            let (other, visible, tree) = import_of(statement);
            let paths = expand("", tree);
            let paths = paths.iter().filter_map(|path| resolve(&modules, &own, path));
            names.extend(paths.filter(|module| !(visible.starts_with("pub") && module.starts_with(&own))));
            names.extend(inline(other).filter_map(|path| resolve(&modules, &own, &path)));
            names.extend(below(&modules, &own, other));
        }
        names.remove(&own);
        graph.insert(own, names);
    }
    graph
}

/// A statement as what is before a `use`, its visibility, and its tree.
fn import_of(statement: &str) -> (&str, &str, &str) {
    let starts = statement.match_indices('\n').map(|(at, _)| at + 1).chain([0]);
    for start in starts {
        let line = statement[start..].trim_start();
        if let Some((visible, tree)) = line.split_once("use ").filter(|(v, _)| v.is_empty() || v.starts_with("pub")) {
            return (&statement[..start], visible, tree);
        }
    }
    (statement, "", "")
}

/// The paths in code that begin at the crate or at the module above.
fn inline(code: &str) -> impl Iterator<Item = String> {
    let starts = ["crate::", "super::"].into_iter().flat_map(|prefix| code.match_indices(prefix));
    let starts = starts.filter(|(at, _)| !code[..*at].ends_with("pub(in ") && !code[..*at].ends_with("::"));
    let part = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    starts.map(move |(at, _)| code[at..].chars().take_while(part).collect())
}

/// The files of its own folder that code names without an import.
fn below(modules: &BTreeSet<Vec<String>>, own: &[String], code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for module in modules.iter().filter(|module| module.len() == own.len() + 1 && module.starts_with(own)) {
        let path = format!("{}::", module[own.len()]);
        let whole = |at: usize| !code[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':'));
        if code.match_indices(&path).any(|(at, _)| whole(at)) {
            found.push(module.clone());
        }
    }
    found
}

/// The paths of a tree of imports: `a::{b, c::{d}}` gives `a::b` and `a::c::d`.
fn expand(prefix: &str, tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((head, rest)) = tree.split_once('{') else {
        return vec![format!("{prefix}{}", tree.split_whitespace().next().unwrap_or(""))];
    };
    let (mut paths, mut depth, mut part) = (Vec::new(), 0, String::new());
    for c in rest.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth < 0 || (depth == 0 && c == ',') {
            if !part.trim().is_empty() {
                paths.extend(expand(&format!("{prefix}{}", head.trim()), &part));
            }
            part.clear();
        } else {
            part.push(c);
        }
    }
    paths
}

/// The file that a path leads to, as far as it is one of ours.
fn resolve(modules: &BTreeSet<Vec<String>>, own: &[String], path: &str) -> Option<Vec<String>> {
    let mut parts: Vec<&str> = path.split("::").filter(|part| !part.is_empty()).collect();
    let mut base = own.to_vec();
    match parts.first().copied() {
        Some("crate") => base.clear(),
        Some("super" | "self") => {}
        Some(first) => {
            let child = [own, &[first.to_owned()]].concat();
            if !modules.contains(&child) {
                return None;
            }
        }
        None => return None,
    }
    while let Some("super") = parts.first().copied() {
        base.pop();
        parts.remove(0);
    }
    base.extend(parts.into_iter().filter(|part| !matches!(*part, "crate" | "self")).map(str::to_owned));
    while !base.is_empty() && !modules.contains(&base) {
        base.pop();
    }
    (!base.is_empty()).then_some(base)
}

/// A new operation must be looked at wherever operations are told apart.
#[test]
fn no_match_over_operations_has_a_wildcard() {
    let mut found = Vec::new();
    let mut arms = 0;
    for file in sources().iter().filter(|file| file.module() != "shim") {
        let lines: Vec<(usize, &str)> = file.code().take_while(|(_, line)| *line != "#[cfg(test)]").collect();
        let indent = |line: &str| line.len() - line.trim_start().len();
        for (index, (_, line)) in lines.iter().enumerate() {
            if !is_arm_of(line, &["SetupOp", "LastOp", "Step", "ChildOp"]) {
                continue;
            }
            arms += 1;
            let depth = indent(line);
            let block = lines[index..].iter().take_while(|(_, line)| line.trim().is_empty() || indent(line) >= depth);
            let wildcard = block.into_iter().find(|(_, line)| indent(line) == depth && line.trim().starts_with("_ "));
            found.extend(wildcard.map(|(number, _)| format!("src/{}:{number}: `_` among operations", file.name())));
        }
    }
    assert!(arms > 200, "only {arms} arms");
    found.dedup();
    fail(&found);
}

/// Where brisk's own things are is asked where they are looked for, and a brisk that is started again gets all. What a container gets of the environment is in
/// `container::environment` alone.
const READS_ENVIRONMENT: &[&str] = &[
    "container/environment.rs",
    "state/root.rs",
    "cgroup/systemd/scope.rs",
    "host/sub_ids.rs",
    "host/check.rs",
    "container/image.rs",
];

#[test]
fn the_environment_is_read_in_few_places() {
    let mut found = Vec::new();
    let mut used = BTreeSet::new();
    for file in sources().iter().filter(|file| file.module() != "shim") {
        for (number, line) in file.code().take_while(|(_, line)| *line != "#[cfg(test)]") {
            if ["env::var", "env::vars"].iter().any(|word| line.contains(word)) {
                match READS_ENVIRONMENT.iter().find(|name| file.path == Path::new(name)) {
                    Some(name) => drop(used.insert(name)),
                    None => found.push(format!("src/{}:{number}: {}", file.name(), line.trim())),
                }
            }
        }
    }
    found.extend(READS_ENVIRONMENT.iter().filter(|name| !used.contains(name)).map(|name| format!("{name} reads none")));
    fail(&found);
}

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
    fail(&twice.map(|(name, files)| format!("{name}: {}", files.join(", "))).collect::<Vec<_>>());
}

/// Words of the glossary that were once used for other things, too, and where each may be a name in code.
const WORDS: &[(&str, &[&str])] = &[
    // Where something is mounted or made.
    (
        "place",
        &[
            "child",
            "launch",
            "plan/op.rs",
            "plan/cgroup/join.rs",
            "plan/rootfs",
            "spec/mounts.rs",
            "container/notify.rs",
            "container/restore.rs",
        ],
    ),
    ("places", &[]),
    // A tree that is cloned after the child was.
    ("late", &["child", "launch/steps.rs", "plan/draft.rs"]),
    // What the caller said; what the program gets is `preserved_fds`.
    ("preserve_fds", &["cli/flags.rs", "container"]),
];

/// What is read or made in one way, and where: a second one of the kind is a call of the first.
const ONE_HOME: &[(&str, &[&str])] = &[
    // Lists of CPUs and nodes; the others are a version and a range of an option's value.
    ("split_once('-')", &["spec/number_list.rs", "spec/validate.rs"]),
    // New file systems, and who owns what is in a mount.
    ("fs_create(", &["sys/mount.rs"]),
    ("mount_attr::IDMAP", &["sys/mount.rs"]),
    ("{ RECURSIVE } else", &[]),
    // Into a mount namespace and back (`sys::namespace::MountView`); a list of all types of namespaces.
    ("CLONE_NEWNS", &["sys/namespace.rs", "plan/namespace/mod.rs"]),
    // The users of this host; a root that is put together has the file in it.
    ("\"/etc/passwd\"", &["proc/passwd.rs", "compose/mod.rs"]),
    // Files of limits: `plan::cgroup::files` has their names, fields and values. The statistics have an event of that name.
    ("\"max\"", &["plan/cgroup/files.rs", "cgroup/totals.rs", "cgroup/stats/v2.rs"]),
    ("\"cpu.max\"", &["plan/cgroup/files.rs"]),
    ("\"cpu.cfs_", &["plan/cgroup/files.rs"]),
    ("\"cpuset.cpus\"", &["plan/cgroup/files.rs"]),
    ("\"memory.max\"", &["plan/cgroup/files.rs"]),
    ("\"pids.max\"", &["plan/cgroup/files.rs"]),
    // Whether a namespace is made or joined.
    ("kind == NamespaceKind", &["launch/skeleton.rs", "plan/create.rs", "plan/namespace", "plan/rootfs/idmap.rs"]),
    ("kind != NamespaceKind", &["plan/namespace"]),
    ("namespaces[..]", &["spec/mod.rs"]),
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
    fail(&found);
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
    fail(&found);
}

#[test]
fn every_permission_is_used() {
    // A permission nobody needs is a door left open.
    let files = sources();
    let mut unused = Vec::new();
    for (module, uses) in LAYERS.iter().filter(|(module, _)| *module != "main") {
        for used in *uses {
            let of_module = files.iter().filter(|file| file.module() == *module);
            if !of_module.flat_map(File::code).any(|(_, line)| named(line, "crate::").iter().any(|name| name == used)) {
                unused.push(format!("{module} does not use {used}"));
            }
        }
    }
    fail(&unused);
}

#[test]
fn unsafe_code_is_in_sys_only() {
    let mut found = Vec::new();
    for file in sources().iter().filter(|file| file.module() != "sys") {
        for (number, line) in file.code() {
            let word = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| word == "unsafe");
            // The program's name for the C library, which is not unsafe code but has to say so.
            let main =
                file.path.file_name().is_some_and(|name| name == "main.rs") && line.trim() == "#[unsafe(no_mangle)]";
            if word && !main || line.contains("allow(unsafe_code") {
                found.push(format!("src/{}:{number}: {}", file.name(), line.trim()));
            }
        }
    }
    fail(&found);
}

/// What the modules that only compute, or run after the clone, must not name.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("plan", &["std::fs", "std::process", "std::env", "std::net", "std::time", "std::io", "println!", "libc::syscall"]),
    ("spec", &["std::process", "std::net", "std::time", "println!"]),
    ("child", &["std::fs", "std::process", "std::env", "std::net", "std::io", "std::thread", "println!", "eprintln!"]),
    ("child", &["String", "Vec::new", "vec![", "format!", "Box::new", "Rc::", "Arc::", ".to_vec(", ".to_string("]),
    ("child", &[".to_owned(", ".collect(", ".clone()", "CString::new", "Vec::with_capacity", ".push(", "HashMap"]),
    ("child", &["panic!", ".unwrap(", ".expect(", "unreachable!", "crate::spec", "crate::host", "crate::error"]),
    ("sys", &["println!", "eprintln!", "std::fs", "std::process::exit", "std::env"]),
    ("wire", &["String", "Vec", "format!"]),
    ("dbus", &["systemd", "systemctl", "Stage::", "cgroup", "container", "scope", "XDG_RUNTIME_DIR"]),
    ("proc", &["fs::write", "fs::remove", "fs::create", "OpenOptions", "println!"]),
    ("host", &["fs::write", "fs::remove", "fs::create", "OpenOptions"]),
];

#[test]
fn pure_modules_touch_nothing_and_the_child_does_not_allocate() {
    let files = sources();
    let mut found = Vec::new();
    for (module, words) in FORBIDDEN {
        assert!(files.iter().any(|file| file.is_in(module)), "there is no module {module}");
        for file in files.iter().filter(|file| file.is_in(module)) {
            for (number, line) in file.code() {
                for word in words.iter().filter(|word| whole(line, word)) {
                    found.push(format!("src/{}:{number}: {word} in {module}: {}", file.name(), line.trim()));
                }
            }
        }
    }
    fail(&found);
}

/// Whether `word` is in the line, not as the end of a longer name (`CString` is no `String`).
fn whole(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let inside = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
        let longer_before = word.starts_with(|c: char| c.is_ascii_alphanumeric()) && inside(before);
        let longer_after = word.ends_with(|c: char| c.is_ascii_alphanumeric()) && inside(after);
        !longer_before && !longer_after
    })
}

/// The functions of `sys` that take a path, and the files of the child that may call them. A path is resolved once:
/// what comes after goes by the descriptor. So whoever is added here answers for who could have put a link there.
const PATH_CALLS: &[(&str, &[&str])] = &[
    // From an opened root, without a way out of it, and what is missing made on the way.
    (
        "path::resolve",
        &["child/devices.rs", "child/mounts.rs", "child/program.rs", "child/root.rs", "child/streams.rs"],
    ),
    ("path::resolve_or_make", &["child/mounts.rs", "child/root.rs"]),
    ("path::make_missing", &["child/mounts.rs"]),
    ("fs::open2", &["child/program.rs", "child/root.rs"]),
    ("tty::open_pty", &["child/streams.rs"]),
    // Names in a directory that is held: of /dev, of a copy whose upper side nobody else has, of a tmpfs that nobody else reaches.
    ("fs::mkdir", &["child/copy.rs", "child/mounts.rs", "child/overlay.rs"]),
    ("fs::mknod", &["child/copy.rs", "child/devices.rs", "launch/host_objects.rs"]),
    ("fs::symlink", &["child/copy.rs", "child/devices.rs", "child/mounts.rs"]),
    ("fs::unlink", &["child/devices.rs", "child/mounts.rs"]),
    ("fs::stat_at", &["child/copy.rs", "child/devices.rs", "child/overlay.rs", "child/root.rs"]),
    ("fs::readlink", &["child/copy.rs", "child/mounts.rs"]),
    ("fs::chown", &["child/copy.rs", "child/devices.rs", "child/streams.rs", "launch/host_objects.rs"]),
    ("fs::chmod_at", &["child/copy.rs", "child/mounts.rs", "child/overlay.rs", "launch/host_objects.rs"]),
    ("mount::clone_tree_with", &["child/mounts.rs", "child/root.rs"]),
    (
        "mount::clone_tree",
        &["child/mounts.rs", "child/overlay.rs", "child/root.rs", "child/streams.rs", "launch/host_objects.rs"],
    ),
    // Names in what this start has made (plan::rootfs::fresh; the layers of an overlay).
    ("mount::attach_at", &["child/mounts.rs", "child/overlay.rs", "child/root.rs"]),
    // What is below is resolved as the caller said it, before the container has a say, or is a path of our own.
    (
        "fs::open",
        &[
            "child/copy.rs",
            "child/devices.rs",
            "child/mod.rs",
            "child/state.rs",
            "child/mounts.rs",
            "child/overlay.rs",
            "child/program.rs",
            "child/reveal.rs",
            "child/root.rs",
            "launch/host_objects.rs",
        ],
    ),
    ("fs::access", &["child/program.rs"]),
    ("fs::chdir", &["child/mounts.rs", "child/root.rs"]),
    ("fs::chroot", &["child/root.rs"]),
    ("mount::mount", &["child/mod.rs", "child/mounts.rs", "child/root.rs"]),
    ("mount::umount", &["child/mounts.rs", "child/reveal.rs", "child/root.rs", "launch/host_objects.rs"]),
    ("process::exec_pointers", &["child/hook.rs"]),
    // The parent's, among files that are its own.
    ("fs::rename", &[]),
    ("fs::exchange", &[]),
    ("fs::mount_id", &[]),
    ("fs::mkfifo", &[]),
    ("mount::below", &[]),
    ("poll::inotify_modified", &[]),
];

/// Those that take a text that is no path.
const NO_PATH: &[&str] = &[
    "dir::each",
    "dir::each_typed",
    "fs::memfd",
    "fs::set_selinux_label",
    "mount::fs_new",
    "mount::fs_open",
    "mount::fs_set",
    "process::set_domainname",
    "process::set_hostname",
    "regex::is_match",
    "regex::new",
];

/// Where the child, or who takes the host's objects for it, begins a path at its working directory or its root, and how
/// often. All else begins at a descriptor.
const FROM_CWD: &[(&str, usize)] = &[
    // proc, in the namespaces of the start: of the clock, of oom_score_adj.
    ("child/mod.rs", 2),
    // Sources of mounts, in the caller's own mounts; the root of a tmpfs that nobody else reaches; the directory that is returned to.
    ("child/mounts.rs", 6),
    // The directory that hooks return to.
    ("child/overlay.rs", 1),
    // The program, in the container's root as its user: what execve(2) itself looks up once more.
    ("child/program.rs", 1),
    // The caller's mounts that --no-pivot hides, before the container has a process.
    ("child/reveal.rs", 2),
    // The root as the caller said it; the old root and the new one.
    ("child/root.rs", 3),
    // The proc whose attributes are checked.
    ("child/state.rs", 1),
    // What the caller named, in the caller's mounts and with the caller's rights.
    ("launch/host_objects.rs", 2),
];

#[test]
fn a_path_is_resolved_once() {
    let files = sources();
    let mut found = Vec::new();
    let takes: Vec<String> = files.iter().filter(|file| file.is_in("sys")).flat_map(take_text).collect();
    for name in &takes {
        if !NO_PATH.contains(&name.as_str()) && !PATH_CALLS.iter().any(|(known, _)| known == name) {
            found.push(format!("sys::{name} takes a path: who may call it? (PATH_CALLS)"));
        }
    }
    for known in PATH_CALLS.iter().map(|(name, _)| name).chain(NO_PATH) {
        if !takes.iter().any(|name| name == known) {
            found.push(format!("no function {known} of sys takes a path"));
        }
    }
    let ours = |file: &&File| file.is_in("child") || file.is_in("launch/host_objects");
    for file in files.iter().filter(ours) {
        let name = file.name().to_string();
        for (function, may) in PATH_CALLS {
            // Those of sys/path.rs are imported by their own names.
            let called = function.strip_prefix("path::").unwrap_or(function);
            let calls = file.code().any(|(_, line)| whole(line, &format!("{called}(")));
            if calls != may.contains(&name.as_str()) {
                found.push(format!("src/{name}: {function} is {}", if calls { "not for it" } else { "not used" }));
            }
        }
        let count = file.code().filter(|(_, line)| whole(line, "fs::CWD")).count();
        let may = FROM_CWD.iter().find(|(known, _)| *known == name).map_or(0, |(_, count)| *count);
        if count != may {
            found.push(format!("src/{name}: {count} paths from the working directory, not {may} (FROM_CWD)"));
        }
    }
    fail(&found);
}

/// The public functions of a file of `sys` that take a `&CStr`, as `fs::open`.
fn take_text(file: &File) -> Vec<String> {
    let module = file.path_of_module().pop().unwrap();
    let code: String = file.code().map(|(_, line)| format!("{line}\n")).collect();
    let mut names = Vec::new();
    for part in code.split("pub fn ").skip(1) {
        let name: String = part.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        let signature = part.split_once(" {\n").map_or(part, |(signature, _)| signature);
        if signature.contains("&CStr") {
            names.push(format!("{module}::{name}"));
        }
    }
    names
}

#[test]
fn the_plan_makes_no_system_call() {
    // What it may name of `sys` is data: types, constants, and the table of the regular expressions.
    let mut found = Vec::new();
    for file in sources().iter().filter(|file| file.module() == "plan") {
        for (number, line) in file.code() {
            for used in named(line, "crate::sys::") {
                if !matches!(used.as_str(), "cred" | "mount_attr" | "seccomp") {
                    found.push(format!("src/{}:{number}: the plan uses sys::{used}", file.name()));
                }
            }
        }
    }
    fail(&found);
}

#[test]
fn the_clock_of_the_wall_is_only_shown() {
    // It jumps; whoever waits goes by CLOCK_MONOTONIC (std's Instant, poll(2)'s own time-outs). Four places tell people
    // the time: when a container was created, when a line was logged, when a job ran, and when a process ended (the shim).
    const CLOCKS: [&str; 6] =
        ["SystemTime::now", "CLOCK_REALTIME", "CLOCK_TAI", "gettimeofday", "clock_settime", "TimeSpec"];
    const SHOWN: [&str; 4] = ["cli/log.rs", "container/create.rs", "container/job/report.rs", "shim/os.rs"];
    let files = sources();
    let reads = |file: &File| file.code().any(|(_, line)| CLOCKS.iter().any(|clock| whole(line, clock)));
    // Filters name calls and make none.
    let found = files.iter().filter(|file| !file.is_in("plan/seccomp") && reads(file));
    assert_eq!(found.map(|file| file.name().to_string()).collect::<Vec<_>>(), SHOWN);
}

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
    fail(&found);
}

#[test]
fn the_shim_knows_brisk_in_one_place() {
    // It is to stay small, and to be built apart: of the library only system calls, and all of them named in one file.
    let mut found = Vec::new();
    for file in sources().iter().filter(|file| file.module() == "shim") {
        for (number, line) in file.code() {
            let named: Vec<String> = named(line, "brisk::");
            if named.iter().any(|name| name != "sys" || file.name().to_string() != "shim/os.rs") {
                found.push(format!("src/{}:{number}: {}", file.name(), line.trim()));
            }
        }
    }
    fail(&found);
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
    fail(&found);
}
