//! Lists the errors of every operation.
//!
//! A line of the doc comment that begins with `Errors:` names statuses and codes:
//! ``Errors: 404 `not_found`, 409 `file_not_ready` `object_missing`.`` To these come the ones that
//! follow from the operation itself.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::codes::Texts;
use super::each_operation;
use crate::error::Lang;
use crate::http::failure::ERROR_SCHEMA;

pub(super) fn add(document: &mut Value, texts: &Texts) {
    components(document);
    each_operation(document, |path, _, operation| {
        let mut errors = written(operation);
        let replayable = is_replayable(operation);
        if replayable {
            key_parameter(operation);
        }
        let replay: &[(u16, &[&str])] = &[
            (409, &["idempotency_in_progress"]),
            (422, &["idempotency_key_reused"]),
        ];
        let replay = replay.iter().copied().filter(|_| replayable);
        for (status, codes) in implied(path, operation).into_iter().chain(replay) {
            let listed = errors.entry(status).or_default();
            for code in codes
                .iter()
                .filter(|c| !listed.iter().any(|l| l == *c))
                .collect::<Vec<_>>()
            {
                listed.push((*code).to_owned());
            }
        }
        let Some(Value::Object(responses)) = operation.get_mut("responses") else {
            return;
        };
        for (status, response) in responses.iter_mut() {
            success_headers(status, response);
        }
        for (status, codes) in errors {
            let key = status.to_string();
            if !responses.contains_key(&key) {
                responses.insert(key, response(status, &codes, texts));
            }
        }
        responses.sort_keys();
    });
}

/// The statuses that the operation's own text names; the line leaves the description.
fn written(operation: &mut Map<String, Value>) -> BTreeMap<u16, Vec<String>> {
    let mut errors: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for field in ["description", "summary"] {
        let Some(Value::String(text)) = operation.get(field) else {
            continue;
        };
        let mut kept = Vec::new();
        let mut inside = false;
        for line in text.lines() {
            // The list may go on over several lines, up to an empty one.
            inside = line.trim_start().starts_with("Errors:") || (inside && !line.trim().is_empty());
            if inside {
                parse(line, &mut errors)
            } else {
                kept.push(line)
            }
        }
        let kept = kept.join("\n").trim().to_owned();
        if kept.is_empty() {
            operation.shift_remove(field);
        } else {
            operation.insert(field.to_owned(), json!(kept));
        }
    }
    errors
}

/// ``404 `not_found`, 409 `a` `b``` → 404: not_found; 409: a, b.
fn parse(line: &str, errors: &mut BTreeMap<u16, Vec<String>>) {
    let mut status = errors.keys().last().copied();
    for (index, part) in line.split('`').enumerate() {
        if index % 2 == 1 {
            if let Some(status) = status {
                errors.entry(status).or_default().push(part.to_owned());
            }
            continue;
        }
        for word in part.split(|c: char| !c.is_ascii_digit()).filter(|w| w.len() == 3) {
            if let Some(number) = word.parse().ok().filter(|n| (400..600).contains(n)) {
                status = Some(number);
                errors.entry(number).or_default();
            }
        }
    }
}

/// Answers that can be replayed say so in a header; see `idempotency`.
fn is_replayable(operation: &Map<String, Value>) -> bool {
    let responses = operation.get("responses").and_then(Value::as_object);
    responses
        .into_iter()
        .flat_map(Map::values)
        .any(|r| r["headers"].get("Idempotent-Replayed").is_some())
}

fn key_parameter(operation: &mut Map<String, Value>) {
    let parameter = json!({
        "name": "Idempotency-Key",
        "in": "header",
        "required": false,
        "description": "Any name for this request. A repeat with the same key and body gets the first answer.",
        "schema": { "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$" },
    });
    if let Value::Array(parameters) = operation.entry("parameters").or_insert_with(|| json!([])) {
        parameters.push(parameter);
    }
}

