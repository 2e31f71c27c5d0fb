//! Which module may use which, and which folder of the plan: tables, and no circles. docs/DESIGN.md has the map.

use std::collections::BTreeSet;
use std::path::Path;

use super::imports::imports;
use super::{File, fail, named, sources};

/// Every top-level module and those of the others it may use. A row names only rows above it, so there is no
/// cycle.
const LAYERS: &[(&str, &[&str])] = &[
    ("sys", &[]),
    // Of `sys` the words of an errno.
    ("error", &["sys"]),
    // Readers of small files of proc; errors are the system's.
    ("proc", &["sys"]),
    ("wire", &["sys"]),
    // Whom it speaks to, and of what, is others' business (FORBIDDEN).
    ("dbus", &["error", "sys"]),
    ("spec", &["error", "sys"]),
    ("compose", &["error", "spec"]),
    ("host", &["error", "sys", "proc"]),
    // Of `sys` only plain data: masks, tables of numbers, instructions. `pure_modules_touch_nothing` checks it.
    ("plan", &["error", "sys", "wire", "dbus", "spec", "host"]),
    ("child", &["sys", "proc", "wire", "plan"]),
    ("cgroup", &["error", "sys", "proc", "dbus", "plan"]),
    ("launch", &["error", "sys", "proc", "wire", "host", "plan", "child", "cgroup"]),
    ("state", &["error", "sys", "proc", "spec"]),
    ("container", &["error", "sys", "proc", "spec", "compose", "host", "plan", "cgroup", "launch", "state"]),
    ("cli", &["error", "sys", "spec", "compose", "host", "plan", "state", "container"]),
    ("main", &["cli"]),
    ("lib", &[]),
    // A program of its own, whose `crate` is itself; of brisk it knows what `shim/os.rs` lets in.
    ("shim", &[]),
    // Another, which has brisk's command line and readers (INSIGHT).
    ("insight", &[]),
];

/// What `brisk-insight` may name of brisk: what reads, and nothing that makes, enters or ends.
const INSIGHT: &[&str] =
    &["cgroup", "cli", "container", "error", "host", "plan", "proc", "program", "spec", "state", "sys"];

/// A module's folders and those of the others they may use; a row names only rows above it. The files that lie flat beside them
/// are what all of them are written with, and what puts them together.
type Folders = &'static [(&'static str, &'static [&'static str])];

/// The modules that are divided so, and how many files may lie flat: with more it is a heap again.
const DIVIDED: &[(&str, usize, Folders)] = &[("plan", 8, PLAN_FOLDERS), ("container", 6, CONTAINER_FOLDERS)];

const PLAN_FOLDERS: Folders = &[
    ("namespace", &[]),
    ("cgroup", &["namespace"]),
    ("systemd", &["cgroup"]),
    ("seccomp", &[]),
    ("process", &["namespace", "seccomp"]),
    ("rootfs", &["namespace", "cgroup"]),
    ("text", &["namespace", "cgroup", "seccomp", "process", "rootfs"]),
    ("verbs", &["namespace", "cgroup", "systemd", "process", "rootfs"]),
];

const CONTAINER_FOLDERS: Folders = &[
    ("caller", &[]),
    ("attend", &["caller"]),
    ("lookup", &["attend"]),
    ("job", &["caller", "attend", "lookup"]),
    ("make", &["caller", "attend", "job", "lookup"]),
    ("inside", &["caller"]),
    ("fit", &["make"]),
    ("criu", &[]),
    ("verbs", &["caller", "attend", "job", "lookup", "make", "inside", "fit", "criu"]),
    ("pool", &["caller", "attend", "job", "lookup", "make", "inside", "verbs"]),
];

#[test]
fn the_table_has_every_module_and_no_cycle() {
    let there: BTreeSet<String> = sources().iter().map(|file| file.module().to_owned()).collect();
    let listed: BTreeSet<String> = LAYERS.iter().map(|(module, _)| (*module).to_owned()).collect();
    let differ: Vec<&String> = there.symmetric_difference(&listed).collect();
    let next = "a folder or file of src/ has a row in LAYERS (tests/architecture/layers.rs) and one in the map of docs/DESIGN.md, \
        and a row has its folder";
    assert!(differ.is_empty(), "{differ:?}: {next}");
    for (row, (module, uses)) in LAYERS.iter().enumerate() {
        for used in *uses {
            let above = LAYERS[..row].iter().any(|(name, _)| name == used) || (*module == "main" && *used == "cli");
            assert!(above, "{module} may use {used}, which is not above it");
        }
    }
}

