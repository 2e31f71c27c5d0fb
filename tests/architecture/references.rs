//! What the documents and comments point to is there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use brisk::cli::flags;
use brisk::cli::verbs::VERBS;

use super::options::OF_WINDOWS;

/// Of others, or made up.
const NOT_OURS: &[&str] = &["std", "core", "libc", "nix", "serde", "serde_json", "u64", "Self", "a"];

/// A file as a module path, and the words of its code.
struct Module {
    path: Vec<String>,
    words: BTreeSet<String>,
}

/// A name in backquotes with `::` in it is a module, or what is in one: `plan::verbs`, `text::describe`, `Child::groups`, or a test.
#[test]
fn what_is_named_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut texts, mut modules) = (Vec::new(), Vec::new());
    texts.extend(["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(|name| {
        let path = root.join(name);
        let text = std::fs::read_to_string(&path).unwrap();
        (path, text)
    }));
    for base in ["src", "integration", "tests", "docs"] {
        for path in files(&root.join(base)) {
            let text = std::fs::read_to_string(&path).unwrap();
            if path.extension().is_some_and(|extension| extension == "rs") {
                modules.push(module(path.strip_prefix(root.join(base)).unwrap(), &text));
            }
            texts.push((path, text));
        }
    }
    let mut found = Vec::new();
    let mut looked_at = 0;
    for (path, text) in &texts {
        let prose = path.extension().is_some_and(|extension| extension == "md");
        for (line, number) in text.lines().zip(1..) {
            let said = if prose { line } else { line.split_once("//").map_or("", |(_, comment)| comment) };
            for name in said.split('`').skip(1).step_by(2).filter(|name| is_path(name)) {
                looked_at += 1;
                let segments: Vec<&str> =
                    name.split("::").filter(|part| !matches!(*part, "crate" | "super" | "self" | "brisk")).collect();
                if !NOT_OURS.contains(&segments[0]) && !modules.iter().any(|module| has(module, &segments)) {
                    found.push(format!("{}:{number}: {name}", path.display()));
                }
            }
        }
    }
    assert!(looked_at > 250, "only {looked_at} names found");
    super::fail(&found, "a comment or document names what is not there: say its new name, or delete the sentence");
}

/// A path in backquotes that begins at the top of the checkout leads to a file or folder: what was moved is still found by who reads.
#[test]
fn files_that_are_named_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts = ["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(|name| root.join(name)).to_vec();
    texts.extend(["src", "integration", "tests", "docs"].iter().flat_map(|base| files(&root.join(base))));
    let mut found = Vec::new();
    let mut looked_at = 0;
    for path in &texts {
        let prose = path.extension().is_some_and(|extension| extension == "md");
        // It tells of the checkouts of others.
        if path.ends_with("docs/CONFORMANCE.md") {
            continue;
        }
        for (line, number) in std::fs::read_to_string(path).unwrap().lines().zip(1..) {
            let said = if prose { line } else { line.split_once("//").map_or("", |(_, comment)| comment) };
            for name in said.split('`').skip(1).step_by(2).filter(|name| is_ours(name)) {
                looked_at += 1;
                if !root.join(name).exists() {
                    found.push(format!("{}:{number}: there is no {name}: what is it called now?", path.display()));
                }
            }
        }
    }
    assert!(looked_at > 80, "only {looked_at} paths found");
    super::fail(
        &found,
        "a comment or document names a file that is not there: say its new name, or delete the sentence",
    );
}

