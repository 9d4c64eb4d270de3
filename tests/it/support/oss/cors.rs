//! The rules of the bucket for browser pages.

use hyper::header::HeaderMap;
use hyper::http::request::Parts;

use super::answers::{Answer, empty, set, xml};
use super::{CorsRule, Refusal};

pub fn cors_answer(rules: &[CorsRule]) -> Result<Answer, Refusal> {
    if rules.is_empty() {
        return Err(Refusal::new(
            404,
            "NoSuchCORSConfiguration",
            "The CORS Configuration does not exist.",
        ));
    }
    let list = |name: &str, values: &[String]| -> String {
        values
            .iter()
            .map(|value| format!("<{name}>{value}</{name}>"))
            .collect()
    };
    let rules: String = rules
        .iter()
        .map(|rule| {
            let origin = list("AllowedOrigin", std::slice::from_ref(&rule.origin));
            let (methods, headers) = (
                list("AllowedMethod", &rule.methods),
                list("AllowedHeader", &rule.headers),
            );
            format!("<CORSRule>{origin}{methods}{headers}</CORSRule>")
        })
        .collect();
    Ok(xml(
        200,
        format!("<?xml version=\"1.0\"?><CORSConfiguration>{rules}</CORSConfiguration>"),
    ))
}

fn matching<'a>(rules: &'a [CorsRule], origin: &str, method: &str) -> Option<&'a CorsRule> {
    let fits = |pattern: &str, value: &str| pattern == "*" || pattern.eq_ignore_ascii_case(value);
    rules
        .iter()
        .find(|rule| fits(&rule.origin, origin) && rule.methods.iter().any(|m| fits(m, method)))
}

pub fn preflight(parts: &Parts, rules: &[CorsRule]) -> Result<Answer, Refusal> {
    let header = |name: &str| {
        parts
            .headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default()
    };
    let rule =
        matching(rules, header("origin"), header("access-control-request-method")).ok_or_else(|| {
            Refusal::new(
                403,
                "AccessForbidden",
                "CORSResponse: This CORS request is not allowed.",
            )
        })?;
    let mut answer = empty(200);
    let asked = header("access-control-request-headers");
    let names = if rule.headers.iter().any(|h| h == "*") {
        asked.to_owned()
    } else {
        rule.headers.join(", ")
    };
    set(
        answer.headers_mut(),
        "access-control-allow-methods",
        &rule.methods.join(", "),
    );
    set(answer.headers_mut(), "access-control-allow-headers", &names);
    Ok(answer)
}

pub fn allow_origin(parts: &Parts, rules: &[CorsRule], headers: &mut HeaderMap) {
    let header = |name: &str| parts.headers.get(name).and_then(|v| v.to_str().ok());
    let method = header("access-control-request-method").unwrap_or(parts.method.as_str());
    if let Some(origin) = header("origin").filter(|origin| matching(rules, origin, method).is_some()) {
        set(headers, "access-control-allow-origin", origin);
    }
}
