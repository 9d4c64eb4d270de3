//! Listens in on the bytes of a connection to know where it stands in HTTP/1.
//!
//! The parser behind it (hyper) is lenient where a proxy in front may be strict, and silent about
//! how much of a head has come. The tap follows the framing: head, then as many body bytes as
//! announced, then the next head. So it knows at any time whether a head is half-sent (for the
//! deadline), and it judges each head: doubled or conflicting framing headers, folded lines, bare
//! line feeds, and sizes. A judged request still goes through the parser, so that its answer has
//! the usual envelope; a head that is too large is cut off and ended for the parser.

use std::collections::VecDeque;

use crate::error::{ApiError, Code, common};
use crate::http::failure::codes;

/// Longest request target.
pub const MAX_TARGET: usize = 8 * 1024;
/// All header lines together.
pub const MAX_HEADERS: usize = 16 * 1024;
/// The parser takes no more lines.
const MAX_LINES: usize = 100;
/// A request line that is longer than this cannot hold a legal target.
const MAX_REQUEST_LINE: usize = MAX_TARGET + 64;

/// What the tap thinks of one head.
#[derive(Debug)]
pub struct Judgement {
    /// Answer this instead of calling a handler.
    pub fault: Option<ApiError>,
    /// The connection ends after this request.
    pub close: bool,
}

/// What to do with the bytes just seen.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    /// Hand on only the first `keep` bytes, then `end`; nothing after them.
    Cut {
        keep: usize,
        end: &'static [u8],
    },
}

#[derive(Debug)]
enum Mode {
    Head,
    Body {
        left: u64,
    },
    /// A chunked body, or what follows a fault: its end is not known here.
    Opaque,
}

#[derive(Debug)]
pub struct Tap {
    mode: Mode,
    head: Vec<u8>,
    line_start: usize,
    /// Length of the request line with its end, once it is complete.
    request_line: usize,
    lines: usize,
    judgements: VecDeque<Judgement>,
}

impl Tap {
    pub fn new() -> Self {
        Tap {
            mode: Mode::Head,
            head: Vec::new(),
            line_start: 0,
            request_line: 0,
            lines: 0,
            judgements: VecDeque::new(),
        }
    }

    /// Part of a head has come, but not all.
    pub fn is_mid_head(&self) -> bool {
        matches!(self.mode, Mode::Head) && !self.head.is_empty()
    }

    /// The client may still be sending something that nobody will read.
    pub fn has_unread(&self) -> bool {
        !matches!(self.mode, Mode::Head) || !self.head.is_empty()
    }

    /// The judgement of the next request that the parser hands out.
    pub fn next_judgement(&mut self) -> Option<Judgement> {
        self.judgements.pop_front()
    }

