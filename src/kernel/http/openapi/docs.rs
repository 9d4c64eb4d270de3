//! The page that shows the document, and the document itself.
//!
//! The viewer is the Swagger UI that poem-openapi carries, cut out of the one page that the library
//! makes and served as files, so that the content security policy needs no exception for scripts.
//! Nothing is loaded from elsewhere.

use std::sync::OnceLock;

use bytes::Bytes;
use poem::endpoint::make_sync;
use poem::http::header;
use poem::{EndpointExt, Response};
use poem_openapi::OpenApiService;

use super::Document;
use crate::http::router::Handler;

/// Swagger UI sets styles on elements and shows its icons from data URLs; scripts come from here
/// only, requests go here only.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Every route of the documentation. `document` makes it.
pub(in crate::http) fn routes(
    document: impl Fn() -> Document + Clone + Send + Sync + 'static,
    base: &str,
) -> Vec<(&'static str, Handler)> {
    let (json, yaml, start) = (document.clone(), document, start(base));
    vec![
        (
            "/openapi.json",
            file("application/json; charset=utf-8", move || json().json().into()),
        ),
        (
            "/openapi.yaml",
            file("application/yaml; charset=utf-8", move || yaml().yaml().into()),
        ),
        ("/docs", page(base)),
        (
            "/docs/viewer.css",
            file("text/css; charset=utf-8", || Viewer::new().style),
        ),
        (
            "/docs/viewer.js",
            file("text/javascript; charset=utf-8", || Viewer::new().script),
        ),
        (
            "/docs/start.js",
            file("text/javascript; charset=utf-8", move || start.clone().into()),
        ),
    ]
}

/// The route of the description of the sockets.
pub(in crate::http) fn sockets(
    document: impl Fn() -> Document + Send + Sync + 'static,
) -> (&'static str, Handler) {
    let content = move || document().json().into();
    ("/asyncapi.json", file("application/json; charset=utf-8", content))
}

struct Viewer {
    style: Bytes,
    script: Bytes,
}

impl Viewer {
    fn new() -> Self {
        let html = OpenApiService::new((), "", "").swagger_ui_html();
        let between = |from: &str, to: &str| {
            let start = html.find(from).map_or(0, |at| at + from.len());
            let end = html[start..].find(to).map_or(start, |at| start + at);
            Bytes::copy_from_slice(&html.as_bytes()[start..end])
        };
        Viewer {
            style: between("<style charset=\"UTF-8\">", "</style>\n    <script"),
            script: between("<script charset=\"UTF-8\">", "</script>\n</head>"),
        }
    }
}

/// The content is made when somebody asks first: many servers are never asked, and all of it is five
/// megabytes.
fn file(content_type: &'static str, make: impl Fn() -> Bytes + Send + Sync + 'static) -> Handler {
    let content = OnceLock::new();
    make_sync(move |_| {
        Response::builder()
            .content_type(content_type)
            .header(header::CACHE_CONTROL, "public, max-age=300")
            .body(content.get_or_init(&make).clone())
    })
    .boxed()
}

fn page(base: &str) -> Handler {
    let html = format!(
        "<!doctype html>\n<html lang=\"zh\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>API</title>\n\
         <link rel=\"icon\" href=\"data:,\">\n<link rel=\"stylesheet\" href=\"{base}docs/viewer.css\">\n</head>\n<body>\n\
         <div id=\"viewer\"></div>\n<script src=\"{base}docs/viewer.js\"></script>\n\
         <script src=\"{base}docs/start.js\"></script>\n</body>\n</html>\n"
    );
    make_sync(move |_| {
        Response::builder()
            .content_type("text/html; charset=utf-8")
            .header(header::CONTENT_SECURITY_POLICY, POLICY)
            .header(header::CACHE_CONTROL, "public, max-age=300")
            .body(html.clone())
    })
    .boxed()
}

fn start(base: &str) -> String {
    format!(
        "SwaggerUIBundle({{ dom_id: '#viewer', url: '{base}openapi.json', deepLinking: true, validatorUrl: null, \
         persistAuthorization: false, tryItOutEnabled: true }});\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_viewer_is_cut_out_whole() {
        let viewer = Viewer::new();
        assert!(viewer.script.len() > 1_000_000, "{}", viewer.script.len());
        assert!(viewer.style.len() > 50_000, "{}", viewer.style.len());
        let script = String::from_utf8_lossy(&viewer.script);
        assert!(script.contains("SwaggerUIBundle") && !script.contains("{:spec}"));
    }
}
