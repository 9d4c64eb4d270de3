//! Reads a request body into memory, within its limit and the process-wide budget.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use poem::{Request, RequestBody};

use super::gate::{BodyGate, FREE_BUFFER};
use crate::error::{ApiError, common};
use crate::http::failure::codes;

/// What a body claims to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    Missing,
    Json,
    Form,
    Multipart,
    Other,
}

impl Media {
    /// A missing type is up to the parser.
    pub fn may_be_json(self) -> bool {
        matches!(self, Media::Json | Media::Missing)
    }
}

pub(super) fn media_of(request: &Request) -> Media {
    let Some(value) = request.headers().get("content-type") else {
        return Media::Missing;
    };
    let Ok(text) = value.to_str() else {
        return Media::Other;
    };
    let mut parts = text.split(';');
    let essence = parts.next().unwrap_or("").trim().to_ascii_lowercase();
    let charset = parts.find_map(|p| {
        let (name, value) = p.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("charset")
            .then(|| value.trim().trim_matches('"').to_ascii_lowercase())
    });
    if charset.is_some_and(|c| !matches!(c.as_str(), "utf-8" | "utf8" | "us-ascii")) {
        return Media::Other;
    }
    match essence.as_str() {
        "" => Media::Missing,
        "application/json" => Media::Json,
        "application/x-www-form-urlencoded" => Media::Form,
        "multipart/form-data" => Media::Multipart,
        _ => Media::Other,
    }
}

/// The gate that the assembly puts on every request.
pub(super) fn gate_of(request: &Request) -> Result<&Arc<BodyGate>, ApiError> {
    request
        .data::<Arc<BodyGate>>()
        .ok_or_else(|| ApiError::internal("the body gate is missing"))
}

/// Reads everything. `copies` tells how many times the body will be in memory at once.
pub(super) async fn read(
    request: &Request,
    body: &mut RequestBody,
    limit: u64,
    copies: u64,
) -> Result<Bytes, ApiError> {
    let gate = gate_of(request)?;
    gate.admit(limit)?;
    let mut held = FREE_BUFFER;
    if let Some(length) = gate.declared().filter(|n| *n > FREE_BUFFER) {
        gate.hold(length * copies).await?;
        held = length;
    }
    let Ok(body) = body.take() else {
        return Ok(Bytes::new());
    };
    if body.is_empty() {
        return Ok(Bytes::new());
    }
    let mut stream = Box::pin(body.into_bytes_stream());
    let capacity = gate.declared().unwrap_or(0).min(limit);
    let mut all = BytesMut::with_capacity(usize::try_from(capacity).unwrap_or(0));
    while let Some(chunk) = stream.next().await {
        // Without a verdict the client is gone or broke the framing.
        let chunk = chunk.map_err(|e| gate.verdict().unwrap_or_else(|| broken(e)))?;
        let needed = (all.len() + chunk.len()) as u64;
        if needed > held {
            // A body of unknown length: take ever more, up to its limit.
            let more = held
                .max(1 << 20)
                .min(limit.saturating_sub(held))
                .max(needed - held);
            gate.hold(more * copies).await?;
            held += more;
        }
        all.extend_from_slice(&chunk);
    }
    Ok(all.freeze())
}

pub(super) fn broken(cause: std::io::Error) -> ApiError {
    ApiError::from(codes::BAD_REQUEST).caused_by(cause)
}

/// 415 unless the media type is one of these; a missing type is up to the parser.
pub(super) fn require(media: Media, accepted: &[Media], body_is_empty: bool) -> Result<(), ApiError> {
    if body_is_empty || media == Media::Missing || accepted.contains(&media) {
        Ok(())
    } else {
        Err(common::UNSUPPORTED_MEDIA_TYPE.into())
    }
}
