//! What poem and poem-openapi report, in our words.
//!
//! Their texts name Rust types, echo the input and call a path id `param0`; none of that leaves
//! the process.

use poem::error::{
    MethodNotAllowedError, NotFoundError, ParseFormError, ParseJsonError, ParseMultipartError,
    ParsePathError as PoemPathError, ParseQueryError, ParseTypedHeaderError, ReadBodyError,
};
use poem::http::StatusCode;
use poem_openapi::error::{
    AuthorizationError, ContentTypeError, ParseMultipartError as OaiMultipartError, ParseParamError,
    ParsePathError, ParseRequestPayloadError,
};

use super::body::BodyGate;
use super::failure::{Failure, codes};
use crate::error::{ApiError, Faults, common, messages};

/// Turns any error of the stack into the one error type.
pub(super) fn translate(error: &poem::Error, gate: &BodyGate) -> ApiError {
    if let Some(Failure(own)) = error.downcast_ref::<Failure>() {
        return own.clone();
    }
    // A parser that met the end of a body that was cut off has its own idea of what went wrong.
    if let Some(verdict) = gate.verdict() {
        return verdict;
    }
    if error.is::<NotFoundError>() || error.is::<ParsePathError>() || error.is::<PoemPathError>() {
        return common::NOT_FOUND.into();
    }
    if error.is::<MethodNotAllowedError>() {
        return common::METHOD_NOT_ALLOWED.into();
    }
    if error.is::<AuthorizationError>() {
        return common::NOT_AUTHENTICATED.into();
    }
    if error.is::<ContentTypeError>() {
        return common::UNSUPPORTED_MEDIA_TYPE.into();
    }
    if let Some(param) = error.downcast_ref::<ParseParamError>() {
        // The reason is English and may hold the value, so only its kind is used.
        let text = match param.reason.as_str() {
            r if r.starts_with("verification failed") => messages::OUT_OF_RANGE,
            r if r.contains("expects an input value") => messages::REQUIRED,
            r if r.contains("valid enumeration value") || r.starts_with("Expected input type") => {
                messages::BAD_CHOICE
            }
            _ => messages::BAD_TYPE,
        };
        return Faults::one(param.name, text);
    }
    if error.is::<ParseRequestPayloadError>() || error.is::<ParseJsonError>() {
        return status_or(error, common::PARSE_ERROR.into());
    }
    let malformed = error.is::<OaiMultipartError>()
        || error.is::<ParseMultipartError>()
        || error.is::<ParseFormError>()
        || error.is::<ParseQueryError>()
        || error.is::<ParseTypedHeaderError>()
        || error.is::<ReadBodyError>();
    if malformed {
        return status_or(error, codes::BAD_REQUEST.into());
    }
    by_status(error.status()).caused_by(error.to_string())
}

/// `default`, unless the library means another status, such as 415.
fn status_or(error: &poem::Error, default: ApiError) -> ApiError {
    if error.status() == StatusCode::BAD_REQUEST {
        default
    } else {
        by_status(error.status())
    }
}

/// The table row for a bare status. Anything unknown below 500 is a malformed request.
pub(super) fn by_status(status: StatusCode) -> ApiError {
    match status.as_u16() {
        401 => common::NOT_AUTHENTICATED,
        403 => common::PERMISSION_DENIED,
        404 => common::NOT_FOUND,
        405 => common::METHOD_NOT_ALLOWED,
        408 => codes::REQUEST_TIMEOUT,
        409 => common::CONFLICT,
        413 => common::PAYLOAD_TOO_LARGE,
        414 => common::URI_TOO_LONG,
        415 => common::UNSUPPORTED_MEDIA_TYPE,
        429 => common::THROTTLED,
        431 => common::HEADERS_TOO_LARGE,
        502..=504 => common::SERVICE_UNAVAILABLE,
        s if s < 500 => codes::BAD_REQUEST,
        _ => common::INTERNAL_ERROR,
    }
    .into()
}
