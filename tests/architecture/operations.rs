//! What the compiler is to say of a new operation or command: no match hides it.

use super::{fail, sources};

/// Whether a line of code begins a match arm of one of these enumerations.
fn is_arm_of(line: &str, enums: &[&str]) -> bool {
    let pattern = line.trim_start().trim_start_matches("| ").trim_start_matches("$(").trim_start_matches("Some(");
    // Macros and others name it by its whole path.
    let path = pattern.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '$'))).next().unwrap();
    let at = enums.iter().filter_map(|name| path.find(&format!("::{name}::"))).min().map_or(0, |at| at + 2);
    let pattern = &pattern[at..];
    enums.iter().any(|name| pattern.strip_prefix(name).is_some_and(|rest| rest.starts_with("::")))
        && line.split("=>").next().is_some_and(|before| !before.contains('='))
}

/// Enumerations whose new variants must be looked at wherever variants are told apart.
const ENUMS: &[&str] = &["SetupOp", "LastOp", "RuntimeOp", "Step", "ChildOp", "Request"];

/// Whether a line begins an arm of whatever is left: `_`, or a name for it.
fn takes_all(line: &str) -> bool {
    let pattern = line.trim().split([' ', ',']).next().unwrap_or_default();
    let name = pattern.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    name && pattern.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && line.contains("=>")
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
            found.extend(wildcard.map(|(number, _)| format!("src/{}:{number}: `_` among operations", file.name())));
        }
        // A chain of these is a match whose last arm takes all.
        let chained = |line: &str| {
            let after = line.split_once("else if let ").map(|(_, after)| after);
            after.is_some_and(|after| ENUMS.iter().any(|name| after.contains(&format!("{name}::"))))
        };
        let chains = lines.iter().filter(|(_, line)| chained(line));
        found.extend(chains.map(|(number, _)| format!("src/{}:{number}: a chain over operations", file.name())));
    }
    assert!(arms > 200, "only {arms} arms");
    found.dedup();
    fail(&found);
}
