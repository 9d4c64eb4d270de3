//! HTML forms, read along the schema so that digits become numbers.

use serde_json::{Map, Value};

use super::shape::{Node, Shape};

/// The form as a JSON object. Fields of the schema take the type they want when the text allows
/// it; what does not fit stays text and is a type fault later. The last value of a name wins.
pub(super) fn to_json(shape: &Shape, bytes: &[u8]) -> Value {
    let mut object = Map::new();
    let Node::Object(rule) = shape.resolve(&shape.root) else {
        return Value::Object(object);
    };
    for (name, text) in url::form_urlencoded::parse(bytes) {
        let Some(field) = rule.fields.iter().find(|f| f.name == name) else {
            continue;
        };
        let value = match shape.resolve(&field.node) {
            Node::Integer { .. } if digits(&text) => text.parse::<i64>().map_or(Value::Null, Value::from),
            Node::Bool if text == "true" => Value::Bool(true),
            Node::Bool if text == "false" => Value::Bool(false),
            // An empty box of a form is an absent value for anything but text.
            Node::Integer { .. } | Node::Number { .. } | Node::Bool if text.is_empty() => Value::Null,
            _ => Value::String(text.into_owned()),
        };
        object.insert(name.into_owned(), value);
    }
    Value::Object(object)
}

fn digits(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    (1..=18).contains(&unsigned.len()) && unsigned.bytes().all(|b| b.is_ascii_digit())
}
