//! What the compiler is to say of a new option, or of a new field of config.json: whoever gets it takes it apart field by field, and
//! a field that is passed over there is read by the function that is named for it.

use std::collections::{BTreeMap, BTreeSet};

use super::{File, code_of, fail, sources, whole};

/// Where the options of commands are, and the limits of config.json: each is taken apart by somebody.
const OPTIONS: [&str; 5] =
    ["container/options.rs", "container/outline.rs", "container/environment.rs", "cli/args.rs", "spec/resources.rs"];

/// Fields of config.json that are for Windows alone.
pub(super) const OF_WINDOWS: [&str; 2] = ["command_line", "username"];

/// A new field must be looked at by whoever gets the options, or the limits of config.json. (`Global` and `ExecUser` are no options of a command's own.)
#[test]
fn options_are_taken_apart_field_by_field() {
    let files = sources();
    let ours = files.iter().filter(|file| file.module() != "shim");
    let texts: Vec<(&File, String)> = ours.map(|file| (file, code_of(file))).collect();
    let mut found = Vec::new();
    let mut seen = 0;
    for file in files.iter().filter(|file| is_of_options(file)) {
        for Struct { name, .. } in structs(file) {
            if ["Global", "ExecUser"].contains(&name.as_str()) {
                continue;
            }
            seen += 1;
            let all = texts.iter().flat_map(|(of, text)| patterns(text, &name).map(move |fields| (of, fields)));
            let all: Vec<_> = all.collect();
            if all.is_empty() {
                found.push(format!("src/{}: nobody takes {name} apart", file.name()));
            }
            let partly = all.iter().filter(|(_, fields)| fields.contains(".."));
            found.extend(partly.map(|(of, _)| format!("src/{}: a pattern of {name} has `..`", of.name())));
        }
    }
    assert!(seen > 20, "only {seen} kinds of options");
    fail(
        &found,
        "`let NAME { every, field } = …` where it is used, for with `..` a new field is missed; who needs a few asks for each, `args.field`",
    );
}

/// A field that a pattern passes over is read by a function that the comment above it names: one that has such a value, or what
/// such a value is in. The same name elsewhere does not do, nor one that several files have.
#[test]
fn a_field_that_is_passed_over_is_read_where_it_is_said() {
    let files: Vec<File> = sources().into_iter().filter(|file| file.module() != "shim").collect();
    let given: BTreeSet<String> = files
        .iter()
        .filter(|file| is_of_options(file) || file.module() == "spec")
        .flat_map(structs)
        .map(|known| known.name)
        .collect();
    let functions: Vec<Function> = files.iter().flat_map(functions).collect();
    let holders = holders(&files);
    let mut found = Vec::new();
    let mut seen = 0;
    for file in files.iter().filter(|file| matches!(file.module(), "container" | "cli" | "plan")) {
        for Passed { line, owner, field } in passed_over(file) {
            let Some(has) = holders.get(&owner).filter(|_| !OF_WINDOWS.contains(&field.as_str())) else { continue };
            seen += 1;
            if !given.contains(&owner) {
                // What we have made ourselves: somebody's who has it.
                if !functions.iter().any(|function| function.reads(&owner, &field) && function.has(&owner, has)) {
                    found.push(format!("src/{}:{}: nobody reads {field} of {owner}", file.name(), line + 1));
                }
                continue;
            }
            let readers = readers(file, line);
            let reads = |function: &&Function| function.has(&owner, has) && function.reads(&owner, &field);
            let of = |name: &String| -> Vec<&Function> { functions.iter().filter(|one| one.is(name, file)).collect() };
            let several =
                readers.iter().find(|name| of(name).iter().map(|one| &one.file).collect::<BTreeSet<_>>().len() > 1);
            let said = match (readers.as_slice(), several) {
                ([], _) => Some("the comment above names no function".to_owned()),
                (_, Some(name)) => Some(format!("several files have {name}: the modules before it say which")),
                (names, None) => match names.iter().flat_map(of).find(reads) {
                    None => Some(format!("{} does not read it", names.join(", "))),
                    Some(_) => None,
                },
            };
            if let Some(said) = said {
                found.push(format!("src/{}:{}: {field} of {owner} is passed over: {said}", file.name(), line + 1));
            }
        }
    }
    assert!(seen > 80, "only {seen} fields");
    fail(
        &found,
        "a function that has such a value is to read the field, and the comment above `field: _` to name that function; what nobody needs is deleted",
    );
}

