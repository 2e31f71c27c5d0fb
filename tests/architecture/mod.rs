//! The shape of the source: which module may use which, where unsafe code is, what the child must not do.
//! The map is in docs/DESIGN.md; these tests keep it true.

mod imports;
mod layers;
mod operations;
mod options;
mod paths;
mod references;
mod touches;
mod words;

use std::path::{Path, PathBuf};

pub struct File {
    path: PathBuf,
    text: String,
}

impl File {
    pub fn name(&self) -> std::path::Display<'_> {
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
    pub fn is_in(&self, module: &str) -> bool {
        self.path.starts_with(module) || self.path == Path::new(&format!("{module}.rs"))
    }
}

/// Its code, each line at its place.
pub fn code_of(file: &File) -> String {
    file.code().map(|(_, line)| format!("{line}\n")).collect()
}

/// A line up to its comment. A `//` inside a text is none.
pub fn before_comment(line: &str) -> &str {
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

pub fn sources() -> Vec<File> {
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

/// What is wrong, each with its place, and what to do.
fn fail(found: &[String], next: &str) {
    assert!(found.is_empty(), "\n{}\nWhat to do: {next}.\n", found.join("\n"));
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
