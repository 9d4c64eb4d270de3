//! What a handler that honours the key answers with.

use poem::http::{HeaderValue, StatusCode};
use poem::{IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaHeader, MetaResponses, MetaSchema, MetaSchemaRef, Registry};

use crate::http::reply::json_response;

/// The handler's reply, or what was stored when this request came the first time.
#[derive(Debug)]
pub enum Replayable<T> {
    Fresh(T),
    Stored { status: u16, body: String },
}

impl<T: IntoResponse> IntoResponse for Replayable<T> {
    fn into_response(self) -> Response {
        match self {
            Replayable::Fresh(reply) => reply.into_response(),
            Replayable::Stored { status, body } => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
                let mut response = json_response(status, body);
                response
                    .headers_mut()
                    .insert("idempotent-replayed", HeaderValue::from_static("true"));
                response
            }
        }
    }
}

impl<T: ApiResponse> ApiResponse for Replayable<T> {
    fn meta() -> MetaResponses {
        let mut meta = T::meta();
        for response in &mut meta.responses {
            response.headers.push(MetaHeader {
                name: "Idempotent-Replayed".to_owned(),
                description: Some(
                    "`true` when this answer was stored by an earlier request with the same key.".to_owned(),
                ),
                required: false,
                deprecated: false,
                schema: MetaSchemaRef::Inline(Box::new(MetaSchema::new("string"))),
            });
        }
        meta
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}