    /// Looks at bytes on their way to the parser.
    pub fn see(&mut self, bytes: &[u8]) -> Verdict {
        let mut at = 0;
        while at < bytes.len() {
            match &mut self.mode {
                Mode::Opaque => return Verdict::Pass,
                Mode::Body { left } => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len() - at);
                    *left -= taken as u64;
                    at += taken;
                    if *left == 0 {
                        self.mode = Mode::Head;
                    }
                }
                // Empty lines before a request are allowed.
                Mode::Head if self.head.is_empty() && matches!(bytes[at], b'\r' | b'\n') => at += 1,
                Mode::Head => {
                    let line = &bytes[at..];
                    let line = memchr::memchr(b'\n', line).map_or(line, |end| &line[..=end]);
                    let (room, fault) = self.room(line[0]);
                    if line.len() > room {
                        self.head.extend_from_slice(&line[..room]);
                        let end = self.ending();
                        let fault = Some(fault.into());
                        self.conclude(Judgement { fault, close: true }, Mode::Opaque);
                        return Verdict::Cut { keep: at + room, end };
                    }
                    at += line.len();
                    self.take(line);
                }
            }
        }
        Verdict::Pass
    }

    /// Takes what has come of a line.
    fn take(&mut self, part: &[u8]) {
        self.head.extend_from_slice(part);
        if part.last() != Some(&b'\n') {
            return;
        }
        let line = &self.head[self.line_start..self.head.len() - 1];
        let is_empty = line.is_empty() || line == b"\r";
        if is_empty && self.lines > 0 {
            let head = std::mem::take(&mut self.head);
            let (judgement, next) = judge(&head);
            self.conclude(judgement, next);
        } else {
            self.lines += 1;
            self.line_start = self.head.len();
            if self.lines == 1 {
                self.request_line = self.head.len();
            }
        }
    }

    /// How many more bytes of this line are allowed, and the fault of one more.
    fn room(&self, next: u8) -> (usize, Code) {
        if self.lines == 0 {
            return (MAX_REQUEST_LINE - self.head.len(), common::URI_TOO_LONG);
        }
        let at_line_start = self.line_start == self.head.len();
        if at_line_start && self.lines > MAX_LINES && !matches!(next, b'\r' | b'\n') {
            return (0, common::HEADERS_TOO_LARGE);
        }
        // The empty line that ends the head is not counted.
        let most = self.request_line + MAX_HEADERS + 2;
        (most.saturating_sub(self.head.len()), common::HEADERS_TOO_LARGE)
    }

    /// What makes the head, as far as it was handed on, complete for the parser.
    fn ending(&self) -> &'static [u8] {
        let line = &self.head[self.line_start..];
        match line.last() {
            _ if self.lines == 0 => b" HTTP/1.1\r\n\r\n",
            None => b"\r\n",
            Some(b'\r') => b"\n\r\n",
            Some(_) if line.contains(&b':') => b"\r\n\r\n",
            Some(_) => b":\r\n\r\n",
        }
    }

    fn conclude(&mut self, judgement: Judgement, next: Mode) {
        self.judgements.push_back(judgement);
        self.mode = next;
        self.head = Vec::new();
        self.line_start = 0;
        self.request_line = 0;
        self.lines = 0;
    }
}

