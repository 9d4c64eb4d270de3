//! Bodies with long contents against the same bodies read as a whole.

mod documents;

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use poem_openapi::{Object, Union};
use serde_json::json;

use super::super::{BodyMemory, clean, from_json};
use super::scan::MAX_VALUES;
use super::*;
use crate::error::Lang;

#[derive(Debug, Object)]
struct ScanInner {
    file_content: Content,
}

#[derive(Debug, Object)]
struct ScanItem {
    #[oai(validator(max_length = 5))]
    name: Option<String>,
    size: i64,
    file_content: Option<Content>,
    parts: Option<Vec<Content>>,
    inner_in_a_field_with_a_long_name: Option<Vec<ScanInner>>,
}

#[derive(Debug, Union)]
#[oai(one_of)]
enum ScanBatch {
    One(ScanItem),
    Many(Vec<ScanItem>),
}

/// Keeps what it gets. What was forgotten is `None`.
#[derive(Debug, Default)]
struct Kept {
    open: Option<String>,
    texts: Vec<Option<String>>,
}

impl Contents for Kept {
    fn begin(&mut self) {
        assert!(self.open.is_none());
        self.open = Some(String::new());
    }

    fn push(&mut self, text: &str) -> Result<(), ApiError> {
        self.open.as_mut().expect("begun").push_str(text);
        Ok(())
    }

    fn end(&mut self) -> Result<(), ApiError> {
        self.texts.push(self.open.take());
        Ok(())
    }

    fn forget(&mut self, number: usize) {
        assert!(self.texts[number].take().is_some(), "{number} was known");
    }

    fn held(&self) -> u64 {
        self.texts.iter().flatten().map(|t| t.len() as u64).sum()
    }
}

