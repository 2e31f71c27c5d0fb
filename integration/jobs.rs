//! Jobs: limits on time, CPU time and output, and what is told of how the program ended and what it used.

mod background;
mod endings;
mod figures;
mod judge;
mod limits;
mod result_file;
mod wait_command;
mod waits;

#[path = "../tests/json_schema.rs"]
mod json_schema;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::common::process::Output;
use crate::common::{Bundle, Container, host};

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
    let schema = fs::read(host::paper("docs/job-result.schema.json")).unwrap();
    let schema: Value = serde_json::from_slice(&schema).unwrap();
    all_is_required(&schema, "result");
    json_schema::check(result, &schema, "result").unwrap();
}

/// Each part has a type and says what is in it, and of an object each field has to be there and no other may.
#[track_caller]
fn all_is_required(schema: &Value, path: &str) {
    let kinds = schema["type"].as_array().cloned().unwrap_or_else(|| vec![schema["type"].clone()]);
    assert!(kinds.iter().all(Value::is_string), "{path} has no type");
    for (kind, what) in [("object", "properties"), ("array", "items")] {
        assert!(!kinds.contains(&json!(kind)) || schema.get(what).is_some(), "{path}: {what}");
    }
    if let Some(fields) = schema.get("properties").and_then(Value::as_object) {
        let required = schema["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
        let all: BTreeSet<_> = fields.keys().map(String::as_str).collect();
        assert_eq!(required.collect::<BTreeSet<_>>(), all, "{path}: all are required");
        assert_eq!(schema["additionalProperties"], json!(false), "{path}");
        fields.iter().for_each(|(key, of)| all_is_required(of, &format!("{path}.{key}")));
    }
    if let Some(of) = schema.get("items") {
        all_is_required(of, path);
    }
}
