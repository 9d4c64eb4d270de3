//! Pages: the query parameters, the bare list with headers, and the page object.

use poem::http::StatusCode;
use poem::{IntoResponse, Response};
use poem_openapi::registry::{MetaHeader, MetaResponses, MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::{ParseFromJSON, ToJSON, Type};
use poem_openapi::{ApiResponse, Object};

use super::reply::{json_meta, json_response};
use super::request_info::RequestInfo;
use crate::error::{ApiError, Faults, messages};

/// The largest page anybody may ask for.
pub const MAX_PAGE_SIZE: u32 = 100;

/// A valid page request: `page` ≥ 1, `size` 1..=100. Pages so far out that their offset would not
/// fit are treated as the last one that does; they are past the end anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    pub page: u64,
    pub size: u64,
}

impl Page {
    /// Rows to skip.
    pub fn offset(self) -> u64 {
        self.page
            .saturating_sub(1)
            .saturating_mul(self.size)
            .min(i64::MAX as u64)
    }

    /// Rows to read.
    pub fn limit(self) -> u64 {
        self.size
    }
}

/// Reads `page` and `page_size` as they stand in the query.
pub struct PageQuery;

impl PageQuery {
    /// The parameters are taken as text, so that every fault is reported under its own name.
    ///
    /// # Errors
    /// 400 with a fault for each parameter that is not a whole number in range.
    pub fn parse(page: Option<&str>, page_size: Option<&str>, default_size: u32) -> Result<Page, ApiError> {
        let mut faults = Faults::new();
        let page = number(&mut faults, "page", page, 1, u64::MAX);
        let size = number(
            &mut faults,
            "page_size",
            page_size,
            u64::from(default_size),
            u64::from(MAX_PAGE_SIZE),
        );
        faults.into_result(Page { page, size })
    }

    /// The same for operations that publish both parameters as integers:
    /// `page: Query<Option<i64>>, page_size: Query<Option<i64>>`.
    ///
    /// # Errors
    /// 400 with a fault for each parameter out of range.
    pub fn of(page: Option<i64>, page_size: Option<i64>, default_size: u32) -> Result<Page, ApiError> {
        let text = |n: Option<i64>| n.map(|n| n.to_string());
        let mut faults = Faults::new();
        for (name, value) in [("page", page), ("page_size", page_size)] {
            if value.is_some_and(|n| n < 1) {
                faults.add(name, messages::OUT_OF_RANGE);
            }
        }
        faults.into_result(())?;
        Self::parse(text(page).as_deref(), text(page_size).as_deref(), default_size)
    }

    /// Reads both from the request itself.
    ///
    /// # Errors
    /// See [`PageQuery::parse`].
    pub fn from_info(info: &RequestInfo, default_size: u32) -> Result<Page, ApiError> {
        Self::parse(info.query("page"), info.query("page_size"), default_size)
    }
}

fn number(faults: &mut Faults, name: &str, text: Option<&str>, default: u64, max: u64) -> u64 {
    let Some(text) = text.map(str::trim).filter(|t| !t.is_empty()) else {
        return default;
    };
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        faults.add(name, messages::BAD_TYPE);
        return default;
    }
    // Digits that do not fit are a page past every end; for a size they are out of range.
    match text.parse::<u64>().unwrap_or(u64::MAX) {
        n if (1..=max).contains(&n) => n,
        _ => {
            faults.add(name, messages::OUT_OF_RANGE);
            default
        }
    }
}

/// A bare JSON array with `X-Total-Count`, `X-Page`, `X-Page-Size` and `Link`.
#[derive(Clone, Debug)]
pub struct Listed<T> {
    pub items: Vec<T>,
    pub total: u64,
    pub page: Page,
    links: Option<String>,
}

impl<T> Listed<T> {
    /// `info` gives the links their address: the request's own path and query on the public base.
    pub fn new(items: Vec<T>, total: u64, page: Page, info: &RequestInfo) -> Self {
        let (next, previous) = neighbours(total, page, info);
        let link = |url: Option<String>, rel| url.map(|u| format!("<{u}>; rel=\"{rel}\""));
        let links: Vec<String> = [link(next, "next"), link(previous, "prev")]
            .into_iter()
            .flatten()
            .collect();
        Listed {
            items,
            total,
            page,
            links: (!links.is_empty()).then(|| links.join(", ")),
        }
    }

    /// The same page with every item converted.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Listed<U> {
        let Listed {
            items,
            total,
            page,
            links,
        } = self;
        Listed {
            items: items.into_iter().map(f).collect(),
            total,
            page,
            links,
        }
    }
}

