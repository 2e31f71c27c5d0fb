//! brisk's types of config.json against oci-spec's and against the text they were read from.

use std::collections::BTreeSet;

use brisk::spec::{Spec, process::Process, resources::Resources};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::fixture;

/// Reads the text as a `T` and writes it again.
fn through<T: DeserializeOwned + Serialize>(text: &str, name: &str) -> Value {
    let value: T = brisk::spec::parse(text.as_bytes(), name).expect(name);
    serde_json::to_value(value).expect(name)
}

/// Without what means the same as nothing in Go's types: null, empty, zero and false.
fn normal(value: Value) -> Option<Value> {
    let value = match value {
        Value::Object(map) => Value::Object(map.into_iter().filter_map(|(k, v)| Some((k, normal(v)?))).collect()),
        Value::Array(list) => Value::Array(list.into_iter().map(|v| normal(v).unwrap_or_default()).collect()),
        other => other,
    };
    let empty = match &value {
        Value::Null => true,
        Value::Bool(b) => !b,
        Value::Number(n) => n.as_u64() == Some(0),
        Value::String(s) => s.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    };
    (!empty).then_some(value)
}

fn at<'a>(map: &'a serde_json::Map<String, Value>, key: &str) -> &'a Value {
    map.get(key).unwrap_or(&Value::Null)
}

/// The first place where two values differ.
fn difference(a: &Value, b: &Value, path: &str) -> Option<String> {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<_> = a.keys().chain(b.keys()).collect();
            keys.into_iter().find_map(|key| difference(at(a, key), at(b, key), &format!("{path}.{key}")))
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().find_map(|(n, (a, b))| difference(a, b, &format!("{path}[{n}]")))
        }
        (a, b) => (a != b).then(|| format!("{path}: {a} and {b}")),
    }
}

/// oci-spec keeps capabilities in sets without order.
fn sort_capabilities(value: &mut Value) {
    let Some(map) = value.as_object_mut() else { return };
    for (key, value) in map {
        match (key.as_str(), value) {
            ("capabilities", Value::Object(sets)) => {
                sets.values_mut().filter_map(Value::as_array_mut).for_each(|set| {
                    set.sort_by_key(ToString::to_string);
                })
            }
            (_, value) => sort_capabilities(value),
        }
    }
}

/// The text through our type is what it is through theirs, and what it was.
fn compare<Ours, Theirs>(text: &str, name: &str)
where
    Ours: DeserializeOwned + Serialize,
    Theirs: DeserializeOwned + Serialize,
{
    let written = |value| {
        let mut value = normal(value).expect(name);
        sort_capabilities(&mut value);
        value
    };
    let ours = written(through::<Ours>(text, name));
    let theirs = written(through::<Theirs>(text, name));
    assert_eq!(difference(&ours, &theirs, ""), None, "{name}: oci-spec reads it otherwise");
    let was = written(serde_json::from_str(text).expect(name));
    assert_eq!(difference(&ours, &was, ""), None, "{name}: something was lost");
}

#[test]
fn every_sample_of_an_engine() {
    let mut seen = 0;
    for entry in std::fs::read_dir(fixture("engines")).expect("fixtures") {
        let path = entry.expect("an entry").path();
        let name = path.to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("read");
        if name.ends_with("-config.json") {
            compare::<Spec, oci_spec::runtime::Spec>(&text, &name);
        } else if name.ends_with("-process.json") {
            compare::<Process, oci_spec::runtime::Process>(&text, &name);
        } else {
            assert!(name.ends_with("-resources.json"), "{name}: which type is it?");
            compare::<Resources, oci_spec::runtime::LinuxResources>(&text, &name);
        }
        seen += 1;
    }
    assert!(seen >= 40, "only {seen} samples");
}

fn everything() -> String {
    std::fs::read_to_string(fixture("bundles/everything/config.json")).expect("the fixture")
}

/// What oci-spec 0.10 lacks, or writes in another case, as JSON pointers: it is compared with the text alone.
const NOT_IN_OCI_SPEC: &[&str] = &["/linux/intelRdt/enableCMT", "/linux/intelRdt/enableMBM"];

#[test]
fn everything_comes_back_as_it_was() {
    let text = everything();
    let mut known: Value = serde_json::from_str(&text).expect("JSON");
    for path in NOT_IN_OCI_SPEC {
        let (above, field) = path.rsplit_once('/').unwrap();
        known.pointer_mut(above).and_then(Value::as_object_mut).unwrap().remove(field).expect(path);
    }
    compare::<Spec, oci_spec::runtime::Spec>(&known.to_string(), "everything");
    let was = serde_json::from_str(&text).expect("JSON");
    assert_eq!(difference(&through::<Spec>(&text, "everything"), &was, ""), None);
}

fn paths(value: &Value, prefix: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let path = format!("{prefix}.{key}");
                paths(value, &path, found);
                found.insert(path);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| paths(value, prefix, found)),
        _ => {}
    }
}

/// A field that our types have and the fixture lacks would go untested: a default value of each type shows
/// the fields that are always written, and the count guards the rest.
#[test]
fn everything_is_in_the_fixture() {
    let mut found = BTreeSet::new();
    paths(&serde_json::from_str(&everything()).expect("JSON"), "", &mut found);
    // runtime-spec 1.3 has 223 paths. Three are not here: process.commandLine and process.user.username are for Windows,
    // and linux.personality.flags has no valid value. Here are two of intelRdt that 1.2 had (enableCMT, enableMBM), and
    // the six keys of maps (annotations, sysctl, netDevices, rdma, unified).
    assert_eq!(found.len(), 228, "{found:#?}");
}

/// Every place of a document, as a pointer.
fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| places(value, &format!("{at}/{key}"), all)),
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(index, value)| places(value, &format!("{at}/{index}"), all));
        }
        _ => {}
    }
}

/// `null` means what Go's types hold before anything is read. What must not be empty is another matter.
#[test]
fn null_is_the_zero_of_every_field() {
    let text = std::fs::read_to_string(fixture("bundles/everything/config.json")).unwrap();
    let whole: Value = serde_json::from_str(&text).unwrap();
    let mut all = Vec::new();
    places(&whole, "", &mut all);
    assert!(all.len() > 200, "{}", all.len());
    for place in &all[1..] {
        let mut document = whole.clone();
        *document.pointer_mut(place).unwrap() = Value::Null;
        if let Err(error) = brisk::spec::parse::<Spec>(document.to_string().as_bytes(), "config.json") {
            // An object without what it has to have.
            assert!(error.to_string().contains("missing field"), "{place}: {error}");
        }
    }
    let zeros =
        r#"{ "ociVersion": null, "process": { "terminal": null, "user": { "uid": null }, "args": ["a", null] } }"#;
    let spec: Spec = brisk::spec::parse(zeros.as_bytes(), "config.json").unwrap();
    let process = spec.process.unwrap();
    assert_eq!((process.terminal, process.user.uid, &process.args[1].lossy()[..]), (false, 0, ""));
}
