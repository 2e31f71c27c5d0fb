//! Documents against the schemas in docs/, in more than one program.

use serde_json::Value;

/// What the schema says of the value, in a few of the words of JSON Schema. A word that is not among them is an error: it would say
/// nothing here.
pub fn check(value: &Value, schema: &Value, path: &str) -> Result<(), String> {
    part(value, schema, schema, path)
}

fn part(value: &Value, schema: &Value, whole: &Value, path: &str) -> Result<(), String> {
    let words = schema.as_object().ok_or("a schema is an object")?;
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_u64() || number.is_i64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    for (word, of) in words {
        let holds = match word.as_str() {
            "description" | "title" | "$schema" | "$defs" => true,
            "type" => of == kind || of.as_array().is_some_and(|kinds| kinds.iter().any(|one| one == kind)),
            "const" => of == value,
            "enum" => of.as_array().unwrap().contains(value),
            // It is about objects alone: what else a value may be `type` says.
            "required" => value.as_object().is_none_or(|fields| {
                of.as_array().unwrap().iter().all(|key| fields.contains_key(key.as_str().unwrap()))
            }),
            "additionalProperties" => {
                assert_eq!(of, false);
                let known = schema["properties"].as_object().unwrap();
                value.as_object().is_none_or(|fields| fields.keys().all(|key| known.contains_key(key)))
            }
            "properties" => {
                for (key, of) in of.as_object().unwrap() {
                    if let Some(value) = value.get(key) {
                        part(value, of, whole, &format!("{path}.{key}"))?;
                    }
                }
                true
            }
            "items" => {
                for item in value.as_array().into_iter().flatten() {
                    part(item, of, whole, &format!("{path}[]"))?;
                }
                true
            }
            "$ref" => {
                let place = of.as_str().unwrap().strip_prefix('#').unwrap();
                part(value, whole.pointer(place).unwrap_or_else(|| panic!("no {place}")), whole, path)?;
                true
            }
            "oneOf" => {
                let of = of.as_array().unwrap();
                let failures: Vec<String> = of.iter().filter_map(|one| part(value, one, whole, path).err()).collect();
                if failures.len() + 1 != of.len() {
                    let near = failures.iter().find(|failure| !failure.contains("const"));
                    return Err(format!("{path} is {} of the schemas: {near:?}", of.len() - failures.len()));
                }
                true
            }
            word => panic!("{path}: {word} is not known to this test"),
        };
        if !holds {
            return Err(format!("{path}: {word} {of} does not hold of {value}"));
        }
    }
    Ok(())
}
