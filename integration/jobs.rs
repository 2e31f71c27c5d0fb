//! Jobs: limits on time, CPU time and output, and what is told of how the program ended and what it used.

mod background;
mod endings;
mod figures;
mod judge;
mod limits;
mod result_file;
mod wait_command;
mod waits;

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::common::process::Output;
use crate::common::{Bundle, Container};

const ONLY: &str = "no other runtime tells the result of a job";

/// A run with `--result`, its output and the result.
#[track_caller]
fn job(bundle: Bundle, flags: &[&str]) -> (Output, Value) {
    let container = bundle.container();
    let done = run(&container, flags);
    container.assert_nothing_left();
    done
}

#[track_caller]
fn run(container: &Container, flags: &[&str]) -> (Output, Value) {
    let file = container.bundle.dir.join("result.json");
    let output = container.run_with(&[&["--result", file.to_str().unwrap()], flags].concat());
    let text = fs::read(&file).unwrap_or_else(|error| panic!("no result ({error}): {output:?}"));
    let result: Value = serde_json::from_slice(&text).unwrap();
    conforms(&result);
    assert_eq!(result["id"], json!(container.id));
    (output, result)
}

/// The fifo /wake in the container, where its program waits for a word.
fn wake_of(bundle: &Bundle) -> PathBuf {
    let wake = bundle.rootfs().join("wake");
    nix::unistd::mkfifo(&wake, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
    wake
}

/// With a hook of this kind that says `hook` and then waits for a word in this fifo.
fn hook_that_waits(bundle: Bundle, kind: &str) -> (Bundle, PathBuf) {
    let wake = bundle.dir.join("wake");
    nix::unistd::mkfifo(&wake, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let hook = format!("echo hook >>$OUT; read line < {}", wake.display());
    (bundle.sh_hook(kind, &hook), wake)
}

/// Every field of the schema is there, each of a type that the schema allows, and no other.
#[track_caller]
pub fn conforms(result: &Value) {
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/job-result.schema.json");
    let schema =
        std::env::var("BRISK_FIXTURES").map_or_else(|_| schema.into(), |dir| format!("{dir}/job-result.schema.json"));
    let schema: Value = serde_json::from_slice(&fs::read(&schema).unwrap()).unwrap();
    check(result, &schema, "result");
}

#[track_caller]
fn check(value: &Value, schema: &Value, path: &str) {
    // A word of JSON schema that is not looked at here would say nothing.
    const KNOWN: &[&str] = &[
        "$schema",
        "title",
        "description",
        "type",
        "enum",
        "const",
        "properties",
        "required",
        "additionalProperties",
        "items",
    ];
    let unknown: Vec<_> = schema.as_object().unwrap().keys().filter(|word| !KNOWN.contains(&word.as_str())).collect();
    assert!(unknown.is_empty(), "{path}: {unknown:?}");
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let kinds = match &schema["type"] {
        Value::String(one) => vec![one.as_str()],
        list => list.as_array().unwrap().iter().map(|kind| kind.as_str().unwrap()).collect(),
    };
    assert!(kinds.contains(&kind), "{path} is {value}, not {kinds:?}");
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        assert!(words.contains(value), "{path} is {value}, not one of {words:?}");
    }
    if let Some(constant) = schema.get("const") {
        assert_eq!(value, constant, "{path}");
    }
    if let Some(object) = value.as_object() {
        let fields = schema["properties"].as_object().unwrap();
        assert_eq!(object.keys().collect::<Vec<_>>(), fields.keys().collect::<Vec<_>>(), "{path}");
        let required = schema["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
        let all: std::collections::BTreeSet<_> = fields.keys().map(String::as_str).collect();
        assert_eq!(required.collect::<std::collections::BTreeSet<_>>(), all, "{path}: all are required");
        assert_eq!(schema["additionalProperties"], json!(false), "{path}");
        for (key, value) in object {
            check(value, &fields[key], &format!("{path}.{key}"));
        }
    }
    for item in value.as_array().into_iter().flatten() {
        check(item, &schema["items"], path);
    }
}
