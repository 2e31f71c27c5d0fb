//! Reads config.json, process.json and resources.json. Reads those files only; runs in the parent.
//!
//! Links are followed, as in runc: a bundle belongs to the caller, and engines link configurations together.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::excerpt::{self, FieldSpan};
use super::process::Process;
use super::strict::{self, Notes, Strict, UnknownField};
use super::{Spec, validate};
use crate::error::{Context, Deed, Doing, Error, Origins, Result, SaidBy, Stage, nearest};
use crate::sys::destination::refuse_appended;
use crate::sys::fs::open_file;

/// The name of the configuration in a bundle.
pub const CONFIG: &str = "config.json";

/// What a document may have, in bytes: a hundred times as many as the longest that an engine was seen to write. Sparse files
/// are of any length, and pipes and devices have none.
pub const LONGEST: u64 = 64 << 20;

/// A configuration that was read and checked.
#[derive(Debug)]
pub struct Loaded {
    /// The text it was made from.
    pub text: Vec<u8>,
    /// What it says.
    pub spec: Spec,
    /// Fields that nobody knows and that look like one that is known.
    pub warnings: Vec<String>,
}

/// Reads and checks config.json of a bundle.
pub fn load(bundle: &Path) -> Result<Spec> {
    load_text(bundle).map(|loaded| loaded.spec)
}

/// The configuration of a bundle, with the text it was made from.
pub fn load_text(bundle: &Path) -> Result<Loaded> {
    parse_and_check(read_config(bundle)?, &bundle.join(CONFIG))
}

/// The bytes of a bundle's config.json.
pub fn read_config(bundle: &Path) -> Result<Vec<u8>> {
    let path = bundle.join(CONFIG);
    let text = match open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound && bundle.is_dir() => {
            Err(error).at(Stage::Bundle, || format!("{CONFIG} not found in bundle {}", bundle.display()))
        }
        opened => read(opened, &path.to_string_lossy(), Stage::Bundle),
    };
    text.doing(Deed::FindBundle, || bundle.to_string_lossy())
}

/// Reads and checks a configuration under another name (`--config`).
pub fn load_file(path: &Path) -> Result<Loaded> {
    read_and_check(open(path), path)
}

/// The bytes of a document's file.
pub fn read_file(path: &Path, stage: Stage) -> Result<Vec<u8>> {
    read(open(path), &path.to_string_lossy(), stage)
}

/// The bytes of a document that comes from somewhere else.
pub fn read_stream(input: impl Read, name: &str, stage: Stage) -> Result<Vec<u8>> {
    read(Ok(input), name, stage)
}

/// By one call, where std's own takes two.
fn open(path: &Path) -> std::io::Result<File> {
    let file = open_file(path)?;
    refuse_appended(file.as_fd())?;
    Ok(file.into())
}

/// In as few calls as there are: std asks for the size first, which says nothing of a pipe.
fn read(input: std::io::Result<impl Read>, name: &str, stage: Stage) -> Result<Vec<u8>> {
    let mut text = Vec::with_capacity(8 << 10);
    let read = input.and_then(|input| input.take(LONGEST + 1).read_to_end(&mut text));
    read.at(stage, || format!("read {name}"))?;
    check_length(text.len() as u64, name, stage)?;
    Ok(text)
}

/// Refuses a document that would fill the memory.
pub fn check_length(bytes: u64, name: &str, stage: Stage) -> Result<()> {
    if bytes <= LONGEST {
        return Ok(());
    }
    Err(Error::new(stage, format!("{name} is longer than {LONGEST} bytes")))
}

/// Checks a configuration that is in memory.
pub fn load_bytes(text: Vec<u8>) -> Result<Loaded> {
    parse_and_check(text, Path::new(CONFIG))
}

fn read_and_check(file: std::io::Result<File>, path: &Path) -> Result<Loaded> {
    parse_and_check(read(file, &path.to_string_lossy(), Stage::Bundle)?, path)
}

fn parse_and_check(text: Vec<u8>, path: &Path) -> Result<Loaded> {
    let name = path.to_string_lossy();
    let notes = Notes::default();
    let spec: Spec = parse_with(&text, &name, &notes)?;
    validate::validate(&spec)
        .at(Stage::Bundle, || format!("invalid {}", path.display()))
        .map_err(|error| shown(error, &text))?;
    let mut warnings = if notes.unknown.get() { misspelled::<Spec>(&text, &name)? } else { Vec::new() };
    if spec.oci_version.is_empty() {
        warnings.push(format!("{name}: ociVersion is missing"));
    }
    Ok(Loaded { text, spec, warnings })
}

/// The error with the line of config.json that it is about.
pub fn shown(error: Error, text: &[u8]) -> Error {
    shown_in(error, text, "")
}

/// `above` is the path of the document among the fields of config.json.
fn shown_in(error: Error, text: &[u8], above: &str) -> Error {
    let Some(path) = error.field() else { return error };
    let span = excerpt::of(text, path.strip_prefix(above).unwrap_or(path));
    error.with_excerpt(excerpt::excerpt(text, &span))
}

