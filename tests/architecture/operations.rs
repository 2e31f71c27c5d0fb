//! What the compiler is to say of a new operation or command: no match hides it.

use std::collections::BTreeMap;

use super::{code_of, fail, sources};

/// Whether a line of code begins a match arm of one of these enumerations.
fn is_arm_of(line: &str, enums: &[&str]) -> bool {
    let pattern = line.trim_start().trim_start_matches("| ").trim_start_matches("$(").trim_start_matches(['(', '&']);
    let pattern = pattern.trim_start_matches("Some(");
    // Macros and others name it by its whole path.
    let path = pattern.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '$'))).next().unwrap();
    let at = enums.iter().filter_map(|name| path.find(&format!("::{name}::"))).min().map_or(0, |at| at + 2);
    let pattern = &pattern[at..];
    enums.iter().any(|name| pattern.strip_prefix(name).is_some_and(|rest| rest.starts_with("::")))
        && line.split("=>").next().is_some_and(|before| !before.contains('='))
}

/// Enumerations whose new variants must be looked at wherever variants are told apart.
const ENUMS: &[&str] = &["SetupOp", "LastOp", "RuntimeOp", "Step", "ChildOp", "Request"];

/// Whether a line begins an arm of whatever is left: `_`, a name for it, or several of these.
fn takes_all(line: &str) -> bool {
    let Some((pattern, _)) = line.split_once("=>") else { return false };
    let pattern = pattern.split(" if ").next().unwrap_or_default().trim().trim_matches(['(', ')']);
    pattern.split(',').map(str::trim).all(|part| {
        part.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
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
            if !is_arm_of(line, ENUMS) {
                continue;
            }
            arms += 1;
            let depth = indent(line);
            let block = lines[index..].iter().take_while(|(_, line)| line.trim().is_empty() || indent(line) >= depth);
            let wildcard = block.into_iter().find(|(_, line)| indent(line) == depth && takes_all(line));
            found.extend(
                wildcard.map(|(number, _)| format!("src/{}:{number}: an arm takes all that is left", file.name())),
            );
        }
        // A chain of these is a match whose last arm takes all.
        let chained = |line: &str| {
            let after = line.split_once("else if let ").map(|(_, after)| after);
            after.is_some_and(|after| ENUMS.iter().any(|name| after.contains(&format!("{name}::"))))
        };
        let chains = lines.iter().filter(|(_, line)| chained(line));
        found.extend(chains.map(|(number, _)| {
            format!("src/{}:{number}: a chain of `if let` is a match whose last arm takes all", file.name())
        }));
    }
    assert!(arms > 200, "only {arms} arms");
    found.dedup();
    fail(&found, "name every variant, so that whoever adds one is asked here");
}

/// Patterns that look for several at once, where a new one is none of them: file, first variant, and why.
const SEVERAL: &[(&str, &str, &str)] = &[
    ("plan/rootfs/fresh.rs", "SetupOp::Mask", "the two that `MountEffect::Covers` is said of, and have a field for it"),
    ("plan/text/mod.rs", "Step::CreateCgroup", "below the step that makes the cgroups stands what is made"),
    ("plan/text/mod.rs", "ChildOp::Last", "one thing, which either list of operations can have"),
    ("plan/text/mod.rs", "ChildOp::Setup", "one thing, which either list of operations can have"),
    ("container/runc_log.rs", "LastOp::Seccomp", "the two that load a filter, for a line that runc's log has"),
];

/// The patterns outside of arms: of `matches!` and of `let`.
fn patterns(code: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (at, word) in code.match_indices("matches!(").chain(code.match_indices("let ")) {
        let rest = &code[at + word.len()..];
        let mut depth = 0;
        let end = rest.char_indices().find(|(at, c)| {
            match c {
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth -= 1,
                _ => {}
            }
            // The end of the macro, or what the pattern is of.
            depth < 0 || c == &';' || word == "let " && depth == 0 && rest[*at..].starts_with(" = ")
        });
        found.push((at, &rest[..end.map_or(rest.len(), |(at, _)| at)]));
    }
    found
}

