//! `/api/chat/test/`: a page for trying chat rooms out, which uses nearly everything of this domain.
//!
//! The page and its files are part of the program ([`FILES`], from `../../page/`). They hold no
//! secrets: whoever opens the page signs in with an account, and the browser then talks to the same
//! operations as any other client. There is no script and no style inside the page, so its policy
//! needs no exception, and nothing is loaded from elsewhere.

use bytes::Bytes;
use poem::http::header;
use poem::{IntoResponse, Response};
use poem_openapi::param::Path;
use poem_openapi::registry::{
    MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry,
};
use poem_openapi::{ApiResponse, OpenApi};
use yunque_kernel::ApiError;
use yunque_kernel::error::common;

use super::ChatTags;

/// Requests and sockets go to this server; `ws:` and `wss:` are named because older browsers do not
/// count a socket of the same server as `'self'`.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self' ws: wss:; base-uri 'none'; frame-ancestors 'none'; form-action 'none'";

/// As long as the files of `/docs/`.
const CACHE_CONTROL: &str = "public, max-age=300";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

const PAGE: &str = include_str!("../page/index.html");

macro_rules! files {
    ($($name:literal),+ $(,)?) => {
        /// What the page loads, by name.
        const FILES: &[(&str, &str)] = &[$(($name, include_str!(concat!("../page/", $name)))),+];
    };
}

files! {
    "api.js",
    "chat.css",
    "chat.js",
    "composer.js",
    "dom.js",
    "frames.js",
    "i18n.js",
    "link.js",
    "members.js",
    "messages.js",
    "notices.js",
    "pane.js",
    "presence.js",
    "receipts.js",
    "rooms.js",
    "session.js",
    "states.js",
    "texts.js",
    "timeline.js",
}

/// The page itself.
pub(super) struct PageReply(Bytes);

impl IntoResponse for PageReply {
    fn into_response(self) -> Response {
        Response::builder()
            .content_type(HTML)
            .header(header::CONTENT_SECURITY_POLICY, POLICY)
            .header(header::CACHE_CONTROL, CACHE_CONTROL)
            .body(self.0)
    }
}

impl ApiResponse for PageReply {
    fn meta() -> MetaResponses {
        text_meta("The page.", &["text/html"])
    }

    fn register(_: &mut Registry) {}
}

/// A style sheet or a script of the page.
pub(super) struct PageFileReply {
    content_type: &'static str,
    content: &'static str,
}

impl IntoResponse for PageFileReply {
    fn into_response(self) -> Response {
        Response::builder()
            .content_type(self.content_type)
            .header(header::CACHE_CONTROL, CACHE_CONTROL)
            .body(self.content)
    }
}

impl ApiResponse for PageFileReply {
    fn meta() -> MetaResponses {
        text_meta("The file.", &["text/css", "text/javascript"])
    }

    fn register(_: &mut Registry) {}
}

fn text_meta(description: &'static str, types: &[&'static str]) -> MetaResponses {
    let content = types.iter().map(|&content_type| MetaMediaType {
        content_type,
        schema: MetaSchemaRef::Inline(Box::new(MetaSchema::new("string"))),
    });
    MetaResponses {
        responses: vec![MetaResponse {
            description,
            status: Some(200),
            status_range: None,
            content: content.collect(),
            headers: vec![],
        }],
    }
}

pub(super) struct PageApi {
    /// `None`: the page is switched off.
    page: Option<Bytes>,
}

impl PageApi {
    /// * `shown`: the setting `CHAT_TEST_PAGE`.
    /// * `public_base_url`: its path is where the files of the page are asked for.
    pub fn new(shown: bool, public_base_url: &str) -> Self {
        PageApi {
            page: shown.then(|| PAGE.replace("{base}", &base_path(public_base_url)).into()),
        }
    }
}