/// A field of config.json, of a limit above all, that nobody has thought of: it is read by whoever has such a value, and not only to see
/// whether it makes sense.
#[test]
fn every_field_of_config_json_is_read_by_somebody() {
    let files: Vec<File> = sources().into_iter().filter(|file| file.module() != "shim").collect();
    let holders = holders(&files);
    let does = |file: &&File| !["validate", "strict", "excerpt"].iter().any(|name| file.is_in(&format!("spec/{name}")));
    let functions: Vec<Function> = files.iter().filter(does).flat_map(functions).collect();
    let mut found = Vec::new();
    let mut seen = 0;
    for file in files.iter().filter(|file| file.module() == "spec").filter(does) {
        for Struct { name, fields, .. } in structs(file) {
            seen += fields.len();
            let ours = fields.iter().filter(|field| !OF_WINDOWS.contains(&field.as_str()));
            let read =
                |function: &Function, field| function.reads(&name, field) && function.has(&name, &holders[&name]);
            let unread = ours.filter(|field| !functions.iter().any(|function| read(function, field)));
            found.extend(
                unread.map(|field| format!("src/{}: no function that has a {name} reads {field}", file.name())),
            );
        }
    }
    assert!(seen > 120, "only {seen} fields");
    fail(&found, "src/plan is to do something with it, to warn of it, or to refuse it");
}

/// rustc says nothing of `let _ = limit;`, and with that nothing of a field that was taken by its name and is not used. What a call
/// answers may be thrown away.
#[test]
fn no_value_is_thrown_away() {
    let mut found = Vec::new();
    for file in sources() {
        for (number, line) in file.code() {
            let line = line.trim();
            let rest = line.strip_prefix("let ").unwrap_or(line);
            let value = rest.starts_with('_').then(|| rest.split_once(" = ")).flatten().map(|(_, value)| value);
            if value.is_some_and(|value| value.ends_with(';') && !value.contains('(')) {
                found.push(format!("src/{}:{number}: {line}", file.name()));
            }
        }
    }
    fail(
        &found,
        "this reads nothing: do something with the value, or pass the field over (`field: _`) below the name of the function that does",
    );
}

/// What changes a collection answers with what was in it; into a text everything can be written.
const NO_ERROR: &[&str] =
    &[".insert(", ".get_or_insert", ".remove(", ".pop(", ".drain(", "mem::take(", "writeln!(out", ".unwrap_or_else("];

/// What this statement throws away, where that is the answer of a call: `let _ = …;`, `_ = …;`, `let _gone = …;`, `drop(…)`.
fn thrown_away(line: &str) -> Option<&str> {
    let line = line.trim();
    let statement = line.strip_prefix("let ").unwrap_or(line);
    let bound = statement.starts_with('_').then(|| statement.split_once(" = ")).flatten().map(|(_, value)| value);
    let dropped = || line.rsplit_once("=> ").map_or(line, |(_, does)| does).strip_prefix("drop(");
    let value = bound.or_else(dropped).filter(|value| value.contains('('))?;
    let kept = value.contains("?;") || value.contains("?)") || value.ends_with(".await;");
    (!kept && !NO_ERROR.iter().any(|call| value.contains(call))).then_some(value)
}

/// An error that nobody hears of has a reason, which is said: above it, or above the block or the first of several.
#[test]
fn an_error_that_is_thrown_away_has_its_reason() {
    let (mut found, mut seen) = (Vec::new(), 0);
    for file in sources().iter().filter(|file| file.module() != "shim") {
        let lines: Vec<&str> = file.text.lines().take_while(|line| *line != "#[cfg(test)]").collect();
        for (index, line) in lines.iter().enumerate() {
            if thrown_away(super::before_comment(line)).is_none() {
                continue;
            }
            seen += 1;
            let opens = |line: &str| line == "}" || line.ends_with('{') || line.contains(" => ");
            let mut above = lines[..index].iter().rev().map(|line| line.trim());
            let above = above.find(|line| thrown_away(line).is_none() && !opens(line));
            if !above.is_some_and(|line| line.starts_with("//")) {
                found.push(format!("src/{}:{}: {}", file.name(), index + 1, line.trim()));
            }
        }
    }
    assert!(seen > 40, "only {seen} errors");
    fail(&found, "`?`, a warning, or a comment above that says why nobody need hear of it");
}

