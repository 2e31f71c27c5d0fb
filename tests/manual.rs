//! Manual pages: what is in them, and what the programs that show them say of it. Command lines in the documents.

use std::ffi::OsString;
use std::process::Command;

use brisk::cli::man::pages;
use brisk::cli::verbs::VERBS;
use brisk::cli::{manual, parse};

use crate::skip;

/// Splits a command line as a shell does that has quotes only.
fn split(line: &str) -> Vec<OsString> {
    let (mut words, mut word, mut quote, mut any) = (Vec::new(), String::new(), None, false);
    for c in line.chars() {
        match (quote, c) {
            (None, '\'' | '"') => (quote, any) = (Some(c), true),
            (Some(open), c) if c == open => quote = None,
            (None, ' ') => {
                if any {
                    words.push(std::mem::take(&mut word).into());
                }
                any = false;
            }
            (_, c) => {
                word.push(c);
                any = true;
            }
        }
    }
    if any {
        words.push(word.into());
    }
    words
}

/// Whether brisk takes this line. What a shell does with it, a pipe or a file, is cut off.
fn is_taken(line: &str) {
    let line = line.split(" | ").find(|part| part.starts_with("brisk ")).unwrap_or(line);
    let line = [" < ", " > ", " && "].iter().fold(line, |line, end| line.split(end).next().unwrap_or(line));
    let words = split(line.split("  #").next().unwrap_or(line));
    assert_eq!(words[0], "brisk", "{line}");
    if let Err(error) = parse(&words[1..]) {
        panic!("{line}: {error}");
    }
}

#[test]
fn every_page_has_every_part() {
    for row in VERBS.iter().filter(|row| row.listed()) {
        let page = manual::of(row.verb);
        assert!(
            !page.description.is_empty() && !page.examples.is_empty(),
            "MANUALS in src/cli/manual.rs is to describe `{}`, with an example",
            row.name
        );
    }
    for (name, text) in pages() {
        assert!(text.is_ascii(), "{name} has a character that is not ASCII");
        for part in ["NAME", "SYNOPSIS", "DESCRIPTION", "EXAMPLES", "EXIT STATUS", "SEE ALSO"] {
            assert_eq!(text.matches(&format!(".SH {part}\n")).count(), 1, "{name}: parts called {part}");
        }
    }
    let names: Vec<String> = pages().into_iter().map(|(name, _)| name).collect();
    for row in VERBS.iter().filter(|row| row.listed()) {
        let page = manual::of(row.verb);
        for other in page.see.iter().filter(|page| page.starts_with("brisk-")) {
            assert!(
                names.contains(&format!("{other}.8")),
                "`see` of {} in src/cli/manual.rs: there is no {other}",
                row.name
            );
        }
        for name in page.environment {
            assert!(
                manual::ENVIRONMENT.iter().any(|(known, _)| known == name),
                "`environment` of {} in src/cli/manual.rs: ENVIRONMENT has no {name}",
                row.name
            );
        }
        page.examples.iter().for_each(|(line, _)| is_taken(line));
    }
}

#[test]
fn groff_and_mandoc_have_no_complaint() {
    let dir = std::env::temp_dir().join(format!("brisk-man-{}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    let mut said = String::new();
    for (program, args) in [("groff", &["-man", "-Tutf8", "-wall", "-z"][..]), ("mandoc", &["-Tlint", "-Wwarning"])] {
        if !Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap().status.success() {
            skip(&format!("{program} is not installed"));
            continue;
        }
        for (name, text) in pages() {
            let path = dir.join(&name);
            std::fs::write(&path, text).unwrap();
            let out = Command::new(program).args(args).arg(&path).output().unwrap();
            said += &String::from_utf8_lossy(&[out.stdout, out.stderr].concat());
        }
    }
    std::fs::remove_dir_all(&dir).unwrap();
    assert_eq!(said, "");
}

#[test]
fn command_lines_in_the_documents_are_taken() {
    let top = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_dir(top.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut found = 0;
    for path in docs.chain(["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(|name| top.join(name))) {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let mut fenced = false;
        for line in text.replace("\\\n", " ").lines() {
            fenced ^= line.starts_with("```");
            let in_code = if fenced { Some(line) } else { line.strip_prefix("    ") };
            let Some(line) = in_code else { continue };
            let prompts = ["there#", "here#", "#", "$"];
            let line = prompts.iter().find_map(|prompt| line.strip_prefix(prompt)).unwrap_or(line).trim_start();
            if line.starts_with("brisk ") && !line.starts_with("brisk = ") {
                is_taken(line);
                found += 1;
            }
        }
    }
    assert!(found >= 35, "only {found} found");
}
