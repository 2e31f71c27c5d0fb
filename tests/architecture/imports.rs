//! What each file imports of the others, read from the source.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{File, fail};

/// A file that no `mod` names is compiled by nobody, and what it says of tests or names would count all the same.
#[test]
fn every_file_is_a_module_of_something() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let mut files = Vec::new();
    let mut dirs: Vec<PathBuf> = ["src", "tests", "integration"].map(|dir| root.join(dir)).into();
    while let Some(dir) = dirs.pop() {
        // A package of its own.
        if dir.join("Cargo.toml").exists() {
            continue;
        }
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push((std::fs::read_to_string(&path).unwrap(), path));
            }
        }
    }
    // What each says: names after `mod`, and files by their path or as a part of it.
    let said = files.iter().map(|(text, path)| {
        let words = text.lines().filter_map(|line| {
            let module = line.trim().strip_suffix(';').and_then(|line| line.rsplit_once("mod ")).map(|(_, name)| name);
            let named = line.contains("path = \"") || line.contains("include!(\"");
            module.or_else(|| line.rsplit('"').nth(1).filter(|_| named))
        });
        (path, words.collect::<BTreeSet<_>>())
    });
    let said: Vec<_> = said.collect();
    let mut found = Vec::new();
    for (_, path) in &files {
        let name = path.strip_prefix(root).unwrap().to_str().unwrap();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        // The folder that has it as a module, and its name there.
        let module = if stem == "mod" { path.parent().unwrap() } else { &path.with_extension("") };
        let (folder, module) = (module.parent().unwrap(), module.file_name().unwrap().to_str().unwrap());
        let parents =
            [folder.join("mod.rs"), folder.join("main.rs"), folder.join("lib.rs"), folder.with_extension("rs")];
        let declared = said.iter().filter(|(other, _)| *other != path).any(|(other, words)| {
            let by_path = |word: &&str| {
                let up = word.matches("../").count() + 1;
                let from = other.ancestors().nth(up).unwrap();
                from.join(word.trim_start_matches("../")) == *path
            };
            parents.contains(other) && words.contains(module) || words.iter().any(by_path)
        });
        if !declared && !manifest.contains(&format!("\"{name}\"")) {
            found.push(format!("{name}: nothing says `mod {module};`"));
        }
    }
    fail(&found, "a `mod` line in the file of its folder makes it part of the crate; what nobody needs is deleted");
}

/// What each file imports of the others, both as paths of modules. A `pub use` of a folder's own file is a name that the
/// folder gives it, and no import.
pub(super) fn imports(files: &[File]) -> BTreeMap<Vec<String>, BTreeSet<Vec<String>>> {
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
        // The other programs are crates of their own.
        Some("crate") => base.truncate(usize::from(["shim", "insight"].contains(&own[0].as_str()))),
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