fn is_of_options(file: &File) -> bool {
    OPTIONS.iter().any(|name| file.path == std::path::Path::new(name))
}

/// What is between the braces of the patterns of this structure: each is followed by what it is a pattern of.
fn patterns<'t>(code: &'t str, name: &'t str) -> impl Iterator<Item = &'t str> {
    let opening = format!("{name} {{");
    let starts: Vec<usize> = code.match_indices(&opening).map(|(at, _)| at).collect();
    starts.into_iter().filter_map(move |at| {
        let before = code[..at].chars().next_back();
        let (fields, after) = code[at + name.len() + 2..].split_once('}')?;
        let whole = before.is_none_or(|c| !c.is_ascii_alphanumeric() && c != '_');
        let pattern = [" = ", " in ", ") in ", &format!(": {name}"), &format!(": &{name}")];
        let in_tuple = after.starts_with(',') && after.lines().next().is_some_and(|line| line.contains(") = "));
        let pattern = in_tuple || pattern.iter().any(|next| after.starts_with(next));
        (whole && pattern).then_some(fields)
    })
}

/// A structure and what its fields are made of.
struct Struct {
    name: String,
    fields: Vec<String>,
    types: BTreeSet<String>,
}

fn structs(file: &File) -> Vec<Struct> {
    let code = code_of(file);
    let mut found = Vec::new();
    for part in code.split("struct ").skip(1) {
        let name: String = part.chars().take_while(|c| c.is_ascii_alphanumeric()).collect();
        let head = part.split(['{', ';', '(']).next().unwrap();
        let fields = part[head.len()..].strip_prefix('{').and_then(|body| body.split('}').next());
        if let Some(fields) = fields.filter(|_| !name.is_empty() && !head.contains('\n')) {
            let words = fields.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').map(str::to_owned);
            let named = fields.lines().filter_map(|line| line.trim().strip_prefix("pub ")?.split_once(':'));
            let named = named.map(|(field, _)| field.to_owned());
            found.push(Struct { name, fields: named.collect(), types: words.collect() });
        }
    }
    found
}

/// In which structures each is, itself among them, at any depth.
fn holders(files: &[File]) -> BTreeMap<String, BTreeSet<String>> {
    let all: Vec<Struct> = files.iter().flat_map(structs).collect();
    let mut above: BTreeMap<&str, Vec<&str>> = all.iter().map(|known| (known.name.as_str(), vec![])).collect();
    for known in &all {
        for part in &known.types {
            above.entry(part).and_modify(|holders| holders.push(&known.name));
        }
    }
    let reach = |name: &str| {
        let (mut set, mut next) = (BTreeSet::new(), vec![name]);
        while let Some(name) = next.pop() {
            if set.insert(name.to_owned()) {
                next.extend(&above[name]);
            }
        }
        set
    };
    all.iter().map(|known| (known.name.clone(), reach(&known.name))).collect()
}

/// A function, or a constant closure of a table.
struct Function {
    file: Vec<String>,
    owner: Option<String>,
    name: String,
    signature: String,
    /// What the signature names.
    names: BTreeSet<String>,
    body: String,
}

fn functions(file: &File) -> Vec<Function> {
    let lines: Vec<&str> = file.code().map(|(_, line)| line).collect();
    let (mut found, mut owner) = (Vec::new(), None);
    let indent = |line: &str| line.len() - line.trim_start().len();
    for (index, line) in lines.iter().enumerate() {
        if line.starts_with("impl") {
            let of = line.rsplit_once(" for ").map_or_else(|| after_generics(line), |(_, of)| of);
            owner = Some(word_at(of.trim_start_matches('&')));
        } else if *line == "}" {
            owner = None;
        }
        let Some((before, rest)) = line.trim_start().split_once("fn ") else { continue };
        if !before.is_empty() && !before.starts_with("pub") && !before.starts_with("const") {
            continue;
        }
        let ends =
            |other: &&str| indent(other) == indent(line) && other.trim_end().ends_with('}') && !other.trim().is_empty();
        let Some(length) = lines[index..].iter().position(ends) else { continue };
        let text = lines[index..=index + length].join("\n");
        let (signature, body) = text.split_once(" {").unwrap_or((&text, ""));
        let (signature, body) = (signature.to_owned(), body.to_owned());
        let words = signature.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let names = words.map(str::to_owned).collect();
        found.push(Function {
            file: file.path_of_module(),
            owner: owner.clone(),
            name: word_at(rest),
            signature,
            names,
            body,
        });
    }
    found
}