/// What a client hears, or every value with its contents in place.
type Outcome = Result<String, (u16, &'static str, Value)>;

fn outcome(result: Result<ScanBatch, ApiError>, kept: &Kept) -> Outcome {
    let resolve = |content: Content| match content {
        Content::Text(text) => text,
        Content::Taken(number) => {
            let mut text = kept.texts[number].clone().expect("not forgotten");
            clean(&mut text);
            text
        }
    };
    let one = |item: ScanItem| {
        let parts = item.parts.map(|p| p.into_iter().map(resolve).collect::<Vec<_>>());
        let inner = item.inner_in_a_field_with_a_long_name;
        let inner = inner.map(|i| i.into_iter().map(|i| resolve(i.file_content)).collect::<Vec<_>>());
        format!(
            "{:?} {} {:?} {parts:?} {inner:?}",
            item.name,
            item.size,
            item.file_content.map(resolve)
        )
    };
    match result {
        Ok(ScanBatch::One(item)) => Ok(one(item)),
        Ok(ScanBatch::Many(items)) => Ok(items.into_iter().map(one).collect::<Vec<_>>().join("\n")),
        Err(e) => Err((e.status, e.code, e.body(Lang::Zh, "")["errors"].clone())),
    }
}

fn whole(document: &[u8]) -> Outcome {
    outcome(from_json(document), &Kept::default())
}

#[test]
fn only_long_contents_are_taken_out() {
    let mut kept = Kept::default();
    let mut scanner = Scanner::new(shape::shape_of::<ScanBatch>(), 8);
    let document =
        br#"[{"size":1,"file_content":"seven77"},{"size":1,"file_content":"eight888","name":"12345678"}]"#;
    scanner.feed(document, &mut kept).expect("in limits");
    assert_eq!(kept.texts, [Some("eight888".to_owned())]);
    let (rest, mark) = scanner.finish().expect("whole");
    let rest = String::from_utf8(rest).expect("text");
    let stands = json!(format!("\u{1}{}:0", mark.0)).to_string();
    let expected = format!(
        r#"[{{"size":1,"file_content":"seven77"}},{{"size":1,"file_content":{stands},"name":"12345678"}}]"#
    );
    assert_eq!(rest, expected);
    // What stands in one document means nothing in another.
    assert!(mark.is_in(&format!("\u{1}{}:0", mark.0)) && !Mark::new().is_in(&format!("\u{1}{}:0", mark.0)));
    let error = from_json::<ScanBatch>(expected.as_bytes()).expect_err("refused");
    assert_eq!(
        error.body(Lang::Zh, "")["errors"],
        json!({"1.name": ["长度不能超过 5 个字符"], "1.file_content": ["包含不允许的字符"]})
    );
}

#[test]
fn blanks_and_nonsense_are_not_kept() {
    let mut kept = Kept::default();
    let mut scanner = Scanner::new(shape::shape_of::<ScanBatch>(), 8);
    let blanks = [b' '; 4096];
    (0..100).for_each(|_| scanner.feed(&blanks, &mut kept).expect("in limits"));
    assert!(scanner.kept() <= 1);
    scanner
        .feed(b"{\"file_content\":\"long enough \\x", &mut kept)
        .expect("in limits");
    assert!(scanner.is_broken() && scanner.kept() == 0);
}

#[test]
fn a_document_has_as_many_values_as_an_ordinary_one_at_most() {
    let feed = |piece: &str, times: usize| {
        let mut scanner = Scanner::new(shape::shape_of::<ScanBatch>(), 8);
        (0..times).try_for_each(|_| scanner.feed(piece.as_bytes(), &mut Kept::default()))
    };
    feed("1,", MAX_VALUES).expect("as many");
    for piece in ["1,", "{},", "\"\",", "\"a\":1,", "[],"] {
        let error = feed(piece, MAX_VALUES + 1).expect_err(piece);
        assert_eq!((error.status, error.code), (413, "payload_too_large"), "{piece}");
    }
}

const LIMIT: u64 = 1 << 20;

/// Reads a body that comes in chunks of this size, as a request does.
async fn read(
    kind: &str,
    body: Vec<u8>,
    chunk: usize,
    memory: &BodyMemory,
) -> Result<Received<ScanBatch, Kept>, ApiError> {
    let chunks: Vec<std::io::Result<Bytes>> = body
        .chunks(chunk)
        .map(|c| Ok(Bytes::copy_from_slice(c)))
        .collect();
    let mut request = Request::builder()
        .content_type(kind)
        .body(poem::Body::from_bytes_stream(stream::iter(chunks)));
    BodyGate::install(&mut request, memory, Duration::from_secs(5));
    let (request, mut body) = request.split();
    let body: ContentBody<ScanBatch, LIMIT> =
        ContentBody::from_request(&request, &mut body, ExtractParamOptions::default())
            .await
            .expect("admitted");
    body.read(Kept::default()).await
}

#[tokio::test]
async fn bodies_of_all_sizes_are_read_alike() {
    let memory = BodyMemory::new(LARGEST_BUFFERED_BODY, Duration::from_millis(50));
    for length in [
        0,
        100,
        LONG - 2,
        LONG,
        PIECE - 100,
        PIECE,
        PIECE * 2,
        PIECE * 5 + 1,
    ] {
        let text = "QUJD".repeat(length / 4);
        let document = format!(r#"[{{"size":1,"file_content":"{text}"}},{{"size":2}}]"#).into_bytes();
        for chunk in [1000, PIECE, usize::MAX >> 1] {
            let received = read("application/json", document.clone(), chunk, &memory)
                .await
                .expect("valid");
            assert_eq!(received.digest, BodyDigest::of(&document));
            let taken = document.len() >= PIECE;
            assert_eq!(received.contents.texts.len(), usize::from(taken), "{length}");
            assert_eq!(
                outcome(Ok(received.value), &received.contents),
                whole(&document),
                "{length} by {chunk}"
            );
        }
    }
    assert_eq!(
        memory.free_bytes(),
        LARGEST_BUFFERED_BODY,
        "everything is given back"
    );
}

#[tokio::test]
async fn large_bodies_are_refused_like_small_ones() {
    let memory = BodyMemory::new(LARGEST_BUFFERED_BODY, Duration::from_millis(50));
    let text = "QUJD".repeat(50_000);
    let refused = async |kind: &str, document: String| {
        let error = read(kind, document.into_bytes(), 10_000, &memory)
            .await
            .expect_err("refused");
        (error.status, error.code)
    };
    let good = format!(r#"{{"size":1,"file_content":"{text}"}}"#);
    let cases = [
        ("application/json", format!("{good}x"), (400, "parse_error")),
        (
            "application/json",
            good[..good.len() - 2].to_owned(),
            (400, "parse_error"),
        ),
        (
            "application/json",
            good.replace("1,", "\"1\","),
            (400, "validation_error"),
        ),
        ("application/json", format!("\"{text}\""), (400, "parse_error")),
        ("text/plain", good.clone(), (415, "unsupported_media_type")),
        ("text/plain", format!("{good}x"), (415, "unsupported_media_type")),
        // Too large comes before everything, as where a body is read as a whole.
        ("text/plain", good.repeat(6), (413, "payload_too_large")),
        (
            "application/json",
            format!("x{}", good.repeat(6)),
            (413, "payload_too_large"),
        ),
    ];
    for (kind, document, expected) in cases {
        let shown = document[..40].to_owned();
        assert_eq!(refused(kind, document).await, expected, "{kind} {shown}");
    }
}

#[tokio::test]
async fn memory_is_asked_for_what_stays_in_memory() {
    let memory = BodyMemory::new(1 << 20, Duration::from_millis(50));
    let text = "QUJD".repeat(150_000);
    // Not for contents that are taken out and kept elsewhere, …
    struct Elsewhere;
    impl Contents for Elsewhere {
        fn begin(&mut self) {}
        fn push(&mut self, _: &str) -> Result<(), ApiError> {
            Ok(())
        }
        fn end(&mut self) -> Result<(), ApiError> {
            Ok(())
        }
        fn forget(&mut self, _: usize) {}
        fn held(&self) -> u64 {
            0
        }
    }
    let mut request = Request::builder().body(format!(r#"{{"size":1,"file_content":"{text}"}}"#));
    BodyGate::install(&mut request, &memory, Duration::from_secs(5));
    let (request, mut body) = request.split();
    let body: ContentBody<ScanBatch, LIMIT> =
        ContentBody::from_request(&request, &mut body, ExtractParamOptions::default())
            .await
            .expect("admitted");
    body.read(Elsewhere).await.expect("needs no budget");
    assert_eq!(memory.free_bytes(), 1 << 20);
    // … but for what its taker holds, and for all that is no content.
    let document = format!(r#"{{"size":1,"name":"{text}"}}"#).into_bytes();
    let full = read("application/json", document, 10_000, &memory)
        .await
        .expect_err("no room");
    assert_eq!((full.status, full.code), (503, "service_unavailable"));
}
