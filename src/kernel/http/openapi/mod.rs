//! The published document.
//!
//! poem-openapi describes each operation; this module puts the descriptions together and corrects
//! what the library gets wrong or leaves out: documented paths end with a slash, the media key is
//! `application/json`, optional output fields are nullable, unions have no `type: object`, every
//! status that can be answered is listed with the one error schema, answers list their headers,
//! and each operation has an example. The result is the same on every run, so it can be checked in.

mod asyncapi;
mod codes;
pub(super) mod docs;
mod errors;
mod examples;
mod fix;
mod problems;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use poem_openapi::OpenApi;
use poem_openapi::registry::{MetaApi, Registry};
use serde_json::{Map, Value, json};

pub use asyncapi::Channel;
pub use codes::error_codes_json;

use crate::error::Code;
use crate::http::failure::{ERROR_SCHEMA, error_schema};

/// The published version; 3.0 because poem-openapi writes its schemas.
const OPENAPI_VERSION: &str = "3.0.3";

/// The head of the document.
#[derive(Clone, Debug)]
pub struct Info {
    pub title: String,
    pub version: String,
    /// Markdown.
    pub description: String,
    /// `/` or the public base URL.
    pub server: String,
}

/// A finished OpenAPI document.
#[derive(Clone, Debug)]
pub struct Document(Value);

impl Document {
    /// Describes the API type `T`. `tables` are the error tables of all domains; they give the
    /// examples of error answers. No value of `T` is needed, so nothing has to be running.
    pub fn of<T: OpenApi>(info: &Info, tables: &[&[Code]]) -> Self {
        let mut registry = Registry::new();
        T::register(&mut registry);
        registry
            .schemas
            .entry(ERROR_SCHEMA.to_owned())
            .or_insert_with(error_schema);
        let mut document = json!({
            "openapi": OPENAPI_VERSION,
            "info": { "title": info.title, "version": info.version, "description": info.description },
            "servers": [{ "url": info.server }],
            "tags": registry.tags,
            "paths": paths(T::meta()),
            "components": {
                "schemas": registry.schemas,
                "securitySchemes": registry.security_schemes,
            },
        });
        fix::fix(&mut document);
        errors::add(&mut document, &codes::Texts::new(tables));
        examples::add(&mut document);
        drop_unused_schemas(&mut document);
        Document(document)
    }

    pub fn value(&self) -> &Value {
        &self.0
    }

    /// Pretty-printed, with a newline at the end.
    pub fn json(&self) -> String {
        let mut text = serde_json::to_string_pretty(&self.0).unwrap_or_default();
        text.push('\n');
        text
    }

    pub fn yaml(&self) -> String {
        serde_yaml_ng::to_string(&self.0).unwrap_or_default()
    }

    /// What a reader would miss: operations without id, tag, summary or example, schemas and
    /// references that do not hold. Empty for a good document.
    pub fn problems(&self) -> Vec<String> {
        problems::find(&self.0)
    }
}

/// All paths of all API structs. A path that several structs serve is one entry.
fn paths(apis: Vec<MetaApi>) -> Map<String, Value> {
    let mut paths: Map<String, Value> = Map::new();
    for path in apis.into_iter().flat_map(|api| api.paths) {
        let name = if path.path.ends_with('/') {
            path.path
        } else {
            format!("{}/", path.path)
        };
        let entry = paths.entry(name).or_insert_with(|| json!({}));
        for operation in path.operations {
            let method = operation.method.to_string().to_lowercase();
            entry[method] = serde_json::to_value(&operation).unwrap_or_default();
        }
    }
    paths
}

/// Methods that can be an operation of a path item.
const METHODS: [&str; 8] = [
    "get", "put", "post", "delete", "options", "head", "patch", "trace",
];

/// Calls `f` with path, method and each operation.
fn each_operation(document: &mut Value, mut f: impl FnMut(&str, &str, &mut Map<String, Value>)) {
    let Some(Value::Object(paths)) = document.get_mut("paths") else {
        return;
    };
    for (path, item) in paths.iter_mut() {
        let Value::Object(item) = item else { continue };
        for (method, operation) in item.iter_mut().filter(|(m, _)| METHODS.contains(&m.as_str())) {
            if let Value::Object(operation) = operation {
                f(path, method, operation);
            }
        }
    }
}

/// Calls `f` with every value of the tree, from the inside out.
fn each_value(value: &mut Value, f: &mut impl FnMut(&mut Value)) {
    match value {
        Value::Object(map) => map.values_mut().for_each(|v| each_value(v, f)),
        Value::Array(items) => items.iter_mut().for_each(|v| each_value(v, f)),
        _ => {}
    }
    f(value);
}

/// The schema names that a value refers to.
fn references(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(target)) = map.get("$ref")
                && let Some(name) = target.strip_prefix("#/components/schemas/")
            {
                into.insert(name.to_owned());
            }
            for (key, value) in map {
                // The arms of a discriminator are named as plain texts.
                if key == "mapping"
                    && let Value::Object(mapping) = value
                {
                    let names = mapping
                        .values()
                        .filter_map(|v| v.as_str()?.strip_prefix("#/components/schemas/"));
                    into.extend(names.map(str::to_owned));
                }
                references(value, into);
            }
        }
        Value::Array(items) => items.iter().for_each(|v| references(v, into)),
        _ => {}
    }
}

/// Adds the names that the schemas of a set refer to.
fn reachable(schemas: &Value, set: &mut BTreeSet<String>) {
    let mut queue: Vec<String> = set.iter().cloned().collect();
    while let Some(name) = queue.pop() {
        let mut inner = BTreeSet::new();
        references(&schemas[&name], &mut inner);
        for name in inner {
            if set.insert(name.clone()) {
                queue.push(name);
            }
        }
    }
}

fn drop_unused_schemas(document: &mut Value) {
    let mut used = BTreeSet::new();
    references(&document["paths"], &mut used);
    let Some(schemas) = document.pointer_mut("/components/schemas") else {
        return;
    };
    reachable(schemas, &mut used);
    if let Value::Object(schemas) = schemas {
        schemas.retain(|name, _| used.contains(name));
    }
}