/// Judges a complete head and tells what follows it.
fn judge(head: &[u8]) -> (Judgement, Mode) {
    let malformed = || {
        (
            Judgement {
                fault: Some(codes::BAD_REQUEST.into()),
                close: true,
            },
            Mode::Opaque,
        )
    };
    if !head.ends_with(b"\r\n\r\n") {
        return malformed();
    }
    let mut lines = head.split(|b| *b == b'\n');
    let request_line = lines.next().unwrap_or_default();
    let Some(request_line) = request_line.strip_suffix(b"\r") else {
        return malformed();
    };
    let target = request_line.split(|b| *b == b' ').nth(1).unwrap_or_default();
    let (mut lengths, mut hosts, mut encodings) = (Vec::new(), 0, 0);
    for line in lines {
        if line == b"\r" {
            break;
        }
        // Every line ends with CR LF, has no other CR, and does not continue the one before.
        let Some(line) = line.strip_suffix(b"\r") else {
            return malformed();
        };
        if line.contains(&b'\r') || line.contains(&0) || matches!(line.first(), Some(b' ' | b'\t')) {
            return malformed();
        }
        let Some(colon) = line.iter().position(|b| *b == b':') else {
            continue;
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            lengths.push(
                std::str::from_utf8(value)
                    .ok()
                    .filter(|v| v.bytes().all(|b| b.is_ascii_digit()))
                    .and_then(|v| v.parse::<u64>().ok()),
            );
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            encodings += 1;
            if !value.eq_ignore_ascii_case(b"chunked") {
                return malformed();
            }
        } else if name.eq_ignore_ascii_case(b"host") {
            hosts += 1;
        }
    }
    if hosts > 1 || lengths.len() + encodings > 1 {
        return malformed();
    }
    if target.len() > MAX_TARGET {
        return (
            Judgement {
                fault: Some(common::URI_TOO_LONG.into()),
                close: true,
            },
            Mode::Opaque,
        );
    }
    // RFC 9112, 3.2: a proxy in front may route by a host that we would not see.
    if hosts == 0 && request_line.ends_with(b"HTTP/1.1") {
        return malformed();
    }
    match lengths.first() {
        // Nothing was learnt about the end of a chunked body, so nothing may follow it.
        None if encodings > 0 => (
            Judgement {
                fault: None,
                close: true,
            },
            Mode::Opaque,
        ),
        None | Some(Some(0)) => (
            Judgement {
                fault: None,
                close: false,
            },
            Mode::Head,
        ),
        Some(Some(left)) => (
            Judgement {
                fault: None,
                close: false,
            },
            Mode::Body { left: *left },
        ),
        Some(None) => malformed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(head: &str) -> Option<u16> {
        let mut tap = Tap::new();
        assert_eq!(tap.see(head.as_bytes()), Verdict::Pass, "{head:?}");
        tap.next_judgement().expect("complete").fault.map(|f| f.status)
    }

    #[test]
    fn ambiguous_heads_are_refused() {
        let post = "POST / HTTP/1.1\r\nHost: a\r\n";
        assert_eq!(judged(&format!("{post}Content-Length: 3\r\n\r\n")), None);
        assert_eq!(judged(&format!("{post}Transfer-Encoding: chunked\r\n\r\n")), None);
        assert_eq!(judged("GET / HTTP/1.0\r\nX: y\r\n\r\n"), None);
        assert_eq!(judged("GET / HTTP/1.1\r\nX: y\r\n\r\n"), Some(400), "no host");
        for bad in [
            "Content-Length: 3\r\nContent-Length: 3\r\n\r\n",
            "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
            "Transfer-Encoding: xchunked\r\n\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "Content-Length: -1\r\n\r\n",
            "Content-Length: +3\r\n\r\n",
            "Content-Length: 18446744073709551616\r\n\r\n",
            "X: a\r\n folded\r\n\r\n",
            "X: a\nY: b\r\n\r\n",
            "X: a\rb\r\n\r\n",
            "X: a\0b\r\n\r\n",
            "Host: b\r\n\r\n",
            "X: a\r\n\n",
        ] {
            assert_eq!(judged(&format!("{post}{bad}")), Some(400), "{bad:?}");
        }
    }

    #[test]
    fn pipelined_heads_are_all_seen() {
        let mut tap = Tap::new();
        let stream =
            "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /b HTTP/1.0\r\n\r\nGET /c";
        for byte in stream.as_bytes() {
            assert_eq!(tap.see(&[*byte]), Verdict::Pass);
        }
        assert!(
            tap.next_judgement().is_some()
                && tap.next_judgement().is_some()
                && tap.next_judgement().is_none()
        );
        assert!(tap.is_mid_head());
    }

    #[test]
    fn large_heads_are_cut_and_ended() {
        let mut tap = Tap::new();
        let line = format!("GET /{} HTTP/1.1\r\n", "a".repeat(100_000));
        assert_eq!(
            tap.see(line.as_bytes()),
            Verdict::Cut {
                keep: MAX_REQUEST_LINE,
                end: b" HTTP/1.1\r\n\r\n"
            }
        );
        assert_eq!(
            tap.next_judgement().and_then(|j| j.fault).expect("fault").status,
            414
        );
        assert_eq!(
            judged(&format!(
                "GET /{} HTTP/1.1\r\nHost: a\r\n\r\n",
                "a".repeat(MAX_TARGET - 1)
            )),
            None
        );
        assert_eq!(
            judged(&format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(MAX_TARGET))),
            Some(414)
        );

        let mut tap = Tap::new();
        let head = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(100_000));
        assert!(matches!(
            tap.see(head.as_bytes()),
            Verdict::Cut { end: b"\r\n\r\n", .. }
        ));
        assert_eq!(
            tap.next_judgement().and_then(|j| j.fault).expect("fault").status,
            431
        );

        let mut tap = Tap::new();
        let head = format!("GET / HTTP/1.1\r\n{}", "a:b\r\n".repeat(10_000));
        assert!(matches!(
            tap.see(head.as_bytes()),
            Verdict::Cut { end: b"\r\n", .. }
        ));
        let exactly = format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            "a:b\r\n".repeat(MAX_LINES - 1)
        );
        assert_eq!(judged(&exactly), None);
    }
}