/// What any operation of this form can answer.
fn implied(path: &str, operation: &Map<String, Value>) -> Vec<(u16, &'static [&'static str])> {
    let secured = operation
        .get("security")
        .and_then(Value::as_array)
        .is_some_and(|s| !s.is_empty());
    let has_body = operation.contains_key("requestBody");
    let has_params = operation
        .get("parameters")
        .and_then(Value::as_array)
        .is_some_and(|p| !p.is_empty());
    let mut errors: Vec<(u16, &'static [&'static str])> = vec![
        (405, &["method_not_allowed"]),
        (414, &["uri_too_long"]),
        (429, &["throttled"]),
        (431, &["headers_too_large"]),
        (500, &["internal_error"]),
        (503, &["service_unavailable"]),
    ];
    errors.push(match (has_body, has_params) {
        (true, _) => (400, &["validation_error", "parse_error"]),
        (false, true) => (400, &["validation_error"]),
        (false, false) => (400, &["bad_request"]),
    });
    if has_body {
        errors.push((408, &["request_timeout"]));
        errors.push((413, &["payload_too_large"]));
        errors.push((415, &["unsupported_media_type"]));
    }
    if path.contains('{') {
        errors.push((404, &["not_found"]));
    }
    if secured {
        errors.push((401, &["not_authenticated", "token_invalid", "token_expired"]));
        errors.push((403, &["permission_denied", "insufficient_scope"]));
    }
    errors
}

fn response(status: u16, codes: &[String], texts: &Texts) -> Value {
    let examples: Map<String, Value> = codes
        .iter()
        .filter_map(|code| {
            let row = texts.row(code, status)?;
            let body = crate::error::ApiError::from(row.clone())
                .body(Lang::Zh, "0193b2f0-8d1c-7c3e-9a51-2f6d1c8e4b7a");
            Some((code.clone(), json!({ "value": body })))
        })
        .collect();
    let mut media = json!({ "schema": { "$ref": format!("#/components/schemas/{ERROR_SCHEMA}") } });
    if !examples.is_empty() {
        media["examples"] = Value::Object(examples);
    }
    let names = codes
        .iter()
        .map(|c| format!("`{c}`"))
        .collect::<Vec<_>>()
        .join(", ");
    let description = if names.is_empty() {
        reason(status).to_owned()
    } else {
        names
    };
    let mut headers = json!({ "X-Request-Id": header("RequestId") });
    match status {
        401 => headers["WWW-Authenticate"] = header("Authenticate"),
        405 => headers["Allow"] = header("Allow"),
        429 => {
            headers["Retry-After"] = header("RetryAfter");
            rate_headers(&mut headers);
        }
        503 => headers["Retry-After"] = header("RetryAfter"),
        _ => {}
    }
    json!({ "description": description, "headers": headers, "content": { "application/json": media } })
}

fn reason(status: u16) -> &'static str {
    poem::http::StatusCode::from_u16(status)
        .ok()
        .and_then(|s| s.canonical_reason())
        .unwrap_or("Error")
}

fn header(name: &str) -> Value {
    json!({ "$ref": format!("#/components/headers/{name}") })
}

fn rate_headers(headers: &mut Value) {
    for (name, component) in [
        ("RateLimit-Limit", "RateLimitLimit"),
        ("RateLimit-Remaining", "RateLimitRemaining"),
        ("RateLimit-Reset", "RateLimitReset"),
        ("RateLimit-Policy", "RateLimitPolicy"),
    ] {
        headers[name] = header(component);
    }
}

fn success_headers(status: &str, response: &mut Value) {
    if !status.starts_with('2') {
        return;
    }
    if !response["headers"].is_object() {
        response["headers"] = json!({});
    }
    let headers = &mut response["headers"];
    if let Value::Object(headers) = headers {
        for header in headers.values_mut().filter_map(Value::as_object_mut) {
            if header.get("deprecated") == Some(&json!(false)) {
                header.shift_remove("deprecated");
            }
        }
    }
    headers["X-Request-Id"] = header("RequestId");
    rate_headers(headers);
}

/// The headers that answers share.
fn components(document: &mut Value) {
    let header = |ty: &str, text: &str| json!({ "description": text, "schema": { "type": ty } });
    document["components"]["headers"] = json!({
        "RequestId": header("string", "The id of this request: the caller's own when it was well-formed."),
        "RetryAfter": header("integer", "Seconds until it is worth coming back."),
        "Authenticate": header("string", "`Bearer realm=\"api\"`."),
        "Allow": header("string", "The methods of this path."),
        "RateLimitLimit": header("integer", "Requests in one window."),
        "RateLimitRemaining": header("integer", "Requests left."),
        "RateLimitReset": header("integer", "Seconds until the window is full again."),
        "RateLimitPolicy": header("string", "The limit and its window in seconds, such as `600;w=60`."),
    });
}
