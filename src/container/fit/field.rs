//! Fields in config.json by name, as `mounts[2].options`: found in a document, and taken out of it. Pure.

use serde_json::Value;

/// A step into a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PathPart {
    Key(String),
    Index(usize),
}

/// From the whole document to a value in it.
pub(super) type FieldPath = Vec<PathPart>;

/// Something else in a document: a value at a field, or none where that has to go.
#[derive(Clone, Debug)]
pub(super) struct FieldChange {
    pub field: FieldPath,
    pub new: Option<Value>,
}

/// The name of a field.
pub(super) fn name(field: &[PathPart]) -> String {
    let mut text = String::new();
    for part in field {
        match part {
            PathPart::Index(index) => text += &format!("[{index}]"),
            PathPart::Key(key) if text.is_empty() => text.push_str(key),
            PathPart::Key(key) => text += &format!(".{key}"),
        }
    }
    text
}

/// The field of this name. Keys may have dots in them, so the document decides what is one; what it does not have is taken
/// as it is written.
pub(super) fn find(document: &Value, name: &str) -> FieldPath {
    let mut field = FieldPath::new();
    let mut at = Some(document);
    let mut rest = name;
    while !rest.is_empty() {
        if let Some((index, after)) = rest.strip_prefix('[').and_then(|inside| inside.split_once(']')) {
            let index = index.parse().unwrap_or(usize::MAX);
            at = at.and_then(|value| value.get(index));
            field.push(PathPart::Index(index));
            rest = after;
            continue;
        }
        rest = rest.strip_prefix('.').unwrap_or(rest);
        let ends =
            |key: &str| rest.strip_prefix(key).is_some_and(|after| after.is_empty() || after.starts_with(['.', '[']));
        let keys = at.and_then(Value::as_object).into_iter().flat_map(|map| map.keys());
        let longest = keys.filter(|key| !key.is_empty() && ends(key)).max_by_key(|key| key.len());
        let key = match longest {
            Some(key) => key.clone(),
            None => rest.split(['.', '[']).next().unwrap_or(rest).to_owned(),
        };
        if key.is_empty() {
            break;
        }
        at = at.and_then(|value| value.get(&key));
        rest = &rest[key.len()..];
        field.push(PathPart::Key(key));
    }
    field
}

/// The value at a field.
pub(super) fn get<'v>(document: &'v Value, field: &[PathPart]) -> Option<&'v Value> {
    field.iter().try_fold(document, |value, part| match part {
        PathPart::Key(key) => value.get(key),
        PathPart::Index(index) => value.get(index),
    })
}

/// The fields directly below one.
pub(super) fn children(document: &Value, field: &[PathPart]) -> Vec<FieldPath> {
    let below = |part| [field, &[part]].concat();
    match get(document, field) {
        Some(Value::Object(map)) => map.keys().map(|key| below(PathPart::Key(key.clone()))).collect(),
        Some(Value::Array(list)) => (0..list.len()).map(|index| below(PathPart::Index(index))).collect(),
        _ => Vec::new(),
    }
}

/// The document with these changes, whose fields are those of the document as it is.
pub(super) fn changed(document: &Value, changes: &[FieldChange]) -> Value {
    let mut copy = without(document, &mut FieldPath::new(), changes).unwrap_or_default();
    // A value in a list is exchanged where it stands.
    for change in changes.iter().filter(|change| !is_in_list(&change.field)) {
        let Some(new) = &change.new else { continue };
        let keys: Vec<&String> = change
            .field
            .iter()
            .filter_map(|part| if let PathPart::Key(key) = part { Some(key) } else { None })
            .collect();
        let field = keys.iter().fold(&mut copy, |value, key| {
            if !value.is_object() {
                *value = Value::Object(serde_json::Map::new());
            }
            &mut value[key.as_str()]
        });
        *field = new.clone();
    }
    copy
}

fn is_in_list(field: &[PathPart]) -> bool {
    field.iter().any(|part| matches!(part, PathPart::Index(_)))
}

fn without(value: &Value, at: &mut FieldPath, changes: &[FieldChange]) -> Option<Value> {
    if let Some(change) = changes.iter().find(|change| change.field == *at) {
        return change.new.clone().filter(|_| is_in_list(at));
    }
    let mut copy = |part: PathPart, value: &Value| {
        at.push(part);
        let copy = without(value, at, changes);
        at.pop();
        copy
    };
    Some(match value {
        Value::Object(map) => map
            .iter()
            .filter_map(|(key, value)| Some((key.clone(), copy(PathPart::Key(key.clone()), value)?)))
            .collect(),
        Value::Array(list) => {
            list.iter().enumerate().filter_map(|(index, value)| copy(PathPart::Index(index), value)).collect()
        }
        value => value.clone(),
    })
}

/// Where a field of the changed document is in the document itself: lists have become shorter.
pub(super) fn original(document: &Value, changes: &[FieldChange], field: &[PathPart]) -> FieldPath {
    if changes.is_empty() {
        return field.to_vec();
    }
    let mut found = FieldPath::new();
    for part in field {
        let part = match part {
            PathPart::Key(key) => PathPart::Key(key.clone()),
            PathPart::Index(wanted) => {
                let length = get(document, &found).and_then(Value::as_array).map_or(0, Vec::len);
                let gone = |index: usize| {
                    let field = [found.as_slice(), &[PathPart::Index(index)]].concat();
                    changes.iter().any(|change| change.new.is_none() && change.field == field)
                };
                PathPart::Index((0..length).filter(|index| !gone(*index)).nth(*wanted).unwrap_or(*wanted))
            }
        };
        found.push(part);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_name_leads_to_its_place() {
        let document = json!({"linux": {"sysctl": {"net.a": "1", "net": {"a": 2}}, "x": [[1], [2, 3]]}});
        for text in ["linux.sysctl.net.a", "linux.x[1][0]", "linux", "linux.x[7].y", "mounts[0]"] {
            assert_eq!(name(&find(&document, text)), text);
        }
        assert_eq!(get(&document, &find(&document, "linux.sysctl.net.a")), Some(&json!("1")));
        assert_eq!(get(&document, &find(&document, "linux.x[1][0]")), Some(&json!(2)));
        assert_eq!(find(&document, ""), FieldPath::new());
    }

    #[test]
    fn what_is_left_knows_where_it_was() {
        let document = json!({"mounts": ["a", "b", "c", "d"], "root": {"path": ""}});
        let gone = |text| FieldChange { field: find(&document, text), new: None };
        let changes = [
            gone("mounts[0]"),
            gone("mounts[2]"),
            FieldChange { field: find(&document, "root.path"), new: Some(json!(".")) },
            FieldChange { field: find(&document, "process.cwd"), new: Some(json!("/")) },
        ];
        let left = changed(&document, &changes);
        assert_eq!(left, json!({"mounts": ["b", "d"], "root": {"path": "."}, "process": {"cwd": "/"}}));
        assert_eq!(name(&original(&document, &changes, &find(&left, "mounts[1]"))), "mounts[3]");
        assert_eq!(name(&original(&document, &changes, &find(&left, "mounts[0].x"))), "mounts[1].x");
    }
}