/// What an `impl` without a trait is of.
fn after_generics(line: &str) -> &str {
    let rest = &line["impl".len()..];
    let rest = if rest.starts_with('<') { rest.split_once("> ").map_or(rest, |(_, rest)| rest) } else { rest };
    rest.trim_start()
}

fn word_at(text: &str) -> String {
    text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

impl Function {
    /// Whether a comment of `file` that names `name` means it: a function of that file or of the module or type before its name.
    fn is(&self, name: &str, file: &File) -> bool {
        let (modules, last) = name.rsplit_once("::").unwrap_or(("", name));
        let modules: Vec<&str> = modules.split("::").filter(|module| !module.is_empty()).collect();
        let own: Vec<&str> = self.file.iter().map(String::as_str).collect();
        let of_owner = self.owner.as_deref().zip(modules.split_last());
        let of = match modules.as_slice() {
            [] => self.file == file.path_of_module(),
            modules => {
                own.ends_with(modules)
                    || of_owner.is_some_and(|(own_type, (of, above))| own_type == *of && own.ends_with(above))
            }
        };
        of && self.name == last
    }

    /// Whether such a value is within its reach.
    fn has(&self, structure: &str, holders: &BTreeSet<String>) -> bool {
        let of_self = self.owner.as_ref().is_some_and(|owner| holders.contains(owner));
        of_self || self.names.iter().any(|name| holders.contains(name)) || whole(&self.body, structure)
    }

    /// Whether it reads this field of something; to copy options as they are does not count, nor to set it.
    fn reads(&self, structure: &str, field: &str) -> bool {
        if !self.body.contains(field) && !self.signature.contains(field) {
            return false;
        }
        if self.body.lines().any(|line| line.contains(field) && reads(line, field)) {
            return true;
        }
        let bound = |fields: &str| whole(fields, field) && !fields.contains(&format!("{field}: _"));
        let bound_in = |text: &str| text.contains(structure) && patterns(text, structure).any(bound);
        bound_in(&self.body) || bound_in(&self.signature)
    }
}

fn reads(line: &str, field: &str) -> bool {
    // What is thrown away has not been looked at, whatever name it is given.
    let thrown_away = ["let _", "_ = ", "drop("].iter().any(|start| line.trim_start().starts_with(start));
    let copies = thrown_away || line.trim().starts_with(&format!("{field}: args.{field}"));
    let line = line.split_once(&format!(".{field} = ")).map_or(line, |(_, value)| value);
    !copies && whole(line, &format!(".{field}")) && !line.contains(&format!(".{field}("))
}

/// A field that a pattern passes over: `name: _`, or `name: _name`, of which rustc says no more.
struct Passed {
    /// Its line, from 0.
    line: usize,
    owner: String,
    field: String,
}

fn passed_over(file: &File) -> Vec<Passed> {
    let code = code_of(file);
    let mut found = Vec::new();
    for (at, _) in code.match_indices(": _") {
        let field: String = code[..at].chars().rev().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        let field: String = field.chars().rev().collect();
        let rest = code[at + 3..].trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let ends = rest.starts_with([',', '\n', ' ', '}']);
        let Some(open) = opening(&code[..at]).filter(|_| ends && !field.is_empty()) else { continue };
        let before = code[..open].trim_end();
        let owner: String = before.chars().rev().take_while(|c| c.is_ascii_alphanumeric()).collect();
        let owner = owner.chars().rev().collect();
        found.push(Passed { line: code[..at].matches('\n').count(), owner, field });
    }
    found
}

/// Where the brace is that is open at the end of this.
fn opening(code: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in code.char_indices().rev() {
        match c {
            '}' => depth += 1,
            '{' if depth == 0 => return Some(at),
            '{' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// The functions that the comment above this line names: above the fields that are passed over with it, or above the statement.
fn readers(file: &File, line: usize) -> Vec<String> {
    let lines: Vec<&str> = file.text.lines().collect();
    let is_comment = |line: &&&str| line.trim_start().starts_with("//");
    let above = lines[..line].iter().rev().skip_while(|line| line.trim_end().ends_with(": _,"));
    let mut comment: Vec<&str> = above.take_while(is_comment).copied().collect();
    comment.reverse();
    let comment = comment.join(" ");
    comment.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}
