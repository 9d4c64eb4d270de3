//! Says what is wrong with a document, in a list that a test can compare with nothing.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{METHODS, references};

pub(super) fn find(document: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    let empty = Map::new();
    let paths = document["paths"].as_object().unwrap_or(&empty);
    let mut ids = BTreeSet::new();
    for (path, item) in paths {
        if !path.starts_with('/') || !path.ends_with('/') {
            problems.push(format!("{path}: documented paths begin and end with a slash"));
        }
        for (method, operation) in item.as_object().unwrap_or(&empty) {
            let at = format!("{} {path}", method.to_uppercase());
            if !METHODS.contains(&method.as_str()) {
                problems.push(format!("{at}: not a method"));
                continue;
            }
            check(&at, path, operation, &mut ids, &mut problems);
        }
    }
    let mut used = BTreeSet::new();
    references(document, &mut used);
    let schemas = document
        .pointer("/components/schemas")
        .and_then(Value::as_object)
        .unwrap_or(&empty);
    problems.extend(
        used.iter()
            .filter(|n| !schemas.contains_key(*n))
            .map(|n| format!("schema {n} is missing")),
    );
    let tags: BTreeSet<&str> = document["tags"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|t| t["name"].as_str())
        .collect();
    for (path, item) in paths {
        for tag in item
            .as_object()
            .into_iter()
            .flat_map(|i| i.values())
            .flat_map(|o| o["tags"].as_array())
            .flatten()
        {
            if tag.as_str().is_none_or(|t| !tags.contains(t)) {
                problems.push(format!("{path}: tag {tag} is not declared"));
            }
        }
    }
    problems
}

fn check(at: &str, path: &str, operation: &Value, ids: &mut BTreeSet<String>, problems: &mut Vec<String>) {
    match operation["operationId"].as_str() {
        None => problems.push(format!("{at}: no operationId")),
        Some(id) if !ids.insert(id.to_owned()) => {
            problems.push(format!("{at}: operationId {id} is used twice"))
        }
        Some(_) => {}
    }
    for field in ["summary", "tags"] {
        let value = &operation[field];
        if value.as_str().is_none_or(str::is_empty) && value.as_array().is_none_or(Vec::is_empty) {
            problems.push(format!("{at}: no {field}"));
        }
    }
    let declared: BTreeSet<&str> = operation["parameters"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|p| p["in"] == "path")
        .filter_map(|p| p["name"].as_str())
        .collect();
    let named: BTreeSet<&str> = path
        .split('{')
        .skip(1)
        .filter_map(|rest| rest.split('}').next())
        .collect();
    if declared != named {
        problems.push(format!(
            "{at}: path parameters {named:?} are declared as {declared:?}"
        ));
    }
    let empty = Map::new();
    let responses = operation["responses"].as_object().unwrap_or(&empty);
    if !responses.keys().any(|s| s.starts_with('2') || s == "101") {
        problems.push(format!("{at}: no success"));
    }
    for (status, response) in responses {
        if response["description"].as_str().is_none_or(str::is_empty) {
            problems.push(format!("{at}: {status} has no description"));
        }
        for (media, body) in response["content"].as_object().unwrap_or(&empty) {
            if media.contains("json") && body.get("example").is_none() && body.get("examples").is_none() {
                problems.push(format!("{at}: {status} has no example"));
            }
        }
    }
}
