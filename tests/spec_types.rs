//! brisk's types of config.json against oci-spec's and against the text they were read from.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use brisk::spec::{Spec, process::Process, resources::Resources};
use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde::{Serialize, forward_to_deserialize_any};
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
    let differs = difference(&ours, &theirs, "");
    assert_eq!(differs, None, "{name}: oci-spec reads it otherwise; what the crate lacks goes into NOT_IN_OCI_SPEC");
    let was = written(serde_json::from_str(text).expect(name));
    assert_eq!(difference(&ours, &was, ""), None, "{name}: something was lost: src/spec has no such field");
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
    let differs = difference(&through::<Spec>(&text, "everything"), &was, "");
    assert_eq!(differs, None, "what the fixture has and src/spec has not is a field to add there");
}

/// What the types ask a document for: each field by its path, and whether the document has it anywhere.
type Asked = RefCell<BTreeMap<String, bool>>;

/// A value that notes which fields are asked for: those that serde's derived code names for a structure.
struct Asking<'a> {
    value: &'a Value,
    path: String,
    asked: &'a Asked,
}

impl<'a> Asking<'a> {
    fn below(&self, value: &'a Value, part: &str) -> Asking<'a> {
        let dot = if self.path.is_empty() || part == "[]" { "" } else { "." };
        Asking { value, path: format!("{}{dot}{part}", self.path), asked: self.asked }
    }
}

impl<'de> IntoDeserializer<'de, serde_json::Error> for Asking<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Asking<'de> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self.value {
            Value::Object(map) => {
                let members = map.iter().map(|(key, value)| (key.as_str(), self.below(value, "*")));
                visitor.visit_map(MapDeserializer::new(members))
            }
            Value::Array(list) => {
                visitor.visit_seq(SeqDeserializer::new(list.iter().map(|value| self.below(value, "[]"))))
            }
            value => value.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        if self.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.value.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        let map = self.value.as_object().unwrap_or_else(|| panic!("{}: {name} is read from no object", self.path));
        for field in fields {
            let path = self.below(self.value, field).path;
            *self.asked.borrow_mut().entry(path).or_default() |= map.contains_key(*field);
        }
        let members = map.iter().map(|(key, value)| (key.as_str(), self.below(value, key)));
        visitor.visit_map(MapDeserializer::new(members))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

/// The fields of a type and of all in it, as far as the fixture leads there.
fn asked_by<T: DeserializeOwned>() -> BTreeMap<String, bool> {
    let value: Value = serde_json::from_str(&everything()).expect("JSON");
    let asked = Asked::default();
    T::deserialize(Asking { value: &value, path: String::new(), asked: &asked }).expect("everything");
    asked.into_inner()
}

/// Fields without a value in the fixture: those for Windows, and one that has no valid value.
const NOT_IN_FIXTURE: &[&str] = &["linux.personality.flags", "process.commandLine", "process.user.username"];

/// A field that is nowhere in the fixture would go untested, and would be no row of docs/FIELDS.md.
#[test]
fn every_field_of_our_types_is_in_the_fixture() {
    let asked = asked_by::<Spec>();
    assert!(asked.len() > 200, "only {} fields", asked.len());
    let missing = asked.iter().filter(|(_, there)| !**there).map(|(path, _)| path);
    let missing: Vec<&String> = missing.filter(|path| !NOT_IN_FIXTURE.contains(&path.as_str())).collect();
    assert!(
        missing.is_empty(),
        "src/spec has {missing:?}: give it a value in fixtures/bundles/everything/config.json, which has every field, and in \
        fixtures/bundles/fields/config.json, which is planned"
    );
}

/// What the crate oci-spec has and we have not: other systems, words of its own, and what is written in another case.
const NOT_OURS: &[&str] = &[
    "gidMappings",
    "linux.intelRdt.enableCmt",
    "linux.intelRdt.enableMbm",
    "solaris",
    "uidMappings",
    "vm",
    "windows",
    "zos",
];

#[test]
fn our_types_have_what_oci_spec_has() {
    let (ours, theirs) = (asked_by::<Spec>(), asked_by::<oci_spec::runtime::Spec>());
    let lacking = theirs.keys().filter(|path| !ours.contains_key(*path)).map(String::as_str);
    assert_eq!(
        lacking.collect::<Vec<_>>(),
        NOT_OURS,
        "a field of the specification belongs into src/spec, any other into NOT_OURS"
    );
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
        match brisk::spec::parse::<Spec>(document.to_string().as_bytes(), "config.json") {
            // An object without what it has to have.
            Err(error) => assert!(error.to_string().contains("missing field"), "{place}: {error}"),
            // What is not said is not written: for others `null` is something.
            Ok(spec) => {
                let mut written = Vec::new();
                let value = serde_json::to_value(&spec).unwrap();
                places(&value, "", &mut written);
                let null = written.iter().find(|at| value.pointer(at) == Some(&Value::Null));
                assert_eq!(null, None, "#[serde(skip_serializing_if = …)] of {place}");
            }
        }
    }
    let zeros =
        r#"{ "ociVersion": null, "process": { "terminal": null, "user": { "uid": null }, "args": ["a", null] } }"#;
    let spec: Spec = brisk::spec::parse(zeros.as_bytes(), "config.json").unwrap();
    let process = spec.process.unwrap();
    assert_eq!((process.terminal, process.user.uid, &process.args[1].lossy()[..]), (false, 0, ""));
}
