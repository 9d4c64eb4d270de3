//! The one error type that leaves a service for a client.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Faults, Lang, Text};

/// One row of an error table: status, stable code, texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    pub status: u16,
    pub code: &'static str,
    pub text: Text,
}

/// What a domain error implements: its place in the domain's table.
pub trait Coded: std::error::Error + Send + Sync + 'static {
    /// The client-visible side of this error.
    fn code(&self) -> Code;

    /// Field faults, headers or further members of the body.
    fn decorate(&self, error: ApiError) -> ApiError {
        error
    }
}

/// Further members of an error body, such as `challenge_token`.
pub type Extra = Map<String, Value>;

/// An error on its way to a client. Rendered once, by `http::render`.
#[derive(Clone, Debug)]
pub struct ApiError {
    pub status: u16,
    pub code: &'static str,
    pub text: Text,
    pub faults: Faults,
    /// Adds `detail` (the same text); 401, 403, 404, 405 and 429 always have it.
    pub detail: bool,
    pub extra: Extra,
    pub headers: Vec<(&'static str, String)>,
    /// For the log only; never shown.
    pub source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl From<Code> for ApiError {
    fn from(code: Code) -> Self {
        ApiError {
            status: code.status,
            code: code.code,
            text: code.text,
            faults: Faults::new(),
            detail: false,
            extra: Extra::new(),
            headers: Vec::new(),
            source: None,
        }
    }
}

impl<E: Coded> From<E> for ApiError {
    fn from(error: E) -> Self {
        let base = ApiError::from(error.code());
        let mut decorated = error.decorate(base);
        decorated.source = Some(Arc::new(error));
        decorated
    }
}

impl ApiError {
    /// 500 with the cause kept for the log.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        ApiError::from(super::common::INTERNAL_ERROR).caused_by(cause)
    }

    /// 503 with the cause kept for the log.
    pub fn unavailable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        ApiError::from(super::common::SERVICE_UNAVAILABLE).caused_by(cause)
    }

    pub fn caused_by(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(cause.into()));
        self
    }

    pub fn with_detail(mut self) -> Self {
        self.detail = true;
        self
    }

    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn with_extra(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(key.to_owned(), value.into());
        self
    }

    /// 429 and 503 answers tell when to come back.
    pub fn retry_after(self, seconds: u64) -> Self {
        self.with_header("retry-after", seconds.max(1).to_string())
    }

    /// The JSON body. `request_id` is shown on 5xx only.
    pub fn body(&self, lang: Lang, request_id: &str) -> Value {
        let text = Cow::Borrowed(self.text.get(lang));
        let mut body = Map::new();
        if self.detail || matches!(self.status, 401 | 403 | 404 | 405 | 429) {
            body.insert("detail".into(), json!(text));
        }
        body.insert("error".into(), json!(text));
        body.insert("code".into(), json!(self.code));
        if !self.faults.is_empty() {
            let mut errors: Map<String, Value> = Map::new();
            for fault in self.faults.iter() {
                let list = errors.entry(fault.field.clone()).or_insert_with(|| json!([]));
                if let Value::Array(list) = list {
                    list.push(json!(fault.text.get(lang)));
                }
            }
            body.insert("errors".into(), Value::Object(errors));
        }
        if self.status >= 500 {
            body.insert("request_id".into(), json!(request_id));
        }
        body.extend(self.extra.clone());
        Value::Object(body)
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.status, self.code)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

// Not `std::error::Error`: that would collide with the blanket `From<E: Coded>`. `http::render`
// wraps it for poem.