/// A sentence for each field that nobody knows and that looks like one that is known. What looks like none may be of a
/// later version of the specification, which has it ignored.
fn misspelled<T: DeserializeOwned>(text: &[u8], name: &str) -> Result<Vec<String>> {
    let notes = Notes::detailed();
    parse_with::<T>(text, name, &notes)?;
    let sentence = |unknown: UnknownField| {
        let near = nearest(&unknown.field, unknown.known.iter().copied())?;
        // An item of a list that is the whole document is of nothing.
        let of = unknown.of.trim_start_matches("[]").trim_start_matches('.');
        let of = if of.is_empty() { String::new() } else { format!(" of {of}") };
        Some(format!("{name}: the field {:?}{of} is unknown and ignored: did you mean {near}?", unknown.field))
    };
    Ok(notes.into_found().into_iter().filter_map(sentence).collect())
}

/// Reads and checks process.json. What is odd about it goes to `warn`.
pub fn load_process(path: &Path, warn: &dyn Fn(&str)) -> Result<Process> {
    let text = read_file(path, Stage::Bundle)?;
    let process: Process = parse_telling(&text, &path.to_string_lossy(), warn)?;
    validate::validate_process(&process)
        .said_by(|| Origins::of_file("process", path.to_string_lossy()))
        .map_err(|error| shown_in(error, &text, "process."))?;
    Ok(process)
}

/// Reads any other JSON file, such as that of `mounts add`. What is odd about it goes to `warn`.
pub fn load_json<T: DeserializeOwned>(path: &Path, warn: &dyn Fn(&str)) -> Result<T> {
    let text = read_file(path, Stage::Bundle)?;
    parse_telling(&text, &path.to_string_lossy(), warn)
}

/// Reads JSON that is no file, such as that of `update --resources -`; `name` is for messages.
pub fn read_json<T: DeserializeOwned>(input: impl Read, name: &str, warn: &dyn Fn(&str)) -> Result<T> {
    parse_telling(&read(Ok(input), name, Stage::Bundle)?, name, warn)
}

fn parse_telling<T: DeserializeOwned>(text: &[u8], name: &str, warn: &dyn Fn(&str)) -> Result<T> {
    let notes = Notes::default();
    let value = parse_with(text, name, &notes)?;
    if notes.unknown.get() {
        misspelled::<T>(text, name)?.iter().for_each(|warning| warn(warning));
    }
    Ok(value)
}

/// Parses `text`; an error names the field and shows its line. Refuses NUL in any string: paths, arguments and names all
/// end up as C strings, and what follows a NUL would be dropped without a word.
pub fn parse<T: DeserializeOwned>(text: &[u8], name: &str) -> Result<T> {
    parse_with(text, name, &Notes::default())
}

fn parse_with<T: DeserializeOwned>(text: &[u8], name: &str, notes: &Notes) -> Result<T> {
    let value = strict(text, notes).or_else(|error| {
        let error = if notes.of_null() { at_null(error, text) } else { error };
        let mut span = excerpt::at(text, error.line(), error.column());
        if error.classify() != Category::Data {
            // No value is wrong but the text itself, at the last byte that was read.
            span.bytes = span.bytes.end.saturating_sub(1)..span.bytes.end;
        }
        Err(error)
            .at(Stage::Bundle, || format!("parse {name}{}", of_field(&span)))
            .map_err(|error| about(error, text, &span))
    })?;
    match find_nul(text) {
        None => Ok(value),
        Some(offset) => {
            let (line, column) = excerpt::position(text, offset + 1);
            let span = excerpt::at_offset(text, offset + 1);
            let what = format!("parse {name}{}", of_field(&span));
            Err(about(Error::nul(Stage::Bundle, what, line, column), text, &span))
        }
    }
}

/// An error of a `null`, at its end: serde_json has read on to what follows it in its list.
fn at_null(error: serde_json::Error, text: &[u8]) -> serde_json::Error {
    let read = &text[..excerpt::offset(text, error.line(), error.column())];
    let Some(start) = read.windows(b"null".len()).rposition(|word| word == b"null") else { return error };
    let (line, column) = excerpt::position(text, start + b"null".len());
    // It reads a position that stands at the end.
    serde::de::Error::custom(format!("{} at line {line} column {column}", strict::words(&error)))
}

fn of_field(span: &FieldSpan) -> String {
    if span.path.is_empty() { String::new() } else { format!(": {}", span.path) }
}

fn about(error: Error, text: &[u8], span: &FieldSpan) -> Error {
    error.doing(Deed::ReadConfig, "").at_field(&*span.path).with_excerpt(excerpt::excerpt(text, span))
}

fn strict<T: DeserializeOwned>(text: &[u8], notes: &Notes) -> serde_json::Result<T> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = T::deserialize(Strict(&mut deserializer, notes))?;
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
