//! A plan as JSON: that of a bundle, or one that was saved.
//!
//! Not trusted: a saved one may come from anywhere, and what it names is an image's.

use std::path::Path;

use brisk::cli::plan::VERSION;
use brisk::error::{Context, Error, Result, Stage};
use brisk::host::Host;
use brisk::spec;
use serde_json::{Map, Value};

/// Who does something, or where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PlanSide {
    Parent,
    Cgroup,
    Child,
}

impl PlanSide {
    const ALL: [PlanSide; 3] = [PlanSide::Parent, PlanSide::Cgroup, PlanSide::Child];

    /// The name of its list.
    pub fn name(self) -> &'static str {
        match self {
            PlanSide::Parent => "parent",
            PlanSide::Cgroup => "cgroup",
            PlanSide::Child => "child",
        }
    }
}

/// One step or operation.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanItem {
    pub side: PlanSide,
    /// Its number in the list of its side.
    pub index: usize,
    pub op: String,
    pub group: String,
    /// For people.
    pub text: String,
    /// All of it but the number.
    pub fields: Map<String, Value>,
}

impl PlanItem {
    fn of(side: PlanSide, index: usize, value: &Value) -> Option<PlanItem> {
        let mut fields = value.as_object()?.clone();
        fields.remove("index");
        let word = |key: &str| Some(value[key].as_str()?.to_owned());
        Some(PlanItem { side, index, op: word("op")?, group: word("group")?, text: word("text")?, fields })
    }

    /// What it is called where it is listed.
    pub fn label(&self) -> String {
        format!("{:<6} {:>3}", self.side.name(), self.index)
    }

    /// A text among its fields; empty where there is none.
    pub fn word(&self, key: &str) -> &str {
        self.fields.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// A truth among its fields.
    pub fn is(&self, key: &str) -> bool {
        self.fields.get(key).and_then(Value::as_bool).unwrap_or_default()
    }

    /// A list of texts among its fields.
    pub fn list(&self, key: &str) -> Vec<&str> {
        self.fields.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
    }
}

/// A plan.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanDocument {
    /// Of what command.
    pub of: String,
    pub host: Value,
    pub warnings: Vec<String>,
    pub items: Vec<PlanItem>,
}

/// More than any plan of a start has, and little enough to be laid out.
const MOST_ITEMS: usize = 50_000;

impl PlanDocument {
    /// Takes one of this name apart.
    pub fn of(document: &Value, name: &str) -> Result<PlanDocument> {
        let bad = |what: &str| Error::new(Stage::Args, format!("{name} {what}")).with_hint(HINT);
        let unknown = || bad(&format!("is not a plan of version {VERSION}"));
        if document["version"] != VERSION {
            return Err(unknown());
        }
        let mut items = Vec::new();
        for side in PlanSide::ALL {
            let list = document[side.name()].as_array().ok_or_else(unknown)?;
            if items.len() + list.len() > MOST_ITEMS {
                return Err(bad(&format!("has more than {MOST_ITEMS} operations")));
            }
            for (index, value) in list.iter().enumerate() {
                items.push(PlanItem::of(side, index, value).ok_or_else(unknown)?);
            }
        }
        let warnings = document["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str);
        Ok(PlanDocument {
            of: document["of"].as_str().unwrap_or_default().to_owned(),
            host: document["host"].clone(),
            warnings: warnings.map(str::to_owned).collect(),
            items,
        })
    }

    /// What a reader wants to know first.
    pub fn sentence(&self) -> String {
        let many = |side| self.items.iter().filter(|item| item.side == side).count();
        let (parent, child) = (many(PlanSide::Parent), many(PlanSide::Child));
        let user =
            self.host["uid"].as_u64().map_or_else(|| "a uid that is not known".to_owned(), |uid| format!("uid {uid}"));
        format!("{} as {user}: {parent} steps of the runtime, {child} operations of the container's process", self.of)
    }
}

const HINT: &str = "such a file is written by: brisk plan --json BUNDLE > FILE";

/// The JSON of a file, or of standard input for `-`: read once, for it may be a pipe.
pub fn value(file: &Path) -> Result<Value> {
    let text = match file.to_str() {
        Some("-") => spec::read_stream(std::io::stdin(), "standard input", Stage::Args)?,
        _ => spec::read_file(file, Stage::Args)?,
    };
    serde_json::from_slice(&text).at(Stage::Args, || format!("parse {}", file.display()))
}

/// The facts about the host in a document, whatever that is.
pub(super) fn host_in(mut document: Value) -> serde_json::Result<Host> {
    serde_json::from_value(document.get_mut("host").map(Value::take).unwrap_or_default())
}

/// The facts about the host that a saved plan rests on.
pub fn host_of(file: &Path) -> Result<Host> {
    host_in(value(file)?)
        .at(Stage::Args, || format!("take the facts about a host from {}", file.display()))
        .map_err(|error| error.with_hint(HINT))
}