/// The rows of the map in docs/DESIGN.md: the modules that one is about, and what it says of them.
fn rows_of_the_map(design: &str) -> Vec<(Vec<&str>, &str)> {
    let section = design.split("\n## Modules\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" | "));
    rows.map(|(modules, is)| (modules.split('`').step_by(2).collect(), is)).collect()
}

/// Whoever adds a folder or moves one reads the map, and so does whoever looks for something.
#[test]
fn the_map_is_of_this_source() {
    let design = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/DESIGN.md");
    let design = std::fs::read_to_string(design).unwrap();
    let rows = rows_of_the_map(&design);
    let named: Vec<&str> = rows.iter().flat_map(|(modules, _)| modules.iter().copied()).collect();
    let mut found = Vec::new();
    for (module, uses) in LAYERS.iter().filter(|(module, _)| !["main", "lib"].contains(module)) {
        let Some(row) = named.iter().position(|name| name == module) else {
            found.push(format!("src/{module} is not in the table: add a row that says what it is"));
            continue;
        };
        let below = uses.iter().filter(|used| named[row..].contains(used));
        found.extend(below.map(|used| format!("{module} uses {used}, whose row stands below: move one of the two")));
    }
    let gone = named.iter().filter(|name| !LAYERS.iter().any(|(module, _)| module == *name));
    found.extend(gone.map(|name| format!("there is no src/{name}: delete its row, or give it the new name")));
    for (module, _, folders) in DIVIDED {
        let is = rows.iter().find(|(modules, _)| modules.contains(module)).map_or("", |(_, is)| is);
        let said: BTreeSet<&str> = is.split('`').skip(1).step_by(2).collect();
        let there: BTreeSet<&str> = folders.iter().map(|(name, _)| *name).collect();
        found.extend(there.difference(&said).map(|name| format!("the row of {module} does not say what `{name}` is")));
        found.extend(said.difference(&there).map(|name| format!("the row of {module}: there is no folder `{name}`")));
    }
    found.iter_mut().for_each(|line| line.insert_str(0, "docs/DESIGN.md, Modules: "));
    fail(&found, "docs/DESIGN.md, Modules, is to say what src/ is");
}

#[test]
fn modules_use_only_those_above_them() {
    let mut found = Vec::new();
    let files = sources();
    let imports = imports(&files);
    for file in files {
        let Some((_, allowed)) = LAYERS.iter().find(|(module, _)| *module == file.module()) else {
            found.push(format!("src/{}: LAYERS has no row of {}", file.name(), file.module()));
            continue;
        };
        // By `super::super::` too, and in trees of several lines.
        for import in imports.get(&file.path_of_module()).into_iter().flatten() {
            let known = LAYERS.iter().any(|(module, _)| *module == import[0]);
            if known && import[0] != file.module() && !allowed.contains(&import[0].as_str()) {
                found.push(format!("src/{}: {} may not use {}", file.name(), file.module(), import.join("::")));
            }
        }
        for (number, line) in file.code() {
            for used in named(line, "crate::") {
                let known = LAYERS.iter().any(|(module, _)| *module == used);
                if known && used != file.module() && !allowed.contains(&used.as_str()) {
                    found.push(format!("src/{}:{number}: {} may not use {used}", file.name(), file.module()));
                }
            }
        }
    }
    fail(
        &found,
        "have the value handed in by whoever calls, or move the code to the module that may; a new edge is a decision: a word in LAYERS \
         (tests/architecture/layers.rs), the row in docs/DESIGN.md, and the reason in the commit",
    );
}

#[test]
fn folders_use_only_those_above_them() {
    let files = sources();
    let imports = imports(&files);
    let mut found = Vec::new();
    for (module, max_flat, folders) in DIVIDED {
        let flat = files.iter().filter(|file| file.module() == *module && file.path.components().count() == 2).count();
        assert!(flat <= *max_flat, "{flat} files lie flat in src/{module}");
        let folder = |path: &[String]| match path {
            [of, folder, ..] if of == module => folders.iter().position(|(name, _)| name == folder),
            _ => None,
        };
        let there: BTreeSet<&str> = files
            .iter()
            .filter(|file| file.module() == *module && file.path.components().count() > 2)
            .map(|file| file.path.components().nth(1).unwrap().as_os_str().to_str().unwrap())
            .collect();
        assert_eq!(there, folders.iter().map(|(name, _)| *name).collect(), "the folders of src/{module}");
        let mut used = BTreeSet::new();
        for (file, imports) in &imports {
            let Some(own) = folder(file) else { continue };
            for import in imports {
                let Some(other) = folder(import).filter(|other| *other != own) else { continue };
                let (name, allowed) = folders[own];
                used.insert((name, folders[other].0));
                if other > own || !allowed.contains(&folders[other].0) {
                    found.push(format!("{} may not use {}", file.join("::"), import.join("::")));
                }
            }
        }
        for (name, allowed) in *folders {
            let unused = allowed.iter().filter(|other| !used.contains(&(*name, **other)));
            found.extend(unused.map(|other| format!("{module}: {name} does not use {other}")));
        }
    }
    fail(
        &found,
        "have the value handed in, or move the code to the folder that may; a new edge is a word in the table of the folders \
         (tests/architecture/layers.rs), which has no circles",
    );
}

#[test]
fn what_lies_flat_in_the_plan_lends_no_names() {
    // Each name is imported from the room that has it. `mod.rs` alone names what the whole of the plan is.
    let mut found = Vec::new();
    for file in sources().iter().filter(|file| file.module() == "plan" && file.path.components().count() == 2) {
        if file.path.ends_with("mod.rs") {
            continue;
        }
        found.extend(
            file.code()
                .filter(|(_, line)| line.trim_start().starts_with("pub use "))
                .map(|(number, line)| format!("src/{}:{number}: {}", file.name(), line.trim())),
        );
    }
    fail(&found, "whoever needs the name imports it from the file that has it");
}

#[test]
fn no_module_lends_the_names_of_another() {
    // A name has one path. Who carries a plan out may not name the specification, and of it needs this word.
    let lent = ["plan/cgroup/paths.rs: pub use crate::spec::path::clean;"];
    let mut found = Vec::new();
    for file in sources() {
        for (_, line) in file.code().filter(|(_, line)| line.trim_start().starts_with("pub use crate::")) {
            let of_another = named(line, "crate::").iter().any(|module| module != file.module());
            found.extend(of_another.then(|| format!("{}: {}", file.name(), line.trim())));
        }
    }
    assert_eq!(found, lent);
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
    fail(
        &left.iter().map(|file| format!("{} uses {}", file.join("::"), inside(file).join(", "))).collect::<Vec<_>>(),
        "these files use each other in a circle: what both need belongs into a file of its own, below both",
    );
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
    fail(&unused, "delete the word from LAYERS (tests/architecture/layers.rs)");
}

#[test]
fn the_shim_knows_brisk_in_one_place() {
    // It is to stay small, and to be built apart: of the library only system calls, and all of them named in one file; and its start.
    let mut found = Vec::new();
    for file in sources().iter().filter(|file| file.module() == "shim") {
        for (number, line) in file.code() {
            let named: Vec<String> = named(line, "brisk::");
            let home = |name: &str| match name {
                "sys" => "shim/os.rs",
                "program" => "shim/main.rs",
                _ => "",
            };
            if named.iter().any(|name| file.name().to_string() != home(name)) {
                found.push(format!("src/{}:{number}: {}", file.name(), line.trim()));
            }
        }
    }
    fail(
        &found,
        "system calls reach the shim through src/shim/os.rs alone: a `pub use` there, and the name from `crate::os`",
    );
}

#[test]
fn insight_takes_what_reads() {
    let mut found = Vec::new();
    for file in sources().iter().filter(|file| file.module() == "insight") {
        for (number, line) in file.code() {
            let strange = named(line, "brisk::").into_iter().find(|name| !INSIGHT.contains(&name.as_str()));
            let verbs = line.contains("brisk::container::")
                && !line.contains("::Container")
                && !line.contains("::options::Global");
            if strange.is_some() || verbs {
                found.push(format!("src/{}:{number}: {}", file.name(), line.trim()));
            }
        }
    }
    fail(&found, "brisk-insight only reads: what it may name is INSIGHT (tests/architecture/layers.rs)");
}
