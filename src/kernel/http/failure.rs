//! How an [`ApiError`] travels through poem, and what the published document says about it.
//!
//! It stays a value inside a `poem::Error` until `render` writes it, because only there the
//! language and the request id are known.

use poem::Response;
use poem::error::ResponseError;
use poem::http::StatusCode;
use poem_openapi::registry::{MetaResponses, MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::{ApiResponse, types::Type};

use crate::error::{ApiError, Lang};

/// The name of the error schema in the published document.
pub const ERROR_SCHEMA: &str = "ErrorBody";

/// An [`ApiError`] in the clothes that poem wants.
#[derive(Debug)]
pub struct Failure(pub ApiError);

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|s| s.as_ref() as _)
    }
}

impl ResponseError for Failure {
    fn status(&self) -> StatusCode {
        status_of(&self.0)
    }

    /// Only reached when an endpoint is called without the rendering layer, as some unit tests do.
    fn as_response(&self) -> Response {
        response_of(&self.0, Lang::Zh, "")
    }
}

impl From<ApiError> for poem::Error {
    fn from(error: ApiError) -> Self {
        Failure(error).into()
    }
}

/// The status as a type; an impossible number in a table is a 500.
pub(super) fn status_of(error: &ApiError) -> StatusCode {
    StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Writes the envelope.
pub(super) fn response_of(error: &ApiError, lang: Lang, request_id: &str) -> Response {
    let mut builder = Response::builder()
        .status(status_of(error))
        .content_type(super::reply::JSON);
    for (name, value) in &error.headers {
        builder = builder.header(*name, value);
    }
    if error.status == 401 {
        builder = builder.header("www-authenticate", "Bearer realm=\"api\"");
    }
    builder.body(error.body(lang, request_id).to_string())
}

/// Lets handlers return `Result<T, ApiError>`. The statuses of an operation come from its doc
/// comment (see `openapi::errors`); here only the schema is registered.
impl ApiResponse for ApiError {
    fn meta() -> MetaResponses {
        MetaResponses {
            responses: Vec::new(),
        }
    }

    fn register(registry: &mut Registry) {
        registry
            .schemas
            .entry(ERROR_SCHEMA.to_owned())
            .or_insert_with(error_schema);
    }
}

fn described(mut schema: MetaSchema, text: &'static str) -> MetaSchemaRef {
    schema.description = Some(text);
    MetaSchemaRef::Inline(Box::new(schema))
}

/// The schema of every error body.
pub(super) fn error_schema() -> MetaSchema {
    let list = MetaSchema {
        items: Some(Box::new(String::schema_ref())),
        ..MetaSchema::new("array")
    };
    let errors = MetaSchema {
        additional_properties: Some(Box::new(MetaSchemaRef::Inline(Box::new(list)))),
        ..MetaSchema::new("object")
    };
    MetaSchema {
        description: Some(
            "Every answer that is not a success. Other members may follow, as the operation says.",
        ),
        required: vec!["error", "code"],
        properties: vec![
            (
                "error",
                described(
                    MetaSchema::new("string"),
                    "What went wrong, for people; in the language asked for.",
                ),
            ),
            (
                "code",
                described(
                    MetaSchema::new("string"),
                    "What went wrong, for programs; never changes.",
                ),
            ),
            (
                "detail",
                described(
                    MetaSchema::new("string"),
                    "The same text as `error`; on 401, 403, 404, 405 and 429.",
                ),
            ),
            (
                "errors",
                described(errors, "Messages for each field of the request."),
            ),
            (
                "request_id",
                described(MetaSchema::new("string"), "For support; on 5xx."),
            ),
        ],
        ..MetaSchema::new("object")
    }
}

/// 408 for a body that comes too slowly. Not in a domain's table, because no domain decides it.
pub mod codes {
    crate::codes! {
        /// The request body came too slowly or stopped.
        REQUEST_TIMEOUT = 408, "request_timeout", "请求超时", "The request took too long to arrive.";
        /// The request line or headers are malformed.
        BAD_REQUEST = 400, "bad_request", "无效的请求", "Malformed request.";
    }
}
