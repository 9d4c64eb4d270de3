//! Answers of a shape of their own.

use poem::http::HeaderValue;
use poem::{IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaHeader, MetaResponses, MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::ToJSON;
use yunque_kernel::http::{Created, Json, StoredReply};

use crate::dto::SupportSessionOut;
use crate::service::Opened;

/// A part of a list, and whether it goes on.
pub(super) struct Part<T> {
    pub body: T,
    pub has_more: bool,
}

impl<T: ToJSON> IntoResponse for Part<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.body).into_response();
        let more = if self.has_more { "true" } else { "false" };
        response
            .headers_mut()
            .insert("x-has-more", HeaderValue::from_static(more));
        response
    }
}

impl<T: ToJSON> ApiResponse for Part<T> {
    fn meta() -> MetaResponses {
        let mut meta = Json::<T>::meta();
        for response in &mut meta.responses {
            response.headers.push(MetaHeader {
                name: "X-Has-More".to_owned(),
                description: Some("Whether there are more beyond these.".to_owned()),
                required: true,
                deprecated: false,
                schema: MetaSchemaRef::Inline(Box::new(MetaSchema::new("boolean"))),
            });
        }
        meta
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

/// 201 for a new session, 200 for the one there was.
pub(super) struct OpenedReply(pub Opened);

impl OpenedReply {
    pub fn status(opened: &Opened) -> u16 {
        if opened.is_new { 201 } else { 200 }
    }
}

impl IntoResponse for OpenedReply {
    fn into_response(self) -> Response {
        let Opened { session, is_new } = self.0;
        if is_new {
            Created(session).into_response()
        } else {
            Json(session).into_response()
        }
    }
}

impl ApiResponse for OpenedReply {
    fn meta() -> MetaResponses {
        let mut responses = Json::<SupportSessionOut>::meta().responses;
        responses.extend(Created::<SupportSessionOut>::meta().responses);
        MetaResponses { responses }
    }

    fn register(registry: &mut Registry) {
        Json::<SupportSessionOut>::register(registry);
    }
}

impl StoredReply for OpenedReply {
    /// The service stores the true status with its row; this one is never used.
    const STATUS: u16 = 201;

    fn body(&self) -> String {
        self.0.session.to_json_string()
    }
}