#[OpenApi(prefix_path = "/api/chat/test", tag = "ChatTags::Chat")]
impl PageApi {
    /// Shows a page for trying chat rooms out.
    ///
    /// It signs in, lists rooms, chats in two of them at once and shows the frames of their sockets.
    /// Anyone may call; the setting `CHAT_TEST_PAGE` switches it off.
    ///
    /// Errors: 404.
    #[oai(path = "/", method = "get", operation_id = "get_chat_test_page")]
    async fn page(&self) -> Result<PageReply, ApiError> {
        let page = self.page.clone().ok_or(common::NOT_FOUND)?;
        Ok(PageReply(page))
    }

    /// Sends a style sheet or script of the page.
    ///
    /// Anyone may call.
    ///
    /// Errors: 404.
    #[oai(path = "/:file", method = "get", operation_id = "get_chat_test_page_file")]
    async fn file(&self, file: Path<String>) -> Result<PageFileReply, ApiError> {
        let (name, content) = FILES
            .iter()
            .find(|(name, _)| self.page.is_some() && *name == file.0)
            .ok_or(common::NOT_FOUND)?;
        let is_style = name.ends_with(".css");
        Ok(PageFileReply {
            content_type: if is_style { CSS } else { JAVASCRIPT },
            content,
        })
    }
}

/// The path of a URL, with a slash at both ends.
fn base_path(url: &str) -> String {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = after_scheme.split_once('/').map_or("", |(_, path)| path);
    match path.trim_matches('/') {
        "" => "/".to_owned(),
        path => format!("/{path}/"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path as FsPath;

    use super::*;

    fn named_in(text: &str) -> BTreeSet<String> {
        let quoted = text.split('"').skip(1).step_by(2);
        let names = quoted.filter_map(|q| q.strip_prefix("./").or(q.strip_prefix("{base}api/chat/test/")));
        names.map(str::to_owned).collect()
    }

    #[test]
    fn every_file_of_the_folder_is_served_and_used() {
        let folder = FsPath::new(env!("CARGO_MANIFEST_DIR")).join("page");
        let there: BTreeSet<String> = std::fs::read_dir(folder)
            .expect("the folder of the page")
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .filter(|name| name != "index.html")
            .collect();
        let served: BTreeSet<String> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(there, served);
        let mut used = named_in(PAGE);
        for (_, content) in FILES {
            let imports = content.lines().filter(|line| line.starts_with("import "));
            used.extend(imports.flat_map(named_in));
        }
        assert_eq!(used, served);
    }

    #[test]
    fn the_page_needs_no_exception_from_its_policy() {
        assert!(!PAGE.contains("<style") && !PAGE.contains(" style="));
        for rest in PAGE.split(" on").skip(1) {
            let after_word = rest.trim_start_matches(|c: char| c.is_ascii_lowercase());
            assert!(
                !after_word.starts_with('='),
                "a handler in the page: on{rest:.20}"
            );
        }
        assert!(!PAGE.contains("http://") && !PAGE.contains("https://"));
        for (name, content) in FILES {
            for forbidden in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
            ] {
                assert!(!content.contains(forbidden), "{name}: {forbidden}");
            }
            assert!(content.lines().count() <= 400, "{name} is too long to read");
        }
    }

    #[test]
    fn files_are_asked_for_below_the_public_address() {
        for (url, path) in [
            ("http://127.0.0.1:8000", "/"),
            ("https://chat.example.com/", "/"),
            ("https://example.com/yunque", "/yunque/"),
            ("https://example.com/a/b/", "/a/b/"),
        ] {
            assert_eq!(base_path(url), path, "{url}");
        }
        let page = PageApi::new(true, "https://example.com/yunque")
            .page
            .expect("shown");
        let page = String::from_utf8_lossy(&page).into_owned();
        assert!(page.contains("src=\"/yunque/api/chat/test/chat.js\"") && !page.contains("{base}"));
        assert!(PageApi::new(false, "http://localhost").page.is_none());
    }
}
