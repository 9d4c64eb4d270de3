//! What a handler answers with when it succeeds.

use std::borrow::Cow;

use poem::http::StatusCode;
use poem::{IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, MetaSchemaRef, Registry};
use poem_openapi::types::{ToJSON, Type};
use serde::Serialize;
use serde_json::Value;

/// The content type of every JSON answer.
pub const JSON: &str = "application/json; charset=utf-8";

/// 200 with a JSON body.
#[derive(Clone, Debug)]
pub struct Json<T>(pub T);

/// 201 with a JSON body.
#[derive(Clone, Debug)]
pub struct Created<T>(pub T);

/// 204.
#[derive(Clone, Copy, Debug)]
pub struct NoContent;

/// A value that is written as JSON at once, for long lists that are asked for often: the derived
/// `ToJSON` makes a tree of values first, which can cost as much as reading the rows did. It is for
/// types that `Serialize` the same.
#[derive(Clone, Debug)]
pub struct Direct<T>(pub T);

impl<T: Type> Type for Direct<T> {
    const IS_REQUIRED: bool = T::IS_REQUIRED;
    type RawValueType = T::RawValueType;
    type RawElementValueType = T::RawElementValueType;

    fn name() -> Cow<'static, str> {
        T::name()
    }

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn as_raw_value(&self) -> Option<&Self::RawValueType> {
        self.0.as_raw_value()
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self::RawElementValueType> + 'a> {
        self.0.raw_element_iter()
    }
}

impl<T: ToJSON + Serialize> ToJSON for Direct<T> {
    fn to_json(&self) -> Option<Value> {
        self.0.to_json()
    }

    fn to_json_string(&self) -> String {
        serde_json::to_string(&self.0).unwrap_or_default()
    }
}

/// Writes a value as a JSON answer. Non-ASCII text is not escaped.
pub(super) fn json_response(status: StatusCode, body: String) -> Response {
    Response::builder().status(status).content_type(JSON).body(body)
}

/// The published side of a JSON answer.
pub(super) fn json_meta(status: u16, description: &'static str, schema: MetaSchemaRef) -> MetaResponse {
    MetaResponse {
        description,
        status: Some(status),
        status_range: None,
        content: vec![MetaMediaType {
            content_type: JSON,
            schema,
        }],
        headers: vec![],
    }
}

macro_rules! json_reply {
    ($name:ident, $status:literal, $description:literal) => {
        impl<T: ToJSON> IntoResponse for $name<T> {
            fn into_response(self) -> Response {
                let status = StatusCode::from_u16($status).unwrap_or(StatusCode::OK);
                json_response(status, self.0.to_json_string())
            }
        }

        impl<T: ToJSON> ApiResponse for $name<T> {
            fn meta() -> MetaResponses {
                MetaResponses {
                    responses: vec![json_meta($status, $description, T::schema_ref())],
                }
            }

            fn register(registry: &mut Registry) {
                T::register(registry);
            }
        }
    };
}

json_reply!(Json, 200, "Done.");
json_reply!(Created, 201, "Created.");

impl IntoResponse for NoContent {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into()
    }
}

impl ApiResponse for NoContent {
    fn meta() -> MetaResponses {
        MetaResponses {
            responses: vec![MetaResponse {
                description: "Done; no body.",
                status: Some(204),
                status_range: None,
                content: vec![],
                headers: vec![],
            }],
        }
    }

    fn register(_: &mut Registry) {}
}

/// A success reply whose JSON body and status can be stored and given again; see `idempotency`.
pub trait StoredReply: IntoResponse + ApiResponse + Send {
    const STATUS: u16;
    /// The body as JSON text.
    fn body(&self) -> String;
}

impl<T: ToJSON> StoredReply for Json<T> {
    const STATUS: u16 = 200;
    fn body(&self) -> String {
        self.0.to_json_string()
    }
}

impl<T: ToJSON> StoredReply for Created<T> {
    const STATUS: u16 = 201;
    fn body(&self) -> String {
        self.0.to_json_string()
    }
}
