//! Corrects what poem-openapi writes.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{each_operation, each_value, reachable, references};
use crate::http::failure::ERROR_SCHEMA;

pub(super) fn fix(document: &mut Value) {
    each_value(document, &mut |value| {
        if let Value::Object(map) = value {
            media_key(map);
            union_without_type(map);
            reference_stands_alone(map);
        }
    });
    if let Some(Value::Object(schemas)) = document.pointer_mut("/components/schemas") {
        for (_, schema) in schemas.iter_mut().filter(|(name, _)| *name != ERROR_SCHEMA) {
            nullable_fields(schema);
        }
    }
    answers_are_complete(document);
    security_schemes(document);
    each_operation(document, |path, _, operation| {
        summary(operation);
        parameters(path, operation);
        // Public operations say so, instead of leaving it open.
        operation.entry("security").or_insert_with(|| json!([]));
    });
}

/// `application/json; charset=utf-8` is a header value, not a media type.
fn media_key(map: &mut Map<String, Value>) {
    if let Some(Value::Object(content)) = map.get_mut("content")
        && content.keys().any(|k| k.contains(';'))
    {
        *content = std::mem::take(content)
            .into_iter()
            .map(|(key, value)| (key.split(';').next().unwrap_or(&key).trim().to_owned(), value))
            .collect();
    }
}

/// An arm may be an array; the arms have types of their own.
fn union_without_type(map: &mut Map<String, Value>) {
    if (map.contains_key("oneOf") || map.contains_key("anyOf")) && map.get("type") == Some(&json!("object")) {
        map.shift_remove("type");
    }
}

/// poem-openapi writes a description beside a reference as
/// `{"description": d, "allOf": [{"$ref": r}, {"description": d}]}`; one `allOf` arm is enough.
fn reference_stands_alone(map: &mut Map<String, Value>) {
    let Some(Value::Array(parts)) = map.get("allOf") else {
        return;
    };
    if parts.len() != 2 || parts[0].get("$ref").is_none() {
        return;
    }
    let repeated = parts[1]
        .as_object()
        .is_some_and(|second| second.iter().all(|(k, v)| map.get(k) == Some(v)));
    if repeated && let Some(Value::Array(parts)) = map.get_mut("allOf") {
        parts.truncate(1);
    }
}

/// Fields that are not required may be null: `Option<T>` is written as `null` and read from it.
fn nullable_fields(schema: &mut Value) {
    each_value(schema, &mut |value| {
        let Value::Object(map) = value else { return };
        let required: Vec<String> = match map.get("required") {
            Some(Value::Array(names)) => names
                .iter()
                .filter_map(|n| n.as_str().map(str::to_owned))
                .collect(),
            _ => Vec::new(),
        };
        let Some(Value::Object(fields)) = map.get_mut("properties") else {
            return;
        };
        for (_, field) in fields.iter_mut().filter(|(name, _)| !required.contains(name)) {
            make_nullable(field);
        }
    });
}

/// Answers always carry every key, with `null` for what is absent. Types that are also read from
/// requests stay as they are.
fn answers_are_complete(document: &mut Value) {
    let (mut read, mut written) = (BTreeSet::new(), BTreeSet::new());
    each_operation(document, |_, _, operation| {
        references(operation.get("requestBody").unwrap_or(&Value::Null), &mut read);
        references(operation.get("responses").unwrap_or(&Value::Null), &mut written);
    });
    let Some(schemas) = document.pointer_mut("/components/schemas") else {
        return;
    };
    for set in [&mut read, &mut written] {
        reachable(schemas, set);
    }
    for name in written.difference(&read).filter(|n| *n != ERROR_SCHEMA) {
        each_value(&mut schemas[name], &mut |value| {
            if let Value::Object(map) = value
                && let Some(Value::Object(fields)) = map.get("properties")
            {
                let names: Vec<Value> = fields.keys().map(|k| json!(k)).collect();
                map.insert("required".to_owned(), Value::Array(names));
            }
        });
    }
}

fn make_nullable(field: &mut Value) {
    let Value::Object(map) = field else { return };
    if let Some(reference) = map.shift_remove("$ref") {
        // In 3.0 nothing beside a reference counts.
        *field = json!({ "nullable": true, "allOf": [{ "$ref": reference }] });
        return;
    }
    // `nullable` needs a type or a composition beside it; a schema of anything allows null anyway.
    if map.contains_key("type")
        || map.contains_key("allOf")
        || map.contains_key("oneOf")
        || map.contains_key("anyOf")
    {
        map.insert("nullable".to_owned(), json!(true));
        if let Some(Value::Array(values)) = map.get_mut("enum")
            && !values.contains(&Value::Null)
        {
            values.push(Value::Null);
        }
    }
}

fn security_schemes(document: &mut Value) {
    if let Some(Value::Object(components)) = document.get_mut("components")
        && components
            .get("securitySchemes")
            .and_then(Value::as_object)
            .is_none_or(Map::is_empty)
    {
        components.shift_remove("securitySchemes");
    }
}

/// A description without a summary gets its first sentence as one.
fn summary(operation: &mut Map<String, Value>) {
    if operation.contains_key("summary") {
        return;
    }
    let first = operation
        .get("description")
        .and_then(Value::as_str)
        .and_then(|d| d.lines().next())
        .map(str::to_owned);
    if let Some(first) = first {
        operation.insert("summary".to_owned(), json!(first));
    }
}

/// Path ids are positive; the library calls `explode` and `deprecated` on every parameter.
fn parameters(path: &str, operation: &mut Map<String, Value>) {
    let Some(Value::Array(parameters)) = operation.get_mut("parameters") else {
        return;
    };
    for parameter in parameters.iter_mut().filter_map(Value::as_object_mut) {
        for (noise, usual) in [("deprecated", json!(false)), ("explode", json!(true))] {
            if parameter.get(noise) == Some(&usual) {
                parameter.shift_remove(noise);
            }
        }
        let named = parameter
            .get("name")
            .and_then(Value::as_str)
            .map(|n| format!("{{{n}}}"));
        let in_path = parameter.get("in") == Some(&json!("path")) && named.is_some_and(|n| path.contains(&n));
        if in_path
            && let Some(Value::Object(schema)) = parameter.get_mut("schema")
            && schema.get("type") == Some(&json!("integer"))
        {
            schema.entry("minimum").or_insert(json!(1));
        }
    }
}
