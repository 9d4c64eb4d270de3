//! Headers that every answer carries.

use poem::http::{HeaderMap, HeaderName, HeaderValue, header};

/// Half a year; the operator's proxy may say more.
const HSTS: &str = "max-age=15768000";

/// Puts what is missing; an endpoint's own value stays.
pub(super) fn decorate(headers: &mut HeaderMap, secure: bool) {
    set(headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(headers, header::REFERRER_POLICY, "no-referrer");
    set(headers, header::X_FRAME_OPTIONS, "DENY");
    // Answers belong to whoever asked; what may be kept says so itself.
    set(headers, header::CACHE_CONTROL, "no-store");
    if secure {
        set(headers, header::STRICT_TRANSPORT_SECURITY, HSTS);
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.entry(name).or_insert(HeaderValue::from_static(value));
}
