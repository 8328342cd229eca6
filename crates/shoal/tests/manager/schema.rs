//! As much of JSON Schema as `docs/manager-schema.json` uses.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use serde_json::Value as Json;
use std::path::Path;

/// Fails the test unless the text is one object of the schema's definition of this name.
pub fn assert_valid(name: &str, text: &str) -> Json {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/manager-schema.json");
    let schema: Json = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let object: Json = serde_json::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}: {text}"));
    let complaint = complaint(&schema, &schema["$defs"][name], &object, name);
    assert_eq!(complaint, None, "{text}");
    object
}

/// What is wrong with a value, if anything.
fn complaint(root: &Json, schema: &Json, value: &Json, place: &str) -> Option<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.strip_prefix("#/$defs/").unwrap();
        return complaint(root, &root["$defs"][name], value, place);
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let fits = choices.iter().any(|choice| complaint(root, choice, value, place).is_none());
        return (!fits).then(|| format!("{place}: fits none of the choices"));
    }
    if let Some(choices) = schema["enum"].as_array() {
        return (!choices.contains(value)).then(|| format!("{place}: {value} is none of {choices:?}"));
    }
    if schema.get("const").is_some_and(|wanted| wanted != value) {
        return Some(format!("{place}: {value} instead of {}", schema["const"]));
    }
    let types: Vec<&str> = match &schema["type"] {
        Json::Array(names) => names.iter().filter_map(Json::as_str).collect(),
        name => name.as_str().into_iter().collect(),
    };
    if !types.is_empty() && !types.iter().any(|name| is_of_type(name, value)) {
        return Some(format!("{place}: {value} is no {types:?}"));
    }
    if let Some(elements) = value.as_array().filter(|_| schema.get("items").is_some()) {
        return elements.iter().find_map(|one| complaint(root, &schema["items"], one, &format!("{place}[]")));
    }
    let (Some(fields), Some(known)) = (value.as_object(), schema["properties"].as_object()) else {
        return None;
    };
    let required = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
    let missing = required.iter().filter_map(Json::as_str).find(|name| !fields.contains_key(*name));
    if let Some(name) = missing {
        return Some(format!("{place}: {name} is missing"));
    }
    fields.iter().find_map(|(name, field)| match known.get(name) {
        Some(schema) => complaint(root, schema, field, &format!("{place}.{name}")),
        None if schema["additionalProperties"] == false => {
            Some(format!("{place}: {name} is not in the schema"))
        }
        None => None,
    })
}

fn is_of_type(name: &str, value: &Json) -> bool {
    match name {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

#[test]
fn the_schema_refuses_what_is_wrong() {
    let root: Json = serde_json::json!({"$defs": {"id": {"type": "string"}}});
    let schema = serde_json::json!({
        "type": "object", "properties": {"id": {"$ref": "#/$defs/id"}, "n": {"type": ["integer", "null"]}},
        "required": ["id"], "additionalProperties": false,
    });
    for (value, is_right) in [
        (serde_json::json!({"id": "a", "n": 3}), true),
        (serde_json::json!({"id": "a", "n": null}), true),
        (serde_json::json!({"n": 3}), false),
        (serde_json::json!({"id": 3}), false),
        (serde_json::json!({"id": "a", "n": "x"}), false),
        (serde_json::json!({"id": "a", "other": 1}), false),
    ] {
        assert_eq!(complaint(&root, &schema, &value, "it").is_none(), is_right, "{value}");
    }
}
