//! Gives every JSON body an example: the type's own when it has one, else one made from the
//! schema. Made values depend on the schema alone.

use serde_json::{Map, Value, json};

use super::each_operation;

/// Types that contain themselves end here.
const MAX_DEPTH: usize = 6;

pub(super) fn add(document: &mut Value) {
    let schemas = document
        .pointer("/components/schemas")
        .cloned()
        .unwrap_or_default();
    each_operation(document, |_, _, operation| {
        if let Some(request) = operation.get_mut("requestBody") {
            fill(request, &schemas);
        }
        if let Some(Value::Object(responses)) = operation.get_mut("responses") {
            responses.values_mut().for_each(|r| fill(r, &schemas));
        }
    });
}

fn fill(holder: &mut Value, schemas: &Value) {
    let Some(Value::Object(content)) = holder.get_mut("content") else {
        return;
    };
    for (media, body) in content
        .iter_mut()
        .filter(|(m, _)| m.contains("json") || m.contains("form-urlencoded"))
    {
        let Value::Object(body) = body else { continue };
        if body.contains_key("example") || body.contains_key("examples") {
            continue;
        }
        let Some(schema) = body.get("schema") else {
            continue;
        };
        let example = make(schema, schemas, "", 0);
        if !(media.contains("form") && example.is_null()) {
            body.insert("example".to_owned(), example);
        }
    }
}

fn make(schema: &Value, schemas: &Value, name: &str, depth: usize) -> Value {
    if let Some(example) = schema.get("example").or_else(|| schema.get("default")) {
        return example.clone();
    }
    if depth > MAX_DEPTH {
        return Value::Null;
    }
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        let target = target.rsplit('/').next().unwrap_or(target);
        return make(&schemas[target], schemas, name, depth + 1);
    }
    if let Some(Value::Array(parts)) = schema.get("allOf") {
        let made = parts.iter().map(|p| make(p, schemas, name, depth + 1));
        return made.reduce(merge).unwrap_or_default();
    }
    for union in ["oneOf", "anyOf"] {
        if let Some(first) = schema.get(union).and_then(|u| u.get(0)) {
            return make(first, schemas, name, depth + 1);
        }
    }
    if let Some(first) = schema.get("enum").and_then(|e| e.get(0)) {
        return first.clone();
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("object") => object(schema, schemas, depth),
        Some("array") => json!([make(&schema["items"], schemas, name, depth + 1)]),
        Some("string") => text(schema, name),
        Some("integer") => json!(
            schema
                .get("minimum")
                .and_then(Value::as_f64)
                .map_or(1, |m| m.max(1.0) as i64)
        ),
        Some("number") => json!(schema.get("minimum").and_then(Value::as_f64).unwrap_or(0.5)),
        Some("boolean") => json!(true),
        _ => Value::Null,
    }
}

fn object(schema: &Value, schemas: &Value, depth: usize) -> Value {
    let mut object = Map::new();
    if let Some(Value::Object(fields)) = schema.get("properties") {
        for (name, field) in fields {
            let recursive_null = depth + 1 > MAX_DEPTH && field.get("nullable") == Some(&json!(true));
            let value = if recursive_null {
                Value::Null
            } else {
                make(field, schemas, name, depth + 1)
            };
            object.insert(name.clone(), value);
        }
    }
    if object.is_empty()
        && let Some(others) = schema.get("additionalProperties").filter(|o| o.is_object())
    {
        object.insert("key".to_owned(), make(others, schemas, "key", depth + 1));
    }
    Value::Object(object)
}

/// Later parts of an `allOf` win.
fn merge(first: Value, second: Value) -> Value {
    match (first, second) {
        (Value::Object(mut a), Value::Object(b)) => {
            a.extend(b);
            Value::Object(a)
        }
        (first, Value::Null) => first,
        (_, second) => second,
    }
}

fn text(schema: &Value, name: &str) -> Value {
    let by_format = match schema.get("format").and_then(Value::as_str) {
        Some("date-time") => "2026-01-02T03:04:05.678901Z",
        Some("date") => "2026-01-02",
        Some("uuid") => "0193b2f0-8d1c-7c3e-9a51-2f6d1c8e4b7a",
        Some("email") => "test@example.com",
        Some("uri" | "url") => "https://example.com/",
        Some("username") => "testuser",
        Some(f) if f.contains("password") => "correct-horse-battery",
        Some("binary" | "byte") => "",
        _ => match name {
            "username" => "testuser",
            "email" => "test@example.com",
            "" => "text",
            other => other,
        },
    };
    let min = schema.get("minLength").and_then(Value::as_u64).unwrap_or(0);
    let mut text = by_format.to_owned();
    while (text.chars().count() as u64) < min {
        text.push('x');
    }
    if let Some(max) = schema.get("maxLength").and_then(Value::as_u64) {
        text = text
            .chars()
            .take(usize::try_from(max).unwrap_or(usize::MAX))
            .collect();
    }
    json!(text)
}