/// What a hint sends a reader to: a command with its flags, or a page.
#[test]
fn what_messages_name_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut found, mut looked_at) = (Vec::new(), 0);
    for file in super::sources() {
        for (number, line) in file.code().take_while(|(_, line)| *line != "#[cfg(test)]") {
            let mut check = |is_there: bool, name: &str| {
                looked_at += 1;
                if !is_there {
                    found.push(format!("src/{}:{number}: there is no {name}", file.name()));
                }
            };
            for text in line.split("`brisk ").skip(1).filter_map(|rest| rest.split('`').next()) {
                let words: Vec<&str> = text.split_whitespace().collect();
                let Some(name) = words.first().filter(|name| name.chars().all(|c| c.is_ascii_lowercase())) else {
                    continue;
                };
                let Some(row) = VERBS.iter().find(|row| row.name == *name) else {
                    check(*name == "help", &format!("command {name}"));
                    continue;
                };
                check(true, name);
                for flag in words.iter().filter_map(|word| word.strip_prefix("--")).filter(|flag| !flag.is_empty()) {
                    let flag = flag.split(['=', '"', '{', ',']).next().unwrap_or_default();
                    check(
                        flag == "help" || flags::of(Some(row.verb)).any(|other| other.long == flag),
                        &format!("--{flag} of {name}"),
                    );
                }
            }
            for rest in line.split("docs/").skip(1).filter(|_| line.contains('"')) {
                let page: String =
                    rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "_-.".contains(*c)).collect();
                let page = root.join("docs").join(page.trim_end_matches('.'));
                check(page.exists() || page.with_extension("md").exists(), &page.display().to_string());
            }
        }
    }
    assert!(looked_at > 20, "only {looked_at} names found");
    super::fail(&found, "a message sends its reader to what is not there: say its new name");
}

/// Whether a word is a path from the top of the checkout.
fn is_ours(name: &str) -> bool {
    let top = ["src/", "tests/", "integration/", "fixtures/", "docs/", "contrib/", "fuzz/"];
    top.iter().any(|top| name.starts_with(top)) && !name.contains(['{', '*', ' ', '<'])
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut list = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            list.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "md") {
            list.push(path);
        }
    }
    list
}

fn module(path: &Path, text: &str) -> Module {
    let path = path.with_extension("");
    let mut path: Vec<String> = path.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    path.pop_if(|last| last == "mod");
    let code = text.lines().map(super::before_comment);
    let words = code.flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'));
    Module { path, words: words.map(str::to_owned).collect() }
}

fn is_path(name: &str) -> bool {
    name.contains("::")
        && name.split("::").all(|part| {
            part.starts_with(|c: char| c.is_ascii_alphabetic())
                && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        })
}

/// Whether it is this module, or in it; of a type's the modules before its name are not asked.
fn has(module: &Module, segments: &[&str]) -> bool {
    let Some((last, before)) = segments.split_last() else { return true };
    let Some(owner) = before.last() else { return true };
    let path: Vec<&str> = module.path.iter().map(String::as_str).collect();
    path.ends_with(segments)
        || module.words.contains(*last)
            && (path.ends_with(before)
                || owner.starts_with(|c: char| c.is_ascii_uppercase()) && module.words.contains(*owner))
}

/// rustc says nothing of a public name that nobody uses. What tests alone use is in their modules.
#[test]
fn every_public_name_is_used() {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let files = super::sources();
    let codes: Vec<String> = files.iter().map(super::code_of).collect();
    let codes: Vec<&str> = codes.iter().map(|code| code.split("#[cfg(test)]\nmod tests {").next().unwrap()).collect();
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for name in codes.iter().flat_map(|code| code.split(|c| !word(c))) {
        *times.entry(name).or_default() += 1;
    }
    let (mut found, mut seen) = (Vec::new(), 0);
    for (file, code) in files.iter().zip(codes) {
        for (line, number) in code.lines().zip(1..) {
            let Some((_, rest)) = line.trim_start().strip_prefix("pub").and_then(|rest| rest.split_once(' ')) else {
                continue;
            };
            let rest = ["const ", "unsafe "].iter().fold(rest, |rest, word| rest.strip_prefix(word).unwrap_or(rest));
            let kinds = ["fn ", "struct ", "enum ", "trait ", "type ", "static "];
            let rest = kinds.iter().find_map(|kind| rest.strip_prefix(kind)).unwrap_or(rest);
            let name = rest.split(|c| !word(c)).next().unwrap_or_default();
            seen += 1;
            if times.get(name) == Some(&1) && !OF_WINDOWS.contains(&name) {
                found.push(format!("src/{}:{number}: {name}", file.name()));
            }
        }
    }
    assert!(seen > 2000, "only {seen} names");
    super::fail(&found, "nobody uses it: call it where it is needed, or delete it");
}
