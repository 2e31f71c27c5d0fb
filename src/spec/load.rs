//! Reads config.json, process.json and resources.json. Reads those files only; runs in the parent.
//!
//! Links are followed, as in runc: a bundle belongs to the caller, and engines link configurations together.

use std::io::{ErrorKind, Read};
use std::path::Path;

use serde::de::DeserializeOwned;

use super::process::Process;
use super::strict::Strict;
use super::{Spec, validate};
use crate::error::{Context, Error, Result, Stage};

/// The name of the configuration in a bundle.
pub const CONFIG: &str = "config.json";

/// Reads and checks config.json of a bundle.
pub fn load(bundle: &Path) -> Result<Spec> {
    load_text(bundle).map(|(_, spec)| spec)
}

/// The same, with the text it was made from.
pub fn load_text(bundle: &Path) -> Result<(Vec<u8>, Spec)> {
    let path = bundle.join(CONFIG);
    match std::fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound && bundle.is_dir() => {
            Err(error).at(Stage::Bundle, || format!("{CONFIG} not found in bundle {}", bundle.display()))
        }
        result => checked(result, &path),
    }
}

/// Reads and checks a configuration under another name (`--config`).
pub fn load_file(path: &Path) -> Result<(Vec<u8>, Spec)> {
    checked(std::fs::read(path), path)
}

fn checked(text: std::io::Result<Vec<u8>>, path: &Path) -> Result<(Vec<u8>, Spec)> {
    let text = text.at(Stage::Bundle, || format!("read {}", path.display()))?;
    let spec: Spec = parse(&text, &path.to_string_lossy())?;
    validate::validate(&spec).at(Stage::Bundle, || format!("invalid {}", path.display()))?;
    Ok((text, spec))
}

/// Reads and checks process.json.
pub fn load_process(path: &Path) -> Result<Process> {
    let process: Process = load_json(path)?;
    validate::validate_process(&process).at(Stage::Bundle, || format!("invalid {}", path.display()))?;
    Ok(process)
}

/// Reads any other JSON file, such as that of `mounts add`.
pub fn load_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read(path).at(Stage::Bundle, || format!("read {}", path.display()))?;
    parse(&text, &path.to_string_lossy())
}

/// Reads JSON that is no file, such as that of `update --resources -`; `name` is for messages.
pub fn read_json<T: DeserializeOwned>(mut input: impl Read, name: &str) -> Result<T> {
    let mut text = Vec::new();
    input.read_to_end(&mut text).at(Stage::Bundle, || format!("read {name}"))?;
    parse(&text, name)
}

/// Parses `text`; a message has line and column. Refuses NUL in any string: paths, arguments and names all
/// end up as C strings, and what follows a NUL would be dropped without a word.
pub fn parse<T: DeserializeOwned>(text: &[u8], name: &str) -> Result<T> {
    let value = strict(text).at(Stage::Bundle, || format!("parse {name}"))?;
    match find_nul(text) {
        None => Ok(value),
        Some(offset) => {
            let before = &text[..offset];
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
            let what = format!("parse {name}: NUL byte in a string at line {line} column {column}");
            Err(Error::new(Stage::Bundle, what))
        }
    }
}

fn strict<T: DeserializeOwned>(text: &[u8]) -> serde_json::Result<T> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = T::deserialize(Strict(&mut deserializer))?;
    deserializer.end()?;
    Ok(value)
}

/// The offset of the first `\u0000`. In valid JSON a string cannot hold a NUL in any other way, so looking
/// at the text finds them all without a walk over every value.
fn find_nul(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    while text[at..].contains(&b'\\') {
        at += text[at..].iter().position(|byte| *byte == b'\\')?;
        if text[at..].starts_with(br"\u0000") {
            return Some(at);
        }
        // A backslash and what it escapes, which may be a backslash itself.
        at = text.len().min(at + 2);
    }
    None
}