/// Addresses of the next and the previous page, `None` past an end.
fn neighbours(total: u64, page: Page, info: &RequestInfo) -> (Option<String>, Option<String>) {
    let last = total.div_ceil(page.size.max(1)).max(1);
    let next = (page.page < last).then(|| info.page_url(page.page + 1));
    // From beyond the end "previous" leads back to the last page that has something.
    let previous = (page.page > 1).then(|| info.page_url((page.page - 1).min(last)));
    (next, previous)
}

impl<T: ToJSON> IntoResponse for Listed<T> {
    fn into_response(self) -> Response {
        let items: Vec<String> = self.items.iter().map(ToJSON::to_json_string).collect();
        let mut response = json_response(StatusCode::OK, format!("[{}]", items.join(",")));
        let headers = response.headers_mut();
        headers.insert("x-total-count", self.total.into());
        headers.insert("x-page", self.page.page.into());
        headers.insert("x-page-size", self.page.size.into());
        if let Some(Ok(link)) = self.links.map(|l| l.parse()) {
            headers.insert("link", link);
        }
        response
    }
}

fn header(name: &str, ty: &'static str, required: bool, text: &str) -> MetaHeader {
    MetaHeader {
        name: name.to_owned(),
        description: Some(text.to_owned()),
        required,
        deprecated: false,
        schema: MetaSchemaRef::Inline(Box::new(MetaSchema::new(ty))),
    }
}

impl<T: ToJSON> ApiResponse for Listed<T> {
    fn meta() -> MetaResponses {
        let mut meta = json_meta(200, "One page, as a bare array.", Vec::<T>::schema_ref());
        meta.headers = vec![
            header("X-Total-Count", "integer", true, "Items on all pages together."),
            header("X-Page", "integer", true, "This page, from 1."),
            header("X-Page-Size", "integer", true, "Items on a full page."),
            header(
                "Link",
                "string",
                false,
                "Addresses of the `next` and `prev` page, when there are such.",
            ),
        ];
        MetaResponses {
            responses: vec![meta],
        }
    }

    fn register(registry: &mut Registry) {
        Vec::<T>::register(registry);
    }
}

/// A page of results with the addresses of its neighbours.
#[derive(Clone, Debug, Object)]
#[oai(rename = "Page")]
pub struct PageOut<T: Type + ParseFromJSON + ToJSON> {
    /// Items on all pages together.
    pub count: u64,
    /// Address of the next page.
    pub next: Option<String>,
    /// Address of the previous page.
    pub previous: Option<String>,
    /// The items of this page.
    pub results: Vec<T>,
}

impl<T: Type + ParseFromJSON + ToJSON> PageOut<T> {
    /// `info` gives the addresses; they start with the public base URL.
    pub fn new(results: Vec<T>, count: u64, page: Page, info: &RequestInfo) -> Self {
        let (next, previous) = neighbours(count, page, info);
        PageOut {
            count,
            next,
            previous,
            results,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_parameters_are_bounded() {
        let ok = |p, s| PageQuery::parse(p, s, 20).expect("valid");
        assert_eq!(ok(None, None), Page { page: 1, size: 20 });
        assert_eq!(ok(Some("3"), Some("100")), Page { page: 3, size: 100 });
        assert_eq!(ok(Some("18446744073709551615"), None).offset(), i64::MAX as u64);
        for (p, s) in [
            ("0", "1"),
            ("-1", "1"),
            ("abc", "1"),
            ("1.0", "1"),
            ("１", "1"),
            ("1", "0"),
            ("1", "101"),
        ] {
            assert_eq!(
                PageQuery::parse(Some(p), Some(s), 20)
                    .expect_err("refused")
                    .status,
                400,
                "{p} {s}"
            );
        }
        let both = PageQuery::parse(Some("x"), Some("y"), 20).expect_err("refused");
        assert_eq!(both.faults.iter().count(), 2);
    }

    #[test]
    fn neighbours_stay_inside_the_list() {
        let info = RequestInfo::for_tests("/api/users/?page=9&q=a%20b");
        let page = |page| Page { page, size: 10 };
        let (next, previous) = neighbours(25, page(1), &info);
        assert_eq!(
            next.as_deref(),
            Some("http://127.0.0.1:8000/api/users/?q=a+b&page=2")
        );
        assert_eq!(previous, None);
        let (next, previous) = neighbours(25, page(9), &info);
        assert_eq!(next, None);
        assert_eq!(
            previous.as_deref(),
            Some("http://127.0.0.1:8000/api/users/?q=a+b&page=3")
        );
    }
}
