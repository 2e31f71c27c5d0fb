//! What the compiler is to say of a new operation, command or option: no match hides it.

use super::{fail, sources, whole};

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

/// Where the options of commands are.
const OPTIONS: [&str; 4] = ["container/options.rs", "container/outline.rs", "cli/args.rs", "spec/resources.rs"];

/// A new field must be looked at by whoever gets the options, or the limits of config.json. (`Global` and `ExecUser` are no options of a command's own.)
#[test]
fn options_are_taken_apart_field_by_field() {
    let files = sources();
    let texts: Vec<String> = files
        .iter()
        .filter(|file| file.module() != "shim")
        .map(|file| file.code().map(|(_, line)| format!("{line}\n")).collect())
        .collect();
    let mut found = Vec::new();
    let mut seen = 0;
    for file in files.iter().filter(|file| OPTIONS.iter().any(|name| file.path == std::path::Path::new(name))) {
        for (_, line) in file.code() {
            let Some(name) = line.strip_prefix("pub struct ").and_then(|rest| rest.strip_suffix(" {")) else {
                continue;
            };
            if ["Global<'a>", "ExecUser"].contains(&name) {
                continue;
            }
            seen += 1;
            if !texts.iter().any(|text| takes_apart(text, name)) {
                found.push(format!("src/{}: nobody takes {name} apart without `..`", file.name()));
            }
        }
    }
    assert!(seen > 20, "only {seen} kinds of options");
    fail(&found);
}

/// Whether code has a pattern with every field of `name`: one that is followed by what it is a pattern of.
fn takes_apart(code: &str, name: &str) -> bool {
    let opening = format!("{name} {{");
    code.match_indices(&opening).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let inside = &code[at + opening.len()..];
        let Some((fields, after)) = inside.split_once('}') else { return false };
        let whole = before.is_none_or(|c| !c.is_ascii_alphanumeric() && c != '_');
        let pattern = [" = ", " in ", ") in ", &format!(": {name}"), &format!(": &{name}")];
        let pattern = pattern.iter().any(|next| after.starts_with(next));
        whole && pattern && !fields.contains("..")
    })
}

/// The fields that a line of a pattern passes over: `name: _`.
fn passed_over(line: &str) -> impl Iterator<Item = &str> {
    let parts = if line.contains("=>") { "" } else { line }.split([',', '{', '}']);
    parts.filter_map(|part| part.trim().strip_suffix(": _")).filter(|name| !name.contains(' '))
}

/// Whether a line reads this field of something; to copy options as they are does not count, nor to set it.
fn reads(line: &str, field: &str) -> bool {
    let copies = line.trim().starts_with(&format!("{field}: args.{field}"));
    let sets = line.contains(&format!(".{field} = "));
    !copies && !sets && whole(line, &format!(".{field}")) && !line.contains(&format!(".{field}("))
}

/// A field that a pattern passes over, because somebody else looks at it, is looked at by somebody else.
#[test]
fn options_that_are_passed_over_are_read() {
    let files = sources();
    // There they are set.
    let set = ["cli/flags.rs", "cli/verbs.rs"].map(std::path::Path::new);
    let readers: Vec<_> =
        files.iter().filter(|file| file.module() != "shim" && !set.contains(&file.path.as_path())).collect();
    // Of Windows alone.
    let others = ["command_line"];
    let mut found = Vec::new();
    let mut seen = 0;
    for file in files.iter().filter(|file| matches!(file.module(), "container" | "cli" | "plan")) {
        for (number, line) in file.code() {
            for field in passed_over(line).filter(|field| !others.contains(field)) {
                seen += 1;
                if !readers.iter().any(|file| file.code().any(|(_, line)| reads(line, field))) {
                    found.push(format!("src/{}:{number}: nobody reads {field}", file.name()));
                }
            }
        }
    }
    assert!(seen > 40, "only {seen} fields");
    fail(&found);
}