/// Several variants in one pattern are a property of operations, which a new one may have, too: `matches!` and `let` do not ask.
#[test]
fn a_property_of_operations_is_a_match() {
    let (mut found, mut used) = (Vec::new(), Vec::new());
    for file in sources().iter().filter(|file| file.module() != "shim") {
        let code = code_of(file);
        let code = code.split("\n#[cfg(test)]\n").next().unwrap_or_default();
        for (at, pattern) in patterns(code) {
            let mut variants: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
            for (name, variant) in ENUMS.iter().flat_map(|name| variants_of(pattern, name).map(move |v| (*name, v))) {
                let list = variants.entry(name).or_default();
                if !list.contains(&variant) {
                    list.push(variant);
                }
            }
            let Some((name, list)) = variants.iter().find(|(_, list)| list.len() > 1) else { continue };
            let first = format!("{name}::{}", list[0]);
            match SEVERAL.iter().find(|(of, variant, _)| file.path == std::path::Path::new(of) && *variant == first) {
                Some(row) => used.push(row),
                None => found.push(format!(
                    "src/{}:{}: {name} is asked for {}",
                    file.name(),
                    code[..at].matches('\n').count() + 1,
                    list.join(" or ")
                )),
            }
        }
    }
    let unused = SEVERAL.iter().filter(|row| !used.contains(row));
    found.extend(unused.map(|(file, variant, _)| format!("SEVERAL has a needless row: {file}, {variant}")));
    fail(
        &found,
        "a match over all variants says it of a new one, too; where a new one can be none of them, a row of SEVERAL \
         (tests/architecture/operations.rs) says why",
    );
}

/// The variants of this enumeration that a text names.
fn variants_of<'t>(text: &'t str, name: &str) -> impl Iterator<Item = &'t str> {
    let path = format!("{name}::");
    let starts: Vec<usize> = text.match_indices(&path).map(|(at, _)| at).collect();
    starts.into_iter().filter_map(move |at| {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let rest = &text[at + path.len()..];
        let variant = &rest[..rest.find(|c| !word(c)).unwrap_or(rest.len())];
        let whole = !text[..at].ends_with(word) && variant.starts_with(|c: char| c.is_ascii_uppercase());
        whole.then_some(variant)
    })
}

/// The tests above know a variant by the name of its enumeration before it: by itself, or as one of `Self`, none of them sees it.
#[test]
fn variants_are_named_with_their_enumeration() {
    let mut found = Vec::new();
    let mut looked_at = 0;
    for file in sources().iter().filter(|file| file.module() != "shim") {
        let code = code_of(file);
        for (at, _) in code.match_indices("use ") {
            let names = code[at..].split(';').next().unwrap_or_default();
            if !code[..at].ends_with(['\n', ' ']) || names.contains('=') {
                continue;
            }
            looked_at += 1;
            let of = ENUMS.iter().find(|name| variants_of(names, name).next().is_some() || after(names, name));
            let line = code[..at].matches('\n').count() + 1;
            found.extend(of.map(|name| format!("src/{}:{line}: variants of {name} are imported", file.name())));
        }
        let mut owner = "";
        for (number, line) in file.code() {
            if let Some(of) = line.strip_prefix("impl ") {
                owner = of.rsplit(" for ").next().unwrap_or(of).split([' ', '<']).next().unwrap_or_default();
            }
            let arm = variants_of(line.split("=>").next().unwrap_or_default(), "Self").next().is_some();
            if ENUMS.contains(&owner) && arm && line.contains("=>") {
                found.push(format!("src/{}:{number}: an arm of {owner} says Self", file.name()));
            }
        }
    }
    assert!(looked_at > 1000, "only {looked_at} imports");
    fail(&found, "say `SetupOp::Mount`, with the name of the enumeration, where variants are told apart");
}

/// Whether a list of variants or all of them are imported: `SetupOp::{…}`, `SetupOp::*`, or the enumeration gets another name.
fn after(names: &str, name: &str) -> bool {
    [format!("{name}::{{"), format!("{name}::*"), format!("{name} as ")].iter().any(|text| super::whole(names, text))
}
